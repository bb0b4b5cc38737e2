//! A destination's side of the journal: it reads what waits for it and settles each record. Where the
//! records are held is the store's matter.

use std::io;
use std::sync::Arc;

use super::dead_letters::NotBuried;
use super::{DeadLetter, Journal, Outcome, Pending, Store, TooLarge, disk};
use crate::event::Record;
use crate::resources::ResourceId;

/// One destination's place in the journal.
#[derive(Debug)]
pub struct Cursor {
    pub(super) journal: Journal,
    pub(super) destination: ResourceId,
    /// What the disk form reads through.
    pub(super) reader: Option<disk::Reader>,
}

impl Cursor {
    /// Waits until there is something to read, or something was begun to be read. Safe to cancel.
    pub async fn ready(&mut self) {
        match (&*self.journal.store, &self.reader) {
            (Store::Disk(disk), Some(reader)) => disk.ready(&self.destination, reader).await,
            (Store::Memory(memory), _) => memory.ready(&self.destination).await,
            (Store::Disk(_), None) => std::future::pending().await,
        }
    }

    /// Waits for records and takes the oldest: at least one, at most `max_records`, and no more
    /// bytes than `max_bytes`, as [`cost`](super::cost) counts them. Safe to cancel: nothing is taken
    /// before it returns, but what is being read from disk meanwhile is held for the next call, within
    /// these bytes ([`Cursor::stop_reading`]).
    ///
    /// # Errors
    /// When the first alone has more; then nothing is taken.
    pub async fn read(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, TooLarge> {
        match (&*self.journal.store, &mut self.reader) {
            (Store::Disk(disk), Some(reader)) => {
                disk.read(&self.destination, reader, (max_records, max_bytes)).await
            }
            (Store::Memory(memory), _) => {
                memory.read(&self.destination, max_records, max_bytes).await
            }
            // A cursor of the disk form always has a reader.
            (Store::Disk(_), None) => std::future::pending().await,
        }
    }

    /// Whether anything is being read from disk.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.reader.as_ref().is_some_and(disk::Reader::is_reading)
    }

    /// Lets go of what is being read from disk.
    pub fn stop_reading(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.stop();
        }
    }

    /// A record that was read and is not settled, once more. `None` if it is not there any more: then it
    /// counts as lost.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn again(
        &self,
        position: u64,
    ) -> impl Future<Output = io::Result<Option<Arc<Record>>>> + Send + use<> {
        let (store, destination) = (Arc::clone(&self.journal.store), self.destination.clone());
        async move {
            match &*store {
                Store::Disk(disk) => disk.again(&destination, position).await,
                Store::Memory(memory) => Ok(memory.again(&destination, position)),
            }
        }
    }

    /// Ends the ways of records, each given by its position, to this destination: one lock and one
    /// wake-up for all of them. A position that was settled before is passed over.
    ///
    /// On disk it waits until that is noted where the process's death leaves it, which takes
    /// microseconds, longer on a busy disk, and at most 20 seconds where it hangs.
    pub async fn settle(&mut self, settled: &[(u64, Outcome)]) {
        if settled.is_empty() {
            return;
        }
        match &*self.journal.store {
            Store::Disk(disk) => disk.settle_noted(&self.destination, settled).await,
            Store::Memory(memory) => memory.settle(&self.destination, settled),
        }
    }

    /// Puts records that this destination's service will never take among the dead letters, safely
    /// on disk, and settles them: the first ones, as many as there is room for, and no more than a few
    /// megabytes. Tells how many; at least one.
    ///
    /// # Errors
    /// When nothing was written; then nothing is settled.
    pub async fn dead_letter(
        &mut self,
        letters: Arc<[(Pending, DeadLetter)]>,
    ) -> Result<usize, NotBuried> {
        let dead_letters = Arc::clone(&self.journal.dead_letters);
        let store = Arc::clone(&self.journal.store);
        let destination = self.destination.clone();
        let bury = move || {
            let settle = |count: usize| {
                let buried = letters.iter().take(count);
                let settled: Vec<_> =
                    buried.map(|(it, _)| (it.position, Outcome::DeadLettered)).collect();
                store.settle(&destination, &settled);
            };
            let is_on_disk = matches!(*store, Store::Disk(_));
            dead_letters.bury(&destination, &letters, is_on_disk, settle)
        };
        self.journal.jobs.run(bury).await?
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.journal.dead_letters.count_destination(false);
        match (&*self.journal.store, &self.reader) {
            (Store::Disk(disk), Some(reader)) => disk.detach(&self.destination, reader),
            (Store::Disk(_), None) => {}
            (Store::Memory(memory), _) => memory.detach(&self.destination),
        }
    }
}
