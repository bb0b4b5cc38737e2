//! What was settled since the checkpoint, so that a process that is killed repeats only what was on
//! its way.
//!
//! A process's death loses nothing that was handed to the system, so nothing here is ever synced: a
//! power cut may take what was settled since the last checkpoint, a second's worth. Files are named
//! after the checkpoint that they follow (`progress.17` after the one that says 17) and hold frames one
//! behind the other, in little endian:
//!
//! ```text
//!  0  4  CRC-32C of the rest
//!  4  4  number of positions
//!  8  1  outcome: 0 delivered, 1 dead-lettered
//!  9  1  bytes of the destination's id
//! 10     the id, then each position in 8 bytes
//! ```
//!
//! A frame may speak of what its checkpoint already knows, or of what was given up meanwhile: whoever
//! reads counts only what the checkpoint calls pending. To lose a frame means that records are delivered
//! twice, never that one is lost.
//!
//! A record is noted before it is settled, so that what anybody was told is settled does not come again
//! after a kill. Checkpoints may be made between the two, several if the disk or the processor is busy; so
//! a file stays until a checkpoint is saved that was made after all that it notes was settled, and all
//! files up to the one after the checkpoint are read.
//!
//! A thread writes the frames; whoever settles waits for it, but not for ever for a disk that hangs.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::faults::Faults;
use crate::journal::Outcome;
use crate::lock::lock;
use crate::private;
use crate::resources::ResourceId;
use crate::supervision;

/// Bytes before a frame's id.
const HEAD: usize = 10;

/// Most bytes of a file: two million records. Only a checkpoint that cannot be saved for long lets one
/// grow to this; what is settled then is noted no more, and a kill would repeat it.
const MOST_WRITTEN: u64 = 16 << 20;

/// Most bytes that wait to be written, while the disk hangs.
const MOST_QUEUED: usize = 1 << 20;

/// How long is waited for a frame to be written, which is as long as an append waits. The disk has no part
/// in it, unless it is so busy that the system makes writers wait; only one that hangs takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The settled positions of each destination, and how each ended.
pub(super) type Settled = HashMap<ResourceId, BTreeMap<u64, Outcome>>;

/// What was settled since the last checkpoint, on its way to the files.
#[derive(Debug)]
pub(super) struct Progress {
    directory: PathBuf,
    queue: Mutex<Queue>,
    /// The file that was written last; held while it is written.
    file: Mutex<Option<Open>>,
    /// How many notes were written, or failed to be.
    written: watch::Sender<u64>,
    /// The disk hangs: nobody waits for it until it has taken something.
    hangs: AtomicBool,
    ends: AtomicBool,
    faults: Faults,
}

#[derive(Debug)]
struct Queue {
    frames: Vec<u8>,
    /// How many notes were ever queued.
    notes: u64,
    /// What could not be queued is missing from the files.
    overflowed: bool,
    /// The writer waits to be woken.
    idle: bool,
    /// The number of the file that takes frames now.
    number: u64,
    /// The number of the last checkpoint that was saved.
    saved: u64,
    /// Something was noted since the last snapshot.
    noted: bool,
    /// Files that notes may stand in whose records are not settled yet, and how many notes.
    open: BTreeMap<u64, usize>,
    /// The first file that may be there.
    oldest: u64,
    /// The first file that is needed once the checkpoint that is being made is saved.
    needed: u64,
}

/// A note of what is about to be settled. The file that it stands in stays as long as this does, so it is
/// to be kept until the records are settled.
#[must_use]
pub(super) struct Note<'p> {
    progress: &'p Progress,
    /// The number of the file that it stands in, or of one before it.
    file: u64,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.progress.queue);
        if let Some(notes) = queue.open.get_mut(&self.file) {
            *notes -= 1;
            if *notes == 0 {
                queue.open.remove(&self.file);
            }
        }
    }
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    /// Bytes of whole frames.
    len: u64,
}

