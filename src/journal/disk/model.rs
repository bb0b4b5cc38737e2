//! The log against a model: random actions, with crashes in the middle of writes.
//!
//! A crash is a copy of the folder: as it is (everything that an append returned for was synced),
//! with an unfinished append behind it, cut anywhere and perhaps with a byte flipped, with or without
//! the last checkpoint, or after all of a keeper's work with nothing deleted yet, and perhaps with a
//! copy that was not finished; a power cut may take the end of what was settled since the checkpoint.
//! The log must then hold all that was kept and not settled, may repeat what was settled since the
//! checkpoint only if the power was cut, and must never make anything up. After each action the ledger
//! must add up. Failing cases print their seed; `PROPTEST_CASES` sets how many are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::faults::Fault;
use super::tests::{entry, folder, id, options};
use super::*;
use crate::journal::{AppendError, Entry, Full, Generation, Offer, Refusal};
use crate::resources::Overflow;

mod checks;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Action {
    /// Records of these sizes for these destinations (bits), and events that their filters turned
    /// down; no sizes: all were.
    Append {
        sizes: Vec<usize>,
        to: u8,
        turned_down: u64,
    },
    /// The same by a set of subscriptions that was replaced.
    AppendOutdated {
        size: usize,
    },
    /// The subscriptions change.
    Begin,
    /// The same on a disk that fails.
    AppendInVain {
        size: usize,
        fault: Fault,
    },
    Read {
        at: usize,
        records: usize,
    },
    Settle {
        at: usize,
        which: Vec<Index>,
    },
    /// A new reader takes the place of the old one.
    Attach(usize),
    Terms(usize, Terms),
    Checkpoint,
    /// The keeper makes all the room that it can.
    Compact,
    Crash(Crash),
}

#[derive(Clone, Debug)]
struct Crash {
    /// Bytes of an append that was not finished, in thousandths of it.
    unfinished: Option<usize>,
    flip: Option<Index>,
    /// Bytes of the header of a segment that was only just begun.
    begun: Option<usize>,
    checkpoint_lost: bool,
    /// It comes after a checkpoint was written, or also after segments were compacted, and before any
    /// are deleted.
    undeleted: Undeleted,
    /// Bytes of a copy that was only begun.
    copying: Option<usize>,
    /// Of what was noted as settled since the checkpoint this many thousandths are left.
    power_cut: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Undeleted {
    Nothing,
    AfterCheckpoint,
    AfterCompaction,
}

fn action() -> impl Strategy<Value = Action> {
    let sizes = || proptest::collection::vec(0..900usize, 0..4);
    let fault = prop_oneof![(0..900usize).prop_map(Fault::FullAfter), Just(Fault::NoSync)];
    let crash = (
        proptest::option::of(0..1_000usize),
        proptest::option::of(any::<Index>()),
        proptest::option::of(0..=32usize),
        any::<bool>(),
        prop_oneof![
            Just(Undeleted::Nothing),
            Just(Undeleted::AfterCheckpoint),
            Just(Undeleted::AfterCompaction)
        ],
        proptest::option::of(0..=200usize),
        proptest::option::of(0..1_000usize),
    );
    let crash = crash.prop_map(|it| {
        let (unfinished, flip, begun, checkpoint_lost, undeleted, copying, power_cut) = it;
        Action::Crash(Crash {
            unfinished,
            flip,
            begun,
            checkpoint_lost,
            undeleted,
            copying,
            power_cut,
        })
    });
    let terms = (any::<bool>(), proptest::option::of(500..6_000u64));
    let terms = terms.prop_map(|(drops, max_pending_bytes)| {
        let overflow = if drops { Overflow::DropOldest } else { Overflow::Block };
        Terms { overflow, max_pending_bytes }
    });
    prop_oneof![
        8 => (sizes(), 1..8u8, 0..3u64)
            .prop_map(|(sizes, to, turned_down)| Action::Append { sizes, to, turned_down }),
        1 => (0..900usize).prop_map(|size| Action::AppendOutdated { size }),
        1 => Just(Action::Begin),
        1 => (0..900usize, fault).prop_map(|(size, fault)| Action::AppendInVain { size, fault }),
        6 => (0..3usize, 1..6usize).prop_map(|(at, records)| Action::Read { at, records }),
        6 => (0..3usize, proptest::collection::vec(any::<Index>(), 0..4))
            .prop_map(|(at, which)| Action::Settle { at, which }),
        1 => (0..3usize).prop_map(Action::Attach),
        1 => (0..3usize, terms).prop_map(|(at, terms)| Action::Terms(at, terms)),
        3 => Just(Action::Checkpoint),
        2 => Just(Action::Compact),
        2 => crash,
    ]
}

/// What a destination must have, said as simply as possible.
#[derive(Default)]
struct Queue {
    terms: Terms,
    /// Whether it ever had a share with `drop_oldest`.
    gave_way: bool,
    reader: Option<Reader>,
    /// Kept and not settled.
    owed: BTreeSet<u64>,
    /// Settled or given up, but perhaps not so after a power cut.
    settled_since_checkpoint: BTreeSet<u64>,
    /// Those of them that were given up, which nothing notes but a checkpoint.
    given_up_since_checkpoint: BTreeSet<u64>,
    /// Every record that may come: what was kept, and what a crash cut off in the middle.
    possible: BTreeSet<u64>,
    /// Read through the present reader and not settled, with positions.
    on_its_way: BTreeMap<u64, u64>,
    read: BTreeSet<u64>,
    /// Records given up so far, and how many of these still stand among the owed: which they are
    /// shows when later ones are read.
    dropped: u64,
    unknown_drops: u64,
    accepted: u64,
    filtered_out: u64,
    /// Of the filtered out, those that a crash may forget.
    not_saved: u64,
}

struct Model {
    runtime: Runtime,
    folder: TempDir,
    faults: Faults,
    cache_bytes: usize,
    max_bytes: u64,
    disk: Option<Disk>,
    queues: [Queue; 3],
    events: u64,
    generation: Generation,
}

impl Model {
    fn new(cache_bytes: usize, max_bytes: u64) -> Model {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let mut model = Model {
            runtime: builder.enable_time().build().unwrap(),
            folder: folder(),
            faults: Faults::switchable(),
            cache_bytes,
            max_bytes,
            disk: None,
            queues: Default::default(),
            events: 0,
            generation: Generation::default(),
        };
        model.open();
        model
    }

