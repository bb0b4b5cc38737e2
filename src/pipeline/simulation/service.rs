//! A service that takes batches, well or ill: what it was sent, what it took, what it answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::event::Record;
use crate::lock::lock;
use crate::sinks::{Ack, Fault, FaultKind};

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// All is taken, at once or after some milliseconds.
    Well,
    /// Some records of a request are throttled, in services that answer for each record; whole
    /// requests in others. Some ask for a pause.
    Throttling,
    /// Requests are taken, and sometimes the answer is lost.
    LosingAnswers,
    /// Requests of more than a few records take longer than anybody waits; they may arrive.
    Slow,
    /// Each request fails.
    Down,
    /// Each request is refused for a setting.
    Misconfigured,
    /// Each request that holds a certain event fails.
    Allergic,
    /// Records of certain events are refused for good.
    Picky,
    /// A part of it takes nothing, and says so by name.
    PartlySlow,
}

pub(super) const MOODS: [Mood; 9] = [
    Mood::Well,
    Mood::Throttling,
    Mood::LosingAnswers,
    Mood::Slow,
    Mood::Down,
    Mood::Misconfigured,
    Mood::Allergic,
    Mood::Picky,
    Mood::PartlySlow,
];

/// Places from here on are those of the part that may be slow.
const SLOW_FROM: u128 = u128::MAX / 4 * 3;

/// One event in so many is one that an allergic service cannot take.
const ALLERGEN: u64 = 41;
/// One event in so many is one that a picky service refuses.
const POISON: u64 = 23;
/// Records that a slow service takes in time.
const IN_TIME: usize = 3;
/// How long anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The events of one body have numbers that differ by less than this.
pub(super) const BODY: u64 = 100;

fn body_of(event: u64) -> u64 {
    event / BODY
}

/// One destination's service.
pub(super) struct Service {
    pub name: &'static str,
    /// Whether it answers for each record of a request, or for all of them at once.
    pub answers_each: bool,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    mood: Mood,
    seen: Seen,
}

/// What a service has seen, by the event's number.
#[derive(Default)]
pub(super) struct Seen {
    /// How often it took each event.
    pub taken: BTreeMap<u64, u32>,
    /// How often each may come again: its answer was lost, or the daemon died before it was saved.
    pub excuses: BTreeMap<u64, u32>,
    /// What it refused for good.
    pub refused: BTreeSet<u64>,
    /// What it said it had taken, and the daemon may not have saved yet.
    pub unsaved: BTreeSet<u64>,
    /// What it took and has not answered yet.
    pub unanswered: BTreeSet<u64>,
    /// Events that came again without a cause.
    pub needless: Vec<u64>,
    /// Requests whose fresh records were not in their order.
    pub disordered: Vec<Vec<u64>>,
    /// What it was sent at all.
    pub sent: BTreeSet<u64>,
    /// Those of them that were new since this was last emptied.
    pub sent_last: Vec<u64>,
    /// Requests, for the trace.
    pub requests: u64,
    /// Of records whose order counts: where each has its place, and when it was first sent.
    places: BTreeMap<u64, (u128, usize)>,
    /// Those of them that were sent and not answered for good.
    pub unsettled: BTreeSet<u64>,
    /// Events that were sent while an earlier one of their place was unsettled elsewhere.
    pub overtaking: Vec<(u64, u64)>,
}

impl Seen {
    /// A request comes with these events, each with its place if its order counts.
    fn note_places(&mut self, events: &[(u64, Option<u128>)]) {
        for (event, place) in events {
            let Some(place) = place else { return };
            let next = self.places.len();
            self.places.entry(*event).or_insert((*place, next));
        }
        let is_here = |event: &u64| events.iter().any(|(here, _)| here == event);
        for (event, _) in events {
            let (place, since) = self.places[event];
            let before = self.unsettled.iter().find(|other| {
                self.places[other].0 == place && self.places[other].1 < since && !is_here(other)
            });
            self.overtaking.extend(before.map(|before| (*before, *event)));
        }
        self.unsettled.extend(events.iter().map(|(event, _)| event));
    }

