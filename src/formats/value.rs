//! A value of somebody's JSON as one of the catalog's types: what is taken for which, and how it is written.
//!
//! Where values come from and where they go is the mapping's matter.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::entry::{each_header, tls_version};
use super::instant::{Instant, Span};
use super::json;
use crate::event::{FieldType, JsonCursor, push_string, string_value};

/// In which letters a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a`
    Lower,
    /// `A`
    Upper,
}

/// What a number of theirs counts, where ours is a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `s`
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

/// How the catalog has the values of some fields, beside their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// An address without its port.
    Address,
    /// Names capitalised, values in lower case.
    Headers,
    /// `1.3` for `TLSv1.3`.
    TlsVersion,
}

/// How a value becomes ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Making {
    pub(super) field_type: FieldType,
    pub(super) manner: Manner,
    pub(super) case: Option<Case>,
    pub(super) unit: Option<Unit>,
}

/// A value that is none of the wanted type; what was wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) &'static str);

impl Unit {
    /// The power of ten of nanoseconds.
    fn exponent(self) -> usize {
        match self {
            Unit::Seconds => 9,
            Unit::Milliseconds => 6,
            Unit::Microseconds => 3,
            Unit::Nanoseconds => 0,
        }
    }
}

impl Manner {
    /// How the values of a field are had.
    pub(super) fn of(field: &str, field_type: &FieldType) -> Manner {
        let last = field.rsplit('.').next().unwrap_or_default();
        match (last, field_type) {
            ("client_ip" | "server_ip", FieldType::String) => Manner::Address,
            ("headers", FieldType::Map(_)) => Manner::Headers,
            _ if field == "tls.version" => Manner::TlsVersion,
            _ => Manner::Plain,
        }
    }
}

/// Whether a value says that there is none, as `null` does, and the empty string and `-` of proxies.
pub(super) fn is_none(json: &str) -> bool {
    matches!(json, "null" | "\"\"" | "\"-\"")
}

impl Making {
    /// Appends a value as ours; tells whether it is one, for a time that was never measured is written as -1.
    ///
    /// # Errors
    /// When it is of another type; then something may have been appended.
    pub(super) fn write(&self, json: &str, out: &mut String) -> Result<bool, Wrong> {
        if self.manner == Manner::Headers {
            if !json.starts_with('{') {
                return Err(Wrong("an object of headers"));
            }
            let read = json::headers(&mut JsonCursor::new(json)).unwrap_or_default();
            out.push('{');
            each_header(out, &read);
            out.push('}');
            return Ok(true);
        }
        self.write_as(&self.field_type, json, out)
    }

    fn write_as(&self, wanted: &FieldType, json: &str, out: &mut String) -> Result<bool, Wrong> {
        match wanted {
            FieldType::String => self.write_text(json, out)?,
            FieldType::Int => {
                let number =
                    scalar(json).and_then(|it| integer(&it)).ok_or(Wrong("a whole number"))?;
                let _ = write!(out, "{number}"); // Writing to a String cannot fail.
            }
            FieldType::Double => match self.unit {
                Some(unit) => {
                    let Some(span) = span(json, unit)? else { return Ok(false) };
                    let _ = write!(out, "{span}");
                }
                None => write_number(json, out)?,
            },
            FieldType::Bool => out.push_str(truth(json).ok_or(Wrong("true or false"))?),
            FieldType::Timestamp => {
                let time = scalar(json).and_then(|it| Instant::of_any(&it)).ok_or(TIME)?;
                out.push('"');
                time.push(out);
                out.push('"');
            }
            FieldType::Duration => {
                let Some(Span(nanos)) = span(json, self.unit.unwrap_or(Unit::Seconds))? else {
                    return Ok(false);
                };
                let _ = write!(out, "\"{}ms\"", Span(nanos));
            }
            FieldType::List(item) => self.write_list(item, json, out)?,
            FieldType::Map(item) => self.write_map(item, json, out)?,
            // An event has no line breaks between its values.
            FieldType::Dyn => out.push_str(&json.replace(['\r', '\n'], " ")),
        }
        Ok(true)
    }

    fn write_text(&self, json: &str, out: &mut String) -> Result<(), Wrong> {
        let text = match json.as_bytes().first() {
            Some(b'"') => string_value(json).unwrap_or_default(),
            Some(b'{' | b'[') | None => return Err(Wrong("a text")),
            _ => Cow::Borrowed(json),
        };
        let text = match self.manner {
            Manner::Address => Cow::Owned(bare_address(&text)),
            Manner::TlsVersion => Cow::Owned(tls_version(&text).to_owned()),
            Manner::Plain | Manner::Headers => text,
        };
        match self.case {
            None => push_string(out, &text),
            Some(Case::Lower) => push_string(out, &text.to_lowercase()),
            Some(Case::Upper) => push_string(out, &text.to_uppercase()),
        }
        Ok(())
    }

