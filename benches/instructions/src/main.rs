//! The work on one event from the body's bytes to its record, over and over, for `benches/instructions.sh`.
//!
//! `sluicegate-instructions STEP ROUNDS` goes so often over 2,000 generated events. It measures nothing by
//! itself and has nothing of its own: the rooms are the daemon's files.
#![allow(dead_code, unused_imports, reason = "what other rooms use of these is not here")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

#[path = "../../../src/event/mod.rs"]
mod event;
#[path = "../../../src/filter/mod.rs"]
mod filter;
#[path = "../../../src/generate/mod.rs"]
mod generate;
#[path = "../../../src/lock.rs"]
mod lock;
#[path = "../../../src/pipeline/projection.rs"]
mod projection;
#[path = "../../../src/report/mod.rs"]
mod report;

use std::hint::black_box;

use bytes::Bytes;
use event::{Catalog, EventReader, Framed, Framing, SlotPlan, Slots, Timestamp};
use projection::Projection;

const TYPE: &str = "http_request_complete.v0";
const EVENTS: usize = 2_000;

const F1: &str = r#"ev.http.response.status_code >= 500 || (ev.http.request.method == "post" && ev.http.request.url.path.startsWith("/api/"))"#;

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
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().expect("a step: split, read, filter or project");
    let rounds: usize =
        arguments.next().and_then(|it| it.parse().ok()).expect("how often to go over all events");
    let catalog = Catalog::builtin();
    let event_type = catalog.get(TYPE).expect("it is built in");
    let start = Timestamp::parse("2025-09-04T10:00:00Z").expect("it is a timestamp");
    let events: Vec<String> = generate::Generator::new(event_type, 1, start).take(EVENTS).collect();
    let body = Bytes::from(events.join("\n"));

    let mut plan = SlotPlan::default();
    let program = filter::check(F1, event_type).expect("it is good").compile(&mut plan);
    let fields: Vec<String> = P8.map(str::to_owned).to_vec();
    let fields = (step == "project").then_some(fields);
    let projection = Projection::compile(fields.as_deref().or(Some(&[])), &mut plan);

    let (mut reader, mut record) = (EventReader::default(), Vec::new());
    let (mut seen, mut matched) = (0usize, 0usize);
    for _ in 0..rounds {
        let framed = Framed::of(body.clone(), Framing::Ndjson).expect("they are few enough");
        let mut slots = Slots::new();
        for (_, text) in framed.texts() {
            seen += black_box(text).len();
            if step == "split" {
                continue;
            }
            let by = (|_: &str| Some(&plan), Some);
            let read = reader.read(text, start, || 0, by, &mut slots);
            let (event, _) = read.expect("it is an event");
            if step == "read" {
                black_box((&event, &slots));
                continue;
            }
            matched += usize::from(program.matches(&slots) == Ok(true));
            // All are projected, so that the figure is that of a filter that lets everything pass.
            if step == "project" {
                record.clear();
                projection.write(&event, &slots, &mut record);
                black_box(&record);
            }
        }
    }
    println!("{seen} bytes, {matched} matches");
}
