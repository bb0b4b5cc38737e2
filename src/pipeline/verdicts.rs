//! What becomes of records that a service refuses for good.
//!
//! A refusal is believed when the service is known to take others; a service that takes nothing at
//! all is more likely set up wrongly. So a refused record is held, pending as before, until one of
//! these comes first:
//!
//! - the service takes any record, in the same request or a later one: what is held is buried, that
//!   is, becomes dead letters;
//! - [`PATIENCE`] is over, or the daemon drains and nothing else is under way: what is held is
//!   buried, but still counts towards the next rule;
//! - [`IN_A_ROW`] distinct records were refused and none was taken since the first: the destination
//!   *pauses*. What is held, and what else waits, is kept. Each probe is one record that was not
//!   refused yet, soon after the last, or, where no such record waits, the one whose refusal is the
//!   oldest, ever more rarely.
//!
//! A pause ends when the service takes a record, whoever changed what. Then those that were refused
//! are sent once more, since what refused them was perhaps the wrong setting and not they; what is
//! refused again is buried at once. That is at most one more request for each; before a pause nothing
//! refused is sent twice. Records over our own size limits are no verdict of the service and do not
//! come here.
//!
//! Pure: time comes in as an argument. It writes no dead letter.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::batcher::Attempt;

/// How many records are refused in a row before the configuration is at fault.
pub(super) const IN_A_ROW: usize = 20;

/// How long a refused record waits for a sign that the service works: longer than a receiver takes
/// over a burst, short for a person who waits for the dead letter.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Most refused records that probes add to while paused; then those are probed again in turn.
const MAX_HELD: usize = 100;

/// A record that is to become a dead letter.
#[derive(Debug)]
pub(super) struct Refused {
    pub attempt: Attempt,
    pub reason: String,
}

/// What is to be done with refused records now.
#[derive(Debug, Default)]
pub(super) struct Ruling {
    /// These become dead letters.
    pub bury: Vec<Refused>,
    /// These are sent once more.
    pub again: Vec<Attempt>,
}

/// The refusals of one destination that are not decided yet.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    held: VecDeque<Refused>,
    /// Distinct records refused since the service last took one.
    in_a_row: usize,
    /// When patience with what is held is over.
    bury_at: Option<Instant>,
    paused: bool,
}

impl Verdicts {
    /// Takes in what one request's answer refused, and whether it took any record.
    pub(super) fn judge(
        &mut self,
        refused: Vec<Refused>,
        any_delivered: bool,
        now: Instant,
    ) -> Ruling {
        if any_delivered {
            return self.confirmed(refused);
        }
        let (again, new): (Vec<_>, Vec<_>) = refused.into_iter().partition(|it| it.attempt.refused);
        self.in_a_row += new.len();
        let apart = |it: Refused| Refused { attempt: it.attempt.apart(), ..it };
        self.held.extend(new.into_iter().map(apart));
        let mut ruling = Ruling::default();
        if self.paused {
            self.held.extend(again);
        } else {
            ruling.bury = again;
        }
        if self.in_a_row >= IN_A_ROW {
            self.paused = true;
            self.bury_at = None;
        } else if !self.held.is_empty() {
            self.bury_at.get_or_insert(now + PATIENCE);
        }
        ruling
    }

    /// The service works.
    fn confirmed(&mut self, refused: Vec<Refused>) -> Ruling {
        let held = std::mem::take(&mut self.held);
        let after_pause = self.paused;
        *self = Verdicts::default();
        if !after_pause {
            return Ruling { bury: held.into_iter().chain(refused).collect(), again: Vec::new() };
        }
        let mut again: Vec<Attempt> = held.into_iter().map(second_chance).collect();
        again.sort_by_key(|attempt| attempt.pending.position);
        Ruling { bury: refused, again }
    }

    /// Those with which patience is over.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Refused> {
        if self.bury_at.is_some_and(|at| at <= now) { self.give_up() } else { Vec::new() }
    }

    /// Lets go of the bodies of what is held.
    pub(super) fn park(&mut self) {
        self.held.iter_mut().for_each(|it| it.attempt.park());
    }

    /// Has patience a little longer: the next records, which may tell, cannot be read yet.
    pub(super) fn wait_longer(&mut self, now: Instant) {
        if let Some(at) = self.bury_at.as_mut().filter(|at| **at <= now) {
            *at = now + PATIENCE;
        }
    }

    /// Waits for no sign any more; during a pause all are kept nevertheless.
    pub(super) fn give_up(&mut self) -> Vec<Refused> {
        if self.paused {
            return Vec::new();
        }
        self.bury_at = None;
        std::mem::take(&mut self.held).into()
    }

    /// When patience with what is held is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.bury_at
    }

    /// Whether the service refuses everything.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether a pause is to be probed with a refused record: if there is none that was not refused
    /// yet, or no room for the refusal of another.
    pub(super) fn needs_probe(&self, others_wait: bool) -> bool {
        let no_other = !others_wait || self.held.len() >= MAX_HELD;
        self.paused && no_other && !self.held.is_empty()
    }

    /// The record whose refusal is the oldest.
    pub(super) fn take_probe(&mut self) -> Option<Attempt> {
        self.held.pop_front().map(second_chance)
    }

    /// Takes the records of an event out, to be given up.
    pub(super) fn take(&mut self, event_id: &str) -> Vec<Refused> {
        let is_of = |it: &Refused| &*it.attempt.pending.record.event_id == event_id;
        let (taken, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(is_of);
        self.held = held.into();
        taken
    }
}

fn second_chance(refused: Refused) -> Attempt {
    Attempt { refused: true, ..refused.attempt }
}
