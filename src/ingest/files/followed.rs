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

/// Bytes of a line that is too long in which its end is looked for at a time: then others have their turn.
const SOUGHT: u64 = 16 << 20;

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
    /// No line ends between there and here: a line without an end is gone through once, however long it is.
    sought: u64,
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
            sought: read,
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
        let (mut text, lines) = self.next_lines(max_line)?;
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

    /// The lines that are read next, and where the last of them ends; none if that is not in what was read. Of a
    /// line that is known to be too long, and whose end is still looked for, no more than its beginning is needed.
    fn next_lines(&self, max_line: usize) -> io::Result<(Vec<u8>, Option<usize>)> {
        let too_long = max_line.max(READ) + 2;
        if self.sought >= self.read + too_long as u64 {
            return Ok((self.bytes(self.read, max_line + 2)?, None));
        }
        let text = self.bytes(self.read, READ)?;
        match memchr::memrchr(b'\n', &text) {
            None if text.len() == READ => {
                let text = self.bytes(self.read, too_long)?;
                // That line alone: many short ones may follow it.
                let end = memchr::memchr(b'\n', &text).map(|at| at + 1);
                Ok((text, end))
            }
            end => Ok((text, end.map(|at| at + 1))),
        }
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

    /// The end of the line that goes on at an offset, if it has one yet and it is found in this turn.
    fn end_of_line(&mut self, from: u64) -> io::Result<Option<u64>> {
        let from = from.max(self.sought);
        self.sought = from;
        while self.sought < from + SOUGHT {
            let bytes = self.bytes(self.sought, READ)?;
            if let Some(at) = memchr::memchr(b'\n', &bytes) {
                return Ok(Some(self.sought + at as u64 + 1));
            }
            self.sought += bytes.len() as u64;
            if bytes.len() < READ {
                return Ok(None);
            }
        }
        self.is_at_end = false;
        Ok(None)
    }

    /// The file was cut: it is as good as another one, with a key of its own.
    fn begin_again(&mut self, length: u64) -> io::Result<Found> {
        let unread = self.seen.saturating_sub(self.read);
        self.position.identity = Identity::of(&self.file)?;
        self.position.key = rand::random();
        self.position.offset = 0;
        self.is_stored = false;
        (self.read, self.sought) = (0, 0);
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_without_an_end_is_gone_through_once_and_in_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.log");
        fs::write(&path, vec![b'x'; 40 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        let identity = Identity::of(&file).unwrap();
        let position = Position { identity, key: 1, offset: 0, path: path.clone() };
        let now = Instant::now();
        let mut followed = Followed::new(file, position, 0, true, now);
        let mut sought = Vec::new();
        for _ in 0..4 {
            assert_eq!(followed.read(100, now).unwrap(), Found::Nothing);
            sought.push(followed.sought >> 20);
        }
        assert_eq!(sought, [16, 32, 40, 40]);
        let mut more = File::options().append(true).open(&path).unwrap();
        more.write_all(b"y\nshort\n").unwrap();
        let Found::Lines(long) = followed.read(100, now).unwrap() else {
            panic!("its end has come")
        };
        assert_eq!((long.text.len(), long.end), (103, (40 << 20) + 2));
        followed.handed_on(long.end, Settlement::default());
        let Found::Lines(short) = followed.read(100, now).unwrap() else { panic!("another line") };
        assert_eq!(short.text, b"short\n");
    }
}
