//! Finding the one record for which a service refuses a whole request: send halves, then quarters.
//!
//! Keeps account of which part goes next and what is known of each record; the sink does the
//! sending. Where records share one of the service's (`packing`), its verdict is that of each.

use std::ops::Range;

use super::ack::{Ack, Fault};

/// Most requests for a batch that one could carry. A batch of 10,000 with one bad record takes 29 at worst;
/// what is left when they are spent goes out again later, without the bad ones that were found.
const MAX_CALLS: usize = 64;

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service answered for each record of the part.
    Answered(Vec<Ack>),
    /// The service refused all of it for the sake of at least one record, with this reason.
    Refused(String),
    /// The request failed for reasons other than its records.
    Failed(Fault),
}

/// Sends so many records, by `send` together and then what was refused in halves, and gives their verdicts.
pub(super) async fn in_parts<F: Future<Output = Outcome>>(
    records: usize,
    mut send: impl FnMut(Range<usize>) -> F,
) -> Vec<Ack> {
    let mut parts = Parts::new(records);
    while let Some(part) = parts.next() {
        let outcome = send(part.clone()).await;
        parts.settle(part, outcome);
    }
    parts.into_acks()
}

/// The parts of a batch that wait to be sent, and the verdicts so far.
#[derive(Debug)]
pub(super) struct Parts {
    verdicts: Vec<Option<Ack>>,
    /// The next one last.
    waiting: Vec<Range<usize>>,
    calls: usize,
    most_calls: usize,
    /// Why nothing more is sent, once that is so.
    stopped: Option<Fault>,
}

impl Parts {
    /// A batch of so many records, as one part.
    pub(super) fn new(records: usize) -> Parts {
        let whole = 0..records;
        Parts::of(if records == 0 { vec![] } else { vec![whole] })
    }

    /// A batch in several parts, which follow each other.
    pub(super) fn of(mut requests: Vec<Range<usize>>) -> Parts {
        let records = requests.last().map_or(0, |last| last.end);
        let most_calls = MAX_CALLS + requests.len().saturating_sub(1);
        requests.reverse();
        Parts {
            verdicts: vec![None; records],
            waiting: requests,
            calls: 0,
            most_calls,
            stopped: None,
        }
    }

