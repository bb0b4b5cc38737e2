//! The thread that reads: lines of all files in turn, made into events, kept, and only then passed.
//!
//! Which files there are, and where reading stands, is the follower's matter.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::super::letter::{Letter, letter};
use super::FileSettings;
use super::board::FilesBoard;
use super::follower::{Event, Follower, MAX_FILES};
use crate::event::{Framed, Timestamp};
use crate::formats::{MISFIT, Stamp};
use crate::journal::{AT_FILES, Settlement};
use crate::pipeline::{NotTaken, Pipeline, Sender};
use crate::telemetry::{self, Entrance};

/// How often files are looked at where there was nothing more in any.
const POLL: Duration = Duration::from_millis(100);

/// How often it is looked which files there are, and positions are stored.
const UPKEEP: Duration = Duration::from_secs(1);

/// How long to wait when nothing can be kept: as long as an HTTP sender is asked to.
const RETRY: Duration = Duration::from_secs(1);

/// Go on.
pub(super) const RUN: u8 = 0;
/// Read nothing more.
pub(super) const STOP: u8 = 1;
/// Store the positions, and end.
pub(super) const LEAVE: u8 = 2;

/// The thread's own.
pub(super) struct Reader {
    settings: Vec<FileSettings>,
    senders: Vec<Arc<Sender>>,
    follower: Follower,
    pipeline: Arc<Pipeline>,
    runtime: Handle,
    orders: Arc<AtomicU8>,
    board: Arc<FilesBoard>,
    /// What was told last of each kind of trouble, so that it is not told each second.
    told: Vec<Event>,
}

impl Reader {
    pub(super) fn open(
        settings: Vec<FileSettings>,
        positions: &Path,
        pipeline: Arc<Pipeline>,
        orders: Arc<AtomicU8>,
        board: Arc<FilesBoard>,
    ) -> io::Result<Reader> {
        let patterns = settings.iter().map(|it| it.path.clone()).collect();
        let follower = Follower::open(patterns, positions)?;
        let sender = |it: &FileSettings| Arc::new(Sender::new(Entrance::Files, it.max_event, None));
        let senders = settings.iter().map(sender).collect();
        let runtime = Handle::current();
        let told = Vec::new();
        Ok(Reader { settings, senders, follower, pipeline, runtime, orders, board, told })
    }

    /// Runs until ordered to leave.
    pub(super) fn run(mut self) {
        let mut next_upkeep = Instant::now();
        while self.order() != LEAVE {
            let now = Instant::now();
            if now >= next_upkeep {
                self.upkeep(now);
                next_upkeep = now + UPKEEP;
            }
            let mut is_idle = true;
            for at in 0..self.follower.len() {
                if self.order() != RUN {
                    break;
                }
                is_idle &= !self.read(at, now);
            }
            if is_idle {
                std::thread::park_timeout(POLL);
            }
        }
        self.upkeep(Instant::now());
    }

    fn order(&self) -> u8 {
        self.orders.load(Ordering::Acquire)
    }

    fn upkeep(&mut self, now: Instant) {
        if self.order() == RUN {
            let events = self.follower.look(now);
            // What has not changed is not told again.
            let news: Vec<_> =
                events.iter().filter(|it| !self.told.contains(it)).cloned().collect();
            news.iter().for_each(tell);
            self.told = events;
        }
        if let Err(error) = self.follower.advance() {
            error!(%error, "the positions in log files cannot be stored; tried again");
        }
        self.board.set_files(self.follower.readings());
    }

    /// Reads on in one file; tells whether there was anything.
    fn read(&mut self, at: usize, now: Instant) -> bool {
        let (_, setting, _) = self.follower.about(at);
        match self.follower.read(at, self.settings[setting].max_event, now) {
            Ok(None) => false,
            Ok(Some(chunk)) => {
                match self.keep(at, chunk.start, chunk.text) {
                    Some(settlement) => self.follower.handed_on(at, chunk.end, settlement),
                    // Told to stop: the lines are read again after the next start.
                    None => return false,
                }
                true
            }
            Err(event) => {
                if !self.told.contains(&event) {
                    tell(&event);
                    self.told.push(event.clone());
                }
                matches!(event, Event::Cut(..))
            }
        }
    }

