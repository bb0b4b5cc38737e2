//! A letter as a line of JSON, for people and other programs: how it is exported, read back when it was
//! mended, and how earlier versions kept it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::StoredLetter;
use crate::event::{JsonCursor, Record, ScanError, Timestamp, string_value};

impl StoredLetter {
    /// Reads a line; the record's bytes are taken as they stand. The letter has no number.
    #[must_use]
    pub fn from_line(line: &str) -> Option<StoredLetter> {
        scan(line).ok().flatten()
    }

    /// The letter as a line, without its end; the record's bytes stand as they are.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let head = json!({
            "id": self.id,
            "time": self.time.to_string(),
            "destination": self.destination,
            "event_id": &*self.record.event_id,
            "event_time": self.record.time.to_string(),
            "reason": self.reason,
            "attempts": self.attempts,
        });
        let head = head.to_string();
        let mut line = head.strip_suffix('}').unwrap_or(&head).as_bytes().to_vec();
        line.extend_from_slice(b",\"record\":");
        line.extend_from_slice(&self.record.body);
        line.push(b'}');
        line
    }
}

fn scan(line: &str) -> Result<Option<StoredLetter>, ScanError> {
    let mut fields: [Option<&str>; 8] = [None; 8];
    const KEYS: [&str; 8] =
        ["id", "time", "destination", "event_id", "event_time", "reason", "attempts", "record"];
    let mut cursor = JsonCursor::new(line);
    let mut more = cursor.enter(b'{', b'}')?;
    while more {
        let key = cursor.key()?;
        let value = cursor.value(1)?;
        if let Some(at) = KEYS.iter().position(|known| *known == key) {
            fields[at] = Some(value);
        }
        more = cursor.more(b'}')?;
    }
    cursor.end()?;
    let [id, time, destination, event_id, event_time, reason, attempts, record] = fields;
    let text = |json: Option<&str>| Some(string_value(json?)?.into_owned());
    let instant = |json| Timestamp::parse(&text(json)?);
    let letter = || {
        Some(StoredLetter {
            id: text(id)?,
            time: instant(time)?,
            destination: text(destination)?,
            number: 0,
            position: None,
            reason: text(reason)?,
            attempts: attempts?.parse().ok()?,
            record: Arc::new(Record {
                event_id: text(event_id)?.into(),
                time: instant(event_time)?,
                body: Bytes::copy_from_slice(record?.as_bytes()),
                hops: 0,
            }),
        })
    };
    Ok(letter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_comes_back_from_its_line_byte_for_byte() {
        let record = Record {
            event_id: "ev_\"1\"".into(),
            time: Timestamp { seconds: 1_756_980_674, nanos: 0 },
            body: Bytes::from_static(b"{\"n\":1.50}"),
            hops: 0,
        };
        let letter = StoredLetter {
            id: "dl_1".to_owned(),
            time: Timestamp { seconds: 1_756_980_675, nanos: 7 },
            destination: "logs".to_owned(),
            number: 0,
            position: None,
            reason: "too \"old\" {}".to_owned(),
            attempts: 2,
            record: Arc::new(record),
        };
        let line = letter.to_line();
        assert_eq!(StoredLetter::from_line(str::from_utf8(&line).unwrap()), Some(letter));
    }
}
