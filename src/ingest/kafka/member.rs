//! A member of the group for as long as the daemon lives: a consumer, and another should one fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaResult;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::board::{KafkaBoard, KafkaProblem};
use super::consumer::{Consumer, Failure, LEAVE, RUN, STOP};
use super::context::Context;
use super::reading::KafkaState;
use super::{CannotConsume, KafkaSettings};
use crate::pipeline::Pipeline;
use crate::sinks::Secret;
use crate::telemetry;

/// How long to wait before a client that failed is made anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How long the group is waited for when leaving it. If no broker answers, the group learns by its
/// session timeout.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// Kafka ingest that runs.
pub struct Kafka {
    board: Arc<KafkaBoard>,
    orders: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

/// What it takes to make a consumer, again if need be.
struct Plan {
    settings: KafkaSettings,
    pipeline: Arc<Pipeline>,
    board: Arc<KafkaBoard>,
    orders: Arc<AtomicU8>,
}

impl Kafka {
    /// Begins to consume. That no broker can be reached is no error: it goes on trying and says so.
    ///
    /// # Errors
    /// When the client cannot be made, for example because a certificate's file is missing.
    pub fn start(settings: KafkaSettings, pipeline: Arc<Pipeline>) -> Result<Kafka, CannotConsume> {
        let board = Arc::new(KafkaBoard::new(&settings.group_id));
        let orders = Arc::new(AtomicU8::new(RUN));
        let plan =
            Plan { settings, pipeline, board: Arc::clone(&board), orders: Arc::clone(&orders) };
        let first = plan.consumer().map_err(|error| CannotConsume(error.to_string()))?;
        let task = tokio::spawn(plan.supervise(first));
        Ok(Kafka { board, orders, task })
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<KafkaBoard> {
        Arc::clone(&self.board)
    }

    /// Takes nothing more in. It leaves the group once what it took in is settled.
    pub fn stop(&self) {
        self.orders.fetch_max(STOP, Ordering::AcqRel);
    }

    /// Leaves the group, whatever is settled, and waits for that for some seconds at most.
    pub async fn leave(self) {
        self.orders.store(LEAVE, Ordering::Release);
        if tokio::time::timeout(LEAVE_LIMIT, self.task).await.is_err() {
            warn!("Kafka's group was not left: no answer from its brokers");
        }
    }
}

impl Plan {
    fn consumer(&self) -> KafkaResult<Consumer> {
        let context = Context::new(Arc::clone(&self.board), self.settings.topics.clone());
        let (pipeline, orders) = (Arc::clone(&self.pipeline), Arc::clone(&self.orders));
        Consumer::new(&self.settings, context, pipeline, orders)
    }

    /// Keeps a consumer going: should one fail for good, or panic, which is a bug, another takes
    /// over where the stored offsets are.
    async fn supervise(self, first: Consumer) {
        let mut made: KafkaResult<Consumer> = Ok(first);
        loop {
            let failure = match made {
                Ok(consumer) => match run(consumer).await {
                    Ok(()) => break,
                    Err(failure) => failure,
                },
                Err(error) => Failure::Client(error.to_string()),
            };
            self.board.set_problem(KafkaProblem::Client, self.told(failure));
            if self.orders.load(Ordering::Acquire) != RUN {
                break;
            }
            tokio::time::sleep(RESTART_PAUSE).await;
            made = self.consumer();
        }
        self.board.set_state(KafkaState::Stopped);
        info!("Kafka ingest has left its group");
    }

    /// What people are told of a failure. That a place is held is none of the client, and passes by itself.
    fn told(&self, failure: Failure) -> String {
        match failure {
            Failure::PlaceHeld => {
                self.board.set_state(KafkaState::Joining);
                let name = self.settings.options.get("group.instance.id").map(Secret::expose);
                let name = name.unwrap_or_default();
                format!(
                    "the group's place `{name}` is still held: its last holder has not been given up yet; \
                     it is waited for until the brokers' session timeout, unless another daemon has that \
                     `group.instance.id` too"
                )
            }
            Failure::TopicGone => {
                "a topic that was read is not there any more; if it is made again, it is read \
                                   from its beginning"
                    .to_owned()
            }
            Failure::Client(words) => {
                telemetry::task_failed("kafka");
                format!("the client failed: {words}")
            }
        }
    }
}

/// Runs a consumer to its end on a thread of its own.
async fn run(consumer: Consumer) -> Result<(), Failure> {
    let (end, ended) = oneshot::channel();
    let body = move || {
        // The other side may have stopped waiting.
        let _ = end.send(consumer.run());
    };
    std::thread::Builder::new()
        .name("kafka-consumer".to_owned())
        .spawn(body)
        .map_err(|error| Failure::Client(format!("no thread: {error}")))?;
    ended.await.unwrap_or_else(|_| Err(Failure::Client("its thread panicked".to_owned())))
}
