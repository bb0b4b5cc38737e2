//! The memory that records of a delivery task take: granted before they are read, let go of while they
//! wait and others have need of it, and then read again.
//!
//! What is let go of stays unsettled in the journal, and where it was: only its body goes, and what is left
//! counts too. How much there is for whom is the pool's matter.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Delivery;
use crate::budget::{Charge, Pool, Portion};
use crate::event::Record;
use crate::journal::{Cursor, Pending, TooLarge, cost};
use crate::pipeline::batcher::Attempt;
use crate::pipeline::verdicts::Refused;
use crate::sinks::Measured;

/// The least that is asked for where the size of the next record is not known.
const SOME: usize = 1 << 10;

/// How often at most bodies are let go of.
const PARK_AGAIN: Duration = Duration::from_secs(1);

/// How long after the disk could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// New records: so many, and about so many bytes.
    New(usize, usize),
    /// The one at this position again, for which so many bytes are needed.
    Again(u64, usize),
}

/// What was read.
pub(super) enum Read {
    New(Vec<(Pending, Charge)>),
    /// One again; nothing if it is not there any more.
    Again(u64, Option<(Arc<Record>, Charge)>),
    /// No more can be read again before what was is sent.
    Enough,
}

/// A record that is being read again.
type Reading = (u64, BoxFuture<'static, io::Result<Option<Arc<Record>>>>);

/// What one delivery task holds of the memory of all.
pub(super) struct Room {
    pub(super) pool: Arc<Pool>,
    portion: Portion,
    /// What the next record needs, if it was found to need more than there was.
    needs: usize,
    /// Records that are to be read again and then sent, by position.
    pub(super) parked: BTreeMap<u64, Attempt>,
    /// What was read again and is to go on together, in the journal's order.
    back: Vec<Attempt>,
    again: Option<Reading>,
}

/// Whether others wait for memory.
pub(super) struct Pressed {
    told: watch::Receiver<bool>,
    /// Nothing is let go of again before this instant.
    park_at: Instant,
}

impl Pressed {
    pub(super) fn new(pool: &Pool, now: Instant) -> Pressed {
        Pressed { told: pool.pressed(), park_at: now }
    }

    /// Done when others wait, once a second at most.
    pub(super) async fn wait(&mut self) {
        sleep_until(self.park_at).await;
        if self.told.wait_for(|it| *it).await.is_err() {
            // The pool lives as long as its portions.
            std::future::pending::<()>().await;
        }
    }
}

impl Room {
    pub(super) fn new(pool: Arc<Pool>) -> Room {
        let (portion, parked) = (pool.portion(), BTreeMap::new());
        Room { pool, portion, needs: SOME, parked, back: Vec::new(), again: None }
    }

    /// Waits for what is wanted, and for the memory that it takes. Safe to cancel: what was granted or
    /// begun is there for the next call.
    pub(super) async fn read(&mut self, cursor: &mut Cursor, want: Option<Want>) -> Read {
        match want {
            None => std::future::pending().await,
            Some(Want::Again(position, bytes)) => self.read_again(cursor, position, bytes).await,
            Some(Want::New(records, bytes)) => self.read_new(cursor, records, bytes).await,
        }
    }

    async fn read_new(&mut self, cursor: &mut Cursor, records: usize, bytes: usize) -> Read {
        self.again = None;
        loop {
            cursor.ready().await;
            self.portion.take(self.needs, bytes.max(self.needs)).await;
            match cursor.read(records, self.portion.granted()).await {
                Ok(taken) => {
                    self.needs = SOME;
                    let charged = taken.into_iter().map(|pending| {
                        let charge = self.portion.charge(cost(&pending.record));
                        (pending, charge)
                    });
                    let charged = charged.collect();
                    self.portion.let_go();
                    return Read::New(charged);
                }
                Err(TooLarge(bytes)) => self.needs = bytes,
            }
        }
    }

    async fn read_again(&mut self, cursor: &mut Cursor, position: u64, bytes: usize) -> Read {
        cursor.stop_reading();
        loop {
            if self.back.is_empty() {
                self.portion.take(bytes, bytes).await;
            } else if !self.portion.take_now(bytes) {
                return Read::Enough;
            }
            let begun = self.again.take().filter(|(at, _)| *at == position);
            let begin = || -> Reading { (position, Box::pin(cursor.again(position))) };
            let (_, reading) = self.again.insert(begun.unwrap_or_else(begin));
            let found = reading.await;
            self.again = None;
            let Ok(found) = found else {
                self.portion.let_go();
                sleep(READ_AGAIN).await;
                continue;
            };
            let charged = found.map(|record| {
                let charge = self.portion.charge(cost(&record));
                (record, charge)
            });
            self.portion.let_go();
            return Read::Again(position, charged);
        }
    }

    /// Whether the next records wait for memory.
    pub(super) fn is_waiting(&self) -> bool {
        self.portion.is_waiting()
    }

    /// Whether letting go of bodies may help others.
    pub(super) fn may_park(&self) -> bool {
        self.portion.is_beyond_own()
    }
}

impl Delivery {
    /// Records that this task holds, wherever, but for the few that wait for a decision: these have
    /// bounds of their own, and must not keep others from being read.
    fn held(&self) -> usize {
        let retrying: usize = self.retries.iter().map(|(_, attempts)| attempts.len()).sum();
        let read = self.room.parked.len() + self.room.back.len() + self.batcher.len();
        read + self.records_in_flight + retrying + self.letters.len()
    }

    /// What may be read now: what fills every free request and one more batch, or only one request while
    /// the service refuses, so that what waits can still be given up. What was read before comes first.
    pub(super) fn want(&mut self) -> Option<Want> {
        if self.room.parked.is_empty() && !self.room.back.is_empty() {
            self.go_on();
        }
        let want = self.wanted();
        if want.is_none() && !self.cursor.is_reading() {
            self.room.portion.let_go();
        }
        want
    }

    fn wanted(&self) -> Option<Want> {
        if self.sends_nothing() {
            return None;
        }
        let batch = self.full_batch();
        let bytes = batch.max_bytes.saturating_sub(self.batcher.bytes());
        if let Some((position, attempt)) = self.room.parked.first_key_value() {
            let is_its_time = self.pace.hold_until() <= Instant::now();
            let is_alone = self.in_flight.is_empty() && self.batcher.is_empty();
            let may = bytes > 0 && is_its_time && (is_alone || !self.is_one_at_a_time());
            return may.then(|| Want::Again(*position, attempt.parked.unwrap_or(SOME)));
        }
        if self.holds_back_enough() {
            return None;
        }
        let one = self.is_one_at_a_time();
        let batches = if one { 1 } else { self.request_limit() + 1 };
        let records = (batch.max_records * batches).saturating_sub(self.held());
        // Who is refused takes nothing of what others can use.
        let bytes = if one { bytes.min(self.room.portion.own()) } else { bytes };
        let some = records > 0 && (bytes > 0 || (one && self.batcher.is_empty()));
        some.then(|| Want::New(records.min(batch.max_records), bytes))
    }

    /// When what was let go of may be read again, if that is later.
    pub(super) fn parked_due(&self) -> Option<Instant> {
        let waits = !self.room.parked.is_empty() && !self.sends_nothing();
        waits.then(|| self.pace.hold_until())
    }

    /// Whether nothing lingers: the drain has begun, or others wait for the memory.
    pub(super) fn hurries(&self) -> bool {
        self.current.hurry || (self.room.portion.is_pressed() && self.room.portion.is_beyond_own())
    }

    /// Lets go of the bodies of all records that are not about to be sent.
    pub(super) fn park(&mut self) {
        let now = Instant::now();
        self.pressed.park_at = now + PARK_AGAIN;
        self.retries.iter_mut().flat_map(|(_, group)| group).for_each(Attempt::park);
        self.lanes.park();
        self.in_order.park();
        self.set_aside.park();
        self.verdicts.park();
        if self.unwritten.is_some() {
            self.letters.iter_mut().for_each(|it| it.attempt.park());
        }
        let is_under_way = self.is_one_at_a_time() && !self.in_flight.is_empty();
        if !self.sends_nothing() && !is_under_way && self.pace.hold_until() <= now {
            return;
        }
        self.cursor.stop_reading();
        self.room.portion.let_go();
        let mut waiting = self.batcher.take_all();
        waiting.append(&mut self.room.back);
        waiting.iter_mut().for_each(Attempt::park);
        self.put_in_front(waiting);
    }

    pub(super) fn take_in(&mut self, read: Read) {
        match read {
            Read::New(taken) => self.take_in_new(taken),
            Read::Again(position, found) => {
                let Some(attempt) = self.room.parked.remove(&position) else { return };
                if let Some((record, charge)) = found {
                    let (pending, charge) = (Pending { position, record }, Some(Arc::new(charge)));
                    self.room.back.push(Attempt { pending, charge, parked: None, ..attempt });
                } else {
                    self.forget_lost(&attempt);
                }
                let bytes: usize = self.room.back.iter().map(|it| it.bytes).sum();
                let batch = self.full_batch();
                let is_full = self.room.back.len() >= batch.max_records || bytes >= batch.max_bytes;
                if is_full || self.room.parked.is_empty() || self.is_one_at_a_time() {
                    self.go_on();
                }
            }
            Read::Enough => self.go_on(),
        }
    }

    /// Sends on what was read again, in the journal's order beside what waits for a request.
    fn go_on(&mut self) {
        let mut waiting = self.batcher.take_all();
        waiting.append(&mut self.room.back);
        waiting.sort_by_key(|attempt| attempt.pending.position);
        self.put_in_front(waiting);
    }

    /// Nothing is left of a record that the journal does not have any more.
    pub(super) fn forget_lost(&mut self, attempt: &Attempt) {
        self.set_aside.forget(attempt.pending.position);
        self.in_order.leave(attempt);
    }

    fn take_in_new(&mut self, taken: Vec<(Pending, Charge)>) {
        let since = Instant::now();
        let max_span = self.max_span();
        let mut without_key = 0;
        for (pending, charge) in taken {
            let measured = self.current.destination.measured(&pending.record);
            without_key += u64::from(measured.lacks_key);
            let charge = Some(Arc::new(charge));
            let attempt = Attempt { charge, ..Attempt::fresh(pending, measured, since) };
            self.in_order.enter(&attempt);
            let attempt = self.fitting(attempt).and_then(|it| self.lanes.hold(it));
            if let Some(attempt) = attempt {
                self.batcher.push(attempt, max_span);
            }
        }
        if without_key > 0 {
            self.health.count_without_key(without_key);
        }
    }

    /// Puts records that were read before ahead of all others, in their own order.
    pub(super) fn put_in_front(&mut self, attempts: Vec<Attempt>) {
        let mut here = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            if attempt.parked.is_some() {
                self.room.parked.insert(attempt.pending.position, attempt);
            } else {
                here.extend(self.measured(attempt));
            }
        }
        self.batcher.push_front(here, self.max_span());
    }

    /// The record, unless the service will never take it for its size: then it becomes a dead letter.
    fn fitting(&mut self, attempt: Attempt) -> Option<Attempt> {
        let (bytes, most) = (attempt.bytes, self.limits().max_record_bytes);
        if bytes <= most {
            return Some(attempt);
        }
        let kind = self.current.destination.target.kind();
        let reason = format!("the record counts {bytes} bytes, {kind} takes at most {most}");
        self.letters.push(Refused { attempt, reason });
        None
    }

    /// The record as the destination measures it now, which may have other settings than before.
    fn measured(&mut self, attempt: Attempt) -> Option<Attempt> {
        let measured = self.current.destination.measured(&attempt.pending.record);
        let Measured { bytes, place, in_order, .. } = measured;
        if (place, in_order) != (attempt.place, attempt.in_order) {
            self.in_order.leave(&attempt);
        }
        let attempt = Attempt { bytes, place, in_order, ..attempt };
        self.in_order.enter(&attempt);
        self.fitting(attempt)
    }
}
