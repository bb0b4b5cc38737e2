//! Several events in one record of Kinesis, in the format of Amazon's producer library (KPL), which its
//! consumer library (KCL) and others take apart.
//!
//! A record is `F3 89 9A C2`, a message of protobuf and the MD5 of that
//! (github.com/awslabs/amazon-kinesis-producer, `aggregation-format.md`). Consumers throw a whole record away,
//! without a word, if one event in it belongs to another shard than the record came from. So all events of a
//! record share one hash key, which is the record's own too: wherever that is, they belong.

use std::collections::HashMap;

use md5::{Digest as _, Md5};

use crate::form::{Shape, Value, Written};
use crate::sinks::packing::Room;

/// What begins a record.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The partition key of a record with several events, which decides nothing: KPL's own.
pub(super) const OUTER_KEY: &str = "a";

/// Most bytes of a record with its key: what KPL makes by default (`AggregationMaxSize`), and two whole
/// payload units of 25 KiB, in which records are billed.
const MAX_BYTES: usize = 51_200;

/// What is around the events: beginning and end, the shared hash key of at most 39 digits with tag and
/// length, the outer key.
const AROUND: usize = MAGIC.len() + 16 + 2 + 39 + OUTER_KEY.len();

/// What is around an event and its key: tags, lengths and numbers, of at most 3 bytes each.
const AROUND_EVENT: usize = 16;

/// What a record has room for, where [`counted`] is counted for each event.
pub(super) const ROOM: Room = Room { records: usize::MAX, bytes: MAX_BYTES - AROUND };

/// Most that an event adds to a record.
pub(super) fn counted(key: &str, body: &[u8]) -> usize {
    key.len() + body.len() + AROUND_EVENT
}

/// Whether events share records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sinks) enum Aggregate {
    /// Each has one of its own.
    #[default]
    Off,
    /// In KPL's format.
    Kpl,
}

impl Value for Aggregate {
    const SHAPE: Shape<Aggregate> =
        Shape::Words(&[("off", Aggregate::Off), ("kpl", Aggregate::Kpl)]);

    fn written(&self) -> Written {
        Written::open(match self {
            Aggregate::Off => "off",
            Aggregate::Kpl => "kpl",
        })
    }
}

/// The record of these events, each with its key, which share a hash key.
pub(super) fn record<'e>(
    hash_key: u128,
    events: impl Iterator<Item = (&'e str, &'e [u8])>,
) -> Vec<u8> {
    let mut keys: HashMap<&str, usize> = HashMap::new();
    let mut table: Vec<&str> = Vec::new();
    // The events' part of the message, which follows the tables.
    let mut of_events = Vec::with_capacity(MAX_BYTES);
    let mut inner = Vec::new();
    for (key, body) in events {
        let number = *keys.entry(key).or_insert_with(|| {
            table.push(key);
            table.len() - 1
        });
        inner.clear();
        tag(&mut inner, 1, VARINT);
        varint(&mut inner, number);
        tag(&mut inner, 2, VARINT);
        varint(&mut inner, 0);
        tag(&mut inner, 3, BYTES);
        varint(&mut inner, body.len());
        tag(&mut of_events, 3, BYTES);
        varint(&mut of_events, inner.len() + body.len());
        of_events.extend_from_slice(&inner);
        of_events.extend_from_slice(body);
    }
    let mut out = Vec::with_capacity(MAX_BYTES + of_events.len() / 8);
    out.extend_from_slice(&MAGIC);
    for key in table {
        field(&mut out, 1, key.as_bytes());
    }
    field(&mut out, 2, hash_key.to_string().as_bytes());
    out.extend_from_slice(&of_events);
    let sum = Md5::digest(&out[MAGIC.len()..]);
    out.extend_from_slice(&sum);
    out
}

/// Kinds of fields on the wire (protobuf, "Encoding").
const VARINT: u8 = 0;
const BYTES: u8 = 2;

fn tag(out: &mut Vec<u8>, number: u8, kind: u8) {
    out.push(number << 3 | kind);
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    tag(out, number, BYTES);
    varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_written_as_the_format_says() {
        let events = [("k1", &b"one"[..]), ("k2", b"two"), ("k1", b"three")];
        let record = record(7, events.into_iter());
        let message = [
            &b"\x0a\x02k1\x0a\x02k2\x12\x017"[..],
            b"\x1a\x09\x08\x00\x10\x00\x1a\x03one",
            b"\x1a\x09\x08\x01\x10\x00\x1a\x03two",
            b"\x1a\x0b\x08\x00\x10\x00\x1a\x05three",
        ]
        .concat();
        let sum = Md5::digest(&message);
        assert_eq!(record, [&MAGIC[..], &message, &sum].concat());
    }

    proptest! {
        #[test]
        fn a_record_is_no_larger_than_what_was_counted(
            hash_key in any::<u128>(),
            events in proptest::collection::vec(("\\PC{1,64}", proptest::collection::vec(any::<u8>(), 0..2_000)), 1..60),
        ) {
            let each = || events.iter().map(|(key, body)| (key.as_str(), body.as_slice()));
            let most = AROUND + each().map(|(key, body)| counted(key, body)).sum::<usize>();
            let bytes = record(hash_key, each()).len() + OUTER_KEY.len();
            prop_assert!(bytes <= most, "{} of {}", bytes, most);
        }
    }
}
