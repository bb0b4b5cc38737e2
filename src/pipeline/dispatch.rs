//! Dispatch: events with their slots in, records out, in one synchronous call.
//!
//! Route, filter, project, in that order and nowhere else; what the slots are to hold is said here, and
//! filled when an event is checked. A dispatcher is immutable: a change of the subscriptions makes a
//! new one, so that an event sees one set of them, whole. What has not changed is shared by both.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::block::{Block, WORK_PER_ROUTE, Wanted, blocks};
use super::projection::BEFORE_ID;
use super::stats::{Stats, SubscriptionStats};
use crate::budget::{Held, OverBudget};
use crate::event::{
    Catalog, Event, EventId, EventReader, Record, SlotPlan, Slots, Timestamp, string_value,
};
use crate::filter::{EvalError, Search};
use crate::journal::{Entry, Offer};
use crate::lock::lock;
use crate::resources::Resources;

/// What a record takes beside its body's bytes, until the journal has it: itself, its id, its place in
/// lists, and the head of its frame.
const RECORD_BYTES: usize = 384;

/// The journal's frame holds a body's bytes once more, until they are written.
const WRITTEN_ONCE_MORE: usize = 2;

/// Work that a match takes, and again as much as its record has bytes.
const WORK_PER_RECORD: u64 = 300;

/// The subscriptions, compiled.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    numbers: HashMap<String, TypeNumber>,
    types: Vec<TypeRoutes>,
    /// Those that are not reading, with what they learned of events: no more than have read at once.
    readers: Arc<Mutex<Vec<EventReader>>>,
}

/// The number of an event type in one dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeNumber(usize);

/// All that events of one type are asked for.
#[derive(Debug, Default)]
struct TypeRoutes {
    plan: SlotPlan,
    blocks: Vec<Arc<Block>>,
}

/// Bytes of bodies that share their memory, and of one body more. All of them are for the same destinations, so
/// that none is kept for long because of another.
const SHARED_BYTES: usize = 64 << 10;

/// What one route did with the events of one call.
#[derive(Debug, Default)]
struct Tally {
    bodies: Bodies,
    matched: u64,
    errors: u64,
    /// Units of work that its filter took.
    work: u64,
    last_error: Option<EvalError>,
}

/// The bodies of a route's records.
#[derive(Debug, Default)]
struct Bodies {
    /// Those that are done.
    done: Vec<Bytes>,
    /// Where others are being written.
    last: Vec<u8>,
}

/// A record whose body lies among those of its route still.
#[derive(Debug)]
struct Draft {
    /// The type, the block in it, and the route's tally.
    of: (TypeNumber, usize, usize),
    /// Which of the route's bodies, and where in them.
    bodies: usize,
    body: Range<usize>,
    id: DraftId,
    time: Timestamp,
    hops: u8,
}

/// The id of an event: it stands in the body, or is written otherwise there.
#[derive(Debug)]
enum DraftId {
    At(Range<usize>),
    Other(EventId),
}

/// What the routes of a block did with the events of one call: those that the index left something for.
#[derive(Debug, Default)]
struct BlockTally {
    /// By route, its place in the list and one more; empty before the first.
    places: Vec<u32>,
    routes: Vec<(usize, Tally)>,
}

/// What became of the events of one type in one call.
#[derive(Debug, Default)]
struct TypeTally {
    /// Events that have met all routes.
    events: u64,
    blocks: Vec<BlockTally>,
}

/// The dispatch of a body that has begun.
#[derive(Debug, Default)]
pub(super) struct Dispatching {
    drafts: Vec<Draft>,
    /// By the number of the event type.
    tallies: Vec<TypeTally>,
    /// The block and the route in it where the present event goes on.
    met: (usize, usize),
    search: Search,
    /// The hops that the present event has made.
    pub(super) hops: u8,
}

impl Dispatcher {
    /// Compiles the resources. Counters of subscriptions that were there before go on.
    #[must_use]
    pub fn new(resources: &Resources, stats: &Stats) -> Dispatcher {
        Dispatcher::after(None, resources, stats)
    }

    /// The same with all that can stay as it is in an earlier one.
    #[must_use]
    pub fn after(before: Option<&Dispatcher>, resources: &Resources, stats: &Stats) -> Dispatcher {
        let mut wanted: BTreeMap<&str, Vec<Wanted<'_>>> =
            resources.catalog.iter().map(|it| (it.name.as_str(), Vec::new())).collect();
        for subscription in resources.subscriptions().iter().filter(|it| it.enabled) {
            for source in &subscription.sources {
                let of_type = wanted.entry(&source.event_type.name).or_default();
                of_type.push(Wanted { subscription, source });
            }
        }
        let mut dispatcher = Dispatcher {
            catalog: resources.catalog.clone(),
            numbers: HashMap::new(),
            types: Vec::new(),
            readers: before.map(|it| Arc::clone(&it.readers)).unwrap_or_default(),
        };
        for (name, wanted) in wanted {
            let earlier = before.and_then(|it| Some(it.routes(it.type_of(name)?)));
            let mut plan = earlier.map(|it| it.plan.clone()).unwrap_or_default();
            let earlier = earlier.map_or(&[][..], |it| &it.blocks);
            let blocks = blocks(&wanted, (earlier, &mut plan), stats);
            dispatcher.numbers.insert(name.to_owned(), TypeNumber(dispatcher.types.len()));
            dispatcher.types.push(TypeRoutes { plan, blocks });
        }
        dispatcher
    }

