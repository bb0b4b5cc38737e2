//! Dispatch: events in, records out, in one synchronous call.
//!
//! Route, extract, filter, project, in that order and nowhere else. A dispatcher is immutable: a
//! change of the subscriptions makes a new one, so that an event sees one set of them, whole.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::projection::Projection;
use super::stats::{Stats, SubscriptionStats};
use crate::event::{Catalog, Event, Record, SlotPlan, Slots, string_value};
use crate::filter::{EvalError, Program};
use crate::journal::Entry;
use crate::resources::{ResourceId, Resources};

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
}

#[derive(Debug)]
struct Route {
    filter: Option<Program>,
    projection: Projection,
    destinations: Arc<[ResourceId]>,
    stats: Arc<SubscriptionStats>,
}

/// What one route did with the events of one call.
#[derive(Debug, Default)]
struct Tally {
    seen: u64,
    matched: u64,
    errors: u64,
    last_error: Option<EvalError>,
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
                of_type.routes.push(Route {
                    filter: source.filter.as_ref().map(|filter| filter.compile(plan)),
                    projection: Projection::compile(source.fields.as_deref(), plan),
                    destinations: Arc::clone(&destinations),
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

    /// The slots that events of a type are to be read into, if any subscription takes them.
    #[must_use]
    pub fn plan_of(&self, event_type: &str) -> Option<&SlotPlan> {
        self.routes.get(event_type).map(|of_type| &of_type.plan)
    }

    /// Matches events against all subscriptions and makes a record of each match, in order. Each
    /// event comes with its slots, read by [`Dispatcher::plan_of`].
    #[must_use]
    pub fn dispatch(&self, events: &[(Event<'_>, Slots<'_>)]) -> Dispatched {
        let mut entries = Vec::new();
        let mut tallies: HashMap<&str, Vec<Tally>> = HashMap::new();
        let mut slots = Slots::new();
        let mut body = Vec::new();
        for (event, of_object) in events {
            let Some((name, of_type)) = self.routes.get_key_value(&*event.event_type) else {
                continue;
            };
            slots.clear();
            slots.extend_from_slice(of_object);
            of_type.plan.extract_envelope(event, &mut slots);
            let tallies = tallies
                .entry(name)
                .or_insert_with(|| of_type.routes.iter().map(|_| Tally::default()).collect());
            for (route, tally) in of_type.routes.iter().zip(tallies) {
                tally.seen += 1;
                let matches = route.filter.as_ref().map_or(Ok(true), |it| it.matches(&slots));
                match matches {
                    Ok(false) => {}
                    Ok(true) => {
                        tally.matched += 1;
                        body.clear();
                        route.projection.write(event, &slots, &mut body);
                        entries.push(route.entry(event, &body));
                    }
                    Err(error) => {
                        tally.errors += 1;
                        tally.last_error = Some(error);
                    }
                }
            }
        }
        let tallies = tallies
            .into_iter()
            .flat_map(|(name, tallies)| self.routes[name].routes.iter().zip(tallies))
            .map(|(route, tally)| (Arc::clone(&route.stats), tally))
            .collect();
        Dispatched { entries, tallies }
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
    /// What goes into the journal.
    pub entries: Vec<Entry>,
    tallies: Vec<(Arc<SubscriptionStats>, Tally)>,
}

impl Dispatched {
    /// Counts what was seen and matched. To be called when the journal has taken the entries; a
    /// refused body counts nowhere, since its sender comes again.
    pub fn count(self) {
        for (stats, tally) in self.tallies {
            stats.add(tally.seen, tally.matched, tally.errors);
            if let Some(error) = tally.last_error {
                stats.set_last_error(error.to_string());
            }
        }
    }
}
