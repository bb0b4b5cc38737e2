//! One event as it came in: the envelope's keys, each as the text the sender wrote.
//!
//! Checks everything the service promises about an accepted event, and copies nothing that the
//! sender gave. It does not know which event types exist; the catalog does.

use super::bitmaps::{Bitmaps, Structure};
use super::id::ksuid;
use super::scan::{JsonCursor, ScanError};
use super::shapes::Captured;
use super::time::Timestamp;
use super::walk::{Raw, Walk};
use std::borrow::Cow;

/// Longest event id, in bytes after decoding: the longest Kinesis partition key that is sure to fit
/// whatever the characters (PutRecords takes 256 characters).
pub const MAX_EVENT_ID: usize = 256;

/// One thing that happened. Every part is valid JSON in valid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'e> {
    /// Its kind with its version, such as `http_request_complete.v0`.
    pub event_type: Cow<'e, str>,
    /// The id as a JSON string, quotes included.
    pub event_id: Cow<'e, str>,
    /// When it happened, as a JSON string, quotes included.
    pub event_timestamp: Cow<'e, str>,
    /// The same instant as a number.
    pub time: Timestamp,
    /// The account as a JSON string, if the sender named one.
    pub account_id: Option<&'e str>,
    /// Who did it, a JSON object or `null`, if the sender said so.
    pub principal: Option<&'e str>,
    /// What happened: a JSON object.
    pub object: &'e str,
}

/// Why a text is not an event. Its `Display` is for the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The text is not JSON.
    #[error("not valid JSON: {} at byte {}", .0.what, .0.at)]
    Json(ScanError),
    /// The text is JSON but not an object.
    #[error("an event must be a JSON object")]
    NotAnObject,
    /// A required key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key's value has another JSON type than the envelope demands.
    #[error("`{key}` must be {expected}")]
    WrongType {
        /// Its name in the envelope.
        key: &'static str,
        /// The type it must have.
        expected: &'static str,
    },
    /// The timestamp is a string but not RFC 3339.
    #[error("`event_timestamp` must be RFC 3339 such as 2025-09-04T10:11:14Z, got `{0}`")]
    Timestamp(String),
    /// The id is empty or longer than [`MAX_EVENT_ID`].
    #[error("{}", id_length(*.0))]
    IdLength(usize),
}

impl EventError {
    /// The stable code that the sender's program may branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EventError::Json(_) => "ERR_SLUICEGATE_1001",
            EventError::NotAnObject => "ERR_SLUICEGATE_1002",
            EventError::Missing(_) => "ERR_SLUICEGATE_1003",
            EventError::WrongType { .. } => "ERR_SLUICEGATE_1004",
            EventError::Timestamp(_) => "ERR_SLUICEGATE_1005",
            EventError::IdLength(_) => "ERR_SLUICEGATE_1006",
        }
    }
}

fn id_length(length: usize) -> String {
    match length {
        0 => "`event_id` must not be empty".to_owned(),
        _ => format!("`event_id` has {length} bytes, at most {MAX_EVENT_ID} are allowed"),
    }
}

impl From<ScanError> for EventError {
    fn from(error: ScanError) -> EventError {
        EventError::Json(error)
    }
}

/// The envelope's values as written; the last of duplicate keys wins, as in most JSON readers.
#[derive(Default)]
pub(super) struct RawEnvelope<'e> {
    event_type: Option<Raw<'e>>,
    event_id: Option<Raw<'e>>,
    event_timestamp: Option<Raw<'e>>,
    account_id: Option<Raw<'e>>,
    principal: Option<Raw<'e>>,
    object: Option<Raw<'e>>,
}

impl<'e> Event<'e> {
    /// Reads and checks one event. `now` and `random` give what the sender left out: the timestamp
    /// (in whole seconds, as ngrok writes it) and the id.
    ///
    /// Keys that the envelope does not have are checked to be JSON and then left behind.
    ///
    /// # Errors
    /// Whatever makes the text something else than an event; nothing is repaired.
    pub fn parse(
        text: &'e str,
        now: Timestamp,
        random: impl FnOnce() -> u128,
    ) -> Result<Event<'e>, EventError> {
        let mut bitmaps = Bitmaps::default();
        let structure = bitmaps.of(text.as_bytes()).ok_or_else(|| why_not(text))?;
        let raw = RawEnvelope::walk(text, structure, |walk, _| walk.envelope_value(None, &mut []))?;
        raw.check(now, random)
    }
}

