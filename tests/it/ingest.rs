//! Bodies of every kind against a running daemon: what is taken, what is refused, and in which words.

use std::io::Write as _;

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::{generate, output_of, sluicegate};

const TO_FILE: &str = r#"
destinations:
  - { id: out, target: { file: { path: "DIR/out.ndjson" } }, batch: { linger: 10ms } }
subscriptions:
  - id: all
    sources: [{ type: http_request_complete.v0 }]
    destinations: [out]
"#;

fn event(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{{"n":1.50}}}}"#
    )
}

fn delivered(daemon: &Daemon) -> Vec<String> {
    daemon.wait_until_delivered();
    let text = std::fs::read_to_string(daemon.path("out.ndjson")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_form_of_a_body_is_taken_and_values_keep_their_bytes() {
    let daemon = Daemon::start(TO_FILE);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(event("gzip").as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(event("zstd").as_bytes(), 1).unwrap();
    let pretty = event("pretty").replace(',', ",\r\n  ");
    let cases: [(&str, Option<&str>, Vec<u8>, u64); 6] = [
        ("application/x-ndjson", None, format!("{}\n\n{}\r\n", event("a"), event("b")).into(), 2),
        ("application/json", None, event("one").into(), 1),
        (
            "application/json; charset=utf-8",
            None,
            format!("[{},{}]", event("c"), event("d")).into(),
            2,
        ),
        ("application/json", None, pretty.into(), 1),
        ("application/x-ndjson", Some("gzip"), gzip, 1),
        ("application/x-ndjson", Some("zstd"), zstd, 1),
    ];
    for (content_type, encoding, body, accepted) in cases {
        let mut headers = vec![("content-type", content_type)];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = daemon.post_with(&headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({"accepted": accepted, "rejected": []}));
    }
    let lines = delivered(&daemon);
    assert_eq!(lines.len(), 8);
    for id in ["a", "b", "one", "c", "d", "gzip", "zstd"] {
        assert!(lines.contains(&event(id)), "{id}: {lines:#?}");
    }
}

#[test]
fn each_bad_event_is_named_by_its_place_and_spoils_no_other() {
    let daemon = Daemon::start(TO_FILE);
    let mut body = event("good-1").into_bytes();
    body.extend_from_slice(b"\n{\"event_type\":\n[]\n");
    body.extend_from_slice(br#"{"event_type":"http_request_completed.v0","object":{}}"#);
    body.extend_from_slice(b"\n{\"event_type\":\"http_request_complete.v0\"}\n");
    body.extend_from_slice(
        b"{\"event_type\":\"http_request_complete.v0\",\"object\":{\"a\":\"\xff\"}}\n",
    );
    body.extend_from_slice(event("good-2").as_bytes());
    let answer = daemon.post("application/x-ndjson", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({"accepted": 2, "rejected": [
            {"index": 1, "error_code": "ERR_SLUICEGATE_1001",
             "msg": "not valid JSON: expected a value at byte 14"},
            {"index": 2, "error_code": "ERR_SLUICEGATE_1002",
             "msg": "an event must be a JSON object"},
            {"index": 3, "error_code": "ERR_NGROK_238",
             "msg": "unknown event type `http_request_completed.v0`, did you mean `http_request_complete.v0`?"},
            {"index": 4, "error_code": "ERR_SLUICEGATE_1003", "msg": "`object` is missing"},
            {"index": 5, "error_code": "ERR_SLUICEGATE_1008", "msg": "not valid UTF-8 at byte 56"},
        ]})
    );
    assert_eq!(delivered(&daemon), [event("good-1"), event("good-2")]);
    let status = daemon.status();
    let refused = json!({"ERR_NGROK_238": 1, "ERR_SLUICEGATE_1001": 1, "ERR_SLUICEGATE_1002": 1,
        "ERR_SLUICEGATE_1003": 1, "ERR_SLUICEGATE_1008": 1});
    assert_eq!(status["ingest"], json!({"accepted": 2, "rejected": 5, "refused": refused}));
}

#[test]
fn a_body_without_anything_good_is_refused_in_the_same_shape() {
    let daemon = Daemon::start(TO_FILE);
    let answer = daemon.post("application/x-ndjson", "no\n");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["accepted"], 0);
    assert_eq!(answer.json()["rejected"][0]["index"], 0);
    for (content_type, body) in
        [("application/x-ndjson", "\n \n"), ("application/json", ""), ("application/json", "[]")]
    {
        let answer = daemon.post(content_type, body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.json()["msg"], "the body holds no event");
        assert_eq!(answer.json()["rejected"], json!([]));
    }
}

type Headers<'h> = &'h [(&'h str, &'h str)];

#[test]
fn whole_bodies_are_refused_with_their_reason() {
    let settings = format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0', max_body: 4KiB, max_decompressed: 8KiB, max_event: 300B }} }}\n{TO_FILE}"
    );
    let daemon = Daemon::start(&settings);
    let ndjson = ("content-type", "application/x-ndjson");
    let bomb = zstd::encode_all(&vec![b' '; 1 << 20][..], 3).unwrap();
    let cases: [(Headers<'_>, Vec<u8>, u16, &str); 8] = [
        (&[], event("x").into(), 415, "ERR_NGROK_210"),
        (&[("content-type", "text/plain")], event("x").into(), 415, "ERR_NGROK_210"),
        (
            &[("content-type", "application/json; charset=latin1")],
            event("x").into(),
            415,
            "ERR_NGROK_210",
        ),
        (&[ndjson, ("content-encoding", "br")], event("x").into(), 415, "ERR_SLUICEGATE_1103"),
        (&[ndjson, ("content-encoding", "gzip")], event("x").into(), 400, "ERR_NGROK_212"),
        (&[ndjson], vec![b' '; 5_000], 413, "ERR_SLUICEGATE_1101"),
        (&[ndjson, ("content-encoding", "zstd")], bomb, 413, "ERR_SLUICEGATE_1102"),
        (&[ndjson], event(&"x".repeat(250)).into(), 400, ""),
    ];
    for (headers, body, status, code) in cases {
        let answer = daemon.post_with(headers, body);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        if !code.is_empty() {
            assert_eq!(answer.json()["error_code"], code, "{answer:?}");
        }
    }
    let answer = http::request(daemon.ingest, "PUT /v1/events", &[], b"");
    assert_eq!(answer.status, 405);
    assert_eq!(http::get(daemon.ingest, "/").status, 404);
    assert_eq!(daemon.status()["ingest"]["accepted"], 0);
}

#[test]
fn a_chunked_body_has_the_same_limit() {
    use std::io::Read as _;
    let settings =
        format!("ingest: {{ http: {{ listen: '127.0.0.1:0', max_body: 4KiB }} }}\n{TO_FILE}");
    let daemon = Daemon::start(&settings);
    let mut stream = std::net::TcpStream::connect(daemon.ingest).unwrap();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..8 {
        let _ = stream.write_all(format!("400\r\n{}\r\n", " ".repeat(1024)).as_bytes());
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    let settings = format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0', bearer_tokens: ['${{env:TOKEN}}', other] }} }}\n{TO_FILE}"
    );
    let daemon = Daemon::start_with(&settings, &[("TOKEN", "s3cret-token")]);
    let ndjson = ("content-type", "application/x-ndjson");
    for (header, status, code) in [
        (None, 401, "ERR_NGROK_200"),
        (Some("Basic abc"), 401, "ERR_NGROK_201"),
        (Some("Bearer s3cret-toke"), 401, "ERR_NGROK_203"),
    ] {
        let mut headers = vec![ndjson];
        headers.extend(header.map(|value| ("authorization", value)));
        let answer = daemon.post_with(&headers, event("x"));
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["error_code"], code);
    }
    let authorized = [ndjson, ("authorization", "Bearer s3cret-token")];
    assert_eq!(daemon.post_with(&authorized, event("x")).status, 200);
    let ended = daemon.stop();
    assert!(!ended.log.contains("s3cret"), "{}", ended.log);
}

#[test]
fn a_missing_id_and_time_are_given_to_the_event() {
    let daemon = Daemon::start(TO_FILE);
    let body = r#"{"event_type":"http_request_complete.v0","object":{}}"#;
    assert_eq!(daemon.post("application/json", body).status, 200);
    let lines = delivered(&daemon);
    let record: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let id = record["event_id"].as_str().unwrap();
    assert!(id.starts_with("ev_") && id.len() == 30, "{id}");
    assert!(record["event_timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn more_requests_at_a_time_than_there_are_places_wait_for_their_turn() {
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::time::Duration;
    let settings =
        format!("ingest: {{ http: {{ listen: '127.0.0.1:0', max_connections: 1 }} }}\n{TO_FILE}");
    let daemon = Daemon::start(&settings);
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(daemon.ingest).unwrap();
    let body = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 expect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    first.write_all(body).unwrap();
    let mut byte = [0];
    // It is told to go on, so it has its place, and its body never comes.
    first.read_exact(&mut byte).unwrap();
    let mut second = TcpStream::connect(daemon.ingest).unwrap();
    second.write_all(request).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.read_exact(&mut byte).is_err(), "the second is not served beside the first");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    second.read_exact(&mut byte).unwrap();
}

#[test]
fn events_on_standard_input_are_kept_and_bad_lines_become_dead_letters() {
    let (daemon, mut input) = Daemon::start_piped(&format!(
        "{}ingest: {{ stdin: {{}}, http: {{ listen: 127.0.0.1:0 }} }}\n",
        "destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [kept] }]
"
    ));
    let events = generate("http_request_complete.v0", 1_000, 5);
    writeln!(input, "{}\nnot json", events[..500].join("\n")).unwrap();
    daemon.wait_for("the first half", |status| status["ingest"]["accepted"] == 500);
    write!(input, "{}", events[500..].join("\n")).unwrap();
    drop(input);
    daemon.wait_for_log("standard input has ended");
    let status = daemon.wait_until_delivered();
    let refused = json!({"ERR_SLUICEGATE_1001": 1});
    let taken = json!({"accepted": 1_000, "rejected": 1, "refused": refused});
    assert_eq!(status["ingest"], taken, "{status}");
    let settings = daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    assert!(listed.contains("(ingest.stdin)  line/501"), "{listed}");
    assert!(daemon.stop().status.success());
}

#[test]
fn standard_input_that_ends_ends_the_daemon_where_it_is_the_only_entrance() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("s.yaml"), folder.path().join("out.ndjson"));
    let text = format!(
        "data_dir: {}\ningest: {{ stdin: {{}} }}\napi: {{ listen: 127.0.0.1:0 }}\n\
         destinations: [{{ id: kept, target: {{ file: {{ path: {} }} }}, batch: {{ linger: 60s }} }}]\n\
         subscriptions: [{{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [kept] }}]\n",
        folder.path().join("data").display(),
        out.display()
    );
    std::fs::write(&file, text).unwrap();
    let events = generate("http_request_complete.v0", 3_000, 6);
    let run = ["run", "-c", file.to_str().unwrap()];
    for round in 1..=2 {
        let ended = sluicegate(&run, &events.join("\n"));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{said}");
        assert!(
            said.contains("the only entrance has ended") && !said.contains("ingest="),
            "{said}"
        );
        let delivered = std::fs::read_to_string(&out).unwrap();
        assert_eq!(delivered.lines().count(), round * events.len());
    }
}

/// Lines as nginx writes them, and one in between that is none.
const LINES: &str = r#"198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] "GET /a?x=1 HTTP/1.1" 200 120 "-" "curl/8.9.1"

no line of an access log
198.51.100.8 - - [26/Nov/2026:15:54:48 +0100] "POST /fail HTTP/1.1" 502 157 "-" "curl/8.9.1"
"#;

#[test]
fn lines_of_an_access_log_are_posted_with_their_format() {
    let daemon = Daemon::start(TO_FILE);
    let text = [("content-type", "text/plain; charset=utf-8")];
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        http::request(daemon.ingest, &format!("POST {path}"), headers, body.as_bytes())
    };
    let answer = post("/v1/events?format=nginx", &text, LINES);
    let said = "expected a time such as `[10/Oct/2000:13:55:36 -0700]` at byte 0";
    let rejected = json!([{"index": 1, "error_code": "ERR_SLUICEGATE_1150", "msg": said}]);
    assert_eq!((answer.status, answer.json()), (200, json!({"accepted": 2, "rejected": rejected})));
    let records = delivered(&daemon);
    let record: serde_json::Value = serde_json::from_str(&records[1]).unwrap();
    assert_eq!(record["event_timestamp"], "2026-11-26T14:54:48Z");
    assert_eq!(record["object"]["http"]["request"]["method"], "post");
    let bad = post("/v1/events?format=ngnix", &text, LINES);
    assert_eq!((bad.status, &bad.json()["error_code"]), (400, &json!("ERR_SLUICEGATE_1151")));
    assert!(bad.json()["msg"].as_str().unwrap().contains("did you mean `nginx`?"));
    for (path, media_type) in
        [("/v1/events", "text/plain"), ("/v1/events?format=nginx", "application/json")]
    {
        let answer = post(path, &[("content-type", media_type)], LINES);
        assert_eq!((answer.status, &answer.json()["error_code"]), (415, &json!("ERR_NGROK_210")));
    }
    let none = post("/v1/events?format=nginx", &text, "bad\n");
    assert_eq!(none.status, 400);
}

#[test]
fn standard_input_may_be_an_access_log() {
    let (daemon, mut input) = Daemon::start_piped(&format!(
        "ingest: {{ stdin: {{ format: nginx }}, http: {{ listen: 127.0.0.1:0 }} }}\n{TO_FILE}"
    ));
    input.write_all(LINES.as_bytes()).unwrap();
    drop(input);
    daemon.wait_for_log("standard input has ended");
    assert_eq!(delivered(&daemon).len(), 2);
    let settings = daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    assert!(listed.contains("(ingest.stdin)  line/3"), "{listed}");
    assert!(listed.contains("ERR_SLUICEGATE_1150"), "{listed}");
}
