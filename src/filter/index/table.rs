//! A table from keys to small numbers that is made once. It looks up much faster than the standard one,
//! whose hash guards against chosen keys: here the keys of texts are hashes with a seed already, and
//! chosen numbers only make a lookup of their own attribute slower.

use super::super::clauses::folded;

/// What stands in a place without a key.
const NOTHING: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of places, a third of them free.
    places: Box<[(i64, u32)]>,
}

impl Table {
    /// A table of different keys, with numbers below `u32::MAX`.
    pub fn new(entries: &[(i64, u32)]) -> Table {
        let size = (entries.len() + entries.len() / 2 + 1).next_power_of_two();
        let mut table = Table { places: vec![(0, NOTHING); size].into() };
        for (key, value) in entries {
            let mut at = table.start(*key);
            while table.places[at].1 != NOTHING {
                at = (at + 1) % size;
            }
            table.places[at] = (*key, *value);
        }
        table
    }

    fn start(&self, key: i64) -> usize {
        folded(key.cast_unsigned() ^ 0x9e37_79b9_7f4a_7c15) as usize & (self.places.len() - 1)
    }

    #[inline]
    pub fn get(&self, key: i64) -> Option<u32> {
        let mut at = self.start(key);
        loop {
            match self.places[at] {
                (_, NOTHING) => return None,
                (known, value) if known == key => return Some(value),
                _ => at = (at + 1) & (self.places.len() - 1),
            }
        }
    }

    pub fn values(&self) -> impl Iterator<Item = u32> {
        self.places.iter().map(|place| place.1).filter(|value| *value != NOTHING)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_says_what_a_map_says(
            map in proptest::collection::btree_map(-40..40i64, 0..9u32, 0..40),
        ) {
            let entries: Vec<(i64, u32)> = map.iter().map(|(key, value)| (*key, *value)).collect();
            let table = Table::new(&entries);
            for key in -50..50 {
                prop_assert_eq!(table.get(key), map.get(&key).copied());
            }
            let all: BTreeMap<u32, ()> = table.values().map(|value| (value, ())).collect();
            prop_assert!(map.values().all(|value| all.contains_key(value)));
        }
    }
}
