//! The ledger: what was offered to each destination, and what became of it.
//!
//! An event is *offered* to a destination once for each subscription that names the destination and
//! has a source of the event's type; so it may be offered twice, and then becomes two records. What
//! the filters let through and turn down is counted at dispatch, what became of records is counted
//! here: the two sides know nothing of each other, and [`Account::imbalance`] compares them.

use std::time::Duration;

use super::Outcome;
use crate::resources::ResourceId;

/// What one body's events were to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// For whom the events were.
    pub destination: ResourceId,
    /// How often an event was offered to it.
    pub accepted: u64,
    /// How often a filter said no, or ended in an error.
    pub filtered_out: u64,
}

/// One destination's account: what came, what became of it, what waits.
///
/// At every moment
/// `accepted = filtered_out + delivered + dead_lettered + dropped + lost + pending_records`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Events offered to this destination, once for each subscription that would send them there.
    pub accepted: u64,
    /// Those of them that a filter turned down.
    pub filtered_out: u64,
    /// Records appended for this destination.
    pub appended: u64,
    /// Records that the service has taken.
    pub delivered: u64,
    /// Records that no service will ever take.
    pub dead_lettered: u64,
    /// Records given up to make room (`overflow: drop_oldest`) or on somebody's order.
    pub dropped: u64,
    /// Records that were on disk and are there no more: it was damaged, or somebody deleted a file of
    /// the log. None in memory. Each loss is logged as an error.
    pub lost: u64,
    /// Records that wait or are on their way.
    pub pending_records: u64,
    /// Their bytes, as the store counts them.
    pub pending_bytes: u64,
    /// How long the oldest of these has been pending; on disk, if none is on its way, no less than
    /// that.
    pub oldest_pending: Duration,
}

impl Account {
    pub(super) fn offer(&mut self, offer: &Offer) {
        self.accepted += offer.accepted;
        self.filtered_out += offer.filtered_out;
    }

    /// Counts a record's end.
    pub(super) fn end(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::DeadLettered => self.dead_lettered += 1,
        }
    }

    /// Records and events more than were accepted (negative), or accepted ones that nothing is known
    /// of (positive). Anything but zero is a bug.
    #[must_use]
    pub fn imbalance(&self) -> i64 {
        let ended = self.delivered + self.dead_lettered + self.dropped + self.lost;
        let known = self.filtered_out + ended + self.pending_records;
        self.accepted.cast_signed() - known.cast_signed()
    }
}

/// The offers of a body whose every event matched.
#[cfg(test)]
pub(super) fn all_matched(entries: &[super::Entry]) -> Vec<Offer> {
    let destinations = entries.iter().flat_map(|entry| entry.destinations.iter());
    destinations.map(|id| Offer { destination: id.clone(), accepted: 1, filtered_out: 0 }).collect()
}
