//! The newest records, kept in memory so that whoever keeps up reads no file.
//!
//! Bounded by bytes; the oldest make room. What is not here any more is in the log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Record;
use crate::journal::cost;
use crate::resources::ResourceId;

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub position: u64,
    /// Bytes of its frame.
    pub bytes: u64,
    pub appended: u64,
    pub record: Arc<Record>,
    pub destinations: Arc<[ResourceId]>,
}

impl Item {
    pub(super) fn cost(&self) -> usize {
        cost(&self.record)
    }
}

#[derive(Debug)]
pub(super) struct Recent {
    max_bytes: usize,
    bytes: usize,
    items: VecDeque<Item>,
    /// Everything in the log from this position on is here.
    from: u64,
}

impl Recent {
    pub(super) fn new(max_bytes: usize, head: u64) -> Recent {
        Recent { max_bytes, bytes: 0, items: VecDeque::new(), from: head }
    }

    /// Says that nothing before a position is or will be here.
    pub(super) fn start(&mut self, head: u64) {
        self.from = head;
    }

    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.cost();
        self.items.push_back(item);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.from = oldest.position + oldest.bytes;
        }
    }

    /// The record at a position, if it is here.
    pub(super) fn at(&self, position: u64) -> Option<&Item> {
        let at = self.items.binary_search_by_key(&position, |item| item.position).ok()?;
        self.items.get(at)
    }

    /// What follows a position, if it is all here.
    pub(super) fn after(&self, position: u64) -> Option<impl Iterator<Item = &Item>> {
        let start = self.items.partition_point(|item| item.position < position);
        (position >= self.from).then(|| self.items.range(start..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::journal::RECORD_OVERHEAD;

    #[test]
    fn what_does_not_fit_is_left_to_the_log() {
        let mut recent = Recent::new(3 * (100 + RECORD_OVERHEAD), 1_000);
        for position in [1_000, 1_200, 1_400, 1_600] {
            let body = vec![b'x'; 100].into();
            let record = Record { event_id: "".into(), time: Timestamp::MIN, body, hops: 0 };
            recent.push(Item {
                position,
                bytes: 200,
                appended: 0,
                record: Arc::new(record),
                destinations: Arc::new([]),
            });
        }
        let after = |position| {
            let items = recent.after(position)?;
            Some(items.map(|item| item.position).collect::<Vec<_>>())
        };
        assert_eq!(after(1_000), None);
        assert_eq!(after(1_200), Some(vec![1_200, 1_400, 1_600]));
        assert_eq!(after(1_401), Some(vec![1_600]));
        assert_eq!(after(1_800), Some(vec![]));
    }
}
