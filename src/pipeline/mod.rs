//! The life of an event between ingest and the services: dispatch, journal, delivery.
//!
//! The stages, in order: route → extract → filter → project → append (here the sender gets its
//! answer) → read → batch → deliver → settle. Dispatch is one synchronous call; delivery is one task
//! a destination. It knows neither how events come in nor how a service is spoken to.

mod backoff;
mod batcher;
mod deliveries;
mod delivery;
mod dispatch;
mod health;
mod projection;
mod publish;
mod recent;
mod redrive;
mod stats;
mod test_event;
mod trial;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard};
use tracing::warn;

use crate::event::{Event, Record, Slots, Timestamp};
use crate::journal::{self, Account, Full, Journal, Settlement};
use crate::lock::lock;
use crate::resources::{ResourceId, Resources};
use crate::sinks::{LogOutput, OpenError, Sink, Target};

use deliveries::Deliveries;
use delivery::Outlet;
pub use dispatch::{Dispatched, Dispatcher};
pub use health::{Condition, State};
pub use publish::PublishError;
use recent::Recent;
pub use redrive::{redrive, redrive_patiently};
pub use stats::{Stats, SubscriptionCounts};
pub use test_event::{TestOutcome, send_test_event};
pub use trial::{Stages, Trial};

/// A destination that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("destination `{destination}` cannot be opened: {cause}")]
pub struct CannotOpen {
    /// Which one.
    pub destination: ResourceId,
    /// Why.
    pub cause: OpenError,
}

/// All that happens to events, running.
pub struct Pipeline {
    journal: Journal,
    log_output: LogOutput,
    stats: Stats,
    recent: Recent,
    /// Held for reading while a body's events are dispatched and appended, for writing while the
    /// subscriptions change: so no record is ever appended for a destination that has gone. `None`
    /// once the pipeline is closed.
    dispatcher: RwLock<Option<Dispatcher>>,
    deliveries: Deliveries,
    /// Those in force, for the status page.
    subscriptions: Mutex<Vec<ResourceId>>,
}

/// Another set of resources, made ready.
pub struct Prepared {
    outlets: Vec<Outlet>,
    subscriptions: Vec<ResourceId>,
    dispatcher: Dispatcher,
}

/// What one reading of the pipeline says.
#[derive(Clone, Debug)]
pub struct Status {
    /// Events accepted since the process began.
    pub accepted: u64,
    /// Events rejected since then.
    pub rejected: u64,
    /// The subscriptions in force.
    pub subscriptions: Vec<(ResourceId, SubscriptionCounts)>,
    /// The destinations, removed ones that still have records included.
    pub destinations: Vec<DestinationStatus>,
    /// What the journal holds.
    pub journal: journal::Status,
}

/// What one reading says of a destination.
#[derive(Clone, Debug)]
pub struct DestinationStatus {
    /// Its id.
    pub id: ResourceId,
    /// The kind of its target.
    pub kind: &'static str,
    /// Whether it was removed from the settings and only finishes what it has.
    pub removed: bool,
    /// How its service takes records.
    pub condition: Condition,
    /// What came, what became of it, what waits.
    pub account: Account,
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
        let stats = Stats::default();
        let pipeline = Pipeline {
            dispatcher: RwLock::new(None),
            deliveries: Deliveries::new(journal.clone()),
            journal,
            log_output,
            stats,
            recent: Recent::default(),
            subscriptions: Mutex::default(),
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
        let prepared = self.prepare(resources).await?;
        self.put_in_force(prepared).await;
        Ok(())
    }

    /// Makes another set of resources ready: what can fail fails here, and changes nothing.
    ///
    /// # Errors
    /// When a destination cannot be opened.
    pub async fn prepare(&self, resources: &Resources) -> Result<Prepared, CannotOpen> {
        let mut outlets = Vec::new();
        for destination in resources.destinations() {
            let sink = match self.deliveries.open_sink(destination) {
                Some(sink) => sink,
                None => {
                    let opened = self.open(&destination.target).await;
                    Arc::new(opened.map_err(|cause| CannotOpen {
                        destination: destination.id.clone(),
                        cause,
                    })?)
                }
            };
            outlets.push(Outlet { destination: Arc::clone(destination), sink });
        }
        let subscriptions = resources.subscriptions().iter().map(|it| it.id.clone()).collect();
        let dispatcher = Dispatcher::new(resources, &self.stats);
        Ok(Prepared { outlets, subscriptions, dispatcher })
    }

