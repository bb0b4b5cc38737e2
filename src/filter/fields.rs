//! The fields that a filter reads, and their values in an event.
//!
//! This is the one place where JSON becomes CEL values: declared types win over how a number is
//! written, absence and null become the type's zero, and another JSON type is an error.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{
    FieldType, JsonCursor, Root, ScanError, Slot, Timestamp, string_value, unescape,
};

use super::error::EvalError;
use super::functions::Budget;
use super::functions::time::parse_duration;
use super::limits::price;
use super::value::{Key, Map, Text, Value};

/// A field that a filter reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub root: Root,
    /// The path from the root.
    pub path: Vec<String>,
    /// The path as the filter writes it, for messages.
    pub shown: Arc<str>,
    /// The declared type, or none for a group, which can only be asked for with `has`.
    pub declared: Option<FieldType>,
    /// The declared type's name, for messages.
    pub type_name: Arc<str>,
}

impl Field {
    /// Whether the event has the field and it is not null.
    pub fn is_present(&self, slot: Slot<'_>) -> Result<bool, EvalError> {
        match slot {
            Slot::Absent => Ok(false),
            Slot::Broken => Err(self.wrong_json()),
            Slot::Json(json) => Ok(json != "null"),
        }
    }

    pub fn value<'e>(&self, slot: Slot<'e>, budget: &mut Budget) -> Result<Value<'e>, EvalError> {
        let declared = self.declared.as_ref().ok_or_else(|| self.wrong_json())?;
        match slot {
            Slot::Broken => Err(self.wrong_json()),
            Slot::Absent | Slot::Json("null") => Ok(zero(declared)),
            Slot::Json(json) => {
                budget.read(json.len())?;
                convert(json, declared, budget).map_err(|error| self.error(error))
            }
        }
    }

    /// The value of one key of a map field, without reading the others; none if the key is absent.
    pub fn member<'e>(
        &self,
        slot: Slot<'e>,
        key: &str,
        budget: &mut Budget,
    ) -> Result<Option<Value<'e>>, EvalError> {
        let Some(FieldType::Map(declared)) = &self.declared else { return Err(self.wrong_json()) };
        match slot {
            Slot::Absent | Slot::Json("null") => Ok(None),
            Slot::Broken => Err(self.wrong_json()),
            Slot::Json(json) => {
                budget.read(json.len())?;
                // Keys with escapes are decoded one by one.
                budget.bytes(json.len(), price::UNESCAPE)?;
                let found = find_member(json, key).map_err(|_| self.wrong_json())?;
                let value = found
                    .map(|json| item(&mut JsonCursor::new(json), declared, budget))
                    .transpose();
                value.map_err(|error| self.error(error))
            }
        }
    }

    fn error(&self, error: Unread) -> EvalError {
        match error {
            Unread::WrongJson => self.wrong_json(),
            Unread::Limit(error) => error,
        }
    }

    fn wrong_json(&self) -> EvalError {
        EvalError::WrongJson(self.shown.clone(), self.type_name.clone())
    }
}

/// The value of a field that an event has not.
fn zero(declared: &FieldType) -> Value<'static> {
    match declared {
        FieldType::Bool => Value::Bool(false),
        FieldType::Int => Value::Int(0),
        FieldType::Double => Value::Double(0.0),
        FieldType::String => Value::String(Text::Borrowed("")),
        FieldType::List(_) => Value::List(Arc::new([])),
        FieldType::Map(_) => Value::Map(Arc::default()),
        FieldType::Timestamp | FieldType::Duration | FieldType::Dyn => Value::Null,
    }
}

/// Why a JSON text gives no value.
enum Unread {
    WrongJson,
    Limit(EvalError),
}

impl From<ScanError> for Unread {
    fn from(_: ScanError) -> Unread {
        Unread::WrongJson
    }
}

