//! Names of log streams: as they stand, or made of each event by a template such as `edge-{date}`.
//!
//! How many there may be is `streams.rs`'s matter.

use std::borrow::Cow;

use crate::event::{JsonCursor, Record, ScanError, string_value};
use crate::form::{Rule, Wrong};
use crate::sinks::error::SETTING;
use crate::sinks::format::envelope;

/// Longest name of a log stream (CloudWatch Logs API model, `LogStreamName`).
const MAX_NAME: usize = 512;
/// Most characters that one part of a template fills in: event types and account ids have fewer, and a
/// name keeps what comes after.
const MAX_FILLED: usize = 128;
/// What stands for what an event does not have.
const UNKNOWN: &str = "unknown";
/// What stands for all that a template fills in where too many log streams are open.
const OTHER: &str = "other";

/// The name of a log stream, or a template of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStreamName;

impl Rule for LogStreamName {
    fn check(text: &str) -> Result<(), Wrong> {
        let length = text.chars().count();
        if length == 0 || length > MAX_NAME || text.contains(is_forbidden) {
            let problem = "must have 1 to 512 characters, none of them `:` or `*`";
            return Err(Wrong::must(SETTING, problem));
        }
        Template::parse(text).map(drop)
    }
}

/// What the service takes in no name.
fn is_forbidden(c: char) -> bool {
    matches!(c, ':' | '*') || c.is_control()
}

/// A name's parts, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// The day of the event in UTC, as `2026-11-26`.
    Date,
    /// Its hour in UTC, as `09`.
    Hour,
    EventType,
    AccountId,
}

impl Template {
    /// Reads a name or a template.
    pub(super) fn parse(text: &str) -> Result<Template, Wrong> {
        let wrong = |problem: String| Err(Wrong::must(SETTING, problem));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return wrong("has a `{` without its `}`".to_owned());
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(match name {
                "date" => Part::Date,
                "hour" => Part::Hour,
                "event_type" => Part::EventType,
                "account_id" => Part::AccountId,
                _ => {
                    return wrong(format!(
                        "has `{{{name}}}`, and can have `{{date}}`, `{{hour}}`, `{{event_type}}` and `{{account_id}}`"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        match parts.first() {
            Some(Part::Text(_)) => Ok(Template(parts)),
            _ => wrong(
                "must begin with text that stays the same, such as `events-{date}`: policies allow log streams by what their names begin with"
                    .to_owned(),
            ),
        }
    }

    /// A name as it stands.
    pub(super) fn fixed(name: &str) -> Template {
        Template(vec![Part::Text(name.into())])
    }

    /// Whether every event has the same.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.0[..], [Part::Text(_)])
    }

    /// What all names begin with.
    pub(super) fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The name for an event.
    pub(super) fn name(&self, record: &Record) -> String {
        let reads = self.0.iter().any(|it| matches!(it, Part::EventType | Part::AccountId));
        let envelope = if reads { envelope(&record.body) } else { b"" };
        let envelope = Envelope::read(std::str::from_utf8(envelope).unwrap_or_default());
        let time = record.time.to_string();
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                // As RFC 3339 has them.
                Part::Date => name.push_str(&filled(time.split('T').next().unwrap_or_default())),
                Part::Hour => {
                    let of_day = time.split('T').nth(1).unwrap_or_default();
                    name.push_str(&filled(of_day.split(':').next().unwrap_or_default()));
                }
                Part::EventType => name.push_str(&filled(&text(envelope.event_type))),
                Part::AccountId => name.push_str(&filled(&text(envelope.account_id))),
            }
        }
        cut(name)
    }

    /// The name for events that would need one more where that is too many.
    pub(super) fn other(&self) -> String {
        cut(format!("{}{OTHER}", self.prefix()))
    }
}

/// What of a record is in names, as JSON.
#[derive(Default)]
struct Envelope<'r> {
    event_type: Option<&'r str>,
    account_id: Option<&'r str>,
}

impl<'r> Envelope<'r> {
    /// Reads a record up to its end, or to where it is none.
    fn read(record: &'r str) -> Envelope<'r> {
        let mut envelope = Envelope::default();
        let _ended = envelope.fill(record);
        envelope
    }

    fn fill(&mut self, record: &'r str) -> Result<(), ScanError> {
        let mut cursor = JsonCursor::new(record);
        let mut more = cursor.enter(b'{', b'}')?;
        while more {
            let key = cursor.key()?;
            let value = cursor.value(1)?;
            match key {
                "event_type" => self.event_type = Some(value),
                "account_id" => self.account_id = Some(value),
                _ => {}
            }
            more = cursor.more(b'}')?;
        }
        Ok(())
    }
}

/// A string's text; empty for what is none.
fn text(value: Option<&str>) -> Cow<'_, str> {
    value.and_then(string_value).unwrap_or_default()
}

/// A value as it stands in a name.
fn filled(value: &str) -> Cow<'_, str> {
    if value.is_empty() {
        return Cow::Borrowed(UNKNOWN);
    }
    let is_fine = !value.contains(is_forbidden) && value.len() <= MAX_FILLED;
    if is_fine {
        return Cow::Borrowed(value);
    }
    let mended = value.chars().take(MAX_FILLED).map(|c| if is_forbidden(c) { '_' } else { c });
    Cow::Owned(mended.collect())
}

