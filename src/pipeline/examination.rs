//! A body's events, checked against what their sender may send and dispatched, in slices of work.
//!
//! Everything that is known so far is in it and nothing is borrowed, so that each slice may be done on
//! another thread. It waits for nothing and keeps nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::dispatch::{Dispatched, Dispatcher, Dispatching, TypeNumber};
use super::recent::{PER_SECOND, Recent};
use crate::budget::{Budget, Held, OverBudget};
use crate::event::{
    Acl, Event, EventReader, Framed, Hops, MAX_HOPS, Place, Rejection, Slots, Timestamp,
};
use crate::telemetry::Entrance;

/// Unknown event types of one body for which a similar one is looked for. It takes longer than to
/// check a good event, and who has more than this wrong needs no more hints.
pub(super) const MAX_HINTS: usize = 8;

/// Most characters of an unknown event type that its sender is shown.
const SHOWN_TYPE: usize = 128;

/// Work of checking an event, in units of about a nanosecond, besides that of its bytes.
const WORK_PER_EVENT: u64 = 500;

/// Work of checking a byte.
const WORK_PER_BYTE: u64 = 3;

/// Where a body stood that may be read again: what ids are made of that its events have not.
#[derive(Clone, Debug)]
pub struct Stood {
    /// The same at each reading, and of no other body.
    pub place: String,
    /// When it was written, for events without a time; the present if that is not known.
    pub time: Option<Timestamp>,
}

impl Stood {
    /// The random part of an event's id: the first 16 bytes of SHA-256 of its body's place, a `/` and its own
    /// place there.
    fn random(&self, index: usize) -> u128 {
        let hash = digest(&SHA256, format!("{}/{index}", self.place).as_bytes());
        hash.as_ref().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
    }
}

/// Whose events they are, and what these may be.
#[derive(Debug)]
pub struct Sender {
    /// Largest event, in bytes.
    max_event: usize,
    /// What may be sent; anything if there are no rules.
    acl: Option<Acl>,
    /// The hops of its events, by the number of their body; none where nobody says so.
    hops: Vec<Hops>,
    /// Where its bodies stood, by their numbers; nowhere if they come but once.
    stood: Vec<Stood>,
    /// Whether the sender is still let in as it was; nobody asks where there is no such question.
    still: Option<Still>,
    /// Where the events count as taken in. Those of the daemon's own making do nowhere.
    pub(super) entrance: Option<Entrance>,
    /// What the body and all that is made of it hold.
    pub(super) held: Arc<Held>,
}

impl Sender {
    /// A sender at an entrance: events of at most `max_event` bytes, and only what the rules allow.
    #[must_use]
    pub fn new(entrance: Entrance, max_event: usize, acl: Option<Acl>) -> Sender {
        let held = Arc::new(Budget::unbounded().hold());
        Sender {
            max_event,
            acl,
            hops: Vec::new(),
            stood: Vec::new(),
            still: None,
            entrance: Some(entrance),
            held,
        }
    }

    /// The same, where what is made of its body counts as held, besides what does already.
    #[must_use]
    pub fn within(self, held: Arc<Held>) -> Sender {
        Sender { held, ..self }
    }

    /// The same, whose events have made hops, for each body that is framed with others its own.
    #[must_use]
    pub fn with_hops(self, hops: Vec<Hops>) -> Sender {
        Sender { hops, ..self }
    }

