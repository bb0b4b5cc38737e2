//! How far each partition is done: the mark behind which no message has anything left to lose.
//!
//! The longest finished prefix, never a message beyond it. It stores no offset and asks no broker.

use std::collections::{BTreeMap, VecDeque};

use crate::journal::Settlement;

/// A topic and the number of one of its partitions.
pub(super) type Partition = (String, i32);

/// The marks of the partitions that this consumer has.
#[derive(Debug, Default)]
pub(super) struct Marks {
    partitions: BTreeMap<Partition, Waiting>,
}

/// The messages of a partition from the mark on, in order. Messages that finish together share a
/// place, and so do those that have nothing to wait for: what is here never exceeds what the journal
/// holds.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Place>);

#[derive(Debug)]
struct Place {
    /// The offset behind the last message of this place.
    next: i64,
    settlement: Settlement,
}

impl Marks {
    /// Adds what follows in a partition, up to the message before `next`.
    pub(super) fn add(&mut self, partition: Partition, next: i64, settlement: Settlement) {
        let places = &mut self.partitions.entry(partition).or_default().0;
        match places.back_mut() {
            Some(last) if last.settlement.is_done() && settlement.is_done() => last.next = next,
            _ => places.push_back(Place { next, settlement }),
        }
    }

    /// The marks that have moved since the last call, each with the offset to go on from.
    pub(super) fn advance(&mut self) -> Vec<(Partition, i64)> {
        let mut moved = Vec::new();
        for (partition, Waiting(places)) in &mut self.partitions {
            let mut mark = None;
            while let Some(place) = places.pop_front_if(|it| it.settlement.is_done()) {
                mark = Some(place.next);
            }
            moved.extend(mark.map(|mark| (partition.clone(), mark)));
        }
        self.partitions.retain(|_, waiting| !waiting.0.is_empty());
        moved
    }

    /// Forgets a partition that belongs to another consumer now.
    pub(super) fn forget(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// Whether a message of a partition is not behind its mark.
    pub(super) fn has(&self, partition: &Partition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Whether every message that was added is behind its mark.
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(number: i32) -> Partition {
        ("events".to_owned(), number)
    }

    #[test]
    fn messages_with_nothing_to_wait_for_share_a_place_behind_one_that_waits() {
        let mut marks = Marks::default();
        let (token, settlement) = Settlement::pending();
        marks.add(partition(0), 1, settlement);
        for next in 2..1_000 {
            marks.add(partition(0), next, Settlement::default());
        }
        assert_eq!(marks.partitions[&partition(0)].0.len(), 2);
        assert_eq!(marks.advance(), []);
        drop(token);
        assert_eq!(marks.advance(), [(partition(0), 999)]);
        assert!(marks.is_empty());
    }

    #[test]
    fn a_partition_that_was_forgotten_has_no_mark() {
        let mut marks = Marks::default();
        marks.add(partition(0), 8, Settlement::default());
        marks.add(partition(1), 9, Settlement::default());
        marks.forget(&partition(0));
        assert_eq!(marks.advance(), [(partition(1), 9)]);
    }

    proptest! {
        /// Some messages finish at once, the others in any order; offsets have gaps, as they have
        /// behind a compaction.
        #[test]
        fn the_mark_is_always_the_longest_finished_prefix(
            messages in proptest::collection::vec((0..2i32, 1..4i64, any::<bool>()), 1..40),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut marks = Marks::default();
            // For each partition: each message's next offset, and its token while it is unfinished.
            let mut model = [Vec::new(), Vec::new()];
            let mut said = [0, 0];
            let mut messages = messages.into_iter();
            for step in order {
                if let Some((number, gap, at_once)) = messages.next() {
                    let of_partition = &mut model[number as usize];
                    let next = of_partition.last().map_or(0, |(next, _)| *next) + gap;
                    let (token, settlement) = Settlement::pending();
                    of_partition.push((next, (!at_once).then_some(token)));
                    marks.add(partition(number), next, settlement);
                }
                let mut unfinished: Vec<_> =
                    model.iter_mut().flatten().filter(|(_, token)| token.is_some()).collect();
                if !unfinished.is_empty() && step.index(3) > 0 {
                    let at = step.index(unfinished.len());
                    unfinished[at].1 = None;
                }
                for (partition, mark) in marks.advance() {
                    said[partition.1 as usize] = mark;
                }
                for (of_partition, said) in model.iter().zip(said) {
                    let finished = of_partition.iter().take_while(|(_, token)| token.is_none());
                    prop_assert_eq!(finished.last().map_or(0, |(next, _)| *next), said);
                }
            }
        }
    }
}
