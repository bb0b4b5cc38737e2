//! The target `splunk_hec`, with a collector of our own making: what arrives, and what becomes of each answer.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{generate, output_of};

const HTTP: &str = "http_request_complete.v0";

fn settings(url: &str) -> String {
    format!(
        r#"
destinations:
  - id: hec
    target: {{ splunk_hec: {{ url: "{url}", token: s3cret, index: edge, host: gate }} }}
    batch: {{ linger: 20ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [hec] }}
"#
    )
}

fn taken() -> Reply {
    Reply::new(200, "", r#"{"text":"Success","code":0}"#)
}

fn events(request: &Request) -> Vec<Value> {
    let events = serde_json::Deserializer::from_str(&request.body).into_iter();
    events.map(Result::unwrap).collect()
}

#[test]
fn each_event_has_its_time_and_what_the_settings_say() {
    let collector = FakeService::start(|_| taken());
    let daemon = Daemon::start(&settings(&collector.url()));
    let sent = generate(HTTP, 2_500, 1);
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let mut got = Vec::new();
    for request in collector.requests() {
        assert_eq!(request.line, "POST /services/collector/event HTTP/1.1");
        assert_eq!(request.header("authorization"), Some("Splunk s3cret"));
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert!(request.body.len() <= 1_000_000);
        got.extend(events(&request));
    }
    for event in &got {
        assert_eq!((&event["index"], &event["host"]), (&json!("edge"), &json!("gate")));
        assert!(event["time"].as_f64() > Some(1.7e9), "{event}");
    }
    let by_id = |all: &mut Vec<Value>| all.sort_by_key(|it| it["event_id"].to_string());
    let mut got: Vec<Value> = got.iter().map(|it| it["event"].clone()).collect();
    let mut expected: Vec<Value> =
        sent.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    by_id(&mut got);
    by_id(&mut expected);
    assert!(got == expected, "events are not what was sent");
}

#[test]
fn what_somebody_has_to_mend_pauses_and_a_strangers_success_delivers_nothing() {
    for (status, body, state, words) in [
        (403, r#"{"text":"Invalid token","code":4}"#, "paused", "correct `token`"),
        (400, r#"{"text":"Incorrect index","code":7}"#, "paused", "correct `index`"),
        (400, r#"{"text":"Data channel is missing","code":10}"#, "paused", "acknowledgement off"),
        (404, "", "paused", "correct `url`"),
        (200, "<html>", "retrying", "a proxy or another service?"),
        (503, r#"{"text":"Server is busy","code":9}"#, "retrying", "busy"),
    ] {
        let collector = FakeService::start(move |_| Reply::new(status, "", body));
        let daemon = Daemon::start(&settings(&collector.url()));
        daemon.send(&generate(HTTP, 1, 1));
        daemon.wait_for("a failure", |_| daemon.destination("hec")["state"] == state);
        let of_it = daemon.destination("hec");
        let said = of_it["last_error"].to_string();
        assert!(said.contains(words) && !said.contains("s3cret"), "{status}: {said}");
        assert_eq!(of_it["delivered"], 0, "{status}");
    }
}

#[test]
fn an_event_that_it_refuses_is_found_by_halves() {
    let collector = FakeService::start(|it| match it.body.contains("ev_bad") {
        true => Reply::new(400, "", r#"{"text":"Invalid data format","code":6}"#),
        false => taken(),
    });
    let daemon = Daemon::start(&settings(&collector.url()));
    let mut sent = generate(HTTP, 100, 1);
    let bad: Value = serde_json::from_str(&sent[40]).unwrap();
    sent[40] = sent[40].replace(bad["event_id"].as_str().unwrap(), "ev_bad");
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let of_it = daemon.destination("hec");
    assert_eq!((&of_it["delivered"], &of_it["dead_lettered"]), (&json!(99), &json!(1)));
}

#[test]
fn a_check_asks_for_its_health_and_a_test_event_is_sent() {
    let collector = FakeService::start(|it| match it.line.starts_with("GET ") {
        true => Reply::new(200, "", r#"{"text":"HEC is healthy","code":17}"#),
        false => taken(),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, settings(&collector.url())).unwrap();
    let file = file.to_str().unwrap();
    let said = output_of(&["check", "-c", file, "--online"], "");
    assert!(said.contains("is healthy"), "{said}");
    assert_eq!(collector.requests()[0].line, "GET /services/collector/health HTTP/1.1");
    let said = output_of(&["test-event", "-c", file, "--destination", "hec"], "");
    assert!(said.contains("answer       delivered"), "{said}");
    assert_eq!(events(&collector.requests().pop().unwrap())[0]["event"]["event_type"], "test");
}
