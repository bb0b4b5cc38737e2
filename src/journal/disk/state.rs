//! The books of the log: which bytes are whose, what was read, what is settled. No files, no waiting.
//!
//! A position is the place of a byte in the whole log. Nothing is remembered of a record that waits;
//! each segment knows for each destination how many of its records are pending, and each destination
//! knows from where it has not read yet, and which records are on their way to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;
use tracing::{error, info};

use super::pending::Segment;
use super::queue::{Queue, Unsettled};
use super::recent::{Item, Recent};
use super::segment::{HEADER, Hint};
use crate::journal::{Account, AppendError, Generation, Offer, Outcome, Pending, Terms, TooLarge};
use crate::resources::ResourceId;

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
    pub under_way: BTreeMap<Generation, usize>,
    /// Bytes of these.
    pub reserved: u64,
    pub sizes: Sizes,
    /// How many destinations have a reader.
    pub in_force: usize,
    /// The next append is to begin a segment, so that the last one can be given up.
    pub seal: bool,
    /// What keeps the journal from working, if anything does.
    problems: BTreeMap<JournalProblem, String>,
    /// The last append found the disk full.
    pub disk_full: bool,
    /// Bytes of the last append that the disk did not take.
    pub refused_bytes: u64,
    /// An append waits for the keeper to make room.
    pub pressed: bool,
    /// Damaged places found since the process began.
    pub damaged: u64,
    /// Bytes that deleting and compacting have given back since the process began.
    pub freed: u64,
    /// Bytes that were written to compact segments since the process began.
    pub compacted: u64,
    /// The keeper's passes so far.
    pub passes_begun: u64,
    pub passes_done: u64,
    /// What the file system had free at the keeper's last pass; `None` if it did not say.
    pub free_bytes: Option<u64>,
    /// What it could give the log then, with what the log had.
    pub given_bytes: u64,
    /// The highest revision of a compacted segment so far.
    pub revision: u64,
}

/// How much the log may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Most bytes of all segments' files together.
    pub max_bytes: u64,
    /// A segment of so many bytes is not appended to any more.
    pub segment_bytes: u64,
    /// How long settled segments are kept, in milliseconds.
    pub retention: u64,
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
    /// Settled records cannot be left out of copies.
    Compacting,
}

/// What a reader is to do.
#[derive(Debug)]
pub(super) enum Next {
    Records(Vec<Pending>),
    /// To come again with room for the next record, which needs so many bytes.
    TooLarge(usize),
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
    /// Where in the file to begin, if it is a compacted one.
    pub hint: Option<Hint>,
    pub epoch: u64,
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
    /// Where to begin next time, if the file is a compacted one.
    pub hint: Option<Hint>,
    /// Whether there is no file.
    pub vanished: bool,
}

/// How much one read may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
}