    /// The same, whose bodies may be read again from where each stood, and then have the same ids.
    #[must_use]
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "of Kafka alone"))]
    pub fn standing(self, stood: Vec<Stood>) -> Sender {
        Sender { stood, ..self }
    }

    /// The random part of the id of an event that has none.
    pub(super) fn random(&self, place: Place) -> u128 {
        let stood = self.stood.get(place.body);
        stood.map_or_else(rand::random, |stood| stood.random(place.index))
    }

    pub(super) fn hops(&self, place: Place) -> u8 {
        self.hops.get(place.body).map_or(0, |hops| hops.of(place.index))
    }

    /// The same, provided that `still` holds: it is asked just before anything is kept.
    #[must_use]
    pub fn provided(self, still: impl Fn() -> bool + Send + Sync + 'static) -> Sender {
        Sender { still: Some(Still(Box::new(still))), ..self }
    }

    /// Whether it is let in now as it was when its body was taken up.
    pub(super) fn is_still_admitted(&self) -> bool {
        self.still.as_ref().is_none_or(|still| (still.0)())
    }

    /// The daemon itself.
    pub(super) fn own() -> Sender {
        Sender { entrance: None, ..Sender::new(Entrance::Http, usize::MAX, None) }
    }
}

/// Asks whether a sender is still let in.
struct Still(Box<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Still")
    }
}

/// A body that is being examined.
#[derive(Debug)]
pub(super) struct Examination {
    framed: Arc<Framed>,
    sender: Arc<Sender>,
    dispatcher: Arc<Dispatcher>,
    recent: Arc<Recent>,
    /// The time of events that bring none.
    now: Timestamp,
    /// Events that are done.
    done: usize,
    /// What the next event's id is made of if it brings none: the same in all slices that it takes.
    random: Option<u128>,
    /// What was said about unknown types of this body.
    hints: BTreeMap<String, String>,
    accepted: usize,
    refused: Vec<Rejection>,
    dispatching: Dispatching,
    sample: Vec<Arc<str>>,
}

/// A body's events, checked and dispatched, and nothing of it kept yet.
pub(super) struct Examined {
    pub accepted: usize,
    pub refused: Vec<Rejection>,
    pub dispatched: Dispatched,
    pub sample: Vec<Arc<str>>,
}

impl Examination {
    pub fn new(
        framed: Arc<Framed>,
        sender: Arc<Sender>,
        dispatcher: Arc<Dispatcher>,
        recent: Arc<Recent>,
    ) -> Examination {
        Examination {
            refused: framed.rejected().to_vec(),
            framed,
            sender,
            dispatcher,
            recent,
            now: Timestamp::now(),
            done: 0,
            random: None,
            hints: BTreeMap::new(),
            accepted: 0,
            dispatching: Dispatching::default(),
            sample: Vec::new(),
        }
    }

    /// Does about so much work, and at least some; tells whether all is done.
    ///
    /// # Errors
    /// When what is made of the body takes more memory than it may hold.
    pub fn go_on(&mut self, work: u64) -> Result<bool, OverBudget> {
        let dispatcher = Arc::clone(&self.dispatcher);
        let mut reader = dispatcher.reader();
        let is_done = self.go_on_with(&dispatcher, &mut reader, work);
        dispatcher.give_back(reader);
        is_done
    }

    fn go_on_with(
        &mut self,
        dispatcher: &Dispatcher,
        reader: &mut EventReader,
        mut work: u64,
    ) -> Result<bool, OverBudget> {
        let framed = Arc::clone(&self.framed);
        let check = Check { sender: &self.sender, dispatcher, now: self.now, fills_slots: true };
        let mut slots = Slots::new();
        let mut last = Vec::new();
        for (place, text) in framed.texts().skip(self.done) {
            if work == 0 {
                return Ok(false);
            }
            work = work.saturating_sub(price(text)).max(1);
            let random = || *self.random.get_or_insert_with(|| self.sender.random(place));
            let by = (&mut *reader, &mut self.hints);
            match check.event(place, text, random, by, &mut slots) {
                Err(rejection) => {
                    let bytes = size_of::<Rejection>() + rejection.message.capacity();
                    self.sender.held.grow(bytes)?;
                    self.refused.push(rejection);
                }
                Ok((of, event)) => {
                    let (begun, held) = (&mut self.dispatching, &self.sender.held);
                    begun.hops = self.sender.hops(place);
                    if !dispatcher.dispatch_some((of, &event, &slots), begun, &mut work, held)? {
                        return Ok(false);
                    }
                    self.accepted += 1;
                    // No more of them are sampled.
                    if last.len() == 2 * PER_SECOND {
                        last.drain(..PER_SECOND);
                    }
                    last.push(event);
                }
            }
            self.done += 1;
            self.random = None;
        }
        // The last events of the body; of a long one those of its last slice.
        self.sample = self.recent.sample(&last, self.now);
        Ok(true)
    }

