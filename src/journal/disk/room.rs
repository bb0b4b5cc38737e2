//! Room: whether an append fits, what gives way for it, and what the keeper may delete.
//!
//! The files of all segments together stay within `max_bytes`, or within what the file system can give if
//! that is less: what is free and what the log has, less a reserve. It is asked at each of the keeper's
//! passes. What a destination takes of it is its *share*: its pending records, and all of a sealed segment that it alone keeps. Three things make room, in this
//! order: settled segments that were only kept are deleted, settled records between pending ones are
//! left out of a copy (see `compaction`), and destinations that allow it give up their oldest. The
//! first two are the keeper's, so an append waits for it. No files are touched here.

use std::sync::Arc;

use tracing::warn;

use super::frame;
use super::pending::Segment;
use super::state::State;
use crate::journal::{AppendError, Entry, Full, Generation, Refusal, Share};
use crate::resources::Overflow;

/// The part of the bytes that the log may have that is kept free of settled segments, so that appends need not wait until
/// some are deleted.
const HEADROOM: u64 = 8;

/// The settled part of a segment, past which the records left are copied when room is needed; less is
/// not worth a copy.
const WORTH: u64 = 8;

/// How long a segment's pending records must have been the same ones before they are copied without
/// need: whoever only lags has soon read what is left of it.
const QUIET: u64 = 60_000;

/// The part of what the file system can give that is left to cursors, copies and dead letters …
const RESERVE: u64 = 8;
/// … and its least and most bytes.
const RESERVE_BYTES: (u64, u64) = (64 << 10, 128 << 20);

/// The part of the log's bytes at which a segment is sealed, and the least bytes, where the file system
/// has less than the settings say.
const SEGMENT: u64 = 16;
const LEAST_SEGMENT_BYTES: u64 = 64 << 10;

/// What an append takes from its admission to its end.
#[derive(Debug)]
pub(super) struct Claim {
    pub generation: Generation,
    pub bytes: u64,
    /// By the destinations' numbers.
    shares: Vec<(usize, u64)>,
}

/// What becomes of a claim.
#[derive(Debug)]
pub(super) enum Room {
    /// There is room, and it is taken.
    Taken,
    /// The keeper may make some; with what it has freed so far.
    NotYet(u64),
}

/// What a file system can give files that have so many bytes.
pub(in crate::journal) fn given(free: u64, has: u64) -> u64 {
    let all = free.saturating_add(has);
    let (least, most) = RESERVE_BYTES;
    all.saturating_sub((all / RESERVE).clamp(least, most))
}

impl State {
    /// Notes what the file system has free.
    pub(super) fn set_free(&mut self, free: Option<u64>) {
        self.free_bytes = free;
        self.given_bytes = free.map_or(u64::MAX, |free| given(free, self.file_bytes()));
    }

    /// Most bytes of all segments' files together, as far as the file system has room for them.
    pub(super) fn most_bytes(&self) -> u64 {
        self.sizes.max_bytes.min(self.given_bytes)
    }

