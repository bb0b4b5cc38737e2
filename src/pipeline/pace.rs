//! Pace: when the next request to a service may go, and how large it may be.
//!
//! A request that fails as a whole is followed by others only after a wait, one at a time. If it had
//! no answer, or its records had failed before, the next is half as large, down to one record: so a
//! request that is too large for its service gets through in parts, and one record that spoils
//! requests is found. Successes let requests grow again.
//!
//! Pure: time and randomness come in as arguments. It knows no record.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff;
use crate::resources::BatchSettings;
use crate::sinks::{Fault, FaultKind};

/// Longest that a service's `Retry-After` is obeyed.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Most successes that are waited for before requests grow again: where every larger request fails,
/// one in 64 is spent on finding out whether that is still so.
const MOST_SUCCESSES: u32 = 64;

/// How much one request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub records: usize,
    pub bytes: usize,
}

impl Size {
    fn half(self) -> Size {
        Size { records: (self.records / 2).max(1), bytes: (self.bytes / 2).max(1) }
    }

    /// Whether it is more than half of another, in one way or the other.
    fn nearly_fills(self, other: Size) -> bool {
        self.records > other.records / 2 || self.bytes > other.bytes / 2
    }
}

/// A request that failed as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure<'f> {
    pub fault: &'f Fault,
    pub size: Size,
    /// Whether any of its records had been sent before.
    pub repeated: bool,
}

