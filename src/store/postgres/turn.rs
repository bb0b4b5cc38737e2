//! Changes, one after the other across the fleet: whoever has the lock of the state's row has the turn, and
//! sees the set as the last change left it.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::failed;
use super::link::{CHANNEL, Link, Slot};
use super::{
    ALL, CHANGE, Postgres, STATE_ROW, State, Sums, Values, Written, no_state, outbox, place,
    rows_after, sealed,
};
use crate::store::sum::{Sealed, Sum};
use crate::store::{Change, News, RESTRICTIONS, StoreError, Waiting};

/// How long it is asked what became of a change whose answer did not come.
const LOOKING: Duration = Duration::from_secs(5);

/// How many versions it is known of one by one what went in them.
const KNOWN: i64 = 10_000;

/// The right to make the next change. Dropped without one, nothing has changed.
pub(in crate::store) struct Turn {
    client: Option<Client>,
    slot: Option<OwnedMutexGuard<Slot>>,
    runtime: Handle,
    version: i64,
    sums: Sums,
    /// What the set has become since the version that the daemon has seen.
    pub(in crate::store) news: Option<News>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let (Some(client), Some(mut slot)) = (self.client.take(), self.slot.take()) {
            // Whoever is next waits for the connection until then.
            self.runtime.spawn(async move {
                let ended = timeout(LOOKING, client.batch_execute("ROLLBACK")).await;
                if let Ok(Ok(())) = ended {
                    slot.put_back(client);
                }
            });
        }
    }
}

/// What a change writes, in columns.
#[derive(Default)]
struct Columns {
    kinds: Vec<String>,
    ids: Vec<String>,
    created: Vec<i64>,
    bodies: Vec<Vec<u8>>,
    gone: (Vec<String>, Vec<String>),
}

impl Postgres {
    /// Waits for the turn to change something, and reads what is new by then since a version.
    ///
    /// # Errors
    /// When the database cannot be reached, or changes of others take too long.
    pub(in crate::store) fn begin(&self, seen: Option<i64>) -> Result<Turn, StoreError> {
        self.identity(None)?;
        let runtime = self.block(async { Handle::current() });
        let begin = async {
            let (client, slot) = self.writer.take().await?;
            client.batch_execute("BEGIN").await.map_err(failed)?;
            let state = format!("{STATE_ROW} FOR UPDATE");
            let state = client.query_typed(&state, &[]).await.map_err(failed)?;
            let state = self.state(state.first().ok_or_else(no_state)?);
            let news = match seen.filter(|seen| *seen != state.version) {
                Some(seen) => Some(self.read(&client, &state, seen).await?),
                None => None,
            };
            let sums = sums_written(&client, &state).await?;
            let (client, slot) = (Some(client), Some(slot));
            Ok(Turn { client, slot, runtime, version: state.version, sums, news })
        };
        let waited = || StoreError::Unreachable("other changes take too long".to_owned());
        self.block(async { timeout(CHANGE, begin).await.unwrap_or_else(|_| Err(waited())) })
    }

    /// Makes the changes of a turn and keeps the events that tell of them, all or nothing. Gives the set's
    /// version and the events, which are this daemon's to publish.
    ///
    /// # Errors
    /// When nothing has changed; or [`StoreError::Unknown`] when the database went away over it.
    pub(in crate::store) fn commit(
        &self,
        mut turn: Turn,
        changes: &[Change],
        events: &[String],
    ) -> Result<(i64, Vec<Waiting>), StoreError> {
        let (Some(client), Some(mut slot)) = (turn.client.take(), turn.slot.take()) else {
            return Err(StoreError::Unreachable("the turn is over".to_owned()));
        };
        let version = turn.version + 1;
        let id = format!("{:032x}", rand::random::<u128>());
        self.block(async {
            let write = self.write(&client, (version, &id), turn.sums, (changes, events));
            let written = timeout(CHANGE, write).await;
            let numbers = match written {
                Ok(written) => written?,
                Err(_) => return Err(StoreError::Unreachable("no answer".to_owned())),
            };
            let committed = timeout(LOOKING, client.batch_execute("COMMIT")).await;
            match committed {
                Ok(Ok(())) => slot.put_back(client),
                _ => {
                    drop(client);
                    look(&self.writer, &mut slot, version, &id).await?;
                }
            }
            let waiting =
                |(number, event): (i64, &String)| Waiting { number, event: event.clone() };
            Ok((version, numbers.into_iter().zip(events).map(waiting).collect()))
        })
    }

