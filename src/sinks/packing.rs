//! Several journal records in one record of a service: which share one, and how many of these make a
//! request.
//!
//! Records that share one stand side by side: a sink sorts them first if it has to. How they are written
//! into it is the sink's matter; how its verdict comes to each, `parts`'.

use std::ops::Range;

/// Whether journal records share records of their service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Whether they do.
    pub packs: bool,
    /// Why, for a person.
    pub reason: String,
}

/// What one record of a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Most journal records.
    pub(super) records: usize,
    /// Most bytes of all of them together, as they are counted.
    pub(super) bytes: usize,
}

impl Room {
    /// Each journal record has one of its own.
    pub(super) const ONE_EACH: Room = Room { records: 1, bytes: usize::MAX };

    /// As many as there are that may be together.
    pub(super) const ANY: Room = Room { records: usize::MAX, bytes: usize::MAX };

    /// Which of these share one: ranges that follow each other, none of them empty. `bytes` says what one
    /// adds, `together` whether another may be where a first one is. One that is larger than the room
    /// has one to itself.
    pub(super) fn groups<T>(
        self,
        items: &[T],
        bytes: impl Fn(&T) -> usize,
        together: impl Fn(&T, &T) -> bool,
    ) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut held = 0usize;
        for (at, item) in items.iter().enumerate() {
            let more = bytes(item);
            match groups.last_mut() {
                Some(group)
                    if group.len() < self.records
                        && held.saturating_add(more) <= self.bytes
                        && together(&items[group.start], item) =>
                {
                    group.end = at + 1;
                    held += more;
                }
                _ => {
                    groups.push(at..at + 1);
                    held = more;
                }
            }
        }
        groups
    }
}

/// The journal records of each request, where one takes at most so many records of the service.
pub(super) fn requests(groups: &[Range<usize>], most: usize) -> Vec<Range<usize>> {
    let whole = |of: &[Range<usize>]| Some(of.first()?.start..of.last()?.end);
    groups.chunks(most).filter_map(whole).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_between_whom_nothing_stands_share_one_until_it_is_full() {
        let room = Room { records: 3, bytes: 10 };
        let groups = |items: &[usize]| room.groups(items, |it| *it, |_, _| true);
        assert_eq!(groups(&[1, 1, 1, 1]), [0..3, 3..4]);
        assert_eq!(groups(&[5, 5, 1]), [0..2, 2..3]);
        assert_eq!(groups(&[99, 1, 1]), [0..1, 1..3], "one that is larger has one to itself");
        assert!(groups(&[]).is_empty());
        let apart = room.groups(&["a1", "a2", "b1"], |_| 1, |one, other| one[..1] == other[..1]);
        assert_eq!(apart, [0..2, 2..3]);
        assert_eq!(Room::ONE_EACH.groups(&[7, 0, 7], |it| *it, |_, _| true), [0..1, 1..2, 2..3]);
        assert_eq!(requests(&[0..2, 2..3, 3..9], 2), [0..3, 3..9]);
        assert!(requests(&[], 2).is_empty());
    }

    proptest! {
        #[test]
        fn groups_hold_all_in_their_order_and_nothing_passes_the_room(
            items in proptest::collection::vec(0usize..40, 0..200),
            (records, bytes) in (1usize..20, 1usize..60),
            most in 1usize..9,
        ) {
            let room = Room { records, bytes };
            let groups = room.groups(&items, |it| *it, |_, _| true);
            prop_assert_eq!(groups.iter().cloned().flatten().collect::<Vec<_>>(), (0..items.len()).collect::<Vec<_>>());
            for group in &groups {
                let held: usize = items[group.clone()].iter().sum();
                prop_assert!(group.len() == 1 || (group.len() <= records && held <= bytes));
            }
            let requests = requests(&groups, most);
            prop_assert_eq!(requests.len(), groups.len().div_ceil(most));
            prop_assert_eq!(requests.into_iter().flatten().collect::<Vec<_>>(), (0..items.len()).collect::<Vec<_>>());
        }
    }
}
