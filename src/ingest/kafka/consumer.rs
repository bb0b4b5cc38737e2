//! The consumer: one thread that polls Kafka, keeps what comes, and moves the marks.
//!
//! Every turn of its loop polls, so that the group sees it alive whatever else goes on. It decides
//! nothing about offsets: those are the marks' matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Headers as _, Message as _};
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::KafkaSettings;
use super::board::KafkaProblem;
use super::client::properties;
use super::context::Context;
use super::letters::{frame, letter};
use super::reading::KafkaState;
use super::taken::{Batch, Kept, Message};
use crate::event::{HOPS_HEADER, Hops, Timestamp};
use crate::journal::{AT_KAFKA, Settlement};
use crate::pipeline::{NotTaken, Pipeline, Sender};
use crate::telemetry::Entrance;

/// How long one poll waits: how soon an order is obeyed, and how late a mark may move.
const POLL: Duration = Duration::from_millis(100);

/// How long a batch waits when its dead letters cannot be written.
const LETTERS_RETRY: Duration = Duration::from_secs(5);

/// Go on.
pub(super) const RUN: u8 = 0;
/// Take nothing more, and leave the group when what was kept is settled.
pub(super) const STOP: u8 = 1;
/// Leave the group now.
pub(super) const LEAVE: u8 = 2;

/// Why a batch is not kept now.
enum Refusal {
    /// The journal is full; when to try again.
    Full(Duration),
    /// The dead letters cannot be written.
    Letters(std::io::Error),
    /// The pipeline takes nothing any more.
    Closed,
}

/// Why a client cannot go on and must be made anew.
#[derive(Debug)]
pub(super) enum Failure {
    /// The group's place of this name (`group.instance.id`) is kept for whoever had it last, for as long as the
    /// brokers take him for alive.
    PlaceHeld,
    /// A topic that was read is not there any more.
    TopicGone,
    /// The client's own words.
    Client(String),
}

/// The hops that a message's events have made.
fn hops(headers: Option<&BorrowedHeaders>) -> Hops {
    let named = |headers: &BorrowedHeaders| {
        let found = headers.iter().find(|it| it.key.eq_ignore_ascii_case(HOPS_HEADER))?;
        Some(Hops::parse(found.value.unwrap_or_default()))
    };
    headers.and_then(named).unwrap_or_default()
}

/// A member of the group.
pub(super) struct Consumer {
    client: BaseConsumer<Context>,
    pipeline: Arc<Pipeline>,
    runtime: Handle,
    max_event: usize,
    orders: Arc<AtomicU8>,
    paused: bool,
}

impl Consumer {
    /// Makes the client; no broker need be there yet. To be called inside the async runtime.
    pub(super) fn new(
        settings: &KafkaSettings,
        context: Context,
        pipeline: Arc<Pipeline>,
        orders: Arc<AtomicU8>,
    ) -> KafkaResult<Consumer> {
        let client: BaseConsumer<Context> = properties(settings).create_with_context(context)?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        client.subscribe(&topics)?;
        let runtime = Handle::current();
        Ok(Consumer {
            client,
            pipeline,
            runtime,
            max_event: settings.max_event,
            orders,
            paused: false,
        })
    }

