//! The store of one daemon of a fleet: the database, how well it is reached, and the copy for times without it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::copy::Copy;
use super::postgres::{Postgres, Turn};
use super::seal::MasterKey;
use super::settings::PostgresUrl;
use super::{Change, Identity, Inspected, News, Reach, Row, StoreError, Waiting};
use crate::lock::lock;

/// How often it is noted in the copy that the database answers.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// The version before the first change.
const FIRST: i64 = 0;

pub(super) struct Fleet {
    postgres: Postgres,
    /// None where it cannot be written.
    copy: Option<Copy>,
    identity: Identity,
    heard: Mutex<Heard>,
    name: String,
}

/// What was last heard of the database.
#[derive(Debug)]
struct Heard {
    at: Option<Instant>,
    /// How long before this process it was last heard of.
    before: Duration,
    began: Instant,
    noted: Option<Instant>,
    error: Option<String>,
}

impl Fleet {
    /// Reaches the database, or goes on from the copy.
    ///
    /// # Errors
    /// When there is no key or a wrong one, when the database is of a later version, or when it cannot be
    /// reached and there is no copy.
    pub(super) fn open(
        data_dir: &Path,
        key: Option<MasterKey>,
        url: &PostgresUrl,
        name: Option<&str>,
    ) -> Result<Fleet, StoreError> {
        let key = key.ok_or(StoreError::NoFleetKey)?;
        let copy = Copy::open(data_dir, &key);
        let copy =
            copy.inspect_err(|error| warn!(%error, "no copy of the fleet's set can be kept"));
        let copy = copy.ok();
        let name = match (name, &copy) {
            (Some(name), _) => name.to_owned(),
            (None, Some(copy)) => copy.name(fresh_name())?,
            (None, None) => fresh_name(),
        };
        let postgres = Postgres::new(url, key, name.clone())?;
        let mut heard = Heard {
            at: None,
            before: Duration::ZERO,
            began: Instant::now(),
            noted: None,
            error: None,
        };
        let identity = match (postgres.identity(None), &copy) {
            (Ok(identity), _) => {
                heard.at = Some(Instant::now());
                identity
            }
            (Err(cause @ StoreError::Unreachable(_)), Some(copy)) if copy.version()?.is_some() => {
                warn!(%cause, "going on from the copy of the fleet's set");
                heard.before = copy.age()?;
                heard.error = Some(cause.to_string());
                copy.identity()?
            }
            (Err(StoreError::Unreachable(cause)), _) => {
                return Err(StoreError::NoCopy(data_dir.to_owned(), cause));
            }
            (Err(cause), _) => return Err(cause),
        };
        Ok(Fleet { postgres, copy, identity, heard: Mutex::new(heard), name })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn notices(&self) -> Arc<Notify> {
        self.postgres.notices()
    }

    pub(super) fn reach(&self) -> Reach {
        let heard = lock(&self.heard);
        let stale = match (&heard.error, heard.at) {
            (None, _) => Duration::ZERO,
            (Some(_), Some(at)) => at.elapsed(),
            (Some(_), None) => heard.before + heard.began.elapsed(),
        };
        Reach { stale, error: heard.error.clone() }
    }

    pub(super) fn order_notices(&self) -> Arc<Notify> {
        self.postgres.order_notices()
    }

    /// Notes how a call of the database ended.
    fn heard<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut heard = lock(&self.heard);
        match &answer {
            Ok(_) => {
                heard.at = Some(Instant::now());
                if heard.error.take().is_some() {
                    info!("the store of the fleet is reached again");
                }
                if heard.noted.is_none_or(|it| it.elapsed() >= NOTE_EVERY) {
                    heard.noted = Some(Instant::now());
                    drop(heard);
                    self.copied(Copy::note_seen);
                }
            }
            Err(error) => {
                if heard.error.is_none() {
                    warn!(%error, "going on with the set in force");
                }
                heard.error = Some(error.to_string());
            }
        }
        answer
    }

    /// Does something with the copy, which nobody waits for in vain.
    fn copied<T>(&self, work: impl FnOnce(&Copy) -> Result<T, StoreError>) -> Option<T> {
        let done = work(self.copy.as_ref()?);
        done.inspect_err(|error| warn!(%error, "the copy of the fleet's set is not up to date"))
            .ok()
    }

    fn keep(&self, news: &News) {
        let taken = self.copied(|copy| copy.take(&self.identity, news));
        if taken == Some(false)
            && let Ok(Some(whole)) = self.postgres.news(FIRST)
        {
            self.copied(|copy| copy.take(&self.identity, &whole));
        }
    }

    /// The set as it is, or as the copy has it.
    pub(super) fn inspect(&self) -> Result<Inspected, StoreError> {
        let before = self.copied(Copy::version).flatten();
        match self.heard(self.postgres.news(FIRST)) {
            Ok(news) => {
                let whole = || News { whole: true, ..News::default() };
                let mut news = news.unwrap_or_else(whole);
                if let Some(before) = before.filter(|before| *before > news.version) {
                    news.told.push(format!(
                        "it has version {}, and this daemon has seen {before}: it was put back as a whole",
                        news.version
                    ));
                }
                self.keep(&news);
                Ok(Inspected {
                    rows: news.rows,
                    changed: news.told,
                    guards_changed: false,
                    version: news.version,
                })
            }
            Err(cause @ StoreError::Unreachable(_)) => {
                let copied =
                    self.copied(|copy| Ok((copy.rows()?, copy.version()?.unwrap_or(FIRST))));
                let (rows, version) = copied.ok_or(cause)?;
                Ok(Inspected { rows, changed: Vec::new(), guards_changed: false, version })
            }
            Err(cause) => Err(cause),
        }
    }

    /// All rows, or those of one kind.
    pub(super) fn load(&self, kind: Option<&str>) -> Result<Vec<Row>, StoreError> {
        let mut rows = self.inspect()?.rows;
        rows.retain(|row| kind.is_none_or(|kind| row.kind == kind));
        Ok(rows)
    }

    pub(super) fn news(&self, seen: i64) -> Result<Option<News>, StoreError> {
        let news = self.heard(self.postgres.news(seen))?;
        news.iter().for_each(|news| self.keep(news));
        Ok(news)
    }

    pub(super) fn begin(&self, seen: Option<i64>) -> Result<Turn, StoreError> {
        let turn = self.heard(self.postgres.begin(seen))?;
        turn.news.iter().for_each(|news| self.keep(news));
        Ok(turn)
    }

    pub(super) fn commit(
        &self,
        turn: Turn,
        changes: &[Change],
        events: &[String],
    ) -> Result<(i64, Vec<Waiting>), StoreError> {
        let (version, waiting) = self.heard(self.postgres.commit(turn, changes, events))?;
        let mut news = News { since: version - 1, version, ..News::default() };
        for change in changes {
            match change {
                Change::Put(row) => news.rows.push(row.clone()),
                Change::Delete { kind, id } => news.gone.push((kind.clone(), id.clone())),
            }
        }
        self.keep(&news);
        Ok((version, waiting))
    }

    /// The database itself, for what has nothing to do with the copy.
    pub(super) fn asked<T>(
        &self,
        work: impl FnOnce(&Postgres) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.heard(work(&self.postgres))
    }
}

/// The host's name with some digits, since several daemons may run on one.
fn fresh_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{:04x}", rand::random::<u16>())
}
