//! The books of the log: which bytes are whose, what was read, what is settled. No files, no waiting.
//!
//! A position is the place of a byte in the whole log. Nothing is remembered of a record that waits;
//! each segment knows for each destination how many of its records are pending, and each destination
//! knows from where it has not read yet, and which records are on their way to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::queue::{Queue, Unsettled};
use super::recent::{Item, Recent};
use super::segment::HEADER;
use crate::journal::{Account, AppendError, Generation, Offer, Outcome, Pending};
use crate::resources::{Overflow, ResourceId};

#[derive(Debug)]
pub(super) struct State {
    pub queues: Vec<Queue>,
    ids: HashMap<ResourceId, usize>,
    /// In order of their bases.
    pub segments: VecDeque<Segment>,
    pub recent: Recent,
    /// The position after the last frame that is safely on disk.
    pub head: u64,
    /// Appends of earlier generations are refused.
    pub generation: Generation,
    /// Appends that were admitted and have not ended, by generation.
    under_way: BTreeMap<Generation, usize>,
    /// Bytes of these.
    reserved: u64,
    /// The next append is to begin a segment, so that the last one can be given up.
    pub seal: bool,
    /// What keeps the journal from working, if anything does.
    problems: BTreeMap<JournalProblem, String>,
    /// The last append found the disk full.
    pub disk_full: bool,
    /// Damaged places found since the process began.
    pub damaged: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub base: u64,
    /// Bytes on disk, the header included.
    pub len: u64,
    /// When something was appended last, in milliseconds since 1970.
    pub last_append: u64,
    /// By the destination's number; a missing one is empty.
    shares: Vec<Share>,
    /// Where damage was found, so that every place counts once.
    damage: BTreeSet<u64>,
}

/// What can be out of order, each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JournalProblem {
    /// Nothing can be appended.
    Appending,
    /// The cursors cannot be saved, or old segments not be deleted.
    Keeping,
    /// What is settled cannot be noted as it is.
    Noting,
    /// What waits on disk cannot be read.
    Reading,
}

/// A destination's pending records in one segment.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    waiting: u64,
    waiting_bytes: u64,
    /// When the first of those that ever waited here was appended.
    since: u64,
    /// Read and not settled.
    held: u64,
}

/// What a reader is to do.
#[derive(Debug)]
pub(super) enum Next {
    Records(Vec<Pending>),
    /// To read this part of a segment.
    OnDisk(Part),
    Nothing(Arc<Notify>),
}

/// A part of a segment that a reader is to look through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub base: u64,
    /// The position to begin at.
    pub start: u64,
    /// The position to end at.
    pub end: u64,
    epoch: u64,
}

/// What a reader found in a part.
#[derive(Debug)]
pub(super) struct Found {
    /// The records that name the destination, in order.
    pub items: Vec<Item>,
    /// The position up to which this is all.
    pub end: u64,
    /// Positions and lengths of damaged places.
    pub damage: Vec<(u64, u64)>,
}

/// How much one read may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
}

impl Limits {
    /// Whether one more record fits behind others.
    pub(super) fn allow(&self, records: usize, bytes: usize, body: usize) -> bool {
        records < self.records && (records == 0 || bytes + body <= self.bytes)
    }
}

impl Segment {
    pub(super) fn new(base: u64, len: u64, last_append: u64) -> Segment {
        Segment { base, len, last_append, shares: Vec::new(), damage: BTreeSet::new() }
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.len
    }

    pub(super) fn is_pending(&self) -> bool {
        self.shares.iter().any(|share| share.waiting + share.held > 0)
    }

    fn share(&mut self, queue: usize) -> &mut Share {
        if self.shares.len() <= queue {
            self.shares.resize(queue + 1, Share::default());
        }
        &mut self.shares[queue]
    }

    fn waiting(&self, queue: usize) -> u64 {
        self.shares.get(queue).map_or(0, |share| share.waiting)
    }

