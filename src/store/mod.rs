//! The control plane's memory: what users made through the API, in one SQLite file.
//!
//! Rows are sealed with the master key before they are written, so the file tells nobody a secret.
//! A write is one transaction, on disk when it returns, and takes the events that tell of it along:
//! a change and its audit event are both there or neither. What rows mean is `control`'s matter.

mod held;
mod inspection;
mod register;
mod seal;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tracing::warn;

use crate::event::{Timestamp, ksuid};
use crate::lock::lock;
use crate::private;

use inspection::RESTRICTIONS;
pub use inspection::{CHANGED_OUTSIDE, Inspected};
use inspection::{number, set_number};
use register::{Register, Written, hash};
use seal::KEY_FILE;
pub use seal::{BadMasterKey, MASTER_KEY_VARIABLE, MasterKey};

/// The file's name inside the data folder.
const FILE: &str = "control.db";

/// How long to wait for another process that writes: `api-key create` beside a daemon.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema, one step a version. Steps that were published are never changed.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE objects (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL);
"];

/// What is sealed beside the data, to tell a wrong key from damage: its kind, its id and its text.
const PROOF: (&str, &str) = ("meta", "proof");
const PROOF_TEXT: &str = "sluicegate";

/// What cannot be done with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be used.
    #[error("{0} cannot be used: {1}")]
    File(PathBuf, io::Error),
    #[error("the store {FILE} fails: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A later version of this program wrote the file.
    #[error("the store {FILE} has version {0}, written by a later sluicegate; this one knows versions up to {known}", known = MIGRATIONS.len())]
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

/// The store. All calls block on the disk.
pub struct Store {
    connection: Mutex<Connection>,
    key: MasterKey,
    directory: PathBuf,
    register: Register,
    /// Why it is held in memory, if it is.
    held: Option<String>,
    /// Rows that keep addresses out and were changed outside, as they are now.
    unaccepted: Mutex<Vec<Written>>,
}

fn external_id() -> String {
    format!("sluicegate-{:032x}", rand::random::<u128>())
}

