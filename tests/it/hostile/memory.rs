//! Memory: what resources take, and that all of the daemon stays within the bound that `check` states.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::http::Answer;

const UNLIMITED: &str = "api: { listen: '127.0.0.1:0', rate_limit: { requests: 1000000 } }\n";

fn code(answer: &Answer) -> String {
    answer.json()["error_code"].as_str().unwrap_or_default().to_owned()
}

/// A subscription with filters of so many bytes for each of so many types.
fn with_filters(types: usize, bytes: usize) -> Value {
    let catalog = sluicegate::event::Catalog::builtin();
    let filter = format!("'{}' == ''", "x".repeat(bytes - 8));
    let sources = catalog.iter().take(types);
    let sources: Vec<Value> =
        sources.map(|it| json!({"type": it.name, "filter": filter})).collect();
    json!({"sources": sources, "destination_ids": []})
}

#[test]
fn what_the_api_makes_ends_where_its_memory_ends_and_goes_on_when_some_is_deleted() {
    let daemon = Daemon::start(&format!("{UNLIMITED}control: {{ max_memory: 3MiB }}\n"));
    let client = Client::new(&daemon);
    let large = with_filters(8, 8 << 10);
    let first = client.must("POST /event_subscriptions", &large)["id"].clone();
    let refused = (0..10)
        .map(|_| client.ask("POST /event_subscriptions", &large))
        .find(|answer| answer.status != 201)
        .expect("2 MiB fit once into 3 MiB, and not eleven times");
    assert_eq!((refused.status, code(&refused).as_str()), (400, "ERR_SLUICEGATE_1360"));
    // Other kinds count too, and what makes less of it is never refused.
    let metadata = json!({"metadata": "m".repeat(4_000)});
    let rows = (0..300).map(|_| client.ask("POST /ip_policies", &metadata).status);
    assert!(rows.filter(|status| *status == 400).count() > 0);
    let id = first.as_str().unwrap();
    client.must(&format!("PATCH /event_subscriptions/{id}"), &json!({"sources": []}));
    client.must("POST /event_subscriptions", &with_filters(1, 1_000));
}

#[test]
fn the_filters_of_one_subscription_have_an_end_together() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    client.must("POST /event_subscriptions", &with_filters(16, 16 << 10));
    let refused = client.ask("POST /event_subscriptions", &with_filters(17, 16 << 10));
    assert_eq!((refused.status, code(&refused).as_str()), (400, "ERR_SLUICEGATE_1361"));
}

#[test]
fn answers_that_nobody_takes_hold_no_more_memory_than_they_may() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    // What shows as six bytes each in an answer.
    let text = "\u{7}".repeat(4_000);
    for _ in 0..30 {
        let (type_name, filter) = ("http_request_complete.v0", format!("'{text}' == ''"));
        let source = json!({"type": type_name, "filter": filter});
        client.must(
            "POST /event_subscriptions",
            &json!({"sources": [source], "destination_ids": []}),
        );
    }
    let page = client.must("GET /event_subscriptions", &Value::Null);
    assert!(page["next_page_uri"].is_null(), "half a megabyte is one page");
    let long_host = format!("{}.example", "h".repeat(20_000));
    let head = format!(
        "GET /event_subscriptions HTTP/1.1\r\nhost: {long_host}\r\nauthorization: Bearer {}\r\nngrok-version: 2\r\n\r\n",
        client.key
    );
    let unread: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.api).unwrap();
            // Again and again: the system takes some megabytes of answers that nobody reads.
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            let _full = stream.write_all(head.repeat(30).as_bytes());
            stream
        })
        .collect();
    let refused = || daemon.status()["api"]["refused"]["ERR_SLUICEGATE_1371"].as_u64();
    patiently("some are refused", || refused().is_some_and(|count| count > 0));
    assert!(daemon.memory("VmHWM").is_none_or(|kib| kib < 200 << 10));
    // Small ones have room beside them.
    client.must("GET /api_keys", &Value::Null);
    drop(unread);
    patiently("the memory is free again", || {
        client.ask("GET /event_subscriptions", &Value::Null).status == 200
    });
}

#[test]
fn a_page_of_large_resources_ends_early_and_the_next_ones_have_the_rest() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    for _ in 0..7 {
        client.must("POST /event_subscriptions", &with_filters(16, 16 << 10));
    }
    let mut path = "/event_subscriptions?limit=100".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = client.must(&format!("GET {path}"), &Value::Null);
        pages.push(page["event_subscriptions"].as_array().unwrap().len());
        let Some(next) = page["next_page_uri"].as_str() else { break };
        path = next.split_once(&daemon.api.to_string()).unwrap().1.to_owned();
    }
    assert_eq!(pages, [4, 3]);
}

#[test]
fn destinations_that_are_made_and_deleted_again_and_again_come_to_an_end() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    // Nobody listens there.
    let target = json!({"debug": {"callback_url": "http://127.0.0.1:9/"}});
    let body = json!({"format": "json", "target": target});
    let refused = (0..150).find_map(|_| {
        let answer = client.ask("POST /event_destinations", &body);
        if answer.status != 201 {
            return Some((answer.status, code(&answer)));
        }
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let source = json!({"type": "http_request_complete.v0"});
        let subscription = json!({"sources": [source], "destination_ids": [id]});
        let subscription = client.must("POST /event_subscriptions", &subscription);
        daemon.send(&[r#"{"event_type":"http_request_complete.v0","object":{}}"#.to_owned()]);
        let made = subscription["id"].as_str().unwrap();
        client.must(&format!("DELETE /event_subscriptions/{made}"), &Value::Null);
        client.must(&format!("DELETE /event_destinations/{id}"), &Value::Null);
        None
    });
    assert_eq!(refused, Some((400, "ERR_SLUICEGATE_1372".to_owned())));
}

#[test]
fn bodies_of_all_sizes_leave_nothing_behind_however_often_they_come() {
    let daemon = Daemon::start(UNLIMITED);
    let line = format!("{{\"event_type\":\"x\"}}{}\n", " ".repeat(1_000));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for sender in 0..30 {
                let (daemon, line) = (&daemon, &line);
                scope.spawn(move || {
                    let Ok(mut stream) = TcpStream::connect(daemon.ingest) else { return };
                    let body = line.repeat(3_000 + 400 * sender);
                    let head = format!(
                        "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // Some are refused, and cut off in the middle.
                    let _refused = stream.write_all((head + &body).as_bytes());
                    let _cut = stream.read_to_end(&mut Vec::new());
                });
            }
        });
    }
    assert_eq!(daemon.post("application/json", "{}").status, 400);
    let left = daemon.memory("VmRSS");
    assert!(left.is_none_or(|kib| kib < 200 << 10), "{left:?} KiB");
}
