//! `sluicegate dead-letters`: look at what could not be delivered, send it again, or throw it away.
//! Works beside a running daemon and without one, on its folder; by a daemon's API in `asked_letters`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::access::ToDaemon;
use super::api::Remote;
use super::asked_letters::{self, PATIENCE};
use super::bury::Bury;
use super::mended;
use super::progress::Progress;
use super::redriving::{Results, send, tell};
use super::table::table;
use super::{
    Failure, Outcome, OutputFormat, load_beside_journal, parse_duration, test_event, with_saved,
};
use crate::config::Config;
use crate::event::Timestamp;
use crate::journal::{ENTRANCES, Fate, StoredLetter, forget_dead_letters, read_dead_letters};
use crate::pipeline::{LetterChoice, without_record};
use crate::private;
use crate::report::{counted, escaped};

/// Letters sent in one go, so that memory stays small however many there are.
const REDRIVE_AT_ONCE: usize = 1_000;

/// Letters marked in one go.
const AT_ONCE: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List letters: when, where to, why
    List(List),
    /// Print one letter whole
    Show(Show),
    /// Print letters whole, one a line, to be mended, kept or read by other programs
    Export(Export),
    /// Send letters to their destinations again; those that are taken are gone
    Redrive(Redrive),
    /// Throw letters away
    Purge(Change),
    /// Make a dead letter of a record that a running daemon has set aside, since it keeps failing
    Bury(Bury),
}

#[derive(Debug, Default, Args)]
struct Chosen {
    /// The settings file, which says where the data is; with --api, a running daemon is asked
    #[arg(short, long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    #[command(flatten)]
    to: ToDaemon,
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
    /// The settings file, which says where the data is; with --api, a running daemon is asked
    #[arg(short, long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    #[command(flatten)]
    to: ToDaemon,
    /// How the letter is printed; json gives the record byte for byte
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    chosen: Chosen,
    /// The file to write, in place of what is there; else standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Redrive {
    #[command(flatten)]
    change: Change,
    /// Send what this file says in place of the letters themselves: lines of `export`, mended. Rejected
    /// events of Kafka and standard input are sent to the daemon's ingest
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The address of the daemon's ingest, for rejected events; else that of the settings
    #[arg(long, value_name = "URL", requires = "from")]
    ingest: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// Only these letters, by the ids that `list` prints
    #[arg(value_name = "ID")]
    ids: Vec<String>,
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
            DeadLetters::Export(export) => export.run(),
            DeadLetters::Redrive(redrive) => redrive.run(progress),
            DeadLetters::Purge(change) => change.purge(),
            DeadLetters::Bury(bury) => bury.run(),
        }
    }
}

/// The daemon that is named, if one is.
fn remote(to: &ToDaemon) -> Result<Option<Remote>, Failure> {
    let named = to.access.given().map(|_| Remote::to(to)).transpose()?;
    Ok(named.map(|it| it.with_patience(PATIENCE)))
}

