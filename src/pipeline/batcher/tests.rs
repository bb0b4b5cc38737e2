//! Batches of records with any sizes and times: inside all limits, nothing lost, order kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{Record, Timestamp};

fn attempt(position: u64, bytes: usize, seconds: i64, since: Instant) -> Attempt {
    let record = Record {
        event_id: "e".into(),
        time: Timestamp { seconds, nanos: 0 },
        body: Bytes::new(),
        hops: 0,
    };
    let pending = Pending { position, record: Arc::new(record) };
    Attempt::fresh(pending, Measured { bytes, ..Measured::default() }, since)
}

const SETTINGS: BatchSettings =
    BatchSettings { max_records: 3, max_bytes: 100, linger: Duration::from_secs(1) };

const SPAN: Option<Duration> = Some(Duration::from_secs(10));

fn positions(batch: &[Attempt]) -> Vec<u64> {
    batch.iter().map(|it| it.pending.position).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_due_when_full_or_when_its_first_record_has_lingered() {
    let now = Instant::now();
    let mut batcher = Batcher::default();
    assert_eq!(batcher.due(&SETTINGS), None);
    batcher.push(attempt(0, 10, 0, now), None);
    assert_eq!(batcher.due(&SETTINGS), Some(now + SETTINGS.linger));
    batcher.push(attempt(1, 90, 0, now), None);
    assert_eq!(batcher.due(&SETTINGS), Some(now));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_goes_first_and_at_once() {
    let now = Instant::now();
    let mut batcher = Batcher::default();
    batcher.push(attempt(5, 10, 0, now), None);
    batcher.push_front(vec![Attempt { tries: 1, ..attempt(2, 10, 0, now) }], None);
    assert_eq!(batcher.due(&SETTINGS), Some(now));
    assert_eq!(positions(&batcher.take(&SETTINGS, None)), [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_shares_its_request_with_none() {
    let now = Instant::now();
    let mut batcher = Batcher::default();
    batcher.push(attempt(3, 10, 0, now), None);
    batcher.push_front(vec![Attempt { tries: 1, lone: true, ..attempt(1, 10, 0, now) }], None);
    batcher.push_front(vec![Attempt { tries: 1, ..attempt(2, 10, 0, now) }], None);
    batcher.push(attempt(4, 10, 0, now), None);
    let mut batches = Vec::new();
    while !batcher.is_empty() {
        batches.push(positions(&batcher.take(&SETTINGS, None)));
    }
    assert_eq!(batches, [vec![1], vec![2, 3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn times_that_alternate_by_more_than_the_span_cost_few_requests() {
    const DAY: i64 = 86_400;
    let now = Instant::now();
    let settings = BatchSettings { max_records: 10_000, max_bytes: 1_048_576, ..SETTINGS };
    let span = Some(Duration::from_secs(24 * 60 * 60));
    for days in 2..=MAX_OPEN as i64 {
        let mut batcher = Batcher::default();
        let mut requests = 0;
        for position in 0..3_000u64 {
            let day = i64::try_from(position).unwrap() % days;
            batcher.push(attempt(position, 1_200, 2 * DAY * day, now), span);
            while batcher.due(&settings).is_some_and(|due| due <= now) {
                batcher.take(&settings, span);
                requests += 1;
            }
        }
        while !batcher.take(&settings, span).is_empty() {
            requests += 1;
        }
        assert!(requests <= 40, "{days} spans: {requests} requests for 3,000 records");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_time_has_come_goes_before_one_that_only_fills_fast() {
    let now = Instant::now();
    let later = now + 2 * SETTINGS.linger;
    let settings = BatchSettings { max_records: 4, ..SETTINGS };
    let mut batcher = Batcher::default();
    batcher.push(attempt(0, 10, 0, now), SPAN);
    for position in 1..4 {
        batcher.push(attempt(position, 10, 100, later), SPAN);
    }
    assert_eq!(positions(&batcher.take(&settings, SPAN)), [0]);
}

#[tokio::test(start_paused = true)]
async fn all_that_waits_comes_out_in_the_journal_s_order() {
    let now = Instant::now();
    let mut batcher = Batcher::default();
    for (position, seconds) in [(1, 0), (2, 50), (3, 0), (4, 50)] {
        batcher.push(attempt(position, 10, seconds, now), SPAN);
    }
    assert_eq!(positions(&batcher.take_all()), [1, 2, 3, 4]);
    assert_eq!((batcher.len(), batcher.bytes(), batcher.due(&SETTINGS)), (0, 0, None));
}

/// Takes everything in batches, each checked against all limits.
fn take_checked(
    batcher: &mut Batcher,
    span: Option<Duration>,
) -> Result<Vec<Vec<Attempt>>, TestCaseError> {
    let mut batches = Vec::new();
    loop {
        let batch = batcher.take(&SETTINGS, span);
        if batch.is_empty() {
            prop_assert_eq!((batcher.len(), batcher.bytes()), (0, 0));
            return Ok(batches);
        }
        prop_assert!(batch.len() <= SETTINGS.max_records);
        prop_assert!(batch.iter().map(|it| it.bytes).sum::<usize>() <= SETTINGS.max_bytes);
        if let Some(span) = span {
            let times = || batch.iter().map(|it| it.pending.record.time.seconds);
            let apart = times().max().unwrap() - times().min().unwrap();
            prop_assert!(apart < i64::try_from(span.as_secs()).unwrap());
        }
        prop_assert!(batch.len() == 1 || !batch.iter().any(|it| it.lone));
        batches.push(batch);
    }
}

proptest! {
    #[test]
    fn without_a_span_every_batch_is_inside_all_limits_and_nothing_is_lost_or_reordered(
        records in proptest::collection::vec((1..=100usize, 0..20i64), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = runtime.block_on(async { Instant::now() });
        let mut batcher = Batcher::default();
        for (position, &(bytes, seconds)) in records.iter().enumerate() {
            batcher.push(attempt(position as u64, bytes, seconds, now), None);
        }
        let batches = take_checked(&mut batcher, None)?;
        let order: Vec<u64> = batches.iter().flat_map(|batch| positions(batch)).collect();
        prop_assert_eq!(order, (0..records.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn with_a_span_nothing_is_lost_and_each_batch_and_each_time_keep_their_order(
        records in proptest::collection::vec((1..=100usize, 0..200i64), 0..60),
        taken_between in 0..4usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = runtime.block_on(async { Instant::now() });
        let mut batcher = Batcher::default();
        let mut batches = Vec::new();
        for (position, &(bytes, seconds)) in records.iter().enumerate() {
            batcher.push(attempt(position as u64, bytes, seconds, now), SPAN);
            if taken_between > 0 && position % (taken_between + 2) == 0 {
                batches.push(batcher.take(&SETTINGS, SPAN));
            }
        }
        batches.extend(take_checked(&mut batcher, SPAN)?);
        let mut all: Vec<u64> = batches.iter().flat_map(|batch| positions(batch)).collect();
        let mut last_of_time = BTreeMap::new();
        for batch in &batches {
            let order = positions(batch);
            prop_assert!(order.is_sorted(), "{:?}", order);
            for it in batch {
                let before = last_of_time.insert(it.pending.record.time, it.pending.position);
                prop_assert!(before.is_none_or(|before| before < it.pending.position));
            }
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..records.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_put_back_in_any_way_is_taken_again_once_and_inside_all_limits(
        records in proptest::collection::vec((1..=100usize, 0..60i64), 1..40),
        lone in proptest::collection::vec(any::<bool>(), 40),
        requests in 1..6usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = runtime.block_on(async { Instant::now() });
        let mut batcher = Batcher::default();
        for (position, &(bytes, seconds)) in records.iter().enumerate() {
            batcher.push(attempt(position as u64, bytes, seconds, now), SPAN);
        }
        let sent: Vec<_> = (0..requests).map(|_| batcher.take(&SETTINGS, SPAN)).collect();
        for mut batch in sent {
            for it in &mut batch {
                it.tries += 1;
                it.lone = lone[usize::try_from(it.pending.position).unwrap()];
            }
            batcher.push_front(batch, SPAN);
        }
        let batches = take_checked(&mut batcher, SPAN)?;
        let mut all: Vec<u64> = batches.iter().flat_map(|batch| positions(batch)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..records.len() as u64).collect::<Vec<_>>());
    }
}
