//! An idempotent producer that waits for all in-sync replicas, in bounds, and how its callers learn what became of
//! each message.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::runtime::Handle;

use super::TopicSettings;
use super::ask::ask_topic;
use super::client::{Context, Sent, Standing, properties};
use super::failure::Failure;
use super::topic::TopicFacts;
use super::watch::Watch;
use crate::event::HOPS_HEADER;

/// What a message may have beside its value and its key: its own head, that of its batch, and a header of ours.
const MAX_OVERHEAD: usize = 1024;

/// One message to write.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// What its answer is known by.
    pub number: usize,
    pub key: Option<&'m str>,
    pub value: &'m [u8],
    /// The daemons that its event has come through, for a header; none for 0.
    pub hops: u8,
}

/// Why a message was not sent.
#[derive(Debug)]
pub enum NotSent {
    /// The queue is full now.
    Full,
    /// Something else.
    Failed(Failure),
}

/// A producer for one topic.
pub struct Producer {
    client: ThreadedProducer<Context>,
    standing: Arc<Standing>,
    topic: String,
    pub facts: TopicFacts,
}

impl Producer {
    /// Asks what the topic is like, and makes the client, whose messages each have their answer within `timeout`
    /// unless the settings say otherwise. Blocks like [`ask_topic`].
    ///
    /// # Errors
    /// Like [`ask_topic`].
    pub fn open(
        settings: &TopicSettings,
        timeout: Duration,
        standing: Arc<Standing>,
        runtime: &Handle,
    ) -> Result<Producer, Failure> {
        let facts = ask_topic(settings, runtime)?;
        let mut config = properties(settings);
        config.set("message.max.bytes", facts.max_message.max(MAX_OVERHEAD).to_string());
        if !settings.options.contains_key("message.timeout.ms") {
            config.set("message.timeout.ms", timeout.as_millis().to_string());
        }
        let client = config.create_with_context(Context::new(Arc::clone(&standing)));
        let client = client.map_err(|error| Failure::of(&error, None))?;
        Ok(Producer { client, standing, topic: settings.topic.clone(), facts })
    }

    /// Most bytes of a key and a value together that the topic takes.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.facts.max_message.saturating_sub(MAX_OVERHEAD)
    }

    /// What it can never work after.
    #[must_use]
    pub fn fatal_error(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(_, words)| words)
    }

    /// Messages whose answer is waited for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or_default()
    }

    /// Puts a message into the queue; `watch` is told what became of it.
    ///
    /// # Errors
    /// When the queue is full, or the client takes no message.
    pub fn send(&self, message: Message<'_>, watch: &Arc<Watch>) -> Result<(), NotSent> {
        let sent = Box::new(Sent { watch: Arc::clone(watch), number: message.number });
        let mut record = BaseRecord::<str, [u8], _>::with_opaque_to(&self.topic, sent);
        record = record.payload(message.value);
        record.key = message.key;
        if message.hops > 0 {
            let hops = message.hops.to_string();
            let header = Header { key: HOPS_HEADER, value: Some(&hops) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        // Before it is sent: the answer may be quicker than this thread.
        watch.expect();
        self.client.send(record).map_err(|(cause, _)| {
            watch.expect_one_less();
            match cause.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => NotSent::Full,
                _ => NotSent::Failed(Failure::of(&cause, self.standing.trouble())),
            }
        })
    }
}
