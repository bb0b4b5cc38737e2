//! Keeping the events of lines whose sender gets no answer: they wait until there is room, and bad ones become
//! dead letters.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, warn};

use super::letter::{Letter, letter};
use crate::event::{Framed, Place, Timestamp};
use crate::pipeline::{NotTaken, Pipeline, Sender};
use crate::telemetry::Entrance;

/// How long to wait when nothing can be kept: as long as an HTTP sender is asked to.
const RETRY: Duration = Duration::from_secs(1);

/// Where lines come from.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) sender: Arc<Sender>,
    /// Where they come in.
    pub(super) entrance: Entrance,
    /// Whose the dead letters are.
    pub(super) owner: &'static str,
}

impl Keeping {
    /// Keeps the good events, then puts the bad ones among the dead letters, each under the id that `id` makes of
    /// its place; waits for as long as either has no room, or until the stop. Tells whether they are kept.
    pub(super) async fn keep(
        &self,
        framed: Framed,
        id: impl Fn(Place) -> String,
        stopped: &mut watch::Receiver<bool>,
    ) -> bool {
        let framed = Arc::new(framed);
        let mut waits = false;
        let refused = loop {
            let cause = match self.pipeline.take(&framed, &self.sender).await {
                Ok(taken) => break taken.refused,
                Err(NotTaken::Closed) => return false,
                Err(cause) => cause,
            };
            self.pipeline.refusals().tell(self.entrance, cause.code(), 1, &cause);
            if !waits {
                warn!(%cause, entrance = self.entrance.name(), "lines wait");
                waits = true;
            }
            if *stopped.borrow() {
                return false;
            }
            // Either way the next attempt is made.
            let _ = tokio::time::timeout(RETRY, stopped.changed()).await;
        };
        let now = Timestamp::now();
        let letters = refused
            .iter()
            .map(|refused| letter(&id(refused.place), framed.event(refused.place), refused, now));
        let letters: Vec<Letter> = letters.collect();
        if letters.is_empty() {
            return true;
        }
        while let Err(error) = self.pipeline.reject(self.owner, letters.clone()).await {
            let entrance = self.entrance.name();
            error!(%error, entrance, "dead letters cannot be written; lines wait");
            if *stopped.borrow() {
                return false;
            }
            let _ = tokio::time::timeout(RETRY, stopped.changed()).await;
        }
        true
    }
}
