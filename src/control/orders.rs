//! What daemons of a fleet ask of each other through their store. What is asked, and how it is done, is not
//! known here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::refusal::Refusal;
use super::{Asked, Control};
use crate::store::{Ordered, StoreError};

impl Control {
    /// Asks another daemon something, good for a time; gives the question's number, or none where too many
    /// wait for that daemon.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn order(
        &self,
        daemon: String,
        text: String,
        good_for: Duration,
    ) -> Result<Option<i64>, Refusal> {
        self.check_reached()?;
        let seconds = i64::try_from(good_for.as_secs()).unwrap_or(i64::MAX);
        self.in_store(move |store| store.order(&daemon, &text, seconds)).await
    }

    /// The answers to questions that there are by now.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn answers(&self, numbers: Vec<i64>) -> Result<Vec<Ordered>, Refusal> {
        self.check_reached()?;
        self.in_store(move |store| store.answers(&numbers)).await
    }

    /// Takes back questions that nobody has taken; gives those that somebody has.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn take_back(&self, numbers: Vec<i64>) -> Result<Vec<i64>, Refusal> {
        self.check_reached()?;
        self.in_store(move |store| store.take_back(&numbers)).await
    }

    /// Takes what this daemon is asked, at most so many.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn take_orders(&self, max: usize) -> Result<Vec<Ordered>, Refusal> {
        self.check_reached()?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.in_store(move |store| store.take_orders(max)).await
    }

    /// Answers another daemon.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn answer(&self, number: i64, text: String) -> Result<(), Refusal> {
        let answer = Ordered { number, text };
        self.in_store(move |store| store.answer_order(&answer)).await
    }

    /// Told of each notice that this daemon is asked something. Notices may get lost.
    #[must_use]
    pub fn order_notices(&self) -> Arc<Notify> {
        self.store().order_notices()
    }

    /// As [`Control::still_admits`], of a request that another daemon has let in: its key may have been made a
    /// moment ago.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn still_admits_by_now(&self, asked: &Asked) -> Result<(), Refusal> {
        if self.still_admits(asked).is_ok() {
            return Ok(());
        }
        let _as_it_is_by_now = self.refreshed().await?;
        self.still_admits(asked)
    }

    /// The follower finds within half a second that the store answers again; until then nobody else waits for it.
    pub(super) fn check_reached(&self) -> Result<(), Refusal> {
        match self.store().cannot_write().filter(|_| self.is_in_fleet()) {
            Some(cause) => Err(StoreError::Unreachable(cause).into()),
            None => Ok(()),
        }
    }
}
