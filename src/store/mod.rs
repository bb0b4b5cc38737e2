//! The control plane's memory: what users made through the API, in one SQLite file, or for a fleet in a
//! PostgreSQL database.
//!
//! Rows are sealed with the master key before they are written, so neither tells anybody a secret.
//! A write is one transaction, on disk when it returns, and takes the events that tell of it along:
//! a change and its audit event are both there or neither. What rows mean is `control`'s matter; what is of
//! an engine's own stays in its file or folder.

#[cfg(feature = "postgres")]
mod copy;
mod engine;
#[cfg(feature = "postgres")]
mod fleet;
mod guards;
mod held;
mod inspection;
#[cfg(feature = "postgres")]
mod moving;
#[cfg(feature = "postgres")]
mod postgres;
mod register;
mod seal;
mod settings;
mod sqlite;
mod sum;

use std::io;
use std::path::{Path, PathBuf};

use crate::event::{Timestamp, ksuid};

pub use engine::{Store, Turn};
pub use inspection::{CHANGED_OUTSIDE, Inspected};
#[cfg(feature = "postgres")]
pub use moving::{move_to_postgres, move_to_sqlite};
use seal::KEY_FILE;
pub use seal::{BadMasterKey, MASTER_KEY_VARIABLE, MasterKey};
pub use settings::{PostgresUrl, StoreSettings};

/// The kind of IP restrictions: who changes one has looked at them.
const RESTRICTIONS: &str = "ip_restrictions";

/// The file's name inside the data folder.
const FILE: &str = "control.db";

/// The file of the copy of what a fleet has, inside the data folder.
const COPY: &str = "control.copy.db";

/// What cannot be done with the store.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "a part tells of a fleet's store, which such a build lacks")
)]
pub enum StoreError {
    /// The file or its folder cannot be used.
    #[error("{0} cannot be used: {1}")]
    File(PathBuf, io::Error),
    #[error("the store {FILE} fails: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A later version of this program wrote the file.
    #[error("the store {FILE} has version {0}, written by a later sluicegate; this one knows versions up to {known}", known = sqlite::MIGRATIONS.len())]
    Newer(i64),
    #[error(transparent)]
    Key(BadMasterKey),
    /// The file was written with another key.
    #[error(
        "the store {FILE} was sealed with another key: set {MASTER_KEY_VARIABLE} to the one it was made with, or put its key file back"
    )]
    WrongKey,
    /// The file was written with a key that is nowhere now.
    #[error(
        "the store {FILE} is sealed, and its key is not here: put {KEY_FILE} back into {0}, or set {MASTER_KEY_VARIABLE} to the key; no new one was made, since it could not open what is there"
    )]
    NoKey(PathBuf),
    /// The disk had no room when the daemon started, so what the file holds can only be read.
    #[error(
        "the store {FILE} can only be read, since its disk had no room when the daemon started: {0}"
    )]
    Held(String),
    /// The database of a fleet cannot be reached, or cannot do what is asked.
    #[error("the store of the fleet cannot be reached: {0}")]
    Unreachable(String),
    /// The database went away over a change.
    #[error(
        "the store of the fleet went away over the change, which may have been made: read before you repeat it"
    )]
    Unknown,
    /// A fleet needs one key.
    #[error(
        "`control.store.postgres` needs {MASTER_KEY_VARIABLE}, the same for all daemons of the fleet: {} hexadecimal digits, such as `openssl rand -hex 32` prints",
        seal::KEY_DIGITS
    )]
    NoFleetKey,
    /// The database was written with another key.
    #[error(
        "the store of the fleet was sealed with another key: set {MASTER_KEY_VARIABLE} to the one that its other daemons have"
    )]
    WrongFleetKey,
    /// A later version of this program changed the tables so that this one cannot use them.
    #[error(
        "the tables of the fleet's store have version {0}, made by a later sluicegate: this one is too old for them"
    )]
    NewerSchema(i32),
    /// The target of a move is another installation's.
    #[error("nothing was moved: {0}")]
    NotEmpty(String),
    /// Daemons hold the database whose content is to be moved.
    #[error("nothing was moved: {0}: stop every daemon first")]
    InUse(String),
    /// There is nothing to move.
    #[error("there is nothing to move: no daemon has made {0}")]
    Nothing(PathBuf),
    /// Not all that is to be moved can be read.
    #[error("nothing was moved: {0}")]
    Damaged(String),
    /// There is nothing to go on from.
    #[error(
        "the store of the fleet cannot be reached, and there is no copy in {0} to go on from: {1}"
    )]
    NoCopy(PathBuf, String),
}

