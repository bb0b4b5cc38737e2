//! Segments: the files of the log. Names, headers, writing at the end, cutting back.
//!
//! A segment's name is its base: the position of its first byte, twenty digits. Its header, in
//! little endian, has the same 32 bytes in every format version:
//!
//! ```text
//!  0  8  "SLUICELG"
//!  8  4  format version, now 1
//! 12  4  CRC-32C of bytes 0..12 and 16..32
//! 16  8  base
//! 24  8  time made: milliseconds since 1970
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::faults::Faults;

const MAGIC: [u8; 8] = *b"SLUICELG";

/// The format that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

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

/// Makes the names in a folder outlive a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Frames follow.
    Known,
    /// It was written by a later version of this program.
    Newer(u32),
    /// It is damaged or was never finished; frames may follow all the same.
    Damaged,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Header {
        let word = |at: usize| {
            let bytes: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
            bytes.map(u32::from_le_bytes)
        };
        let (Some(version), Some(checksum)) = (word(8), word(12)) else { return Header::Damaged };
        if !bytes.starts_with(&MAGIC) || header_checksum(bytes) != Some(checksum) {
            return Header::Damaged;
        }
        if version > VERSION { Header::Newer(version) } else { Header::Known }
    }
}

fn header_checksum(bytes: &[u8]) -> Option<u32> {
    let end = usize::try_from(HEADER).ok()?;
    Some(crc32c::crc32c_append(crc32c::crc32c(bytes.get(..12)?), bytes.get(16..end)?))
}

pub(super) fn header(base: u64, now: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
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
            let mut options = OpenOptions::new();
            let file = options.append(true).create_new(true).mode(0o600).open(&path)?;
            let mut active = Active { file, base, synced: 0, faults: faults.clone() };
            active.append(&[&header(base, now)]).map_err(|error| error.cause)?;
            sync_directory(directory)?;
            Ok(active)
        };
        make().inspect_err(|_| {
            let _absent = fs::remove_file(&path);
        })
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
        if let Some(limit) = self.faults.write_limit() {
            let all = pieces.concat();
            if all.len() > limit {
                self.file.write_all(&all[..limit])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
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
        newer[8] = 2;
        assert_eq!(Header::parse(&newer), Header::Damaged, "a flipped bit is no version");
        let checksum = header_checksum(&newer).unwrap();
        newer[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::parse(&newer), Header::Newer(2));
        assert_eq!(Header::parse(&good[..31]), Header::Damaged);
        assert_eq!(Header::parse(b""), Header::Damaged);
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
