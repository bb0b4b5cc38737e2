//! The one log of records between senders and destinations.
//!
//! Records go in with [`Journal::append`], all of a body or none; each destination takes them out
//! through its [`Cursor`] and settles each one for good. Nobody outside this room knows where
//! records are held: in a log on disk (`durability: disk`), so that what was accepted is delivered
//! whatever dies, or in memory (`durability: memory`), gone with the process, which `/status` says.
//!
//! Promises:
//! - one append serves all destinations of its records, and either all of it is taken or none;
//! - a record is held until every destination has settled it, and counted all that time;
//! - what is held never passes `max_bytes` by more than one body that found the journal empty, nor
//!   what is held for one destination its share of it;
//! - two journals never use one folder at a time;
//! - for each destination, at every moment: accepted = filtered out + delivered + dead-lettered +
//!   dropped + lost + pending (see `account`), and dead-lettered = listed + purged + redriven + given way +
//!   lost (see `dead_letters`).

mod account;
mod asked;
mod cursor;
mod dead_letters;
mod disk;
mod jobs;
mod keeper;
mod memory;
mod refusal;
mod settlement;

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::event::Record;
use crate::private;
use crate::resources::{Overflow, ResourceId};

pub use account::{Account, Offer};
pub use asked::{HeldFolder, hold_folder};
pub use cursor::Cursor;
use dead_letters::DeadLetters;
pub use dead_letters::{
    AT_ENVOY, AT_FILES, AT_KAFKA, AT_STDIN, AT_SYSLOG, AllCounts, DeadLetter, ENTRANCES, Fate,
    LetterCounts, LetterReader, NotBuried, StoredLetter, forget_dead_letters, read_dead_letters,
};
#[cfg(not(test))]
use disk::Faults;
pub use disk::{CACHE_BYTES, LogReader, Retained, readers_bytes};
use disk::{Disk, Options};
#[cfg(test)]
pub(crate) use disk::{Fault, Faults};
#[cfg(test)]
pub(crate) use jobs::Delays;
use jobs::Jobs;
use keeper::Keeper;
use memory::Memory;
pub use refusal::{AppendError, Full, Refusal};
pub use settlement::Settlement;

/// What a record costs beside its bytes: its ids, its places in queues, the allocator's share.
const RECORD_OVERHEAD: usize = 192;

/// What a record takes in memory, in bytes.
#[must_use]
pub fn cost(record: &Record) -> usize {
    record.body.len() + record.event_id.len() + RECORD_OVERHEAD
}

/// Bytes of an append that anybody may want to make: readiness is asked for so many.
const SMALL_APPEND: usize = 4 << 10;

/// Where accepted records are kept until they are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk, synced before an append returns: there after any crash.
    Disk,
    /// In this process's memory: gone when it dies.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Disk => f.write_str("disk"),
            Durability::Memory => f.write_str("memory"),
        }
    }
}

/// What `journal` of the settings file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Whether records outlive the process.
    pub durability: Durability,
    /// Most bytes held for all destinations together; on disk, of the log's files.
    pub max_bytes: usize,
    /// How long files of the log are kept after everything in them was settled and nothing more was
    /// appended to them, while pending records leave room for them. Means nothing in memory.
    pub retention: Duration,
    /// Most bytes of dead letters; see `dead_letters` for each destination's share.
    pub max_dead_letter_bytes: u64,
    /// The folder for what must outlive the process.
    pub directory: PathBuf,
}

/// A record and the destinations it is for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is to be delivered.
    pub record: Arc<Record>,
    /// Where to; never empty.
    pub destinations: Arc<[ResourceId]>,
}

/// What a destination has to say about room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What gives way when its share, or the journal, is full.
    pub overflow: Overflow,
    /// Its share: most bytes held for it. Left out, all of `max_bytes` for a single destination, and
    /// half of it where there are several. On a disk that has less than `max_bytes` it is at most as much
    /// of what the disk has.
    pub max_pending_bytes: Option<u64>,
}

