//! Compaction: copying what is pending in sealed segments to new files, so that a few records of a
//! destination that takes none keep no whole segments.
//!
//! Records keep their positions, so cursors, order and the ledger stay what they are. A frame is copied
//! if the checkpoint *on disk* calls it pending for anybody, never by newer knowledge: after a crash
//! recovery looks for exactly these. Segments side by side are copied into one file, which stands for
//! all of them. A copy is written beside the segment and synced, takes its name, and only then are the
//! others it stands for deleted; recovery and replay pass over these (see `segment::list_live`).
//!
//! Which segments are worth it is decided in `room`.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, FileTimes};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::faults::Faults;
use super::frame::{self, Frame};
use super::pending::Segment;
use super::scanner::{self, MARK_BYTES, Step};
use super::segment::{self, COMPACTED_HEADER};
use super::state::State;
use crate::private;
use crate::resources::ResourceId;

/// Most bytes of segments that are read in one pass, so that checkpoints go on being made.
const MOST_READ: u64 = 128 << 20;

/// Segments to copy, and what of them.
#[derive(Debug)]
pub(super) struct Plan {
    pub runs: Vec<Run>,
    /// By the destinations' numbers.
    cursors: Vec<Cursor>,
    numbers: HashMap<ResourceId, usize>,
}

/// Segments side by side that become one.
#[derive(Debug)]
pub(super) struct Run {
    sources: Vec<Source>,
    span: Range<u64>,
    last_append: u64,
    /// Most bytes that the copy may have.
    most: u64,
    revision: u64,
}

#[derive(Debug)]
struct Source {
    base: u64,
    end: u64,
    /// Most bytes that a copy of it may have; 0 of one that only joins in.
    most: u64,
    /// By the destinations' numbers: whether anything waits for it here.
    waiting: Vec<bool>,
    /// What is pending here for all destinations together.
    pending_bytes: u64,
}

/// What the checkpoint says of one destination.
#[derive(Debug)]
struct Cursor {
    next: u64,
    unsettled: BTreeSet<u64>,
}

/// A copy that was written and synced under another name.
#[derive(Debug)]
pub(super) struct Copied {
    path: PathBuf,
    size: u64,
    /// Positions and lengths of damaged places, which were left out.
    pub damage: Vec<(u64, u64)>,
}

impl Plan {
    /// What to copy by the books of this moment, which the caller saves before it copies.
    pub(super) fn of(state: &mut State, now: u64) -> Plan {
        let chosen = state.wasteful_segments(now);
        let mut plan = Plan { runs: Vec::new(), cursors: Vec::new(), numbers: HashMap::new() };
        if chosen.is_empty() {
            return plan;
        }
        for (number, queue) in state.queues.iter().enumerate() {
            let (next, unsettled) = queue.progress(state.head);
            plan.cursors.push(Cursor { next, unsettled: unsettled.into_iter().collect() });
            plan.numbers.insert(queue.id.clone(), number);
        }
        let (mut read, mut from) = (0, 0);
        let mut chosen = chosen.into_iter().peekable();
        while let Some((first, most)) = chosen.next() {
            let (mut range, mut most_of) = (first..first + 1, vec![most]);
            let mut copied = estimate(&state.segments[first]);
            let fits = |copied: u64, at: usize| {
                copied + estimate(&state.segments[at]) <= state.sizes.segment_bytes
            };
            while let Some((at, most)) =
                chosen.next_if(|(at, _)| *at == range.end && fits(copied, *at))
            {
                range.end = at + 1;
                copied += estimate(&state.segments[at]);
                most_of.push(most);
            }
            let mut joined = 0;
            // Earlier copies that are not much larger join in, so that few files are left of a long
            // outage, and each record is copied again only when its file has doubled.
            while range.start > from && state.segments[range.start - 1].is_compacted {
                let before = &state.segments[range.start - 1];
                let fits = copied + before.size <= state.sizes.segment_bytes;
                if !before.is_pending() || before.size > 2 * copied || !fits {
                    break;
                }
                range.start -= 1;
                copied += before.size;
                joined += before.size;
            }
            read += state.segments.range(range.clone()).map(|it| it.size).sum::<u64>();
            if read > MOST_READ && !plan.runs.is_empty() {
                break;
            }
            from = range.end;
            plan.runs.push(Run::of(state, range, &most_of, joined));
        }
        plan
    }