    /// Counts a record as waiting.
    pub(super) fn add(&mut self, queue: usize, bytes: u64, appended: u64) {
        let share = self.share(queue);
        if share.waiting == 0 && share.held == 0 {
            share.since = appended;
        }
        share.waiting += 1;
        share.waiting_bytes += bytes;
    }
}

impl State {
    pub(super) fn new(cache_bytes: usize, head: u64) -> State {
        State {
            queues: Vec::new(),
            ids: HashMap::new(),
            segments: VecDeque::new(),
            recent: Recent::new(cache_bytes, head),
            head,
            generation: Generation::default(),
            under_way: BTreeMap::new(),
            reserved: 0,
            seal: false,
            problems: BTreeMap::new(),
            disk_full: false,
            damaged: 0,
        }
    }

    /// The number of a destination's queue, made if there is none.
    pub(super) fn queue(&mut self, id: &ResourceId) -> usize {
        if let Some(number) = self.ids.get(id) {
            return *number;
        }
        let number = self.queues.len();
        self.queues.push(Queue::new(id.clone(), self.head));
        self.ids.insert(id.clone(), number);
        number
    }

    /// Says from where on the newest records will be kept in memory too.
    pub(super) fn start_cache(&mut self, head: u64) {
        self.recent.start(head);
    }

    pub(super) fn known(&self, id: &ResourceId) -> Option<usize> {
        self.ids.get(id).copied()
    }

    /// The first segment that ends after a position.
    fn segment_at(&self, position: u64) -> usize {
        self.segments.partition_point(|segment| segment.end() <= position)
    }

