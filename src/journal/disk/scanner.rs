//! Reading a segment from some place on, frame by frame, past whatever is damaged.
//!
//! It holds a window of the file, never the file. It does not know whose frames are whose.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;

use super::frame::{self, Frame, HEAD, MARKER};

/// How much is read from the file at a time: enough that the system call costs nothing beside the
/// copy. A larger frame makes a larger window, for as long as the scanner lives.
const WINDOW: usize = 256 * 1024;

/// What lies next in a segment.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A frame that is as it was written, and its offset.
    Frame(u64, Frame<'a>),
    /// Bytes that are no frame.
    Damaged {
        offset: u64,
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
}

impl Scanner {
    /// Scans a file between two offsets.
    pub(super) fn new(file: File, start: u64, end: u64) -> Scanner {
        Scanner { file, end, window_at: start, window: Vec::new(), next: start }
    }

    /// The offset of what comes next.
    pub(super) fn offset(&self) -> u64 {
        self.next
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Step<'_>>> {
        let start = self.next;
        if start >= self.end {
            return Ok(None);
        }
        if let Some(length) = self.frame_length(start)? {
            self.next = start + length as u64;
            return Ok(Frame::verified(self.view(start, length)).map(|it| Step::Frame(start, it)));
        }
        let found = self.find_frame(start + 1)?;
        self.next = found.unwrap_or(self.end);
        let bytes = self.next - start;
        Ok(Some(Step::Damaged { offset: start, bytes, at_end: found.is_none() }))
    }

    /// The offset of the first whole frame at or after an offset.
    fn find_frame(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        while from < self.end {
            self.fill(from, WINDOW)?;
            let visible = self.view(from, WINDOW);
            let Some(at) = memmem::find(visible, &MARKER) else {
                // A marker may begin in the last bytes that are visible.
                from += (visible.len().saturating_sub(MARKER.len() - 1)).max(1) as u64;
                continue;
            };
            from += at as u64;
            if self.frame_length(from)?.is_some() {
                return Ok(Some(from));
            }
            from += 1;
        }
        Ok(None)
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
        let start = usize::try_from(at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let visible = self.window.get(start..).unwrap_or_default();
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
