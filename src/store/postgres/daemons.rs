//! The daemons of a fleet: each has a row, in which it says once a second how it stands.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::failure::failed;
use super::{Postgres, Values};
use crate::store::{Seen, StoreError};

/// What reports are sealed for; the id is the daemon's name.
const PLACE: &str = "daemon";

/// How long the row of a daemon that says nothing more is kept.
const KEPT: &str = "INTERVAL '1 day'";

/// Most daemons that are read: each holds two connections, so a database has fewer.
const MAX_DAEMONS: i64 = 10_000;

impl Postgres {
    /// Writes this daemon's row; gives what stood there, if it was written a moment ago.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn report(&self, report: &str) -> Result<Option<String>, StoreError> {
        let sealed = self.key.seal(PLACE, &self.daemon, report);
        let forget = format!("DELETE FROM sluicegate_daemons WHERE seen_at < now() - {KEPT}");
        let before = self.block(self.reader.call(async |client| {
            let put = "WITH before AS (
                    SELECT report FROM sluicegate_daemons
                    WHERE name = $1 AND seen_at > now() - INTERVAL '3 s')
                INSERT INTO sluicegate_daemons (name, seen_at, report)
                VALUES ($1, now(), $2)
                ON CONFLICT (name) DO UPDATE SET seen_at = now(), report = excluded.report
                RETURNING (SELECT report FROM before)";
            let values: &Values<'_> = &[(&self.daemon, Type::TEXT), (&sealed, Type::BYTEA)];
            let rows = client.query_typed(put, values).await.map_err(failed)?;
            client.execute_typed(&forget, &[]).await.map_err(failed)?;
            Ok(rows)
        }))?;
        let before: Option<Vec<u8>> = before.first().and_then(|row| row.get(0));
        Ok(before.and_then(|sealed| self.key.open(PLACE, &self.daemon, &sealed)))
    }

    /// Takes this daemon's row away.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn leave(&self) -> Result<(), StoreError> {
        let leave = "DELETE FROM sluicegate_daemons WHERE name = $1";
        self.block(self.reader.call(async |client| {
            let values: &Values<'_> = &[(&self.daemon, Type::TEXT)];
            client.execute_typed(leave, values).await.map(drop).map_err(failed)
        }))
    }

    /// The newest version of the set, and all daemons by name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn daemons(&self) -> Result<(i64, Vec<Seen>), StoreError> {
        let rows = self.block(self.reader.call(async |client| {
            let read = "SELECT version, name,
                    EXTRACT(EPOCH FROM now() - seen_at)::FLOAT8, report
                FROM sluicegate_state LEFT JOIN sluicegate_daemons ON TRUE
                ORDER BY name COLLATE \"C\" LIMIT $1";
            client.query_typed(read, &[(&MAX_DAEMONS, Type::INT8)]).await.map_err(failed)
        }))?;
        let seen = |row: &tokio_postgres::Row| {
            let name: String = row.get::<_, Option<String>>(1)?;
            let silent = Duration::from_secs_f64(row.get::<_, f64>(2).max(0.0));
            let report = self.key.open(PLACE, &name, row.get(3));
            Some(Seen { name, silent, report })
        };
        let version = rows.first().map_or(0, |row| row.get(0));
        Ok((version, rows.iter().filter_map(seen).collect()))
    }
}
