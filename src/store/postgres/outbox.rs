//! Events that wait to be published. Each is claimed by one daemon, which renews its claim while it has the
//! event; what a daemon left that is gone, another takes over, with the id that it has.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::failed;
use super::{Postgres, Values};
use crate::store::{StoreError, Waiting};

/// What events are sealed for.
const PLACE: (&str, &str) = ("fleet", "event");

/// How long a claim holds without being renewed.
const CLAIM: &str = "INTERVAL '15 s'";

/// Nobody could renew a claim while the database was away, so none has run out right after it came back.
const AWAKE: &str = "pg_postmaster_start_time() < now() - INTERVAL '15 s'";

/// Puts events into the outbox, claimed by this daemon; gives their numbers.
pub(super) async fn put(
    store: &Postgres,
    client: &Client,
    events: &[String],
) -> Result<Vec<i64>, StoreError> {
    let sealed: Vec<Vec<u8>> =
        events.iter().map(|event| store.key.seal(PLACE.0, PLACE.1, event)).collect();
    let put = format!(
        "INSERT INTO sluicegate_outbox (event, claimed_by, claimed_until)
            SELECT event, $2, now() + {CLAIM}
            FROM UNNEST($1::BYTEA[]) WITH ORDINALITY AS it (event, place) ORDER BY place
            RETURNING number"
    );
    let values: &Values<'_> = &[(&sealed, Type::BYTEA_ARRAY), (&store.daemon, Type::TEXT)];
    let rows = client.query_typed(&put, values).await.map_err(failed)?;
    let mut numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Postgres {
    pub(super) fn opened_event(&self, sealed: &[u8]) -> Option<String> {
        self.key.open(PLACE.0, PLACE.1, sealed)
    }

    /// Claims events that nobody has, at most `max`, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn claim(&self, max: usize) -> Result<Vec<Waiting>, StoreError> {
        let claim = format!(
            "UPDATE sluicegate_outbox SET claimed_by = $1, claimed_until = now() + {CLAIM}
            WHERE number IN (
                SELECT number FROM sluicegate_outbox
                WHERE claimed_until < now() AND {AWAKE}
                ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)
            RETURNING number, event"
        );
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = self.block(self.reader.call(async |client| {
            let values: &Values<'_> = &[(&self.daemon, Type::TEXT), (&max, Type::INT8)];
            client.query_typed(&claim, values).await.map_err(failed)
        }))?;
        let mut waiting = Vec::new();
        let mut damaged = Vec::new();
        for row in &rows {
            match self.opened_event(row.get(1)) {
                Some(event) => waiting.push(Waiting { number: row.get(0), event }),
                None => damaged.push(row.get(0)),
            }
        }
        if !damaged.is_empty() {
            // Somebody else wrote them; they would come again and again.
            self.published(&damaged)?;
        }
        waiting.sort_unstable_by_key(|it| it.number);
        Ok(waiting)
    }

    /// Keeps the claims of this daemon on events.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn renew(&self, numbers: &[i64]) -> Result<(), StoreError> {
        let renew = format!(
            "UPDATE sluicegate_outbox SET claimed_until = now() + {CLAIM}
            WHERE number = ANY($1) AND claimed_by = $2"
        );
        self.block(self.reader.call(async |client| {
            let values: &Values<'_> = &[(&numbers, Type::INT8_ARRAY), (&self.daemon, Type::TEXT)];
            client.execute_typed(&renew, values).await.map(drop).map_err(failed)
        }))
    }

    /// Forgets events that were published.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn published(&self, numbers: &[i64]) -> Result<(), StoreError> {
        let forget = "DELETE FROM sluicegate_outbox WHERE number = ANY($1)";
        self.block(self.reader.call(async |client| {
            let values: &Values<'_> = &[(&numbers, Type::INT8_ARRAY)];
            client.execute_typed(forget, values).await.map(drop).map_err(failed)
        }))
    }
}
