//! The store while its disk takes nothing more: what the file holds is read into memory, so that a
//! daemon starts with what it has. Nothing can be changed then; who owns the store asks now and then
//! whether it can be opened for writing again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::register::Register;
use super::sqlite::{MIGRATIONS, Sqlite, sealed};
use super::{FILE, MasterKey, StoreError};

impl StoreError {
    /// Whether more room on the disk may help.
    fn is_want_of_room(&self) -> bool {
        match self {
            StoreError::File(_, cause) => matches!(
                cause.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            ),
            // SQLite says no more than this when it cannot make its file of shared memory.
            StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => matches!(
                failure.code,
                ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen
            ),
            _ => false,
        }
    }
}

impl Sqlite {
    /// The same as [`Sqlite::open`], but where the disk has no room what the file holds is held in memory,
    /// and nothing can be changed ([`Sqlite::cannot_write`]).
    ///
    /// # Errors
    /// When a file cannot be read, is of a later version, or was sealed with another key.
    pub(super) fn open_or_hold(
        data_dir: &Path,
        key: Option<MasterKey>,
    ) -> Result<Sqlite, StoreError> {
        match Sqlite::open(data_dir, key.clone()) {
            Err(cause) if cause.is_want_of_room() => Sqlite::hold(data_dir, key, cause.to_string()),
            opened => opened,
        }
    }

    fn hold(data_dir: &Path, key: Option<MasterKey>, cause: String) -> Result<Sqlite, StoreError> {
        let connection = read_into_memory(&data_dir.join(FILE))?;
        let key = match sealed(&connection)? {
            Some(sealed) => sealed.opened_by(key, data_dir)?,
            // It seals nothing that outlives this process.
            None => key.unwrap_or_else(MasterKey::fresh),
        };
        let connection = Mutex::new(connection);
        let (directory, register) = (data_dir.to_owned(), Register::of_folder(data_dir));
        Ok(Sqlite { connection, key, directory, register, held: Some(cause) })
    }

    /// Why nothing can be changed, if so: the disk had no room when the store was opened.
    #[must_use]
    pub(super) fn cannot_write(&self) -> Option<&str> {
        self.held.as_deref()
    }

    /// Opens the file of a held store for writing; the installation stays who it is.
    ///
    /// # Errors
    /// When it still cannot be opened.
    pub(super) fn reopened(&self) -> Result<Sqlite, StoreError> {
        let key = MasterKey::of_environment().map_err(StoreError::Key)?;
        let store = Sqlite::open(&self.directory, key)?;
        let identity = {
            let connection = self.lock();
            let mut statement = connection.prepare("SELECT name, value FROM meta")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<(String, Vec<u8>)>, _>>()?
        };
        for (name, value) in identity {
            store.meta(&name, || value)?;
        }
        Ok(store)
    }

    /// Refuses a change while the store is held in memory.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        match &self.held {
            Some(reason) => Err(StoreError::Held(reason.clone())),
            None => Ok(()),
        }
    }
}

/// A copy in memory of what a store's file holds; an empty store where there is nothing yet.
fn read_into_memory(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let memory = Connection::open_in_memory_with_flags(flags)?;
    let failed = |kind: io::ErrorKind| StoreError::File(path.to_owned(), kind.into());
    let mut version = 0;
    let is_there = fs::metadata(path).is_ok_and(|it| it.len() > 0);
    if is_there {
        let name = path.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename))?;
        // Before the file is opened, so that SQLite keeps its index of the log in memory and wants no file
        // for it.
        memory.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        memory.execute("ATTACH ?1 AS disk", [name])?;
        version = memory.pragma_query_value(Some("disk"), "user_version", |row| row.get(0))?;
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let (made, missing) = MIGRATIONS.split_at_checked(done).ok_or(StoreError::Newer(version))?;
    for step in made {
        memory.execute_batch(step)?;
    }
    if done > 0 {
        let mut statement = memory.prepare(
            "SELECT name FROM disk.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        )?;
        let tables = statement.query_map(params![], |row| row.get::<_, String>(0))?;
        for table in tables.collect::<Result<Vec<_>, _>>()? {
            let copy = format!("INSERT INTO main.\"{table}\" SELECT * FROM disk.\"{table}\"");
            memory.execute(&copy, [])?;
        }
    }
    for step in missing {
        memory.execute_batch(step)?;
    }
    memory.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    if is_there {
        memory.execute("DETACH disk", [])?;
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Row};

    fn row(id: &str) -> Row {
        let (kind, body) = ("ip_policies".to_owned(), "{}".to_owned());
        Row { kind, id: id.to_owned(), created_at: 7, body }
    }

    fn held(folder: &Path, key: Option<MasterKey>) -> Result<Sqlite, StoreError> {
        Sqlite::hold(folder, key, "no room".to_owned())
    }

    #[test]
    fn what_is_there_can_be_read_until_it_can_be_changed_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open_or_hold(folder.path(), None).unwrap();
        store.write(&[Change::Put(row("one"))], &["{}".to_owned()]).unwrap();
        let identity = store.identity().unwrap();
        drop(store);
        let held = held(folder.path(), None).unwrap();
        assert!(held.cannot_write().is_some());
        assert_eq!(held.load(None).unwrap(), [row("one")]);
        assert_eq!(held.waiting(0, 9).unwrap().len(), 1);
        assert_eq!(held.identity().unwrap(), identity);
        let refused = held.write(&[Change::Put(row("two"))], &[]).unwrap_err();
        assert!(matches!(refused, StoreError::Held(_)), "{refused}");
        let store = held.reopened().unwrap();
        assert!(store.cannot_write().is_none());
        assert_ne!(store.version().unwrap(), held.version().unwrap());
        store.write(&[Change::Put(row("two"))], &[]).unwrap();
        assert_eq!(store.load(None).unwrap(), [row("one"), row("two")]);
    }

    #[test]
    fn an_installation_that_is_made_on_a_full_disk_stays_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let held = held(folder.path(), None).unwrap();
        let identity = held.identity().unwrap();
        assert_eq!(held.reopened().unwrap().identity().unwrap(), identity);
    }

    #[test]
    fn a_wrong_key_is_told_on_a_full_disk_too() {
        let folder = tempfile::tempdir().unwrap();
        drop(Sqlite::open(folder.path(), None).unwrap());
        let refused = held(folder.path(), Some(MasterKey::fresh())).unwrap_err();
        assert!(matches!(refused, StoreError::WrongKey), "{refused}");
    }
}
