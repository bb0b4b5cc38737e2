//! From tree to text: the filter in one spelling, with the brackets that it needs and no others.
//!
//! Macros are written as they were called. The text reads back as the same tree; comments and line
//! breaks are lost.

use std::fmt::Write as _;

use super::tree::{Bind, Binding, Comprehension, Element, Entry, Expr, Kind, Literal, Select};

/// How tightly the parts of a text bind, the loosest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ternary,
    Or,
    And,
    Relation,
    Sum,
    Product,
    Unary,
    /// What can be selected from.
    Member,
}

/// The text of a tree.
pub(super) fn unparse(expr: &Expr) -> String {
    let mut out = String::new();
    write(&mut out, expr, Level::Ternary);
    out
}

/// How tightly a binary operator binds; none for other functions.
fn operator(function: &str) -> Option<Level> {
    Some(match function {
        "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" => Level::Relation,
        "+" | "-" => Level::Sum,
        "*" | "/" | "%" => Level::Product,
        _ => return None,
    })
}

fn level(expr: &Expr) -> Level {
    match &expr.kind {
        Kind::Ternary(_) => Level::Ternary,
        Kind::Or(_) => Level::Or,
        Kind::And(_) => Level::And,
        Kind::Call { callee, .. } if matches!(callee.name.as_str(), "!_" | "-_") => Level::Unary,
        Kind::Call { callee, target: None, .. } => operator(&callee.name).unwrap_or(Level::Member),
        Kind::Literal(Literal::Int(int)) if *int < 0 => Level::Unary,
        Kind::Literal(Literal::Double(double)) if double.is_sign_negative() => Level::Unary,
        _ => Level::Member,
    }
}

/// Writes an expression, in brackets if it binds more loosely than `least`.
fn write(out: &mut String, expr: &Expr, least: Level) {
    if level(expr) < least {
        out.push('(');
        write(out, expr, Level::Ternary);
        out.push(')');
        return;
    }
    match &expr.kind {
        Kind::Literal(literal) => write_literal(out, literal),
        Kind::Name { name, absolute } => {
            out.push_str(if *absolute { "." } else { "" });
            out.push_str(name);
        }
        Kind::Select(select) => write_select(out, select),
        Kind::Call { callee, target, arguments } => match target {
            Some(target) => {
                write(out, target, Level::Member);
                write_call(out, &format!(".{}", callee.name), arguments.iter());
            }
            None if callee.absolute => {
                write_call(out, &format!(".{}", callee.name), arguments.iter());
            }
            None => write_function(out, &callee.name, arguments),
        },
        Kind::And(items) => write_chain(out, items, (" && ", Level::Relation)),
        Kind::Or(items) => write_chain(out, items, (" || ", Level::And)),
        Kind::Ternary(parts) => {
            let [condition, then, otherwise] = &**parts;
            write(out, condition, Level::Or);
            out.push_str(" ? ");
            write(out, then, Level::Or);
            out.push_str(" : ");
            write(out, otherwise, Level::Ternary);
        }
        Kind::List(items) => write_list(out, items),
        Kind::Map(entries) => write_map(out, entries),
        Kind::Comprehension(fold) => write_comprehension(out, fold),
        Kind::Bind(bind) => write_bind(out, bind),
    }
}

/// An operator, or a function without a receiver.
fn write_function(out: &mut String, function: &str, arguments: &[Expr]) {
    match (function, arguments) {
        ("!_" | "-_", [operand]) => {
            out.push_str(&function[..1]);
            let start = out.len();
            write(out, operand, Level::Member);
            // A minus right before a number would be the number's.
            if function == "-_" && out[start..].starts_with(|c: char| c.is_ascii_digit()) {
                out.insert(start, '(');
                out.push(')');
            }
        }
        ("[]" | "[?]", [container, key]) => {
            write(out, container, Level::Member);
            out.push_str(if function == "[]" { "[" } else { "[?" });
            write(out, key, Level::Ternary);
            out.push(']');
        }
        (function, [left, right]) if operator(function).is_some() => {
            let level = operator(function).unwrap_or(Level::Relation);
            write(out, left, level);
            let _ = write!(out, " {function} ");
            // Operators of one level group from the left.
            write(out, right, tighter(level));
        }
        (function, arguments) => write_call(out, function, arguments.iter()),
    }
}

