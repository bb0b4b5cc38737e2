//! What operators and functions do, by subject. Each takes its arguments as values of any type and
//! says so when it cannot take them; `overloads.rs` lists the types.

pub(super) mod arithmetic;
pub(super) mod automaton;
mod budget;
pub(super) mod containers;
pub(super) mod convert;
pub(super) mod encode;
pub(super) mod extreme;
pub(super) mod format;
pub(super) mod lists;
pub(super) mod math;
pub(super) mod network;
pub(super) mod optional;
pub(super) mod pattern;
mod re2;
pub(super) mod regex;
pub(super) mod text;
pub(super) mod time;

use super::error::EvalError;
use super::value::{Value, no_overload};

pub(super) use budget::Budget;

pub(super) type Outcome<'a> = Result<Value<'a>, EvalError>;

/// A function: its arguments, and what one evaluation may still spend.
pub(super) type Implementation = for<'a> fn(&[Value<'a>], &mut Budget) -> Outcome<'a>;

fn refuse<'a>(name: &'static str, arguments: &[Value<'a>]) -> Outcome<'a> {
    Err(no_overload(name, &arguments.iter().collect::<Vec<_>>()))
}
