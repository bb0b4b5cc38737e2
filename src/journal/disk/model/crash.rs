//! A crash, and what must be there after it.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::tests::{folder, id};
use super::super::*;
use super::{Crash, Model, NAMES, Undeleted};

impl Model {
    pub(super) fn crash(&mut self, crash: &Crash) -> Result<(), TestCaseError> {
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
        // What was noted in vain may have left the disk.
        if let Some(thousandths) = crash.power_cut.filter(|_| !self.deleted_unsaved) {
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
            prop_assert_eq!(account.dead_lettered, queue.dead_lettered, "{:?}", account);
        }
        queue.dead_lettered = account.dead_lettered;
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
            let read = read.unwrap();
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
