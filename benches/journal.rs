//! What the journal on disk costs: appending beside the same bytes written plainly, recovery, reading
//! back, burying, and ten destinations of which one is dead beside ten healthy ones.
//! `cargo bench --bench journal [-- FOLDER]` prints tables; the folder decides which disk is measured.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people to run")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluicegate::event::{Record, Timestamp};
use sluicegate::journal::{
    DeadLetter, Durability, Entry, Generation, Journal, JournalSettings, Outcome, Terms,
};
use sluicegate::resources::ResourceId;

/// Bytes of a record's body.
const BODY: usize = 1_229;

/// How long each figure is measured.
const EACH: Duration = Duration::from_secs(3);

/// How much recovery and reading back have before them.
const BACKLOG: u64 = 1 << 30;

/// What the journal of ten destinations may have, which it reaches in an outage …
const SMALL: usize = 256 << 20;

/// … and for how long records are appended to it.
const OUTAGE: Duration = Duration::from_secs(20);

fn main() {
    let folder = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, Into::into);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "| senders | records an append | floor MB/s | journal MB/s | of the floor | records/s | CPU µs a record |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for records in [1, 100] {
        for senders in [1, 8, 64] {
            // The disk's mood changes by the minute: the floor is measured before and after.
            let before = floor(&folder, senders * records);
            let (rate, cpu) = runtime.block_on(append(&folder, senders, records));
            let floor = f64::midpoint(before, floor(&folder, senders * records));
            println!(
                "| {senders} | {records} | {:.1} | {:.1} | {:.0} % | {rate:.0} | {cpu:.2} |",
                floor * BODY as f64 / 1e6,
                rate * BODY as f64 / 1e6,
                rate / floor * 100.0,
            );
        }
    }
    println!();
    runtime.block_on(backlog(&folder));
    println!();
    for records in [1, 10, 100] {
        let rate = runtime.block_on(bury(&folder, records));
        println!("dead letters, {records} at a time: {rate:.0} a second");
    }
    println!();
    println!("| dead of ten | appended MB/s | copied of appended | left MiB | recovery ms |");
    println!("|---:|---:|---:|---:|---:|");
    for dead in [0, 1, 0, 1] {
        runtime.block_on(ten_destinations(&folder, dead));
    }
}

fn settings(folder: &Path) -> JournalSettings {
    JournalSettings {
        max_dead_letter_bytes: 1 << 30,
        durability: Durability::Disk,
        max_bytes: 1 << 40,
        retention: Duration::ZERO,
        directory: folder.to_owned(),
    }
}

fn entry(destinations: &Arc<[ResourceId]>) -> Entry {
    let record = Record {
        event_id: "ev_2nTcP1kHs9JqMv3rYx8bWd".into(),
        time: Timestamp::now(),
        body: vec![b'x'; BODY].into(),
        hops: 0,
    };
    Entry { record: Arc::new(record), destinations: Arc::clone(destinations) }
}

/// Records a second that plain writes of so many records and a sync each make.
fn floor(folder: &Path, records: usize) -> f64 {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let path = folder.path().join("plain");
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let bytes = vec![b'x'; records * BODY];
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < EACH {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        written += records;
    }
    written as f64 / began.elapsed().as_secs_f64()
}

/// Records a second that the journal takes, and the CPU that each costs in microseconds.
async fn append(folder: &Path, senders: usize, records: usize) -> (f64, f64) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let journal = Journal::open(&settings(folder.path())).unwrap();
    let destinations: Arc<[ResourceId]> = [ResourceId::new("kinesis").unwrap()].into();
    let body: Vec<Entry> = (0..records).map(|_| entry(&destinations)).collect();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut tasks = Vec::new();
    for _ in 0..senders {
        let (journal, body) = (journal.clone(), body.clone());
        tasks.push(tokio::spawn(async move {
            let mut appended = 0;
            while began.elapsed() < EACH {
                journal.append(Generation::default(), body.clone(), Vec::new()).await.unwrap();
                appended += body.len();
            }
            appended
        }));
    }
    let mut appended = 0;
    for task in tasks {
        appended += task.await.unwrap();
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    (appended as f64 / took, cpu * 1e6 / appended as f64)
}

