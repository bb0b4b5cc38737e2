//! Shares of the journal: a dead destination beside a healthy one, what is kept, files that vanish.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::daemon::{Daemon, patiently};
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::small_disk::SmallDisk;
use crate::support::{generate, http, sluicegate};

/// Requests by POST go to `dead`, all others to `healthy`.
fn settings(folder: &Path, dead: &FakeKinesis) -> Settings {
    Settings::new()
        .data_dir(folder)
        .journal_bytes("4MiB")
        .drain_limit("1s")
        .destination(Destination::kinesis("dead", dead))
        .destination(Destination::file("healthy", folder.join("healthy.ndjson").display()))
        .subscription(Subscription::new("few", &["dead"]).filter(IS_POST))
        .subscription(
            Subscription::new("most", &["healthy"]).filter("!(ev.http.request.method == 'post')"),
        )
}

const IS_POST: &str = "ev.http.request.method == 'post'";

/// Requests by POST, and others.
fn events(count: usize, seed: u64) -> (Vec<String>, Vec<String>) {
    let is_post = |event: &String| event.contains(r#""method":"post""#);
    generate("http_request_complete.v0", count, seed).into_iter().partition(is_post)
}

/// Bytes of the log's files.
fn log_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join("journal")).unwrap();
    let files = files
        .filter_map(Result::ok)
        .filter(|it| it.file_name().to_string_lossy().ends_with(".log"));
    files.filter_map(|it| Some(it.metadata().ok()?.len())).sum()
}

/// How many of these events are not in the file. It may have the beginning of a line, from a kill.
fn missing_in_file(folder: &Path, events: &[String]) -> usize {
    let text = std::fs::read_to_string(folder.join("healthy.ndjson")).unwrap_or_default();
    let arrived: std::collections::BTreeSet<_> = text.lines().collect();
    events.iter().filter(|event| !arrived.contains(event.as_str())).count()
}

#[test]
fn a_dead_destination_fills_its_share_and_takes_nothing_from_a_healthy_one() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(folder.path(), &fake);
    let mut daemon = Daemon::start(&settings);
    let (posts, others) = events(16_000, 71);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    let mut bodies = posts.chunks(20);
    for (at, body) in others.chunks(100).enumerate() {
        daemon.send(body);
        for body in bodies.by_ref().take(4) {
            let answer = daemon.post("application/x-ndjson", body.join("\n"));
            match answer.status {
                200 => accepted.extend_from_slice(body),
                429 => {
                    refused += 1;
                    assert!(answer.body.contains("ERR_SLUICEGATE_1115"), "{answer:?}");
                    assert!(answer.body.contains("destination `dead`"), "{answer:?}");
                }
                _ => panic!("{answer:?}"),
            }
        }
        assert!(
            log_bytes(folder.path()) <= (4 << 20) + (256 << 10),
            "{}",
            log_bytes(folder.path())
        );
        if at == 30 {
            daemon.signal("KILL");
            daemon.wait();
            daemon = Daemon::start(&settings);
        }
    }
    assert!(refused > 0 && !accepted.is_empty());
    let dead = daemon.destination("dead");
    assert_eq!(dead["max_pending_bytes"], 2 << 20);
    assert!(dead["used_bytes"].as_u64().unwrap() <= 2 << 20, "{dead}");
    assert!(dead["used_bytes"].as_u64().unwrap() > 1 << 20, "{dead}");
    daemon.signal("KILL");
    daemon.wait();
    fake.set(Mood::Well);
    let daemon = Daemon::start(&settings);
    daemon.wait_until_delivered();
    let arrived = fake.records();
    let missing = accepted.iter().filter(|it| !arrived.contains_key(*it)).count();
    assert_eq!(missing, 0, "of {}", accepted.len());
    assert_eq!(arrived.len(), accepted.len(), "nothing of a refused body is kept");
    assert_eq!(missing_in_file(folder.path(), &others), 0);
    for id in ["dead", "healthy"] {
        let destination = daemon.destination(id);
        assert_eq!((&destination["dropped"], &destination["lost"]), (&0.into(), &0.into()));
    }
}

#[test]
fn one_small_record_in_each_segment_pins_no_segments() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(folder.path(), &fake);
    let daemon = Daemon::start(&settings);
    let (posts, others) = events(12_000, 72);
    let mut sent = Vec::new();
    for (body, post) in others.chunks(100).zip(&posts) {
        daemon.send(body);
        daemon.send(std::slice::from_ref(post));
        sent.push(post.clone());
    }
    let status = daemon.status();
    assert!(status["journal"]["compacted_bytes"].as_u64().unwrap() > 0, "{status}");
    let metrics = http::get(daemon.api, "/metrics").body;
    for name in [
        "sluicegate_journal_kept_bytes",
        "sluicegate_journal_max_bytes 4194304",
        "sluicegate_journal_free_bytes",
        "sluicegate_journal_compacted_bytes_total",
        "sluicegate_destination_used_bytes{destination=\"dead\"}",
        "sluicegate_destination_max_pending_bytes{destination=\"dead\"} 2097152",
        "sluicegate_destination_lost_records_total{destination=\"dead\"} 0",
    ] {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert_eq!(fake.records().len(), sent.len());
}

