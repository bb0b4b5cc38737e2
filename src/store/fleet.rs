//! The store of one daemon of a fleet: the database, how well it is reached, and the copy for times without it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::copy::Copy;
use super::postgres::{Postgres, Turn};
use super::seal::MasterKey;
use super::settings::PostgresUrl;
use super::sum::keeps_out;
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

    /// Looks whether a set that was put back as a whole lets in whom this daemon's copy keeps out.
    fn compare(&self, news: &mut News) {
        let copied = self.copied(|copy| Ok((copy.version()?, copy.rows()?)));
        let Some((Some(version), copied)) = copied else { return };
        let guards = |rows: &[Row]| -> BTreeSet<(String, String, String)> {
            let guards = rows.iter().filter(|row| keeps_out(&row.kind)).cloned();
            guards.map(|Row { kind, id, body, .. }| (kind, id, body)).collect()
        };
        if news.whole && version > news.version && guards(&copied) != guards(&news.rows) {
            news.guards_changed = Some(true);
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
                self.compare(&mut news);
                self.keep(&news);
                Ok(Inspected {
                    rows: news.rows,
                    changed: news.told,
                    guards_changed: news.guards_changed == Some(true),
                    version: news.version,
                })
            }
            Err(cause @ StoreError::Unreachable(_)) => {
                // A copy that is of nothing yet would say that nobody is kept out.
                let copied = self.copied(|copy| match copy.version()? {
                    Some(version) => Ok(Some((copy.rows()?, version))),
                    None => Ok(None),
                });
                let (rows, version) = copied.flatten().ok_or(cause)?;
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
        let mut news = self.heard(self.postgres.news(seen))?;
        if let Some(news) = &mut news {
            self.compare(news);
            self.keep(news);
        }
        Ok(news)
    }

    pub(super) fn begin(&self, seen: Option<i64>) -> Result<Turn, StoreError> {
        let mut turn = self.heard(self.postgres.begin(seen))?;
        if let Some(news) = &mut turn.news {
            self.compare(news);
            self.keep(news);
        }
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
