//! What the entrance of log files tells of itself: written by its thread, read by `/status` and `/metrics`.

use std::sync::Mutex;

use crate::lock::lock;

/// How far one file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReading {
    pub path: String,
    /// The end of the last line that is kept, in bytes from the file's beginning.
    pub offset: u64,
    /// Bytes that were seen in it and not read when it was looked at last.
    pub unread: u64,
}

/// What one reading says of log files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesReading {
    /// Why lines wait, while they do.
    pub waits: Option<String>,
    /// Lines kept since the process began, bad ones among them.
    pub lines: u64,
    /// Lines that became dead letters.
    pub refused: u64,
    /// The files that are followed; of each as it was a second ago, or when lines began to wait.
    pub files: Vec<FileReading>,
}

/// What the thread last said.
#[derive(Debug, Default)]
pub struct FilesBoard(Mutex<FilesReading>);

impl FilesBoard {
    #[must_use]
    pub fn read(&self) -> FilesReading {
        lock(&self.0).clone()
    }

    pub(super) fn set_files(&self, files: Vec<FileReading>) {
        lock(&self.0).files = files;
    }

    pub(super) fn set_waits(&self, cause: Option<String>) {
        lock(&self.0).waits = cause;
    }

    pub(super) fn count(&self, lines: u64, refused: u64) {
        let mut reading = lock(&self.0);
        reading.lines += lines;
        reading.refused += refused;
    }
}