/// A name of bearable length.
fn cut(name: String) -> String {
    if name.len() <= MAX_NAME { name } else { name.chars().take(MAX_NAME).collect() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::Format;

    fn record(body: &str) -> Record {
        Record {
            event_id: "ev_1".into(),
            time: Timestamp::parse("2026-11-26T09:59:59.5Z").unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            hops: 0,
        }
    }

    #[test]
    fn a_template_is_filled_in_from_the_event() {
        let event = record(r#"{"event_type":"tcp.v0","account_id":"ac_1","object":{}}"#);
        for (template, name) in [
            ("events", "events"),
            ("edge-{date}", "edge-2026-11-26"),
            ("e/{date}/{hour}", "e/2026-11-26/09"),
            ("e-{event_type}-of-{account_id}-x", "e-tcp.v0-of-ac_1-x"),
        ] {
            assert_eq!(Template::parse(template).unwrap().name(&event), name);
        }
    }

    #[test]
    fn what_an_event_does_not_have_or_no_name_takes_is_filled_in_all_the_same() {
        let template = Template::parse("e-{account_id}").unwrap();
        for (body, name) in [
            (r#"{"event_type":"a"}"#, "e-unknown"),
            (r#"{"account_id":7}"#, "e-unknown"),
            (r#"{"account_id":""}"#, "e-unknown"),
            ("no JSON", "e-unknown"),
            (r#"{"account_id":"a:b*\n"}"#, "e-a_b__"),
        ] {
            assert_eq!(template.name(&record(body)), name, "{body}");
        }
        assert_eq!(template.other(), "e-other");
    }

    #[test]
    fn a_cloud_event_has_the_name_of_the_event_in_it() {
        let event = record(
            r#"{"event_id":"ev_1","event_type":"tcp.v0","event_timestamp":"2026-11-26T09:59:59.5Z","account_id":"ac_1","object":{}}"#,
        );
        let template = Template::parse("e-{event_type}-of-{account_id}-{hour}").unwrap();
        for format in [Format::Json, Format::CloudEvents] {
            assert_eq!(template.name(&format.written(&event)), "e-tcp.v0-of-ac_1-09");
        }
    }

    #[test]
    fn a_template_begins_with_text_and_has_known_parts() {
        for (text, problem) in [
            ("{date}", "must begin with text that stays the same"),
            ("a-{day}", "has `{day}`, and can have `{date}`, `{hour}`, `{event_type}`"),
            ("a-{date", "has a `{` without its `}`"),
        ] {
            let wrong = Template::parse(text).unwrap_err();
            assert!(wrong.of("log_stream").contains(problem), "{}", wrong.of("log_stream"));
        }
        assert!(Template::parse("a}").unwrap().is_fixed());
        assert!(!Template::parse("a{date}").unwrap().is_fixed());
    }

    proptest! {
        #[test]
        fn whatever_an_event_has_its_name_is_one_that_the_service_takes(
            account in ".{0,700}",
            kind in any::<String>(),
            tail in "[a-z]{0,400}",
        ) {
            let template = format!("p-{{account_id}}-{{event_type}}-{tail}");
            prop_assert!(LogStreamName::check(&template).is_ok());
            let body = serde_json::json!({"account_id": account, "event_type": kind}).to_string();
            let name = Template::parse(&template).unwrap().name(&record(&body));
            prop_assert!(name.starts_with("p-"));
            let length = name.chars().count();
            prop_assert!((1..=512).contains(&length) && !name.contains(is_forbidden), "{}", name);
        }
    }
}
