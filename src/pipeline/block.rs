//! Blocks: up to some thousands of routes of one event type with their index.
//!
//! A block never changes. A change of the subscriptions puts new routes into a small block of their own, and shares
//! all other blocks with the dispatcher before it, but for notes of which routes have gone. Small blocks become larger
//! ones as changes go on.

use std::collections::HashMap;
use std::sync::Arc;

use super::projection::Projection;
use super::stats::{SeenByAll, Stats, SubscriptionStats};
use crate::event::{Slot, SlotPlan};
use crate::filter::{Index, Program, Search};
use crate::journal::Offer;
use crate::resources::{ResourceId, Source, Subscription};

/// Most routes of a block: an event looks into each block, and to index so many takes some milliseconds.
const MAX_ROUTES: usize = 4_096;

/// Up to so many routes are indexed anew with each change, in a fraction of a millisecond.
const SMALL: usize = 256;

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
    pub destinations: Arc<[ResourceId]>,
    pub stats: Arc<SubscriptionStats>,
}

/// Routes with their index.
#[derive(Debug)]
pub(super) struct Block {
    pub routes: Arc<[Arc<Route>]>,
    pub index: Arc<Index>,
    /// The routes that are in force still.
    there: Bits,
    is_whole: bool,
    /// The destinations of these routes in the order of their ids, and how many routes each has.
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
        let mut there = Bits::of(routes.len());
        (0..routes.len()).for_each(|number| there.set(number));
        Block {
            index: Arc::new(Index::new(routes.iter().map(|route| route.filter.as_ref()))),
            there,
            is_whole: true,
            destinations,
            seen: SeenByAll::new(routes.iter().map(|route| Arc::clone(&route.stats))),
            routes: routes.into(),
        }
    }

    /// The same with only these routes in force, which are some of those that are.
    fn with_only(self: &Arc<Self>, there: Bits) -> Arc<Block> {
        if self.there == there {
            return Arc::clone(self);
        }
        let mut destinations = self.destinations.to_vec();
        for number in self.there().filter(|number| !there.has(*number)) {
            for id in &*self.routes[number].destinations {
                if let Ok(place) = destinations.binary_search_by(|(known, _)| known.cmp(id)) {
                    destinations[place].1 -= 1;
                }
            }
        }
        destinations.retain(|(_, routes)| *routes > 0);
        let stats = |number: usize| Arc::clone(&self.routes[number].stats);
        let routes = (0..self.routes.len()).filter(|number| there.has(*number));
        Arc::new(Block {
            routes: Arc::clone(&self.routes),
            index: Arc::clone(&self.index),
            seen: SeenByAll::new(routes.map(stats)),
            there,
            is_whole: false,
            destinations: destinations.into(),
        })
    }

    /// The numbers of the routes in force.
    fn there(&self) -> impl Iterator<Item = usize> {
        (0..self.routes.len()).filter(|number| self.there.has(*number))
    }

    fn id(&self, number: usize) -> &ResourceId {
        &self.routes[number].subscription
    }

    /// Looks up which routes an event may match, for [`Search::possible`].
    pub fn search(&self, slots: &[Slot<'_>], search: &mut Search) {
        self.index.search(slots, search);
        if !self.is_whole {
            search.keep_only(&self.there.0);
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
    let mut homes: HashMap<&ResourceId, (usize, usize)> = HashMap::new();
    for (at, block) in before.iter().enumerate() {
        homes.extend(block.there().map(|number| (block.id(number), (at, number))));
    }
    let home = |wanted: &Wanted<'_>| {
        let (at, number) = *homes.get(&wanted.subscription.id)?;
        before[at].routes[number].is(*wanted).then_some((at, number))
    };
    let homes: Vec<_> = wanted.iter().map(home).collect();
    let mut left = vec![0; before.len()];
    homes.iter().flatten().for_each(|(at, _)| left[*at] += 1);
    if left.iter().all(|left| *left == 0) {
        // Nothing stays, and neither do slots that nobody reads.
        *plan = SlotPlan::default();
    }
    let stays = staying(before, &left, wanted.len());
    let mut there: Vec<Bits> = before.iter().map(|block| Bits::of(block.routes.len())).collect();
    let mut rest = Vec::new();
    for (wanted, home) in wanted.iter().zip(homes) {
        match home {
            Some((at, number)) if stays[at] => there[at].set(number),
            Some((at, number)) => rest.push(Arc::clone(&before[at].routes[number])),
            None => rest.push(Arc::new(Route::new(*wanted, plan, stats))),
        }
    }
    let kept = before.iter().zip(there).zip(stays).filter(|(_, stays)| *stays);
    let kept = kept.map(|((block, there), _)| block.with_only(there));
    let each = rest.len().div_ceil(rest.len().div_ceil(MAX_ROUTES).max(1)).max(1);
    kept.chain(rest.chunks(each).map(|routes| Arc::new(Block::new(routes)))).collect()
}

/// Which blocks stay, of which so many routes are left: those with most of their routes, but for small ones if
/// there are routes that have no home. So a change indexes few routes anew, blocks do not become ever more, and
/// over many changes each route is indexed anew as often as blocks double.
fn staying(before: &[Arc<Block>], left: &[usize], wanted: usize) -> Vec<bool> {
    let has_most = |(block, left): (&Arc<Block>, &usize)| 8 * left >= 7 * block.routes.len();
    let mut stays: Vec<bool> = before.iter().zip(left).map(has_most).collect();
    let kept = left.iter().zip(&stays).filter(|(_, stays)| **stays);
    let mut homeless = wanted - kept.map(|(left, _)| left).sum::<usize>();
    let mut smallest_first: Vec<usize> = (0..before.len()).filter(|at| stays[*at]).collect();
    smallest_first.sort_by_key(|at| left[*at]);
    for at in smallest_first {
        let most = if homeless > SMALL { (2 * homeless).min(MAX_ROUTES / 2) } else { SMALL };
        if homeless > 0 && left[at] <= most {
            stays[at] = false;
            homeless += left[at];
        }
    }
    stays
}

/// A bit for each route of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bits(Box<[u64]>);

impl Bits {
    fn of(routes: usize) -> Bits {
        Bits(vec![0; routes.div_ceil(64)].into())
    }

    fn set(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] & 1 << (number % 64) != 0
    }
}