/// One resource as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is, such as `ip_policies`.
    pub kind: String,
    /// Its id, unique in its kind.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// All else, as JSON; sealed in the file.
    pub body: String,
}

/// One change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep the row, in place of one with its kind and id.
    Put(Row),
    Delete {
        kind: String,
        id: String,
    },
}

impl Change {
    fn kind(&self) -> &str {
        match self {
            Change::Put(row) => &row.kind,
            Change::Delete { kind, .. } => kind,
        }
    }

    fn id(&self) -> &str {
        match self {
            Change::Put(row) => &row.id,
            Change::Delete { id, .. } => id,
        }
    }
}

/// An event that still has to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order of all.
    pub number: i64,
    pub event: String,
}

/// Who this installation is: made once, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account's id, `ac_…`.
    pub account_id: String,
    /// The id of the account's one user, `usr_…`.
    pub user_id: String,
    /// What roles named through the API are assumed with: 128 random bits, and no secret.
    pub external_id: String,
    /// When they were made.
    pub created_at: Timestamp,
}

impl Identity {
    /// Values of a new installation, by their names.
    fn fresh() -> Vec<(&'static str, Vec<u8>)> {
        let now = Timestamp::now().whole_seconds();
        let id = |prefix| ksuid(prefix, now, rand::random());
        Identity {
            account_id: id("ac"),
            user_id: id("usr"),
            external_id: format!("sluicegate-{:032x}", rand::random::<u128>()),
            created_at: now,
        }
        .values()
    }

    /// Its values, by the names that they are kept under.
    fn values(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Identity { account_id, user_id, external_id, created_at } = self.clone();
        let created_at = created_at.to_string();
        [
            ("created_at", created_at),
            ("account_id", account_id),
            ("user_id", user_id),
            ("external_id", external_id),
        ]
        .map(|(name, value)| (name, value.into_bytes()))
        .into()
    }

    fn of_values(value: impl Fn(&str) -> Vec<u8>) -> Identity {
        let text = |name| String::from_utf8_lossy(&value(name)).into_owned();
        let now = Timestamp::now().whole_seconds();
        Identity {
            account_id: text("account_id"),
            user_id: text("user_id"),
            external_id: text("external_id"),
            created_at: Timestamp::parse(&text("created_at")).unwrap_or(now),
        }
    }
}

impl PostgresUrl {
    /// Reads a URL as libpq takes it.
    ///
    /// # Errors
    /// What is wrong with it, without what stands in it but names of parameters and modes.
    pub fn parse(text: &str) -> Result<PostgresUrl, String> {
        let url = PostgresUrl::split(text)?;
        #[cfg(feature = "postgres")]
        let checked = postgres::check(&url);
        #[cfg(not(feature = "postgres"))]
        let checked =
            Err("needs a sluicegate that was built with its feature `postgres`".to_owned());
        checked.map(|()| url)
    }
}

/// What a set has become since a version of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The version that it is news of.
    pub since: i64,
    pub version: i64,
    /// Whether these are all rows there are, and not only those that changed.
    pub whole: bool,
    /// Rows that were made or changed, as they are now.
    pub rows: Vec<Row>,
    /// Kinds and ids of what is there no more.
    pub gone: Vec<(String, String)>,
    /// What others did to the store: a sentence each, without an end mark.
    pub told: Vec<String>,
    /// Whether rows that keep addresses out are not those that were written; none where none of them is new.
    pub guards_changed: Option<bool>,
}

/// A daemon of a fleet as its store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub name: String,
    /// How long ago it last said something, by the database's clock.
    pub silent: std::time::Duration,
    /// What it said then; none where it cannot be opened.
    pub report: Option<String>,
}

/// What one daemon of a fleet asks of another, or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The number of the question.
    pub number: i64,
    pub text: String,
}

/// What was moved from one engine to the other.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub resources: u64,
    /// Events that still have to be published.
    pub events: u64,
}

#[cfg(feature = "postgres")]
impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (resources, events) = (
            crate::report::counted(self.resources, "resource"),
            crate::report::counted(self.events, "event"),
        );
        write!(f, "{resources} and {events} to publish")
    }
}

/// How well a fleet's store is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// For how long nothing was heard of it; zero while it answers.
    pub stale: std::time::Duration,
    /// Why it cannot be reached, if so.
    pub error: Option<String>,
}

/// The files of a data folder that hold secrets, or open them.
#[must_use]
pub fn secret_files(data_dir: &Path) -> [PathBuf; 3] {
    [FILE, COPY, KEY_FILE].map(|name| data_dir.join(name))
}

#[cfg(test)]
mod tests;
