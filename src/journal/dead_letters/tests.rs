//! The letters' own tests: what a second process, a full disk and old files meet.

use std::fs;

use bytes::Bytes;
use tempfile::TempDir;

use super::super::disk::{Fault, Faults};
use super::*;
use crate::journal::Pending;

pub(super) fn id(name: &str) -> ResourceId {
    ResourceId::new(name).unwrap()
}

pub(super) fn record(event_id: &str, size: usize) -> Arc<Record> {
    let body = Bytes::from(format!("\"{}\"", "x".repeat(size)));
    Arc::new(Record {
        event_id: event_id.into(),
        time: Timestamp { seconds: 5, nanos: 0 },
        body,
        hops: 0,
    })
}

pub(super) fn refused(event_id: &str, size: usize) -> (Pending, DeadLetter) {
    let pending = Pending { position: 0, record: record(event_id, size) };
    (pending, DeadLetter { reason: "no".to_owned(), attempts: 1 })
}

pub(super) fn open(folder: &Path, max_bytes: u64, faults: &Faults) -> DeadLetters {
    let (letters, _) = DeadLetters::open(folder, max_bytes, 0, faults.clone()).unwrap();
    let buried = |letters: &DeadLetters| -> Vec<(ResourceId, Account)> {
        let (counts, ()) = letters.with_counts(|| ());
        let owners = counts.into_iter().filter(|(name, _)| !is_entrance(name));
        let account =
            |counts: LetterCounts| Account { dead_lettered: counts.buried, ..Account::default() };
        owners.map(|(name, counts)| (id(&name), account(counts))).collect()
    };
    letters.begin(&buried(&letters));
    letters
}

pub(super) fn listed(folder: &Path) -> Vec<StoredLetter> {
    let mut letters = Vec::new();
    let damaged = read_dead_letters(folder, |letter| {
        letters.push(letter);
        Ok(())
    });
    assert_eq!(damaged.unwrap(), 0);
    letters
}

