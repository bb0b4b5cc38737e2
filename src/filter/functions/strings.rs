//! Tests on text.

use super::super::limits::{DYNAMIC_REGEX_ITERATIONS, MAX_DYNAMIC_REGEX_PROGRAM};
use super::super::value::Value;
use super::regex::Pattern;
use super::{Budget, Outcome, refuse};

pub(in super::super) fn contains<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(part)] => {
            budget.search(text.len())?;
            Ok(Value::Bool(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()))
        }
        _ => refuse("contains", arguments),
    }
}

pub(in super::super) fn starts_with<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(start)] => Ok(Value::Bool(text.starts_with(&**start))),
        _ => refuse("startsWith", arguments),
    }
}

pub(in super::super) fn ends_with<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(end)] => Ok(Value::Bool(text.ends_with(&**end))),
        _ => refuse("endsWith", arguments),
    }
}

/// `matches` with a pattern that is not a constant; constant ones are compiled with the filter.
pub(in super::super) fn matches<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(pattern)] => {
            budget.iterate(DYNAMIC_REGEX_ITERATIONS)?;
            budget.search(text.len())?;
            Ok(Value::Bool(Pattern::new(pattern, MAX_DYNAMIC_REGEX_PROGRAM)?.is_match(text)))
        }
        _ => refuse("matches", arguments),
    }
}
