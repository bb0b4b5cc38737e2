//! Reading lists and maps: size, membership, index.

use super::super::error::EvalError;
use super::super::value::{Key, Value, equal};
use super::{Budget, Outcome, refuse};

pub(in super::super) fn size<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let size = match arguments {
        [Value::String(text)] => text.chars().count(),
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
            budget.search_list(items.len())?;
            Ok(Value::Bool(items.iter().any(|item| equal(item, wanted))))
        }
        [wanted, Value::Map(map)] => {
            let found = Key::looked_up(wanted).is_some_and(|key| map.get(&key).is_some());
            Ok(Value::Bool(found))
        }
        _ => refuse("in", arguments),
    }
}

pub(in super::super) fn index<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Map(map), key] => Key::looked_up(key)
            .and_then(|key| map.get(&key).cloned())
            .ok_or_else(|| EvalError::no_such_key(&key_text(key))),
        [Value::List(items), index] => {
            let at = match Key::looked_up(index) {
                Some(Key::Int(index)) => index,
                Some(Key::Uint(index)) => i64::try_from(index).unwrap_or(i64::MAX),
                _ => return refuse("[]", arguments),
            };
            let item = usize::try_from(at).ok().and_then(|at| items.get(at));
            item.cloned().ok_or(EvalError::NoSuchIndex(at))
        }
        _ => refuse("[]", arguments),
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
