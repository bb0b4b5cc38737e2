//! Messages as events: which of them are good, and a letter for each one that is not.

use super::taken::Message;
use crate::event::{JsonCursor, Timestamp};
use crate::ingest::frame::{Framed, Framing, MAX_EVENTS, Rejection, TooMany};
use crate::ingest::letter::{self, Letter};

/// Splits a message's payload; one with too many events gives the letter for all of it.
pub(super) fn split<'m>(message: &'m Message, now: Timestamp) -> Result<Framed<'m>, Letter> {
    Framed::split(&message.payload, framing(&message.payload)).map_err(|TooMany| {
        let text = format!("the message has more than {MAX_EVENTS} events");
        let rejection = Rejection { index: 0, code: "ERR_SLUICEGATE_1105", message: text };
        letter(message, &message.payload, &rejection, now)
    })
}

/// One event a line, or, if the whole payload is one JSON value, that value.
fn framing(payload: &[u8]) -> Framing {
    let payload = payload.trim_ascii();
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
    let place = format!("{topic}/{partition}/{offset}/{}", rejection.index);
    letter::letter(&place, event, rejection, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_lines_unless_all_of_it_is_one_value() {
        for (payload, framing_of_it) in [
            ("{\"a\":1}", Framing::Ndjson),
            ("{\"a\":1}\n{\"a\":2}\n", Framing::Ndjson),
            ("{\n\"a\": 1\n}\n", Framing::Json),
            ("[{\"a\":1},{\"a\":2}]", Framing::Json),
            ("[{\"a\":1}\n", Framing::Ndjson),
            ("", Framing::Ndjson),
        ] {
            assert_eq!(framing(payload.as_bytes()), framing_of_it, "{payload}");
        }
        assert_eq!(framing(b"\xff\n"), Framing::Ndjson);
    }

    #[test]
    fn a_letter_tells_the_place_and_the_reason_and_keeps_every_byte() {
        let message =
            Message { topic: "events".to_owned(), partition: 3, offset: 42, payload: Vec::new() };
        let rejection = Rejection { index: 1, code: "E", message: "no JSON".to_owned() };
        let (record, reason) = letter(&message, b"say \"hi\"", &rejection, Timestamp::MIN);
        assert_eq!((&*record.event_id, &*reason), ("events/3/42/1", "no JSON (E)"));
        assert_eq!(&*record.body, br#""say \"hi\"""#);
        let (record, _) = letter(&message, b"\x00\xff", &rejection, Timestamp::MIN);
        assert_eq!(&*record.body, br#"{"hex":"00ff"}"#);
    }
}
