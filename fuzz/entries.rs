//! What the fuzz target of Envoy's messages does with its bytes. A test runs the same on mutated messages.
//!
//! A body fails by panicking; that a message cannot be read is no failure, and an event that is none is one.

use sluicegate::event::{Event, Timestamp};
use sluicegate::formats::Entries;

/// Any bytes as a message, as an entry of a request, and as one of a connection.
pub fn entries(bytes: &[u8]) {
    let listed = field(0x0a, bytes);
    for message in [bytes.to_vec(), field(0x12, &listed), field(0x1a, &listed)] {
        let mut entries = Entries::of(message.into());
        let (mut node, mut out) = (None, String::new());
        while let Ok(Some(_)) = entries.next(&mut node, None, &mut out) {}
        for line in out.lines() {
            let event = Event::parse(line, Timestamp::MIN, || 0);
            assert!(event.is_ok(), "{line}");
        }
    }
}

/// A field of bytes: its key, its length and they.
fn field(key: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![key];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push((length % 0x80) as u8 | 0x80);
        length /= 0x80;
    }
    field.push(length as u8);
    [&field, bytes].concat()
}
