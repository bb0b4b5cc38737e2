//! The log on disk (`durability: disk`): what was appended is there after any crash.
//!
//! In the journal's folder:
//!
//! ```text
//! lock                      held by the daemon that uses the folder
//! 00000000000000000000.log  a segment: 32 bytes of header (see `segment`), then frames (see `frame`)
//! 00000000000067109120.log  the next one; a name is the position of the file's first byte in the log
//! cursors                   the checkpoint (see `checkpoint`)
//! progress.17               what was settled since (see `progress`)
//! dead-letters/             what no service takes (see `journal/dead_letters`)
//! ```
//!
//! Who does what: an *append* is encoded by its sender's task, queued within bounds, and answered by
//! the writer thread after one write and one `fdatasync` for all that are queued. A *read* takes
//! records from memory while its destination keeps up, and else looks through a part of a segment on
//! a blocking thread. What is *settled* is noted first, by a thread that writes without a sync. The
//! *keeper* thread saves the cursors every second and deletes what nobody needs. Recovery is described in `recovery`.
//!
//! Numbers:
//! - the log has `max_bytes`, or what the file system can give it if that is less (see `room`);
//! - a segment is sealed at a sixteenth of that, between 64 KiB and 64 MiB; an append is never
//!   split, so a segment passes this by at most one group of appends;
//! - `max_bytes` counts whole segments that hold pending records; deleting lags a second behind;
//! - in memory: 32 MiB of newest records, 64 MiB of queued appends, what is on its way to each
//!   destination, and some words for each segment and destination; nothing for what waits;
//! - a process that is killed repeats what was on its way, a power cut also what was delivered in the
//!   last second before it; neither loses anything that an append has returned for. Records of an append that has *not*
//!   returned may be kept in part.
//!
//! If the disk fails, appends are refused (and cut back) until it works again, and `/status` says so.

mod again;
mod append;
mod buried;
mod checkpoint;
mod compaction;
mod faults;
mod frame;
pub(super) mod framed;
mod keeper;
mod pending;
mod progress;
mod queue;
mod readiness;
mod reader;
mod recent;
mod recovery;
mod retained;
mod room;
mod scanner;
mod segment;
mod state;
pub(super) mod whole;
mod writer;

#[cfg(test)]
mod flips;
#[cfg(test)]
mod model;
#[cfg(test)]
mod share_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task;
use tracing::info;

use super::jobs::Jobs;
use super::{Account, Outcome, Pending, Share, Terms, TooLarge};
use crate::event::Timestamp;
use crate::lock::lock;
use crate::resources::ResourceId;
use crate::supervision;
use progress::{Noter, Progress};

pub(super) use buried::Buried;
#[cfg(test)]
pub(crate) use faults::Fault;
#[cfg(test)]
pub(crate) use faults::Faults;
#[cfg(not(test))]
pub(super) use faults::Faults;
pub use retained::{LogReader, Retained};
pub(super) use room::given;
use state::{Found, JournalProblem, Limits, Next, Part, Sizes, State};
use writer::{Handover, Writer};

/// Bytes of the newest records that are kept in memory, for destinations that keep up.
pub const CACHE_BYTES: usize = 32 << 20;

/// Bytes of appends that are queued for the writer at a time; more wait. Some groups' worth.
const QUEUED_BYTES: usize = 64 << 20;

/// The queue is counted in units of this many bytes; an append takes at least one.
const QUEUE_UNIT: usize = 16 << 10;

/// How many read segments at a time: disks are no faster for more.
const READS: usize = 4;

/// What they take at most where no event has more than so many bytes, beside what they were granted: each a
/// window, which may hold the largest, and that once more until it is known that it is too large.
#[must_use]
pub const fn readers_bytes(largest: usize) -> usize {
    READS * (2 * largest + scanner::WINDOW)
}

/// How long a reader waits after the disk could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What differs between the daemon and its tests.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub max_bytes: u64,
    /// How long settled segments are kept, after their last append, while there is room.
    pub retention: Duration,
    /// What recovery is to find dead-lettered although no checkpoint says so.
    pub buried: Buried,
    segment_bytes: u64,
    cache_bytes: usize,
    checkpoint_every: Duration,
    faults: Faults,
    jobs: Jobs,
}

impl Options {
    #[cfg(test)]
    pub(super) fn simulated(max_bytes: u64, faults: Faults, jobs: Jobs) -> Options {
        let sizes =
            Options { segment_bytes: 4_000, cache_bytes: 8_000, ..Options::new(0, Duration::ZERO) };
        Options { max_bytes, faults, jobs, ..sizes }
    }