    /// The records to send next.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.stopped.is_some() {
            return None;
        }
        if self.calls == self.most_calls && !self.waiting.is_empty() {
            self.stopped = Some(Fault::transient(format!(
                "the service refused so many records of this batch that {} requests did \
                 not find them all; the rest goes out again",
                self.most_calls
            )));
            return None;
        }
        self.calls += 1;
        self.waiting.pop()
    }

    /// Takes in what came of sending a part.
    pub(super) fn settle(&mut self, part: Range<usize>, outcome: Outcome) {
        match outcome {
            Outcome::Answered(acks) => {
                for (verdict, ack) in self.verdicts[part].iter_mut().zip(acks) {
                    *verdict = Some(ack);
                }
            }
            Outcome::Refused(reason) if part.len() == 1 => {
                self.verdicts[part.start] = Some(Ack::Rejected(reason));
            }
            Outcome::Refused(_) => {
                let middle = part.start + part.len() / 2;
                self.waiting.push(middle..part.end);
                self.waiting.push(part.start..middle);
            }
            // Whatever stopped this part would stop the others too, and hurt more.
            Outcome::Failed(fault) => self.stopped = Some(fault),
        }
    }

    /// The same where records share the service's, which an answer has one verdict each for: `groups` says
    /// which, counted from the part's beginning. One that is refused for good goes out again in halves:
    /// what is refused may be one of several.
    pub(super) fn settle_groups(
        &mut self,
        part: Range<usize>,
        groups: &[Range<usize>],
        outcome: Outcome,
    ) {
        let Outcome::Answered(acks) = outcome else { return self.settle(part, outcome) };
        for (group, ack) in groups.iter().zip(acks) {
            let records = part.start + group.start..part.start + group.end;
            match ack {
                Ack::Rejected(reason) => self.settle(records, Outcome::Refused(reason)),
                ack => self.verdicts[records].fill(Some(ack)),
            }
        }
    }

    /// One verdict a record, in order. A record that got none is to be sent again.
    pub(super) fn into_acks(self) -> Vec<Ack> {
        let fault = self
            .stopped
            .unwrap_or_else(|| Fault::transient("the service's answer left this record out"));
        let retry = Ack::Retry(fault);
        self.verdicts.into_iter().map(|ack| ack.unwrap_or_else(|| retry.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A service that refuses every request with a bad record in it; gives acks and requests.
    fn deliver(records: usize, bad: &BTreeSet<usize>) -> (Vec<Ack>, usize) {
        let mut parts = Parts::new(records);
        let mut calls = 0;
        while let Some(part) = parts.next() {
            calls += 1;
            let outcome = if bad.range(part.clone()).next().is_some() {
                Outcome::Refused("too strange".to_owned())
            } else {
                Outcome::Answered(vec![Ack::Delivered; part.len()])
            };
            parts.settle(part, outcome);
        }
        (parts.into_acks(), calls)
    }

    #[test]
    fn a_batch_without_a_bad_record_takes_one_request() {
        assert_eq!(deliver(500, &BTreeSet::new()), (vec![Ack::Delivered; 500], 1));
        assert_eq!(deliver(0, &BTreeSet::new()), (vec![], 0));
    }

    #[test]
    fn one_bad_record_in_ten_thousand_is_found_in_at_most_29_requests() {
        for bad in [0, 1, 4_321, 5_000, 9_999] {
            let (acks, calls) = deliver(10_000, &BTreeSet::from([bad]));
            assert!(calls <= 29, "{bad}: {calls}");
            let mut expected = vec![Ack::Delivered; 10_000];
            expected[bad] = Ack::Rejected("too strange".to_owned());
            assert_eq!(acks, expected, "{bad}");
        }
    }

    #[test]
    fn a_fault_on_the_way_stops_the_search_and_keeps_what_is_known() {
        let mut parts = Parts::new(4);
        let fault = Fault::transient("connection reset");
        let mut outcomes = vec![
            Outcome::Refused("no".to_owned()),
            Outcome::Answered(vec![Ack::Delivered; 2]),
            Outcome::Failed(fault.clone()),
        ]
        .into_iter();
        while let Some(part) = parts.next() {
            parts.settle(part, outcomes.next().unwrap());
        }
        let retry = Ack::Retry(fault);
        assert_eq!(parts.into_acks(), [Ack::Delivered, Ack::Delivered, retry.clone(), retry]);
    }

    #[test]
    fn a_record_that_the_answer_leaves_out_is_sent_again() {
        let mut parts = Parts::new(2);
        let part = parts.next().unwrap();
        parts.settle(part, Outcome::Answered(vec![Ack::Delivered]));
        assert_eq!(
            parts.into_acks(),
            [
                Ack::Delivered,
                Ack::Retry(Fault::transient("the service's answer left this record out"))
            ]
        );
    }

    #[test]
    fn a_batch_in_several_parts_sends_each_in_its_order() {
        let mut parts = Parts::of(vec![0..2, 2..3, 3..7]);
        let mut sent = Vec::new();
        while let Some(part) = parts.next() {
            sent.push(part.clone());
            parts.settle(part.clone(), Outcome::Answered(vec![Ack::Delivered; part.len()]));
        }
        assert_eq!(sent, [0..2, 2..3, 3..7]);
        assert_eq!(parts.into_acks(), vec![Ack::Delivered; 7]);
        assert_eq!(Parts::of(vec![]).next(), None);
    }

    #[test]
    fn the_verdict_on_a_record_of_the_service_is_that_of_each_in_it() {
        let slow = Ack::Retry(Fault::transient("slow"));
        let mut parts = Parts::new(6);
        let part = parts.next().unwrap();
        let acks = vec![Ack::Delivered, slow.clone(), Ack::Delivered];
        parts.settle_groups(part, &[0..2, 2..5, 5..6], Outcome::Answered(acks));
        assert_eq!(parts.next(), None);
        let (fine, slow) = (|| Ack::Delivered, || slow.clone());
        assert_eq!(parts.into_acks(), [fine(), fine(), slow(), slow(), slow(), fine()]);
    }

    #[test]
    fn a_record_of_the_service_that_is_refused_for_good_is_taken_apart() {
        let mut parts = Parts::of(vec![0..2, 2..8]);
        let mut sent = Vec::new();
        while let Some(part) = parts.next() {
            sent.push(part.clone());
            // All of a part share one; the event at 4 is the one that is too strange.
            let ack = if part.contains(&4) { Ack::Rejected("no".into()) } else { Ack::Delivered };
            let whole = 0..part.len();
            parts.settle_groups(part, &[whole], Outcome::Answered(vec![ack]));
        }
        assert_eq!(sent, [0..2, 2..8, 2..5, 2..3, 3..5, 3..4, 4..5, 5..8]);
        let mut expected = vec![Ack::Delivered; 8];
        expected[4] = Ack::Rejected("no".to_owned());
        assert_eq!(parts.into_acks(), expected);
    }

    proptest! {
        #[test]
        fn no_good_record_is_rejected_and_every_search_gets_on(
            records in 1usize..3_000,
            bad in proptest::collection::btree_set(0usize..3_000, 0..200),
        ) {
            let (acks, calls) = deliver(records, &bad);
            prop_assert_eq!(acks.len(), records);
            prop_assert!(calls <= MAX_CALLS);
            let decided = acks.iter().filter(|ack| !matches!(ack, Ack::Retry(_))).count();
            prop_assert!(decided > 0);
            for (index, ack) in acks.iter().enumerate() {
                let right = match ack {
                    Ack::Delivered => !bad.contains(&index),
                    Ack::Rejected(_) => bad.contains(&index),
                    Ack::Retry(_) => true,
                };
                prop_assert!(right, "{}: {:?}", index, ack);
            }
        }
    }
}