    /// Whether an earlier record keeps this one back.
    pub fn is_kept_back(&self, place: Option<u128>) -> bool {
        self.unsettled.iter().any(|event| Some(self.places[event].0) == place)
    }

    fn take(&mut self, event: u64) {
        let taken = self.taken.entry(event).or_default();
        *taken += 1;
        if *taken > 1 {
            match self.excuses.get_mut(&event).filter(|excuses| **excuses > 0) {
                Some(excuses) => *excuses -= 1,
                None => self.needless.push(event),
            }
        }
        self.unanswered.insert(event);
    }

    fn excuse(&mut self, event: u64) {
        *self.excuses.entry(event).or_default() += 1;
    }
}

impl Service {
    pub(super) fn new(name: &'static str, answers_each: bool, random: StdRng) -> Service {
        let state = State { random, mood: Mood::Well, seen: Seen::default() };
        Service { name, answers_each, state: Mutex::new(state) }
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    pub(super) fn is_well(&self) -> bool {
        lock(&self.state).mood == Mood::Well
    }

    /// Looks at what was seen.
    pub(super) fn look<T>(&self, at: impl FnOnce(&mut Seen) -> T) -> T {
        at(&mut lock(&self.state).seen)
    }

    /// What it has said it took so far, as far as that is not saved.
    pub(super) fn answered(&self) -> BTreeSet<u64> {
        self.look(|seen| seen.unsaved.clone())
    }

    /// The daemon has saved that it got these answers: they are no cause for a copy any more.
    pub(super) fn saved(&self, answered: &BTreeSet<u64>) {
        lock(&self.state).seen.unsaved.retain(|event| !answered.contains(event));
    }

    /// The daemon has died: what it had not saved may come again.
    pub(super) fn daemon_died(&self) {
        let seen = &mut lock(&self.state).seen;
        let unsaved = std::mem::take(&mut seen.unsaved);
        let unanswered = std::mem::take(&mut seen.unanswered);
        for event in unsaved.union(&unanswered) {
            seen.excuse(*event);
        }
    }

    /// Takes a batch, or does not, and answers for each record.
    pub(super) async fn deliver(
        self: Arc<Self>,
        records: Vec<Arc<Record>>,
        places: Vec<Option<u128>>,
    ) -> Vec<Ack> {
        let events: Vec<u64> = records.iter().map(|it| it.event_id.parse().unwrap()).collect();
        let placed: Vec<_> = events.iter().copied().zip(places).collect();
        let (mood, before, after) = {
            let mut state = lock(&self.state);
            state.note_order(&events);
            state.seen.note_places(&placed);
            let millis = |random: &mut StdRng| Duration::from_millis(random.random_range(0..40));
            (state.mood, millis(&mut state.random), millis(&mut state.random))
        };
        sleep(before).await;
        let acks = match mood {
            Mood::Slow if events.len() > IN_TIME => {
                let arrives = lock(&self.state).random.random_bool(0.5);
                if arrives {
                    lock(&self.state).take_and_lose_answer(&events);
                }
                sleep(PATIENCE).await;
                vec![Ack::Retry(unanswered("no answer in time")); events.len()]
            }
            Mood::PartlySlow => lock(&self.state).take_but_for_slow_part(&placed),
            mood => lock(&self.state).answer(mood, self.answers_each, &events),
        };
        sleep(after).await;
        let mut state = lock(&self.state);
        for (event, ack) in events.iter().zip(&acks) {
            state.seen.unanswered.remove(event);
            if !matches!(ack, Ack::Retry(_)) {
                state.seen.unsettled.remove(event);
            }
            if *ack == Ack::Delivered {
                state.seen.unsaved.insert(*event);
            }
        }
        acks
    }
}

fn unanswered(message: &str) -> Fault {
    Fault { unanswered: true, ..Fault::new(FaultKind::Transient, message) }
}

impl State {
    /// Records of one body that are sent for the first time must stand in their order.
    fn note_order(&mut self, events: &[u64]) {
        self.seen.requests += 1;
        let fresh: Vec<u64> =
            events.iter().filter(|event| self.seen.sent.insert(**event)).copied().collect();
        self.seen.sent_last.extend(&fresh);
        let in_order = |pair: &[u64]| body_of(pair[0]) != body_of(pair[1]) || pair[0] < pair[1];
        if !fresh.windows(2).all(in_order) {
            self.seen.disordered.push(fresh);
        }
    }

