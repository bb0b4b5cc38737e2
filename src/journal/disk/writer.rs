//! The one thread that appends: it takes what many senders have handed in, writes it with one write
//! and one sync, and answers them all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::faults::Faults;
use super::pending::Segment;
use super::recent::Item;
use super::room::Claim;
use super::segment::{Active, HEADER};
use super::state::JournalProblem;
use super::{Options, Shared, now_ms};
#[cfg(test)]
use crate::journal::jobs::Delays;
use crate::journal::{Entry, Offer};
use crate::supervision;

/// How long a group waits for senders that were in the last one. They come again within tens of
/// microseconds if they come at all; a sync takes about a millisecond.
const GROUP_WAIT: Duration = Duration::from_micros(500);

/// A group of this many bytes waits no longer: past it a sync's cost is lost in that of writing.
const GROUP_ENOUGH: usize = 1 << 20;

/// A group takes in nothing more once it has this many bytes, so that nobody waits for long writes
/// of others: some milliseconds on any disk of today.
const GROUP_MOST: usize = 4 << 20;

/// One sender's append.
#[derive(Debug)]
pub(super) struct Job {
    /// The room that it takes until it ends.
    pub claim: Claim,
    /// The frames of all entries, one after the other, and perhaps a tally behind them.
    pub bytes: Vec<u8>,
    /// The entries, each with the length of its frame.
    pub entries: Vec<(u64, Entry)>,
    pub offers: Vec<Offer>,
    pub appended: u64,
    /// The system's reason if it was not kept.
    pub answer: oneshot::Sender<Result<(), String>>,
    /// Its share of what may be queued; given back when the job ends.
    pub _permit: OwnedSemaphorePermit,
}

/// How appends reach the writer.
pub(super) enum Handover {
    /// Through a queue, to its thread.
    Thread { jobs: Option<SyncSender<Job>>, thread: Option<JoinHandle<()>> },
    /// Through a queue, to a task of the one thread of a simulation.
    #[cfg(test)]
    Task(tokio::sync::mpsc::Sender<Job>),
}

impl Handover {
    /// Starts the writer's thread behind a queue of so many appends.
    pub(super) fn to_thread(writer: Writer, queued: usize) -> io::Result<Handover> {
        let (jobs, queue) = sync_channel(queued);
        let thread = supervision::thread_once("journal-writer", move || writer.run(&queue))?;
        Ok(Handover::Thread { jobs: Some(jobs), thread: Some(thread) })
    }

    /// The same as a task, which writes a group after a delay.
    #[cfg(test)]
    pub(super) fn to_task(mut writer: Writer, queued: usize, delays: Delays) -> Handover {
        let (jobs, mut queue) = tokio::sync::mpsc::channel(queued);
        tokio::spawn(async move {
            while let Some(first) = queue.recv().await {
                delays.pass().await;
                let mut group = vec![first];
                group.extend(std::iter::from_fn(|| queue.try_recv().ok()));
                writer.commit(group);
            }
        });
        Handover::Task(jobs)
    }

    /// Hands an append over, or gives it back if there is no writer.
    pub(super) fn send(&self, job: Job) -> Result<(), Box<Job>> {
        match self {
            Handover::Thread { jobs: None, .. } => Err(Box::new(job)),
            Handover::Thread { jobs: Some(jobs), .. } => jobs.try_send(job).map_err(|error| {
                let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = error;
                Box::new(job)
            }),
            #[cfg(test)]
            Handover::Task(jobs) => {
                jobs.try_send(job).map_err(|error| Box::new(error.into_inner()))
            }
        }
    }

    /// Waits until all that was handed over is written, and takes nothing more.
    pub(super) fn close(&mut self) {
        match self {
            Handover::Thread { jobs, thread } => {
                *jobs = None;
                if let Some(thread) = thread.take() {
                    // The only error is a panic over there, which was logged.
                    let _panicked = thread.join();
                }
            }
            // The task ends with the runtime.
            #[cfg(test)]
            Handover::Task(_) => {}
        }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    faults: Faults,
    active: Option<Active>,
    /// Where the next segment may begin: past every position that was ever used.
    position: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, options: &Options) -> Writer {
        let position = shared.state().head;
        Writer {
            directory: shared.directory.clone(),
            shared,
            faults: options.faults.clone(),
            active: None,
            position,
        }
    }

