//! Kafka ingest: a member of a consumer group, whose messages are NDJSON or one event each.
//!
//! "Accepted" means an offset here. An offset is stored only when every message before it in its
//! partition is kept: journaled on disk or, in memory mode, settled by all its destinations; and
//! rejected events are among the dead letters, on disk, before that. So whatever dies, the group goes
//! on at or before the first message that could be lost, and delivery is at least once.
//!
//! One thread does all of it (`consumer.rs`); the client's callbacks run on it too (`context.rs`), so
//! that a rebalance never meets an append in progress. The protocol is librdkafka's matter.

#[cfg(feature = "kafka")]
mod board;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod consumer;
#[cfg(feature = "kafka")]
mod context;
#[cfg(feature = "kafka")]
mod gaps;
#[cfg(feature = "kafka")]
mod letters;
#[cfg(feature = "kafka")]
mod marks;
#[cfg(feature = "kafka")]
mod member;
mod reading;
#[cfg(feature = "kafka")]
mod taken;
#[cfg(not(feature = "kafka"))]
mod without;

use std::collections::BTreeMap;

use crate::kafka::{PropertyError, check_property};
use crate::sinks::Secret;

#[cfg(feature = "kafka")]
pub use board::KafkaBoard;
#[cfg(feature = "kafka")]
pub use client::ask_kafka;
#[cfg(feature = "kafka")]
pub use member::Kafka;
pub use reading::KafkaReading;
#[cfg(not(feature = "kafka"))]
pub use without::{Kafka, KafkaBoard, ask_kafka};

/// The settings of Kafka ingest.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSettings {
    /// Where to find the first brokers: `host:port`, with commas between them.
    pub brokers: String,
    pub topics: Vec<String>,
    /// The consumer group; daemons of one group share the partitions.
    pub group_id: String,
    /// Largest single event in bytes.
    pub max_event: usize,
    /// Further properties of librdkafka, such as those of TLS and SASL.
    pub options: BTreeMap<String, Secret>,
}

/// The client cannot be made with these settings.
#[derive(Debug, thiserror::Error)]
#[error("the Kafka client cannot be made: {0}")]
pub struct CannotConsume(String);

/// Properties that have a setting of their own, or that only we may set.
const OWNED: [(&str, &str); 8] = [
    ("bootstrap.servers", "use the setting `brokers`"),
    ("metadata.broker.list", "use the setting `brokers`"),
    ("group.id", "use the setting `group_id`"),
    ("enable.auto.commit", "offsets are committed when what is before them is kept"),
    ("enable.auto.offset.store", "offsets are stored when what is before them is kept"),
    ("enable.partition.eof", "the ends of partitions mean nothing here"),
    ("offset.store.method", "offsets are kept by the brokers"),
    ("statistics.interval.ms", "`/status` needs the statistics"),
];

/// Checks one property by itself, without opening anything.
///
/// # Errors
/// When it is ours, or the client refuses it.
pub fn check_kafka_property(name: &str, value: &str) -> Result<(), PropertyError> {
    check_property(&OWNED, name, value)
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_refused_if_it_is_ours_or_the_client_does_not_take_it() {
        let check = |name, value| check_kafka_property(name, value).map_err(|it| it.to_string());
        assert_eq!(check("security.protocol", "SASL_SSL"), Ok(()));
        assert_eq!(check("sasl.mechanism", "SCRAM-SHA-512"), Ok(()));
        assert_eq!(
            check("group.id", "x"),
            Err("`group.id` is not for settings: use the setting `group_id`".to_owned())
        );
        assert_eq!(
            check("sasl.usrname", "x"),
            Err("librdkafka says: No such configuration property: \"sasl.usrname\"".to_owned())
        );
        let wrong = check("security.protocol", "TLS").unwrap_err();
        assert!(wrong.contains("security.protocol"), "{wrong}");
    }
}
