//! The engine of a fleet: a PostgreSQL database that all its daemons share.
//!
//! Its types stay in this folder. Calls block, within limits, on a runtime of the engine's own: `link` holds the
//! connections, `schema` the tables, `turn` changes, `outbox` what waits to be published. Nothing here
//! knows what a row means, or keeps anything for times without the database; that is `copy`'s matter.

mod commands;
mod daemons;
mod failure;
mod link;
mod moving;
mod outbox;
mod schema;
mod tls;
mod turn;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::seal::{MasterKey, PROOF, PROOF_TEXT};
use super::settings::PostgresUrl;
use super::sum::{Sealed, Sum, keeps_out};
use super::{Identity, News, Row, StoreError};
use failure::failed;
use link::{LONG_CALL, Link, Notices};
pub(super) use turn::Turn;

/// What the state is sealed for.
const STATE: (&str, &str) = ("fleet", "state");

/// The values of a statement, each with its type.
type Values<'v> = [(&'v (dyn ToSql + Sync), Type)];

/// Whether the client understands a URL, and its files can be read.
pub(super) fn check(url: &PostgresUrl) -> Result<(), String> {
    link::config(url).map(drop)
}

/// The database of a fleet. All calls block, but none for ever.
pub(super) struct Postgres {
    /// Taken only by the end.
    runtime: Option<Runtime>,
    /// For changes.
    writer: Link,
    /// For all that waits for no other daemon.
    reader: Link,
    notices: Notices,
    key: MasterKey,
    /// The name of this daemon in the fleet.
    daemon: String,
    identity: OnceLock<Identity>,
}

/// The state of the set, as it stands in one row.
struct State {
    version: i64,
    /// What went before this version is not known one by one.
    floor: i64,
    /// What was written last; none where the row was not written by this program.
    written: Option<Written>,
}

/// What the state says of the rows that were written last.
struct Written {
    all: Sum,
    /// None where an older program wrote it, which had one sum.
    guards: Option<Sum>,
}

/// The sums of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    all: Sum,
    /// That of the rows that keep addresses out.
    guards: Sum,
}

impl Sums {
    fn of<'r>(rows: impl Iterator<Item = Sealed<'r>>) -> Sums {
        let mut sums = Sums::default();
        rows.for_each(|row| sums.add(&row));
        sums
    }

    fn add(&mut self, row: &Sealed<'_>) {
        self.all.add(row);
        if keeps_out(row.kind) {
            self.guards.add(row);
        }
    }

    fn take_away(&mut self, row: &Sealed<'_>) {
        self.all.take_away(row);
        if keeps_out(row.kind) {
            self.guards.take_away(row);
        }
    }
}

impl Written {
    /// Whether the rows that keep addresses out are others than were written.
    fn differs_in_guards(&self, found: &Sums) -> bool {
        match self.guards {
            Some(guards) => guards != found.guards,
            None => self.all != found.all,
        }
    }
}

