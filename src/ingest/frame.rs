//! Framing: a body becomes events, each bad one named by its place in the body.
//!
//! Pure and synchronous. A bad event does not spoil its neighbours, except in one JSON array, whose
//! elements cannot be told apart once its syntax is broken.

use std::borrow::Cow;

use crate::control::Acl;
use crate::event::{Event, JsonCursor, ScanError, Slots, Timestamp, read_event};
use crate::pipeline::Dispatcher;

/// Most events in one body. Keeps the answer to a body of nothing but mistakes in bounds.
pub(super) const MAX_EVENTS: usize = 100_000;

/// How the events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// One a line.
    Ndjson,
    /// One, or an array of them.
    Json,
}

/// An event that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// Its place among the body's events, from 0; blank lines do not count.
    pub index: usize,
    pub code: &'static str,
    pub message: String,
}

/// The body has more than [`MAX_EVENTS`] events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The texts of a body's events, clean of line breaks, and those that have no text worth keeping.
#[derive(Debug, Default)]
pub(super) struct Framed<'b> {
    texts: Vec<(usize, Cow<'b, str>)>,
    /// The bytes of those without a text.
    undecoded: Vec<(usize, &'b [u8])>,
    pub rejected: Vec<Rejection>,
}

/// What an event may be.
pub(super) struct Rules<'r> {
    pub dispatcher: &'r Dispatcher,
    /// Largest event in bytes.
    pub max_event: usize,
    /// The time of events that bring none.
    pub now: Timestamp,
    /// What the sender may send, if it has limits.
    pub acl: Option<&'r Acl>,
}

impl<'b> Framed<'b> {
    /// Splits a body.
    pub(super) fn split(body: &'b [u8], framing: Framing) -> Result<Framed<'b>, TooMany> {
        let mut framed = Framed::default();
        match framing {
            Framing::Ndjson => framed.split_lines(body)?,
            Framing::Json => framed.split_json(body)?,
        }
        Ok(framed)
    }

    fn split_lines(&mut self, body: &'b [u8]) -> Result<(), TooMany> {
        // The whole body at once is fastest; line by line only to find the bad ones.
        let whole = simdutf8::basic::from_utf8(body).ok();
        let mut start = 0;
        let mut index = 0;
        let ends = memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len()));
        for end in ends {
            let line = match whole {
                Some(text) => Ok(&text[start..end]),
                None => simdutf8::compat::from_utf8(&body[start..end]),
            };
            let bytes = &body[start..end];
            start = end + 1;
            let line = line.map(|line| line.trim_matches([' ', '\t', '\r']));
            if line == Ok("") {
                continue;
            }
            if index == MAX_EVENTS {
                return Err(TooMany);
            }
            match line {
                Ok(line) => self.add(index, line),
                Err(error) => self.reject_utf8(index, bytes, error.valid_up_to()),
            }
            index += 1;
        }
        Ok(())
    }

    fn split_json(&mut self, body: &'b [u8]) -> Result<(), TooMany> {
        let text = match simdutf8::compat::from_utf8(body) {
            Ok(text) => text,
            Err(error) => {
                self.reject_utf8(0, body, error.valid_up_to());
                return Ok(());
            }
        };
        let mut cursor = JsonCursor::new(text);
        let walked = match cursor.next_token() {
            None => Ok(Ok(())),
            Some(b'[') => self.walk_array(&mut cursor),
            Some(_) => {
                self.add(0, text.trim_ascii());
                return Ok(());
            }
        }?;
        if let Err(error) = walked.and_then(|()| cursor.end()) {
            let index = self.texts.len();
            self.texts.clear();
            self.undecoded = vec![(index, body)];
            self.rejected = vec![Rejection {
                index,
                code: "ERR_SLUICEGATE_1001",
                message: format!(
                    "the array is not valid JSON: {} at byte {} of the body",
                    error.what, error.at
                ),
            }];
        }
        Ok(())
    }

    fn walk_array(
        &mut self,
        cursor: &mut JsonCursor<'b>,
    ) -> Result<Result<(), ScanError>, TooMany> {
        let mut walk = || -> Result<bool, ScanError> {
            let mut more = cursor.enter(b'[', b']')?;
            while more {
                let index = self.texts.len();
                if index == MAX_EVENTS {
                    return Ok(false);
                }
                self.add(index, cursor.value(1)?);
                more = cursor.more(b']')?;
            }
            Ok(true)
        };
        match walk() {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Err(TooMany),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Adds an event's text. Line breaks between its tokens become spaces, because destinations
    /// separate records by them; in a text that is not JSON they stay, so that it stays wrong.
    fn add(&mut self, index: usize, text: &'b str) {
        let mut clean = Cow::Borrowed(text);
        if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
            let mut cursor = JsonCursor::new(text);
            if cursor.value(0).and_then(|_| cursor.end()).is_ok() {
                clean = Cow::Owned(text.replace(['\n', '\r'], " "));
            }
        }
        self.texts.push((index, clean));
    }

    fn reject_utf8(&mut self, index: usize, bytes: &'b [u8], at: usize) {
        self.undecoded.push((index, bytes));
        let message = format!("not valid UTF-8 at byte {at}");
        self.rejected.push(Rejection { index, code: "ERR_SLUICEGATE_1008", message });
    }

    /// The event at a place of the body, for whoever keeps rejected ones; the whole of an array that
    /// is broken.
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        if let Ok(at) = self.texts.binary_search_by_key(&index, |(index, _)| *index) {
            return self.texts[at].1.as_bytes();
        }
        let at = self.undecoded.binary_search_by_key(&index, |(index, _)| *index);
        at.map_or(&[], |at| self.undecoded[at].1)
    }

    /// Whether there was nothing in the body at all.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.rejected.is_empty()
    }

    /// Reads the events; bad ones are added to the rejections, which end in the body's order.
    pub(super) fn events(
        &self,
        rules: &Rules<'_>,
    ) -> (Vec<(Event<'_>, Slots<'_>)>, Vec<Rejection>) {
        let mut events = Vec::with_capacity(self.texts.len());
        let mut rejected = self.rejected.clone();
        for (index, text) in &self.texts {
            match rules.check(text) {
                Ok(event) => events.push(event),
                Err((code, message)) => rejected.push(Rejection { index: *index, code, message }),
            }
        }
        rejected.sort_by_key(|rejection| rejection.index);
        (events, rejected)
    }
}

