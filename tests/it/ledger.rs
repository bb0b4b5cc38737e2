//! The ledger: what was accepted for each destination is at every moment the sum of what became of
//! it, whatever dies when.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, http, output_of, sluicegate};

/// Two subscriptions share a destination, so that an event can be accepted twice for it; filters
/// turn down a part for each.
fn settings(folder: &Path, fake: &FakeKinesis) -> Settings {
    with_filters(folder, fake, ("'get'", 400))
}

fn with_filters(folder: &Path, fake: &FakeKinesis, (method, status): (&str, u32)) -> Settings {
    let reads = format!("ev.http.request.method == {method}");
    let failures = format!("ev.http.response.status_code >= {status}");
    Settings::new()
        .data_dir(folder)
        .journal_bytes("256MiB")
        .drain_limit("1s")
        .destination(Destination::kinesis("stream", fake))
        .destination(Destination::file("copy", "/dev/null"))
        .subscription(Subscription::new("reads", &["stream", "copy"]).filter(&reads))
        .subscription(Subscription::new("failures", &["stream"]).filter(&failures))
}

const COUNTS: [&str; 5] = ["filtered_out", "delivered", "dead_lettered", "dropped", "pending"];

fn count(entry: &Value, key: &str) -> u64 {
    entry[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {entry}"))
}

fn demand_balance(ledger: &Value) {
    assert_eq!(ledger["balanced"], true, "{ledger}");
    for entry in ledger["destinations"].as_array().unwrap() {
        let known: u64 = COUNTS.iter().map(|key| count(entry, key)).sum();
        assert_eq!(count(entry, "accepted"), known, "{entry}");
    }
}

fn read(daemon: &Daemon) -> Value {
    let ledger = http::get(daemon.api, "/ledger").json();
    demand_balance(&ledger);
    ledger
}

fn entry<'l>(ledger: &'l Value, id: &str) -> &'l Value {
    let all = ledger["destinations"].as_array().unwrap();
    all.iter().find(|it| it["id"] == id).unwrap_or(&Value::Null)
}

#[test]
fn the_ledger_adds_up_at_any_moment_and_is_exact_after_every_kill() {
    const BODY: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Well);
    let settings = settings(folder.path(), &fake);
    let events = generate("http_request_complete.v0", 40_000, 51);
    let mut bodies = events.chunks(BODY);
    // Least and most that can have been accepted: a body may be kept although its sender never knew.
    let (mut least, mut most) = (0, 0);
    for kill in 0..8 {
        fake.set([Mood::Well, Mood::Throttling, Mood::Failing, Mood::CuttingAfter][kill % 4]);
        let daemon = Daemon::start(&settings);
        let accepted = count(entry(&read(&daemon), "copy"), "accepted") as usize;
        assert!((least..=most).contains(&accepted), "{accepted} of {least} to {most}");
        (least, most) = (accepted, accepted);
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut taken = 0;
                for body in bodies.by_ref() {
                    if !http::try_post(daemon.ingest, &body.join("\n")) {
                        assert!(killed.load(Ordering::Acquire), "refused");
                        break;
                    }
                    taken += BODY;
                }
                taken
            });
            let mut moments = 0;
            while moments < 40 + 7 * kill {
                demand_balance(&http::get(daemon.api, "/ledger").json());
                moments += 1;
            }
            killed.store(true, Ordering::Release);
            daemon.signal("KILL");
            let taken = sending.join().unwrap();
            least += taken;
            most += taken + BODY;
        });
        daemon.wait();
        let said = folder.path().join("settings.yaml");
        std::fs::write(&said, settings.to_string()).unwrap();
        let arguments = ["ledger", "-o", "json", "-c", said.to_str().unwrap()];
        demand_balance(&serde_json::from_str(&output_of(&arguments, "")).unwrap());
    }
    fake.set(Mood::Well);
    let daemon = Daemon::start(&settings);
    let status = daemon.wait_until_delivered();
    let ledger = read(&daemon);
    assert!(count(entry(&ledger, "stream"), "filtered_out") > 100, "{ledger}");
    // Each event is accepted twice for one and once for the other. A kill in the middle of a write may keep
    // records of a body without the tally behind them: its sender had no answer, and sends it again.
    let difference = count(entry(&ledger, "stream"), "accepted")
        .abs_diff(2 * count(entry(&ledger, "copy"), "accepted"));
    assert!(difference <= 8 * 2 * BODY as u64, "{ledger}");
    assert_eq!(status["destinations"][1]["accepted"], entry(&ledger, "copy")["accepted"]);
    let metrics = http::get(daemon.api, "/metrics").body;
    for line in [
        "sluicegate_ledger_imbalance{destination=\"stream\"} 0".to_owned(),
        format!(
            "sluicegate_destination_accepted_events_total{{destination=\"copy\"}} {}",
            count(entry(&ledger, "copy"), "accepted")
        ),
        "sluicegate_journal_damaged_total 0".to_owned(),
        "sluicegate_journal_error 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "no `{line}` in\n{metrics}");
    }
}

#[test]
fn events_that_match_nothing_are_in_the_ledger_too_and_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Well);
    let settings = with_filters(folder.path(), &fake, ("'no'", 1_000));
    let daemon = Daemon::start(&settings);
    daemon.send(&generate("http_request_complete.v0", 700, 52));
    let totals = |daemon: &Daemon| {
        let ledger = read(daemon);
        let copy = entry(&ledger, "copy");
        (count(copy, "accepted"), count(copy, "filtered_out"), count(copy, "delivered"))
    };
    assert_eq!(totals(&daemon), (700, 700, 0));
    daemon.stop();
    assert_eq!(totals(&Daemon::start(&settings)), (700, 700, 0));
}

#[test]
fn the_command_tells_the_ledger_beside_a_daemon_and_without_one_and_fails_if_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(folder.path(), &fake);
    let daemon = Daemon::start(&settings);
    daemon.send(&generate("http_request_complete.v0", 300, 53));
    let file = folder.path().join("settings.yaml");
    let there = settings.clone().api_listen(daemon.api).to_string();
    std::fs::write(&file, there).unwrap();
    let file = file.to_str().unwrap();
    let beside = output_of(&["ledger", "-c", file], "");
    assert!(beside.starts_with("destination  ") && beside.lines().count() == 3, "{beside}");
    let ledger: Value =
        serde_json::from_str(&output_of(&["ledger", "-c", file, "-o", "json"], "")).unwrap();
    assert_eq!(entry(&ledger, "stream")["accepted"], 600);
    let api = format!("http://{}", daemon.api);
    output_of(&["ledger", "--api", &api], "");
    daemon.signal("KILL");
    daemon.wait();
    let alone: Value =
        serde_json::from_str(&output_of(&["ledger", "-c", file, "-o", "json"], "")).unwrap();
    assert_eq!(entry(&alone, "stream"), entry(&ledger, "stream"));
    // Somebody adds to the count of what was accepted.
    let cursors = folder.path().join("journal/cursors");
    Daemon::start(&settings).stop();
    let text = std::fs::read_to_string(&cursors).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap();
    let at = body["cursors"].as_array().unwrap().iter().position(|it| it["id"] == "copy").unwrap();
    body["cursors"][at]["accepted"] = 303.into();
    let body = body.to_string();
    let title = format!("sluicegate cursors 1 {:08x}", crc32c::crc32c(body.as_bytes()));
    std::fs::write(&cursors, format!("{title}\n{body}\n")).unwrap();
    let output = sluicegate(&["ledger", "-c", file], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`copy`: 3 accepted events are unaccounted for"), "{said}");
}
