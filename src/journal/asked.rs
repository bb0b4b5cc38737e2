//! What people have done with the journal of a running daemon: its dead letters read and marked, its log read
//! back, records of a destination that has gone let go of. All of it blocks on the disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::{
    Fate, Journal, LetterReader, LogReader, Store, StoredLetter, forget_dead_letters, lock,
};
use crate::event::Timestamp;
use crate::private;
use crate::resources::ResourceId;

/// A journal's folder that no daemon can take.
#[derive(Debug)]
pub struct HeldFolder {
    _lock: File,
}

/// Keeps a journal's folder, which is made if need be, from every daemon.
///
/// # Errors
/// When it cannot be used; with kind `ResourceBusy` when a daemon uses it.
pub fn hold_folder(directory: &Path) -> io::Result<HeldFolder> {
    private::make_folder(directory)?;
    Ok(HeldFolder { _lock: lock(directory)? })
}

impl Journal {
    /// Reads the letters that there are, or those of one owner.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn letters(&self, owner: Option<&str>) -> io::Result<LetterReader> {
        LetterReader::open(self.dead_letters.directory(), owner)
    }

    /// Marks letters, as the command line does beside the daemon; counted at once.
    ///
    /// # Errors
    /// When the marks cannot be written.
    pub fn forget_letters(&self, fate: Fate, letters: &[StoredLetter]) -> io::Result<()> {
        forget_dead_letters(self.dead_letters.directory(), fate, letters)?;
        self.dead_letters.read_marks()
    }

    /// Reads what the log still holds for a destination, from a place on. In memory there is nothing.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn retained(
        &self,
        destination: &ResourceId,
        span: Range<Timestamp>,
        from: u64,
    ) -> io::Result<LogReader> {
        let mut log = LogReader::open(self.dead_letters.directory(), destination, span)?;
        log.skip_to(from);
        Ok(log)
    }

    /// Gives up all records that wait for a destination that nobody reads for: they count as dropped. Tells
    /// how many there were; none where records wait for no such destination.
    ///
    /// # Errors
    /// When that cannot be saved.
    pub fn forget(&self, destination: &ResourceId) -> io::Result<Option<u64>> {
        match &*self.store {
            Store::Disk(disk) if self.unread().iter().any(|(id, _)| id == destination) => {
                disk.forget(destination).map(Some)
            }
            _ => Ok(None),
        }
    }
}
