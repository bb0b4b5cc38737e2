//! Sending given records straight to a destination, past the journal: for dead letters.

use std::sync::Arc;

use tokio::time::Instant;

use super::batcher::{Attempt, Batcher};
use crate::event::Record;
use crate::journal::Pending;
use crate::resources::Destination;
use crate::sinks::{Ack, Batch, Sink};

/// Sends records in batches inside the service's limits, one request at a time and each record once.
/// One verdict a record, in their order.
pub async fn redrive(destination: &Destination, sink: &Sink, records: &[Arc<Record>]) -> Vec<Ack> {
    let limits = destination.target.limits();
    let mut batcher = Batcher::default();
    for (position, record) in (0..).zip(records) {
        let bytes = destination.target.record_bytes(record);
        let pending = Pending { position, record: Arc::clone(record) };
        batcher.push(Attempt { pending, bytes, tries: 0, since: Instant::now() });
    }
    let mut acks = Vec::with_capacity(records.len());
    loop {
        let batch = batcher.take(&destination.batch, limits.max_span);
        if batch.is_empty() {
            return acks;
        }
        let records = batch.into_iter().map(|attempt| attempt.pending.record).collect();
        acks.extend(sink.deliver(&Batch { records }).await);
    }
}
