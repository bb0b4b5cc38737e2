//! Tests on text.

use super::super::value::Value;
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
