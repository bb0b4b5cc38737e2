//! The producer of the relay: its properties, what the topic is like, and how a body learns what became of its events.
//!
//! The protocol, repeats and their order are librdkafka's matter.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::debug;

use super::RelaySettings;
use super::board::{RelayBoard, TopicFacts};
use crate::event::HOPS_HEADER;
use crate::ingest::kafka::{PropertyError, check_property};
use crate::lock::lock;
use crate::pipeline::Ready;

/// How long the brokers have to tell what the topic is like.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a message has beside its event: its own head, that of its batch, and its key.
const OVERHEAD: usize = 1024;

/// The largest message of a topic whose settings the brokers do not show: less than Kafka's default.
const USUAL_MAX: usize = 1_000_000;

/// Bytes that wait for the brokers unless told otherwise; librdkafka itself would take 1 GiB.
pub(super) const QUEUE_KBYTES: u64 = 64 << 10;

/// Set before the user's own. A body is told within 20 s what became of it, keys go to the partitions to which
/// clients in Java would send them, and brokers that come back are found within a second.
const DEFAULTS: [(&str, &str); 7] = [
    ("client.id", "sluicegate"),
    ("compression.type", "lz4"),
    ("message.timeout.ms", "20000"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.messages", "100000"),
    ("reconnect.backoff.max.ms", "1000"),
    ("ssl.ca.location", "probe"),
];

/// Properties that have a setting of their own, or that only we may set.
const OWNED: [(&str, &str); 8] = [
    ("bootstrap.servers", "use the setting `brokers`"),
    ("metadata.broker.list", "use the setting `brokers`"),
    ("acks", "a 200 means that all in-sync replicas have every event"),
    ("request.required.acks", "a 200 means that all in-sync replicas have every event"),
    ("enable.idempotence", "what the client repeats by itself comes once"),
    ("message.max.bytes", "it is what the topic takes"),
    ("statistics.interval.ms", "nobody reads the statistics"),
    ("transactional.id", "bodies are no transactions"),
];

/// Checks one property of the relay's by itself, without opening anything.
///
/// # Errors
/// When it is ours, or the client refuses it.
pub fn check_relay_property(name: &str, value: &str) -> Result<(), PropertyError> {
    check_property(&OWNED, name, value)
}

fn properties(settings: &RelaySettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    config.set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string());
    for (name, value) in &settings.options {
        config.set(name, value.expose());
    }
    config.set("enable.idempotence", "true").set("acks", "all");
    config.set("bootstrap.servers", &settings.brokers);
    config.set_log_level(RDKafkaLogLevel::Debug);
    config
}

/// Asks the brokers what the relay's topic is like. Blocks for some seconds at most, and must not be called by a
/// thread of the runtime.
///
/// # Errors
/// When the client cannot be made, no broker answers, or the topic is not there.
pub fn ask_topic(settings: &RelaySettings, runtime: &Handle) -> Result<TopicFacts, String> {
    let admin: AdminClient<DefaultClientContext> =
        properties(settings).create().map_err(|error| error.to_string())?;
    let topic = &settings.topic;
    let metadata = admin.inner().fetch_metadata(Some(topic), ASK_TIMEOUT);
    let metadata = metadata.map_err(|error| format!("no answer from the brokers: {error}"))?;
    let answer = metadata.topics().first();
    let answer = answer.ok_or_else(|| format!("topic `{topic}`: no answer"))?;
    if let Some(error) = answer.error() {
        return Err(format!("topic `{topic}`: {}", RDKafkaErrorCode::from(error)));
    }
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let wanted = [ResourceSpecifier::Topic(topic)];
    let described = runtime.block_on(admin.describe_configs(&wanted, &options));
    let described = described.ok().and_then(|all| all.into_iter().next()?.ok());
    let number =
        |name: &str| -> Option<u64> { described.as_ref()?.get(name)?.value.as_ref()?.parse().ok() };
    let max_message = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
    Ok(TopicFacts {
        partitions: answer.partitions().len(),
        replicas: answer.partitions().first().map_or(0, |it| it.replicas().len()),
        min_in_sync: number("min.insync.replicas").and_then(|it| u32::try_from(it).ok()),
        max_message: max_message.unwrap_or(USUAL_MAX),
    })
}

/// What became of a body's events so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Mutex<Watched>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    pub sent: usize,
    pub written: usize,
    pub failed: usize,
    /// Why the last one failed.
    pub cause: Option<String>,
}

