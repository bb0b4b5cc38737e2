//! Shares, compaction, and what becomes of segments that somebody deletes.

use std::fs;

use tempfile::TempDir;

use super::tests::{append, dropping, entry, folder, id, ids, options};
use super::*;
use crate::journal::{AppendError, Full, Refusal};
use crate::resources::Overflow;

/// Room for 40 KB in segments of 4 KB.
fn small() -> Options {
    Options { max_bytes: 40_000, ..options() }
}

/// A log with a dead destination, a healthy one that takes and settles everything at once, and the
/// healthy one's reader.
struct Outage {
    folder: TempDir,
    disk: Disk,
    healthy: Reader,
    dead: Reader,
    delivered: Vec<u64>,
}

impl Outage {
    fn start(options: &Options) -> Outage {
        Outage::start_in(folder(), options)
    }

    fn start_in(folder: TempDir, options: &Options) -> Outage {
        let disk = Disk::open(folder.path(), options).unwrap();
        let healthy = disk.attach(&id("healthy"), Terms::default());
        let dead = disk.attach(&id("dead"), Terms::default());
        Outage { folder, disk, healthy, dead, delivered: Vec::new() }
    }

    async fn append(&self, event: u64, size: usize, to: &[&str]) -> Result<(), AppendError> {
        append(&self.disk, vec![entry(event, size, to)]).await
    }

    async fn deliver(&mut self) {
        let name = id("healthy");
        while self.disk.account(&name).unwrap().pending_records > 0 {
            let read = self.disk.read(&name, &mut self.healthy, (99, usize::MAX)).await.unwrap();
            self.delivered.extend(ids(&read));
            let settled: Vec<_> = read.iter().map(|it| (it.position, Outcome::Delivered)).collect();
            self.disk.settle(&name, &settled);
        }
    }

    /// So many events, every third for the dead one and the others for the healthy one, which takes
    /// them; tells which are owed.
    async fn append_mixed(&mut self, events: u64) -> Vec<u64> {
        for event in 0..events {
            let to = if event % 3 == 0 { &["dead"] } else { &["healthy"] };
            self.append(event, 700, to).await.unwrap();
            self.deliver().await;
        }
        (0..events).step_by(3).collect()
    }

    /// All that waits for the dead one, which has come back.
    async fn revive(&mut self) -> Vec<u64> {
        let name = id("dead");
        let mut events = Vec::new();
        while self.disk.account(&name).unwrap().pending_records > 0 {
            let read = self.disk.read(&name, &mut self.dead, (3, usize::MAX)).await.unwrap();
            events.extend(ids(&read));
            let settled: Vec<_> = read.iter().map(|it| (it.position, Outcome::Delivered)).collect();
            self.disk.settle(&name, &settled);
        }
        events
    }

    /// Bytes of all files of the log.
    fn on_disk(&self) -> u64 {
        let bases = segment::list(self.folder.path()).unwrap();
        let sizes = bases.into_iter().map(|it| segment::path(self.folder.path(), it));
        // The keeper may delete one meanwhile.
        sizes.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
    }
}

#[tokio::test]
async fn small_records_of_a_dead_destination_in_each_segment_do_not_fill_the_journal() {
    let mut outage = Outage::start(&small());
    let mut owed = Vec::new();
    for event in 0..400 {
        let to_dead = event % 4 == 0;
        outage.append(event, 1_000, &["healthy"]).await.unwrap();
        if to_dead {
            outage.append(1_000 + event, 10, &["dead"]).await.unwrap();
            owed.push(1_000 + event);
        }
        outage.deliver().await;
        assert!(outage.on_disk() <= 44_000, "{} bytes, {event}", outage.on_disk());
    }
    assert_eq!(outage.delivered, (0..400).collect::<Vec<_>>());
    let share = outage.disk.share(&id("dead")).unwrap();
    assert!(share.used < 20_000, "{share:?}");
    let status = outage.disk.status();
    assert!(status.compacted_bytes < 400_000 / 4, "{status:?}");
    assert!(status.segments < 16, "{status:?}");
    assert_eq!(outage.revive().await, owed);
    let account = outage.disk.account(&id("dead")).unwrap();
    assert_eq!((account.delivered, account.dropped, account.lost), (100, 0, 0));
}

