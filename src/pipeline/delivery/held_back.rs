//! Records of a delivery task that wait although the service works: for a slow part of it, or for earlier ones
//! of their place.
//!
//! How they wait is in `lanes` and `in_order`; here is how much may wait before nothing more is read.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::warn;

use super::Delivery;
use super::faults::worse;
use crate::pipeline::batcher::Attempt;
use crate::pipeline::concurrency::Sent;
use crate::pipeline::lanes::OfParts;
use crate::sinks::{Fault, FaultKind};

/// Most records held back for one destination before it reads no more: with records of some hundred bytes,
/// about as much as the bytes say.
pub(super) const MAX_RECORDS: usize = 50_000;

/// Most of their bytes, as the service counts them: three full requests to Kinesis.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// What one answer says of the parts of a service.
#[derive(Default)]
pub(super) struct Parts {
    /// The places of what was taken.
    pub taken: Vec<u128>,
    throttled: BTreeMap<Box<str>, Vec<Attempt>>,
    records: usize,
    /// The last fault, for people.
    fault: Option<Fault>,
}

/// Whether a record was throttled by the name of a part of the service, so that it can wait for that.
pub(super) fn is_of_part(attempt: &Attempt, fault: &Fault) -> bool {
    let by_name = fault.kind == FaultKind::Throttled && fault.part.is_some();
    by_name && attempt.place.is_some() && !attempt.lone
}

impl Parts {
    /// Takes in a record for which [`is_of_part`] holds.
    pub(super) fn note(&mut self, attempt: Attempt, fault: Fault) {
        let name = fault.part.clone().unwrap_or_default();
        self.throttled.entry(name).or_default().push(attempt);
        self.records += 1;
        self.fault = Some(fault);
    }

    /// Records that were throttled.
    pub(super) fn len(&self) -> usize {
        self.records
    }
}

impl Delivery {
    /// Has what was throttled wait in the lanes of its parts, and those grow that took all. What there is no
    /// lane for fails as others do: gives the graver fault then.
    pub(super) fn slow_down(
        &mut self,
        parts: Parts,
        (request, sent): (&Sent, usize),
        (others, failed): (Option<Fault>, &mut Vec<Attempt>),
    ) -> Option<Fault> {
        let Parts { taken, throttled, records, fault } = parts;
        if let Some(fault) = &fault {
            let id = &self.current.destination.id;
            self.health.set_last_error(&fault.message);
            warn!(destination = %id, failed = records, sent, fault = %fault.message, "will be sent again when its part of the service takes more");
        }
        let answer = OfParts { sent: request.at, taken: &taken, throttled };
        let random = rand::RngExt::random(&mut self.random);
        let without_lane = self.lanes.answered(answer, (Instant::now(), random));
        let Some(fault) = fault.filter(|_| !without_lane.is_empty()) else { return others };
        failed.extend(without_lane);
        Some(worse(others, fault))
    }

    /// Those records of a batch that may go in one request now; the others are held back.
    pub(super) fn admitted(&mut self, batch: Vec<Attempt>) -> Vec<Attempt> {
        let batch = match self.lanes.is_empty() {
            true => batch,
            false => batch.into_iter().filter_map(|it| self.lanes.hold(it)).collect(),
        };
        self.in_order.admit(batch)
    }

    /// Takes out all that is held back: it is looked at anew.
    pub(super) fn take_held_back(&mut self) -> Vec<Attempt> {
        let mut all = self.in_order.take_all();
        all.extend(self.lanes.take_all());
        all.sort_by_key(|attempt| attempt.pending.position);
        all
    }

    /// Records that are held back, and their bytes.
    pub(super) fn held_back(&self) -> (usize, usize) {
        let (in_order, in_lanes) = (self.in_order.held_back(), self.lanes.held_back());
        (in_order.0 + in_lanes.0, in_order.1 + in_lanes.1)
    }

    /// Whether so much is held back that nothing more is read.
    pub(super) fn holds_back_enough(&self) -> bool {
        let (records, bytes) = self.held_back();
        records >= MAX_RECORDS || bytes >= MAX_BYTES
    }
}