fn events(folder: &Path) -> Vec<String> {
    listed(folder).iter().map(|it| it.record.event_id.to_string()).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_letter_comes_back_as_it_went_in_from_a_folder_that_is_made() {
    let folder = folder();
    let letters = open(folder.path(), 1 << 20, &Faults::default());
    let sent = refused("ev_\"1\"", 10);
    assert_eq!(letters.bury(&id("logs"), std::slice::from_ref(&sent), true, |_| {}).unwrap(), 1);
    letters.reject(AT_STDIN, vec![(record("line/1", 3), "no JSON".to_owned())]).unwrap();
    let found = listed(folder.path());
    assert_eq!((found.len(), &found[0].record), (2, &sent.0.record));
    assert_eq!((&*found[0].reason, found[0].attempts, found[0].position), ("no", 1, Some(0)));
    assert_eq!((&*found[1].destination, &*found[1].reason), (AT_STDIN, "no JSON"));
    assert!(found[0].id.starts_with("dl_") && found[0].id != found[1].id);
}

#[test]
fn no_destination_can_have_the_name_that_stands_for_an_entrance() {
    assert!(ResourceId::new(AT_KAFKA).is_err());
    assert!(ResourceId::new(AT_STDIN).is_err());
}

#[test]
fn what_is_marked_is_gone_at_once_and_leaves_the_disk_beside_the_daemon() {
    let folder = folder();
    let daemon = open(folder.path(), 1 << 20, &Faults::default());
    for event in ["a", "b", "c", "d"] {
        daemon.bury(&id("logs"), &[refused(event, 100)], true, |_| {}).unwrap();
    }
    let bytes = |daemon: &DeadLetters| daemon.counts_with("logs", || ()).0.bytes;
    let before = bytes(&daemon);
    let letters = listed(folder.path());
    forget_dead_letters(folder.path(), Fate::Redriven, &letters[..1]).unwrap();
    forget_dead_letters(folder.path(), Fate::Purged, &letters[..2]).unwrap();
    assert_eq!(events(folder.path()), ["c", "d"]);
    daemon.keep(|| {});
    assert!(bytes(&daemon) < before);
    daemon.bury(&id("logs"), &[refused("e", 100)], true, |_| {}).unwrap();
    assert_eq!(events(folder.path()), ["c", "d", "e"]);
    let counts = daemon.counts_with("logs", || ()).0;
    assert_eq!((counts.buried, counts.listed, counts.purged, counts.redriven), (5, 3, 1, 1));
    forget_dead_letters(folder.path(), Fate::Purged, &listed(folder.path())).unwrap();
    daemon.keep(|| {});
    assert_eq!(bytes(&daemon), 0);
    assert_eq!(fs::metadata(folder_in(folder.path()).join("marks")).unwrap().len(), 0);
    drop(daemon);
    let counts = open(folder.path(), 1 << 20, &Faults::default()).counts_with("logs", || ()).0;
    assert_eq!((counts.buried, counts.listed, counts.purged, counts.redriven), (5, 0, 4, 1));
    assert_eq!(counts.lost, 0);
}

#[test]
fn a_file_that_may_not_grow_is_left_for_a_new_one_and_nothing_is_lost() {
    let folder = folder();
    let faults = Faults::switchable();
    let daemon = open(folder.path(), 1 << 20, &faults);
    daemon.bury(&id("logs"), &[refused("a", 10)], true, |_| {}).unwrap();
    for fault in [Fault::FullAfter(60), Fault::NoSync] {
        faults.set(fault);
        assert!(daemon.bury(&id("logs"), &[refused("b", 10)], true, |_| {}).is_err());
        faults.set(Fault::None);
    }
    daemon.bury(&id("logs"), &[refused("b", 10)], true, |_| {}).unwrap();
    assert_eq!(events(folder.path()), ["a", "b"]);
    let counts = daemon.counts_with("logs", || ()).0;
    assert_eq!((counts.buried, counts.listed, counts.lost), (2, 2, 0));
}

#[test]
fn letters_go_to_as_many_files_as_it_takes_where_files_may_not_grow() {
    let folder = folder();
    let faults = Faults::switchable();
    let daemon = open(folder.path(), 1 << 20, &faults);
    faults.set(Fault::NoFileAbove(3_000));
    let many: Vec<_> = (0..40).map(|at| refused(&at.to_string(), 500)).collect();
    let mut buried = 0;
    while buried < many.len() {
        buried += daemon.bury(&id("logs"), &many[buried..], true, |_| {}).unwrap();
    }
    daemon.bury(&id("logs"), &[refused("40", 5_000)], true, |_| {}).unwrap_err();
    let rejected = (0..10).map(|at| (record(&at.to_string(), 500), "no".to_owned()));
    daemon.reject(AT_STDIN, rejected.collect()).unwrap();
    drop(daemon);
    faults.set(Fault::None);
    let daemon = open(folder.path(), 1 << 20, &faults);
    assert_eq!(listed(folder.path()).len(), 50);
    for (owner, letters) in [("logs", 40), (AT_STDIN, 10)] {
        let counts = daemon.counts_with(owner, || ()).0;
        assert_eq!((counts.buried, counts.listed, counts.lost), (letters, letters, 0), "{owner}");
    }
}

#[test]
fn at_its_share_a_destination_buries_no_more_until_there_is_room() {
    let folder = folder();
    let daemon = open(folder.path(), 64 << 10, &Faults::default());
    daemon.count_destination(true);
    daemon.count_destination(true);
    let many: Vec<_> = (0..100).map(|at| refused(&at.to_string(), 500)).collect();
    let mut taken = 0;
    let refusal = loop {
        match daemon.bury(&id("logs"), &many[taken..], true, |_| {}) {
            Ok(more) => taken += more,
            Err(refusal) => break refusal,
        }
    };
    assert!((10..50).contains(&taken), "{taken}");
    assert!(matches!(refusal, NotBuried::NoRoom { .. }), "{refusal}");
    assert!(refusal.to_string().contains("ERR_SLUICEGATE_1313"), "{refusal}");
    daemon.bury(&id("other"), &many[..1], true, |_| {}).unwrap();
    forget_dead_letters(folder.path(), Fate::Purged, &listed(folder.path())).unwrap();
    daemon.keep(|| {});
    assert!(daemon.bury(&id("logs"), &many[taken..], true, |_| {}).unwrap() > 0);
}

#[test]
fn where_the_disk_has_less_than_the_settings_say_letters_fill_their_shares_of_the_disk() {
    let folder = folder();
    let faults = Faults::switchable();
    let daemon = open(folder.path(), 1 << 30, &faults);
    faults.set(Fault::DiskOf(256 << 10));
    let many: Vec<_> = (0..400).map(|at| refused(&at.to_string(), 500)).collect();
    let mut taken = 0;
    let refusal = loop {
        match daemon.bury(&id("logs"), &many[taken..taken + 5], true, |_| {}) {
            Ok(more) => taken += more,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, NotBuried::NoRoom { .. }), "{refusal}");
    let bytes = daemon.counts_with("logs", || ()).0.bytes;
    assert!((64 << 10..160 << 10).contains(&bytes), "{bytes}");
    // Rejected events give way in their share.
    for at in 0..400 {
        daemon.reject(AT_KAFKA, vec![(record(&at.to_string(), 500), "no".to_owned())]).unwrap();
    }
    let counts = daemon.counts_with(AT_KAFKA, || ()).0;
    assert!(counts.given_way > 0 && counts.bytes <= 32 << 10, "{counts:?}");
}

#[test]
fn a_number_is_not_forgotten_with_the_letter_that_had_it() {
    let folder = folder();
    let daemon = open(folder.path(), 64 << 10, &Faults::default());
    let bury = |events: &[&str], size: usize| {
        let letters: Vec<_> = events.iter().map(|event| refused(event, size)).collect();
        daemon.bury(&id("logs"), &letters, true, |_| {}).unwrap();
    };
    let purge = |events: &[&str]| {
        let letters = listed(folder.path()).into_iter();
        let chosen: Vec<_> = letters.filter(|it| events.contains(&&*it.record.event_id)).collect();
        assert_eq!(chosen.len(), events.len());
        forget_dead_letters(folder.path(), Fate::Purged, &chosen).unwrap();
        daemon.keep(|| {});
    };
    // Two files; the second goes, and the first, written anew, takes the next letter.
    bury(&["1", "2"], 400);
    bury(&["3"], 400);
    purge(&["1", "3"]);
    bury(&["4"], 10);
    purge(&["4"]);
    let counts = |daemon: &DeadLetters| daemon.counts_with("logs", || ()).0;
    let before = counts(&daemon);
    assert_eq!((before.buried, before.listed, before.purged), (4, 1, 3));
    let again = open(folder.path(), 64 << 10, &Faults::default());
    assert_eq!(counts(&again), before);
}

#[test]
fn the_oldest_rejected_events_give_way_and_are_counted() {
    let folder = folder();
    let daemon = open(folder.path(), 64 << 10, &Faults::default());
    for at in 0..100 {
        let event = (record(&at.to_string(), 500), "no".to_owned());
        daemon.reject(AT_KAFKA, vec![event]).unwrap();
    }
    let events = events(folder.path());
    assert_eq!(events.last().unwrap(), "99");
    let counts = daemon.counts_with(AT_KAFKA, || ()).0;
    assert!(counts.bytes <= 8 << 10, "{counts:?}");
    assert_eq!((counts.listed, counts.buried), (events.len() as u64, 100));
    assert_eq!((counts.listed + counts.given_way, counts.lost), (100, 0));
}

#[test]
fn letters_of_an_earlier_version_are_moved_over_once_and_the_accounts_agree() {
    let folder = folder();
    let kept: Vec<_> = ["1", "2", "3"].into_iter().map(|at| stored_line(at, "logs")).collect();
    fs::write(folder.path().join("dead-letters.ndjson"), kept.join("\n") + "\n").unwrap();
    fs::write(folder.path().join("dead-letters.gone"), "dl_2\n").unwrap();
    assert_eq!(events(folder.path()), ["1", "3"], "before the daemon has started");
    let accounts = [(id("logs"), Account { dead_lettered: 5, ..Account::default() })];
    for _ in 0..2 {
        let (daemon, _) = DeadLetters::open(folder.path(), 1 << 20, 0, Faults::default()).unwrap();
        daemon.begin(&accounts);
        assert_eq!(events(folder.path()), ["1", "3"]);
        let counts = daemon.counts_with("logs", || ()).0;
        assert_eq!((counts.buried, counts.listed, counts.purged), (5, 2, 3));
        assert_eq!(counts.imbalance(Some(&accounts[0].1)), 0);
    }
    assert!(!folder.path().join("dead-letters.ndjson").exists());
}

fn stored_line(event: &str, destination: &str) -> String {
    let (pending, letter) = refused(event, 4);
    let letter = StoredLetter {
        id: format!("dl_{event}"),
        time: Timestamp { seconds: 7, nanos: 0 },
        destination: destination.to_owned(),
        number: 0,
        position: None,
        reason: letter.reason,
        attempts: 1,
        record: pending.record,
    };
    String::from_utf8(letter.to_line()).unwrap()
}

#[test]
fn a_damaged_letter_is_counted_as_lost_and_hides_no_other() {
    let folder = folder();
    let daemon = open(folder.path(), 1 << 20, &Faults::default());
    for event in ["a", "b", "c"] {
        daemon.bury(&id("logs"), &[refused(event, 100)], true, |_| {}).unwrap();
    }
    drop(daemon);
    let files = super::super::disk::framed::list(&folder_in(folder.path())).unwrap();
    let path = super::super::disk::framed::path(&folder_in(folder.path()), files[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = memchr::memmem::find(&bytes, b"\"number\":2").unwrap();
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let daemon = open(folder.path(), 1 << 20, &Faults::default());
    let counts = daemon.counts_with("logs", || ()).0;
    assert_eq!((counts.buried, counts.listed, counts.lost), (3, 2, 1));
    assert_eq!(daemon.damaged(), 1);
    let mut found = Vec::new();
    let damaged = read_dead_letters(folder.path(), |letter| {
        found.push(letter.record.event_id.to_string());
        Ok(())
    });
    assert_eq!((damaged.unwrap(), found), (1, vec!["a".to_owned(), "c".to_owned()]));
}
