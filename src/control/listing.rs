//! One page of a list: the newest first, after an id, that fit a filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::refusal::Refusal;
use crate::event::Timestamp;
use crate::filter::{self, Environment, Expression, Key, Type};

/// Most work of the filter of one request, in units of about a nanosecond: a second, in which an ordinary
/// filter goes through all resources that there can be.
pub(super) const MAX_WORK: u64 = 1_000_000_000;

/// Work of making a resource's values, besides that of the filter, and of a byte of them.
const WORK_PER_RESOURCE: u64 = 20_000;
const WORK_PER_BYTE: u64 = 2;

/// A page ends with the resource with which it has so many bytes, and the next one is told as always: so an
/// answer stays small, whatever is made. A hundred ordinary resources have less.
pub(super) const MAX_PAGE: usize = 1 << 20;

/// The work of making a resource's values, by the bytes of its answer.
pub(super) fn work_of(bytes: usize) -> u64 {
    WORK_PER_RESOURCE + WORK_PER_BYTE * bytes as u64
}

/// After so much work of a list others have their turn: 10 ms.
pub(super) const SLICE: u64 = 10_000_000;

/// The filter of a list: CEL on one resource, the variable `obj`, at a time.
pub(super) struct ListFilter {
    expression: Expression,
    now: Timestamp,
}

impl ListFilter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// When it does not compile.
    pub(super) fn new(text: &str) -> Result<ListFilter, Refusal> {
        let wrong = |message: String| Refusal::invalid("ERR_NGROK_250", message);
        if text.len() > filter::MAX_SOURCE {
            return Err(wrong(format!("a filter has at most {} bytes", filter::MAX_SOURCE)));
        }
        let expression =
            Environment::of_lists().check(text).map_err(|error| wrong(error.to_string()))?;
        if !matches!(expression.result, Type::Bool | Type::Dyn) {
            return Err(wrong(format!("a filter's result is bool, found {}", expression.result)));
        }
        Ok(ListFilter { expression, now: Timestamp::now() })
    }

    /// Whether a resource, as answers show it, fits; its answer has about so many bytes. One that the filter fails on does not. `work` is what
    /// all resources of one request may take together.
    ///
    /// # Errors
    /// When that is used up.
    pub(super) fn fits(
        &self,
        answer: &Value,
        bytes: usize,
        work: &mut u64,
    ) -> Result<bool, Refusal> {
        let bindings = BTreeMap::from([
            ("obj".to_owned(), value_of(answer)),
            ("time.now".to_owned(), filter::Value::Timestamp(self.now)),
        ]);
        let (value, took) = self.expression.counted(&bindings);
        *work = work.checked_sub(took + work_of(bytes)).ok_or_else(|| {
            let message = "the filter takes too long on this list: make it simpler";
            Refusal::invalid("ERR_SLUICEGATE_1307", message)
        })?;
        Ok(matches!(value, Ok(filter::Value::Bool(true))))
    }
}

/// JSON as a CEL value; the times of resources are instants, so that they compare.
fn value_of(json: &Value) -> filter::Value<'static> {
    match json {
        Value::Null => filter::Value::Null,
        Value::Bool(truth) => filter::Value::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => filter::Value::Int(int),
            (None, Some(uint)) => filter::Value::Uint(uint),
            _ => filter::Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => filter::Value::string(text),
        Value::Array(items) => filter::Value::List(items.iter().map(value_of).collect()),
        Value::Object(members) => {
            let entry = |(name, value): (&String, &Value)| {
                let value = match (name.as_str(), value.as_str().and_then(Timestamp::parse)) {
                    ("created_at" | "expires_at" | "last_used_at", Some(time)) => {
                        filter::Value::Timestamp(time)
                    }
                    _ => value_of(value),
                };
                Some((Key::new(&filter::Value::string(name))?, value))
            };
            let entries = members.iter().filter_map(entry).collect();
            filter::Value::Map(Arc::new(filter::Map::last_wins(entries)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_speaks_of_one_resource() {
        let policy = json!({
            "id": "ipp_1", "description": "office", "created_at": "2026-02-03T04:05:06Z",
            "acl": ["bind:a", "bind:b"], "ip_policy": {"id": "ipp_9"}, "enforced": true, "n": 5,
        });
        for (text, fits) in [
            (r#"obj.description == "office""#, true),
            (r#"obj.description.startsWith("x")"#, false),
            (r#"obj.created_at < timestamp("2026-02-03T04:05:07Z") && size(obj.acl) == 2"#, true),
            (r#""bind:b" in obj.acl && obj.enforced && obj.ip_policy.id == "ipp_9""#, true),
            (r#"obj.created_at < timestamp(time.now) - duration("1h")"#, true),
            (r#"obj.created_at < timestamp(time.now).subtract("7d")"#, true),
            (r#"obj.created_at >= time.now.add("24h")"#, false),
            (r#"obj.created_at.add("1d") == timestamp("2026-02-04T04:05:06Z")"#, true),
            (r#"obj.created_at.subtract("1h30m") < obj.created_at"#, true),
            (r#"obj.created_at.add("soon") == obj.created_at"#, false),
            (r#"obj.missing == "x""#, false),
            ("obj.n", false),
        ] {
            let found = ListFilter::new(text).unwrap().fits(&policy, 0, &mut MAX_WORK.clone());
            assert_eq!(found, Ok(fits), "{text}");
        }
        // As the body of a request or a row of the store is read.
        let numbers = serde_json::from_str(r#"{"small": 1.38e-23, "large": 18446744073709551615}"#);
        let filter = ListFilter::new("obj.small == 1.38e-23 && obj.large == 18446744073709551615u");
        assert_eq!(
            filter.as_ref().unwrap().fits(&numbers.unwrap(), 0, &mut MAX_WORK.clone()),
            Ok(true)
        );
        let refused = filter.unwrap().fits(&json!({}), 0, &mut 1_000);
        assert_eq!(refused.unwrap_err().code, Some("ERR_SLUICEGATE_1307"));
        // What is done again and again with a long text is paid for by its length.
        let often = "lists.range(100).exists(y, obj.created_at.add(obj.span) < obj.created_at)";
        let long = json!({"created_at": "2026-02-03T04:05:06Z", "span": format!("0.{}s", "0".repeat(9_000))});
        let often = ListFilter::new(often).unwrap();
        let mut left = MAX_WORK;
        assert_eq!(often.fits(&long, 0, &mut left), Ok(false));
        assert!(MAX_WORK - left > 2_000_000, "{}", MAX_WORK - left);
        for text in ["", "obj.", "object.x == 1", r#""text""#, "obj.x == "] {
            assert_eq!(ListFilter::new(text).err().unwrap().code, Some("ERR_NGROK_250"), "{text}");
        }
    }
}
