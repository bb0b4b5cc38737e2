//! Macros: calls that are not calls, replaced while the tree is built.
//!
//! A call that has not a macro's name, receiver and number of arguments stays an ordinary call.

use crate::report::Span;

use super::error::Mistake;
use super::tree::{Comprehension, Expr, Fold, Kind, Select};

/// What became of a call.
pub(super) enum Expansion {
    /// It is a macro.
    Macro(Kind),
    /// It is an ordinary call; its parts are given back.
    Call(Option<Expr>, Vec<Expr>),
}

/// Expands `target.name(arguments)` or `name(arguments)` if it is a macro.
pub(super) fn expand(
    name: &str,
    target: Option<Expr>,
    mut arguments: Vec<Expr>,
) -> Result<Expansion, Mistake> {
    let Some(target) = target else {
        if name == "has" && arguments.len() == 1 {
            return arguments.remove(0).presence().map(Expansion::Macro);
        }
        return Ok(Expansion::Call(None, arguments));
    };
    let fold = match (name, arguments.len()) {
        ("all", 2) => Fold::All,
        ("exists", 2) => Fold::Exists,
        ("exists_one" | "existsOne", 2) => Fold::ExistsOne,
        ("filter", 2) => Fold::Filter,
        ("map", 2 | 3) => Fold::Map,
        _ => return Ok(Expansion::Call(Some(target), arguments)),
    };
    let variable = variable(name, &arguments[0])?;
    let mut rest = arguments.drain(1..);
    // The lengths were matched above: one argument is left, or two for `map` with a condition.
    let (condition, body) = match (rest.next(), rest.next()) {
        (condition, Some(body)) => (condition, Some(body)),
        (body, None) => (None, body),
    };
    drop(rest);
    let Some(body) = body else { return Ok(Expansion::Call(Some(target), arguments)) };
    let comprehension = Comprehension { fold, range: target, variable, condition, body };
    Ok(Expansion::Macro(Kind::Comprehension(Box::new(comprehension))))
}

fn variable(name: &str, argument: &Expr) -> Result<String, Mistake> {
    match &argument.kind {
        Kind::Name { name, absolute: false } => Ok(name.clone()),
        _ => Err(Mistake::new(
            argument.span,
            format!("the first argument of `{name}` names its variable: a plain identifier"),
        )),
    }
}

impl Expr {
    /// The meaning of `has(self)`.
    fn presence(self) -> Result<Kind, Mistake> {
        match self.kind {
            Kind::Select(select) if !select.test => {
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
