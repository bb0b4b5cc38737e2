//! The partition key of a Kinesis record: the event's id, or what an expression reads from the record as it
//! is delivered.
//!
//! The expression is of the filters' language, with `ev` and `event` as there; fields that the record has not
//! are errors here and not zeros, since records without a key must not all go to one shard. What order is
//! kept for equal keys is the delivery task's matter.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::format::envelope;
use crate::event::{
    Declared, EventType, FieldType, Record, Root, Slot, SlotId, SlotPlan, Timestamp, read_event,
    string_value,
};
use crate::filter::{self, Environment, Expression, MAX_SOURCE, Type, json_value};
use crate::form::{Shape, Value, Written, Wrong};

/// Most characters of a partition key (Kinesis API model, `PartitionKey`). Counted as UTF-16 does, in which
/// no text is shorter than in characters: it is sure to fit whichever the service means.
const MAX_KEY: usize = 256;

/// What stands for the event's id, which is the default.
const EVENT_ID: &str = "event_id";

const CODE: &str = "ERR_SLUICEGATE_1380";

/// Members of a record beside `object`.
const ENVELOPE: [&str; 5] =
    ["event_id", "event_type", "event_timestamp", "account_id", "principal"];

/// Where the partition key comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionKey {
    /// As it was written, with how it is read; none for the event's id.
    read: Option<Arc<(Box<str>, How)>>,
}

#[derive(Debug)]
enum How {
    /// One field, by its path in the object or in the envelope.
    Field { root: Root, path: Vec<String>, plan: SlotPlan, slot: SlotId },
    /// The event's type, which is no slot.
    EventType,
    /// Anything else.
    Expression(Expression),
}

impl PartialEq for PartitionKey {
    fn eq(&self, other: &PartitionKey) -> bool {
        self.text() == other.text()
    }
}

impl Eq for PartitionKey {}

impl Value for PartitionKey {
    const SHAPE: Shape<PartitionKey> = Shape::Text(PartitionKey::new);

    fn written(&self) -> Written {
        Written::open(self.text())
    }
}

fn must(problem: impl Into<String>) -> Wrong {
    Wrong::must(CODE, problem)
}

impl PartitionKey {
    /// Checks a text: `event_id`, the path of a field, or an expression.
    ///
    /// # Errors
    /// When it is none of these, when its value is no text, number or bool, and when it is the same for every
    /// record.
    pub(super) fn new(text: &str) -> Result<PartitionKey, Wrong> {
        if text == EVENT_ID {
            return Ok(PartitionKey::default());
        }
        if text.len() > MAX_SOURCE {
            return Err(must(format!("must have at most {MAX_SOURCE} bytes")));
        }
        let how = match path_of(text) {
            Some(path) => How::of_path(&path)?,
            None => How::of_expression(text)?,
        };
        Ok(PartitionKey { read: Some(Arc::new((text.into(), how))) })
    }

    fn text(&self) -> &str {
        self.read.as_ref().map_or(EVENT_ID, |it| &it.0)
    }

    /// Whether records are placed by the event's id, so that no two belong together.
    pub(super) fn is_event_id(&self) -> bool {
        self.read.is_none()
    }

    /// The key of a record, and whether it is the one asked for: without that, it is the event's id.
    pub(super) fn of<'r>(&self, record: &'r Record) -> (Cow<'r, str>, bool) {
        let Some(read) = &self.read else { return (Cow::Borrowed(&record.event_id), true) };
        match std::str::from_utf8(envelope(&record.body)).ok().and_then(|text| read.1.value(text)) {
            Some(key) => (Cow::Owned(key), true),
            None => (Cow::Borrowed(&record.event_id), false),
        }
    }

    /// Whether records of a source may have such a key: its event type, and the fields that it chooses.
    ///
    /// # Errors
    /// Why they never have.
    pub(super) fn may_be_in(
        &self,
        event_type: &Arc<EventType>,
        fields: Option<&[String]>,
    ) -> Result<(), String> {
        let Some(read) = &self.read else { return Ok(()) };
        match &read.1 {
            How::Field { root: Root::Object, path, .. } => in_source(path, event_type, fields),
            How::Field { .. } | How::EventType => Ok(()),
            How::Expression(_) if read.0.contains("event.object") => Ok(()),
            How::Expression(_) => match Environment::of_events(event_type).check(&read.0) {
                Err(error) if error.code() == "ERR_NGROK_5405" => Err(first_of(&error)),
                _ => Ok(()),
            },
        }
    }
}

/// Where Kinesis places a key: its MD5 as a number, which lies in the range of one shard.
pub(super) fn hash_of(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
}

/// The names of a plain path from `ev` or `event`.
fn path_of(text: &str) -> Option<Vec<String>> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
            && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_')
    };
    let names: Vec<&str> = text.split('.').collect();
    let is_path = names.len() > 1 && matches!(names[0], "ev" | "event");
    (is_path && names.iter().all(|it| is_name(it)))
        .then(|| names.into_iter().map(str::to_owned).collect())
}

