//! Records held in memory, one queue a destination, one count of bytes for all.
//!
//! A record that several destinations wait for is held and counted once, but counts in the share of
//! each. Nothing here survives the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::settlement::Hold;
use super::{
    Account, AppendError, Entry, Full, Generation, Offer, Outcome, Pending, Refusal, SMALL_APPEND,
    Settlement, Share, Terms, TooLarge, cost,
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
    /// How many destinations have a reader.
    in_force: usize,
}

#[derive(Default)]
struct Queue {
    terms: Terms,
    /// How many cursors it has: one, or two while one takes the other's place.
    readers: usize,
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
        state.find_room(&entries, needed, self.max_bytes)?;
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
    pub(super) fn attach(&self, destination: &ResourceId, terms: Terms) {
        let mut state = self.state();
        let queue = state.queue(destination);
        queue.readers += 1;
        let is_first = queue.readers == 1;
        for (_, item) in std::mem::take(&mut queue.unsettled).into_iter().rev() {
            queue.waiting.push_front(item);
        }
        state.in_force += usize::from(is_first);
        state.set_terms(destination, terms);
    }

    /// Ends a reader.
    pub(super) fn detach(&self, destination: &ResourceId) {
        let mut state = self.state();
        let queue = state.queue(destination);
        queue.readers = queue.readers.saturating_sub(1);
        let was_last = queue.readers == 0;
        state.in_force = state.in_force.saturating_sub(usize::from(was_last));
    }

    pub(super) fn set_terms(&self, destination: &ResourceId, terms: Terms) {
        self.state().set_terms(destination, terms);
    }

    /// What a destination takes and may take, if it is known.
    pub(super) fn share(&self, destination: &ResourceId) -> Option<Share> {
        let state = self.state();
        Some(state.share(state.queues.get(destination)?, self.max_bytes))
    }

