//! Deliveries while the service fails: nothing is lost, and only what failed is sent again.

use std::collections::BTreeSet;

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::{generate, output_of, sluicegate};

fn settings(fake: &FakeKinesis) -> String {
    format!(
        r#"
destinations:
  - id: faulty
    target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "http://{}" }} }}
    batch: {{ linger: 10ms }}
  - {{ id: healthy, target: {{ file: {{ path: "DIR/healthy.ndjson" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [faulty, healthy] }}
"#,
        fake.address
    )
}

fn arrived(fake: &FakeKinesis) -> BTreeSet<String> {
    fake.records().into_keys().collect()
}

fn sent(events: &[String]) -> BTreeSet<String> {
    events.iter().cloned().collect()
}

#[test]
fn records_that_failed_inside_a_200_are_sent_again_and_no_others() {
    let fake = FakeKinesis::start(Mood::Throttling);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 3_000, 21);
    daemon.send(&events);
    // Each round takes two thirds; the rest must come again until it is taken.
    daemon.wait_for("retried", |status| status["destinations"][0]["retried"].as_u64() > Some(100));
    fake.set(Mood::Well);
    let status = daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), sent(&events));
    assert!(fake.records().values().all(|times| *times == 1), "something was taken twice");
    let faulty = &status["destinations"][0];
    assert_eq!(faulty["delivered"], 3_000);
    assert!(faulty["last_error"].as_str().unwrap().contains("Rate exceeded"), "{faulty}");
    for (data, key) in fake.partition_keys() {
        assert!(data.contains(&format!("\"event_id\":\"{key}\"")), "the key is the event's id");
    }
}

#[test]
fn an_outage_of_one_destination_costs_its_neighbour_nothing_and_loses_nothing() {
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 1_000, 22);
    daemon.send(&events);
    daemon.wait_for("beside the outage", |status| {
        status["destinations"][1]["delivered"] == 1_000
            && status["destinations"][0]["state"] == "retrying"
    });
    assert_eq!(daemon.destination("faulty")["pending_records"], 1_000);
    fake.set(Mood::Well);
    let status = daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), sent(&events));
    assert_eq!(status["destinations"][0]["state"], "healthy");
}

#[test]
fn a_destination_that_hangs_for_ever_costs_its_neighbour_nothing() {
    let fake = FakeKinesis::start(Mood::Hanging);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 3_000, 26);
    for (at, events) in events.chunks(1_000).enumerate() {
        daemon.send(events);
        let sent = (at + 1) * 1_000;
        let status = daemon.wait_for("beside the one that hangs", |status| {
            status["destinations"][1]["delivered"] == sent && fake.requests() > 0
        });
        let hanging = &status["destinations"][0];
        assert_eq!((&hanging["delivered"], &hanging["pending_records"]), (&0.into(), &sent.into()));
    }
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), sent(&events));
}

/// What an outage may add to resident memory: 32 MiB of newest records, one body on its way with what
/// is made of it, what a few batches hold, and the allocator's share, which is larger beside other
/// tests; 44 to 67 MiB in all were seen.
const MEMORY_OF_AN_OUTAGE: u64 = 80 << 20;

#[test]
fn memory_does_not_grow_with_what_waits_through_an_outage() {
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 4_000, 27);
    daemon.send(&events);
    let Some(before) = daemon.memory("VmRSS") else {
        println!("skipped: this system does not tell a process's memory");
        return;
    };
    for _ in 0..39 {
        daemon.send(&events);
    }
    let status = daemon.status();
    let waiting = status["destinations"][0]["pending_bytes"].as_u64().unwrap();
    assert!(waiting > 2 * MEMORY_OF_AN_OUTAGE, "{waiting} bytes wait");
    let most = daemon.memory("VmHWM").unwrap();
    println!("{} MiB wait: {} KiB before, {most} KiB at most", waiting >> 20, before);
    assert!((most - before) << 10 < MEMORY_OF_AN_OUTAGE, "{before} KiB before, {most} KiB at most");
}

