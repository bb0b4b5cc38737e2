//! The look at the store when the daemon starts: does it hold what this program wrote last?
//!
//! What it finds is told and is no reason not to start. A row that does not open is left out; one that
//! opens is taken as it is, since a backup that was put back on purpose looks the same. That rows which keep addresses
//! out are not those that were written, or that nothing tells whether they are, holds for each start until a restriction
//! is changed by this program: the sum of `guards` is then that of nobody's rows.

use std::collections::BTreeSet;
use std::io;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::warn;

use super::register::{Read, Rows, hash};
use super::seal::MasterKey;
use super::sqlite::{Sqlite, number, set_number};
use super::sum::{Sum, keeps_out};
use super::{Row, StoreError, guards};

/// The code of whatever others did to the store.
pub const CHANGED_OUTSIDE: &str = "ERR_SLUICEGATE_1340";

/// Most differences that are told one by one.
const MAX_TOLD: usize = 100;

/// What a store holds, and what others did to it.
#[derive(Debug)]
pub struct Inspected {
    /// The rows that open.
    pub rows: Vec<Row>,
    /// What is not as this program wrote it last: a sentence each, without an end mark.
    pub changed: Vec<String>,
    /// Whether rows are among them that keep addresses out.
    pub guards_changed: bool,
    /// The version of a fleet's set; 0 where there is no fleet.
    pub version: i64,
}

impl Sqlite {
    /// Reads all rows and compares them with the register, which is begun anew if need be.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn inspect(&self) -> Result<Inspected, StoreError> {
        let connection = &*self.lock();
        // Nobody writes meanwhile, to neither of the two files. A held store is this process's own.
        let transaction = match self.held {
            Some(_) => None,
            None => Some(Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?),
        };
        let (rows, there, mut changed) = read_rows(connection, &self.key)?;
        let number = number(connection, &self.key)?;
        let written = guards::written(connection, &self.key, number)?;
        let found = guards::found(connection)?;
        let register = self.register.read(&self.key).map_err(|cause| self.unusable(cause))?;
        let is_new = number.is_none() && register.is_none();
        let mut is_compared = false;
        let mut guards_changed = match (number, &register) {
            (None, None) => false,
            (Some(_), None) => {
                changed.push("its register is missing, so nothing else can be told".to_owned());
                false
            }
            (number, Some(register)) => {
                is_compared = number.is_some() && !register.is_damaged;
                differences(number, register, &there, &mut changed)
            }
        };
        // A program without the sum wrote it last, or somebody took it away.
        if written.map_or(!is_new && !is_compared, |written| written != found) {
            let told = "what keeps addresses out is not known to be as it was written last";
            changed.push(told.to_owned());
            guards_changed = true;
        }
        let known = register.as_ref().map_or(0, |it| it.last().max(it.done));
        let next = number.unwrap_or(0).max(known);
        let is_short = register.as_ref().is_some_and(Read::is_one);
        if let Some(transaction) = transaction
            && (written.is_none() || !changed.is_empty() || !is_short)
        {
            let sum = if guards_changed { Sum::OTHER } else { found };
            let begun = set_number(connection, &self.key, next)
                .and_then(|()| guards::set(connection, &self.key, next, sum))
                .and_then(|()| {
                    let replaced = self.register.replace(&self.key, next, there);
                    replaced.map_err(|cause| self.unusable(cause))
                });
            // A full disk, say. The next start compares with what there was.
            match begun.and_then(|()| Ok(transaction.commit()?)) {
                Ok(()) => {}
                Err(error) => warn!(%error, "the store's register is not begun anew"),
            }
        }
        if changed.len() > MAX_TOLD {
            let more = changed.len() - MAX_TOLD;
            changed.truncate(MAX_TOLD);
            changed.push(format!("{more} more"));
        }
        Ok(Inspected { rows, changed, guards_changed, version: 0 })
    }

    pub(super) fn unusable(&self, cause: io::Error) -> StoreError {
        StoreError::File(self.directory.clone(), cause)
    }
}

/// The rows that open, all with their hashes, and those that do not.
fn read_rows(
    connection: &Connection,
    key: &MasterKey,
) -> Result<(Vec<Row>, Rows, Vec<String>), StoreError> {
    let mut statement = connection.prepare("SELECT kind, id, created_at, body FROM objects")?;
    let mut found = statement.query([])?;
    let (mut rows, mut there, mut changed) = (Vec::new(), Rows::new(), Vec::new());
    while let Some(row) = found.next()? {
        let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
        let (created_at, sealed): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        there.insert((kind.clone(), id.clone()), hash(&kind, &id, created_at, &sealed));
        match key.open(&kind, &id, &sealed) {
            Some(body) => rows.push(Row { kind, id, created_at, body }),
            None => changed.push(format!("{kind} `{id}` does not open and is left out")),
        }
    }
    Ok((rows, there, changed))
}