    /// The event types that may come in.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The number of a type that may come in.
    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<TypeNumber> {
        self.numbers.get(name).copied()
    }

    /// A reader for a while, to be given back.
    pub(super) fn reader(&self) -> EventReader {
        lock(&self.readers).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, reader: EventReader) {
        lock(&self.readers).push(reader);
    }

    fn routes(&self, of: TypeNumber) -> &TypeRoutes {
        &self.types[of.0]
    }

    /// The work that an event makes at most if no filter has to be run, in units of about a nanosecond.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.types.iter().map(TypeRoutes::work).max().unwrap_or_default()
    }

    /// The slots that events of a type are to be read into, if any subscription takes them.
    #[must_use]
    pub fn plan_of(&self, of: TypeNumber) -> Option<&SlotPlan> {
        let of_type = self.routes(of);
        (!of_type.blocks.is_empty()).then_some(&of_type.plan)
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
        for (event, slots) in events {
            let Some(of) = self.type_of(&event.event_type) else { continue };
            let mut work = u64::MAX;
            self.dispatch_some((of, event, slots), &mut begun, &mut work, held)?;
        }
        Ok(self.finish(begun))
    }

    /// Matches one event against the subscriptions that it has not met yet, until `work` is used up, in
    /// units of about a nanosecond, of which there must be some. Tells whether it has met all; if not, it
    /// is to come again.
    ///
    /// # Errors
    /// When the records take more memory than their body may hold.
    pub(super) fn dispatch_some(
        &self,
        (of, event, of_object): (TypeNumber, &Event<'_>, &Slots<'_>),
        begun: &mut Dispatching,
        work: &mut u64,
        held: &Held,
    ) -> Result<bool, OverBudget> {
        let of_type = self.routes(of);
        if of_type.blocks.is_empty() {
            return Ok(true);
        }
        let Dispatching { drafts, tallies, met, search, hops } = begun;
        let with_envelope;
        let slots = if of_type.plan.has_envelope() {
            let mut slots = of_object.clone();
            of_type.plan.extract_envelope(event, &mut slots);
            with_envelope = slots;
            &with_envelope
        } else {
            of_object
        };
        let tallies = of_type.tallies(of, tallies);
        search.begin();
        let (first, mut from) = *met;
        for (at, block) in of_type.blocks.iter().enumerate().skip(first) {
            block.search(slots, search);
            for number in search.possible(from) {
                if *work == 0 {
                    *met = (at, number);
                    return Ok(false);
                }
                let route = &block.routes[number];
                let (matches, took) =
                    route.filter.as_ref().map_or((Ok(true), 0), |filter| filter.counted(slots));
                *work = work.saturating_sub(took + WORK_PER_ROUTE);
                let (place, tally) = tallies.blocks[at].of(number, block.routes.len());
                tally.work += took;
                match matches {
                    Ok(false) => {}
                    Ok(true) => {
                        tally.matched += 1;
                        let (bodies, body) =
                            tally.bodies.add(|out| route.projection.write(event, slots, out));
                        let bytes = body.len();
                        *work = work.saturating_sub(bytes as u64 + WORK_PER_RECORD);
                        held.grow(RECORD_BYTES + WRITTEN_ONCE_MORE * bytes)?;
                        let (id, time) = (DraftId::of(event, body.start), event.time);
                        drafts.push(Draft {
                            of: (of, at, place),
                            bodies,
                            body,
                            id,
                            time,
                            hops: *hops,
                        });
                    }
                    Err(error) => {
                        tally.errors += 1;
                        tally.last_error = Some(error);
                    }
                }
            }
            // Only now, so that a slice always comes further than the one before it.
            *work = work.saturating_sub(block.index.work());
            from = 0;
        }
        *met = (0, 0);
        tallies.events += 1;
        Ok(true)
    }

    /// What came of all events that were dispatched.
    pub(super) fn finish(&self, mut begun: Dispatching) -> Dispatched {
        let drafts = std::mem::take(&mut begun.drafts);
        let blocks = begun.tallies.iter_mut().flat_map(|of_type| &mut of_type.blocks);
        blocks.flat_map(|block| &mut block.routes).for_each(|(_, tally)| tally.bodies.end());
        let entries = drafts.into_iter().map(|draft| {
            let (of, block, place) = draft.of;
            let (route, tally) = &begun.tallies[of.0].blocks[block].routes[place];
            let destinations = &self.routes(of).blocks[block].routes[*route].destinations;
            let record = Arc::new(draft.record(&tally.bodies.done));
            Entry { record, destinations: Arc::clone(destinations) }
        });
        let mut dispatched = Dispatched {
            entries: entries.collect(),
            offers: Vec::new(),
            seen: Vec::new(),
            tallies: Vec::new(),
        };
        for (of_type, tally) in self.types.iter().zip(begun.tallies) {
            if tally.events == 0 {
                continue;
            }
            for (block, of_block) in of_type.blocks.iter().zip(tally.blocks) {
                let matched = of_block.routes.iter().map(|(route, it)| (*route, it.matched));
                dispatched.offers.extend(block.offers(tally.events, matched));
                dispatched.seen.push((Arc::clone(block), tally.events));
                let stats = |route: usize| Arc::clone(&block.routes[route].stats);
                let tallies = of_block.routes.into_iter();
                dispatched.tallies.extend(tallies.map(|(route, tally)| (stats(route), tally)));
            }
        }
        dispatched
    }
}

