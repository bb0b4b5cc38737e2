//! Places and bytes: connections that only hold their place, and bodies that only hold memory.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::http::request;
use crate::support::tls::Certificates;

/// Places of each listener in these tests.
const PLACES: usize = 8;

const DESTINATION: &str = "
destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [kept] }]
";

fn crowded(more: &str) -> Daemon {
    Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0', max_connections: {PLACES}{more} }} }}
api: {{ listen: '127.0.0.1:0', max_connections: {PLACES}{more} }}
{DESTINATION}"
    ))
}

const EVENT: &str = r#"{"event_type":"http_request_complete.v0","object":{}}"#;

/// Connections that have sent this and read nothing.
pub(super) fn silent(address: SocketAddr, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(said).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

pub(super) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn cut(daemon: &Daemon, reason: &str) -> u64 {
    let metrics = request(daemon.api, "GET /metrics", &[], b"").body;
    let name = format!("sluicegate_connections_cut_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

#[test]
fn half_heads_and_idle_connections_keep_no_place_from_others() {
    let daemon = crowded("");
    for said in [&b"GET /healthz HTTP/1.1\r\nhost: "[..], b""] {
        let held = [daemon.api, daemon.ingest].map(|it| silent(it, 3 * PLACES, said));
        assert_eq!(request(daemon.api, "GET /healthz", &[], b"").status, 200);
        assert_eq!(daemon.post("application/json", EVENT).status, 200);
        drop(held);
    }
    assert!(cut(&daemon, "place") > 0);
}

#[test]
fn probes_are_answered_while_every_connection_of_the_api_is_busy() {
    let daemon = crowded("");
    let key = Client::new(&daemon).key;
    let head = format!(
        "POST /filters/try HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nngrok-version: 2\r\n\
         content-type: application/json\r\ncontent-length: 900000\r\n\r\n{{"
    );
    let _busy = silent(daemon.api, PLACES, head.as_bytes());
    // Some of them are still coming in: whoever waits for a request would give way.
    patiently("no place is left", || request(daemon.api, "GET /status", &[], b"").status == 503);
    let refused = request(daemon.api, "GET /event_subscriptions", &[], b"");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1370");
    let guests = silent(daemon.api, 3 * 16, b"GET /healthz HTTP/1.1\r\nhost: ");
    for probe in ["GET /healthz", "GET /readyz"] {
        let answer = request(daemon.api, probe, &[], b"");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    drop(guests);
    assert_eq!(daemon.post("application/json", EVENT).status, 200, "ingest has places of its own");
}

#[test]
fn a_half_head_is_given_up_after_its_time_and_an_idle_connection_after_its_own() {
    let daemon = crowded(", head_timeout: 1s, idle_timeout: 2s");
    let mut half = silent(daemon.ingest, 1, b"POST /v1/events HTTP/1.1\r\n").remove(0);
    let mut idle = silent(daemon.ingest, 1, b"").remove(0);
    for stream in [&mut half, &mut idle] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
    assert_eq!((cut(&daemon, "head"), cut(&daemon, "idle")), (1, 1));
}

#[test]
fn syslog_connections_that_only_hold_their_place_give_way_and_half_messages_end() {
    let daemon = Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0' }}, syslog: {{ listen: '127.0.0.1:0', format: apache }} }}
{DESTINATION}"
    ));
    let log = daemon.log();
    let line = log.lines().find(|it| it.contains("syslog is listened for")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let _idle = silent(address, 300, b"");
    // After them, so that it gives way to none, however late its bytes are read.
    let mut half = silent(address, 1, b"<134>half").remove(0);
    let line = b"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1\n";
    let _sender = silent(address, 1, line);
    patiently("it is kept", || daemon.destination("kept")["delivered"] == 1);
    assert!(cut(&daemon, "place") >= 45);
    half.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(half.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(cut(&daemon, "head"), 1);
}

#[test]
fn syslog_connections_in_the_middle_of_a_handshake_give_way_like_others() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0' }}, syslog: {{ listen: '127.0.0.1:0', format: apache,
  tls: {{ certificate: {}, key: {} }} }} }}
{DESTINATION}",
        certificates.path("server.pem").display(),
        certificates.path("server.key").display()
    ));
    let log = daemon.log();
    let line = log.lines().find(|it| it.contains("syslog is listened for")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let _half = silent(address, 500, b"\x16\x03\x01");
    patiently("they give way", || {
        let connections = &daemon.status()["ingest"]["syslog"]["connections"];
        cut(&daemon, "place") >= 244 && *connections == 256
    });
    assert_eq!(cut(&daemon, "handshake"), 0, "long before their time is over");
}