/// Tells how the rows that are there differ from those that the register has; gives whether rows that keep
/// addresses out do.
fn differences(
    number: Option<i64>,
    register: &Read,
    there: &Rows,
    changed: &mut Vec<String>,
) -> bool {
    if register.is_damaged {
        changed.push("its register is damaged, so not everything can be told".to_owned());
    }
    let Some(number) = number else {
        changed.push("the number of its last change is gone".to_owned());
        return false;
    };
    // One change may have been written down and not made, by a crash in between.
    if number < register.done || number + 1 < register.last() {
        changed.push("it is older than its register: it was put back as a whole".to_owned());
    } else if number > register.last() && !register.is_damaged {
        changed.push("its register is older than it is: that was put back".to_owned());
    }
    let written = register.rows_after(number.max(register.done));
    let mut guards_changed = false;
    let places: BTreeSet<_> = written.keys().chain(there.keys()).collect();
    for place in places {
        let (kind, id) = place;
        let (before, now) = (written.get(place), there.get(place));
        let said = match (before, now) {
            (Some(before), Some(now)) if before == now => continue,
            (Some(_), Some(_)) => "is not as it was written last: it was put back or changed",
            (Some(_), None) => "is gone",
            (None, _) => "was put back or added",
        };
        changed.push(format!("{kind} `{id}` {said}"));
        guards_changed |= keeps_out(kind);
    }
    guards_changed
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rusqlite::Connection;

    use super::super::sqlite::Sqlite;
    use super::super::{Change, Row};

    fn row(id: &str, body: &str) -> Row {
        Row { kind: "k".to_owned(), id: id.to_owned(), created_at: 7, body: body.to_owned() }
    }

    fn put(store: &Sqlite, id: &str, body: &str) {
        store.write(&[Change::Put(row(id, body))], &[]).unwrap();
    }

    fn open(folder: &Path) -> Sqlite {
        Sqlite::open(folder, None).unwrap()
    }

    fn changed(folder: &Path) -> Vec<String> {
        open(folder).inspect().unwrap().changed
    }

    fn execute(folder: &Path, sql: &str) {
        Connection::open(folder.join("control.db")).unwrap().execute_batch(sql).unwrap();
    }

    /// A folder with rows `one` and `two`, of which older versions lie in a table of their own.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        assert_eq!(store.inspect().unwrap().changed, [""; 0], "it begins");
        put(&store, "one", "1");
        put(&store, "gone", "1");
        execute(folder.path(), "CREATE TABLE old AS SELECT * FROM objects");
        put(&store, "one", "2");
        put(&store, "two", "1");
        store
            .write(&[Change::Delete { kind: "k".to_owned(), id: "gone".to_owned() }], &[])
            .unwrap();
        folder
    }

    #[test]
    fn what_this_program_wrote_is_told_of_by_nobody() {
        let folder = folder();
        assert_eq!(changed(folder.path()), [""; 0]);
        assert_eq!(changed(folder.path()), [""; 0], "nor the next time");
        put(&open(folder.path()), "three", "1");
        assert_eq!(changed(folder.path()), [""; 0]);
        let inspected = open(folder.path()).inspect().unwrap();
        assert_eq!(inspected.rows, [row("one", "2"), row("three", "1"), row("two", "1")]);
    }

    #[test]
    fn rows_that_are_put_back_added_changed_or_taken_away_are_told_once() {
        for (sql, told) in [
            (
                "UPDATE objects SET body = (SELECT body FROM old WHERE id = 'one') WHERE id = 'one'",
                "k `one` is not as it was written last: it was put back or changed",
            ),
            (
                "INSERT INTO objects SELECT * FROM old WHERE id = 'gone'",
                "k `gone` was put back or added",
            ),
            ("DELETE FROM objects WHERE id = 'two'", "k `two` is gone"),
            (
                "UPDATE objects SET created_at = 8 WHERE id = 'two'",
                "k `two` is not as it was written last: it was put back or changed",
            ),
        ] {
            let folder = folder();
            execute(folder.path(), sql);
            assert_eq!(changed(folder.path()), [told], "{sql}");
            assert_eq!(changed(folder.path()), [""; 0], "{sql}");
        }
    }

    #[test]
    fn rows_that_keep_addresses_out_are_told_of_until_a_restriction_is_changed() {
        let guard =
            |id: &str| Change::Put(Row { kind: "ip_restrictions".to_owned(), ..row(id, "1") });
        let unknown = "what keeps addresses out is not known to be as it was written last";
        let without_register = "its register is missing, so nothing else can be told";
        for (sql, has_register, told) in [
            ("DELETE FROM objects WHERE id = 'r'", true, &["ip_restrictions `r` is gone", unknown]),
            ("DELETE FROM objects WHERE id = 'r'", false, &[without_register, unknown]),
            ("DELETE FROM meta WHERE name = 'guards'", false, &[without_register, unknown]),
        ] {
            let folder = folder();
            open(folder.path()).write(&[guard("r")], &[]).unwrap();
            execute(folder.path(), sql);
            if !has_register {
                fs::remove_file(folder.path().join("control.register")).unwrap();
            }
            let inspected = open(folder.path()).inspect().unwrap();
            assert!(inspected.changed == told[..] && inspected.guards_changed, "{inspected:?}");
            let store = open(folder.path());
            let inspected = store.inspect().unwrap();
            assert!(inspected.changed == told[1..] && inspected.guards_changed, "{inspected:?}");
            put(&store, "other", "1");
            assert!(store.inspect().unwrap().guards_changed);
            store.write(&[guard("s")], &[]).unwrap();
            drop(store);
            let inspected = open(folder.path()).inspect().unwrap();
            assert_eq!((inspected.changed, inspected.guards_changed), (Vec::new(), false));
        }
    }

    #[test]
    fn a_store_of_a_program_without_the_sum_of_guards_is_taken_by_its_register() {
        let folder = folder();
        let guard = Change::Put(Row { kind: "ip_policies".to_owned(), ..row("p", "1") });
        open(folder.path()).write(&[guard], &[]).unwrap();
        execute(folder.path(), "DELETE FROM meta WHERE name = 'guards'");
        put(&open(folder.path()), "other", "1");
        let inspected = open(folder.path()).inspect().unwrap();
        assert_eq!((inspected.changed, inspected.guards_changed), (Vec::new(), false));
    }

    #[test]
    fn a_row_that_does_not_open_is_left_out_and_told_each_time() {
        let folder = folder();
        execute(folder.path(), "UPDATE objects SET body = x'00' WHERE id = 'two'");
        let first = changed(folder.path());
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(first[0], "k `two` does not open and is left out");
        let inspected = open(folder.path()).inspect().unwrap();
        assert_eq!((inspected.rows.len(), &inspected.changed[..]), (1, &first[..1]));
        assert_eq!(open(folder.path()).load(None).unwrap(), [row("one", "2")]);
    }

    #[test]
    fn a_store_or_a_register_that_is_put_back_whole_is_told() {
        for (file, told) in [
            ("control.db", "it is older than its register: it was put back as a whole"),
            ("control.register", "its register is older than it is: that was put back"),
        ] {
            let folder = folder();
            let store = open(folder.path());
            // So that the file has everything.
            execute(folder.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
            let before = fs::read(folder.path().join(file)).unwrap();
            put(&store, "two", "2");
            drop(store);
            execute(folder.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
            fs::write(folder.path().join(file), before).unwrap();
            let changed = changed(folder.path());
            assert_eq!((changed[0].as_str(), changed.len()), (told, 2), "{changed:?}");
        }
        let folder = folder();
        fs::remove_file(folder.path().join("control.register")).unwrap();
        assert_eq!(
            changed(folder.path()),
            ["its register is missing, so nothing else can be told"]
        );
    }

    #[test]
    fn a_crash_between_the_register_and_the_store_is_nobodys_doing() {
        let folder = folder();
        let store = open(folder.path());
        let begin_another = || {
            let never_made = vec![("k".to_owned(), "two".to_owned(), None)];
            let number = store.number_of_last_change() + 1;
            store.register.write(&store.key, number, never_made).unwrap();
        };
        begin_another();
        assert_eq!(changed(folder.path()), [""; 0]);
        begin_another();
        put(&store, "three", "1");
        assert_eq!(changed(folder.path()), [""; 0]);
        // The note that it is done did not come to the disk, nor did all of the next change.
        let file = folder.path().join("control.register");
        put(&store, "four", "1");
        let text = fs::read(&file).unwrap();
        fs::write(&file, &text[..text.len() - 10]).unwrap();
        assert_eq!(changed(folder.path()), [""; 0]);
    }

    impl Sqlite {
        fn number_of_last_change(&self) -> i64 {
            super::super::sqlite::number(&self.lock(), &self.key).unwrap().unwrap()
        }
    }
}