fn tighter(level: Level) -> Level {
    match level {
        Level::Relation => Level::Sum,
        Level::Sum => Level::Product,
        _ => Level::Unary,
    }
}

fn write_chain(out: &mut String, items: &[Expr], (operator, least): (&str, Level)) {
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { operator });
        write(out, item, least);
    }
}

fn write_select(out: &mut String, select: &Select) {
    if select.test {
        out.push_str("has(");
    }
    write(out, &select.operand, Level::Member);
    out.push_str(if select.optional { ".?" } else { "." });
    let quote = if select.quoted { "`" } else { "" };
    let _ = write!(out, "{quote}{}{quote}", select.field);
    if select.test {
        out.push(')');
    }
}

fn write_call<'x>(out: &mut String, name: &str, arguments: impl Iterator<Item = &'x Expr>) {
    out.push_str(name);
    out.push('(');
    for (at, argument) in arguments.enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write(out, argument, Level::Ternary);
    }
    out.push(')');
}

fn write_list(out: &mut String, items: &[Element<Expr>]) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        out.push_str(if item.optional { "?" } else { "" });
        write(out, &item.value, Level::Ternary);
    }
    out.push(']');
}

fn write_map(out: &mut String, entries: &[Entry<Expr>]) {
    out.push('{');
    for (at, entry) in entries.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        out.push_str(if entry.optional { "?" } else { "" });
        write(out, &entry.key, Level::Ternary);
        out.push_str(": ");
        write(out, &entry.value, Level::Ternary);
    }
    out.push('}');
}

fn write_comprehension(out: &mut String, fold: &Comprehension) {
    write(out, &fold.range, Level::Member);
    let _ = write!(out, ".{}({}", fold.fold.name(), fold.variable);
    if let Some(second) = &fold.second {
        let _ = write!(out, ", {second}");
    }
    for part in fold.condition.iter().chain([&fold.body]) {
        out.push_str(", ");
        write(out, part, Level::Ternary);
    }
    out.push(')');
}

fn write_bind(out: &mut String, bind: &Bind) {
    if bind.how == Binding::Bind {
        let _ = write!(out, "{}({}, ", bind.how.name(), bind.variable);
        write(out, &bind.value, Level::Ternary);
    } else {
        write(out, &bind.value, Level::Member);
        let _ = write!(out, ".{}({}", bind.how.name(), bind.variable);
    }
    out.push_str(", ");
    write(out, &bind.body, Level::Ternary);
    out.push(')');
}

fn write_literal(out: &mut String, literal: &Literal) {
    // Writing to a String cannot fail.
    let _ = match literal {
        Literal::Null => write!(out, "null"),
        Literal::Bool(bool) => write!(out, "{bool}"),
        Literal::Int(int) => write!(out, "{int}"),
        Literal::Uint(uint) => write!(out, "{uint}u"),
        // Its debug form always has a point or an exponent, which makes it a double.
        Literal::Double(double) => write!(out, "{double:?}"),
        Literal::String(text) => {
            out.push('"');
            text.chars().for_each(|char| write_char(out, char));
            out.push('"');
            Ok(())
        }
        Literal::Bytes(bytes) => {
            out.push_str("b\"");
            for byte in bytes {
                match byte {
                    b' '..=b'~' => write_char(out, char::from(*byte)),
                    other => {
                        let _ = write!(out, "\\x{other:02x}");
                    }
                }
            }
            out.push('"');
            Ok(())
        }
    };
}

