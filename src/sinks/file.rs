//! A file: one line an event, appended, on the disk before it counts as delivered.
//!
//! Whoever rotates the file moves it away; the next batch makes a new one. It is never rotated,
//! compressed or shortened here, but for taking back a batch that could not be written whole. One
//! file belongs to one destination: two would take back each other's lines.

use std::fmt;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::ack::{Ack, Fault};
use super::batch::{Count, Limits};
use super::error::{OpenError, SETTING};
use super::kind::{Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::transport::Sending;
use crate::event::Record;
use crate::form::{Checked, Door, Form, Nature, Rule, Shape, Value, Written, Wrong, field};
use crate::lock::lock;
use crate::private;

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
pub struct FileTarget {
    path: Checked<FilePath>,
    mode: Mode,
}

impl Form for FileTarget {
    fn form<D: Door>(d: &mut D, it: Option<&FileTarget>) -> Option<FileTarget> {
        let path = d.required(
            field("path", "The file, one event a line; its folder must be there.", "errors.ndjson"),
            it.map(|it| &it.path),
        );
        let mode = d.or(
            field(
                "mode",
                "The rights of a file that is made, in octal digits. One that is there keeps its own.",
                "0640",
            ),
            Mode(private::FILE),
            it.map(|it| &it.mode),
        );
        Some(FileTarget { path: path?, mode: mode? })
    }
}

/// The path of a file. Its directory must exist by the time it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FilePath;

impl Rule for FilePath {
    const NATURE: Nature = Nature::OutputFile;

    fn check(text: &str) -> Result<(), Wrong> {
        let problem = if text.is_empty() {
            "must not be empty"
        } else if text.len() > MAX_PATH {
            "must have at most 4,096 bytes"
        } else if text.contains('\0') {
            "must not have a zero byte"
        } else if Path::new(text).file_name().is_none() || text.ends_with('/') {
            "must be the path of a file, not of a directory"
        } else {
            return Ok(());
        };
        Err(Wrong::must(SETTING, problem))
    }
}

/// The rights of a file that is made, in octal digits such as `0640`. One that is there keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode(u32);

impl Mode {
    fn new(digits: &str) -> Result<Mode, Wrong> {
        let rest = digits.strip_prefix('0').filter(|_| digits.len() == 4).unwrap_or(digits);
        let are_octal = rest.len() == 3 && rest.bytes().all(|it| (b'0'..b'8').contains(&it));
        let mode =
            u32::from_str_radix(rest, 8).ok().filter(|mode| mode & private::FILE == private::FILE);
        let problem =
            "must be three octal digits, such as `640`, that let the owner read and write";
        mode.filter(|_| are_octal).map(Mode).ok_or_else(|| Wrong::must(SETTING, problem))
    }
}

impl Value for Mode {
    const SHAPE: Shape<Mode> = Shape::Text(Mode::new);

    fn written(&self) -> Written {
        Written::open(format!("{:04o}", self.0))
    }
}

impl FileTarget {
    /// One of this path, for tests.
    #[cfg(test)]
    pub fn new(path: impl AsRef<Path>) -> Result<FileTarget, Wrong> {
        let path = Checked::new(path.as_ref().to_str().unwrap())?;
        Ok(FileTarget { path, mode: Mode(private::FILE) })
    }

    /// The file's path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(self.path.as_str())
    }
}

impl Kind for FileTarget {
    fn name(&self) -> &'static str {
        "file"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn open(&self, _: LogOutput, _: Sending) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        Box::pin(async { Ok(Box::new(Sink::open(self).await?) as Box<dyn Opened>) })
    }
}

/// For status pages.
impl fmt::Display for FileTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file `{}`", self.path)
    }
}

/// A file that is opened with the first batch and again whenever it has been moved away.
#[derive(Clone)]
pub(super) struct Sink {
    path: Arc<Path>,
    mode: u32,
    file: Arc<Mutex<Option<File>>>,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }
}

