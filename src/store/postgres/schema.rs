//! The tables of the database, made and changed as the program goes on.
//!
//! A version has two parts. What is new in a minor version hinders no older program beside it; a new major
//! version stops the older ones. Steps that were published are never changed.

use tokio_postgres::Client;

use super::failure::failed;
use crate::store::StoreError;

/// Steps of the major version in [`MAJOR`]; their number is the minor version.
const STEPS: [&str; 1] = ["
    CREATE TABLE sluicegate_meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
    CREATE TABLE sluicegate_state (
        one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
        version BIGINT NOT NULL,
        floor BIGINT NOT NULL,
        sealed BYTEA NOT NULL
    );
    CREATE TABLE sluicegate_objects (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        version BIGINT NOT NULL,
        body BYTEA NOT NULL,
        PRIMARY KEY (kind, id)
    );
    CREATE INDEX sluicegate_objects_version ON sluicegate_objects (version);
    CREATE TABLE sluicegate_changes (version BIGINT PRIMARY KEY, id TEXT NOT NULL);
    CREATE TABLE sluicegate_gone (
        version BIGINT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL
    );
    CREATE INDEX sluicegate_gone_version ON sluicegate_gone (version);
    CREATE TABLE sluicegate_outbox (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event BYTEA NOT NULL,
        claimed_by TEXT NOT NULL,
        claimed_until TIMESTAMPTZ NOT NULL
    );
    CREATE TABLE sluicegate_uses (id TEXT PRIMARY KEY, at BIGINT NOT NULL);
    CREATE TABLE sluicegate_daemons (
        name TEXT PRIMARY KEY,
        seen_at TIMESTAMPTZ NOT NULL,
        report BYTEA NOT NULL
    );
    CREATE TABLE sluicegate_commands (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        daemon TEXT NOT NULL,
        expires_at TIMESTAMPTZ NOT NULL,
        command BYTEA NOT NULL,
        taken BOOLEAN NOT NULL DEFAULT FALSE,
        answer BYTEA
    );
"];

/// Raised only by a change that an older program cannot live with.
pub(super) const MAJOR: i32 = 1;

/// Two daemons that start at once make the tables one after the other: the number of the lock that they take
/// (`sluicegt` in octets).
const LOCK: i64 = 0x736c_7569_6365_6774;

/// Makes what is missing of the tables. Nothing is written where nothing is missing, so that a user without
/// the right to make tables is enough from then on.
///
/// # Errors
/// When they cannot be made, or are of a later major version.
pub(super) async fn prepare(client: &Client) -> Result<(), StoreError> {
    if version(client).await? == Some((MAJOR, STEPS.len())) {
        return Ok(());
    }
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
    client.batch_execute(&lock).await.map_err(failed)?;
    let done = match version(client).await? {
        Some((_, minor)) => minor,
        None => {
            let table = "CREATE TABLE sluicegate_schema (
                one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
                major INT NOT NULL, minor INT NOT NULL)";
            client.batch_execute(table).await.map_err(failed)?;
            0
        }
    };
    // A later minor version knows more than this program, which it does not hinder.
    for step in STEPS.iter().skip(done) {
        client.batch_execute(step).await.map_err(failed)?;
    }
    let minor = STEPS.len().max(done);
    let noted = format!(
        "INSERT INTO sluicegate_schema (major, minor) VALUES ({MAJOR}, {minor})
            ON CONFLICT (one) DO UPDATE SET minor = excluded.minor;
        COMMIT"
    );
    client.batch_execute(&noted).await.map_err(failed)
}

/// The version of the tables; none where there are none.
async fn version(client: &Client) -> Result<Option<(i32, usize)>, StoreError> {
    // Not `to_regclass`, which within a transaction says what was so when that began: before the lock.
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class
        WHERE relname = 'sluicegate_schema' AND pg_catalog.pg_table_is_visible(oid))";
    let there = client.query_typed(there, &[]).await.map_err(failed)?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let rows = client.query_typed("SELECT major, minor FROM sluicegate_schema", &[]).await;
    let rows = rows.map_err(failed)?;
    let version = rows.first().map(|row| (row.get::<_, i32>(0), row.get::<_, i32>(1)));
    match version {
        Some((major, _)) if major > MAJOR => Err(StoreError::NewerSchema(major)),
        Some((major, minor)) => Ok(Some((major, usize::try_from(minor).unwrap_or(0)))),
        None => Ok(None),
    }
}
