//! `sluicegate filter bench`: what filters and field choices cost, stage by stage, and how that grows with
//! the number of subscriptions.
//!
//! One core, events in memory; the median of several rounds. Figures of one run may be compared with
//! each other, not with those of another machine or hour.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::events;
use super::expression::describe;
use super::progress::{Bar, Progress};
use super::table::table;
use super::{Failure, Outcome, OutputFormat, load, plot};
use crate::config::Config;
use crate::event::{Event, EventType, Slots, Timestamp};
use crate::filter::library_filter;
use crate::generate::Generator;
use crate::pipeline::{Stages, Trial};
use crate::private;
use crate::report::counted;
use crate::resources::{MAX_SUBSCRIPTIONS, Source};

/// How many events are generated where no file is given: more than any cache holds.
const GENERATED: usize = 10_000;

/// How often each stage goes over all events; the median is printed.
const ROUNDS: usize = 15;

/// Copies of the subscriptions for which the cost is measured, as far as a daemon takes so many.
const COPIES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// How often each number of copies is measured, and for how long each time: over as many events as fit,
/// and at least one.
const GROWTH_ROUNDS: usize = 5;
const GROWTH_TIME: Duration = Duration::from_millis(60);

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The CEL expression, or the name of a filter of the library
    #[arg(value_name = "EXPR", required_unless_present = "subscriptions")]
    expression: Option<String>,
    /// The event type whose fields it may use; a filter of the library has its own
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "subscriptions")]
    event_type: Option<String>,
    /// The fields to project, joined by commas; the whole object if left out
    #[arg(long, value_delimiter = ',', conflicts_with = "subscriptions")]
    fields: Option<Vec<String>>,
    /// Measure all subscriptions of this settings file together, instead of one expression
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    subscriptions: Option<PathBuf>,
    /// The settings file whose own event types are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// Draw how the cost grows with copies of the subscriptions into this file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Make the events of an access log's lines; see `convert`
    #[arg(long, value_name = "FORMAT", requires = "expression")]
    format: Option<String>,
    /// Events as NDJSON, or lines of --format; generated ones if left out
    #[arg(value_name = "FILE")]
    events: Option<PathBuf>,
}

/// What is measured.
struct Measured {
    /// The sources of each subscription.
    subscriptions: Vec<Vec<Source>>,
    texts: Vec<String>,
}

/// The time that one stage takes for an event.
struct Stage {
    name: &'static str,
    nanos: f64,
}

/// The time that an event takes where there are copies.
struct Point {
    copies: usize,
    subscriptions: usize,
    nanos: f64,
}

