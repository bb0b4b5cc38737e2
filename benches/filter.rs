//! How long filters take, an event at a time: `cargo bench --bench filter`.
//!
//! For each expression three figures, in nanoseconds per event, the least of several rounds: to take
//! the fields out of the event (`extract`), to test them (`filter`), and both. The floor of the first
//! is a hand-written test on the same fields.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sluicegate::event::{Catalog, Event, EventType, Root, Slot, SlotPlan, Slots, Timestamp};
use sluicegate::filter::{CheckedFilter, check};

#[path = "peer/src/cases.rs"]
mod cases;

const EVENTS: usize = 10_000;
const ROUNDS: usize = 7;

/// The fields of a projection.
const P8: [&str; 8] = [
    "conn.client_ip",
    "conn.server_name",
    "conn.start_ts",
    "http.request.method",
    "http.request.url.path",
    "http.request.user_agent",
    "http.response.status_code",
    "tls.version",
];

fn main() {
    let catalog = Catalog::builtin();
    let event_type = catalog.get(cases::TYPE).unwrap();
    let lines = cases::events(event_type, EVENTS);
    let events: Vec<Event<'_>> =
        lines.iter().map(|line| Event::parse(line, Timestamp::MIN, || 0).unwrap()).collect();
    println!("{EVENTS} events of {}, ns per event, least of {ROUNDS} rounds", cases::TYPE);
    println!("{:>8} {:>8} {:>8} {:>8}  expression", "extract", "filter", "both", "matches");
    for (name, text) in cases::filters(&lines) {
        let filter = check(&text, event_type).unwrap();
        measure(name, &filter, &events);
    }
    floor(&events);
    projection(event_type, &events);
}

/// The least time of several rounds, in nanoseconds per event.
fn least(mut round: impl FnMut()) -> u128 {
    let once = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    let least = (0..ROUNDS).map(once).min().unwrap_or(Duration::ZERO);
    least.as_nanos() / EVENTS as u128
}

fn measure(name: &str, filter: &CheckedFilter, events: &[Event<'_>]) {
    let mut plan = SlotPlan::default();
    let program = filter.compile(&mut plan);
    let extract = extraction(&plan, events);
    let filled = filled(&plan, events);
    let mut matches = 0;
    let test = least(|| {
        matches = filled.iter().filter(|slots| program.matches(slots) == Ok(true)).count();
    });
    let both = least(|| {
        let mut slots = Slots::new();
        for event in events {
            plan.extract(event, &mut slots);
            black_box(program.matches(&slots)).ok();
        }
    });
    println!("{extract:>8} {test:>8} {both:>8} {matches:>8}  {name}");
}

fn extraction(plan: &SlotPlan, events: &[Event<'_>]) -> u128 {
    least(|| {
        let mut slots = Slots::new();
        for event in events {
            plan.extract(event, &mut slots);
            black_box(slots.len());
        }
    })
}

fn filled<'e>(plan: &SlotPlan, events: &'e [Event<'e>]) -> Vec<Slots<'e>> {
    let fill = |event| {
        let mut slots = Slots::new();
        plan.extract(event, &mut slots);
        slots
    };
    events.iter().map(fill).collect()
}

/// *status or path* by hand: what no filter language can be faster than.
fn floor(events: &[Event<'_>]) {
    let mut plan = SlotPlan::default();
    let mut slot = |path: &[&str]| plan.slot(Root::Object, path).index();
    let status = slot(&["http", "response", "status_code"]);
    let method = slot(&["http", "request", "method"]);
    let path = slot(&["http", "request", "url", "path"]);
    let filled = filled(&plan, events);
    let mut matches = 0;
    let test = least(|| {
        let passes = |slots: &&Slots<'_>| {
            let (Slot::Json(status), Slot::Json(method), Slot::Json(path)) =
                (slots[status], slots[method], slots[path])
            else {
                return false;
            };
            status.parse().is_ok_and(|status: i64| status >= 500)
                || (method == "\"post\"" && path.starts_with("\"/api/"))
        };
        matches = filled.iter().filter(passes).count();
    });
    println!("{:>8} {test:>8} {:>8} {matches:>8}  the first by hand", "", "");
}

/// The fields of a projection, taken out.
fn projection(event_type: &EventType, events: &[Event<'_>]) {
    let mut plan = SlotPlan::default();
    for name in P8 {
        assert!(event_type.fields.iter().any(|field| field.name == name), "{name}");
        plan.slot(Root::Object, &name.split('.').collect::<Vec<_>>());
    }
    let extract = extraction(&plan, events);
    println!("{extract:>8} {:>8} {:>8} {:>8}  {}", "", "", "", P8.join(", "));
}