    /// Runs until nobody can hand in anything any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut last_group = 0;
        while let Ok(first) = jobs.recv() {
            let group = gather(first, jobs, last_group);
            last_group = group.len();
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        let written = self.append(&group);
        let too_large = |it: &io::Error| it.kind() == io::ErrorKind::FileTooLarge;
        if group.len() > 1 && written.as_ref().is_err_and(too_large) {
            // No file may hold all of it; perhaps each of them.
            group.into_iter().for_each(|job| self.commit(vec![job]));
            return;
        }
        let mut answers = Vec::with_capacity(group.len());
        {
            let mut state = self.shared.state();
            for job in &group {
                state.release(&job.claim);
            }
            state.disk_full =
                written.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::StorageFull);
            match &written {
                Ok(start) => {
                    let mut position = *start;
                    for job in group {
                        let appended = job.appended;
                        let end = position + job.bytes.len() as u64;
                        let item = |(bytes, entry): (u64, Entry)| {
                            let at = position;
                            position += bytes;
                            let Entry { record, destinations } = entry;
                            Item { position: at, bytes, appended, record, destinations }
                        };
                        let items = job.entries.into_iter().map(item).collect();
                        state.push(items, &job.offers, end);
                        position = end;
                        answers.push(job.answer);
                    }
                    state.set_problem(JournalProblem::Appending, None);
                }
                Err(cause) => {
                    // A full disk may be full of what is settled in the last segment, which can go only
                    // when it grows no more.
                    let is_used = state.segments.back().is_some_and(|last| !last.is_unused());
                    state.seal |= state.disk_full && is_used;
                    state.refused_bytes = group.iter().map(|job| job.bytes.len() as u64).sum();
                    let message = self.shared.cannot_append(cause);
                    state.set_problem(JournalProblem::Appending, Some(message));
                    answers.extend(group.into_iter().map(|job| job.answer));
                }
            }
        }
        self.shared.ended.notify_waiters();
        for answer in answers {
            // A sender that has gone does not wait for its answer.
            let result = written.as_ref().map(|_| ()).map_err(io::Error::to_string);
            let _gone = answer.send(result);
        }
    }

    /// Puts a group safely on disk; tells the position of its first frame. A file that may not grow
    /// (`ulimit -f`) is left for a new one at once.
    fn append(&mut self, group: &[Job]) -> io::Result<u64> {
        let goes_on = self.active.is_some();
        match self.append_once(group) {
            Err(cause) if goes_on && cause.kind() == io::ErrorKind::FileTooLarge => {
                self.append_once(group)
            }
            written => written,
        }
    }

    fn append_once(&mut self, group: &[Job]) -> io::Result<u64> {
        let (seal, segment_bytes) = {
            let mut state = self.shared.state();
            (std::mem::take(&mut state.seal), state.segment_bytes())
        };
        if let Some(active) = self.active.take_if(|it| seal || it.len() >= segment_bytes) {
            self.position = self.position.max(active.end());
        }
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let now = now_ms();
                let begun =
                    Active::begin(&self.directory, self.position, now, self.faults.clone())?;
                let segment = Segment::new(self.position, HEADER, now);
                self.shared.state().begin(segment);
                self.active.insert(begun)
            }
        };
        let start = active.end();
        let pieces: Vec<&[u8]> = group.iter().map(|job| &*job.bytes).collect();
        if let Err(error) = active.append(&pieces) {
            if !error.usable || error.cause.kind() == io::ErrorKind::FileTooLarge {
                // Positions that may be on disk with other contents are not used again.
                let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
                self.position = start + bytes;
                self.active = None;
            }
            return Err(error.cause);
        }
        Ok(start)
    }
}

/// Takes what is queued, and waits a little for those who were in the last group.
fn gather(first: Job, jobs: &Receiver<Job>, last_group: usize) -> Vec<Job> {
    let deadline = Instant::now() + GROUP_WAIT;
    let mut bytes = first.bytes.len();
    let mut group = vec![first];
    while bytes < GROUP_MOST {
        let patient = group.len() < last_group && bytes < GROUP_ENOUGH;
        let left = if patient {
            deadline.saturating_duration_since(Instant::now())
        } else {
            Duration::ZERO
        };
        match jobs.recv_timeout(left) {
            Ok(job) => {
                bytes += job.bytes.len();
                group.push(job);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    group
}
