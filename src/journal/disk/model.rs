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
mod crash;

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
    /// Delivered, or buried: then nothing notes it but the letter.
    Settle {
        at: usize,
        which: Vec<Index>,
        buried: bool,
    },
    /// A new reader takes the place of the old one.
    Attach(usize),
    Terms(usize, Terms),
    Checkpoint,
    /// The disk has no room for it: what is settled goes nevertheless.
    CheckpointInVain,
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
        6 => (0..3usize, proptest::collection::vec(any::<Index>(), 0..4), any::<bool>())
            .prop_map(|(at, which, buried)| Action::Settle { at, which, buried }),
        1 => (0..3usize).prop_map(Action::Attach),
        1 => (0..3usize, terms).prop_map(|(at, terms)| Action::Terms(at, terms)),
        3 => Just(Action::Checkpoint),
        2 => Just(Action::CheckpointInVain),
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
    dead_lettered: u64,
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
    /// What the dead letters hold.
    buried: Buried,
    /// Segments may have been deleted since the last checkpoint.
    deleted_unsaved: bool,
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
            buried: Buried::default(),
            deleted_unsaved: false,
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
            buried: self.buried.clone(),
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
            Action::Settle { at, which, buried } => self.settle(at, &which, buried),
            Action::Attach(at) => {
                let reader = self.disk().attach(&id(NAMES[at]), self.queues[at].terms);
                let queue = &mut self.queues[at];
                queue.reader = Some(reader);
                for event in std::mem::take(&mut queue.on_its_way).keys() {
                    queue.read.remove(event);
                }
            }
            Action::Checkpoint => self.checkpoint(),
            Action::CheckpointInVain => self.checkpoint_in_vain(),
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
                // What was noted, copied or saved while the disk failed is told until that is done again.
                let passing = ["cannot be compacted", "cannot be noted", "cannot be saved"];
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

    fn checkpoint_in_vain(&mut self) {
        // What is given up is noted by nothing, so that it would count as lost after a crash; and where
        // there never was a checkpoint nobody knows of what has gone.
        let is_any_saved = self.folder.path().join("cursors").exists();
        if !is_any_saved || self.queues.iter().any(|queue| queue.gave_way) {
            return;
        }
        self.faults.set(Fault::Full);
        self.disk().shared.checkpoint();
        self.faults.set(Fault::None);
        self.deleted_unsaved = true;
    }

    fn note_saved(&mut self) {
        self.deleted_unsaved = false;
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
        let read = read.unwrap();
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

    fn settle(&mut self, at: usize, which: &[Index], buried: bool) {
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
            if buried {
                queue.dead_lettered += 1;
                self.buried.insert(id(NAMES[at]), position, &event.to_string());
            }
            let outcome = if buried { Outcome::DeadLettered } else { Outcome::Delivered };
            settled.push((position, outcome));
        }
        if buried {
            self.disk().settle(&id(NAMES[at]), &settled);
        } else {
            self.runtime.block_on(self.disk().settle_noted(&id(NAMES[at]), &settled));
        }
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
