//! What people have done with the journal of a running daemon: its dead letters read and marked, its log read
//! back, records of a destination that has gone let go of. All of it blocks on the disk.

use std::io;
use std::ops::Range;

use super::{Fate, Journal, LetterReader, LogReader, Store, StoredLetter, forget_dead_letters};
use crate::event::Timestamp;
use crate::resources::ResourceId;

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