impl Limits {
    /// Whether one more record fits behind others.
    pub(super) fn allow(&self, records: usize, bytes: usize, cost: usize) -> bool {
        records < self.records && bytes.saturating_add(cost) <= self.bytes
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
            sizes: Sizes { max_bytes: u64::MAX, segment_bytes: u64::MAX, retention: 0 },
            in_force: 0,
            seal: false,
            problems: BTreeMap::new(),
            disk_full: false,
            refused_bytes: 0,
            pressed: false,
            damaged: 0,
            freed: 0,
            compacted: 0,
            passes_begun: 0,
            passes_done: 0,
            free_bytes: None,
            given_bytes: u64::MAX,
            revision: 0,
        }
    }

    /// Says how much the log may hold, once it was recovered.
    pub(super) fn start(&mut self, sizes: Sizes, free_bytes: Option<u64>) {
        self.sizes = sizes;
        self.set_free(free_bytes);
        for at in 0..self.segments.len() {
            self.reweigh(at);
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
    pub(super) fn segment_at(&self, position: u64) -> usize {
        self.segments.partition_point(|segment| segment.end() <= position)
    }

    /// Opens a new last segment.
    pub(super) fn begin(&mut self, segment: Segment) {
        self.segments.push_back(segment);
        if let Some(sealed) = self.segments.len().checked_sub(2) {
            self.reweigh(sealed);
        }
    }

    /// Lets an append in unless its generation is over.
    pub(super) fn admit(&self, generation: Generation) -> Result<(), AppendError> {
        if generation < self.generation { Err(AppendError::Outdated) } else { Ok(()) }
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
            segment.grow_to(end);
        }
    }

    /// Brings what a segment's file takes of a destination's share up to date.
    pub(super) fn reweigh(&mut self, at: usize) {
        let is_last = at + 1 == self.segments.len();
        let Some(segment) = self.segments.get_mut(at) else { return };
        // The last one is there for whoever comes next.
        let now = if is_last { None } else { segment.weigh() };
        let before = std::mem::replace(&mut segment.weight, now);
        if let Some((number, bytes)) = before {
            self.queues[number].weight -= bytes;
        }
        if let Some((number, bytes)) = now {
            self.queues[number].weight += bytes;
        }
    }

    /// All accounts, by id.
    pub(super) fn accounts(&self) -> Vec<(ResourceId, Account)> {
        let mut accounts: Vec<_> =
            self.queues.iter().map(|queue| (queue.id.clone(), queue.account)).collect();
        accounts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        accounts
    }

    /// Takes a destination's waiting records in a segment out of the books, and tells how many: the
    /// caller says in its account what became of them.
    fn forget_waiting(&mut self, at: usize, number: usize) -> u64 {
        let segment = &mut self.segments[at];
        let (base, end) = (segment.base, segment.end());
        let (records, bytes) = segment.forget_waiting(number);
        self.reweigh(at);
        let queue = &mut self.queues[number];
        queue.redo.retain(|position| !(base..end).contains(position));
        // What is being read from disk now was chosen before: it is not to be handed out.
        queue.epoch += 1;
        queue.waiting -= records;
        queue.account.pending_records -= records;
        queue.account.pending_bytes -= bytes;
        records
    }

    /// Counts a destination's waiting records in a segment as dropped, and tells how many.
    pub(super) fn drop_waiting(&mut self, at: usize, number: usize) -> u64 {
        let records = self.forget_waiting(at, number);
        self.queues[number].account.dropped += records;
        records
    }

    /// Counts them as lost: they are not on the disk any more.
    pub(super) fn lose_waiting(&mut self, at: usize, number: usize) {
        let records = self.forget_waiting(at, number);
        self.queues[number].account.lost += records;
        let (destination, segment) = (&self.queues[number].id, self.segments[at].base);
        error!(%destination, segment, records, "the journal is damaged: records are lost");
    }

    /// Counts all that waits for a destination as dropped, and tells how many.
    pub(super) fn forget(&mut self, number: usize) -> u64 {
        (0..self.segments.len()).map(|at| self.drop_waiting(at, number)).sum()
    }

    /// Makes a destination's queue ready for a new reader, and tells the reader's number.
    pub(super) fn attach(&mut self, id: &ResourceId, terms: Terms) -> u64 {
        let number = self.queue(id);
        let unsettled = std::mem::take(&mut self.queues[number].unsettled);
        let first = unsettled.keys().next().copied();
        for (position, item) in &unsettled {
            let at = self.segment_at(*position);
            self.segments[at].give_back(number, item.bytes);
        }
        let queue = &mut self.queues[number];
        queue.waiting += unsettled.len() as u64;
        // Before `redo_until` only what is in `redo` is still wanted; all else was read and settled.
        queue.redo_until = queue.redo_until.max(queue.next);
        queue.redo.extend(unsettled.keys());
        queue.next = first.map_or(queue.next, |first| first.min(queue.next));
        queue.terms = terms;
        self.in_force += usize::from(!queue.has_reader());
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
            self.in_force -= 1;
        }
    }

    pub(super) fn set_terms(&mut self, id: &ResourceId, terms: Terms) {
        let number = self.queue(id);
        self.queues[number].terms = terms;
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
            let (base, end) = (segment.base, segment.end());
            let (hint, epoch) = (queue.hint, queue.epoch);
            return Next::OnDisk(Part { base, start, end, hint, epoch });
        };
        let mut taken = Vec::new();
        let (mut bytes, mut too_large) = (0, None);
        let mut next = self.head;
        for item in items {
            if !item.destinations.contains(&queue.id) || !queue.wants(item.position) {
                continue;
            }
            if !limits.allow(taken.len(), bytes, item.cost()) {
                next = item.position;
                too_large = taken.is_empty().then(|| item.cost());
                break;
            }
            bytes += item.cost();
            taken.push(item.clone());
        }
        let taken: Vec<Pending> = taken.iter().map(|item| self.take(number, item)).collect();
        self.queues[number].next = next;
        match too_large {
            Some(bytes) => Next::TooLarge(bytes),
            None if taken.is_empty() => self.next(number, limits),
            None => Next::Records(taken),
        }
    }

    /// Hands out what a reader found on disk, as far as it is still what waits and the limits allow.
    pub(super) fn accept(
        &mut self,
        number: usize,
        part: Part,
        found: Found,
        limits: Limits,
    ) -> Result<Vec<Pending>, TooLarge> {
        for (position, bytes) in found.damage {
            self.tell_damage(position, bytes);
        }
        if self.queues[number].epoch != part.epoch {
            return Ok(Vec::new());
        }
        if found.vanished {
            self.tell_vanished(part.base);
        }
        let mut taken = Vec::new();
        let (mut bytes, mut too_large) = (0, None);
        let mut next = found.end;
        for item in found.items {
            if !self.queues[number].wants(item.position) {
                continue;
            }
            if !limits.allow(taken.len(), bytes, item.cost()) {
                next = item.position;
                too_large = taken.is_empty().then(|| TooLarge(item.cost()));
                break;
            }
            bytes += item.cost();
            taken.push(self.take(number, &item));
        }
        let queue = &mut self.queues[number];
        queue.next = next;
        // One behind what is read next would pass over it.
        queue.hint = found.hint.filter(|it| it.position <= next).or(queue.hint);
        too_large.map_or(Ok(taken), Err)
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
                self.lose_waiting(at, number);
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
        self.segments[at].take(number, item.bytes);
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
            self.segments[at].settle(number, item.bytes);
            self.reweigh(at);
        }
    }

    /// Counts a record that was read as lost: it is not on the disk any more.
    pub(super) fn lose(&mut self, number: usize, position: u64) {
        let queue = &mut self.queues[number];
        let Some(item) = queue.unsettled.remove(&position) else { return };
        queue.account.lost += 1;
        queue.account.pending_records -= 1;
        queue.account.pending_bytes -= item.bytes;
        error!(destination = %queue.id, position, "the journal is damaged: a record is lost");
        let at = self.segment_at(position);
        self.segments[at].settle(number, item.bytes);
        self.reweigh(at);
    }

    /// When the oldest pending record was appended. Exact but for records that wait unread: of
    /// these a time is known that is not later.
    pub(super) fn oldest_pending(&self, number: usize) -> Option<u64> {
        let on_its_way = self.queues[number].unsettled.values().next().map(|it| it.appended);
        let waiting = || self.segments.iter().find_map(|segment| segment.waiting_since(number));
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

    /// What is out of order in one way.
    pub(super) fn problem_of(&self, problem: JournalProblem) -> Option<&str> {
        self.problems.get(&problem).map(String::as_str)
    }

    /// All that is out of order, as one text.
    pub(super) fn problem(&self) -> Option<String> {
        let messages: Vec<&str> = self.problems.values().map(String::as_str).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }

    /// Notes damage, and logs it once.
    pub(super) fn tell_damage(&mut self, position: u64, bytes: u64) {
        if self.note_damage(position) {
            error!(position, bytes, "the journal is damaged: skipped to the next whole record");
        }
    }

    /// Notes that a segment's file is not there any more, and logs it once. Nothing more is written to it.
    pub(super) fn tell_vanished(&mut self, base: u64) {
        self.seal |= self.segments.back().is_some_and(|last| last.base == base);
        if self.note_damage(base) {
            error!(
                segment = base,
                "a segment of the journal has vanished: somebody deleted its file, and what waits in it is lost"
            );
        }
    }

    /// Notes damage, and tells whether it was unknown.
    pub(super) fn note_damage(&mut self, position: u64) -> bool {
        let at = self.segment_at(position);
        let new = self.segments.get_mut(at).is_some_and(|it| it.note_damage(position));
        self.damaged += u64::from(new);
        new
    }

    /// Records that are pending for destinations that anybody reads for.
    pub(super) fn pending_for_readers(&self) -> u64 {
        let read = self.queues.iter().filter(|queue| queue.reader != 0);
        read.map(|queue| queue.account.pending_records).sum()
    }
}
