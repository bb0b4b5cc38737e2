//! What must hold of the books after each action.

use std::fs;

use proptest::prelude::*;

use super::super::tests::id;
use super::super::*;
use super::{Model, NAMES};

impl Model {
    /// What the books say of files is what lies there.
    pub(super) fn check_files(&self) -> Result<(), TestCaseError> {
        let shared = &self.disk().shared;
        let _no_deleting = lock(&shared.last_checkpoint);
        let state = shared.state();
        let bases: Vec<u64> = state.segments.iter().map(|it| it.base).collect();
        prop_assert_eq!(&bases, &segment::list(self.folder.path()).unwrap());
        for segment in &state.segments {
            let path = segment::path(self.folder.path(), segment.base);
            prop_assert_eq!(segment.size, fs::metadata(path).unwrap().len());
        }
        Ok(())
    }

    /// Shares counted anew from the segments are those of the books.
    fn check_shares(&self) -> Result<(), TestCaseError> {
        let state = self.disk().shared.state();
        let sealed = state.segments.len().saturating_sub(1);
        for (number, queue) in state.queues.iter().enumerate() {
            let weight = |it: &pending::Segment| it.size.saturating_sub(it.pending_bytes());
            let alone = state.segments.range(..sealed).filter(|it| it.is_only_of(number));
            prop_assert_eq!(queue.weight, alone.map(weight).sum::<u64>());
            prop_assert_eq!(queue.under_way, 0);
        }
        Ok(())
    }

    pub(super) fn check_books(&self) -> Result<(), TestCaseError> {
        self.check_shares()?;
        for (queue, name) in self.queues.iter().zip(NAMES) {
            let account = self.disk().account(&id(name)).unwrap();
            let pending = queue.owed.len() as u64 - queue.unknown_drops;
            prop_assert_eq!(account.pending_records, pending);
            prop_assert_eq!(account.lost, 0);
            prop_assert_eq!(account.dead_lettered, queue.dead_lettered);
            let ended = account.delivered + account.dead_lettered + account.dropped;
            let known = ended + account.pending_records;
            prop_assert_eq!(account.appended, known);
            prop_assert_eq!(account.accepted, queue.accepted);
            prop_assert_eq!(account.filtered_out, queue.filtered_out);
            prop_assert_eq!(account.imbalance(), 0, "{:?}", account);
            if self.max_bytes >= 1 << 20 && !queue.gave_way {
                prop_assert_eq!(account.dropped, 0, "nothing is ever lost");
            }
        }
        Ok(())
    }
}
