//! `sluicegate journal`: delivers what another daemon's folder holds, or lets go of what waits for a
//! destination that will not come back.

use std::io::{self, Write as _};
use std::path::PathBuf;

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::json;

use super::access::ToDaemon;
use super::api::Remote;
use super::progress::Progress;
use super::{
    Failure, Outcome, OutputFormat, block_on, dead_letters, ledger, load, load_beside_journal,
    with_saved,
};
use crate::api::ledger_to_json;
use crate::daemon::{Signals, adopt};
use crate::journal::{Account, Durability, forget_pending, read_accounts};
use crate::report::{counted, escaped, nearest};
use crate::resources::ResourceId;
use crate::sinks::LogOutput;

#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Deliver what waits in the folder of a daemon that will not come back, and end when nothing does.
    /// Nothing is taken in. The ledger and the dead letters of that folder are printed in the end, and stay
    /// there. Exit code 1 if records are left
    Adopt(Adopt),
    /// Give up all records that wait for a destination that is neither in the settings any more nor was
    /// made through the API. The daemon must be stopped, or do it itself (--api). They count as dropped in the
    /// ledger
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// The destination's id, as `sluicegate ledger` prints it
    #[arg(long, value_name = "ID")]
    destination: String,
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    #[command(flatten)]
    to: ToDaemon,
}

#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// The `data_dir` of the daemon that is gone
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The settings file with its destinations; its own `data_dir` is not touched
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl JournalCommand {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        match self {
            JournalCommand::Adopt(adopt) => adopt.run(progress),
            JournalCommand::Forget(forget) => forget.run(),
        }
    }
}

impl Adopt {
    fn run(self, progress: Progress) -> Outcome {
        let mut config = load(self.config.as_deref())?;
        let journal = self.folder.join("journal");
        if !journal.is_dir() {
            let (folder, journal) = (self.folder.display(), journal.display());
            let message = format!("{folder} is no daemon's `data_dir`: there is no {journal}");
            return Err(Failure::Work(message));
        }
        config.data_dir = self.folder;
        config.journal.directory = journal;
        config.journal.durability = Durability::Disk;
        let config = with_saved(config)?;
        let bar = progress.of_bytes(0, "recovering the journal");
        let recovery = move |done, total| bar.set(done, total);
        let adopted = block_on(async {
            let signals = Signals::listen()?;
            let adopting = adopt(&config, signals, LogOutput::Stdout, recovery);
            adopting.await.map_err(Failure::work)
        })??;
        let sums = ledger::show(&ledger_to_json(&adopted.ledger), OutputFormat::Table);
        dead_letters::list_all(&config)?;
        if let Some(task) = adopted.failed {
            return Err(Failure::task_failed(task));
        }
        let left = |(id, account): &(ResourceId, Account)| {
            let records = counted(account.pending_records, "record");
            (account.pending_records > 0).then(|| format!("{records} for `{id}`"))
        };
        let left: Vec<String> = adopted.ledger.accounts.iter().filter_map(left).collect();
        if left.is_empty() {
            return sums;
        }
        let mut message = format!("left in the folder: {}", left.join(", "));
        if let Some((id, _)) = adopted.unclaimed.first() {
            message.push_str(&format!(
                ". Neither the settings nor the folder's API know `{id}`: put it into the file, or let go of its records with `sluicegate journal forget`"
            ));
        }
        Err(Failure::Work(message))
    }
}

impl Forget {
    fn run(self) -> Outcome {
        if self.to.access.given().is_some() {
            let remote = Remote::to(&self.to)?;
            let body = json!({"destination_id": self.destination});
            let answer = block_on(remote.must(Method::POST, "/journal/forget", Some(body)))??;
            return tell_forgotten(
                &self.destination,
                answer["forgotten"].as_u64().unwrap_or_default(),
            );
        }
        let config = load_beside_journal(self.config.as_deref())?;
        let id = ResourceId::new(&self.destination).map_err(Failure::work)?;
        if config.resources.destination(&id).is_some() {
            let message = format!("`{id}` is in the settings: take it out of them first");
            return Err(Failure::Work(message));
        }
        let config = with_saved(config)?;
        if config.resources.destination(&id).is_some() {
            let message = format!("`{id}` was made through the API: delete it there first");
            return Err(Failure::Work(message));
        }
        let folder = &config.journal.directory;
        let cannot = |error: io::Error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                Failure::work("a daemon uses the journal: stop it first, its records are kept")
            }
            _ => Failure::work(format!("{}: {error}", folder.display())),
        };
        let accounts = read_accounts(folder).map_err(cannot)?;
        if !accounts.iter().any(|(known, _)| *known == id) {
            let mut message = format!("the journal knows no destination `{id}`");
            if let Some(name) = nearest(id.as_str(), accounts.iter().map(|(it, _)| it.as_str())) {
                message.push_str(&format!(", did you mean `{name}`?"));
            }
            return Err(Failure::Work(message));
        }
        let records = forget_pending(&config.journal, &id).map_err(cannot)?;
        tell_forgotten(id.as_str(), records)
    }
}

fn tell_forgotten(id: &str, records: u64) -> Outcome {
    let records = counted(records, "record");
    Ok(writeln!(io::stdout().lock(), "given up: {records} for `{}`", escaped(id))?)
}
