//! Dead letters: records that their destination's service will never take, and events from Kafka and
//! standard input that were rejected (HTTP's senders are told instead), kept for a person.
//!
//! In the journal's folder, `dead-letters/`:
//!
//! ```text
//! 00000000000000000001.log  letters of one owner, in the log's format (see `letter`)
//! marks                     what was sent after all or thrown away (see `marks`)
//! totals                    what became of letters whose files are gone (see `totals`)
//! reserve                   room for the last two on a full disk
//! ```
//!
//! Only the daemon that holds the journal's lock changes these, but for the marks, which the command
//! line adds to beside it. A letter is synced before its record is settled, and both are counted in
//! one step. A write that fails is cut back. Each second, files whose letters are all marked are
//! deleted, and those with at least half of them are written anew. Nothing here delivers anything.
//!
//! Bounds: destinations have three quarters of `max_dead_letter_bytes`; one alone may have all of
//! that, of several each half. At its share a destination buries nothing more. Each entrance has an
//! eighth, in which the oldest file gives way. An owner without letters may have one of any size. Where
//! the file system has less, all this is said of what is free there and what the letters have, less a reserve.

mod book;
mod daemon;
mod keeping;
mod letter;
mod marks;
mod old;
mod reading;
mod scan;
mod text;
mod totals;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::error;

use super::Account;
use super::disk::Buried;
use crate::event::{Record, Timestamp};
use crate::resources::ResourceId;
use book::Book;
pub(super) use daemon::DeadLetters;
pub use reading::{LetterReader, read_dead_letters};

/// What stands in a letter in place of a destination when its event came in over Kafka and was
/// rejected. No destination can have this name.
pub const AT_KAFKA: &str = "(ingest.kafka)";
/// The same for an event that came in on standard input.
pub const AT_STDIN: &str = "(ingest.stdin)";
/// The same for a line of a log file.
pub const AT_FILES: &str = "(ingest.files)";
/// The same for a message of syslog.
pub const AT_SYSLOG: &str = "(ingest.syslog)";

/// The owner of entries that came on a stream of `ingest.envoy`.
pub const AT_ENVOY: &str = "(ingest.envoy)";
/// All of these.
pub const ENTRANCES: [&str; 5] = [AT_KAFKA, AT_STDIN, AT_FILES, AT_SYSLOG, AT_ENVOY];

/// Why a record could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The service's words.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
}

/// A letter as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its own id: `dl_` and a KSUID.
    pub id: String,
    /// When the record was given up.
    pub time: Timestamp,
    /// The destination that it was for, or one of [`ENTRANCES`].
    pub destination: String,
    /// Its number among the letters of this destination, from 1; 0 in a file of an earlier version.
    pub number: u64,
    /// The record's position in the journal, if that is on disk.
    pub position: Option<u64>,
    /// The service's words.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
    /// The record, byte for byte.
    pub record: Arc<Record>,
}

/// How a letter ended on somebody's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was thrown away.
    Purged,
    /// It was sent again and taken.
    Redriven,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Fate::Purged => "purged",
            Fate::Redriven => "redriven",
        }
    }

    fn of(word: &str) -> Option<Fate> {
        [Fate::Purged, Fate::Redriven].into_iter().find(|it| it.as_str() == word)
    }
}

/// How many letters ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gone {
    purged: u64,
    redriven: u64,
    given_way: u64,
}

impl Gone {
    fn count(&mut self, fate: Fate, letters: u64) {
        match fate {
            Fate::Purged => self.purged += letters,
            Fate::Redriven => self.redriven += letters,
        }
    }

    fn add(&mut self, more: Gone) {
        self.purged += more.purged;
        self.redriven += more.redriven;
        self.given_way += more.given_way;
    }

    fn is_none(&self) -> bool {
        *self == Gone::default()
    }
}

