//! The operations routes, the stop, and what a full journal answers.

use std::os::unix::fs::OpenOptionsExt as _;

use crate::support::daemon::{Daemon, pause};
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, http};

fn to_kinesis(fake: &FakeKinesis) -> Settings {
    Settings::new()
        .in_memory()
        .journal_bytes("1MiB")
        .drain_limit("2s")
        .destination(Destination::kinesis("stream", fake))
        .subscription(Subscription::new("all", &["stream"]))
}

#[test]
fn health_readiness_status_and_metrics_are_served() {
    let fake = FakeKinesis::start(Mood::Well);
    let daemon = Daemon::start(&to_kinesis(&fake));
    daemon.send(&generate("http_request_complete.v0", 10, 1));
    let status = daemon.wait_until_delivered();
    assert_eq!(http::get(daemon.api, "/healthz").status, 200);
    assert_eq!(http::get(daemon.api, "/readyz").status, 200);
    assert_eq!(status["journal"]["durability"], "memory");
    assert_eq!(status["journal"]["bytes"], 0);
    assert_eq!(status["subscriptions"][0]["matched"], 10);
    assert_eq!(status["subscriptions"][0]["last_filter_error"], serde_json::Value::Null);
    let stream = &status["destinations"][0];
    assert_eq!((&stream["state"], &stream["delivered"]), (&"healthy".into(), &10.into()));
    let metrics = http::get(daemon.api, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "sluicegate_ingest_accepted_events_total 10",
        "sluicegate_destination_delivered_records_total{destination=\"stream\"} 10",
        "sluicegate_destination_state{destination=\"stream\",state=\"healthy\"} 1",
        "sluicegate_destination_request_seconds_count{destination=\"stream\"}",
    ] {
        assert!(metrics.body.contains(line), "no `{line}` in\n{}", metrics.body);
    }
    assert_eq!(http::get(daemon.api, "/nowhere").status, 404);
}

