//! Segments: the files of the log. Names, headers, writing at the end, cutting back.
//!
//! A segment's name is its base: the position of its first byte, twenty digits. Its header, in
//! little endian, has the same 32 bytes in every format version:
//!
//! ```text
//!  0  8  "SLUICELG"
//!  8  4  format version: 1 as appended, 2 compacted
//! 12  4  CRC-32C of bytes 0..12 and 16..32
//! 16  8  base
//! 24  8  time made: milliseconds since 1970
//! ```
//!
//! A compacted segment stands for everything in the log from its base to an end, and holds of it what
//! was still pending when it was made. Its header goes on, and each of its frames has a mark before it
//! that says where in the log it lay (see `scanner`), so that positions stay what they were:
//!
//! ```text
//! 32  8  end: the position after the last byte that it stands for
//! 40  8  revision: no two compacted segments of a folder have the same
//! 48  4  zero
//! 52  4  CRC-32C of bytes 0..52
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::faults::Faults;
use super::scanner::{Place, Scanner};
use crate::private;

const MAGIC: [u8; 8] = *b"SLUICELG";

/// The format of segments that are appended to.
const VERSION: u32 = 1;

/// The format of compacted ones, and the newest that this program reads.
const COMPACTED_VERSION: u32 = 2;

/// Bytes before the first frame of a compacted segment.
pub(super) const COMPACTED_HEADER: u64 = 56;

/// Bytes before the first frame.
pub(super) const HEADER: u64 = 32;

pub(super) fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