impl Terms {
    /// The share in bytes, with so many destinations in force and so many of `max_bytes` usable.
    fn share_of(&self, max_bytes: u64, usable: u64, in_force: usize) -> u64 {
        let default = if in_force > 1 { usable / 2 } else { usable };
        let most = if usable < max_bytes { default } else { max_bytes };
        self.max_pending_bytes.unwrap_or(default).min(most)
    }
}

/// A destination's share of the journal, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What it takes now. On disk: its pending records, and all of a file that it alone keeps.
    pub used: u64,
    /// What it may take. One append that finds nothing taken may have more.
    pub max: u64,
}

impl Share {
    /// Whether so many more bytes fit. An empty share takes an append of any size, since a larger one
    /// would else never come in; to one that is all of the journal, the journal's own bound applies.
    fn takes(&self, bytes: u64, max_bytes: u64) -> bool {
        self.used == 0 || self.max >= max_bytes || self.used + bytes <= self.max
    }
}

/// The number of a set of subscriptions: an append says by which one it was dispatched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// A record read from the journal and not settled yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its place in its destination's order; what [`Cursor::settle`] wants to know.
    pub position: u64,
    /// What is to be delivered.
    pub record: Arc<Record>,
}

/// The next record alone needs more bytes than may be read, namely so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub usize);

/// How a record's way to one destination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has it.
    Delivered,
    /// It can never be delivered and was put among the dead letters.
    DeadLettered,
}

/// What the journal as a whole holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether records outlive the process.
    pub durability: Durability,
    /// Bytes held for pending records; on disk, of the files that hold any.
    pub bytes: u64,
    /// Bytes of files in which nothing is pending any more. They give way to pending ones.
    pub kept_bytes: u64,
    /// Most bytes that both may have together.
    pub max_bytes: u64,
    /// Of these, what the file system can give; the shares are taken of it.
    pub usable_bytes: u64,
    /// What the file system had free within the last seconds; `None` in memory, or if it does not say.
    pub free_bytes: Option<u64>,
    /// Bytes written since the process began to leave settled records out of copies.
    pub compacted_bytes: u64,
    /// Files of the log; none in memory.
    pub segments: u64,
    /// Damaged places found in the log since the process began.
    pub damaged: u64,
    /// What keeps the journal from working now, for people.
    pub error: Option<String>,
    /// Why one small record would be refused now, whoever it is for; `None` if it would be kept.
    pub refusal: Option<String>,
}

/// Every destination's account, and what became of its dead letters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// By id.
    pub accounts: Vec<(ResourceId, Account)>,
    /// By the id of a destination, or the name of an entrance.
    pub letters: AllCounts,
}

impl Ledger {
    /// The letters of entrances, and of destinations that the log knows nothing of.
    pub fn letters_without_account(&self) -> impl Iterator<Item = (&String, &LetterCounts)> {
        let has_account = |name: &str| self.accounts.iter().any(|(id, _)| id.as_str() == name);
        self.letters.iter().filter(move |(name, _)| !has_account(name))
    }
}

/// The log. Cheap to clone; all clones are one journal.
#[derive(Clone, Debug)]
pub struct Journal {
    /// Dropped first: it ends before what it keeps in order.
    _keeper: Option<Arc<Keeper>>,
    store: Arc<Store>,
    dead_letters: Arc<DeadLetters>,
    jobs: Jobs,
    /// Held as long as any clone lives.
    _lock: Arc<File>,
}

/// Where records are held. Kept behind one pointer, so the size of a form is no matter.
#[derive(Debug)]
enum Store {
    Disk(Disk),
    Memory(Memory),
}

impl Journal {
    /// Opens the journal, making its folder if need be, and recovers what an earlier process left.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written to, when another process uses it, or when a
    /// later version of this program wrote what is in it.
    pub fn open(settings: &JournalSettings) -> io::Result<Journal> {
        Journal::open_watched(settings, &|_, _| {})
    }