/// What became of the letters of one destination or entrance:
/// `buried = listed + purged + redriven + given_way + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// All letters that there ever were.
    pub buried: u64,
    /// Those that are there.
    pub listed: u64,
    /// Thrown away.
    pub purged: u64,
    /// Sent again and taken.
    pub redriven: u64,
    /// Given up for newer ones; of entrances only.
    pub given_way: u64,
    /// Lost, because the disk was damaged or somebody deleted files.
    pub lost: u64,
    /// Buried before the destination's account began, so not in its `dead_lettered`.
    pub earlier: i64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl LetterCounts {
    /// By how many the dead-lettered records of an account, or without one the buried letters, are more
    /// than those that something is known of. Anything but zero is a bug.
    #[must_use]
    pub fn imbalance(&self, account: Option<&Account>) -> i64 {
        let known = self.listed + self.purged + self.redriven + self.given_way + self.lost;
        let buried = match account {
            Some(account) => account.dead_lettered.cast_signed() + self.earlier,
            None => self.buried.cast_signed(),
        };
        buried - known.cast_signed()
    }
}

/// The counts of all owners, by name.
pub type AllCounts = BTreeMap<String, LetterCounts>;

/// Why a letter was not put on disk.
#[derive(Debug, thiserror::Error)]
pub enum NotBuried {
    /// The destination's share of `journal.max_dead_letter_bytes` is full.
    #[error(
        "its dead letters fill their share of `journal.max_dead_letter_bytes` ({bytes} of {share} bytes): send them again or throw them away (`sluicegate dead-letters redrive` or `purge`), or raise the setting; a disk that has less room counts instead of it (ERR_SLUICEGATE_1313)"
    )]
    NoRoom {
        /// What they take now.
        bytes: u64,
        /// What they may take.
        share: u64,
    },
    /// The disk does not take it.
    #[error("dead letters cannot be written: {0}")]
    CannotWrite(#[from] io::Error),
}

fn folder_in(directory: &Path) -> PathBuf {
    directory.join("dead-letters")
}

fn is_entrance(owner: &str) -> bool {
    ENTRANCES.contains(&owner)
}

/// Marks letters: they are not listed any more, and leave the disk soon if a daemon runs, or when it
/// next starts.
///
/// # Errors
/// When the marks cannot be written.
pub fn forget_dead_letters(
    directory: &Path,
    fate: Fate,
    letters: &[StoredLetter],
) -> io::Result<()> {
    let (old, new): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.number == 0);
    let mut owners: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for letter in new {
        owners.entry(&letter.destination).or_default().push(letter.number);
    }
    let marks = owners.into_iter().map(|(owner, numbers)| marks::Mark {
        owner: owner.to_owned(),
        fate,
        numbers,
    });
    marks::add(&folder_in(directory), &marks.collect::<Vec<_>>())?;
    match old.is_empty() {
        true => Ok(()),
        false => old::forget(directory, &old.iter().map(|it| &*it.id).collect::<Vec<_>>()),
    }
}

/// What the letters of a stopped daemon's folder amount to.
pub(super) struct ReadLetters {
    /// The records that recovery of the log is to know of.
    pub buried: Buried,
    book: Book,
}

/// Reads the letters of a folder and changes nothing.
pub(super) fn read(directory: &Path, since: u64) -> io::Result<ReadLetters> {
    let scanned = scan::scan(&folder_in(directory), since)?;
    Ok(ReadLetters { buried: scanned.buried, book: scanned.book })
}

impl ReadLetters {
    /// The counts of all owners, with these accounts.
    pub(super) fn counts(mut self, accounts: &[(ResourceId, Account)]) -> AllCounts {
        let moved = self.book.moved;
        compare(&mut self.book, accounts, moved);
        all_counts(&self.book)
    }
}

fn all_counts(book: &Book) -> AllCounts {
    book.owners.keys().map(|name| (name.clone(), book.counts(name))).collect()
}

/// Compares letters with accounts. Letters that accounts know of and nothing else does are lost.
fn compare(book: &mut Book, accounts: &[(ResourceId, Account)], moved: bool) {
    let known: HashMap<&str, u64> =
        accounts.iter().map(|(id, account)| (id.as_str(), account.dead_lettered)).collect();
    for name in known.keys() {
        book.owner(name);
    }
    for (name, owner) in book.owners.iter_mut().filter(|(name, _)| !is_entrance(name)) {
        let accounted = known.get(name.as_str()).copied().unwrap_or(0);
        if accounted > owner.last && moved {
            let letters = accounted - owner.last;
            error!(destination = name, letters, "dead letters are lost");
            owner.last = accounted;
        }
        owner.earlier = owner.last.cast_signed() - accounted.cast_signed();
    }
}
