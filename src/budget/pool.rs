//! One strict pool of bytes for what is taken out of the journal to be delivered, for all destinations
//! together. Nobody holds what was not granted before; whoever finds nothing waits in one queue.
//!
//! Each portion has some bytes of its own, so that small records go on whatever others hold. Of the rest
//! one may take three times what it leaves. The reserve is for those of the queue that hold nothing beyond
//! their own: so the largest record comes to its turn as soon as those who wait for their services have
//! let go, which they are asked for as long as anybody waits ([`Pool::pressed`]).
//!
//! It counts what it is told of; what is let go is the delivery tasks' matter.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use crate::lock::lock;

/// Most bytes of all portions together: several full requests of the largest kind.
pub const POOL_BYTES: usize = 16 << 20;

/// What only those may take who wait and hold nothing beyond their own: twice the largest event of the
/// defaults. A record that is larger is granted once so much is free, one at a time.
pub const RESERVE: usize = 2 << 20;

/// What a portion has of its own: a dozen records of the usual size. All own parts together take at most
/// half of the pool, so the five hundred and thirteenth has none, and waits in the queue.
const OWN: usize = 16 << 10;

/// Bytes that may be held.
#[derive(Debug)]
pub struct Pool {
    books: Mutex<Books>,
    /// Whether anybody waits.
    pressed: watch::Sender<bool>,
    /// See [`Pool::beyond`].
    beyond: Semaphore,
}

#[derive(Debug)]
struct Books {
    /// Bytes that are nobody's; less than none while a record larger than the reserve is out.
    free: i64,
    /// What only those may take who wait and hold nothing beyond their own.
    reserve: usize,
    /// Most of one portion's own part.
    own: usize,
    /// Bytes that may still become own parts.
    own_left: usize,
    queue: VecDeque<Arc<Ticket>>,
}

/// The place of a portion in the queue.
#[derive(Debug)]
struct Ticket {
    holder: Arc<Holder>,
    needs: usize,
    granted: AtomicBool,
    told: Notify,
}

/// Who holds bytes. Its count changes only under the lock of the books.
#[derive(Debug)]
struct Holder {
    pool: Arc<Pool>,
    own: usize,
    held: AtomicUsize,
}

/// What one destination may hold.
#[derive(Debug)]
pub struct Portion {
    holder: Arc<Holder>,
    /// Granted and not charged to anything yet.
    granted: usize,
    ticket: Option<Arc<Ticket>>,
}

/// Bytes that one record holds; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    holder: Arc<Holder>,
    bytes: AtomicUsize,
}

impl Pool {
    /// A pool of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Pool> {
        let free = i64::try_from(bytes).unwrap_or(i64::MAX);
        let books = Mutex::new(Books {
            free,
            reserve: RESERVE.min(bytes / 4),
            own: OWN.min(bytes / 64),
            own_left: bytes / 2,
            queue: VecDeque::new(),
        });
        let beyond = Semaphore::new(1);
        Arc::new(Pool { books, pressed: watch::Sender::new(false), beyond })
    }

    /// A portion that holds nothing yet.
    #[must_use]
    pub fn portion(self: &Arc<Pool>) -> Portion {
        let mut books = self.books();
        let left = usize::try_from(books.free).unwrap_or(0).min(books.own_left);
        let own = books.own.min(left);
        books.own_left -= own;
        books.free -= signed(own);
        let holder = Arc::new(Holder { pool: Arc::clone(self), own, held: AtomicUsize::new(0) });
        Portion { holder, granted: 0, ticket: None }
    }

    /// Leave to hold one record beside the pool, for what must not wait in its queue. One has it at a time.
    pub async fn beyond(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.beyond.acquire().await.ok()
    }

    /// Tells whether anybody waits for bytes.
    #[must_use]
    pub fn pressed(&self) -> watch::Receiver<bool> {
        self.pressed.subscribe()
    }

    /// Bytes that are nobody's.
    #[cfg(test)]
    pub fn free(&self) -> i64 {
        self.books().free
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Serves those of the queue for whom there is room, in its order.
    fn serve(&self, books: &mut Books) {
        while let Some(at) = books.next() {
            let Some(first) = books.queue.remove(at) else { break };
            first.holder.take(books, first.needs);
            first.granted.store(true, Ordering::Relaxed);
            first.told.notify_one();
        }
        let waits = !books.queue.is_empty();
        self.pressed.send_if_modified(|before| std::mem::replace(before, waits) != waits);
    }
}

