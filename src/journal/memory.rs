//! Records held in memory, one queue a destination, one count of bytes for all.
//!
//! A record that several destinations wait for is held and counted once. Nothing here survives the
//! process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::settlement::Hold;
use super::{
    Account, AppendError, Entry, Full, Generation, Offer, Outcome, Pending, RECORD_OVERHEAD,
    Refusal, Settlement,
};
use crate::event::Record;
use crate::lock::lock;
use crate::resources::{Overflow, ResourceId};

pub(super) struct Memory {
    max_bytes: usize,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Default)]
struct State {
    /// The earliest that is still taken.
    generation: Generation,
    /// Bytes of all records that some queue holds.
    bytes: usize,
    /// Bytes of those that some queue may not give up.
    kept_bytes: usize,
    queues: HashMap<ResourceId, Queue>,
}

#[derive(Default)]
struct Queue {
    overflow: Overflow,
    account: Account,
    next_position: u64,
    waiting: VecDeque<Item>,
    /// Read and not settled, by position. What is on its way is never given up.
    unsettled: BTreeMap<u64, Item>,
    arrived: Arc<Notify>,
}

struct Item {
    position: u64,
    held: Arc<Held>,
    since: Instant,
    /// Whether this place counts among the record's keepers.
    keeps: bool,
}

/// One record, shared by the queues that hold it; every clone of the `Arc` belongs to an [`Item`].
struct Held {
    record: Arc<Record>,
    bytes: usize,
    /// How many items may not be given up to make room. Changed under the lock only.
    keepers: AtomicU32,
    _hold: Hold,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

fn cost(record: &Record) -> usize {
    record.body.len() + record.event_id.len() + RECORD_OVERHEAD
}

impl Memory {
    pub(super) fn new(max_bytes: usize) -> Memory {
        Memory { max_bytes, state: Mutex::default(), settled: Notify::new() }
    }

    /// The state stays consistent even if a holder of the lock panicked: each change to it is made
    /// whole before anything that can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn begin(&self, generation: Generation) {
        self.state().generation = generation;
    }

    pub(super) fn append(
        &self,
        generation: Generation,
        entries: Vec<Entry>,
        offers: &[Offer],
    ) -> Result<Settlement, AppendError> {
        let needed: usize = entries.iter().map(|entry| cost(&entry.record)).sum();
        let since = Instant::now();
        let mut state = self.state();
        if generation < state.generation {
            return Err(AppendError::Outdated);
        }
        if !state.make_room(needed, self.max_bytes) {
            return Err(Full::new(Refusal::NoRoom).into());
        }
        for offer in offers {
            state.queue(&offer.destination).account.offer(offer);
        }
        state.bytes += needed;
        let hold = Hold::default();
        for entry in entries {
            let bytes = cost(&entry.record);
            let (record, keepers) = (entry.record, AtomicU32::new(0));
            let held = Arc::new(Held { record, bytes, keepers, _hold: hold.clone() });
            for destination in entry.destinations.iter() {
                state.push(destination, Arc::clone(&held), since);
            }
        }
        Ok(hold.settlement())
    }

    /// Makes a destination's queue ready for a new reader.
    pub(super) fn attach(&self, destination: &ResourceId, overflow: Overflow) {
        let mut state = self.state();
        let queue = state.queue(destination);
        for (_, item) in std::mem::take(&mut queue.unsettled).into_iter().rev() {
            queue.waiting.push_front(item);
        }
        state.set_overflow(destination, overflow);
    }

    pub(super) fn set_overflow(&self, destination: &ResourceId, overflow: Overflow) {
        self.state().set_overflow(destination, overflow);
    }

    pub(super) async fn read(
        &self,
        destination: &ResourceId,
        max_records: usize,
        max_bytes: usize,
    ) -> Vec<Pending> {
        loop {
            let arrived = {
                let mut state = self.state();
                let taken = state.take(destination, max_records, max_bytes);
                if !taken.is_empty() {
                    return taken;
                }
                Arc::clone(&state.queue(destination).arrived)
            };
            arrived.notified().await;
        }
    }

