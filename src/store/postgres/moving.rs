//! An installation that comes from another engine, or goes to one: all of it in one transaction, while no daemon
//! holds the database.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::{failed, no_answer};
use super::link::{Link, MEMBERS};
use super::{Postgres, Sums, Values};
use crate::store::seal::MasterKey;
use crate::store::settings::PostgresUrl;
use crate::store::{Change, Identity, Moved, StoreError};

/// Longest that moving everything may take.
const MOVE: Duration = Duration::from_secs(600);

/// The name by which a move speaks to the database.
const MOVER: &str = "control-move";

/// What there is of an installation, in the order in which it goes.
const TABLES: [&str; 8] =
    ["objects", "gone", "changes", "outbox", "uses", "daemons", "commands", "state"];

impl Postgres {
    /// An engine that no daemon's database is for, as long as it has it.
    ///
    /// # Errors
    /// When this machine gives it no thread.
    pub(in crate::store) fn for_move(
        url: &PostgresUrl,
        key: MasterKey,
    ) -> Result<Postgres, StoreError> {
        let mut postgres = Postgres::new(url, key, MOVER.to_owned())?;
        // A reader that listens is a daemon's.
        postgres.reader = Link::new(url, None);
        Ok(postgres)
    }

    /// Takes a whole installation in.
    ///
    /// # Errors
    /// When daemons hold the database, when there is something in it, or when it cannot be reached; then
    /// nothing has changed. [`StoreError::Unknown`] where that cannot be said.
    pub(in crate::store) fn fill(
        &self,
        identity: &Identity,
        rows: &[Change],
        events: &[String],
    ) -> Result<(), StoreError> {
        let mut values = identity.values();
        values.push(self.proof());
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let texts: Vec<&[u8]> = values.iter().map(|(_, value)| &value[..]).collect();
        self.alone(async |client| {
            if let Some(found) = found(client).await? {
                return Err(StoreError::NotEmpty(format!("the database has {found}")));
            }
            empty(client).await?;
            let put = "INSERT INTO sluicegate_meta (name, value)
                SELECT * FROM UNNEST($1::TEXT[], $2::BYTEA[])";
            let values: &Values<'_> = &[(&names, Type::TEXT_ARRAY), (&texts, Type::BYTEA_ARRAY)];
            client.execute_typed(put, values).await.map_err(failed)?;
            let state = self.sealed_state(0, &Sums::default());
            let begin = "INSERT INTO sluicegate_state (version, floor, sealed) VALUES (0, 0, $1)";
            client.execute_typed(begin, &[(&state, Type::BYTEA)]).await.map_err(failed)?;
            let id = format!("{:032x}", rand::random::<u128>());
            self.write(client, (1, &id), Sums::default(), (rows, events)).await.map(drop)
        })
    }

    /// Takes everything out: it is elsewhere by now.
    ///
    /// # Errors
    /// As for [`Postgres::fill`].
    pub(in crate::store) fn clear(&self) -> Result<(), StoreError> {
        self.alone(empty)
    }

    /// Refuses while daemons hold the database.
    ///
    /// # Errors
    /// When they do, or when it cannot be reached.
    pub(in crate::store) fn check_alone(&self) -> Result<(), StoreError> {
        self.alone(async |_| Ok(()))
    }

    /// All events that wait, in their order, whoever has claimed them.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn all_waiting(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.block(self.writer.call_within(MOVE, async |client| {
            let all = "SELECT event FROM sluicegate_outbox ORDER BY number";
            client.query_typed(all, &[]).await.map_err(failed)
        }))?;
        Ok(rows.iter().filter_map(|row| self.opened_event(row.get(0))).collect())
    }

    /// Does something in one transaction while no daemon holds the database, and none can begin.
    fn alone(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let work = async {
            let (client, mut slot) = self.writer.take().await?;
            let begin = "BEGIN; SET LOCAL statement_timeout = '10min';
                SET LOCAL idle_in_transaction_session_timeout = '1min'";
            client.batch_execute(begin).await.map_err(failed)?;
            // Held as long as the connection is.
            let alone = format!("SELECT pg_try_advisory_lock({MEMBERS})");
            let rows = client.query_typed(&alone, &[]).await.map_err(failed)?;
            if !rows.first().is_some_and(|row| row.get(0)) {
                return Err(StoreError::InUse(holders(&client).await?));
            }
            work(&client).await?;
            let committed = client.batch_execute("COMMIT").await;
            committed.map_err(|_| StoreError::Unknown)?;
            slot.put_back(client);
            Ok(())
        };
        self.block(async { timeout(MOVE, work).await.unwrap_or_else(|_| Err(no_answer(MOVE))) })
    }
}

/// What there is of an installation, in words.
async fn found(client: &Client) -> Result<Option<String>, StoreError> {
    let count = "SELECT (SELECT count(*) FROM sluicegate_objects), (SELECT count(*) FROM sluicegate_outbox)";
    let rows = client.query_typed(count, &[]).await.map_err(failed)?;
    let count = |at: usize| rows.first().map_or(0, |row| row.get::<_, i64>(at).unsigned_abs());
    let (resources, events) = (count(0), count(1));
    let words = || Moved { resources, events }.to_string();
    Ok((resources + events > 0).then(words))
}

async fn empty(client: &Client) -> Result<(), StoreError> {
    let tables = TABLES.iter().map(|it| format!("DELETE FROM sluicegate_{it};"));
    let all = tables.chain(["DELETE FROM sluicegate_meta".to_owned()]).collect::<String>();
    client.batch_execute(&all).await.map_err(failed)
}

/// Who holds the database, in words.
async fn holders(client: &Client) -> Result<String, StoreError> {
    let names = "SELECT COALESCE(string_agg(name, '`, `' ORDER BY name), '')
        FROM sluicegate_daemons WHERE seen_at > now() - INTERVAL '10 s'";
    let rows = client.query_typed(names, &[]).await.map_err(failed)?;
    let names: String = rows.first().map_or_else(String::new, |row| row.get(0));
    Ok(match names.is_empty() {
        true => "a daemon or a command is connected to the database".to_owned(),
        false => format!("`{names}` of the fleet runs"),
    })
}
