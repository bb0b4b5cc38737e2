//! How long many filters on one event take: `cargo bench --bench many`.
//!
//! Nanoseconds per event, the least of several rounds, of the index with what it leaves to run and
//! of a loop over all programs, which must find the same; what extracting an event takes is not counted.
//! *random*: conjunctions of 2 to 4 predicates over 20 fields, each value any that an event has.
//! *account*: the same, each for one account of its own. `many COUNT KIND` runs one row without the loop,
//! for counting its instructions: `valgrind --tool=callgrind`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use sluicegate::event::{
    Catalog, Event, EventType, FieldType, Root, Slot, SlotPlan, Slots, Timestamp,
};
use sluicegate::filter::{Index, Program, Search, check};

#[path = "peer/src/cases.rs"]
#[expect(dead_code, reason = "its filters are measured one by one elsewhere")]
mod cases;

const EVENTS: usize = 2_000;
const ROUNDS: usize = 9;
const ACCOUNTS: usize = 10_000;

/// The fields that filters are about.
const FIELDS: [&str; 20] = [
    "backend.connection_reused",
    "basic_auth.decision",
    "circuit_breaker.decision",
    "compression.algorithm",
    "compression.bytes_saved",
    "conn.client_ip",
    "conn.server_ip",
    "conn.server_name",
    "conn.server_port",
    "http.request.body_length",
    "http.request.method",
    "http.request.url.host",
    "http.request.url.path",
    "http.request.user_agent",
    "http.response.body_length",
    "http.response.status_code",
    "ip_policy.decision",
    "ja4_fingerprint",
    "tls.cipher_suite",
    "tls.version",
];

fn main() {
    let catalog = Catalog::builtin();
    let event_type = catalog.get(cases::TYPE).unwrap();
    let lines = lines(event_type);
    let values = Values::of(event_type, &lines);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [count, kind] = arguments.as_slice() {
        let set = Set::new(count.parse().unwrap(), kind == "account", &values, event_type, &lines);
        println!("{} matches", set.indexed(&set.slots, &mut Search::default()));
        return;
    }
    println!("{EVENTS} events of {}, ns per event, least of {ROUNDS} rounds", cases::TYPE);
    println!(
        "{:>8} {:>8} {:>8} {:>10} {:>8} {:>9} {:>9}",
        "filters", "", "index", "loop", "run", "matches", "bytes"
    );
    for (count, by_account) in
        [(1, false), (10, false), (100, false), (1_000, false), (10_000, false), (10_000, true)]
    {
        let set = Set::new(count, by_account, &values, event_type, &lines);
        let (index, all) = measure(&set);
        println!(
            "{count:>8} {:>8} {index:>8} {all:>10} {:>8.1} {:>9.2} {:>9}",
            if by_account { "account" } else { "random" },
            set.left() as f64 / EVENTS as f64,
            set.indexed(&set.slots, &mut Search::default()) as f64 / EVENTS as f64,
            set.index.bytes() / count,
        );
    }
}

/// Generated events, each of some account.
fn lines(event_type: &std::sync::Arc<EventType>) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(1);
    let mut line = |line: String| {
        let account = random.random_range(0..ACCOUNTS);
        line.replacen("{", &format!("{{\"account_id\":\"ac_{account}\","), 1)
    };
    cases::events(event_type, EVENTS).into_iter().map(&mut line).collect()
}

