//! The bound of memory that `check` states, held against attacks of several kinds at once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::places::{gzip, silent};
use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::output_of;

/// Destinations whose services do not take anything.
const STUCK: usize = 20;

const EVENT: &str = r#"{"event_type":"http_request_complete.v0","object":{}}"#;

/// How a service goes wrong.
#[derive(Clone, Copy)]
enum Wrong {
    /// It never answers.
    Silent,
    /// Its answer never ends.
    Endless,
}

fn service(wrong: Wrong) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut asked = vec![0; 64 << 10];
                let Ok(1..) = stream.read(&mut asked) else { return };
                if let Wrong::Endless = wrong {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\n\r\n{\"a\":\"";
                    let mut more = stream.try_clone().unwrap();
                    std::thread::spawn(move || {
                        let long = vec![b'x'; 64 << 10];
                        let mut said = more.write_all(head.as_bytes());
                        while said.is_ok() {
                            said = more.write_all(&long);
                        }
                    });
                }
                while let Ok(1..) = stream.read(&mut asked) {}
            });
        }
    });
    address
}

/// The defaults with destinations that are stuck, and one that is not.
fn settings() -> String {
    let services = [service(Wrong::Silent), service(Wrong::Endless)];
    let stuck = |at: usize| {
        json!({"id": format!("stuck-{at}"), "target": {"kinesis": {
            "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s",
            "endpoint_url": format!("http://{}", services[at % 2]),
        }}})
    };
    let mut destinations: Vec<_> = (0..STUCK).map(stuck).collect();
    destinations.push(json!({"id": "well", "target": {"file": {"path": "DIR/out.ndjson"}}}));
    let ids: Vec<_> = destinations.iter().map(|it| it["id"].clone()).collect();
    let source = json!({"type": "http_request_complete.v0"});
    let subscription = json!({"id": "all", "sources": [source], "destinations": ids});
    // Whoever may ask as often as they like holds the most answers.
    let api = json!({"listen": "127.0.0.1:0", "rate_limit": {"requests": 1_000_000}});
    format!(
        "api: {api}\ndestinations: {}\nsubscriptions: {}\n",
        json!(destinations),
        json!([subscription])
    )
}

/// What `check` states, in MiB.
fn stated(daemon: &Daemon) -> u64 {
    let path = daemon.path("sluicegate.yaml");
    let said = output_of(&["check", "-c", path.to_str().unwrap()], "");
    let (_, rest) = said.split_once("memory: at most ").unwrap();
    println!("{said}");
    rest.split_once(' ').unwrap().0.parse().unwrap()
}

/// Many megabytes of large events that all destinations want.
fn fill_the_journal(daemon: &Daemon) {
    let filler = "x".repeat(900_000);
    let event =
        format!(r#"{{"event_type":"http_request_complete.v0","object":{{"more":"{filler}"}}}}"#);
    let body = vec![event; 10].join("\n");
    for _ in 0..10 {
        assert_eq!(daemon.post("application/x-ndjson", &body).status, 200);
    }
}

/// Bodies of which the last byte never comes.
fn unfinished_bodies(daemon: &Daemon) -> Vec<TcpStream> {
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
                content-length: 15000000\r\n\r\n";
    let spaces = vec![b' '; 14_999_999];
    let send = |_| {
        let mut stream = TcpStream::connect(daemon.ingest).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // Refused ones are cut off in the middle.
        let _refused = stream.write_all(&spaces);
        stream
    };
    (0..20).map(send).collect()
}

/// Small bodies that decompress to large ones, whose answers nobody reads.
fn packed_bodies(daemon: &Daemon) -> Vec<TcpStream> {
    let body = gzip(&format!("{EVENT}{}\n", " ".repeat(1_000)).repeat(20_000));
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
         content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let send = |_| {
        let mut stream = TcpStream::connect(daemon.ingest).unwrap();
        // One too many is refused before all of it was sent.
        let _refused = stream.write_all(&[head.as_bytes(), &body].concat());
        stream
    };
    (0..20).map(send).collect()
}

/// Answers that nobody reads.
fn unread_answers(daemon: &Daemon, client: &Client) -> Vec<TcpStream> {
    // What shows as six bytes each in an answer.
    let filter = format!("'{}' == ''", "\u{7}".repeat(4_000));
    let source = json!({"type": "http_request_complete.v0", "filter": filter});
    for _ in 0..30 {
        let body = json!({"sources": [source], "destination_ids": []});
        client.must("POST /event_subscriptions", &body);
    }
    let head = format!(
        "GET /event_subscriptions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nngrok-version: 2\r\n\r\n",
        client.key
    );
    let ask = |_| {
        let mut stream = TcpStream::connect(daemon.api).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let _full = stream.write_all(head.repeat(30).as_bytes());
        stream
    };
    (0..40).map(ask).collect()
}

#[test]
fn the_memory_of_the_defaults_stays_within_what_check_states_whoever_attacks() {
    let daemon = Daemon::start(&settings());
    let most = stated(&daemon);
    assert!(most < 512, "{most} MiB");
    let client = Client::new(&daemon);
    fill_the_journal(&daemon);
    let peak = |after: &str| {
        let kib = daemon.memory("VmHWM");
        println!("{after}: {kib:?} KiB");
        assert!(kib.is_none_or(|kib| kib < most << 10), "{after}: {kib:?} KiB of {most} MiB");
    };
    peak("a full journal");
    let half_heads = silent(daemon.ingest, 900, b"POST /v1/events HTTP/1.1\r\nx: ");
    let answers = unread_answers(&daemon, &client);
    peak("unread answers");
    let packed = packed_bodies(&daemon);
    peak("packed bodies");
    let bodies = unfinished_bodies(&daemon);
    peak("unfinished bodies");
    let refused = || daemon.status()["ingest"]["refused"]["ERR_SLUICEGATE_1120"].as_u64();
    patiently("some find no room", || refused().is_some_and(|count| count > 0));
    drop((half_heads, answers, packed, bodies));
    // The healthy one has had everything, beside twenty that take nothing.
    patiently("all is delivered", || daemon.destination("well")["pending_records"] == 0);
    assert!(daemon.destination("stuck-0")["pending_records"].as_u64().unwrap() >= 100);
    peak("all");
}