    pub(super) fn new(max_bytes: u64, retention: Duration) -> Options {
        Options {
            max_bytes,
            retention,
            buried: Buried::default(),
            segment_bytes: (max_bytes / 16).clamp(64 << 10, 64 << 20),
            cache_bytes: CACHE_BYTES,
            checkpoint_every: Duration::from_secs(1),
            faults: Faults::default(),
            jobs: Jobs::OnThreads,
        }
    }
}

impl Options {
    fn sizes(&self) -> Sizes {
        Sizes {
            max_bytes: self.max_bytes,
            segment_bytes: self.segment_bytes,
            retention: u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The log, its writer and its keeper. They end, and the cursors are saved, when it is dropped.
pub(super) struct Disk {
    shared: Arc<Shared>,
    queue: Arc<Semaphore>,
    /// Those who may read segments.
    reads: Arc<Semaphore>,
    handover: Handover,
    jobs: Jobs,
    keeper: Option<JoinHandle<()>>,
    noter: Noter,
}

/// What the log's threads share.
struct Shared {
    directory: PathBuf,
    faults: Faults,
    state: Mutex<State>,
    progress: Progress,
    settled: Notify,
    /// Notified when appends that were under way have ended.
    ended: Notify,
    /// Notified when the keeper has ended a pass.
    passed: Notify,
    ends: AtomicBool,
    /// The text of the last checkpoint; held while one is made.
    last_checkpoint: Mutex<String>,
}

/// One destination's reading: its number, and what is being read from disk for it.
#[derive(Debug)]
pub(super) struct Reader {
    number: u64,
    reading: Option<(Part, task::JoinHandle<io::Result<Found>>)>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

/// The position from which on recovery wants to know of dead letters: by the checkpoint no record
/// before it is pending. Its segment may be gone (see `keeper`).
pub(super) fn settled_until(directory: &Path) -> io::Result<u64> {
    Ok(checkpoint::read(directory)?.map_or(0, |it| it.settled_until()))
}

/// Whether a folder holds a log.
pub(super) fn is_in(directory: &Path) -> io::Result<bool> {
    Ok(!segment::list(directory)?.is_empty())
}

/// The accounts in a folder that nobody uses.
pub(super) fn read_accounts(
    directory: &Path,
    buried: &Buried,
) -> io::Result<Vec<(ResourceId, Account)>> {
    Ok(recovery::recover(directory, 0, buried, &|_, _| {})?.state.accounts())
}

/// What the file system can give the log in a folder that need not exist yet.
pub(super) fn available_bytes(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|it| it.exists())?;
    let bases = segment::list(directory).unwrap_or_default();
    let size = |base| fs::metadata(segment::path(directory, base)).map_or(0, |it| it.len());
    let free = Faults::default().free_bytes(existing)?;
    Some(given(free, bases.into_iter().map(size).sum()))
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = Timestamp::now();
    u64::try_from(now.seconds).unwrap_or(0) * 1_000 + u64::from(now.nanos / 1_000_000)
}

impl Disk {
    /// Opens the log in a folder that exists, and recovers what is there.
    ///
    /// # Errors
    /// When files cannot be read, or a later version wrote them.
    pub(super) fn open(directory: &Path, options: &Options) -> io::Result<Disk> {
        Disk::open_watched(directory, options, &|_, _| {})
    }

    /// The same; `watch` learns how far recovery is.
    pub(super) fn open_watched(
        directory: &Path,
        options: &Options,
        watch: &dyn Fn(u64, u64),
    ) -> io::Result<Disk> {
        compaction::clear(directory)?;
        let recovered = recovery::recover(directory, options.cache_bytes, &options.buried, watch)?;
        recovered.repair()?;
        let progress = Progress::new(directory, recovered.checkpoint, options.faults.clone());
        let mut state = recovered.state;
        state.start(options.sizes(), options.faults.free_bytes(directory));
        let pending: u64 = state.queues.iter().map(|queue| queue.account.pending_records).sum();
        if !state.segments.is_empty() {
            let segments = state.segments.len();
            info!(segments, pending, damaged = state.damaged, "opened the journal");
        }
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            faults: options.faults.clone(),
            state: Mutex::new(state),
            progress,
            settled: Notify::new(),
            ended: Notify::new(),
            passed: Notify::new(),
            ends: AtomicBool::new(false),
            last_checkpoint: Mutex::default(),
        });
        shared.try_disk_first();
        let writer = Writer::new(Arc::clone(&shared), options);
        let keeping = Arc::clone(&shared);
        let every = options.checkpoint_every;
        let queued = QUEUED_BYTES / QUEUE_UNIT;
        let (handover, keeper, noter) = match &options.jobs {
            Jobs::OnThreads => {
                let noting = Arc::clone(&shared);
                let noter = Noter::to_thread(move || noting.write_progress())?;
                let keeper =
                    supervision::keep_thread("journal-keeper", move || keeping.keep(every))?;
                (Handover::to_thread(writer, queued)?, Some(keeper), noter)
            }
            #[cfg(test)]
            Jobs::Simulated(delays) => {
                (Handover::to_task(writer, queued, delays.clone()), None, Noter::None)
            }
        };
        Ok(Disk {
            shared,
            queue: Arc::new(Semaphore::new(queued)),
            reads: Arc::new(Semaphore::new(READS)),
            handover,
            jobs: options.jobs.clone(),
            keeper,
            noter,
        })
    }

    /// Makes a destination's queue ready for a new reader.
    pub(super) fn attach(&self, destination: &ResourceId, terms: Terms) -> Reader {
        let number = self.shared.state().attach(destination, terms);
        Reader { number, reading: None }
    }

    pub(super) fn detach(&self, destination: &ResourceId, reader: &Reader) {
        self.shared.state().detach(destination, reader.number);
        self.shared.settled.notify_waiters();
    }

    pub(super) fn set_terms(&self, destination: &ResourceId, terms: Terms) {
        self.shared.state().set_terms(destination, terms);
    }

    /// What a destination takes of the log and may take, if it is known.
    pub(super) fn share(&self, destination: &ResourceId) -> Option<Share> {
        let state = self.shared.state();
        Some(state.share(state.known(destination)?))
    }

    pub(super) async fn read(
        &self,
        destination: &ResourceId,
        reader: &mut Reader,
        limits: (usize, usize),
    ) -> Result<Vec<Pending>, TooLarge> {
        let limits = Limits { records: limits.0, bytes: limits.1 };
        loop {
            // Kept across calls: a caller that gives up waiting leaves the reading for its next call.
            if let Some((part, reading)) = &mut reader.reading {
                let found = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                let part = *part;
                reader.reading = None;
                match self.accept(destination, part, found, limits) {
                    Ok(Ok(taken)) if taken.is_empty() => {}
                    Ok(taken) => return taken,
                    Err(()) => tokio::time::sleep(READ_AGAIN).await,
                }
            }
            match self.next(destination, reader.number, limits) {
                // Whoever took its place has ended this task, or is about to.
                None => std::future::pending::<()>().await,
                Some(Next::Records(taken)) => return Ok(taken),
                Some(Next::TooLarge(bytes)) => return Err(TooLarge(bytes)),
                Some(Next::Nothing(arrived)) => arrived.notified().await,
                Some(Next::OnDisk(part)) => {
                    let (shared, id) = (Arc::clone(&self.shared), destination.clone());
                    let permit = Arc::clone(&self.reads).acquire_owned().await;
                    let read = move || {
                        let _permit = permit;
                        reader::read(&shared.directory, &id, part, limits)
                    };
                    // Kept, so that what was read is there for the next call when this one is cut
                    // short.
                    reader.reading = Some((part, self.jobs.begin(read)));
                }
            }
        }
    }

    /// What a reader is to do next; `None` if another has taken its place.
    fn next(&self, destination: &ResourceId, reader: u64, limits: Limits) -> Option<Next> {
        let mut state = self.shared.state();
        let number = state.queue(destination);
        state.queues[number].is_read_by(reader).then(|| state.next(number, limits))
    }

    fn accept(
        &self,
        destination: &ResourceId,
        part: Part,
        found: io::Result<Found>,
        limits: Limits,
    ) -> Result<Result<Vec<Pending>, TooLarge>, ()> {
        let mut state = self.shared.state();
        let number = state.queue(destination);
        match found {
            Ok(found) => {
                state.set_problem(JournalProblem::Reading, None);
                Ok(state.accept(number, part, found, limits))
            }
            Err(cause) => {
                let path = segment::path(&self.shared.directory, part.base);
                let message = format!(
                    "{} cannot be read, what waits there is tried again: {cause}",
                    path.display()
                );
                state.set_problem(JournalProblem::Reading, Some(message));
                Err(())
            }
        }
    }

    /// Notes what is settled where the process's death leaves it, and then settles it.
    pub(super) async fn settle_noted(&self, destination: &ResourceId, settled: &[(u64, Outcome)]) {
        if settled.is_empty() {
            return;
        }
        let progress = &self.shared.progress;
        let note = self.noter.note(progress, destination, settled).await;
        if progress.hangs() {
            self.shared.note_problem(Some(io::Error::other("the disk takes too long")));
        }
        self.settle(destination, settled);
        drop(note);
    }

    pub(super) fn settle(&self, destination: &ResourceId, settled: &[(u64, Outcome)]) {
        self.shared.state().settle(destination, settled);
        self.shared.settled.notify_waiters();
    }

    pub(super) fn account(&self, destination: &ResourceId) -> Option<Account> {
        let state = self.shared.state();
        let number = state.known(destination)?;
        let age = |appended| Duration::from_millis(now_ms().saturating_sub(appended));
        let oldest_pending = state.oldest_pending(number).map_or(Duration::ZERO, age);
        Some(Account { oldest_pending, ..state.queues[number].account })
    }

    pub(super) fn accounts(&self) -> Vec<(ResourceId, Account)> {
        self.shared.state().accounts()
    }

    /// Gives up all that waits for a destination and saves that; tells how many records.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub(super) fn forget(&self, destination: &ResourceId) -> io::Result<u64> {
        let mut state = self.shared.state();
        let records = state.known(destination).map_or(0, |number| {
            // A reader that has gone may have left some unsettled: they wait again first.
            let reader = state.attach(destination, Terms::default());
            let records = state.forget(number);
            state.detach(destination, reader);
            records
        });
        // A checkpoint takes the lock itself.
        drop(state);
        self.shared.checkpoint();
        match self.shared.state().problem() {
            None => Ok(records),
            Some(message) => Err(io::Error::other(message)),
        }
    }

