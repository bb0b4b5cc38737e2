//! What operators and functions do, by subject. Each takes its arguments as values of any type and
//! says so when it cannot take them; `overloads.rs` lists the types.

pub(super) mod arithmetic;
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
use super::limits::{
    BYTES_PER_ITERATION, ITEMS_PER_ITERATION, MAX_ITERATIONS, MAX_RESULT, MAX_VALUE_DEPTH,
};
use super::value::{Value, equal_within, no_overload};

pub(super) type Outcome<'a> = Result<Value<'a>, EvalError>;

/// A function: its arguments, and what one evaluation may still spend.
pub(super) type Implementation = for<'a> fn(&[Value<'a>], &mut Budget) -> Outcome<'a>;

/// What one evaluation may still spend. Work that a filter's text bounds is not counted.
#[derive(Debug)]
pub(super) struct Budget {
    iterations: u32,
    result: usize,
}

impl Budget {
    pub fn new() -> Budget {
        Budget { iterations: MAX_ITERATIONS, result: MAX_RESULT }
    }

    /// Spends iterations of comprehensions, or work that costs as much.
    pub fn iterate(&mut self, count: u32) -> Result<(), EvalError> {
        match self.iterations.checked_sub(count) {
            Some(left) => {
                self.iterations = left;
                Ok(())
            }
            None => Err(EvalError::Limit(MAX_ITERATIONS as usize, "iterations in one evaluation")),
        }
    }

    /// Spends the work of searching text.
    pub fn search(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.iterate(u32::try_from(bytes / BYTES_PER_ITERATION).unwrap_or(u32::MAX))
    }

    /// Spends the work of searching a list.
    pub fn search_list(&mut self, items: usize) -> Result<(), EvalError> {
        self.search(items.saturating_mul(BYTES_PER_ITERATION / ITEMS_PER_ITERATION))
    }

    /// Whether two values are equal; items inside them cost as much as items searched.
    pub fn equal(&mut self, a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
        let mut items = 0usize;
        let left = (self.iterations as usize).saturating_mul(ITEMS_PER_ITERATION);
        let mut too_deep = false;
        let equal = equal_within((a, b), 0, &mut |more, depth| {
            too_deep = depth > MAX_VALUE_DEPTH;
            // A container counts as one more item: many may be empty.
            items = items.saturating_add(more + 1);
            items <= left && !too_deep
        });
        if too_deep {
            return Err(EvalError::Limit(MAX_VALUE_DEPTH, "lists inside each other"));
        }
        self.search_list(items)?;
        equal.ok_or(EvalError::Limit(MAX_ITERATIONS as usize, "iterations in one evaluation"))
    }

    /// Spends bytes of a result that is about to be built.
    pub fn build(&mut self, bytes: usize) -> Result<(), EvalError> {
        match self.result.checked_sub(bytes) {
            Some(left) => {
                self.result = left;
                Ok(())
            }
            None => Err(EvalError::Limit(MAX_RESULT, "bytes of results in one evaluation")),
        }
    }

    /// Spends the memory of a list that is about to be built.
    pub fn build_list(&mut self, items: usize) -> Result<(), EvalError> {
        self.build(items.saturating_mul(size_of::<Value<'_>>()))
    }
}

fn refuse<'a>(name: &'static str, arguments: &[Value<'a>]) -> Outcome<'a> {
    Err(no_overload(name, &arguments.iter().collect::<Vec<_>>()))
}
