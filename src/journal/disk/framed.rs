//! Numbered files in the log's format for the rest of this room: frames with checksums behind a
//! header with a version, written at the end and cut back when that fails, read past damage.
//!
//! Dead letters lie in such files. It does not know what the frames say: each is an id, a time and a
//! text, and is for no destination.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::Faults;
use super::frame::{self, MARKER};
use super::scanner::{Scanner, Step};
use super::segment::{self, Active};
use crate::event::Record;
use crate::journal::Entry;

/// Bytes before the first frame of a file.
pub(in crate::journal) const HEADER: u64 = segment::HEADER;

/// The path of a file.
pub(in crate::journal) fn path(directory: &Path, number: u64) -> PathBuf {
    segment::path(directory, number)
}

/// The numbers of all files in a folder, in order; none if there is no folder.
pub(in crate::journal) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    match segment::list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// Makes the names in a folder outlive a power cut.
pub(in crate::journal) fn sync_directory(directory: &Path) -> io::Result<()> {
    segment::sync_directory(directory)
}

/// Appends a frame.
pub(in crate::journal) fn encode(record: Record, out: &mut Vec<u8>) {
    let entry = Entry { record: Arc::new(record), destinations: Arc::new([]) };
    frame::encode(&entry, super::now_ms(), out);
}

/// Reads one whole frame that lies alone.
#[cfg(test)]
pub(in crate::journal) fn decode(bytes: &[u8]) -> Option<Arc<Record>> {
    frame::Frame::parse(bytes).map(|frame| frame.record())
}

/// A file that frames are written to.
pub(in crate::journal) struct Framed(Active);

/// An append that failed; the file is as it was, or else not to be written any more.
pub(in crate::journal) struct NotAppended {
    pub cause: io::Error,
    /// Whether the file may still be written.
    pub usable: bool,
}

impl Framed {
    /// Makes a file, in place of what is left of an attempt that failed.
    pub(in crate::journal) fn begin(
        directory: &Path,
        number: u64,
        faults: &Faults,
    ) -> io::Result<Framed> {
        Active::begin(directory, number, super::now_ms(), faults.clone()).map(Framed)
    }

    /// Goes on with a file behind its first `len` bytes; what follows them is cut.
    pub(in crate::journal) fn resume(
        directory: &Path,
        number: u64,
        len: u64,
        faults: &Faults,
    ) -> io::Result<Framed> {
        Active::resume(directory, number, len, faults.clone()).map(Framed)
    }

    /// Puts frames safely on disk, all or none.
    pub(in crate::journal) fn append(&mut self, frames: &[u8]) -> Result<(), NotAppended> {
        self.0.append(&[frames]).map_err(|error| {
            // A file that may not grow (`ulimit -f`) is left for a new one.
            let usable = error.usable && error.cause.kind() != io::ErrorKind::FileTooLarge;
            NotAppended { cause: error.cause, usable }
        })
    }

    /// Bytes safely on disk, the header included.
    pub(in crate::journal) fn len(&self) -> u64 {
        self.0.len()
    }
}

/// What lies next in a file.
pub(in crate::journal) enum Piece {
    /// A whole frame, and its bytes on disk.
    Frame(Arc<Record>, u64),
    /// Bytes that are no frame.
    Damaged { offset: u64, bytes: u64 },
    /// The same at the end, where a write was cut short: nobody was told that it is kept.
    Torn { offset: u64 },
}

/// Reads a file from its beginning.
pub(in crate::journal) struct Pieces {
    file: File,
    scanner: Scanner,
    len: u64,
    /// The header is damaged, which is told first.
    headless: bool,
}

impl Pieces {
    /// Opens a file; `None` if it is not there (any more).
    ///
    /// # Errors
    /// When it cannot be read, or a later version wrote it.
    pub(in crate::journal) fn open(directory: &Path, number: u64) -> io::Result<Option<Pieces>> {
        let Some(opened) = segment::open(directory, number)? else { return Ok(None) };
        let (file, start) = opened.into_frames();
        Pieces::new(file, start).map(Some)
    }

    /// The same for a file of frames without a header, from an offset on.
    pub(in crate::journal) fn new(file: File, start: u64) -> io::Result<Pieces> {
        let len = file.metadata()?.len();
        let scanner = Scanner::new(file.try_clone()?, start, len);
        Ok(Pieces { file, scanner, len, headless: start == 0 && len > 0 })
    }

    /// Bytes of the file.
    pub(in crate::journal) fn len(&self) -> u64 {
        self.len
    }

    pub(in crate::journal) fn next(&mut self) -> io::Result<Option<Piece>> {
        let (offset, bytes, at_end) = match self.scanner.next()? {
            None => return Ok(None),
            Some(Step::Frame(_, frame)) => {
                return Ok(Some(Piece::Frame(frame.record(), frame.len() as u64)));
            }
            Some(Step::Damaged { position, bytes, at_end }) => (position, bytes, at_end),
        };
        let headless = std::mem::take(&mut self.headless);
        let torn = at_end && (self.is_torn(offset)? || (headless && self.len < HEADER));
        Ok(Some(if torn { Piece::Torn { offset } } else { Piece::Damaged { offset, bytes } }))
    }

    /// Whether an end is the beginning of a frame that was not written to its end, or blocks that the
    /// file system never filled. Anything else was whole once.
    fn is_torn(&self, offset: u64) -> io::Result<bool> {
        let mut head = [0; 12];
        let rest = self.len - offset;
        let shown = usize::try_from(rest).unwrap_or(head.len()).min(head.len());
        self.file.read_exact_at(&mut head[..shown], offset)?;
        let head = &head[..shown];
        Ok(match frame::claimed_length(head) {
            Some(length) => length as u64 > rest,
            None => {
                let begun = shown < 12 && head.iter().zip(MARKER).all(|(one, other)| *one == other);
                begun || head.iter().all(|byte| *byte == 0)
            }
        })
    }
}
