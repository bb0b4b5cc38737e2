//! What the Kafka client calls back: rebalances, errors, statistics, its own log.
//!
//! Everything here but the log runs on the consumer's thread, inside its poll; so while a rebalance is
//! handled nothing is being appended.

use std::sync::{Arc, Mutex, MutexGuard};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, info};

use super::board::{KafkaBoard, KafkaProblem, KafkaState};
use super::marks::Partition;
use super::taken::Taken;
use crate::lock::lock;

/// What the consumer and its callbacks share.
pub(super) struct Context {
    pub board: Arc<KafkaBoard>,
    topics: Vec<String>,
    taken: Mutex<Taken>,
}

impl Context {
    pub(super) fn new(board: Arc<KafkaBoard>, topics: Vec<String>) -> Context {
        Context { board, topics, taken: Mutex::default() }
    }

    pub(super) fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
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
        self.board.set_problem(problem, reason.to_owned());
    }

    fn stats(&self, statistics: Statistics) {
        self.board.set_statistics(&statistics);
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
