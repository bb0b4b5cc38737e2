//! The daemon's own life as events: destinations that pause and recover, dead letters, a journal that fills.
//!
//! It looks at the reading that `/status` shows, once a second, and keeps what it saw before. What it tells
//! is published at once or not at all; and of a destination that takes these very events it tells nothing, so
//! that none is ever about its own delivery.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Control;
use crate::pipeline::{DestinationStatus, State, Status};
use crate::resources::ResourceId;

/// How often the dead letters of a destination are told at most.
const EVERY: Duration = Duration::from_secs(60);

/// The shares of the journal, in percent, that are told when they are reached.
const LEVELS: [u64; 3] = [50, 80, 95];

/// So many percent below a level it may be told anew, so that a journal that stays near it is told once.
const BELOW: u64 = 10;

const PAUSED: &str = "destination_paused.v0";
const RECOVERED: &str = "destination_recovered.v0";
const DEAD_LETTERS: &str = "dead_letters.v0";
const FILLING: &str = "journal_filling.v0";

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Life {
    destinations: HashMap<ResourceId, Seen>,
    /// How many of the levels the journal has reached.
    reached: usize,
}

#[derive(Debug)]
struct Seen {
    paused: Option<Instant>,
    /// Dead letters that were told, or there before anybody looked.
    dead_letters: u64,
    told: Option<Instant>,
}

/// An event to publish.
#[derive(Debug, PartialEq)]
struct News {
    event_type: &'static str,
    about: Option<ResourceId>,
    object: Value,
}

impl Life {
    /// What is new in a reading.
    fn look(&mut self, status: &Status, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        let there: HashSet<&ResourceId> = status.destinations.iter().map(|it| &it.id).collect();
        self.destinations.retain(|id, _| there.contains(id));
        for destination in &status.destinations {
            let dead_letters = destination.account.dead_lettered;
            let seen = self.destinations.entry(destination.id.clone());
            let seen = seen.or_insert(Seen { paused: None, dead_letters, told: None });
            news.extend(seen.look(destination, now));
        }
        let (bytes, max_bytes) = (status.journal.bytes, status.journal.usable_bytes);
        news.extend(self.fill(bytes, max_bytes));
        news
    }

    fn fill(&mut self, bytes: u64, max_bytes: u64) -> Option<News> {
        let percent = bytes.saturating_mul(100).checked_div(max_bytes)?;
        let reached = LEVELS.iter().filter(|level| percent >= **level).count();
        let left = LEVELS.iter().filter(|level| percent + BELOW >= **level).count();
        let before = self.reached;
        self.reached = before.clamp(reached, left);
        let object = json!({"percent": percent, "bytes": bytes, "max_bytes": max_bytes});
        (reached > before).then_some(News { event_type: FILLING, about: None, object })
    }
}

impl Seen {
    fn look(&mut self, destination: &DestinationStatus, now: Instant) -> Vec<News> {
        let error = destination.condition.last_error.as_ref().map(|it| it.message.as_str());
        let (id, kind) = (&destination.id, destination.kind);
        let pending = destination.account.pending_records;
        let mut news = Vec::new();
        let mut tell = |event_type, object| {
            news.push(News { event_type, about: Some(id.clone()), object });
        };
        match (destination.condition.state, self.paused) {
            (State::Paused, None) => {
                self.paused = Some(now);
                let id = id.as_str();
                let object = json!({"destination_id": id, "target": kind, "error": error, "pending_records": pending});
                tell(PAUSED, object);
            }
            (State::Healthy, Some(since)) => {
                self.paused = None;
                let seconds = now.duration_since(since).as_secs();
                let id = id.as_str();
                let object = json!({"destination_id": id, "target": kind, "paused_seconds": seconds, "pending_records": pending});
                tell(RECOVERED, object);
            }
            _ => {}
        }
        let more = destination.account.dead_lettered.saturating_sub(self.dead_letters);
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= EVERY);
        if more > 0 && is_due {
            self.dead_letters = destination.account.dead_lettered;
            self.told = Some(now);
            let object = json!({"destination_id": id.as_str(), "target": kind, "dead_letters": more, "error": error});
            tell(DEAD_LETTERS, object);
        }
        news
    }
}

impl Control {
    /// Looks once, and publishes what is new.
    pub(super) async fn tell_life(&self, life: &mut Life) {
        let pipeline = std::sync::Arc::clone(&self.pipeline);
        let Ok(status) = tokio::task::spawn_blocking(move || pipeline.status()).await else {
            return;
        };
        let news = life.look(&status, Instant::now());
        if news.is_empty() {
            return;
        }
        let own = self.world().destinations_of(&[PAUSED, RECOVERED, DEAD_LETTERS]);
        for News { event_type, about, object } in news {
            if about.is_none_or(|id| !own.contains(&id)) {
                self.tell(event_type, object, None).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Account, LetterCounts, Share};
    use crate::pipeline::Condition;

    #[test]
    fn a_journal_is_told_of_when_it_reaches_a_level_and_again_only_after_it_was_well_below() {
        let mut life = Life::default();
        let mut told = |bytes| life.fill(bytes, 1_000).map(|it| it.object["percent"].clone());
        for (bytes, expected) in [
            (400, None),
            (500, Some(50)),
            (520, None),
            (450, None),
            (510, None),
            (390, None),
            (500, Some(50)),
            (960, Some(96)),
            (940, None),
            (960, None),
            (0, None),
            (850, Some(85)),
        ] {
            assert_eq!(told(bytes), expected.map(Value::from), "{bytes}");
        }
        assert_eq!(life.fill(1, 0), None, "a journal without a size fills nothing");
    }

    fn seen() -> Seen {
        Seen { paused: None, dead_letters: 7, told: None }
    }

    fn types(news: &[News]) -> Vec<&'static str> {
        news.iter().map(|it| it.event_type).collect()
    }

    fn destination(state: State, dead_lettered: u64) -> DestinationStatus {
        let id = ResourceId::new("stream").unwrap();
        DestinationStatus {
            id,
            kind: "kinesis",
            removed: false,
            condition: Condition { state, ..Condition::default() },
            credentials: None,
            packing: None,
            log_streams: None,
            account: Account { dead_lettered, ..Account::default() },
            share: Share::default(),
            letters: LetterCounts::default(),
        }
    }

    #[test]
    fn a_destination_is_told_of_when_it_pauses_and_when_it_is_well_again() {
        let (mut seen, now) = (seen(), Instant::now());
        let mut look = |state| types(&seen.look(&destination(state, 7), now));
        assert_eq!(look(State::Retrying), [""; 0]);
        assert_eq!(look(State::Paused), [PAUSED]);
        assert_eq!(look(State::Paused), [""; 0]);
        assert_eq!(look(State::Retrying), [""; 0], "it may pause again");
        assert_eq!(look(State::Healthy), [RECOVERED]);
        assert_eq!(look(State::Healthy), [""; 0]);
    }

    #[test]
    fn dead_letters_are_told_once_a_minute_with_their_number() {
        let (mut seen, now) = (seen(), Instant::now());
        let mut look = |count, seconds| {
            let news =
                seen.look(&destination(State::Healthy, count), now + Duration::from_secs(seconds));
            news.iter().map(|it| it.object["dead_letters"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(look(7, 0), [0; 0], "those of earlier runs");
        assert_eq!(look(9, 1), [2]);
        assert_eq!(look(12, 30), [0; 0]);
        assert_eq!(look(13, 61), [4]);
        assert_eq!(look(13, 200), [0; 0]);
    }
}