/// Why a text that could not be walked is no event. A second, careful reading, since only its sender's
/// mistake makes it necessary.
#[cold]
pub(super) fn why_not(text: &str) -> EventError {
    let mut cursor = JsonCursor::new(text);
    let is_object = cursor.next_token() == Some(b'{');
    match cursor.skip(0).and_then(|()| cursor.end()) {
        Err(error) => EventError::Json(error),
        Ok(()) => {
            debug_assert!(!is_object, "what is good for one reader is good for the other: {text}");
            EventError::NotAnObject
        }
    }
}

impl<'e> RawEnvelope<'e> {
    /// Reads the envelope, with the object stepped over by `object`, which is given the event's type if that
    /// was seen before.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub(super) fn walk(
        text: &'e str,
        structure: Structure<'_>,
        object: impl FnMut(&mut Walk<'e, '_>, Option<&str>) -> Option<(Raw<'e>, u8)>,
    ) -> Result<RawEnvelope<'e>, EventError> {
        RawEnvelope::walked(text, structure, object).ok_or_else(|| why_not(text))
    }

    fn walked(
        text: &'e str,
        structure: Structure<'_>,
        mut step_over: impl FnMut(&mut Walk<'e, '_>, Option<&str>) -> Option<(Raw<'e>, u8)>,
    ) -> Option<RawEnvelope<'e>> {
        let mut raw = RawEnvelope::default();
        let mut walk = Walk::new(text, structure)?;
        walk.enter()?;
        let mut may_end = true;
        while let Some(key) = walk.envelope_key(may_end)? {
            let (json, behind) = if &*key == b"object" {
                let event_type = raw.event_type.and_then(Raw::string);
                step_over(&mut walk, event_type.as_deref())?
            } else {
                walk.envelope_value(None, &mut [])?
            };
            match &*key {
                b"event_type" => raw.event_type = Some(json),
                b"event_id" => raw.event_id = Some(json),
                b"event_timestamp" => raw.event_timestamp = Some(json),
                b"account_id" => raw.account_id = Some(json),
                b"principal" => raw.principal = Some(json),
                b"object" => raw.object = Some(json),
                _ => {}
            }
            match behind {
                b',' => may_end = false,
                b'}' => break,
                _ => return None,
            }
        }
        walk.end()?;
        Some(raw)
    }

    /// The envelope of values that were captured.
    pub(super) fn of(captured: Captured<'e>) -> RawEnvelope<'e> {
        let [event_type, event_id, event_timestamp, account_id, principal, object] = captured;
        RawEnvelope { event_type, event_id, event_timestamp, account_id, principal, object }
    }

    /// The event, if all of its values are what they must be. `now` and `random` are as for
    /// [`Event::parse`].
    pub(super) fn check(
        self,
        now: Timestamp,
        random: impl FnOnce() -> u128,
    ) -> Result<Event<'e>, EventError> {
        let event_type = required_string("event_type", self.event_type)?;
        let object = self.object.ok_or(EventError::Missing("object"))?.json;
        if !object.starts_with('{') {
            return Err(EventError::WrongType { key: "object", expected: "an object" });
        }
        let account_id = self.account_id.map(|raw| raw.json).filter(|json| *json != "null");
        if account_id.is_some_and(|json| !json.starts_with('"')) {
            return Err(EventError::WrongType { key: "account_id", expected: "a string" });
        }
        let principal = self.principal.map(|raw| raw.json);
        if principal.is_some_and(|json| !json.starts_with('{') && json != "null") {
            return Err(EventError::WrongType { key: "principal", expected: "an object or null" });
        }
        let (time, event_timestamp) = match self.event_timestamp.filter(|raw| raw.json != "null") {
            None => {
                let now = now.whole_seconds();
                (now, Cow::Owned(format!("\"{now}\"")))
            }
            Some(raw) => {
                let text = required_string("event_timestamp", Some(raw))?;
                let time = Timestamp::parse(&text)
                    .ok_or_else(|| EventError::Timestamp(text.chars().take(64).collect()))?;
                (time, Cow::Borrowed(raw.json))
            }
        };
        let event_id = match self.event_id.filter(|raw| raw.json != "null") {
            None => Cow::Owned(format!("\"{}\"", ksuid("ev", time, random()))),
            Some(raw) => {
                let id = required_string("event_id", Some(raw))?;
                if id.is_empty() || id.len() > MAX_EVENT_ID {
                    return Err(EventError::IdLength(id.len()));
                }
                Cow::Borrowed(raw.json)
            }
        };
        Ok(Event { event_type, event_id, event_timestamp, time, account_id, principal, object })
    }
}

