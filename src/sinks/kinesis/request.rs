//! The records of a PutRecords: which events share one, and the bytes of the request.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::aggregate::{self, OUTER_KEY, counted};
use super::stream::Shards;
use crate::event::Record;
use crate::sinks::body::{base64, string};
use crate::sinks::packing::Room;
use crate::sinks::partition_key::{PartitionKey, hash_of};

/// An event on its way.
#[derive(Clone, Debug)]
pub(super) struct Entry<'r> {
    pub record: &'r Record,
    pub key: Cow<'r, str>,
    /// The hash of its key.
    pub place: u128,
    /// Events of one lot may share a record.
    lot: u128,
    /// Where it stands in the delivery.
    pub at: usize,
}

/// The events of a delivery, those of one lot side by side and in their order. With `shards` they may share
/// records: those of one key where that is theirs, so that they stay together wherever it belongs; else those
/// of one shard.
pub(super) fn entries<'r>(
    key: &PartitionKey,
    records: &'r [Arc<Record>],
    shards: Option<&Shards>,
) -> Vec<Entry<'r>> {
    let entry = |(at, record): (usize, &'r Arc<Record>)| {
        let (key_of_record, _) = key.of(record);
        let place = hash_of(&key_of_record);
        let lot = match shards {
            Some(shards) if key.is_event_id() => shards.number(place) as u128,
            _ => place,
        };
        Entry { record, key: key_of_record, place, lot, at }
    };
    let mut entries: Vec<_> = records.iter().enumerate().map(entry).collect();
    if shards.is_some() {
        entries.sort_by_key(|entry| entry.lot);
    }
    entries
}

/// Which events share a record.
pub(super) fn groups(room: Room, entries: &[Entry<'_>]) -> Vec<Range<usize>> {
    let bytes = |entry: &Entry<'_>| counted(&entry.key, &entry.record.body);
    room.groups(entries, bytes, |one, other| one.lot == other.lot)
}

/// The body of a PutRecords: each group shares a record.
pub(super) fn body(stream_arn: &str, entries: &[Entry<'_>], groups: &[Range<usize>]) -> Vec<u8> {
    let each = |entry: &Entry<'_>| (entry.record.body.len() + entry.key.len()) / 3 * 4 + 32;
    let bytes = entries.iter().map(each).sum::<usize>() + groups.len() * 96;
    let mut out = Vec::with_capacity(bytes + stream_arn.len() + 48);
    out.extend_from_slice(b"{\"StreamARN\":");
    string(&mut out, stream_arn);
    out.extend_from_slice(b",\"Records\":[");
    for (at, group) in groups.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        match &entries[group.clone()] {
            // One by itself is sent as it is, as KPL does.
            [only] => {
                base64(&mut out, [&*only.record.body]);
                out.extend_from_slice(b"\",\"PartitionKey\":");
                string(&mut out, &only.key);
            }
            several => {
                let hash_key = several.first().map_or(0, |it| it.place);
                let events = several.iter().map(|it| (&*it.key, &*it.record.body));
                base64(&mut out, [&*aggregate::record(hash_key, events)]);
                out.extend_from_slice(b"\",\"PartitionKey\":");
                string(&mut out, OUTER_KEY);
                out.extend_from_slice(b",\"ExplicitHashKey\":");
                string(&mut out, &hash_key.to_string());
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