#[test]
fn while_the_journal_is_recovered_the_daemon_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    // A file whose reader waits until somebody writes to it holds recovery up for as long as we like.
    let cursors = journal.join("cursors");
    if !std::process::Command::new("mkfifo").arg(&cursors).status().is_ok_and(|it| it.success()) {
        println!("skipped: no fifo can be made here");
        return;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = folder.path().display();
    let settings = format!("data_dir: {data}\napi: {{ listen: '{free}' }}\n");
    let starting = std::thread::spawn(move || Daemon::start(&settings));
    while std::net::TcpStream::connect(free).is_err() {
        assert!(!starting.is_finished());
        pause();
    }
    assert_eq!(http::get(free, "/healthz").status, 200);
    assert_eq!(http::get(free, "/readyz").status, 503);
    assert_eq!(http::get(free, "/status").status, 503);
    assert!(!starting.is_finished());
    let at_once = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    // It is read more than once. Where nobody reads just now, opening it fails at once, and by then it may be
    // a file of the daemon's, in which nothing is changed.
    while !starting.is_finished() {
        let _ended = std::fs::OpenOptions::new().write(true).custom_flags(at_once).open(&cursors);
        pause();
    }
    let daemon = starting.join().unwrap();
    assert_eq!(http::get(daemon.api, "/readyz").status, 200);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_full_journal_answers_429_keeps_nothing_of_the_body_and_takes_it_later() {
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&to_kinesis(&fake));
    let events = generate("http_request_complete.v0", 2_000, 3);
    let mut refused = Vec::new();
    let mut kept = 0;
    for body in events.chunks(100) {
        let answer = daemon.post("application/x-ndjson", body.join("\n"));
        match answer.status {
            200 => kept += body.len(),
            429 => {
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!(seconds >= 1);
                assert!(answer.body.contains("fill `journal.max_bytes`"), "{answer:?}");
                refused.push(body);
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!(!refused.is_empty());
    let status = daemon.status();
    assert_eq!(status["destinations"][0]["pending_records"], kept);
    assert_eq!(status["subscriptions"][0]["seen"], kept, "a refused body counts nowhere");
    assert!(status["journal"]["bytes"].as_u64().unwrap() <= 1 << 20);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    for body in refused {
        daemon.send(body);
        daemon.wait_until_delivered();
    }
    assert_eq!(fake.records().len(), 2_000);
    assert_eq!(daemon.destination("stream")["delivered"], 2_000);
}

#[test]
fn a_destination_that_may_lose_gives_up_its_oldest_and_says_how_many() {
    let fake = FakeKinesis::start(Mood::Failing);
    let settings =
        to_kinesis(&fake).journal_bytes("8MiB").change("stream", Destination::drop_oldest);
    let daemon = Daemon::start(&settings);
    let events = generate("http_request_complete.v0", 10_000, 4);
    let sent = events.len();
    daemon.send(&events);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    let stream = daemon.destination("stream");
    let dropped = stream["dropped"].as_u64().unwrap();
    assert!(dropped > 0, "{stream}");
    assert_eq!(stream["delivered"].as_u64().unwrap() + dropped, sent as u64);
    assert!(fake.records().contains_key(events.last().unwrap()), "the newest is kept");
}

#[test]
fn a_stop_delivers_what_is_pending_and_ends_with_0() {
    let fake = FakeKinesis::start(Mood::Well);
    let daemon = Daemon::start(&to_kinesis(&fake).change("stream", |it| it.linger("60s")));
    daemon.send(&generate("http_request_complete.v0", 200, 5));
    assert_eq!(fake.records().len(), 0, "lingering");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(fake.records().len(), 200);
    assert!(ended.log.contains("nothing is pending"), "{}", ended.log);
}

#[test]
fn a_stop_that_cannot_deliver_ends_at_its_deadline_and_says_what_is_lost() {
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&to_kinesis(&fake));
    daemon.send(&generate("http_request_complete.v0", 7, 6));
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("not delivered before the end: 7 records"), "{}", ended.log);
}

#[test]
fn a_body_in_progress_when_the_stop_begins_is_still_taken_and_delivered() {
    use std::io::{Read as _, Write as _};
    let fake = FakeKinesis::start(Mood::Well);
    let daemon = Daemon::start(&to_kinesis(&fake));
    let event = generate("http_request_complete.v0", 1, 7).remove(0);
    let (first, second) = event.as_bytes().split_at(event.len() / 2);
    let mut open = std::net::TcpStream::connect(daemon.ingest).unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        event.len()
    );
    open.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    open.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "the body is being read");
    open.write_all(first).unwrap();
    daemon.signal("TERM");
    daemon.wait_for_log("nothing more is accepted");
    assert_eq!(http::get(daemon.api, "/readyz").status, 503);
    assert_eq!(http::get(daemon.api, "/healthz").status, 200);
    open.write_all(second).unwrap();
    let mut answer = String::new();
    let _ = open.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(daemon.wait().status.code(), Some(0));
    assert_eq!(fake.records().len(), 1);
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = to_kinesis(&fake).drain_limit("1h");
    let daemon = Daemon::start(&settings);
    daemon.send(&generate("http_request_complete.v0", 1, 7));
    daemon.signal("TERM");
    daemon.wait_for_log("nothing more is accepted");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().status.code(), Some(1));
}

#[test]
fn a_reader_of_standard_output_that_stands_still_does_not_hold_up_the_end() {
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.yaml");
    let text = format!(
        r#"
data_dir: {}
ingest: {{ http: {{ listen: "127.0.0.1:0" }} }}
api: {{ listen: "127.0.0.1:0" }}
stop: {{ drain_limit: 1s }}
destinations: [{{ id: out, target: {{ debug: {{ log: true }} }}, batch: {{ linger: 0s }} }}]
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [out] }}
"#,
        folder.path().join("data").display()
    );
    std::fs::write(&settings, text).unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["--log-format", "json", "run", "-c", settings.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let ready = loop {
        let log = std::fs::read_to_string(&log).unwrap();
        match log.lines().find(|line| line.contains("\"ready\"")) {
            Some(line) => break serde_json::from_str::<serde_json::Value>(line).unwrap(),
            None => pause(),
        }
    };
    let ingest = ready["ingest"].as_str().unwrap().parse().unwrap();
    // More than a pipe holds.
    let body = generate("http_request_complete.v0", 500, 8).join("\n");
    let headers = [("content-type", "application/x-ndjson")];
    assert_eq!(http::request(ingest, "POST /v1/events", &headers, body.as_bytes()).status, 200);
    let kill = format!("kill -TERM {}", child.id());
    Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "what is left waits in the journal");
}
