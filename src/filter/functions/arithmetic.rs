//! Operators on numbers, text, lists and times. Integer results out of range are errors, never
//! wrapped; doubles follow IEEE 754.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::event::Timestamp;

use super::super::error::EvalError;
use super::super::value::{Text, Value, compare};
use super::{Budget, Outcome, refuse};

pub(in super::super) fn equals<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [a, b] => Ok(Value::Bool(budget.equal(a, b)?)),
        _ => refuse("==", arguments),
    }
}

pub(in super::super) fn differs<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [a, b] => Ok(Value::Bool(!budget.equal(a, b)?)),
        _ => refuse("!=", arguments),
    }
}

fn ordered<'a>(
    operator: &'static str,
    arguments: &[Value<'a>],
    budget: &mut Budget,
    holds: fn(Ordering) -> bool,
) -> Outcome<'a> {
    if let [Value::String(a), Value::String(b)] = arguments {
        budget.compare(a.len().min(b.len()))?;
    }
    if let [Value::Bytes(a), Value::Bytes(b)] = arguments {
        budget.compare(a.len().min(b.len()))?;
    }
    match arguments {
        [a, b] => Ok(Value::Bool(compare(operator, a, b)?.is_some_and(holds))),
        _ => refuse(operator, arguments),
    }
}

pub(in super::super) fn less<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    ordered("<", arguments, budget, Ordering::is_lt)
}

pub(in super::super) fn at_most<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    ordered("<=", arguments, budget, Ordering::is_le)
}

pub(in super::super) fn greater<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    ordered(">", arguments, budget, Ordering::is_gt)
}

pub(in super::super) fn at_least<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    ordered(">=", arguments, budget, Ordering::is_ge)
}

pub(in super::super) fn not<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Bool(bool)] => Ok(Value::Bool(!bool)),
        _ => refuse("!", arguments),
    }
}

pub(in super::super) fn negate<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(int)] => within("-", int.checked_neg()).map(Value::Int),
        [Value::Double(double)] => Ok(Value::Double(-double)),
        _ => refuse("-", arguments),
    }
}

fn within<T>(operator: &'static str, result: Option<T>) -> Result<T, EvalError> {
    result.ok_or(EvalError::Overflow(operator))
}

pub(in super::super) fn add<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [a, b] = arguments else { return refuse("+", arguments) };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => within("+", a.checked_add(*b)).map(Value::Int),
        (Value::Uint(a), Value::Uint(b)) => within("+", a.checked_add(*b)).map(Value::Uint),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            budget.build(a.len() + b.len())?;
            Ok(Value::String(Text::Shared([&**a, &**b].concat().into())))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.build(a.len() + b.len())?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => {
            budget.build_list(a.len() + b.len())?;
            Ok(Value::List(a.iter().chain(b.iter()).cloned().collect::<Arc<[_]>>()))
        }
        (Value::Timestamp(time), Value::Duration(span))
        | (Value::Duration(span), Value::Timestamp(time)) => {
            within("+", moved(*time, i128::from(*span))).map(Value::Timestamp)
        }
        (Value::Duration(a), Value::Duration(b)) => {
            within("+", a.checked_add(*b)).map(Value::Duration)
        }
        _ => refuse("+", arguments),
    }
}

pub(in super::super) fn subtract<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let [a, b] = arguments else { return refuse("-", arguments) };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => within("-", a.checked_sub(*b)).map(Value::Int),
        (Value::Uint(a), Value::Uint(b)) => within("-", a.checked_sub(*b)).map(Value::Uint),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let span = nanoseconds(*a) - nanoseconds(*b);
            within("-", i64::try_from(span).ok()).map(Value::Duration)
        }
        (Value::Timestamp(time), Value::Duration(span)) => {
            within("-", moved(*time, -i128::from(*span))).map(Value::Timestamp)
        }
        (Value::Duration(a), Value::Duration(b)) => {
            within("-", a.checked_sub(*b)).map(Value::Duration)
        }
        _ => refuse("-", arguments),
    }
}

const NANOS: i128 = 1_000_000_000;

fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds) * NANOS + i128::from(time.nanos)
}

/// The instant so many nanoseconds later, if it is between the years 0001 and 9999.
fn moved(time: Timestamp, by: i128) -> Option<Timestamp> {
    let sum = nanoseconds(time) + by;
    let seconds = i64::try_from(sum.div_euclid(NANOS)).ok()?;
    let nanos = u32::try_from(sum.rem_euclid(NANOS)).ok()?;
    Timestamp { seconds, nanos }.in_range()
}

pub(in super::super) fn multiply<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(a), Value::Int(b)] => within("*", a.checked_mul(*b)).map(Value::Int),
        [Value::Uint(a), Value::Uint(b)] => within("*", a.checked_mul(*b)).map(Value::Uint),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => refuse("*", arguments),
    }
}

pub(in super::super) fn divide<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::DivisionByZero)
        }
        [Value::Int(a), Value::Int(b)] => within("/", a.checked_div(*b)).map(Value::Int),
        [Value::Uint(a), Value::Uint(b)] => within("/", a.checked_div(*b)).map(Value::Uint),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => refuse("/", arguments),
    }
}

pub(in super::super) fn remainder<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::DivisionByZero)
        }
        [Value::Int(a), Value::Int(b)] => within("%", a.checked_rem(*b)).map(Value::Int),
        [Value::Uint(a), Value::Uint(b)] => within("%", a.checked_rem(*b)).map(Value::Uint),
        _ => refuse("%", arguments),
    }
}
