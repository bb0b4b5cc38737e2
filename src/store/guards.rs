//! The sum of the rows of SQLite's file that keep addresses out, sealed beside them with the number of the last change.
//!
//! It needs no other file, so it tells what became of these rows also where the register has gone. What follows from it
//! is `inspection`'s matter.

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::seal::MasterKey;
use super::sum::{GUARDS, Sealed, Sum, keeps_out};
use super::{Change, RESTRICTIONS, StoreError};

/// Where it stands: its kind and its id.
const PLACE: (&str, &str) = ("meta", "guards");

/// The sum as it was written with a change; none where it was written with another, or is not there.
pub(super) fn written(
    connection: &Connection,
    key: &MasterKey,
    number: Option<i64>,
) -> Result<Option<Sum>, StoreError> {
    let value = "SELECT value FROM meta WHERE name = ?1";
    let sealed: Option<Vec<u8>> =
        connection.query_row(value, [PLACE.1], |row| row.get(0)).optional()?;
    let text = sealed.and_then(|sealed| key.open(PLACE.0, PLACE.1, &sealed));
    Ok(text.and_then(|text| {
        let (of, sum) = text.split_once(' ')?;
        if of.parse().ok() == number { Sum::parse(sum) } else { None }
    }))
}

/// Writes it with a change.
pub(super) fn set(
    connection: &Connection,
    key: &MasterKey,
    number: i64,
    sum: Sum,
) -> Result<(), StoreError> {
    let sealed = key.seal(PLACE.0, PLACE.1, &format!("{number} {}", sum.to_text()));
    let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(put, params![PLACE.1, sealed])?;
    Ok(())
}

/// The sum of the rows that are there.
pub(super) fn found(connection: &Connection) -> Result<Sum, StoreError> {
    let rows = "SELECT kind, id, created_at, body FROM objects WHERE kind IN (?1, ?2, ?3)";
    sum(connection, rows, &GUARDS)
}

/// The sum of those that changes write or take away, as they are now.
pub(super) fn touched(connection: &Connection, changes: &[Change]) -> Result<Sum, StoreError> {
    let row = "SELECT kind, id, created_at, body FROM objects WHERE kind = ?1 AND id = ?2";
    let guards = changes.iter().filter(|change| keeps_out(change.kind()));
    guards.map(|change| sum(connection, row, &[change.kind(), change.id()])).sum()
}

/// What the sum is after changes: those before them took away some rows and put others there. None where it was not
/// known before.
pub(super) fn after(
    connection: &Connection,
    changes: &[Change],
    (written, before): (Option<Sum>, Sum),
) -> Result<Option<Sum>, StoreError> {
    if changes.iter().any(|change| change.kind() == RESTRICTIONS) {
        // Whoever changes one has looked at them.
        return found(connection).map(Some);
    }
    let now = touched(connection, changes)?;
    Ok(written.map(|written| written.without(before).with(now)))
}

fn sum(connection: &Connection, rows: &str, values: &[&str]) -> Result<Sum, StoreError> {
    let mut statement = connection.prepare(rows)?;
    let sums = statement.query_map(params_from_iter(values), sum_of)?;
    Ok(sums.sum::<Result<Sum, rusqlite::Error>>()?)
}

fn sum_of(row: &Row<'_>) -> Result<Sum, rusqlite::Error> {
    let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
    let (created_at, body): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
    let row = Sealed { kind: &kind, id: &id, created_at, version: 0, body: &body };
    let mut sum = Sum::default();
    sum.add(&row);
    Ok(sum)
}