impl Rules<'_> {
    fn check<'e>(&self, text: &'e str) -> Result<(Event<'e>, Slots<'e>), (&'static str, String)> {
        if text.len() > self.max_event {
            let message = format!(
                "the event has {} bytes, at most {} are allowed",
                text.len(),
                self.max_event
            );
            return Err(("ERR_SLUICEGATE_1007", message));
        }
        let plan_of = |name: &str| self.dispatcher.plan_of(name);
        let (event, slots) = read_event(text, self.now, rand::random, plan_of)
            .map_err(|error| (error.code(), error.to_string()))?;
        let catalog = self.dispatcher.catalog();
        if catalog.get(&event.event_type).is_none() {
            let shown: String = event.event_type.chars().take(128).collect();
            let mut message = format!("unknown event type `{shown}`");
            if let Some(nearest) = catalog.nearest_type(&shown) {
                message.push_str(&format!(", did you mean `{nearest}`?"));
            }
            return Err(("ERR_NGROK_238", message));
        }
        if self.acl.is_some_and(|acl| !acl.allows(&event)) {
            let message = "the rules of this credential do not allow the event's type or host";
            return Err(("ERR_NGROK_619", message.to_owned()));
        }
        Ok((event, slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Catalog, Class, EventType};
    use crate::pipeline::Stats;
    use crate::resources::Resources;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let event_type = EventType {
            name: "order_placed.v0".to_owned(),
            class: Class::Custom,
            description: String::new(),
            fields: Vec::new(),
        };
        catalog.add(event_type).unwrap();
        catalog
    }

    /// The accepted objects, and the rejections as `index: message`.
    fn take(body: &[u8], framing: Framing) -> (Vec<String>, Vec<String>) {
        let framed = Framed::split(body, framing).unwrap();
        let dispatcher = Dispatcher::new(&Resources::new(catalog()), &Stats::default());
        let now = Timestamp::MIN;
        let rules = Rules { dispatcher: &dispatcher, max_event: 200, now, acl: None };
        let (events, rejected) = framed.events(&rules);
        let rejected = rejected.iter().map(|it| format!("{}: {}", it.index, it.message)).collect();
        (events.iter().map(|(event, _)| event.object.to_owned()).collect(), rejected)
    }

    fn event(object: &str) -> String {
        format!(r#"{{"event_type":"order_placed.v0","object":{object}}}"#)
    }

    #[test]
    fn lines_are_events_and_bad_ones_are_named_by_their_place() {
        let body = format!("{}\r\n\n not json\n{}", event(r#"{"a":1}"#), event(r#"{"a":2}"#));
        let (objects, rejected) = take(body.as_bytes(), Framing::Ndjson);
        assert_eq!(objects, [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(rejected, ["1: not valid JSON: expected a value at byte 0"]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_spoils_no_other() {
        let mut body = event(r#"{"a":1}"#).into_bytes();
        body.extend_from_slice(b"\n{\"event_type\":\"\xff\"}\n");
        body.extend_from_slice(event(r#"{"a":2}"#).as_bytes());
        let (objects, rejected) = take(&body, Framing::Ndjson);
        assert_eq!(objects.len(), 2);
        assert_eq!(rejected, ["1: not valid UTF-8 at byte 15"]);
        let framed = Framed::split(&body, Framing::Ndjson).unwrap();
        assert_eq!(framed.bytes(1), b"{\"event_type\":\"\xff\"}");
        assert_eq!(framed.bytes(2), event(r#"{"a":2}"#).as_bytes());
    }

    #[test]
    fn json_is_one_event_or_an_array() {
        let one = event(r#"{"a":1}"#);
        assert_eq!(take(format!(" {one} ").as_bytes(), Framing::Json).0, [r#"{"a":1}"#]);
        let body = format!("[{one}, 5,\n{one}]");
        let (objects, rejected) = take(body.as_bytes(), Framing::Json);
        assert_eq!(objects.len(), 2);
        assert_eq!(rejected, ["1: an event must be a JSON object"]);
    }

    #[test]
    fn a_broken_array_is_rejected_whole() {
        let body = format!("[{},{{]", event("{}"));
        let (objects, rejected) = take(body.as_bytes(), Framing::Json);
        assert_eq!(objects.len(), 0);
        assert_eq!(rejected.len(), 1);
        assert!(rejected[0].starts_with("1: the array is not valid JSON"), "{rejected:?}");
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let body = event("{\n\"a\":\r\n1}");
        let (objects, _) = take(body.as_bytes(), Framing::Json);
        assert_eq!(objects, ["{ \"a\":  1}"]);
        let broken = event("{\"a\":\"x\ny\"}");
        assert_eq!(take(broken.as_bytes(), Framing::Json).1.len(), 1);
    }

    #[test]
    fn size_and_type_have_their_own_words() {
        let large = event(&format!("{{\"a\":\"{}\"}}", "x".repeat(200)));
        let body = format!("{large}\n{}", r#"{"event_type":"order_place.v0","object":{}}"#);
        let (_, rejected) = take(body.as_bytes(), Framing::Ndjson);
        assert_eq!(
            rejected,
            [
                "0: the event has 250 bytes, at most 200 are allowed",
                "1: unknown event type `order_place.v0`, did you mean `order_placed.v0`?"
            ]
        );
    }

    #[test]
    fn the_number_of_events_in_a_body_is_limited() {
        let lines = "1\n".repeat(MAX_EVENTS + 1);
        assert_eq!(Framed::split(lines.as_bytes(), Framing::Ndjson).err(), Some(TooMany));
        let array = format!("[{}1]", "1,".repeat(MAX_EVENTS));
        assert_eq!(Framed::split(array.as_bytes(), Framing::Json).err(), Some(TooMany));
        assert!(Framed::split(b" \n \r\n", Framing::Ndjson).unwrap().is_empty());
        assert!(Framed::split(b"", Framing::Json).unwrap().is_empty());
    }
}
