//! A body's events checked, stamped and made ready to be written elsewhere, in slices of work.
//!
//! Nothing is matched here and nothing kept; where they are written is the caller's matter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Pipeline;
use super::dispatch::Dispatcher;
use super::examination::{Check, Sender, price};
use super::in_force::Snapshot;
use super::intake::{NotTaken, Taken};
use super::projection::Projection;
use crate::budget::OverBudget;
use crate::event::{
    EventReader, Framed, Place, Rejection, SlotPlan, Slots, Timestamp, string_value,
};
use crate::journal::Settlement;
use crate::kafka::EventKey;

/// Up to so many bytes a body is checked on the thread that took it in.
const SHORT_BYTES: usize = 64 << 10;

/// Work of a slice, in units of about a nanosecond: 2 ms, so that a slice holds little.
const SLICE: u64 = 2_000_000;

/// The check of a body that has begun.
#[derive(Debug)]
pub struct Checking {
    framed: Arc<Framed>,
    sender: Arc<Sender>,
    dispatcher: Arc<Dispatcher>,
    key: EventKey,
    whole: Projection,
    now: Timestamp,
    done: usize,
    reader: EventReader,
    hints: BTreeMap<String, String>,
    accepted: usize,
    refused: Vec<Rejection>,
}

/// An event that may be written.
#[derive(Debug)]
pub struct Ready {
    pub place: Place,
    pub hops: u8,
    pub key: Option<String>,
    text: Range<usize>,
}

/// The good events of a part of a body.
#[derive(Debug, Default)]
pub struct Slice {
    text: Vec<u8>,
    events: Vec<Ready>,
    /// Nothing follows.
    pub is_last: bool,
}

impl Slice {
    /// The events with what is to be written of each: an envelope with id and time, on one line.
    pub fn events(&self) -> impl Iterator<Item = (&Ready, &[u8])> {
        self.events.iter().map(|event| (event, &self.text[event.text.clone()]))
    }
}

impl Checking {
    /// Refuses an event that was good, since it cannot be written.
    pub fn refuse(&mut self, place: Place, code: &'static str, message: String) {
        self.accepted -= 1;
        self.refused.push(Rejection { place, code, message });
    }

    fn go_on(&mut self) -> Result<Slice, OverBudget> {
        let framed = Arc::clone(&self.framed);
        let dispatcher = Arc::clone(&self.dispatcher);
        let check = Check {
            sender: &self.sender,
            dispatcher: &dispatcher,
            now: self.now,
            fills_slots: false,
        };
        let (mut slots, mut slice, mut work) = (Slots::new(), Slice::default(), SLICE);
        for (place, text) in framed.texts().skip(self.done) {
            if work == 0 {
                return Ok(slice);
            }
            work = work.saturating_sub(price(text));
            let random = || self.sender.random(place);
            let by = (&mut self.reader, &mut self.hints);
            match check.event(place, text, random, by, &mut slots) {
                Err(rejection) => {
                    let bytes = size_of::<Rejection>() + rejection.message.capacity();
                    self.sender.held.grow(bytes)?;
                    self.refused.push(rejection);
                }
                Ok((_, event)) => {
                    let start = slice.text.len();
                    self.whole.write(&event, &[], &mut slice.text);
                    let key = match self.key {
                        EventKey::AccountId => event.account_id.and_then(string_value),
                        EventKey::EventId => string_value(&event.event_id),
                        EventKey::None => None,
                    };
                    let key = key.map(std::borrow::Cow::into_owned);
                    let text = start..slice.text.len();
                    slice.events.push(Ready { place, hops: self.sender.hops(place), key, text });
                    self.accepted += 1;
                }
            }
            self.done += 1;
        }
        slice.is_last = true;
        Ok(slice)
    }
}

impl Pipeline {
    /// Begins to check a body's events against what the daemon knows and their sender may send.
    ///
    /// # Errors
    /// When nothing is taken in any more, or for now.
    pub fn check(
        &self,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
        key: EventKey,
    ) -> Result<Checking, NotTaken> {
        self.refuse_on_hold(sender)?;
        let Snapshot { dispatcher, .. } = self.in_force.read();
        Ok(Checking {
            refused: framed.rejected().to_vec(),
            framed: Arc::clone(framed),
            sender: Arc::clone(sender),
            dispatcher: dispatcher.ok_or(NotTaken::Closed)?,
            key,
            whole: Projection::compile(None, &mut SlotPlan::default()),
            now: Timestamp::now(),
            done: 0,
            reader: EventReader::default(),
            hints: BTreeMap::new(),
            accepted: 0,
        })
    }

    /// Checks some more of them. Whether their sender is still let in is asked before the first.
    ///
    /// # Errors
    /// When the sender is not, or what is made of the body takes too much memory.
    pub async fn check_some(&self, mut checking: Checking) -> Result<(Checking, Slice), NotTaken> {
        if checking.done == 0 && !checking.sender.is_still_admitted() {
            return Err(NotTaken::Withdrawn);
        }
        let is_long = checking.framed.bytes() > SHORT_BYTES;
        let step = move || {
            let slice = checking.go_on()?;
            Ok((checking, slice))
        };
        self.workers.run(is_long, step).await.map_err(NotTaken::OverBudget)
    }

    /// Counts a body whose good events are all where they were to be written.
    #[must_use]
    pub fn checked(&self, checking: Checking) -> Taken {
        let Checking { accepted, mut refused, sender, .. } = checking;
        refused.sort_by_key(|rejection| rejection.place);
        if let Some(entrance) = sender.entrance {
            self.stats.count_ingest(entrance, accepted, &refused);
        }
        Taken { accepted, refused, settlement: Settlement::default() }
    }
}