#[tokio::test]
async fn a_full_share_refuses_what_is_for_it_by_name_and_takes_all_else() {
    let mut outage = Outage::start(&small());
    let mut kept = Vec::new();
    let mut refused = 0;
    for event in 0..100 {
        match outage.append(event, 1_000, &["dead"]).await {
            Ok(()) => kept.push(event),
            Err(error) => {
                let cause = Refusal::NoRoomFor(vec![id("dead")]);
                assert_eq!(error, Full::new(cause).into());
                refused += 1;
            }
        }
        outage.append(1_000 + event, 1_000, &["healthy"]).await.unwrap();
        outage.deliver().await;
        let both = append(
            &outage.disk,
            vec![entry(event, 10, &["healthy"]), entry(event, 1_000, &["dead"])],
        );
        if refused > 0 {
            assert!(both.await.is_err());
            assert_eq!(outage.disk.account(&id("healthy")).unwrap().pending_records, 0);
        }
    }
    let share = outage.disk.share(&id("dead")).unwrap();
    assert_eq!(share.max, 20_000, "half of it, as there are two");
    assert!(share.used <= share.max && kept.len() > 15, "{share:?} {kept:?}");
    assert_eq!(outage.revive().await, kept);
    outage.append(7_000, 1_000, &["dead"]).await.unwrap();
}

#[tokio::test]
async fn an_empty_share_takes_one_append_of_any_size() {
    let mut outage = Outage::start(&small());
    let terms = Terms { max_pending_bytes: Some(500), ..Terms::default() };
    outage.disk.set_terms(&id("dead"), terms);
    outage.append(1, 9_000, &["dead"]).await.unwrap();
    assert!(outage.append(2, 1, &["dead"]).await.is_err());
    assert_eq!(outage.revive().await, [1]);
    outage.append(3, 1, &["dead"]).await.unwrap();
}

#[tokio::test]
async fn past_its_share_drop_oldest_gives_up_its_own_and_nobody_elses() {
    let mut outage = Outage::start(&small());
    outage.disk.set_terms(&id("dead"), Terms { max_pending_bytes: Some(8_000), ..dropping() });
    for event in 0..18 {
        outage.append(event, 1_000, &["dead", "healthy"]).await.unwrap();
        let share = outage.disk.share(&id("dead")).unwrap();
        assert!(share.used <= 8_000, "{share:?}");
    }
    let account = outage.disk.account(&id("dead")).unwrap();
    assert!(account.dropped > 8, "{account:?}");
    let healthy = outage.disk.account(&id("healthy")).unwrap();
    assert_eq!((healthy.dropped, healthy.pending_records), (0, 18));
    outage.deliver().await;
    assert_eq!(outage.delivered, (0..18).collect::<Vec<_>>());
    assert_eq!(outage.revive().await.last(), Some(&17));
}

#[tokio::test]
async fn what_retention_keeps_gives_way_to_what_comes() {
    let kept = Options { retention: Duration::from_secs(3_600), ..small() };
    let mut outage = Outage::start(&kept);
    for event in 0..200 {
        outage.append(event, 1_000, &["healthy"]).await.unwrap();
        outage.deliver().await;
        assert!(outage.on_disk() <= 44_000, "{}", outage.on_disk());
    }
    outage.disk.compact();
    let status = outage.disk.status();
    assert!(status.kept_bytes > 10_000, "{status:?}");
    assert_eq!(status.kept_bytes + status.bytes, outage.on_disk());
    assert_eq!(status.max_bytes, 40_000);
    assert!(status.free_bytes.is_some());
}

#[tokio::test]
async fn compacted_segments_are_read_in_order_after_a_restart_and_by_replay() {
    let mut outage = Outage::start(&small());
    let owed = outage.append_mixed(60).await;
    outage.disk.compact();
    assert!(outage.disk.status().compacted_bytes > 0);
    let span = Timestamp { seconds: 0, nanos: 0 }..Timestamp { seconds: 1 << 40, nanos: 0 };
    let mut replay = LogReader::open(outage.folder.path(), &id("dead"), span).unwrap();
    let mut replayed = Vec::new();
    while let Some(record) = replay.next_record().unwrap() {
        replayed.push(record.record.event_id.parse::<u64>().unwrap());
    }
    assert_eq!(replayed, owed);
    let Outage { folder, disk, .. } = outage;
    drop(disk);
    let mut outage = Outage::start_in(folder, &small());
    assert_eq!(outage.revive().await, owed);
    assert_eq!(outage.disk.status().damaged, 0);
}

