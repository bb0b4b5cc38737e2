//! Following files against a model: random writes, rotations, truncations, restarts and kills.
//!
//! Each complete line that is not cut off unread is handed on at least once, always with one id, and no two
//! lines have the same. What an id is made of is taken as the id: the file's key and the line's offset.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::follower::{Event, Follower};
use crate::journal::Settlement;

/// Longest line that is read whole.
const MAX_LINE: usize = 200;

#[derive(Clone, Debug)]
enum Action {
    /// Appends so many lines of about a length.
    Write(usize, usize),
    /// Appends a line's beginning; the next write ends it.
    Begin,
    /// Renames the log and begins a new one.
    Rotate,
    /// Renames it and begins none.
    Rename,
    /// Copies it and cuts it to nothing.
    CopyTruncate,
    /// Looks for files, and reads at most so many times in each.
    Read(usize),
    /// Lets the oldest lines that were handed on be kept.
    Keep(usize),
    Store,
    /// A minute goes by.
    Wait,
    /// Stops after everything is kept, and starts.
    Restart,
    /// Dies, and starts.
    Kill,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..5_usize, prop_oneof![Just(20), Just(150), Just(500)]).prop_map(|(n, len)| Action::Write(n, len)),
        1 => Just(Action::Begin),
        2 => Just(Action::Rotate),
        1 => Just(Action::Rename),
        2 => Just(Action::CopyTruncate),
        8 => (1..4_usize).prop_map(Action::Read),
        4 => (1..6_usize).prop_map(Action::Keep),
        4 => Just(Action::Store),
        1 => Just(Action::Wait),
        1 => Just(Action::Restart),
        2 => Just(Action::Kill),
    ]
}

