//! Order among records of one place: no request carries one while an earlier one of that place is unsettled,
//! unless it carries that too.
//!
//! A record is unsettled from when it is read until its service has taken it or it is a dead letter, wherever
//! it waits meanwhile. Those that must wait for an earlier one are held back here; how many may be, the
//! delivery task decides, which reads no more then. Pure: it sends nothing. What stands in what order within
//! a request is the service's matter.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::batcher::Attempt;

/// The records of one destination whose order counts.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    places: HashMap<u128, Place>,
    /// Places of which something was settled and something waits.
    ready: Vec<u128>,
    records: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Place {
    /// Positions of all that is unsettled, the earliest first.
    unsettled: VecDeque<u64>,
    /// Those of them that wait for an earlier one.
    waiting: BTreeMap<u64, Attempt>,
}

impl InOrder {
    /// A record was read, or has this place by new settings.
    pub(super) fn enter(&mut self, attempt: &Attempt) {
        let Some(place) = attempt.place.filter(|_| attempt.in_order) else { return };
        let position = attempt.pending.position;
        let unsettled = &mut self.places.entry(place).or_default().unsettled;
        if let Err(at) = unsettled.binary_search(&position) {
            unsettled.insert(at, position);
        }
    }

    /// A record is settled, or has another place by new settings.
    pub(super) fn leave(&mut self, attempt: &Attempt) {
        let Some(place) = attempt.place.filter(|_| attempt.in_order) else { return };
        let Some(of_place) = self.places.get_mut(&place) else { return };
        if let Ok(at) = of_place.unsettled.binary_search(&attempt.pending.position) {
            of_place.unsettled.remove(at);
        }
        if !of_place.waiting.is_empty() {
            self.ready.push(place);
        } else if of_place.unsettled.is_empty() {
            self.places.remove(&place);
        }
    }

    /// Those of a batch that may go in one request now, in their order; the others are held back.
    pub(super) fn admit(&mut self, mut batch: Vec<Attempt>) -> Vec<Attempt> {
        if !batch.iter().any(|it| it.in_order) {
            return batch;
        }
        batch.sort_by_key(|attempt| attempt.pending.position);
        // How many of each place are in the request so far: the earliest ones.
        let mut carried: HashMap<u128, usize> = HashMap::new();
        let mut admitted = Vec::with_capacity(batch.len());
        for attempt in batch {
            let Some(place) = attempt.place.filter(|_| attempt.in_order) else {
                admitted.push(attempt);
                continue;
            };
            let of_place = self.places.entry(place).or_default();
            let carried = carried.entry(place).or_default();
            if of_place.unsettled.get(*carried) == Some(&attempt.pending.position) {
                *carried += 1;
                admitted.push(attempt);
                continue;
            }
            self.records += 1;
            self.bytes += attempt.bytes;
            of_place
                .waiting
                .insert(attempt.pending.position, Attempt { released: false, ..attempt });
        }
        admitted
    }

    /// Takes out what waits no more, about `most` records.
    pub(super) fn release(&mut self, most: usize) -> Vec<Attempt> {
        let mut released = Vec::new();
        for place in std::mem::take(&mut self.ready) {
            let Some(of_place) = self.places.get_mut(&place) else { continue };
            let first = of_place.unsettled.front();
            if of_place.waiting.first_key_value().map(|(position, _)| position) != first {
                continue;
            }
            for _ in 0..most {
                let Some((_, attempt)) = of_place.waiting.pop_first() else { break };
                self.records -= 1;
                self.bytes -= attempt.bytes;
                released.push(attempt);
            }
        }
        released.sort_by_key(|attempt| attempt.pending.position);
        released
    }

    /// Lets go of the bodies of all that wait.
    pub(super) fn park(&mut self) {
        self.places.values_mut().flat_map(|it| it.waiting.values_mut()).for_each(Attempt::park);
    }

    /// Takes out all that waits, in its order.
    pub(super) fn take_all(&mut self) -> Vec<Attempt> {
        self.ready.clear();
        (self.records, self.bytes) = (0, 0);
        let waiting = self.places.values_mut().map(|it| std::mem::take(&mut it.waiting));
        let mut all: Vec<Attempt> = waiting.flat_map(BTreeMap::into_values).collect();
        all.sort_by_key(|attempt| attempt.pending.position);
        all
    }

