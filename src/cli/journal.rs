//! `sluicegate journal forget`: lets go of what waits for a destination that will not come back.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, load_beside_journal, with_saved};
use crate::journal::{forget_pending, read_accounts};
use crate::report::{counted, nearest};
use crate::resources::ResourceId;

#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Give up all records that wait for a destination that is neither in the settings any more nor was
    /// made through the API. The daemon must be stopped. They count as dropped in the ledger
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// The destination's id, as `sluicegate ledger` prints it
    #[arg(long, value_name = "ID")]
    destination: String,
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl JournalCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            JournalCommand::Forget(forget) => forget.run(),
        }
    }
}

impl Forget {
    fn run(self) -> Outcome {
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
        let records = counted(records, "record");
        Ok(writeln!(io::stdout().lock(), "given up: {records} for `{id}`")?)
    }
}