    fn open(&mut self) {
        let options = Options {
            segment_bytes: 3_000,
            cache_bytes: self.cache_bytes,
            max_bytes: self.max_bytes,
            faults: self.faults.clone(),
            ..options()
        };
        let disk = Disk::open(self.folder.path(), &options).unwrap();
        for (queue, name) in self.queues.iter_mut().zip(NAMES) {
            queue.terms = Terms::default();
            queue.reader = Some(disk.attach(&id(name), queue.terms));
            queue.on_its_way.clear();
            queue.read.clear();
        }
        self.disk = Some(disk);
    }

    fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    fn entries(&mut self, sizes: &[usize], to: u8) -> (Vec<Entry>, Vec<u64>, Vec<usize>) {
        let to: Vec<usize> = (0..3).filter(|bit| to & (1 << bit) != 0).collect();
        let names: Vec<&str> = to.iter().map(|at| NAMES[*at]).collect();
        let events: Vec<u64> = (self.events..).take(sizes.len()).collect();
        self.events += events.len() as u64;
        let entries = events.iter().zip(sizes).map(|(event, size)| entry(*event, *size, &names));
        (entries.collect(), events, to)
    }

    fn run(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Append { sizes, to, turned_down } => self.append(&sizes, to, turned_down)?,
            Action::AppendOutdated { size } => {
                let outdated = self.generation;
                self.begin();
                for sizes in [&[size][..], &[]] {
                    let (entries, offers, ..) = self.body(sizes, 7, 1);
                    let appending = self.disk().append(outdated, entries, offers);
                    let appended = self.runtime.block_on(appending);
                    prop_assert_eq!(appended, Err(AppendError::Outdated));
                }
            }
            Action::Begin => self.begin(),
            Action::AppendInVain { size, fault } => {
                let (entries, offers, ..) = self.body(&[size], 7, 0);
                // A fault that leaves room for all of it is none.
                let fits = matches!(fault, Fault::FullAfter(limit) if limit > size);
                if !fits {
                    self.faults.set(fault);
                    let appending = self.disk().append(self.generation, entries, offers);
                    let appended = self.runtime.block_on(appending);
                    prop_assert!(matches!(appended, Err(AppendError::Full(_))), "{:?}", appended);
                    self.faults.set(Fault::None);
                    self.notice_drops();
                }
            }
            Action::Terms(at, terms) => {
                self.disk().set_terms(&id(NAMES[at]), terms);
                let queue = &mut self.queues[at];
                queue.terms = terms;
                queue.gave_way |= terms.overflow == Overflow::DropOldest;
            }
            Action::Read { at, records } => self.read(at, records)?,
            Action::Settle { at, which } => self.settle(at, &which),
            Action::Attach(at) => {
                let reader = self.disk().attach(&id(NAMES[at]), self.queues[at].terms);
                let queue = &mut self.queues[at];
                queue.reader = Some(reader);
                for event in std::mem::take(&mut queue.on_its_way).keys() {
                    queue.read.remove(event);
                }
            }
            Action::Checkpoint => self.checkpoint(),
            Action::Compact => {
                self.disk().compact();
                self.note_saved();
                self.check_files()?;
            }
            Action::Crash(crash) => self.crash(&crash)?,
        }
        self.check_books()
    }