    /// Writes all of a change but its end; gives the numbers of its events.
    pub(super) async fn write(
        &self,
        client: &Client,
        (version, id): (i64, &str),
        mut sums: Sums,
        (changes, events): (&[Change], &[String]),
    ) -> Result<Vec<i64>, StoreError> {
        let columns = self.columns(changes, version);
        let Columns { kinds, ids, created, bodies, gone } = &columns;
        let touched: (Vec<&String>, Vec<&String>) =
            (kinds.iter().chain(&gone.0).collect(), ids.iter().chain(&gone.1).collect());
        let before = "SELECT kind, id, created_at, version, body FROM sluicegate_objects
            WHERE (kind, id) IN (SELECT * FROM UNNEST($1::TEXT[], $2::TEXT[]))";
        let values: &Values<'_> = &[(&touched.0, Type::TEXT_ARRAY), (&touched.1, Type::TEXT_ARRAY)];
        let before = client.query_typed(before, values).await.map_err(failed)?;
        before.iter().for_each(|row| sums.take_away(&sealed(row)));
        for (at, kind) in kinds.iter().enumerate() {
            // A row keeps the time that it was made at.
            let there = before.iter().map(sealed).find(|it| it.kind == kind && it.id == ids[at]);
            let created_at = there.map_or(created[at], |it| it.created_at);
            sums.add(&Sealed { kind, id: &ids[at], created_at, version, body: &bodies[at] });
        }
        let put = "INSERT INTO sluicegate_objects (kind, id, created_at, version, body)
            SELECT kind, id, made, $5, body
            FROM UNNEST($1::TEXT[], $2::TEXT[], $3::INT8[], $4::BYTEA[]) AS row (kind, id, made, body)
            ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body, version = excluded.version";
        let values: &Values<'_> = &[
            (kinds, Type::TEXT_ARRAY),
            (ids, Type::TEXT_ARRAY),
            (created, Type::INT8_ARRAY),
            (bodies, Type::BYTEA_ARRAY),
            (&version, Type::INT8),
        ];
        client.execute_typed(put, values).await.map_err(failed)?;
        let take = "WITH gone AS (
                DELETE FROM sluicegate_objects
                WHERE (kind, id) IN (SELECT * FROM UNNEST($1::TEXT[], $2::TEXT[]))
                RETURNING kind, id)
            INSERT INTO sluicegate_gone (version, kind, id) SELECT $3, kind, id FROM gone";
        let values: &Values<'_> =
            &[(&gone.0, Type::TEXT_ARRAY), (&gone.1, Type::TEXT_ARRAY), (&version, Type::INT8)];
        client.execute_typed(take, values).await.map_err(failed)?;
        let numbers = outbox::put(self, client, events).await?;
        if changes.iter().any(|it| it.kind() == RESTRICTIONS) {
            // Whoever changes one has looked at them.
            sums.guards = Sums::of(rows_after(client, ALL).await?.iter().map(sealed)).guards;
        }
        let state = self.sealed_state(version, &sums);
        let end = "UPDATE sluicegate_state SET version = $1, sealed = $2";
        let values: &Values<'_> = &[(&version, Type::INT8), (&state, Type::BYTEA)];
        client.execute_typed(end, values).await.map_err(failed)?;
        let note = "INSERT INTO sluicegate_changes (version, id) VALUES ($1, $2)";
        client
            .execute_typed(note, &[(&version, Type::INT8), (&id, Type::TEXT)])
            .await
            .map_err(failed)?;
        if version % (KNOWN / 10) == 0 {
            forget(client, version - KNOWN).await?;
        }
        client.batch_execute(&format!("NOTIFY {CHANNEL}")).await.map_err(failed)?;
        Ok(numbers)
    }

    fn columns(&self, changes: &[Change], version: i64) -> Columns {
        let mut columns = Columns::default();
        for change in changes {
            match change {
                Change::Put(row) => {
                    let sealed = self.key.seal(&row.kind, &place(&row.id, version), &row.body);
                    columns.kinds.push(row.kind.clone());
                    columns.ids.push(row.id.clone());
                    columns.created.push(row.created_at);
                    columns.bodies.push(sealed);
                }
                Change::Delete { kind, id } => {
                    columns.gone.0.push(kind.clone());
                    columns.gone.1.push(id.clone());
                }
            }
        }
        columns
    }
}

/// Forgets what went up to a version; daemons that are so far behind read everything.
async fn forget(client: &Client, up_to: i64) -> Result<(), StoreError> {
    for forget in [
        "DELETE FROM sluicegate_gone WHERE version <= $1",
        "DELETE FROM sluicegate_changes WHERE version <= $1",
        "UPDATE sluicegate_state SET floor = GREATEST(floor, $1)",
    ] {
        client.execute_typed(forget, &[(&up_to, Type::INT8)]).await.map_err(failed)?;
    }
    Ok(())
}

/// The sums that the next change goes on from.
async fn sums_written(client: &Client, state: &State) -> Result<Sums, StoreError> {
    if let Some(Written { all, guards: Some(guards) }) = state.written {
        return Ok(Sums { all, guards });
    }
    let found = Sums::of(rows_after(client, ALL).await?.iter().map(sealed));
    match &state.written {
        // An older program wrote it.
        Some(written) if !written.differs_in_guards(&found) => Ok(found),
        Some(written) => Ok(Sums { all: written.all, guards: Sum::OTHER }),
        // One that others wrote is told at the start; from then on the sum is that of what is there.
        None => Ok(Sums { guards: Sum::OTHER, ..found }),
    }
}

/// Looks whether a change was made whose answer did not come.
async fn look(link: &Link, slot: &mut Slot, version: i64, id: &str) -> Result<(), StoreError> {
    let began = Instant::now();
    while began.elapsed() < LOOKING {
        match timeout(LOOKING, ask(link, slot, version, id)).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {
                return Err(StoreError::Unreachable("the connection was lost".to_owned()));
            }
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
    Err(StoreError::Unknown)
}

async fn ask(link: &Link, slot: &mut Slot, version: i64, id: &str) -> Result<bool, StoreError> {
    let client = link.client(slot).await?;
    // Waits until the transaction, if it still goes on, has ended.
    let wait = format!("BEGIN; {STATE_ROW} FOR UPDATE");
    client.batch_execute(&wait).await.map_err(failed)?;
    let asked = "SELECT TRUE FROM sluicegate_changes WHERE version = $1 AND id = $2";
    let values: &Values<'_> = &[(&version, Type::INT8), (&id, Type::TEXT)];
    let found = client.query_typed(asked, values).await.map_err(failed)?;
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    slot.put_back(client);
    Ok(!found.is_empty())
}
