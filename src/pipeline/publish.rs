//! Events of the daemon's own: audit events go the way of all events, through dispatch and journal.

use super::Pipeline;
use crate::event::{EventError, Timestamp, read_event};
use crate::journal::Full;

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The text is no event.
    #[error(transparent)]
    NoEvent(EventError),
    /// The journal has no room now.
    #[error(transparent)]
    Full(Full),
    /// The pipeline is closed.
    #[error("the daemon is stopping")]
    Closed,
}

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
