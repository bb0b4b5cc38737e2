//! `text.format(list)`: the values of a list put into a text at its `%` clauses.

use std::fmt::Write as _;

use super::super::error::EvalError;
use super::super::limits::{MAX_FORMAT_PRECISION, MAX_VALUE_DEPTH};
use super::super::value::{Text, Value};
use super::convert::double_text;
use super::time::duration_text;
use super::{Budget, Outcome, refuse};

/// Digits after the point where a clause does not say.
const PRECISION: usize = 6;

pub(in super::super) fn format<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::String(text), Value::List(values)] = arguments else {
        return refuse("format", arguments);
    };
    budget.build(text.len())?;
    let mut values = values.iter();
    let mut made = String::with_capacity(text.len());
    let mut rest: &str = text;
    while let Some((before, after)) = rest.split_once('%') {
        made.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            made.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(after)?;
        let mut chars = after.chars();
        let verb = chars.next().ok_or_else(|| wrong("a `%` stands at the end".to_owned()))?;
        rest = chars.as_str();
        let value =
            values.next().ok_or_else(|| wrong(format!("there is no value for `%{verb}`")))?;
        // Numbers with all their digits; what is longer is paid for where it is written.
        budget.build(precision.min(MAX_FORMAT_PRECISION))?;
        let start = made.len();
        write_clause(&mut made, verb, precision, (value, budget))?;
        budget.build(made.len() - start)?;
    }
    made.push_str(rest);
    Ok(Value::String(Text::Shared(made.into())))
}

fn wrong(what: String) -> EvalError {
    EvalError::Invalid(format!("`format`: {what}").into())
}

/// `.3` before a verb, and what follows.
fn precision(clause: &str) -> Result<(usize, &str), EvalError> {
    let Some(after) = clause.strip_prefix('.') else { return Ok((PRECISION, clause)) };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = after.split_at(digits);
    match digits.parse::<usize>() {
        Ok(precision) if precision <= MAX_FORMAT_PRECISION => Ok((precision, after)),
        Ok(_) => Err(EvalError::Limit(MAX_FORMAT_PRECISION, "digits after the point")),
        Err(_) => Err(wrong("a `.` needs the number of digits after it".to_owned())),
    }
}

fn write_clause(
    out: &mut String,
    verb: char,
    precision: usize,
    (value, budget): (&Value<'_>, &mut Budget),
) -> Result<(), EvalError> {
    let not_taken = || wrong(format!("`%{verb}` cannot take {}", value.type_name()));
    // Writing to a String cannot fail.
    let _ = match (verb, value) {
        ('s', value) => return write_text(out, value, 0, budget),
        ('d', Value::Int(int)) => write!(out, "{int}"),
        ('d', Value::Uint(uint)) => write!(out, "{uint}"),
        ('d' | 'f' | 'e', Value::Double(double)) if !double.is_finite() => {
            write!(out, "{}", double_name(*double))
        }
        ('d', Value::Double(double)) => write!(out, "{double}"),
        ('f', number) => {
            let double = as_double(number).ok_or_else(not_taken)?;
            write!(out, "{double:.precision$}")
        }
        ('e', number) => {
            let double = as_double(number).ok_or_else(not_taken)?;
            let written = format!("{double:.precision$e}");
            let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            write!(out, "{digits}e{sign}{exponent:0>2}")
        }
        ('b', Value::Bool(bool)) => write!(out, "{}", u8::from(*bool)),
        ('x' | 'X', Value::String(text)) => {
            return write_hex(out, text.as_bytes(), verb == 'X', budget);
        }
        ('x' | 'X', Value::Bytes(bytes)) => return write_hex(out, bytes, verb == 'X', budget),
        ('b' | 'o' | 'x' | 'X', number) => {
            let (sign, magnitude) = match number {
                Value::Int(int) => (if *int < 0 { "-" } else { "" }, int.unsigned_abs()),
                Value::Uint(uint) => ("", *uint),
                _ => return Err(not_taken()),
            };
            match verb {
                'b' => write!(out, "{sign}{magnitude:b}"),
                'o' => write!(out, "{sign}{magnitude:o}"),
                'x' => write!(out, "{sign}{magnitude:x}"),
                _ => write!(out, "{sign}{magnitude:X}"),
            }
        }
        ('d', _) => return Err(not_taken()),
        _ => return Err(wrong(format!("unknown clause `%{verb}`"))),
    };
    Ok(())
}

fn write_hex(
    out: &mut String,
    bytes: &[u8],
    upper: bool,
    budget: &mut Budget,
) -> Result<(), EvalError> {
    budget.search(12 * bytes.len())?;
    out.push_str(&if upper { hex::encode_upper(bytes) } else { hex::encode(bytes) });
    Ok(())
}

/// Bytes as text; a run of bytes that are no UTF-8 becomes one replacement character.
fn write_bytes(out: &mut String, bytes: &[u8]) {
    let mut replaced = false;
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        replaced &= chunk.valid().is_empty();
        if !chunk.invalid().is_empty() && !replaced {
            out.push(char::REPLACEMENT_CHARACTER);
            replaced = true;
        }
    }
}

fn as_double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        Value::Int(int) => Some(*int as f64),
        Value::Uint(uint) => Some(*uint as f64),
        _ => None,
    }
}

fn double_name(double: f64) -> String {
    match double {
        _ if double.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        double => double_text(double),
    }
}

/// `%s`: any value, with the values inside it unquoted; maps in the order of their written keys.
fn write_text(
    out: &mut String,
    value: &Value<'_>,
    depth: usize,
    budget: &mut Budget,
) -> Result<(), EvalError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(EvalError::Limit(MAX_VALUE_DEPTH, "lists inside each other"));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(&bool.to_string()),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Uint(uint) => out.push_str(&uint.to_string()),
        Value::Double(double) => out.push_str(&double_name(*double)),
        Value::String(text) => {
            budget.build(text.len())?;
            out.push_str(text);
        }
        Value::Bytes(bytes) => {
            budget.build(bytes.len())?;
            write_bytes(out, bytes);
        }
        Value::Timestamp(time) => out.push_str(&time.to_string()),
        Value::Duration(span) => out.push_str(&duration_text(*span)),
        Value::Type(name) => out.push_str(name),
        Value::Ip(address) => out.push_str(&address.to_string()),
        Value::Cidr(network) => out.push_str(&network.to_string()),
        Value::Optional(_) => return Err(wrong("`%s` cannot take an optional".to_owned())),
        Value::List(items) => {
            budget.build_list(items.len())?;
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_text(out, item, depth + 1, budget)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            budget.build_list(2 * map.len())?;
            let mut written = Vec::with_capacity(map.len());
            for (key, value) in map.iter() {
                let (mut name, mut text) = (String::new(), String::new());
                write_text(&mut name, &key.value(), depth + 1, budget)?;
                write_text(&mut text, value, depth + 1, budget)?;
                written.push((name, text));
            }
            written.sort();
            let entries: Vec<String> =
                written.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            out.push('{');
            out.push_str(&entries.join(", "));
            out.push('}');
        }
    }
    Ok(())
}
