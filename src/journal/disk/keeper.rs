//! The keeper: saves the cursors, deletes what nobody needs, compacts, and looks after what it kept.
//!
//! One pass each second, and whenever an append waits for room. What is deleted, copied and given up is
//! decided in `room`; how it is copied is described in `compaction`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::compaction::{Copied, Plan, Run};
use super::state::{JournalProblem, State};
use super::{Shared, checkpoint, now_ms, segment};
use crate::lock::lock;

impl Shared {
    /// Keeps until the log ends.
    pub(super) fn keep(&self, every: Duration) {
        while !self.ends.load(Ordering::Acquire) {
            thread::park_timeout(every);
            self.pass();
        }
    }

    /// Does all of a keeper's work once.
    pub(super) fn pass(&self) {
        let number = {
            let mut state = self.state();
            state.passes_begun += 1;
            state.passes_begun
        };
        self.find_lost();
        if let Some(plan) = self.save(Plan::of) {
            let message = self.compact(&plan).err().map(|cause| {
                let folder = self.directory.display();
                format!("the journal in {folder} cannot be compacted: {cause}")
            });
            self.state().set_problem(JournalProblem::Compacting, message);
        }
        let free = self.faults.free_bytes(&self.directory);
        let mut state = self.state();
        state.set_free(free);
        state.passes_done = state.passes_done.max(number);
        drop(state);
        self.try_disk();
        self.passed.notify_waiters();
    }

    /// Saves the cursors if they moved, then deletes what nobody needs any more.
    pub(super) fn checkpoint(&self) {
        let _saved = self.save(|_, _| ());
    }

    /// The same; gives what was made of the books that were saved, if they were.
    fn save<T>(&self, make: impl FnOnce(&mut State, u64) -> T) -> Option<T> {
        let mut last = lock(&self.last_checkpoint);
        let (number, text, obsolete, made) = {
            let mut state = self.state();
            let now = now_ms();
            let settled = state.settled_segments();
            let number = self.progress.snapshot();
            let text = checkpoint::to_text(&state, &settled, number);
            (number, text, state.obsolete(now), make(&mut state, now))
        };
        // While nothing happens nothing is written, and the disk may sleep.
        let write = || checkpoint::write(&self.directory, &text, &self.faults);
        let saved = if *last == text { Ok(()) } else { write() };
        let full = saved.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::StorageFull);
        let made = saved.is_ok().then_some(made);
        if saved.is_ok() {
            *last = text;
            self.progress.saved(number);
            // Whatever could not be noted is saved now.
            self.note_problem(None);
        }
        // A full disk may be full of what is to be deleted. After a crash settled records that were
        // deleted without a checkpoint are known by their notes and their dead letters; one that could
        // not be noted would be counted as lost, but would not be.
        // The last one stays until then: it is what says where the log ends.
        let obsolete = match (&saved, full) {
            (Ok(()), _) => obsolete,
            (Err(_), true) => {
                let end = self.state().segments.back().map(|last| last.base);
                obsolete.into_iter().filter(|base| Some(*base) != end).collect()
            }
            (Err(_), false) => Vec::new(),
        };
        let deleted = self.delete(&obsolete);
        let message = saved.and(deleted).err().map(|cause| {
            let folder = self.directory.display();
            format!("the cursors in {folder} cannot be saved, a crash now would repeat deliveries: {cause}")
        });
        self.state().set_problem(JournalProblem::Keeping, message);
        made
    }

    fn delete(&self, bases: &[u64]) -> io::Result<()> {
        for &base in bases {
            match fs::remove_file(segment::path(&self.directory, base)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.state().remove(base),
            }
        }
        Ok(())
    }

    fn compact(&self, plan: &Plan) -> io::Result<()> {
        for run in &plan.runs {
            match plan.copy(&self.directory, run, now_ms(), &self.faults) {
                Ok(Some(copied)) => self.put_in_place(run, &copied)?,
                Ok(None) => run.note_vain(&mut self.state()),
                // One that may not become so large (`ulimit -f`) never will.
                Err(cause) if cause.kind() == io::ErrorKind::FileTooLarge => {
                    run.note_vain(&mut self.state());
                }
                // Whoever appends says that the disk is full; to say it twice helps nobody.
                Err(cause) if cause.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn put_in_place(&self, run: &Run, copied: &Copied) -> io::Result<()> {
        // Nothing is deleted meanwhile, or a settled segment might come back under its old name.
        let _no_deleting = lock(&self.last_checkpoint);
        if !run.is_in(&self.state()) {
            copied.discard();
            return Ok(());
        }
        copied.take_place(&self.directory, run.base())?;
        let synced = segment::sync_directory(&self.directory);
        {
            let mut state = self.state();
            for &(position, bytes) in &copied.damage {
                state.tell_damage(position, bytes);
            }
            run.replace(&mut state, copied);
        }
        // Without the new name on disk a power cut brings back the old files, so they must be there.
        synced?;
        for base in run.covered() {
            match fs::remove_file(segment::path(&self.directory, base)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks for segments that somebody has deleted, and counts what they held as lost, unless it can
    /// still be delivered from memory.
    fn find_lost(&self) {
        let _no_deleting = lock(&self.last_checkpoint);
        let expected: Vec<u64> = self.state().segments.iter().map(|it| it.base).collect();
        let Ok(there) = segment::list(&self.directory) else { return };
        let there: BTreeSet<u64> = there.into_iter().collect();
        for base in expected.into_iter().filter(|base| !there.contains(base)) {
            let mut state = self.state();
            state.tell_vanished(base);
            state.lose_segment(base);
        }
    }
}

impl State {
    /// Takes a segment that was deleted out of the books.
    fn remove(&mut self, base: u64) {
        let deleted = self.segments.iter().filter(|segment| segment.base == base);
        self.freed += deleted.map(|segment| segment.size).sum::<u64>();
        self.segments.retain(|segment| segment.base != base);
        // Another one may be the last now, which weighs on nobody.
        if let Some(last) = self.segments.len().checked_sub(1) {
            self.reweigh(last);
        }
    }

    /// Counts what waits in a vanished segment as lost, but for what is in memory.
    fn lose_segment(&mut self, base: u64) {
        let at = self.segment_at(base);
        let Some(segment) = self.segments.get(at) else { return };
        if segment.base != base || self.recent.after(segment.end() - 1).is_some() {
            return;
        }
        for number in segment.owners().collect::<Vec<_>>() {
            if self.segments[at].waiting(number) > 0 {
                self.lose_waiting(at, number);
            }
        }
    }
}