    /// The same. Recovery reads all that is pending, which may be gigabytes: `watch` is called every
    /// now and then with the bytes that have been read and those that there are to read.
    ///
    /// # Errors
    /// Those of [`Journal::open`].
    pub fn open_watched(
        settings: &JournalSettings,
        watch: &dyn Fn(u64, u64),
    ) -> io::Result<Journal> {
        let directory = &settings.directory;
        private::make_folder(directory)?;
        let lock = lock(directory)?;
        let max_bytes = settings.max_bytes;
        let is_on_disk = settings.durability == Durability::Disk;
        let since = if is_on_disk { disk::settled_until(directory)? } else { u64::MAX };
        let most = settings.max_dead_letter_bytes;
        let (dead_letters, buried) = DeadLetters::open(directory, most, since, Faults::default())?;
        let store = match settings.durability {
            Durability::Disk => {
                let mut options = Options::new(max_bytes as u64, settings.retention);
                options.buried = buried;
                Store::Disk(Disk::open_watched(directory, &options, watch)?)
            }
            Durability::Memory => {
                if disk::is_in(directory)? {
                    warn!(
                        "there is a log on disk: what is pending in it waits for `durability: disk`"
                    );
                }
                Store::Memory(Memory::new(max_bytes))
            }
        };
        dead_letters.begin(&store.accounts());
        let (store, dead_letters) = (Arc::new(store), Arc::new(dead_letters));
        let keeper = Keeper::start(Arc::clone(&store), Arc::clone(&dead_letters))?;
        Ok(Journal {
            _keeper: Some(Arc::new(keeper)),
            store,
            dead_letters,
            jobs: Jobs::OnThreads,
            _lock: Arc::new(lock),
        })
    }

    /// Keeps the entries for all their destinations, in order, and counts in the same moment what
    /// was offered to whom. The settlement is done when the process's death loses none of the
    /// entries any more: on disk at once.
    ///
    /// On disk both are there after any crash. Only what is offered without entries costs no write:
    /// it is counted at once and saved within a second.
    ///
    /// # Errors
    /// When a later generation has begun, when there is no room, or when the disk takes nothing; then
    /// nothing was kept or counted.
    pub async fn append(
        &self,
        generation: Generation,
        entries: Vec<Entry>,
        offers: Vec<Offer>,
    ) -> Result<Settlement, AppendError> {
        match &*self.store {
            Store::Disk(disk) => {
                disk.append(generation, entries, offers).await.map(|()| Settlement::default())
            }
            Store::Memory(memory) => memory.append(generation, entries, &offers),
        }
    }

    /// Takes appends of this generation and of later ones only, from now on. Returns when those of
    /// earlier ones that were under way are on disk or have failed, so that nothing of them comes
    /// any more; or after half a minute if the disk hangs.
    pub async fn begin(&self, generation: Generation) {
        match &*self.store {
            Store::Disk(disk) => disk.begin(generation).await,
            Store::Memory(memory) => memory.begin(generation),
        }
    }

    /// Puts events that were rejected at an entrance ([`ENTRANCES`]) among the dead
    /// letters, safely on disk. Each is a record whose id tells where it came from, with the reason.
    ///
    /// # Errors
    /// When they could not be written; some may be there nevertheless.
    pub async fn reject(
        &self,
        entrance: &'static str,
        events: Vec<(Arc<Record>, String)>,
    ) -> io::Result<()> {
        let dead_letters = Arc::clone(&self.dead_letters);
        self.jobs.run(move || dead_letters.reject(entrance, events)).await?
    }

    /// The cursor of a destination. There must be at most one at a time; what was read through an
    /// earlier one and not settled is read again.
    #[must_use]
    pub fn cursor(&self, destination: &ResourceId, terms: Terms) -> Cursor {
        let reader = match &*self.store {
            Store::Disk(disk) => Some(disk.attach(destination, terms)),
            Store::Memory(memory) => {
                memory.attach(destination, terms);
                None
            }
        };
        self.dead_letters.count_destination(true);
        Cursor { journal: self.clone(), destination: destination.clone(), reader }
    }

