//! The one door into the pipeline: a framed body and who sent it go in; what was kept and what was
//! refused, each by its place with a code, comes out.
//!
//! frame → plan → check and extract → rules of the sender → dispatch → append → count. Every entrance
//! comes through here, audit events too. It does not know how bytes came in, nor how anybody is
//! answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Pipeline;
use super::dispatch::{Dispatched, Dispatcher};
use super::in_force::Snapshot;
use super::recent::Recent;
use crate::budget::{Budget, Held, OverBudget};
use crate::event::{
    Acl, Event, Framed, Framing, Place, Rejection, Slot, Slots, Timestamp, TooMany, read_event,
};
use crate::journal::{AppendError, Full, Settlement};

/// How often a body is dispatched anew because the subscriptions changed meanwhile. A change takes
/// milliseconds, so a second time is rare already.
const MAX_REPEATS: usize = 3;

/// Up to so many bytes a body is examined on the thread that took it in: a fraction of a millisecond's
/// work. Handing it to another thread would cost as much again.
const SHORT_BYTES: usize = 64 << 10;

/// The same for its events times the sources that they may meet: a filter takes about a tenth of a
/// microsecond.
const SHORT_EVALUATIONS: usize = 2_000;

/// Unknown event types of one body for which a similar one is looked for. It takes longer than to
/// check a good event, and who has more than this wrong needs no more hints.
const MAX_HINTS: usize = 8;

/// Most characters of an unknown event type that its sender is shown.
const SHOWN_TYPE: usize = 128;

/// What a checked event takes beside its text and the contents of its slots.
const EVENT_BYTES: usize = size_of::<(Event<'_>, Slots<'_>)>();

/// Whose events they are, and what these may be.
#[derive(Debug)]
pub struct Sender {
    /// Largest event, in bytes.
    max_event: usize,
    /// What may be sent; anything if there are no rules.
    acl: Option<Acl>,
    /// Whether the events count as taken in. Those of the daemon's own making do not.
    is_counted: bool,
    /// What the body and all that is made of it hold.
    held: Arc<Held>,
}

impl Sender {
    /// A sender at an entrance: events of at most `max_event` bytes, and only what the rules allow.
    #[must_use]
    pub fn new(max_event: usize, acl: Option<Acl>) -> Sender {
        Sender { max_event, acl, is_counted: true, held: Arc::new(Budget::unbounded().hold()) }
    }

    /// The same, where what is made of its body counts as held, besides what does already.
    #[must_use]
    pub fn within(self, held: Arc<Held>) -> Sender {
        Sender { held, ..self }
    }

    /// The daemon itself.
    pub(super) fn own() -> Sender {
        Sender { is_counted: false, ..Sender::new(usize::MAX, None) }
    }
}

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
    /// What is made of the body takes more memory than there is for it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// Nothing is taken in any more.
    #[error("the daemon is stopping")]
    Closed,
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
        let before = sender.held.bytes();
        for _ in 0..=MAX_REPEATS {
            sender.held.shrink_to(before);
            let Snapshot { generation, dispatcher } = self.in_force.read();
            let dispatcher = dispatcher.ok_or(NotTaken::Closed)?;
            let examined = self.examine(framed, sender, dispatcher).await;
            let examined = examined.map_err(NotTaken::OverBudget)?;
            let Examined { accepted, refused, mut dispatched, sample } = examined;
            let (entries, offers) = dispatched.take_records();
            match self.journal.append(generation, entries, offers).await {
                Ok(settlement) => {
                    dispatched.count();
                    if sender.is_counted {
                        self.stats.count_ingest(accepted, &refused);
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

    async fn examine(
        &self,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<Examined, OverBudget> {
        let evaluations = framed.len().saturating_mul(dispatcher.sources());
        let is_long = framed.bytes() > SHORT_BYTES || evaluations > SHORT_EVALUATIONS;
        let (framed, sender) = (Arc::clone(framed), Arc::clone(sender));
        let recent = Arc::clone(&self.recent);
        self.workers.run(is_long, move || examine(&framed, &sender, &dispatcher, &recent)).await
    }
}

/// A body's events, checked and dispatched, and nothing of it kept yet.
struct Examined {
    accepted: usize,
    refused: Vec<Rejection>,
    dispatched: Dispatched,
    sample: Vec<Arc<str>>,
}

fn examine(
    framed: &Framed,
    sender: &Sender,
    dispatcher: &Dispatcher,
    recent: &Recent,
) -> Result<Examined, OverBudget> {
    let now = Timestamp::now();
    let mut check = Check { sender, dispatcher, now, hints: BTreeMap::new() };
    let mut events = Vec::with_capacity(framed.len());
    let mut refused = framed.rejected().to_vec();
    for (place, text) in framed.texts() {
        match check.event(place, text) {
            Ok((event, slots)) => {
                sender.held.grow(EVENT_BYTES + slots.capacity() * size_of::<Slot<'_>>())?;
                events.push((event, slots));
            }
            Err(rejection) => {
                sender.held.grow(size_of::<Rejection>() + rejection.message.capacity())?;
                refused.push(rejection);
            }
        }
    }
    refused.sort_by_key(|rejection| rejection.place);
    let dispatched = dispatcher.dispatch(&events, &sender.held)?;
    let sample = recent.sample(&events, now);
    Ok(Examined { accepted: events.len(), refused, dispatched, sample })
}

/// What an event must be to be accepted.
struct Check<'c> {
    sender: &'c Sender,
    dispatcher: &'c Dispatcher,
    /// The time of events that bring none.
    now: Timestamp,
    /// What was said about unknown types of this body.
    hints: BTreeMap<String, String>,
}

impl Check<'_> {
    fn event<'e>(
        &mut self,
        place: Place,
        text: &'e str,
    ) -> Result<(Event<'e>, Slots<'e>), Rejection> {
        let refuse = |code, message| Err(Rejection { place, code, message });
        let max = self.sender.max_event;
        if text.len() > max {
            let message = format!("the event has {} bytes, at most {max} are allowed", text.len());
            return refuse("ERR_SLUICEGATE_1007", message);
        }
        let plan_of = |name: &str| self.dispatcher.plan_of(name);
        let (event, slots) = match read_event(text, self.now, rand::random, plan_of) {
            Ok(event) => event,
            Err(error) => return refuse(error.code(), error.to_string()),
        };
        if self.dispatcher.catalog().get(&event.event_type).is_none() {
            return refuse("ERR_NGROK_238", self.unknown_type(&event.event_type));
        }
        if self.sender.acl.as_ref().is_some_and(|acl| !acl.allows(&event)) {
            let message = "the rules of this credential do not allow the event's type or host";
            return refuse("ERR_NGROK_619", message.to_owned());
        }
        Ok((event, slots))
    }

    /// What an unknown type's sender is told. A similar one is looked for once a type and body, so
    /// that refusing costs no more than accepting.
    fn unknown_type(&mut self, event_type: &str) -> String {
        let shown: String = event_type.chars().take(SHOWN_TYPE).collect();
        if let Some(said) = self.hints.get(&shown) {
            return said.clone();
        }
        let mut message = format!("unknown event type `{shown}`");
        if self.hints.len() < MAX_HINTS {
            if let Some(nearest) = self.dispatcher.catalog().nearest_type(&shown) {
                message.push_str(&format!(", did you mean `{nearest}`?"));
            }
            self.hints.insert(shown, message.clone());
        }
        message
    }
}

#[cfg(test)]
mod tests;
