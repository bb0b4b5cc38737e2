//! Blocks: some thousands of routes of one event type with their index, in the order of the subscriptions.
//!
//! A block never changes. A change of the subscriptions makes those blocks anew that it touches, out of the
//! routes that stay, and shares all others with the dispatcher before it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::projection::Projection;
use super::stats::{SeenByAll, Stats, SubscriptionStats};
use crate::event::{Event, Record, SlotPlan, string_value};
use crate::filter::{Index, Program};
use crate::journal::{Entry, Offer};
use crate::resources::{ResourceId, Source, Subscription};

/// Most routes of a block: a change makes at most so many anew, in some milliseconds, and an event looks
/// into each block.
const MAX_ROUTES: usize = 4_096;

/// Work beside the filter that a route takes for an event, in units of about a nanosecond.
pub(super) const WORK_PER_ROUTE: u64 = 50;

/// A source of a subscription, as it stands in its settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'r> {
    pub subscription: &'r Arc<Subscription>,
    pub source: &'r Source,
}

/// One source of a subscription, compiled.
#[derive(Debug)]
pub(super) struct Route {
    subscription: ResourceId,
    source: Source,
    pub filter: Option<Program>,
    pub projection: Projection,
    destinations: Arc<[ResourceId]>,
    pub stats: Arc<SubscriptionStats>,
}

/// Routes with their index.
#[derive(Debug)]
pub(super) struct Block {
    pub routes: Box<[Arc<Route>]>,
    pub index: Index,
    /// The destinations of the routes in the order of their ids, and how many routes each has.
    destinations: Box<[(ResourceId, u64)]>,
    seen: SeenByAll,
}

impl Route {
    fn new(wanted: Wanted<'_>, plan: &mut SlotPlan, stats: &Stats) -> Route {
        let Wanted { subscription, source } = wanted;
        Route {
            subscription: subscription.id.clone(),
            source: source.clone(),
            filter: source.filter.as_ref().map(|filter| filter.compile(plan)),
            projection: Projection::compile(source.fields.as_deref(), plan),
            destinations: subscription.destinations.clone().into(),
            stats: stats.subscription(&subscription.id),
        }
    }

    /// Whether a route made for this would be the same.
    fn is(&self, wanted: Wanted<'_>) -> bool {
        self.source.is_same(wanted.source)
            && *self.destinations == *wanted.subscription.destinations
    }

    pub fn entry(&self, event: &Event<'_>, body: &[u8], hops: u8) -> Entry {
        let record = Record {
            event_id: string_value(&event.event_id).unwrap_or_default().into(),
            time: event.time,
            body: Bytes::copy_from_slice(body),
            hops,
        };
        Entry { record: Arc::new(record), destinations: Arc::clone(&self.destinations) }
    }
}

impl Block {
    fn new(routes: &[Arc<Route>]) -> Block {
        let mut destinations: HashMap<&ResourceId, u64> = HashMap::new();
        for id in routes.iter().flat_map(|route| &*route.destinations) {
            *destinations.entry(id).or_default() += 1;
        }
        let mut destinations: Box<[_]> =
            destinations.into_iter().map(|(id, routes)| (id.clone(), routes)).collect();
        destinations.sort();
        Block {
            index: Index::new(routes.iter().map(|route| route.filter.as_ref())),
            destinations,
            seen: SeenByAll::new(routes.iter().map(|route| Arc::clone(&route.stats))),
            routes: routes.into(),
        }
    }

    /// Counts events that every route has seen.
    pub fn count_seen(&self, events: u64) {
        self.seen.add(events);
    }

    /// What so many events were to each destination, for its ledger, where routes matched so many of them.
    pub fn offers(&self, events: u64, matched: impl Iterator<Item = (usize, u64)>) -> Vec<Offer> {
        let mut by_place = vec![0; self.destinations.len()];
        for (route, count) in matched.filter(|(_, count)| *count > 0) {
            for id in &*self.routes[route].destinations {
                if let Ok(place) = self.destinations.binary_search_by(|(known, _)| known.cmp(id)) {
                    by_place[place] += count;
                }
            }
        }
        let offer = |((id, routes), matched): (&(ResourceId, u64), u64)| {
            let accepted = routes * events;
            Offer { destination: id.clone(), accepted, filtered_out: accepted - matched }
        };
        self.destinations.iter().zip(by_place).map(offer).collect()
    }

    /// The work of an event that nothing in the index speaks for, in units of about a nanosecond.
    pub fn work(&self) -> u64 {
        self.index.work() + self.index.always() as u64 * WORK_PER_ROUTE
    }
}

/// The blocks of one event type for what is wanted now, with all that can stay of those before. The plan of
/// slots goes on with them, and grows.
pub(super) fn blocks(
    wanted: &[Wanted<'_>],
    (before, plan): (&[Arc<Block>], &mut SlotPlan),
    stats: &Stats,
) -> Vec<Arc<Block>> {
    let mut homes: HashMap<&ResourceId, (usize, &Arc<Route>)> = HashMap::new();
    for (at, block) in before.iter().enumerate() {
        homes.extend(block.routes.iter().map(|route| (&route.subscription, (at, route))));
    }
    let known = |wanted: &Wanted<'_>| homes.get(&wanted.subscription.id).copied();
    if !wanted.iter().any(|it| known(it).is_some_and(|(_, route)| route.is(*it))) {
        // Nothing stays, and neither do slots that nobody reads.
        *plan = SlotPlan::default();
    }
    // Neighbours that were in one block before, and new ones with the one before them.
    let mut runs: Vec<(usize, Vec<Arc<Route>>)> = Vec::new();
    for wanted in wanted {
        let home = known(wanted);
        let route = match home {
            Some((_, route)) if route.is(*wanted) => Arc::clone(route),
            _ => Arc::new(Route::new(*wanted, plan, stats)),
        };
        let last = runs.last_mut();
        match (last, home) {
            (Some((block, run)), Some((home, _))) if *block == home => run.push(route),
            (Some((_, run)), None) => run.push(route),
            (_, home) => runs.push((home.map_or(0, |(block, _)| block), vec![route])),
        }
    }
    let mut blocks: Vec<Arc<Block>> = Vec::new();
    for (home, run) in joined(runs) {
        match before.get(home) {
            Some(block) if is_same(&block.routes, &run) => blocks.push(Arc::clone(block)),
            _ => {
                let parts = run.len().div_ceil(MAX_ROUTES);
                let each = run.len().div_ceil(parts);
                blocks.extend(run.chunks(each).map(|routes| Arc::new(Block::new(routes))));
            }
        }
    }
    blocks
}

/// Joins small runs to the one before them, so that blocks do not become ever more.
fn joined(runs: Vec<(usize, Vec<Arc<Route>>)>) -> Vec<(usize, Vec<Arc<Route>>)> {
    let mut joined: Vec<(usize, Vec<Arc<Route>>)> = Vec::new();
    for (home, run) in runs {
        match joined.last_mut() {
            Some((_, last)) if last.len() + run.len() <= MAX_ROUTES / 2 => last.extend(run),
            _ => joined.push((home, run)),
        }
    }
    joined
}

fn is_same(a: &[Arc<Route>], b: &[Arc<Route>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
