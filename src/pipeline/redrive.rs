//! Sending given records straight to a destination, past the journal and its account: for dead
//! letters, and for what is replayed.

use std::sync::Arc;

use tokio::time::Instant;

use super::backoff::TRANSIENT;
use super::batcher::{Attempt, Batcher};
use crate::event::Record;
use crate::journal::Pending;
use crate::resources::{BatchSettings, Destination};
use crate::sinks::{Ack, Batch, FaultKind, Sink};

/// Sends records in batches inside the service's limits, one request at a time and each record once.
/// One verdict a record, in their order.
pub async fn redrive(destination: &Destination, sink: &Sink, records: &[Arc<Record>]) -> Vec<Ack> {
    send(
        destination,
        &destination.batch,
        records,
        &|batch| async move { sink.deliver(&batch).await },
    )
    .await
}

async fn send<D: Future<Output = Vec<Ack>>>(
    destination: &Destination,
    batch: &BatchSettings,
    records: &[Arc<Record>],
    deliver: &impl Fn(Batch) -> D,
) -> Vec<Ack> {
    let max_span = destination.target.limits().max_span;
    let mut batcher = Batcher::default();
    for (position, record) in (0..).zip(records) {
        let measured = destination.measured(record);
        let pending = Pending { position, record: Arc::clone(record) };
        let since = Instant::now();
        batcher.push(Attempt::fresh(pending, measured, since), max_span);
    }
    // Records whose times lie far apart do not go out in their order.
    let mut acks: Vec<(u64, Ack)> = Vec::with_capacity(records.len());
    while !batcher.is_empty() {
        let (positions, records): (Vec<_>, Vec<_>) = batcher
            .take(batch, max_span)
            .into_iter()
            .map(|attempt| (attempt.pending.position, attempt.pending.record))
            .unzip();
        acks.extend(positions.into_iter().zip(deliver(Batch { records }).await));
    }
    acks.sort_by_key(|(position, _)| *position);
    acks.into_iter().map(|(_, ack)| ack).collect()
}

/// Tries in a row that deliver nothing before records are given up: about half a minute.
const MOST_TRIES: u32 = 9;

/// The same, but what failed is sent again, with pauses, until it is taken or nothing more is for
/// half a minute. After a request without an answer the next are half as large. A fault that
/// somebody must fix ends it at once. One verdict a record, the last.
pub async fn redrive_patiently(
    destination: &Destination,
    sink: &Sink,
    records: &[Arc<Record>],
) -> Vec<Ack> {
    send_patiently(destination, records, &|batch| async move { sink.deliver(&batch).await }).await
}

async fn send_patiently<D: Future<Output = Vec<Ack>>>(
    destination: &Destination,
    records: &[Arc<Record>],
    deliver: &impl Fn(Batch) -> D,
) -> Vec<Ack> {
    let mut batch = destination.batch;
    let mut acks = send(destination, &batch, records, deliver).await;
    let mut tries = 1;
    loop {
        let retry = acks.iter().zip(records).filter(|(ack, _)| matches!(ack, Ack::Retry(_)));
        let failed: Vec<Arc<Record>> = retry.map(|(_, record)| Arc::clone(record)).collect();
        let hopeless =
            |ack: &Ack| matches!(ack, Ack::Retry(fault) if fault.kind == FaultKind::Configuration);
        if failed.is_empty() || tries == MOST_TRIES || acks.iter().any(hopeless) {
            return acks;
        }
        if acks.iter().any(|ack| matches!(ack, Ack::Retry(fault) if fault.unanswered)) {
            batch.max_records = (batch.max_records.min(failed.len()) / 2).max(1);
            batch.max_bytes = (batch.max_bytes / 2).max(1);
        }
        tokio::time::sleep(TRANSIENT.wait(tries, rand::random())).await;
        let again = send(destination, &batch, &failed, deliver).await;
        let any = again.iter().any(|ack| !matches!(ack, Ack::Retry(_)));
        tries = if any { 1 } else { tries + 1 };
        let places = acks.iter_mut().filter(|ack| matches!(ack, Ack::Retry(_)));
        for (ack, latest) in places.zip(again) {
            *ack = latest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;
    use crate::resources::{Overflow, ResourceId};
    use crate::sinks::{Auth, CloudwatchLogsTarget, DEFAULT_TIMEOUT, Fault, Target};

    fn destination() -> Destination {
        let group = "arn:aws:logs:us-east-1:123456789012:log-group:/app/events";
        let target = CloudwatchLogsTarget::new(group, None, Auth::DefaultChain, None).unwrap();
        let target = Target::CloudwatchLogs(target);
        Destination {
            id: ResourceId::new("d").unwrap(),
            description: String::new(),
            batch: BatchSettings::new(&target, None, None, None).unwrap(),
            target,
            timeout: DEFAULT_TIMEOUT,
            overflow: Overflow::Block,
            max_pending_bytes: None,
            enabled: true,
            format: crate::sinks::Format::Json,
            bounds: None,
        }
    }

    /// Records whose times alternate by two days.
    fn records(count: usize) -> Vec<Arc<Record>> {
        let record = |at: usize| {
            let seconds = i64::try_from(at % 2).unwrap() * 172_800;
            let time = Timestamp { seconds, nanos: 0 };
            Arc::new(Record {
                event_id: at.to_string().into(),
                time,
                body: Bytes::from("{}"),
                hops: 0,
            })
        };
        (0..count).map(record).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn verdicts_stand_in_the_records_order_though_their_times_alternate() {
        let says_which = |batch: Batch| async move {
            let ids = batch.records.iter().map(|it| it.event_id.to_string());
            ids.map(Ack::Rejected).collect()
        };
        let destination = destination();
        let acks = send(&destination, &destination.batch, &records(9), &says_which).await;
        let expected: Vec<Ack> = (0..9).map(|at| Ack::Rejected(at.to_string())).collect();
        assert_eq!(acks, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_too_slow_for_large_requests_gets_smaller_ones() {
        let slow = |batch: Batch| async move {
            let lost = Fault { unanswered: true, ..Fault::new(FaultKind::Transient, "no answer") };
            let ack = if batch.records.len() > 40 { Ack::Retry(lost) } else { Ack::Delivered };
            tokio::time::sleep(Duration::from_secs(1)).await;
            vec![ack; batch.records.len()]
        };
        let acks = send_patiently(&destination(), &records(1_000), &slow).await;
        assert_eq!(acks, vec![Ack::Delivered; 1_000]);
    }
}
