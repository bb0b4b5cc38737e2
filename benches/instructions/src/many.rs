//! How long many filters on one event take: `cargo run --release --locked --bin many` in `benches/instructions`.
//!
//! Nanoseconds per event, the least of several rounds, of the index with what it leaves to run, of the index alone,
//! of a loop over all programs, and of the crate `a-tree`, which must find the same; what extracting an event takes is
//! not counted. *random*: conjunctions of 2 to 4 predicates over 20 fields, each value any that an event has.
//! *rare*: the same with 4 to 6 predicates, of which few match. *account*: as random, each for one account of its own.
//! `many COUNT KIND` runs one row without the others, for counting its instructions: `valgrind --tool=callgrind`.
#![allow(dead_code, unused_imports, reason = "what other rooms use of these is not here")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

extern crate self as sluicegate;

#[path = "../../../src/event/mod.rs"]
mod event;
#[path = "../../../src/filter/mod.rs"]
mod filter;
#[path = "../../../src/generate/mod.rs"]
mod generate;
#[path = "../../../src/lock.rs"]
mod lock;
#[path = "../../../src/report/mod.rs"]
mod report;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use a_tree::{ATree, AttributeDefinition};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use event::{Catalog, Event, EventType, FieldType, Root, Slot, SlotPlan, Slots, Timestamp};
use filter::{Index, Program, Search, check};

#[path = "../../peer/src/cases.rs"]
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [count, kind] = arguments.as_slice() {
        let kind = KINDS.into_iter().find(|it| it.name() == kind).expect("random, rare or account");
        let set = Set::new(count.parse().unwrap(), kind, &values, event_type, &lines);
        println!("{} matches", set.indexed(&set.slots, &mut Search::default()));
        return;
    }
    println!("{EVENTS} events of {}, ns per event, least of {ROUNDS} rounds", cases::TYPE);
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>8} {:>9} {:>7}",
        "filters", "", "index", "search", "loop", "a-tree", "run", "matches", "bytes"
    );
    let mut counts = vec![(10, Kind::Random), (100, Kind::Random), (1_000, Kind::Random)];
    counts.push((10_000, Kind::Random));
    counts.extend([10, 100, 1_000, 10_000].map(|count| (count, Kind::Rare)));
    counts.push((10_000, Kind::Account));
    for (count, kind) in counts {
        let set = Set::new(count, kind, &values, event_type, &lines);
        let [index, search, all, tree] = measure(&set);
        println!(
            "{count:>8} {:>8} {index:>8} {search:>8} {all:>10} {tree:>10} {:>8.1} {:>9.2} {:>7}",
            kind.name(),
            set.left() as f64 / EVENTS as f64,
            set.indexed(&set.slots, &mut Search::default()) as f64 / EVENTS as f64,
            set.index.bytes() / count,
        );
    }
}

/// What filters are made of.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Random,
    Rare,
    Account,
}

