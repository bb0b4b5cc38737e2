//! The promises of a journal in memory.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::Timestamp;
use crate::journal::account::all_matched;

fn id(name: &str) -> ResourceId {
    ResourceId::new(name).unwrap()
}

fn entry(size: usize, destinations: &[&str]) -> Entry {
    Entry {
        record: Arc::new(Record {
            event_id: "ev".into(),
            time: Timestamp::MIN,
            body: Bytes::from(vec![b'x'; size]),
            hops: 0,
        }),
        destinations: destinations.iter().map(|name| id(name)).collect(),
    }
}

fn dropping() -> Terms {
    Terms { overflow: Overflow::DropOldest, max_pending_bytes: None }
}

/// A memory with room for `records` records of 1,000 bytes.
fn memory(records: usize) -> Memory {
    Memory::new(records * cost(&entry(1_000, &[]).record))
}

fn append(memory: &Memory, entries: Vec<Entry>) -> Result<Settlement, AppendError> {
    let offers = all_matched(&entries);
    memory.append(Generation::default(), entries, &offers)
}

#[tokio::test]
async fn a_record_is_held_once_and_until_every_destination_has_settled_it() {
    let memory = memory(2);
    append(&memory, vec![entry(1_000, &["a", "b"])]).unwrap();
    let bytes = memory.bytes();
    let a = memory.read(&id("a"), 10, usize::MAX).await.unwrap();
    let b = memory.read(&id("b"), 10, usize::MAX).await.unwrap();
    memory.settle(&id("a"), &[(a[0].position, Outcome::Delivered)]);
    assert_eq!(memory.bytes(), bytes);
    memory.settle(&id("b"), &[(b[0].position, Outcome::DeadLettered)]);
    assert_eq!(memory.bytes(), 0);
    let account = memory.account(&id("b")).unwrap();
    assert_eq!((account.appended, account.dead_lettered, account.pending_records), (1, 1, 0));
}

#[tokio::test]
async fn a_full_journal_takes_nothing_of_a_body_and_all_of_it_once_there_is_room() {
    let memory = memory(3);
    append(&memory, vec![entry(1_000, &["a"]), entry(1_000, &["b"])]).unwrap();
    let two = || vec![entry(1_000, &["a"]), entry(1_000, &["a"])];
    assert!(append(&memory, two()).is_err());
    assert_eq!(memory.account(&id("a")).unwrap().appended, 1);
    let read = memory.read(&id("b"), 1, usize::MAX).await.unwrap();
    memory.settle(&id("b"), &[(read[0].position, Outcome::Delivered)]);
    append(&memory, two()).unwrap();
}

#[test]
fn a_body_larger_than_the_journal_is_taken_when_it_is_empty() {
    let memory = memory(1);
    append(&memory, vec![entry(5_000, &["a"])]).unwrap();
    assert!(append(&memory, vec![entry(1, &["a"])]).is_err());
}

#[test]
fn drop_oldest_gives_up_its_own_oldest_and_counts_them() {
    let memory = memory(3);
    memory.attach(&id("lossy"), dropping());
    append(&memory, (0..3).map(|_| entry(1_000, &["lossy"])).collect()).unwrap();
    append(&memory, vec![entry(1_000, &["lossy"]), entry(1_000, &["strict"])]).unwrap();
    let account = memory.account(&id("lossy")).unwrap();
    assert_eq!((account.appended, account.dropped, account.pending_records), (4, 2, 2));
}

#[test]
fn nothing_is_given_up_for_a_neighbour_that_blocks() {
    let memory = memory(3);
    memory.attach(&id("lossy"), dropping());
    append(&memory, (0..3).map(|_| entry(1_000, &["strict", "lossy"])).collect()).unwrap();
    assert!(append(&memory, vec![entry(1_000, &["lossy"])]).is_err());
    assert_eq!(memory.account(&id("lossy")).unwrap().dropped, 0);
}

#[tokio::test]
async fn what_was_read_and_not_settled_is_read_again_by_a_new_reader() {
    let memory = memory(9);
    append(&memory, (1..=3).map(|size| entry(size, &["a"])).collect()).unwrap();
    let first = memory.read(&id("a"), 2, usize::MAX).await.unwrap();
    memory.settle(&id("a"), &[(first[1].position, Outcome::Delivered)]);
    memory.attach(&id("a"), Terms::default());
    let again = memory.read(&id("a"), 9, usize::MAX).await.unwrap();
    let sizes: Vec<_> = again.iter().map(|pending| pending.record.body.len()).collect();
    assert_eq!(sizes, [1, 3]);
}