    fn is_pending(&self, numbers: &[usize], source: &Source, position: u64) -> bool {
        numbers.iter().any(|&number| {
            let cursor = &self.cursors[number];
            let waits = position >= cursor.next && source.waiting.get(number) == Some(&true);
            waits || cursor.unsettled.contains(&position)
        })
    }

    /// The numbers of the destinations in a frame's list.
    fn numbers_in(&self, list: &[u8]) -> Vec<usize> {
        frame::destinations(list).filter_map(|id| self.numbers.get(&id).copied()).collect()
    }

    /// Writes and syncs the copy of a run; `None` if it would be too large to be worth it.
    ///
    /// # Errors
    /// When a segment cannot be read, or the copy not be written; then nothing is left of it.
    pub(super) fn copy(
        &self,
        directory: &Path,
        run: &Run,
        now: u64,
        faults: &Faults,
    ) -> io::Result<Option<Copied>> {
        let path = new_path(directory, run.span.start);
        let copied = self.try_copy(directory, run, now, faults, &path);
        if !matches!(copied, Ok(Some(_))) {
            let _absent = fs::remove_file(&path);
        }
        copied
    }

    fn try_copy(
        &self,
        directory: &Path,
        run: &Run,
        now: u64,
        faults: &Faults,
        path: &Path,
    ) -> io::Result<Option<Copied>> {
        let file = private::file().write(true).truncate(true).open(path)?;
        let mut out = BufWriter::with_capacity(256 << 10, file);
        out.write_all(&segment::compacted_header(&run.span, run.revision, now))?;
        let (mut size, mut damage) = (COMPACTED_HEADER, Vec::new());
        let mut lists: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for source in &run.sources {
            let Some(opened) = segment::open(directory, source.base)? else { continue };
            let mut scanner = opened.scan();
            while let Some(step) = scanner.next()? {
                let (position, frame) = match step {
                    Step::Frame(position, frame) => (position, frame),
                    Step::Damaged { position, bytes, .. } => {
                        damage.push((position, bytes));
                        continue;
                    }
                };
                let list = frame.destination_bytes();
                if !lists.contains_key(list) {
                    lists.insert(list.to_vec(), self.numbers_in(list));
                }
                // Past the end lies only what a crash could leave there.
                let is_inside = (source.base..source.end).contains(&position);
                let numbers = lists.get(list).map_or(&[][..], Vec::as_slice);
                if !is_inside || !self.is_pending(numbers, source, position) {
                    continue;
                }
                size += write_marked(&mut out, position, &frame)?;
                if size > run.most {
                    return Ok(None);
                }
                let written = usize::try_from(size).unwrap_or(usize::MAX);
                if let Some((_, kind)) = faults.write_limit(0, written) {
                    return Err(kind.into());
                }
            }
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        keep_time(&file, run.last_append)?;
        faults.before_sync()?;
        file.sync_all()?;
        Ok(Some(Copied { path: path.to_owned(), size, damage }))
    }
}

impl Run {
    /// A run of chosen segments, each with the most bytes that its copy may have, behind earlier copies
    /// of so many `joined` bytes.
    fn of(state: &mut State, range: Range<usize>, most_of: &[u64], joined: u64) -> Run {
        state.revision += 1;
        let queues = state.queues.len();
        let segments = || state.segments.range(range.clone());
        let earlier = range.len() - most_of.len();
        let most_of_all = std::iter::repeat_n(0, earlier).chain(most_of.iter().copied());
        let sources: Vec<Source> = segments()
            .zip(most_of_all)
            .map(|(segment, most)| Source {
                most,
                base: segment.base,
                end: segment.end(),
                waiting: (0..queues).map(|number| segment.waiting(number) > 0).collect(),
                pending_bytes: segment.pending_bytes(),
            })
            .collect();
        let start = sources.first().map_or(0, |it| it.base);
        let end = sources.last().map_or(0, |it| it.end);
        let last_append = segments().map(|it| it.last_append).max().unwrap_or(0);
        let most = joined + most_of.iter().sum::<u64>();
        Run { sources, span: start..end, last_append, most, revision: state.revision }
    }

