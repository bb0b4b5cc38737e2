//! The relay: bodies that came over HTTP are checked and written to a topic of Kafka, and nothing of them is kept
//! here.
//!
//! "Accepted" means that all in-sync replicas have every event of the body. Where that is not confirmed, some events
//! may have been written all the same, and a body that is sent again brings copies of them.

mod board;
mod producer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::event::Framed;
use crate::lock::lock;
use crate::pipeline::{EventKey, NotTaken, Pipeline, Sender, Taken};
use crate::sinks::Secret;
use crate::{supervision, telemetry};

pub use board::{RelayBoard, RelayReading, TopicFacts};
use producer::{NotSent, Producer, QUEUE_KBYTES, Watch};
pub use producer::{ask_topic, check_relay_property};

/// How often it is looked whether the producer can go on, and how long before one is made again.
const TURN: Duration = Duration::from_millis(500);

/// How long an event waits for room in the producer's queue.
const QUEUE_LIMIT: Duration = Duration::from_secs(20);

/// How long before that is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// What an event in the producer's queue takes beside its bytes, in all: for 100,000 of them.
const QUEUE_OVERHEAD: u64 = 32 << 20;

/// The settings of the relay.
#[derive(Clone, Debug, PartialEq)]
pub struct RelaySettings {
    /// Where to find the first brokers: `host:port`, with commas between them.
    pub brokers: String,
    pub topic: String,
    /// By what events are spread over partitions.
    pub key: EventKey,
    /// Further properties of librdkafka, such as those of TLS and SASL.
    pub options: BTreeMap<String, Secret>,
}

impl RelaySettings {
    /// The most that waits for the brokers, in bytes, with what is kept of each event.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        let given = self.options.get("queue.buffering.max.kbytes");
        let kbytes = given.and_then(|it| it.expose().parse().ok()).unwrap_or(QUEUE_KBYTES);
        kbytes.saturating_mul(1024).saturating_add(QUEUE_OVERHEAD)
    }
}

/// Why a body was not relayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRelayed {
    /// Its events were not checked.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// No producer, or no room in its queue: nothing was written.
    #[error("the relay cannot write: {0}; nothing of this body was written, send it again later")]
    Nothing(String),
    /// Not all of it was confirmed.
    #[error(
        "the brokers confirmed {written} of the body's events and not the others: {cause}; send it again: copies of \
         an event have its `event_id`, if it brings one"
    )]
    Unconfirmed {
        written: usize,
        /// The client's own words.
        cause: String,
    },
}

impl NotRelayed {
    /// The stable code that programs may branch on.
    pub(super) fn code(&self) -> &'static str {
        match self {
            NotRelayed::NotTaken(cause) => cause.code(),
            NotRelayed::Nothing(_) => "ERR_SLUICEGATE_1411",
            NotRelayed::Unconfirmed { .. } => "ERR_SLUICEGATE_1412",
        }
    }
}

/// A relay that runs.
pub struct Relay {
    settings: RelaySettings,
    board: Arc<RelayBoard>,
    producer: Mutex<Option<Arc<Producer>>>,
}

impl Relay {
    /// Begins to look for the brokers, on a thread of its own that ends with the relay.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(settings: RelaySettings) -> std::io::Result<Arc<Relay>> {
        let board = Arc::new(RelayBoard::new(&settings.topic));
        let relay = Arc::new(Relay { settings, board, producer: Mutex::default() });
        let (of_thread, runtime) = (Arc::downgrade(&relay), Handle::current());
        supervision::keep_thread("kafka-relay", move || look_after(&of_thread, &runtime))?;
        Ok(relay)
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<RelayBoard> {
        Arc::clone(&self.board)
    }

    /// Looks after the producer: makes it once the brokers answer, and anew when it cannot go on.
    fn turn(&self, runtime: &Handle) {
        let current = lock(&self.producer).clone();
        if let Some(producer) = current {
            self.board.set_waiting(producer.waiting());
            if let Some(cause) = producer.fatal_error() {
                telemetry::task_failed("relay");
                self.board.set_problem(format!("the producer failed and is made anew: {cause}"));
                *lock(&self.producer) = None;
            }
            return;
        }
        match Producer::open(&self.settings, Arc::clone(&self.board), runtime) {
            Ok(producer) => {
                self.remark(&producer.facts);
                self.board.set_facts(producer.facts.clone());
                self.board.resolved();
                *lock(&self.producer) = Some(Arc::new(producer));
            }
            Err(cause) => self.board.set_problem(cause),
        }
    }

    /// Says what the topic is like, and what its settings do not promise.
    fn remark(&self, facts: &TopicFacts) {
        let topic = &self.settings.topic;
        info!(topic, ?facts, "the relay writes");
        match facts.min_in_sync {
            Some(at_least) if at_least > 1 => {}
            Some(_) => warn!(
                topic,
                "`min.insync.replicas` of the relay's topic is 1: a 200 may mean one copy, which is lost with its \
                 broker; set it to 2 for a topic with three replicas"
            ),
            None => warn!(
                topic,
                "the brokers do not show the settings of the relay's topic (they ask for DescribeConfigs): whether \
                 `min.insync.replicas` is more than 1 is not known"
            ),
        }
    }

    /// Writes a body's good events, and waits until all in-sync replicas have them.
    ///
    /// # Errors
    /// When not all are confirmed. Events that are refused are no error, even if all are.
    pub(super) async fn take(
        &self,
        pipeline: &Pipeline,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
    ) -> Result<Taken, NotRelayed> {
        let producer = lock(&self.producer).clone();
        let producer = producer.ok_or_else(|| {
            let said = self.board.read().error;
            NotRelayed::Nothing(said.unwrap_or_else(|| "it looks for the brokers".to_owned()))
        })?;
        let (watch, until) = (Arc::new(Watch::default()), Instant::now() + QUEUE_LIMIT);
        let mut checking = pipeline.check(framed, sender, self.settings.key)?;
        let max = producer.max_event();
        loop {
            let (rest, slice) = pipeline.check_some(checking).await?;
            checking = rest;
            for (event, text) in slice.events() {
                let length = text.len() + event.key.as_ref().map_or(0, String::len);
                if length > max {
                    let topic = &self.settings.topic;
                    let message = format!(
                        "the event has {length} bytes, at most {max} are taken by the topic `{topic}`"
                    );
                    checking.refuse(event.place, "ERR_SLUICEGATE_1410", message);
                    continue;
                }
                while let Err(cause) = producer.send(event, text, &watch) {
                    let cause = match cause {
                        NotSent::Full if Instant::now() < until => {
                            tokio::time::sleep(QUEUE_PAUSE).await;
                            continue;
                        }
                        NotSent::Full => "too many events wait for the brokers".to_owned(),
                        NotSent::Failed(words) => words,
                    };
                    let so_far = watch.read();
                    return Err(match so_far.sent {
                        0 => NotRelayed::Nothing(cause),
                        _ => NotRelayed::Unconfirmed { written: so_far.written, cause },
                    });
                }
            }
            if slice.is_last {
                break;
            }
        }
        let answered = watch.answered().await;
        match answered.cause {
            None => Ok(pipeline.checked(checking)),
            Some(cause) => Err(NotRelayed::Unconfirmed { written: answered.written, cause }),
        }
    }
}

/// Looks after a relay for as long as there is one.
fn look_after(relay: &Weak<Relay>, runtime: &Handle) {
    while let Some(relay) = relay.upgrade() {
        relay.turn(runtime);
        drop(relay);
        std::thread::park_timeout(TURN);
    }
}
