//! A destination's side of the journal: it reads what waits for it and settles each record. Where the
//! records are held is the store's matter.

use std::sync::Arc;

use super::dead_letters::NotBuried;
use super::{DeadLetter, Journal, Outcome, Pending, Store, disk};
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
    /// Waits for records and takes the oldest: at least one, at most `max_records`, and no more
    /// bytes than `max_bytes` unless the first alone has more. Safe to cancel: nothing is taken
    /// before it returns.
    pub async fn read(&mut self, max_records: usize, max_bytes: usize) -> Vec<Pending> {
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
