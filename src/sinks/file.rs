//! A file: one line an event, appended, on the disk before it counts as delivered.
//!
//! Whoever rotates the file moves it away; the next batch makes a new one. It is never rotated,
//! compressed or shortened here, but for taking back a batch that could not be written whole. One
//! file belongs to one destination: two would take back each other's lines.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::ack::{Ack, Fault};
use super::batch::{Count, Limits};
use super::error::{OpenError, TargetError};
use crate::event::Record;

/// Most records of one write: bounds the duplicates of a write that is taken back.
const MAX_RECORDS: usize = 10_000;
/// Most bytes of one write, and of one record: no event is longer, since no body that brings one
/// is. The write is put together in memory.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Longest path (Linux, `PATH_MAX`).
const MAX_PATH: usize = 4_096;

pub(super) const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    max_record_bytes: MAX_BYTES,
    max_span: None,
    // Appends to one file wait for each other anyway.
    in_flight: 1,
    count: Count::Line,
};

/// A file to append to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    path: PathBuf,
}

impl Settings {
    /// Checks that the path can be that of a file. Its directory must exist by the time it is
    /// opened.
    pub fn new(path: impl Into<PathBuf>) -> Result<Settings, TargetError> {
        let path = path.into();
        let bytes = path.as_os_str().as_encoded_bytes();
        let problem = if bytes.is_empty() {
            "must not be empty"
        } else if bytes.len() > MAX_PATH {
            "must have at most 4,096 bytes"
        } else if bytes.contains(&0) {
            "must not have a zero byte"
        } else if path.file_name().is_none() || bytes.ends_with(b"/") {
            "must be the path of a file, not of a directory"
        } else {
            return Ok(Settings { path });
        };
        Err(TargetError::Setting { name: "path", problem: problem.to_owned() })
    }

    /// The file's path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// For status pages.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file `{}`", self.path.display())
    }
}

/// A file that is opened with the first batch and again whenever it has been moved away.
#[derive(Clone)]
pub(super) struct Sink {
    path: Arc<Path>,
    file: Arc<Mutex<Option<File>>>,
}

impl Sink {
    /// Fails if the file's directory does not exist.
    pub(super) async fn open(settings: &Settings) -> Result<Sink, OpenError> {
        let directory = directory(&settings.path);
        match tokio::fs::metadata(directory).await {
            Ok(found) if found.is_dir() => Ok(Sink {
                path: Arc::from(settings.path.as_path()),
                file: Arc::new(Mutex::new(None)),
            }),
            Ok(_) => {
                Err(OpenError { message: format!("`{}` is not a directory", directory.display()) })
            }
            Err(error) => Err(OpenError {
                message: format!(
                    "the directory `{}` cannot be used: {error}; create it first",
                    directory.display()
                ),
            }),
        }
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let lines = lines(records);
        let sink = self.clone();
        let written = spawn_blocking(move || sink.append(&lines)).await;
        let ack = match written {
            Ok(Ok(())) => Ack::Delivered,
            Ok(Err(error)) => Ack::Retry(fault(&self.path, &error)),
            Err(stopped) => Ack::Retry(Fault::transient(format!("the write was cut: {stopped}"))),
        };
        vec![ack; records.len()]
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        let sink = self.clone();
        let opened = spawn_blocking(move || sink.with_file(|_| Ok(()))).await;
        match opened {
            Ok(Ok(())) => Ok(format!("file `{}` can be appended to", self.path.display())),
            Ok(Err(error)) => Err(fault(&self.path, &error)),
            Err(stopped) => Err(Fault::transient(format!("the attempt was cut: {stopped}"))),
        }
    }

    /// Appends all of it and waits for the disk, or leaves the file as it was.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        self.with_file(|file| {
            let before = file.metadata()?;
            let written = file.write_all(lines).and_then(|()| sync(file, &before));
            if written.is_err() && before.is_file() {
                file.set_len(before.len())?;
            }
            written
        })
    }

    /// Runs `work` on the file that is at the path now.
    fn with_file(&self, work: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match open.take() {
            Some(file) if is_still_at(&file, &self.path) => file,
            _ => open_for_append(&self.path)?,
        };
        work(&mut file)?;
        // Only a file that is known to be sound is kept; any other is looked at anew.
        *open = Some(file);
        Ok(())
    }
}

/// The records as one text to write, each on its line.
pub(super) fn lines(records: &[Arc<Record>]) -> Vec<u8> {
    let length = records.iter().map(|record| record.body.len() + 1).sum();
    let mut lines = Vec::with_capacity(length);
    for record in records {
        lines.extend_from_slice(&record.body);
        lines.push(b'\n');
    }
    lines
}

/// A path without a directory is in the working directory.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let identity = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if is_new {
        // So that the file's name, too, outlives a power cut.
        File::open(directory(path))?.sync_all()?;
    } else if ends_in_mid_line(path) {
        // A crash cut the last write: keep its half line from spoiling the next event.
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether a file has a last line without its newline. What cannot be read is left alone.
fn ends_in_mid_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

/// Waits until the disk has it. Pipes and devices have nothing to wait for.
fn sync(file: &File, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() { file.sync_data() } else { Ok(()) }
}

fn fault(path: &Path, error: &io::Error) -> Fault {
    let text = format!("cannot append to `{}`: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound => Fault::configuration(format!(
            "{text}; create the directory `{}`",
            directory(path).display()
        )),
        ErrorKind::PermissionDenied => {
            Fault::configuration(format!("{text}; let this process write there"))
        }
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidFilename => Fault::configuration(text),
        _ => Fault::transient(text),
    }
}