impl Progress {
    /// Goes on behind the checkpoint of a number; deletes what belongs to no checkpoint that there is.
    pub(super) fn new(directory: &Path, checkpoint: u64, faults: Faults) -> Progress {
        let mut oldest = checkpoint;
        // What cannot be listed or deleted takes room and does no harm.
        for number in list(directory).unwrap_or_default() {
            if belongs(number, checkpoint) {
                oldest = oldest.min(number);
            } else {
                let _kept = fs::remove_file(path(directory, number));
            }
        }
        let began_next = path(directory, checkpoint + 1).exists();
        let queue = Queue {
            frames: Vec::new(),
            notes: 0,
            overflowed: false,
            idle: false,
            number: checkpoint + u64::from(began_next),
            saved: checkpoint,
            noted: true,
            open: BTreeMap::new(),
            oldest,
            needed: oldest,
        };
        Progress {
            directory: directory.to_owned(),
            queue: Mutex::new(queue),
            file: Mutex::default(),
            written: watch::Sender::new(0),
            hangs: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            faults,
        }
    }

    /// Queues what is about to be settled. Tells how many notes there were with it, and whether the writer
    /// is to be woken.
    fn queue(&self, id: &ResourceId, settled: &[(u64, Outcome)]) -> (Note<'_>, u64, bool) {
        let mut queue = lock(&self.queue);
        queue.notes += 1;
        queue.noted = true;
        let file = queue.number;
        *queue.open.entry(file).or_default() += 1;
        if queue.frames.len() > MOST_QUEUED {
            queue.overflowed = true;
        } else {
            for outcome in [Outcome::Delivered, Outcome::DeadLettered] {
                encode(id, settled, outcome, &mut queue.frames);
            }
        }
        (Note { progress: self, file }, queue.notes, std::mem::take(&mut queue.idle))
    }

    /// Waits until so many notes are written, unless the disk hangs.
    async fn written(&self, notes: u64) {
        if self.hangs.load(Ordering::Relaxed) {
            return;
        }
        let mut written = self.written.subscribe();
        let is_written = written.wait_for(|written| *written >= notes);
        if tokio::time::timeout(PATIENCE, is_written).await.is_err() {
            self.hangs.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the disk takes so long that nobody waits for it: what is settled now is perhaps not noted.
    pub(super) fn hangs(&self) -> bool {
        self.hangs.load(Ordering::Relaxed)
    }

    /// The number of the checkpoint that is being made; what is noted from now on follows it. To be
    /// called while the state of that checkpoint is locked.
    pub(super) fn snapshot(&self) -> u64 {
        let mut queue = lock(&self.queue);
        let unsettled = queue.open.keys().next().copied();
        // While a checkpoint cannot be saved its number stays, so that it does not make a file each time.
        if std::mem::take(&mut queue.noted) {
            queue.number = queue.saved + 1;
        }
        queue.needed = unsettled.unwrap_or(u64::MAX).min(queue.number.saturating_sub(1));
        queue.number
    }

    /// The checkpoint of a number, which the last snapshot gave, is saved: files whose notes it knows are no
    /// longer needed.
    pub(super) fn saved(&self, number: u64) {
        let gone = {
            let mut queue = lock(&self.queue);
            queue.saved = number;
            let oldest = queue.oldest;
            queue.oldest = oldest.max(queue.needed);
            oldest..queue.needed
        };
        for old in gone {
            // It takes room and does no harm.
            let _absent = fs::remove_file(path(&self.directory, old));
        }
    }

    /// Writes what is noted as it comes, until [`Progress::end`]. `tell` learns each time that it fails,
    /// and with `None` when it works again.
    pub(super) fn run(&self, tell: &dyn Fn(Option<io::Error>)) {
        let mut failing = false;
        loop {
            let hung = self.hangs();
            match self.write() {
                Ok(false) if self.ends.load(Ordering::Acquire) => return,
                Ok(false) => self.wait(),
                Ok(true) => {
                    if std::mem::take(&mut failing) | hung {
                        tell(None);
                    }
                }
                Err(cause) => {
                    failing = true;
                    tell(Some(cause));
                }
            }
        }
    }

    /// Lets [`Progress::run`] return once all is written; its thread is to be woken.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Release);
    }

    fn wait(&self) {
        {
            let mut queue = lock(&self.queue);
            if !queue.frames.is_empty() {
                return;
            }
            queue.idle = true;
        }
        thread::park();
    }

    /// Writes what is queued, and tells whether there was anything.
    fn write(&self) -> io::Result<bool> {
        let (frames, number, notes, overflowed) = {
            let mut queue = lock(&self.queue);
            let overflowed = std::mem::take(&mut queue.overflowed);
            (std::mem::take(&mut queue.frames), queue.number, queue.notes, overflowed)
        };
        if frames.is_empty() {
            return Ok(false);
        }
        let written = self.write_to(number, &frames);
        self.hangs.store(false, Ordering::Relaxed);
        self.written.send_replace(notes);
        written?;
        if overflowed {
            return Err(io::Error::other("the disk took too long"));
        }
        Ok(true)
    }

    fn write_to(&self, number: u64, frames: &[u8]) -> io::Result<()> {
        let mut file = lock(&self.file);
        let mut open = match file.take().filter(|open| open.number == number) {
            Some(open) => open,
            None => Open::at_end(&self.directory, number)?,
        };
        let written = open.append(frames, &self.faults);
        // One that cannot be cut back is opened anew, which cuts it.
        if written.is_ok() || open.file.set_len(open.len).is_ok() {
            *file = Some(open);
        }
        written
    }
}

/// The thread that writes what is noted.
pub(super) enum Noter {
    Thread(Option<JoinHandle<()>>),
    /// A simulation has no threads: whoever settles writes.
    #[cfg(test)]
    None,
}

impl Noter {
    pub(super) fn to_thread(run: impl FnMut() + Send + 'static) -> io::Result<Noter> {
        let thread = supervision::keep_thread("journal-progress", run)?;
        Ok(Noter::Thread(Some(thread)))
    }