impl Books {
    /// The first of the queue for whom there is room. One that holds nothing beyond its own is passed over by
    /// nobody, or the largest would never come to its turn.
    fn next(&self) -> Option<usize> {
        let first = self.queue.iter().position(|it| it.fits(self) || it.holder.shared() == 0)?;
        self.queue.get(first).filter(|it| it.fits(self)).map(|_| first)
    }
}

impl Ticket {
    fn fits(&self, books: &Books) -> bool {
        let (free, reserve) = (books.free, books.reserve);
        let beyond = self.holder.beyond_own(self.needs);
        let kept = if self.holder.shared() == 0 { 0 } else { reserve };
        beyond == 0 || free - signed(kept) >= signed(beyond.min(reserve))
    }
}

impl Holder {
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What so many more bytes take beyond the own part.
    fn beyond_own(&self, more: usize) -> usize {
        more.saturating_sub(self.own.saturating_sub(self.held()))
    }

    /// What it holds beyond the own part.
    fn shared(&self) -> usize {
        self.held().saturating_sub(self.own)
    }

    fn take(&self, books: &mut Books, bytes: usize) {
        books.free -= signed(self.beyond_own(bytes));
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        let mut books = self.pool.books();
        let before = self.shared();
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        books.free += signed(before - self.shared());
        self.pool.serve(&mut books);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut books = self.pool.books();
        books.free += signed(self.own);
        books.own_left += self.own;
        self.pool.serve(&mut books);
    }
}

impl Portion {
    /// Waits until at least so many bytes are granted, and at most `most` or what is fair. What was
    /// granted before and not charged counts. Safe to cancel: the place in the queue is kept for the
    /// next call.
    pub async fn take(&mut self, least: usize, most: usize) {
        if self.granted >= least {
            return;
        }
        let queued = self.ticket.as_ref().filter(|it| it.needs == least).map(Arc::clone);
        let ticket = match queued {
            Some(ticket) => ticket,
            None => {
                self.let_go();
                let Some(ticket) = self.take_or_queue(least, most) else { return };
                self.ticket = Some(Arc::clone(&ticket));
                ticket
            }
        };
        while !ticket.granted.load(Ordering::Relaxed) {
            ticket.told.notified().await;
        }
        self.ticket = None;
        self.granted = least;
    }

    /// The same at once or not at all.
    pub fn take_now(&mut self, bytes: usize) -> bool {
        if self.granted < bytes {
            self.let_go();
            let pool = Arc::clone(&self.holder.pool);
            return self.grant(&mut pool.books(), bytes, bytes);
        }
        true
    }

    /// Grants what there is, if it is no less than the least.
    fn grant(&mut self, books: &mut Books, least: usize, most: usize) -> bool {
        let holder = &self.holder;
        let own = holder.own.saturating_sub(holder.held());
        let fair = match books.queue.is_empty() {
            true => (3 * (books.free - signed(books.reserve)) - signed(holder.shared())) / 4,
            false => 0,
        };
        let bytes = most.min(own + usize::try_from(fair).unwrap_or(0));
        if bytes < least {
            return false;
        }
        holder.take(books, bytes);
        self.granted = bytes;
        true
    }

    /// Grants at once what there is, or queues for the least.
    fn take_or_queue(&mut self, least: usize, most: usize) -> Option<Arc<Ticket>> {
        let holder = Arc::clone(&self.holder);
        let mut books = holder.pool.books();
        if self.grant(&mut books, least, most) {
            return None;
        }
        let ticket = Arc::new(Ticket {
            holder: Arc::clone(&holder),
            needs: least,
            granted: AtomicBool::new(false),
            told: Notify::new(),
        });
        books.queue.push_back(Arc::clone(&ticket));
        holder.pool.serve(&mut books);
        Some(ticket)
    }