    pub(super) async fn read(
        &self,
        destination: &ResourceId,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, TooLarge> {
        loop {
            self.ready(destination).await;
            let taken = self.state().take(destination, max_records, max_bytes)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    /// Waits until something waits for a destination.
    pub(super) async fn ready(&self, destination: &ResourceId) {
        loop {
            let arrived = {
                let mut state = self.state();
                let queue = state.queue(destination);
                if !queue.waiting.is_empty() {
                    return;
                }
                Arc::clone(&queue.arrived)
            };
            arrived.notified().await;
        }
    }

    /// A record that was read and is not settled.
    pub(super) fn again(&self, destination: &ResourceId, position: u64) -> Option<Arc<Record>> {
        let state = self.state();
        let item = state.queues.get(destination)?.unsettled.get(&position)?;
        Some(Arc::clone(&item.held.record))
    }

    pub(super) fn settle(&self, destination: &ResourceId, settled: &[(u64, Outcome)]) {
        let mut state = self.state();
        for &(position, outcome) in settled {
            let queue = state.queue(destination);
            let Some(item) = queue.unsettled.remove(&position) else { continue };
            queue.account.end(outcome);
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

    /// Why one small record would be refused now, even for a destination that holds nothing.
    pub(super) fn refusal(&self) -> Option<String> {
        let kept_bytes = self.state().kept_bytes;
        (!fits(kept_bytes, SMALL_APPEND, self.max_bytes)).then(|| Refusal::NoRoom.to_string())
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes as u64
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
        item.keep(queue.terms.overflow == Overflow::Block, &mut self.kept_bytes);
        queue.waiting.push_back(item);
        queue.arrived.notify_one();
    }

    fn take(
        &mut self,
        destination: &ResourceId,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, TooLarge> {
        let Some(queue) = self.queues.get_mut(destination) else { return Ok(Vec::new()) };
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(item) = queue.waiting.front() {
            bytes += item.held.bytes;
            if bytes > max_bytes && taken.is_empty() {
                return Err(TooLarge(bytes));
            }
            if taken.len() == max_records || bytes > max_bytes {
                break;
            }
            let Some(mut item) = queue.waiting.pop_front() else { break };
            item.keep(true, &mut self.kept_bytes);
            let record = Arc::clone(&item.held.record);
            taken.push(Pending { position: item.position, record });
            queue.unsettled.insert(item.position, item);
        }
        Ok(taken)
    }

    fn set_terms(&mut self, destination: &ResourceId, terms: Terms) {
        let queue = self.queues.entry(destination.clone()).or_default();
        queue.terms = terms;
        for item in &mut queue.waiting {
            item.keep(terms.overflow == Overflow::Block, &mut self.kept_bytes);
        }
    }

    /// Gives an item's bytes back if it was the last to hold the record.
    fn release(&mut self, mut item: Item) {
        item.keep(false, &mut self.kept_bytes);
        if let Some(held) = Arc::into_inner(item.held) {
            self.bytes -= held.bytes;
        }
    }

    /// What a destination takes and may take.
    fn share(&self, queue: &Queue, max_bytes: usize) -> Share {
        let max = queue.terms.share_of(max_bytes as u64, max_bytes as u64, self.in_force);
        Share { used: queue.account.pending_bytes, max }
    }

    /// Makes room for entries of so many bytes in all, or says why there is none; then nothing was
    /// given up.
    fn find_room(
        &mut self,
        entries: &[Entry],
        needed: usize,
        max_bytes: usize,
    ) -> Result<(), Full> {
        let mut by_destination: BTreeMap<&ResourceId, u64> = BTreeMap::new();
        for entry in entries {
            for id in entry.destinations.iter() {
                *by_destination.entry(id).or_default() += cost(&entry.record) as u64;
            }
        }
        let (mut full, mut giving_way) = (Vec::new(), Vec::new());
        for (id, bytes) in by_destination {
            let Some(queue) = self.queues.get(id) else { continue };
            let share = self.share(queue, max_bytes);
            if share.takes(bytes, max_bytes as u64) {
                continue;
            }
            let held: u64 = queue.unsettled.values().map(|item| item.held.bytes as u64).sum();
            let enough = Share { used: held, ..share }.takes(bytes, max_bytes as u64);
            if enough && queue.terms.overflow == Overflow::DropOldest {
                giving_way.push((id, share.max.saturating_sub(bytes)));
            } else {
                full.push(id.clone());
            }
        }
        if !full.is_empty() {
            return Err(Full::new(Refusal::NoRoomFor(full)));
        }
        // Nothing is given up if that could not make enough room: a destination's records are not lost
        // for the sake of a neighbour that holds too much itself.
        if !fits(self.kept_bytes, needed, max_bytes) {
            return Err(Full::new(Refusal::NoRoom));
        }
        for (id, most) in giving_way {
            while let Some(queue) = self.queues.get_mut(id) {
                let is_enough = queue.account.pending_bytes <= most;
                let Some(item) = (!is_enough).then(|| queue.drop_oldest()).flatten() else { break };
                self.release(item);
            }
        }
        if self.make_room(needed, max_bytes) { Ok(()) } else { Err(Full::new(Refusal::NoRoom)) }
    }

    /// Whether `needed` more bytes fit, after giving up records of destinations that allow it.
    fn make_room(&mut self, needed: usize, max_bytes: usize) -> bool {
        let fits = |bytes| fits(bytes, needed, max_bytes);
        while !fits(self.bytes) {
            let longest = self
                .queues
                .values_mut()
                .filter(|queue| queue.terms.overflow == Overflow::DropOldest)
                .max_by_key(|queue| queue.waiting.len());
            let Some(item) = longest.and_then(Queue::drop_oldest) else { return false };
            self.release(item);
        }
        true
    }
}

/// Whether so many more bytes fit beside others. An empty journal takes an append of any size.
fn fits(bytes: usize, needed: usize, max_bytes: usize) -> bool {
    bytes == 0 || bytes.saturating_add(needed) <= max_bytes
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
mod tests;