    /// Notes what is about to be settled, and returns when it is written or the disk hangs.
    pub(super) async fn note<'p>(
        &self,
        progress: &'p Progress,
        id: &ResourceId,
        settled: &[(u64, Outcome)],
    ) -> Note<'p> {
        let (note, notes, wake) = progress.queue(id, settled);
        match self {
            Noter::Thread(Some(thread)) => {
                if wake {
                    thread.thread().unpark();
                }
                progress.written(notes).await;
            }
            Noter::Thread(None) => {}
            #[cfg(test)]
            Noter::None => {
                // A disk that fails repeats more, which the simulation allows for.
                let _missing = progress.write();
            }
        }
        note
    }

    /// Waits until all that was noted is written. [`Progress::end`] must have been called.
    pub(super) fn end(&mut self) {
        match self {
            Noter::Thread(thread) => {
                let Some(thread) = thread.take() else { return };
                thread.thread().unpark();
                // The only error is a panic over there, which was logged.
                let _panicked = thread.join();
            }
            #[cfg(test)]
            Noter::None => {}
        }
    }
}

impl Open {
    /// Opens a file, or makes it, and cuts what lies behind its last whole frame.
    fn at_end(directory: &Path, number: u64) -> io::Result<Open> {
        let file = private::file().read(true).append(true).open(path(directory, number))?;
        let mut bytes = Vec::new();
        (&file).take(MOST_WRITTEN).read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        while Frame::take(&mut rest).is_some() {}
        let len = (bytes.len() - rest.len()) as u64;
        if file.metadata()?.len() > len {
            file.set_len(len)?;
        }
        Ok(Open { number, file, len })
    }

    fn append(&mut self, frames: &[u8], faults: &Faults) -> io::Result<()> {
        let len = self.len + frames.len() as u64;
        if len > MOST_WRITTEN {
            return Err(io::Error::other("too much was settled since the cursors were saved"));
        }
        if let Some((limit, kind)) = faults.write_limit(self.len, frames.len()) {
            self.file.write_all(&frames[..limit])?;
            return Err(kind.into());
        }
        self.file.write_all(frames)?;
        self.len = len;
        Ok(())
    }
}

