//! The life of an event between ingest and the services: dispatch, journal, delivery.
//!
//! The stages, in order: intake (check and extract → dispatch → append; here the sender gets its
//! answer), then read → batch → deliver → settle. There is one door in, and delivery is one task a
//! destination. It knows neither how bodies come in nor how a service is spoken to.

#[cfg(test)]
mod allocations;
mod backoff;
mod batcher;
mod block;
mod burial;
#[cfg(feature = "kafka")]
mod checking;
mod concurrency;
mod deliveries;
mod delivery;
mod dispatch;
mod examination;
mod health;
mod in_force;
mod in_order;
mod intake;
mod lanes;
mod letters;
mod pace;
mod projection;
mod publish;
mod recent;
mod redrive;
mod replay;
mod sample;
mod set_aside;
#[cfg(test)]
mod simulation;
mod stats;
mod test_event;
mod trial;
mod verdicts;
mod workers;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::budget::{POOL_BYTES, Pool};
use crate::event::Record;
use crate::journal::{self, Account, Journal, Ledger, LetterCounts, Share};
use crate::lock::{lock, read, write};
use crate::resources::{Destination, ResourceId, Resources};
use crate::sinks::{
    Bounds, DEFAULT_TIMEOUT, Format, LogOutput, LogStreams, OpenError, Packing, Sink, Target,
};
use crate::telemetry::Refusals;

pub use burial::BuryError;
#[cfg(feature = "kafka")]
pub use checking::Ready;
use deliveries::{Deliveries, Outlet};
use dispatch::Dispatcher;
pub use examination::Sender;
#[cfg(feature = "kafka")]
pub use examination::Stood;
pub use health::{Condition, State};
use in_force::InForce;
pub use intake::{NotTaken, OnHold, Taken};
pub use lanes::SlowPart;
pub use letters::{
    Fates, LetterChoice, LettersAsked, LettersDone, LettersError, ListedLetter, without_record,
};
pub use publish::PublishError;
use recent::Recent;
pub use redrive::{redrive, redrive_patiently};
pub use replay::{ReplayAsked, ReplayError, Replayed};
pub use sample::{Sampled, Sampler, metered};
pub use set_aside::SetAsideRecord;
use stats::Stats;
pub use stats::SubscriptionCounts;
pub use test_event::{TestOutcome, send_test_event};
pub use trial::{Stages, Trial};
pub use workers::Workers;

/// A destination that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("destination `{destination}` cannot be opened: {cause}")]
pub struct CannotOpen {
    pub destination: ResourceId,
    pub cause: OpenError,
}

/// All that happens to events, running.
pub struct Pipeline {
    journal: Journal,
    log_output: LogOutput,
    stats: Arc<Stats>,
    recent: Arc<Recent>,
    workers: Workers,
    in_force: InForce,
    /// Held while the set in force is replaced, so that this happens one after the other.
    changing: tokio::sync::Mutex<()>,
    deliveries: Deliveries,
    /// Those in force, for the status page.
    subscriptions: Mutex<Vec<ResourceId>>,
    on_hold: RwLock<Option<OnHold>>,
    /// For work on dead letters, and for replays: one at a time of each.
    letters: Arc<Semaphore>,
    replays: Semaphore,
}

/// Another set of resources, made ready.
pub struct Prepared {
    outlets: Vec<Outlet>,
    subscriptions: Vec<ResourceId>,
    dispatcher: Arc<Dispatcher>,
}

/// What one reading of the pipeline says.
#[derive(Clone, Debug)]
pub struct Status {
    /// Events accepted since the process began.
    pub accepted: u64,
    /// Events rejected since then.
    pub rejected: u64,
    /// Bodies and events refused since then, by code.
    pub refused: Vec<(&'static str, u64)>,
    pub subscriptions: Vec<(ResourceId, SubscriptionCounts)>,
    /// The destinations, removed ones that still have records included.
    pub destinations: Vec<DestinationStatus>,
    pub journal: journal::Status,
}

/// How much comes and goes, read without a look at each subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Events accepted since the process began.
    pub accepted: u64,
    /// Records that services have taken; with a journal on disk, also those of before.
    pub delivered: u64,
    /// What waits, of all destinations together; a record that two wait for counts twice.
    pub pending_records: u64,
    pub pending_bytes: u64,
    /// How long the oldest of it has waited.
    pub oldest_pending: Duration,
}

/// Why what waits for a destination was not given up.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("`{0}` is in force, or still delivers what it has: remove it first")]
    InForce(ResourceId),
    #[error("the journal holds nothing for a destination `{0}` that has gone")]
    Unknown(String),
    #[error("that cannot be saved: {0}")]
    Disk(#[from] io::Error),
}

/// What one reading says of a destination.
#[derive(Clone, Debug)]
pub struct DestinationStatus {
    pub id: ResourceId,
    /// The kind of its target.
    pub kind: &'static str,
    /// Whether it was removed from the settings and only finishes what it has.
    pub removed: bool,
    /// How its service takes records.
    pub condition: Condition,
    /// Where its AWS credentials came from; none before its first request.
    pub credentials: Option<String>,
    /// Whether records share records of its service; none where they never do, and before it is known.
    pub packing: Option<Packing>,
    /// How many log streams it writes to, where a template names them.
    pub log_streams: Option<LogStreams>,
    /// What came, what became of it, what waits.
    pub account: Account,
    /// What it takes of the journal, and may take.
    pub share: Share,
    /// What became of its dead letters.
    pub letters: LetterCounts,
}