impl Postgres {
    /// An engine that connects when it is first asked.
    ///
    /// # Errors
    /// When this machine gives it no thread.
    pub(super) fn new(
        url: &PostgresUrl,
        key: MasterKey,
        daemon: String,
    ) -> Result<Postgres, StoreError> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("store").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let notices = Notices { daemon: daemon.clone(), ..Notices::default() };
        Ok(Postgres {
            runtime: Some(runtime),
            writer: Link::new(url, None),
            reader: Link::new(url, Some(notices.clone())),
            notices,
            key,
            daemon,
            identity: OnceLock::new(),
        })
    }

    fn block<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            // It is there until the end.
            None => unreachable!("the engine is used after its end"),
        }
    }

    /// Told of each notice that the set has changed. Notices may get lost.
    pub(super) fn notices(&self) -> Arc<Notify> {
        Arc::clone(&self.notices.changes)
    }

    /// Told of each notice that this daemon is asked something. Notices may get lost.
    pub(super) fn order_notices(&self) -> Arc<Notify> {
        Arc::clone(&self.notices.orders)
    }

    /// Who the installation is. Where nobody was before, it becomes `wanted`.
    ///
    /// # Errors
    /// When the database cannot be reached, or was sealed with another key.
    pub(super) fn identity(&self, wanted: Option<&Identity>) -> Result<Identity, StoreError> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity.clone());
        }
        let mut values = wanted.map_or_else(Identity::fresh, Identity::values);
        values.push(self.proof());
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let texts: Vec<&[u8]> = values.iter().map(|(_, value)| &value[..]).collect();
        let state = self.sealed_state(0, &Sums::default());
        let kept = self.block(self.reader.call(async |client| {
            // A state that somebody took away is not begun anew: nothing would be known of what the rows were.
            let put = "WITH made AS (
                    INSERT INTO sluicegate_meta (name, value)
                    SELECT * FROM UNNEST($1::TEXT[], $2::BYTEA[]) ON CONFLICT DO NOTHING RETURNING name)
                INSERT INTO sluicegate_state (version, floor, sealed)
                SELECT 0, 0, $3 WHERE (SELECT count(*) FROM made) = cardinality($1)
                ON CONFLICT DO NOTHING";
            let values: &Values<'_> = &[
                (&names, Type::TEXT_ARRAY),
                (&texts, Type::BYTEA_ARRAY),
                (&state, Type::BYTEA),
            ];
            client.execute_typed(put, values).await.map_err(failed)?;
            let kept = "SELECT name, value FROM sluicegate_meta";
            client.query_typed(kept, &[]).await.map_err(failed)
        }))?;
        let value = |name: &str| {
            let row = kept.iter().find(|row| row.get::<_, &str>(0) == name);
            row.map(|row| row.get::<_, Vec<u8>>(1)).unwrap_or_default()
        };
        self.key.open(PROOF.0, PROOF.1, &value(PROOF.1)).ok_or(StoreError::WrongFleetKey)?;
        let identity = Identity::of_values(value);
        Ok(self.identity.get_or_init(|| identity).clone())
    }

    /// What tells a wrong key, by its name.
    fn proof(&self) -> (&'static str, Vec<u8>) {
        (PROOF.1, self.key.seal(PROOF.0, PROOF.1, PROOF_TEXT))
    }

    fn sealed_state(&self, version: i64, sums: &Sums) -> Vec<u8> {
        // Older programs read as far as the first sum.
        let text = format!("{version} {} {}", sums.all.to_text(), sums.guards.to_text());
        self.key.seal(STATE.0, STATE.1, &text)
    }

    fn state(&self, row: &tokio_postgres::Row) -> State {
        let (version, floor) = (row.get(0), row.get(1));
        let text = self.key.open(STATE.0, STATE.1, row.get(2));
        let written = text.and_then(|text| {
            let mut words = text.split(' ');
            let sealed = words.next()?.parse() == Ok(version);
            let (all, guards) = (Sum::parse(words.next()?)?, words.next().map(Sum::parse));
            sealed.then(|| Some(Written { all, guards: guards.unwrap_or(None) }))?
        });
        State { version, floor, written }
    }

    /// What the set has become since a version; none if it is the same.
    ///
    /// # Errors
    /// When the database cannot be reached, or a later program has changed its tables.
    pub(super) fn news(&self, seen: i64) -> Result<Option<News>, StoreError> {
        self.identity(None)?;
        let version = self.block(self.reader.call(async |client| {
            let asked =
                "SELECT version, (SELECT major FROM sluicegate_schema) FROM sluicegate_state";
            let rows = client.query_typed(asked, &[]).await.map_err(failed)?;
            let row = rows.first().ok_or_else(no_state)?;
            match row.get::<_, i32>(1) {
                major if major > schema::MAJOR => Err(StoreError::NewerSchema(major)),
                _ => Ok(row.get::<_, i64>(0)),
            }
        }))?;
        if version == seen {
            return Ok(None);
        }
        let news = self.reader.call_within(LONG_CALL, async |client| {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            client.batch_execute(begin).await.map_err(failed)?;
            let state = client.query_typed(STATE_ROW, &[]).await.map_err(failed)?;
            let state = self.state(state.first().ok_or_else(no_state)?);
            let news = self.read(client, &state, seen).await?;
            client.batch_execute("COMMIT").await.map_err(failed)?;
            Ok(news)
        });
        Ok(Some(self.block(news)?))
    }

    /// Reads what is new since a version, within a transaction.
    async fn read(&self, client: &Client, state: &State, seen: i64) -> Result<News, StoreError> {
        // A version that the database has not reached was that of a set that is no more.
        let mut whole = seen < state.floor || seen > state.version || seen == 0;
        let mut put = rows_after(client, if whole { ALL } else { seen }).await?;
        let gone = "SELECT kind, id FROM sluicegate_gone WHERE version > $1";
        let gone = client.query_typed(gone, &[(&seen, Type::INT8)]).await.map_err(failed)?;
        let kinds = put.iter().chain(&gone).map(|row| row.get(0));
        // What went is not sealed: who writes there may say that a restriction did.
        if !whole && (state.written.is_none() || kinds.into_iter().any(keeps_out)) {
            whole = true;
            put = rows_after(client, ALL).await?;
        }
        let gone = gone.iter().filter(|_| !whole).map(|row| (row.get(0), row.get(1))).collect();
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        for row in &put {
            let sealed = sealed(row);
            match self.key.open(sealed.kind, &place(sealed.id, sealed.version), sealed.body) {
                Some(body) => rows.push(Row {
                    kind: sealed.kind.to_owned(),
                    id: sealed.id.to_owned(),
                    created_at: sealed.created_at,
                    body,
                }),
                None => {
                    let (kind, id) = (sealed.kind, sealed.id);
                    told.push(format!("{kind} `{id}` does not open and is left out"));
                }
            }
        }
        if seen > state.version {
            let version = state.version;
            told.push(format!("it has version {version}, and this daemon has seen {seen}: it was put back as a whole"));
        }
        let mut guards_changed = None;
        if whole {
            let found = Sums::of(put.iter().map(sealed));
            let written = state.written.as_ref();
            if written.is_none_or(|it| it.all != found.all) {
                told.push("its rows are not those that were written last: some were put back, added or taken away".to_owned());
            }
            guards_changed = Some(written.is_none_or(|it| it.differs_in_guards(&found)));
        }
        Ok(News { since: seen, version: state.version, whole, rows, gone, told, guards_changed })
    }

    /// Notes when keys were last used, and tells what the others noted since a time; both in seconds since
    /// 1970.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(super) fn uses(
        &self,
        own: &[(String, i64)],
        since: i64,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let (ids, times): (Vec<&str>, Vec<i64>) =
            own.iter().map(|(id, at)| (id.as_str(), *at)).unzip();
        self.block(self.reader.call(async |client| {
            // In the order of ids, so that two daemons never wait for each other.
            let put = "INSERT INTO sluicegate_uses (id, at)
                SELECT * FROM UNNEST($1::TEXT[], $2::INT8[]) AS own (id, at) ORDER BY id
                ON CONFLICT (id) DO UPDATE SET at = GREATEST(sluicegate_uses.at, excluded.at)";
            let values: &Values<'_> = &[(&ids, Type::TEXT_ARRAY), (&times, Type::INT8_ARRAY)];
            client.execute_typed(put, values).await.map_err(failed)?;
            let read = "SELECT id, at FROM sluicegate_uses WHERE at >= $1";
            let rows = client.query_typed(read, &[(&since, Type::INT8)]).await.map_err(failed)?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        }))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not wait for its end within another.
            runtime.shutdown_background();
        }
    }
}

/// Before the version of every row.
const ALL: i64 = -1;

/// The rows that were written after a version.
async fn rows_after(client: &Client, version: i64) -> Result<Vec<tokio_postgres::Row>, StoreError> {
    let rows = "SELECT kind, id, created_at, version, body FROM sluicegate_objects
        WHERE version > $1";
    client.query_typed(rows, &[(&version, Type::INT8)]).await.map_err(failed)
}

const STATE_ROW: &str = "SELECT version, floor, sealed FROM sluicegate_state";

fn no_state() -> StoreError {
    StoreError::Unreachable("the row of its state is missing: somebody took it away".to_owned())
}

/// The place that a row is sealed for: an old one does not open as a new one.
fn place(id: &str, version: i64) -> String {
    format!("{id}@{version}")
}

fn sealed(row: &tokio_postgres::Row) -> Sealed<'_> {
    let (kind, id, created_at) = (row.get(0), row.get(1), row.get(2));
    Sealed { kind, id, created_at, version: row.get(3), body: row.get(4) }
}

/// How long a change may take in all, with its wait for those of other daemons.
const CHANGE: Duration = Duration::from_secs(20);
