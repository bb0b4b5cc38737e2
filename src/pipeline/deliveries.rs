//! The destinations in force: which delivery tasks run, with what settings, and what they tell.
//!
//! It starts tasks, hands them new settings and ends those of destinations that are gone and empty.
//! What a task does with its records is described in `delivery`; it opens no connection.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tracing::{error, info};

use super::DestinationStatus;
use super::burial::{BurialSender, Burials, BuryError, burials};
use super::delivery::{Deliver, Delivery, LimitsNow, Orders, Shared};
use super::health::Health;
use crate::budget::Pool;
use crate::journal::{Account, Cursor, Journal, Terms};
use crate::lock::lock;
use crate::resources::{Destination, ResourceId};
use crate::sinks::Sink;
use crate::telemetry;

/// How often a drain looks whether all is delivered, where the journal cannot tell.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a delivery task that failed rests before another takes over.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A destination as configured now, with its open connection.
pub(super) struct Outlet {
    pub destination: Arc<Destination>,
    pub sink: Arc<Sink>,
    /// What takes its batches: the connection, or what stands for it in a simulation.
    pub deliver: Deliver,
    /// What it takes at a time, as the connection has learnt.
    pub limits: LimitsNow,
}

impl Outlet {
    pub(super) fn new(destination: Arc<Destination>, sink: Arc<Sink>) -> Outlet {
        let open = Arc::clone(&sink);
        let deliver: Deliver = Arc::new(move |batch| {
            let sink = Arc::clone(&open);
            Box::pin(async move { sink.deliver(&batch).await })
        });
        let open = Arc::clone(&sink);
        let limits: LimitsNow = Arc::new(move || open.limits());
        Outlet { destination, sink, deliver, limits }
    }

    /// What a delivery task needs of it.
    fn orders(&self) -> Orders {
        let (destination, deliver) = (Arc::clone(&self.destination), Arc::clone(&self.deliver));
        Orders { destination, deliver, limits: Arc::clone(&self.limits), hurry: false }
    }
}

/// All delivery tasks of one journal.
pub(super) struct Deliveries {
    journal: Journal,
    /// Where each task's randomness comes from.
    random: Mutex<StdRng>,
    /// What all tasks share, with nobody's health.
    shared: Shared,
    running: Mutex<Vec<Running>>,
}

struct Running {
    outlet: Outlet,
    removed: bool,
    health: Arc<Health>,
    orders: watch::Sender<Orders>,
    burial_sender: BurialSender,
}

impl Running {
    fn id(&self) -> &ResourceId {
        &self.outlet.destination.id
    }
}

