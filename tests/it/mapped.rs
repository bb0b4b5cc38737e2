//! A format of JSON lines that the settings map, by its name wherever lines come in, and on the command line.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, patiently};
use crate::support::{http, output_of};

const FORMATS: &str = r#"
formats:
  - name: edge
    json:
      type: shop_request.v0
      event_timestamp: at
      fields: { page: { path: req.path, case: lower, required: true }, took: { path: ms, unit: ms } }
event_types: [{ name: shop_request.v0, fields: { page: string, took: duration } }]
"#;

fn line(page: &str) -> String {
    format!("{{\"at\":1795708487.97,\"req\":{{\"path\":\"{page}\"}},\"ms\":\"12.5\"}}\n")
}

/// The pages of the events that were delivered.
fn pages(folder: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(folder.path().join("out.ndjson")).unwrap_or_default();
    let mut pages: Vec<String> = text
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["event_timestamp"], "2026-11-26T15:54:47.97Z");
            assert_eq!(event["object"]["took"], "12.5ms");
            event["object"]["page"].as_str().unwrap().to_owned()
        })
        .collect();
    pages.sort();
    pages
}

#[test]
fn lines_of_a_mapped_format_come_in_by_every_door() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let log = folder.path().join("edge.log");
    let daemon = Daemon::start(&format!(
        r#"{FORMATS}
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  files: [{{ path: "{place}/edge.log", format: edge }}]
  syslog: {{ listen: "127.0.0.1:0", format: edge }}
destinations: [{{ id: out, target: {{ file: {{ path: "{place}/out.ndjson" }} }}, batch: {{ linger: 10ms }} }}]
subscriptions:
  - id: all
    sources: [{{ type: shop_request.v0, filter: ev.took > duration("12ms") }}]
    destinations: [out]
"#
    ));
    fs::write(&log, line("/FILE") + "{}\n").unwrap();
    let body = line("/HTTP") + "{\"at\":1,\"req\":{\"path\":[]}}\n";
    let text = [("content-type", "text/plain")];
    let answer =
        http::request(daemon.ingest, "POST /v1/events?format=edge", &text, body.as_bytes()).json();
    let said = "expected a text at `req.path`, for `page`, not [], at byte 22";
    let rejected = json!([{"index": 1, "error_code": "ERR_SLUICEGATE_1150", "msg": said}]);
    assert_eq!(answer, json!({"accepted": 1, "rejected": rejected}));
    let bad = http::request(daemon.ingest, "POST /v1/events?format=edgy", &text, body.as_bytes());
    assert!(bad.json()["msg"].as_str().unwrap().contains("did you mean `edge`?"), "{}", bad.body);
    let log = daemon.log();
    let listens = log.lines().find(|it| it.contains("syslog is listened for")).unwrap();
    let listens: Value = serde_json::from_str(listens).unwrap();
    let mut syslog = TcpStream::connect(listens["address"].as_str().unwrap()).unwrap();
    write!(syslog, "<190>1 2026-11-26T15:54:48Z web edge - - - {}", line("/SYSLOG")).unwrap();
    patiently("all pages", || pages(&folder) == ["/file", "/http", "/syslog"]);
    let settings = daemon.path("sluicegate.yaml");
    daemon.wait_for("the bad line", |_| {
        let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
        listed.contains("expected a value at `at`, for `event_timestamp`, at byte 0")
    });
}

#[test]
fn the_command_line_knows_the_formats_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("edge.yaml");
    fs::write(&settings, FORMATS).unwrap();
    let settings = settings.to_str().unwrap();
    let event = output_of(&["convert", "-c", settings, "--format", "edge"], &line("/A"));
    assert_eq!(
        event,
        "{\"event_type\":\"shop_request.v0\",\"event_timestamp\":\"2026-11-26T15:54:47.97Z\",\"object\":{\"page\":\"/a\",\"took\":\"12.5ms\"}}\n"
    );
    let filter =
        ["filter", "eval", "-c", settings, "--format", "edge", "--type", "shop_request.v0"];
    let matched =
        output_of(&[&filter[..], &["ev.page == '/a'"]].concat(), &(line("/a") + &line("/b")));
    assert_eq!(matched.lines().count(), 1, "{matched}");
}
