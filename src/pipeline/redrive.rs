//! Sending given records straight to a destination, past the journal and its account: for dead
//! letters, and for what is replayed.

use std::sync::Arc;

use tokio::time::Instant;

use super::backoff::TRANSIENT;
use super::batcher::{Attempt, Batcher};
use crate::event::Record;
use crate::journal::Pending;
use crate::resources::Destination;
use crate::sinks::{Ack, Batch, FaultKind, Sink};

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

/// Tries in a row that deliver nothing before records are given up: about half a minute.
const MOST_TRIES: u32 = 9;

/// The same, but what failed is sent again, with pauses, until it is taken or nothing more is for
/// half a minute. A fault that somebody must fix ends it at once. One verdict a record, the last.
pub async fn redrive_patiently(
    destination: &Destination,
    sink: &Sink,
    records: &[Arc<Record>],
) -> Vec<Ack> {
    let mut acks = redrive(destination, sink, records).await;
    let mut tries = 1;
    loop {
        let retry = acks.iter().zip(records).filter(|(ack, _)| matches!(ack, Ack::Retry(_)));
        let failed: Vec<Arc<Record>> = retry.map(|(_, record)| Arc::clone(record)).collect();
        let hopeless =
            |ack: &Ack| matches!(ack, Ack::Retry(fault) if fault.kind == FaultKind::Configuration);
        if failed.is_empty() || tries == MOST_TRIES || acks.iter().any(hopeless) {
            return acks;
        }
        tokio::time::sleep(TRANSIENT.wait(tries, rand::random())).await;
        let again = redrive(destination, sink, &failed).await;
        let any = again.iter().any(|ack| !matches!(ack, Ack::Retry(_)));
        tries = if any { 1 } else { tries + 1 };
        let places = acks.iter_mut().filter(|ack| matches!(ack, Ack::Retry(_)));
        for (ack, latest) in places.zip(again) {
            *ack = latest;
        }
    }
}