fn write_char(out: &mut String, char: char) {
    let _ = match char {
        '"' | '\\' => write!(out, "\\{char}"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control)),
        plain => write!(out, "{plain}"),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::parse;
    use super::*;

    /// A tree without its places.
    fn shape(expr: &Expr) -> String {
        let shown = format!("{expr:?}");
        let mut parts = shown.split("Span { start: ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.split_once('}').map_or(part, |(_, rest)| rest))
    }

    fn normal(text: &str) -> String {
        unparse(&parse(text, true).unwrap())
    }

    #[test]
    fn a_text_is_spelled_one_way() {
        for (text, spelled) in [
            ("((a))+ (b*c)", "a + b * c"),
            ("(a+b)*c-(d-e)", "(a + b) * c - (d - e)"),
            ("a&&(b||c)&&!d", "a && (b || c) && !d"),
            ("a && (b && c)", "a && (b && c)"),
            ("(a ? b : c) ? d : (e ? f : g)", "(a ? b : c) ? d : e ? f : g"),
            ("(1 < 2) == (3 in [4,])", "1 < 2 == (3 in [4])"),
            ("!!a || - -b || ---1 == -(2)", "!(!a) || b || -(1) == -(2)"),
            ("(-1).abs() + -1.5", "(-1).abs() + -1.5"),
            ("r'a\\d' + 'it\\'s' + '''\n'''", r#""a\\d" + "it's" + "\n""#),
            ("b'\\xff\\000a'", r#"b"\xff\x00a""#),
            ("0xFFu + 1e3 + .5", "255u + 1000.0 + 0.5"),
            ("has( a . b ) // why", "has(a.b)"),
            ("m.`x-y`.?z[?0].w", "m.`x-y`.?z[?0].w"),
            ("[?a,b]+[{?c:d}]", "[?a, b] + [{?c: d}]"),
            (
                "l.map(x,x>0,x*2).exists_one(i,v,v==i)",
                "l.map(x, x > 0, x * 2).exists_one(i, v, v == i)",
            ),
            ("cel.bind(x,1,o.optMap(y,x+y))", "cel.bind(x, 1, o.optMap(y, x + y))"),
            (".a.f(.b).c(.g(1))", ".a.f(.b).c(.g(1))"),
            ("math.greatest(1,2,3)", "math.greatest([1, 2, 3])"),
        ] {
            assert_eq!(normal(text), spelled, "{text}");
            assert_eq!(normal(spelled), spelled, "{text}");
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|int| int.to_string()),
            any::<u64>().prop_map(|uint| format!("{uint}u")),
            proptest::num::f64::NORMAL.prop_map(|double| format!("{double:?}")),
            any::<String>().prop_map(|text| {
                let mut out = String::new();
                write_literal(&mut out, &Literal::String(text));
                out
            }),
            any::<Vec<u8>>().prop_map(|bytes| {
                let mut out = String::new();
                write_literal(&mut out, &Literal::Bytes(bytes));
                out
            }),
            proptest::sample::select(vec![
                "true", "null", "a", ".b", "a.b", "m.`x-y`", "has(a.b)", "o.?p", "r'\\d'", "[]",
                "{}",
            ])
            .prop_map(str::to_owned),
        ];
        let binary = proptest::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", " in ", "&&", "||",
        ]);
        let call = proptest::sample::select(vec![
            "f(A)",
            ".f(A)",
            "(A).f(B)",
            "(A)[B]",
            "(A)[?B]",
            "(A).g",
            "(A).?g",
            "has((A).g)",
            "[A, ?B]",
            "{A: B}",
            "{?A: B}",
            "(A).all(x, B)",
            "(A).exists_one(x, y, B)",
            "(A).map(x, B, A)",
            "(A).filter(x, B)",
            "(A).transformMap(k, v, A, B)",
            "cel.bind(x, A, B)",
            "(A).optFlatMap(x, B)",
            "(A).sortBy(x, B)",
            "(A) ? (B) : A",
            "-(A)",
            "!(A)",
            "--(A)",
            "!!(A)",
            "(A)",
        ]);
        leaf.prop_recursive(6, 48, 3, move |inner| {
            prop_oneof![
                (inner.clone(), binary.clone(), inner.clone(), any::<bool>()).prop_map(
                    |(a, operator, b, brackets)| match brackets {
                        true => format!("({a}) {operator} ({b})"),
                        false => format!("{a} {operator} {b}"),
                    }
                ),
                (call.clone(), inner.clone(), inner).prop_map(|(form, a, b)| form
                    .replace('A', "\0")
                    .replace('B', &b)
                    .replace('\0', &a)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_text_of_a_tree_reads_back_as_the_same_tree(text in expression()) {
            let Ok(tree) = parse(&text, true) else { return Ok(()) };
            let spelled = unparse(&tree);
            let again = parse(&spelled, true).map_err(|mistake| {
                TestCaseError::fail(format!("{text}\n{spelled}\n{mistake:?}"))
            })?;
            prop_assert_eq!(shape(&tree), shape(&again), "{}\n{}", text, spelled);
            prop_assert_eq!(unparse(&again), spelled);
        }
    }
}
