//! What plain text stands for by the core schema of YAML 1.2: nothing, a truth value, a number or
//! text.
//!
//! Used for unquoted scalars of YAML and for text that was filled in, whatever the format. The words
//! of YAML 1.1 (`yes`, `on`, `0777` in octal) are not known: they are text, and `0777` is 777.

use super::tree::Value;

/// The value that plain text stands for.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return plain
                .then(|| i64::from_str_radix(digits, radix).ok())
                .flatten()
                .map(Value::Int);
        }
    }
    if let Ok(whole) = text.parse() {
        return Some(Value::Int(whole));
    }
    // `f64` also reads `inf`, `nan` and `infinity`, which are text here.
    let numeric = |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(numeric) {
        return None;
    }
    text.parse().ok().map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_read_by_the_core_schema() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("TRUE", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("12", Value::Int(12)),
            ("-12", Value::Int(-12)),
            ("+12", Value::Int(12)),
            ("0777", Value::Int(777)),
            ("0o17", Value::Int(15)),
            ("0xfF", Value::Int(255)),
            ("9223372036854775808", Value::Float(9_223_372_036_854_775_808.0)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            (".5", Value::Float(0.5)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn everything_else_is_text() {
        for text in ["yes", "on", "inf", "nan", "0x-5", "0x", "1_000", "30s", "-", ".", "e", "1 2"]
        {
            assert_eq!(resolve(text), Value::String(text.to_owned()), "{text}");
        }
    }
}
