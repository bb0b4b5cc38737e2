//! How records are written for a destination: as they are, or as CloudEvents 1.0 (structured, JSON).
//!
//! A record becomes the event's `data` whole; id, type and time stand beside it as attributes, with the bytes
//! that they have in the record. The journal and dead letters keep records as they are.

use std::borrow::Cow;

use bytes::Bytes;

use super::body::string;
use crate::event::Record;
use crate::form::{Shape, Value, Written};

/// How the records of a destination are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The envelope.
    #[default]
    Json,
    /// A CloudEvent whose data is the envelope.
    CloudEvents,
}

impl Value for Format {
    const SHAPE: Shape<Format> =
        Shape::Words(&[("json", Format::Json), ("cloudevents", Format::CloudEvents)]);

    fn written(&self) -> Written {
        Written::open(self.name())
    }
}

/// What stands between the parts of a CloudEvent. The source is the same for all: ids are unique among all
/// events of a daemon, and whose they are stands in the data.
const ID: &[u8] = b"{\"specversion\":\"1.0\",\"source\":\"/sluicegate\",\"id\":";
const TYPE: &[u8] = b",\"type\":";
const TIME: &[u8] = b",\"time\":";
const DATA: &[u8] = b",\"datacontenttype\":\"application/json\",\"data\":";

impl Format {
    /// As settings and the API call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::CloudEvents => "cloudevents",
        }
    }

    /// The format of a name, in any case; the usual one for any other.
    #[must_use]
    pub fn of_name(name: &str) -> Format {
        match name.eq_ignore_ascii_case(Format::CloudEvents.name()) {
            true => Format::CloudEvents,
            false => Format::Json,
        }
    }

    /// A record as it is sent.
    #[must_use]
    pub fn written(self, record: &Record) -> Cow<'_, Record> {
        match self {
            Format::Json => Cow::Borrowed(record),
            Format::CloudEvents => Cow::Owned(cloud_event(record)),
        }
    }
}

/// The envelope in a body that is written in either format.
pub(super) fn envelope(body: &[u8]) -> &[u8] {
    let data = || {
        let (_, rest) = text(body.strip_prefix(ID)?)?;
        let (_, rest) = text(rest.strip_prefix(TYPE)?)?;
        let (_, rest) = text(rest.strip_prefix(TIME)?)?;
        rest.strip_prefix(DATA)?.strip_suffix(b"}")
    };
    data().unwrap_or(body)
}

fn cloud_event(record: &Record) -> Record {
    let [id, event_type, time] = attributes(record);
    let parts = [ID, &id, TYPE, &event_type, TIME, &time, DATA, &record.body, b"}"];
    Record { body: Bytes::from(parts.concat()), ..record.clone() }
}

/// Id, type and time of a record as JSON: those that its body begins with.
fn attributes(record: &Record) -> [Vec<u8>; 3] {
    let read = || {
        let rest = record.body.strip_prefix(b"{\"event_id\":")?;
        let (id, rest) = text(rest)?;
        let (event_type, rest) = text(rest.strip_prefix(b",\"event_type\":")?)?;
        let (time, _) = text(rest.strip_prefix(b",\"event_timestamp\":")?)?;
        Some([id.to_vec(), event_type.to_vec(), time.to_vec()])
    };
    // Every record is written so (`pipeline/projection.rs`); of another one, what is known is told.
    read().unwrap_or_else(|| {
        [&*record.event_id, "event", &record.time.to_string()].map(|it| {
            let mut out = Vec::new();
            string(&mut out, it);
            out
        })
    })
}

/// A string of JSON with its quotes, and what is behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut is_escaped = false;
    let inner = bytes.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(bytes.split_at(end + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::event::Timestamp;

    fn record(body: String) -> Record {
        let time = Timestamp { seconds: 0, nanos: 0 };
        Record { event_id: "ev_1".into(), time, body: Bytes::from(body), hops: 3 }
    }

    #[test]
    fn a_cloud_event_has_the_attributes_and_the_whole_record_as_data() {
        let body = r#"{"event_id":"ev_\"1\\","event_type":"a.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{"n":1.50}}"#;
        let record = record(body.to_owned());
        let written = Format::CloudEvents.written(&record);
        let text = std::str::from_utf8(&written.body).unwrap();
        assert!(text.contains("1.50"), "values keep their bytes: {text}");
        assert_eq!(
            serde_json::from_str::<Json>(text).unwrap(),
            json!({
                "specversion": "1.0", "source": "/sluicegate", "id": "ev_\"1\\", "type": "a.v0",
                "time": "2025-09-04T10:11:14Z", "datacontenttype": "application/json",
                "data": serde_json::from_str::<Json>(body).unwrap(),
            })
        );
        assert_eq!((written.hops, &*written.event_id), (3, "ev_1"));
    }

    proptest! {
        #[test]
        fn any_record_is_a_cloud_event_in_which_its_envelope_is_found_again(
            id in any::<String>(), other in any::<bool>(), value in any::<String>(),
        ) {
            let body = match other {
                true => json!({"other": value}).to_string(),
                false => format!(
                    r#"{{"event_id":{},"event_type":"a.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{}}}"#,
                    json!(id), json!({"v": value})
                ),
            };
            let record = record(body.clone());
            let written = Format::CloudEvents.written(&record);
            prop_assert_eq!(envelope(&written.body), body.as_bytes());
            prop_assert_eq!(envelope(&record.body), body.as_bytes());
            let event: Json = serde_json::from_slice(&written.body).unwrap();
            prop_assert_eq!(&event["data"], &serde_json::from_str::<Json>(&body).unwrap());
            prop_assert_eq!(&event["id"], &json!(if other { "ev_1" } else { &id }));
        }
    }
}