#[derive(Debug)]
pub(super) struct Pace {
    /// Requests in a row that delivered nothing.
    failures: u32,
    /// Whether the last of them needs a person to change something.
    paused: bool,
    /// Nothing is sent before this instant.
    hold_until: Instant,
    /// The largest request, if that is less than the settings'.
    cap: Option<Size>,
    /// Successes near the cap since it changed.
    successes: u32,
    /// How many of these let it grow.
    successes_to_grow: u32,
    /// Whether the cap, as it is, came of growing.
    grew: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace {
            failures: 0,
            paused: false,
            hold_until: now,
            cap: None,
            successes: 0,
            successes_to_grow: 1,
            grew: false,
        }
    }

    /// Nothing is sent before this instant.
    pub(super) fn hold_until(&self) -> Instant {
        self.hold_until
    }

    /// Whether the last request, or several in a row, delivered nothing.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether a person has to change something before deliveries go on.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The settings with what a request may carry now.
    pub(super) fn limit(&self, batch: BatchSettings) -> BatchSettings {
        let Some(cap) = self.cap else { return batch };
        BatchSettings {
            max_records: batch.max_records.min(cap.records),
            max_bytes: batch.max_bytes.min(cap.bytes),
            ..batch
        }
    }

    /// A request brought something through.
    pub(super) fn succeeded(&mut self, size: Size, batch: BatchSettings) {
        self.failures = 0;
        self.paused = false;
        let most = Size { records: batch.max_records, bytes: batch.max_bytes };
        let Some(cap) = self.cap else {
            if size.nearly_fills(most) {
                self.successes_to_grow = 1;
                self.grew = false;
            }
            return;
        };
        self.successes += u32::from(size.nearly_fills(cap));
        if self.successes < self.successes_to_grow {
            return;
        }
        let larger =
            Size { records: cap.records.saturating_mul(2), bytes: cap.bytes.saturating_mul(2) };
        let whole = larger.records >= most.records && larger.bytes >= most.bytes;
        self.cap = (!whole).then_some(larger);
        self.successes = 0;
        self.grew = true;
    }

    /// A request failed as a whole.
    pub(super) fn failed(&mut self, failure: Failure<'_>, now: Instant, random: u64) {
        let Failure { fault, size, repeated } = failure;
        self.paused = fault.kind == FaultKind::Configuration;
        let halve = fault.unanswered || (repeated && fault.kind == FaultKind::Transient);
        let smaller = halve && size.records > 1;
        if smaller {
            self.shrink(size.half());
        }
        // Another question does not wait as long as the same one once more: a smaller request, or in a
        // pause a record that was not sent before, which may be taken where others were refused.
        let is_another = smaller || (self.paused && !repeated);
        self.failures =
            if is_another { self.failures.max(1) } else { self.failures.saturating_add(1) };
        let range = if self.paused { backoff::CONFIGURATION } else { backoff::TRANSIENT };
        let failures = if is_another { 1 } else { self.failures };
        self.hold_until = self.hold_until.max(now + range.wait(failures, random));
    }

    fn shrink(&mut self, to: Size) {
        if self.grew {
            self.successes_to_grow = (self.successes_to_grow * 2).min(MOST_SUCCESSES);
        }
        self.grew = false;
        self.successes = 0;
        let cap = self.cap.unwrap_or(to);
        self.cap =
            Some(Size { records: cap.records.min(to.records), bytes: cap.bytes.min(to.bytes) });
    }

    /// One record failed by itself although the last request got through: it says little of others.
    pub(super) fn doubted(&mut self) {
        self.failures = self.failures.max(1);
        self.grow_soon();
    }

    /// What failed was the fault of a record: the search for it has ended.
    pub(super) fn cleared(&mut self) {
        self.failures = 0;
        self.paused = false;
        self.grow_soon();
    }

    fn grow_soon(&mut self) {
        self.successes = 0;
        self.successes_to_grow = 1;
        self.grew = false;
    }

    /// The service asks to be left alone.
    pub(super) fn obey(&mut self, retry_after: Duration, now: Instant) {
        self.hold_until = self.hold_until.max(now + retry_after.min(MAX_RETRY_AFTER));
    }

    /// Ends every wait: somebody may have changed what was wrong, or there is no more time for it.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        self.hold_until = now;
    }

    /// New settings may be the cure: nothing that was learnt of the old ones counts.
    pub(super) fn start_anew(&mut self, now: Instant) {
        // One request at a time, until one gets through.
        *self = Pace { failures: self.failures.min(1), ..Pace::new(now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: BatchSettings =
        BatchSettings { max_records: 500, max_bytes: 1 << 20, linger: Duration::ZERO };

    const FULL: Size = Size { records: 500, bytes: 1 << 20 };

    fn fault(kind: FaultKind, unanswered: bool) -> Fault {
        Fault { unanswered, ..Fault::new(kind, "no") }
    }

    fn fail(pace: &mut Pace, fault: &Fault, size: Size, repeated: bool) {
        pace.failed(Failure { fault, size, repeated }, Instant::now(), u64::MAX);
    }

    fn allowed(pace: &Pace) -> usize {
        pace.limit(BATCH).max_records
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_next_request_is_half_as_large_down_to_one_record() {
        let mut pace = Pace::new(Instant::now());
        let lost = fault(FaultKind::Transient, true);
        let mut size = FULL;
        let mut records = Vec::new();
        while size.records > 1 {
            fail(&mut pace, &lost, size, false);
            let limit = pace.limit(BATCH);
            assert!(limit.max_bytes <= size.bytes / 2);
            size = Size { records: limit.max_records, bytes: limit.max_bytes };
            records.push(size.records);
        }
        assert_eq!(records, [250, 125, 62, 31, 15, 7, 3, 1]);
        fail(&mut pace, &lost, size, true);
        assert_eq!(allowed(&pace), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_failure_halves_only_when_it_comes_again_and_never_for_other_kinds() {
        let mut pace = Pace::new(Instant::now());
        for kind in [FaultKind::Throttled, FaultKind::Configuration] {
            fail(&mut pace, &fault(kind, false), FULL, true);
        }
        fail(&mut pace, &fault(FaultKind::Transient, false), FULL, false);
        assert_eq!(allowed(&pace), 500);
        fail(&mut pace, &fault(FaultKind::Transient, false), FULL, true);
        assert_eq!(allowed(&pace), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_for_the_same_request_and_stay_short_while_it_is_halved() {
        let mut pace = Pace::new(Instant::now());
        let hold = |pace: &Pace| (pace.hold_until() - Instant::now()).as_millis();
        let failing = fault(FaultKind::Transient, false);
        let one = Size { records: 1, bytes: 1 };
        fail(&mut pace, &failing, FULL, false);
        fail(&mut pace, &failing, FULL, true);
        assert_eq!(hold(&pace), 99);
        fail(&mut pace, &failing, one, true);
        fail(&mut pace, &failing, one, true);
        assert_eq!(hold(&pace), 399);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_grow_again_after_successes_that_nearly_fill_them() {
        let mut pace = Pace::new(Instant::now());
        fail(&mut pace, &fault(FaultKind::Transient, true), Size { records: 8, bytes: 800 }, false);
        pace.succeeded(Size { records: 1, bytes: 100 }, BATCH);
        assert_eq!(allowed(&pace), 4, "a small request proves nothing");
        for grown in [8, 16, 32, 64, 128, 256, 500] {
            let limit = pace.limit(BATCH);
            let size = Size { records: limit.max_records, bytes: limit.max_bytes };
            pace.succeeded(size, BATCH);
            assert_eq!(allowed(&pace), grown);
        }
        assert!(!pace.is_failing());
    }

    #[tokio::test(start_paused = true)]
    async fn where_larger_requests_always_fail_few_are_tried() {
        let mut pace = Pace::new(Instant::now());
        let lost = fault(FaultKind::Transient, true);
        let (mut lost_requests, mut delivered) = (0, 0);
        while delivered < 100_000 {
            let records = allowed(&pace);
            let size = Size { records, bytes: records * 100 };
            if records > 70 {
                fail(&mut pace, &lost, size, true);
                lost_requests += 1;
            } else {
                pace.succeeded(size, BATCH);
                delivered += records;
            }
        }
        assert!(lost_requests < 45, "{lost_requests} of about 1,600 requests");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_obeyed_for_an_hour_at_most_and_ends_with_new_settings() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.obey(Duration::from_secs(90), now);
        assert_eq!(pace.hold_until(), now + Duration::from_secs(90));
        fail(&mut pace, &fault(FaultKind::Transient, false), FULL, false);
        assert_eq!(pace.hold_until(), now + Duration::from_secs(90), "a shorter wait is none");
        pace.obey(Duration::from_secs(86_400), now);
        assert_eq!(pace.hold_until(), now + MAX_RETRY_AFTER);
        pace.start_anew(now);
        assert_eq!(pace.hold_until(), now);
        assert_eq!(allowed(&pace), 500);
    }
}
