//! A dispatcher and what it counts, beside a plain loop over all subscriptions.

use proptest::prelude::*;

use super::*;
use crate::budget::Budget;
use crate::event::{Timestamp, read_event};
use crate::pipeline::stats::SubscriptionCounts;
use crate::resources::{BatchSettings, Destination, Overflow, ResourceId, Source, Subscription};
use crate::sinks::{DEFAULT_TIMEOUT, DebugTarget, Target};

const TYPES: [&str; 2] = ["http_request_complete.v0", "tcp_connection_closed.v0"];

fn id(text: &str) -> ResourceId {
    ResourceId::new(text).unwrap()
}

fn destination(name: &str) -> Destination {
    let target = DebugTarget::new(Some(true), None).unwrap();
    let target = Target::Debug(target);
    Destination {
        enabled: true,
        id: id(name),
        description: String::new(),
        batch: BatchSettings::new(&target, None, None, None).unwrap(),
        target,
        overflow: Overflow::Block,
        max_pending_bytes: None,
        timeout: DEFAULT_TIMEOUT,
        format: crate::sinks::Format::Json,
        bounds: None,
    }
}

/// A subscription from numbers: what it asks for, and where it sends.
fn subscription(number: usize, seed: u64) -> Arc<Subscription> {
    let of = |what: u64, count: u64| (seed >> what) % count;
    let filters = [
        format!("ev.conn.client_ip == 'a{}'", of(0, 9)),
        format!("ev.conn.client_ip == 'a{}' && ev.conn.server_port > {}", of(3, 9), of(5, 9)),
        "ev.conn.client_ip.matches('[13579]$')".to_owned(),
        "10 / ev.conn.server_port > 1".to_owned(),
        format!("ev.conn.server_port in [{}, {}]", of(7, 9), of(9, 9)),
    ];
    let source = |event_type, what| {
        let filter = filters.get((seed >> what) as usize % 6).map(String::as_str);
        Source::new(&Catalog::builtin(), event_type, filter, None).unwrap()
    };
    let mut sources = vec![source(TYPES[0], 11)];
    if of(13, 3) == 0 {
        sources.push(source(TYPES[1], 15));
    }
    let destinations = ["one", "two", "three"].iter().skip(of(17, 3) as usize);
    Arc::new(Subscription {
        enabled: true,
        id: id(&format!("sub{number}")),
        description: String::new(),
        sources,
        destinations: destinations.map(|name| id(name)).collect(),
    })
}

fn event(seed: u64) -> String {
    let of = |what: u64, count: u64| (seed >> what) % count;
    let port = [String::from("\"x\""), of(0, 9).to_string()][usize::from(of(4, 8) > 0)].clone();
    format!(
        r#"{{"event_id":"ev_1","event_type":"{}","object":{{"conn":{{"client_ip":"a{}","server_port":{port}}}}}}}"#,
        TYPES[of(7, 2) as usize],
        of(9, 10),
    )
}

/// What a loop over everything finds.
#[derive(Default)]
struct Plain {
    counts: BTreeMap<String, (u64, u64, u64)>,
    offers: BTreeMap<String, (u64, u64)>,
    records: Vec<Vec<String>>,
}

impl Plain {
    fn dispatch(&mut self, subscriptions: &[Arc<Subscription>], text: &str) {
        for subscription in subscriptions {
            for source in &subscription.sources {
                let mut plan = SlotPlan::default();
                let filter = source.filter.as_ref().map(|filter| filter.compile(&mut plan));
                let read = read_event(text, Timestamp::MIN, || 0, |_| Some(&plan));
                let (event, slots) = read.unwrap();
                if event.event_type != source.event_type.name {
                    continue;
                }
                let result = filter.map_or(Ok(true), |filter| filter.matches(&slots));
                let counts = self.counts.entry(subscription.id.to_string()).or_default();
                counts.0 += 1;
                counts.1 += u64::from(result == Ok(true));
                counts.2 += u64::from(result.is_err());
                for destination in &subscription.destinations {
                    let offer = self.offers.entry(destination.to_string()).or_default();
                    offer.0 += 1;
                    offer.1 += u64::from(result != Ok(true));
                }
                if result == Ok(true) {
                    let names = subscription.destinations.iter().map(ResourceId::to_string);
                    self.records.push(names.collect());
                }
            }
        }
    }
}