impl TypeRoutes {
    /// The tallies of this type among those of all.
    fn tallies<'t>(&self, of: TypeNumber, all: &'t mut Vec<TypeTally>) -> &'t mut TypeTally {
        if all.len() <= of.0 {
            all.resize_with(of.0 + 1, TypeTally::default);
        }
        let tallies = &mut all[of.0];
        if tallies.blocks.is_empty() {
            tallies.blocks.resize_with(self.blocks.len(), BlockTally::default);
        }
        tallies
    }

    fn work(&self) -> u64 {
        self.blocks.iter().map(|block| block.work()).sum()
    }
}

impl BlockTally {
    /// The tally of a route among so many, and its place.
    fn of(&mut self, route: usize, routes: usize) -> (usize, &mut Tally) {
        if self.places.is_empty() {
            self.places.resize(routes, 0);
        }
        if self.places[route] == 0 {
            self.routes.push((route, Tally::default()));
            self.places[route] = u32::try_from(self.routes.len()).unwrap_or(u32::MAX);
        }
        let place = self.places[route] as usize - 1;
        (place, &mut self.routes[place].1)
    }
}

impl Bodies {
    /// Has a body written, and tells among which it is and where.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (usize, Range<usize>) {
        if self.last.len() > SHARED_BYTES {
            self.end();
        }
        let start = self.last.len();
        write(&mut self.last);
        (self.done.len(), start..self.last.len())
    }

    fn end(&mut self) {
        if !self.last.is_empty() {
            let mut bodies = std::mem::take(&mut self.last);
            bodies.shrink_to_fit();
            self.done.push(bodies.into());
        }
    }
}

impl DraftId {
    /// The id of the event whose record begins there.
    fn of(event: &Event<'_>, start: usize) -> DraftId {
        match string_value(&event.event_id) {
            Some(Cow::Borrowed(id)) => {
                let start = start + BEFORE_ID;
                DraftId::At(start..start + id.len())
            }
            Some(Cow::Owned(id)) => DraftId::Other(id.into()),
            None => DraftId::Other("".into()),
        }
    }
}

impl Draft {
    fn record(self, bodies: &[Bytes]) -> Record {
        let bodies = &bodies[self.bodies];
        let event_id = match self.id {
            DraftId::At(at) => EventId::within(bodies, at),
            DraftId::Other(id) => id,
        };
        Record { event_id, time: self.time, body: bodies.slice(self.body), hops: self.hops }
    }
}

/// The records of one call, and what to count once they are kept.
#[derive(Debug)]
pub struct Dispatched {
    entries: Vec<Entry>,
    offers: Vec<Offer>,
    /// How many events all routes of a block have seen.
    seen: Vec<(Arc<Block>, u64)>,
    tallies: Vec<(Arc<SubscriptionStats>, Tally)>,
}

impl Dispatched {
    /// What goes into the journal, and what goes into the ledger with it.
    pub(super) fn take_records(&mut self) -> (Vec<Entry>, Vec<Offer>) {
        (std::mem::take(&mut self.entries), std::mem::take(&mut self.offers))
    }

    /// How many counters have something to count.
    pub(super) fn counters(&self) -> usize {
        self.tallies.len() + self.seen.len()
    }

    /// Counts what was seen and matched. To be called when the journal has taken the entries; a
    /// refused body counts nowhere, since its sender comes again.
    pub fn count(self) {
        for (block, events) in self.seen {
            block.count_seen(events);
        }
        for (stats, tally) in self.tallies {
            stats.add(tally.matched, (tally.errors, tally.work));
            if let Some(error) = tally.last_error {
                stats.set_last_error(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests;
