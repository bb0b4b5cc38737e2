//! The letters against a model: random actions, on a disk that fails, with crashes in the middle of
//! writes. A crash is the folder as it is, perhaps with something half written behind a file or behind
//! the marks. Whatever happens, what was buried and not marked must be listed, nothing else may be, and
//! the counts must add up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::super::disk::{Fault, Faults, framed};
use super::tests::{id, listed, open, record, refused};
use super::*;

const NAMES: [&str; 3] = ["a", "b", AT_KAFKA];

#[derive(Clone, Debug)]
enum Action {
    Bury {
        owner: usize,
        sizes: Vec<usize>,
    },
    BuryInVain {
        owner: usize,
        sizes: Vec<usize>,
        fault: Fault,
    },
    Mark {
        which: Vec<Index>,
        purged: bool,
    },
    Keep {
        fault: Option<Fault>,
    },
    /// With so many bytes of garbage, or of a frame's beginning, behind a file and the marks.
    Crash {
        file: Index,
        torn: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let sizes = || proptest::collection::vec(0..700usize, 1..5);
    let fault = || {
        prop_oneof![
            (0..900usize).prop_map(Fault::FullAfter),
            (0..2_000u64).prop_map(Fault::NoFileAbove),
            Just(Fault::NoSync),
            Just(Fault::Full),
        ]
    };
    prop_oneof![
        6 => (0..3usize, sizes()).prop_map(|(owner, sizes)| Action::Bury { owner, sizes }),
        2 => (0..3usize, sizes(), fault())
            .prop_map(|(owner, sizes, fault)| Action::BuryInVain { owner, sizes, fault }),
        4 => (proptest::collection::vec(any::<Index>(), 0..8), any::<bool>())
            .prop_map(|(which, purged)| Action::Mark { which, purged }),
        3 => proptest::option::of(fault()).prop_map(|fault| Action::Keep { fault }),
        2 => (any::<Index>(), 0..40usize).prop_map(|(file, torn)| Action::Crash { file, torn }),
    ]
}

struct Model {
    folder: TempDir,
    faults: Faults,
    daemon: Option<DeadLetters>,
    /// By owner: events that must be listed.
    there: BTreeMap<&'static str, BTreeSet<String>>,
    buried: BTreeMap<&'static str, u64>,
    marked: BTreeMap<(String, bool), u64>,
    events: u64,
}

impl Model {
    fn new() -> Model {
        let fast = Path::new("/dev/shm");
        let folder = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() };
        let (folder, faults) = (folder.unwrap(), Faults::switchable());
        let daemon = Some(open(folder.path(), MAX_BYTES, &faults));
        let (there, buried, marked) = Default::default();
        Model { folder, faults, daemon, there, buried, marked, events: 0 }
    }

    fn daemon(&self) -> &DeadLetters {
        self.daemon.as_ref().unwrap()
    }

    fn bury(&mut self, owner: usize, sizes: &[usize]) {
        let name = NAMES[owner];
        let events: Vec<String> = sizes
            .iter()
            .map(|_| {
                self.events += 1;
                self.events.to_string()
            })
            .collect();
        let pairs = events.iter().zip(sizes);
        let taken = if is_entrance(name) {
            let events = pairs.map(|(event, size)| (record(event, *size), "no".to_owned()));
            let count = || self.daemon().counts_with(name, || ()).0.buried;
            let before = count();
            let rejected = self.daemon().reject(AT_KAFKA, events.collect());
            // Of what fails the first ones may be there.
            let taken = usize::try_from(count() - before).unwrap();
            assert!(rejected.is_err() || taken == sizes.len());
            taken
        } else {
            let letters: Vec<_> = pairs.map(|(event, size)| refused(event, *size)).collect();
            let mut settled = 0;
            let taken = self.daemon().bury(&id(name), &letters, true, |count| settled = count);
            let taken = taken.unwrap_or(0);
            assert_eq!(settled, taken);
            taken
        };
        *self.buried.entry(name).or_default() += taken as u64;
        self.there.entry(name).or_default().extend(events.into_iter().take(taken));
    }

