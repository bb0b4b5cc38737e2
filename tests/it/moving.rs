//! Folders that outlive their daemon: what waits in them is delivered by whoever adopts them.

use std::path::Path;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, output_of, sluicegate};

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