    /// Keeps the events of some lines, and bad ones as dead letters; waits for as long as either has no room.
    /// None if it was told to stop before.
    fn keep(&self, at: usize, start: u64, text: Vec<u8>) -> Option<Settlement> {
        let (path, setting, key) = self.follower.about(at);
        let path = path.display().to_string();
        let (settings, sender) = (&self.settings[setting], Arc::clone(&self.senders[setting]));
        let mut offsets = Vec::new();
        let framed = Framed::converted(&Bytes::from(text), |offset, line, out| {
            let offset = start + offset as u64;
            offsets.push(offset);
            if line.len() > settings.max_event {
                let message = format!("the line has more than {} bytes", settings.max_event);
                return Err(("ERR_SLUICEGATE_1007", message));
            }
            let account_id = settings.account_id.as_deref();
            let stamp = Stamp { id: Some(id(key, offset)), account_id };
            let made = settings.format.convert(line, stamp, out);
            made.map_err(|misfit| (MISFIT, misfit.to_string()))
        });
        // Of what is read at a time there are fewer lines than a body may have.
        let framed = Arc::new(framed.unwrap_or_default());
        let taken = self.retry("log files wait", || async {
            self.pipeline.take(&framed, &sender).await.map_err(|it| match it {
                NotTaken::Closed => None,
                cause => Some(cause.to_string()),
            })
        })?;
        let now = Timestamp::now();
        let letters = taken.refused.iter().map(|refused| {
            let offset = offsets.get(refused.place.index).copied().unwrap_or(start);
            letter(&format!("{path}:{offset}"), framed.event(refused.place), refused, now)
        });
        let letters: Vec<Letter> = letters.collect();
        let lines = framed.len() + framed.rejected().len();
        self.board.count(lines as u64, letters.len() as u64);
        if letters.is_empty() {
            return Some(taken.settlement);
        }
        self.retry("dead letters of log files cannot be written", || async {
            let written = self.pipeline.reject(AT_FILES, letters.clone()).await;
            written.map_err(|cause| Some(cause.to_string()))
        })?;
        Some(taken.settlement)
    }

    /// Tries until it is done, or until told to stop, or until nothing is taken any more: an error without a
    /// cause.
    fn retry<T, F: Future<Output = Result<T, Option<String>>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> Option<T> {
        let mut is_told = false;
        loop {
            match self.runtime.block_on(attempt()) {
                Ok(done) => {
                    if is_told {
                        self.board.set_waits(None);
                    }
                    return Some(done);
                }
                Err(None) => return None,
                Err(Some(cause)) if !is_told => {
                    warn!(%cause, "{what}");
                    self.board.set_waits(Some(cause));
                    is_told = true;
                }
                Err(Some(_)) => {}
            }
            if self.order() != RUN {
                return None;
            }
            std::thread::park_timeout(RETRY);
        }
    }
}

/// What an event's id is made of beside its time: the same for the same line of the same file.
fn id(key: u64, offset: u64) -> u128 {
    let hash = digest(&SHA256, &[key.to_le_bytes(), offset.to_le_bytes()].concat());
    hash.as_ref().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
}

fn tell(event: &Event) {
    match event {
        Event::Begun(path, offset) => {
            info!(path = %path.display(), offset, "a log file is followed")
        }
        Event::Ended(path, 0) => {
            info!(path = %path.display(), "a log file that was renamed is read to its end");
        }
        Event::Ended(path, left) => warn!(
            path = %path.display(), left,
            "a log file that was renamed is read to its end; its last line has none and was left"
        ),
        Event::Cut(path, unread) => {
            telemetry::files_cut(*unread);
            let path = path.display();
            match unread {
                0 => info!(%path, "a log file was cut; it is read from its beginning again"),
                _ => warn!(%path, unread, "a log file was cut before its last bytes were read"),
            }
        }
        Event::Gone(path, offset) => {
            warn!(path = %path.display(), offset, "a log file has gone that was read up to here");
        }
        Event::TooMany => warn!(most = MAX_FILES, "there are more log files than are followed"),
        Event::Unreadable(path, cause) => {
            warn!(path = %path.display(), %cause, "a log file cannot be read; tried again");
        }
    }
}
