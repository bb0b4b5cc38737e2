//! What a delivery task tells of itself while it runs.

use std::sync::{Mutex, MutexGuard};

use crate::lock::lock;

/// How a destination's service takes records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The last request went well, or there was none.
    #[default]
    Healthy,
    /// Some records wait to be sent again.
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

/// A destination's condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// How the service takes records now.
    pub state: State,
    /// Records sent again, since the process began.
    pub retried: u64,
    /// The latest fault, if there was one.
    pub last_error: Option<String>,
}

/// The shared place of a [`Condition`]: written by the delivery task, read by anyone.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Condition>);

impl Health {
    fn lock(&self) -> MutexGuard<'_, Condition> {
        lock(&self.0)
    }

    pub(super) fn read(&self) -> Condition {
        self.lock().clone()
    }

    pub(super) fn set_state(&self, state: State) -> State {
        std::mem::replace(&mut self.lock().state, state)
    }

    pub(super) fn count_retried(&self, records: usize) {
        self.lock().retried += records as u64;
    }

    pub(super) fn set_last_error(&self, error: &str) {
        self.lock().last_error = Some(error.to_owned());
    }
}