    /// Sets a destination's share, and what gives way when it is full.
    pub fn set_terms(&self, destination: &ResourceId, terms: Terms) {
        match &*self.store {
            Store::Disk(disk) => disk.set_terms(destination, terms),
            Store::Memory(memory) => memory.set_terms(destination, terms),
        }
    }

    /// What a destination takes of the journal and may take, if it has ever had a cursor or a record.
    #[must_use]
    pub fn share(&self, destination: &ResourceId) -> Option<Share> {
        match &*self.store {
            Store::Disk(disk) => disk.share(destination),
            Store::Memory(memory) => memory.share(destination),
        }
    }

    /// A destination's account, if it has ever had a cursor or a record.
    #[must_use]
    pub fn account(&self, destination: &ResourceId) -> Option<Account> {
        match &*self.store {
            Store::Disk(disk) => disk.account(destination),
            Store::Memory(memory) => memory.account(destination),
        }
    }

    /// The accounts of all destinations that ever had a cursor or a record, by id, as they are at one
    /// moment.
    #[must_use]
    pub fn accounts(&self) -> Vec<(ResourceId, Account)> {
        self.store.accounts()
    }

    /// The whole ledger at one moment, after what the command line did to dead letters was read: from
    /// a file, so not on a runtime's own thread.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        // What cannot be read now is read later; the keeper says so.
        let _read = self.dead_letters.read_marks();
        let (letters, accounts) = self.dead_letters.with_counts(|| self.store.accounts());
        Ledger { accounts, letters }
    }

    /// A destination's account and what became of its dead letters, at one moment; marks that were
    /// made in the last second may be missing.
    #[must_use]
    pub fn account_and_letters(&self, destination: &ResourceId) -> (Account, LetterCounts) {
        let account = || self.account(destination).unwrap_or_default();
        let (letters, account) = self.dead_letters.counts_with(destination.as_str(), account);
        (account, letters)
    }

    /// The counts of entrances that ever rejected an event, by name.
    #[must_use]
    pub fn letters_of_entrances(&self) -> AllCounts {
        let (mut letters, ()) = self.dead_letters.with_counts(|| ());
        letters.retain(|name, _| ENTRANCES.contains(&name.as_str()));
        letters
    }

    /// Waits until nothing is pending for any destination that has a cursor.
    pub async fn drained(&self) {
        match &*self.store {
            Store::Disk(disk) => disk.drained().await,
            Store::Memory(memory) => memory.drained().await,
        }
    }

    /// Records pending for all destinations together.
    #[must_use]
    pub fn pending_records(&self) -> u64 {
        match &*self.store {
            Store::Disk(disk) => disk.pending_records(),
            Store::Memory(memory) => memory.pending_records(),
        }
    }

    /// Destinations without a cursor that records of an earlier run wait for, and how many. They
    /// wait until the destination comes back.
    #[must_use]
    pub fn unread(&self) -> Vec<(ResourceId, u64)> {
        match &*self.store {
            Store::Disk(disk) => disk.unread(),
            Store::Memory(_) => Vec::new(),
        }
    }

    /// Saves now what is otherwise saved every second: which records are settled.
    pub async fn checkpoint(&self) {
        if let Store::Disk(disk) = &*self.store {
            disk.checkpoint().await;
        }
    }

    /// Size and faults at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = match &*self.store {
            Store::Disk(disk) => disk.status(),
            Store::Memory(memory) => Status {
                durability: Durability::Memory,
                bytes: memory.bytes(),
                kept_bytes: 0,
                max_bytes: memory.max_bytes(),
                usable_bytes: memory.max_bytes(),
                free_bytes: None,
                compacted_bytes: 0,
                segments: 0,
                damaged: 0,
                error: None,
                refusal: memory.refusal(),
            },
        };
        let errors: Vec<String> =
            status.error.into_iter().chain(self.dead_letters.problem()).collect();
        Status {
            damaged: status.damaged + self.dead_letters.damaged(),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
            ..status
        }
    }
}