    /// What is granted and not charged yet.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// Charges so much of what is granted to one record.
    pub fn charge(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.granted);
        self.granted -= bytes;
        Charge { holder: Arc::clone(&self.holder), bytes: AtomicUsize::new(bytes) }
    }

    /// Gives back what was granted and not charged, and the place in the queue.
    pub fn let_go(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let pool = &self.holder.pool;
            let mut books = pool.books();
            books.queue.retain(|it| !Arc::ptr_eq(it, &ticket));
            pool.serve(&mut books);
            if ticket.granted.load(Ordering::Relaxed) {
                self.granted += ticket.needs;
            }
        }
        let granted = std::mem::take(&mut self.granted);
        if granted > 0 {
            self.holder.give_back(granted);
        }
    }

    /// Whether it waits for bytes.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ticket.as_ref().is_some_and(|it| !it.granted.load(Ordering::Relaxed))
    }

    /// Bytes of its own, held or not.
    #[must_use]
    pub fn own(&self) -> usize {
        self.holder.own
    }

    /// Whether it holds more than its own.
    #[must_use]
    pub fn is_beyond_own(&self) -> bool {
        self.holder.shared() > 0
    }

    /// Whether anybody waits for bytes.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        *self.holder.pool.pressed.borrow()
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Charge {
    /// Holds no more than so many bytes from now on.
    pub fn shrink_to(&self, bytes: usize) {
        let before = self.bytes.fetch_min(bytes, Ordering::Relaxed);
        if before > bytes {
            self.holder.give_back(before - bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    async fn waits(portion: &mut Portion, least: usize) -> bool {
        let taking = portion.take(least, least);
        tokio::time::timeout(Duration::from_millis(1), taking).await.is_err()
    }

    async fn charged(portion: &mut Portion, least: usize, most: usize) -> Charge {
        portion.take(least, most).await;
        portion.charge(portion.granted())
    }

    #[tokio::test(start_paused = true)]
    async fn one_leaves_room_for_others_and_small_takes_go_on_when_nothing_is_left() {
        let pool = Pool::new(20 * MIB);
        let mut portions: Vec<Portion> = (0..20).map(|_| pool.portion()).collect();
        let mut charges = Vec::new();
        for portion in &mut portions {
            charges.push(charged(portion, 1, 20 * MIB).await);
        }
        let bytes: Vec<usize> = charges.iter().map(|it| it.bytes.load(Ordering::Relaxed)).collect();
        assert!((12 * MIB..14 * MIB).contains(&bytes[0]), "{bytes:?}");
        assert!(bytes[1] > 2 * MIB && bytes[19] >= OWN, "{bytes:?}");
        let mut late = pool.portion();
        assert!(!waits(&mut late, OWN).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_nothing_gets_the_reserve_and_the_next_what_is_given_back() {
        let pool = Pool::new(8 * MIB);
        let (mut early, mut first, mut next) = (pool.portion(), pool.portion(), pool.portion());
        let mut other = pool.portion();
        let mut held = Vec::new();
        while !waits(&mut early, MIB / 4).await {
            held.push(early.charge(MIB / 4));
            assert!(held.len() < 8 * 4, "it leaves the reserve");
        }
        let large = charged(&mut first, MIB + MIB / 2, 8 * MIB).await;
        assert!(waits(&mut next, 2 * MIB).await);
        assert!(next.is_pressed());
        assert!(!waits(&mut other, OWN).await, "its own part is no part of the queue");
        drop(large);
        assert!(!waits(&mut next, 2 * MIB).await, "before the one that came first and holds much");
        drop(held);
        assert!(!waits(&mut early, MIB / 4).await);
        assert!(!next.is_pressed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_larger_than_the_whole_pool_is_granted_alone() {
        let pool = Pool::new(4 * MIB);
        let (mut one, mut other) = (pool.portion(), pool.portion());
        let huge = charged(&mut one, 64 * MIB, 64 * MIB).await;
        assert!(waits(&mut other, MIB).await);
        drop(huge);
        assert!(!waits(&mut other, MIB).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_while_it_waits_holds_nobody_up() {
        let pool = Pool::new(4 * MIB);
        let (mut one, mut other, mut third) = (pool.portion(), pool.portion(), pool.portion());
        let held = charged(&mut one, 3 * MIB, 3 * MIB).await;
        assert!(waits(&mut other, 3 * MIB / 2).await);
        assert!(waits(&mut third, MIB / 2).await);
        drop(other);
        assert!(!waits(&mut third, MIB / 2).await);
        drop((held, third, one));
        assert_eq!(pool.free(), 4 * signed(MIB));
        assert_eq!(pool.books().own_left, 2 * MIB);
    }

    proptest! {
        #[test]
        fn never_is_more_held_than_there_is(steps in proptest::collection::vec(
            (0..6usize, 1..400_000usize, any::<bool>()), 1..200,
        )) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let pool = Pool::new(3 * MIB);
                let mut portions: Vec<Portion> = (0..6).map(|_| pool.portion()).collect();
                let mut charges: Vec<Vec<Charge>> = (0..6).map(|_| Vec::new()).collect();
                for (at, bytes, gives_back) in steps {
                    if gives_back {
                        charges[at].pop();
                    } else if !waits(&mut portions[at], bytes).await {
                        charges[at].push(portions[at].charge(bytes));
                    }
                    let held: usize = portions.iter().map(|it| it.holder.held()).sum();
                    assert!(held <= 3 * MIB, "{held}");
                    assert!(pool.books().free >= 0);
                }
                drop((portions, charges));
                assert_eq!(pool.books().free, 3 * signed(MIB));
            });
        }
    }
}
