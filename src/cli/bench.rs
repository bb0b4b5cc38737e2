//! `sluicegate filter bench`: what a filter and a field choice cost, stage by stage.
//!
//! One core, events in memory; the median of several rounds. Figures of one run may be compared with
//! each other, not with those of another machine or hour.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::events;
use super::expression::Typed;
use super::progress::{Bar, Progress};
use super::table::table;
use super::{Failure, Outcome};
use crate::event::{Event, Slots, Timestamp};
use crate::formats::Format;
use crate::generate::Generator;
use crate::pipeline::Stages;
use crate::report::counted;

/// How many events are generated where no file is given: more than any cache holds.
const GENERATED: usize = 10_000;

/// How often each stage goes over all events; the median is printed.
const ROUNDS: usize = 15;

#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(flatten)]
    typed: Typed,
    /// The fields to project, joined by commas; the whole object if left out
    #[arg(long, value_delimiter = ',')]
    fields: Option<Vec<String>>,
    /// Make the events of an access log's lines; see `convert`
    #[arg(long, value_name = "FORMAT", requires = "events")]
    format: Option<Format>,
    /// Events as NDJSON, or lines of --format; generated ones if left out
    #[arg(value_name = "FILE")]
    events: Option<PathBuf>,
}

impl Bench {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        let config = self.typed.settings()?;
        let source = self.typed.source(&config, self.fields.clone())?;
        let stages = Stages::new(&source);
        let texts = match &self.events {
            Some(path) => read(path, self.format)?,
            None => {
                let start = Timestamp { seconds: 1_756_980_000, nanos: 0 };
                Generator::new(&source.event_type, 1, start).take(GENERATED).collect::<Vec<_>>()
            }
        };
        let events = parse(&texts)?;
        let events: Vec<Event<'_>> = events
            .into_iter()
            .filter(|it| it.event_type == source.event_type.name.as_str())
            .collect();
        if events.is_empty() {
            return Err(Failure::work(format!("there are no {} events", source.event_type.name)));
        }
        // The bar is drawn between rounds, so that it costs none of them anything.
        let bar = progress.of(6 * ROUNDS as u64, "rounds");
        let report = measure(&stages, &texts, &events, &bar);
        drop(bar);
        Ok(io::stdout().lock().write_all(report.as_bytes())?)
    }
}

fn read(file: &Path, format: Option<Format>) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    events::for_each_line(events::open(Some(file))?, format, |line, text| {
        let text = text.map_err(|error| Failure::work(format!("line {line}: {error}")))?;
        texts.push(text.to_owned());
        Ok(())
    })?;
    Ok(texts)
}

fn parse(texts: &[String]) -> Result<Vec<Event<'_>>, Failure> {
    let numbered = texts.iter().enumerate();
    numbered
        .map(|(at, text)| {
            Event::parse(text, Timestamp::MIN, rand::random)
                .map_err(|error| Failure::work(format!("event {}: {error}", at + 1)))
        })
        .collect()
}

/// The figures of all stages as a table.
fn measure<'e>(stages: &Stages, texts: &'e [String], events: &'e [Event<'e>], bar: &Bar) -> String {
    let filled: Vec<Slots<'e>> = events
        .iter()
        .map(|event| {
            let mut slots = Slots::new();
            stages.extract(event, &mut slots);
            slots
        })
        .collect();
    let outcomes = || filled.iter().map(|slots| stages.filter(slots));
    let matched = outcomes().filter(|outcome| matches!(outcome, Ok(true))).count();
    let errors = outcomes().filter(Result::is_err).count();
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut slots = Slots::new();
    let mut record = Vec::new();
    let check = median(bar, || {
        let _ = black_box(parse(texts));
    });
    let read = median(bar, || {
        for text in texts {
            let _ = black_box(stages.read(text));
        }
    });
    let extract = median(bar, || {
        for event in events {
            stages.extract(event, &mut slots);
            black_box(&slots);
        }
    });
    let filter = median(bar, || {
        for slots in &filled {
            let _ = black_box(stages.filter(slots));
        }
    });
    let project = median(bar, || {
        for (event, slots) in events.iter().zip(&filled) {
            record.clear();
            stages.project(event, slots, &mut record);
            black_box(&record);
        }
    });
    let all = median(bar, || {
        for event in events {
            stages.extract(event, &mut slots);
            if stages.filter(&slots) == Ok(true) {
                record.clear();
                stages.project(event, &slots, &mut record);
                black_box(&record);
            }
        }
    });
    let (count, size) = (events.len(), bytes / texts.len());
    let (counted_events, errors) =
        (counted(count as u64, "event"), counted(errors as u64, "filter error"));
    let out = format!("{counted_events}, {size} bytes each; {matched} match, {errors}\n");
    let mut rows = vec![["", "ns/event", "MB/s"].map(str::to_owned).to_vec()];
    for (stage, time, of) in [
        ("check", check, texts.len()),
        ("check and extract, as ingest", read, texts.len()),
        ("extract", extract, count),
        ("filter", filter, count),
        ("project (every event)", project, count),
        ("extract, filter, project", all, count),
    ] {
        let nanos = time.as_nanos() as f64 / of as f64;
        let speed = size as f64 * 1e3 / nanos;
        rows.push(vec![stage.to_owned(), format!("{nanos:.0}"), format!("{speed:.0}")]);
    }
    out + &table(&rows, 2)
}

fn median(bar: &Bar, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            let took = began.elapsed();
            bar.add(1);
            took
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
