//! What the relay tells of itself: written by it and its producer, read by `/status` and `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{debug, error, info};

use super::reading::RelayReading;
use crate::kafka::{Standing, TopicFacts};
use crate::lock::lock;

/// How often a problem that lasts is logged again.
const REMIND: Duration = Duration::from_secs(60);

/// What the relay last said of itself.
#[derive(Debug)]
pub struct RelayBoard {
    topic: String,
    standing: Arc<Standing>,
    facts: Mutex<Option<TopicFacts>>,
    problem: Mutex<Option<(String, Instant)>>,
    waiting: AtomicUsize,
    /// Whether there is a producer.
    is_open: AtomicBool,
}

impl RelayBoard {
    pub(super) fn new(topic: &str) -> RelayBoard {
        RelayBoard {
            topic: topic.to_owned(),
            standing: Arc::default(),
            facts: Mutex::default(),
            problem: Mutex::default(),
            waiting: AtomicUsize::default(),
            is_open: AtomicBool::default(),
        }
    }

    #[must_use]
    pub fn read(&self) -> RelayReading {
        RelayReading {
            topic: self.topic.clone(),
            facts: lock(&self.facts).clone(),
            error: lock(&self.problem).as_ref().map(|(message, _)| message.clone()),
            written: self.standing.written(),
            failed: self.standing.failed(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Why the next body would not be written, if so.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let can_write = self.is_open.load(Ordering::Relaxed) && !self.standing.is_failing();
        let why = || lock(&self.problem).as_ref().map(|(message, _)| message.clone());
        (!can_write).then(|| why().unwrap_or_else(|| "it looks for the brokers".to_owned()))
    }

    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// What its producers tell of themselves.
    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    pub(super) fn set_facts(&self, facts: TopicFacts) {
        *lock(&self.facts) = Some(facts);
    }

    pub(super) fn set_waiting(&self, events: usize) {
        self.waiting.store(events, Ordering::Relaxed);
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