    pub(super) async fn drained(&self) {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            // Enabled before the count is read, so that no settling in between goes unnoticed.
            settled.as_mut().enable();
            if self.shared.state().pending_for_readers() == 0 {
                return;
            }
            settled.await;
        }
    }

    pub(super) fn pending_records(&self) -> u64 {
        let state = self.shared.state();
        state.queues.iter().map(|queue| queue.account.pending_records).sum()
    }

    /// Destinations that nobody reads for although records wait for them, and how many.
    pub(super) fn unread(&self) -> Vec<(ResourceId, u64)> {
        let state = self.shared.state();
        let unread = state.queues.iter().filter(|it| !it.has_reader());
        unread
            .map(|it| (it.id.clone(), it.account.pending_records))
            .filter(|(_, records)| *records > 0)
            .collect()
    }

    pub(super) fn status(&self) -> super::Status {
        let refusal = self.refusal();
        let state = self.shared.state();
        let (pending, all) = (state.pending_file_bytes(), state.file_bytes());
        super::Status {
            durability: super::Durability::Disk,
            bytes: pending,
            kept_bytes: all - pending,
            max_bytes: state.sizes.max_bytes,
            usable_bytes: state.most_bytes(),
            free_bytes: state.free_bytes,
            compacted_bytes: state.compacted,
            segments: state.segments.len() as u64,
            damaged: state.damaged,
            error: state.problem(),
            refusal,
        }
    }

    /// Saves the cursors now, in the caller's thread.
    pub(super) fn checkpoint_here(&self) {
        self.shared.checkpoint();
    }

    /// Saves the cursors now.
    pub(super) async fn checkpoint(&self) {
        let shared = Arc::clone(&self.shared);
        // The only error is a panic over there, which was logged.
        let _panicked = self.jobs.run(move || shared.checkpoint()).await;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.handover.close();
        self.shared.ends.store(true, Ordering::Release);
        self.shared.progress.end();
        self.noter.end();
        if let Some(keeper) = &self.keeper {
            keeper.thread().unpark();
        }
        if let Some(keeper) = self.keeper.take() {
            // The only error is a panic over there, which was logged.
            let _panicked = keeper.join();
        }
        self.shared.checkpoint();
    }
}

impl Shared {
    /// The state stays consistent even if a holder of the lock panicked: each change to it is made
    /// whole before anything that can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn write_progress(&self) {
        self.progress.run(&|cause| self.note_problem(cause));
    }

    fn note_problem(&self, cause: Option<io::Error>) {
        let message = cause.map(|cause| {
            let folder = self.directory.display();
            format!("what is delivered cannot be noted in {folder}, a crash now would repeat deliveries: {cause}")
        });
        self.state().set_problem(JournalProblem::Noting, message);
    }
}
