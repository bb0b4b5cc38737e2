//! Folders that outlive their daemon: what waits in them is delivered by whoever adopts them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, http, output_of, sluicegate};

fn settings(folder: &Path, fake: &FakeKinesis) -> Settings {
    Settings::new()
        .data_dir(folder)
        .drain_limit("1s")
        .destination(Destination::kinesis("stream", fake))
        .destination(Destination::kinesis("second", fake))
        .subscription(Subscription::new("all", &["stream", "second"]))
}

/// Runs `journal adopt` and gives its exit code and what it printed.
fn adopt(folder: &Path, settings: &str) -> (Option<i32>, String) {
    let output = sluicegate(&["journal", "adopt", folder.to_str().unwrap(), "-c", settings], "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout) + &text(output.stderr))
}

#[test]
fn the_folder_of_a_killed_daemon_is_emptied_under_another_ones_settings() {
    let (gone, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&settings(gone.path(), &fake));
    let events = generate("http_request_complete.v0", 500, 61);
    daemon.send(&events);
    let file = own.path().join("settings.yaml");
    let data = own.path().join("data");
    std::fs::write(&file, settings(&data, &fake).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = adopt(gone.path(), file);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process uses it"), "{said}");
    daemon.signal("KILL");
    daemon.wait();
    let (code, said) = adopt(&gone.path().join("journal"), file);
    assert!(code == Some(1) && said.contains("is no daemon's `data_dir`"), "{said}");
    fake.set(Mood::Well);
    let (code, said) = adopt(gone.path(), file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("accepted  filtered_out  delivered"), "{said}");
    assert_eq!(fake.records().len(), events.len());
    assert!(!data.exists(), "the adopting settings' own folder was made");
    let there = Settings::to_string(&settings(gone.path(), &fake));
    std::fs::write(file, there).unwrap();
    let ledger: Value =
        serde_json::from_str(&output_of(&["ledger", "-o", "json", "-c", file], "")).unwrap();
    for destination in ledger["destinations"].as_array().unwrap() {
        assert_eq!(destination["delivered"], 500, "{ledger}");
    }
    assert_eq!(ledger["balanced"], true, "{ledger}");
    let (code, said) = adopt(gone.path(), file);
    assert_eq!(code, Some(0), "an empty folder is no fault: {said}");
}

#[test]
fn adopting_lists_dead_letters_and_names_what_nobody_asks_for() {
    let (gone, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fake = FakeKinesis::start(Mood::Failing);
    let both = settings(gone.path(), &fake);
    let daemon = Daemon::start(&both);
    daemon.send(&generate("http_request_complete.v0", 3, 62));
    let mut large: Value =
        serde_json::from_str(&generate("http_request_complete.v0", 1, 63)[0]).unwrap();
    // As large as an event may be, and with its key larger than Kinesis takes.
    large["object"]["http"]["request"]["path"] = "".into();
    let rest = large.to_string().len();
    large["object"]["http"]["request"]["path"] = "x".repeat((1 << 20) - rest).into();
    daemon.send(&[large.to_string()]);
    daemon.signal("KILL");
    daemon.wait();
    let file = own.path().join("settings.yaml");
    let one = both.change("second", |it| it.id("other"));
    let one = one.replace("all", Subscription::new("all", &["stream"]));
    std::fs::write(&file, one.to_string()).unwrap();
    fake.set(Mood::Well);
    let (code, said) = adopt(gone.path(), file.to_str().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("left in the folder: 4 records for `second`"), "{said}");
    assert!(said.contains("know `second`"), "{said}");
    let letter = large["event_id"].as_str().unwrap();
    let listed = |line: &str| line.contains(letter) && line.contains("stream");
    assert!(said.lines().any(listed), "{said}");
}

/// The master key of `tests/fixtures/last_release`, and an API key that was made there.
const MASTER_KEY: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
const API_KEY: &str = "3MewHjKaG0dnttmWXLUDfNzoSaQ_lrHD9CFpXNj6ItfjkLxQO";

fn last_release() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/last_release")
}

/// A copy of what a daemon of the last release has left.
fn left_by_last_release() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&last_release().join("data"), folder.path());
    folder
}

fn with_stream(folder: &Path, fake: &FakeKinesis) -> Settings {
    Settings::new()
        .data_dir(folder)
        .destination(Destination::kinesis("stream", fake))
        .subscription(Subscription::new("all", &["stream"]))
}

#[test]
fn what_the_last_release_left_is_delivered_listed_and_managed() {
    let folder = left_by_last_release();
    let fake = FakeKinesis::start(Mood::Well);
    let settings = with_stream(folder.path(), &fake);
    let daemon = Daemon::start_with(&settings, &[("SLUICEGATE_MASTER_KEY", MASTER_KEY)]);
    daemon.wait_until_delivered();
    let events = std::fs::read_to_string(last_release().join("events.ndjson")).unwrap();
    let arrived = fake.records();
    for event in events.lines() {
        let id = &event[..r#"{"event_id":"ev_3Meu9AtRAaZ9pQp2ShTwd7WMLMP""#.len()];
        assert!(arrived.keys().any(|record| record.starts_with(id)), "{id} did not arrive");
    }
    assert_eq!(arrived.len(), 20);
    let ledger = http::get(daemon.api, "/ledger").json();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    let of = |id: &str| {
        let all = ledger["destinations"].as_array().unwrap();
        all.iter().find(|it| it["id"].as_str().unwrap().starts_with(id)).unwrap().clone()
    };
    let (stream, made) = (of("stream"), of("ed_"));
    assert_eq!((&stream["accepted"], &stream["delivered"]), (&20.into(), &20.into()));
    assert_eq!((&made["delivered"], &made["listed"]), (&19.into(), &1.into()), "{ledger}");
    let key = format!("Bearer {API_KEY}");
    let headers = [("authorization", key.as_str()), ("ngrok-version", "2")];
    let list = http::request(daemon.api, "GET /event_subscriptions", &headers, b"").json();
    assert_eq!(list["event_subscriptions"][0]["description"], "made", "{list}");
    assert!(!daemon.log().contains("ERR_SLUICEGATE_1340"), "{}", daemon.log());
    let letters = output_of(
        &["dead-letters", "export", "-c", daemon.path("sluicegate.yaml").to_str().unwrap()],
        "",
    );
    assert!(letters.contains("/poison"), "{letters}");
}

#[test]
fn a_store_of_a_later_version_is_refused_with_the_reason_and_left_alone() {
    let folder = left_by_last_release();
    let store = folder.path().join("control.db");
    let mut bytes = std::fs::read(&store).unwrap();
    // `user_version` in the header of the file, see https://sqlite.org/fileformat.html
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&store, &bytes).unwrap();
    let settings = with_stream(folder.path(), &FakeKinesis::start(Mood::Well));
    let said = Daemon::fail_to_start(&settings);
    assert!(said.contains("has version 99, written by a later sluicegate"), "{said}");
    assert!(std::fs::read(&store).unwrap() == bytes, "the store was changed");
}
