//! Reading lists and maps: size, membership, index.

use std::sync::Arc;

use super::super::error::EvalError;
use super::super::value::{Key, Value, no_overload};
use super::{Budget, Outcome, refuse};

pub(in super::super) fn size<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let size = match arguments {
        [Value::String(text)] => {
            budget.compare(text.len())?;
            text.chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(items)] => items.len(),
        [Value::Map(map)] => map.len(),
        _ => return refuse("size", arguments),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

pub(in super::super) fn contained<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [wanted, Value::List(items)] => {
            for item in items.iter() {
                budget.search_list(1)?;
                if budget.equal(item, wanted)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        [wanted, Value::Map(map)] => {
            let Some(key) = Key::looked_up(wanted) else { return Ok(Value::Bool(false)) };
            budget.work(key.work())?;
            Ok(Value::Bool(map.get(&key).is_some()))
        }
        _ => refuse("in", arguments),
    }
}

/// `container[key]`; of an optional container, an optional of what is there.
pub(in super::super) fn index<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [container, key] = arguments else { return refuse("[]", arguments) };
    if matches!(container, Value::Optional(_)) {
        return optional_index(arguments, budget);
    }
    found(container, key, budget)?.ok_or_else(|| match (container, Key::looked_up(key)) {
        (Value::List(_), Some(Key::Int(index))) => EvalError::NoSuchIndex(index),
        _ => EvalError::no_such_key(&key_text(key)),
    })
}

/// `container[?key]`
pub(in super::super) fn optional_index<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [container, key] = arguments else { return refuse("[?]", arguments) };
    let found = match container {
        Value::Optional(None) => None,
        Value::Optional(Some(held)) => found(held, key, budget)?,
        container => found(container, key, budget)?,
    };
    Ok(Value::Optional(found.map(Arc::new)))
}

fn found<'a>(
    container: &Value<'a>,
    key: &Value<'a>,
    budget: &mut Budget,
) -> Result<Option<Value<'a>>, EvalError> {
    match (container, Key::looked_up(key)) {
        (Value::Map(_), None) => Ok(None),
        (Value::Map(map), Some(key)) => {
            budget.work(key.work())?;
            Ok(map.get(&key).cloned())
        }
        (Value::List(items), Some(Key::Int(index))) => {
            Ok(usize::try_from(index).ok().and_then(|at| items.get(at)).cloned())
        }
        (Value::List(items), Some(Key::Uint(index))) => {
            Ok(usize::try_from(index).ok().and_then(|at| items.get(at)).cloned())
        }
        _ => Err(no_overload("[]", &[container, key])),
    }
}

/// A key as an error names it.
fn key_text(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => uint.to_string(),
        Value::Double(double) => double.to_string(),
        other => other.type_name().to_owned(),
    }
}
