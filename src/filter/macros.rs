//! Macros: calls that are not calls, replaced while the tree is built.
//!
//! A call that has not a macro's name, receiver and number of arguments stays an ordinary call.

use crate::report::Span;

use super::error::Mistake;
use super::tree::{Bind, Binding, Comprehension, Element, Expr, Fold, Kind, Literal, Select};

/// What became of a call.
pub(super) enum Expansion {
    Macro(Kind),
    /// It is an ordinary call; its parts are given back.
    Call(Option<Expr>, Vec<Expr>),
}

/// All macros, for suggestions.
pub(super) const MACROS: [&str; 14] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "sortBy",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "cel.bind",
    "optMap",
    "optFlatMap",
];

/// The name by which other engines keep what a loop has found so far: no variable of a macro may have
/// it.
const RESULT: &str = "__result__";

type Expanded = Result<Expansion, Mistake>;

/// Expands `target.name(arguments)` or `name(arguments)` if it is a macro.
pub(super) fn expand(name: &str, target: Option<Expr>, mut arguments: Vec<Expr>) -> Expanded {
    let Some(target) = target else {
        if name == "has" && arguments.len() == 1 {
            return arguments.remove(0).presence().map(Expansion::Macro);
        }
        return Ok(Expansion::Call(None, arguments));
    };
    match (name, arguments.len()) {
        ("all", 2 | 3) => comprehension(Fold::All, target, arguments),
        ("exists", 2 | 3) => comprehension(Fold::Exists, target, arguments),
        ("exists_one" | "existsOne", 2 | 3) => comprehension(Fold::ExistsOne, target, arguments),
        ("filter", 2) => comprehension(Fold::Filter, target, arguments),
        ("map", 2 | 3) => comprehension(Fold::Map, target, arguments),
        ("sortBy", 2) => comprehension(Fold::SortBy, target, arguments),
        ("transformList", 3 | 4) => comprehension(Fold::TransformList, target, arguments),
        ("transformMap", 3 | 4) => comprehension(Fold::TransformMap, target, arguments),
        ("transformMapEntry", 3 | 4) => comprehension(Fold::TransformMapEntry, target, arguments),
        ("optMap", 2) => optional(Binding::OptMap, target, arguments),
        ("optFlatMap", 2) => optional(Binding::OptFlatMap, target, arguments),
        ("bind", 3) if target.is_name("cel") => bind(target, arguments),
        ("greatest" | "least", _) if target.is_name("math") => extreme(name, target, arguments),
        _ => Ok(Expansion::Call(Some(target), arguments)),
    }
}

/// The first arguments name the variables, the last is the body; a condition may stand between.
fn comprehension(fold: Fold, range: Expr, mut arguments: Vec<Expr>) -> Expanded {
    let two = match fold {
        Fold::All | Fold::Exists | Fold::ExistsOne => arguments.len() == 3,
        Fold::Filter | Fold::Map | Fold::SortBy => false,
        Fold::TransformList | Fold::TransformMap | Fold::TransformMapEntry => true,
    };
    let variables = arguments.iter().take(1 + usize::from(two));
    let mut names = variables.map(|it| variable(fold.name(), it)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = arguments.split_off(names.len());
    let second = if two { names.pop() } else { None };
    let (Some(body), Some(variable)) = (rest.pop(), names.pop()) else {
        return Ok(Expansion::Call(Some(range), rest));
    };
    if second.as_ref() == Some(&variable) {
        let message = format!("`{}` needs two variables of different names", fold.name());
        return Err(Mistake::new(body.span, message));
    }
    let condition = rest.pop();
    let macro_call = Comprehension { fold, range, variable, second, condition, body };
    Ok(Expansion::Macro(Kind::Comprehension(Box::new(macro_call))))
}

fn bind(target: Expr, mut arguments: Vec<Expr>) -> Expanded {
    let (Some(body), Some(value), Some(name)) = (arguments.pop(), arguments.pop(), arguments.pop())
    else {
        return Ok(Expansion::Call(Some(target), arguments));
    };
    bound(Binding::Bind, (value, &name), body)
}

fn optional(how: Binding, value: Expr, mut arguments: Vec<Expr>) -> Expanded {
    let (Some(body), Some(name)) = (arguments.pop(), arguments.pop()) else {
        return Ok(Expansion::Call(Some(value), arguments));
    };
    bound(how, (value, &name), body)
}

fn bound(how: Binding, (value, name): (Expr, &Expr), body: Expr) -> Expanded {
    let variable = variable(how.name(), name)?;
    Ok(Expansion::Macro(Kind::Bind(Box::new(Bind { how, variable, value, body }))))
}

/// `math.greatest` and `math.least` take any number of arguments: three and more become a list.
fn extreme(name: &str, target: Expr, mut arguments: Vec<Expr>) -> Expanded {
    let alone = arguments.len() == 1;
    let not_a_number = |expr: &Expr| match &expr.kind {
        Kind::List(items) if alone => {
            items.is_empty() || items.iter().any(|item| item.value.is_no_number())
        }
        _ => expr.is_no_number(),
    };
    if arguments.is_empty() || arguments.iter().any(not_a_number) {
        let span = arguments.iter().find(|it| not_a_number(it)).map_or(target.span, |it| it.span);
        return Err(Mistake::new(span, format!("`math.{name}` takes numbers or a list of them")));
    }
    if let ([first, .., last], 3..) = (arguments.as_slice(), arguments.len()) {
        let span = first.span.to(last.span);
        let element = |value| Element { value, optional: false };
        let items = arguments.into_iter().map(element).collect();
        arguments = vec![Expr::new(span, Kind::List(items))?];
    }
    Ok(Expansion::Call(Some(target), arguments))
}

fn variable(of: &str, argument: &Expr) -> Result<String, Mistake> {
    match &argument.kind {
        Kind::Name { name, .. } if name == RESULT => {
            Err(Mistake::new(argument.span, format!("`{name}` cannot be a variable of `{of}`")))
        }
        Kind::Name { name, absolute: false } => Ok(name.clone()),
        _ => Err(Mistake::new(
            argument.span,
            format!("the first argument of `{of}` names its variable: a plain identifier"),
        )),
    }
}

impl Expr {
    /// Whether it is seen at once that this is no number.
    fn is_no_number(&self) -> bool {
        match &self.kind {
            Kind::Literal(literal) => {
                !matches!(literal, Literal::Int(_) | Literal::Uint(_) | Literal::Double(_))
            }
            Kind::Map(_) | Kind::List(_) => true,
            _ => false,
        }
    }

    fn is_name(&self, wanted: &str) -> bool {
        matches!(&self.kind, Kind::Name { name, .. } if name == wanted)
    }

    /// The meaning of `has(self)`.
    fn presence(self) -> Result<Kind, Mistake> {
        match self.kind {
            Kind::Select(select) if !select.test && !select.optional => {
                Ok(Kind::Select(Select { test: true, ..select }))
            }
            _ => Err(not_a_selection(self.span)),
        }
    }
}

fn not_a_selection(span: Span) -> Mistake {
    Mistake::new(span, "`has` takes a field selection such as `ev.conn.client_ip`")
        .help("for a key of a map write `\"key\" in map`")
}
