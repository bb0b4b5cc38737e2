//! Messages as events: which of them are good, and a letter for each one that is not.

use bytes::Bytes;

use super::taken::Message;
use crate::event::{Framed, Framing, JsonCursor, MAX_EVENTS, Rejection, Timestamp, TooMany};
use crate::ingest::letter::{self, Letter};

/// Frames the payloads of messages together, so that the number of an event's body is that of its
/// message; one with too many events is refused as a whole.
pub(super) fn frame(messages: &[Message]) -> Framed {
    let mut framed = Framed::default();
    for message in messages {
        let payload = Bytes::copy_from_slice(&message.payload);
        if let Err(TooMany) = framed.add(payload.clone(), framing(&message.payload)) {
            let text = format!("the message has more than {MAX_EVENTS} events");
            framed.refuse_last(payload, "ERR_SLUICEGATE_1105", text);
        }
    }
    framed
}

/// One event a line, or, if the whole payload is one JSON value, that value.
fn framing(payload: &[u8]) -> Framing {
    let payload = payload.trim_ascii();
    let payload = payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(payload);
    if !payload.starts_with(b"[") && !payload.contains(&b'\n') {
        return Framing::Ndjson;
    }
    let Ok(text) = str::from_utf8(payload) else { return Framing::Ndjson };
    let mut cursor = JsonCursor::new(text);
    match cursor.value(0).and_then(|_| cursor.end()) {
        Ok(()) => Framing::Json,
        Err(_) => Framing::Ndjson,
    }
}

/// The letter for a rejected event; its id tells the event's place in Kafka.
pub(super) fn letter(
    message: &Message,
    event: &[u8],
    rejection: &Rejection,
    now: Timestamp,
) -> Letter {
    let Message { topic, partition, offset, .. } = message;
    let place = format!("{topic}/{partition}/{offset}/{}", rejection.place.index);
    letter::letter(&place, event, rejection, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Hops;
    use crate::event::Place;

    #[test]
    fn a_payload_is_lines_unless_all_of_it_is_one_value() {
        for (payload, framing_of_it) in [
            ("{\"a\":1}", Framing::Ndjson),
            ("{\"a\":1}\n{\"a\":2}\n", Framing::Ndjson),
            ("{\n\"a\": 1\n}\n", Framing::Json),
            ("[{\"a\":1},{\"a\":2}]", Framing::Json),
            ("[{\"a\":1}\n", Framing::Ndjson),
            ("", Framing::Ndjson),
            ("\u{feff}[1,\n2]", Framing::Json),
        ] {
            assert_eq!(framing(payload.as_bytes()), framing_of_it, "{payload}");
        }
        assert_eq!(framing(b"\xff\n"), Framing::Ndjson);
    }

    #[test]
    fn a_letter_tells_the_place_and_the_reason_and_keeps_every_byte() {
        let message = Message {
            topic: "events".to_owned(),
            partition: 3,
            offset: 42,
            payload: Vec::new(),
            millis: None,
            hops: Hops::default(),
        };
        let place = Place { index: 1, ..Place::default() };
        let rejection = Rejection { place, code: "E", message: "no JSON".to_owned() };
        let (record, reason) = letter(&message, b"say \"hi\"", &rejection, Timestamp::MIN);
        assert_eq!((&*record.event_id, &*reason), ("events/3/42/1", "no JSON (E)"));
        assert_eq!(&*record.body, br#""say \"hi\"""#);
        let (record, _) = letter(&message, b"\x00\xff", &rejection, Timestamp::MIN);
        assert_eq!(&*record.body, br#"{"hex":"00ff"}"#);
    }
}
