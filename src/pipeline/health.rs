//! What a delivery task tells of itself while it runs.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Timestamp;
use crate::lock::lock;

use super::lanes::SlowPart;
use super::set_aside::SetAsideRecord;

/// How a destination's service takes records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The last request went well, or there was none.
    #[default]
    Healthy,
    /// Some records wait to be sent again, those that are set aside included.
    Retrying,
    /// The service refuses until somebody fixes a setting; everything is kept.
    Paused,
    /// Somebody turned it off; everything is kept.
    Off,
}

impl State {
    /// The word for it in `/status` and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Retrying => "retrying",
            State::Paused => "paused",
            State::Off => "off",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// How the service takes records now.
    pub state: State,
    /// Records sent again, since the process began.
    pub retried: u64,
    /// Records that had not got the key that their target places records by, since the process began.
    pub without_key: u64,
    /// Nothing is sent before this, be it that the service asked for it (`Retry-After`) or that a
    /// fault is waited out.
    pub retry_at: Option<Instant>,
    /// How many requests may be under way at a time, as was learnt from the service.
    pub request_limit: usize,
    /// Records that wait for a slow part of the service, or for earlier ones of their key; and their bytes.
    pub held_back: (usize, usize),
    /// The slow parts of the service, such as a shard.
    pub slow_parts: Vec<SlowPart>,
    /// Records that fail by themselves while others are delivered.
    pub set_aside: Vec<SetAsideRecord>,
    /// The latest fault, until the destination has been healthy for [`FORGOTTEN_AFTER`] since then.
    pub last_error: Option<LastError>,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// What happened.
    pub message: String,
    /// When, for people.
    pub at: Timestamp,
    /// The same by the clock that never jumps.
    since: Instant,
}

/// How long after its last fault a healthy destination still shows it: long enough for a person who
/// was called, and not so long that an old fault looks like one of now.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The shared place of a [`Condition`]: written by the delivery task, read by anyone.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Condition>);

impl Health {
    fn lock(&self) -> MutexGuard<'_, Condition> {
        lock(&self.0)
    }

    pub(super) fn read(&self) -> Condition {
        let mut condition = self.lock().clone();
        condition.retry_at.take_if(|at| *at <= Instant::now());
        let is_healthy = condition.state == State::Healthy;
        condition.last_error.take_if(|it| is_healthy && it.since.elapsed() >= FORGOTTEN_AFTER);
        condition
    }

    /// Sets what changes with every request; gives the state before.
    pub(super) fn update(
        &self,
        state: State,
        retry_at: Instant,
        set_aside: Vec<SetAsideRecord>,
        request_limit: usize,
    ) -> State {
        let mut condition = self.lock();
        condition.retry_at = Some(retry_at);
        condition.set_aside = set_aside;
        condition.request_limit = request_limit;
        std::mem::replace(&mut condition.state, state)
    }

    /// Sets what waits although the service works.
    pub(super) fn update_held_back(&self, held_back: (usize, usize), slow_parts: Vec<SlowPart>) {
        let mut condition = self.lock();
        condition.held_back = held_back;
        condition.slow_parts = slow_parts;
    }

    pub(super) fn count_retried(&self, records: usize) {
        self.lock().retried += records as u64;
    }

    pub(super) fn count_without_key(&self, records: u64) {
        self.lock().without_key += records;
    }

    pub(super) fn set_last_error(&self, error: &str) {
        let (at, since) = (Timestamp::now(), Instant::now());
        self.lock().last_error = Some(LastError { message: error.to_owned(), at, since });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_is_shown_with_its_time_until_the_destination_has_been_healthy_for_a_while() {
        let health = Health::default();
        let update = |state| {
            let _before = health.update(state, Instant::now(), Vec::new(), 4);
        };
        update(State::Retrying);
        health.set_last_error("throttled");
        tokio::time::advance(2 * FORGOTTEN_AFTER).await;
        assert_eq!(health.read().last_error.unwrap().message, "throttled", "it goes on");
        health.set_last_error("throttled again");
        update(State::Healthy);
        tokio::time::advance(FORGOTTEN_AFTER - Duration::from_secs(1)).await;
        assert_eq!(health.read().last_error.unwrap().message, "throttled again");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.read().last_error, None);
    }
}