    pub(super) fn settle(&self, destination: &ResourceId, settled: &[(u64, Outcome)]) {
        let mut state = self.state();
        for &(position, outcome) in settled {
            let queue = state.queue(destination);
            let Some(item) = queue.unsettled.remove(&position) else { continue };
            match outcome {
                Outcome::Delivered => queue.account.delivered += 1,
                Outcome::DeadLettered => queue.account.dead_lettered += 1,
            }
            queue.account.pending_records -= 1;
            queue.account.pending_bytes -= item.held.bytes as u64;
            state.release(item);
        }
        drop(state);
        self.settled.notify_waiters();
    }

    pub(super) fn account(&self, destination: &ResourceId) -> Option<Account> {
        let state = self.state();
        let queue = state.queues.get(destination)?;
        let oldest = queue.unsettled.values().next().or(queue.waiting.front());
        let oldest_pending = oldest.map_or(Duration::ZERO, |item| item.since.elapsed());
        Some(Account { oldest_pending, ..queue.account })
    }

    pub(super) fn accounts(&self) -> Vec<(ResourceId, Account)> {
        let state = self.state();
        let mut accounts: Vec<_> =
            state.queues.iter().map(|(id, queue)| (id.clone(), queue.account)).collect();
        accounts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        accounts
    }

    pub(super) async fn drained(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Enabled before the count is read, so that no settling in between goes unnoticed.
            settled.as_mut().enable();
            if self.pending_records() == 0 {
                return;
            }
            settled.await;
        }
    }

    pub(super) fn pending_records(&self) -> u64 {
        self.state().queues.values().map(|queue| queue.account.pending_records).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes as u64
    }
}

impl State {
    fn queue(&mut self, destination: &ResourceId) -> &mut Queue {
        self.queues.entry(destination.clone()).or_default()
    }

    fn push(&mut self, destination: &ResourceId, held: Arc<Held>, since: Instant) {
        let queue = self.queues.entry(destination.clone()).or_default();
        queue.account.appended += 1;
        queue.account.pending_records += 1;
        queue.account.pending_bytes += held.bytes as u64;
        let mut item = Item { position: queue.next_position, held, since, keeps: false };
        queue.next_position += 1;
        item.keep(queue.overflow == Overflow::Block, &mut self.kept_bytes);
        queue.waiting.push_back(item);
        queue.arrived.notify_one();
    }

    fn take(
        &mut self,
        destination: &ResourceId,
        max_records: usize,
        max_bytes: usize,
    ) -> Vec<Pending> {
        let Some(queue) = self.queues.get_mut(destination) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(item) = queue.waiting.front() {
            bytes += item.held.record.body.len();
            if taken.len() == max_records || (bytes > max_bytes && !taken.is_empty()) {
                break;
            }
            let Some(mut item) = queue.waiting.pop_front() else { break };
            item.keep(true, &mut self.kept_bytes);
            let record = Arc::clone(&item.held.record);
            taken.push(Pending { position: item.position, record });
            queue.unsettled.insert(item.position, item);
        }
        taken
    }

    fn set_overflow(&mut self, destination: &ResourceId, overflow: Overflow) {
        let queue = self.queues.entry(destination.clone()).or_default();
        queue.overflow = overflow;
        for item in &mut queue.waiting {
            item.keep(overflow == Overflow::Block, &mut self.kept_bytes);
        }
    }

    /// Gives an item's bytes back if it was the last to hold the record.
    fn release(&mut self, mut item: Item) {
        item.keep(false, &mut self.kept_bytes);
        if let Some(held) = Arc::into_inner(item.held) {
            self.bytes -= held.bytes;
        }
    }

    /// Whether `needed` more bytes fit, after giving up records of destinations that allow it.
    ///
    /// Nothing is given up if that could not make enough room: a destination's records are not lost
    /// for the sake of a neighbour that holds too much itself.
    fn make_room(&mut self, needed: usize, max_bytes: usize) -> bool {
        let fits = |bytes: usize| bytes == 0 || bytes.saturating_add(needed) <= max_bytes;
        if !fits(self.kept_bytes) {
            return false;
        }
        while !fits(self.bytes) {
            let longest = self
                .queues
                .values_mut()
                .filter(|queue| queue.overflow == Overflow::DropOldest)
                .max_by_key(|queue| queue.waiting.len());
            let Some(item) = longest.and_then(Queue::drop_oldest) else { return false };
            self.release(item);
        }
        true
    }
}