    /// Opens a new last segment.
    pub(super) fn begin(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    /// The segments but the last in which nothing is pending.
    pub(super) fn settled_segments(&self) -> Vec<u64> {
        self.settled().map(|segment| segment.base).collect()
    }

    /// Those of them that were kept for long enough. On a full disk new records come first.
    pub(super) fn obsolete(&self, now: u64, retention: Duration) -> Vec<u64> {
        let retention = if self.disk_full { Duration::ZERO } else { retention };
        let kept_from = now.saturating_sub(u64::try_from(retention.as_millis()).unwrap_or(now));
        self.settled().filter(|it| it.last_append <= kept_from).map(|it| it.base).collect()
    }

    fn settled(&self) -> impl Iterator<Item = &Segment> {
        let all_but_last = self.segments.len().saturating_sub(1);
        self.segments.range(..all_but_last).filter(|segment| !segment.is_pending())
    }

    /// Lets an append in unless its generation is over.
    pub(super) fn admit(&self, generation: Generation) -> Result<(), AppendError> {
        if generation < self.generation { Err(AppendError::Outdated) } else { Ok(()) }
    }

    /// Counts an append that was admitted, with room for its bytes.
    pub(super) fn reserve(&mut self, generation: Generation, bytes: u64) {
        self.reserved += bytes;
        *self.under_way.entry(generation).or_default() += 1;
    }

    /// Counts an append that has ended, however.
    pub(super) fn release(&mut self, generation: Generation, bytes: u64) {
        self.reserved -= bytes;
        if let Some(count) = self.under_way.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&generation);
            }
        }
    }

    /// Whether appends of generations before this one may still come.
    pub(super) fn is_under_way_before(&self, generation: Generation) -> bool {
        self.under_way.range(..generation).next().is_some()
    }

    /// Counts what was offered to destinations.
    pub(super) fn offer(&mut self, offers: &[Offer]) {
        for offer in offers {
            let number = self.queue(&offer.destination);
            self.queues[number].account.offer(offer);
        }
    }

    /// Counts an append that was written up to `end` and synced, for all its destinations.
    pub(super) fn push(&mut self, items: Vec<Item>, offers: &[Offer], end: u64) {
        self.offer(offers);
        let mut numbers: Vec<usize> = Vec::new();
        let mut list: Option<Arc<[ResourceId]>> = None;
        for item in items {
            // Records of one subscription share one list, so most need no look-up by name.
            if !list.as_ref().is_some_and(|it| Arc::ptr_eq(it, &item.destinations)) {
                numbers = item.destinations.iter().map(|id| self.queue(id)).collect();
                numbers.sort_unstable();
                numbers.dedup();
                list = Some(Arc::clone(&item.destinations));
            }
            let Some(segment) = self.segments.back_mut() else { continue };
            segment.last_append = item.appended;
            for &number in &numbers {
                segment.add(number, item.bytes, item.appended);
                let queue = &mut self.queues[number];
                queue.account.appended += 1;
                queue.add(item.position, item.bytes);
                queue.arrived.notify_one();
            }
            self.recent.push(item);
        }
        self.head = end;
        if let Some(segment) = self.segments.back_mut() {
            segment.len = end - segment.base;
        }
    }

    /// All accounts, by id.
    pub(super) fn accounts(&self) -> Vec<(ResourceId, Account)> {
        let mut accounts: Vec<_> =
            self.queues.iter().map(|queue| (queue.id.clone(), queue.account)).collect();
        accounts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        accounts
    }

    /// Whether `needed` more bytes fit, after giving up records of destinations that allow it.
    ///
    /// Room comes in whole segments: the oldest that nobody insists on. Nothing is given up if that
    /// could not make enough room.
    pub(super) fn make_room(&mut self, needed: u64, max_bytes: u64) -> bool {
        let reserved = self.reserved;
        // An empty journal takes an append of any size: one above `max_bytes` would else never come in.
        let fits = |bytes: u64| bytes + reserved == 0 || bytes + reserved + needed <= max_bytes;
        if fits(self.bytes_with_next_append()) {
            return true;
        }
        let insisting = |segment: &Segment| {
            segment.shares.iter().enumerate().any(|(number, share)| {
                let gives_way = self.queues[number].overflow == Overflow::DropOldest;
                share.held > 0 || (share.waiting > 0 && !gives_way)
            })
        };
        let kept: Vec<bool> = self.segments.iter().map(insisting).collect();
        let kept_bytes: u64 =
            self.segments.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(it, _)| it.len).sum();
        if !fits(kept_bytes) {
            return false;
        }
        let free = kept.iter().enumerate().filter(|(_, kept)| !**kept).map(|(at, _)| at);
        for at in free {
            if fits(self.bytes_with_next_append()) {
                break;
            }
            self.give_up(at);
            // Only a segment that grows no more can go.
            self.seal |= at + 1 == self.segments.len();
        }
        fits(self.bytes_with_next_append())
    }

    /// Bytes of segments that somebody waits for, counting the one that the next append goes to.
    fn bytes_with_next_append(&self) -> u64 {
        let last = self.segments.back().filter(|it| !self.seal && !it.is_pending());
        self.bytes() + last.map_or(0, |segment| segment.len)
    }

    /// Bytes of segments that hold pending records.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().filter(|it| it.is_pending()).map(|it| it.len).sum()
    }

    fn give_up(&mut self, at: usize) {
        for number in 0..self.queues.len() {
            let dropped = self.forget_waiting(at, number);
            if dropped > 0 {
                let destination = &self.queues[number].id;
                warn!(%destination, records = dropped, "the journal is full: gave up the oldest");
            }
        }
    }

    /// Counts a destination's waiting records in a segment as dropped, and tells how many.
    fn forget_waiting(&mut self, at: usize, number: usize) -> u64 {
        let segment = &mut self.segments[at];
        let (base, end) = (segment.base, segment.end());
        let share = segment.share(number);
        let (records, bytes) = (share.waiting, share.waiting_bytes);
        share.waiting = 0;
        share.waiting_bytes = 0;
        let queue = &mut self.queues[number];
        queue.redo.retain(|position| !(base..end).contains(position));
        // What is being read from disk now was chosen before: it is not to be handed out.
        queue.epoch += 1;
        queue.waiting -= records;
        queue.account.dropped += records;
        queue.account.pending_records -= records;
        queue.account.pending_bytes -= bytes;
        records
    }

    /// Counts all that waits for a destination as dropped, and tells how many.
    pub(super) fn forget(&mut self, number: usize) -> u64 {
        (0..self.segments.len()).map(|at| self.forget_waiting(at, number)).sum()
    }

    /// Makes a destination's queue ready for a new reader, and tells the reader's number.
    pub(super) fn attach(&mut self, id: &ResourceId, overflow: Overflow) -> u64 {
        let number = self.queue(id);
        let unsettled = std::mem::take(&mut self.queues[number].unsettled);
        let first = unsettled.keys().next().copied();
        for (position, item) in &unsettled {
            let at = self.segment_at(*position);
            let share = self.segments[at].share(number);
            share.held -= 1;
            share.waiting += 1;
            share.waiting_bytes += item.bytes;
        }
        let queue = &mut self.queues[number];
        queue.waiting += unsettled.len() as u64;
        // Before `redo_until` only what is in `redo` is still wanted; all else was read and settled.
        queue.redo_until = queue.redo_until.max(queue.next);
        queue.redo.extend(unsettled.keys());
        queue.next = first.map_or(queue.next, |first| first.min(queue.next));
        queue.overflow = overflow;
        queue.epoch += 1;
        queue.readers += 1;
        queue.reader = queue.readers;
        queue.reader
    }

    /// Ends a reader, unless another has taken its place.
    pub(super) fn detach(&mut self, id: &ResourceId, reader: u64) {
        let number = self.queue(id);
        let queue = &mut self.queues[number];
        if queue.reader == reader {
            queue.reader = 0;
        }
    }

    pub(super) fn set_overflow(&mut self, id: &ResourceId, overflow: Overflow) {
        let number = self.queue(id);
        self.queues[number].overflow = overflow;
    }

    /// What a destination's reader is to do next; records that it gets count as read.
    pub(super) fn next(&mut self, number: usize, limits: Limits) -> Next {
        self.pass_over(number);
        let queue = &self.queues[number];
        if queue.waiting == 0 {
            return Next::Nothing(Arc::clone(&queue.arrived));
        }
        let Some(items) = self.recent.after(queue.next) else {
            let segment = &self.segments[self.segment_at(queue.next)];
            let start = queue.next.max(segment.base + HEADER);
            let (base, end, epoch) = (segment.base, segment.end(), queue.epoch);
            return Next::OnDisk(Part { base, start, end, epoch });
        };
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut next = self.head;
        for item in items {
            if !item.destinations.contains(&queue.id) || !queue.wants(item.position) {
                continue;
            }
            if !limits.allow(taken.len(), bytes, item.record.body.len()) {
                next = item.position;
                break;
            }
            bytes += item.record.body.len();
            taken.push(item.clone());
        }
        let taken: Vec<Pending> = taken.iter().map(|item| self.take(number, item)).collect();
        self.queues[number].next = next;
        if taken.is_empty() { self.next(number, limits) } else { Next::Records(taken) }
    }

    /// Hands out what a reader found on disk, as far as it is still what waits and the limits allow.
    pub(super) fn accept(
        &mut self,
        number: usize,
        part: Part,
        found: Found,
        limits: Limits,
    ) -> Vec<Pending> {
        for (position, bytes) in found.damage {
            if self.note_damage(position) {
                error!(position, bytes, "the journal is damaged: skipped to the next whole record");
            }
        }
        if self.queues[number].epoch != part.epoch {
            return Vec::new();
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut next = found.end;
        for item in found.items {
            if !self.queues[number].wants(item.position) {
                continue;
            }
            if !limits.allow(taken.len(), bytes, item.record.body.len()) {
                next = item.position;
                break;
            }
            bytes += item.record.body.len();
            taken.push(self.take(number, &item));
        }
        self.queues[number].next = next;
        taken
    }

    /// Moves a reader to the next segment that has something for it. What the segments behind it
    /// still count as waiting was not found when they were read: it is lost.
    fn pass_over(&mut self, number: usize) {
        let next = self.queues[number].next;
        let read_all = next >= self.head;
        for at in 0..self.segments.len() {
            if !read_all && self.segments[at].end() > next {
                break;
            }
            // The last segment still grows; its end is known only when all of it was read.
            if self.segments[at].waiting(number) > 0 {
                let records = self.forget_waiting(at, number);
                let destination = &self.queues[number].id;
                let segment = self.segments[at].base;
                error!(%destination, segment, records, "the journal is damaged: records are lost");
            }
        }
        let from = self.segment_at(next);
        let rest = self.segments.range(from..);
        let found = rest.clone().find(|segment| segment.waiting(number) > 0);
        let next = found.map_or(self.head, |segment| segment.base.max(next));
        self.queues[number].next = next;
    }

    /// Counts a waiting record as read.
    pub(super) fn take(&mut self, number: usize, item: &Item) -> Pending {
        let at = self.segment_at(item.position);
        let share = self.segments[at].share(number);
        share.waiting -= 1;
        share.waiting_bytes -= item.bytes;
        share.held += 1;
        let queue = &mut self.queues[number];
        queue.waiting -= 1;
        queue.redo.remove(&item.position);
        let unsettled = Unsettled { bytes: item.bytes, appended: item.appended };
        queue.unsettled.insert(item.position, unsettled);
        Pending { position: item.position, record: Arc::clone(&item.record) }
    }

    /// Ends the ways of records to a destination. Those that are not on their way are passed over.
    pub(super) fn settle(&mut self, id: &ResourceId, settled: &[(u64, Outcome)]) {
        let number = self.queue(id);
        for &(position, outcome) in settled {
            let queue = &mut self.queues[number];
            let Some(item) = queue.unsettled.remove(&position) else { continue };
            queue.account.end(outcome);
            queue.account.pending_records -= 1;
            queue.account.pending_bytes -= item.bytes;
            let at = self.segment_at(position);
            self.segments[at].share(number).held -= 1;
        }
    }

    /// When the oldest pending record was appended. Exact but for records that wait unread: of
    /// these a time is known that is not later.
    pub(super) fn oldest_pending(&self, number: usize) -> Option<u64> {
        let on_its_way = self.queues[number].unsettled.values().next().map(|it| it.appended);
        let waiting = || {
            let mut shares = self.segments.iter().filter_map(|segment| segment.shares.get(number));
            shares.find(|share| share.waiting > 0).map(|share| share.since)
        };
        on_its_way.or_else(waiting)
    }

    /// Notes that something is out of order, or no longer; each change is logged once.
    pub(super) fn set_problem(&mut self, problem: JournalProblem, message: Option<String>) {
        match message {
            Some(message) if self.problems.get(&problem) != Some(&message) => {
                error!("{message}");
                self.problems.insert(problem, message);
            }
            Some(_) => {}
            None => {
                if let Some(message) = self.problems.remove(&problem) {
                    info!("the journal works again; it was: {message}");
                }
            }
        }
    }

    /// All that is out of order, as one text.
    pub(super) fn problem(&self) -> Option<String> {
        let messages: Vec<&str> = self.problems.values().map(String::as_str).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }

    /// Notes damage, and tells whether it was unknown.
    pub(super) fn note_damage(&mut self, position: u64) -> bool {
        let at = self.segment_at(position);
        let new = self.segments.get_mut(at).is_some_and(|it| it.damage.insert(position));
        self.damaged += u64::from(new);
        new
    }

    /// Records that are pending for destinations that anybody reads for.
    pub(super) fn pending_for_readers(&self) -> u64 {
        let read = self.queues.iter().filter(|queue| queue.reader != 0);
        read.map(|queue| queue.account.pending_records).sum()
    }
}