fn resources(subscriptions: &[Arc<Subscription>]) -> Resources {
    let mut resources = Resources::new(Catalog::builtin());
    for name in ["one", "two", "three"] {
        resources.add_destination(destination(name)).unwrap();
    }
    for subscription in subscriptions {
        resources.add_subscription(Arc::clone(subscription)).unwrap();
    }
    resources
}

fn dispatch(dispatcher: &Dispatcher, texts: &[String], slice: u64) -> Dispatched {
    let held = Budget::unbounded().hold();
    let mut begun = Dispatching::default();
    for text in texts {
        let plan_of = |name: &str| dispatcher.plan_of(dispatcher.type_of(name)?);
        let (event, slots) = read_event(text, Timestamp::MIN, || 0, plan_of).unwrap();
        let of = dispatcher.type_of(&event.event_type).unwrap();
        let mut work = slice;
        while !dispatcher.dispatch_some((of, &event, &slots), &mut begun, &mut work, &held).unwrap()
        {
            work = slice;
        }
    }
    dispatcher.finish(begun)
}

fn check(dispatched: Dispatched, plain: &mut Plain) {
    let mut dispatched = dispatched;
    let (entries, offers) = dispatched.take_records();
    let names = |entry: &Entry| entry.destinations.iter().map(ResourceId::to_string).collect();
    // Which of an event's records comes first is not said.
    let mut records: Vec<Vec<String>> = entries.iter().map(names).collect();
    records.sort();
    plain.records.sort();
    assert_eq!(records, plain.records);
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for offer in offers {
        let sum = sums.entry(offer.destination.to_string()).or_default();
        *sum = (sum.0 + offer.accepted, sum.1 + offer.filtered_out);
    }
    assert_eq!(sums, plain.offers);
    dispatched.count();
    plain.records.clear();
    plain.offers.clear();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_finds_and_counts_what_a_plain_loop_does_through_every_change(
        first in proptest::collection::vec(any::<u64>(), 1..30),
        changes in proptest::collection::vec((any::<u64>(), 0..60usize), 0..12),
        events in proptest::collection::vec(any::<u64>(), 1..12),
        slice in prop_oneof![Just(1u64), Just(300), Just(u64::MAX)],
    ) {
        let stats = Stats::default();
        let mut all: Vec<Arc<Subscription>> =
            first.iter().enumerate().map(|(number, seed)| subscription(number, *seed)).collect();
        let mut plain = Plain::default();
        let mut dispatcher = Dispatcher::new(&resources(&all), &stats);
        let texts: Vec<String> = events.into_iter().map(event).collect();
        for (seed, at) in [(0, usize::MAX)].into_iter().chain(changes) {
            match all.iter().position(|it| it.id == id(&format!("sub{at}"))) {
                Some(place) if seed % 3 == 0 => {
                    let gone = all.remove(place);
                    plain.counts.remove(gone.id.as_str());
                }
                Some(place) => all[place] = subscription(at, seed),
                None if at < 60 => all.push(subscription(at, seed)),
                None => {}
            }
            let ids: Vec<ResourceId> = all.iter().map(|it| it.id.clone()).collect();
            dispatcher = Dispatcher::after(Some(&dispatcher), &resources(&all), &stats);
            stats.keep_only(&ids);
            texts.iter().for_each(|text| plain.dispatch(&all, text));
            check(dispatch(&dispatcher, &texts, slice), &mut plain);
            for id in &ids {
                let SubscriptionCounts { seen, matched, filter_errors, .. } =
                    stats.subscription(id).counts();
                let expected = plain.counts.get(id.as_str()).copied().unwrap_or_default();
                prop_assert_eq!((seen, matched, filter_errors), expected, "{}", id);
            }
        }
    }
}