#[test]
fn what_retention_keeps_stays_inside_the_journal_s_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new()
        .data_dir(folder.path())
        .journal_bytes("1MiB")
        .retention("1h")
        .destination(Destination::file("copy", folder.path().join("copy.ndjson").display()))
        .subscription(Subscription::new("all", &["copy"]));
    let daemon = Daemon::start(&settings);
    for body in generate("http_request_complete.v0", 8_000, 73).chunks(50) {
        daemon.send(body);
        let bytes = log_bytes(folder.path());
        assert!(bytes <= (1 << 20) + (128 << 10), "{bytes}");
    }
    daemon.wait_until_delivered();
    let journal = daemon.status()["journal"].clone();
    assert!(journal["kept_bytes"].as_u64().unwrap() > 256 << 10, "{journal}");
    assert_eq!(journal["max_bytes"], 1 << 20);
    assert!(journal["free_bytes"].as_u64().unwrap() > 0, "{journal}");
}

#[test]
fn a_segment_that_somebody_deletes_is_counted_as_lost_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(folder.path(), &fake).journal_bytes("64MiB");
    let daemon = Daemon::start(&settings);
    let (posts, _) = events(40_000, 74);
    for body in posts.chunks(500) {
        daemon.send(body);
    }
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("journal"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "log"))
        .collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    std::fs::remove_file(&files[0]).unwrap();
    let daemon = Daemon::start(&settings);
    let dead = daemon.destination("dead");
    let lost = dead["lost"].as_u64().unwrap();
    assert!(lost > 0 && dead["dropped"] == 0, "{dead}");
    assert!(daemon.log().contains("records are lost"), "{}", daemon.log());
    assert_eq!(
        dead["accepted"].as_u64().unwrap(),
        posts.len() as u64 + dead["filtered_out"].as_u64().unwrap()
    );
    let api = format!("http://{}", daemon.api);
    let said = sluicegate(&["ledger", "--api", &api], "");
    assert!(said.status.success());
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert!(stderr.contains(&format!("`dead`: {lost} records were lost")), "{stderr}");
    // The next one goes while the daemon runs.
    std::fs::remove_file(&files[1]).unwrap();
    patiently("the loss is noticed", || {
        daemon.destination("dead")["lost"].as_u64().unwrap() > lost
    });
    assert!(daemon.log().contains("has vanished"), "{}", daemon.log());
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    let dead = daemon.destination("dead");
    let count = |key: &str| dead[key].as_u64().unwrap();
    assert_eq!(count("delivered") + count("lost"), posts.len() as u64, "{dead}");
}

#[test]
fn on_a_file_system_smaller_than_the_journal_a_dead_destination_takes_its_share_of_it() {
    for size in ["2m", "8m"] {
        let Some(disk) = SmallDisk::mount_of(size) else { return };
        let fake = FakeKinesis::start(Mood::Failing);
        let settings = settings(&disk.folder, &fake).journal_bytes("1GiB");
        let settings = settings.change("healthy", |it| it.path("/dev/null"));
        let file = disk.folder.join("settings.yaml");
        std::fs::write(&file, settings.to_string()).unwrap();
        let said = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains("the shares are taken of that"), "{said}");
        let daemon = Daemon::start(&settings);
        let (posts, others) = events(24_000, 75);
        let mut accepted = Vec::new();
        for body in posts.chunks(10) {
            let answer = daemon.post("application/x-ndjson", body.join("\n"));
            if answer.status == 200 {
                accepted.extend_from_slice(body);
                continue;
            }
            assert!(answer.body.contains("ERR_SLUICEGATE_1115"), "{answer:?}");
            break;
        }
        assert!(accepted.len() < posts.len());
        let status = daemon.status();
        let usable = status["journal"]["usable_bytes"].as_u64().unwrap();
        assert!(usable < 8 << 20, "{status}");
        let share = daemon.destination("dead")["max_pending_bytes"].as_u64().unwrap();
        assert!(share <= 4 << 20, "{share}");
        for body in others.chunks(50).take(100) {
            daemon.send(body);
        }
        daemon.signal("KILL");
        daemon.wait();
        fake.set(Mood::Well);
        let daemon = Daemon::start(&settings);
        daemon.wait_until_delivered();
        assert_eq!(fake.records().len(), accepted.len());
    }
}

#[test]
fn check_warns_of_room_that_the_disk_or_the_journal_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    // One that others may look into is warned of, too.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let fake = FakeKinesis::start(Mood::Well);
    let base = settings(folder.path(), &fake);
    let file = folder.path().join("settings.yaml");
    let check = |settings: &Settings| {
        std::fs::write(&file, settings.to_string()).unwrap();
        let said = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stderr).unwrap()
    };
    assert_eq!(check(&base), "");
    let more = base.clone().change("dead", |it| it.max_pending_bytes("5MiB"));
    assert!(
        check(&more).contains("the share of `dead` (`max_pending_bytes`) is more than there is")
    );
    let huge = base.journal_bytes("1000000GiB");
    let said = check(&huge);
    assert!(said.contains("the journal may take 1000000GiB, and the disk of"), "{said}");
    let small = |it: Destination| it.max_pending_bytes("1MiB");
    let modest = huge.change("dead", small).change("healthy", small);
    assert_eq!(check(&modest), "", "the shares fit");
}
