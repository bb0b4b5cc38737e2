//! `sluicegate dead-letters`: look at what could not be delivered, send it again, or throw it away.
//! Works beside a running daemon and without one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::bury::Bury;
use super::progress::Progress;
use super::table::table;
use super::{
    Failure, Outcome, OutputFormat, block_on, load_beside_journal, parse_duration, test_event,
    with_saved,
};
use crate::config::Config;
use crate::event::Timestamp;
use crate::journal::{AT_KAFKA, AT_STDIN, StoredLetter, forget_dead_letters, read_dead_letters};
use crate::pipeline::redrive;
use crate::report::{counted, escaped};
use crate::sinks::{Ack, LogOutput};

/// Letters sent in one go, so that memory stays small however many there are.
const REDRIVE_AT_ONCE: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List letters: when, where to, why
    List(List),
    /// Print one letter whole
    Show(Show),
    /// Send letters to their destinations again; those that are taken are gone
    Redrive(Change),
    /// Throw letters away
    Purge(Change),
    /// Make a dead letter of a record that a running daemon has set aside, since it keeps failing
    Bury(Bury),
}

#[derive(Debug, Args)]
struct Chosen {
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only letters for this destination
    #[arg(long, value_name = "ID")]
    destination: Option<String>,
    /// Only letters whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only letters older than this, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only letters younger than this, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    newer_than: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    chosen: Chosen,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The letter's id, as `list` prints it
    id: String,
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the letter is printed; json gives the record byte for byte
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    #[command(flatten)]
    chosen: Chosen,
    /// Take all letters, which must be said where no other choice is made
    #[arg(long)]
    all: bool,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

impl DeadLetters {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        match self {
            DeadLetters::List(list) => list.run(),
            DeadLetters::Show(show) => show.run(),
            DeadLetters::Redrive(change) => change.redrive(progress),
            DeadLetters::Purge(change) => change.purge(),
            DeadLetters::Bury(bury) => bury.run(),
        }
    }
}

impl Chosen {
    fn is_any(&self) -> bool {
        let by_text = self.destination.is_some() || self.reason.is_some();
        by_text || self.older_than.is_some() || self.newer_than.is_some()
    }

    fn takes(&self, letter: &StoredLetter, now: Timestamp) -> bool {
        let age =
            Duration::from_secs(u64::try_from(now.seconds - letter.time.seconds).unwrap_or(0));
        self.destination.as_ref().is_none_or(|id| *id == letter.destination)
            && self.reason.as_ref().is_none_or(|text| letter.reason.contains(text))
            && self.older_than.is_none_or(|limit| age > limit)
            && self.newer_than.is_none_or(|limit| age < limit)
    }

