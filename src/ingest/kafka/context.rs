//! What the Kafka client calls back: rebalances, errors, statistics, its own log.
//!
//! Everything here but the log runs on the consumer's thread, inside its poll; so while a rebalance is
//! handled nothing is being appended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::board::{KafkaBoard, KafkaProblem};
use super::marks::Partition;
use super::reading::KafkaState;
use super::taken::Taken;
use crate::lock::lock;

/// How long the brokers have to tell the group's offsets, within a rebalance.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the consumer and its callbacks share.
pub(super) struct Context {
    pub board: Arc<KafkaBoard>,
    topics: Vec<String>,
    taken: Mutex<Taken>,
    /// A topic that was read is not there any more.
    is_gone: AtomicBool,
}

impl Context {
    pub(super) fn new(board: Arc<KafkaBoard>, topics: Vec<String>) -> Context {
        Context { board, topics, taken: Mutex::default(), is_gone: AtomicBool::new(false) }
    }

    pub(super) fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }

    /// Whether a topic that was read is not there any more: should it come again, this client would go on where
    /// it was in the old one, behind the new one's first messages.
    pub(super) fn has_lost_a_topic(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Stores the offsets of the marks that have moved; the client commits what is stored every
    /// second, and before it gives a partition back.
    pub(super) fn store_marks(&self, consumer: &BaseConsumer<Context>) {
        let moved = self.taken().marks.advance();
        if moved.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::with_capacity(moved.len());
        for ((topic, partition), next) in &moved {
            // Fails only for an offset below zero.
            let _ = offsets.add_partition_offset(topic, *partition, Offset::Offset(*next));
        }
        if let Err(cause) = consumer.store_offsets(&offsets) {
            // The client refuses what is not assigned to it: then another consumer takes it again.
            debug!(%cause, ?moved, "offsets were not stored");
        }
    }

    /// Asks where the group is in partitions that it has got. Without an answer a gap before the first message
    /// is not seen.
    fn begin(&self, consumer: &BaseConsumer<Context>, assigned: &TopicPartitionList) {
        match consumer.committed_offsets(assigned.clone(), ASK_TIMEOUT) {
            Ok(committed) => {
                let mut taken = self.taken();
                for it in committed.elements() {
                    if let Offset::Offset(offset) = it.offset() {
                        taken.gaps.begin(it.topic(), it.partition(), offset);
                    }
                }
            }
            Err(cause) => debug!(%cause, "the group's offsets are not known"),
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error too, and is logged from there.
        debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let problem = match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => KafkaProblem::Subscription,
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::OperationTimedOut,
            ) => KafkaProblem::Connection,
            _ => KafkaProblem::Fetching,
        };
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            let taken = self.taken();
            let is_gone = |topic: &String| reason.contains(topic) && taken.gaps.has_read(topic);
            if self.topics.iter().any(is_gone) {
                self.is_gone.store(true, Ordering::Release);
            }
        }
        // That no broker is up says less than why each of them is not.
        let is_known = || self.board.has_problem(KafkaProblem::Connection);
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) || !is_known() {
            self.board.set_problem(problem, reason.to_owned());
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut taken = self.taken();
        for topic in statistics.topics.values() {
            for (number, of_topic) in &topic.partitions {
                let skipped = taken.gaps.skipped(&topic.topic, *number, of_topic.lo_offset);
                if skipped > 0 {
                    self.board.count_skipped(skipped);
                    warn!(
                        topic = topic.topic,
                        partition = number,
                        skipped,
                        "messages were thrown away by the topic's retention before they were read"
                    );
                }
            }
        }
        self.board.set_statistics(&statistics, |topic, partition| taken.waits(topic, partition));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Context>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(revoked) = rebalance else { return };
        self.store_marks(consumer);
        let revoked = partitions(revoked);
        info!(partitions = revoked.len(), "partitions were taken away from Kafka ingest");
        self.taken().forget(&revoked);
        self.board.set_state(KafkaState::Joining);
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Context>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(assigned) = rebalance else { return };
        info!(partitions = assigned.count(), "Kafka ingest has its partitions");
        self.begin(consumer, assigned);
        let assigned = consumer.assignment().map_or_else(|_| Vec::new(), |all| partitions(&all));
        let held_up = self.taken().is_held_up();
        self.board.set_state(if held_up { KafkaState::Paused } else { KafkaState::Consuming });
        self.board.resolved(KafkaProblem::Client);
        if self.topics.iter().all(|topic| assigned.iter().any(|(name, _)| name == topic)) {
            self.board.resolved(KafkaProblem::Subscription);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.board.resolved(KafkaProblem::Commit),
            // Nothing new to commit.
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(cause) => {
                let message = format!("offsets cannot be committed: {cause}");
                self.board.set_problem(KafkaProblem::Commit, message);
            }
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|it| (it.topic().to_owned(), it.partition())).collect()
}
