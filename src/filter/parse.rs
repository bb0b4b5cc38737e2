//! From text to tree: runs the grammar and groups its flat chains by precedence.
//!
//! It expands macros on the way and checks what the grammar cannot say (escapes, ranges, reserved
//! words, limits). It knows no types and resolves no names.

use pest::Parser as _;
use pest::error::InputLocation;
use pest::iterators::{Pair, Pairs};
use pest_derive::Parser;

use crate::report::{Span, name_of_hidden};

use super::error::Mistake;
use super::limits::{MAX_LITERAL_ITEMS, MAX_NODES, MAX_SOURCE};
use super::literals;
use super::macros::{Expansion, expand};
use super::nesting::check_nesting;
use super::tree::{Callee, Element, Entry, Expr, Kind, Literal, Select};

#[derive(Parser)]
#[grammar = "../filters/cel.pest"]
struct Grammar;

type Built<T> = Result<T, Mistake>;

/// Words that CEL keeps for later: no variable or global function may have such a name.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads a filter; `macros` says whether macros are expanded.
pub(super) fn parse(source: &str, macros: bool) -> Built<Expr> {
    if source.len() > MAX_SOURCE {
        let message =
            format!("{} bytes long, over the limit of source size, {MAX_SOURCE}", source.len());
        return Err(Mistake::new(Span::default(), message));
    }
    check_nesting(source)?;
    let mut pairs =
        Grammar::parse(Rule::filter, source).map_err(|error| syntax_mistake(source, &error))?;
    let expression = pairs.next().and_then(|filter| filter.into_inner().next());
    let Some(expression) = expression else {
        return Err(Mistake::new(Span::default(), "no expression"));
    };
    Builder { macros, nodes: 0 }.expression(expression)
}

fn syntax_mistake(source: &str, error: &pest::error::Error<Rule>) -> Mistake {
    let (InputLocation::Pos(at) | InputLocation::Span((at, _))) = error.location;
    let rest = source.get(at..).unwrap_or("");
    let word = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    let token: String = rest.chars().take(word.max(1)).collect();
    let span = Span { start: at, end: at + token.len() };
    let mistake = match token.as_str() {
        "" if source.trim().is_empty() => Mistake::new(span, "the filter is empty"),
        "" => Mistake::new(span, "the filter ends where an operand or a bracket is missing"),
        "'" | "\"" => Mistake::new(span, "a string starts here and is not closed"),
        "\n" | "\r" => Mistake::new(span, "unexpected end of the line"),
        token => match token.chars().next().filter(|char| !char.is_ascii_graphic()) {
            Some(char) => return unexpected_character(span, char),
            None => Mistake::new(span, format!("unexpected `{token}`")),
        },
    };
    if source.get(..at).unwrap_or("").trim_end().ends_with("not") {
        return mistake.help("not is written `!`");
    }
    match token.as_str() {
        "=" => mistake.help("equality is written `==`"),
        "&" | "and" | "AND" => mistake.help("and is written `&&`"),
        "|" | "or" | "OR" => mistake.help("or is written `||`"),
        _ => mistake,
    }
}

/// A character outside strings that no token has: one that cannot be seen is named, others may look
/// like one that is meant, so that their number is reported.
fn unexpected_character(span: Span, char: char) -> Mistake {
    if let Some(name) = name_of_hidden(char) {
        let what = if char.is_whitespace() { "put a plain space here" } else { "take it out" };
        return Mistake::new(span, format!("unexpected {name}")).help(what);
    }
    let mistake = Mistake::new(span, format!("unexpected `{char}` (U+{:04X})", u32::from(char)));
    let meant = match char {
        '“' | '”' | '„' | '‟' | '«' | '»' | '″' => {
            "strings stand in plain quotes, `\"…\"`"
        }
        '‘' | '’' | '‚' | '‛' | '′' | '´' => "strings stand in plain quotes, `'…'`",
        '‐'..='―' | '−' => "minus is the plain `-`",
        '≤' => "at most is written `<=`",
        '≥' => "at least is written `>=`",
        '≠' => "different is written `!=`",
        '∧' => "and is written `&&`",
        '∨' => "or is written `||`",
        '¬' => "not is written `!`",
        '×' => "times is written `*`",
        '÷' => "divided by is written `/`",
        // The full-width forms of the ASCII characters, in their order.
        '！'..='～' => {
            let plain = char::from_u32(u32::from(char) - 0xFEE0).unwrap_or(char);
            return mistake.help(format!("this is a full-width form of `{plain}`"));
        }
        _ => return mistake,
    };
    mistake.help(meant)
}