/// The bases of all segments in a folder, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
        bases.extend(digits.filter(|it| it.len() == 20).and_then(|it| it.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The segments of a folder, by their bases in order, and those that must not be read: a crash left
/// them beside the compacted one that stands for them.
pub(super) fn list_live(directory: &Path) -> io::Result<(Vec<u64>, Vec<u64>)> {
    let (mut live, mut covered) = (Vec::new(), Vec::new());
    let mut end = 0;
    for base in list(directory)? {
        if base < end {
            covered.push(base);
        } else if let Some(opened) = open(directory, base)? {
            end = opened.compacted.and_then(|it| it.end).unwrap_or(end);
            live.push(base);
        }
    }
    Ok((live, covered))
}

/// Makes the names in a folder outlive a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Frames follow.
    Known,
    /// Frames with marks follow.
    Compacted { end: u64, revision: u64 },
    /// It was written by a later version of this program.
    Newer(u32),
    /// It is damaged or was never finished; frames may follow all the same.
    Damaged,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Header {
        let (Some(version), Some(checksum)) = (word(bytes, 8), word(bytes, 12)) else {
            return Header::Damaged;
        };
        if !bytes.starts_with(&MAGIC) || header_checksum(bytes) != Some(checksum) {
            return Header::Damaged;
        }
        match version {
            COMPACTED_VERSION => Header::extension(bytes).unwrap_or(Header::Damaged),
            version if version > COMPACTED_VERSION => Header::Newer(version),
            _ => Header::Known,
        }
    }

    fn extension(bytes: &[u8]) -> Option<Header> {
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        (word(bytes, 52)? == crc32c::crc32c(&bytes[..52])).then_some(())?;
        Some(Header::Compacted { end: long(32)?, revision: long(40)? })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A segment's file, opened to be read.
#[derive(Debug)]
pub(super) struct Opened {
    pub base: u64,
    /// Bytes in the file.
    pub size: u64,
    /// When it was appended to last, in milliseconds since 1970.
    pub last_append: u64,
    /// Whether its header could not be read. Its frames may be whole all the same.
    pub is_damaged: bool,
    /// What a compacted one says of itself.
    pub compacted: Option<Compacted>,
    file: File,
    /// Where its first frame lies.
    start: u64,
}

/// What a compacted segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The position up to which it stands for the log, unless its header is damaged.
    pub end: Option<u64>,
    /// Tells this file from all others of its name; 0 if its header is damaged.
    pub revision: u64,
}

/// Where in a compacted segment the search for a position may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// Of the file for which it holds.
    pub revision: u64,
    /// Everything before this position lies before the offset.
    pub position: u64,
    pub offset: u64,
}

/// Opens a segment; `None` if there is no such file.
///
/// # Errors
/// When it cannot be read, or a later version of this program wrote it.
pub(super) fn open(directory: &Path, base: u64) -> io::Result<Option<Opened>> {
    let file = match File::open(path(directory, base)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    // Its last write was its last append; a copy has the time of what it was made from.
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut bytes = [0; COMPACTED_HEADER as usize];
    let filled = fill(&file, &mut bytes)?;
    let header = Header::parse(&bytes[..filled]);
    let mut opened = Opened {
        base,
        size: metadata.len(),
        last_append: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
        is_damaged: false,
        compacted: None,
        file,
        start: HEADER,
    };
    match header {
        Header::Known => {}
        Header::Compacted { end, revision } => {
            opened.compacted = Some(Compacted { end: Some(end), revision });
            opened.start = COMPACTED_HEADER;
        }
        Header::Damaged => {
            opened.is_damaged = true;
            opened.start = 0;
            // Only the frames themselves can say now what kind of segment it is.
            if Scanner::new(opened.file.try_clone()?, 0, opened.size).finds_mark()? {
                opened.compacted = Some(Compacted { end: None, revision: 0 });
            }
        }
        Header::Newer(version) => {
            let message = format!(
                "its segment `{base:020}.log` has format version {version}, which this program does not know; start the version that wrote it"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(Some(opened))
}

fn fill(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Opened {
    /// The file, and where its first frame lies.
    pub(super) fn into_frames(self) -> (File, u64) {
        (self.file, self.start)
    }

    /// Scans all of it.
    pub(super) fn scan(self) -> Scanner {
        let (base, start, size) = (self.base, self.start, self.size);
        let place = match self.compacted {
            Some(_) => Place::Marked(base),
            None => Place::From(base),
        };
        Scanner::new(self.file, start, size).placed(place)
    }

    /// Scans a part of it, given in positions. A compacted one may give frames outside of it.
    pub(super) fn scan_part(self, part: Range<u64>, hint: Option<Hint>) -> Scanner {
        let Some(Compacted { revision, .. }) = self.compacted else {
            let (start, end) = (part.start - self.base, part.end - self.base);
            return Scanner::new(self.file, start, end).placed(Place::From(self.base));
        };
        let fits =
            |it: &Hint| it.revision == revision && revision != 0 && it.position <= part.start;
        match hint.filter(fits) {
            Some(hint) => {
                Scanner::new(self.file, hint.offset, self.size).placed(Place::Marked(hint.position))
            }
            None => self.scan(),
        }
    }
}

fn header_checksum(bytes: &[u8]) -> Option<u32> {
    let end = usize::try_from(HEADER).ok()?;
    Some(crc32c::crc32c_append(crc32c::crc32c(bytes.get(..12)?), bytes.get(16..end)?))
}

pub(super) fn header(base: u64, now: u64) -> Vec<u8> {
    header_of(VERSION, base, now)
}

/// The header of a compacted segment.
pub(super) fn compacted_header(span: &Range<u64>, revision: u64, now: u64) -> Vec<u8> {
    let mut bytes = header_of(COMPACTED_VERSION, span.start, now);
    bytes.extend_from_slice(&span.end.to_le_bytes());
    bytes.extend_from_slice(&revision.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn header_of(version: u32, base: u64, now: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&now.to_le_bytes());
    let checksum = header_checksum(&bytes).unwrap_or_default();
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    file: File,
    base: u64,
    /// Bytes that are safely on disk, and with them everything that anybody was told is kept.
    synced: u64,
    faults: Faults,
}

/// An append that failed, and whether the segment may still be written.
#[derive(Debug)]
pub(super) struct AppendError {
    pub cause: io::Error,
    /// False when nobody can say what of the segment's end is on disk.
    pub usable: bool,
}

impl Active {
    /// Makes a segment's file; events may hold personal data, so it is readable by its owner only.
    pub(super) fn begin(
        directory: &Path,
        base: u64,
        now: u64,
        faults: Faults,
    ) -> io::Result<Active> {
        let path = path(directory, base);
        let make = || {
            // A file of this name can only be what is left of an attempt that failed.
            let _absent = fs::remove_file(&path);
            let file = private::new_file().append(true).open(&path)?;
            let mut active = Active { file, base, synced: 0, faults: faults.clone() };
            active.append(&[&header(base, now)]).map_err(|error| error.cause)?;
            sync_directory(directory)?;
            Ok(active)
        };
        make().inspect_err(|_| {
            let _absent = fs::remove_file(&path);
        })
    }

    /// Goes on with a segment behind its first `len` bytes; what follows them is cut.
    pub(super) fn resume(
        directory: &Path,
        base: u64,
        len: u64,
        faults: Faults,
    ) -> io::Result<Active> {
        let file = OpenOptions::new().append(true).open(path(directory, base))?;
        let there = file.metadata()?.len();
        if there < len {
            return Err(io::Error::other("it has been cut by somebody else"));
        }
        if there > len {
            file.set_len(len)?;
        }
        Ok(Active { file, base, synced: len, faults })
    }

    /// The position after what is safely on disk.
    pub(super) fn end(&self) -> u64 {
        self.base + self.synced
    }

    /// Bytes safely on disk, the header included.
    pub(super) fn len(&self) -> u64 {
        self.synced
    }

    /// Writes pieces at the end, as one, and syncs them. If that fails the segment is cut back to
    /// where it was.
    pub(super) fn append(&mut self, pieces: &[&[u8]]) -> Result<(), AppendError> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if let Err(cause) = self.write(pieces) {
            let usable = self.file.set_len(self.synced).is_ok();
            return Err(AppendError { cause, usable });
        }
        let synced = self.faults.before_sync().and_then(|()| self.file.sync_data());
        if let Err(cause) = synced {
            // Linux drops the dirty pages of a sync that failed and lets the next one succeed, so
            // nothing may be written behind them.
            let _kept_unknown = self.file.set_len(self.synced);
            return Err(AppendError { cause, usable: false });
        }
        self.synced += bytes;
        Ok(())
    }

    fn write(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        if let Some((limit, kind)) = self.faults.write_limit(self.synced, bytes) {
            self.file.write_all(&pieces.concat()[..limit])?;
            return Err(kind.into());
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::Fault;
    use super::*;

    #[test]
    fn a_header_tells_known_newer_and_damaged_apart() {
        let good = header(7, 8);
        assert_eq!(good.len() as u64, HEADER);
        assert_eq!(Header::parse(&good), Header::Known);
        let mut newer = good.clone();
        newer[8] = 3;
        assert_eq!(Header::parse(&newer), Header::Damaged, "a flipped bit is no version");
        let checksum = header_checksum(&newer).unwrap();
        newer[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::parse(&newer), Header::Newer(3));
        assert_eq!(Header::parse(&good[..31]), Header::Damaged);
        assert_eq!(Header::parse(b""), Header::Damaged);
    }

    #[test]
    fn a_compacted_header_with_any_bit_flipped_or_cut_short_is_damaged() {
        let good = compacted_header(&(7..99), 5, 8);
        assert_eq!(good.len() as u64, COMPACTED_HEADER);
        assert_eq!(Header::parse(&good), Header::Compacted { end: 99, revision: 5 });
        for at in 0..good.len() {
            assert_eq!(Header::parse(&good[..at]), Header::Damaged);
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert_eq!(Header::parse(&flipped), Header::Damaged, "{at}");
        }
    }

    #[test]
    fn a_write_that_fails_is_cut_back_and_the_next_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::switchable();
        let mut active = Active::begin(folder.path(), 0, 0, faults.clone()).unwrap();
        active.append(&[b"one", b"two"]).unwrap();
        faults.set(Fault::FullAfter(2));
        let error = active.append(&[b"lost"]).unwrap_err();
        assert_eq!(error.cause.kind(), io::ErrorKind::StorageFull);
        assert!(error.usable);
        faults.set(Fault::None);
        active.append(&[b"three"]).unwrap();
        let bytes = fs::read(path(folder.path(), 0)).unwrap();
        assert_eq!(bytes[HEADER as usize..], *b"onetwothree");
        assert_eq!(active.len(), bytes.len() as u64);
    }

    #[test]
    fn after_a_failed_sync_the_segment_is_not_to_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::switchable();
        let mut active = Active::begin(folder.path(), 0, 0, faults.clone()).unwrap();
        faults.set(Fault::NoSync);
        assert!(!active.append(&[b"lost"]).unwrap_err().usable);
        assert_eq!(active.end(), HEADER);
    }

    #[test]
    fn a_segment_that_cannot_be_begun_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::switchable();
        faults.set(Fault::FullAfter(10));
        assert!(Active::begin(folder.path(), 0, 0, faults).is_err());
        assert!(list(folder.path()).unwrap().is_empty());
    }
}
