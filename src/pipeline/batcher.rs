//! The batcher: records that wait for a request, and the rule when and how they make one.
//!
//! Where a service limits how far apart a request's times may lie, several batches are open at a
//! time, each with times that fit together, so that records whose times alternate do not cost a
//! request each. Inside a batch records keep their order; elsewhere there is one open batch.
//!
//! Pure: time comes in as an argument. It neither reads the journal nor sends anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::budget::Charge;
use crate::event::Record;
use crate::journal::{Pending, cost};
use crate::resources::BatchSettings;
use crate::sinks::Measured;

/// Most batches that are open for more records at a time; when there are more, the oldest goes out
/// as it is. Enough for a few senders of old events beside the live ones.
const MAX_OPEN: usize = 8;

/// A record on its way to one destination.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub pending: Pending,
    /// What the service counts for it, in bytes.
    pub bytes: usize,
    /// Where the service places it among its parts; none if it has no parts.
    pub place: Option<u128>,
    /// Whether records of its place must arrive in their order.
    pub in_order: bool,
    /// Whether it goes out by the lane of a slow part.
    pub released: bool,
    /// How often it was sent.
    pub tries: u32,
    /// When it came into the batcher.
    pub since: Instant,
    /// Whether it makes a request by itself: it failed so before, and is not to spoil others'.
    pub lone: bool,
    /// Whether the service refused it before, at a time when it refused everything.
    pub refused: bool,
    /// What it holds of the memory of all destinations; none in tests of parts.
    pub charge: Option<Arc<Charge>>,
    /// What reading it again takes, if its body was let go of.
    pub parked: Option<usize>,
}

impl Attempt {
    /// A record that was just read.
    pub(super) fn fresh(pending: Pending, measured: Measured, since: Instant) -> Attempt {
        let Measured { bytes, place, in_order, .. } = measured;
        Attempt {
            pending,
            bytes,
            place,
            in_order,
            released: false,
            tries: 0,
            since,
            lone: false,
            refused: false,
            charge: None,
            parked: None,
        }
    }

    /// Lets go of the body, unless a copy of it is on its way: it is read again before it is sent.
    pub(super) fn park(&mut self) {
        let record = &self.pending.record;
        let Some(charge) = &self.charge else { return };
        if self.parked.is_some() || Arc::strong_count(charge) > 1 {
            return;
        }
        self.parked = Some(cost(record));
        let (event_id, body) = (record.event_id.clone(), Bytes::new());
        let bare = Record { event_id, time: record.time, body, hops: record.hops };
        charge.shrink_to(cost(&bare));
        self.pending.record = Arc::new(bare);
    }

    /// The same of a record with memory of its own: it may stay for long, and those that came with it need not.
    pub(super) fn apart(self) -> Attempt {
        let record = Arc::new(self.pending.record.alone());
        Attempt { pending: Pending { record, ..self.pending }, ..self }
    }

    /// One of a record without a body, whose event's id is its position.
    #[cfg(test)]
    pub(super) fn empty(position: u64, measured: Measured) -> Attempt {
        let record = Record {
            event_id: position.to_string().into(),
            time: crate::event::Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::new(),
            hops: 0,
        };
        let pending = Pending { position, record: Arc::new(record) };
        Attempt::fresh(pending, measured, Instant::now())
    }
}

/// Records in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Batcher {
    open: VecDeque<Open>,
    records: usize,
    bytes: usize,
}

/// Records that may go out in one request, as far as their times are concerned.
#[derive(Debug)]
struct Open {
    records: VecDeque<Attempt>,
    bytes: usize,
    /// The span of all times that it has ever held, in milliseconds.
    span: (i64, i64),
    /// Whether it takes no more that is read: opened again later, it would change records' order.
    closed: bool,
}

impl Open {
    fn new(attempt: Attempt) -> Open {
        let time = attempt.pending.record.time.unix_millis();
        Open {
            bytes: attempt.bytes,
            records: VecDeque::from([attempt]),
            span: (time, time),
            closed: false,
        }
    }

    fn takes(&self, attempt: &Attempt, max_span: Option<Duration>) -> bool {
        let lone = attempt.lone || self.records.front().is_some_and(|first| first.lone);
        !lone && is_within(max_span, widened(self.span, attempt))
    }

    fn note(&mut self, attempt: &Attempt) {
        self.bytes += attempt.bytes;
        self.span = widened(self.span, attempt);
    }