    /// A list, also where theirs is one value.
    fn write_list(&self, item: &FieldType, json: &str, out: &mut String) -> Result<(), Wrong> {
        out.push('[');
        let mut write = |json: &str| {
            let before = out.len();
            if !out.ends_with('[') {
                out.push(',');
            }
            let is_one = !is_none(json) && self.write_as(item, json, out)?;
            if !is_one {
                out.truncate(before);
            }
            Ok(())
        };
        match json.starts_with('[') {
            true => each_item(json, &mut write)?,
            false => write(json)?,
        }
        out.push(']');
        Ok(())
    }

    fn write_map(&self, item: &FieldType, json: &str, out: &mut String) -> Result<(), Wrong> {
        if !json.starts_with('{') {
            return Err(Wrong("an object"));
        }
        out.push('{');
        let mut cursor = JsonCursor::new(json);
        let mut result = Ok(());
        // The text was checked before.
        let _ = json::members(&mut cursor, &mut |name, cursor| {
            let value = cursor.value(1)?;
            let before = out.len();
            if !out.ends_with('{') {
                out.push(',');
            }
            out.extend(["\"", name, "\":"]);
            match is_none(value) {
                true => out.truncate(before),
                false => match self.write_as(item, value, out) {
                    Ok(true) => {}
                    Ok(false) => out.truncate(before),
                    Err(wrong) => result = Err(wrong),
                },
            }
            Ok(())
        });
        out.push('}');
        result
    }
}

const TIME: Wrong = Wrong("a time");

/// The items of a list whose text was checked before.
fn each_item(json: &str, each: &mut impl FnMut(&str) -> Result<(), Wrong>) -> Result<(), Wrong> {
    let mut cursor = JsonCursor::new(json);
    let mut more = cursor.enter(b'[', b']').unwrap_or(false);
    while more {
        let Ok(item) = cursor.value(1) else { return Ok(()) };
        each(item)?;
        more = cursor.more(b']').unwrap_or(false);
    }
    Ok(())
}

/// The text of a string or a number.
fn scalar(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => string_value(json),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

/// A whole number, also where zeros stand behind its point.
fn integer(text: &str) -> Option<i64> {
    let (whole, after) = text.split_once('.').unwrap_or((text, ""));
    let is_whole = after.bytes().all(|it| it == b'0') && !whole.starts_with('+');
    is_whole.then(|| whole.parse().ok()).flatten()
}

fn truth(json: &str) -> Option<&'static str> {
    match json {
        "true" | "\"true\"" => Some("true"),
        "false" | "\"false\"" => Some("false"),
        _ => None,
    }
}

/// A number with the digits that it has.
fn write_number(json: &str, out: &mut String) -> Result<(), Wrong> {
    const NUMBER: Wrong = Wrong("a number");
    if !json.starts_with('"') {
        let number = scalar(json).ok_or(NUMBER)?;
        out.push_str(&number);
        return Ok(());
    }
    let number: f64 = string_value(json).and_then(|it| it.parse().ok()).ok_or(NUMBER)?;
    if !number.is_finite() {
        return Err(NUMBER);
    }
    let _ = write!(out, "{number}");
    Ok(())
}

/// A span of time: a number of units, or a text with its unit, such as `1.5ms`. None for what is negative.
fn span(json: &str, unit: Unit) -> Result<Option<Span>, Wrong> {
    const SPAN: Wrong = Wrong("a span of time");
    let text = scalar(json).ok_or(SPAN)?;
    if let Some(span) = Span::of(&text, unit.exponent()).or_else(|| Span::of_go(&text)) {
        return Ok(Some(span));
    }
    // Negative, or with an exponent.
    let number: f64 = text.parse().map_err(|_| SPAN)?;
    let nanos = number * 10_f64.powi(unit.exponent() as i32);
    match nanos {
        _ if nanos < 0.0 => Ok(None),
        _ if nanos < 9e18 => Ok(Some(Span(nanos.round() as u64))),
        _ => Err(SPAN),
    }
}