impl Watch {
    pub(super) fn read(&self) -> Watched {
        lock(&self.state).clone()
    }

    /// Waits until all that was sent has its answer. The client gives each one in time.
    pub(super) async fn answered(&self) -> Watched {
        loop {
            let state = self.read();
            if state.written + state.failed == state.sent {
                return state;
            }
            self.changed.notified().await;
        }
    }

    fn answer(&self, failure: Option<&KafkaError>) {
        let mut state = lock(&self.state);
        match failure {
            None => state.written += 1,
            Some(cause) => {
                state.failed += 1;
                state.cause = Some(cause.to_string());
            }
        }
        let is_all = state.written + state.failed == state.sent;
        drop(state);
        if is_all {
            self.changed.notify_one();
        }
    }
}

struct Context(Arc<RelayBoard>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That no broker is up says less than why each of them is not.
        let is_all_down = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if !is_all_down || !self.0.has_problem() {
            self.0.set_problem(reason.to_owned());
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Watch>;

    fn delivery(&self, result: &DeliveryResult<'_>, watch: Arc<Watch>) {
        let failure = result.as_ref().err().map(|(cause, _)| cause);
        self.0.count(failure.is_none());
        if failure.is_none() {
            self.0.resolved();
        }
        watch.answer(failure);
    }
}

/// Why an event was not sent.
#[derive(Debug)]
pub(super) enum NotSent {
    /// The queue is full now.
    Full,
    /// The client's own words.
    Failed(String),
}

/// An idempotent producer that waits for all in-sync replicas.
pub(super) struct Producer {
    client: ThreadedProducer<Context>,
    topic: String,
    pub facts: TopicFacts,
}

impl Producer {
    /// Asks what the topic is like, and makes the client. Blocks like [`ask_topic`].
    ///
    /// # Errors
    /// Like [`ask_topic`].
    pub(super) fn open(
        settings: &RelaySettings,
        board: Arc<RelayBoard>,
        runtime: &Handle,
    ) -> Result<Producer, String> {
        let facts = ask_topic(settings, runtime)?;
        let mut config = properties(settings);
        config.set("message.max.bytes", facts.max_message.max(OVERHEAD).to_string());
        let client = config.create_with_context(Context(board));
        let client = client.map_err(|error| error.to_string())?;
        Ok(Producer { client, topic: settings.topic.clone(), facts })
    }

    /// Largest event that the topic takes, in bytes.
    pub(super) fn max_event(&self) -> usize {
        self.facts.max_message.saturating_sub(OVERHEAD)
    }

    /// What it can never work after.
    pub(super) fn fatal_error(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(_, words)| words)
    }

    /// Events whose answer is waited for.
    pub(super) fn waiting(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or_default()
    }

    /// Puts an event into the queue; `watch` is told what became of it.
    pub(super) fn send(
        &self,
        event: &Ready,
        text: &[u8],
        watch: &Arc<Watch>,
    ) -> Result<(), NotSent> {
        let mut record = BaseRecord::<str, [u8], _>::with_opaque_to(&self.topic, Arc::clone(watch));
        record = record.payload(text);
        record.key = event.key.as_deref();
        if event.hops > 0 {
            let hops = event.hops.to_string();
            let header = Header { key: HOPS_HEADER, value: Some(&hops) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        // Before it is sent: the answer may be quicker than this thread.
        lock(&watch.state).sent += 1;
        self.client.send(record).map_err(|(cause, _)| {
            lock(&watch.state).sent -= 1;
            match cause.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => NotSent::Full,
                _ => NotSent::Failed(cause.to_string()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_answered_when_all_of_its_events_are() {
        let watch = Watch::default();
        lock(&watch.state).sent = 2;
        watch.answer(None);
        assert!(tokio::time::timeout(Duration::ZERO, watch.answered()).await.is_err());
        watch.answer(Some(&KafkaError::Canceled));
        let state = watch.answered().await;
        assert_eq!((state.written, state.failed), (1, 1));
    }

    #[test]
    fn what_a_200_means_is_not_for_settings() {
        let check = |name, value| check_relay_property(name, value).is_ok();
        assert!(check("linger.ms", "20"));
        assert!(!check("acks", "1"));
        assert!(!check("linger.msec", "20"));
    }
}