#[test]
fn clients_that_pipeline_and_never_read_lose_their_places() {
    let daemon = crowded(", write_timeout: 1s");
    let requests = "GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let held: Vec<_> = (0..PLACES)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.ingest).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
            // Until the answers fill both sides' buffers and the daemon reads no more, or cuts it off.
            let mut written = 0;
            while written < 200 && stream.write_all(requests.as_bytes()).is_ok() {
                written += 1;
            }
            stream
        })
        .collect();
    assert_eq!(daemon.post("application/json", EVENT).status, 200);
    patiently("all are cut off", || cut(&daemon, "write") >= PLACES as u64);
    drop(held);
}

#[test]
fn bodies_that_are_announced_and_do_not_come_delay_nobody() {
    let daemon = crowded("");
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
                content-encoding: gzip\r\ncontent-length: 16000000\r\n\r\n";
    let held = silent(daemon.ingest, PLACES - 1, head.as_bytes());
    assert_eq!(daemon.post("application/json", EVENT).status, 200);
    assert!(daemon.memory("VmHWM").is_none_or(|kib| kib < 200 << 10));
    drop(held);
}

#[test]
fn bodies_hold_no_more_memory_than_they_may_and_small_ones_come_in_beside_them() {
    let daemon =
        Daemon::start(&format!("ingest: {{ http: {{ listen: '127.0.0.1:0' }} }}\n{DESTINATION}"));
    let length = 15_000_000;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {length}\r\n\r\n"
    );
    // All but the last byte.
    let spaces = vec![b' '; length - 1];
    let held: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.ingest).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // Refused ones are cut off in the middle.
            let _refused = stream.write_all(&spaces);
            stream
        })
        .collect();
    assert_eq!(daemon.post("application/json", EVENT).status, 200);
    let refused = &daemon.status()["ingest"]["refused"]["ERR_SLUICEGATE_1120"];
    assert!(refused.as_u64().is_some_and(|count| (20..40).contains(&count)), "{refused}");
    assert!(daemon.memory("VmHWM").is_none_or(|kib| kib < 512 << 10));
    drop(held);
    patiently("the memory is free again", || {
        daemon.post("application/x-ndjson", " ".repeat(length)).status == 400
    });
}

#[test]
fn small_bodies_that_decompress_to_large_ones_hold_no_more_memory_than_they_may() {
    let daemon = Daemon::start(DESTINATION);
    let honest = format!("{EVENT}\n");
    let padded = format!("{}{}\n", EVENT, " ".repeat(1_000));
    for line in [honest, padded] {
        let body = gzip(&line.repeat(60_000_000 / line.len()));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let headers =
                        [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
                    let answer = daemon.post_with(&headers, &body);
                    assert!([200, 413, 429, 503].contains(&answer.status), "{answer:?}");
                });
            }
        });
    }
    assert!(daemon.memory("VmHWM").is_none_or(|kib| kib < 512 << 10));
}

#[test]
fn a_small_body_of_nothing_but_mistakes_gets_a_small_answer() {
    let daemon = Daemon::start(DESTINATION);
    let body = gzip(&"x\n".repeat(100_000));
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
    let answer = daemon.post_with(&headers, &body);
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 512 << 10, "{} bytes", answer.body.len());
    let said = answer.json();
    let listed = said["rejected"].as_array().unwrap().len() as u64;
    let unlisted = said["rejected_unlisted"]["ERR_SLUICEGATE_1001"].as_u64().unwrap();
    assert!(listed > 100);
    assert_eq!(listed + unlisted, 100_000);
}

#[test]
fn a_body_whose_records_would_never_fit_is_refused_for_good_and_nothing_of_it_is_kept() {
    let daemon = Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0', max_memory: 32MiB }} }}\n{DESTINATION}"
    ));
    let filler = "x".repeat(900_000);
    let event =
        format!(r#"{{"event_type":"http_request_complete.v0","object":{{"more":"{filler}"}}}}"#);
    let body = [event.as_str(); 15].join("\n");
    let answer = daemon.post("application/x-ndjson", body);
    assert_eq!((answer.status, &answer.json()["error_code"]), (413, &"ERR_SLUICEGATE_1121".into()));
    assert_eq!(daemon.status()["ingest"]["accepted"], 0);
    assert_eq!(daemon.post("application/x-ndjson", &event).status, 200);
}