    /// Calls `each` with the chosen letters.
    ///
    /// # Errors
    /// Also when the chosen destination is known to nobody: not to the settings, not to the API, and
    /// no letter is for it.
    fn read(
        &self,
        config: &Config,
        mut each: impl FnMut(StoredLetter) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let now = Timestamp::now();
        let mut known = BTreeSet::new();
        let damaged = read_dead_letters(&config.journal.directory, |letter| {
            if !known.contains(&letter.destination) {
                known.insert(letter.destination.clone());
            }
            if self.takes(&letter, now) { each(letter) } else { Ok(()) }
        })?;
        if damaged > 0 {
            let lines = counted(damaged, "line");
            writeln!(io::stderr(), "{lines} of the dead letters cannot be read: left out")?;
        }
        match &self.destination {
            Some(id) if !known.contains(id) && ![AT_KAFKA, AT_STDIN].contains(&id.as_str()) => {
                let config = with_saved(config.clone())?;
                let known = known.iter().map(String::as_str);
                test_event::find(&config, id, self.config.as_deref(), known).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl List {
    fn run(self) -> Outcome {
        let config = load_beside_journal(self.chosen.config.as_deref())?;
        let mut out = io::stdout().lock();
        let mut letters = Vec::new();
        self.chosen.read(&config, |letter| match self.output {
            OutputFormat::Table => {
                let tries = counted(letter.attempts.into(), "try");
                let line = format!(
                    "{}  {}  {}  {}  after {tries}: {}",
                    letter.id,
                    letter.time.whole_seconds(),
                    letter.destination,
                    letter.record.event_id,
                    letter.reason
                );
                writeln!(out, "{}", escaped(&line))
            }
            OutputFormat::Json => {
                letters.push(to_json(&letter));
                Ok(())
            }
        })?;
        if self.output == OutputFormat::Json {
            writeln!(out, "{}", json!(letters))?;
        }
        Ok(())
    }
}

fn to_json(letter: &StoredLetter) -> Value {
    json!({
        "id": letter.id,
        "time": letter.time.to_string(),
        "destination": letter.destination,
        "event_id": &*letter.record.event_id,
        "reason": letter.reason,
        "attempts": letter.attempts,
    })
}

impl Show {
    fn run(self) -> Outcome {
        let config = load_beside_journal(self.config.as_deref())?;
        let mut found = None;
        read_dead_letters(&config.journal.directory, |letter| {
            if letter.id == self.id {
                found = Some(letter);
            }
            Ok(())
        })?;
        let Some(letter) = found else {
            return Err(Failure::Work(format!("no letter `{}`", self.id)));
        };
        let mut out = io::stdout().lock();
        if self.output == OutputFormat::Json {
            let head = to_json(&letter).to_string();
            write!(out, "{},\"record\":", head.strip_suffix('}').unwrap_or(&head))?;
            out.write_all(&letter.record.body)?;
            return Ok(out.write_all(b"}\n")?);
        }
        let rows = [
            ("id", letter.id.as_str()),
            ("time", &letter.time.to_string()),
            ("destination", &letter.destination),
            ("event", &letter.record.event_id),
            ("attempts", &letter.attempts.to_string()),
            ("reason", &letter.reason),
            ("record", &String::from_utf8_lossy(&letter.record.body)),
        ]
        .map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
        Ok(out.write_all(table(&rows, 0).as_bytes())?)
    }
}

impl Change {
    fn check(&self) -> Result<Config, Failure> {
        if !self.all && !self.chosen.is_any() {
            let message = "choose letters (see --help), or say --all";
            return Err(Failure::Work(message.to_owned()));
        }
        load_beside_journal(self.chosen.config.as_deref())
    }

    fn purge(self) -> Outcome {
        let config = self.check()?;
        let mut ids = Vec::new();
        self.chosen.read(&config, |letter| {
            ids.push(letter.id);
            Ok(())
        })?;
        let verb = if self.dry_run { "would be thrown away" } else { "thrown away" };
        if !self.dry_run {
            forget_dead_letters(&config.journal.directory, &ids)?;
        }
        let letters = counted(ids.len() as u64, "letter");
        Ok(writeln!(io::stdout().lock(), "{letters} {verb}")?)
    }

    fn redrive(self, progress: Progress) -> Outcome {
        let config = with_saved(self.check()?)?;
        let mut waiting: BTreeMap<String, Vec<StoredLetter>> = BTreeMap::new();
        let mut results = BTreeMap::new();
        let bar = progress.unless_output_is_a_terminal().without_end("letters read");
        self.chosen.read(&config, |letter| {
            bar.add(1);
            let letters = waiting.entry(letter.destination.clone()).or_default();
            letters.push(letter);
            if letters.len() == REDRIVE_AT_ONCE {
                let letters = std::mem::take(letters);
                self.send(&config, letters, &mut results).map_err(io::Error::other)?;
            }
            Ok(())
        })?;
        for letters in waiting.into_values() {
            self.send(&config, letters, &mut results).map_err(Failure::Work)?;
        }
        drop(bar);
        let mut out = io::stdout().lock();
        let mut failed = 0;
        for (what, count) in &results {
            writeln!(out, "{} {}", counted(*count, "letter"), escaped(what))?;
            failed += if what.starts_with("delivered") || self.dry_run { 0 } else { *count };
        }
        if results.is_empty() {
            writeln!(out, "0 letters")?;
        }
        if failed > 0 {
            return Err(Failure::Work(match failed {
                1 => "1 letter was not taken and is kept".to_owned(),
                _ => format!("{failed} letters were not taken and are kept"),
            }));
        }
        Ok(())
    }

    /// Sends letters of one destination and counts what became of them.
    fn send(
        &self,
        config: &Config,
        letters: Vec<StoredLetter>,
        results: &mut BTreeMap<String, u64>,
    ) -> Result<(), String> {
        let Some(id) = letters.first().map(|letter| letter.destination.clone()) else {
            return Ok(());
        };
        let count = letters.len() as u64;
        let from = [(AT_KAFKA, "over Kafka"), (AT_STDIN, "on standard input")];
        if let Some((_, how)) = from.iter().find(|(entrance, _)| *entrance == id) {
            let what = format!("kept: rejected on arrival {how}; correct and send again");
            *results.entry(what).or_default() += count;
            return Ok(());
        }
        let all = config.resources.destinations();
        let Some(destination) = all.iter().find(|it| it.id.as_str() == id) else {
            *results.entry(format!("kept: no destination `{id}` any more")).or_default() += count;
            return Ok(());
        };
        if self.dry_run {
            *results.entry(format!("would be sent to {id}")).or_default() += count;
            return Ok(());
        }
        let records: Vec<_> = letters.iter().map(|letter| Arc::clone(&letter.record)).collect();
        let acks = block_on(async {
            let sink = destination.open(LogOutput::Stdout).await;
            Ok::<_, String>(
                redrive(destination, &sink.map_err(|error| error.to_string())?, &records).await,
            )
        });
        let acks = acks.map_err(|_| "the async runtime cannot start".to_owned())??;
        let mut delivered = Vec::new();
        for (letter, ack) in letters.into_iter().zip(acks) {
            let what = match ack {
                Ack::Delivered => {
                    delivered.push(letter.id);
                    format!("delivered to {id}")
                }
                Ack::Retry(fault) => format!("kept: {id} failed: {}", fault.message),
                Ack::Rejected(reason) => format!("kept: rejected by {id}: {reason}"),
            };
            *results.entry(what).or_default() += 1;
        }
        forget_dead_letters(&config.journal.directory, &delivered).map_err(|it| it.to_string())
    }
}
