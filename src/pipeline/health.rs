//! What a delivery task tells of itself while it runs.

use std::sync::{Mutex, MutexGuard};

use crate::lock::lock;

use tokio::time::Instant;

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
}

impl State {
    /// The word for it in `/status` and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Retrying => "retrying",
            State::Paused => "paused",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// How the service takes records now.
    pub state: State,
    /// Records sent again, since the process began.
    pub retried: u64,
    /// The latest fault, if there was one.
    pub last_error: Option<String>,
    /// Nothing is sent before this, be it that the service asked for it (`Retry-After`) or that a
    /// fault is waited out.
    pub retry_at: Option<Instant>,
    /// Records that fail by themselves while others are delivered.
    pub set_aside: Vec<SetAsideRecord>,
}

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
        condition
    }

    /// Sets what changes with every request; gives the state before.
    pub(super) fn update(
        &self,
        state: State,
        retry_at: Instant,
        set_aside: Vec<SetAsideRecord>,
    ) -> State {
        let mut condition = self.lock();
        condition.retry_at = Some(retry_at);
        condition.set_aside = set_aside;
        std::mem::replace(&mut condition.state, state)
    }

    pub(super) fn count_retried(&self, records: usize) {
        self.lock().retried += records as u64;
    }

    pub(super) fn set_last_error(&self, error: &str) {
        self.lock().last_error = Some(error.to_owned());
    }
}
