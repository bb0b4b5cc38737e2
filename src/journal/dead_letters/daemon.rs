//! The daemon's side: letters go in, within bounds.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tracing::{error, info, warn};

use super::super::disk::framed::{self, Framed};
use super::super::disk::{self, Buried, Faults};
use super::book::Book;
use super::letter::{self, Opening};
use super::{
    AllCounts, DeadLetter, Gone, LetterCounts, NotBuried, StoredLetter, all_counts, compare,
    folder_in, is_entrance, old, reading, scan, totals,
};
use crate::event::{Record, Timestamp, ksuid};
use crate::journal::{Account, Pending};
use crate::lock::lock;
use crate::private;
use crate::resources::ResourceId;

/// Records that are buried in one write, at most, in bytes; a longer one has its own.
const AT_ONCE: u64 = 4 << 20;

/// The daemon's side: letters go in, and leave the disk.
pub(in crate::journal) struct DeadLetters {
    directory: PathBuf,
    pub(super) folder: PathBuf,
    max_bytes: u64,
    pub(super) faults: Faults,
    /// Destinations that have a cursor.
    destinations: AtomicUsize,
    /// Held while files of letters are written, replaced or deleted.
    pub(super) writing: Mutex<()>,
    /// How far the marks were read; held while they are.
    pub(super) marks_read: Mutex<u64>,
    /// Held for moments only.
    pub(super) book: Mutex<Book>,
    problem: Mutex<Option<String>>,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// Opens the letters of a journal's folder, whose lock is held. A disk that takes nothing is no
    /// error: what is there can be read, and the rest is tried again.
    ///
    /// Tells which records from a position of the log on have letters.
    ///
    /// # Errors
    /// When what is there cannot be read, or a later version wrote it.
    pub(in crate::journal) fn open(
        directory: &Path,
        max_bytes: u64,
        since: u64,
        faults: Faults,
    ) -> io::Result<(DeadLetters, Buried)> {
        let folder = folder_in(directory);
        let mut scanned = scan::scan(&folder, since)?;
        let book = &mut scanned.book;
        for (number, end) in &scanned.torn {
            warn!(file = number, end, "cut an unfinished end of the dead letters");
            if cut(&folder, *number, *end).is_ok()
                && let Some(file) = book.files.get_mut(number)
            {
                file.len = *end;
                file.sealed = false;
            }
        }
        for number in &scanned.unused {
            book.files.remove(number);
            let _left_for_later = fs::remove_file(framed::path(&folder, *number));
        }
        if book.damaged > 0 {
            error!(
                places = book.damaged,
                "the dead letters are damaged; what is lost is in the ledger"
            );
        }
        let letters = DeadLetters {
            directory: directory.to_owned(),
            folder,
            max_bytes,
            faults,
            destinations: AtomicUsize::new(0),
            writing: Mutex::default(),
            marks_read: Mutex::new(scanned.marks_read),
            book: Mutex::new(scanned.book),
            problem: Mutex::default(),
        };
        Ok((letters, scanned.buried))
    }

    /// Makes the letters and the accounts agree, once both were read, and moves over what an earlier
    /// version left.
    pub(in crate::journal) fn begin(&self, accounts: &[(ResourceId, Account)]) {
        let begun = self.try_begin(accounts);
        if let Err(cause) = &begun {
            error!(%cause, "the dead letters' folder cannot be written; tried again");
        }
        let moved = lock(&self.book).moved;
        compare(&mut lock(&self.book), accounts, moved);
        self.set_problem(begun.err());
    }

    fn try_begin(&self, accounts: &[(ResourceId, Account)]) -> io::Result<()> {
        make_folder(&self.folder)?;
        if !lock(&self.book).moved {
            self.move_over(accounts)?;
        }
        totals::renew_reserve(&self.folder);
        if old::is_there(&self.directory) {
            old::remove(&self.directory)?;
        }
        Ok(())
    }

    /// Moves letters of an earlier version over. Cut short, it goes on where it was.
    fn move_over(&self, accounts: &[(ResourceId, Account)]) -> io::Result<()> {
        let known = match lock(&self.book).files.is_empty() {
            true => HashSet::new(),
            false => reading::ids(&self.folder)?,
        };
        let mut waiting: BTreeMap<String, Vec<StoredLetter>> = BTreeMap::new();
        let mut moved = 0;
        let leavings = old::hand_over(&self.directory, &known, &mut |letter| {
            moved += 1;
            let letters = waiting.entry(letter.destination.clone()).or_default();
            letters.push(letter);
            let bytes: u64 = letters.iter().map(letter::most_bytes).sum();
            if bytes < AT_ONCE {
                return Ok(());
            }
            self.move_some(&std::mem::take(letters))
        })?;
        for letters in waiting.into_values() {
            self.move_some(&letters)?;
        }
        let mut book = lock(&self.book).clone();
        for (name, letters) in leavings.gone {
            let owner = book.owner(&name);
            owner.last += letters;
            owner.gone.purged += letters;
        }
        // What an account knows of and no file was thrown away, but for what is damaged.
        for (id, account) in accounts {
            let damaged = leavings.damaged.get(id.as_str()).copied().unwrap_or(0);
            let owner = book.owner(id.as_str());
            let missing = account.dead_lettered.saturating_sub(owner.last);
            owner.last += missing;
            owner.gone.purged += missing.saturating_sub(damaged);
        }
        book.moved = true;
        totals::write(&self.folder, &book.totals_without(&[]), &self.faults)?;
        *lock(&self.book) = book;
        if moved > 0 {
            info!(letters = moved, "moved the dead letters of an earlier version over");
        }
        Ok(())
    }

