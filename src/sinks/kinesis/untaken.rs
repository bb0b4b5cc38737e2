//! Order within one delivery that takes several requests: a later one must not carry a key of which a record
//! was not taken by an earlier one.

use std::collections::HashSet;
use std::ops::Range;

use super::request::Entry;
use crate::sinks::ack::{Ack, Fault};
use crate::sinks::parts::Outcome;

/// Keys of records that were not taken.
pub(super) struct Untaken {
    /// Whether order counts at all.
    in_order: bool,
    places: HashSet<u128>,
}

impl Untaken {
    pub(super) fn new(in_order: bool) -> Untaken {
        Untaken { in_order, places: HashSet::new() }
    }

    pub(super) fn may_go(&self, entry: &Entry<'_>) -> bool {
        self.places.is_empty() || !self.places.contains(&entry.place)
    }

    /// Takes in what came of a request, whose records share some of the service's. What is refused as one of
    /// several goes out again at once, before any others.
    pub(super) fn note(
        &mut self,
        entries: &[Entry<'_>],
        groups: &[Range<usize>],
        outcome: &Outcome,
    ) {
        if !self.in_order {
            return;
        }
        match outcome {
            Outcome::Answered(acks) => {
                for (group, ack) in groups.iter().zip(acks) {
                    let is_final = match ack {
                        Ack::Delivered => false,
                        Ack::Retry(_) => true,
                        Ack::Rejected(_) => group.len() == 1,
                    };
                    if is_final {
                        self.places.extend(entries[group.clone()].iter().map(|it| it.place));
                    }
                }
            }
            Outcome::Refused(_) if entries.len() == 1 => {
                self.places.insert(entries[0].place);
            }
            Outcome::Refused(_) | Outcome::Failed(_) => {}
        }
    }

    /// What became of all of `entries` where only those that may go were sent, in `groups`.
    pub(super) fn of_some(
        entries: &[Entry<'_>],
        sent: &[Entry<'_>],
        groups: &[Range<usize>],
        outcome: Outcome,
    ) -> Outcome {
        let Outcome::Answered(acks) = outcome else { return outcome };
        let held_back = Fault::transient("an earlier record of its key was not taken");
        let mut all = vec![Ack::Retry(held_back); entries.len()];
        for (group, ack) in groups.iter().zip(acks) {
            let ack = match ack {
                // Which of them it is, the next delivery finds out.
                Ack::Rejected(reason) if group.len() > 1 => Ack::Retry(Fault::transient(reason)),
                ack => ack,
            };
            for entry in &sent[group.clone()] {
                if let Some(at) = entries.iter().position(|it| it.at == entry.at) {
                    all[at] = ack.clone();
                }
            }
        }
        Outcome::Answered(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::request::entries;
    use super::*;
    use crate::event::{Record, Timestamp};
    use crate::sinks::partition_key::PartitionKey;

    #[test]
    fn later_requests_of_a_delivery_leave_out_keys_that_were_not_taken() {
        let record = |at: usize| {
            let key = ["a", "b"][at % 2];
            let body = format!(
                r#"{{"event_id":"{at}","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{{"k":"{key}"}}}}"#
            );
            let (event_id, time) = (at.to_string().into(), Timestamp { seconds: 0, nanos: 0 });
            Arc::new(Record { event_id, time, body: Bytes::from(body), hops: 0 })
        };
        let records: Vec<_> = (0..6).map(record).collect();
        let entries = entries(&PartitionKey::new("ev.k").unwrap(), &records, None);
        let each: Vec<_> = (0..3).map(|at| at..at + 1).collect();
        let slow = || Ack::Retry(Fault::transient("slow"));
        let mut untaken = Untaken::new(true);
        let answered = Outcome::Answered(vec![Ack::Delivered, slow(), Ack::Delivered]);
        untaken.note(&entries[..3], &each, &answered);
        let rest = &entries[3..];
        let may: Vec<bool> = rest.iter().map(|it| untaken.may_go(it)).collect();
        assert_eq!(may, [false, true, false]);
        let sent: Vec<_> = rest.iter().filter(|it| untaken.may_go(it)).cloned().collect();
        let one = Outcome::Answered(vec![Ack::Delivered]);
        let Outcome::Answered(acks) = Untaken::of_some(rest, &sent, &each[..1], one) else {
            panic!("it was answered");
        };
        assert!(matches!(acks[..], [Ack::Retry(_), Ack::Delivered, Ack::Retry(_)]), "{acks:?}");
        let mut any_order = Untaken::new(false);
        any_order.note(&entries[..3], &each, &answered);
        assert!(entries.iter().all(|it| any_order.may_go(it)));
    }
}
