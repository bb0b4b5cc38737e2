//! An installation's way from one engine to the other: all of it, with its identity, its ids and its order.
//!
//! The target takes all or nothing before the source lets go; a source that has been moved is set aside or
//! emptied, so that nobody goes on with it by mistake. That no daemon has the data folder is the caller's matter.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{TransactionBehavior, params};

use super::postgres::Postgres;
use super::seal::MasterKey;
use super::settings::PostgresUrl;
use super::sqlite::Sqlite;
use super::{Change, FILE, Identity, Moved, Row, StoreError, register};

/// What files are called that were moved.
const MOVED: &str = "moved";

/// An installation in memory.
struct Whole {
    identity: Identity,
    rows: Vec<Row>,
    events: Vec<String>,
}

impl Whole {
    fn moved(&self) -> Moved {
        Moved { resources: self.rows.len() as u64, events: self.events.len() as u64 }
    }
}

/// Takes what SQLite's file in a data folder holds into a database. The file is set aside.
///
/// # Errors
/// When there is nothing to move or not all of it opens, when daemons hold the database or there is something in
/// it, or when either fails; then nothing has changed.
pub fn move_to_postgres(
    data_dir: &Path,
    url: &PostgresUrl,
    key: Option<MasterKey>,
) -> Result<Moved, StoreError> {
    let fleet_key = key.clone().ok_or(StoreError::NoFleetKey)?;
    let opened = match Sqlite::open_existing(data_dir, key) {
        // It may have been sealed with the key of its folder before there was one for the fleet.
        Err(StoreError::WrongKey) => Sqlite::open_existing(data_dir, None),
        opened => opened,
    };
    let sqlite = opened?.ok_or_else(|| StoreError::Nothing(data_dir.join(FILE)))?;
    let whole = sqlite.whole()?;
    let changes: Vec<Change> = whole.rows.iter().cloned().map(Change::Put).collect();
    let postgres = Postgres::for_move(url, fleet_key)?;
    postgres.fill(&whole.identity, &changes, &whole.events)?;
    drop(sqlite);
    set_aside(data_dir)?;
    Ok(whole.moved())
}

/// Takes what a database holds into SQLite's file of a data folder. The database is emptied. `with_use` puts
/// into a row's body when it was last used, in seconds since 1970.
///
/// # Errors
/// When daemons hold the database, when there is something in the file, when not all rows open, or when either
/// fails; then the database has what it had.
pub fn move_to_sqlite(
    data_dir: &Path,
    url: &PostgresUrl,
    key: Option<MasterKey>,
    with_use: impl Fn(&str, i64) -> String,
) -> Result<Moved, StoreError> {
    let key = key.ok_or(StoreError::NoFleetKey)?;
    if let Some(sqlite) = Sqlite::open_existing(data_dir, Some(key.clone()))? {
        let whole = sqlite.whole()?;
        if !whole.rows.is_empty() || !whole.events.is_empty() {
            let (path, moved) = (data_dir.join(FILE), whole.moved());
            return Err(StoreError::NotEmpty(format!("{} has {moved}", path.display())));
        }
    }
    let postgres = Postgres::for_move(url, key.clone())?;
    postgres.check_alone()?;
    let identity = postgres.identity(None)?;
    let news = postgres.news(0)?.unwrap_or_default();
    if let Some(told) = news.told.first() {
        return Err(StoreError::Damaged(told.clone()));
    }
    let mut whole = Whole { identity, rows: news.rows, events: postgres.all_waiting()? };
    let uses: HashMap<String, i64> = postgres.uses(&[], 0)?.into_iter().collect();
    for row in &mut whole.rows {
        if let Some(last) = uses.get(&row.id) {
            row.body = with_use(&row.body, *last);
        }
    }
    set_aside(data_dir)?;
    Sqlite::open(data_dir, Some(key))?.fill(&whole)?;
    postgres.clear()?;
    Ok(whole.moved())
}

/// Renames what there is of SQLite's store in a data folder; a copy that was set aside before gives way.
fn set_aside(data_dir: &Path) -> Result<(), StoreError> {
    for name in
        [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm"), register::FILE.to_owned()]
    {
        let path = data_dir.join(&name);
        let aside = PathBuf::from(format!("{}.{MOVED}", path.display()));
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::File(path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Sqlite {
    /// Everything that it holds.
    fn whole(&self) -> Result<Whole, StoreError> {
        let rows = self.load(None)?;
        let count = "SELECT count(*) FROM objects";
        let count: i64 = self.lock().query_row(count, [], |row| row.get(0))?;
        let lost = count - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if lost > 0 {
            return Err(StoreError::Damaged(format!("{lost} of its rows do not open")));
        }
        let waiting = self.waiting(0, usize::MAX)?;
        let events = waiting.into_iter().map(|it| it.event).collect();
        Ok(Whole { identity: self.identity()?, rows, events })
    }

    /// Writes everything into a file that has nothing.
    fn fill(&self, whole: &Whole) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (name, value) in whole.identity.values() {
            let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)
                ON CONFLICT DO UPDATE SET value = excluded.value";
            transaction.execute(put, params![name, value])?;
        }
        for Row { kind, id, created_at, body } in &whole.rows {
            let sealed = self.key.seal(kind, id, body);
            transaction
                .prepare(
                    "INSERT INTO objects (kind, id, created_at, body) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![kind, id, created_at, sealed])?;
        }
        for event in &whole.events {
            transaction.prepare("INSERT INTO outbox (event) VALUES (?1)")?.execute([event])?;
        }
        Ok(transaction.commit()?)
    }
}
