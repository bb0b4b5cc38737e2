//! What arrives against what was sent: subscriptions, filters and fields, computed a second time by
//! the test from the same events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::generate;

/// Three subscriptions: a filter with fields, all of a type, one that excludes.
pub(crate) const SUBSCRIPTIONS: &str = r#"
subscriptions:
  - id: errors
    sources:
      - type: http_request_complete.v0
        filter: ev.http.response.status_code >= 500 || (ev.http.request.method == "post" && ev.http.request.url.path.startsWith("/api/"))
        fields: [conn.client_ip, http.request.method, http.request.url.path, http.response.status_code, oauth.user.id]
    destinations: [first]
  - id: connections
    sources: [{ type: tcp_connection_closed.v0 }]
    destinations: [second]
  - id: not-small
    sources:
      - type: http_request_complete.v0
        filter: '!(ev.http.response.body_length < 1000 || ev.http.request.url.path.startsWith("/healthz"))'
    destinations: [third]
"#;

/// Events of both traffic types.
pub(crate) fn traffic(count: usize) -> Vec<String> {
    let http = generate("http_request_complete.v0", count * 9 / 10, 11);
    let tcp = generate("tcp_connection_closed.v0", count - count * 9 / 10, 12);
    http.into_iter().chain(tcp).collect()
}

/// The value at a dotted path.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// The object cut down to fields, nested.
fn cut(object: &Value, fields: &[&str]) -> Value {
    let mut cut = json!({});
    for field in fields {
        let Some(value) = at(object, field) else { continue };
        let mut place = &mut cut;
        for name in field.split('.') {
            place = &mut place[name];
        }
        *place = value.clone();
    }
    cut
}

/// What each of the three destinations must receive, by event id.
pub(crate) struct Expected {
    pub first: BTreeSet<String>,
    pub second: BTreeSet<String>,
    pub third: BTreeSet<String>,
}

/// Computes [`SUBSCRIPTIONS`] anew, on parsed events and without any of the daemon's code.
pub(crate) fn expected(events: &[String]) -> Expected {
    let mut expected =
        Expected { first: BTreeSet::new(), second: BTreeSet::new(), third: BTreeSet::new() };
    for text in events {
        let event: Value = serde_json::from_str(text).unwrap();
        let object = &event["object"];
        if event["event_type"] == "tcp_connection_closed.v0" {
            expected.second.insert(canonical(&event));
            continue;
        }
        let path = at(object, "http.request.url.path").and_then(Value::as_str).unwrap_or("");
        let status = at(object, "http.response.status_code").and_then(Value::as_i64).unwrap_or(0);
        let length = at(object, "http.response.body_length").and_then(Value::as_i64).unwrap_or(0);
        let post = at(object, "http.request.method").is_some_and(|method| method == "post");
        if status >= 500 || (post && path.starts_with("/api/")) {
            let mut event = event.clone();
            event["object"] = cut(
                object,
                &[
                    "conn.client_ip",
                    "http.request.method",
                    "http.request.url.path",
                    "http.response.status_code",
                    "oauth.user.id",
                ],
            );
            expected.first.insert(canonical(&event));
        }
        if !(length < 1000 || path.starts_with("/healthz")) {
            expected.third.insert(canonical(&event));
        }
    }
    expected
}

fn canonical(value: &Value) -> String {
    value.to_string()
}

/// Records as they arrived, in the form of [`expected`]; fails on a record that came twice.
pub(crate) fn arrived<'r>(records: impl IntoIterator<Item = &'r str>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for record in records {
        let value: Value = serde_json::from_str(record).unwrap();
        assert!(set.insert(canonical(&value)), "came twice: {record}");
    }
    set
}

#[test]
fn what_arrives_is_what_an_independent_computation_expects() {
    let destinations = r#"
destinations:
  - { id: first, target: { file: { path: "DIR/first.ndjson" } } }
  - { id: second, target: { debug: { log: true } } }
  - { id: third, target: { file: { path: "DIR/third.ndjson" } }, batch: { max_records: 7 } }
"#;
    let daemon = Daemon::start(&format!("{destinations}{SUBSCRIPTIONS}"));
    let events = traffic(2_000);
    daemon.send(&events);
    daemon.wait_until_delivered();
    let read = |name: &str| std::fs::read_to_string(daemon.path(name)).unwrap();
    let (first, third) = (read("first.ndjson"), read("third.ndjson"));
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    let expected = expected(&events);
    let sizes = (expected.first.len(), expected.second.len(), expected.third.len());
    assert!(sizes.0 > 20 && sizes.1 > 100 && sizes.2 > 100, "too few to tell: {sizes:?}");
    assert_eq!(arrived(first.lines()), expected.first);
    assert_eq!(arrived(ended.output.lines()), expected.second);
    assert_eq!(arrived(third.lines()), expected.third);
}

#[test]
fn a_filter_that_ends_in_an_error_does_not_match_and_is_counted() {
    let daemon = Daemon::start(
        r#"
destinations: [{ id: out, target: { debug: { log: true } } }]
subscriptions:
  - id: by-header
    sources:
      - type: http_request_complete.v0
        filter: ev.http.request.headers["X-Tenant"][0] == "a"
    destinations: [out]
"#,
    );
    for object in [
        r#"{"http":{"request":{"headers":{"X-Tenant":["a"]}}}}"#,
        r#"{"http":{"request":{"headers":{"X-Tenant":["b"]}}}}"#,
        r#"{"http":{"request":{"headers":{}}}}"#,
        r#"{"http":{"request":{"headers":"none"}}}"#,
    ] {
        let event = format!(r#"{{"event_type":"http_request_complete.v0","object":{object}}}"#);
        assert_eq!(daemon.post("application/json", event).status, 200);
    }
    let status = daemon.wait_until_delivered();
    let counts = &status["subscriptions"][0];
    assert_eq!((&counts["seen"], &counts["matched"]), (&4.into(), &1.into()));
    assert_eq!(counts["filter_errors"], 2);
    assert!(counts["last_filter_error"].as_str().unwrap().contains("map"), "{counts}");
}

#[test]
fn own_event_types_can_be_sent_filtered_and_cut_down() {
    let daemon = Daemon::start(
        r#"
event_types:
  - name: order_placed.v1
    fields: { order.total: double, order.id: string, placed_at: timestamp, tags: list(string) }
destinations: [{ id: out, target: { debug: { log: true } } }]
subscriptions:
  - id: large-orders
    sources:
      - type: order_placed.v1
        filter: ev.order.total > 99.5 && "gift" in ev.tags && ev.placed_at < timestamp("2026-01-01T00:00:00Z")
        fields: [order.total]
    destinations: [out]
"#,
    );
    for total in ["99.5", "100.50"] {
        let event = format!(
            r#"{{"event_id":"{total}","event_type":"order_placed.v1","event_timestamp":"2025-09-04T10:11:14Z","object":{{"order":{{"id":"o","total":{total}}},"placed_at":"2025-09-04T10:11:13.5Z","tags":["a","gift"]}}}}"#
        );
        assert_eq!(daemon.post("application/json", event).status, 200);
    }
    daemon.wait_until_delivered();
    assert_eq!(
        daemon.stop().output,
        concat!(
            r#"{"event_id":"100.50","event_type":"order_placed.v1","event_timestamp":"2025-09-04T10:11:14Z","#,
            r#""object":{"order":{"total":100.50}}}"#,
            "\n"
        )
    );
}
