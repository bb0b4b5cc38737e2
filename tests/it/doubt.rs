//! Delivery to receivers that cannot take what they are sent: too large, one event that breaks them,
//! everything refused, too often. Nothing is lost, and nothing good waits for something bad.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::scripted::{Reply, Scripted};
use crate::support::{generate, output_of, sluicegate};

fn settings(receiver: &Scripted, more: &str) -> String {
    format!(
        r#"
destinations:
  - id: hook
    target: {{ debug: {{ callback_url: "http://{}/" }} }}
    batch: {{ linger: 10ms, max_records: 100 }}
    {more}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [hook] }}
"#,
        receiver.address
    )
}

fn events(count: usize, seed: u64) -> Vec<String> {
    generate("http_request_complete.v0", count, seed)
}

fn sorted(mut events: Vec<String>) -> Vec<String> {
    events.sort();
    events
}

fn event_id(event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

fn hook(status: &Value) -> &Value {
    &status["destinations"][0]
}

#[test]
fn a_receiver_that_is_too_slow_for_large_requests_gets_smaller_ones() {
    let too_large = |lines: &[String]| lines.len() > 9;
    let receiver = Scripted::start(move |lines| match too_large(lines) {
        true => Reply::Nothing,
        false => Reply::Status(200),
    });
    let daemon = Daemon::start(&settings(&receiver, "timeout: 500ms"));
    let events = events(300, 1);
    daemon.send(&events);
    let status = daemon.wait_until_delivered();
    assert_eq!(receiver.taken(), sorted(events));
    let hopeless = receiver.requests().iter().filter(|lines| too_large(lines)).count();
    assert!(hopeless < 20, "{hopeless} requests were too large");
    let said = hook(&status)["last_error"].as_str().unwrap();
    assert!(said.contains("no answer"), "{said}");
}

#[test]
fn a_connection_that_breaks_under_large_requests_is_given_smaller_ones() {
    let receiver = Scripted::start(|lines| match lines.len() {
        0..=20 => Reply::Status(200),
        _ => Reply::Cut,
    });
    let daemon = Daemon::start(&settings(&receiver, ""));
    let events = events(300, 2);
    daemon.send(&events);
    daemon.wait_until_delivered();
    assert_eq!(receiver.taken(), sorted(events));
}

#[test]
fn one_event_that_breaks_the_receiver_is_set_aside_and_can_be_given_up() {
    let good = events(200, 3);
    let bad = good[37].clone();
    let breaks = bad.clone();
    let receiver = Scripted::start(move |lines| match lines.contains(&breaks) {
        true => Reply::Status(500),
        false => Reply::Status(200),
    });
    let daemon = Daemon::start(&settings(&receiver, ""));
    let mut expected = good.clone();
    expected.remove(37);
    daemon.send(&good[..100]);
    daemon.wait_for("all others delivered", |status| hook(status)["delivered"] == 99);
    daemon.send(&good[100..]);
    let status = daemon.wait_for("set aside", |status| {
        hook(status)["delivered"] == 199 && hook(status)["set_aside"][0].is_object()
    });
    assert_eq!(receiver.taken(), sorted(expected));
    let id = event_id(&bad);
    let set_aside = &hook(&status)["set_aside"][0];
    assert_eq!(set_aside["event_id"], id.as_str());
    assert!(set_aside["last_answer"].as_str().unwrap().contains("500"), "{set_aside}");
    assert_eq!(hook(&status)["pending_records"], 1);
    let metrics = http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains(r#"set_aside_records{destination="hook"} 1"#), "{metrics}");

    // Through the API, by the command; a key is needed, and a second time there is none.
    let address = format!("http://{}", daemon.api);
    let file = daemon.path("sluicegate.yaml");
    let key_file = daemon.path("key");
    let key = output_of(&["api-key", "create", "-c", file.to_str().unwrap()], "");
    let bury = ["dead-letters", "bury", "--destination", "hook", "--event-id", &id];
    let at = ["--api", &address];
    let refused = sluicegate(&[&bury[..], &at].concat(), "");
    assert_eq!(refused.status.code(), Some(1), "without a key");
    std::fs::write(&key_file, key).unwrap();
    let open = [&bury[..], &at, &["--key-file", key_file.to_str().unwrap()]].concat();
    assert_eq!(output_of(&open, ""), "1 record became a dead letter\n");
    let status = daemon.wait_until_delivered();
    assert_eq!(hook(&status)["dead_lettered"], 1);
    assert_eq!(hook(&status)["state"], "healthy");
    assert_eq!(hook(&status)["set_aside"], json!([]));
    let again = sluicegate(&open, "");
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("404") && said.contains("ERR_SLUICEGATE_1311"), "{said}");
    let list = ["dead-letters", "list", "-c", file.to_str().unwrap(), "-o", "json"];
    let letters: Value = serde_json::from_str(&output_of(&list, "")).unwrap();
    assert_eq!(letters[0]["event_id"], id.as_str());
    assert!(letters[0]["reason"].as_str().unwrap().contains("500"), "{letters}");
}

#[test]
fn a_receiver_that_refuses_everything_is_paused_and_nothing_becomes_a_dead_letter() {
    let receiver = Scripted::start(|_| Reply::Status(400));
    let daemon = Daemon::start(&settings(&receiver, ""));
    let events = events(200, 4);
    daemon.send(&events);
    let status = daemon.wait_for("paused", |status| hook(status)["state"] == "paused");
    let said = hook(&status)["last_error"].as_str().unwrap();
    assert!(said.contains("20 records in a row") && said.contains("400"), "{said}");
    assert_eq!(hook(&status)["dead_lettered"], 0);
    assert_eq!(hook(&status)["pending_records"], 200);
    daemon.wait_for_log("paused: the service refuses");
    receiver.set(|_| Reply::Status(200));
    let status = daemon.wait_until_delivered();
    assert_eq!(receiver.taken(), sorted(events));
    assert_eq!(
        (&hook(&status)["delivered"], &hook(&status)["state"]),
        (&200.into(), &"healthy".into())
    );
}

#[test]
fn retry_after_is_obeyed_shown_and_ended_by_new_settings() {
    let receiver = Scripted::start(|_| Reply::RetryAfter(503, 1_800));
    let daemon = Daemon::start(&settings(&receiver, ""));
    let events = events(150, 5);
    daemon.send(&events[..100]);
    let status = daemon.wait_for("held", |status| !hook(status)["retry_at"].is_null());
    let retry_at = hook(&status)["retry_at"].as_str().unwrap();
    assert!(retry_at.starts_with("20") && retry_at.ends_with('Z'), "{retry_at}");
    receiver.set(|_| Reply::Status(200));
    daemon.send(&events[100..]);
    daemon.wait_for("all there", |status| hook(status)["pending_records"] == 150);
    assert_eq!(receiver.requests().len(), 1, "nothing is sent before the time is over");
    daemon.reload(&settings(&receiver, "timeout: 9s"));
    let status = daemon.wait_until_delivered();
    assert_eq!(receiver.taken(), sorted(events));
    assert_eq!(hook(&status)["retry_at"], Value::Null);
}

#[test]
fn a_drain_does_not_wait_for_what_a_service_asked() {
    let receiver = Scripted::start(|_| Reply::RetryAfter(503, 1_800));
    let daemon = Daemon::start(&settings(&receiver, ""));
    let events = events(10, 6);
    daemon.send(&events);
    daemon.wait_for("held", |status| !hook(status)["retry_at"].is_null());
    receiver.set(|_| Reply::Status(200));
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert_eq!(receiver.taken(), sorted(events));
}
