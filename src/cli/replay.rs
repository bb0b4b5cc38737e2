//! `sluicegate replay`: sends what the journal still holds for one destination again. Reads only, so it
//! works beside a running daemon and without one; it is outside of the ledger, like dead letters that
//! are sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::access::ToDaemon;
use super::api::Remote;
use super::asked_letters::PATIENCE;
use super::expression::describe;
use super::progress::{Bar, Progress};
use super::{
    Failure, Outcome, block_on, load_beside_journal, parse_duration, test_event, with_saved,
};
use crate::config::Config;
use crate::event::Timestamp;
use crate::journal::{Durability, LogReader, Retained};
use crate::pipeline::{Trial, redrive_patiently};
use crate::report::{counted, escaped};
use crate::resources::{Destination, Source};
use crate::sinks::{Ack, LogOutput, Sink};

/// Records sent in one go, so that memory stays small however many there are.
const AT_ONCE: usize = 1_000;

/// Pauses in a row, of 2 s and twice as long each, after which a service that takes nothing has failed.
const MOST_FAILURES: u32 = 4;

/// Ids that `--dry-run` shows.
const SHOWN: u64 = 5;

/// Send records that the journal still holds to one destination again, with the same bytes and event
/// ids. It keeps delivered records for `journal.retention`; records that still wait are sent too. Not
/// counted in the ledger. Exit code 1 if anything was not delivered.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The destination's id
    #[arg(long, value_name = "ID")]
    destination: String,
    /// Only records accepted since then: a duration back from now, such as 2h, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Timestamp,
    /// Only records accepted before then; now if left out
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Only records that match this filter, in which `ev` is the object as it was delivered. It must
    /// be right for each type given with --type, or else each that the destination's subscriptions take
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Only records of this event type; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// At most this many records a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Only tell what would be sent
    #[arg(long)]
    dry_run: bool,
    /// The settings file (.yaml, .toml or .json); with --api, a running daemon does it
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present = "api",
        conflicts_with = "api"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    to: ToDaemon,
}

/// A moment as an argument.
fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let back = |span: Duration| {
        let now = Timestamp::now();
        let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp { seconds: now.seconds.saturating_sub(seconds).max(0), ..now }
    };
    let moment = parse_duration(text).ok().map(back).or_else(|| Timestamp::parse(text));
    moment.ok_or_else(|| {
        "neither a duration such as 2h nor a time such as 2025-09-04T10:11:14Z".to_owned()
    })
}

/// What was found and what became of it.
#[derive(Default)]
struct Tally {
    /// Records of the destination in the span.
    found: u64,
    /// Those that type and filter chose.
    chosen: u64,
    /// By what is to be said of them.
    results: BTreeMap<String, u64>,
    delivered: u64,
    /// When the first of those that a fault kept from being delivered was accepted.
    stopped_at: Option<Timestamp>,
}

