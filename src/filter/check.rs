//! The checker: resolves names, infers types, and refuses what cannot work.
//!
//! Checking never changes what an expression means; unchecked, the same tree comes out and mistakes
//! become errors of the evaluation. All independent mistakes are reported together: a part with a
//! mistake counts as `dyn` for the parts around it.

use std::sync::Arc;

use crate::report::{Span, nearest};

use super::environment::Environment;
use super::error::{EvalError, Mistake};
use super::fields::Field;
use super::functions::Budget;
use super::functions::regex::Pattern;
use super::limits::{MAX_COMPREHENSION_NESTING, MAX_MISTAKES, MAX_REGEX_PROGRAM, MAX_REGEXES};
use super::node::{Call, FoldNode, Node};
use super::overloads::{Function, Style, function, function_names};
use super::tree::{Comprehension, Expr, Fold, Kind, Literal};
use super::types::{Substitution, Type};
use super::value::{Key, Map, Text, Value};

/// A node and its type.
pub(super) type Typed = (Node, Type);

pub(super) struct Checker<'x> {
    pub(super) env: &'x Environment,
    pub(super) types: Substitution,
    /// Variables of the comprehensions around the present node, the outermost first.
    pub(super) locals: Vec<(String, Type)>,
    pub(super) fields: Vec<Field>,
    mistakes: Vec<Mistake>,
    /// Constant regular expressions with their text.
    patterns: Vec<(String, Arc<Pattern>)>,
}

impl<'x> Checker<'x> {
    pub fn new(env: &'x Environment) -> Checker<'x> {
        Checker {
            env,
            types: Substitution::default(),
            locals: Vec::new(),
            fields: Vec::new(),
            mistakes: Vec::new(),
            patterns: Vec::new(),
        }
    }

    /// The fields that were read, and the mistakes that were found.
    pub fn finish(self) -> (Vec<Field>, Vec<Mistake>) {
        (self.fields, self.mistakes)
    }

    /// Checks a whole expression, of which a group of fields can be no value.
    pub fn check(&mut self, expr: &Expr) -> Typed {
        let (node, found) = self.any(expr);
        let found = self.types.resolve(&found);
        let Type::Group(root, path) = &found else { return (node, found) };
        let name = self.shown_path(*root, path);
        let mut mistake = Mistake::new(
            expr.span,
            format!("`{name}` is a group of fields and has no value of its own"),
        );
        let start = if path.is_empty() { String::new() } else { format!("{path}.") };
        let field = self.env.schema(*root).and_then(|schema| {
            schema.fields.iter().map(|field| field.name.as_str()).find(|n| n.starts_with(&start))
        });
        if let Some(field) = field {
            mistake = mistake.help(format!(
                "name one of its fields, such as `{}`",
                self.shown_path(*root, field)
            ));
        }
        self.refuse(mistake, EvalError::UnknownName(name.into()))
    }

    /// Records a mistake; unchecked, the error comes when the expression runs.
    pub(super) fn refuse(&mut self, mistake: Mistake, error: EvalError) -> Typed {
        if self.env.is_checked() && self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(mistake);
        }
        (Node::Fails(error), Type::Dyn)
    }

    fn refuse_type(&mut self, span: Span, message: String) -> Typed {
        self.refuse(Mistake::new(span, &*message), EvalError::Invalid(message.into()))
    }

