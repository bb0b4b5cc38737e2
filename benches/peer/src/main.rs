//! Our filters beside the crate `cel` in one run: `cargo run --release` in `benches/peer`.
//!
//! Two figures for each expression, in nanoseconds per event, the median of interleaved rounds. *test*:
//! the expression on an event whose fields are ready, as slots with us and as a context made from the
//! parsed JSON with the peer; both are compiled once, before. *from text*: what has to be done for that
//! too, from the event's JSON to the answer: with us checking the envelope and extracting the fields
//! that the expression reads, with the peer `serde_json` and the context. The peer has no networks, so
//! that this expression has no figure there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a program for people")]

mod cases;

use std::hint::black_box;
use std::time::Instant;

use cel::{Context, Program, Value};
use sluicegate::event::{Catalog, Event, EventType, SlotPlan, Slots, Timestamp};
use sluicegate::filter::check;

const EVENTS: usize = 2_000;
const ROUNDS: usize = 11;

/// A way to test all events; it says how many match.
type Way<'w> = Box<dyn FnMut() -> usize + 'w>;

fn main() {
    let catalog = Catalog::builtin();
    let event_type = catalog.get(cases::TYPE).unwrap();
    let lines = cases::events(event_type, EVENTS);
    println!("{EVENTS} events, ns per event, median of {ROUNDS} interleaved rounds");
    println!("{:<16} {:>7} {:>9} {:>9} {:>12} {:>12}", "", "", "test", "", "from text", "");
    println!(
        "{:<16} {:>7} {:>9} {:>9} {:>12} {:>12}",
        "expression", "matches", "ours", "cel", "ours", "cel"
    );
    for (name, text) in cases::filters(&lines) {
        let mut ways = ours(&text, event_type, &lines);
        // An expression that the peer cannot run has its own ways only.
        ways.extend(peers(&text, &lines).into_iter().flatten());
        let (figures, matches) = measure(&mut ways);
        let shown = |at: usize| figures.get(at).map_or("–".to_owned(), u128::to_string);
        println!(
            "{name:<16} {matches:>7} {:>9} {:>9} {:>12} {:>12}",
            shown(0),
            shown(2),
            shown(1),
            shown(3)
        );
    }
}

/// The median time of each way per event, and how many events match; all ways must agree.
fn measure(ways: &mut [Way<'_>]) -> (Vec<u128>, usize) {
    let mut times = vec![Vec::new(); ways.len()];
    let mut matches = None;
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            let found = black_box(way());
            times.push(start.elapsed().as_nanos() / EVENTS as u128);
            assert_eq!(*matches.get_or_insert(found), found, "both engines say the same");
        }
    }
    let median = |mut times: Vec<u128>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    (times.into_iter().map(median).collect(), matches.unwrap_or(0))
}

fn ours<'w>(text: &str, event_type: &std::sync::Arc<EventType>, lines: &'w [String]) -> Vec<Way<'w>> {
    let filter = check(text, event_type).unwrap();
    let mut plan = SlotPlan::default();
    let program = filter.compile(&mut plan);
    let again = filter.compile(&mut plan);
    let events: Vec<Event<'w>> =
        lines.iter().map(|line| Event::parse(line, Timestamp::MIN, || 0).unwrap()).collect();
    // The events live as long as the program that measures.
    let events: &'w [Event<'w>] = Vec::leak(events);
    let filled: Vec<Slots<'w>> = events
        .iter()
        .map(|event| {
            let mut slots = Slots::new();
            plan.extract(event, &mut slots);
            slots
        })
        .collect();
    let test = move || filled.iter().filter(|slots| program.matches(slots) == Ok(true)).count();
    let from_text = move || {
        let passes = |line: &&String| {
            let event = Event::parse(line, Timestamp::MIN, || 0).unwrap();
            let mut slots = Slots::new();
            plan.extract(&event, &mut slots);
            again.matches(&slots) == Ok(true)
        };
        lines.iter().filter(passes).count()
    };
    vec![Box::new(test), Box::new(from_text)]
}

/// None if the peer cannot run the expression.
fn peers<'w>(text: &str, lines: &'w [String]) -> Option<Vec<Way<'w>>> {
    let program = Program::compile(text).ok()?;
    let again = Program::compile(text).ok()?;
    let contexts: Vec<Context<'_, '_>> = lines.iter().map(|line| context(line)).collect();
    if !matches!(program.execute(&contexts[0]), Ok(Value::Bool(_))) {
        return None;
    }
    let is_true = |result| matches!(result, Ok(Value::Bool(true)));
    let test = move || contexts.iter().filter(|it| is_true(program.execute(it))).count();
    let from_text =
        move || lines.iter().filter(|line| is_true(again.execute(&context(line)))).count();
    Some(vec![Box::new(test), Box::new(from_text)])
}

/// The event's object as the variable `ev`.
fn context(line: &str) -> Context<'static, 'static> {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let mut context = Context::default();
    context.add_variable("ev", &event["object"]).unwrap();
    context
}
