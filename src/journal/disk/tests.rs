//! The log's promises one by one.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tempfile::TempDir;

use super::faults::Fault;
use super::*;
use crate::event::Record;
use crate::journal::account::all_matched;
use crate::journal::{AppendError, Entry, Generation};
use crate::resources::Overflow;

pub(super) fn id(name: &str) -> ResourceId {
    ResourceId::new(name).unwrap()
}

pub(super) fn entry(event: u64, size: usize, destinations: &[&str]) -> Entry {
    Entry {
        record: Arc::new(Record {
            event_id: event.to_string().into(),
            time: Timestamp { seconds: 1, nanos: 2 },
            body: Bytes::from(vec![b'x'; size]),
            hops: 0,
        }),
        destinations: destinations.iter().map(|name| id(name)).collect(),
    }
}

/// Appends a body whose every event matched.
pub(super) async fn append(disk: &Disk, entries: Vec<Entry>) -> Result<(), AppendError> {
    let offers = all_matched(&entries);
    disk.append(Generation::default(), entries, offers).await
}

/// Small numbers, and a keeper that does nothing by itself.
pub(super) fn options() -> Options {
    Options {
        buried: Buried::default(),
        max_bytes: 1 << 30,
        retention: Duration::ZERO,
        segment_bytes: 4_000,
        cache_bytes: 0,
        checkpoint_every: Duration::from_secs(3_600),
        jobs: Jobs::OnThreads,
        faults: Faults::default(),
    }
}

pub(super) fn dropping() -> Terms {
    Terms { overflow: Overflow::DropOldest, max_pending_bytes: None }
}

impl Disk {
    /// Has the keeper make all the room that it can.
    pub(super) fn compact(&self) {
        self.shared.state().pressed = true;
        self.shared.pass();
    }
}

/// A folder in memory where there is one: these tests are about what is written, not how fast.
pub(super) fn folder() -> TempDir {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast).unwrap() } else { tempfile::tempdir().unwrap() }
}

struct Log {
    disk: Disk,
    readers: Vec<(ResourceId, Reader)>,
}

impl Log {
    fn open(folder: &TempDir, options: &Options) -> Log {
        Log { disk: Disk::open(folder.path(), options).unwrap(), readers: Vec::new() }
    }

    async fn append(&self, event: u64, destinations: &[&str]) -> bool {
        append(&self.disk, vec![entry(event, 1_000, destinations)]).await.is_ok()
    }

    /// Reads what can be read of a destination at once, through the same reader each time.
    async fn read(&mut self, name: &str, records: usize) -> Vec<Pending> {
        let name = id(name);
        if !self.readers.iter().any(|(id, _)| *id == name) {
            let reader = self.disk.attach(&name, Terms::default());
            self.readers.push((name.clone(), reader));
        }
        let (_, reader) = self.readers.iter_mut().find(|(id, _)| *id == name).unwrap();
        let mut taken = Vec::new();
        while taken.len() < records {
            let limits = (records - taken.len(), usize::MAX);
            let read = self.disk.read(&name, reader, limits);
            match tokio::time::timeout(Duration::from_millis(200), read).await {
                Ok(read) => taken.extend(read.unwrap()),
                Err(_) => break,
            }
        }
        taken
    }

    fn settle(&self, name: &str, read: &[Pending]) {
        let settled: Vec<_> = read.iter().map(|it| (it.position, Outcome::Delivered)).collect();
        self.disk.settle(&id(name), &settled);
    }

    fn account(&self, name: &str) -> Account {
        self.disk.account(&id(name)).unwrap()
    }
}

pub(super) fn ids(read: &[Pending]) -> Vec<u64> {
    read.iter().map(|pending| pending.record.event_id.parse().unwrap()).collect()
}

