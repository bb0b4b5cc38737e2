//! One destination's books: its account, where its reading stands, what is on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::segment::Hint;
use crate::journal::{Account, Terms};
use crate::resources::ResourceId;

#[derive(Debug)]
pub(super) struct Queue {
    pub id: ResourceId,
    pub terms: Terms,
    pub account: Account,
    /// Which reader may read; 0 if there is none.
    pub reader: u64,
    pub readers: u64,
    /// Changes when what was found on disk for this destination is no longer what waits for it.
    pub epoch: u64,
    /// Where reading goes on.
    pub next: u64,
    /// Before this position only `redo` is still to be read.
    pub redo_until: u64,
    pub redo: BTreeSet<u64>,
    pub unsettled: BTreeMap<u64, Unsettled>,
    /// Pending and not read, `redo` included.
    pub waiting: u64,
    pub arrived: Arc<Notify>,
    /// Where in a compacted segment reading goes on.
    pub hint: Option<Hint>,
    /// Bytes of its appends that were admitted and have not ended.
    pub under_way: u64,
    /// What the files that it alone keeps have beside its pending bytes.
    pub weight: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Unsettled {
    pub bytes: u64,
    pub appended: u64,
}

impl Queue {
    pub(super) fn new(id: ResourceId, head: u64) -> Queue {
        Queue {
            id,
            terms: Terms::default(),
            account: Account::default(),
            reader: 0,
            readers: 0,
            epoch: 0,
            next: head,
            redo_until: 0,
            redo: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            waiting: 0,
            arrived: Arc::new(Notify::new()),
            hint: None,
            under_way: 0,
            weight: 0,
        }
    }

    /// Counts a record as pending and waiting.
    pub(super) fn add(&mut self, position: u64, bytes: u64) {
        if self.waiting == 0 {
            self.next = position;
        }
        self.waiting += 1;
        self.account.pending_records += 1;
        self.account.pending_bytes += bytes;
    }

    /// What it takes on disk: its pending records, all of the files that it alone keeps, and what is
    /// being appended for it.
    pub(super) fn used(&self) -> u64 {
        self.account.pending_bytes + self.weight + self.under_way
    }

    /// Whether a record that names this destination is still to be read.
    pub(super) fn wants(&self, position: u64) -> bool {
        position >= self.redo_until || self.redo.contains(&position)
    }

    pub(super) fn is_read_by(&self, reader: u64) -> bool {
        self.reader == reader
    }

    pub(super) fn has_reader(&self) -> bool {
        self.reader != 0
    }

    /// The position before which everything was read, and what of it is not settled.
    pub(super) fn progress(&self, head: u64) -> (u64, Vec<u64>) {
        let next = if self.waiting == 0 { head } else { self.next.max(self.redo_until) };
        let mut unsettled: Vec<u64> = self.unsettled.keys().chain(&self.redo).copied().collect();
        unsettled.sort_unstable();
        (next, unsettled)
    }
}