/// The files of a data folder that hold secrets, or open them.
#[must_use]
pub fn secret_files(data_dir: &Path) -> [PathBuf; 2] {
    [FILE, KEY_FILE].map(|name| data_dir.join(name))
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store of a data folder, making both if need be. Without a key, the one in the
    /// folder's key file is used, and made at the first start.
    ///
    /// # Errors
    /// When a file cannot be used, is of a later version, or was sealed with another key.
    pub fn open(data_dir: &Path, key: Option<MasterKey>) -> Result<Store, StoreError> {
        private::make_folder(data_dir).map_err(|error| StoreError::File(data_dir.into(), error))?;
        let path = data_dir.join(FILE);
        // SQLite gives its other files the rights of this one.
        let made = private::file().append(true).open(&path);
        made.map_err(|error| StoreError::File(path.clone(), error))?;
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // The key comes before anything is written: a new one beside rows that it does not open
        // would hide that the old one is missing.
        let key = match sealed(&connection)? {
            Some(sealed) => sealed.opened_by(key, data_dir)?,
            None => match key {
                Some(key) => key,
                None => MasterKey::of_folder(data_dir)?,
            },
        };
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", true)?;
        migrate(&mut connection)?;
        let (directory, register) = (data_dir.to_owned(), Register::of_folder(data_dir));
        let connection = Mutex::new(connection);
        let store = Store {
            connection,
            key,
            directory,
            register,
            held: None,
            unaccepted: Mutex::default(),
        };
        store.prove_key()?;
        Ok(store)
    }

    /// Opens the store of a data folder, also beside a running daemon, and makes neither store nor
    /// key. `None` where there is no store, or nothing was kept in it yet.
    ///
    /// # Errors
    /// When a file cannot be used, is of a later version, or was sealed with another key.
    pub fn open_existing(
        data_dir: &Path,
        key: Option<MasterKey>,
    ) -> Result<Option<Store>, StoreError> {
        let path = data_dir.join(FILE);
        if !path.try_exists().map_err(|error| StoreError::File(path.clone(), error))? {
            return Ok(None);
        }
        // Only who may write can tidy SQLite's other files away when it closes.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let Some(sealed) = sealed(&connection)? else { return Ok(None) };
        let key = sealed.opened_by(key, data_dir)?;
        let (directory, register) = (data_dir.to_owned(), Register::of_folder(data_dir));
        let connection = Mutex::new(connection);
        Ok(Some(Store {
            connection,
            key,
            directory,
            register,
            held: None,
            unaccepted: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// A value of the `meta` table, made by `make` if it is not there.
    fn meta(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let connection = self.lock();
        connection.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![name, make()],
        )?;
        let value = "SELECT value FROM meta WHERE name = ?1";
        Ok(connection.query_row(value, [name], |row| row.get(0))?)
    }

    /// Keeps something sealed from the first start on, so that another key is noticed at once. Checked
    /// again here, since another process may have been the first.
    fn prove_key(&self) -> Result<(), StoreError> {
        let sealed = self.meta(PROOF.1, || self.key.seal(PROOF.0, PROOF.1, PROOF_TEXT))?;
        self.key.open(PROOF.0, PROOF.1, &sealed).map(drop).ok_or(StoreError::WrongKey)
    }

    /// Who this installation is.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn identity(&self) -> Result<Identity, StoreError> {
        let now = Timestamp::now().whole_seconds();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let id = |prefix| ksuid(prefix, now, rand::random()).into_bytes();
        let born = text(self.meta("created_at", || now.to_string().into_bytes())?);
        Ok(Identity {
            account_id: text(self.meta("account_id", || id("ac"))?),
            user_id: text(self.meta("user_id", || id("usr"))?),
            external_id: text(self.meta("external_id", || external_id().into_bytes())?),
            created_at: Timestamp::parse(&born).unwrap_or(now),
        })
    }

    /// All rows that open, or those of one kind. What others changed is told at the start
    /// ([`Store::inspect`]).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self, kind: Option<&str>) -> Result<Vec<Row>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT kind, id, created_at, body FROM objects WHERE ?1 IS NULL OR kind = ?1",
        )?;
        let mut found = statement.query([kind])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
            let sealed: Vec<u8> = row.get(3)?;
            if let Some(body) = self.key.open(&kind, &id, &sealed) {
                rows.push(Row { kind, id, created_at: row.get(2)?, body });
            }
        }
        Ok(rows)
    }

    /// Makes the changes and keeps the events that tell of them, all or nothing; on disk when it
    /// returns.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing has changed.
    pub fn write(&self, changes: &[Change], events: &[String]) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let accepts = changes.iter().any(|it| it.kind() == RESTRICTIONS);
        let mut written = if accepts { lock(&self.unaccepted).clone() } else { Vec::new() };
        for change in changes {
            match change {
                Change::Put(Row { kind, id, created_at, body }) => {
                    let sealed = self.key.seal(kind, id, body);
                    let hash = hash(kind, id, *created_at, &sealed);
                    written.push((kind.clone(), id.clone(), Some(hash)));
                    transaction
                        .prepare(
                            "INSERT INTO objects (kind, id, created_at, body)
                             VALUES (?1, ?2, ?3, ?4)
                             ON CONFLICT DO UPDATE SET body = excluded.body",
                        )?
                        .execute(params![kind, id, created_at, sealed])?;
                }
                Change::Delete { kind, id } => {
                    written.push((kind.clone(), id.clone(), None));
                    transaction
                        .prepare("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?
                        .execute(params![kind, id])?;
                }
            }
        }
        for event in events {
            transaction.prepare("INSERT INTO outbox (event) VALUES (?1)")?.execute([event])?;
        }
        // None before a daemon has begun the register.
        let number = number(&transaction, &self.key)?.map(|last| last + 1);
        if let Some(number) = number {
            set_number(&transaction, &self.key, number)?;
            let registered = self.register.write(&self.key, number, written);
            registered.map_err(|cause| self.unusable(cause))?;
        }
        transaction.commit()?;
        if accepts {
            lock(&self.unaccepted).clear();
        }
        if let Some(number) = number
            && let Err(error) = self.register.done(&self.key, number)
        {
            // The store has the change, and says so itself.
            warn!(%error, "the store's register is not up to date");
        }
        Ok(())
    }

    /// Events that still have to be published, the oldest first, at most `max`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn waiting(&self, max: usize) -> Result<Vec<Waiting>, StoreError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT number, event FROM outbox ORDER BY number LIMIT ?1")?;
        let events = statement
            .query_map([i64::try_from(max).unwrap_or(i64::MAX)], |row| {
                Ok(Waiting { number: row.get(0)?, event: row.get(1)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(events)
    }

    /// Forgets events up to a number, which were published.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn published(&self, up_to: i64) -> Result<(), StoreError> {
        self.check_writable()?;
        self.lock().prepare("DELETE FROM outbox WHERE number <= ?1")?.execute([up_to])?;
        Ok(())
    }

    /// A number that changes when another process has written, and is negative while the store is held in
    /// memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        if self.held.is_some() {
            return Ok(-1);
        }
        Ok(self.lock().pragma_query_value(None, "data_version", |row| row.get(0))?)
    }
}

/// Something of the store that is sealed, to try a key on.
struct Sealed {
    kind: String,
    id: String,
    body: Vec<u8>,
}

/// The proof, or any row where somebody took the proof away; none where nothing was kept yet.
fn sealed(connection: &Connection) -> Result<Option<Sealed>, StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > MIGRATIONS.len() as i64 {
        return Err(StoreError::Newer(version));
    }
    if version == 0 {
        return Ok(None);
    }
    let first = "
        SELECT kind, id, body FROM (
            SELECT 0 AS place, ?1 AS kind, name AS id, value AS body FROM meta WHERE name = ?2
            UNION ALL SELECT 1, kind, id, body FROM objects
        ) ORDER BY place LIMIT 1";
    let row = connection.query_row(first, PROOF, |row| {
        Ok(Sealed { kind: row.get(0)?, id: row.get(1)?, body: row.get(2)? })
    });
    Ok(row.optional()?)
}

impl Sealed {
    /// The key that is given or lies in the folder, if it opens this.
    fn opened_by(&self, key: Option<MasterKey>, folder: &Path) -> Result<MasterKey, StoreError> {
        let key = match key {
            Some(key) => key,
            None => MasterKey::of_existing_file(folder)?
                .ok_or_else(|| StoreError::NoKey(folder.to_owned()))?,
        };
        key.open(&self.kind, &self.id, &self.body).ok_or(StoreError::WrongKey)?;
        Ok(key)
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    // Nothing is written where nothing is to be done: the disk may be full.
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == MIGRATIONS.len() as i64 {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(steps) = MIGRATIONS.get(done..) else { return Err(StoreError::Newer(version)) };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