    /// A segment of so many bytes is not appended to any more.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.sizes.segment_bytes.min((self.most_bytes() / SEGMENT).max(LEAST_SEGMENT_BYTES))
    }

    /// What a refused append is told that found no room.
    pub(super) fn no_room(&self) -> Refusal {
        if self.given_bytes < self.sizes.max_bytes { Refusal::SmallDisk } else { Refusal::NoRoom }
    }

    /// Takes room for an append, or says why there is none.
    ///
    /// Room that the keeper could make is waited for if the caller `may_wait`; then nothing is given up.
    pub(super) fn admit_claim(
        &mut self,
        claim: &Claim,
        may_wait: bool,
    ) -> Result<Room, AppendError> {
        self.admit(claim.generation)?;
        let (mut full, mut giving_way, mut wait) = (Vec::new(), Vec::new(), false);
        for &(number, bytes) in &claim.shares {
            let share = self.share(number);
            if share.takes(bytes, self.most_bytes()) {
                continue;
            }
            if may_wait && self.could_shrink(|segment| segment.is_only_of(number)) {
                wait = true;
                continue;
            }
            let least = self.least_used(number);
            let enough = Share { used: least, ..share }.takes(bytes, self.most_bytes());
            if enough && self.queues[number].terms.overflow == Overflow::DropOldest {
                giving_way.push((number, bytes));
            } else {
                full.push(self.queues[number].id.clone());
            }
        }
        if !full.is_empty() {
            return Err(Full::new(Refusal::NoRoomFor(full)).into());
        }
        if wait || (may_wait && !self.fits(self.file_bytes(), claim.bytes) && self.is_wasteful()) {
            self.pressed = true;
            return Ok(Room::NotYet(self.freed));
        }
        if !self.can_make_room(claim.bytes) {
            return Err(Full::new(self.no_room()).into());
        }
        self.make_room(claim.bytes);
        // After it, since it may have given up enough of theirs already.
        for (number, bytes) in giving_way {
            self.shrink(number, bytes);
        }
        self.take_room(claim);
        Ok(Room::Taken)
    }

    /// What an append of these entries takes, of so many bytes in all.
    pub(super) fn claim(&mut self, generation: Generation, entries: &[Entry], bytes: u64) -> Claim {
        let mut shares: Vec<(usize, u64)> = Vec::new();
        // Records of one subscription share one list, so most need no look-up by name.
        let same = |one: &Entry, other: &Entry| Arc::ptr_eq(&one.destinations, &other.destinations);
        for entries in entries.chunk_by(same) {
            let bytes = entries.iter().map(|entry| frame::length(entry) as u64).sum();
            for id in entries[0].destinations.iter() {
                shares.push((self.queue(id), bytes));
            }
        }
        shares.sort_unstable();
        shares.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            sum.1 += if same { next.1 } else { 0 };
            same
        });
        Claim { generation, bytes, shares }
    }

    fn take_room(&mut self, claim: &Claim) {
        self.reserved += claim.bytes;
        *self.under_way.entry(claim.generation).or_default() += 1;
        for &(number, bytes) in &claim.shares {
            self.queues[number].under_way += bytes;
        }
    }

    /// Counts an append that has ended, however.
    pub(super) fn release(&mut self, claim: &Claim) {
        self.reserved -= claim.bytes;
        for &(number, bytes) in &claim.shares {
            self.queues[number].under_way -= bytes;
        }
        if let Some(count) = self.under_way.get_mut(&claim.generation) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&claim.generation);
            }
        }
    }

    /// What a destination takes and may take.
    pub(super) fn share(&self, number: usize) -> Share {
        let queue = &self.queues[number];
        let max = queue.terms.share_of(self.sizes.max_bytes, self.most_bytes(), self.in_force);
        Share { used: queue.used(), max }
    }

    /// What a destination would take if it gave up all that it may.
    fn least_used(&self, number: usize) -> u64 {
        let held = self.segments.iter().enumerate().filter(|(_, it)| it.is_held(number));
        let least = held.map(|(at, segment)| {
            let is_kept = at + 1 < self.segments.len() && segment.is_only_of(number);
            if is_kept { segment.size } else { segment.held_bytes(number) }
        });
        self.queues[number].under_way + least.sum::<u64>()
    }

    /// Gives up a destination's oldest records until so many more bytes fit into its share.
    fn shrink(&mut self, number: usize, bytes: u64) {
        let mut dropped = 0;
        for at in 0..self.segments.len() {
            if self.share(number).takes(bytes, self.most_bytes()) {
                break;
            }
            if self.segments[at].waiting(number) > 0 {
                dropped += self.drop_waiting(at, number);
            }
        }
        self.tell_dropped(number, dropped, "its share of the journal is full: gave up the oldest");
    }

    fn tell_dropped(&self, number: usize, records: u64, why: &str) {
        if records > 0 {
            let destination = &self.queues[number].id;
            warn!(%destination, records, "{why}");
        }
    }

    /// Whether so many more bytes fit beside these and what is being appended.
    fn fits(&self, bytes: u64, needed: u64) -> bool {
        let taken = bytes + self.reserved;
        // An empty journal takes an append of any size: one above `max_bytes` would else never come in.
        taken == 0 || taken + needed <= self.most_bytes()
    }

    /// Whether there is room for so many more bytes, or can be made, whoever they are for.
    pub(super) fn would_fit(&self, bytes: u64) -> bool {
        self.can_make_room(bytes)
            || self.settled().next().is_some()
            || self.could_shrink(Segment::is_pending)
    }

    /// Whether giving up records of destinations that allow it could make enough room.
    fn can_make_room(&self, needed: u64) -> bool {
        let kept = self.segments.iter().filter(|segment| self.is_insisted_on(segment));
        self.fits(self.bytes_with_next_append(), needed)
            || self.fits(kept.map(|it| it.size).sum(), needed)
    }

    /// Whether somebody waits for something in a segment and does not give way.
    fn is_insisted_on(&self, segment: &Segment) -> bool {
        segment.owners().any(|number| {
            let gives_way = self.queues[number].terms.overflow == Overflow::DropOldest;
            segment.is_held(number) || (segment.waiting(number) > 0 && !gives_way)
        })
    }

    /// Gives up records of destinations that allow it until so many more bytes fit, in whole segments,
    /// the oldest first.
    fn make_room(&mut self, needed: u64) {
        for at in 0..self.segments.len() {
            if self.fits(self.bytes_with_next_append(), needed) {
                break;
            }
            if self.is_insisted_on(&self.segments[at]) {
                continue;
            }
            for number in 0..self.queues.len() {
                let dropped = self.drop_waiting(at, number);
                self.tell_dropped(number, dropped, "the journal is full: gave up the oldest");
            }
            // Only a segment that grows no more can go.
            self.seal |= at + 1 == self.segments.len();
        }
    }

    /// Bytes of segments that somebody waits for, counting the one that the next append goes to.
    fn bytes_with_next_append(&self) -> u64 {
        let last = self.segments.back().filter(|it| !self.seal && !it.is_pending());
        self.pending_file_bytes() + last.map_or(0, |segment| segment.size)
    }

    /// Bytes of segments that hold pending records.
    pub(super) fn pending_file_bytes(&self) -> u64 {
        self.segments.iter().filter(|it| it.is_pending()).map(|it| it.size).sum()
    }

    /// Bytes of all segments.
    pub(super) fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|it| it.size).sum()
    }

    /// Whether the keeper could make room in any way. Seals the last segment if that would help.
    fn is_wasteful(&mut self) -> bool {
        let last = self.segments.back().filter(|_| !self.seal);
        let large = last.filter(|it| it.size >= self.segment_bytes() / 2);
        // Without what is pending in it nothing is gained: it is appended to again.
        if large.is_some_and(|it| it.is_pending() && is_worth_a_copy(it)) {
            self.seal = true;
        }
        self.settled().next().is_some() || self.could_shrink(Segment::is_pending)
    }

    /// Whether a copy of some sealed segment would be much smaller.
    fn could_shrink(&self, wanted: impl Fn(&Segment) -> bool) -> bool {
        let mut sealed = self.segments.iter().enumerate().filter(|(at, _)| self.is_sealed(*at));
        sealed.any(|(_, segment)| wanted(segment) && is_worth_a_copy(segment))
    }

    /// Whether nothing will be appended to a segment any more.
    fn is_sealed(&self, at: usize) -> bool {
        // The writer takes the order to seal before it writes again.
        at + 1 < self.segments.len() || (self.seal && self.under_way.is_empty())
    }

    /// Whether there are settled segments in the way of what comes next, so that the keeper should not
    /// wait until its second is over.
    pub(super) fn should_delete_soon(&self) -> bool {
        self.over() > 0 && self.settled().next().is_some()
    }

    /// Bytes by which the files leave too little room for what comes next.
    fn over(&self) -> u64 {
        let most = self.most_bytes() - self.most_bytes() / HEADROOM;
        (self.file_bytes() + self.reserved).saturating_sub(most)
    }

    /// The sealed segments in which nothing is pending.
    pub(super) fn settled_segments(&self) -> Vec<u64> {
        self.settled().map(|segment| segment.base).collect()
    }

    /// Those of them that were kept for long enough, or that are in the way.
    pub(super) fn obsolete(&self, now: u64) -> Vec<u64> {
        let kept_from = self.kept_from(now);
        let mut over = self.over();
        let mut goes = |segment: &&Segment| {
            let goes = over > 0 || segment.last_append <= kept_from;
            over = over.saturating_sub(if goes { segment.size } else { 0 });
            goes
        };
        self.settled().filter(|segment| goes(segment)).map(|it| it.base).collect()
    }

    /// What was appended last at or before this is not kept for its own sake. On a full disk new records
    /// come first.
    fn kept_from(&self, now: u64) -> u64 {
        if self.disk_full { now } else { now.saturating_sub(self.sizes.retention) }
    }

    fn settled(&self) -> impl Iterator<Item = &Segment> {
        let last = self.segments.len().saturating_sub(1);
        let sealed = if self.is_sealed(last) { self.segments.len() } else { last };
        self.segments.range(..sealed).filter(|segment| !segment.is_pending())
    }

    /// The sealed segments that a copy without settled records should replace now: their place in the
    /// order and the most bytes that the copy may have. While room is needed a copy is made where it
    /// frees an eighth, else where it frees half and nothing has moved for a minute.
    pub(super) fn wasteful_segments(&mut self, now: u64) -> Vec<(usize, u64)> {
        let needs_room = std::mem::take(&mut self.pressed) || self.disk_full;
        let kept_from = self.kept_from(now);
        let mut chosen = Vec::new();
        for at in 0..self.segments.len() {
            let is_sealed = self.is_sealed(at);
            let segment = &mut self.segments[at];
            if segment.quiet.0 != segment.pending_bytes() {
                segment.quiet = (segment.pending_bytes(), now);
            }
            let is_quiet = now.saturating_sub(segment.quiet.1) >= QUIET;
            if !is_sealed || !segment.is_pending() {
                continue;
            }
            let half = segment.size / 2;
            if needs_room && is_worth_a_copy(segment) {
                chosen.push((at, most_copied(segment)));
            } else if is_quiet && segment.last_append <= kept_from && may_fit(segment, half) {
                chosen.push((at, half));
            }
        }
        chosen
    }
}

/// Bytes that a copy may have to be worth it while room is needed.
fn most_copied(segment: &Segment) -> u64 {
    segment.size - segment.size / WORTH
}

fn is_worth_a_copy(segment: &Segment) -> bool {
    may_fit(segment, most_copied(segment))
}

/// Whether a copy of what is pending in a segment may have so few bytes, as far as can be known without
/// reading it. What was tried in vain is not tried again before a quarter of it is settled.
fn may_fit(segment: &Segment, most: u64) -> bool {
    let in_vain = segment.tried.is_some_and(|(tried, pending)| {
        most <= tried && segment.pending_bytes() > pending - pending / 4
    });
    segment.least_pending() <= most && !in_vain
}
