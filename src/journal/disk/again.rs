//! What delivery asks of the log beside reading on: whether there is anything to read, and a record once
//! more that it has read and let go of meanwhile. Changes no books but for a record that is gone.

use std::io;
use std::sync::Arc;

use super::state::Part;
use super::{Disk, Reader, reader};
use crate::event::Record;
use crate::resources::ResourceId;

/// Where a record is.
enum Place {
    Here(Arc<Record>),
    OnDisk(Part),
    /// It is settled.
    Nowhere,
}

impl Reader {
    pub(in crate::journal) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Lets go of what is being read.
    pub(in crate::journal) fn stop(&mut self) {
        self.reading = None;
    }
}

impl Disk {
    /// Waits until something waits for a destination, or was begun to be read for it.
    pub(in crate::journal) async fn ready(&self, destination: &ResourceId, reader: &Reader) {
        while reader.reading.is_none() {
            let arrived = {
                let mut state = self.shared.state();
                let number = state.queue(destination);
                let queue = &state.queues[number];
                if queue.waiting > 0 {
                    return;
                }
                Arc::clone(&queue.arrived)
            };
            arrived.notified().await;
        }
    }

    /// A record that was read and is not settled; `None` if it is not there any more, which counts it as
    /// lost.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(in crate::journal) async fn again(
        &self,
        destination: &ResourceId,
        position: u64,
    ) -> io::Result<Option<Arc<Record>>> {
        loop {
            let part = match self.place(destination, position) {
                Place::Here(record) => return Ok(Some(record)),
                Place::Nowhere => return Ok(None),
                Place::OnDisk(part) => part,
            };
            let shared = Arc::clone(&self.shared);
            let permit = Arc::clone(&self.reads).acquire_owned().await;
            let read = move || {
                let _permit = permit;
                reader::read_one(&shared.directory, part)
            };
            let found = self.jobs.run(read).await.and_then(|it| it)?;
            if found.is_some() {
                return Ok(found);
            }
            let mut state = self.shared.state();
            let number = state.queue(destination);
            // Another file may have taken the place of the one that was read.
            if state.queues[number].epoch == part.epoch {
                state.lose(number, position);
                drop(state);
                self.shared.settled.notify_waiters();
                return Ok(None);
            }
        }
    }

    fn place(&self, destination: &ResourceId, position: u64) -> Place {
        let mut state = self.shared.state();
        let number = state.queue(destination);
        let queue = &state.queues[number];
        let Some(unsettled) = queue.unsettled.get(&position) else { return Place::Nowhere };
        if let Some(item) = state.recent.at(position) {
            return Place::Here(Arc::clone(&item.record));
        }
        let base = state.segments[state.segment_at(position)].base;
        let (end, epoch) = (position + unsettled.bytes, queue.epoch);
        Place::OnDisk(Part { base, start: position, end, hint: None, epoch })
    }
}
