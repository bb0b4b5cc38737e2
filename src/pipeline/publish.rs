//! Events of the daemon's own: audit events come in through the door of all events.

use std::sync::Arc;

use bytes::Bytes;

use super::Pipeline;
use super::examination::Sender;
use super::intake::NotTaken;
use crate::event::{Framed, Framing};
use crate::journal::Settlement;

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The text is no event, for this reason.
    #[error("{0}")]
    NoEvent(String),
    /// It was not taken.
    #[error(transparent)]
    NotTaken(NotTaken),
}

impl Pipeline {
    /// Takes in one event as if it had been sent; only the count of those does not see it. What is given tells
    /// when the process's death does not lose it any more.
    ///
    /// # Errors
    /// When the text is no event, or it could not be kept.
    pub async fn publish(&self, text: &str) -> Result<Settlement, PublishError> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let framed = Framed::of(bytes, Framing::Json).unwrap_or_default();
        let taken = self.take(&Arc::new(framed), &Arc::new(Sender::own())).await;
        let taken = taken.map_err(PublishError::NotTaken)?;
        match taken.refused.into_iter().next() {
            Some(refused) => Err(PublishError::NoEvent(refused.message)),
            None => Ok(taken.settlement),
        }
    }
}
