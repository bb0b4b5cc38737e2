//! Conversions between types. What does not fit is an error, never cut or wrapped; only the
//! fraction of a double is dropped on the way to an integer.

use crate::event::Timestamp;

use super::super::error::EvalError;
use super::super::value::{Text, Value};
use super::time::{duration_text, parse_duration};
use super::{Budget, Outcome, refuse};

const OUT_OF_INT: EvalError = EvalError::Overflow("int");
const OUT_OF_UINT: EvalError = EvalError::Overflow("uint");

/// Pays for reading a text, which may be long.
fn read(arguments: &[Value<'_>], budget: &mut Budget) -> Result<(), EvalError> {
    match arguments {
        [Value::String(text)] => budget.parse(text),
        _ => Ok(()),
    }
}

pub(in super::super) fn int<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Int(match arguments {
        [Value::Int(int)] => *int,
        [Value::Uint(uint)] => i64::try_from(*uint).map_err(|_| OUT_OF_INT)?,
        // Both ends are excluded: CEL's suite asks for it, as doubles are inexact there.
        [Value::Double(double)] if *double > i64::MIN as f64 && *double < i64::MAX as f64 => {
            *double as i64
        }
        [Value::Double(_)] => return Err(OUT_OF_INT),
        [Value::String(text)] => decimal(text)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| EvalError::invalid("int", text))?,
        [Value::Timestamp(time)] => time.seconds,
        _ => return refuse("int", arguments),
    }))
}

pub(in super::super) fn uint<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Uint(match arguments {
        [Value::Uint(uint)] => *uint,
        [Value::Int(int)] => u64::try_from(*int).map_err(|_| OUT_OF_UINT)?,
        [Value::Double(double)] if *double > -1.0 && *double < u64::MAX as f64 => *double as u64,
        [Value::Double(_)] => return Err(OUT_OF_UINT),
        [Value::String(text)] => decimal(text)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| EvalError::invalid("uint", text))?,
        _ => return refuse("uint", arguments),
    }))
}

/// Rust's parser would take a leading `+` as well.
fn decimal(text: &str) -> Option<&str> {
    (!text.starts_with('+')).then_some(text)
}

pub(in super::super) fn double<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Double(match arguments {
        [Value::Double(double)] => *double,
        [Value::Int(int)] => *int as f64,
        [Value::Uint(uint)] => *uint as f64,
        [Value::String(text)] => text.parse().map_err(|_| EvalError::invalid("double", text))?,
        _ => return refuse("double", arguments),
    }))
}

pub(in super::super) fn string<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let text = match arguments {
        [Value::String(text)] => return Ok(Value::String(text.clone())),
        [Value::Bool(bool)] => bool.to_string(),
        [Value::Int(int)] => int.to_string(),
        [Value::Uint(uint)] => uint.to_string(),
        [Value::Double(double)] => double_text(*double),
        [Value::Bytes(bytes)] => {
            budget.search(bytes.len())?;
            let invalid = |_| EvalError::Invalid("the bytes are not UTF-8".into());
            std::str::from_utf8(bytes).map_err(invalid)?.to_owned()
        }
        [Value::Timestamp(time)] => time.to_string(),
        [Value::Duration(span)] => duration_text(*span),
        [Value::Ip(address)] => address.to_string(),
        [Value::Cidr(network)] => network.to_string(),
        _ => return refuse("string", arguments),
    };
    budget.build(text.len())?;
    Ok(Value::String(Text::Shared(text.into())))
}

/// The shortest text that reads back as the same number; an exponent where digits would be many.
pub(super) fn double_text(double: f64) -> String {
    if double == 0.0 || !double.is_finite() || (1e-6..1e21).contains(&double.abs()) {
        double.to_string()
    } else {
        format!("{double:e}")
    }
}

pub(in super::super) fn bytes<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(bytes.clone())),
        [Value::String(text)] => {
            budget.build(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => refuse("bytes", arguments),
    }
}

pub(in super::super) fn bool<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Bool(match arguments {
        [Value::Bool(bool)] => *bool,
        [Value::String(text)] => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "false" | "FALSE" | "False" => false,
            text => return Err(EvalError::invalid("bool", text)),
        },
        _ => return refuse("bool", arguments),
    }))
}

pub(in super::super) fn timestamp<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Timestamp(match arguments {
        [Value::Timestamp(time)] => *time,
        [Value::String(text)] => Timestamp::parse(text).ok_or_else(|| {
            EvalError::invalid("RFC 3339 timestamp such as 2025-09-04T10:11:14Z", text)
        })?,
        [Value::Int(seconds)] => Timestamp { seconds: *seconds, nanos: 0 }
            .in_range()
            .ok_or(EvalError::Overflow("timestamp"))?,
        _ => return refuse("timestamp", arguments),
    }))
}

pub(in super::super) fn duration<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    read(arguments, budget)?;
    Ok(Value::Duration(match arguments {
        [Value::Duration(span)] => *span,
        [Value::String(text)] => parse_duration(text)
            .ok_or_else(|| EvalError::invalid("duration such as 1h30m", text))?,
        _ => return refuse("duration", arguments),
    }))
}

pub(in super::super) fn type_of<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [value] => Ok(Value::Type(value.type_name())),
        _ => refuse("type", arguments),
    }
}

pub(in super::super) fn to_dyn<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [value] => Ok(value.clone()),
        _ => refuse("dyn", arguments),
    }
}
