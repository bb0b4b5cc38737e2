//! Delivery: one task a destination takes its records from the journal to its service.
//!
//! read → batch → deliver → settle. Each record gets a verdict of its own; only failed ones are sent
//! again. What the task holds at a time is bounded by a few batches, whatever happens outside; the
//! rest waits in the journal.
//!
//! What is decided elsewhere: which records share a request (`batcher`), when the next may go and
//! how large it may be (`pace`), how many may be under way (`concurrency`), what is done with a record that fails by itself (`set_aside`), and
//! whether a refusal is believed (`verdicts`). Time is tokio's and randomness is given, so that a
//! run can be repeated exactly.

mod faults;
mod held_back;
mod letters;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::backoff;
use super::batcher::{Attempt, Batcher};
use super::burial::{Burial, Burials};
use super::concurrency::{Concurrency, Sent, Sign};
use super::health::{Health, State};
use super::in_flight::{Held, InFlight};
use super::in_order::InOrder;
use super::lanes::Lanes;
use super::pace::{Failure, Pace, Size};
use super::set_aside::{Placed, SetAside};
use super::verdicts::{IN_A_ROW, Refused, Verdicts};
use crate::journal::{Cursor, Outcome, Pending};
use crate::resources::{BatchSettings, Destination};
use crate::sinks::{Ack, Batch, Fault, FaultKind, Limits, Measured};
use crate::telemetry;
use faults::{no_verdict, sign, worse};
use held_back::{Parts, is_of_part};

/// Takes a batch to a service; gives one verdict a record, in the batch's order.
pub(super) type Deliver = Arc<dyn Fn(Batch) -> BoxFuture<'static, Vec<Ack>> + Send + Sync>;

/// Tells how much one request may carry, as far as is known when it is asked.
pub(super) type LimitsNow = Arc<dyn Fn() -> Limits + Send + Sync>;

/// What the rest of the pipeline tells a delivery task.
#[derive(Clone)]
pub(super) struct Orders {
    /// The destination as configured now.
    pub destination: Arc<Destination>,
    /// Where to deliver from now on; requests in flight finish where they were sent.
    pub deliver: Deliver,
    pub limits: LimitsNow,
    /// No record lingers any more.
    pub hurry: bool,
}

/// Records that came back from one request, each with its verdict.
struct Answer {
    attempts: Vec<Attempt>,
    acks: Vec<Ack>,
    sent: Sent,
    held: Held,
}

pub(super) struct Delivery {
    orders: watch::Receiver<Orders>,
    /// The orders in force.
    current: Orders,
    burials: Burials,
    cursor: Cursor,
    health: Arc<Health>,
    random: StdRng,
    batcher: Batcher,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    records_in_flight: usize,
    bytes_in_flight: usize,
    /// What requests of all destinations may hold.
    all_in_flight: Arc<InFlight>,
    /// Nothing more is sent until one of its own requests has ended.
    waits_for_bytes: bool,
    concurrency: Concurrency,
    /// Records that wait for earlier ones of their place.
    in_order: InOrder,
    /// Records that wait for a slow part of the service.
    lanes: Lanes,
    /// Records of partly failed requests, each group until its time comes.
    retries: Vec<(Instant, Vec<Attempt>)>,
    pace: Pace,
    set_aside: SetAside,
    verdicts: Verdicts,
    /// The record whose failure by itself is the last thing that happened.
    failed_last: Option<u64>,
    /// Records that are to become dead letters.
    letters: Vec<Refused>,
    /// Dead letters are not written before this instant.
    write_at: Instant,
    /// Why they could not be written the last time, which is logged once.
    unwritten: Option<String>,
    /// There is no room for dead letters: nothing is sent until there is.
    letters_are_full: bool,
    /// Requests to give a record up that is just being sent again.
    waiting_burials: Vec<Burial>,
    /// Records that the service has taken from this task.
    delivered: u64,
}

