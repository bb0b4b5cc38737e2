//! A delivery task over a journal in memory, and a service that answers as its script says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::{Deliver, Delivery, Orders, Shared};
use crate::budget::{POOL_BYTES, Pool};
use crate::event::{Record, Timestamp};
use crate::journal::{
    Account, Durability, Entry, Generation, Journal, JournalSettings, Offer, StoredLetter, Terms,
    read_dead_letters,
};
use crate::pipeline::burial::{BurialSender, burials};
use crate::pipeline::health::{Health, State};
use crate::resources::{BatchSettings, Destination, Overflow, ResourceId};
use crate::sinks::{Ack, Auth, Batch, DEFAULT_TIMEOUT, DebugTarget, KinesisTarget, Target};

/// One request as the service saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Instant,
    pub(super) ids: Vec<String>,
}

/// How the service answers a request: after how long, and with what for each record.
pub(super) type Script = Box<dyn FnMut(&Request) -> (Duration, Vec<Ack>) + Send>;

/// A service whose script can be changed.
#[derive(Clone)]
pub(super) struct Service {
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Service {
    /// One that answers at once.
    pub(super) fn new(mut answer: impl FnMut(&Request) -> Vec<Ack> + Send + 'static) -> Service {
        Service::slow(move |request| (Duration::from_millis(1), answer(request)))
    }

    pub(super) fn slow(
        script: impl FnMut(&Request) -> (Duration, Vec<Ack>) + Send + 'static,
    ) -> Service {
        Service { script: Arc::new(Mutex::new(Box::new(script))), requests: Arc::default() }
    }

    /// One that answers for each record by its id.
    pub(super) fn each(mut answer: impl FnMut(&str) -> Ack + Send + 'static) -> Service {
        Service::new(move |request| request.ids.iter().map(|id| answer(id)).collect())
    }

    /// Answers in another way from now on.
    pub(super) fn becomes(&self, other: Service) {
        let other = Arc::into_inner(other.script).unwrap().into_inner().unwrap();
        *self.script.lock().unwrap() = other;
    }

    pub(super) fn deliver(&self) -> Deliver {
        let service = self.clone();
        Arc::new(move |batch: Batch| {
            let ids = batch.records.iter().map(|it| it.event_id.to_string()).collect();
            let request = Request { at: Instant::now(), ids };
            let (after, acks) = (service.script.lock().unwrap())(&request);
            service.requests.lock().unwrap().push(request);
            Box::pin(async move {
                tokio::time::sleep(after).await;
                acks
            })
        })
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How often each event came.
    pub(super) fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        for id in self.requests().into_iter().flat_map(|it| it.ids) {
            *copies.entry(id).or_default() += 1;
        }
        copies
    }
}

/// A delivery task over a journal in memory.
pub(super) struct Rig {
    pub(super) journal: Journal,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) burial_sender: BurialSender,
    pub(super) health: Arc<Health>,
    pub(super) pool: Arc<Pool>,
    appended: u64,
    pub(super) folder: TempDir,
}

pub(super) fn id() -> ResourceId {
    ResourceId::new("d").unwrap()
}

pub(super) fn journal(folder: &Path) -> Journal {
    Journal::open(&JournalSettings {
        durability: Durability::Memory,
        max_bytes: 1 << 30,
        retention: Duration::ZERO,
        max_dead_letter_bytes: 1 << 30,
        directory: folder.to_owned(),
    })
    .unwrap()
}

/// A destination that takes one request at a time.
pub(super) fn destination(max_records: usize) -> Arc<Destination> {
    let target = Target::Debug(DebugTarget::new(Some(true), None).unwrap());
    destination_with(target, max_records)
}

/// A destination that takes as many as its service does.
pub(super) fn kinesis(max_records: usize) -> Arc<Destination> {
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/errors";
    let target = Target::Kinesis(KinesisTarget::new(arn, Auth::DefaultChain, None).unwrap());
    destination_with(target, max_records)
}

