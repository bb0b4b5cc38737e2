//! Values that may be missing. `or` and `orValue` with arguments that are not constants are run by
//! the evaluator, which evaluates the second only if it is needed.

use super::super::error::EvalError;
use super::super::value::Value;
use super::{Budget, Outcome, refuse};

pub(in super::super) fn of<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [value] => Ok(Value::some(value.clone())),
        _ => refuse("optional.of", arguments),
    }
}

pub(in super::super) fn none<'a>(_: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    Ok(Value::Optional(None))
}

/// None for null, false, 0, empty text, bytes, list or map, no time at all, and the instant that
/// Unix time counts from, which CEL's C++ runtime takes for the zero of timestamps.
pub(in super::super) fn of_non_zero<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let [value] = arguments else { return refuse("optional.ofNonZeroValue", arguments) };
    let zero = match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => {
            true
        }
        Value::Double(double) => *double == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Timestamp(time) => (time.seconds, time.nanos) == (0, 0),
        _ => false,
    };
    Ok(if zero { Value::Optional(None) } else { Value::some(value.clone()) })
}

pub(in super::super) fn has_value<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Optional(held)] => Ok(Value::Bool(held.is_some())),
        _ => refuse("hasValue", arguments),
    }
}

pub(in super::super) fn value<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Optional(Some(held))] => Ok((**held).clone()),
        [Value::Optional(None)] => {
            Err(EvalError::Invalid("`value` of an optional that is empty".into()))
        }
        _ => refuse("value", arguments),
    }
}

pub(in super::super) fn or<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Optional(None), other @ Value::Optional(_)] => Ok(other.clone()),
        [some @ Value::Optional(_), Value::Optional(_)] => Ok(some.clone()),
        _ => refuse("or", arguments),
    }
}

pub(in super::super) fn or_value<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Optional(Some(held)), _] => Ok((**held).clone()),
        [Value::Optional(None), other] => Ok(other.clone()),
        _ => refuse("orValue", arguments),
    }
}

/// The values of those optionals in a list that have one.
pub(in super::super) fn unwrap<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::List(items)] = arguments else { return refuse("optional.unwrap", arguments) };
    budget.build_list(items.len())?;
    let mut held = Vec::new();
    for item in items.iter() {
        match item {
            Value::Optional(value) => held.extend(value.as_deref().cloned()),
            other => return refuse("optional.unwrap", std::slice::from_ref(other)),
        }
    }
    Ok(Value::List(held.into()))
}
