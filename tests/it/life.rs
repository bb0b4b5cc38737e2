//! The daemon's own life as events: what becomes of destinations, and starts and reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, patiently};
use crate::support::fake_service::{FakeService, Reply};
use crate::support::generate;

const HTTP: &str = "http_request_complete.v0";

/// The events of the daemon's own life that were delivered.
fn told(daemon: &Daemon) -> Vec<Value> {
    let text = std::fs::read_to_string(daemon.path("life.ndjson")).unwrap_or_default();
    // The last line may be under way.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn of(events: &[Value], event_type: &str) -> Vec<Value> {
    let found = events.iter().filter(|it| it["event_type"] == event_type);
    found.map(|it| it["object"].clone()).collect()
}

#[test]
fn a_destination_is_told_of_when_it_pauses_recovers_and_has_dead_letters() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let service = FakeService::start(move |request| match well.load(Ordering::SeqCst) {
        true => request.taken(),
        false => Reply::error(400, "AccessDeniedException"),
    });
    let settings = format!(
        r#"
ingest: {{ http: {{ listen: '127.0.0.1:0', max_event: 4MiB }} }}
destinations:
  - id: stream
    target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "{}" }} }}
    batch: {{ linger: 10ms }}
  - {{ id: life, target: {{ file: {{ path: DIR/life.ndjson }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [stream] }}
  - id: life
    destinations: [life]
    sources:
      - {{ type: daemon_started.v0 }}
      - {{ type: daemon_reloaded.v0 }}
      - {{ type: destination_paused.v0 }}
      - {{ type: destination_recovered.v0 }}
      - {{ type: dead_letters.v0 }}
"#,
        service.url()
    );
    let daemon = Daemon::start(&settings);
    daemon.send(&generate(HTTP, 10, 1));
    patiently("the pause is told", || !of(&told(&daemon), "destination_paused.v0").is_empty());
    is_well.store(true, Ordering::SeqCst);
    patiently("the recovery is told", || {
        !of(&told(&daemon), "destination_recovered.v0").is_empty()
    });
    // Kinesis takes at most 1 MiB a record.
    let large = json!({"event_type": HTTP, "object": {"x": "x".repeat(2 << 20)}}).to_string();
    daemon.send(std::slice::from_ref(&large));
    patiently("the dead letter is told", || !of(&told(&daemon), "dead_letters.v0").is_empty());
    daemon.send(&[large]);
    daemon.reload(&settings);
    patiently("the reload is told", || !of(&told(&daemon), "daemon_reloaded.v0").is_empty());
    daemon.wait_until_delivered();
    let events = told(&daemon);
    let one = |event_type: &str| {
        let found = of(&events, event_type);
        assert_eq!(found.len(), 1, "{events:?}");
        found[0].clone()
    };
    let paused = one("destination_paused.v0");
    assert_eq!(
        (&paused["destination_id"], &paused["target"]),
        (&json!("stream"), &json!("kinesis"))
    );
    assert!(paused["error"].as_str().unwrap().contains("AccessDenied"), "{paused}");
    assert_eq!(one("destination_recovered.v0")["destination_id"], "stream");
    let letters = one("dead_letters.v0");
    assert_eq!(
        (&letters["destination_id"], &letters["dead_letters"]),
        (&json!("stream"), &json!(1))
    );
    assert_eq!(one("daemon_started.v0")["destinations"], 2);
    assert_eq!(one("daemon_reloaded.v0")["subscriptions"], 2);
}

#[test]
fn a_destination_that_takes_such_events_is_never_told_of_itself() {
    let target = r#"{ kinesis: { stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "http://127.0.0.1:9" } }"#;
    let daemon = Daemon::start(&format!(
        "
ingest: {{ http: {{ listen: '127.0.0.1:0', max_event: 4MiB }} }}
destinations:
  - {{ id: life, target: {target}, batch: {{ linger: 10ms }} }}
  - {{ id: other, target: {target}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: life, destinations: [life], sources: [{{ type: {HTTP} }}, {{ type: dead_letters.v0 }}] }}
  - {{ id: other, destinations: [other], sources: [{{ type: tcp_connection_closed.v0 }}] }}
"
    ));
    let bury = |event_type: &str, destination: &str| {
        let large = json!({"event_type": event_type, "object": {"x": "x".repeat(2 << 20)}});
        daemon.send(&[large.to_string()]);
        patiently("it is buried", || daemon.destination(destination)["dead_lettered"] == 1);
    };
    bury(HTTP, "life");
    bury("tcp_connection_closed.v0", "other");
    // Whoever sees the second dead letter has seen the first.
    patiently("the other's is told", || daemon.destination("life")["accepted"] != 1);
    assert_eq!(daemon.destination("life")["accepted"], 2);
}
