//! The engine of one daemon: SQLite, in one file of its data folder.
//!
//! `inspection`, `register` and `guards` look at what others did to the file, `held` reads it while its disk takes
//! nothing more. What is common to both engines stands in `mod.rs`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tracing::warn;

use super::register::{Register, hash};
use super::seal::{MasterKey, PROOF, PROOF_TEXT};
use super::{Change, FILE, Identity, Row, StoreError, Waiting, guards};
use crate::lock::lock;
use crate::private;

/// How long to wait for another process that writes: `api-key create` beside a daemon.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema, one step a version. Steps that were published are never changed.
pub(super) const MIGRATIONS: [&str; 1] = ["
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

/// Where the number of the last change stands, sealed: its kind and its id.
const NUMBER: (&str, &str) = ("meta", "register");

/// The store of one file. All calls block on the disk.
pub(super) struct Sqlite {
    pub(super) connection: Mutex<Connection>,
    pub(super) key: MasterKey,
    pub(super) directory: PathBuf,
    pub(super) register: Register,
    /// Why it is held in memory, if it is.
    pub(super) held: Option<String>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    /// Opens the store of a data folder, making both if need be. Without a key, the one in the
    /// folder's key file is used, and made at the first start.
    ///
    /// # Errors
    /// When a file cannot be used, is of a later version, or was sealed with another key.
    pub(super) fn open(data_dir: &Path, key: Option<MasterKey>) -> Result<Sqlite, StoreError> {
        Sqlite::open_file(data_dir, FILE, key)
    }

    /// The same with another name of the file.
    pub(super) fn open_file(
        data_dir: &Path,
        name: &str,
        key: Option<MasterKey>,
    ) -> Result<Sqlite, StoreError> {
        private::make_folder(data_dir).map_err(|error| StoreError::File(data_dir.into(), error))?;
        let path = data_dir.join(name);
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
        let store = Sqlite { connection, key, directory, register, held: None };
        store.prove_key()?;
        Ok(store)
    }

    /// Opens the store of a data folder, also beside a running daemon, and makes neither store nor
    /// key. `None` where there is no store, or nothing was kept in it yet.
    ///
    /// # Errors
    /// When a file cannot be used, is of a later version, or was sealed with another key.
    pub(super) fn open_existing(
        data_dir: &Path,
        key: Option<MasterKey>,
    ) -> Result<Option<Sqlite>, StoreError> {
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
        Ok(Some(Sqlite { connection, key, directory, register, held: None }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// A value of the `meta` table, made by `make` if it is not there.
    pub(super) fn meta(
        &self,
        name: &str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
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
    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        let mut kept = Vec::new();
        for (name, value) in Identity::fresh() {
            kept.push((name, self.meta(name, || value)?));
        }
        let of_name = |name: &str| kept.iter().find(|(it, _)| *it == name);
        Ok(Identity::of_values(|name| of_name(name).map(|it| it.1.clone()).unwrap_or_default()))
    }

    /// All rows that open, or those of one kind. What others changed is told at the start
    /// ([`Sqlite::inspect`]).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn load(&self, kind: Option<&str>) -> Result<Vec<Row>, StoreError> {
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
    pub(super) fn write(&self, changes: &[Change], events: &[String]) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // None before a daemon has begun the register.
        let last = number(&transaction, &self.key)?;
        let guards = guards::written(&transaction, &self.key, last)?;
        let guards = (guards, guards::touched(&transaction, changes)?);
        let mut written = Vec::new();
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
        let number = last.map(|last| last + 1);
        if let Some(number) = number {
            set_number(&transaction, &self.key, number)?;
            if let Some(sum) = guards::after(&transaction, changes, guards)? {
                guards::set(&transaction, &self.key, number, sum)?;
            }
            let registered = self.register.write(&self.key, number, written);
            registered.map_err(|cause| self.unusable(cause))?;
        }
        transaction.commit()?;
        if let Some(number) = number
            && let Err(error) = self.register.done(&self.key, number)
        {
            // The store has the change, and says so itself.
            warn!(%error, "the store's register is not up to date");
        }
        Ok(())
    }

    /// Events behind a number that still have to be published, the oldest first, at most `max`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn waiting(&self, after: i64, max: usize) -> Result<Vec<Waiting>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT number, event FROM outbox WHERE number > ?1 ORDER BY number LIMIT ?2",
        )?;
        let events = statement
            .query_map([after, i64::try_from(max).unwrap_or(i64::MAX)], |row| {
                Ok(Waiting { number: row.get(0)?, event: row.get(1)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(events)
    }

    /// Forgets events that were published.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn published(&self, numbers: &[i64]) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for number in numbers {
            transaction.prepare("DELETE FROM outbox WHERE number = ?1")?.execute([number])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// A number that changes when another process has written, and is negative while the store is held in
    /// memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn version(&self) -> Result<i64, StoreError> {
        if self.held.is_some() {
            return Ok(-1);
        }
        Ok(self.lock().pragma_query_value(None, "data_version", |row| row.get(0))?)
    }
}

/// Something of the store that is sealed, to try a key on.
pub(super) struct Sealed {
    kind: String,
    id: String,
    body: Vec<u8>,
}

/// The proof, or any row where somebody took the proof away; none where nothing was kept yet.
pub(super) fn sealed(connection: &Connection) -> Result<Option<Sealed>, StoreError> {
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
    pub(super) fn opened_by(
        &self,
        key: Option<MasterKey>,
        folder: &Path,
    ) -> Result<MasterKey, StoreError> {
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

/// The number of the last change; none before a daemon has begun the register.
pub(super) fn number(connection: &Connection, key: &MasterKey) -> Result<Option<i64>, StoreError> {
    let value = "SELECT value FROM meta WHERE name = ?1";
    let sealed: Option<Vec<u8>> =
        connection.query_row(value, [NUMBER.1], |row| row.get(0)).optional()?;
    let text = sealed.and_then(|sealed| key.open(NUMBER.0, NUMBER.1, &sealed));
    Ok(text.and_then(|text| text.parse().ok()))
}

pub(super) fn set_number(
    connection: &Connection,
    key: &MasterKey,
    number: i64,
) -> Result<(), StoreError> {
    let sealed = key.seal(NUMBER.0, NUMBER.1, &number.to_string());
    let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(put, params![NUMBER.1, sealed])?;
    Ok(())
}