struct Builder {
    macros: bool,
    nodes: usize,
}

fn span_of(pair: &Pair<'_, Rule>) -> Span {
    let span = pair.as_span();
    Span { start: span.start(), end: span.end() }
}

fn operator(span: Span, function: &str, arguments: Vec<Expr>) -> Kind {
    let callee = Callee { name: function.to_owned(), name_span: span, absolute: false };
    Kind::Call { callee, target: None, arguments }
}

/// `left operator right`; chains of `&&` and of `||` are kept flat.
fn join(span: Span, symbol: &str, left: Expr, right: Expr) -> Kind {
    match (symbol, left) {
        ("&&", Expr { kind: Kind::And(mut items), .. }) => {
            items.push(right);
            Kind::And(items)
        }
        ("||", Expr { kind: Kind::Or(mut items), .. }) => {
            items.push(right);
            Kind::Or(items)
        }
        ("&&", left) => Kind::And(vec![left, right]),
        ("||", left) => Kind::Or(vec![left, right]),
        (symbol, left) => operator(span, symbol, vec![left, right]),
    }
}

/// How tightly a binary operator binds.
fn tightness(operator: &str) -> u8 {
    match operator {
        "||" => 1,
        "&&" => 2,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        _ => 3,
    }
}

impl Builder {
    fn node(&mut self, span: Span, kind: Kind) -> Built<Expr> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} nodes, the limit of filter size");
            return Err(Mistake::new(span, message));
        }
        Expr::new(span, kind)
    }

    /// `c1 ? a1 : c2 ? a2 : b`
    fn expression(&mut self, pair: Pair<'_, Rule>) -> Built<Expr> {
        let span = span_of(&pair);
        let mut parts =
            pair.into_inner().map(|part| self.operation(part)).collect::<Built<Vec<_>>>()?;
        let Some(mut result) = parts.pop() else {
            return Err(Mistake::new(span, "expected an expression"));
        };
        while let (Some(then), Some(condition)) = (parts.pop(), parts.pop()) {
            let span = condition.span.to(result.span);
            result = self.node(span, Kind::Ternary(Box::new([condition, then, result])))?;
        }
        Ok(result)
    }

    /// `a + b * c == d && …`, grouped by precedence, from the left among equals.
    fn operation(&mut self, pair: Pair<'_, Rule>) -> Built<Expr> {
        let mut operands = Vec::new();
        let mut operators: Vec<String> = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::operator {
                // `in` may carry white space of the token after it.
                let operator = part.as_str().trim().to_owned();
                while operators.last().is_some_and(|last| tightness(last) >= tightness(&operator)) {
                    self.reduce(&mut operands, &mut operators)?;
                }
                operators.push(operator);
            } else {
                operands.push(self.unary(part)?);
            }
        }
        while !operators.is_empty() {
            self.reduce(&mut operands, &mut operators)?;
        }
        operands.pop().ok_or_else(|| Mistake::new(Span::default(), "expected an operand"))
    }

    fn reduce(&mut self, operands: &mut Vec<Expr>, operators: &mut Vec<String>) -> Built<()> {
        let (Some(operator), Some(right), Some(left)) =
            (operators.pop(), operands.pop(), operands.pop())
        else {
            return Ok(());
        };
        let span = left.span.to(right.span);
        let longer =
            matches!((operator.as_str(), &left.kind), ("&&", Kind::And(_)) | ("||", Kind::Or(_)));
        let kind = join(span, &operator, left, right);
        operands.push(if longer { Expr::new(span, kind)? } else { self.node(span, kind)? });
        Ok(())
    }

    fn unary(&mut self, pair: Pair<'_, Rule>) -> Built<Expr> {
        let start = pair.as_span().start();
        let (mut nots, mut minuses, mut member) = (0usize, 0usize, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::not => nots += 1,
                Rule::minus => minuses += 1,
                _ => member = Some(part),
            }
        }
        let member = member
            .ok_or_else(|| Mistake::new(Span { start, end: start }, "expected an operand"))?;
        let is_number = member
            .clone()
            .into_inner()
            .next()
            .is_some_and(|first| matches!(first.as_rule(), Rule::int | Rule::double));
        // One minus right before a number is the number's; more are operators.
        let negative = is_number && minuses == 1;
        let mut operand = self.member(member, negative)?;
        let span = Span { start, ..operand.span };
        // An even run of one sign cancels; `!!x` is kept, so that `x` must still be a bool.
        let minuses = (minuses - usize::from(negative)) % 2;
        let nots = if nots > 2 { 2 - nots % 2 } else { nots };
        for (function, count) in [("-_", minuses), ("!_", nots)] {
            for _ in 0..count {
                operand = self.node(span, operator(span, function, vec![operand]))?;
            }
        }
        Ok(operand)
    }

    fn member(&mut self, pair: Pair<'_, Rule>, negative: bool) -> Built<Expr> {
        let whole = span_of(&pair);
        let mut parts = pair.into_inner();
        let primary = parts.next().ok_or_else(|| Mistake::new(whole, "expected an operand"))?;
        let mut operand = self.primary(primary, negative)?;
        for part in parts {
            let span = span_of(&part);
            operand = match part.as_rule() {
                Rule::select => self.select(operand, part)?,
                Rule::index => {
                    let (index, optional) = required(part)?;
                    let index = self.expression(index)?;
                    let span = operand.span.to(span);
                    let name = if optional { "[?]" } else { "[]" };
                    self.node(span, operator(span, name, vec![operand, index]))?
                }
                _ => {
                    let message = "messages cannot be built: events have no message types";
                    return Err(Mistake::new(operand.span.to(span), message)
                        .help("a map is written `{\"key\": value}`"));
                }
            };
        }
        Ok(operand)
    }

    /// `.field` or `.function(arguments)`
    fn select(&mut self, operand: Expr, pair: Pair<'_, Rule>) -> Built<Expr> {
        let (mut parts, optional) = optional_parts(pair);
        let Some(name) = parts.next() else {
            return Err(Mistake::new(operand.span, "expected a field"));
        };
        let (field_span, quoted) = (span_of(&name), name.as_rule() == Rule::quoted);
        let field = name.as_str().trim_matches('`').to_owned();
        let span = operand.span.to(field_span);
        let Some(arguments) = parts.next() else {
            let operand = Box::new(operand);
            let select = Select { operand, field, field_span, quoted, test: false, optional };
            return self.node(span, Kind::Select(select));
        };
        if quoted {
            return Err(Mistake::new(field_span, "a function's name has no backticks"));
        }
        if optional {
            return Err(Mistake::new(
                field_span,
                "`.?` selects a field; a function is called by `.`",
            ));
        }
        let span = span.to(span_of(&arguments));
        let arguments = self.expressions(arguments)?;
        self.call(
            span,
            Callee { name: field, name_span: field_span, absolute: false },
            Some(operand),
            arguments,
        )
    }

    fn call(
        &mut self,
        span: Span,
        callee: Callee,
        target: Option<Expr>,
        arguments: Vec<Expr>,
    ) -> Built<Expr> {
        let expansion = if self.macros {
            expand(&callee.name, target, arguments)?
        } else {
            Expansion::Call(target, arguments)
        };
        let kind = match expansion {
            Expansion::Macro(kind) => kind,
            Expansion::Call(target, arguments) => {
                Kind::Call { callee, target: target.map(Box::new), arguments }
            }
        };
        self.node(span, kind)
    }

    fn expressions(&mut self, pair: Pair<'_, Rule>) -> Built<Vec<Expr>> {
        pair.into_inner().map(|part| self.expression(part)).collect()
    }

    fn primary(&mut self, pair: Pair<'_, Rule>, negative: bool) -> Built<Expr> {
        let (span, text) = (span_of(&pair), pair.as_str());
        let literal = |decoded: Result<Literal, String>| {
            decoded.map(Kind::Literal).map_err(|message| Mistake::new(span, message))
        };
        let kind = match pair.as_rule() {
            Rule::constant => Kind::Literal(literals::constant(text)),
            Rule::int => literal(literals::int(text, negative))?,
            Rule::uint => literal(literals::uint(text))?,
            Rule::double => literal(literals::double(text, negative))?,
            Rule::string => literal(literals::string(text))?,
            Rule::bytes => literal(literals::bytes(text))?,
            Rule::group => {
                // The span keeps its brackets, so that the text of a span is an expression.
                return Ok(self.expression(required(pair)?.0)?.spanning(span));
            }
            Rule::list => Kind::List(self.list(pair)?),
            Rule::map => Kind::Map(self.map(pair)?),
            _ => return self.name(pair),
        };
        self.node(span, kind)
    }

    fn list(&mut self, pair: Pair<'_, Rule>) -> Built<Vec<Element<Expr>>> {
        let span = span_of(&pair);
        let mut items = Vec::new();
        for element in pair.into_inner() {
            let (value, optional) = required(element)?;
            items.push(Element { value: self.expression(value)?, optional });
        }
        within_items(span, items.len())?;
        Ok(items)
    }

    fn map(&mut self, pair: Pair<'_, Rule>) -> Built<Vec<Entry<Expr>>> {
        let span = span_of(&pair);
        let mut entries = Vec::new();
        for entry in pair.into_inner() {
            let (mut parts, optional) = optional_parts(entry);
            if let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                let (key, value) = (self.expression(key)?, self.expression(value)?);
                entries.push(Entry { key, value, optional });
            }
        }
        within_items(span, entries.len())?;
        Ok(entries)
    }

    /// A variable or a global function.
    fn name(&mut self, pair: Pair<'_, Rule>) -> Built<Expr> {
        let whole = span_of(&pair);
        let (mut absolute, mut name, mut arguments) = (false, None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::root => absolute = true,
                Rule::identifier => name = Some(part),
                _ => arguments = Some(part),
            }
        }
        let Some(name) = name else { return Err(Mistake::new(whole, "expected a name")) };
        let span = Span { start: whole.start, end: name.as_span().end() };
        let name = name.as_str().to_owned();
        if RESERVED.contains(&name.as_str()) {
            return Err(Mistake::new(span, format!("`{name}` is a reserved word")));
        }
        let Some(arguments) = arguments else {
            return self.node(span, Kind::Name { name, absolute });
        };
        let whole = span.to(span_of(&arguments));
        let arguments = self.expressions(arguments)?;
        self.call(whole, Callee { name, name_span: span, absolute }, None, arguments)
    }
}

/// The only part of an index, group or element, and whether it has the mark of optional syntax.
fn required(pair: Pair<'_, Rule>) -> Built<(Pair<'_, Rule>, bool)> {
    let span = span_of(&pair);
    let (mut parts, optional) = optional_parts(pair);
    let part = parts.next().ok_or_else(|| Mistake::new(span, "expected an expression"))?;
    Ok((part, optional))
}

/// The parts after the mark of optional syntax, and whether it is there.
fn optional_parts(pair: Pair<'_, Rule>) -> (Pairs<'_, Rule>, bool) {
    let mut parts = pair.into_inner();
    let optional = parts.peek().is_some_and(|first| first.as_rule() == Rule::optional);
    if optional {
        parts.next();
    }
    (parts, optional)
}

fn within_items(span: Span, items: usize) -> Built<()> {
    if items <= MAX_LITERAL_ITEMS {
        return Ok(());
    }
    let message = format!("{items} elements, over the limit of list size, {MAX_LITERAL_ITEMS}");
    Err(Mistake::new(span, message))
}