    fn run(&mut self, action: Action) {
        match action {
            Action::Bury { owner, sizes } => self.bury(owner, &sizes),
            Action::BuryInVain { owner, sizes, fault } => {
                self.faults.set(fault);
                self.bury(owner, &sizes);
                self.faults.set(Fault::None);
            }
            Action::Mark { which, purged } => self.mark(&which, purged),
            Action::Keep { fault } => {
                self.faults.set(fault.unwrap_or(Fault::None));
                self.daemon().keep(|| {});
                self.faults.set(Fault::None);
            }
            Action::Crash { file, torn } => self.crash(file, torn),
        }
    }

    fn mark(&mut self, which: &[Index], purged: bool) {
        let letters = listed(self.folder.path());
        if letters.is_empty() {
            return;
        }
        let chosen: BTreeSet<usize> = which.iter().map(|it| it.index(letters.len())).collect();
        let chosen: Vec<StoredLetter> = chosen.into_iter().map(|at| letters[at].clone()).collect();
        let fate = if purged { Fate::Purged } else { Fate::Redriven };
        forget_dead_letters(self.folder.path(), fate, &chosen).unwrap();
        for letter in chosen {
            let (name, there) =
                self.there.iter_mut().find(|(name, _)| **name == letter.destination).unwrap();
            there.remove(&*letter.record.event_id);
            *self.marked.entry(((*name).to_owned(), purged)).or_default() += 1;
        }
    }

    fn crash(&mut self, file: Index, torn: usize) {
        self.daemon = None;
        let folder = folder_in(self.folder.path());
        let files = framed::list(&folder).unwrap();
        let mut paths = Vec::new();
        if !files.is_empty() {
            paths.push(framed::path(&folder, files[file.index(files.len())]));
        }
        let mut beginning = Vec::new();
        framed::encode((*record("torn", 100)).clone(), &mut beginning);
        marks::leave_torn(&folder, &beginning[..torn]);
        for path in paths {
            if let Ok(mut file) = OpenOptions::new().append(true).open(path) {
                file.write_all(&beginning[..torn]).unwrap();
            }
        }
        // What a process that was killed while it wrote leaves beside.
        fs::write(folder.join("totals.new"), "half").unwrap();
        self.daemon = Some(open(self.folder.path(), MAX_BYTES, &self.faults));
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        self.daemon().read_marks().unwrap();
        let mut listed_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for letter in listed(self.folder.path()) {
            let events = listed_of.entry(letter.destination).or_default();
            prop_assert!(events.insert(letter.record.event_id.to_string()), "listed twice");
        }
        for name in NAMES {
            let (counts, ()) = self.daemon().counts_with(name, || ());
            let listed = listed_of.remove(name).unwrap_or_default();
            let there = self.there.entry(name).or_default();
            let marked = |purged| self.marked.get(&(name.to_owned(), purged)).copied().unwrap_or(0);
            if is_entrance(name) {
                prop_assert!(listed.is_subset(there), "{name}: {listed:?} {there:?}");
                let gone = there.len() as u64 - listed.len() as u64;
                prop_assert_eq!(counts.given_way, gone, "{:?}", counts);
            } else {
                prop_assert_eq!(&listed, &*there, "{}", name);
                prop_assert_eq!(counts.given_way, 0);
            }
            prop_assert_eq!(counts.buried, self.buried.get(name).copied().unwrap_or(0));
            prop_assert_eq!(counts.listed, listed.len() as u64);
            prop_assert_eq!((counts.purged, counts.redriven), (marked(true), marked(false)));
            prop_assert_eq!(counts.lost, 0);
        }
        let bytes: u64 = NAMES.iter().map(|it| self.daemon().counts_with(it, || ()).0.bytes).sum();
        prop_assert!(bytes <= MAX_BYTES, "{bytes}");
        Ok(())
    }
}

/// Small, so that shares fill and files are begun.
const MAX_BYTES: u64 = 48 << 10;

proptest! {
    #[test]
    fn whatever_happens_letters_are_listed_until_they_are_marked(
        actions in proptest::collection::vec(action(), 1..60),
    ) {
        let mut model = Model::new();
        for action in actions {
            model.run(action);
            model.check()?;
        }
    }
}