impl From<EvalError> for Unread {
    fn from(error: EvalError) -> Unread {
        Unread::Limit(error)
    }
}

/// The value of a JSON text of a declared type.
fn convert<'e>(
    json: &'e str,
    declared: &FieldType,
    budget: &mut Budget,
) -> Result<Value<'e>, Unread> {
    match declared {
        FieldType::List(_) if !json.starts_with('[') => Err(Unread::WrongJson),
        FieldType::Map(_) if !json.starts_with('{') => Err(Unread::WrongJson),
        FieldType::List(_) | FieldType::Map(_) | FieldType::Dyn => {
            item(&mut JsonCursor::new(json), declared, budget)
        }
        FieldType::String => {
            let text = string_value(json).ok_or(Unread::WrongJson)?;
            if matches!(text, Cow::Owned(_)) {
                budget.bytes(json.len(), price::UNESCAPE)?;
            }
            Ok(Value::String(text.into()))
        }
        _ => {
            // Numbers of a million digits are read digit by digit.
            if json.len() > SHORT_SCALAR {
                budget.bytes(json.len(), price::UNESCAPE)?;
            }
            scalar(json, declared).ok_or(Unread::WrongJson)
        }
    }
}

/// No number, timestamp or duration that was written without malice is longer, in bytes.
const SHORT_SCALAR: usize = 40;

/// A JSON scalar of a declared type; none if it has another type.
fn scalar<'e>(json: &'e str, declared: &FieldType) -> Option<Value<'e>> {
    match declared {
        FieldType::Bool => match json {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::Int => whole_number(json).map(Value::Int),
        FieldType::Double => number(json).map(Value::Double),
        FieldType::String => Some(Value::String(string_value(json)?.into())),
        FieldType::Timestamp => Timestamp::parse(&string_value(json)?).map(Value::Timestamp),
        FieldType::Duration => parse_duration(&string_value(json)?).map(Value::Duration),
        FieldType::List(_) | FieldType::Map(_) | FieldType::Dyn => None,
    }
}

/// The JSON text of an object's key; of equal keys the last wins.
fn find_member<'e>(json: &'e str, key: &str) -> Result<Option<&'e str>, ScanError> {
    let mut cursor = JsonCursor::new(json);
    let mut found = None;
    let mut more = cursor.enter(b'{', b'}')?;
    while more {
        let is_key = unescape(cursor.key()?) == key;
        let value = cursor.value(1)?;
        if is_key {
            found = Some(value);
        }
        more = cursor.more(b'}')?;
    }
    Ok(found)
}

fn number(json: &str) -> Option<f64> {
    let starts_a_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if starts_a_number { json.parse().ok().filter(|value: &f64| value.is_finite()) } else { None }
}

/// A JSON number that is whole and in the range of an int, however it is written: 443, 443.0,
/// 4.43e2. Exact: no double stands in between.
fn whole_number(json: &str) -> Option<i64> {
    if let Ok(int) = json.parse() {
        return Some(int);
    }
    number(json)?;
    let (negative, text) = match json.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, json),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0').len();
    let zeros = i64::try_from(digits.len() - significant).ok()?;
    digits.truncate(significant);
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()? + zeros;
    // A non-zero number with more than 18 zeros at its end is out of range.
    let scale = 10i128.checked_pow(u32::try_from(shift).ok().filter(|shift| *shift <= 18)?)?;
    let magnitude = digits.parse::<i128>().ok()?.checked_mul(scale)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// A value inside a list, map or dyn field. Its declared type decides where the JSON leaves room;