fn required_string<'e>(
    key: &'static str,
    raw: Option<Raw<'e>>,
) -> Result<Cow<'e, str>, EventError> {
    let raw = raw.ok_or(EventError::Missing(key))?;
    raw.string().ok_or(EventError::WrongType { key, expected: "a string" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp { seconds: 1_756_980_674, nanos: 5 };

    fn parse(text: &str) -> Result<Event<'_>, EventError> {
        Event::parse(text, NOW, || 0)
    }

    #[test]
    fn what_the_sender_gave_is_kept_byte_for_byte() {
        let event = parse(
            r#" {"object": {"a" : 1.50},"event_id":"\u0065v","event_type":"t.v0",
                "event_timestamp":"2025-09-04T12:11:14.25+02:00","account_id":"ac_1","principal":null} "#,
        )
        .unwrap();
        assert_eq!(event.object, r#"{"a" : 1.50}"#);
        assert_eq!(event.event_id, r#""\u0065v""#);
        assert_eq!(event.event_timestamp, r#""2025-09-04T12:11:14.25+02:00""#);
        assert_eq!(event.time.to_string(), "2025-09-04T10:11:14.25Z");
        assert_eq!(event.account_id, Some(r#""ac_1""#));
        assert_eq!(event.principal, Some("null"));
    }

    #[test]
    fn a_missing_id_and_time_are_given() {
        let event = parse(r#"{"event_type":"t.v0","object":{}}"#).unwrap();
        assert_eq!(event.event_timestamp, r#""2025-09-04T10:11:14Z""#);
        assert!(event.event_id.starts_with(r#""ev_"#));
        assert_eq!(event.event_id.len(), 32);
        assert_eq!((event.account_id, event.principal), (None, None));
    }

    #[test]
    fn each_way_of_being_no_event_has_its_own_words() {
        let long_id =
            format!(r#"{{"event_type":"t","object":{{}},"event_id":"{}"}}"#, "x".repeat(257));
        for (text, said) in [
            ("{", "not valid JSON: expected a key in double quotes at byte 1"),
            ("[1]", "an event must be a JSON object"),
            (r#"{"object":{}}"#, "`event_type` is missing"),
            (r#"{"event_type":"t"}"#, "`object` is missing"),
            (r#"{"event_type":1,"object":{}}"#, "`event_type` must be a string"),
            (r#"{"event_type":"t","object":[]}"#, "`object` must be an object"),
            (r#"{"event_type":"t","object":{},"account_id":7}"#, "`account_id` must be a string"),
            (
                r#"{"event_type":"t","object":{},"principal":"ada"}"#,
                "`principal` must be an object or null",
            ),
            (
                r#"{"event_type":"t","object":{},"event_timestamp":"today"}"#,
                "`event_timestamp` must be RFC 3339 such as 2025-09-04T10:11:14Z, got `today`",
            ),
            (r#"{"event_type":"t","object":{},"event_id":""}"#, "`event_id` must not be empty"),
            (&long_id, "`event_id` has 257 bytes, at most 256 are allowed"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), said, "{text}");
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let event = parse(r#"{"event_type":"a","event_type":"b","object":{}}"#).unwrap();
        assert_eq!(event.event_type, "b");
    }
}
