//! What all clients of Kafka have in common: the addresses of brokers, which of librdkafka's properties people may
//! set, what a topic is like, and a producer in bounds that says of each message what became of it.
//!
//! The protocol, repeats and their order are librdkafka's matter; it is there in builds with the feature `kafka`.
//! The consumer is of `ingest`, its only user.

#[cfg(feature = "kafka")]
mod ask;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod failure;
#[cfg(feature = "kafka")]
mod producer;
mod property;
mod topic;
#[cfg(feature = "kafka")]
mod watch;

use std::collections::BTreeMap;

use crate::form::{Secret, Shape, Value, Written};

#[cfg(feature = "kafka")]
pub use ask::ask_topic;
#[cfg(feature = "kafka")]
pub use client::Standing;
#[cfg(feature = "kafka")]
pub use failure::{Cause, Failure};
#[cfg(feature = "kafka")]
pub use producer::{Message, NotSent, Producer};
pub use property::{PropertyError, check_property};
pub use topic::TopicFacts;
#[cfg(feature = "kafka")]
pub use watch::Watch;

/// Bytes of messages that wait for the brokers unless told otherwise; librdkafka itself would take 1 GiB.
const QUEUE_KBYTES: u64 = 64 << 10;

/// Messages that wait for the brokers unless told otherwise.
const QUEUE_MESSAGES: u64 = 100_000;

/// What a message in a producer's queue takes beside its bytes.
const OF_A_MESSAGE: u64 = 336;

/// By what messages are spread over a topic's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKey {
    /// The account that events are of; none for those that name none.
    AccountId,
    /// Each its own.
    EventId,
    /// Nothing.
    None,
}

const KEYS: &[(&str, EventKey)] = &[
    ("account_id", EventKey::AccountId),
    ("event_id", EventKey::EventId),
    ("none", EventKey::None),
];

impl Value for EventKey {
    const SHAPE: Shape<EventKey> = Shape::Words(KEYS);

    fn written(&self) -> Written {
        let word = KEYS.iter().find(|(_, key)| key == self).map_or("none", |(word, _)| *word);
        Written::open(word)
    }
}

/// Where a producer writes, and how it is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Where to find the first brokers: `host:port`, with commas between them.
    pub brokers: String,
    pub topic: String,
    /// Further properties of librdkafka, such as those of TLS and SASL.
    pub options: BTreeMap<String, Secret>,
}

impl TopicSettings {
    /// The most that waits for the brokers, in bytes, with what is kept of each message.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        let of = |name: &str, default: u64| {
            let given = self.options.get(name).and_then(|it| it.expose().parse().ok());
            given.unwrap_or(default)
        };
        let bytes = of("queue.buffering.max.kbytes", QUEUE_KBYTES).saturating_mul(1024);
        let messages = of("queue.buffering.max.messages", QUEUE_MESSAGES);
        bytes.saturating_add(messages.saturating_mul(OF_A_MESSAGE))
    }
}

/// Whether each of the brokers, which are joined by commas, has a name and a port that can be. What librdkafka
/// makes of the rest it says itself.
#[must_use]
pub fn could_be_brokers(text: &str) -> bool {
    let can_be = |broker: &str| {
        let address = broker.trim();
        let address = address.split_once("://").map_or(address, |(_, address)| address);
        match address.rsplit_once(':') {
            // The colons of an IPv6 address in brackets, without a port.
            Some((_, port)) if port.ends_with(']') => true,
            Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|it| it > 0),
            None => !address.is_empty(),
        }
    };
    text.split(',').all(can_be)
}
