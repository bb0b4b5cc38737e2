//! The extension of numbers: rounding, signs, bits.

use super::super::error::EvalError;
use super::super::value::Value;
use super::{Budget, Outcome, refuse};

fn rounded<'a>(name: &'static str, arguments: &[Value<'a>], round: fn(f64) -> f64) -> Outcome<'a> {
    match arguments {
        [Value::Double(double)] => Ok(Value::Double(round(*double))),
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn ceil<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    rounded("math.ceil", arguments, f64::ceil)
}

pub(in super::super) fn floor<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    rounded("math.floor", arguments, f64::floor)
}

/// Halves go away from zero.
pub(in super::super) fn round<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    rounded("math.round", arguments, f64::round)
}

pub(in super::super) fn trunc<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    rounded("math.trunc", arguments, f64::trunc)
}

pub(in super::super) fn abs<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(int)] => {
            int.checked_abs().map(Value::Int).ok_or(EvalError::Overflow("math.abs"))
        }
        [Value::Uint(uint)] => Ok(Value::Uint(*uint)),
        [Value::Double(double)] => Ok(Value::Double(double.abs())),
        _ => refuse("math.abs", arguments),
    }
}

/// -1, 0 or 1 in the argument's type; of NaN, NaN.
pub(in super::super) fn sign<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(int)] => Ok(Value::Int(int.signum())),
        [Value::Uint(uint)] => Ok(Value::Uint((*uint).min(1))),
        [Value::Double(double)] if *double == 0.0 => Ok(Value::Double(0.0)),
        [Value::Double(double)] => Ok(Value::Double(double.signum())),
        _ => refuse("math.sign", arguments),
    }
}

pub(in super::super) fn sqrt<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(int)] => Ok(Value::Double((*int as f64).sqrt())),
        [Value::Uint(uint)] => Ok(Value::Double((*uint as f64).sqrt())),
        [Value::Double(double)] => Ok(Value::Double(double.sqrt())),
        _ => refuse("math.sqrt", arguments),
    }
}

fn test<'a>(name: &'static str, arguments: &[Value<'a>], holds: fn(f64) -> bool) -> Outcome<'a> {
    match arguments {
        [Value::Double(double)] => Ok(Value::Bool(holds(*double))),
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn is_nan<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    test("math.isNaN", arguments, f64::is_nan)
}

pub(in super::super) fn is_inf<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    test("math.isInf", arguments, f64::is_infinite)
}

pub(in super::super) fn is_finite<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    test("math.isFinite", arguments, f64::is_finite)
}

fn bits<'a>(
    name: &'static str,
    arguments: &[Value<'a>],
    combine: fn(u64, u64) -> u64,
) -> Outcome<'a> {
    match arguments {
        [Value::Int(a), Value::Int(b)] => Ok(Value::Int(combine(*a as u64, *b as u64) as i64)),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(combine(*a, *b))),
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn bit_and<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    bits("math.bitAnd", arguments, |a, b| a & b)
}

pub(in super::super) fn bit_or<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    bits("math.bitOr", arguments, |a, b| a | b)
}

pub(in super::super) fn bit_xor<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    bits("math.bitXor", arguments, |a, b| a ^ b)
}

pub(in super::super) fn bit_not<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(int)] => Ok(Value::Int(!int)),
        [Value::Uint(uint)] => Ok(Value::Uint(!uint)),
        _ => refuse("math.bitNot", arguments),
    }
}

/// Shifts by 64 and more give 0; the sign of an int is a bit like the others.
fn shifted<'a>(
    name: &'static str,
    arguments: &[Value<'a>],
    shift: fn(u64, u32) -> Option<u64>,
) -> Outcome<'a> {
    let by = |places: i64| match places {
        ..0 => Err(EvalError::Invalid(format!("`{name}` cannot shift by {places}").into())),
        places => Ok(u32::try_from(places).unwrap_or(u32::MAX)),
    };
    match arguments {
        [Value::Int(int), Value::Int(places)] => {
            let bits = shift(*int as u64, by(*places)?).unwrap_or(0);
            Ok(Value::Int(bits as i64))
        }
        [Value::Uint(uint), Value::Int(places)] => {
            Ok(Value::Uint(shift(*uint, by(*places)?).unwrap_or(0)))
        }
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn shift_left<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    shifted("math.bitShiftLeft", arguments, u64::checked_shl)
}

pub(in super::super) fn shift_right<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    shifted("math.bitShiftRight", arguments, u64::checked_shr)
}