impl Chosen {
    fn choice(&self) -> LetterChoice {
        LetterChoice {
            owner: self.destination.clone(),
            reason: self.reason.clone(),
            older_than: self.older_than,
            newer_than: self.newer_than,
            ..LetterChoice::default()
        }
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
        let (choice, now) = (self.choice(), Timestamp::now());
        let mut known = BTreeSet::new();
        let damaged = read_dead_letters(&config.journal.directory, |letter| {
            if !known.contains(&letter.destination) {
                known.insert(letter.destination.clone());
            }
            if choice.takes(&letter, now) { each(letter) } else { Ok(()) }
        })?;
        if damaged > 0 {
            let places = counted(damaged, "place");
            writeln!(io::stderr(), "{places} of the dead letters cannot be read: left out")?;
        }
        match &self.destination {
            Some(id) if !known.contains(id) && !ENTRANCES.contains(&id.as_str()) => {
                let config = with_saved(config.clone())?;
                let known = known.iter().map(String::as_str);
                test_event::find(&config, id, self.config.as_deref(), known).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Prints all letters of a folder for people, one a line.
pub(super) fn list_all(config: &Config) -> Outcome {
    List { chosen: Chosen::default(), output: OutputFormat::Table }.list(config)
}

impl List {
    fn run(self) -> Outcome {
        if let Some(remote) = remote(&self.chosen.to)? {
            return asked_letters::list(&remote, &self.chosen.choice(), self.output);
        }
        self.list(&load_beside_journal(self.chosen.config.as_deref())?)
    }

    fn list(&self, config: &Config) -> Outcome {
        let mut out = io::stdout().lock();
        let mut letters = Vec::new();
        self.chosen.read(config, |letter| match self.output {
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
        if let Some(remote) = remote(&self.to)? {
            return asked_letters::show(&remote, &self.id, self.output);
        }
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
            out.write_all(&letter.to_line())?;
            return Ok(out.write_all(b"\n")?);
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

impl Export {
    fn run(self) -> Outcome {
        if self.chosen.to.access.given().is_some() {
            let message = "`export` reads a folder: give -c FILE; `list` and `show` take --api";
            return Err(Failure::Usage(message.to_owned()));
        }
        let config = load_beside_journal(self.chosen.config.as_deref())?;
        let mut out: Box<dyn Write> = match &self.output {
            None => Box::new(io::stdout().lock()),
            Some(path) => {
                let mut options = private::file();
                let options = options.write(true).truncate(true);
                let cannot =
                    |error| Failure::work(format!("{} cannot be written: {error}", path.display()));
                Box::new(BufWriter::new(options.open(path).map_err(cannot)?))
            }
        };
        self.chosen.read(&config, |letter| {
            out.write_all(&letter.to_line())?;
            out.write_all(b"\n")
        })?;
        Ok(out.flush()?)
    }
}

impl Redrive {
    fn run(self, progress: Progress) -> Outcome {
        match &self.from {
            None => self.change.redrive(progress),
            Some(_) if self.change.all || !self.change.ids.is_empty() => {
                let message = "`--from` says which letters: give no ids and no --all beside it";
                Err(Failure::Usage(message.to_owned()))
            }
            Some(_) if self.change.chosen.to.access.given().is_some() => {
                Err(Failure::Usage("`--from` needs the folder: give -c FILE".to_owned()))
            }
            Some(file) => {
                let config = load_beside_journal(self.change.chosen.config.as_deref())?;
                let config = with_saved(config)?;
                let dry_run = self.change.dry_run;
                mended::redrive(&config, file, self.ingest.as_deref(), dry_run)
            }
        }
    }
}

impl Change {
    fn check(&self) -> Result<Config, Failure> {
        self.check_choice()?;
        load_beside_journal(self.chosen.config.as_deref())
    }

    fn check_choice(&self) -> Outcome {
        if !self.all && !self.chosen.choice().is_any() && self.ids.is_empty() {
            let message = "choose letters (see --help), or say --all";
            return Err(Failure::Work(message.to_owned()));
        }
        Ok(())
    }

    /// What is chosen, and the daemon that is named, if one is.
    fn remote(&self) -> Result<Option<(Remote, LetterChoice)>, Failure> {
        let Some(remote) = remote(&self.chosen.to)? else { return Ok(None) };
        self.check_choice()?;
        let ids = self.ids.iter().cloned().collect();
        Ok(Some((remote, LetterChoice { ids, ..self.chosen.choice() })))
    }

    /// Calls `each` with the chosen letters.
    ///
    /// # Errors
    /// Also when there is no letter of an id; those of the others were handed on then.
    fn read(
        &self,
        config: &Config,
        mut each: impl FnMut(StoredLetter) -> io::Result<()>,
    ) -> Outcome {
        let mut missing: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        self.chosen.read(config, |letter| {
            let is_chosen = self.ids.is_empty() || missing.remove(letter.id.as_str());
            if is_chosen { each(letter) } else { Ok(()) }
        })?;
        match missing.first() {
            None => Ok(()),
            Some(id) => Err(Failure::Work(format!("no letter `{id}`"))),
        }
    }

    fn purge(self) -> Outcome {
        if let Some((remote, choice)) = self.remote()? {
            return asked_letters::purge(&remote, &choice, self.dry_run);
        }
        let config = self.check()?;
        let folder = &config.journal.directory;
        let (mut waiting, mut count) = (Vec::new(), 0);
        let read = self.read(&config, |letter| {
            count += 1;
            waiting.push(without_record(letter));
            if self.dry_run || waiting.len() == AT_ONCE {
                let chosen = std::mem::take(&mut waiting);
                if !self.dry_run {
                    forget_dead_letters(folder, Fate::Purged, &chosen)?;
                }
            }
            Ok(())
        });
        if count == 0 && read.is_err() {
            return read;
        }
        forget_dead_letters(folder, Fate::Purged, &waiting)?;
        let verb = if self.dry_run { "would be thrown away" } else { "thrown away" };
        writeln!(io::stdout().lock(), "{} {verb}", counted(count, "letter"))?;
        read
    }

    fn redrive(self, progress: Progress) -> Outcome {
        if let Some((remote, choice)) = self.remote()? {
            let (results, missing) = asked_letters::redrive(&remote, &choice, self.dry_run)?;
            if results.is_empty() && missing.is_err() {
                return missing;
            }
            tell(&results, self.dry_run)?;
            return missing;
        }
        let config = with_saved(self.check()?)?;
        let mut waiting: BTreeMap<String, Vec<StoredLetter>> = BTreeMap::new();
        let mut results = Results::default();
        let bar = progress.unless_output_is_a_terminal().without_end("letters read");
        let read = self.read(&config, |letter| {
            bar.add(1);
            let letters = waiting.entry(letter.destination.clone()).or_default();
            letters.push(letter);
            if letters.len() == REDRIVE_AT_ONCE {
                let letters = std::mem::take(letters);
                send(&config, letters, self.dry_run, &mut results).map_err(io::Error::other)?;
            }
            Ok(())
        });
        for letters in waiting.into_values() {
            send(&config, letters, self.dry_run, &mut results).map_err(Failure::Work)?;
        }
        drop(bar);
        if results.is_empty() && read.is_err() {
            return read;
        }
        tell(&results, self.dry_run)?;
        read
    }
}