#[test]
fn a_refusal_that_a_person_must_fix_pauses_and_keeps_everything() {
    let fake = FakeKinesis::start(Mood::Denying);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 100, 23);
    daemon.send(&events);
    let status = daemon.wait_for("paused", |status| status["destinations"][0]["state"] == "paused");
    let error = status["destinations"][0]["last_error"].as_str().unwrap();
    assert!(error.contains("kinesis:PutRecords"), "{error}");
    let asked = fake.requests();
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), sent(&events));
    assert!(asked < 20, "a paused destination is not hammered: {asked} requests");
    daemon.wait_for_log("paused: the service refuses");
}

#[test]
fn an_answer_that_is_lost_leads_to_a_second_copy_and_never_to_a_loss() {
    let fake = FakeKinesis::start(Mood::CuttingAfter);
    let daemon = Daemon::start(&settings(&fake));
    let events = generate("http_request_complete.v0", 50, 24);
    daemon.send(&events);
    daemon.wait_for("cut", |status| !status["destinations"][0]["last_error"].is_null());
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), sent(&events));
    assert!(fake.records().values().any(|times| *times > 1));
}

#[test]
fn a_record_that_no_service_would_take_becomes_a_dead_letter_with_its_reason() {
    let fake = FakeKinesis::start(Mood::Well);
    let limits = "ingest: { http: { listen: '127.0.0.1:0', max_event: 4MiB } }\n";
    let daemon = Daemon::start(&format!("{limits}{}", settings(&fake)));
    let large = format!(
        r#"{{"event_id":"large","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{{"x":"{}"}}}}"#,
        "x".repeat(2 << 20)
    );
    let small = generate("http_request_complete.v0", 3, 25);
    daemon.send(std::slice::from_ref(&large));
    daemon.send(&small);
    let status = daemon.wait_until_delivered();
    let faulty = &status["destinations"][0];
    assert_eq!((&faulty["delivered"], &faulty["dead_lettered"]), (&3.into(), &1.into()));
    assert_eq!(faulty["state"], "healthy");
    let file = daemon.path("sluicegate.yaml");
    let letters = output_of(&["dead-letters", "export", "-c", file.to_str().unwrap()], "");
    let letter: serde_json::Value = serde_json::from_str(letters.trim_end()).unwrap();
    assert_eq!((&letter["destination"], &letter["event_id"]), (&"faulty".into(), &"large".into()));
    assert!(letter["reason"].as_str().unwrap().contains("kinesis takes at most"), "{letter}");
    assert!(letters.contains(&large), "the record is kept as it was");
}

#[test]
fn dead_letters_are_listed_sent_again_and_thrown_away_beside_the_daemon() {
    let fake = FakeKinesis::start(Mood::Well);
    let limits = "ingest: { http: { listen: '127.0.0.1:0', max_event: 4MiB } }\n";
    let daemon = Daemon::start(&format!("{limits}{}", settings(&fake)));
    let large = |id: &str| {
        format!(
            r#"{{"event_id":"{id}","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{{"x":"{}"}}}}"#,
            "x".repeat(2 << 20)
        )
    };
    daemon.send(&[large("one")]);
    daemon.send(&[large("two")]);
    daemon.wait_until_delivered();
    let elsewhere = daemon.path("elsewhere.yaml");
    let (data, out) = (daemon.path("data"), daemon.path("redriven.ndjson"));
    let text = format!(
        "data_dir: {}\ndestinations: [{{ id: faulty, target: {{ file: {{ path: {} }} }} }}]\n",
        data.display(),
        out.display()
    );
    std::fs::write(&elsewhere, text).unwrap();
    let run = |arguments: &[&str]| {
        let file = ["-c", elsewhere.to_str().unwrap()];
        output_of(&[&["dead-letters"], arguments, &file].concat(), "")
    };
    let list: serde_json::Value = serde_json::from_str(&run(&["list", "-o", "json"])).unwrap();
    assert_eq!((&list[0]["event_id"], &list[1]["event_id"]), (&"one".into(), &"two".into()));
    assert!(run(&["show", list[0]["id"].as_str().unwrap()]).contains("kinesis takes at most"));
    assert_eq!(run(&["list", "--reason", "no such"]), "");
    let chosen = ["redrive", "--destination", "faulty", "--newer-than", "1h"];
    let dry = run(&[&chosen[..], &["--dry-run"]].concat());
    assert_eq!(dry, "2 letters would be sent to faulty\n");
    assert_eq!(run(&chosen), "2 letters delivered to faulty\n");
    let arrived = std::fs::read_to_string(&out).unwrap();
    assert_eq!(arrived, format!("{}\n{}\n", large("one"), large("two")));
    daemon.send(&[large("three")]);
    daemon.wait_until_delivered();
    assert_eq!(
        run(&["list"]).lines().count(),
        1,
        "what was delivered is gone, what is new is there"
    );
    let refused = sluicegate(&["dead-letters", "purge", "-c", elsewhere.to_str().unwrap()], "");
    assert_eq!(refused.status.code(), Some(1), "nothing is chosen");
    assert_eq!(run(&["purge", "--all"]), "1 letter thrown away\n");
    assert_eq!(run(&["list"]), "");
}