/// where the JSON is of another type, the JSON wins, so that one odd item does not spoil the rest.
fn item<'e>(
    cursor: &mut JsonCursor<'e>,
    declared: &FieldType,
    budget: &mut Budget,
) -> Result<Value<'e>, Unread> {
    budget.work(price::ITEM)?;
    match cursor.next_token() {
        Some(b'[') => {
            budget.work(price::CONTAINER)?;
            let inner = if let FieldType::List(inner) = declared { inner } else { &FieldType::Dyn };
            let mut items = Vec::new();
            let mut more = cursor.enter(b'[', b']')?;
            while more {
                items.push(item(cursor, inner, budget)?);
                more = cursor.more(b']')?;
            }
            Ok(Value::List(items.into()))
        }
        Some(b'{') => {
            budget.work(price::CONTAINER)?;
            let inner = if let FieldType::Map(inner) = declared { inner } else { &FieldType::Dyn };
            let mut entries = Vec::new();
            let mut more = cursor.enter(b'{', b'}')?;
            while more {
                let key = Key::String(unescape(cursor.key()?).into());
                budget.work(key.work())?;
                entries.push((key, item(cursor, inner, budget)?));
                more = cursor.more(b'}')?;
            }
            Ok(Value::Map(Arc::new(Map::last_wins(entries))))
        }
        _ => {
            let json = cursor.value(0)?;
            budget.bytes(json.len(), price::UNESCAPE)?;
            Ok(scalar(json, declared).unwrap_or_else(|| free(json)))
        }
    }
}

/// A JSON text as a value, by its looks: what a `dyn` field would hold. None where it is no JSON, or takes
/// more work to read than an evaluation may.
#[must_use]
pub fn json_value(json: &str) -> Option<Value<'_>> {
    item(&mut JsonCursor::new(json), &FieldType::Dyn, &mut Budget::new()).ok()
}

/// A JSON scalar by its looks: whole numbers are ints or uints, others doubles.
fn free(json: &str) -> Value<'_> {
    match json {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            if let Some(text) = string_value(json) {
                Value::String(text.into())
            } else if let Ok(int) = json.parse() {
                Value::Int(int)
            } else if let Ok(uint) = json.parse() {
                Value::Uint(uint)
            } else {
                json.parse().map_or(Value::Null, Value::Double)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_ints_however_they_are_written() {
        for (json, int) in [
            ("443", Some(443)),
            ("443.0", Some(443)),
            ("4.43e2", Some(443)),
            ("44300E-2", Some(443)),
            ("-0.0", Some(0)),
            ("0e999999999999", Some(0)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9.223372036854775808e18", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("443.5", None),
            ("1e-1", None),
            ("1e19", None),
            ("1e999", None),
            ("\"443\"", None),
            ("true", None),
        ] {
            assert_eq!(whole_number(json), int, "{json}");
        }
    }

    #[test]
    fn one_key_of_a_map_is_what_the_whole_map_has() {
        let field = Field {
            root: Root::Object,
            path: vec!["m".into()],
            shown: "ev.m".into(),
            declared: FieldType::parse("map(string, list(int))"),
            type_name: "map(string, list(int))".into(),
        };
        for json in [
            "null",
            "{}",
            r#"{"a":[1.0],"b":7}"#,
            r#"{"\u0061":[1],"a":[2],"x":{"a":[3]}}"#,
            r#"{"a":null}"#,
        ] {
            let Ok(Value::Map(map)) = field.value(Slot::Json(json), &mut Budget::new()) else {
                panic!("{json}")
            };
            for key in ["a", "b", "c"] {
                let one = field.member(Slot::Json(json), key, &mut Budget::new()).unwrap();
                assert_eq!(format!("{one:?}"), format!("{:?}", map.get_text(key).cloned()));
            }
        }
        assert!(field.member(Slot::Json("[]"), "a", &mut Budget::new()).is_err());
        assert!(field.member(Slot::Broken, "a", &mut Budget::new()).is_err());
    }

    proptest! {
        #[test]
        fn a_moved_decimal_point_changes_no_int(int in any::<i64>(), places in 0..5usize) {
            let moved = format!("{int}{}e-{places}", "0".repeat(places));
            prop_assert_eq!(whole_number(&moved), Some(int));
        }
    }
}
