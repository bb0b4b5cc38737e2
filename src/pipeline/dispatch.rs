//! Dispatch: events with their slots in, records out, in one synchronous call.
//!
//! Route, filter, project, in that order and nowhere else; what the slots are to hold is said here, and
//! filled when an event is checked. A dispatcher is immutable: a change of the subscriptions makes a
//! new one, so that an event sees one set of them, whole.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::projection::Projection;
use super::stats::{Stats, SubscriptionStats};
use crate::budget::{Held, OverBudget};
use crate::event::{Catalog, Event, Record, SlotPlan, Slots, string_value};
use crate::filter::{EvalError, Program};
use crate::journal::{Entry, Offer};
use crate::resources::{ResourceId, Resources};

/// What a record takes beside its body's bytes, until the journal has it: itself, its id, its place in
/// lists, and the head of its frame.
const RECORD_BYTES: usize = 384;

/// The journal's frame holds a body's bytes once more, until they are written.
const WRITTEN_ONCE_MORE: usize = 2;

/// The subscriptions, compiled.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    routes: HashMap<String, TypeRoutes>,
}

/// All that events of one type are asked for.
#[derive(Debug, Default)]
struct TypeRoutes {
    plan: SlotPlan,
    routes: Vec<Route>,
    /// All destinations of the routes.
    destinations: Vec<ResourceId>,
}

#[derive(Debug)]
struct Route {
    filter: Option<Program>,
    projection: Projection,
    destinations: Arc<[ResourceId]>,
    /// The places of these among the type's destinations.
    places: Vec<usize>,
    stats: Arc<SubscriptionStats>,
}

/// What one route did with the events of one call.
#[derive(Debug, Default)]
struct Tally {
    seen: u64,
    matched: u64,
    turned_down: u64,
    errors: u64,
    /// Units of work that its filter took.
    work: u64,
    last_error: Option<EvalError>,
}

/// Work beside the filter that a route takes for an event, in units of about a nanosecond.
const WORK_PER_ROUTE: u64 = 50;

/// Work that a match takes, and again as much as its record has bytes.
const WORK_PER_RECORD: u64 = 300;

/// The dispatch of a body that has begun.
#[derive(Debug, Default)]
pub(super) struct Dispatching {
    entries: Vec<Entry>,
    /// By event type, a tally for each route.
    tallies: HashMap<String, Vec<Tally>>,
    /// Routes that the present event has met already.
    met: usize,
    /// Where a record is written before it is copied to its own place.
    body: Vec<u8>,
}

impl Dispatcher {
    /// Compiles the resources. Counters of subscriptions that were there before go on.
    #[must_use]
    pub fn new(resources: &Resources, stats: &Stats) -> Dispatcher {
        let mut routes: HashMap<String, TypeRoutes> = HashMap::new();
        for subscription in resources.subscriptions() {
            let destinations: Arc<[ResourceId]> = subscription.destinations.clone().into();
            for source in &subscription.sources {
                let of_type = routes.entry(source.event_type.name.clone()).or_default();
                let plan = &mut of_type.plan;
                let places = destinations.iter().map(|id| place(&mut of_type.destinations, id));
                let places = places.collect();
                of_type.routes.push(Route {
                    filter: source.filter.as_ref().map(|filter| filter.compile(plan)),
                    projection: Projection::compile(source.fields.as_deref(), plan),
                    destinations: Arc::clone(&destinations),
                    places,
                    stats: stats.subscription(&subscription.id),
                });
            }
        }
        Dispatcher { catalog: resources.catalog.clone(), routes }
    }

