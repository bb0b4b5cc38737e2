//! What Kafka ingest tells of itself: written by the consumer, read by `/status` and `/metrics`.
//!
//! Positions come from the client's own statistics, so that a reading asks no broker.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::statistics::{self, Statistics};
use tracing::{debug, error, info};

use super::reading::{KafkaPartition, KafkaReading, KafkaState};
use crate::lock::lock;

/// Most partitions in one reading; more would make the page and the list of metrics useless.
const MAX_PARTITIONS: usize = 1_000;

/// How often a problem that lasts is logged again; the client tells each vain attempt.
const REMIND: Duration = Duration::from_secs(60);

/// Offsets below this are words of the protocol, such as "not known".
const FIRST_OFFSET: i64 = 0;

/// What can be wrong, each until it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KafkaProblem {
    /// Brokers cannot be reached, or let nobody in.
    Connection,
    /// A topic or the group cannot be used.
    Subscription,
    /// Something else keeps messages from coming.
    Fetching,
    /// What was taken in cannot be kept.
    Keeping,
    /// Offsets cannot be committed.
    Commit,
    /// The client gave up and is made anew.
    Client,
}

/// What the consumer last said of itself.
#[derive(Debug)]
pub struct KafkaBoard {
    group_id: String,
    state: Mutex<BoardState>,
}

#[derive(Debug, Default)]
struct BoardState {
    state: KafkaState,
    problems: BTreeMap<KafkaProblem, (String, Instant)>,
    messages: u64,
    skipped: u64,
    partitions: Vec<KafkaPartition>,
}

impl KafkaBoard {
    pub(super) fn new(group_id: &str) -> KafkaBoard {
        KafkaBoard { group_id: group_id.to_owned(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BoardState> {
        lock(&self.state)
    }

    #[must_use]
    pub fn read(&self) -> KafkaReading {
        let state = self.lock();
        KafkaReading {
            group_id: self.group_id.clone(),
            state: state.state,
            error: state.problems.values().next().map(|(message, _)| message.clone()),
            messages: state.messages,
            skipped: state.skipped,
            partitions: state.partitions.clone(),
        }
    }

    pub(super) fn set_state(&self, state: KafkaState) {
        self.lock().state = state;
    }

    pub(super) fn count(&self, messages: usize) {
        self.lock().messages += messages as u64;
    }

    pub(super) fn count_skipped(&self, messages: u64) {
        self.lock().skipped += messages;
    }

    /// Shows a problem, and logs it unless the same kind was logged a moment ago.
    pub(super) fn set_problem(&self, problem: KafkaProblem, message: String) {
        let mut state = self.lock();
        let before = state.problems.get(&problem).map(|(_, logged)| *logged);
        let logged = match before {
            Some(logged) if logged.elapsed() < REMIND => {
                debug!(cause = %message, "Kafka ingest does not work as it should");
                logged
            }
            _ => {
                error!(cause = %message, "Kafka ingest does not work as it should; it goes on trying");
                Instant::now()
            }
        };
        state.problems.insert(problem, (message, logged));
    }

    pub(super) fn has_problem(&self, problem: KafkaProblem) -> bool {
        self.lock().problems.contains_key(&problem)
    }

    /// Takes a problem down.
    pub(super) fn resolved(&self, problem: KafkaProblem) {
        if let Some((message, _)) = self.lock().problems.remove(&problem) {
            info!(was = %message, "Kafka ingest goes on");
        }
    }

    /// Takes in what the client counts. It tells of every partition that it ever had; those that it
    /// has now are the desired ones.
    ///
    /// `waits` tells of a partition whether messages that were taken are not settled.
    pub(super) fn set_statistics(
        &self,
        statistics: &Statistics,
        waits: impl Fn(&str, i32) -> bool,
    ) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.resolved(KafkaProblem::Connection);
        }
        let known = |offset: i64| (offset >= FIRST_OFFSET).then_some(offset);
        let mut partitions = Vec::new();
        for topic in statistics.topics.values() {
            for of_topic in topic.partitions.values() {
                if !of_topic.desired || of_topic.partition < 0 {
                    continue;
                }
                let stored = known(of_topic.stored_offset).or(known(of_topic.committed_offset));
                let high = known(of_topic.hi_offset);
                let lag = match (stored, high) {
                    _ if is_at_end(of_topic) && !waits(&topic.topic, of_topic.partition) => Some(0),
                    (Some(stored), Some(high)) => Some((high - stored).max(0)),
                    (None, Some(0)) => Some(0),
                    _ => None,
                };
                partitions.push(KafkaPartition {
                    topic: topic.topic.clone(),
                    partition: of_topic.partition,
                    stored_offset: stored,
                    high_watermark: high,
                    lag,
                });
            }
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        partitions.truncate(MAX_PARTITIONS);
        self.lock().partitions = partitions;
    }
}

/// Whether everything up to the partition's end was taken: offsets behind that are those of transactions' markers
/// and of messages that were aborted or compacted away, and no message will come of them.
fn is_at_end(partition: &statistics::Partition) -> bool {
    partition.hi_offset >= FIRST_OFFSET && partition.app_offset >= partition.hi_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_shown_until_they_are_fixed_the_deepest_first() {
        let board = KafkaBoard::new("g");
        board.set_problem(KafkaProblem::Commit, "no commit".to_owned());
        board.set_problem(KafkaProblem::Connection, "no broker".to_owned());
        assert_eq!(board.read().error.as_deref(), Some("no broker"));
        board.resolved(KafkaProblem::Connection);
        assert_eq!(board.read().error.as_deref(), Some("no commit"));
        board.resolved(KafkaProblem::Commit);
        assert_eq!(board.read().error, None);
    }

    #[test]
    fn only_partitions_that_the_consumer_has_are_shown_with_what_is_known_of_them() {
        let mut topic = statistics::Topic { topic: "t".to_owned(), ..Default::default() };
        for (partition, desired, stored_offset, committed_offset, hi_offset) in [
            (2, true, -1001, 7, 9),
            (0, true, 5, 4, 5),
            (1, false, 5, 5, 9),
            (3, true, -1001, -1001, 4),
            (4, true, -1001, -1001, 0),
            (-1, true, -1001, -1001, -1001),
        ] {
            let of_topic = statistics::Partition {
                partition,
                desired,
                stored_offset,
                committed_offset,
                hi_offset,
                ..Default::default()
            };
            topic.partitions.insert(partition, of_topic);
        }
        let mut statistics = Statistics::default();
        statistics.topics.insert("t".to_owned(), topic);
        let board = KafkaBoard::new("g");
        board.set_statistics(&statistics, |_, _| false);
        let shown = board.read().partitions;
        let shown: Vec<_> =
            shown.iter().map(|it| (it.partition, it.stored_offset, it.lag)).collect();
        let expected =
            [(0, Some(5), Some(0)), (2, Some(7), Some(2)), (3, None, None), (4, None, Some(0))];
        assert_eq!(shown, expected);
    }
}
