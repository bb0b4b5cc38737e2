//! The thread that keeps the dead letters in order: it gives back the room of those that were sent again
//! or thrown away. What it does is told in `dead_letters`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Store;
use super::dead_letters::DeadLetters;
use crate::supervision;

/// How soon the room of dead letters that were sent again or thrown away comes back.
const KEEP_LETTERS_EVERY: Duration = Duration::from_secs(1);

/// Keeps the dead letters in order, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(store: Arc<Store>, dead_letters: Arc<DeadLetters>) -> io::Result<Keeper> {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let keep = move || {
            while !ended.load(Ordering::Acquire) {
                dead_letters.keep(|| {
                    if let Store::Disk(disk) = &*store {
                        disk.checkpoint_here();
                    }
                });
                thread::park_timeout(KEEP_LETTERS_EVERY);
            }
        };
        let thread = supervision::keep_thread("letters-keeper", keep)?;
        Ok(Keeper { ends, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The only error is a panic over there, which was logged.
            let _panicked = thread.join();
        }
    }
}
