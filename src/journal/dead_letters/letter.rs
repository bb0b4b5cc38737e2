//! How a letter lies on disk: one frame, whose text is a line of JSON about the letter and then the
//! record, byte for byte.
//!
//! A letter belongs to an *owner*: a destination, or an entrance. An owner's letters are numbered
//! from 1 without gaps, so that a missing number is a letter that was lost. Each file begins with an
//! *opening*, which says whose it is and from which number on; a number from there on in an earlier
//! file is what is left of a write that failed.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::disk::framed;
use super::{Gone, StoredLetter};
use crate::event::{Record, Timestamp};

/// Bytes that a letter takes beside its record, its id and its reason, at most.
const OVERHEAD: u64 = 512;

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub owner: String,
    /// The number of its first letter, of those that were ever in it.
    pub from: u64,
    /// The highest number of those that were taken out of it, or one less than the first.
    pub last: u64,
    /// What became of letters that were in it.
    pub gone: Gone,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Opening(Opening),
    Letter(StoredLetter),
}

/// What a letter will take on disk, or a little more.
pub(super) fn most_bytes(letter: &StoredLetter) -> u64 {
    let texts = letter.record.event_id.len() + letter.destination.len() + 2 * letter.reason.len();
    OVERHEAD + (texts + letter.record.body.len()) as u64
}

pub(super) fn encode_opening(opening: &Opening, out: &mut Vec<u8>) {
    let head = json!({
        "owner": opening.owner,
        "from": opening.from,
        "last": opening.last,
        "purged": opening.gone.purged,
        "redriven": opening.gone.redriven,
    });
    let time = Timestamp { seconds: 0, nanos: 0 };
    framed::encode(
        Record { event_id: "".into(), time, body: Bytes::from(format!("{head}\n")), hops: 0 },
        out,
    );
}

pub(super) fn encode_letter(letter: &StoredLetter, out: &mut Vec<u8>) {
    let head = json!({
        "id": letter.id,
        "owner": letter.destination,
        "number": letter.number,
        "position": letter.position,
        "time": letter.time.to_string(),
        "reason": letter.reason,
        "attempts": letter.attempts,
    });
    let mut body = format!("{head}\n").into_bytes();
    body.extend_from_slice(&letter.record.body);
    framed::encode(Record { body: body.into(), ..(*letter.record).clone() }, out);
}

/// What a frame says; `None` if a later version wrote it.
pub(super) fn decode(frame: &Record) -> Option<Content> {
    let end = memchr::memchr(b'\n', &frame.body)?;
    let head: Value = serde_json::from_slice(&frame.body[..end]).ok()?;
    let text = |key: &str| Some(head[key].as_str()?.to_owned());
    let owner = text("owner")?;
    if let Some(from) = head["from"].as_u64() {
        let count = |key: &str| head[key].as_u64().unwrap_or(0);
        let gone = Gone { purged: count("purged"), redriven: count("redriven"), given_way: 0 };
        return Some(Content::Opening(Opening { owner, from, last: count("last"), gone }));
    }
    let body = frame.body.slice(end + 1..);
    let record = Record { body, ..frame.clone() };
    Some(Content::Letter(StoredLetter {
        id: text("id")?,
        time: Timestamp::parse(&text("time")?)?,
        destination: owner,
        number: head["number"].as_u64()?,
        position: head["position"].as_u64(),
        reason: text("reason")?,
        attempts: head["attempts"].as_u64().and_then(|it| u32::try_from(it).ok())?,
        record: Arc::new(record),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_and_an_opening_come_back_as_they_went_in() {
        let record = Record {
            event_id: "ev_\"ö\"\n".into(),
            time: Timestamp { seconds: 1_756_980_674, nanos: 5 },
            body: Bytes::from_static(b"{\"n\":1.50}"),
            hops: 0,
        };
        let letter = StoredLetter {
            id: "dl_1".to_owned(),
            time: Timestamp::now(),
            destination: "(ingest.kafka)".to_owned(),
            number: 7,
            position: Some(u64::MAX),
            reason: "too \"old\"\n{}".to_owned(),
            attempts: 2,
            record: Arc::new(record),
        };
        let gone = Gone { purged: 1, redriven: 2, given_way: 0 };
        let opening = Opening { owner: "logs".to_owned(), from: 7, last: 9, gone };
        let mut bytes = Vec::new();
        encode_letter(&letter, &mut bytes);
        assert!(bytes.len() as u64 <= most_bytes(&letter));
        let frame = framed::decode(&bytes).unwrap();
        assert_eq!(decode(&frame), Some(Content::Letter(letter)));
        bytes.clear();
        encode_opening(&opening, &mut bytes);
        let frame = framed::decode(&bytes).unwrap();
        assert_eq!(decode(&frame), Some(Content::Opening(opening)));
    }
}