#[tokio::test]
async fn an_append_is_settled_when_the_last_of_its_records_is() {
    let memory = memory(9);
    assert!(append(&memory, Vec::new()).unwrap().is_done());
    let settlement = append(&memory, vec![entry(1, &["a", "b"]), entry(1, &["a"])]).unwrap();
    let a = memory.read(&id("a"), 9, usize::MAX).await.unwrap();
    memory.settle(&id("a"), &[(a[0].position, Outcome::Delivered)]);
    memory.settle(&id("a"), &[(a[1].position, Outcome::Delivered)]);
    memory.attach(&id("b"), dropping());
    assert!(!settlement.is_done());
    append(&memory, (0..9).map(|_| entry(1_000, &["a"])).collect()).unwrap();
    assert!(settlement.is_done(), "what was given up is settled too");
}

#[tokio::test]
async fn a_read_is_bounded_by_records_and_bytes_and_says_what_it_lacks() {
    let memory = memory(9);
    append(&memory, (0..4).map(|_| entry(1_000, &["a"])).collect()).unwrap();
    let bytes = cost(&entry(1_000, &[]).record);
    assert_eq!(memory.read(&id("a"), 9, 10).await.unwrap_err(), TooLarge(bytes));
    assert_eq!(memory.read(&id("a"), 9, bytes).await.unwrap().len(), 1);
    assert_eq!(memory.read(&id("a"), 9, 2_500).await.unwrap().len(), 2);
    assert_eq!(memory.read(&id("a"), 9, 2_500).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn drained_returns_when_the_last_record_is_settled() {
    let memory = Arc::new(memory(9));
    append(&memory, vec![entry(1, &["a"])]).unwrap();
    let waiting = tokio::spawn({
        let memory = Arc::clone(&memory);
        async move { memory.drained().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    let read = memory.read(&id("a"), 1, usize::MAX).await.unwrap();
    memory.settle(&id("a"), &[(read[0].position, Outcome::Delivered)]);
    waiting.await.unwrap();
}

#[derive(Clone, Debug)]
enum Action {
    Append { sizes: Vec<usize>, to: u8 },
    Take(u8),
    Settle(u8),
    Overflow(u8, bool),
    Attach(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (proptest::collection::vec(0..2_000usize, 1..4), 1..8u8)
            .prop_map(|(sizes, to)| Action::Append { sizes, to }),
        (0..3u8).prop_map(Action::Take),
        (0..3u8).prop_map(Action::Settle),
        (0..3u8, any::<bool>()).prop_map(|(at, drop)| Action::Overflow(at, drop)),
        (0..3u8).prop_map(Action::Attach),
    ]
}

proptest! {
    #[test]
    fn every_account_adds_up_whatever_happens(
        actions in proptest::collection::vec(action(), 1..60),
    ) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let memory = memory(8);
        for action in actions {
            match action {
                Action::Append { sizes, to } => {
                    let names: Vec<_> =
                        (0..3).filter(|bit| to & (1 << bit) != 0).map(|bit| NAMES[bit]).collect();
                    let _ = append(&memory, sizes.iter().map(|&size| entry(size, &names)).collect());
                }
                Action::Take(at) => {
                    let _too_large = memory.state().take(&id(NAMES[at as usize]), 2, 3_000);
                }
                Action::Settle(at) => {
                    let name = id(NAMES[at as usize]);
                    let position =
                        memory.state().queue(&name).unsettled.keys().next_back().copied();
                    if let Some(position) = position {
                        memory.settle(&name, &[(position, Outcome::Delivered)]);
                    }
                }
                Action::Overflow(at, drop) => {
                    let terms = if drop { dropping() } else { Terms::default() };
                    memory.set_terms(&id(NAMES[at as usize]), terms);
                }
                Action::Attach(at) => memory.attach(&id(NAMES[at as usize]), Terms::default()),
            }
            check_books(&memory)?;
        }
    }
}

/// Counts everything anew from what the queues hold and compares.
fn check_books(memory: &Memory) -> Result<(), TestCaseError> {
    let state = memory.state();
    let mut held = HashMap::new();
    for queue in state.queues.values() {
        let items = || queue.waiting.iter().chain(queue.unsettled.values());
        let account = queue.account;
        prop_assert_eq!(items().count() as u64, account.pending_records);
        prop_assert_eq!(
            account.appended,
            account.delivered + account.dropped + account.pending_records
        );
        prop_assert_eq!(account.imbalance(), 0);
        for item in items() {
            let keeps = held.entry(Arc::as_ptr(&item.held)).or_insert((item.held.bytes, false));
            keeps.1 |= item.keeps;
        }
    }
    prop_assert_eq!(state.bytes, held.values().map(|(bytes, _)| bytes).sum::<usize>());
    let kept = held.values().filter(|(_, keeps)| *keeps).map(|(bytes, _)| bytes).sum::<usize>();
    prop_assert_eq!(state.kept_bytes, kept);
    Ok(())
}