    fn begin(&mut self) {
        self.generation = self.generation.next();
        self.runtime.block_on(self.disk().begin(self.generation));
    }

    /// Records of these sizes for these destinations with what is offered to them, the events, and the
    /// destinations' numbers.
    fn body(
        &mut self,
        sizes: &[usize],
        to: u8,
        turned_down: u64,
    ) -> (Vec<Entry>, Vec<Offer>, Vec<u64>, Vec<usize>) {
        let (entries, events, to) = self.entries(sizes, to);
        let accepted = entries.len() as u64 + turned_down;
        let offer = |at: &usize| {
            let destination = id(NAMES[*at]);
            Offer { destination, accepted, filtered_out: turned_down }
        };
        let offers = to.iter().map(offer).collect();
        (entries, offers, events, to)
    }

    fn append(&mut self, sizes: &[usize], to: u8, turned_down: u64) -> Result<(), TestCaseError> {
        let (entries, offers, events, to) = self.body(sizes, to, turned_down);
        let accepted = entries.len() as u64 + turned_down;
        match self.runtime.block_on(self.disk().append(self.generation, entries, offers)) {
            Ok(()) => {
                // What was noted, or copied, while the disk failed is told until that is done again.
                let passing = ["cannot be compacted", "cannot be noted"];
                let error = self.disk().status().error;
                let well = error.is_none_or(|it| passing.iter().any(|part| it.contains(part)));
                prop_assert!(well || events.is_empty());
                for at in to {
                    let queue = &mut self.queues[at];
                    queue.owed.extend(&events);
                    queue.possible.extend(&events);
                    queue.accepted += accepted;
                    queue.filtered_out += turned_down;
                    queue.not_saved += if events.is_empty() { turned_down } else { 0 };
                }
            }
            Err(error) => {
                let has = |id: &ResourceId| to.iter().any(|at| NAMES[*at] == id.as_str());
                let expected = match &error {
                    AppendError::Full(Full { cause: Refusal::NoRoomFor(ids), .. }) => {
                        !ids.is_empty() && ids.iter().all(has)
                    }
                    error => {
                        *error == Full::new(Refusal::NoRoom).into() && self.max_bytes < 1 << 20
                    }
                };
                prop_assert!(expected, "{:?}", error);
            }
        }
        self.notice_drops();
        Ok(())
    }

    fn notice_drops(&mut self) {
        for (at, name) in NAMES.into_iter().enumerate() {
            let dropped = self.disk().account(&id(name)).unwrap().dropped;
            let queue = &mut self.queues[at];
            queue.unknown_drops += dropped - queue.dropped;
            queue.dropped = dropped;
        }
    }

    fn checkpoint(&mut self) {
        self.disk().shared.checkpoint();
        self.note_saved();
    }

    fn note_saved(&mut self) {
        for queue in &mut self.queues {
            queue.settled_since_checkpoint.clear();
            queue.given_up_since_checkpoint.clear();
            queue.not_saved = 0;
        }
    }