impl How {
    fn of_path(path: &[String]) -> Result<How, Wrong> {
        let (root, path) = match (path[0].as_str(), path[1].as_str()) {
            ("ev", _) => (Root::Object, &path[1..]),
            (_, "object") => (Root::Object, &path[2..]),
            (_, "event_type") => return Ok(How::EventType),
            (_, name) if ENVELOPE.contains(&name) => (Root::Envelope, &path[1..]),
            (_, name) => {
                let names = ENVELOPE.join("`, `");
                return Err(must(format!(
                    "names `event.{name}`, which no record has: there are `{names}` and `object`"
                )));
            }
        };
        if path.is_empty() {
            return Err(must("must be one field, and not all of the object"));
        }
        let (path, mut plan) = (path.to_vec(), SlotPlan::default());
        let slot = plan.slot(root, &path);
        Ok(How::Field { root, path, plan, slot })
    }

    fn of_expression(text: &str) -> Result<How, Wrong> {
        let environment =
            Environment::default().variable("ev", Type::Dyn).variable("event", Type::Dyn);
        let expression = environment.check(text).map_err(|error| {
            must(format!(
                "is neither `event_id`, nor a field such as `ev.conn.client_ip`, nor an expression: {}",
                first_of(&error)
            ))
        })?;
        let fits = matches!(
            expression.result,
            Type::Bool
                | Type::Int
                | Type::Uint
                | Type::Double
                | Type::String
                | Type::Dyn
                | Type::Variable(_)
        );
        if !fits {
            let found = &expression.result;
            return Err(must(format!("must be a text, a number or a bool, found {found}")));
        }
        if expression.evaluate(&BTreeMap::new()).is_ok() {
            return Err(must("is the same for every record, which would put all on one shard"));
        }
        Ok(How::Expression(expression))
    }

    /// The key that a record's text has; none where it has none.
    fn value(&self, text: &str) -> Option<String> {
        let key = match self {
            How::Field { root, plan, slot, .. } => {
                let (event, mut slots) =
                    read_event(text, Timestamp::MIN, || 0, |_| Some(plan)).ok()?;
                if *root == Root::Envelope {
                    plan.extract_envelope(&event, &mut slots);
                }
                let Some(Slot::Json(json)) = slots.get(slot.index()) else { return None };
                scalar(json)?
            }
            How::EventType => {
                let (event, _) = read_event(text, Timestamp::MIN, || 0, |_| None).ok()?;
                event.event_type.into_owned()
            }
            How::Expression(expression) => evaluated(expression, text)?,
        };
        (!key.is_empty()).then(|| cut(key))
    }
}

