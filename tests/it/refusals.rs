//! What is refused is counted by code at every door, and logged at most once a second a code.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::http;

const TO_FILE: &str = "destinations: [{ id: out, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [out] }]
";

/// The lines of the log that tell of a code.
fn told(daemon: &Daemon, code: &str) -> Vec<Value> {
    let log = daemon.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_code = |it: &Value| {
        it["code"] == code && it["message"].as_str().is_some_and(|it| it.starts_with("refused: "))
    };
    lines.filter(of_code).collect()
}

#[test]
fn a_flood_of_refusals_is_counted_whole_and_logged_once_a_second_a_code() {
    let daemon = Daemon::start(TO_FILE);
    let began = Instant::now();
    let mut refused = 0;
    while began.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(daemon.post("application/x-ndjson", "no\nno\n").status, 400);
        refused += 2;
    }
    // One more than whole seconds, since the first is logged at once.
    let most = began.elapsed().as_secs() + 2;
    let lines = told(&daemon, "ERR_SLUICEGATE_1001");
    assert!((2..=most as usize).contains(&lines.len()), "{lines:#?}");
    assert_eq!((&lines[0]["entrance"], &lines[0]["not_logged"]), (&json!("http"), &json!(0)));
    assert!(lines[1]["not_logged"].as_u64() > Some(0), "{lines:#?}");
    let status = daemon.wait_for("counted", |status| status["ingest"]["rejected"] == refused);
    assert_eq!(status["ingest"]["refused"]["ERR_SLUICEGATE_1001"], refused);
}

#[test]
fn every_door_counts_and_logs_what_it_refuses() {
    let settings = format!(
        "ingest: {{ stdin: {{}}, http: {{ listen: '127.0.0.1:0', bearer_tokens: [a-token-of-the-settings] }} }}\n{TO_FILE}"
    );
    let (daemon, mut input) = Daemon::start_piped(&settings);
    writeln!(input, "[]").unwrap();
    let token = ("authorization", "Bearer a-token-of-the-settings");
    let ndjson = ("content-type", "application/x-ndjson");
    daemon.post_with(&[ndjson], "{}");
    daemon.post_with(&[ndjson, token], "\n");
    daemon.post_with(&[token], "{}");
    http::request(daemon.ingest, "POST /v2/events", &[token], b"");
    http::request(daemon.ingest, "PUT /v1/events", &[token], b"");
    http::get(daemon.api, "/ip_policies");
    http::request(daemon.api, "POST /no/such/route", &[], b"");
    let at_ingest = [
        ("stdin", "ERR_SLUICEGATE_1002"),
        ("http", "ERR_SLUICEGATE_1108"),
        ("http", "ERR_NGROK_210"),
        ("http", "ERR_SLUICEGATE_1109"),
        ("http", "ERR_SLUICEGATE_1110"),
    ];
    let status = daemon.wait_for("counted", |status| {
        at_ingest.iter().all(|(_, code)| status["ingest"]["refused"][code] == 1)
            && !status["api"]["refused"].as_object().unwrap().is_empty()
    });
    let all = status["ingest"]["refused"].as_object().unwrap();
    assert_eq!(all.len(), at_ingest.len() + 1, "and the missing token: {all:?}");
    let at_api = status["api"]["refused"].as_object().unwrap();
    assert_eq!(at_api.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{at_api:?}");
    let metrics = http::get(daemon.api, "/metrics").body;
    for (entrance, code) in at_ingest {
        let line = format!("sluicegate_ingest_refused_total{{code=\"{code}\"}} 1\n");
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
        let told = told(&daemon, code);
        assert_eq!((told.len(), &told[0]["entrance"]), (1, &json!(entrance)), "{told:?}");
    }
    for code in at_api.keys() {
        let line = format!("sluicegate_api_refused_total{{code=\"{code}\"}} 1\n");
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
        // One that ingest has refused too was perhaps logged within the last second.
        let is_logged = all.contains_key(code) || told(&daemon, code)[0]["entrance"] == "api";
        assert!(is_logged, "{}", daemon.log());
    }
}