    /// Reads and demands that it is what is owed and was not read yet, in order.
    fn read(&mut self, at: usize, records: usize) -> Result<(), TestCaseError> {
        let queue = &mut self.queues[at];
        let waiting: Vec<u64> =
            queue.owed.iter().filter(|it| !queue.read.contains(it)).copied().collect();
        if waiting.len() as u64 == queue.unknown_drops {
            return Ok(());
        }
        let disk = self.disk.as_ref().unwrap();
        let reader = queue.reader.as_mut().unwrap();
        let name = id(NAMES[at]);
        let reading = async {
            let read = disk.read(&name, reader, (records, usize::MAX));
            tokio::time::timeout(Duration::from_secs(10), read).await
        };
        let read = self.runtime.block_on(reading);
        let read = read.map_err(|_| TestCaseError::fail(format!("{waiting:?} never came")))?;
        prop_assert!(read.len() <= records);
        let events: Vec<u64> = read.iter().map(|it| it.record.event_id.parse().unwrap()).collect();
        prop_assert!(events.is_sorted() && !events.is_empty());
        let passed_over = |it: &&u64| **it < events[events.len() - 1] && !events.contains(it);
        let given_up: Vec<u64> = waiting.iter().filter(passed_over).copied().collect();
        prop_assert!(given_up.len() as u64 <= queue.unknown_drops, "passed over {:?}", given_up);
        queue.unknown_drops -= given_up.len() as u64;
        for event in given_up {
            queue.owed.remove(&event);
            queue.settled_since_checkpoint.insert(event);
            queue.given_up_since_checkpoint.insert(event);
        }
        prop_assert!(events.iter().all(|event| waiting.contains(event)));
        queue.read.extend(&events);
        queue.on_its_way.extend(events.into_iter().zip(read.iter().map(|it| it.position)));
        Ok(())
    }

    fn settle(&mut self, at: usize, which: &[Index]) {
        let mut settled = Vec::new();
        for index in which {
            let queue = &mut self.queues[at];
            if queue.on_its_way.is_empty() {
                break;
            }
            let event = *queue.on_its_way.keys().nth(index.index(queue.on_its_way.len())).unwrap();
            let position = queue.on_its_way.remove(&event).unwrap();
            queue.owed.remove(&event);
            queue.settled_since_checkpoint.insert(event);
            settled.push((position, Outcome::Delivered));
        }
        self.runtime.block_on(self.disk().note(&id(NAMES[at]), &settled));
        self.disk().settle(&id(NAMES[at]), &settled);
    }

