//! A relay that runs: its producer, looked after by a thread, and bodies on their way through it.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{info, warn};

use super::board::RelayBoard;
use super::{NotRelayed, RelaySettings};
use crate::event::Framed;
use crate::kafka::{Message, NotSent, Producer, TopicFacts, Watch, ask_topic};
use crate::lock::lock;
use crate::pipeline::{Pipeline, Ready, Sender, Taken};
use crate::{supervision, telemetry};

/// How often it is looked whether the producer can go on, and how long before one is made again.
const TURN: Duration = Duration::from_millis(500);

/// How long after a body's events were sent its sender is told what became of them, at most.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How long an event waits for room in the producer's queue.
const QUEUE_LIMIT: Duration = Duration::from_secs(20);

/// How long before that is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

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
        let board = Arc::new(RelayBoard::new(&settings.to.topic));
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
                self.board.set_open(false);
                return;
            }
            // Whoever sends bodies may have gone elsewhere, so that none of them tells.
            if self.board.standing().is_failing() && ask_topic(&self.settings.to, runtime).is_ok() {
                self.board.standing().answers();
            }
            match self.board.standing().trouble() {
                Some(trouble) => self.board.set_problem(trouble.words),
                None => self.board.resolved(),
            }
            return;
        }
        let standing = Arc::clone(self.board.standing());
        match Producer::open(&self.settings.to, ANSWER_LIMIT, standing, runtime) {
            Ok(producer) => {
                self.remark(&producer.facts);
                self.board.set_facts(producer.facts.clone());
                self.board.resolved();
                *lock(&self.producer) = Some(Arc::new(producer));
                self.board.set_open(true);
            }
            Err(failure) => self.board.set_problem(failure.words),
        }
    }

    /// Says what the topic is like, and what its settings do not promise.
    fn remark(&self, facts: &TopicFacts) {
        let topic = &self.settings.to.topic;
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
    pub(in crate::ingest) async fn take(
        &self,
        pipeline: &Pipeline,
        framed: &Arc<Framed>,
        sender: &Arc<Sender>,
    ) -> Result<Taken, NotRelayed> {
        let producer = lock(&self.producer).clone();
        let producer = producer.ok_or_else(|| {
            let said = self.board.refusal();
            NotRelayed::Nothing(said.unwrap_or_else(|| "it is ready only now".to_owned()))
        })?;
        let (watch, until) = (Arc::new(Watch::default()), Instant::now() + QUEUE_LIMIT);
        let mut checking = pipeline.check(framed, sender, self.settings.key)?;
        let max = producer.max_bytes();
        loop {
            let (rest, slice) = pipeline.check_some(checking).await?;
            checking = rest;
            for (event, text) in slice.events() {
                let length = text.len() + event.key.as_ref().map_or(0, String::len);
                if length > max {
                    let topic = &self.settings.to.topic;
                    let message = format!(
                        "the event has {length} bytes, at most {max} are taken by the topic `{topic}`"
                    );
                    checking.refuse(event.place, "ERR_SLUICEGATE_1410", message);
                    continue;
                }
                while let Err(cause) = producer.send(message(event, text), &watch) {
                    let cause = match cause {
                        NotSent::Full if Instant::now() < until => {
                            tokio::time::sleep(QUEUE_PAUSE).await;
                            continue;
                        }
                        NotSent::Full => "too many events wait for the brokers".to_owned(),
                        NotSent::Failed(failure) => failure.words,
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
        match answered.failed.into_iter().next_back() {
            None => Ok(pipeline.checked(checking)),
            Some((_, failure)) => {
                Err(NotRelayed::Unconfirmed { written: answered.written, cause: failure.words })
            }
        }
    }
}

/// An event as a message; which of a body's were not written is of no matter.
fn message<'m>(event: &'m Ready, text: &'m [u8]) -> Message<'m> {
    Message { number: 0, key: event.key.as_deref(), value: text, hops: event.hops }
}

/// Asks the brokers for the relay's topic. Blocks for some seconds at most, and must not be called by a thread that
/// runs the runtime's tasks.
///
/// # Errors
/// When the client cannot be made, no broker answers, or the topic is not there.
pub fn ask_relay(settings: &RelaySettings, runtime: &Handle) -> Result<String, String> {
    let answer = ask_topic(&settings.to, runtime);
    answer.map(|facts| facts.of(&settings.to.topic)).map_err(|failure| failure.words)
}

/// Looks after a relay for as long as there is one.
fn look_after(relay: &Weak<Relay>, runtime: &Handle) {
    while let Some(relay) = relay.upgrade() {
        relay.turn(runtime);
        drop(relay);
        std::thread::park_timeout(TURN);
    }
}
