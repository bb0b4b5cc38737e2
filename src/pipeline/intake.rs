//! The one door into the pipeline: a framed body and who sent it go in; what was kept and what was
//! refused, each by its place with a code, comes out.
//!
//! frame → plan → check and extract → rules of the sender → dispatch → append → count. Every entrance
//! comes through here, audit events too. It does not know how bytes came in, nor how anybody is
//! answered.

use std::sync::Arc;

use bytes::Bytes;

use super::Pipeline;
use super::dispatch::Dispatcher;
use super::examination::{Examination, Examined, Sender};
use super::in_force::Snapshot;
use crate::budget::OverBudget;
use crate::event::{Framed, Framing, Rejection, TooMany};
use crate::journal::{AppendError, Full, Refusal, Settlement};

/// How often a body is dispatched anew because the subscriptions changed meanwhile. A change takes
/// milliseconds, so a second time is rare already.
const MAX_REPEATS: usize = 3;

/// Up to so many bytes a body is examined on the thread that took it in: a fraction of a millisecond's
/// work. Handing it to another thread would cost as much again.
const SHORT_BYTES: usize = 64 << 10;

/// The same for its events times the work that the index takes for one, in units of about a nanosecond.
const SHORT_WORK: u64 = 200_000;

/// Up to so many counters are counted on that thread.
const SHORT_COUNTING: usize = 2_000;

/// Work of a slice on the thread that took the body in, in units of about a nanosecond: few filters may
/// take long too.
const SHORT_SLICE: u64 = 2_000_000;

/// Work of a slice on a thread for long work: 10 ms.
const SLICE: u64 = 10_000_000;

/// What became of a body that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Events accepted; what matched of them is kept.
    pub accepted: usize,
    /// The others, in the body's order.
    pub refused: Vec<Rejection>,
    /// Tells when the process's death loses nothing of it any more.
    pub settlement: Settlement,
}

/// Why a body was not taken. Nothing of it was kept or counted, and it may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The journal has no room, or its disk fails.
    #[error(transparent)]
    Full(Full),
    /// The subscriptions changed again and again while it was dispatched.
    #[error("the subscriptions are being changed all the time")]
    Changing,
    /// What let the sender in has changed meanwhile.
    #[error("what let the sender in is being changed")]
    Withdrawn,
    /// What is made of the body takes more memory than there is for it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// This daemon may take nothing in for now.
    #[error("{}", .0.reason)]
    Held(OnHold),
    /// Nothing is taken in any more.
    #[error("the daemon is stopping")]
    Closed,
}

/// Why nothing is taken in for now, though there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnHold {
    /// The stable code that programs may branch on.
    pub code: &'static str,
    pub reason: String,
}

impl NotTaken {
    /// The stable code that programs may branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            NotTaken::Full(Full { cause: Refusal::NoRoomFor(_), .. }) => "ERR_SLUICEGATE_1115",
            NotTaken::Full(_) => "ERR_SLUICEGATE_1106",
            NotTaken::Changing | NotTaken::Withdrawn => "ERR_SLUICEGATE_1113",
            NotTaken::OverBudget(OverBudget::Busy) => "ERR_SLUICEGATE_1120",
            NotTaken::OverBudget(OverBudget::Never(_)) => "ERR_SLUICEGATE_1121",
            NotTaken::Held(held) => held.code,
            NotTaken::Closed => "ERR_SLUICEGATE_1107",
        }
    }
}

impl Pipeline {
    /// Splits a body into its events' texts.
    ///
    /// # Errors
    /// When there are more than [`crate::event::MAX_EVENTS`] in it.
    pub async fn frame(&self, body: Bytes, framing: Framing) -> Result<Framed, TooMany> {
        let is_long = body.len() > SHORT_BYTES;
        self.workers.run(is_long, move || Framed::of(body, framing)).await
    }

    /// Takes a body in: its good events are matched against the subscriptions in force, and what
    /// matches is kept for all destinations, or nothing is.
    ///
    /// # Errors
    /// When nothing was kept. Events that are refused are no error, even if all are.
    pub async fn take(
        &self,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
    ) -> Result<Taken, NotTaken> {
        self.refuse_on_hold(sender)?;
        let before = sender.held.bytes();
        for _ in 0..=MAX_REPEATS {
            sender.held.shrink_to(before);
            let Snapshot { generation, dispatcher } = self.in_force.read();
            let dispatcher = dispatcher.ok_or(NotTaken::Closed)?;
            let examined = self.examine(framed, sender, dispatcher).await;
            let examined = examined.map_err(NotTaken::OverBudget)?;
            let Examined { accepted, refused, mut dispatched, sample } = examined;
            if !sender.is_still_admitted() {
                return Err(NotTaken::Withdrawn);
            }
            let (entries, offers) = dispatched.take_records();
            match self.journal.append(generation, entries, offers).await {
                Ok(settlement) => {
                    let is_long = dispatched.counters() > SHORT_COUNTING;
                    self.workers.run(is_long, move || dispatched.count()).await;
                    if let Some(entrance) = sender.entrance {
                        self.stats.count_ingest(entrance, accepted, &refused);
                    }
                    self.recent.keep(sample);
                    return Ok(Taken { accepted, refused, settlement });
                }
                Err(AppendError::Outdated) => {}
                Err(AppendError::Full(full)) => return Err(NotTaken::Full(full)),
            }
        }
        Err(NotTaken::Changing)
    }

    /// Refuses what comes from outside while nothing is to be taken in, wherever it would be kept.
    pub(super) fn refuse_on_hold(&self, sender: &Sender) -> Result<(), NotTaken> {
        match self.on_hold().filter(|_| sender.entrance.is_some()) {
            Some(held) => Err(NotTaken::Held(held)),
            None => Ok(()),
        }
    }

    /// Examines a body slice by slice: a short one here, unless it turns out to be long, others on threads
    /// for long work, of which each slice waits for one anew. So bodies take turns, however long they are.
    async fn examine(
        &self,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<Examined, OverBudget> {
        let work = (framed.len() as u64).saturating_mul(dispatcher.work());
        let mut is_long = framed.bytes() > SHORT_BYTES || work > SHORT_WORK;
        let (framed, sender) = (Arc::clone(framed), Arc::clone(sender));
        let recent = Arc::clone(&self.recent);
        let mut examination = Examination::new(framed, sender, dispatcher, recent);
        loop {
            let work = if is_long { SLICE } else { SHORT_SLICE };
            let step = move || {
                let is_done = examination.go_on(work)?;
                Ok(if is_done { Ok(examination.finish()) } else { Err(examination) })
            };
            match self.workers.run(is_long, step).await? {
                Ok(examined) => return Ok(examined),
                Err(rest) => examination = rest,
            }
            is_long = true;
        }
    }
}

#[cfg(test)]
mod tests;
