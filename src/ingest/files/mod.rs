//! Log files as an entrance: followed through being renamed, copied and cut, and through restarts.
//!
//! A position moves only behind what the journal has kept, and is stored once a second: after a kill the last
//! lines are read again, with the same ids. What a file is known by is its device and inode and the hash of
//! its first 256 bytes; a file that is cut and then begins with the very bytes that it began with before is
//! not seen to be another one.
//!
//! One thread does all of it (`reader.rs`), so that reading waits when the journal is full: the lines wait in
//! their files.

mod board;
mod followed;
mod follower;
#[cfg(test)]
mod model;
mod pattern;
mod position;
mod reader;
mod rotated;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use crate::formats::Format;
use crate::pipeline::Pipeline;
use crate::supervision;

pub use board::{FilesBoard, FilesReading};
use reader::{LEAVE, RUN, Reader, STOP};

/// Log files that are followed, and how their lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// A path, in which `*` and `?` stand for anything but `/`.
    pub path: PathBuf,
    pub format: Format,
    /// The account that the events belong to, if they are to have one.
    pub account_id: Option<String>,
    /// Longest line and largest event, in bytes.
    pub max_event: usize,
}

/// The positions in the files cannot be read, or the system gives no thread to read them.
#[derive(Debug, thiserror::Error)]
#[error(
    "log files cannot be followed from the positions in {path}: {cause}; without that file all log files \
     would be read again from their beginnings"
)]
pub struct CannotFollow {
    path: String,
    cause: io::Error,
}

/// Log files as an entrance, running.
pub struct Files {
    board: Arc<FilesBoard>,
    orders: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

impl Files {
    /// Begins to follow. Positions are kept in `data_dir`. To be called inside the async runtime.
    ///
    /// # Errors
    /// When the positions cannot be read.
    pub fn start(
        settings: Vec<FileSettings>,
        data_dir: &Path,
        pipeline: Arc<Pipeline>,
    ) -> Result<Files, CannotFollow> {
        let path = data_dir.join("ingest-files.json");
        let orders = Arc::new(AtomicU8::new(RUN));
        let board = Arc::new(FilesBoard::default());
        let reader =
            Reader::open(settings, &path, pipeline, Arc::clone(&orders), Arc::clone(&board));
        let reader =
            reader.map_err(|cause| CannotFollow { path: path.display().to_string(), cause })?;
        let thread = supervision::thread_once("files", move || reader.run());
        let thread =
            thread.map_err(|cause| CannotFollow { path: path.display().to_string(), cause })?;
        Ok(Files { board, orders, thread })
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<FilesBoard> {
        Arc::clone(&self.board)
    }

    /// Reads nothing more. Positions go on moving behind what is settled.
    pub fn stop(&self) {
        self.orders.fetch_max(STOP, Ordering::AcqRel);
        self.thread.thread().unpark();
    }

    /// Stores the positions of what is settled by now, and waits for that.
    pub async fn leave(self) {
        self.orders.store(LEAVE, Ordering::Release);
        self.thread.thread().unpark();
        // A thread that panicked has said so itself.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}