/// What a stranger could write to forge a line, move the terminal, or reorder what is read.
const HOSTILE: &str = "ev\\n2025-09-04T10:11:14Z ERROR forged\\u001b[2J\\u009b1m\\u202e\\u2028";

#[test]
fn a_hostile_event_id_forges_no_line_of_the_list_nor_of_a_letter() {
    let fake = FakeKinesis::start(Mood::Well);
    let limits = "ingest: { http: { listen: '127.0.0.1:0', max_event: 4MiB } }\n";
    let daemon = Daemon::start(&format!("{limits}{}", settings(&fake)));
    let large = "x".repeat(2 << 20);
    daemon.send(&[format!(
        r#"{{"event_id":"{HOSTILE}","event_type":"http_request_complete.v0","object":{{"x":"{large}"}}}}"#
    )]);
    daemon.wait_until_delivered();
    let file = daemon.path("sluicegate.yaml");
    let run = |arguments: &[&str]| {
        let file = ["-c", file.to_str().unwrap()];
        output_of(&[&["dead-letters"], arguments, &file].concat(), "")
    };
    let hidden = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2028}".contains(c);
    let list = run(&["list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(
        list.contains("after 0 tries") && list.contains(r"\n2025-09-04T10:11:14Z ERROR"),
        "{list}"
    );
    let id = list.split(' ').next().unwrap();
    let shown = run(&["show", id]);
    assert_eq!(shown.lines().count(), 7);
    assert!(!list.contains(hidden) && !shown.contains(hidden));
    // Data is left as it is.
    let json: serde_json::Value = serde_json::from_str(&run(&["show", id, "-o", "json"])).unwrap();
    assert_eq!(json["event_id"], json["record"]["event_id"]);
    assert!(json["event_id"].as_str().unwrap().contains("\n2025"), "{}", json["event_id"]);
}

#[test]
fn what_is_not_there_is_a_mistake_and_no_empty_answer() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("s.yaml");
    let data = elsewhere.path().join("no-data");
    let text = format!(
        "data_dir: {}\ndestinations: [{{ id: out, target: {{ debug: {{ log: true }} }} }}]\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["dead-letters", "list"],
        &["dead-letters", "show", "dl_x"],
        &["dead-letters", "redrive", "--all"],
        &["dead-letters", "purge", "--all"],
        &["replay", "--destination", "out", "--since", "1h"],
        &["journal", "forget", "--destination", "gone"],
        &["ledger"],
    ];
    let fails = |arguments: &[&str]| {
        let output = sluicegate(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for command in commands {
        let said = fails(&[command, &["-c", file]].concat());
        assert!(said.starts_with("no journal in ") && said.contains("no-data/journal"), "{said}");
        assert!(!data.exists(), "asking makes nothing");
    }
    // A daemon has run there, but nobody knows such a destination.
    Daemon::start(&format!("data_dir: {}\n", data.display())).stop();
    for command in [
        &["dead-letters", "list", "--destination", "uot"][..],
        &["dead-letters", "list", "--destination", "uot", "-o", "json"],
        &["dead-letters", "redrive", "--destination", "uot"],
        &["dead-letters", "purge", "--destination", "uot"],
        &["replay", "--destination", "uot", "--since", "1h"],
    ] {
        let said = fails(&[command, &["-c", file]].concat());
        assert!(said.starts_with("no destination `uot` in "), "{said}");
        assert!(said.ends_with("did you mean `out`?\n"), "{said}");
    }
    for known in ["out", "(ingest.kafka)", "(ingest.stdin)"] {
        assert_eq!(
            output_of(&["dead-letters", "list", "--destination", known, "-c", file], ""),
            ""
        );
    }
}