/// Recovery of a log, and reading all of it back through one cursor.
async fn backlog(folder: &Path) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let id = ResourceId::new("kinesis").unwrap();
    let destinations: Arc<[ResourceId]> = [id.clone()].into();
    let journal = Journal::open(&settings(folder.path())).unwrap();
    let body: Vec<Entry> = (0..1_000).map(|_| entry(&destinations)).collect();
    while journal.status().bytes < BACKLOG {
        journal.append(Generation::default(), body.clone(), Vec::new()).await.unwrap();
    }
    drop(journal);
    let bytes = BACKLOG as f64 / 1e6;
    let cached = if drop_page_cache() { "nothing cached" } else { "from the page cache" };
    let began = Instant::now();
    let journal = Journal::open(&settings(folder.path())).unwrap();
    let took = began.elapsed().as_secs_f64();
    println!("recovery of 1 GiB, {cached}: {took:.2} s, {:.0} MB/s", bytes / took);
    let resident = resident_bytes();
    let mut cursor = journal.cursor(&id, Terms::default());
    let cached = if drop_page_cache() { "nothing cached" } else { "from the page cache" };
    let (began, mut left) = (Instant::now(), journal.pending_records());
    let records = left;
    while left > 0 {
        let read = cursor.read(500, 5 << 20).await.unwrap();
        let settled: Vec<_> = read.iter().map(|it| (it.position, Outcome::Delivered)).collect();
        cursor.settle(&settled).await;
        left -= read.len() as u64;
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "reading 1 GiB back, {cached}: {took:.2} s, {:.0} MB/s, {:.0} records/s; resident memory {} MiB before, {} MiB after",
        bytes / took,
        records as f64 / took,
        resident >> 20,
        resident_bytes() >> 20,
    );
}

/// Dead letters a second, so many in each write, at a destination that refuses everything.
async fn bury(folder: &Path, records: usize) -> f64 {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let id = ResourceId::new("kinesis").unwrap();
    let destinations: Arc<[ResourceId]> = [id.clone()].into();
    let journal = Journal::open(&settings(folder.path())).unwrap();
    let mut cursor = journal.cursor(&id, Terms::default());
    let body: Vec<Entry> = (0..1_000).map(|_| entry(&destinations)).collect();
    let (mut took, mut buried) = (Duration::ZERO, 0);
    while took < EACH {
        journal.append(Generation::default(), body.clone(), Vec::new()).await.unwrap();
        let mut left = body.len();
        while left > 0 {
            let letter = || DeadLetter { reason: "too strange".to_owned(), attempts: 1 };
            let read = cursor.read(records, 5 << 20).await.unwrap();
            let letters: Vec<_> = read.into_iter().map(|it| (it, letter())).collect();
            let began = Instant::now();
            let taken = cursor.dead_letter(letters.into()).await.unwrap();
            took += began.elapsed();
            assert!(taken > 0);
            (left, buried) = (left - taken, buried + taken);
        }
    }
    buried as f64 / took.as_secs_f64()
}

/// Ten destinations, of which so many take nothing; each record is for one of them. Prints what one
/// sender can append, what was copied for it, and how long recovery of what is left takes.
async fn ten_destinations(folder: &Path, dead: usize) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let settings = JournalSettings { max_bytes: SMALL, ..settings(folder.path()) };
    let journal = Journal::open(&settings).unwrap();
    let ids: Vec<_> = (0..10).map(|it| ResourceId::new(&format!("to-{it}")).unwrap()).collect();
    let mut cursors: Vec<_> = ids.iter().map(|id| journal.cursor(id, Terms::default())).collect();
    let _dead: Vec<_> = cursors.drain(..dead).collect();
    let healthy = cursors.into_iter().map(|mut cursor| {
        tokio::spawn(async move {
            loop {
                let read = cursor.read(500, 5 << 20).await.unwrap();
                let delivered = read.iter().map(|it| (it.position, Outcome::Delivered));
                cursor.settle(&delivered.collect::<Vec<_>>()).await;
            }
        })
    });
    let healthy: Vec<_> = healthy.collect();
    let body: Vec<Entry> =
        ids.iter().cycle().take(100).map(|id| entry(&[id.clone()].into())).collect();
    let (began, mut appended) = (Instant::now(), 0);
    while began.elapsed() < OUTAGE {
        // Past its share the dead one's records are refused, which is not what is measured here.
        let body = match journal.append(Generation::default(), body.clone(), Vec::new()).await {
            Ok(_) => &body[..],
            Err(_) => continue,
        };
        appended += body.len() * BODY;
    }
    let rate = appended as f64 / 1e6 / began.elapsed().as_secs_f64();
    let copied = journal.status().compacted_bytes as f64 / appended as f64;
    for task in healthy {
        task.abort();
        let _ended = task.await;
    }
    let left = journal.status().bytes >> 20;
    drop((journal, _dead));
    let began = Instant::now();
    drop(Journal::open(&settings).unwrap());
    let recovery = began.elapsed().as_millis();
    println!("| {dead} | {rate:.1} | {:.1} % | {left} | {recovery} |", copied * 100.0);
}

/// Empties the page cache, if the system lets us.
fn drop_page_cache() -> bool {
    File::create("/proc/sys/vm/drop_caches").is_ok_and(|mut it| it.write_all(b"1").is_ok())
}

/// The processor's time that this process has used; the system counts it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}