#[tokio::test]
async fn a_replay_that_has_begun_finds_what_moves_into_a_segment_it_has_read() {
    let mut outage = Outage::start(&small());
    let owed = outage.append_mixed(40).await;
    let span = Timestamp { seconds: 0, nanos: 0 }..Timestamp { seconds: 1 << 40, nanos: 0 };
    let mut replay = LogReader::open(outage.folder.path(), &id("dead"), span).unwrap();
    let mut replayed = Vec::new();
    while let Some(record) = replay.next_record().unwrap() {
        replayed.push(record.record.event_id.parse::<u64>().unwrap());
        if replayed.len() == 3 {
            outage.disk.compact();
        }
    }
    assert_eq!(replayed, owed);
}

#[tokio::test]
async fn a_reader_that_has_begun_loses_nothing_to_compaction() {
    let mut outage = Outage::start(&small());
    let owed = outage.append_mixed(40).await;
    let name = id("dead");
    let mut came = Vec::new();
    while came.len() < owed.len() {
        // A part chosen before compaction is read after it.
        let chosen =
            outage.disk.next(&name, outage.dead.number, Limits { records: 2, bytes: 1 << 20 });
        outage.disk.compact();
        let Some(Next::OnDisk(part)) = chosen else { panic!("{chosen:?}") };
        let limits = Limits { records: 2, bytes: 1 << 20 };
        let found = reader::read(outage.folder.path(), &name, part, limits);
        let taken = outage.disk.accept(&name, part, found, limits).unwrap().unwrap();
        came.extend(ids(&taken));
        let settled: Vec<_> = taken.iter().map(|it| (it.position, Outcome::Delivered)).collect();
        outage.disk.settle(&name, &settled);
    }
    assert_eq!(came, owed);
    assert_eq!(outage.disk.account(&name).unwrap().lost, 0);
}