impl Sink {
    /// Fails if the file's directory does not exist.
    pub(super) async fn open(settings: &FileTarget) -> Result<Sink, OpenError> {
        let directory = directory(settings.path());
        match tokio::fs::metadata(directory).await {
            Ok(found) if found.is_dir() => Ok(Sink {
                path: Arc::from(settings.path()),
                mode: settings.mode.0,
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
            append_or_take_back(file, |file| {
                file.write_all(lines)?;
                sync(file)
            })
        })
    }

    /// Runs `work` on the file that is at the path now.
    fn with_file(&self, work: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut open = lock(&self.file);
        let mut file = match open.take() {
            Some(file) if is_still_at(&file, &self.path) => file,
            _ => open_for_append(&self.path, self.mode)?,
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

fn open_for_append(path: &Path, mode: u32) -> io::Result<File> {
    if is_unread_pipe(path) {
        return Err(io::Error::other("it is a pipe that no program reads"));
    }
    let is_new = !path.exists();
    let mut file = private::file().append(true).open(path)?;
    if is_new {
        if mode != private::FILE {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        // So that the file's name, too, outlives a power cut.
        File::open(directory(path))?.sync_all()?;
    } else if ends_in_mid_line(path) {
        // A crash cut the last write: keep its half line from spoiling the next event.
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether to open it would wait until somebody opens its other end, and nobody would be told for what.
fn is_unread_pipe(path: &Path) -> bool {
    let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    is_pipe && File::options().append(true).custom_flags(at_once).open(path).is_err()
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

/// Runs `append`; if it fails, cuts the file back to the length it had.
fn append_or_take_back(
    file: &mut File,
    append: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let before = file.metadata()?;
    let appended = append(file);
    if appended.is_err() && before.is_file() {
        file.set_len(before.len())?;
    }
    appended
}

/// Waits until the disk has it. Pipes and devices have nothing to wait for.
fn sync(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::FaultKind;

    fn records(bodies: &[&'static str]) -> Vec<Arc<Record>> {
        let record = |body: &&'static str| Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(body.as_bytes()),
            hops: 0,
        };
        bodies.iter().map(|body| Arc::new(record(body))).collect()
    }

    async fn open(path: &Path) -> Sink {
        Sink::open(&FileTarget::new(path).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn records_are_appended_one_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.ndjson");
        fs::write(&path, "older\n").unwrap();
        let sink = open(&path).await;
        assert_eq!(sink.deliver(&records(&["{}", "[]"])).await, vec![Ack::Delivered; 2]);
        assert_eq!(sink.deliver(&records(&["1"])).await, [Ack::Delivered]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "older\n{}\n[]\n1\n");
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_or_removed_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let rotated = directory.path().join("events.1");
        let sink = open(&path).await;
        assert_eq!(sink.deliver(&records(&["first"])).await, [Ack::Delivered]);
        fs::rename(&path, &rotated).unwrap();
        assert_eq!(sink.deliver(&records(&["second"])).await, [Ack::Delivered]);
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "first\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        fs::remove_file(&path).unwrap();
        assert_eq!(sink.deliver(&records(&["third"])).await, [Ack::Delivered]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        fs::write(&path, "{\"whole\":1}\n{\"ha").unwrap();
        let sink = open(&path).await;
        assert_eq!(sink.deliver(&records(&["{}"])).await, [Ack::Delivered]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n{\"ha\n{}\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_a_fault_that_passes() {
        let sink = open(Path::new("/dev/full")).await;
        let fault = Fault::new(
            FaultKind::Transient,
            "cannot append to `/dev/full`: No space left on device (os error 28)".to_owned(),
        );
        assert_eq!(sink.deliver(&records(&["{}", "{}"])).await, vec![Ack::Retry(fault); 2]);
    }

    #[test]
    fn rights_are_octal_digits_that_leave_the_file_to_its_owner() {
        for (digits, mode) in [("640", "0640"), ("0644", "0644"), ("777", "0777")] {
            assert_eq!(Mode::new(digits).unwrap().written(), Written::open(mode));
        }
        for digits in ["", "64", "0o640", "648", "1640", "00640", "440", "-60", "rw-r--r--"] {
            assert!(Mode::new(digits).is_err(), "{digits}");
        }
    }

    #[test]
    fn a_batch_that_cannot_be_written_whole_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        fs::write(&path, "kept\n").unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let cut = append_or_take_back(&mut file, |file| {
            file.write_all(b"{}\n{\"cut")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        });
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
    }

    #[tokio::test]
    async fn a_missing_directory_is_told_at_opening_and_waited_for_later() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        let path = inner.join("events");
        let settings = FileTarget::new(&path).unwrap();
        let error = Sink::open(&settings).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "the directory `{}` cannot be used: No such file or directory (os error 2); \
                 create it first",
                inner.display()
            )
        );
        fs::create_dir(&inner).unwrap();
        let sink = open(&path).await;
        fs::remove_dir(&inner).unwrap();
        let message = format!(
            "cannot append to `{}`: No such file or directory (os error 2); create the directory \
             `{}`",
            path.display(),
            inner.display()
        );
        let fault = Fault::new(FaultKind::Configuration, message);
        assert_eq!(sink.probe().await, Err(fault.clone()));
        assert_eq!(sink.deliver(&records(&["{}"])).await, [Ack::Retry(fault)]);
        fs::create_dir(&inner).unwrap();
        assert_eq!(sink.deliver(&records(&["{}"])).await, [Ack::Delivered]);
    }

    #[tokio::test]
    async fn a_directory_in_the_files_place_is_for_somebody_to_fix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        fs::create_dir(&path).unwrap();
        let fault = open(&path).await.probe().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Configuration);
    }

    #[test]
    fn errors_that_only_a_person_can_fix_pause_the_destination() {
        for (kind, expected) in [
            (ErrorKind::PermissionDenied, FaultKind::Configuration),
            (ErrorKind::NotFound, FaultKind::Configuration),
            (ErrorKind::ReadOnlyFilesystem, FaultKind::Configuration),
            (ErrorKind::StorageFull, FaultKind::Transient),
            (ErrorKind::QuotaExceeded, FaultKind::Transient),
            (ErrorKind::Interrupted, FaultKind::Transient),
        ] {
            let error = io::Error::from(kind);
            assert_eq!(fault(Path::new("/x/y"), &error).kind, expected, "{kind}");
        }
    }

    #[test]
    fn a_path_must_be_that_of_a_file() {
        for (path, problem) in [
            ("", "`path` must not be empty"),
            ("/", "`path` must be the path of a file, not of a directory"),
            ("/var/log/", "`path` must be the path of a file, not of a directory"),
            ("..", "`path` must be the path of a file, not of a directory"),
            ("a\0b", "`path` must not have a zero byte"),
        ] {
            let error = FileTarget::new(path).unwrap_err();
            assert_eq!((error.code(), error.of("path").as_str()), ("ERR_NGROK_236", problem));
        }
        let settings = FileTarget::new("events.ndjson").unwrap();
        assert_eq!(settings.to_string(), "file `events.ndjson`");
    }
}
