//! Reading a segment from some place on, frame by frame, past whatever is damaged.
//!
//! It holds a window of the file, never the file. It does not know whose frames are whose.
//!
//! In a compacted segment each frame has a mark of sixteen bytes before it, in little endian:
//!
//! ```text
//!  0  4  marker FF 53 47 FD
//!  4  4  CRC-32C of bytes 8..16 and of the frame's bytes 4..12
//!  8  8  the frame's position
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;

use super::frame::{self, Frame, HEAD, MARKER};

/// How much is read from the file at a time: enough that the system call costs nothing beside the
/// copy. A larger frame makes a larger window, for as long as the scanner lives.
pub(super) const WINDOW: usize = 256 * 1024;

/// What a mark begins with.
const MARK: [u8; 4] = [0xff, b'S', b'G', 0xfd];

/// Bytes of a mark.
pub(super) const MARK_BYTES: usize = 16;

/// The mark of a frame that lay at a position.
pub(super) fn mark(position: u64, frame: &[u8]) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[..4].copy_from_slice(&MARK);
    bytes[8..].copy_from_slice(&position.to_le_bytes());
    // The frame's checksum and length tie the mark to this frame and no other.
    let tie = frame.get(4..12).unwrap_or_default();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..]), tie);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// How the scanner knows a frame's position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It lies so far behind this position as in the file.
    From(u64),
    /// Its mark says so. What lies before this position was left out or looked through already.
    Marked(u64),
}

/// What lies next in a segment.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A frame that is as it was written, and its position.
    Frame(u64, Frame<'a>),
    /// Bytes that are no frame.
    Damaged {
        /// The position of the first; among marked frames that behind the last frame before them.
        position: u64,
        bytes: u64,
        /// Nothing follows: the end of what a crash left, perhaps.
        at_end: bool,
    },
}

#[derive(Debug)]
pub(super) struct Scanner {
    file: File,
    /// Where the file ends for this scan.
    end: u64,
    /// The offset of the window's first byte.
    window_at: u64,
    window: Vec<u8>,
    /// The offset of what comes next.
    next: u64,
    place: Place,
}

impl Scanner {
    /// Scans a file between two offsets, which are the positions of what it finds.
    pub(super) fn new(file: File, start: u64, end: u64) -> Scanner {
        let place = Place::From(0);
        Scanner { file, end, window_at: start, window: Vec::new(), next: start, place }
    }

    /// The same with other positions.
    pub(super) fn placed(self, place: Place) -> Scanner {
        Scanner { place, ..self }
    }

    /// The offset of what comes next.
    pub(super) fn offset(&self) -> u64 {
        self.next
    }

    /// The position behind everything that came so far.
    pub(super) fn position(&self) -> u64 {
        match self.place {
            Place::From(base) => base + self.next,
            Place::Marked(reached) => reached,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Step<'_>>> {
        let start = self.next;
        if start >= self.end {
            return Ok(None);
        }
        if let Some((position, length)) = self.frame_at(start)? {
            let at = start + self.mark_bytes();
            self.next = at + length as u64;
            if let Place::Marked(reached) = &mut self.place {
                *reached = position + length as u64;
            }
            return Ok(Frame::verified(self.view(at, length)).map(|it| Step::Frame(position, it)));
        }
        let position = self.position();
        let found = self.find_frame(start + 1)?;
        self.next = found.unwrap_or(self.end);
        let bytes = self.next - start;
        Ok(Some(Step::Damaged { position, bytes, at_end: found.is_none() }))
    }

    /// Whether the first whole frame has a mark before it.
    pub(super) fn finds_mark(mut self) -> io::Result<bool> {
        let Some(at) = self.find_frame(self.next)? else { return Ok(false) };
        let Some(marked) = at.checked_sub(MARK_BYTES as u64) else { return Ok(false) };
        self.place = Place::Marked(0);
        Ok(self.frame_at(marked)?.is_some())
    }

    fn mark_bytes(&self) -> u64 {
        match self.place {
            Place::From(_) => 0,
            Place::Marked(_) => MARK_BYTES as u64,
        }
    }

    /// The offset of the first whole frame at or after an offset, with the mark that it must have.
    fn find_frame(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        let marker = match self.place {
            Place::From(_) => MARKER,
            Place::Marked(_) => MARK,
        };
        while from < self.end {
            self.fill(from, WINDOW)?;
            let visible = self.view(from, WINDOW);
            let Some(at) = memmem::find(visible, &marker) else {
                // A marker may begin in the last bytes that are visible.
                from += (visible.len().saturating_sub(marker.len() - 1)).max(1) as u64;
                continue;
            };
            from += at as u64;
            if self.frame_at(from)?.is_some() {
                return Ok(Some(from));
            }
            from += 1;
        }
        Ok(None)
    }

    /// The position and the length of the frame at an offset, if a whole one is there with the mark
    /// that it must have; it is in the window then.
    fn frame_at(&mut self, at: u64) -> io::Result<Option<(u64, usize)>> {
        let base = match self.place {
            Place::From(base) => base,
            Place::Marked(_) => return self.marked_frame_at(at),
        };
        Ok(self.frame_length(at)?.map(|length| (base + at, length)))
    }

    fn marked_frame_at(&mut self, at: u64) -> io::Result<Option<(u64, usize)>> {
        self.fill(at, MARK_BYTES + HEAD)?;
        let head = self.view(at, MARK_BYTES + HEAD);
        let (Some(position), Some(frame)) = (head.get(8..16), head.get(MARK_BYTES..)) else {
            return Ok(None);
        };
        let position = position.try_into().map_or(0, u64::from_le_bytes);
        if head[..MARK_BYTES] != mark(position, frame) {
            return Ok(None);
        }
        let length = self.frame_length(at + MARK_BYTES as u64)?;
        Ok(length.map(|length| (position, length)))
    }

    /// The length of the frame at an offset, if a whole one is there; it is in the window then.
    fn frame_length(&mut self, at: u64) -> io::Result<Option<usize>> {
        self.fill(at, HEAD)?;
        let Some(length) = frame::claimed_length(self.view(at, HEAD)) else { return Ok(None) };
        if length as u64 > self.end.saturating_sub(at) {
            return Ok(None);
        }
        self.fill(at, length)?;
        Ok(Frame::parse(self.view(at, length)).map(|_| length))
    }

    /// What the window shows from an offset on, at most `length` bytes.
    fn view(&self, at: u64, length: usize) -> &[u8] {
        let start = at.checked_sub(self.window_at).and_then(|it| usize::try_from(it).ok());
        let visible = start.and_then(|it| self.window.get(it..)).unwrap_or_default();
        &visible[..length.min(visible.len())]
    }

    /// Moves the window so that it shows `length` bytes from an offset on, or all that there are.
    fn fill(&mut self, at: u64, length: usize) -> io::Result<()> {
        let rest = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        if self.view(at, length).len() == length.min(rest) {
            return Ok(());
        }
        let kept = self.view(at, usize::MAX).len();
        let moved = self.window.len() - kept;
        self.window.drain(..moved);
        self.window_at = at;
        let wanted = length.max(WINDOW).min(rest);
        self.window.resize(wanted, 0);
        let mut filled = kept;
        while filled < wanted {
            match self.file.read_at(&mut self.window[filled..], at + filled as u64) {
                Ok(0) => {
                    // The file is shorter than it was said to be.
                    self.end = at + filled as u64;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.window.clear();
                    return Err(error);
                }
            }
        }
        self.window.truncate(filled);
        Ok(())
    }
}
