//! The batcher: records that wait for a request, and the rule when and how they make one.
//!
//! Pure: time comes in as an argument. It neither reads the journal nor sends anything.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Timestamp;
use crate::journal::Pending;
use crate::resources::BatchSettings;

/// A record on its way to one destination.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub pending: Pending,
    /// What the service counts for it, in bytes.
    pub bytes: usize,
    /// How often it was sent.
    pub tries: u32,
    /// When it came into the batcher.
    pub since: Instant,
}

/// Records in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Batcher {
    waiting: VecDeque<Attempt>,
    bytes: usize,
}

impl Batcher {
    pub(super) fn push(&mut self, attempt: Attempt) {
        self.bytes += attempt.bytes;
        self.waiting.push_back(attempt);
    }

    /// Puts records that have been sent before ahead of all others, in their own order.
    pub(super) fn push_front(&mut self, attempts: Vec<Attempt>) {
        for attempt in attempts.into_iter().rev() {
            self.bytes += attempt.bytes;
            self.waiting.push_front(attempt);
        }
    }

    /// When the waiting records make a request: at once if they fill one or the first was sent
    /// before, else when the first has lingered. `None` if none waits.
    pub(super) fn due(&self, settings: &BatchSettings) -> Option<Instant> {
        let first = self.waiting.front()?;
        let full = self.waiting.len() >= settings.max_records || self.bytes >= settings.max_bytes;
        let linger = if full || first.tries > 0 { Duration::ZERO } else { settings.linger };
        Some(first.since + linger)
    }

    /// Takes the records of one request from the front: within the settings' records and bytes, and
    /// with event times less than `max_span` apart. At least one record if any waits.
    pub(super) fn take(
        &mut self,
        settings: &BatchSettings,
        max_span: Option<Duration>,
    ) -> Vec<Attempt> {
        let mut batch: Vec<Attempt> = Vec::new();
        let mut bytes = 0;
        let mut span: Option<(Timestamp, Timestamp)> = None;
        while let Some(next) = self.waiting.front() {
            let time = next.pending.record.time;
            let (earliest, latest) =
                span.map_or((time, time), |(from, to)| (from.min(time), to.max(time)));
            bytes += next.bytes;
            let fits = batch.len() < settings.max_records
                && bytes <= settings.max_bytes
                && max_span.is_none_or(|max| {
                    let apart = latest.unix_millis() - earliest.unix_millis();
                    u128::from(apart.unsigned_abs()) < max.as_millis()
                });
            if !fits && !batch.is_empty() {
                break;
            }
            span = Some((earliest, latest));
            let Some(next) = self.waiting.pop_front() else { break };
            self.bytes -= next.bytes;
            batch.push(next);
        }
        batch
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::event::Record;

    fn attempt(position: u64, bytes: usize, seconds: i64, since: Instant) -> Attempt {
        let record = Record {
            event_id: "e".into(),
            time: Timestamp { seconds, nanos: 0 },
            body: Bytes::new(),
        };
        let pending = Pending { position, record: Arc::new(record) };
        Attempt { pending, bytes, tries: 0, since }
    }

    const SETTINGS: BatchSettings =
        BatchSettings { max_records: 3, max_bytes: 100, linger: Duration::from_secs(1) };

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_due_when_full_or_when_its_first_record_has_lingered() {
        let now = Instant::now();
        let mut batcher = Batcher::default();
        assert_eq!(batcher.due(&SETTINGS), None);
        batcher.push(attempt(0, 10, 0, now));
        assert_eq!(batcher.due(&SETTINGS), Some(now + SETTINGS.linger));
        batcher.push(attempt(1, 90, 0, now));
        assert_eq!(batcher.due(&SETTINGS), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_goes_first_and_at_once() {
        let now = Instant::now();
        let mut batcher = Batcher::default();
        batcher.push(attempt(5, 10, 0, now));
        batcher.push_front(vec![Attempt { tries: 1, ..attempt(2, 10, 0, now) }]);
        assert_eq!(batcher.due(&SETTINGS), Some(now));
        let batch = batcher.take(&SETTINGS, None);
        assert_eq!(batch.iter().map(|it| it.pending.position).collect::<Vec<_>>(), [2, 5]);
    }

    proptest! {
        #[test]
        fn every_batch_is_inside_all_limits_and_nothing_is_lost_or_reordered(
            records in proptest::collection::vec((1..=100usize, 0..20i64), 0..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let now = runtime.block_on(async { Instant::now() });
            let mut batcher = Batcher::default();
            for (position, &(bytes, seconds)) in records.iter().enumerate() {
                batcher.push(attempt(position as u64, bytes, seconds, now));
            }
            let mut order = Vec::new();
            loop {
                let batch = batcher.take(&SETTINGS, Some(Duration::from_secs(10)));
                if batch.is_empty() {
                    break;
                }
                prop_assert!(batch.len() <= SETTINGS.max_records);
                prop_assert!(batch.iter().map(|it| it.bytes).sum::<usize>() <= SETTINGS.max_bytes);
                let times = || batch.iter().map(|it| it.pending.record.time.seconds);
                prop_assert!(times().max().unwrap() - times().min().unwrap() < 10);
                order.extend(batch.iter().map(|it| it.pending.position));
            }
            prop_assert_eq!(order, (0..records.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!((batcher.len(), batcher.bytes()), (0, 0));
        }
    }
}