impl Pipeline {
    /// Opens all destinations and starts delivering.
    ///
    /// # Errors
    /// When a destination cannot be opened; then nothing runs.
    pub async fn start(
        resources: &Resources,
        journal: Journal,
        log_output: LogOutput,
    ) -> Result<Pipeline, CannotOpen> {
        let random = StdRng::from_rng(&mut rand::rng());
        let from = (random, Workers::default(), Pool::new(POOL_BYTES));
        Pipeline::start_from(resources, journal, log_output, from).await
    }

    /// The same with randomness, threads and memory that are given.
    async fn start_from(
        resources: &Resources,
        journal: Journal,
        log_output: LogOutput,
        (random, workers, pool): (StdRng, Workers, Arc<Pool>),
    ) -> Result<Pipeline, CannotOpen> {
        let stats = Arc::default();
        let pipeline = Pipeline {
            deliveries: Deliveries::new(journal.clone(), random, pool),
            journal,
            log_output,
            stats,
            recent: Arc::default(),
            workers,
            in_force: InForce::default(),
            changing: tokio::sync::Mutex::default(),
            subscriptions: Mutex::default(),
            on_hold: RwLock::default(),
            letters: Arc::new(Semaphore::new(1)),
            replays: Semaphore::new(1),
        };
        pipeline.apply(resources).await?;
        let gone = |(id, _): &(ResourceId, u64)| resources.destination(id).is_none();
        for (destination, records) in pipeline.journal.unread().into_iter().filter(gone) {
            warn!(%destination, records, "no longer configured, but records of an earlier run wait for it: they are kept until it comes back, or until `sluicegate journal forget`");
        }
        Ok(pipeline)
    }

    /// Puts another set of resources into force, as a whole.
    ///
    /// Destinations that stay keep their queue and their connection unless the target changed; one
    /// that is gone delivers what it has and then ends.
    ///
    /// # Errors
    /// When a destination cannot be opened; then everything stays as it was.
    pub async fn apply(&self, resources: &Resources) -> Result<(), CannotOpen> {
        let prepared = self.prepare(resources.clone()).await?;
        self.put_in_force(prepared).await;
        Ok(())
    }

    /// Makes another set of resources ready: what can fail fails here, and changes nothing.
    ///
    /// # Errors
    /// When a destination cannot be opened.
    pub async fn prepare(&self, resources: Resources) -> Result<Prepared, CannotOpen> {
        let mut outlets = Vec::new();
        for destination in resources.destinations() {
            let sink = match self.deliveries.open_sink(destination) {
                Some(sink) => sink,
                None => {
                    let opened = destination.open(self.log_output.clone()).await;
                    Arc::new(opened.map_err(|cause| CannotOpen {
                        destination: destination.id.clone(),
                        cause,
                    })?)
                }
            };
            outlets.push(Outlet::new(Arc::clone(destination), sink));
        }
        let subscriptions = resources.subscriptions().iter().map(|it| it.id.clone()).collect();
        let (before, stats) = (self.in_force.read().dispatcher, Arc::clone(&self.stats));
        let compile = move || Dispatcher::after(before.as_deref(), &resources, &stats);
        let dispatcher = Arc::new(self.workers.run_at_once(compile).await);
        Ok(Prepared { outlets, subscriptions, dispatcher })
    }

    /// Puts what was made ready into force, as a whole. Nothing may have been put into force since
    /// it was made ready.
    ///
    /// When it returns, nothing is appended any more that the earlier set matched; no body waits
    /// meanwhile.
    pub async fn put_in_force(&self, prepared: Prepared) {
        let Prepared { outlets, subscriptions, dispatcher } = prepared;
        let _one_at_a_time = self.changing.lock().await;
        self.stats.keep_only(&subscriptions);
        self.deliveries.deliver_to(outlets);
        *self.subscriptions() = subscriptions;
        self.replace_dispatcher(Some(dispatcher)).await;
        self.deliveries.end_removed();
    }

    /// Changes what bodies are dispatched by: first the set, so that whoever is refused by the journal
    /// finds it, then the journal.
    async fn replace_dispatcher(&self, dispatcher: Option<Arc<Dispatcher>>) {
        let (generation, before) = self.in_force.replace(dispatcher);
        self.journal.begin(generation).await;
        // Thousands of compiled filters take a while to drop, and nobody needs to wait for that.
        tokio::task::spawn_blocking(move || drop(before));
    }