fn destination_with(target: Target, max_records: usize) -> Arc<Destination> {
    let linger = Some(Duration::from_millis(10));
    Arc::new(Destination {
        id: id(),
        description: String::new(),
        batch: BatchSettings::new(&target, Some(max_records), None, linger).unwrap(),
        target,
        timeout: DEFAULT_TIMEOUT,
        format: crate::sinks::Format::Json,
        bounds: None,
        overflow: Overflow::Block,
        max_pending_bytes: None,
        enabled: true,
    })
}

impl Rig {
    pub(super) fn start(service: &Service, max_records: usize) -> Rig {
        Rig::start_in(tempfile::tempdir().unwrap(), service, max_records)
    }

    pub(super) fn start_in(folder: TempDir, service: &Service, max_records: usize) -> Rig {
        Rig::start_with(folder, service, destination(max_records))
    }

    pub(super) fn start_with(
        folder: TempDir,
        service: &Service,
        destination: Arc<Destination>,
    ) -> Rig {
        Rig::start_within(folder, service, destination, Pool::new(POOL_BYTES))
    }

    pub(super) fn start_within(
        folder: TempDir,
        service: &Service,
        destination: Arc<Destination>,
        pool: Arc<Pool>,
    ) -> Rig {
        let journal = journal(folder.path());
        let limits = destination.target.limits();
        let limits = Arc::new(move || limits);
        let orders = Orders { destination, deliver: service.deliver(), limits, hurry: false };
        let (orders, receiver) = watch::channel(orders);
        let (burial_sender, burials) = burials();
        let health = Arc::new(Health::default());
        let cursor = journal.cursor(&id(), Terms::default());
        let random = StdRng::seed_from_u64(7);
        let shared = Shared { health: Arc::clone(&health), pool: Arc::clone(&pool) };
        let delivery = Delivery::new(receiver, burials, cursor, shared, random);
        tokio::spawn(delivery.run());
        Rig { journal, orders, burial_sender, health, pool, appended: 0, folder }
    }

    /// Appends events with these ids.
    pub(super) async fn append<S: ToString>(&mut self, ids: impl IntoIterator<Item = S>) {
        self.append_of(0, ids).await;
    }

    /// Appends events with these ids and at least so many bytes each.
    pub(super) async fn append_of<S: ToString>(
        &mut self,
        bytes: usize,
        ids: impl IntoIterator<Item = S>,
    ) {
        let destinations: Arc<[ResourceId]> = Arc::new([id()]);
        let entry = |event_id: S| {
            let event_id = event_id.to_string();
            let fill = " ".repeat(bytes);
            let body = Bytes::from(format!("{{\"id\":\"{event_id}\"{fill}}}"));
            let time = Timestamp { seconds: 0, nanos: 0 };
            let record = Arc::new(Record { event_id: event_id.into(), time, body, hops: 0 });
            Entry { record, destinations: Arc::clone(&destinations) }
        };
        let entries: Vec<Entry> = ids.into_iter().map(entry).collect();
        let accepted = entries.len() as u64;
        self.appended += accepted;
        let offer = Offer { destination: id(), accepted, filtered_out: 0 };
        self.journal.append(Generation::default(), entries, vec![offer]).await.unwrap();
    }

    /// The account, which must add up.
    pub(super) fn account(&self) -> Account {
        let account = self.journal.account(&id()).unwrap();
        assert_eq!((account.accepted, account.imbalance()), (self.appended, 0), "{account:?}");
        account
    }

    /// Waits until something is so, for at most a day of the paused clock.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Rig) -> bool) {
        let waiting = async {
            let mut pause = Duration::from_millis(10);
            while !is_so(self) {
                tokio::time::sleep(pause).await;
                pause = pause.mul_f64(1.02).min(Duration::from_secs(1));
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(86_400), waiting).await;
        let (account, condition) = (self.account(), self.health.read());
        assert!(waited.is_ok(), "never {what}: {account:?}, {condition:?}");
    }

    pub(super) async fn until_pending(&self, records: u64) {
        self.until(&format!("{records} pending"), |rig| rig.account().pending_records == records)
            .await;
    }

    pub(super) fn state(&self) -> State {
        self.health.read().state
    }

    pub(super) fn letters(&self) -> Vec<StoredLetter> {
        let mut letters = Vec::new();
        read_dead_letters(self.folder.path(), |letter| {
            letters.push(letter);
            Ok(())
        })
        .unwrap();
        letters
    }
}