    /// The event types that may come in.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Sources of all subscriptions together: no event meets more of them.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.routes.values().map(|of_type| of_type.routes.len()).sum()
    }

    /// The slots that events of a type are to be read into, if any subscription takes them.
    #[must_use]
    pub fn plan_of(&self, event_type: &str) -> Option<&SlotPlan> {
        self.routes.get(event_type).map(|of_type| &of_type.plan)
    }

    /// Matches events against all subscriptions and makes a record of each match, in order. Each
    /// event comes with its slots, read by [`Dispatcher::plan_of`].
    ///
    /// # Errors
    /// When the records take more memory than their body may hold.
    pub fn dispatch(
        &self,
        events: &[(Event<'_>, Slots<'_>)],
        held: &Held,
    ) -> Result<Dispatched, OverBudget> {
        let mut begun = Dispatching::default();
        for event in events {
            let mut work = u64::MAX;
            self.dispatch_some(event, &mut begun, &mut work, held)?;
        }
        Ok(self.finish(begun))
    }

    /// Matches one event against the subscriptions that it has not met yet, until `work` is used up, in
    /// units of about a nanosecond. Tells whether it has met all; if not, it is to come again.
    ///
    /// # Errors
    /// When the records take more memory than their body may hold.
    pub(super) fn dispatch_some(
        &self,
        (event, of_object): &(Event<'_>, Slots<'_>),
        begun: &mut Dispatching,
        work: &mut u64,
        held: &Held,
    ) -> Result<bool, OverBudget> {
        let Some((name, of_type)) = self.routes.get_key_value(&*event.event_type) else {
            return Ok(true);
        };
        if !begun.tallies.contains_key(name) {
            let tallies = of_type.routes.iter().map(|_| Tally::default()).collect();
            begun.tallies.insert(name.clone(), tallies);
        }
        let Some(tallies) = begun.tallies.get_mut(name) else { return Ok(true) };
        let mut slots = of_object.clone();
        of_type.plan.extract_envelope(event, &mut slots);
        for (at, route) in of_type.routes.iter().enumerate().skip(begun.met) {
            if *work == 0 {
                begun.met = at;
                return Ok(false);
            }
            let tally = &mut tallies[at];
            tally.seen += 1;
            let (matches, took) =
                route.filter.as_ref().map_or((Ok(true), 0), |filter| filter.counted(&slots));
            tally.work += took;
            *work = work.saturating_sub(took + WORK_PER_ROUTE);
            match matches {
                Ok(false) => tally.turned_down += 1,
                Ok(true) => {
                    tally.matched += 1;
                    begun.body.clear();
                    route.projection.write(event, &slots, &mut begun.body);
                    *work = work.saturating_sub(begun.body.len() as u64 + WORK_PER_RECORD);
                    held.grow(RECORD_BYTES + WRITTEN_ONCE_MORE * begun.body.len())?;
                    begun.entries.push(route.entry(event, &begun.body));
                }
                Err(error) => {
                    tally.turned_down += 1;
                    tally.errors += 1;
                    tally.last_error = Some(error);
                }
            }
        }
        begun.met = 0;
        Ok(true)
    }

    /// What came of all events that were dispatched.
    pub(super) fn finish(&self, begun: Dispatching) -> Dispatched {
        let mut offers = Vec::new();
        let mut counted = Vec::new();
        for (name, tallies) in begun.tallies {
            let Some(of_type) = self.routes.get(&name) else { continue };
            offers.extend(of_type.offers(&tallies));
            let stats = of_type.routes.iter().map(|route| Arc::clone(&route.stats));
            counted.extend(stats.zip(tallies));
        }
        Dispatched { entries: begun.entries, offers, tallies: counted }
    }
}

/// The place of an id in a list, at the end if it is new.
fn place(list: &mut Vec<ResourceId>, id: &ResourceId) -> usize {
    list.iter().position(|known| known == id).unwrap_or_else(|| {
        list.push(id.clone());
        list.len() - 1
    })
}

impl TypeRoutes {
    /// What events of this type were to each destination, for its ledger.
    fn offers(&self, tallies: &[Tally]) -> Vec<Offer> {
        let offer =
            |id: &ResourceId| Offer { destination: id.clone(), accepted: 0, filtered_out: 0 };
        let mut offers: Vec<Offer> = self.destinations.iter().map(offer).collect();
        for (route, tally) in self.routes.iter().zip(tallies) {
            for place in &route.places {
                offers[*place].accepted += tally.seen;
                offers[*place].filtered_out += tally.turned_down;
            }
        }
        offers
    }
}

impl Route {
    fn entry(&self, event: &Event<'_>, body: &[u8]) -> Entry {
        let record = Record {
            event_id: string_value(&event.event_id).unwrap_or_default().into(),
            time: event.time,
            body: Bytes::copy_from_slice(body),
        };
        Entry { record: Arc::new(record), destinations: Arc::clone(&self.destinations) }
    }
}

/// The records of one call, and what to count once they are kept.
#[derive(Debug)]
pub struct Dispatched {
    entries: Vec<Entry>,
    offers: Vec<Offer>,
    tallies: Vec<(Arc<SubscriptionStats>, Tally)>,
}

impl Dispatched {
    /// What goes into the journal, and what goes into the ledger with it.
    pub(super) fn take_records(&mut self) -> (Vec<Entry>, Vec<Offer>) {
        (std::mem::take(&mut self.entries), std::mem::take(&mut self.offers))
    }

    /// How many routes have something to count.
    pub(super) fn counters(&self) -> usize {
        self.tallies.len()
    }

    /// Counts what was seen and matched. To be called when the journal has taken the entries; a
    /// refused body counts nowhere, since its sender comes again.
    pub fn count(self) {
        for (stats, tally) in self.tallies {
            stats.add(tally.seen, tally.matched, (tally.errors, tally.work));
            if let Some(error) = tally.last_error {
                stats.set_last_error(error.to_string());
            }
        }
    }
}
