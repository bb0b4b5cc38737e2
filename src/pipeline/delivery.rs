//! Delivery: one task a destination takes its records from the journal to its service.
//!
//! read → batch → deliver → settle. Each record gets a verdict of its own; only failed ones are sent
//! again. What the task holds at a time is bounded by a few batches, whatever happens outside; the
//! rest waits in the journal.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::backoff;
use super::batcher::{Attempt, Batcher};
use super::health::{Health, State};
use crate::journal::{Cursor, DeadLetter, Outcome, Pending};
use crate::resources::Destination;
use crate::sinks::{Ack, Batch, Fault, FaultKind, Sink};
use crate::telemetry;

/// A destination as configured now, with its open connection.
#[derive(Clone)]
pub(super) struct Outlet {
    pub destination: Arc<Destination>,
    pub sink: Arc<Sink>,
}

/// What the rest of the pipeline tells a delivery task.
#[derive(Clone)]
pub(super) struct Orders {
    /// Where to deliver from now on; requests in flight finish where they were sent.
    pub outlet: Outlet,
    /// No record lingers any more.
    pub hurry: bool,
}

/// Records that came back from one request, each with its verdict.
struct Answer {
    attempts: Vec<Attempt>,
    acks: Vec<Ack>,
}

pub(super) struct Delivery {
    orders: watch::Receiver<Orders>,
    outlet: Outlet,
    cursor: Cursor,
    health: Arc<Health>,
    batcher: Batcher,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    records_in_flight: usize,
    /// Records of partly failed requests, each group until its time comes.
    retries: Vec<(Instant, Vec<Attempt>)>,
    /// Requests in a row that delivered nothing.
    failures: u32,
    /// Nothing is sent before this instant.
    hold_until: Instant,
}

impl Delivery {
    pub(super) fn new(
        orders: watch::Receiver<Orders>,
        cursor: Cursor,
        health: Arc<Health>,
    ) -> Delivery {
        let outlet = orders.borrow().outlet.clone();
        Delivery {
            orders,
            outlet,
            cursor,
            health,
            batcher: Batcher::default(),
            in_flight: FuturesUnordered::new(),
            records_in_flight: 0,
            retries: Vec::new(),
            failures: 0,
            hold_until: Instant::now(),
        }
    }