impl Store {
    fn accounts(&self) -> Vec<(ResourceId, Account)> {
        match self {
            Store::Disk(disk) => disk.accounts(),
            Store::Memory(memory) => memory.accounts(),
        }
    }

    fn settle(&self, destination: &ResourceId, settled: &[(u64, Outcome)]) {
        match self {
            Store::Disk(disk) => disk.settle(destination, settled),
            Store::Memory(memory) => memory.settle(destination, settled),
        }
    }
}

/// A journal for simulations.
#[cfg(test)]
impl Journal {
    /// A log on disk with small segments, whose work is done in the caller's runtime, on a disk that
    /// fails as told.
    pub(crate) fn simulated(
        directory: &Path,
        max_bytes: u64,
        faults: &Faults,
        delays: Delays,
    ) -> io::Result<Journal> {
        let lock = lock(directory)?;
        let since = disk::settled_until(directory)?;
        let (dead_letters, buried) = DeadLetters::open(directory, 1 << 20, since, faults.clone())?;
        let jobs = Jobs::Simulated(delays);
        let mut options = Options::simulated(max_bytes, faults.clone(), jobs.clone());
        options.buried = buried;
        let store = Arc::new(Store::Disk(Disk::open(directory, &options)?));
        dead_letters.begin(&store.accounts());
        let dead_letters = Arc::new(dead_letters);
        Ok(Journal { _keeper: None, store, dead_letters, jobs, _lock: Arc::new(lock) })
    }
}

/// The accounts that a stopped daemon left in its folder, by id. Reads only: it makes, cuts and deletes
/// nothing.
///
/// # Errors
/// When the folder is not there or cannot be read; with kind `ResourceBusy` when a daemon uses it.
pub fn read_accounts(directory: &Path) -> io::Result<Vec<(ResourceId, Account)>> {
    Ok(read_ledger(directory)?.accounts)
}

/// The ledger that a stopped daemon left in its folder.
///
/// # Errors
/// Those of [`read_accounts`].
pub fn read_ledger(directory: &Path) -> io::Result<Ledger> {
    let _lock = lock_to_read(directory)?;
    let read = dead_letters::read(directory, disk::settled_until(directory)?)?;
    let accounts = disk::read_accounts(directory, &read.buried)?;
    let letters = read.counts(&accounts);
    Ok(Ledger { accounts, letters })
}

/// The bytes that the file system of a folder can give a log: what is free there and what the log has
/// already, less a reserve. `None` if the file system does not say. The folder need not exist yet.
#[must_use]
pub fn available_bytes(directory: &Path) -> Option<u64> {
    disk::available_bytes(directory)
}

/// Gives up all records that wait for a destination in the log of a stopped daemon: they count as
/// dropped, and the room they take is free at the daemon's next start. Tells how many there were.
///
/// # Errors
/// When the folder is not there or cannot be used; with kind `ResourceBusy` when a daemon uses it.
pub fn forget_pending(settings: &JournalSettings, destination: &ResourceId) -> io::Result<u64> {
    let _lock = lock(&settings.directory)?;
    let buried = dead_letters::read(&settings.directory, 0)?.buried;
    let mut options = Options::new(settings.max_bytes as u64, settings.retention);
    options.buried = buried;
    Disk::open(&settings.directory, &options)?.forget(destination)
}

/// Takes a folder for this process alone. The system gives it back when the process ends, however.
fn lock(directory: &Path) -> io::Result<File> {
    let file = private::file().write(true).open(directory.join("lock"))?;
    locked(file.try_lock())?;
    Ok(file)
}

/// Keeps a folder from being taken, if anybody ever took it.
fn lock_to_read(directory: &Path) -> io::Result<Option<File>> {
    match File::open(directory.join("lock")) {
        Ok(file) => locked(file.try_lock_shared()).map(|()| Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn locked(result: Result<(), TryLockError>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process uses it; give each daemon a `data_dir` of its own",
        )),
    }
}