    pub(super) fn base(&self) -> u64 {
        self.span.start
    }

    /// The segments that are gone once the copy has taken the first one's name.
    pub(super) fn covered(&self) -> Vec<u64> {
        self.sources.iter().skip(1).map(|it| it.base).collect()
    }

    /// Whether all of its segments are still there.
    pub(super) fn is_in(&self, state: &State) -> bool {
        let first = state.segments.partition_point(|it| it.base < self.span.start);
        let there = state.segments.range(first..).map(|it| (it.base, it.end()));
        there.take(self.sources.len()).eq(self.sources.iter().map(|it| (it.base, it.end)))
    }

    /// Puts the copy in the place of the segments in the books.
    pub(super) fn replace(&self, state: &mut State, copied: &Copied) {
        let at = state.segments.partition_point(|it| it.base < self.span.start);
        let before: u64 = state.segments.range(at..at + self.sources.len()).map(|it| it.size).sum();
        for _ in 1..self.sources.len() {
            if let Some(next) = state.segments.remove(at + 1) {
                // Its part of a share goes with it.
                if let Some((number, bytes)) = next.weight {
                    state.queues[number].weight -= bytes;
                }
                state.segments[at].absorb(next);
            }
        }
        let segment = &mut state.segments[at];
        segment.size = copied.size;
        segment.is_compacted = true;
        segment.tried = None;
        for number in segment.owners().collect::<Vec<_>>() {
            // Who reads one of the files that are gone is to read again, and not to count its records
            // as lost.
            state.queues[number].epoch += 1;
        }
        state.reweigh(at);
        state.freed += before.saturating_sub(copied.size);
        state.compacted += copied.size;
    }

    /// Notes that a copy of these segments was not worth it.
    pub(super) fn note_vain(&self, state: &mut State) {
        for source in &self.sources {
            let at = state.segment_at(source.base);
            if let Some(segment) = state.segments.get_mut(at).filter(|it| it.base == source.base) {
                segment.tried = Some((source.most, source.pending_bytes));
            }
        }
    }
}

impl Copied {
    /// Gives the copy the name that it is read by. It is there after a power cut only when the folder
    /// was synced.
    ///
    /// # Errors
    /// When it cannot be renamed; then nothing is left of it.
    pub(super) fn take_place(&self, directory: &Path, base: u64) -> io::Result<()> {
        fs::rename(&self.path, segment::path(directory, base)).inspect_err(|_| self.discard())
    }

    /// Deletes it.
    pub(super) fn discard(&self) {
        let _absent = fs::remove_file(&self.path);
    }
}

/// Deletes what a crash in the middle of compaction left: copies without a name, and segments that a
/// copy stands for.
///
/// # Errors
/// When the folder or a segment cannot be read, or a file not be deleted.
pub(super) fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".new"));
        if digits.is_some_and(|it| it.len() == 20 && it.bytes().all(|it| it.is_ascii_digit())) {
            fs::remove_file(entry.path())?;
        }
    }
    let (_, covered) = segment::list_live(directory)?;
    for base in covered {
        fs::remove_file(segment::path(directory, base))?;
    }
    Ok(())
}

fn new_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.new"))
}

/// How much is copied of a segment, at most.
fn estimate(segment: &Segment) -> u64 {
    segment.pending_bytes().min(segment.size)
}

fn write_marked(out: &mut impl Write, position: u64, frame: &Frame<'_>) -> io::Result<u64> {
    let bytes = frame.bytes();
    out.write_all(&scanner::mark(position, bytes))?;
    out.write_all(bytes)?;
    Ok((MARK_BYTES + bytes.len()) as u64)
}

/// Gives a copy the time of the last append, which is what a segment's time means.
fn keep_time(file: &File, last_append: u64) -> io::Result<()> {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(last_append));
    time.map_or(Ok(()), |time| file.set_times(FileTimes::new().set_modified(time)))
}
