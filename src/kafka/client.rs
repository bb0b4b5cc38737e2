//! A client that writes: its properties, and what it calls back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tracing::debug;

use super::failure::{Failure, cause_of};
use super::watch::Watch;
use super::{QUEUE_KBYTES, QUEUE_MESSAGES, TopicSettings};
use crate::lock::lock;

/// Set before the user's own. Keys go to the partitions to which clients in Java would send them, and brokers that
/// come back are found within a second. `probe`: OpenSSL is linked in and does not know where the system keeps its
/// certificates.
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "sluicegate"),
    ("compression.type", "lz4"),
    ("partitioner", "murmur2_random"),
    ("reconnect.backoff.max.ms", "1000"),
    ("ssl.ca.location", "probe"),
];

/// The properties of a client that writes.
pub(super) fn properties(settings: &TopicSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    config.set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string());
    config.set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string());
    for (name, value) in &settings.options {
        config.set(name, value.expose());
    }
    config.set("enable.idempotence", "true").set("acks", "all");
    config.set("bootstrap.servers", &settings.brokers);
    config.set_log_level(RDKafkaLogLevel::Debug);
    config
}

/// What a producer tells of itself beside its answers. It may outlive one producer and be the next one's.
#[derive(Debug, Default)]
pub struct Standing {
    written: AtomicU64,
    failed: AtomicU64,
    is_failing: AtomicBool,
    trouble: Mutex<Option<Failure>>,
}

impl Standing {
    /// Messages that all in-sync replicas have.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Messages whose writing was not confirmed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the last message that was answered was not written, and the topic has not answered since.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Notes that the topic answers, so that writing may be tried again.
    pub fn answers(&self) {
        self.is_failing.store(false, Ordering::Relaxed);
        *lock(&self.trouble) = None;
    }

    /// What the client last had with its brokers, unless something was written since.
    #[must_use]
    pub fn trouble(&self) -> Option<Failure> {
        lock(&self.trouble).clone()
    }
}

/// What the client calls back.
pub(super) struct Context(Arc<Standing>);

impl Context {
    pub(super) fn new(standing: Arc<Standing>) -> Context {
        Context(standing)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut trouble = lock(&self.0.trouble);
        // That no broker is up says less than why each of them is not.
        if code != RDKafkaErrorCode::AllBrokersDown || trouble.is_none() {
            *trouble = Some(Failure { cause: cause_of(code), words: reason.to_owned() });
        }
    }
}

/// A message that is on its way.
pub(super) struct Sent {
    pub watch: Arc<Watch>,
    pub number: usize,
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let Context(standing) = self;
        let failure = match result {
            Ok(_) => {
                standing.written.fetch_add(1, Ordering::Relaxed);
                standing.answers();
                None
            }
            Err((cause, _)) => {
                standing.failed.fetch_add(1, Ordering::Relaxed);
                standing.is_failing.store(true, Ordering::Relaxed);
                Some(Failure::of(cause, standing.trouble()))
            }
        };
        sent.watch.answer(sent.number, failure);
    }
}