    /// Runs until ordered to leave; dropping the client commits and leaves the group.
    ///
    /// # Errors
    /// When the client cannot go on and must be made anew.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        loop {
            if let Some((code, words)) = self.client.client().fatal_error() {
                return Err(match code {
                    RDKafkaErrorCode::UnreleasedInstanceId => Failure::PlaceHeld,
                    _ => Failure::Client(words),
                });
            }
            let stopping = self.orders.load(Ordering::Acquire);
            if stopping != RUN {
                self.client.context().taken().drop_unkept();
            }
            let held_up = self.client.context().taken().is_held_up();
            self.pause(stopping != RUN || held_up);
            if self.client.context().has_lost_a_topic() {
                return Err(Failure::TopicGone);
            }
            self.poll(stopping != RUN);
            let due = self.client.context().taken().due();
            if let Some(batch) = due {
                self.keep(batch);
            }
            self.client.context().store_marks(&self.client);
            let settled = self.client.context().taken().marks.is_empty();
            if stopping == LEAVE || (stopping == STOP && settled) {
                return Ok(());
            }
        }
    }

    /// Takes in what there is, up to a batch. While paused hardly anything comes, but it is served.
    fn poll(&self, discard: bool) {
        let mut wait = POLL;
        loop {
            match self.client.poll(wait) {
                // An error is told to the context too, with its reason.
                None | Some(Err(_)) => return,
                Some(Ok(_)) if discard => {}
                Some(Ok(message)) => {
                    let more = self.client.context().taken().add(Message {
                        topic: message.topic().to_owned(),
                        partition: message.partition(),
                        offset: message.offset(),
                        payload: message.payload().unwrap_or_default().to_vec(),
                        millis: message.timestamp().to_millis(),
                        hops: hops(message.headers()),
                    });
                    if !more {
                        return;
                    }
                }
            }
            wait = Duration::ZERO;
        }
    }

    /// Stops or starts the flow. Partitions that came while it stood are stopped too.
    fn pause(&mut self, pause: bool) {
        if !pause && !self.paused {
            return;
        }
        let Ok(assigned) = self.client.assignment() else { return };
        let done = match pause {
            true => self.client.pause(&assigned),
            false => self.client.resume(&assigned),
        };
        if let Err(cause) = done {
            warn!(%cause, pause, "Kafka partitions were not paused or resumed; tried again");
        } else {
            self.paused = pause;
        }
    }

    fn keep(&self, mut batch: Batch) {
        let context = self.client.context();
        let board = &context.board;
        let refusal = match self.runtime.block_on(self.try_keep(&mut batch)) {
            Ok(settlement) => {
                board.count(batch.messages.len());
                context.taken().kept(batch, &settlement);
                board.resolved(KafkaProblem::Fetching);
                board.resolved(KafkaProblem::Keeping);
                if self.paused {
                    info!("Kafka partitions go on: what was taken is kept");
                    board.set_state(KafkaState::Consuming);
                }
                return;
            }
            Err(refusal) => refusal,
        };
        batch.due = Instant::now()
            + match refusal {
                // The order to stop is on its way; until then nothing can be kept.
                Refusal::Closed => POLL,
                Refusal::Full(retry_after) => {
                    if !self.paused {
                        warn!("Kafka partitions are paused: the journal is full");
                    }
                    board.set_state(KafkaState::Paused);
                    retry_after
                }
                Refusal::Letters(cause) => {
                    board.set_state(KafkaState::Paused);
                    let message = format!("dead letters cannot be written: {cause}");
                    board.set_problem(KafkaProblem::Keeping, message);
                    LETTERS_RETRY
                }
            };
        context.taken().hold_up(batch);
    }

    /// Takes the events of a batch in, then puts the bad ones among the dead letters. What was kept is
    /// not kept again when only the latter failed.
    async fn try_keep(&self, batch: &mut Batch) -> Result<Settlement, Refusal> {
        let Kept { settlement, letters } = match batch.kept.take() {
            Some(kept) => kept,
            None => self.take(&batch.messages).await?,
        };
        if letters.is_empty() {
            return Ok(settlement);
        }
        if let Err(cause) = self.pipeline.reject(AT_KAFKA, letters.clone()).await {
            batch.kept = Some(Kept { settlement, letters });
            return Err(Refusal::Letters(cause));
        }
        Ok(settlement)
    }

    async fn take(&self, messages: &[Message]) -> Result<Kept, Refusal> {
        let now = Timestamp::now();
        let framed = Arc::new(frame(messages));
        let hops = messages.iter().map(|message| message.hops.clone()).collect();
        let stood = messages.iter().map(Message::stood).collect();
        let sender = Sender::new(Entrance::Kafka, self.max_event, None);
        let sender = sender.with_hops(hops).standing(stood);
        let taken = self.pipeline.take(&framed, &Arc::new(sender)).await.map_err(|cause| {
            self.pipeline.refusals().tell(Entrance::Kafka, cause.code(), 1, &cause);
            match cause {
                NotTaken::Full(full) => Refusal::Full(full.retry_after),
                // Its sender has no budget, so it is never over it.
                NotTaken::Changing
                | NotTaken::Withdrawn
                | NotTaken::Held(_)
                | NotTaken::OverBudget(_) => Refusal::Full(POLL),
                NotTaken::Closed => Refusal::Closed,
            }
        })?;
        let refused = taken.refused.iter();
        let letters = refused.map(|refused| {
            letter(&messages[refused.place.body], framed.event(refused.place), refused, now)
        });
        Ok(Kept { settlement: taken.settlement, letters: letters.collect() })
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header, OwnedHeaders};

    use super::*;

    #[test]
    fn hops_are_read_from_a_messages_headers_whatever_the_case_of_the_name() {
        let read = |key: &str, value: Option<&str>| {
            let headers = OwnedHeaders::new().insert(Header { key, value });
            hops(Some(headers.as_borrowed())).of(0)
        };
        assert_eq!(read("Sluicegate-Hops", Some("3")), 3);
        assert_eq!(read("sluicegate-hops", None), u8::MAX);
        assert_eq!(read("other", Some("3")), 0);
        assert_eq!(hops(None), Hops::default());
    }
}