impl Replay {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        if self.to.access.given().is_some() {
            let tally = block_on(self.ask(&Remote::to(&self.to)?.with_patience(PATIENCE)))??;
            return self.tell(&tally);
        }
        let file = self.config.as_deref();
        let config = with_saved(load_beside_journal(file)?)?;
        let destination = test_event::find(&config, &self.destination, file, [])?;
        let choice = self.choice(&config, destination)?;
        let until = self.until.unwrap_or_else(Timestamp::now);
        if until <= self.since {
            return Err(Failure::work("`--until` is not later than `--since`"));
        }
        let directory = &config.journal.directory;
        let log = LogReader::open(directory, &destination.id, self.since..until)
            .map_err(|error| Failure::work(format!("{}: {error}", directory.display())))?;
        let bar = progress.unless_output_is_a_terminal().without_end("records read");
        let tally = block_on(self.replay(log, destination, choice.as_ref(), &bar))??;
        drop(bar);
        if let Some(error) = choice.and_then(|trial| trial.counts().last_filter_error) {
            let error = escaped(&error).into_owned();
            writeln!(io::stderr(), "some records do not match, as the filter failed: {error}")?;
        }
        if tally.found == 0 {
            return Err(Failure::Work(self.nothing(&config, until)));
        }
        self.tell(&tally)
    }

    /// What chooses records by type and filter; `None` if all are.
    fn choice(&self, config: &Config, destination: &Destination) -> Result<Option<Trial>, Failure> {
        if self.filter.is_none() && self.types.is_empty() {
            return Ok(None);
        }
        let mut types: BTreeSet<&str> = self.types.iter().map(String::as_str).collect();
        if types.is_empty() {
            let all = config.resources.subscriptions().iter();
            let its = all.filter(|it| it.destinations.contains(&destination.id));
            types.extend(its.flat_map(|it| &it.sources).map(|it| it.event_type.name.as_str()));
        }
        let source = |name: &str| {
            Source::new(&config.resources.catalog, name, self.filter.as_deref(), None)
                .map_err(|errors| Failure::Work(format!("for {name}: {}", describe(&errors))))
        };
        let sources = types.into_iter().map(source).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() {
            let id = &destination.id;
            return Err(Failure::work(format!("no subscription names `{id}`: give --type")));
        }
        Trial::of(sources).map(Some).map_err(Failure::work)
    }

    async fn replay(
        &self,
        mut log: LogReader,
        destination: &Destination,
        choice: Option<&Trial>,
        bar: &Bar,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let sink = match self.dry_run {
            true => None,
            false => Some(destination.open(LogOutput::Stdout).await.map_err(Failure::work)?),
        };
        let at_once = self.rate.map_or(AT_ONCE, |rate| AT_ONCE.min(rate as usize));
        let began = Instant::now();
        let mut waiting = Vec::new();
        while let Some(retained) = log.next_record()? {
            tally.found += 1;
            bar.add(1);
            if !choice.is_none_or(|trial| trial.chooses(&retained.record)) {
                continue;
            }
            tally.chosen += 1;
            let Some(sink) = &sink else {
                show(&retained, tally.chosen)?;
                continue;
            };
            waiting.push(retained);
            if waiting.len() == at_once {
                tally.send(&std::mem::take(&mut waiting), destination, sink).await;
                if let Some(rate) = self.rate {
                    sleep_until(began + Duration::from_secs(tally.chosen) / rate).await;
                }
            }
            if tally.stopped_at.is_some() {
                return Ok(tally);
            }
        }
        if let Some(sink) = &sink {
            tally.send(&waiting, destination, sink).await;
        }
        Ok(tally)
    }

    /// Has a running daemon do it, piece by piece.
    async fn ask(&self, remote: &Remote) -> Result<Tally, Failure> {
        let until = self.until.unwrap_or_else(Timestamp::now);
        let types = (!self.types.is_empty()).then_some(&self.types);
        let mut body = json!({
            "destination_id": self.destination,
            "since": self.since.to_string(),
            "until": until.to_string(),
            "filter": self.filter,
            "types": types,
            "rate": self.rate,
            "dry_run": self.dry_run,
        });
        let (mut tally, mut shown, mut failures) = (Tally::default(), 0, 0);
        loop {
            let answer = remote.must(Method::POST, "/replay", Some(body.clone())).await?;
            let number = |key: &str| answer[key].as_u64().unwrap_or_default();
            let delivered = number("delivered");
            tally.found += number("found");
            tally.chosen += number("chosen");
            tally.delivered += delivered;
            if delivered > 0 {
                let what = format!("delivered to {}", self.destination);
                *tally.results.entry(what).or_default() += delivered;
            }
            for it in answer["rejected"].as_array().into_iter().flatten() {
                let reason = it["reason"].as_str().unwrap_or_default();
                let what = format!("rejected by {}: {reason}", self.destination);
                *tally.results.entry(what).or_default() +=
                    it["records"].as_u64().unwrap_or_default();
            }
            for it in answer["first"].as_array().into_iter().flatten().take(SHOWN as usize - shown)
            {
                let [at, id] =
                    ["accepted_at", "event_id"].map(|key| it[key].as_str().unwrap_or_default());
                writeln!(io::stdout().lock(), "{}  {}", escaped(at), escaped(id))?;
                shown += 1;
            }
            if let Some(error) = answer["filter_error"].as_str() {
                let error = escaped(error);
                writeln!(io::stderr(), "some records do not match, as the filter failed: {error}")?;
            }
            if answer["after"].is_null() {
                return Ok(tally);
            }
            body["after"] = answer["after"].clone();
            let Some(stopped) = answer["stopped"].as_str() else { continue };
            failures = if delivered > 0 { 1 } else { failures + 1 };
            if failures > MOST_FAILURES {
                let stopped = escaped(stopped);
                return Err(Failure::Work(format!(
                    "stopped after {} delivered, since the service takes no more: {stopped}",
                    counted(tally.delivered, "record")
                )));
            }
            tokio::time::sleep(Duration::from_secs(1 << failures)).await;
        }
    }

    fn nothing(&self, config: &Config, until: Timestamp) -> String {
        let mut message = format!(
            "nothing to send: the journal holds no record for `{}` accepted from {} to {}",
            self.destination,
            self.since.whole_seconds(),
            until.whole_seconds()
        );
        message += match config.journal.durability {
            Durability::Memory => "; with `journal.durability: memory` nothing is kept",
            Durability::Disk if config.journal.retention.is_zero() => {
                "; `journal.retention` is 0s, so delivered records are not kept: set it to 24h, say"
            }
            Durability::Disk => "; delivered records are kept for `journal.retention`",
        };
        message
    }

    fn tell(&self, tally: &Tally) -> Outcome {
        let mut out = io::stdout().lock();
        let Tally { found, chosen, .. } = tally;
        if self.dry_run {
            let records = counted(*found, "record");
            writeln!(out, "{chosen} of {records} would be sent to {}", self.destination)?;
            return Ok(());
        }
        for (what, count) in &tally.results {
            writeln!(out, "{} {}", counted(*count, "record"), escaped(what))?;
        }
        if chosen == &0 {
            writeln!(out, "0 of {} were chosen", counted(*found, "record"))?;
        }
        if let Some(moment) = tally.stopped_at {
            return Err(Failure::Work(format!(
                "stopped, since the service takes no more: go on with --since {moment}"
            )));
        }
        match chosen - tally.delivered {
            0 => Ok(()),
            1 => Err(Failure::work("1 record was not taken")),
            lost => Err(Failure::Work(format!("{lost} records were not taken"))),
        }
    }
}

/// Prints the first few records of a dry run.
fn show(retained: &Retained, number: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match number {
        ..=SHOWN => {
            let id = escaped(&retained.record.event_id).into_owned();
            writeln!(out, "{}  {id}", retained.accepted)
        }
        _ if number == SHOWN + 1 => writeln!(out, "…"),
        _ => Ok(()),
    }
}

impl Tally {
    async fn send(&mut self, waiting: &[Retained], destination: &Destination, sink: &Sink) {
        let records: Vec<_> = waiting.iter().map(|it| Arc::clone(&it.record)).collect();
        let acks = redrive_patiently(destination, sink, &records).await;
        for (retained, ack) in waiting.iter().zip(acks) {
            let what = match ack {
                Ack::Delivered => {
                    self.delivered += 1;
                    format!("delivered to {}", destination.id)
                }
                Ack::Rejected(reason) => format!("rejected by {}: {reason}", destination.id),
                Ack::Retry(fault) => {
                    self.stopped_at = self.stopped_at.or(Some(retained.accepted));
                    format!("not delivered: {}", fault.message)
                }
            };
            *self.results.entry(what).or_default() += 1;
        }
    }
}