    fn take(&mut self, events: &[u64]) {
        for event in events {
            self.seen.take(*event);
        }
    }

    fn take_and_lose_answer(&mut self, events: &[u64]) {
        for event in events {
            self.seen.take(*event);
            self.seen.excuse(*event);
        }
    }

    fn answer(&mut self, mood: Mood, answers_each: bool, events: &[u64]) -> Vec<Ack> {
        let all = |ack: Ack| vec![ack; events.len()];
        let fault = |kind, message: &str| Ack::Retry(Fault::new(kind, message));
        match mood {
            Mood::Well | Mood::Slow | Mood::PartlySlow => {
                self.take(events);
                all(Ack::Delivered)
            }
            Mood::Throttling => self.throttle(answers_each, events),
            Mood::LosingAnswers if self.random.random_bool(0.5) => {
                self.take_and_lose_answer(events);
                all(Ack::Retry(unanswered("the connection broke")))
            }
            Mood::LosingAnswers => {
                self.take(events);
                all(Ack::Delivered)
            }
            Mood::Down => all(fault(FaultKind::Transient, "500")),
            Mood::Misconfigured => all(fault(FaultKind::Configuration, "403")),
            Mood::Allergic if events.iter().any(|event| event % ALLERGEN == 0) => {
                all(fault(FaultKind::Transient, "500 for one of them"))
            }
            Mood::Allergic => {
                self.take(events);
                all(Ack::Delivered)
            }
            Mood::Picky => events
                .iter()
                .map(|event| match event % POISON {
                    0 => {
                        self.seen.refused.insert(*event);
                        Ack::Rejected("not to our taste".to_owned())
                    }
                    _ => {
                        self.seen.take(*event);
                        Ack::Delivered
                    }
                })
                .collect(),
        }
    }

    fn take_but_for_slow_part(&mut self, events: &[(u64, Option<u128>)]) -> Vec<Ack> {
        let slow = Fault {
            part: Some("the slow one".into()),
            ..Fault::new(FaultKind::Throttled, "slow down there")
        };
        let mut answer = |(event, place): &(u64, Option<u128>)| {
            if place.is_some_and(|place| place >= SLOW_FROM) {
                return Ack::Retry(slow.clone());
            }
            self.seen.take(*event);
            Ack::Delivered
        };
        events.iter().map(&mut answer).collect()
    }

    fn throttle(&mut self, answers_each: bool, events: &[u64]) -> Vec<Ack> {
        let retry_after = self.random.random_bool(0.3).then(|| Duration::from_secs(2));
        let fault = Fault { retry_after, ..Fault::new(FaultKind::Throttled, "slow down") };
        if !answers_each {
            if self.random.random_bool(0.6) {
                return vec![Ack::Retry(fault); events.len()];
            }
            self.take(events);
            return vec![Ack::Delivered; events.len()];
        }
        let mut acks = Vec::new();
        for event in events {
            if self.random.random_bool(0.4) {
                acks.push(Ack::Retry(fault.clone()));
            } else {
                self.seen.take(*event);
                acks.push(Ack::Delivered);
            }
        }
        acks
    }
}