fn segments(folder: &TempDir) -> usize {
    segment::list(folder.path()).unwrap().len()
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_and_only_that_which_is_not_settled() {
    let folder = folder();
    let mut log = Log::open(&folder, &options());
    for event in 0..20 {
        let to: &[&str] = if event % 2 == 0 { &["a", "b"] } else { &["b"] };
        assert!(log.append(event, to).await);
    }
    let read = log.read("a", 7).await;
    assert_eq!(ids(&read), [0, 2, 4, 6, 8, 10, 12]);
    log.settle("a", &read[..2]);
    log.settle("a", &read[4..5]);
    drop(log);
    let mut log = Log::open(&folder, &options());
    let account = log.account("a");
    assert_eq!((account.appended, account.delivered, account.pending_records), (10, 3, 7));
    assert_eq!(ids(&log.read("a", 99).await), [4, 6, 10, 12, 14, 16, 18]);
    assert_eq!(ids(&log.read("b", 99).await), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_its_checkpoint_everything_is_delivered_again_and_nothing_is_lost() {
    let folder = folder();
    let mut log = Log::open(&folder, &options());
    for event in 0..3 {
        assert!(log.append(event, &["a"]).await);
    }
    let read = log.read("a", 2).await;
    log.settle("a", &read);
    drop(log);
    fs::remove_file(folder.path().join("cursors")).unwrap();
    let mut log = Log::open(&folder, &options());
    assert_eq!(ids(&log.read("a", 9).await), [0, 1, 2]);
    assert_eq!(log.account("a").appended, 3);
}

#[tokio::test]
async fn segments_go_when_every_destination_is_through_with_them() {
    let folder = folder();
    let mut log = Log::open(&folder, &options());
    for event in 0..20 {
        assert!(log.append(event, &["a", "b"]).await);
    }
    assert_eq!(segments(&folder), 5);
    let read = log.read("a", 20).await;
    log.settle("a", &read);
    log.disk.checkpoint().await;
    assert_eq!(segments(&folder), 5, "b has read nothing");
    let read = log.read("b", 20).await;
    log.settle("b", &read[1..]);
    log.disk.checkpoint().await;
    assert_eq!(segments(&folder), 2, "the first for its one record, and the last");
    assert_eq!(log.disk.status().segments, 2);
    log.settle("b", &read[..1]);
    log.disk.checkpoint().await;
    assert_eq!(segments(&folder), 1);
    assert_eq!(log.disk.status().bytes, 0);
}

#[tokio::test]
async fn settled_segments_are_kept_for_as_long_as_told() {
    let folder = folder();
    let kept = Options { retention: Duration::from_secs(3_600), ..options() };
    let mut log = Log::open(&folder, &kept);
    for event in 0..20 {
        assert!(log.append(event, &["a"]).await);
    }
    let read = log.read("a", 20).await;
    log.settle("a", &read);
    log.disk.checkpoint().await;
    assert_eq!(segments(&folder), 5);
    drop(log);
    // An hour goes by: what the files say of their last append is all that there is of it.
    let before = SystemTime::now() - Duration::from_secs(3_601);
    for base in segment::list(folder.path()).unwrap() {
        let file = File::options().append(true).open(segment::path(folder.path(), base)).unwrap();
        file.set_modified(before).unwrap();
    }
    let log = Log::open(&folder, &kept);
    assert_eq!(log.account("a").pending_records, 0);
    log.disk.checkpoint().await;
    assert_eq!(segments(&folder), 1);
}

#[tokio::test]
async fn one_who_keeps_up_reads_from_memory_and_one_who_lags_from_disk() {
    let folder = folder();
    let mut log = Log::open(&folder, &Options { cache_bytes: 6_000, ..options() });
    for event in 0..9 {
        assert!(log.append(event, &["a"]).await);
    }
    assert_eq!(ids(&log.read("a", 4).await), [0, 1, 2, 3], "memory holds the last five only");
    // Without files only what is in memory can be read.
    for base in segment::list(folder.path()).unwrap() {
        fs::remove_file(segment::path(folder.path(), base)).unwrap();
    }
    assert_eq!(ids(&log.read("a", 9).await), [4, 5, 6, 7, 8]);
    assert_eq!(log.account("a").lost, 0);
}

#[tokio::test]
async fn a_new_reader_gets_again_what_was_not_settled_and_the_old_one_nothing() {
    let folder = folder();
    let mut log = Log::open(&folder, &options());
    for event in 0..6 {
        assert!(log.append(event, &["a"]).await);
    }
    let read = log.read("a", 4).await;
    log.settle("a", &read[1..3]);
    let mut old = log.readers.remove(0).1;
    assert_eq!(ids(&log.read("a", 9).await), [0, 3, 4, 5]);
    let limits = (9, usize::MAX);
    let name = id("a");
    let nothing = log.disk.read(&name, &mut old, limits);
    assert!(tokio::time::timeout(Duration::from_millis(50), nothing).await.is_err());
    log.disk.detach(&id("a"), &old);
    assert!(log.disk.unread().is_empty(), "the old one cannot end the new one");
}

#[tokio::test]
async fn a_full_journal_refuses_and_takes_again_when_a_segment_is_free() {
    let folder = folder();
    let mut log = Log::open(&folder, &Options { max_bytes: 12_000, ..options() });
    let mut taken = 0;
    while log.append(taken, &["a"]).await {
        taken += 1;
    }
    assert_eq!(taken, 11);
    assert!(log.disk.status().bytes <= 12_000);
    let read = log.read("a", 4).await;
    log.settle("a", &read);
    assert!(log.append(taken, &["a"]).await);
    assert_eq!(log.account("a").appended, 12);
}

#[tokio::test]
async fn drop_oldest_gives_up_whole_segments_of_its_own_and_never_what_is_on_its_way() {
    let folder = folder();
    let mut log = Log::open(&folder, &Options { max_bytes: 12_000, ..options() });
    let on_its_way = {
        log.append(0, &["lossy"]).await;
        log.read("lossy", 1).await
    };
    log.disk.set_terms(&id("lossy"), dropping());
    for event in 1..40 {
        assert!(log.append(event, &["lossy"]).await, "{event}");
        assert!(log.disk.status().bytes <= 12_000);
    }
    let account = log.account("lossy");
    assert!(account.dropped > 20, "{account:?}");
    assert_eq!(account.appended, account.dropped + account.pending_records);
    log.settle("lossy", &on_its_way);
    let rest = ids(&log.read("lossy", 99).await);
    assert_eq!(rest.len() as u64, account.pending_records - 1);
    assert_eq!(rest.last(), Some(&39));
    let before = log.account("lossy");
    drop(log);
    let log = Log::open(&folder, &options());
    let after = log.account("lossy");
    assert_eq!((after.appended, after.dropped), (before.appended, before.dropped));
    assert_eq!(after.pending_records, before.pending_records);
}

#[tokio::test]
async fn nothing_is_given_up_for_a_neighbour_that_blocks() {
    let folder = folder();
    let log = Log::open(&folder, &Options { max_bytes: 12_000, ..options() });
    log.disk.set_terms(&id("lossy"), dropping());
    let mut taken = 0;
    while log.append(taken, &["strict", "lossy"]).await {
        taken += 1;
    }
    assert_eq!(log.account("lossy").dropped, 0);
}

#[tokio::test]
async fn a_disk_that_fails_refuses_and_says_so_and_works_again_by_itself() {
    for fault in [Fault::FullAfter(0), Fault::FullAfter(700), Fault::NoSync] {
        let folder = folder();
        let faults = Faults::switchable();
        let mut log = Log::open(&folder, &Options { faults: faults.clone(), ..options() });
        assert!(log.append(0, &["a"]).await);
        faults.set(fault);
        for event in 1..4 {
            assert!(!log.append(event, &["a"]).await, "{fault:?}");
        }
        let error = log.disk.status().error.unwrap();
        assert!(error.contains("cannot be written"), "{error}");
        faults.set(Fault::None);
        assert!(log.append(4, &["a"]).await, "{fault:?}");
        assert_eq!(log.disk.status().error, None);
        assert_eq!(ids(&log.read("a", 9).await), [0, 4], "{fault:?}");
        drop(log);
        let mut log = Log::open(&folder, &options());
        assert_eq!(ids(&log.read("a", 9).await), [0, 4], "{fault:?}");
        assert_eq!(log.disk.status().damaged, 0, "what failed was cut back");
    }
}

#[tokio::test]
async fn where_files_may_not_grow_appends_go_to_another_at_once_and_no_sender_notices() {
    let folder = folder();
    let faults = Faults::switchable();
    let mut log = Log::open(&folder, &Options { faults: faults.clone(), ..options() });
    faults.set(Fault::NoFileAbove(2_500));
    let appends = (0..20).map(|event| log.append(event, &["a"]));
    assert_eq!(futures_util::future::join_all(appends).await, [true; 20]);
    assert!(append(&log.disk, vec![entry(20, 5_000, &["a"])]).await.is_err());
    assert_eq!(log.read("a", 99).await.len(), 20);
    assert!(segments(&folder) >= 10);
}

#[tokio::test]
async fn what_is_settled_leaves_a_full_disk_even_if_all_lies_in_the_last_segment() {
    let folder = folder();
    let faults = Faults::switchable();
    let mut log = Log::open(&folder, &Options { faults: faults.clone(), ..options() });
    assert!(log.append(0, &["a"]).await);
    let read = log.read("a", 9).await;
    log.disk.settle(&id("a"), &[(read[0].position, Outcome::Delivered)]);
    faults.set(Fault::FullAfter(0));
    assert!(!log.append(1, &["a"]).await);
    log.disk.checkpoint().await;
    assert!(segment::list(folder.path()).unwrap().is_empty(), "its room is free");
    faults.set(Fault::None);
    assert!(log.append(2, &["a"]).await);
    assert_eq!(ids(&log.read("a", 9).await), [2]);
    drop(log);
    let mut log = Log::open(&folder, &options());
    assert_eq!(ids(&log.read("a", 9).await), [2]);
}

#[tokio::test]
async fn a_kill_on_a_full_disk_forgets_no_dead_letter_whose_segment_went_unsaved() {
    let folder = folder();
    let faults = Faults::switchable();
    let mut options = Options { faults: faults.clone(), ..options() };
    let mut log = Log::open(&folder, &options);
    for event in 0..20 {
        if event == 10 {
            log.disk.checkpoint_here();
        }
        assert!(log.append(event, &["a"]).await);
    }
    let read = log.read("a", 20).await;
    for it in &read[..18] {
        options.buried.insert(id("a"), it.position, &it.record.event_id);
    }
    let buried: Vec<_> = read[..18].iter().map(|it| (it.position, Outcome::DeadLettered)).collect();
    log.disk.settle(&id("a"), &buried);
    let before = segments(&folder);
    // The last checkpoint fails too, as if it had never been tried.
    faults.set(Fault::Full);
    log.disk.checkpoint_here();
    assert!(segments(&folder) < before);
    drop(log);
    faults.set(Fault::None);
    let mut log = Log::open(&folder, &options);
    let account = log.account("a");
    assert_eq!((account.accepted, account.dead_lettered, account.lost), (20, 18, 0));
    assert_eq!(ids(&log.read("a", 99).await), [18, 19]);
    drop(log);
    let log = Log::open(&folder, &options);
    assert_eq!(log.account("a").dead_lettered, 18, "counted once");
    assert!(settled_until(folder.path()).unwrap() > read[0].position);
}

#[tokio::test]
async fn damage_is_skipped_counted_and_costs_only_what_it_hit() {
    let folder = folder();
    let log = Log::open(&folder, &options());
    for event in 0..12 {
        assert!(log.append(event, &["a"]).await);
    }
    drop(log);
    let second = segment::list(folder.path()).unwrap()[1];
    let path = segment::path(folder.path(), second);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    let mut log = Log::open(&folder, &options());
    assert_eq!(log.disk.status().damaged, 1);
    let read = log.read("a", 99).await;
    assert_eq!(read.len(), 11);
    log.settle("a", &read);
    assert_eq!(log.disk.status().damaged, 1, "the same place counts once");
    let account = log.account("a");
    assert_eq!((account.appended, account.delivered, account.lost), (12, 11, 1));
    assert_eq!(account.pending_records, 0);
}

#[tokio::test]
async fn damage_at_a_segment_s_end_is_damage_unless_it_is_the_log_s_end_and_behind_the_checkpoint()
{
    for (with_checkpoint, damaged) in [(true, 2), (false, 1)] {
        let folder = folder();
        let log = Log::open(&folder, &options());
        for event in 0..8 {
            assert!(log.append(event, &["a"]).await);
        }
        drop(log);
        let bases = segment::list(folder.path()).unwrap();
        assert_eq!(bases.len(), 2);
        for base in bases {
            let path = segment::path(folder.path(), base);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        }
        if !with_checkpoint {
            fs::remove_file(folder.path().join("cursors")).unwrap();
        }
        let mut log = Log::open(&folder, &options());
        assert_eq!(log.disk.status().damaged, damaged);
        let account = log.account("a");
        let lost = if with_checkpoint { 2 } else { 0 };
        assert_eq!((account.lost, account.pending_records), (lost, 6));
        assert!(log.append(8, &["a"]).await);
        let read = log.read("a", 99).await;
        assert_eq!(ids(&read), [0, 1, 2, 4, 5, 6, 8]);
        log.settle("a", &read);
        assert_eq!(log.account("a").pending_records, 0);
    }
}

#[tokio::test]
async fn damage_that_comes_while_running_does_not_hold_a_reader_up() {
    let folder = folder();
    let mut log = Log::open(&folder, &options());
    for event in 0..12 {
        assert!(log.append(event, &["a"]).await);
    }
    for base in segment::list(folder.path()).unwrap() {
        let path = segment::path(folder.path(), base);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        fs::write(&path, bytes).unwrap();
    }
    let read = log.read("a", 99).await;
    assert_eq!(ids(&read), [0, 1, 2, 4, 5, 6, 8, 9, 10]);
    log.settle("a", &read);
    let account = log.account("a");
    assert_eq!((account.lost, account.pending_records), (3, 0));
    assert_eq!(log.disk.status().damaged, 3);
}

#[tokio::test]
async fn a_later_version_s_log_is_refused_in_words() {
    let folder = folder();
    let log = Log::open(&folder, &options());
    assert!(log.append(0, &["a"]).await);
    drop(log);
    let path = segment::path(folder.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..32]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Disk::open(folder.path(), &options()).unwrap_err().to_string();
    assert_eq!(
        error,
        "its segment `00000000000000000000.log` has format version 9, which this program does not know; start the version that wrote it"
    );
}

#[tokio::test]
async fn many_senders_share_syncs_and_each_finds_its_records() {
    let folder = folder();
    let mut log = Log::open(&folder, &Options { segment_bytes: 1 << 20, ..options() });
    let disk = &log.disk;
    let appends = (0..500).map(|event| async move {
        let entries = vec![entry(2 * event, 10, &["a"]), entry(2 * event + 1, 10, &["a"])];
        append(disk, entries).await.unwrap();
    });
    futures_util::future::join_all(appends).await;
    let read = ids(&log.read("a", 2_000).await);
    let pairs: Vec<_> = read.chunks(2).map(|pair| pair[0] + 1 == pair[1]).collect();
    assert_eq!(pairs, vec![true; 500], "an append stays together");
}

#[tokio::test]
async fn records_of_a_destination_that_is_gone_wait_for_it() {
    let folder = folder();
    let log = Log::open(&folder, &options());
    assert!(log.append(0, &["gone"]).await);
    drop(log);
    let mut log = Log::open(&folder, &options());
    assert_eq!(log.disk.unread(), [(id("gone"), 1)]);
    log.disk.drained().await;
    assert_eq!(log.disk.pending_records(), 1);
    assert!(log.append(1, &["gone"]).await);
    assert_eq!(ids(&log.read("gone", 9).await), [0, 1]);
    assert!(log.disk.unread().is_empty());
}

#[tokio::test]
async fn what_was_given_up_and_is_found_again_after_all_is_pending_and_dropped_no_more() {
    let folder = folder();
    let faults = Faults::switchable();
    let options = Options { max_bytes: 12_000, faults: faults.clone(), ..options() };
    let log = Log::open(&folder, &options);
    log.disk.set_terms(&id("lossy"), dropping());
    for event in 0..4 {
        assert!(log.append(event, &["strict", "lossy"]).await);
    }
    for event in 4..6 {
        assert!(log.append(event, &["lossy"]).await);
    }
    // Room is made for this one in the segment that was written last, but it is never written.
    faults.set(Fault::NoSync);
    assert!(append(&log.disk, vec![entry(6, 6_000, &["lossy"])]).await.is_err());
    faults.set(Fault::None);
    assert_eq!(log.account("lossy").dropped, 2);
    drop(log);
    let account = Log::open(&folder, &options).account("lossy");
    assert_eq!((account.pending_records, account.dropped, account.imbalance()), (6, 0, 0));
}