    /// When it is to go out: at once if it fills a request or its first record was sent before, else
    /// when the first has lingered.
    fn due(&self, settings: &BatchSettings) -> Option<Instant> {
        let first = self.records.front()?;
        let full = self.records.len() >= settings.max_records || self.bytes >= settings.max_bytes;
        let linger = if full || first.tries > 0 { Duration::ZERO } else { settings.linger };
        Some(first.since + linger)
    }
}

fn widened(span: (i64, i64), attempt: &Attempt) -> (i64, i64) {
    let time = attempt.pending.record.time.unix_millis();
    (span.0.min(time), span.1.max(time))
}

fn is_within(max_span: Option<Duration>, (earliest, latest): (i64, i64)) -> bool {
    max_span.is_none_or(|max| u128::from(latest.abs_diff(earliest)) < max.as_millis())
}

impl Batcher {
    /// Adds a record that was just read, to the oldest open batch that it fits.
    pub(super) fn push(&mut self, attempt: Attempt, max_span: Option<Duration>) {
        self.records += 1;
        self.bytes += attempt.bytes;
        let older = self.open.len().saturating_sub(MAX_OPEN);
        let mut newest = self.open.iter_mut().skip(older).filter(|it| !it.closed);
        if let Some(open) = newest.find(|it| it.takes(&attempt, max_span)) {
            open.note(&attempt);
            open.records.push_back(attempt);
            return;
        }
        self.open.push_back(Open::new(attempt));
        let oldest_open = self.open.len().checked_sub(MAX_OPEN + 1);
        if let Some(open) = oldest_open.and_then(|at| self.open.get_mut(at)) {
            open.closed = true;
        }
    }

    /// Puts records that have been sent before ahead of all others, in their own order.
    pub(super) fn push_front(&mut self, attempts: Vec<Attempt>, max_span: Option<Duration>) {
        for attempt in attempts.into_iter().rev() {
            self.records += 1;
            self.bytes += attempt.bytes;
            let mut first = self.open.iter_mut().take(MAX_OPEN);
            match first.find(|it| it.takes(&attempt, max_span)) {
                Some(open) => {
                    open.note(&attempt);
                    open.records.push_front(attempt);
                }
                None => self.open.push_front(Open::new(attempt)),
            }
        }
    }

    /// When the next request is due; `None` if no record waits.
    pub(super) fn due(&self, settings: &BatchSettings) -> Option<Instant> {
        self.next(settings).map(|(_, due)| due)
    }

    /// The open batch that is to go out next, and when.
    fn next(&self, settings: &BatchSettings) -> Option<(usize, Instant)> {
        let crowded = self.open.len() > MAX_OPEN
            || self.records >= settings.max_records
            || self.bytes >= settings.max_bytes;
        if crowded {
            return Some((0, self.open.front()?.records.front()?.since));
        }
        let each = self.open.iter().enumerate();
        each.filter_map(|(at, open)| Some((at, open.due(settings)?))).min_by_key(|(_, due)| *due)
    }

    /// Takes the records of one request: within the settings' records and bytes, and with event
    /// times less than `max_span` apart. At least one record if any waits.
    pub(super) fn take(
        &mut self,
        settings: &BatchSettings,
        max_span: Option<Duration>,
    ) -> Vec<Attempt> {
        let Some((at, _)) = self.next(settings) else { return Vec::new() };
        let Some(open) = self.open.get_mut(at) else { return Vec::new() };
        let mut batch: Vec<Attempt> = Vec::new();
        let mut bytes = 0;
        let mut span: Option<(i64, i64)> = None;
        while let Some(next) = open.records.front() {
            let time = next.pending.record.time.unix_millis();
            let wider = widened(span.unwrap_or((time, time)), next);
            bytes += next.bytes;
            let fits = batch.len() < settings.max_records
                && bytes <= settings.max_bytes
                && is_within(max_span, wider);
            if !fits && !batch.is_empty() {
                break;
            }
            span = Some(wider);
            let Some(next) = open.records.pop_front() else { break };
            open.bytes -= next.bytes;
            self.records -= 1;
            self.bytes -= next.bytes;
            batch.push(next);
        }
        if open.records.is_empty() {
            self.open.remove(at);
        }
        batch
    }

    /// Takes all records, in the order in which the journal has them.
    pub(super) fn take_all(&mut self) -> Vec<Attempt> {
        let open = std::mem::take(self).open;
        let mut all: Vec<Attempt> = open.into_iter().flat_map(|it| it.records).collect();
        all.sort_by_key(|attempt| attempt.pending.position);
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
