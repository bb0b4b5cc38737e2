//! The seam through which tests make the disk fail. Outside tests it holds nothing and costs a
//! comparison.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// What the disk is to do wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Writes take this many bytes and then find the disk full.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests make the disk fail"))]
    FullAfter(usize),
    /// Files may not grow past so many bytes (`ulimit -f`).
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests make the disk fail"))]
    NoFileAbove(u64),
    /// The file system says that it has so many bytes, the folder's files included.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests make the disk fail"))]
    DiskOf(u64),
    /// Nothing is written, not even the small files that are replaced as a whole.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests make the disk fail"))]
    Full,
    /// Everything is written and nothing can be synced.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests make the disk fail"))]
    NoSync,
}

/// A shared switch; the default one cannot be turned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Option<Arc<Mutex<Fault>>>);

impl Faults {
    #[cfg(test)]
    pub(crate) fn switchable() -> Faults {
        Faults(Some(Arc::default()))
    }

    #[cfg(test)]
    pub(crate) fn set(&self, fault: Fault) {
        if let Some(shared) = &self.0 {
            *shared.lock().unwrap() = fault;
        }
    }

    fn now(&self) -> Fault {
        let shared = self.0.as_ref();
        shared.map_or(Fault::None, |it| *lock(it))
    }

    /// How many of the bytes that are to be written behind others the disk takes before it fails, and
    /// how it fails; `None` if it takes all.
    pub(super) fn write_limit(&self, behind: u64, bytes: usize) -> Option<(usize, io::ErrorKind)> {
        let (limit, kind) = match self.now() {
            Fault::FullAfter(limit) => (limit, io::ErrorKind::StorageFull),
            Fault::Full => (0, io::ErrorKind::StorageFull),
            Fault::NoFileAbove(limit) => {
                let limit = usize::try_from(limit.saturating_sub(behind)).unwrap_or(usize::MAX);
                (limit, io::ErrorKind::FileTooLarge)
            }
            Fault::None | Fault::NoSync | Fault::DiskOf(_) => return None,
        };
        (limit < bytes).then_some((limit, kind))
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        match self.now() {
            Fault::NoSync => Err(io::Error::other("injected: sync failed")),
            _ => Ok(()),
        }
    }

    /// Before a small file is replaced.
    pub(super) fn before_replacing(&self) -> io::Result<()> {
        match self.now() {
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// What the file system of a folder has free for this process, if it says so.
    pub(in crate::journal) fn free_bytes(&self, folder: &Path) -> Option<u64> {
        if let Fault::DiskOf(bytes) = self.now() {
            return Some(bytes.saturating_sub(bytes_in(folder)));
        }
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Bytes of all files in a folder; nothing of what cannot be read.
fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = files.map(|it| match it.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&it.path()),
        found => found.map_or(0, |it| it.len()),
    });
    bytes.sum()
}
