//! Events of the daemon's own: audit events go the way of all events, through dispatch and journal.

use std::fmt;

use super::Pipeline;
use crate::event::{EventError, Timestamp, read_event};
use crate::journal::Full;

/// Why an event was not published.
#[derive(Debug)]
pub enum PublishError {
    /// The text is no event.
    NoEvent(EventError),
    /// The journal has no room now.
    Full(Full),
    /// The pipeline is closed.
    Closed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::NoEvent(error) => error.fmt(f),
            PublishError::Full(full) => full.fmt(f),
            PublishError::Closed => f.write_str("the daemon is stopping"),
        }
    }
}

impl std::error::Error for PublishError {}

impl Pipeline {
    /// Matches one event against all subscriptions and keeps what matches, as for an event that came
    /// in; only the count of those does not see it.
    ///
    /// # Errors
    /// When the text is no event, or it could not be kept.
    pub async fn publish(&self, text: &str) -> Result<(), PublishError> {
        let guard = self.dispatcher().await;
        let dispatcher = guard.as_ref().ok_or(PublishError::Closed)?;
        let plan_of = |name: &str| dispatcher.plan_of(name);
        let event = read_event(text, Timestamp::now(), rand::random, plan_of)
            .map_err(PublishError::NoEvent)?;
        let events = [event];
        let dispatched = dispatcher.dispatch(&events);
        self.keep(dispatched, 0, 0).await.map_err(PublishError::Full)?;
        self.note(&events);
        Ok(())
    }
}