    /// Puts what was made ready into force, as a whole. Nothing may have been put into force since
    /// it was made ready.
    pub async fn put_in_force(&self, prepared: Prepared) {
        let Prepared { outlets, subscriptions, dispatcher } = prepared;
        let mut current = self.dispatcher.write().await;
        self.stats.keep_only(&subscriptions);
        self.deliveries.deliver_to(outlets);
        *self.subscriptions() = subscriptions;
        *current = Some(dispatcher);
    }

    /// Opens a target as a destination of this pipeline would.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, target: &Target) -> Result<Sink, OpenError> {
        target.open(self.log_output.clone()).await
    }

    /// The open sink of a destination in force.
    #[must_use]
    pub fn sink_of(&self, destination: &ResourceId) -> Option<Arc<Sink>> {
        self.deliveries.sink_of(destination)
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<ResourceId>> {
        lock(&self.subscriptions)
    }

    /// The subscriptions in force, or `None` once the pipeline is closed. While the guard lives they
    /// do not change; it is to be held from the dispatch of a body's events until
    /// [`Pipeline::keep`] has returned.
    pub async fn dispatcher(&self) -> RwLockReadGuard<'_, Option<Dispatcher>> {
        self.dispatcher.read().await
    }

    /// Keeps what was dispatched from one body, for all destinations, and counts its events. The
    /// settlement tells when the process's death loses nothing of it any more.
    ///
    /// # Errors
    /// [`Full`] when the journal has no room; then nothing of the body was kept or counted.
    pub async fn keep(
        &self,
        mut dispatched: Dispatched,
        accepted: usize,
        rejected: usize,
    ) -> Result<Settlement, Full> {
        let entries = std::mem::take(&mut dispatched.entries);
        let offers = std::mem::take(&mut dispatched.offers);
        let settlement = self.journal.append(entries, offers).await?;
        dispatched.count();
        self.stats.count_ingest(accepted, rejected);
        Ok(settlement)
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

    /// Keeps some of the events that came in for [`Pipeline::recent_events`].
    pub fn note(&self, events: &[(Event<'_>, Slots<'_>)]) {
        self.recent.note(events, Timestamp::now());
    }

    /// The last events of a type that came in, at most `max`, the oldest first, as texts. A sample:
    /// in a flood most events are not among them.
    #[must_use]
    pub fn recent_events(&self, event_type: &str, max: usize) -> Vec<Arc<str>> {
        let mark = format!(r#","event_type":"{event_type}","event_timestamp":"#);
        self.recent.read(max, |text| text.contains(&mark))
    }

    /// Takes nothing in any more, and delivers everything pending without lingering, for at most
    /// `limit`; tells how many records were left.
    pub async fn drain(&self, limit: Duration) -> u64 {
        *self.dispatcher.write().await = None;
        self.deliveries.hurry();
        let _deadline_passed = tokio::time::timeout(limit, self.journal.drained()).await;
        self.journal.checkpoint().await;
        self.journal.pending_records()
    }

    /// The ledger: every destination's account, also of those that are configured no more, at one
    /// moment.
    #[must_use]
    pub fn ledger(&self) -> Vec<(ResourceId, Account)> {
        self.journal.accounts()
    }

    /// A reading of everything that is counted.
    #[must_use]
    pub fn status(&self) -> Status {
        let (accepted, rejected) = self.stats.ingest();
        let of_subscription = |id: &ResourceId| (id.clone(), self.stats.subscription(id).counts());
        let subscriptions = self.subscriptions().iter().map(of_subscription).collect();
        let destinations = self.deliveries.status();
        let journal = self.journal.status();
        Status { accepted, rejected, subscriptions, destinations, journal }
    }
}
