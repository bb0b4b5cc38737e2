//! Recovery: from what lies on disk to the books of [`State`]. It reads only; what is to be cut or
//! deleted before the log is written again, it tells.
//!
//! 1. Read the checkpoint; without one every record in the log is pending. Read what was settled since.
//! 2. List the segments; refuse a newer format.
//! 3. Scan each segment that the checkpoint does not call settled. A frame is pending for a
//!    destination if it lies at or after its cursor or is among its unsettled ones, and was not settled
//!    since. Damage is skipped, counted and logged.
//! 4. What follows the last whole frame of the last segment is to be cut, unless the checkpoint says
//!    that it was synced, which makes it damage: a crash has torn it, so nobody was told that it is kept.
//!    If nothing is left, the segment is to be deleted.
//!    What lies behind the checkpoint was accepted after it: its records, and what its tallies say.
//! 5. What is pending and lies among the dead letters was buried just before a crash: it counts as
//!    dead-lettered (see `buried`), and is not read again. So does what was settled since the checkpoint in
//!    a segment that has gone: on a full disk segments are deleted before that is saved.
//! 6. Make the accounts add up. What the checkpoint calls pending and the log does not hold is lost:
//!    the disk is damaged, or somebody deleted a segment. What it calls dropped or lost and the log still
//!    holds is pending again.
//!
//! Appends go to a new segment afterwards, behind every position that anything tells of, so an old end
//! is never written again, and no letter is taken for that of another record.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::buried::Buried;
use super::checkpoint::{self, Checkpoint};
use super::frame::{self, Frame};
use super::pending::Segment;
use super::progress::{self, Settled};
use super::scanner::{Scanner, Step};
use super::segment::{self, HEADER};
use super::state::State;
use crate::journal::Outcome;

/// What lies in a folder.
pub(super) struct Recovered {
    pub state: State,
    /// The number of the checkpoint that is there.
    pub checkpoint: u64,
    repairs: Vec<Repair>,
}

/// What is to be done to the log before it is written again.
enum Repair {
    /// Ends a segment where its last whole frame ends.
    Cut { path: PathBuf, end: u64 },
    /// Deletes a segment that holds nothing, since the next one may have the same name.
    Delete(PathBuf),
}

impl Recovered {
    /// Makes the log end where its last whole frame ends.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn repair(&self) -> io::Result<()> {
        for repair in &self.repairs {
            match repair {
                Repair::Cut { path, end } => {
                    warn!(segment = %path.display(), end, "cut an unfinished end of the journal");
                    let file = OpenOptions::new().write(true).open(path)?;
                    file.set_len(*end)?;
                    file.sync_all()?;
                }
                Repair::Delete(path) => fs::remove_file(path)?,
            }
        }
        Ok(())
    }
}

/// Reads what lies in a folder. `watch` is called after each segment with the bytes that have been
/// read so far, and with those that will have been read in the end.
///
/// # Errors
/// When files cannot be read, or a later version wrote them.
pub(super) fn recover(
    directory: &Path,
    cache_bytes: usize,
    buried: &Buried,
    watch: &dyn Fn(u64, u64),
) -> io::Result<Recovered> {
    let checkpoint = checkpoint::read(directory)?.unwrap_or_default();
    let settled = progress::read(directory, checkpoint.number).unwrap_or_else(|cause| {
        error!(%cause, "what was settled last cannot be read: it is delivered again");
        Settled::new()
    });
    let mut recovery = Recovery::new(&checkpoint, settled, cache_bytes, buried);
    let (bases, _covered) = segment::list_live(directory)?;
    // Only these are read; of all others the header is enough.
    let read = |base: &u64| !checkpoint.settled_segments.contains(base);
    let bytes_of = |base: u64| Ok(fs::metadata(segment::path(directory, base))?.len());
    let bytes = bases.iter().copied().filter(read).map(bytes_of).collect::<io::Result<Vec<_>>>()?;
    let (mut done, total) = (0, bytes.iter().sum());
    let mut bytes = bytes.into_iter();
    for (at, &base) in bases.iter().enumerate() {
        let next = bases.get(at + 1).copied();
        recovery.open_segment(directory, base, &checkpoint, next)?;
        if read(&base) {
            done += bytes.next().unwrap_or(0);
            watch(done, total);
        }
    }
    Ok(recovery.finish(&checkpoint))
}