impl Deliveries {
    pub(super) fn new(journal: Journal, random: StdRng, pool: Arc<Pool>) -> Deliveries {
        let shared = Shared { health: Arc::default(), pool };
        Deliveries { journal, random: Mutex::new(random), shared, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        lock(&self.running)
    }

    /// The open sink of a destination in force.
    pub(super) fn sink_of(&self, destination: &ResourceId) -> Option<Arc<Sink>> {
        let running = self.running();
        let running = running.iter().find(|it| it.id() == destination)?;
        (!running.removed).then(|| Arc::clone(&running.outlet.sink))
    }

    /// A destination as it is in force.
    pub(super) fn destination(&self, id: &ResourceId) -> Option<Arc<Destination>> {
        let running = self.running();
        let running = running.iter().find(|it| it.id() == id)?;
        (!running.removed).then(|| Arc::clone(&running.outlet.destination))
    }

    /// The open sink of a destination, if it may stay as it is.
    pub(super) fn open_sink(&self, destination: &Destination) -> Option<Arc<Sink>> {
        let running = self.running();
        let running = running.iter().find(|it| *it.id() == destination.id)?;
        let same = running.outlet.destination.opens_like(destination);
        same.then(|| Arc::clone(&running.outlet.sink))
    }

    /// Delivers to these from now on, and to no others but for what those still have and what still
    /// comes for them until [`Deliveries::end_removed`].
    pub(super) fn deliver_to(&self, outlets: Vec<Outlet>) {
        let mut all = self.running();
        let mut before = std::mem::take(&mut *all);
        for outlet in outlets {
            let destination = &outlet.destination;
            self.journal.set_terms(&destination.id, terms(destination));
            let at = before.iter().position(|it| *it.id() == destination.id);
            all.push(match at.map(|at| before.swap_remove(at)) {
                Some(running) => {
                    running.orders.send_replace(outlet.orders());
                    Running { outlet, removed: false, ..running }
                }
                None => self.spawn(outlet),
            });
        }
        for mut running in before {
            if !running.removed {
                let last = match running.outlet.destination.enabled {
                    true => "removed; what it has is still delivered",
                    false => {
                        "removed while off; what it has is kept until it comes back, or until `sluicegate journal forget`"
                    }
                };
                info!(destination = %running.id(), "{last}");
            }
            running.removed = true;
            all.push(running);
        }
    }

    /// Ends the delivery to removed destinations that nothing waits for. Nothing may be appended for
    /// them any more.
    pub(super) fn end_removed(&self) {
        let waits = |running: &Running| self.account(running).pending_records > 0;
        self.running().retain(|running| !running.removed || waits(running));
    }

    /// How many destinations were removed and have records that wait.
    pub(super) fn lingering(&self) -> usize {
        let lingers = |it: &&Running| it.removed && self.account(it).pending_records > 0;
        self.running().iter().filter(lingers).count()
    }

    fn spawn(&self, outlet: Outlet) -> Running {
        let health = Arc::new(Health::default());
        let (orders, receiver) = watch::channel(outlet.orders());
        let (burial_sender, burials) = burials();
        let random = StdRng::from_rng(&mut lock(&self.random));
        let destination = &outlet.destination;
        // Taken here and not by the task: a drain waits for those that have a cursor.
        let cursor = self.journal.cursor(&destination.id, terms(destination));
        let shared = Shared { health: Arc::clone(&health), ..self.shared.clone() };
        let delivery = (cursor, receiver, burials, shared);
        tokio::spawn(supervise(self.journal.clone(), delivery, random));
        Running { outlet, removed: false, health, orders, burial_sender }
    }

    fn account(&self, running: &Running) -> Account {
        self.journal.account(running.id()).unwrap_or_default()
    }

    /// Gives up the records of an event that are set aside, or refused, at a destination: they
    /// become dead letters. Tells how many there were.
    pub(super) async fn bury(
        &self,
        destination: &ResourceId,
        event_id: &str,
    ) -> Result<usize, BuryError> {
        let burial_sender = {
            let running = self.running();
            let running = running.iter().find(|it| it.id() == destination);
            running.ok_or(BuryError::NotThere)?.burial_sender.clone()
        };
        burial_sender.bury(event_id).await
    }

    /// Done when nothing waits that is going to be sent: what waits for a destination that is off does not
    /// count.
    pub(super) async fn drained(&self) {
        let waits = |it: &Running| self.account(it).pending_records > 0;
        if self.running().iter().all(|it| it.outlet.destination.enabled) {
            return self.journal.drained().await;
        }
        while self.running().iter().any(|it| it.outlet.destination.enabled && waits(it)) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Tells every task that no record lingers any more.
    pub(super) fn hurry(&self) {
        for running in &*self.running() {
            running.orders.send_modify(|orders| orders.hurry = true);
        }
    }

    /// A reading of each destination, removed ones that still have records included.
    pub(super) fn status(&self) -> Vec<DestinationStatus> {
        self.running()
            .iter()
            .filter(|running| !running.removed || self.account(running).pending_records > 0)
            .map(|running| (running, self.journal.account_and_letters(running.id())))
            .map(|(running, (account, letters))| DestinationStatus {
                id: running.id().clone(),
                kind: running.outlet.destination.target.kind(),
                removed: running.removed,
                condition: running.health.read(),
                credentials: running.outlet.sink.credentials(),
                packing: running.outlet.sink.packing(),
                log_streams: running.outlet.sink.log_streams(),
                account,
                letters,
                share: self.journal.share(running.id()).unwrap_or_default(),
            })
            .collect()
    }
}

fn terms(destination: &Destination) -> Terms {
    let Destination { overflow, max_pending_bytes, .. } = *destination;
    Terms { overflow, max_pending_bytes }
}

/// Keeps a destination's delivery going: should its task panic, which is a bug, another takes over
/// and reads again what had not been settled.
async fn supervise(
    journal: Journal,
    (mut cursor, orders, burials, shared): (Cursor, watch::Receiver<Orders>, Burials, Shared),
    mut random: StdRng,
) {
    loop {
        let of_task = StdRng::from_rng(&mut random);
        let delivery =
            Delivery::new(orders.clone(), burials.clone(), cursor, shared.clone(), of_task);
        let Err(failure) = tokio::spawn(delivery.run()).await else { return };
        let destination = Arc::clone(&orders.borrow().destination);
        telemetry::task_failed("delivery");
        error!(destination = %destination.id, %failure, "the delivery task failed and is started again");
        shared.health.set_last_error(&format!("the delivery task failed: {failure}"));
        tokio::time::sleep(RESTART_PAUSE).await;
        cursor = journal.cursor(&destination.id, terms(&destination));
    }
}