/// An address without a port and without brackets; another text as it is.
fn bare_address(text: &str) -> String {
    let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    if bracketed.parse::<IpAddr>().is_ok() {
        return bracketed.to_owned();
    }
    text.parse::<SocketAddr>().map_or_else(|_| text.to_owned(), |it| it.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(field: &str, field_type: &str, unit: Option<Unit>, json: &str) -> String {
        let field_type = FieldType::parse(field_type).unwrap();
        let manner = Manner::of(field, &field_type);
        let case = (field == "lower").then_some(Case::Lower);
        let mut out = String::new();
        let written = Making { field_type, manner, case, unit }.write(json, &mut out);
        match written {
            Ok(true) => out,
            Ok(false) => "none".to_owned(),
            Err(Wrong(wanted)) => wanted.to_owned(),
        }
    }

    #[test]
    fn values_are_taken_for_what_they_say_in_the_type_that_is_wanted() {
        for (field, field_type, json, expected) in [
            ("x", "string", r#""a\n\u00e9""#, r#""a\né""#),
            ("x", "string", "12.50", r#""12.50""#),
            ("x", "string", "true", r#""true""#),
            ("x", "string", "{}", "a text"),
            ("lower", "string", r#""ÄB""#, r#""äb""#),
            ("lower", "list(string)", r#"["A","",null,"B"]"#, r#"["a","b"]"#),
            ("x", "int", "200", "200"),
            ("x", "int", r#""-7""#, "-7"),
            ("x", "int", "200.0", "200"),
            ("x", "int", "200.5", "a whole number"),
            ("x", "int", "9223372036854775808", "a whole number"),
            ("x", "int", r#""1e3""#, "a whole number"),
            ("x", "int", "true", "a whole number"),
            ("x", "double", "0.10", "0.10"),
            ("x", "double", r#""1e-3""#, "0.001"),
            ("x", "double", r#""inf""#, "a number"),
            ("x", "double", "[1]", "a number"),
            ("x", "bool", r#""true""#, "true"),
            ("x", "bool", "false", "false"),
            ("x", "bool", "1", "true or false"),
            ("x", "timestamp", "1795708487.970", r#""2026-11-26T15:54:47.970Z""#),
            ("x", "timestamp", "1795708487970", r#""2026-11-26T15:54:47.970Z""#),
            ("x", "timestamp", r#""26/Nov/2026:15:54:47 +0100""#, r#""2026-11-26T14:54:47Z""#),
            ("x", "timestamp", r#""2026-11-26 15:54:47,123""#, r#""2026-11-26T15:54:47.123Z""#),
            ("x", "timestamp", r#""2026-11-26 15:54:47 +0100""#, r#""2026-11-26T14:54:47Z""#),
            ("x", "timestamp", r#""2026-11-26T15:54:47.1""#, r#""2026-11-26T15:54:47.1Z""#),
            ("x", "timestamp", r#""yesterday""#, "a time"),
            ("x", "duration", "1.5", r#""1500ms""#),
            ("x", "duration", r#""2ms""#, r#""2ms""#),
            ("x", "list(string)", r#""a""#, r#"["a"]"#),
            ("x", "list(int)", r#"[1,"2"]"#, "[1,2]"),
            ("x", "list(int)", r#"[1,"x"]"#, "a whole number"),
            ("x", "map(string, int)", r#"{"a":"1","b":null,"\"c":3}"#, r#"{"a":1,"\"c":3}"#),
            ("x", "map(string, int)", "[]", "an object"),
            ("x", "map(string, int)", r#"{"a":"x"}"#, "a whole number"),
            ("x", "dyn", r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            ("conn.client_ip", "string", r#""[2001:db8::7]:443""#, r#""2001:db8::7""#),
            ("conn.client_ip", "string", r#""[2001:db8::7]""#, r#""2001:db8::7""#),
            ("conn.client_ip", "string", r#""198.51.100.7:57892""#, r#""198.51.100.7""#),
            ("conn.client_ip", "string", r#""proxy.example""#, r#""proxy.example""#),
            ("tls.version", "string", r#""TLSv1.3""#, r#""1.3""#),
            (
                "http.request.headers",
                "map(string, list(string))",
                r#"{"x-a":"B","ACCEPT":["Text/Html","c"]}"#,
                r#"{"X-A":["b"],"Accept":["text/html","c"]}"#,
            ),
            ("http.request.headers", "map(string, list(string))", "7", "an object of headers"),
        ] {
            assert_eq!(made(field, field_type, None, json), expected, "{field_type} {json}");
        }
    }

    #[test]
    fn spans_are_milliseconds_whatever_unit_theirs_is_in() {
        for (unit, json, expected) in [
            (Unit::Seconds, "0.0015", "1.5"),
            (Unit::Seconds, "1.5e-05", "0.015"),
            (Unit::Seconds, "-1", "none"),
            (Unit::Milliseconds, r#""12.25""#, "12.25"),
            (Unit::Microseconds, "1500", "1.5"),
            (Unit::Nanoseconds, "1533071", "1.533071"),
            (Unit::Seconds, r#""3.5ms""#, "3.5"),
            (Unit::Seconds, r#""soon""#, "a span of time"),
            (Unit::Seconds, "1e300", "a span of time"),
            (Unit::Seconds, "null", "a span of time"),
        ] {
            assert_eq!(made("x", "double", Some(unit), json), expected, "{unit:?} {json}");
        }
    }
}