struct Recovery<'a> {
    state: State,
    buried: &'a Buried,
    /// By a queue's number: the end of its last record that was found among the dead letters.
    buried_until: HashMap<usize, u64>,
    /// By a frame's list of destinations: the numbers of their queues.
    lists: HashMap<Vec<u8>, Vec<usize>>,
    /// By a queue's number: pending records that the checkpoint knows of.
    expected: Vec<u64>,
    /// Those of them that were found.
    found: Vec<u64>,
    /// By a queue's number: what was settled since the checkpoint and was not met in the log yet.
    settled: Vec<BTreeMap<u64, Outcome>>,
    repairs: Vec<Repair>,
}

impl Recovery<'_> {
    fn new<'a>(
        checkpoint: &Checkpoint,
        settled_since: Settled,
        cache_bytes: usize,
        buried: &'a Buried,
    ) -> Recovery<'a> {
        let mut state = State::new(cache_bytes, checkpoint.head);
        let mut expected = Vec::new();
        for saved in &checkpoint.cursors {
            let number = state.queue(&saved.id);
            let queue = &mut state.queues[number];
            queue.account = saved.account;
            queue.redo_until = saved.next;
            let gone =
                saved.account.delivered + saved.account.dead_lettered + saved.account.dropped;
            let gone = gone + saved.account.lost;
            expected.push(saved.account.appended.saturating_sub(gone));
        }
        let found = vec![0; expected.len()];
        let mut settled = Vec::new();
        for (id, positions) in settled_since {
            let number = state.queue(&id);
            let queue = &mut state.queues[number];
            // All before the last of them was read: what of it is still pending is to be read again.
            let read = positions.last_key_value().map_or(0, |(last, _)| last + 1);
            queue.redo_until = queue.redo_until.max(read);
            settled.resize_with(settled.len().max(number + 1), BTreeMap::new);
            settled[number] = positions;
        }
        let (lists, repairs, buried_until) = (HashMap::new(), Vec::new(), HashMap::new());
        Recovery { state, buried, buried_until, lists, expected, found, settled, repairs }
    }

    fn open_segment(
        &mut self,
        directory: &Path,
        base: u64,
        checkpoint: &Checkpoint,
        next: Option<u64>,
    ) -> io::Result<()> {
        // It was there when the folder was listed, and nobody else works in it.
        let Some(opened) = segment::open(directory, base)? else { return Ok(()) };
        let (size, last_append) = (opened.size, opened.last_append);
        let segment = match opened.compacted {
            None => Segment::new(base, size, last_append),
            Some(compacted) => {
                // Its own word, or what must have been: up to the next one, or to all that there was.
                let end = compacted.end.or(next).unwrap_or(checkpoint.head).max(base + HEADER);
                self.state.revision = self.state.revision.max(compacted.revision);
                Segment::compacted(base, end, size, last_append)
            }
        };
        let may_be_torn = next.is_none() && !segment.is_compacted;
        let span = base..segment.end();
        self.state.segments.push_back(segment);
        if !checkpoint.settled_segments.contains(&base) {
            if opened.is_damaged {
                warn!(segment = base, "the header of a segment of the journal is damaged");
            }
            match self.scan(opened.scan(), &span, checkpoint)? {
                // What the checkpoint knows of was synced: an end that lies before it is not torn.
                Some((end, _)) if may_be_torn && end >= checkpoint.head => {
                    if let Some(last) = self.state.segments.back_mut() {
                        last.grow_to(end);
                    }
                    let path = segment::path(directory, base);
                    self.repairs.push(Repair::Cut { path, end: end - base });
                }
                Some((end, bytes)) => self.note_damage(end, bytes),
                None => {}
            }
        }
        if next.is_none() && self.state.segments.back().is_some_and(Segment::is_unused) {
            // Begun and never used.
            self.repairs.push(Repair::Delete(segment::path(directory, base)));
            self.state.segments.pop_back();
        }
        let end = self.state.segments.back().map_or(0, Segment::end);
        self.state.head = self.state.head.max(end);
        Ok(())
    }

    /// Counts a segment's frames; tells where the last one ends if something else follows, and how much.
    fn scan(
        &mut self,
        mut scanner: Scanner,
        span: &Range<u64>,
        checkpoint: &Checkpoint,
    ) -> io::Result<Option<(u64, u64)>> {
        let mut damaged_end = None;
        while let Some(step) = scanner.next()? {
            match step {
                // A copy that says more than it stands for was not made by this program.
                Step::Frame(position, _) if !span.contains(&position) => {}
                Step::Frame(position, frame) => {
                    self.count(position, &frame, checkpoint);
                    if position >= checkpoint.head {
                        for (id, filtered_out) in frame.turned_down() {
                            let number = self.state.queue(&id);
                            let account = &mut self.state.queues[number].account;
                            account.accepted += filtered_out;
                            account.filtered_out += filtered_out;
                        }
                    }
                }
                Step::Damaged { position, bytes, at_end: true } => {
                    damaged_end = Some((position, bytes));
                }
                Step::Damaged { position, bytes, at_end: false } => {
                    self.note_damage(position, bytes);
                }
            }
        }
        Ok(damaged_end)
    }

    fn note_damage(&mut self, position: u64, bytes: u64) {
        self.state.tell_damage(position, bytes);
    }

    fn count(&mut self, position: u64, frame: &Frame<'_>, checkpoint: &Checkpoint) {
        let (bytes, list) = (frame.len() as u64, frame.destination_bytes());
        if !self.lists.contains_key(list) {
            let ids = frame::destinations(list);
            let mut numbers: Vec<usize> = ids.map(|id| self.state.queue(&id)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            self.lists.insert(list.to_vec(), numbers);
        }
        for &number in self.lists.get(list).into_iter().flatten() {
            let saved = checkpoint.cursors.get(number);
            if !saved.is_none_or(|saved| saved.calls_pending(position)) {
                continue;
            }
            let queue = &mut self.state.queues[number];
            if position >= checkpoint.head {
                queue.account.accepted += 1;
            } else if let Some(found) = self.found.get_mut(number) {
                *found += 1;
            }
            let settled = self.settled.get_mut(number).and_then(|it| it.remove(&position));
            if let Some(outcome) = settled {
                queue.account.end(outcome);
                continue;
            }
            if self.buried.holds(&queue.id, position, frame.event_id()) {
                queue.account.end(Outcome::DeadLettered);
                self.buried_until.insert(number, position + 1);
                continue;
            }
            // Behind its last dead letter a destination goes on reading; before that only what is
            // pending is to be read again.
            if position < queue.redo_until.max(self.buried.end(&queue.id)) {
                queue.redo.insert(position);
            }
            queue.add(position, bytes);
            if let Some(segment) = self.state.segments.back_mut() {
                segment.add(number, bytes, frame.appended());
            }
        }
    }

    /// Counts what was settled since the checkpoint and is no longer in the log.
    fn count_deleted(&mut self, checkpoint: &Checkpoint) {
        let mut deleted = std::mem::take(&mut self.settled);
        for (id, position) in self.buried.records() {
            let is_there = |it: &Segment| (it.base..it.end()).contains(&position);
            let at = self.state.segment_at(position);
            if !self.state.segments.get(at).is_some_and(is_there) {
                let number = self.state.queue(id);
                deleted.resize_with(deleted.len().max(number + 1), BTreeMap::new);
                deleted[number].insert(position, Outcome::DeadLettered);
            }
            self.state.head = self.state.head.max(position + 1);
        }
        // Without a checkpoint nobody can say what came before it.
        if checkpoint.cursors.is_empty() {
            return;
        }
        for (number, settled) in deleted.into_iter().enumerate() {
            let saved = checkpoint.cursors.get(number);
            let account = &mut self.state.queues[number].account;
            for (position, outcome) in settled {
                if position >= checkpoint.head {
                    account.accepted += 1;
                } else if saved.is_some_and(|it| it.calls_pending(position))
                    && self.found[number] < self.expected[number]
                {
                    self.found[number] += 1;
                } else {
                    continue;
                }
                account.end(outcome);
            }
        }
    }

    fn finish(mut self, checkpoint: &Checkpoint) -> Recovered {
        self.count_deleted(checkpoint);
        let head = self.state.head;
        for (number, queue) in self.state.queues.iter_mut().enumerate() {
            let expected = self.expected.get(number).copied().unwrap_or(0);
            let found = self.found.get(number).copied().unwrap_or(0);
            let lost = expected.saturating_sub(found);
            if lost > 0 {
                error!(destination = %queue.id, records = lost, "the journal is damaged: records are lost");
            }
            let buried_until = self.buried_until.get(&number).copied().unwrap_or(0);
            queue.redo_until = queue.redo_until.max(buried_until);
            queue.redo.retain(|position| *position < queue.redo_until);
            let account = &mut queue.account;
            let mut back = found.saturating_sub(expected);
            for gone in [&mut account.dropped, &mut account.lost] {
                let (before, rest) = (*gone, gone.saturating_sub(back));
                *gone = rest;
                back -= before - rest;
            }
            account.lost += lost;
            account.appended = account.delivered
                + account.dead_lettered
                + account.dropped
                + account.lost
                + account.pending_records;
            // Else it stands at its first pending record.
            if account.pending_records == 0 {
                queue.next = head;
            }
        }
        self.state.start_cache(head.max(checkpoint.head));
        let Recovery { state, repairs, .. } = self;
        Recovered { state, checkpoint: checkpoint.number, repairs }
    }
}