impl Delivery {
    pub(super) fn new(
        orders: watch::Receiver<Orders>,
        burials: Burials,
        cursor: Cursor,
        (health, all_in_flight): (Arc<Health>, Arc<InFlight>),
        random: StdRng,
    ) -> Delivery {
        let current = orders.borrow().clone();
        let now = Instant::now();
        Delivery {
            orders,
            current,
            burials,
            cursor,
            health,
            random,
            batcher: Batcher::default(),
            in_flight: FuturesUnordered::new(),
            records_in_flight: 0,
            bytes_in_flight: 0,
            all_in_flight,
            waits_for_bytes: false,
            concurrency: Concurrency::new(),
            in_order: InOrder::default(),
            lanes: Lanes::default(),
            retries: Vec::new(),
            pace: Pace::new(now),
            set_aside: SetAside::default(),
            verdicts: Verdicts::default(),
            failed_last: None,
            letters: Vec::new(),
            write_at: now,
            unwritten: None,
            letters_are_full: false,
            waiting_burials: Vec::new(),
            delivered: 0,
        }
    }

    /// Runs until the orders' sender is gone.
    pub(super) async fn run(mut self) {
        self.tell();
        loop {
            self.take_orders();
            self.release_what_is_due();
            self.write_letters_if_due().await;
            self.send_due_batches();
            let (records, bytes) = self.room();
            let wake = self.next_wake();
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(burial) = self.burials.next() => self.give_up(burial).await,
                Some(answer) = self.in_flight.next() => self.settle(answer).await,
                () = sleep_until(wake) => {}
                taken = self.cursor.read(records, bytes), if records > 0 => self.take_in(taken),
            }
        }
    }

    fn take_orders(&mut self) {
        let orders = self.orders.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.current, orders);
        let (was, is) = (&before.destination, &self.current.destination);
        let now = Instant::now();
        if !Arc::ptr_eq(was, is) && was != is {
            // New settings may be the cure: try at once. They may count bytes in another way too.
            self.pace.start_anew(now);
            self.concurrency = Concurrency::new();
            self.stop_waiting(now);
            let mut waiting = self.batcher.take_all();
            waiting.extend(self.take_held_back());
            self.put_in_front(waiting);
            self.tell();
        }
        if self.current.hurry && !before.hurry {
            self.pace.stop_waiting(now);
            self.stop_waiting(now);
        }
    }

    /// Lets all records go out now that wait to be sent again.
    fn stop_waiting(&mut self, now: Instant) {
        self.set_aside.stop_waiting(now);
        self.lanes.stop_waiting(now);
        for (due, _) in &mut self.retries {
            *due = now.min(*due);
        }
    }

    /// Records that this task holds, wherever, but for the few that wait for a decision: these have
    /// bounds of their own, and must not keep others from being read.
    fn held(&self) -> usize {
        let retrying: usize = self.retries.iter().map(|(_, attempts)| attempts.len()).sum();
        self.batcher.len() + self.records_in_flight + retrying + self.letters.len()
    }

    /// Whether all is kept as it is: there is no room for dead letters, or the destination is off.
    fn sends_nothing(&self) -> bool {
        self.letters_are_full || !self.current.destination.enabled
    }

    /// How many records and bytes may be read now: what fills every free request and one more batch,
    /// or only one request while the service refuses, so that what waits can still be given up.
    fn room(&self) -> (usize, usize) {
        if self.sends_nothing() || self.holds_back_enough() {
            return (0, 0);
        }
        let batch = self.full_batch();
        let batches = if self.is_one_at_a_time() { 1 } else { self.request_limit() + 1 };
        let records = (batch.max_records * batches).saturating_sub(self.held());
        let bytes = batch.max_bytes.saturating_sub(self.batcher.bytes());
        if bytes == 0 { (0, 0) } else { (records.min(batch.max_records), bytes) }
    }

    /// When something is to be done even if nothing happens.
    fn next_wake(&self) -> Instant {
        /// Far enough to be never; `Instant` has no end of time.
        const NEVER: Duration = Duration::from_secs(86_400);
        let now = Instant::now();
        let may_send = self.in_flight.len() < self.requests_allowed() && !self.waits_for_bytes;
        let batch = self.batcher.due(&self.batch()).filter(|_| may_send);
        let batch = batch.map(|due| if self.current.hurry { now } else { due });
        let alone = self.set_aside.next_due().filter(|_| self.may_try_lone_records());
        let probe = self.probe_is_needed().then_some(now);
        let lanes = self.lanes.next_due();
        let requests = [batch, alone, probe, lanes].into_iter().flatten();
        let requests = requests.filter(|_| !self.sends_nothing());
        let requests = requests.map(|due| due.max(self.pace.hold_until()));
        let retries = self.retries.iter().map(|(due, _)| *due);
        let letters = (!self.letters.is_empty()).then_some(self.write_at);
        let verdicts = self.verdicts.next_due();
        requests.chain(retries).chain(letters).chain(verdicts).min().unwrap_or(now + NEVER)
    }

    fn limits(&self) -> Limits {
        (self.current.limits)()
    }

    /// What a request may carry where nothing fails.
    fn full_batch(&self) -> BatchSettings {
        self.current.destination.batch.within(self.limits())
    }

    /// What a request may carry now: one record while the service refuses every one.
    fn batch(&self) -> BatchSettings {
        let batch = self.pace.limit(self.full_batch());
        let max_records = if self.verdicts.is_paused() { 1 } else { batch.max_records };
        BatchSettings { max_records, ..batch }
    }

    fn max_span(&self) -> Option<Duration> {
        self.limits().max_span
    }

    fn is_one_at_a_time(&self) -> bool {
        self.pace.is_failing() || self.verdicts.is_paused()
    }

    /// How many requests the service takes at a time, as far as is known.
    fn request_limit(&self) -> usize {
        self.concurrency.limit(self.limits().in_flight)
    }

    /// One request at a time while the service refuses, all that it is known to take otherwise.
    fn requests_allowed(&self) -> usize {
        if self.sends_nothing() {
            return 0;
        }
        if self.is_one_at_a_time() { 1 } else { self.request_limit() }
    }

    /// A record that failed by itself shows whether the service works only if nothing else can.
    fn may_try_lone_records(&self) -> bool {
        !self.pace.is_failing() || self.batcher.is_empty()
    }

    fn probe_is_needed(&self) -> bool {
        self.in_flight.is_empty() && self.verdicts.needs_probe(!self.batcher.is_empty())
    }

    fn take_in(&mut self, taken: Vec<Pending>) {
        let since = Instant::now();
        let max_span = self.max_span();
        let mut without_key = 0;
        for pending in taken {
            let measured = self.current.destination.measured(&pending.record);
            without_key += u64::from(measured.lacks_key);
            let attempt = Attempt::fresh(pending, measured, since);
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
    fn put_in_front(&mut self, attempts: Vec<Attempt>) {
        let attempts = attempts.into_iter().filter_map(|it| self.measured(it)).collect();
        self.batcher.push_front(attempts, self.max_span());
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

    fn release_what_is_due(&mut self) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.retries).into_iter().partition(|(due, _)| *due <= now);
        self.retries = later;
        let due: Vec<(Instant, Vec<Attempt>)> = due;
        for (_, attempts) in due {
            self.put_in_front(attempts);
        }
        self.letters.extend(self.verdicts.overdue(now));
        if self.current.hurry && self.batcher.is_empty() && self.in_flight.is_empty() {
            self.letters.extend(self.verdicts.give_up());
        }
        if self.pace.hold_until() > now || self.sends_nothing() {
            return;
        }
        let of_lanes = self.lanes.release(now);
        self.put_in_front(of_lanes);
        if self.may_try_lone_records() {
            let lone = self.set_aside.release(now);
            if !lone.is_empty() {
                self.put_in_front(lone);
                self.tell();
            }
        }
        if self.probe_is_needed() {
            let probe = self.verdicts.take_probe();
            self.put_in_front(probe.into_iter().collect());
        }
    }

    fn send_due_batches(&mut self) {
        let now = Instant::now();
        let max_span = self.max_span();
        let may_send =
            |it: &Self| it.in_flight.len() < it.requests_allowed() && !it.waits_for_bytes;
        while may_send(self) && self.pace.hold_until() <= now {
            let due = self.batcher.due(&self.batch());
            if !due.is_some_and(|due| self.current.hurry || due <= now) {
                break;
            }
            let most = self.batcher.bytes().min(self.batch().max_bytes);
            let Some(held) = self.all_in_flight.take(most, self.bytes_in_flight) else {
                self.waits_for_bytes = true;
                break;
            };
            let attempts = self.batcher.take(&self.batch(), max_span);
            let attempts = self.admitted(attempts);
            if attempts.is_empty() {
                continue;
            }
            self.bytes_in_flight += held.bytes();
            let sent = self.concurrency.sent(self.in_flight.len() + 1, now);
            self.health.count_retried(attempts.iter().filter(|it| it.tries > 0).count());
            self.records_in_flight += attempts.len();
            let Orders { destination, deliver, .. } = self.current.clone();
            self.in_flight.push(Box::pin(async move {
                let records = attempts.iter().map(|it| Arc::clone(&it.pending.record)).collect();
                let began = Instant::now();
                let acks = deliver(Batch { records }).await;
                telemetry::request_finished(destination.id.as_str(), began.elapsed());
                Answer { attempts, acks, sent, held }
            }));
        }
    }

    async fn settle(&mut self, answer: Answer) {
        let Answer { attempts, mut acks, sent: request, held } = answer;
        self.bytes_in_flight -= held.bytes();
        self.waits_for_bytes = false;
        drop(held);
        let sent = attempts.len();
        let size = Size { records: sent, bytes: attempts.iter().map(|it| it.bytes).sum() };
        let repeated = attempts.iter().any(|it| it.tries > 0);
        self.records_in_flight -= sent;
        // A verdict that is missing must not lose its record.
        acks.resize_with(sent, || Ack::Retry(no_verdict()));
        let mut delivered = Vec::new();
        let mut parts = Parts::default();
        let mut failed = Vec::new();
        let mut refused = Vec::new();
        let mut fault: Option<Fault> = None;
        for (mut attempt, ack) in attempts.into_iter().zip(acks) {
            attempt.tries += 1;
            if attempt.lone && !matches!(ack, Ack::Retry(_)) {
                self.set_aside.forget(attempt.pending.position);
            }
            match ack {
                Ack::Delivered => {
                    delivered.push((attempt.pending.position, Outcome::Delivered));
                    parts.taken.extend(attempt.place);
                    self.in_order.leave(&attempt);
                }
                Ack::Rejected(reason) => refused.push(Refused { attempt, reason }),
                Ack::Retry(of_record) if is_of_part(&attempt, &of_record) => {
                    parts.note(attempt, of_record);
                }
                Ack::Retry(of_record) => {
                    failed.push(attempt);
                    fault = Some(worse(fault, of_record));
                }
            }
        }
        debug!(
            destination = %self.current.destination.id,
            sent, failed = failed.len(), refused = refused.len(), slow = parts.len(), "request finished"
        );
        self.cursor.settle(&delivered).await;
        self.delivered += delivered.len() as u64;
        let fault = self.judge(refused, !delivered.is_empty()).or(fault);
        let none_but_slow = parts.len() == sent;
        let fault = self.slow_down(parts, (&request, sent), (fault, &mut failed));
        let sign = match none_but_slow {
            true => Sign::None,
            false => sign(fault.as_ref(), failed.len(), sent),
        };
        let most = self.limits().in_flight;
        let cut = self.concurrency.answered(request, sign, most, Instant::now());
        match fault {
            None if none_but_slow => {}
            None => self.got_through(size),
            Some(fault) => self.failed(failed, Failure { fault: &fault, size, repeated }, cut),
        }
        let free = self.in_order.release(self.current.destination.batch.max_records);
        self.put_in_front(free);
        self.tell();
        for burial in std::mem::take(&mut self.waiting_burials) {
            self.give_up(burial).await;
        }
    }

    /// Decides what becomes of refused records. If the service refuses every record, that is a fault.
    fn judge(&mut self, refused: Vec<Refused>, any_delivered: bool) -> Option<Fault> {
        let last = refused.last().map(|it| it.reason.clone());
        let ruling = self.verdicts.judge(refused, any_delivered, Instant::now());
        self.letters.extend(ruling.bury);
        self.put_in_front(ruling.again);
        let reason = last.filter(|_| self.verdicts.is_paused())?;
        Some(Fault::new(
            FaultKind::Configuration,
            format!(
                "the service refused at least {IN_A_ROW} records in a row and took none, so \
                 something is wrong with the settings rather than with each record: {reason}"
            ),
        ))
    }

    fn got_through(&mut self, size: Size) {
        self.failed_last = None;
        self.pace.succeeded(size, self.full_batch());
    }

    /// Plans when the failed records of a request are sent again; `cut` tells that fewer requests will be
    /// under way, which may be all that the service asked for.
    fn failed(&mut self, failed: Vec<Attempt>, failure: Failure<'_>, cut: bool) {
        let Failure { fault, size, .. } = failure;
        let id = &self.current.destination.id;
        let (records, sent) = (failed.len(), size.records);
        let pauses = fault.kind == FaultKind::Configuration;
        self.health.set_last_error(&fault.message);
        if !pauses {
            warn!(destination = %id, failed = records, sent, fault = %fault.message, "will be sent again");
        }
        let now = Instant::now();
        let after = fault.retry_after.filter(|_| !self.current.hurry).unwrap_or_default();
        let only_these = records < sent && !pauses;
        if only_these || (cut && fault.retry_after.is_none()) {
            // The service works; only these records wait.
            if only_these {
                self.got_through(size);
            }
            let tries = failed.iter().map(|attempt| attempt.tries).max().unwrap_or(1);
            let wait = backoff::TRANSIENT.wait(tries, self.random.random());
            let due = now + wait.max(after.min(super::pace::MAX_RETRY_AFTER));
            self.retries.push((due, failed));
            return;
        }
        if fault.kind == FaultKind::Transient && sent == 1 {
            self.failed_alone(failed, failure);
        } else {
            self.pace.failed(failure, now, self.random.random());
            self.put_in_front(failed);
        }
        self.pace.obey(after, now);
    }

    /// Either the service is down or the record is one that it cannot handle: others tell.
    fn failed_alone(&mut self, failed: Vec<Attempt>, failure: Failure<'_>) {
        let now = Instant::now();
        for attempt in failed {
            let position = attempt.pending.position;
            let again = self.failed_last.replace(position) == Some(position);
            let chance = (now, self.random.random());
            let answer = &failure.fault.message;
            match self.set_aside.failed(&attempt, answer, self.delivered, chance) {
                Placed::SetAside => {
                    let event_id = &attempt.pending.record.event_id;
                    warn!(destination = %self.current.destination.id, %event_id, "set aside: it fails by itself while others are delivered");
                    self.pace.cleared();
                }
                Placed::StillSetAside => {}
                Placed::Suspected if again || !self.pace.is_failing() => self.pace.doubted(),
                Placed::Suspected => self.pace.failed(failure, now, self.random.random()),
                Placed::NoRoom => {
                    self.pace.failed(failure, now, self.random.random());
                    self.put_in_front(vec![Attempt { lone: true, ..attempt }]);
                }
            }
        }
    }

    /// Tells how deliveries stand.
    fn tell(&self) {
        let id = &self.current.destination.id;
        let now = Instant::now();
        let hold_until = self.pace.hold_until();
        let waits = self.pace.is_failing() || hold_until > now || !self.retries.is_empty();
        let refuses = self.pace.is_paused() || self.verdicts.is_paused();
        let state = if !self.current.destination.enabled {
            State::Off
        } else if refuses || self.letters_are_full {
            State::Paused
        } else if waits || !self.set_aside.is_empty() || !self.lanes.is_empty() {
            State::Retrying
        } else {
            State::Healthy
        };
        let aside = self.set_aside.list();
        self.health.update_held_back(self.held_back(), self.lanes.list());
        let before = self.health.update(state, hold_until, aside, self.request_limit());
        match (before, state) {
            (State::Paused, State::Paused) | (State::Off, State::Off) => {}
            (_, State::Off) => info!(destination = %id, "off: what comes is kept within its share"),
            (_, State::Paused) => {
                let fault = self.health.read().last_error.map_or_else(String::new, |it| it.message);
                if self.letters_are_full {
                    error!(destination = %id, fault, "paused: no room for dead letters; all records are kept");
                } else {
                    error!(destination = %id, fault, "paused: the service refuses; all records are kept");
                }
            }
            (State::Paused | State::Off, _) => info!(destination = %id, "deliveries go on"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
