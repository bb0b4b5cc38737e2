//! What the relay tells of itself: written by it and its producer, read by `/status` and `/metrics`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{debug, error, info};

use crate::lock::lock;

/// How often a problem that lasts is logged again.
const REMIND: Duration = Duration::from_secs(60);

/// What the topic is like, as far as the brokers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: usize,
    /// Copies of its first partition.
    pub replicas: usize,
    /// Copies that must be in sync for a write; none if the brokers do not tell.
    pub min_in_sync: Option<u32>,
    /// Largest batch of messages, in bytes.
    pub max_message: usize,
}

/// What one reading says of the relay.
#[derive(Clone, Debug)]
pub struct RelayReading {
    pub topic: String,
    /// What the topic is like; none before the brokers have told.
    pub facts: Option<TopicFacts>,
    /// What keeps it from working as it should, for people.
    pub error: Option<String>,
    /// Events that all in-sync replicas have, since the process began.
    pub written: u64,
    /// Events whose writing was not confirmed.
    pub failed: u64,
    /// Events whose confirmation is waited for.
    pub waiting: usize,
}

/// What the relay last said of itself.
#[derive(Debug)]
pub struct RelayBoard {
    topic: String,
    facts: Mutex<Option<TopicFacts>>,
    problem: Mutex<Option<(String, Instant)>>,
    written: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicUsize,
}

impl RelayBoard {
    pub(super) fn new(topic: &str) -> RelayBoard {
        RelayBoard {
            topic: topic.to_owned(),
            facts: Mutex::default(),
            problem: Mutex::default(),
            written: AtomicU64::default(),
            failed: AtomicU64::default(),
            waiting: AtomicUsize::default(),
        }
    }

    #[must_use]
    pub fn read(&self) -> RelayReading {
        RelayReading {
            topic: self.topic.clone(),
            facts: lock(&self.facts).clone(),
            error: lock(&self.problem).as_ref().map(|(message, _)| message.clone()),
            written: self.written.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_facts(&self, facts: TopicFacts) {
        *lock(&self.facts) = Some(facts);
    }

    pub(super) fn set_waiting(&self, events: usize) {
        self.waiting.store(events, Ordering::Relaxed);
    }

    pub(super) fn count(&self, is_written: bool) {
        let of = if is_written { &self.written } else { &self.failed };
        of.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn has_problem(&self) -> bool {
        lock(&self.problem).is_some()
    }

    /// Shows a problem, and logs it unless one was logged a moment ago.
    pub(super) fn set_problem(&self, message: String) {
        let mut problem = lock(&self.problem);
        let logged = match &*problem {
            Some((_, logged)) if logged.elapsed() < REMIND => {
                debug!(cause = %message, "the relay does not work as it should");
                *logged
            }
            _ => {
                error!(cause = %message, "the relay does not work as it should; it goes on trying");
                Instant::now()
            }
        };
        *problem = Some((message, logged));
    }

    /// Takes the problem down.
    pub(super) fn resolved(&self) {
        if let Some((message, _)) = lock(&self.problem).take() {
            info!(was = %message, "the relay works again");
        }
    }
}
