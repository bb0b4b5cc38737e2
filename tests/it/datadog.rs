//! The target `datadog`, with an intake of our own making: what arrives, and what becomes of each answer.

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED};
use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{generate, output_of};

const HTTP: &str = "http_request_complete.v0";

fn settings(url: &str) -> String {
    format!(
        r#"
destinations:
  - id: dog
    target:
      datadog: {{ api_key: s3cret, service: "gate \"1\"", ddtags: "env:test,a:b", endpoint_url: "{url}" }}
    batch: {{ linger: 20ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [dog] }}
"#
    )
}

fn accepted() -> Reply {
    Reply::new(202, "", "{}")
}

fn items(request: &Request) -> Vec<Value> {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn each_event_is_an_item_that_datadogs_integration_knows() {
    let intake = FakeService::start(|_| accepted());
    let daemon = Daemon::start(&settings(&intake.url()));
    let sent = generate(HTTP, 2_500, 1);
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let mut got = Vec::new();
    for request in intake.requests() {
        assert_eq!(request.line, "POST /api/v2/logs HTTP/1.1");
        assert_eq!(request.header("dd-api-key"), Some("s3cret"));
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        let items = items(&request);
        assert!(items.len() <= 1_000 && request.body.len() <= 5_000_000, "{}", items.len());
        got.extend(items);
    }
    for item in &mut got {
        let members = item.as_object_mut().unwrap();
        assert_eq!(members.remove("ddsource"), Some(json!("ngrok")));
        assert_eq!(members.remove("service"), Some(json!("gate \"1\"")));
        assert_eq!(members.remove("ddtags"), Some(json!("env:test,a:b")));
    }
    let by_id = |events: &mut Vec<Value>| events.sort_by_key(|it| it["event_id"].to_string());
    let mut expected: Vec<Value> =
        sent.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    by_id(&mut got);
    by_id(&mut expected);
    assert!(got == expected, "the envelope is at the top level");
}

#[test]
fn a_wrong_key_pauses_and_a_strangers_success_delivers_nothing() {
    for (status, body, state, words) in [
        (403, r#"{"errors":[{"detail":"Forbidden"}]}"#, "paused", "correct `api_key`"),
        (200, "<html>", "retrying", "a proxy or another service?"),
        (202, "<html>", "retrying", "a proxy or another service?"),
        (429, "{}", "retrying", "429"),
        (500, "{}", "retrying", "500"),
    ] {
        let intake = FakeService::start(move |_| Reply::new(status, "", body));
        let daemon = Daemon::start(&settings(&intake.url()));
        daemon.send(&generate(HTTP, 1, 1));
        daemon.wait_for("a failure", |_| daemon.destination("dog")["state"] == state);
        let of_it = daemon.destination("dog");
        let said = of_it["last_error"].to_string();
        assert!(said.contains(words) && !said.contains("s3cret"), "{status}: {said}");
        assert_eq!(of_it["delivered"], 0, "{status}");
    }
}

#[test]
fn a_request_that_is_too_large_for_the_intake_is_halved() {
    let intake = FakeService::start(|it| match items(it).len() {
        0..=10 => accepted(),
        _ => Reply::new(413, "", "{}"),
    });
    let daemon = Daemon::start(&settings(&intake.url()));
    daemon.send(&generate(HTTP, 100, 1));
    daemon.wait_until_delivered();
    let of_it = daemon.destination("dog");
    assert_eq!((&of_it["delivered"], &of_it["dead_lettered"]), (&json!(100), &json!(0)));
}

#[test]
fn a_check_asks_whether_the_key_is_good_and_a_test_event_is_sent() {
    let intake = FakeService::start(|it| {
        if it.line.starts_with("GET /api/v1/validate ") {
            return Reply::new(200, "", r#"{"valid":true}"#);
        }
        accepted()
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, settings(&intake.url())).unwrap();
    let file = file.to_str().unwrap();
    let said = output_of(&["check", "-c", file, "--online"], "");
    assert!(said.contains("the API key is good"), "{said}");
    let said = output_of(&["test-event", "-c", file, "--destination", "dog"], "");
    assert!(said.contains("answer       delivered"), "{said}");
    let request = intake.requests().pop().unwrap();
    assert_eq!(items(&request)[0]["event_type"], "test");
}

#[test]
fn the_api_takes_it_as_ngrok_does_and_sends_the_key_only_where_it_was_given_for() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let target = |site: &str| json!({"datadog": {"api_key": "s3cret", "ddsite": site, "service": "a", "ddtags": ""}});
    let body = |site: &str| json!({"format": "json", "target": target(site)});
    let made = client.must("POST /event_destinations", &body("US5"));
    let shown = json!({"api_key": null, "ddsite": "US5", "service": "a", "ddtags": null});
    assert_eq!(made["target"]["datadog"], shown);
    let line = format!("PATCH /event_destinations/{}", made["id"].as_str().unwrap());
    client.must(&line, &json!({"target": made["target"]}));
    let mut moved = made["target"].clone();
    moved["datadog"]["ddsite"] = json!("evil.example");
    assert_eq!(client.refused(&line, &json!({"target": moved})).1, "ERR_SLUICEGATE_1325");
    assert_eq!(client.refused("POST /event_destinations", &body("US9")).1, "ERR_NGROK_5134");
}