/// What the events have in each field, as JSON.
struct Values(Vec<(&'static str, FieldType, Vec<String>)>);

impl Values {
    fn of(event_type: &EventType, lines: &[String]) -> Values {
        let known = |name: &&&str| event_type.fields.iter().any(|field| field.name == ***name);
        let fields = FIELDS.iter().filter(known).map(|name| {
            let field = event_type.fields.iter().find(|field| field.name == *name).unwrap();
            let mut plan = SlotPlan::default();
            plan.slot(Root::Object, &name.split('.').collect::<Vec<_>>());
            let value = |line: &String| {
                let event = Event::parse(line, Timestamp::MIN, || 0).unwrap();
                let mut slots = Slots::new();
                plan.extract(&event, &mut slots);
                match slots[0] {
                    Slot::Json(json) if json != "null" => Some(json.to_owned()),
                    _ => None,
                }
            };
            let values: BTreeSet<String> = lines.iter().filter_map(value).collect();
            (*name, field.field_type.clone(), values.into_iter().collect::<Vec<_>>())
        });
        Values(fields.filter(|(_, _, values)| !values.is_empty()).collect())
    }

    fn filter(&self, random: &mut StdRng, account: Option<usize>) -> String {
        let count = random.random_range(2..=4) - usize::from(account.is_some());
        let chosen: Vec<_> = self.0.sample(random, count).collect();
        let account = account.map(|account| format!("event.account_id == 'ac_{account}'"));
        let terms = chosen.into_iter().map(|(name, of_type, values)| {
            let how = random.random_range(0..4);
            let mut value = || values.choose(random).expect("there are values");
            match (of_type, how) {
                (FieldType::Bool, _) => format!("ev.{name}"),
                (FieldType::String, 0) => {
                    format!("ev.{name} in [{}, {}, {}]", value(), value(), value())
                }
                (FieldType::String, _) => format!("ev.{name} == {}", value()),
                (_, 0 | 1) => format!("ev.{name} >= {}", value()),
                _ => format!("ev.{name} < {}", value()),
            }
        });
        account.into_iter().chain(terms).collect::<Vec<_>>().join(" && ")
    }
}

/// Filters with their index, and the events' slots.
struct Set {
    programs: Vec<Program>,
    index: Index,
    slots: Vec<Slots<'static>>,
}

impl Set {
    fn new(
        count: usize,
        by_account: bool,
        values: &Values,
        event_type: &std::sync::Arc<EventType>,
        lines: &[String],
    ) -> Set {
        let mut random = StdRng::seed_from_u64(2);
        let mut plan = SlotPlan::default();
        let programs: Vec<Program> = (0..count)
            .map(|number| values.filter(&mut random, by_account.then_some(number)))
            .map(|text| check(&text, event_type).unwrap().compile(&mut plan))
            .collect();
        let slots = |line: &String| {
            // The events live as long as the program that measures.
            let line = Box::leak(line.clone().into_boxed_str());
            let event = Box::leak(Box::new(Event::parse(line, Timestamp::MIN, || 0).unwrap()));
            let mut slots = Slots::new();
            plan.extract(event, &mut slots);
            slots
        };
        let slots = lines.iter().map(slots).collect();
        Set { index: Index::new(programs.iter().map(Some)), programs, slots }
    }

    /// How many programs match the events, by the index.
    fn indexed(&self, events: &[Slots<'_>], search: &mut Search) -> usize {
        let of_event = |slots: &Slots<'_>| {
            search.begin();
            self.index.search(slots, search);
            let matches = |at: &usize| self.programs[*at].matches(slots) == Ok(true);
            search.possible(0).filter(matches).count()
        };
        events.iter().map(of_event).sum()
    }

    /// How many programs the index leaves to run.
    fn left(&self) -> usize {
        let mut search = Search::default();
        let of_event = |slots: &Slots<'_>| {
            search.begin();
            self.index.search(slots, &mut search);
            search.possible(0).count()
        };
        self.slots.iter().map(of_event).sum()
    }

    fn looped(&self, events: &[Slots<'_>]) -> usize {
        let of_event = |slots: &Slots<'_>| {
            self.programs.iter().filter(|it| it.matches(slots) == Ok(true)).count()
        };
        events.iter().map(of_event).sum()
    }
}

/// Nanoseconds per event by the index and by a loop, which must find the same.
fn measure(set: &Set) -> (u128, u128) {
    // A loop over ten thousand takes long, and each event takes about as long as another.
    let looped = &set.slots[..EVENTS.min(400_000 / set.programs.len())];
    let mut search = Search::default();
    assert_eq!(set.indexed(looped, &mut search), set.looped(looped), "both find the same");
    let index = least(&set.slots, 20, |events| set.indexed(events, &mut search));
    let all = least(looped, (1_000 / set.programs.len()).max(1), |events| set.looped(events));
    (index, all)
}

/// The nanoseconds per event, each few at a time, of which the least of several rounds counts: other work
/// on the machine interrupts most rounds of something longer.
fn least<S>(events: &[S], at_once: usize, mut test: impl FnMut(&[S]) -> usize) -> u128 {
    let mut least = vec![u128::MAX; events.len().div_ceil(at_once)];
    for _ in 0..ROUNDS {
        for (events, least) in events.chunks(at_once).zip(&mut least) {
            let start = Instant::now();
            black_box(test(black_box(events)));
            *least = start.elapsed().as_nanos().min(*least);
        }
    }
    least.iter().sum::<u128>() / events.len() as u128
}