    fn move_some(&self, letters: &[StoredLetter]) -> io::Result<()> {
        let Some(first) = letters.first() else { return Ok(()) };
        let _writing = lock(&self.writing);
        self.write_locked(&first.destination, letters)
    }

    /// Counts a destination that may bury, or one fewer.
    pub(in crate::journal) fn count_destination(&self, comes: bool) {
        match comes {
            true => self.destinations.fetch_add(1, Ordering::Relaxed),
            false => self.destinations.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Most bytes of all letters: what the file system can give them if that is less than the settings
    /// say.
    fn most_bytes(&self) -> u64 {
        let Some(free) = self.faults.free_bytes(&self.directory) else { return self.max_bytes };
        let taken: u64 = lock(&self.book).files.values().map(|it| it.len).sum();
        self.max_bytes.min(disk::given(free, taken))
    }

    /// What an owner may have of so many bytes.
    fn share(&self, owner: &str, most: u64) -> u64 {
        let all = most / 4 * 3;
        match is_entrance(owner) {
            true => most / 8,
            false if self.destinations.load(Ordering::Relaxed) > 1 => all / 2,
            false => all,
        }
    }

    /// Buries the first of a destination's records, as many as fit, at least one, and calls `settle`
    /// with their number in the moment in which they are counted.
    ///
    /// # Errors
    /// When nothing was buried.
    pub(in crate::journal) fn bury(
        &self,
        destination: &ResourceId,
        letters: &[(Pending, DeadLetter)],
        on_disk: bool,
        settle: impl FnOnce(usize),
    ) -> Result<usize, NotBuried> {
        let writing = lock(&self.writing);
        let owner = destination.as_str();
        let letters = letters.iter().map(|(pending, letter)| {
            let position = on_disk.then_some(pending.position);
            stored(owner, position, &pending.record, letter)
        });
        let (bytes, of_all) = {
            let book = lock(&self.book);
            (book.bytes(owner), book.bytes_of_destinations())
        };
        let most = self.most_bytes();
        let share = self.share(owner, most);
        let room = share.saturating_sub(bytes).min((most / 4 * 3).saturating_sub(of_all));
        let mut taken = Vec::new();
        let mut needed = 0;
        for letter in letters {
            needed += letter::most_bytes(&letter);
            // One that is larger than the share comes in where nothing else is.
            let fits = needed <= room || (bytes == 0 && taken.is_empty());
            if !fits || (needed > AT_ONCE && !taken.is_empty()) {
                break;
            }
            taken.push(letter);
        }
        if taken.is_empty() {
            return Err(NotBuried::NoRoom { bytes, share });
        }
        let count = self.write_first(owner, &taken, settle)?;
        drop(writing);
        Ok(count)
    }

    /// Keeps rejected events of an entrance; its oldest letters give way.
    ///
    /// # Errors
    /// When not all could be written; some may be there nevertheless.
    pub(in crate::journal) fn reject(
        &self,
        entrance: &'static str,
        events: Vec<(Arc<Record>, String)>,
    ) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let share = self.share(entrance, self.most_bytes());
        let mut waiting = Vec::new();
        let mut needed = 0;
        for (record, reason) in events {
            let letter = stored(entrance, None, &record, &DeadLetter { reason, attempts: 0 });
            let bytes = letter::most_bytes(&letter);
            if needed + bytes > share / 2 && !waiting.is_empty() {
                self.reject_some(entrance, &std::mem::take(&mut waiting), needed)?;
                needed = 0;
            }
            needed += bytes;
            waiting.push(letter);
        }
        self.reject_some(entrance, &waiting, needed)
    }

    fn reject_some(
        &self,
        entrance: &'static str,
        letters: &[StoredLetter],
        needed: u64,
    ) -> io::Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let share = self.share(entrance, self.most_bytes());
        loop {
            let book = lock(&self.book);
            let oldest = book.oldest(entrance).filter(|_| book.bytes(entrance) + needed > share);
            let Some(oldest) = oldest else { break };
            let given_way = book.files.get(&oldest).map_or(0, super::book::LetterFile::listed);
            drop(book);
            self.delete(&[oldest])?;
            warn!(
                entrance,
                letters = given_way,
                "the oldest rejected events gave way to newer ones"
            );
        }
        self.write_locked(entrance, letters)
    }