    fn crash(&mut self, crash: &Crash) -> Result<(), TestCaseError> {
        let copy = folder();
        let copy_files = |from: &Path, wanted: fn(&str) -> bool| {
            for file in fs::read_dir(from).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap();
                if wanted(name.to_str().unwrap()) {
                    fs::copy(&path, copy.path().join(name)).unwrap();
                }
            }
        };
        copy_files(self.folder.path(), |_| true);
        match crash.undeleted {
            Undeleted::Nothing => {}
            Undeleted::AfterCheckpoint => {
                self.checkpoint();
                copy_files(self.folder.path(), |name| name == "cursors");
            }
            Undeleted::AfterCompaction => {
                self.disk().compact();
                self.note_saved();
                copy_files(self.folder.path(), |_| true);
            }
        }
        drop(self.disk.take());
        self.folder = copy;
        if let Some(thousandths) = crash.unfinished {
            self.leave_unfinished(thousandths, crash.flip);
        }
        if let Some(bytes) = crash.copying {
            let header = segment::compacted_header(&(0..9), 1, 1);
            let begun = header.iter().copied().cycle().take(bytes).collect::<Vec<u8>>();
            fs::write(self.folder.path().join(format!("{:020}.new", 0)), begun).unwrap();
        }
        if let Some(bytes) = crash.begun.filter(|_| crash.unfinished.is_none()) {
            let base = self.last_segment().map_or(0, |(_, end, _)| end);
            let header = segment::header(base, 1);
            fs::write(segment::path(self.folder.path(), base), &header[..bytes]).unwrap();
        }
        if let Some(thousandths) = crash.power_cut {
            progress::cut(self.folder.path(), thousandths);
        }
        if crash.checkpoint_lost {
            let _absent = fs::remove_file(self.folder.path().join("cursors"));
        }
        self.open();
        for (at, name) in NAMES.into_iter().enumerate() {
            self.compare_ledger(at, name, crash)?;
            self.take_stock(at, name, crash)?;
        }
        Ok(())
    }

    /// What was counted before the crash must be counted still; then the model goes on from there.
    fn compare_ledger(
        &mut self,
        at: usize,
        name: &str,
        crash: &Crash,
    ) -> Result<(), TestCaseError> {
        let account = self.disk().account(&id(name)).unwrap();
        let queue = &mut self.queues[at];
        if !crash.checkpoint_lost {
            // What gives way wakes the keeper, so some of it may have been saved all the same.
            let saved = queue.filtered_out - queue.not_saved..=queue.filtered_out;
            prop_assert!(saved.contains(&account.filtered_out), "{:?} {:?}", saved, account);
            let accepted = queue.accepted - (queue.filtered_out - account.filtered_out);
            let unfinished = if crash.unfinished.is_some() { 3 } else { 0 };
            prop_assert!((accepted..=accepted + unfinished).contains(&account.accepted));
        }
        queue.accepted = account.accepted;
        queue.filtered_out = account.filtered_out;
        queue.not_saved = 0;
        queue.dropped = account.dropped;
        Ok(())
    }

    /// Where the last segment begins and ends, and whether it is a compacted one.
    fn last_segment(&self) -> Option<(u64, u64, bool)> {
        let base = *segment::list_live(self.folder.path()).unwrap().0.last()?;
        let opened = segment::open(self.folder.path(), base).unwrap()?;
        let end = opened.compacted.map_or(base + opened.size, |it| it.end.unwrap());
        Some((base, end, opened.compacted.is_some()))
    }

    /// Puts a part of an append behind the last segment, as a crash in the middle of it would.
    fn leave_unfinished(&mut self, thousandths: usize, flip: Option<Index>) {
        let (entries, events, to) = self.entries(&[300, 10, 500], 7);
        // A compacted segment is never appended to.
        let Some((last, _, false)) = self.last_segment() else { return };
        let mut bytes = Vec::new();
        for entry in &entries {
            frame::encode(entry, 1, &mut bytes);
        }
        bytes.truncate(bytes.len() * thousandths / 1_000);
        if let Some(flip) = flip.filter(|_| !bytes.is_empty()) {
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
        }
        let path = segment::path(self.folder.path(), last);
        let mut all = fs::read(&path).unwrap();
        all.extend(bytes);
        fs::write(&path, all).unwrap();
        for at in to {
            self.queues[at].possible.extend(&events);
        }
    }

    /// Reads all that the reopened log has for a destination, compares, and starts anew from there.
    fn take_stock(&mut self, at: usize, name: &str, crash: &Crash) -> Result<(), TestCaseError> {
        let pending = self.disk().account(&id(name)).unwrap().pending_records;
        let mut there = Vec::new();
        let disk = self.disk.as_ref().unwrap();
        let queue = &mut self.queues[at];
        let mut reader = disk.attach(&id(name), Terms::default());
        let name = id(name);
        while (there.len() as u64) < pending {
            let read = disk.read(&name, &mut reader, (7, usize::MAX));
            let read = async { tokio::time::timeout(Duration::from_secs(10), read).await };
            let read = self.runtime.block_on(read);
            let read = read.map_err(|_| TestCaseError::fail(format!("only {there:?} came")))?;
            there.extend(read.iter().map(|it| it.record.event_id.parse::<u64>().unwrap()));
        }
        prop_assert!(there.is_sorted(), "{:?}", there);
        let there: BTreeSet<u64> = there.into_iter().collect();
        prop_assert_eq!(there.len() as u64, pending, "nothing comes twice");
        let lost: Vec<_> = queue.owed.difference(&there).collect();
        prop_assert!(lost.len() as u64 <= queue.unknown_drops, "lost {:?}", lost);
        queue.unknown_drops = 0;
        let invented: Vec<_> = there.difference(&queue.possible).collect();
        prop_assert!(invented.is_empty(), "invented {:?}", invented);
        if !crash.checkpoint_lost {
            let since = match crash.power_cut {
                Some(_) => &queue.settled_since_checkpoint,
                None => &queue.given_up_since_checkpoint,
            };
            let kept = queue.owed.union(since).copied().collect();
            let repeated: BTreeSet<u64> = there.difference(&kept).copied().collect();
            let unfinished = self.events.saturating_sub(3);
            prop_assert!(
                repeated.iter().all(|event| *event >= unfinished),
                "delivered again without need: {:?}",
                repeated
            );
        }
        // The checkpoint is still the old one: a power cut now may bring back what a kill did not, and
        // without one everything.
        if crash.checkpoint_lost {
            queue.settled_since_checkpoint.extend(&queue.possible);
        }
        queue.settled_since_checkpoint.retain(|event| !there.contains(event));
        queue.given_up_since_checkpoint.retain(|event| !there.contains(event));
        queue.owed = there;
        queue.reader = Some(disk.attach(&name, Terms::default()));
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_happens_all_that_was_kept_comes_and_nothing_else(
        actions in proptest::collection::vec(action(), 1..50),
        cache_bytes in prop_oneof![Just(0usize), Just(3_000), Just(1 << 20)],
        max_bytes in prop_oneof![Just(9_000u64), Just(1 << 30)],
    ) {
        let mut model = Model::new(cache_bytes, max_bytes);
        for action in actions {
            model.run(action)?;
        }
    }
}