struct World {
    folder: TempDir,
    follower: Follower,
    now: Instant,
    number: usize,
    rotations: usize,
    /// Whether the folder was ever looked at.
    is_looked: bool,
    /// Since the last look. Logs are rotated in the one way or in the other.
    is_renamed: bool,
    is_copied: bool,
    /// Complete lines of the file at the path, which may be cut off.
    current: Vec<String>,
    /// The beginning of a line without an end.
    begun: String,
    /// Complete lines that may not be missed.
    due: BTreeSet<String>,
    /// Lines that were cut off before they were seen to be handed on.
    cut: BTreeSet<String>,
    ids: BTreeMap<String, (u64, u64)>,
    lines: BTreeMap<(u64, u64), String>,
    tokens: Vec<std::sync::Arc<()>>,
    told_cut: u64,
    truly_cut: u64,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let follower = World::open(&folder);
        World {
            folder,
            follower,
            now: Instant::now(),
            number: 0,
            rotations: 0,
            is_looked: false,
            is_renamed: false,
            is_copied: false,
            current: Vec::new(),
            begun: String::new(),
            due: BTreeSet::new(),
            cut: BTreeSet::new(),
            ids: BTreeMap::new(),
            lines: BTreeMap::new(),
            tokens: Vec::new(),
            told_cut: 0,
            truly_cut: 0,
        }
    }

    fn open(folder: &TempDir) -> Follower {
        Follower::open(vec![folder.path().join("access.log")], &folder.path().join("files.json"))
            .unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    fn append(&self, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.log());
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Write(count, length) => {
                for _ in 0..count {
                    self.number += 1;
                    let rest = format!("line {} {}", self.number, "x".repeat(length));
                    let line = std::mem::take(&mut self.begun) + &rest;
                    self.append(&format!("{rest}\n"));
                    self.due.insert(line.clone());
                    self.current.push(line);
                }
            }
            Action::Begin => {
                self.number += 1;
                let beginning = format!("begun {} ", self.number);
                self.append(&beginning);
                self.begun += &beginning;
            }
            Action::Rotate | Action::Rename => {
                if self.log().exists() && !self.is_copied {
                    self.is_renamed = true;
                    self.rotations += 1;
                    let to = self.folder.path().join(format!("access.log.{}", self.rotations));
                    fs::rename(self.log(), to).unwrap();
                    // What was renamed before anybody ever looked is as old as any other rotated file.
                    if !self.is_looked {
                        self.due.retain(|it| !self.current.contains(it));
                    }
                    self.cut.extend(self.current.drain(..));
                    self.begun.clear();
                    if matches!(action, Action::Rotate) {
                        File::create(self.log()).unwrap();
                    }
                }
            }
            Action::CopyTruncate if self.is_renamed => {}
            Action::CopyTruncate => {
                self.is_copied = true;
                self.cut();
            }
            Action::Read(times) => self.read(times),
            Action::Keep(count) => {
                self.tokens.drain(..count.min(self.tokens.len()));
            }
            Action::Store => drop(self.follower.advance().unwrap()),
            Action::Wait => self.now += Duration::from_secs(61),
            Action::Restart => {
                self.tokens.clear();
                assert!(self.follower.advance().unwrap());
                self.follower = World::open(&self.folder);
            }
            Action::Kill => {
                self.tokens.clear();
                self.follower = World::open(&self.folder);
            }
        }
    }

    fn cut(&mut self) {
        let Ok(text) = fs::read(self.log()) else { return };
        self.rotations += 1;
        fs::write(self.folder.path().join(format!("access.log.{}", self.rotations)), &text)
            .unwrap();
        OpenOptions::new().write(true).truncate(true).open(self.log()).unwrap();
        for line in self.current.drain(..) {
            if !self.ids.contains_key(&line) {
                self.truly_cut += line.len() as u64 + 1;
                self.due.remove(&line);
                self.cut.insert(line);
            }
        }
        self.truly_cut += self.begun.len() as u64;
        self.begun.clear();
    }

    fn read(&mut self, times: usize) {
        self.is_looked = true;
        (self.is_renamed, self.is_copied) = (false, false);
        for event in self.follower.look(self.now) {
            assert!(!matches!(event, Event::TooMany | Event::Unreadable(..)), "{event:?}");
        }
        for at in 0..self.follower.len() {
            for _ in 0..times {
                match self.follower.read(at, MAX_LINE, self.now) {
                    Ok(None) => break,
                    Ok(Some(chunk)) => {
                        let (_, _, key) = self.follower.about(at);
                        self.take(key, chunk.start, &chunk.text);
                        let (token, settlement) = Settlement::pending();
                        self.tokens.push(token);
                        self.follower.handed_on(at, chunk.end, settlement);
                    }
                    Err(Event::Cut(_, unread)) => self.told_cut += unread,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }

    fn take(&mut self, key: u64, mut offset: u64, text: &[u8]) {
        for line in str::from_utf8(text).unwrap().lines() {
            // Of a line that is too long only the beginning comes, by itself.
            let whole = if line.len() > MAX_LINE && text.len() == line.len() + 1 {
                let found = self.due.iter().chain(&self.cut).find(|it| it.starts_with(line));
                found.unwrap_or_else(|| panic!("{line} is no line's beginning")).clone()
            } else {
                line.to_owned()
            };
            assert!(
                self.due.contains(&whole) || self.cut.contains(&whole),
                "{whole} was never written"
            );
            let id = (key, offset);
            let before = self.ids.entry(whole.clone()).or_insert(id);
            assert_eq!(*before, id, "a repeat has the same id: {whole}");
            let same = self.lines.entry(id).or_insert_with(|| whole.clone());
            assert_eq!(*same, whole, "two lines have one id");
            offset += line.len() as u64 + 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_line_is_handed_on_at_least_once_with_one_id(actions in prop::collection::vec(action(), 1..60)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
        }
        world.read(1_000);
        world.read(1_000);
        let missed: Vec<_> = world.due.iter().filter(|it| !world.ids.contains_key(*it)).collect();
        prop_assert!(missed.is_empty(), "{missed:?}");
        prop_assert!(world.told_cut <= world.truly_cut, "{} {}", world.told_cut, world.truly_cut);
    }
}
