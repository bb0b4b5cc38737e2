//! Counters of ingest and subscriptions. They live as long as the process and survive reloads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::event::Rejection;
use crate::lock::lock;
use crate::resources::ResourceId;
use crate::telemetry::{Entrance, Refusals};

/// Counters that outlive any one dispatcher.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    rejected: AtomicU64,
    refusals: Arc<Refusals>,
    subscriptions: Mutex<HashMap<ResourceId, Arc<SubscriptionStats>>>,
}

impl Stats {
    pub(super) fn subscription(&self, id: &ResourceId) -> Arc<SubscriptionStats> {
        let mut all = lock(&self.subscriptions);
        Arc::clone(all.entry(id.clone()).or_default())
    }

    /// Forgets the subscriptions that are not among these.
    pub(super) fn keep_only(&self, ids: &[ResourceId]) {
        let mut all = lock(&self.subscriptions);
        if all.len() == ids.len() && ids.iter().all(|id| all.contains_key(id)) {
            return;
        }
        let kept: HashSet<&ResourceId> = ids.iter().collect();
        all.retain(|id, _| kept.contains(id));
    }

    /// Events accepted and rejected since the process began.
    #[must_use]
    pub fn ingest(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.rejected.load(Ordering::Relaxed))
    }

    /// What was refused at the entrances of events since the process began, by code.
    #[must_use]
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.refusals.counts(&Entrance::OF_EVENTS)
    }

    pub(super) fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    pub(super) fn count_ingest(&self, entrance: Entrance, accepted: usize, rejected: &[Rejection]) {
        self.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
        self.rejected.fetch_add(rejected.len() as u64, Ordering::Relaxed);
        let mut by_code: BTreeMap<&'static str, (u64, &str)> = BTreeMap::new();
        for it in rejected {
            by_code.entry(it.code).or_insert((0, &it.message)).0 += 1;
        }
        for (code, (count, message)) in by_code {
            self.refusals.tell(entrance, code, count, message);
        }
    }
}

/// What a subscription did with the events of its types.
#[derive(Debug, Default)]
pub(super) struct SubscriptionStats {
    seen: Mutex<Seen>,
    matched: AtomicU64,
    filter_errors: AtomicU64,
    filter_work: AtomicU64,
    last_filter_error: Mutex<Option<String>>,
}

/// What a subscription did with the events of its types, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionCounts {
    /// Events of the subscription's types.
    pub seen: u64,
    /// Events that became a record.
    pub matched: u64,
    /// Events whose filter ended in an error, which is no match.
    pub filter_errors: u64,
    /// Units of work that the filters took, each about a nanosecond.
    pub filter_work: u64,
    pub last_filter_error: Option<String>,
}

/// The events that a subscription has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Those that are counted nowhere else any more.
    settled: u64,
    /// Where others count them for many subscriptions at once.
    counting: Vec<Arc<AtomicU64>>,
}

/// Events that many subscriptions see alike, counted once for all of them. What was counted passes to each
/// when this is dropped.
#[derive(Debug)]
pub(super) struct SeenByAll {
    events: Arc<AtomicU64>,
    subscriptions: Box<[Arc<SubscriptionStats>]>,
}

impl SeenByAll {
    pub(super) fn new(subscriptions: impl Iterator<Item = Arc<SubscriptionStats>>) -> SeenByAll {
        let seen = SeenByAll { events: Arc::default(), subscriptions: subscriptions.collect() };
        for stats in &seen.subscriptions {
            lock(&stats.seen).counting.push(Arc::clone(&seen.events));
        }
        seen
    }

    pub(super) fn add(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }
}

impl Drop for SeenByAll {
    fn drop(&mut self) {
        for stats in &self.subscriptions {
            let mut seen = lock(&stats.seen);
            if let Some(at) = seen.counting.iter().position(|it| Arc::ptr_eq(it, &self.events)) {
                seen.counting.swap_remove(at);
                seen.settled += self.events.load(Ordering::Relaxed);
            }
        }
    }
}

impl Seen {
    fn events(&self) -> u64 {
        let counting = self.counting.iter().map(|events| events.load(Ordering::Relaxed));
        self.settled + counting.sum::<u64>()
    }
}

impl SubscriptionStats {
    pub(super) fn add(&self, matched: u64, (filter_errors, filter_work): (u64, u64)) {
        self.matched.fetch_add(matched, Ordering::Relaxed);
        self.filter_errors.fetch_add(filter_errors, Ordering::Relaxed);
        self.filter_work.fetch_add(filter_work, Ordering::Relaxed);
    }

    pub(super) fn set_last_error(&self, error: String) {
        *lock(&self.last_filter_error) = Some(error);
    }

    pub(super) fn counts(&self) -> SubscriptionCounts {
        let last = lock(&self.last_filter_error);
        SubscriptionCounts {
            seen: lock(&self.seen).events(),
            matched: self.matched.load(Ordering::Relaxed),
            filter_errors: self.filter_errors.load(Ordering::Relaxed),
            filter_work: self.filter_work.load(Ordering::Relaxed),
            last_filter_error: last.clone(),
        }
    }
}