    /// Checks an expression that may be a group of fields.
    pub(super) fn any(&mut self, expr: &Expr) -> Typed {
        match &expr.kind {
            Kind::Literal(literal) => self.literal(literal),
            Kind::Name { .. } | Kind::Select(_) => self.path(expr),
            Kind::Call { function, name_span, target, arguments } => {
                self.call(expr.span, (function, *name_span), target.as_deref(), arguments)
            }
            Kind::And(items) => (Node::And(self.conditions("&&", items)), Type::Bool),
            Kind::Or(items) => (Node::Or(self.conditions("||", items)), Type::Bool),
            Kind::Ternary(parts) => self.ternary(expr, parts),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    fn literal(&mut self, literal: &Literal) -> Typed {
        let (value, found) = match literal {
            Literal::Null => (Value::Null, Type::Null),
            Literal::Bool(bool) => (Value::Bool(*bool), Type::Bool),
            Literal::Int(int) => (Value::Int(*int), Type::Int),
            Literal::Uint(uint) => (Value::Uint(*uint), Type::Uint),
            Literal::Double(double) => (Value::Double(*double), Type::Double),
            Literal::String(text) => {
                (Value::String(Text::Shared(text.as_str().into())), Type::String)
            }
            Literal::Bytes(bytes) => (Value::Bytes(bytes.as_slice().into()), Type::Bytes),
        };
        (Node::Constant(value), self.known(found))
    }

    /// A type, as far as it counts: unchecked, every type is known at run time only.
    pub(super) fn known(&self, found: Type) -> Type {
        if self.env.is_checked() { found } else { Type::Dyn }
    }

    fn conditions(&mut self, operator: &str, items: &[Expr]) -> Vec<Node> {
        items.iter().map(|item| self.condition(operator, item)).collect()
    }

    /// An operand that must be true or false.
    fn condition(&mut self, of: &str, expr: &Expr) -> Node {
        let (node, found) = self.check(expr);
        if self.types.unify(&Type::Bool, &found) {
            return node;
        }
        let found = self.types.resolve(&found);
        self.refuse_type(expr.span, format!("`{of}` needs bool, found {found}")).0
    }

    fn ternary(&mut self, expr: &Expr, parts: &[Expr; 3]) -> Typed {
        let condition = self.condition("? :", &parts[0]);
        let (then, then_type) = self.check(&parts[1]);
        let (otherwise, otherwise_type) = self.check(&parts[2]);
        if !self.types.unify(&then_type, &otherwise_type) {
            let (a, b) = (self.types.resolve(&then_type), self.types.resolve(&otherwise_type));
            let message = format!("`? :` needs both results of one type, found {a} and {b}");
            return self.refuse_type(expr.span, message);
        }
        let result = self.types.join(&then_type, &otherwise_type);
        (Node::Ternary(Box::new([condition, then, otherwise])), result)
    }

    fn list(&mut self, items: &[Expr]) -> Typed {
        let mut item_type: Option<Type> = None;
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            let (node, found) = self.check(item);
            item_type = Some(match item_type {
                None => found,
                Some(Type::Dyn) => Type::Dyn,
                Some(known) => self.types.join(&known, &found),
            });
            nodes.push(node);
        }
        let item_type = item_type.unwrap_or_else(|| Type::Variable(self.types.fresh(1)));
        let constants: Option<Vec<_>> = nodes.iter().map(constant).collect();
        let node = match constants {
            Some(values) => Node::Constant(Value::List(values.into())),
            None => Node::List(nodes),
        };
        (node, self.known(Type::list(item_type)))
    }

    fn map(&mut self, entries: &[(Expr, Expr)]) -> Typed {
        let mut joined: Option<(Type, Type)> = None;
        let mut nodes = Vec::with_capacity(entries.len());
        let mut constants = Some(Vec::with_capacity(entries.len()));
        for (key, value) in entries {
            let (key_node, key_type) = self.check(key);
            let (value_node, value_type) = self.check(value);
            let key_type = self.key_type(key, &key_type);
            joined = Some(match joined {
                None => (key_type, value_type),
                Some((keys, values)) => {
                    (self.types.join(&keys, &key_type), self.types.join(&values, &value_type))
                }
            });
            let entry = constant(&key_node).as_ref().and_then(Key::new).zip(constant(&value_node));
            constants = match (constants, entry) {
                (Some(mut all), Some(entry)) => {
                    all.push(entry);
                    Some(all)
                }
                _ => None,
            };
            nodes.push((key_node, value_node));
        }
        let (keys, values) = joined.unwrap_or_else(|| {
            let first = self.types.fresh(2);
            (Type::Variable(first), Type::Variable(first + 1))
        });
        let map_type = self.known(Type::map(keys, values));
        match constants.map(Map::new) {
            Some(Ok(map)) => (Node::Constant(Value::Map(map.into())), map_type),
            Some(Err(repeated)) => {
                let at = entries.iter().zip(&nodes).rev().find(|(_, (key, _))| {
                    constant(key).as_ref().and_then(Key::new).as_ref() == Some(&repeated)
                });
                let span = at.map(|((key, _), _)| key.span).unwrap_or_default();
                self.refuse_type(span, "this key stands in the map twice".to_owned())
            }
            None => (Node::Map(nodes), map_type),
        }
    }

    fn key_type(&mut self, key: &Expr, found: &Type) -> Type {
        let found = self.types.resolve(found);
        match found {
            Type::Int | Type::Uint | Type::Bool | Type::String | Type::Dyn | Type::Variable(_) => {
                found
            }
            other => {
                let message = format!("a map's key is int, uint, bool or string, not {other}");
                self.refuse_type(key.span, message).1
            }
        }
    }

    fn comprehension(&mut self, expr: &Expr, fold: &Comprehension) -> Typed {
        let (range, range_type) = self.check(&fold.range);
        let item = match self.types.resolve(&range_type) {
            Type::List(item) => *item,
            Type::Map(key, _) => *key,
            Type::Dyn | Type::Variable(_) => Type::Dyn,
            other => {
                let message = format!("`{}` needs a list or map, found {other}", fold.fold.name());
                return self.refuse_type(fold.range.span, message);
            }
        };
        if self.locals.len() >= MAX_COMPREHENSION_NESTING {
            let message = format!(
                "more than {MAX_COMPREHENSION_NESTING} comprehensions inside each other, the limit of comprehension nesting"
            );
            self.locals.push((fold.variable.clone(), item));
            let refused = self.refuse(
                Mistake::new(expr.span, message),
                EvalError::Limit(MAX_COMPREHENSION_NESTING, "comprehensions inside each other"),
            );
            self.locals.pop();
            return refused;
        }
        self.locals.push((fold.variable.clone(), item.clone()));
        let name = fold.fold.name();
        let condition = fold.condition.as_ref().map(|expr| self.condition(name, expr));
        let (body, result) = match fold.fold {
            Fold::Map => {
                let (body, body_type) = self.check(&fold.body);
                (body, Type::list(body_type))
            }
            Fold::Filter => (self.condition(name, &fold.body), Type::list(item)),
            Fold::All | Fold::Exists | Fold::ExistsOne => {
                (self.condition(name, &fold.body), Type::Bool)
            }
        };
        self.locals.pop();
        let node = FoldNode { fold: fold.fold, range, condition, body };
        (Node::Comprehension(Box::new(node)), self.known(result))
    }

    fn call(
        &mut self,
        span: Span,
        (name, name_span): (&str, Span),
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Typed {
        let Some(function) = function(name) else {
            return self.unknown_function((name, name_span), target, arguments);
        };
        let checked: Vec<Typed> =
            target.into_iter().chain(arguments).map(|argument| self.check(argument)).collect();
        let right_style = match function.style {
            Style::Both => true,
            Style::Global => target.is_none(),
            Style::Receiver => target.is_some(),
        };
        if !right_style {
            let mut mistake = Mistake::new(name_span, format!("`{name}` is not called this way"));
            mistake = match function.style {
                Style::Receiver => mistake.help(format!("it is called on a value: `x.{name}(…)`")),
                _ => mistake.help(format!("it is called as `{name}(…)`")),
            };
            return self.refuse(mistake, EvalError::UnknownName(name.into()));
        }
        let (nodes, types): (Vec<Node>, Vec<Type>) = checked.into_iter().unzip();
        let Some(result) = self.overload(function, &types) else {
            let message = self.no_overload(function.name, &types);
            let mistake = Mistake::new(span, &*message);
            let types: Vec<Type> = types.iter().map(|found| self.types.resolve(found)).collect();
            let mistake = match overload_help(name, &types) {
                Some(help) => mistake.help(help),
                None => mistake,
            };
            return self.refuse(mistake, EvalError::Invalid(message.into()));
        };
        let result = self.known(result);
        let types = types.iter().map(|found| self.types.resolve(found)).collect::<Vec<_>>();
        let node = match member_of(name, &nodes, &types) {
            Some((map, key, test)) => self.member(map, &key, test),
            None => self.folded(span, function, nodes),
        };
        (node, result)
    }

    /// The type that a function gives for arguments of these types; none if it does not take them.
    fn overload(&mut self, function: &Function, arguments: &[Type]) -> Option<Type> {
        let mut result: Option<Type> = None;
        for signature in &function.signatures {
            if signature.parameters.len() != arguments.len() {
                continue;
            }
            let before = self.types.mark();
            let first = self.types.fresh(signature.variables);
            let mut pairs = signature.parameters.iter().zip(arguments);
            if !pairs
                .all(|(parameter, argument)| self.types.unify(&parameter.raised(first), argument))
            {
                self.types.undo(before);
                continue;
            }
            let this = self.types.resolve(&signature.result.raised(first));
            // Several signatures fit where an argument is dyn; then so is a result they differ in.
            result = Some(match result {
                None => this,
                Some(known) if known == this => known,
                Some(_) => Type::Dyn,
            });
        }
        result
    }

    fn no_overload(&self, name: &str, arguments: &[Type]) -> String {
        let types: Vec<String> =
            arguments.iter().map(|found| self.types.resolve(found).to_string()).collect();
        match (name, types.as_slice()) {
            ("==" | "!=" | "<" | "<=" | ">" | ">=", [a, b]) => {
                format!("`{name}` cannot compare {a} with {b}")
            }
            ("in", [item, container]) => format!("`in` cannot look for {item} in {container}"),
            ("[]", [container, key]) => format!("{container} has no index of type {key}"),
            ("!_" | "-_", [operand]) => format!("`{}` cannot take {operand}", &name[..1]),
            (_, [a, b]) if !name.starts_with(char::is_alphabetic) => {
                format!("`{name}` cannot take {a} and {b}")
            }
            _ => format!("`{name}` cannot take ({})", types.join(", ")),
        }
    }

    fn unknown_function(
        &mut self,
        (name, name_span): (&str, Span),
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Typed {
        let mut mistake = Mistake::new(name_span, format!("unknown function `{name}`"));
        let known = nearest(name, function_names().chain(MACROS));
        if known == Some(name) {
            mistake = mistake.help(format!("the macro `{name}` takes other arguments"));
        } else if let Some(known) = known {
            mistake = mistake.help(format!("did you mean `{known}`?"));
        }
        let refused = self.refuse(mistake, EvalError::UnknownName(name.into()));
        // The arguments of what may be a misspelt macro name its variables: nothing to check there.
        if target.is_none() {
            for argument in arguments {
                self.check(argument);
            }
        }
        refused
    }

    /// The call, or its value if all arguments are constants.
    fn folded(
        &mut self,
        span: Span,
        function: &'static Function,
        mut arguments: Vec<Node>,
    ) -> Node {
        if let ("matches", [_, Node::Constant(Value::String(pattern))]) =
            (function.name, arguments.as_slice())
        {
            return match self.pattern(pattern) {
                Ok(pattern) => Node::Matches(Box::new(arguments.swap_remove(0)), pattern),
                Err(error) => self.refuse(Mistake::new(span, error.to_string()), error).0,
            };
        }
        let constants: Option<Vec<_>> = arguments.iter().map(constant).collect();
        let folded = constants.map(|constants| (function.run)(&constants, &mut Budget::new()));
        match folded {
            Some(Ok(value)) => Node::Constant(value),
            Some(Err(error)) if matches!(function.name, "timestamp" | "duration") => {
                self.refuse(Mistake::new(span, error.to_string()), error).0
            }
            // Other errors stay what they are: `false && 1 / 0 > 0` is false.
            _ => {
                Node::Call(Box::new(Call { function: function.name, run: function.run, arguments }))
            }
        }
    }

    /// A compiled constant pattern; equal ones are shared.
    fn pattern(&mut self, pattern: &str) -> Result<Arc<Pattern>, EvalError> {
        if let Some((_, known)) = self.patterns.iter().find(|(text, _)| text == pattern) {
            return Ok(known.clone());
        }
        if self.patterns.len() == MAX_REGEXES {
            let message = format!(
                "more than {MAX_REGEXES} different regular expressions, the limit of one filter"
            );
            return Err(EvalError::Invalid(message.into()));
        }
        let compiled = Arc::new(Pattern::new(pattern, MAX_REGEX_PROGRAM)?);
        self.patterns.push((pattern.to_owned(), compiled.clone()));
        Ok(compiled)
    }

    pub(super) fn local(&self, name: &str) -> Option<(usize, &Type)> {
        let found = self.locals.iter().enumerate().rev().find(|(_, (local, _))| local == name);
        found.map(|(depth, (_, found))| (depth, found))
    }

    /// The number of a field in the filter's list.
    pub(super) fn field(&mut self, field: Field) -> usize {
        if let Some(number) = self.fields.iter().position(|known| *known == field) {
            return number;
        }
        self.fields.push(field);
        self.fields.len() - 1
    }

    /// `node.key`, or whether it is there.
    pub(super) fn member(&self, node: Node, key: &str, test: bool) -> Node {
        let (node, key) = (Box::new(node), Arc::from(key));
        if test { Node::HasKey(node, key) } else { Node::Select(node, key) }
    }
}

/// `map["key"]` is `map.key`, and `"key" in map` is `has(map.key)`: the map, the key, and whether it
/// is only asked for.
fn member_of(name: &str, nodes: &[Node], types: &[Type]) -> Option<(Node, Text<'static>, bool)> {
    let (map, key, test) = match (name, nodes, types) {
        ("[]", [map, key], [Type::Map(..), _]) => (map, key, false),
        ("in", [key, map], [_, Type::Map(..)]) => (map, key, true),
        _ => return None,
    };
    match (map, key) {
        (Node::Constant(_), _) => None,
        (map, Node::Constant(Value::String(key))) => Some((map.clone(), key.clone(), test)),
        _ => None,
    }
}

/// What would mend common mismatches of types.
fn overload_help(name: &str, types: &[Type]) -> Option<&'static str> {
    let number = |found: &Type| matches!(found, Type::Int | Type::Uint | Type::Double);
    match (name, types) {
        ("in", [Type::String, Type::String]) => {
            Some("a part of a text is found by `text.contains(part)`")
        }
        ("==" | "!=", [Type::Null, _] | [_, Type::Null]) => {
            Some("absence is asked for with `has(…)`, not with null")
        }
        ("==" | "!=", [Type::List(_), _] | [_, Type::List(_)]) => {
            Some("an item is looked for with `item in list`")
        }
        (_, [a, b]) if number(a) && number(b) => {
            Some("number types do not mix: convert one with `int(…)`, `uint(…)` or `double(…)`")
        }
        _ => None,
    }
}

const MACROS: [&str; 7] = ["has", "all", "exists", "exists_one", "existsOne", "map", "filter"];

fn constant(node: &Node) -> Option<Value<'static>> {
    match node {
        Node::Constant(value) => Some(value.clone()),
        _ => None,
    }
}