impl Bench {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        let measured = self.measured()?;
        let trial = Trial::copies(&measured.subscriptions, 1).map_err(Failure::work)?;
        let events = read(&trial, &measured.texts)?;
        if events.is_empty() {
            return Err(Failure::work("there are no events of a type that is subscribed to"));
        }
        for event in &events {
            black_box(trial.records(event));
        }
        let counts = trial.counts();
        // The bar is drawn between rounds, so that it costs none of them anything.
        let rounds = 6 * ROUNDS + COPIES.len() * GROWTH_ROUNDS;
        let bar = progress.of(rounds as u64, "rounds");
        let stages = match measured.subscriptions.as_slice() {
            [sources] if sources.len() == 1 => one_source(&sources[0], &measured.texts, &bar)?,
            _ => together(&trial, &measured.texts, &events, &bar),
        };
        let growth = growth(&measured, &events, &bar)?;
        drop(bar);
        if let Some(file) = &self.plot {
            let points: Vec<_> =
                growth.iter().map(|it| (it.subscriptions as f64, it.nanos)).collect();
            let opened = private::file().write(true).truncate(true).open(file);
            opened
                .and_then(|mut opened| opened.write_all(plot::growth(&points).as_bytes()))
                .map_err(|error| Failure::work(format!("{}: {error}", file.display())))?;
        }
        let size = measured.texts.iter().map(String::len).sum::<usize>() / measured.texts.len();
        let mut out = io::stdout().lock();
        if self.output == OutputFormat::Json {
            let stages: Vec<_> = stages.iter().map(|stage| stage.json(size)).collect();
            let growth: Vec<_> = growth.iter().map(Point::json).collect();
            let report = json!({
                "events": events.len(),
                "event_bytes": size,
                "matched": counts.matched,
                "filter_errors": counts.filter_errors,
                "stages": stages,
                "growth": growth,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        let (events, errors) =
            (counted(events.len() as u64, "event"), counted(counts.filter_errors, "filter error"));
        writeln!(out, "{events}, {size} bytes each; {} match, {errors}", counts.matched)?;
        write!(out, "{}", table(&stage_rows(&stages, size), 3))?;
        Ok(write!(out, "\n{}", table(&growth_rows(&growth), 3))?)
    }

    fn measured(&self) -> Result<Measured, Failure> {
        let Some(file) = &self.subscriptions else {
            let source = self.source()?;
            let texts = self.texts(&[&source.event_type], self.events.as_deref())?;
            return Ok(Measured { subscriptions: vec![vec![source]], texts });
        };
        let config = load(Some(file))?;
        let enabled = config.resources.subscriptions().iter().filter(|it| it.enabled);
        let subscriptions: Vec<_> = enabled.map(|it| it.sources.clone()).collect();
        if subscriptions.is_empty() {
            return Err(Failure::work(format!(
                "{} has no subscriptions that are on",
                file.display()
            )));
        }
        let mut types: Vec<&Arc<EventType>> = Vec::new();
        for source in subscriptions.iter().flatten() {
            if !types.iter().any(|known| known.name == source.event_type.name) {
                types.push(&source.event_type);
            }
        }
        // Without an expression the first word is the file with events.
        let events = self.expression.as_ref().map(PathBuf::from);
        let texts = self.texts(&types, events.as_deref())?;
        Ok(Measured { subscriptions, texts })
    }

    /// The one source that was asked for.
    fn source(&self) -> Result<Source, Failure> {
        let config: Config = load(self.config.as_deref())?;
        let expression = self.expression.as_deref().unwrap_or_default();
        let from_library = library_filter(expression);
        let event_type = match (&self.event_type, from_library) {
            (Some(name), _) => name,
            (None, Some(filter)) => filter.event_type,
            (None, None) => {
                return Err(Failure::work("an expression needs --type, the type of its events"));
            }
        };
        let catalog = &config.resources.catalog;
        super::catalog::find(catalog, event_type)?;
        let text = from_library.map_or(expression, |filter| filter.text);
        Source::new(catalog, event_type, Some(text), self.fields.clone())
            .map_err(|errors| Failure::Report(describe(&errors)))
    }

    /// The events of a file, or generated ones, of each type as many.
    fn texts(
        &self,
        types: &[&Arc<EventType>],
        file: Option<&Path>,
    ) -> Result<Vec<String>, Failure> {
        if let Some(file) = file {
            let mut texts = Vec::new();
            let formats = load(self.config.as_deref())?.formats;
            let format = events::format(self.format.as_deref(), &formats)?;
            events::for_each_line(events::open(Some(file))?, format.as_ref(), |line, text| {
                let text = text.map_err(|error| Failure::work(format!("line {line}: {error}")))?;
                texts.push(text.to_owned());
                Ok(())
            })?;
            return Ok(texts);
        }
        if self.format.is_some() {
            return Err(Failure::work("--format needs a file with lines of it"));
        }
        let start = Timestamp { seconds: 1_756_980_000, nanos: 0 };
        let of_type = |event_type: &&Arc<EventType>| {
            Generator::new(event_type, 1, start).take(GENERATED.div_ceil(types.len()))
        };
        Ok(types.iter().flat_map(of_type).collect())
    }
}

/// The events of types that are subscribed to, with their slots.
fn read<'e>(trial: &Trial, texts: &'e [String]) -> Result<Vec<(Event<'e>, Slots<'e>)>, Failure> {
    let mut events = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let event = trial
            .read(text)
            .map_err(|error| Failure::work(format!("event {}: {error}", at + 1)))?;
        if trial.takes(&event.0) {
            events.push(event);
        }
    }
    Ok(events)
}

/// The stages of one source, each by itself.
fn one_source(source: &Source, texts: &[String], bar: &Bar) -> Result<Vec<Stage>, Failure> {
    let stages = Stages::new(source);
    let is_of_type = |event: &Event<'_>| event.event_type == source.event_type.name.as_str();
    let parsed = texts.iter().map(|text| Event::parse(text, Timestamp::MIN, rand::random));
    let events: Vec<Event<'_>> = parsed
        .filter(|event| event.as_ref().map_or(true, is_of_type))
        .collect::<Result<_, _>>()
        .map_err(Failure::work)?;
    let fill = |event| {
        let mut slots = Slots::new();
        stages.extract(event, &mut slots);
        slots
    };
    let filled: Vec<Slots<'_>> = events.iter().map(fill).collect();
    let mut slots = Slots::new();
    let mut record = Vec::new();
    let check = median(bar, texts.len(), || check_all(texts));
    let read = median(bar, texts.len(), || {
        for text in texts {
            let _ = black_box(stages.read(text));
        }
    });
    let extract = median(bar, events.len(), || {
        for event in &events {
            stages.extract(event, &mut slots);
            black_box(&slots);
        }
    });
    let filter = median(bar, events.len(), || {
        for slots in &filled {
            let _ = black_box(stages.filter(slots));
        }
    });
    let project = median(bar, events.len(), || {
        for (event, slots) in events.iter().zip(&filled) {
            record.clear();
            stages.project(event, slots, &mut record);
            black_box(&record);
        }
    });
    let all = median(bar, events.len(), || {
        for event in &events {
            stages.extract(event, &mut slots);
            if stages.filter(&slots) == Ok(true) {
                record.clear();
                stages.project(event, &slots, &mut record);
                black_box(&record);
            }
        }
    });
    let stage = |name, nanos| Stage { name, nanos };
    Ok(vec![
        stage("check", check),
        stage("check and extract, as ingest", read),
        stage("extract", extract),
        stage("filter", filter),
        stage("project (every event)", project),
        stage("extract, filter, project", all),
    ])
}

