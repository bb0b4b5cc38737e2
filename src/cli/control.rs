//! `sluicegate control`: what was made through the API, as a whole.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, load};
use crate::control::{MoveTo, PostgresUrl, StoreSettings, move_installation};
use crate::journal::hold_folder;

#[derive(Debug, Subcommand)]
pub(super) enum ControlCommand {
    /// Take what was made through the API from `data_dir` into a PostgreSQL database, or back. No daemon of either
    /// may run, and the target must be empty. The source is set aside (`control.db.moved`) or emptied
    Move(Move),
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The settings file, which names `data_dir` and, for a move back or without a URL, the database
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// `postgres` (the database of `control.store.postgres.url`), the URL of a database, or `sqlite`
    // The URL of the settings may stand in the environment, where an argument is seen by everyone.
    #[arg(long, value_name = "ENGINE")]
    to: String,
}

impl ControlCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            ControlCommand::Move(it) => it.run(),
        }
    }
}

impl Move {
    fn run(self) -> Outcome {
        let config = load(Some(&self.config))?;
        let of_settings = match &config.control.store {
            StoreSettings::Postgres { url, .. } => Some(url.clone()),
            StoreSettings::Sqlite => None,
        };
        let file = self.config.display();
        let named = || {
            let missing = format!("{file} names no database: set `control.store.postgres.url`");
            of_settings.ok_or(Failure::Work(missing))
        };
        let (to, url) = match self.to.as_str() {
            "sqlite" => (MoveTo::Sqlite, named()?),
            "postgres" => (MoveTo::Postgres, named()?),
            url if url.contains("://") => {
                let wrong = |error| Failure::Usage(format!("the URL of `--to` {error}"));
                (MoveTo::Postgres, PostgresUrl::parse(url).map_err(wrong)?)
            }
            other => {
                let message = format!("`--to {other}`: give `postgres`, `sqlite`, or a URL");
                return Err(Failure::Usage(message));
            }
        };
        let _held = hold_folder(&config.journal.directory).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                Failure::work("a daemon uses `data_dir`: stop it first, nothing was moved")
            }
            _ => Failure::work(format!("{}: {error}", config.journal.directory.display())),
        })?;
        let moved = move_installation(&config.data_dir, &url, to).map_err(Failure::work)?;
        let mut out = io::stdout().lock();
        let (whereto, next) = match to {
            MoveTo::Postgres => (
                "into the database",
                "daemons find it there with `control.store.postgres.url` and the same SLUICEGATE_MASTER_KEY",
            ),
            MoveTo::Sqlite => (
                "into control.db",
                "take `control.store` out of the settings, and keep SLUICEGATE_MASTER_KEY set",
            ),
        };
        writeln!(out, "moved {whereto}: {moved}")?;
        Ok(writeln!(out, "next: {next}")?)
    }
}
