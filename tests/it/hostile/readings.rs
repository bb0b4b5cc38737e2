//! What two readers could read in two ways, and what is to be read again and again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, patiently};

const DESTINATION: &str = "
destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [kept] }]
";

const EVENT: &str = r#"{"event_type":"http_request_complete.v0","object":{}}"#;

/// What is answered until the connection ends.
fn said(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _cut = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_transfer_coding_that_nobody_undoes_is_refused_at_every_listener() {
    let daemon = Daemon::start(DESTINATION);
    let chunk = format!("{:x}\r\n{EVENT}\r\n0\r\n\r\n", EVENT.len());
    let post = |address, codings: &str| {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\n{codings}\r\n"
        );
        said(address, format!("{head}{chunk}").as_bytes())
    };
    for codings in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: , chunked\r\n",
    ] {
        for address in [daemon.ingest, daemon.api] {
            let answer = post(address, codings);
            assert!(answer.starts_with("HTTP/1.1 501 "), "{codings}: {answer}");
            assert!(answer.contains("ERR_SLUICEGATE_1116"), "{codings}: {answer}");
        }
    }
    let answer = post(daemon.ingest, "transfer-encoding: Chunked\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ingest = &daemon.status()["ingest"];
    assert_eq!(
        (&ingest["accepted"], &ingest["refused"]["ERR_SLUICEGATE_1116"]),
        (&json!(1), &json!(4))
    );
}

#[test]
fn heads_that_are_too_large_or_no_http_are_counted_at_every_listener() {
    let daemon = Daemon::start(DESTINATION);
    let lines = "a: b\r\n".repeat(101);
    for address in [daemon.ingest, daemon.api] {
        for (head, status) in [
            (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)), "431"),
            (format!("GET / HTTP/1.1\r\nhost: x\r\n{lines}\r\n"), "431"),
            ("GET / HTTP/1.1\r\nhost: x\r\nna me: y\r\n\r\n".to_owned(), "400"),
            ("\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), "400"),
        ] {
            let answer = said(address, head.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
    patiently("all are counted", || {
        ["api", "ingest"].iter().all(|at| {
            let refused = &daemon.status()[at]["refused"];
            refused["ERR_SLUICEGATE_1117"] == 2 && refused["ERR_SLUICEGATE_1118"] == 2
        })
    });
}

#[test]
fn a_count_of_hops_that_is_no_number_does_not_begin_anew() {
    let daemon = Daemon::start(DESTINATION);
    for spoilt in ["x", "", "-1", "\u{fc}", "99999999999999999999999"] {
        let headers = [("content-type", "application/json"), ("sluicegate-hops", spoilt)];
        let answer = daemon.post_with(&headers, EVENT);
        assert_eq!(answer.json()["rejected"][0]["error_code"], "ERR_SLUICEGATE_1326", "{spoilt}");
    }
    let headers = [("content-type", "application/json"), ("sluicegate-hops", "8")];
    assert_eq!(daemon.post_with(&headers, EVENT).status, 200);
}

#[test]
fn a_refusal_that_quotes_a_stranger_takes_little_of_the_log() {
    let daemon = Daemon::start(DESTINATION);
    let long = "z".repeat(20_000);
    let headers = [("content-type", "application/json"), ("content-encoding", long.as_str())];
    assert_eq!(daemon.post_with(&headers, EVENT).status, 415);
    daemon.wait_for_log("ERR_SLUICEGATE_1103");
    let longest = daemon.log().lines().map(str::len).max();
    assert!(longest.is_some_and(|it| it < 3_000), "{longest:?} bytes");
}

#[test]
fn a_message_of_syslog_that_is_too_long_is_counted() {
    let daemon = Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0' }}, syslog: {{ listen: '127.0.0.1:0', format: apache }} }}
{DESTINATION}"
    ));
    let log = daemon.log();
    let line = log.lines().find(|it| it.contains("syslog is listened for")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    for endless in [&b"99999999 <13>"[..], &[b'x'; 100_000]] {
        assert_eq!(said(address, endless), "");
    }
    let refused = || daemon.status()["ingest"]["refused"]["ERR_SLUICEGATE_1007"].clone();
    patiently("both are counted", || refused() == 2);
}
