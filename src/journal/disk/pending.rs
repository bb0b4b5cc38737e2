//! One segment in the books: what of it is pending for whom, and what its file weighs.
//!
//! Counts only. It knows no queues and no files; whoever changes them tells it so.

use std::collections::BTreeSet;

use super::segment::HEADER;

#[derive(Debug)]
pub(super) struct Segment {
    pub base: u64,
    /// Positions from its base to its end.
    pub len: u64,
    /// Bytes on disk, the header included: `len`, unless settled records were left out of a copy.
    pub size: u64,
    /// Whether its file is such a copy.
    pub is_compacted: bool,
    /// When something was appended last, in milliseconds since 1970.
    pub last_append: u64,
    /// By the destination's number; a missing one is empty.
    shares: Vec<Share>,
    /// The destinations for which anything is pending here.
    owners: BTreeSet<usize>,
    /// The bytes of all shares together; a record of several destinations counts for each.
    pending_bytes: u64,
    /// Where damage was found, so that every place counts once.
    damage: BTreeSet<u64>,
    /// What was last seen to be pending here, and since when, in milliseconds since 1970.
    pub quiet: (u64, u64),
    /// A copy of at most so many bytes was tried in vain when so many were pending.
    pub tried: Option<(u64, u64)>,
    /// What the file takes of the share of the one destination that keeps it, beside the bytes that
    /// are pending for it.
    pub weight: Option<(usize, u64)>,
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
    held_bytes: u64,
}

impl Share {
    fn bytes(&self) -> u64 {
        self.waiting_bytes + self.held_bytes
    }

    fn is_pending(&self) -> bool {
        self.waiting + self.held > 0
    }
}

impl Segment {
    pub(super) fn new(base: u64, len: u64, last_append: u64) -> Segment {
        Segment {
            base,
            len,
            size: len,
            is_compacted: false,
            last_append,
            shares: Vec::new(),
            owners: BTreeSet::new(),
            pending_bytes: 0,
            damage: BTreeSet::new(),
            quiet: (0, 0),
            tried: None,
            weight: None,
        }
    }

    /// One whose file is a copy of `size` bytes with the records left that were pending.
    pub(super) fn compacted(base: u64, end: u64, size: u64, last_append: u64) -> Segment {
        Segment { size, is_compacted: true, ..Segment::new(base, end - base, last_append) }
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.len
    }

    /// Says that the log goes on in it up to a position.
    pub(super) fn grow_to(&mut self, end: u64) {
        self.len = end - self.base;
        self.size = self.len;
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Whether anything is pending for this destination and nothing for others.
    pub(super) fn is_only_of(&self, queue: usize) -> bool {
        self.owners.len() == 1 && self.owners.contains(&queue)
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = usize> {
        self.owners.iter().copied()
    }

    fn of(&self, queue: usize) -> Share {
        self.shares.get(queue).copied().unwrap_or_default()
    }

    fn share(&mut self, queue: usize) -> &mut Share {
        if self.shares.len() <= queue {
            self.shares.resize(queue + 1, Share::default());
        }
        &mut self.shares[queue]
    }

    pub(super) fn waiting(&self, queue: usize) -> u64 {
        self.of(queue).waiting
    }

    pub(super) fn is_held(&self, queue: usize) -> bool {
        self.of(queue).held > 0
    }

    pub(super) fn held_bytes(&self, queue: usize) -> u64 {
        self.of(queue).held_bytes
    }

    /// Not later than when the oldest that waits was appended.
    pub(super) fn waiting_since(&self, queue: usize) -> Option<u64> {
        let share = self.of(queue);
        (share.waiting > 0).then_some(share.since)
    }

    /// The bytes of all destinations together; a record of several counts for each.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// The bytes that at least are pending: those of the destination that has the most.
    pub(super) fn least_pending(&self) -> u64 {
        self.owners.iter().map(|&queue| self.of(queue).bytes()).max().unwrap_or(0)
    }

    /// Counts a record as waiting.
    pub(super) fn add(&mut self, queue: usize, bytes: u64, appended: u64) {
        let share = self.share(queue);
        if !share.is_pending() {
            share.since = appended;
        }
        share.waiting += 1;
        share.waiting_bytes += bytes;
        self.pending_bytes += bytes;
        self.owners.insert(queue);
    }

    /// Counts a waiting record as read.
    pub(super) fn take(&mut self, queue: usize, bytes: u64) {
        let share = self.share(queue);
        share.waiting -= 1;
        share.waiting_bytes -= bytes;
        share.held += 1;
        share.held_bytes += bytes;
    }

    /// Counts a record that was read as waiting again.
    pub(super) fn give_back(&mut self, queue: usize, bytes: u64) {
        let share = self.share(queue);
        share.held -= 1;
        share.held_bytes -= bytes;
        share.waiting += 1;
        share.waiting_bytes += bytes;
    }

    /// Counts a record that was read as settled.
    pub(super) fn settle(&mut self, queue: usize, bytes: u64) {
        let share = self.share(queue);
        share.held -= 1;
        share.held_bytes -= bytes;
        self.ended(queue, bytes);
    }

    /// Counts what waits for a destination as pending no more; tells how many records and bytes.
    pub(super) fn forget_waiting(&mut self, queue: usize) -> (u64, u64) {
        let share = self.share(queue);
        let (records, bytes) = (share.waiting, share.waiting_bytes);
        share.waiting = 0;
        share.waiting_bytes = 0;
        self.ended(queue, bytes);
        (records, bytes)
    }

    fn ended(&mut self, queue: usize, bytes: u64) {
        self.pending_bytes -= bytes;
        if !self.of(queue).is_pending() {
            self.owners.remove(&queue);
        }
    }

    /// What its file takes of the share of the destination that alone keeps it, beside the bytes that
    /// are pending for it.
    pub(super) fn weigh(&self) -> Option<(usize, u64)> {
        let queue = self.owners.first().copied().filter(|queue| self.is_only_of(*queue))?;
        Some((queue, self.size.saturating_sub(self.of(queue).bytes())))
    }

    /// Notes damage, and tells whether it was unknown.
    pub(super) fn note_damage(&mut self, position: u64) -> bool {
        self.damage.insert(position)
    }

    /// Takes in the counts of the segment after it, whose records its file now holds too.
    pub(super) fn absorb(&mut self, next: Segment) {
        self.len = next.end() - self.base;
        self.last_append = self.last_append.max(next.last_append);
        self.pending_bytes += next.pending_bytes;
        self.damage.extend(next.damage);
        for queue in next.owners {
            let (theirs, owned) = (next.shares[queue], self.owners.contains(&queue));
            let share = self.share(queue);
            if !owned {
                share.since = theirs.since;
            }
            share.waiting += theirs.waiting;
            share.waiting_bytes += theirs.waiting_bytes;
            share.held += theirs.held;
            share.held_bytes += theirs.held_bytes;
            self.owners.insert(queue);
        }
    }

    /// Whether the file can be nothing but a header that was written and never followed by a frame.
    pub(super) fn is_unused(&self) -> bool {
        !self.is_compacted && self.size <= HEADER
    }
}
