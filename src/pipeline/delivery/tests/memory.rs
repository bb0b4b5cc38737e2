//! Delivery tasks that share little memory: who waits for a service lets go of it, and everything comes all
//! the same.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Delivery, Orders, Shared};
use super::rig::{Rig, Service, destination, journal};
use super::*;
use crate::budget::Pool;
use crate::event::{Record, Timestamp};
use crate::journal::{Entry, Generation, Journal, Offer};
use crate::resources::ResourceId;

const KIB: usize = 1 << 10;

/// Some destinations over one journal and one pool.
struct Many {
    journal: Journal,
    pool: Arc<Pool>,
    orders: Vec<watch::Sender<Orders>>,
    _folder: tempfile::TempDir,
}

fn name(at: usize) -> ResourceId {
    ResourceId::new(&format!("d{at}")).unwrap()
}

impl Many {
    fn start(services: &[Service], pool: Arc<Pool>) -> Many {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        let mut orders = Vec::new();
        for (at, service) in services.iter().enumerate() {
            let destination = Arc::new(Destination { id: name(at), ..(*destination(20)).clone() });
            let limits = destination.target.limits();
            let limits = Arc::new(move || limits);
            let of = Orders { destination, deliver: service.deliver(), limits, hurry: false };
            let (sender, receiver) = watch::channel(of);
            orders.push(sender);
            let (_, burials) = burials();
            let cursor = journal.cursor(&name(at), Terms::default());
            let shared = Shared { health: Arc::default(), pool: Arc::clone(&pool) };
            let random = StdRng::seed_from_u64(at as u64);
            tokio::spawn(Delivery::new(receiver, burials, cursor, shared, random).run());
        }
        Many { journal, pool, orders, _folder: folder }
    }

    async fn append(&self, at: usize, sizes: impl IntoIterator<Item = usize>) {
        let to: Arc<[ResourceId]> = Arc::new([name(at)]);
        let entry = |(number, bytes): (usize, usize)| {
            let body = Bytes::from(vec![b' '; bytes]);
            let (event_id, time) = (number.to_string().into(), Timestamp::MIN);
            let record = Arc::new(Record { event_id, time, body, hops: 0 });
            Entry { record, destinations: Arc::clone(&to) }
        };
        let entries: Vec<Entry> = sizes.into_iter().enumerate().map(entry).collect();
        let accepted = entries.len() as u64;
        let offer = Offer { destination: name(at), accepted, filtered_out: 0 };
        self.journal.append(Generation::default(), entries, vec![offer]).await.unwrap();
    }

    fn pending(&self, at: usize) -> u64 {
        self.journal.account(&name(at)).unwrap().pending_records
    }

    /// Waits until nothing is pending for one, and tells how long it took.
    async fn drained(&self, at: usize, most: Duration) -> Duration {
        let began = Instant::now();
        while self.pending(at) > 0 {
            assert!(began.elapsed() < most, "{} wait for {}", self.pending(at), name(at));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

fn well() -> Service {
    Service::each(|_| Ack::Delivered)
}

fn refusing(kind: FaultKind, after: Duration) -> Service {
    Service::slow(move |request| {
        let fault = Ack::Retry(Fault::new(kind, "not now"));
        (after, vec![fault; request.ids.len()])
    })
}

#[tokio::test(start_paused = true)]
async fn a_healthy_destination_goes_on_beside_many_that_are_stuck() {
    let mut services = vec![well()];
    for _ in 0..8 {
        services.push(refusing(FaultKind::Transient, Duration::from_millis(5)));
        services.push(refusing(FaultKind::Transient, Duration::from_secs(30)));
        services.push(refusing(FaultKind::Configuration, Duration::from_millis(5)));
        services.push(Service::each(|_| Ack::Rejected("400".to_owned())));
    }
    let many = Many::start(&services, Pool::new(256 * KIB));
    for at in 1..services.len() {
        many.append(at, (0..300).map(|number| if number % 50 == 9 { 40 * KIB } else { KIB })).await;
    }
    for round in 0..5 {
        tokio::time::sleep(Duration::from_secs(120)).await;
        many.append(0, (0..200).map(|_| 700)).await;
        let small = many.drained(0, Duration::from_secs(30)).await;
        // One fits into the reserve, one is larger than all that there is.
        many.append(0, [50 * KIB, 700, 300 * KIB, 700]).await;
        let large = many.drained(0, Duration::from_secs(180)).await;
        println!("round {round}: small after {small:?}, large after {large:?}");
    }
    for (at, service) in services.iter().enumerate().skip(1) {
        assert_eq!(many.pending(at), 300);
        service.becomes(well());
    }
    for at in 1..services.len() {
        many.drained(at, Duration::from_secs(3_600)).await;
    }
    drop(many.orders);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(many.pool.free(), i64::try_from(256 * KIB).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_let_go_of_is_buried_whole_even_in_an_outage() {
    let service = Service::each(|id| match id {
        "bad" => Ack::Retry(Fault::new(FaultKind::Transient, "500")),
        _ => Ack::Delivered,
    });
    let pool = Pool::new(256 * KIB);
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start_within(folder, &service, destination(10), pool);
    rig.append_of(40 * KIB, ["bad"]).await;
    rig.append(0..30).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.append(30..50).await;
    rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
    let before = rig.pool.free();
    service.becomes(Service::each(|_| Ack::Retry(Fault::new(FaultKind::Transient, "503"))));
    rig.append(50..100).await;
    // Others take all that there is, and want more.
    let (mut one, mut other) = (rig.pool.portion(), rig.pool.portion());
    one.take(256 * KIB, 256 * KIB).await;
    let all = one.charge(256 * KIB);
    let waiting = tokio::spawn(async move { other.take(100 * KIB, 100 * KIB).await });
    tokio::time::sleep(Duration::from_secs(900)).await;
    let taken = i64::try_from(226 * KIB).unwrap();
    assert!(rig.pool.free() > before - taken, "it was let go of");
    let burial = rig.burial_sender.bury("bad");
    let buried = tokio::time::timeout(Duration::from_secs(60), burial).await.unwrap();
    assert_eq!(buried, Ok(1));
    assert!(rig.letters()[0].record.body.len() > 40 * KIB);
    waiting.abort();
    drop(all);
    drop(one);
    service.becomes(well());
    rig.until_pending(0).await;
    assert_eq!((rig.account().delivered, rig.account().dead_lettered), (100, 1));
}