/// A subscription of which nothing counts but that it is another one.
fn named(number: usize, filter: &str) -> Arc<Subscription> {
    let source = Source::new(&Catalog::builtin(), TYPES[0], Some(filter), None).unwrap();
    Arc::new(Subscription {
        enabled: true,
        id: id(&format!("sub{number:05}")),
        description: String::new(),
        sources: vec![source],
        destinations: vec![id("one")],
    })
}

fn blocks(dispatcher: &Dispatcher) -> &[Arc<Block>] {
    &dispatcher.routes(dispatcher.type_of(TYPES[0]).unwrap()).blocks
}

/// How many routes the second has compiled that the first had not, and how many it has indexed anew.
fn made_anew(first: &Dispatcher, second: &Dispatcher) -> (usize, usize) {
    let routes = |of: &[Arc<Block>]| -> Vec<_> {
        of.iter().flat_map(|it| it.routes.iter().map(Arc::as_ptr)).collect()
    };
    let known: std::collections::HashSet<_> = routes(blocks(first)).into_iter().collect();
    let compiled = routes(blocks(second)).iter().filter(|it| !known.contains(*it)).count();
    let is_indexed =
        |it: &&Arc<Block>| !blocks(first).iter().any(|old| Arc::ptr_eq(&old.index, &it.index));
    let indexed = blocks(second).iter().filter(is_indexed);
    (compiled, indexed.map(|it| it.routes.len()).sum())
}

#[test]
fn a_change_of_one_subscription_among_thousands_compiles_one_and_indexes_few_anew() {
    let stats = Stats::default();
    let mut all: Vec<_> =
        (0..9_000).map(|number| named(number, "ev.conn.server_port == 1")).collect();
    let first = Dispatcher::new(&resources(&all), &stats);
    assert_eq!(blocks(&first).len(), 3);
    all[4_500] = named(4_500, "ev.conn.server_port == 2");
    let second = Dispatcher::after(Some(&first), &resources(&all), &stats);
    assert_eq!(made_anew(&first, &second), (1, 1));
    all.push(named(9_000, "ev.conn.server_port == 3"));
    let third = Dispatcher::after(Some(&second), &resources(&all), &stats);
    assert_eq!(made_anew(&second, &third), (1, 2));
    all.remove(0);
    let fourth = Dispatcher::after(Some(&third), &resources(&all), &stats);
    assert_eq!(made_anew(&third, &fourth), (0, 0));
    let fifth = Dispatcher::after(Some(&fourth), &resources(&all), &stats);
    let same = blocks(&fourth).iter().zip(blocks(&fifth)).all(|(a, b)| Arc::ptr_eq(a, b));
    assert!(same && blocks(&fourth).len() == 4, "nothing changed");
}

#[test]
fn however_many_changes_there_are_blocks_stay_few_and_little_is_indexed_anew() {
    let stats = Stats::default();
    let mut all: Vec<_> =
        (0..700).map(|number| named(number, "ev.conn.server_port == 1")).collect();
    let mut dispatcher = Dispatcher::new(&resources(&all), &stats);
    let (mut indexed, mut most) = (0, 0);
    const CHANGES: usize = 240;
    for change in 0..CHANGES {
        match change % 3 {
            0 => all.push(named(700 + change, "ev.conn.server_port == 2")),
            1 => all[change * 7 % 400] = named(change * 7 % 400, "ev.conn.server_port == 3"),
            _ => drop(all.remove(500)),
        }
        let after = Dispatcher::after(Some(&dispatcher), &resources(&all), &stats);
        let (compiled, anew) = made_anew(&dispatcher, &after);
        assert!(compiled <= 1, "{compiled} compiled anew");
        indexed += anew;
        most = most.max(blocks(&after).len());
        dispatcher = after;
    }
    assert!(indexed / CHANGES < 2 * 256, "{} a change", indexed / CHANGES);
    assert!(most <= 6, "{most} blocks");
    let routes =
        blocks(&dispatcher).iter().map(|block| block.offers(1, [].into_iter())[0].accepted);
    assert_eq!(routes.sum::<u64>(), all.len() as u64);
}
