//! One file that is followed: what of it was read, what of that is kept, and whether it is still the file that
//! it was.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use super::position::{Identity, Position};
use crate::journal::Settlement;

/// Bytes that are read at a time: even of the shortest lines fewer than a body may have.
const READ: usize = 128 << 10;

/// Whole lines of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where they begin and end in the file, in bytes.
    pub(super) start: u64,
    pub(super) end: u64,
    /// The lines with their ends; of a line that is too long only the beginning.
    pub(super) text: Vec<u8>,
}

/// What a look at a file for more found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No whole line more.
    Nothing,
    Lines(Chunk),
    /// It was cut, or cut and written anew: what follows begins at its start again. So many bytes that were
    /// seen in it had not been read.
    Cut(u64),
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) file: File,
    pub(super) position: Position,
    /// Which of the settings names it.
    pub(super) setting: usize,
    /// Whether its path leads to it still; else it was renamed or removed, and is read to its end.
    pub(super) is_current: bool,
    /// Since when there has been nothing more in it.
    pub(super) idle_since: Instant,
    /// Whether its key and all that is known of its beginning are stored. Before that nothing of it may be handed
    /// on, so that a repeat has the same ids and other lines have others.
    pub(super) is_stored: bool,
    /// The end of the last line that was read.
    read: u64,
    /// The largest length that was seen.
    seen: u64,
    /// Whether the last read found no whole line.
    is_at_end: bool,
    /// What was read and handed on, each with the end of its last line.
    waiting: VecDeque<(u64, Settlement)>,
}

impl Followed {
    pub(super) fn new(
        file: File,
        position: Position,
        setting: usize,
        is_stored: bool,
        now: Instant,
    ) -> Followed {
        let read = position.offset;
        Followed {
            file,
            position,
            setting,
            is_current: true,
            idle_since: now,
            is_stored,
            read,
            seen: read,
            is_at_end: false,
            waiting: VecDeque::new(),
        }
    }

    /// Reads on from the end of the last line that was read. A line of more than `max_line` bytes is passed
    /// over as one whose beginning is longer than that.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(&mut self, max_line: usize, now: Instant) -> io::Result<Found> {
        let length = self.file.metadata()?.len();
        if length < self.read {
            return self.begin_again(length);
        }
        let seen_before = self.seen;
        self.seen = seen_before.max(length);
        self.is_at_end = true;
        if length == self.read {
            // It may have been cut and be as long again.
            return match self.position.identity.is_still(&self.file)? {
                true => Ok(Found::Nothing),
                false => self.begin_again(length),
            };
        }
        let mut text = self.bytes(self.read, READ)?;
        let mut lines = memchr::memrchr(b'\n', &text).map(|at| at + 1);
        if lines.is_none() && text.len() == READ {
            text = self.bytes(self.read, max_line.max(READ) + 2)?;
            // That line alone: many short ones may follow it.
            lines = memchr::memchr(b'\n', &text).map(|at| at + 1);
        }
        let end = match lines {
            Some(end) => Some(self.read + end as u64),
            None if text.len() > max_line + 1 => self.end_of_line(self.read + text.len() as u64)?,
            None => None,
        };
        // It may have been cut and written anew between these reads: then what was read is no line of it.
        let length = self.file.metadata()?.len();
        let known = self.position.identity.clone();
        if length < self.read || !self.position.identity.is_still(&self.file)? {
            self.seen = seen_before;
            return self.begin_again(length);
        }
        self.is_stored &= known == self.position.identity;
        let Some(end) = end else { return Ok(Found::Nothing) };
        self.is_at_end = false;
        self.idle_since = now;
        match lines {
            Some(lines) => text.truncate(lines),
            None => text.push(b'\n'),
        }
        Ok(Found::Lines(Chunk { start: self.read, end, text }))
    }

    /// Up to so many bytes from an offset on.
    fn bytes(&self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut read = 0;
        while read < most {
            match self.file.read_at(&mut bytes[read..], from + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The end of the line that goes on at an offset, if it has one yet.
    fn end_of_line(&self, mut from: u64) -> io::Result<Option<u64>> {
        loop {
            let bytes = self.bytes(from, READ)?;
            if let Some(at) = memchr::memchr(b'\n', &bytes) {
                return Ok(Some(from + at as u64 + 1));
            }
            if bytes.len() < READ {
                return Ok(None);
            }
            from += bytes.len() as u64;
        }
    }

    /// The file was cut: it is as good as another one, with a key of its own.
    fn begin_again(&mut self, length: u64) -> io::Result<Found> {
        let unread = self.seen.saturating_sub(self.read);
        self.position.identity = Identity::of(&self.file)?;
        self.position.key = rand::random();
        self.position.offset = 0;
        self.is_stored = false;
        self.read = 0;
        self.seen = length;
        self.is_at_end = false;
        self.waiting.clear();
        Ok(Found::Cut(unread))
    }

    /// Notes that lines up to an offset are handed on; they are kept when the settlement is done.
    pub(super) fn handed_on(&mut self, end: u64, settlement: Settlement) {
        self.read = end;
        match self.waiting.back_mut() {
            Some(last) if last.1.is_done() && settlement.is_done() => last.0 = end,
            _ => self.waiting.push_back((end, settlement)),
        }
    }

    /// Moves the position behind what is kept; tells whether it moved.
    pub(super) fn advance(&mut self) -> bool {
        let before = self.position.offset;
        while let Some((end, _)) = self.waiting.pop_front_if(|it| it.1.is_done()) {
            self.position.offset = end;
        }
        self.position.offset != before
    }

    /// Whether all that was read is kept.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there is nothing more in it, and all that was read is kept.
    pub(super) fn is_done(&mut self) -> bool {
        let is_as_long = self.file.metadata().is_ok_and(|it| it.len() == self.seen);
        let is_unchanged =
            is_as_long && self.position.identity.is_still(&self.file).unwrap_or(false);
        self.is_at_end && self.is_settled() && is_unchanged
    }

    /// Bytes that were seen and not read.
    pub(super) fn unread(&self) -> u64 {
        self.seen.saturating_sub(self.read)
    }
}
