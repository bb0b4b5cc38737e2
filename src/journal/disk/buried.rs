//! What lies among the dead letters, as recovery of the log must know it.
//!
//! A dead letter is on disk before its record is settled. After a crash in between the record is
//! pending by the log's own files; the letter tells that it is not. It does not read letters.

use std::collections::HashMap;

use crate::resources::ResourceId;

/// The records of dead letters, by destination and position.
#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Buried(HashMap<ResourceId, Positions>);

#[derive(Clone, Debug, Default)]
struct Positions {
    /// With a checksum of the event's id: a log that somebody began anew uses positions again.
    records: HashMap<u64, u32>,
    end: u64,
}

impl Buried {
    pub(in crate::journal) fn insert(
        &mut self,
        destination: ResourceId,
        position: u64,
        event_id: &str,
    ) {
        let positions = self.0.entry(destination).or_default();
        positions.records.insert(position, crc32c::crc32c(event_id.as_bytes()));
        positions.end = positions.end.max(position + 1);
    }

    /// Whether a destination has a dead letter of the record at a position.
    pub(super) fn holds(&self, destination: &ResourceId, position: u64, event_id: &str) -> bool {
        let checksum = self.0.get(destination).and_then(|it| it.records.get(&position));
        checksum.is_some_and(|it| *it == crc32c::crc32c(event_id.as_bytes()))
    }

    /// All of them, each with its destination.
    pub(super) fn records(&self) -> impl Iterator<Item = (&ResourceId, u64)> {
        self.0.iter().flat_map(|(id, it)| it.records.keys().map(move |position| (id, *position)))
    }

    /// The position after a destination's last one.
    pub(super) fn end(&self, destination: &ResourceId) -> u64 {
        self.0.get(destination).map_or(0, |positions| positions.end)
    }
}