    /// Puts letters safely on disk, all or none, while `writing` is held.
    fn write_locked(&self, owner: &str, letters: &[StoredLetter]) -> io::Result<()> {
        let mut rest = letters;
        while !rest.is_empty() {
            let written = self.write_first(owner, rest, |_| {})?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Puts the first letters safely on disk, while `writing` is held, and tells how many: all that a
    /// file may hold where it may not grow (`ulimit -f`).
    fn write_first(
        &self,
        owner: &str,
        letters: &[StoredLetter],
        settle: impl FnOnce(usize),
    ) -> io::Result<usize> {
        let mut count = letters.len();
        let (number, len) = loop {
            match self.write_to_some_file(owner, &letters[..count]) {
                Err(cause) if cause.kind() == io::ErrorKind::FileTooLarge && count > 1 => {
                    count = count.div_ceil(2);
                }
                written => break written?,
            }
        };
        let mut book = lock(&self.book);
        book.bury(owner, number, len, count as u64);
        settle(count);
        Ok(count)
    }

    /// Writes letters to their owner's last file, and where that is not to be written any more to a new
    /// one at once. Tells which it is and its length.
    fn write_to_some_file(&self, owner: &str, letters: &[StoredLetter]) -> io::Result<(u64, u64)> {
        let file_bytes = (self.most_bytes() / 64).clamp(1 << 10, 8 << 20);
        let (last, active, fresh) = {
            let mut book = lock(&self.book);
            let last = book.owner(owner).last;
            (last, book.active(owner, file_bytes), book.next_file)
        };
        let mut frames = Vec::new();
        for (letter, number) in letters.iter().zip(last + 1..) {
            letter::encode_letter(&StoredLetter { number, ..letter.clone() }, &mut frames);
        }
        if let Some((number, len)) = active {
            let resumed = Framed::resume(&self.folder, number, len, &self.faults);
            let appended = resumed.map(|mut file| file.append(&frames).map(|()| file.len()));
            match appended {
                Ok(Ok(len)) => return Ok((number, len)),
                Ok(Err(error)) if error.usable => return Err(error.cause),
                Ok(Err(_)) | Err(_) => {}
            }
            self.seal(number);
        }
        let opening =
            Opening { owner: owner.to_owned(), from: last + 1, last, gone: Gone::default() };
        let mut beginning = Vec::new();
        letter::encode_opening(&opening, &mut beginning);
        beginning.extend(frames);
        make_folder(&self.folder)?;
        let mut file = Framed::begin(&self.folder, fresh, &self.faults)?;
        file.append(&beginning).map_err(|error| {
            // Whatever of it is on disk, nothing of it is counted.
            let _absent = fs::remove_file(framed::path(&self.folder, fresh));
            error.cause
        })?;
        Ok((fresh, file.len()))
    }

    fn seal(&self, number: u64) {
        if let Some(file) = lock(&self.book).files.get_mut(&number) {
            file.sealed = true;
        }
    }

    /// The counts of all owners, and what `accounts` reads, at one moment.
    pub(in crate::journal) fn with_counts<T>(
        &self,
        accounts: impl FnOnce() -> T,
    ) -> (AllCounts, T) {
        let book = lock(&self.book);
        let accounts = accounts();
        (all_counts(&book), accounts)
    }

    /// One owner's counts, and what `account` reads, at one moment.
    pub(in crate::journal) fn counts_with<T>(
        &self,
        owner: &str,
        account: impl FnOnce() -> T,
    ) -> (LetterCounts, T) {
        let book = lock(&self.book);
        let account = account();
        (book.counts(owner), account)
    }

    /// The journal's folder.
    pub(in crate::journal) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Damaged places found since the process began.
    pub(in crate::journal) fn damaged(&self) -> u64 {
        lock(&self.book).damaged
    }

    /// What is out of order now, for people.
    pub(in crate::journal) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    pub(super) fn set_problem(&self, cause: Option<io::Error>) {
        let message = cause.map(|cause| {
            let folder = self.folder.display();
            format!("the dead letters in {folder} cannot be kept in order: {cause}")
        });
        let mut problem = lock(&self.problem);
        if let Some(message) = message.as_ref().filter(|it| problem.as_ref() != Some(it)) {
            error!("{message}");
        }
        *problem = message;
    }
}

fn stored(
    owner: &str,
    position: Option<u64>,
    record: &Arc<Record>,
    letter: &DeadLetter,
) -> StoredLetter {
    let time = Timestamp::now();
    StoredLetter {
        id: ksuid("dl", time, rand::random()),
        time,
        destination: owner.to_owned(),
        number: 0,
        position,
        reason: letter.reason.clone(),
        attempts: letter.attempts,
        record: Arc::clone(record),
    }
}

/// Events may hold personal data, so the folder is its owner's only.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    private::make_folder(folder)
}

fn cut(folder: &Path, number: u64, end: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(framed::path(folder, number))?;
    file.set_len(end)?;
    file.sync_all()
}