/// The stages of many sources, through the daemon's own dispatch.
fn together(
    trial: &Trial,
    texts: &[String],
    events: &[(Event<'_>, Slots<'_>)],
    bar: &Bar,
) -> Vec<Stage> {
    let check = median(bar, texts.len(), || check_all(texts));
    let read = median(bar, texts.len(), || {
        for text in texts {
            let _ = black_box(trial.read(text));
        }
    });
    let dispatch = median(bar, events.len(), || {
        for event in events {
            black_box(trial.records(event));
        }
    });
    let all = median(bar, texts.len(), || {
        for text in texts {
            if let Ok(event) = trial.read(text) {
                black_box(trial.records(&event));
            }
        }
    });
    let stage = |name, nanos| Stage { name, nanos };
    vec![
        stage("check", check),
        stage("check and extract, as ingest", read),
        stage("filter and project", dispatch),
        stage("check, extract, filter, project", all),
    ]
}

fn check_all(texts: &[String]) {
    for text in texts {
        let _ = black_box(Event::parse(text, Timestamp::MIN, rand::random));
    }
}

/// The median of the rounds, in nanoseconds for each of so many events.
fn median(bar: &Bar, events: usize, mut work: impl FnMut()) -> f64 {
    let round = |_| {
        let began = Instant::now();
        work();
        let took = began.elapsed();
        bar.add(1);
        took
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(round).collect();
    times.sort();
    times[ROUNDS / 2].as_nanos() as f64 / events as f64
}

/// What an event takes from its slots to its records, where the subscriptions are there once and more often.
fn growth(
    measured: &Measured,
    events: &[(Event<'_>, Slots<'_>)],
    bar: &Bar,
) -> Result<Vec<Point>, Failure> {
    let mut points = Vec::new();
    for copies in COPIES {
        let subscriptions = copies * measured.subscriptions.len();
        if subscriptions > MAX_SUBSCRIPTIONS {
            break;
        }
        let trial = Trial::copies(&measured.subscriptions, copies).map_err(Failure::work)?;
        let mut next = events.iter().cycle();
        let round = |_| {
            let (began, mut done) = (Instant::now(), 0u32);
            while done == 0 || began.elapsed() < GROWTH_TIME {
                for event in next.by_ref().take((MAX_SUBSCRIPTIONS / subscriptions).clamp(1, 100)) {
                    black_box(trial.records(event));
                    done += 1;
                }
            }
            let nanos = began.elapsed().as_nanos() as f64 / f64::from(done);
            bar.add(1);
            nanos
        };
        let mut nanos: Vec<f64> = (0..GROWTH_ROUNDS).map(round).collect();
        nanos.sort_by(f64::total_cmp);
        points.push(Point { copies, subscriptions, nanos: nanos[GROWTH_ROUNDS / 2] });
    }
    Ok(points)
}

impl Stage {
    fn megabytes_per_second(&self, size: usize) -> f64 {
        size as f64 * 1e3 / self.nanos
    }

    fn json(&self, size: usize) -> Value {
        json!({
            "stage": self.name,
            "ns_per_event": self.nanos.round(),
            "mb_per_second": self.megabytes_per_second(size).round(),
            "events_per_second": per_second(self.nanos),
        })
    }
}

impl Point {
    fn json(&self) -> Value {
        json!({
            "copies": self.copies,
            "subscriptions": self.subscriptions,
            "ns_per_event": self.nanos.round(),
            "events_per_second": per_second(self.nanos),
        })
    }
}

/// Events that one core can do in a second.
fn per_second(nanos: f64) -> u64 {
    (1e9 / nanos) as u64
}

fn stage_rows(stages: &[Stage], size: usize) -> Vec<Vec<String>> {
    let mut rows = vec![["", "ns/event", "MB/s", "events/s a core"].map(str::to_owned).to_vec()];
    rows.extend(stages.iter().map(|stage| {
        vec![
            stage.name.to_owned(),
            format!("{:.0}", stage.nanos),
            format!("{:.0}", stage.megabytes_per_second(size)),
            per_second(stage.nanos).to_string(),
        ]
    }));
    rows
}

fn growth_rows(points: &[Point]) -> Vec<Vec<String>> {
    let head = ["filter and project", "subscriptions", "ns/event", "events/s a core"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(points.iter().map(|point| {
        vec![
            counted(point.copies as u64, "copy").replace("copys", "copies"),
            point.subscriptions.to_string(),
            format!("{:.0}", point.nanos),
            per_second(point.nanos).to_string(),
        ]
    }));
    rows
}