    /// Opens a target as a destination of this pipeline would that was made through the API.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(
        &self,
        target: &Target,
        format: Format,
        bounds: &Bounds,
    ) -> Result<Sink, OpenError> {
        let log = self.log_output.clone();
        target.open_to_write(format, log, DEFAULT_TIMEOUT, Some(bounds)).await
    }

    /// The open sink of a destination in force.
    #[must_use]
    pub fn sink_of(&self, destination: &ResourceId) -> Option<Arc<Sink>> {
        self.deliveries.sink_of(destination)
    }

    /// How many destinations were removed and have records that wait: each goes on until it has delivered them.
    #[must_use]
    pub fn lingering(&self) -> usize {
        self.deliveries.lingering()
    }

    /// A destination as it is in force.
    #[must_use]
    pub fn destination(&self, id: &ResourceId) -> Option<Arc<Destination>> {
        self.deliveries.destination(id)
    }

    /// Gives up the records of an event that are set aside at a destination, or that its service
    /// refuses while it refuses everything: they become dead letters, with the last answer as reason.
    /// Tells how many there were.
    ///
    /// # Errors
    /// When there are none, or the dead letters cannot be written.
    pub async fn bury(&self, destination: &ResourceId, event_id: &str) -> Result<usize, BuryError> {
        self.deliveries.bury(destination, event_id).await
    }

    /// Gives up all records that wait for a destination that has gone: they count as dropped. Tells how many
    /// there were.
    ///
    /// # Errors
    /// When the destination is in force or still delivers, when nothing waits for it, or when the disk
    /// takes nothing.
    pub async fn forget(&self, destination: &ResourceId) -> Result<u64, ForgetError> {
        // So that it does not come into force meanwhile.
        let _one_at_a_time = self.changing.lock().await;
        if self.deliveries.status().iter().any(|it| it.id == *destination) {
            return Err(ForgetError::InForce(destination.clone()));
        }
        let (journal, id) = (self.journal.clone(), destination.clone());
        let forgotten = self.workers.run_at_once(move || journal.forget(&id)).await?;
        forgotten.ok_or_else(|| ForgetError::Unknown(destination.to_string()))
    }

    /// Has every entrance refuse what comes, or take it again; the daemon's own events are taken all the same.
    pub fn hold(&self, held: Option<OnHold>) {
        *write(&self.on_hold) = held;
    }

    /// Why nothing is taken in for now, if so.
    #[must_use]
    pub fn on_hold(&self) -> Option<OnHold> {
        read(&self.on_hold).clone()
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<ResourceId>> {
        lock(&self.subscriptions)
    }

    /// Threads for long work on bodies.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Where every entrance counts and logs what it refuses.
    #[must_use]
    pub fn refusals(&self) -> &Arc<Refusals> {
        self.stats.refusals()
    }

    /// Puts events that were rejected and whose sender gets no answer among the dead letters, each
    /// with the reason.
    ///
    /// # Errors
    /// When they could not be written.
    pub async fn reject(
        &self,
        entrance: &'static str,
        events: Vec<(Arc<Record>, String)>,
    ) -> io::Result<()> {
        self.journal.reject(entrance, events).await
    }

    /// The last events of a type that came in, at most `max`, the oldest first, as texts. A sample:
    /// in a flood most events are not among them.
    #[must_use]
    pub fn recent_events(&self, event_type: &str, max: usize) -> Vec<Arc<str>> {
        let mark = format!(r#","event_type":"{event_type}","event_timestamp":"#);
        self.recent.read(max, |text| text.contains(&mark))
    }

    /// Takes nothing in any more, and delivers everything pending without lingering, for at most
    /// `limit`, but for what waits for destinations that are off; tells how many records were left.
    pub async fn drain(&self, limit: Duration) -> u64 {
        {
            let _one_at_a_time = self.changing.lock().await;
            self.replace_dispatcher(None).await;
        }
        self.deliveries.hurry();
        let _deadline_passed = tokio::time::timeout(limit, self.deliveries.drained()).await;
        self.journal.checkpoint().await;
        self.journal.pending_records()
    }

    /// Waits until nothing is pending but for destinations that are off or that nothing names, however
    /// long that takes.
    pub async fn emptied(&self) {
        self.deliveries.drained().await;
    }

    /// The ledger: every destination's account and dead letters, also of those that are configured no
    /// more, at one moment. It reads a file.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.journal.ledger()
    }

    /// Why a body would be refused now, whoever its events are for; `None` if it would be kept.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.journal.status().refusal
    }

    /// How much comes and goes.
    #[must_use]
    pub fn load(&self) -> Load {
        let (accepted, _) = self.stats.ingest();
        let mut load = Load { accepted, ..Load::default() };
        for (_, account) in self.journal.accounts() {
            load.delivered += account.delivered;
            load.pending_records += account.pending_records;
            load.pending_bytes += account.pending_bytes;
            load.oldest_pending = load.oldest_pending.max(account.oldest_pending);
        }
        load
    }

    /// A reading of everything that is counted.
    #[must_use]
    pub fn status(&self) -> Status {
        let (accepted, rejected) = self.stats.ingest();
        let of_subscription = |id: &ResourceId| (id.clone(), self.stats.subscription(id).counts());
        let subscriptions = self.subscriptions().iter().map(of_subscription).collect();
        let destinations = self.deliveries.status();
        let journal = self.journal.status();
        let refused = self.stats.refused();
        Status { accepted, rejected, refused, subscriptions, destinations, journal }
    }
}