#[tokio::test]
async fn a_copy_on_a_full_disk_is_given_up_and_leaves_nothing_behind() {
    let faults = Faults::switchable();
    let mut outage = Outage::start(&Options { faults: faults.clone(), ..small() });
    for event in 0..40 {
        let to: &[&str] = if event % 3 == 0 { &["dead"] } else { &["healthy"] };
        outage.append(event, 700, to).await.unwrap();
    }
    outage.deliver().await;
    for fault in [Fault::FullAfter(100), Fault::NoSync] {
        faults.set(fault);
        outage.disk.compact();
        let names = fs::read_dir(outage.folder.path()).unwrap().map(|it| it.unwrap().file_name());
        assert!(names.into_iter().all(|it| !it.to_string_lossy().ends_with("0.new")));
        assert_eq!(outage.disk.status().compacted_bytes, 0);
    }
    assert!(outage.disk.status().error.unwrap().contains("cannot be compacted"));
    faults.set(Fault::None);
    outage.disk.compact();
    assert_eq!(outage.disk.status().error, None);
    assert_eq!(outage.revive().await, (0..40).step_by(3).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_segment_that_vanishes_is_counted_as_lost_while_running_and_before_a_start() {
    for while_running in [true, false] {
        let mut outage = Outage::start(&small());
        for event in 0..12 {
            outage.append(event, 1_000, &["dead", "healthy"]).await.unwrap();
        }
        outage.deliver().await;
        let second = segment::list(outage.folder.path()).unwrap()[1];
        let path = segment::path(outage.folder.path(), second);
        if while_running {
            fs::remove_file(path).unwrap();
            outage.disk.compact();
        } else {
            let Outage { folder, disk, .. } = outage;
            drop(disk);
            fs::remove_file(path).unwrap();
            outage = Outage::start_in(folder, &small());
        }
        let account = outage.disk.account(&id("dead")).unwrap();
        assert_eq!((account.lost, account.dropped, account.pending_records), (4, 0, 8));
        assert_eq!(account.imbalance(), 0);
        assert_eq!(outage.revive().await, [0, 1, 2, 3, 8, 9, 10, 11]);
        let Outage { folder, disk, .. } = outage;
        drop(disk);
        let outage = Outage::start_in(folder, &small());
        assert_eq!(outage.disk.account(&id("dead")).unwrap().lost, 4, "after a restart too");
    }
}

#[tokio::test]
async fn nothing_is_appended_to_a_segment_that_has_vanished() {
    let mut outage = Outage::start(&small());
    outage.append(1, 100, &["dead"]).await.unwrap();
    fs::remove_file(segment::path(outage.folder.path(), 0)).unwrap();
    outage.disk.compact();
    outage.append(2, 100, &["dead"]).await.unwrap();
    let Outage { folder, disk, .. } = outage;
    drop(disk);
    outage = Outage::start_in(folder, &small());
    assert_eq!(outage.revive().await, [2]);
    assert_eq!(outage.disk.account(&id("dead")).unwrap().lost, 1);
}

#[tokio::test]
async fn a_segment_that_only_lags_is_left_alone_without_need() {
    let mut outage = Outage::start(&Options { max_bytes: 1 << 30, ..small() });
    for event in 0..40 {
        let to: &[&str] = if event % 3 == 0 { &["dead"] } else { &["healthy"] };
        outage.append(event, 700, to).await.unwrap();
    }
    outage.deliver().await;
    outage.disk.shared.pass();
    assert_eq!(outage.disk.status().compacted_bytes, 0);
    // A minute goes by in which nothing of it moves.
    for segment in &mut outage.disk.shared.state().segments {
        segment.quiet.1 -= 60_000;
    }
    outage.disk.shared.pass();
    assert!(outage.disk.status().compacted_bytes > 0);
    assert_eq!(outage.revive().await, (0..40).step_by(3).collect::<Vec<_>>());
}

#[test]
fn a_share_is_all_of_it_for_one_half_for_several_and_never_more_than_there_is() {
    let terms = Terms::default();
    assert_eq!([0, 1, 2, 9].map(|it| terms.share_of(100, 100, it)), [100, 100, 50, 50]);
    let terms = Terms { overflow: Overflow::Block, max_pending_bytes: Some(70) };
    assert_eq!([1, 2].map(|it| terms.share_of(100, 100, it)), [70, 70]);
    assert_eq!(terms.share_of(60, 60, 2), 60);
    assert_eq!([1, 2].map(|it| terms.share_of(100, 80, it)), [70, 40], "the disk is too small");
}

#[tokio::test]
async fn a_segment_that_becomes_the_last_one_again_counts_in_no_share() {
    let faults = Faults::switchable();
    let mut outage = Outage::start(&Options { faults: faults.clone(), ..small() });
    // Its part of a sealed segment, most of which was settled.
    outage.append(0, 300, &["dead"]).await.unwrap();
    for event in 1..9 {
        outage.append(event, 700, &["healthy"]).await.unwrap();
    }
    outage.deliver().await;
    let name = id("dead");
    let used = |disk: &Disk| disk.share(&name).unwrap().used;
    let pending = outage.disk.account(&name).unwrap().pending_bytes;
    assert!(used(&outage.disk) > pending);
    faults.set(Fault::FullAfter(0));
    assert!(outage.append(9, 700, &["healthy"]).await.is_err());
    outage.disk.checkpoint().await;
    assert_eq!(segment::list(outage.folder.path()).unwrap().len(), 1);
    assert_eq!(used(&outage.disk), pending);
    faults.set(Fault::None);
    outage.append(10, 700, &["healthy"]).await.unwrap();
    assert!(used(&outage.disk) > pending);
    assert_eq!(outage.revive().await, [0]);
}

#[tokio::test]
async fn on_a_disk_smaller_than_the_journal_a_dead_destination_fills_its_share_of_the_disk() {
    const DISK: u64 = 400_000;
    let faults = Faults::switchable();
    faults.set(Fault::DiskOf(DISK));
    let mut outage = Outage::start(&Options { faults, ..options() });
    let mut events = 0..;
    let refused = loop {
        match outage.append(events.next().unwrap(), 700, &["dead"]).await {
            Ok(()) => outage.disk.shared.pass(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Full::new(Refusal::NoRoomFor(vec![id("dead")])).into());
    let usable = outage.disk.status().usable_bytes;
    assert!((DISK / 2..DISK).contains(&usable), "{usable}");
    let share = outage.disk.share(&id("dead")).unwrap();
    assert!(share.max == usable / 2 && share.used > share.max / 2, "{share:?} {usable}");
    for event in events.by_ref().take(500) {
        outage.append(event, 700, &["healthy"]).await.unwrap();
        outage.deliver().await;
    }
    // One that is not dead but slow fills the rest.
    let refused = loop {
        match outage.append(events.next().unwrap(), 700, &["healthy"]).await {
            Ok(()) => outage.disk.shared.pass(),
            Err(refused) => break refused,
        }
    };
    let full = [Refusal::SmallDisk, Refusal::NoRoomFor(vec![id("healthy")])];
    assert!(full.iter().any(|it| refused == Full::new(it.clone()).into()), "{refused:?}");
    outage.disk.shared.pass();
    assert!(outage.disk.status().free_bytes.unwrap() > 0);
}