impl Queue {
    fn drop_oldest(&mut self) -> Option<Item> {
        let item = self.waiting.pop_front()?;
        self.account.dropped += 1;
        self.account.pending_records -= 1;
        self.account.pending_bytes -= item.held.bytes as u64;
        Some(item)
    }
}

impl Item {
    /// Makes this place one of the record's keepers, or no longer one.
    fn keep(&mut self, keeps: bool, kept_bytes: &mut usize) {
        if keeps == self.keeps {
            return;
        }
        self.keeps = keeps;
        let keepers = &self.held.keepers;
        if keeps && keepers.fetch_add(1, Ordering::Relaxed) == 0 {
            *kept_bytes += self.held.bytes;
        }
        if !keeps && keepers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *kept_bytes -= self.held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
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
            }),
            destinations: destinations.iter().map(|name| id(name)).collect(),
        }
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
        let a = memory.read(&id("a"), 10, usize::MAX).await;
        let b = memory.read(&id("b"), 10, usize::MAX).await;
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
        let read = memory.read(&id("b"), 1, usize::MAX).await;
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
        memory.attach(&id("lossy"), Overflow::DropOldest);
        append(&memory, (0..3).map(|_| entry(1_000, &["lossy"])).collect()).unwrap();
        append(&memory, vec![entry(1_000, &["lossy"]), entry(1_000, &["strict"])]).unwrap();
        let account = memory.account(&id("lossy")).unwrap();
        assert_eq!((account.appended, account.dropped, account.pending_records), (4, 2, 2));
    }

    #[test]
    fn nothing_is_given_up_for_a_neighbour_that_blocks() {
        let memory = memory(3);
        memory.attach(&id("lossy"), Overflow::DropOldest);
        append(&memory, (0..3).map(|_| entry(1_000, &["strict", "lossy"])).collect()).unwrap();
        assert!(append(&memory, vec![entry(1_000, &["lossy"])]).is_err());
        assert_eq!(memory.account(&id("lossy")).unwrap().dropped, 0);
    }

    #[tokio::test]
    async fn what_was_read_and_not_settled_is_read_again_by_a_new_reader() {
        let memory = memory(9);
        append(&memory, (1..=3).map(|size| entry(size, &["a"])).collect()).unwrap();
        let first = memory.read(&id("a"), 2, usize::MAX).await;
        memory.settle(&id("a"), &[(first[1].position, Outcome::Delivered)]);
        memory.attach(&id("a"), Overflow::Block);
        let again = memory.read(&id("a"), 9, usize::MAX).await;
        let sizes: Vec<_> = again.iter().map(|pending| pending.record.body.len()).collect();
        assert_eq!(sizes, [1, 3]);
    }

    #[tokio::test]
    async fn an_append_is_settled_when_the_last_of_its_records_is() {
        let memory = memory(9);
        assert!(append(&memory, Vec::new()).unwrap().is_done());
        let settlement = append(&memory, vec![entry(1, &["a", "b"]), entry(1, &["a"])]).unwrap();
        let a = memory.read(&id("a"), 9, usize::MAX).await;
        memory.settle(&id("a"), &[(a[0].position, Outcome::Delivered)]);
        memory.settle(&id("a"), &[(a[1].position, Outcome::Delivered)]);
        memory.attach(&id("b"), Overflow::DropOldest);
        assert!(!settlement.is_done());
        append(&memory, (0..9).map(|_| entry(1_000, &["a"])).collect()).unwrap();
        assert!(settlement.is_done(), "what was given up is settled too");
    }

    #[tokio::test]
    async fn a_read_is_bounded_by_records_and_bytes_but_never_empty() {
        let memory = memory(9);
        append(&memory, (0..4).map(|_| entry(1_000, &["a"])).collect()).unwrap();
        assert_eq!(memory.read(&id("a"), 9, 10).await.len(), 1);
        assert_eq!(memory.read(&id("a"), 9, 2_500).await.len(), 2);
        assert_eq!(memory.read(&id("a"), 9, 2_500).await.len(), 1);
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
        let read = memory.read(&id("a"), 1, usize::MAX).await;
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
                        memory.state().take(&id(NAMES[at as usize]), 2, 3_000);
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
                        let rule = if drop { Overflow::DropOldest } else { Overflow::Block };
                        memory.set_overflow(&id(NAMES[at as usize]), rule);
                    }
                    Action::Attach(at) => memory.attach(&id(NAMES[at as usize]), Overflow::Block),
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
}