const KINDS: [Kind; 3] = [Kind::Random, Kind::Rare, Kind::Account];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Random => "random",
            Kind::Rare => "rare",
            Kind::Account => "account",
        }
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

    /// A filter, as we and as the peer write it.
    fn filter(&self, random: &mut StdRng, kind: Kind, number: usize) -> (String, String) {
        let count = match kind {
            Kind::Random => random.random_range(2..=4),
            Kind::Rare => random.random_range(4..=6),
            Kind::Account => random.random_range(1..=3),
        };
        let chosen: Vec<usize> = rand::seq::index::sample(random, self.0.len(), count).into_vec();
        let account = (kind == Kind::Account).then(|| {
            (format!("event.account_id == 'ac_{number}'"), format!("account = 'ac_{number}'"))
        });
        let terms = chosen.into_iter().map(|at| {
            let (name, of_type, values) = &self.0[at];
            let how = random.random_range(0..4);
            let mut value = || values.choose(random).expect("there are values");
            match (of_type, how) {
                (FieldType::Bool, _) => (format!("ev.{name}"), format!("f{at}")),
                (FieldType::String, 0) => {
                    let list = format!("[{}, {}, {}]", value(), value(), value());
                    (format!("ev.{name} in {list}"), format!("f{at} in {list}"))
                }
                (FieldType::String, _) => {
                    let value = value();
                    (format!("ev.{name} == {value}"), format!("f{at} = {value}"))
                }
                (_, 0 | 1) => {
                    let value = value();
                    (format!("ev.{name} >= {value}"), format!("f{at} >= {value}"))
                }
                _ => {
                    let value = value();
                    (format!("ev.{name} < {value}"), format!("f{at} < {value}"))
                }
            }
        });
        let (ours, theirs): (Vec<_>, Vec<_>) = account.into_iter().chain(terms).unzip();
        (ours.join(" && "), theirs.join(" and "))
    }

    /// The fields as the peer has them.
    fn attributes(&self) -> Vec<AttributeDefinition> {
        let fields = self.0.iter().enumerate().map(|(at, (_, of_type, _))| match of_type {
            FieldType::Bool => AttributeDefinition::boolean(&format!("f{at}")),
            FieldType::Int => AttributeDefinition::integer(&format!("f{at}")),
            FieldType::String => AttributeDefinition::string(&format!("f{at}")),
            _ => panic!("the peer is given no such field"),
        });
        fields.chain([AttributeDefinition::string("account")]).collect()
    }

    /// An event as the peer has it: what is absent is its type's zero, as it is with us.
    fn event(&self, line: &str, tree: &ATree<usize>) -> a_tree::Event {
        let event = Event::parse(line, Timestamp::MIN, || 0).unwrap();
        let mut made = tree.make_event();
        for (at, (name, of_type, _)) in self.0.iter().enumerate() {
            let name = name.split('.').collect::<Vec<_>>();
            let mut plan = SlotPlan::default();
            plan.slot(Root::Object, &name);
            let mut slots = Slots::new();
            plan.extract(&event, &mut slots);
            let json = match slots[0] {
                Slot::Json(json) if json != "null" => Some(json),
                _ => None,
            };
            let name = format!("f{at}");
            match of_type {
                FieldType::Bool => made.with_boolean(&name, json == Some("true")),
                FieldType::Int => made.with_integer(&name, json.map_or(0, |it| it.parse().unwrap())),
                _ => made.with_string(&name, json.map_or("", |it| it.trim_matches('"'))),
            }
            .unwrap();
        }
        let account = event.account_id.unwrap().trim_matches('"').to_owned();
        made.with_string("account", &account).unwrap();
        made.build().unwrap()
    }
}

/// Filters with their index, and the events' slots.
struct Set {
    programs: Vec<Program>,
    index: Index,
    slots: Vec<Slots<'static>>,
    /// The peer's index, and its events.
    tree: ATree<usize>,
    events: Vec<a_tree::Event>,
}

impl Set {
    fn new(
        count: usize,
        kind: Kind,
        values: &Values,
        event_type: &std::sync::Arc<EventType>,
        lines: &[String],
    ) -> Set {
        let mut random = StdRng::seed_from_u64(2);
        let mut plan = SlotPlan::default();
        let texts: Vec<(String, String)> =
            (0..count).map(|number| values.filter(&mut random, kind, number)).collect();
        let program = |text: &String| check(text, event_type).unwrap().compile(&mut plan);
        let programs: Vec<Program> = texts.iter().map(|(ours, _)| ours).map(program).collect();
        let mut tree = ATree::new(&values.attributes()).unwrap();
        for (number, (_, theirs)) in texts.iter().enumerate() {
            tree.insert(&number, theirs).unwrap();
        }
        let events = lines.iter().map(|line| values.event(line, &tree)).collect();
        let slots = |line: &String| {
            // The events live as long as the program that measures.
            let line = Box::leak(line.clone().into_boxed_str());
            let event = Box::leak(Box::new(Event::parse(line, Timestamp::MIN, || 0).unwrap()));
            let mut slots = Slots::new();
            plan.extract(event, &mut slots);
            slots
        };
        let slots = lines.iter().map(slots).collect();
        Set { index: Index::new(programs.iter().map(Some)), programs, slots, tree, events }
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

/// Nanoseconds per event by the index with what it leaves, by the index alone, by a loop, and by the peer. All but
/// the second must find the same.
fn measure(set: &Set) -> [u128; 4] {
    // A loop over ten thousand takes long, and each event takes about as long as another.
    let few = EVENTS.min(400_000 / set.programs.len());
    let looped = &set.slots[..few];
    let mut search = Search::default();
    let found = set.indexed(looped, &mut search);
    assert_eq!(found, set.looped(looped), "both find the same");
    let peer = |events: &[a_tree::Event]| -> usize {
        events.iter().map(|event| set.tree.search(event).unwrap().matches().len()).sum()
    };
    assert_eq!(found, peer(&set.events[..few]), "and so does the peer");
    let index = least(&set.slots, 20, |events| set.indexed(events, &mut search));
    let alone = least(&set.slots, 20, |events| {
        let of_event = |slots: &Slots<'_>| {
            search.begin();
            set.index.search(slots, &mut search);
            search.possible(0).count()
        };
        events.iter().map(of_event).sum()
    });
    let all = least(looped, (1_000 / set.programs.len()).max(1), |events| set.looped(events));
    let tree = least(&set.events[..few], 1, peer);
    [index, alone, all, tree]
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
