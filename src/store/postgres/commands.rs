//! What one daemon asks of another: a row for the question, and in it the answer. No daemon calls another.
//!
//! Both are sealed. A question that nobody has taken by its end is not done any more; what becomes of it is
//! for whoever asked to say. What a question means is not known here.

use tokio_postgres::types::Type;

use super::failure::failed;
use super::link::COMMANDS;
use super::{Postgres, Values};
use crate::store::{Ordered, StoreError};

/// What questions are sealed for; the id is the name of the daemon that is asked.
const COMMAND: &str = "command";

/// What answers are sealed for; the id is the number of the question.
const ANSWER: &str = "answer";

/// Most questions that may wait for one daemon.
const MAX_WAITING: i64 = 32;

impl Postgres {
    /// Asks a daemon something, good for so many seconds; gives the question's number, or none where too many
    /// wait for that daemon.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn order(
        &self,
        daemon: &str,
        command: &str,
        seconds: i64,
    ) -> Result<Option<i64>, StoreError> {
        let sealed = self.key.seal(COMMAND, daemon, command);
        let rows = self.block(self.reader.call(async |client| {
            let forget = "DELETE FROM sluicegate_commands
                WHERE expires_at < now() - INTERVAL '1 minute'";
            client.execute_typed(forget, &[]).await.map_err(failed)?;
            let put = "INSERT INTO sluicegate_commands (daemon, expires_at, command)
                SELECT $1, now() + make_interval(secs => $2), $3
                WHERE $4 > (SELECT count(*) FROM sluicegate_commands
                    WHERE daemon = $1 AND NOT taken AND expires_at > now())
                RETURNING number";
            let values: &Values<'_> = &[
                (&daemon, Type::TEXT),
                (&(seconds as f64), Type::FLOAT8),
                (&sealed, Type::BYTEA),
                (&MAX_WAITING, Type::INT8),
            ];
            let rows = client.query_typed(put, values).await.map_err(failed)?;
            let told = format!("SELECT pg_notify('{COMMANDS}', $1)");
            client.query_typed(&told, &[(&daemon, Type::TEXT)]).await.map_err(failed)?;
            Ok(rows)
        }))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    /// Takes questions that this daemon is asked, at most `max`, the oldest first. What does not open is
    /// nobody's.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn take_orders(&self, max: i64) -> Result<Vec<Ordered>, StoreError> {
        let rows = self.block(self.reader.call(async |client| {
            let take = "UPDATE sluicegate_commands SET taken = TRUE
                WHERE number IN (
                    SELECT number FROM sluicegate_commands
                    WHERE daemon = $1 AND NOT taken AND expires_at > now()
                    ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)
                RETURNING number, command";
            let values: &Values<'_> = &[(&self.daemon, Type::TEXT), (&max, Type::INT8)];
            client.query_typed(take, values).await.map_err(failed)
        }))?;
        let opened = |row: &tokio_postgres::Row| {
            let text = self.key.open(COMMAND, &self.daemon, row.get(1))?;
            Some(Ordered { number: row.get(0), text })
        };
        let mut orders: Vec<Ordered> = rows.iter().filter_map(opened).collect();
        orders.sort_unstable_by_key(|it| it.number);
        Ok(orders)
    }

    /// Answers a question.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn answer_order(&self, answer: &Ordered) -> Result<(), StoreError> {
        let sealed = self.key.seal(ANSWER, &answer.number.to_string(), &answer.text);
        self.block(self.reader.call(async |client| {
            let put = "UPDATE sluicegate_commands SET answer = $2 WHERE number = $1";
            let values: &Values<'_> = &[(&answer.number, Type::INT8), (&sealed, Type::BYTEA)];
            client.execute_typed(put, values).await.map(drop).map_err(failed)
        }))
    }

    /// The answers to questions that there are by now; their rows go.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn answers(&self, numbers: &[i64]) -> Result<Vec<Ordered>, StoreError> {
        let rows = self.block(self.reader.call(async |client| {
            let take = "DELETE FROM sluicegate_commands
                WHERE number = ANY($1) AND answer IS NOT NULL RETURNING number, answer";
            client.query_typed(take, &[(&numbers, Type::INT8_ARRAY)]).await.map_err(failed)
        }))?;
        let opened = |row: &tokio_postgres::Row| {
            let number: i64 = row.get(0);
            let text = self.key.open(ANSWER, &number.to_string(), row.get(1));
            Ordered { number, text: text.unwrap_or_default() }
        };
        Ok(rows.iter().map(opened).collect())
    }

    /// Takes back questions that nobody has taken; gives those that somebody has.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in crate::store) fn take_back(&self, numbers: &[i64]) -> Result<Vec<i64>, StoreError> {
        let rows = self.block(self.reader.call(async |client| {
            let take = "DELETE FROM sluicegate_commands WHERE number = ANY($1) AND NOT taken
                RETURNING number";
            client.query_typed(take, &[(&numbers, Type::INT8_ARRAY)]).await.map_err(failed)
        }))?;
        let gone: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        Ok(numbers.iter().filter(|it| !gone.contains(it)).copied().collect())
    }
}
