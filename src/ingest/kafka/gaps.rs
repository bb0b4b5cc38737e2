//! Messages that the brokers threw away before this group read them: gaps in offsets below a partition's oldest one.
//!
//! Most gaps are none of that: offsets of transactions' markers, and of messages that were compacted away. It asks
//! nobody; the low watermarks come with the client's statistics.

use std::collections::BTreeMap;

use super::marks::Partition;

/// What the next offset of each partition should be, and where it was another.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    partitions: BTreeMap<String, BTreeMap<i32, OfPartition>>,
}

#[derive(Debug, Default)]
struct OfPartition {
    expected: Option<i64>,
    open: Option<Open>,
}

/// The gaps since the last look but one.
#[derive(Debug)]
struct Open {
    /// Where the first one begins.
    from: i64,
    /// Where the last one ends.
    to: i64,
    /// Statistics may be older than what came before them, so one look is not enough.
    looked: bool,
}

impl Gaps {
    /// Begins a partition at the offset that the group has stored for it.
    pub(super) fn begin(&mut self, topic: &str, partition: i32, offset: i64) {
        let of_topic = self.partitions.entry(topic.to_owned()).or_default();
        of_topic.insert(partition, OfPartition { expected: Some(offset), open: None });
    }

    /// Notes a message. One from before what was expected is that of a topic that was made again.
    pub(super) fn pass(&mut self, topic: &str, partition: i32, offset: i64) {
        let Some(of_topic) = self.partitions.get_mut(topic) else {
            return self.begin(topic, partition, offset + 1);
        };
        let it = of_topic.entry(partition).or_default();
        if let Some(expected) = it.expected.replace(offset + 1)
            && offset > expected
        {
            it.open.get_or_insert(Open { from: expected, to: offset, looked: false }).to = offset;
        }
    }

    /// Whether a message of a topic came, or the group has a place in it.
    pub(super) fn has_read(&self, topic: &str) -> bool {
        self.partitions.contains_key(topic)
    }

    /// Forgets a partition that belongs to another consumer now.
    pub(super) fn forget(&mut self, (topic, partition): &Partition) {
        if let Some(of_topic) = self.partitions.get_mut(topic) {
            of_topic.remove(partition);
        }
    }

    /// Messages of a partition that were passed over since the last calls: those of its gaps below the oldest
    /// offset that it still has.
    pub(super) fn skipped(&mut self, topic: &str, partition: i32, low: i64) -> u64 {
        let of_topic = self.partitions.get_mut(topic);
        let Some(it) = of_topic.and_then(|it| it.get_mut(&partition)) else { return 0 };
        let Some(Open { from, to, looked }) = &mut it.open else { return 0 };
        let skipped = (low.min(*to) - *from).max(0).unsigned_abs();
        if skipped > 0 || std::mem::replace(looked, true) {
            it.open = None;
        }
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_as_far_as_it_lies_below_the_low_watermark() {
        let mut gaps = Gaps::default();
        gaps.begin("t", 0, 10);
        gaps.pass("t", 0, 10);
        assert_eq!(gaps.skipped("t", 0, 10), 0);
        // A marker, above the low watermark.
        gaps.pass("t", 0, 12);
        assert_eq!([10, 10].map(|low| gaps.skipped("t", 0, low)), [0, 0]);
        // Retention went up to 40, and the first message behind that is a compacted one's successor.
        gaps.pass("t", 0, 45);
        assert_eq!(gaps.skipped("t", 0, 10), 0, "an older reading");
        assert_eq!(gaps.skipped("t", 0, 40), 27);
        assert_eq!(gaps.skipped("t", 0, 40), 0, "counted once");
    }

    #[test]
    fn neither_a_first_message_nor_one_of_a_topic_made_again_is_behind_a_gap() {
        let mut gaps = Gaps::default();
        gaps.pass("t", 0, 70);
        assert_eq!(gaps.skipped("t", 0, 70), 0);
        gaps.pass("t", 0, 0);
        gaps.pass("t", 0, 1);
        assert_eq!(gaps.skipped("t", 0, 2), 0);
        gaps.pass("t", 0, 5);
        gaps.forget(&("t".to_owned(), 0));
        assert_eq!(gaps.skipped("t", 0, 5), 0, "another's matter now");
    }
}
