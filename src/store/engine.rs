//! The one small set of calls that both engines answer. All of them block: on the disk, or for some seconds
//! at most on a database.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;

#[cfg(feature = "postgres")]
use super::fleet::Fleet;
#[cfg(feature = "postgres")]
use super::postgres;
use super::sqlite::Sqlite;
use super::{
    Change, Identity, Inspected, MasterKey, News, Ordered, Reach, Row, Seen, StoreError,
    StoreSettings, Waiting,
};

/// What users made through the API.
pub struct Store(Engine);

enum Engine {
    Sqlite(Box<Sqlite>),
    #[cfg(feature = "postgres")]
    Fleet(Box<Fleet>),
}

/// The right to make the next change: across the fleet, where there is one. Dropped, it has changed nothing.
pub struct Turn(TurnOf);

enum TurnOf {
    Sqlite,
    #[cfg(feature = "postgres")]
    Fleet(Box<postgres::Turn>),
}

/// What came of a change.
#[derive(Debug, Default)]
pub struct Committed {
    /// The set's version with it; 0 where there is no fleet.
    pub version: i64,
    /// Its events, where nobody but this daemon publishes them now.
    pub events: Vec<Waiting>,
}

impl Turn {
    /// What the set has become since the version that was said when it began.
    pub fn take_news(&mut self) -> Option<News> {
        match &mut self.0 {
            TurnOf::Sqlite => None,
            #[cfg(feature = "postgres")]
            TurnOf::Fleet(turn) => turn.news.take(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store of a data folder, making both if need be. For SQLite without a key, the one in the
    /// folder's key file is used, and made at the first start.
    ///
    /// # Errors
    /// When a file cannot be used, is of a later version, or was sealed with another key; when a database
    /// cannot be reached and there is no copy of it.
    pub fn open(
        data_dir: &Path,
        key: Option<MasterKey>,
        settings: &StoreSettings,
    ) -> Result<Store, StoreError> {
        Store::fleet_or(data_dir, key, settings, Sqlite::open)
    }

    /// The same, but where the disk has no room for SQLite's file what it holds is held in memory, and nothing
    /// can be changed ([`Store::cannot_write`]).
    ///
    /// # Errors
    /// When a file cannot be read, is of a later version, or was sealed with another key.
    pub fn open_or_hold(
        data_dir: &Path,
        key: Option<MasterKey>,
        settings: &StoreSettings,
    ) -> Result<Store, StoreError> {
        Store::fleet_or(data_dir, key, settings, Sqlite::open_or_hold)
    }

    fn fleet_or(
        data_dir: &Path,
        key: Option<MasterKey>,
        settings: &StoreSettings,
        sqlite: impl FnOnce(&Path, Option<MasterKey>) -> Result<Sqlite, StoreError>,
    ) -> Result<Store, StoreError> {
        match settings {
            #[cfg(feature = "postgres")]
            StoreSettings::Postgres { url, name } => {
                let fleet = Fleet::open(data_dir, key, url, name.as_deref())?;
                Ok(Store(Engine::Fleet(Box::new(fleet))))
            }
            _ => Ok(Store(Engine::Sqlite(Box::new(sqlite(data_dir, key)?)))),
        }
    }

    /// Opens the store of a data folder, also beside a running daemon, and makes neither SQLite's file nor a
    /// key. `None` where there is no file, or nothing was kept in it yet.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub fn open_existing(
        data_dir: &Path,
        key: Option<MasterKey>,
        settings: &StoreSettings,
    ) -> Result<Option<Store>, StoreError> {
        match settings {
            StoreSettings::Sqlite => {
                Ok(Sqlite::open_existing(data_dir, key)?
                    .map(|it| Store(Engine::Sqlite(Box::new(it)))))
            }
            StoreSettings::Postgres { .. } => Store::open(data_dir, key, settings).map(Some),
        }
    }

    /// Whether other daemons share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !matches!(self.0, Engine::Sqlite(_))
    }

    /// Who this installation is.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn identity(&self) -> Result<Identity, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.identity(),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => Ok(fleet.identity()),
        }
    }

    /// Reads all rows, and tells what others did to them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn inspect(&self) -> Result<Inspected, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.inspect(),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.inspect(),
        }
    }

    /// All rows that open, or those of one kind.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load(&self, kind: Option<&str>) -> Result<Vec<Row>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.load(kind),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.load(kind),
        }
    }

    /// Waits for the turn to change something. With the version that the caller has seen, if any, it is read
    /// what the set has become since.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn begin(&self, seen: Option<i64>) -> Result<Turn, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(Turn(TurnOf::Sqlite)),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => Ok(Turn(TurnOf::Fleet(Box::new(fleet.begin(seen)?)))),
        }
    }

    /// Makes the changes of a turn and keeps the events that tell of them, all or nothing; on disk when it
    /// returns.
    ///
    /// # Errors
    /// When nothing has changed; [`StoreError::Unknown`] where that cannot be said.
    pub fn commit(
        &self,
        turn: Turn,
        changes: &[Change],
        events: &[String],
    ) -> Result<Committed, StoreError> {
        match (&self.0, turn.0) {
            (Engine::Sqlite(sqlite), _) => {
                sqlite.write(changes, events)?;
                Ok(Committed::default())
            }
            #[cfg(feature = "postgres")]
            (Engine::Fleet(fleet), TurnOf::Fleet(turn)) => {
                let (version, events) = fleet.commit(*turn, changes, events)?;
                Ok(Committed { version, events })
            }
            #[cfg(feature = "postgres")]
            (Engine::Fleet(_), TurnOf::Sqlite) => {
                Err(StoreError::Unreachable("it is not its turn".to_owned()))
            }
        }
    }

    /// Makes changes that are planned against nothing.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    pub fn write(&self, changes: &[Change], events: &[String]) -> Result<(), StoreError> {
        self.commit(self.begin(None)?, changes, events).map(drop)
    }

    /// What a fleet's set has become since a version; none if it is the same, or there is no fleet.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn news(&self, seen: i64) -> Result<Option<News>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.news(seen),
        }
    }

    /// Told of each notice that a fleet's set has changed. Notices may get lost.
    #[must_use]
    pub fn notices(&self) -> Arc<Notify> {
        match &self.0 {
            Engine::Sqlite(_) => Arc::default(),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.notices(),
        }
    }

    /// How well a fleet's store is reached; none where there is no fleet.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        match &self.0 {
            Engine::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => Some(fleet.reach()),
        }
    }

    /// The name of this daemon in its fleet.
    #[must_use]
    pub fn daemon(&self) -> Option<&str> {
        match &self.0 {
            Engine::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => Some(fleet.name()),
        }
    }

    /// Says in a fleet's store how this daemon stands; gives what it, or another of its name, said a moment
    /// ago. Rows of daemons that have said nothing for a day go.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn report(&self, report: &str) -> Result<Option<String>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.report(report)),
        }
    }

    /// Takes this daemon out of its fleet, since it ends.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub fn leave(&self) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(postgres::Postgres::leave),
        }
    }

    /// The newest version of a fleet's set, and its daemons by name; none where there is no fleet.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub fn daemons(&self) -> Result<(i64, Vec<Seen>), StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok((0, Vec::new())),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(postgres::Postgres::daemons),
        }
    }

    /// Asks another daemon something, good for so many seconds; gives the question's number, or none where
    /// too many wait for that daemon.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn order(&self, daemon: &str, text: &str, seconds: i64) -> Result<Option<i64>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.order(daemon, text, seconds)),
        }
    }

    /// Takes what this daemon is asked, at most `max`, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn take_orders(&self, max: i64) -> Result<Vec<Ordered>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(Vec::new()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.take_orders(max)),
        }
    }

    /// Answers another daemon.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn answer_order(&self, answer: &Ordered) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.answer_order(answer)),
        }
    }

    /// The answers to questions that there are by now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn answers(&self, numbers: &[i64]) -> Result<Vec<Ordered>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(Vec::new()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.answers(numbers)),
        }
    }

    /// Takes back questions that nobody has taken; gives those that somebody has.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn take_back(&self, numbers: &[i64]) -> Result<Vec<i64>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(Vec::new()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.take_back(numbers)),
        }
    }

    /// Told of each notice that this daemon is asked something. Notices may get lost.
    #[must_use]
    pub fn order_notices(&self) -> Arc<Notify> {
        match &self.0 {
            Engine::Sqlite(_) => Arc::default(),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.order_notices(),
        }
    }

    /// Events that still have to be published, the oldest first, at most `max`: those of SQLite behind a
    /// number, those of a fleet that no other daemon has.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn waiting(&self, after: i64, max: usize) -> Result<Vec<Waiting>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.waiting(after, max),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.claim(max)),
        }
    }

    /// Keeps events for this daemon that it has not published for good.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn renew(&self, numbers: &[i64]) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.renew(numbers)),
        }
    }

    /// Forgets events that were published.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn published(&self, numbers: &[i64]) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.published(numbers),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.published(numbers)),
        }
    }

    /// Notes in a fleet's store when keys were last used, and tells what the others noted since a time.
    ///
    /// # Errors
    /// When the database cannot be reached.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of a fleet alone"))]
    pub fn uses(
        &self,
        own: &[(String, i64)],
        since: i64,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(Vec::new()),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.asked(|postgres| postgres.uses(own, since)),
        }
    }

    /// Why nothing can be changed, if so: the disk had no room when the store was opened, or the database
    /// cannot be reached.
    #[must_use]
    pub fn cannot_write(&self) -> Option<String> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.cannot_write().map(str::to_owned),
            #[cfg(feature = "postgres")]
            Engine::Fleet(fleet) => fleet.reach().error,
        }
    }

    /// Whether it is held in memory, and may be opened for writing again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(&self.0, Engine::Sqlite(sqlite) if sqlite.cannot_write().is_some())
    }

    /// Opens the file of a held store for writing; the installation stays who it is. `None` where it is not
    /// held.
    ///
    /// # Errors
    /// When it still cannot be opened.
    pub fn reopened(&self) -> Result<Option<Store>, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) if sqlite.cannot_write().is_some() => {
                sqlite.reopened().map(|it| Some(Store(Engine::Sqlite(Box::new(it)))))
            }
            _ => Ok(None),
        }
    }

    /// A number that changes when another process has written SQLite's file, and is negative while that is
    /// held in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        match &self.0 {
            Engine::Sqlite(sqlite) => sqlite.version(),
            #[cfg(feature = "postgres")]
            Engine::Fleet(_) => Ok(0),
        }
    }
}
