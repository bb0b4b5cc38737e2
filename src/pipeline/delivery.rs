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
mod room;

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
use super::in_order::InOrder;
use super::lanes::Lanes;
use super::pace::{Failure, Pace, Size};
use super::set_aside::{Placed, SetAside};
use super::verdicts::{IN_A_ROW, Refused, Verdicts};
use crate::budget::Pool;
use crate::journal::{Cursor, Outcome};
use crate::resources::{BatchSettings, Destination};
use crate::sinks::{Ack, Batch, Fault, FaultKind, Limits};
use crate::telemetry;
use faults::{no_verdict, sign, worse};
use held_back::{Parts, is_of_part};
use room::{Pressed, Room};

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

/// What a delivery task shares with others.
#[derive(Clone)]
pub(super) struct Shared {
    pub health: Arc<Health>,
    /// What all destinations may hold of the journal's records.
    pub pool: Arc<Pool>,
}

/// Records that came back from one request, each with its verdict.
struct Answer {
    attempts: Vec<Attempt>,
    acks: Vec<Ack>,
    sent: Sent,
}

pub(super) struct Delivery {
    orders: watch::Receiver<Orders>,
    /// The orders in force.
    current: Orders,
    burials: Burials,
    cursor: Cursor,
    room: Room,
    pressed: Pressed,
    health: Arc<Health>,
    random: StdRng,
    batcher: Batcher,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    records_in_flight: usize,
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
        shared: Shared,
        random: StdRng,
    ) -> Delivery {
        let current = orders.borrow().clone();
        let now = Instant::now();
        let Shared { health, pool } = shared;
        Delivery {
            orders,
            current,
            burials,
            cursor,
            pressed: Pressed::new(&pool, now),
            room: Room::new(pool),
            health,
            random,
            batcher: Batcher::default(),
            in_flight: FuturesUnordered::new(),
            records_in_flight: 0,
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
            let want = self.want();
            let may_park = self.room.may_park();
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
                () = self.pressed.wait(), if may_park => self.park(),
                read = self.room.read(&mut self.cursor, want), if want.is_some() => self.take_in(read),
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

    /// Whether all is kept as it is: there is no room for dead letters, or the destination is off.
    fn sends_nothing(&self) -> bool {
        self.letters_are_full || !self.current.destination.enabled
    }

    /// When something is to be done even if nothing happens.
    fn next_wake(&self) -> Instant {
        /// Far enough to be never; `Instant` has no end of time.
        const NEVER: Duration = Duration::from_secs(86_400);
        let now = Instant::now();
        let may_send = self.in_flight.len() < self.requests_allowed();
        let batch = self.batcher.due(&self.batch()).filter(|_| may_send);
        let batch = batch.map(|due| if self.hurries() { now } else { due });
        let alone = self.set_aside.next_due().filter(|_| self.may_try_lone_records());
        let probe = self.probe_is_needed().then_some(now);
        let lanes = self.lanes.next_due();
        let requests = [batch, alone, probe, lanes].into_iter().flatten();
        let requests = requests.filter(|_| !self.sends_nothing());
        let requests = requests.map(|due| due.max(self.pace.hold_until()));
        let retries = self.retries.iter().map(|(due, _)| *due);
        let letters = (!self.letters.is_empty()).then_some(self.write_at);
        let verdicts = self.verdicts.next_due();
        let parked = self.parked_due().filter(|due| *due > now);
        let retries = retries.chain(parked);
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

    fn release_what_is_due(&mut self) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.retries).into_iter().partition(|(due, _)| *due <= now);
        self.retries = later;
        let due: Vec<(Instant, Vec<Attempt>)> = due;
        for (_, attempts) in due {
            self.put_in_front(attempts);
        }
        if self.room.is_waiting() {
            self.verdicts.wait_longer(now);
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
        let may_send = |it: &Self| it.in_flight.len() < it.requests_allowed();
        while may_send(self) && self.pace.hold_until() <= now {
            let due = self.batcher.due(&self.batch());
            if !due.is_some_and(|due| self.hurries() || due <= now) {
                break;
            }
            let attempts = self.batcher.take(&self.batch(), max_span);
            let attempts = self.admitted(attempts);
            if attempts.is_empty() {
                continue;
            }
            let sent = self.concurrency.sent(self.in_flight.len() + 1, now);
            self.health.count_retried(attempts.iter().filter(|it| it.tries > 0).count());
            self.records_in_flight += attempts.len();
            let Orders { destination, deliver, .. } = self.current.clone();
            self.in_flight.push(Box::pin(async move {
                let records = attempts.iter().map(|it| Arc::clone(&it.pending.record)).collect();
                let began = Instant::now();
                let acks = deliver(Batch { records }).await;
                telemetry::request_finished(destination.id.as_str(), began.elapsed());
                Answer { attempts, acks, sent }
            }));
        }
    }

    async fn settle(&mut self, answer: Answer) {
        let Answer { attempts, mut acks, sent: request } = answer;
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
