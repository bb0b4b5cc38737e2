//! Records that fail by themselves, so that they do not hold up the others.
//!
//! A record whose request failed although nothing else was in it is *suspected*: it waits, goes out
//! again by itself, and others go before it. When it has failed so three times, and others of the
//! destination were delivered since the first, it is the record and not the service, and it is *set
//! aside*: tried again at growing intervals, shown in `/status`, and given up only by a person
//! (`sluicegate dead-letters bury`). There is room for a hundred; with more it is an outage.
//!
//! What is here is pending as before: nobody has settled it, so a new reader reads it again. Pure:
//! time and randomness come in as arguments.

use tokio::time::Instant;

use super::backoff::{SET_ASIDE, TRANSIENT};
use super::batcher::Attempt;
use super::verdicts::Refused;

/// Most records that are suspected or set aside for one destination.
pub(super) const MAX_ASIDE: usize = 100;

/// How often a record fails by itself before it is set aside.
const FAILURES: u32 = 3;

/// A record that was set aside, as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideRecord {
    /// The event's id.
    pub event_id: Box<str>,
    /// The service's last answer to it.
    pub last_answer: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent again; none while it is being sent.
    pub retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    last_answer: String,
    /// How often it failed by itself.
    failures: u32,
    /// Records that the destination had taken when it failed so for the first time.
    delivered_before: u64,
    is_set_aside: bool,
    /// When it goes out again; none while it is on its way.
    due: Option<Instant>,
}

/// The records of one destination that fail by themselves.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    entries: Vec<Entry>,
}

/// What became of a record that failed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It waits; the service may be down as well.
    Suspected,
    /// It is set aside as of now.
    SetAside,
    /// It had been set aside before.
    StillSetAside,
    /// There is no room for it.
    NoRoom,
}

/// What there is of an event to give up.
#[derive(Debug)]
pub(super) enum Found {
    /// These records, with the last answer to each.
    Records(Vec<Refused>),
    /// One is just being sent again.
    OnItsWay,
    /// Nothing.
    Nothing,
}

impl SetAside {
    /// Takes in that a record failed by itself. `delivered` counts what the destination has taken so
    /// far. Where there is no room, nothing is kept of it.
    pub(super) fn failed(
        &mut self,
        attempt: &Attempt,
        last_answer: &str,
        delivered: u64,
        (now, random): (Instant, u64),
    ) -> Placed {
        let Some(entry) = self.entry(attempt, delivered) else { return Placed::NoRoom };
        let before = entry.is_set_aside;
        let attempt = attempt.clone();
        let attempt = if entry.failures == 0 { attempt.apart() } else { attempt };
        entry.attempt = Attempt { lone: true, ..attempt };
        entry.failures += 1;
        last_answer.clone_into(&mut entry.last_answer);
        entry.is_set_aside |= entry.failures >= FAILURES && delivered > entry.delivered_before;
        let wait = if entry.is_set_aside {
            SET_ASIDE.wait(entry.failures.saturating_sub(FAILURES - 1), random)
        } else {
            TRANSIENT.wait(entry.failures, random)
        };
        entry.due = Some(now + wait);
        match (before, entry.is_set_aside) {
            (true, _) => Placed::StillSetAside,
            (false, true) => Placed::SetAside,
            (false, false) => Placed::Suspected,
        }
    }

    /// The entry of a record, a new one if there is none and there is room.
    fn entry(&mut self, attempt: &Attempt, delivered: u64) -> Option<&mut Entry> {
        let place = self.place(attempt.pending.position);
        if place.is_none() && self.entries.len() < MAX_ASIDE {
            self.entries.push(Entry {
                attempt: attempt.clone(),
                last_answer: String::new(),
                failures: 0,
                delivered_before: delivered,
                is_set_aside: false,
                due: None,
            });
            return self.entries.last_mut();
        }
        self.entries.get_mut(place?)
    }

    fn place(&self, position: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.attempt.pending.position == position)
    }

    /// Forgets a record that was delivered or refused for good.
    pub(super) fn forget(&mut self, position: u64) {
        self.entries.retain(|entry| entry.attempt.pending.position != position);
    }

    /// Lets go of the bodies of all that wait.
    pub(super) fn park(&mut self) {
        let waiting = self.entries.iter_mut().filter(|entry| entry.due.is_some());
        waiting.for_each(|entry| entry.attempt.park());
    }

    /// A record that was to go out again waits after all.
    pub(super) fn wait_again(&mut self, position: u64, now: Instant) {
        if let Some(entry) = self.place(position).and_then(|at| self.entries.get_mut(at)) {
            entry.due = Some(now);
        }
    }

    /// The records that are to go out again.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Attempt> {
        let due = self.entries.iter_mut().filter(|it| it.due.is_some_and(|due| due <= now));
        due.map(|entry| {
            entry.due = None;
            entry.attempt.clone()
        })
        .collect()
    }

    /// When the next record goes out again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.due).min()
    }

    /// Lets all that wait go out again now.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        for due in self.entries.iter_mut().filter_map(|entry| entry.due.as_mut()) {
            *due = now.min(*due);
        }
    }

    /// Takes the records of an event out, to be given up.
    pub(super) fn take(&mut self, event_id: &str) -> Found {
        let is_of = |entry: &Entry| &*entry.attempt.pending.record.event_id == event_id;
        let of_event = || self.entries.iter().filter(|entry| is_of(entry));
        if of_event().next().is_none() {
            return Found::Nothing;
        }
        if of_event().any(|entry| entry.due.is_none()) {
            return Found::OnItsWay;
        }
        let taken = self.entries.extract_if(.., |entry| is_of(entry));
        Found::Records(
            taken.map(|it| Refused { attempt: it.attempt, reason: it.last_answer }).collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The records that are set aside, for `/status`.
    pub(super) fn list(&self) -> Vec<SetAsideRecord> {
        let set_aside = self.entries.iter().filter(|entry| entry.is_set_aside);
        set_aside
            .map(|entry| SetAsideRecord {
                event_id: entry.attempt.pending.record.event_id.as_str().into(),
                last_answer: entry.last_answer.clone(),
                attempts: entry.attempt.tries,
                retry_at: entry.due,
            })
            .collect()
    }
}