    /// What came of it, once all is done.
    pub fn finish(mut self) -> Examined {
        self.refused.sort_by_key(|rejection| rejection.place);
        Examined {
            accepted: self.accepted,
            refused: self.refused,
            dispatched: self.dispatcher.finish(self.dispatching),
            sample: self.sample,
        }
    }
}

/// What an event must be to be accepted.
pub(super) struct Check<'c> {
    pub sender: &'c Sender,
    pub dispatcher: &'c Dispatcher,
    /// The time of events that bring none.
    pub now: Timestamp,
    /// Whether events are read into slots, to be matched.
    pub fills_slots: bool,
}

/// The work of checking an event, in units of about a nanosecond.
pub(super) fn price(text: &str) -> u64 {
    WORK_PER_EVENT + text.len() as u64 * WORK_PER_BYTE
}

impl<'c> Check<'c> {
    /// The event of a text with its type's number, and its slots.
    pub(super) fn event<'e>(
        &self,
        place: Place,
        text: &'e str,
        random: impl FnOnce() -> u128,
        (reader, hints): (&mut EventReader, &mut BTreeMap<String, String>),
        slots: &mut Slots<'e>,
    ) -> Result<(TypeNumber, Event<'e>), Rejection>
    where
        'c: 'e,
    {
        let refuse = |code, message| Err(Rejection { place, code, message });
        let max = self.sender.max_event;
        if text.len() > max {
            let message = format!("the event has {} bytes, at most {max} are allowed", text.len());
            return refuse("ERR_SLUICEGATE_1007", message);
        }
        let type_of = |name: &str| self.dispatcher.type_of(name);
        let plan_of = |of| self.dispatcher.plan_of(of).filter(|_| self.fills_slots);
        let stood = self.sender.stood.get(place.body);
        let now = stood.and_then(|stood| stood.time).unwrap_or(self.now);
        let (mut event, of) = match reader.read(text, now, random, (type_of, plan_of), slots) {
            Ok(read) => read,
            Err(error) => return refuse(error.code(), error.to_string()),
        };
        let Some(of) = of else {
            return refuse("ERR_NGROK_238", self.unknown_type(&event.event_type, hints));
        };
        let checked = self.sender.acl.as_ref().map(|acl| acl.check(&event, text));
        match checked {
            Some(Err(denied)) => return refuse(denied.code(), denied.to_string()),
            Some(Ok(account @ Some(_))) => event.account_id = account,
            Some(Ok(None)) | None => {}
        }
        let hops = self.sender.hops(place);
        if hops > MAX_HOPS {
            let message = format!(
                "the event has come through {hops} daemons, at most {MAX_HOPS} are allowed: deliveries go round in a circle"
            );
            return refuse("ERR_SLUICEGATE_1326", message);
        }
        Ok((of, event))
    }

    /// What an unknown type's sender is told. A similar one is looked for once a type and body, so
    /// that refusing costs no more than accepting.
    fn unknown_type(&self, event_type: &str, hints: &mut BTreeMap<String, String>) -> String {
        let shown: String = event_type.chars().take(SHOWN_TYPE).collect();
        if let Some(said) = hints.get(&shown) {
            return said.clone();
        }
        let mut message = format!("unknown event type `{shown}`");
        if hints.len() < MAX_HINTS {
            if let Some(nearest) = self.dispatcher.catalog().nearest_type(&shown) {
                message.push_str(&format!(", did you mean `{nearest}`?"));
            }
            hints.insert(shown, message.clone());
        }
        message
    }
}