    /// Records that are held back, and their bytes.
    pub(super) fn held_back(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sinks::Measured;

    fn attempt(position: u64, place: u128) -> Attempt {
        let measured =
            Measured { bytes: 1, place: Some(place), in_order: true, ..Measured::default() };
        Attempt::empty(position, measured)
    }

    fn positions(attempts: &[Attempt]) -> Vec<u64> {
        attempts.iter().map(|it| it.pending.position).collect()
    }

    #[test]
    fn a_later_record_of_a_place_waits_until_the_earlier_one_is_settled() {
        let mut order = InOrder::default();
        let all: Vec<_> = [(1, 7), (2, 7), (3, 8), (4, 7)].map(|(at, of)| attempt(at, of)).into();
        all.iter().for_each(|it| order.enter(it));
        let first = order.admit(vec![all[0].clone()]);
        assert_eq!(positions(&first), [1]);
        assert_eq!(positions(&order.admit(vec![all[3].clone(), all[2].clone()])), [3]);
        assert!(order.admit(vec![all[1].clone()]).is_empty());
        assert_eq!(order.held_back(), (2, 2));
        assert!(order.release(10).is_empty());
        order.leave(&first[0]);
        let released = order.release(10);
        assert_eq!(positions(&released), [2, 4]);
        assert_eq!(positions(&order.admit(released)), [2, 4], "together they may go");
        assert_eq!(order.held_back(), (0, 0));
    }

    proptest! {
        /// Requests are made of any records, and end in any order; some of their records fail.
        #[test]
        fn no_request_carries_a_place_of_which_an_earlier_record_is_unsettled_elsewhere(
            places in proptest::collection::vec(0u128..4, 1..40),
            steps in proptest::collection::vec((any::<usize>(), 1usize..6, any::<u64>()), 0..200),
        ) {
            let mut order = InOrder::default();
            let all: Vec<Attempt> = (0..).zip(&places).map(|(at, of)| attempt(at, *of)).collect();
            all.iter().for_each(|it| order.enter(it));
            let mut waiting = all.clone();
            let mut under_way: Vec<Vec<Attempt>> = Vec::new();
            let mut unsettled: BTreeSet<u64> = (0..all.len() as u64).collect();
            // In the end requests are made, and all is taken.
            let end = std::iter::repeat_n((0, 3, u64::MAX), 400);
            for (which, size, taken) in steps.into_iter().chain(end) {
                if taken % 2 == 0 && !waiting.is_empty() {
                    let at = which % waiting.len();
                    let batch = waiting.drain(at..(at + size).min(waiting.len())).collect();
                    let admitted = order.admit(batch);
                    let carried: BTreeSet<u64> = positions(&admitted).into_iter().collect();
                    for it in &admitted {
                        let earlier = unsettled.range(..it.pending.position);
                        let mut elsewhere = earlier.filter(|at| {
                            places[**at as usize] == places[it.pending.position as usize]
                                && !carried.contains(at)
                        });
                        prop_assert_eq!(elsewhere.next(), None, "before {}", it.pending.position);
                    }
                    under_way.extend((!admitted.is_empty()).then_some(admitted));
                } else if !under_way.is_empty() {
                    let request = under_way.swap_remove(which % under_way.len());
                    for (at, it) in request.into_iter().enumerate() {
                        if taken >> (at + 1) & 1 == 1 {
                            unsettled.remove(&it.pending.position);
                            order.leave(&it);
                        } else {
                            waiting.insert(0, it);
                        }
                    }
                    waiting.splice(0..0, order.release(size));
                } else {
                    let batch = waiting.drain(..size.min(waiting.len())).collect();
                    let admitted = order.admit(batch);
                    under_way.extend((!admitted.is_empty()).then_some(admitted));
                }
            }
            prop_assert_eq!(&unsettled, &BTreeSet::new(), "all get their turn");
            prop_assert_eq!((order.held_back(), order.places.len()), ((0, 0), 0));
        }
    }
}