    /// Runs until the orders' sender is gone.
    pub(super) async fn run(mut self) {
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if !Arc::ptr_eq(&orders.outlet.sink, &self.outlet.sink) {
                // New settings may be the cure: try at once.
                self.hold_until = Instant::now();
            }
            self.outlet = orders.outlet;
            self.release_due_retries();
            self.send_due_batches(orders.hurry);
            let (records, bytes) = self.room();
            let wake = self.next_wake(orders.hurry);
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(answer) = self.in_flight.next() => self.settle(answer).await,
                () = sleep_until(wake) => {}
                taken = self.cursor.read(records, bytes), if records > 0 => {
                    self.take_in(taken).await;
                }
            }
        }
    }

    /// Records that this task holds, wherever.
    fn held(&self) -> usize {
        let retrying: usize = self.retries.iter().map(|(_, attempts)| attempts.len()).sum();
        self.batcher.len() + self.records_in_flight + retrying
    }

    /// How many records and bytes may be read now: what fills every free request and one more batch,
    /// or only one request while the service refuses, so that what waits can still be given up.
    fn room(&self) -> (usize, usize) {
        let destination = &self.outlet.destination;
        let batches = if self.failures > 0 { 1 } else { destination.target.limits().in_flight + 1 };
        let records = (destination.batch.max_records * batches).saturating_sub(self.held());
        let bytes = destination.batch.max_bytes.saturating_sub(self.batcher.bytes());
        if bytes == 0 { (0, 0) } else { (records.min(destination.batch.max_records), bytes) }
    }

    /// When something is to be done even if nothing happens.
    fn next_wake(&self, hurry: bool) -> Instant {
        /// Far enough to be never; `Instant` has no end of time.
        const NEVER: Duration = Duration::from_secs(86_400);
        let now = Instant::now();
        let retry = self.retries.iter().map(|(due, _)| *due).min();
        let may_send = self.in_flight.len() < self.requests_allowed();
        let batch = self
            .batcher
            .due(&self.outlet.destination.batch)
            .filter(|_| may_send)
            .map(|due| if hurry { now } else { due }.max(self.hold_until));
        retry.into_iter().chain(batch).min().unwrap_or(now + NEVER)
    }

    /// One request at a time while the service refuses, all that its limits allow otherwise.
    fn requests_allowed(&self) -> usize {
        if self.failures > 0 { 1 } else { self.outlet.destination.target.limits().in_flight }
    }

    async fn take_in(&mut self, taken: Vec<Pending>) {
        let target = &self.outlet.destination.target;
        let limits = target.limits();
        let since = Instant::now();
        let mut oversize = Vec::new();
        for pending in taken {
            let bytes = target.record_bytes(&pending.record);
            let attempt = Attempt { pending, bytes, tries: 0, since };
            if bytes > limits.max_record_bytes {
                let reason = format!(
                    "the record counts {bytes} bytes, {} takes at most {}",
                    target.kind(),
                    limits.max_record_bytes
                );
                oversize.push((attempt, reason));
            } else {
                self.batcher.push(attempt);
            }
        }
        self.bury(oversize).await;
    }

    fn release_due_retries(&mut self) {
        let now = Instant::now();
        let retries = std::mem::take(&mut self.retries);
        for (due, attempts) in retries {
            if due <= now {
                self.batcher.push_front(attempts);
            } else {
                self.retries.push((due, attempts));
            }
        }
    }

    fn send_due_batches(&mut self, hurry: bool) {
        let Outlet { destination, sink } = self.outlet.clone();
        let now = Instant::now();
        while self.in_flight.len() < self.requests_allowed() && self.hold_until <= now {
            let due = self.batcher.due(&destination.batch);
            if !due.is_some_and(|due| hurry || due <= now) {
                break;
            }
            let attempts =
                self.batcher.take(&destination.batch, destination.target.limits().max_span);
            self.health.count_retried(attempts.iter().filter(|it| it.tries > 0).count());
            self.records_in_flight += attempts.len();
            let id = destination.id.clone();
            let sink = Arc::clone(&sink);
            self.in_flight.push(Box::pin(async move {
                let records = attempts.iter().map(|it| Arc::clone(&it.pending.record)).collect();
                let began = Instant::now();
                let acks = sink.deliver(&Batch { records }).await;
                telemetry::request_finished(id.as_str(), began.elapsed());
                Answer { attempts, acks }
            }));
        }
    }

    async fn settle(&mut self, answer: Answer) {
        let Answer { attempts, mut acks } = answer;
        let sent = attempts.len();
        self.records_in_flight -= sent;
        // A verdict that is missing must not lose its record.
        acks.resize_with(sent, || Ack::Retry(no_verdict()));
        let mut delivered = Vec::new();
        let mut failed = Vec::new();
        let mut rejected = Vec::new();
        let mut fault: Option<Fault> = None;
        for (mut attempt, ack) in attempts.into_iter().zip(acks) {
            attempt.tries += 1;
            match ack {
                Ack::Delivered => {
                    delivered.push((attempt.pending.position, Outcome::Delivered));
                }
                Ack::Rejected(reason) => rejected.push((attempt, reason)),
                Ack::Retry(of_record) => {
                    failed.push(attempt);
                    fault = fault.filter(|seen| seen.kind >= of_record.kind).or(Some(of_record));
                }
            }
        }
        self.cursor.settle(&delivered);
        debug!(
            destination = %self.outlet.destination.id,
            sent, failed = failed.len(), rejected = rejected.len(), "request finished"
        );
        match fault {
            None => self.recovered(),
            Some(fault) => self.failed(failed, &fault, sent),
        }
        self.bury(rejected).await;
    }

    fn recovered(&mut self) {
        self.failures = 0;
        let state = if self.retries.is_empty() { State::Healthy } else { State::Retrying };
        if self.health.set_state(state) == State::Paused {
            info!(destination = %self.outlet.destination.id, "deliveries go on");
        }
    }

    /// Plans when the failed records of a request are sent again.
    fn failed(&mut self, failed: Vec<Attempt>, fault: &Fault, sent: usize) {
        let id = &self.outlet.destination.id;
        let pauses = fault.kind == FaultKind::Configuration;
        let state = if pauses { State::Paused } else { State::Retrying };
        self.health.set_last_error(&fault.message);
        let before = self.health.set_state(state);
        if pauses && before != State::Paused {
            error!(destination = %id, fault = %fault.message, "paused: the service refuses; all records are kept");
        } else {
            warn!(destination = %id, failed = failed.len(), sent, fault = %fault.message, "will be sent again");
        }
        if failed.len() < sent && !pauses {
            // The service works; only these records wait.
            self.failures = 0;
            let tries = failed.iter().map(|attempt| attempt.tries).max().unwrap_or(1);
            let due = Instant::now() + backoff::TRANSIENT.wait(tries, rand::random());
            self.retries.push((due, failed));
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let range = if pauses { backoff::CONFIGURATION } else { backoff::TRANSIENT };
        self.hold_until = Instant::now() + range.wait(self.failures, rand::random());
        self.batcher.push_front(failed);
    }

    /// Puts records among the dead letters; if that fails they are kept and tried again.
    async fn bury(&mut self, rejected: Vec<(Attempt, String)>) {
        if rejected.is_empty() {
            return;
        }
        let id = self.outlet.destination.id.clone();
        let letters = rejected
            .iter()
            .map(|(attempt, reason)| {
                let letter = DeadLetter { reason: reason.clone(), attempts: attempt.tries };
                (attempt.pending.clone(), letter)
            })
            .collect();
        if let Err(cause) = self.cursor.dead_letter(letters).await {
            error!(destination = %id, %cause, "dead letters cannot be written; the records are kept");
            self.health.set_last_error(&format!("dead letters cannot be written: {cause}"));
            let due = Instant::now() + backoff::CONFIGURATION.most;
            self.retries.push((due, rejected.into_iter().map(|(attempt, _)| attempt).collect()));
            return;
        }
        for (attempt, reason) in &rejected {
            warn!(destination = %id, event_id = %attempt.pending.record.event_id, %reason, "dead letter");
        }
    }
}

fn no_verdict() -> Fault {
    let message = "the sink gave no verdict on the record".to_owned();
    Fault::new(FaultKind::Transient, message)
}
