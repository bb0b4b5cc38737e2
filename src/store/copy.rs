//! The copy of what a fleet has, in the data folder, so that a daemon starts while the database is away.
//!
//! It is a file of the other engine's, sealed with the same key, and brought up to date with each change that
//! the daemon sees. A daemon whose copy cannot be written goes on without; only its next start needs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::seal::MasterKey;
use super::sqlite::Sqlite;
use super::{COPY, Identity, News, Row, StoreError};
use crate::event::Timestamp;

/// What the copy is of.
const VERSION: &str = "fleet_version";
/// When the database was last heard of, in seconds since 1970.
const SEEN_AT: &str = "fleet_seen_at";
/// The daemon's name in the fleet.
const NAME: &str = "daemon";

/// The copy of one data folder.
pub(super) struct Copy(Sqlite);

impl Copy {
    /// Opens the copy of a data folder, and makes it if need be. One that another key sealed is made anew.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn open(data_dir: &Path, key: &MasterKey) -> Result<Copy, StoreError> {
        let open = || Sqlite::open_file(data_dir, COPY, Some(key.clone()));
        let sqlite = match open() {
            Err(StoreError::WrongKey | StoreError::Newer(_)) => {
                remove(&data_dir.join(COPY))?;
                open()?
            }
            opened => opened?,
        };
        // A power cut may take the last changes, and leaves what was before them.
        sqlite.lock().pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Copy(sqlite))
    }

    /// The name of this daemon, which stays what it was first.
    pub(super) fn name(&self, fresh: String) -> Result<String, StoreError> {
        let name = self.0.meta(NAME, || fresh.into_bytes())?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    /// The version that it is a copy of; none if it is of nothing yet.
    pub(super) fn version(&self) -> Result<Option<i64>, StoreError> {
        number(&self.0.lock(), VERSION)
    }

    /// For how long the database was not heard of.
    pub(super) fn age(&self) -> Result<Duration, StoreError> {
        let seen = number(&self.0.lock(), SEEN_AT)?.unwrap_or(0);
        let age = Timestamp::now().seconds.saturating_sub(seen);
        Ok(Duration::from_secs(u64::try_from(age).unwrap_or(0)))
    }

    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        self.0.identity()
    }

    pub(super) fn rows(&self) -> Result<Vec<Row>, StoreError> {
        self.0.load(None)
    }

    /// Notes that the database answers.
    pub(super) fn note_seen(&self) -> Result<(), StoreError> {
        set_number(&self.0.lock(), SEEN_AT, Timestamp::now().seconds)
    }

    /// Takes news into the copy. Tells whether it could: news of a version that it has not reached cannot be.
    pub(super) fn take(&self, identity: &Identity, news: &News) -> Result<bool, StoreError> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = number(&transaction, VERSION)?;
        if !news.whole {
            match version {
                Some(version) if version >= news.version => return Ok(true),
                Some(version) if version >= news.since => {}
                _ => return Ok(false),
            }
        }
        if news.whole {
            transaction.execute("DELETE FROM objects", [])?;
            for (name, value) in identity.values() {
                put(&transaction, name, &value)?;
            }
        }
        for Row { kind, id, created_at, body } in &news.rows {
            let sealed = self.0.key.seal(kind, id, body);
            transaction
                .prepare(
                    "INSERT INTO objects (kind, id, created_at, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET body = excluded.body",
                )?
                .execute(params![kind, id, created_at, sealed])?;
        }
        for (kind, id) in &news.gone {
            transaction
                .prepare("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?
                .execute(params![kind, id])?;
        }
        set_number(&transaction, VERSION, news.version)?;
        set_number(&transaction, SEEN_AT, Timestamp::now().seconds)?;
        transaction.commit()?;
        Ok(true)
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    for ending in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{ending}", path.display()));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File(path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(connection: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let value = "SELECT value FROM meta WHERE name = ?1";
    let text: Option<Vec<u8>> = connection.query_row(value, [name], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
}

fn put(connection: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(put, params![name, value])?;
    Ok(())
}

fn set_number(connection: &Connection, name: &str, number: i64) -> Result<(), StoreError> {
    put(connection, name, number.to_string().as_bytes())
}
