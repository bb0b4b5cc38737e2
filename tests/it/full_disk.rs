//! A start on a disk that takes nothing more: the daemon goes on with what it has, refuses what it
//! cannot keep, and takes all again by itself once there is room.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::small_disk::SmallDisk;
use crate::support::{generate, http};

const NO_ROOM: &str = "ERR_SLUICEGATE_1330";

fn settings(disk: &SmallDisk, fake: &FakeKinesis) -> Settings {
    Settings::new()
        .data_dir(&disk.folder)
        .drain_limit("1s")
        .destination(Destination::kinesis("stream", fake))
        .subscription(Subscription::new("all", &["stream"]))
}

fn policies(client: &Client) -> usize {
    let list = client.must("GET /ip_policies", &Value::Null);
    list["ip_policies"].as_array().unwrap().len()
}

/// Puts events and a resource into a daemon, ends it by `end`, fills the disk, and starts another, which
/// refuses changes with `code`.
fn a_start_on_a_full_disk_goes_on(end: impl Fn(Daemon), code: &str) {
    let Some(disk) = SmallDisk::mount() else { return };
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(&disk, &fake);
    let daemon = Daemon::start(&settings);
    let client = Client::new(&daemon);
    client.must("POST /ip_policies", &json!({"description": "made before"}));
    let events = generate("http_request_complete.v0", 1_100, 41);
    daemon.send(&events[..1_000]);
    let key = client.key().to_owned();
    end(daemon);
    disk.fill();

    let daemon = Daemon::start(&settings);
    assert_eq!(daemon.log().contains(NO_ROOM), code == NO_ROOM, "{}", daemon.log());
    assert_eq!(daemon.status()["store"]["error"].is_string(), code == NO_ROOM);
    let ready = http::get(daemon.api, "/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.body.contains("No space left"), "{ready:?}");
    let refused = daemon.post("application/x-ndjson", events[1_000..].join("\n"));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1106");
    let client = Client::with_key(&daemon, &key);
    assert_eq!(policies(&client), 1, "what was made is there");
    let answer = client.ask("POST /ip_policies", &json!({}));
    assert_eq!((answer.status, &answer.json()["error_code"]), (503, &json!(code)), "{answer:?}");
    assert_eq!(daemon.destination("stream")["pending_records"], 1_000);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    disk.make_room();
    patiently("takes changes", || {
        client.ask("POST /ip_policies", &json!({"description": "made after"})).status == 201
    });
    patiently("takes events", || {
        daemon.post("application/x-ndjson", events[1_000..].join("\n")).status == 200
    });
    daemon.wait_until_delivered();
    patiently("ready", || http::get(daemon.api, "/readyz").status == 200);
    let arrived: BTreeSet<_> = fake.records().into_keys().collect();
    let missing = events.iter().filter(|event| !arrived.contains(*event)).count();
    assert_eq!((missing, arrived.len()), (0, events.len()));
    assert_eq!(http::get(daemon.api, "/ledger").json()["balanced"], true);
    daemon.stop();

    let daemon = Daemon::start(&settings);
    assert_eq!(policies(&Client::with_key(&daemon, &key)), 2, "what was made after is kept");
}

#[test]
fn a_start_on_a_full_disk_after_a_kill_goes_on_with_what_is_there() {
    // SQLite's own files are there, so only writing fails.
    a_start_on_a_full_disk_goes_on(drop, "ERR_SLUICEGATE_1301");
}

#[test]
fn a_start_on_a_full_disk_after_a_stop_goes_on_with_what_is_there() {
    a_start_on_a_full_disk_goes_on(|daemon| drop(daemon.stop()), NO_ROOM);
}

#[test]
fn a_first_start_on_a_full_disk_waits_for_room_with_its_listeners_open() {
    let Some(disk) = SmallDisk::mount() else { return };
    let fake = FakeKinesis::start(Mood::Well);
    disk.fill();
    let daemon = Daemon::start(&settings(&disk, &fake));
    assert_eq!(http::get(daemon.api, "/readyz").status, 503);
    disk.make_room();
    daemon.wait_for("can be written", |status| status["store"]["error"].is_null());
    patiently("ready", || http::get(daemon.api, "/readyz").status == 200);
    let client = Client::new(&daemon);
    client.must("POST /ip_policies", &json!({}));
    daemon.send(&generate("http_request_complete.v0", 10, 42));
    daemon.wait_until_delivered();
}
