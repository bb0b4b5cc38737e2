//! An installation's move from SQLite to PostgreSQL and back, while no daemon runs. How it is done is `store`'s
//! matter.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::uses;
use crate::store::{MasterKey, Moved, PostgresUrl, StoreError, move_to_postgres, move_to_sqlite};

/// Where an installation is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveTo {
    /// The file of a data folder.
    Sqlite,
    /// A database.
    Postgres,
}

/// Moves what was made through the API between a data folder and a database; the folder is the caller's alone.
///
/// # Errors
/// When the target is not empty, when daemons hold the database, or when either fails.
pub fn move_installation(data_dir: &Path, url: &PostgresUrl, to: MoveTo) -> Result<Moved, Refusal> {
    let key = MasterKey::of_environment().map_err(StoreError::Key)?;
    Ok(match to {
        MoveTo::Postgres => move_to_postgres(data_dir, url, key),
        MoveTo::Sqlite => move_to_sqlite(data_dir, url, key, with_use),
    }?)
}

/// The body of a key or a credential with when it was last used.
fn with_use(body: &str, last: i64) -> String {
    match serde_json::from_str::<Map<String, Value>>(body) {
        Ok(mut members) => {
            members.insert(uses::FIELD.to_owned(), json!(uses::shown(last)));
            Value::Object(members).to_string()
        }
        Err(_) => body.to_owned(),
    }
}