/// A value of a field as a key; none for null, lists and objects.
fn scalar(json: &str) -> Option<String> {
    match json.bytes().next()? {
        b'"' => string_value(json).map(Cow::into_owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}

fn evaluated(expression: &Expression, text: &str) -> Option<String> {
    let event = json_value(text)?;
    let object = match &event {
        filter::Value::Map(members) => members.get_text("object").cloned(),
        _ => None,
    };
    let mut bindings = BTreeMap::from([("event".to_owned(), event)]);
    bindings.extend(object.map(|it| ("ev".to_owned(), it)));
    Some(match expression.evaluate(&bindings).ok()? {
        filter::Value::String(text) => text.to_string(),
        filter::Value::Int(number) => number.to_string(),
        filter::Value::Uint(number) => number.to_string(),
        filter::Value::Double(number) => number.to_string(),
        filter::Value::Bool(truth) => truth.to_string(),
        _ => return None,
    })
}

/// As much of a key as the service takes: its beginning, so that equal values stay together.
fn cut(mut key: String) -> String {
    // No character has more units of UTF-16 than bytes.
    if key.len() > MAX_KEY {
        let mut units = 0;
        let over = key.char_indices().find(|(_, it)| {
            units += it.len_utf16();
            units > MAX_KEY
        });
        if let Some((at, _)) = over {
            key.truncate(at);
        }
    }
    key
}

/// Whether a path leads to a field of a type, or into one that may hold anything, and whether that is chosen.
fn in_source(
    path: &[String],
    event_type: &EventType,
    fields: Option<&[String]>,
) -> Result<(), String> {
    let whole = path.join(".");
    let field = (1..=path.len()).map(|end| path[..end].join(".")).find(|start| {
        let Declared::Field(field) = event_type.declared(start) else { return false };
        *start == whole || matches!(field.field_type, FieldType::Dyn | FieldType::Map(_))
    });
    let Some(field) = field else {
        let nearest = event_type.nearest_field(&whole);
        let nearest = nearest.map(|it| format!(", did you mean `ev.{it}`?")).unwrap_or_default();
        return Err(format!("{} has no field `ev.{whole}`{nearest}", event_type.name));
    };
    match fields {
        Some(fields) if !fields.contains(&field) => {
            Err(format!("`ev.{field}` is not among the `fields` that are chosen"))
        }
        _ => Ok(()),
    }
}

fn first_of(error: &filter::FilterError) -> String {
    let Some(first) = error.mistakes().first() else { return error.to_string() };
    let help = first.help.as_ref().map(|it| format!("; {it}")).unwrap_or_default();
    crate::report::escaped(&(first.message.clone() + &help)).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::event::Catalog;

    fn record(body: &str) -> Record {
        Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::copy_from_slice(body.as_bytes()),
            hops: 0,
        }
    }

    const BODY: &str = r#"{"event_id":"ev_1","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z","account_id":"ac_1","principal":{"id":"p_1","source":null},"object":{"conn":{"ip":"10.0.0.1","port":443,"tls":true},"name":"caf\u00e9","list":["a"],"empty":""}}"#;

    #[test]
    fn a_key_is_read_from_the_record_as_it_is_delivered() {
        let record = record(BODY);
        for (text, key) in [
            ("event_id", "ev_1"),
            ("event.event_id", "ev_1"),
            ("event.event_type", "t.v0"),
            ("event.account_id", "ac_1"),
            ("event.principal.id", "p_1"),
            ("ev.conn.ip", "10.0.0.1"),
            ("event.object.conn.ip", "10.0.0.1"),
            ("ev.conn.port", "443"),
            ("ev.conn.tls", "true"),
            ("ev.name", "café"),
            ("ev.conn.ip + '/' + string(ev.conn.port)", "10.0.0.1/443"),
            ("has(ev.host) ? ev.host : event.account_id", "ac_1"),
            ("ev.list[0]", "a"),
            ("ev.conn.port / 100", "4"),
        ] {
            let found = PartitionKey::new(text).unwrap();
            assert_eq!(found.of(&record), (Cow::Borrowed(key), true), "{text}");
        }
    }

    #[test]
    fn a_record_without_the_key_has_the_events_id() {
        let record = record(BODY);
        for text in [
            "ev.host",
            "ev.conn",
            "ev.list",
            "ev.empty",
            "event.principal.source",
            "event.principal.subject",
            "ev.conn.ip.part",
            "ev.list[3]",
            "ev.host + 'x'",
            "ev.conn.port / (ev.conn.port - 443)",
        ] {
            let found = PartitionKey::new(text).unwrap();
            assert_eq!(found.of(&record), (Cow::Borrowed("ev_1"), false), "{text}");
        }
    }

    #[test]
    fn what_reads_nothing_of_a_record_is_refused_when_it_is_saved() {
        for (text, part) in [
            ("'all'", "same for every record"),
            ("1 + 1", "same for every record"),
            ("event.region", "which no record has"),
            ("event.object", "one field"),
            ("ev.a +", "nor an expression"),
            ("account_id", "nor an expression"),
            ("[ev.a]", "found list"),
        ] {
            let wrong = PartitionKey::new(text).unwrap_err();
            let message = wrong.of("partition_key");
            assert!(message.contains(part) && wrong.code() == CODE, "{text}: {message}");
        }
    }

    #[test]
    fn a_source_without_the_field_is_told_from_one_that_has_it() {
        let catalog = Catalog::builtin();
        let http = catalog.get("http_request_complete.v0").unwrap();
        let chosen = ["http.request.method".to_owned()];
        for (text, fields, is_there) in [
            ("event_id", None, true),
            ("event.account_id", Some(&chosen[..]), true),
            ("ev.conn.client_ip", None, true),
            ("ev.conn.client_ip", Some(&chosen[..]), false),
            ("ev.http.request.method", Some(&chosen[..]), true),
            ("ev.http.request.headers.Host", None, true),
            ("ev.conn.client_port", None, false),
            ("ev.conn", None, false),
            ("ev.conn.client_ip + 'x'", None, true),
            ("ev.conn.client_port + 'x'", None, false),
        ] {
            let found = PartitionKey::new(text).unwrap().may_be_in(http, fields);
            assert_eq!(found.is_ok(), is_there, "{text}: {found:?}");
        }
        let near = PartitionKey::new("ev.conn.client_port").unwrap().may_be_in(http, None);
        assert!(near.unwrap_err().contains("did you mean"));
    }

    #[test]
    fn a_hash_is_what_kinesis_makes_of_a_key() {
        // MD5 of "a" (RFC 1321, A.5).
        assert_eq!(hash_of("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    proptest! {
        #[test]
        fn no_key_is_longer_than_the_service_takes(value in "\\PC{0,400}") {
            let json = serde_json::json!({
                "event_id": "ev_1", "event_type": "t.v0",
                "event_timestamp": "2025-09-04T10:11:14Z", "object": {"k": value},
            });
            let record = record(&json.to_string());
            for text in ["ev.k", "ev.k + ''"] {
                let of = PartitionKey::new(text).unwrap();
                let (key, found) = of.of(&record);
                prop_assert_eq!(found, !value.is_empty());
                let units = key.encode_utf16().count();
                prop_assert!((1..=256).contains(&units) && key.chars().count() <= 256);
                prop_assert!(!found || value.starts_with(&*key));
                prop_assert!(units >= 255 || !found || *key == *value);
            }
        }
    }
}