/// What was settled after the checkpoint of a number, as far as whole frames tell.
///
/// # Errors
/// When a file that is there cannot be read.
pub(super) fn read(directory: &Path, checkpoint: u64) -> io::Result<Settled> {
    let mut settled = Settled::new();
    let mut numbers = list(directory)?;
    numbers.retain(|number| belongs(*number, checkpoint));
    numbers.sort_unstable();
    for number in numbers {
        let mut bytes = Vec::new();
        match File::open(path(directory, number)) {
            Ok(file) => file.take(MOST_WRITTEN).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut rest = bytes.as_slice();
        while let Some(frame) = Frame::take(&mut rest) {
            let Some(id) = frame.id() else { continue };
            let of_destination = settled.entry(id).or_default();
            of_destination.extend(frame.positions().map(|position| (position, frame.outcome)));
        }
        if !rest.is_empty() {
            let bytes = rest.len();
            warn!(file = number, bytes, "passed over an unfinished end of what was settled last");
        }
    }
    Ok(settled)
}

/// Whether a file may know more than a checkpoint; others were left by one that is there no more.
fn belongs(number: u64, checkpoint: u64) -> bool {
    number <= checkpoint + 1
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("progress.{number}"))
}

/// The numbers of all files in a folder.
fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("progress."));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Leaves so many thousandths of each file, as a power cut may.
#[cfg(test)]
pub(super) fn cut(directory: &Path, thousandths: usize) {
    for number in list(directory).unwrap() {
        let file = File::options().write(true).open(path(directory, number)).unwrap();
        let bytes = file.metadata().unwrap().len();
        file.set_len(bytes * thousandths as u64 / 1_000).unwrap();
    }
}

/// Adds the frame of those that ended in one way, if there are any.
fn encode(id: &ResourceId, settled: &[(u64, Outcome)], outcome: Outcome, frames: &mut Vec<u8>) {
    let positions = || settled.iter().filter(|it| it.1 == outcome).map(|it| it.0);
    let name = id.as_str().as_bytes();
    let (Ok(count), Ok(length)) = (u32::try_from(positions().count()), u8::try_from(name.len()))
    else {
        return;
    };
    if count == 0 {
        return;
    }
    let start = frames.len();
    frames.extend_from_slice(&[0; 4]);
    frames.extend_from_slice(&count.to_le_bytes());
    frames.extend_from_slice(&[u8::from(outcome == Outcome::DeadLettered), length]);
    frames.extend_from_slice(name);
    frames.extend(positions().flat_map(u64::to_le_bytes));
    let checksum = crc32c::crc32c(&frames[start + 4..]);
    frames[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// One frame that is as it was written.
struct Frame<'b> {
    outcome: Outcome,
    id: &'b [u8],
    positions: &'b [u8],
}

impl<'b> Frame<'b> {
    /// The next frame of a file, unless what is left is none.
    fn take(rest: &mut &'b [u8]) -> Option<Frame<'b>> {
        let (head, behind) = rest.split_at_checked(HEAD)?;
        let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let bytes = usize::try_from(word(4)?).ok()?.checked_mul(8)?;
        let (id, behind) = behind.split_at_checked(usize::from(head[9]))?;
        let (positions, behind) = behind.split_at_checked(bytes)?;
        let whole = &rest[4..HEAD + id.len() + bytes];
        let outcome = match head[8] {
            0 => Outcome::Delivered,
            1 => Outcome::DeadLettered,
            _ => return None,
        };
        if word(0)? != crc32c::crc32c(whole) {
            return None;
        }
        *rest = behind;
        Some(Frame { outcome, id, positions })
    }

    fn id(&self) -> Option<ResourceId> {
        ResourceId::new(std::str::from_utf8(self.id).ok()?).ok()
    }

    fn positions(&self) -> impl Iterator<Item = u64> {
        let words = self.positions.chunks_exact(8).filter_map(|it| it.try_into().ok());
        words.map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
