//! The commands that need no daemon, and the demo that brings its own.

use serde_json::Value;

use crate::support::{generate, output_of, sluicegate};

const HTTP: &str = "http_request_complete.v0";

#[test]
fn the_same_seed_and_start_give_the_same_events() {
    let run = |seed: &str, start: &str| {
        output_of(
            &["generate", "--type", HTTP, "--count", "50", "--seed", seed, "--start", start],
            "",
        )
    };
    let first = run("7", "2025-09-04T10:00:00Z");
    assert_eq!(first, run("7", "2025-09-04T10:00:00Z"));
    assert_ne!(first, run("8", "2025-09-04T10:00:00Z"));
    assert_eq!(first.lines().count(), 50);
    let event: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(event["event_timestamp"], "2025-09-04T10:00:00Z");
    let bad = sluicegate(&["generate", "--start", "today"], "");
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn the_catalog_lists_ngroks_55_types_and_our_own_with_their_fields() {
    let types: Value = serde_json::from_str(&output_of(&["catalog", "-o", "json"], "")).unwrap();
    let types = types.as_array().unwrap();
    assert_eq!(types.iter().filter(|it| it["class"] != "own").count(), 55);
    assert!(types.iter().any(|it| it["name"] == "daemon_started.v0" && it["class"] == "own"));
    assert_eq!(output_of(&["catalog"], "").lines().count(), types.len());
    let one: Value =
        serde_json::from_str(&output_of(&["catalog", HTTP, "-o", "json"], "")).unwrap();
    assert_eq!(one["fields"].as_array().unwrap().len(), 57);
    assert_eq!(output_of(&["catalog", HTTP], "").lines().count(), 59);
    let unknown = sluicegate(&["catalog", "http_request_completed.v0"], "");
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert_eq!(
        said,
        "unknown event type `http_request_completed.v0`, did you mean `http_request_complete.v0`?\n"
    );
}

#[test]
fn a_filter_is_checked_with_the_place_of_its_mistake() {
    assert_eq!(
        output_of(&["filter", "check", "ev.conn.server_port == 443", "--type", HTTP], ""),
        "ok\n"
    );
    let bad = sluicegate(&["filter", "check", "ev.conn.client_port == 1", "--type", HTTP], "");
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bad.stderr);
    for part in ["client_port", "1 | ev.conn.client_port == 1", "^", "did you mean `"] {
        assert!(said.contains(part), "{said}");
    }
    let bad = sluicegate(&["filter", "check", "1 +", "--type", HTTP, "-o", "json"], "");
    let result: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!((&result["ok"], &result["error_code"]), (&false.into(), &"ERR_NGROK_5404".into()));
    assert_eq!(result["mistakes"][0]["line"], 1);
}

#[test]
fn a_filter_is_tried_on_events() {
    let mut events = generate(HTTP, 500, 9);
    events.extend(generate("tcp_connection_closed.v0", 3, 9));
    let matching = events.iter().filter(|event| event.contains("\"status_code\":50")).count();
    let arguments = [
        "filter",
        "eval",
        "ev.http.response.status_code >= 500",
        "--type",
        HTTP,
        "--fields",
        "http.response.status_code",
    ];
    let output = sluicegate(&arguments, &events.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), matching);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let object = record["object"].to_string();
        assert!(object.starts_with(r#"{"http":{"response":{"status_code":50"#), "{object}");
    }
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "{matching} of 500 events matched, 0 filter errors, 3 of other types, 0 bad lines\n"
        )
    );
    let output = sluicegate(&arguments, "{}\n");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("line 1: `event_type` is missing\n"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["generate", "--count", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demo_shows_the_main_job_and_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("demo");
    let arguments = [
        "demo",
        "--rate",
        "2000",
        "--duration",
        "2s",
        "--data-dir",
        directory.to_str().unwrap(),
        "--ingest-listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
    ];
    let output = sluicegate(&arguments, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("every match delivered"), "{said}");
    let errors = String::from_utf8(output.stdout).unwrap();
    assert!(!errors.is_empty());
    for line in errors.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(record["object"]["http"]["response"]["status_code"].as_i64().unwrap() >= 500);
    }
    for file in ["connections.ndjson", "requests.ndjson"] {
        assert!(std::fs::read_to_string(directory.join(file)).unwrap().lines().count() > 10);
    }
}

#[test]
fn every_command_has_help_and_a_wrong_one_ends_with_2() {
    for command in [
        &["demo"][..],
        &["run"],
        &["check"],
        &["test-event"],
        &["filter", "check"],
        &["filter", "eval"],
        &["generate"],
        &["catalog"],
        &["convert"],
        &["config", "schema"],
        &["health"],
        &["completions"],
        &["dead-letters", "list"],
        &["dead-letters", "redrive"],
        &["filter", "bench"],
    ] {
        let help = output_of(&[command, &["--help"]].concat(), "");
        assert!(help.contains("Usage: sluicegate"), "{help}");
    }
    assert_eq!(sluicegate(&["frobnicate"], "").status.code(), Some(2));
    assert!(output_of(&["completions", "bash"], "").contains("sluicegate"));
}

#[test]
fn the_schema_of_the_settings_file_is_json() {
    let schema: Value = serde_json::from_str(&output_of(&["config", "schema"], "")).unwrap();
    assert_eq!(schema["properties"]["subscriptions"]["type"], "array");
}

#[test]
fn health_is_told_by_the_exit_code() {
    let output = sluicegate(&["health", "--api", "http://127.0.0.1:1"], "");
    assert_eq!(output.status.code(), Some(1));
    let daemon = crate::support::daemon::Daemon::start("destinations: []\n");
    assert_eq!(output_of(&["health", "--api", &format!("http://{}", daemon.api)], ""), "");
}

/// Lines as nginx writes them: three requests, and one that no format has.
const NGINX: &str = r#"198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] "GET /a?x=1 HTTP/1.1" 200 120 "-" "curl/8.9.1"
198.51.100.8 - - [26/Nov/2026:15:54:48 +0100] "POST /fail HTTP/1.1" 502 157 "-" "curl/8.9.1"
not a line of an access log

198.51.100.9 - - [26/Nov/2026:15:54:49 +0100] "GET /fail HTTP/2.0" 500 157 "-" "curl/8.9.1"
"#;

#[test]
fn an_access_log_becomes_events_that_a_filter_takes() {
    let converted = sluicegate(&["convert", "--format", "nginx"], NGINX);
    assert_eq!(converted.status.code(), Some(1));
    let said = String::from_utf8_lossy(&converted.stderr);
    assert!(said.contains("standard input:3: expected a time such as"), "{said}");
    assert!(said.contains("3 events, 1 bad line\n"), "{said}");
    let events = String::from_utf8(converted.stdout).unwrap();
    assert_eq!(events.lines().count(), 3);
    let filter = "ev.http.response.status_code >= 500 && ev.http.request.method == 'post'";
    let matches = output_of(&["filter", "eval", filter, "--type", HTTP], &events);
    let event: Value = serde_json::from_str(&matches).unwrap();
    assert_eq!(event["event_timestamp"], "2026-11-26T14:54:48Z");
    assert_eq!(event["object"]["conn"]["client_ip"], "198.51.100.8");
    // The same of the lines themselves.
    let filter = ["filter", "eval", filter, "--type", HTTP, "--format", "nginx"];
    let straight = sluicegate(&filter, NGINX);
    let straight: Value = serde_json::from_slice(&straight.stdout).unwrap();
    assert_eq!(straight["object"], event["object"]);
}

#[test]
fn a_format_is_guessed_for_each_file_and_a_wrong_name_gets_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let (nginx, envoy) = (folder.path().join("a.log"), folder.path().join("b.log"));
    std::fs::write(&nginx, NGINX).unwrap();
    let line =
        r#"[2016-04-15T20:17:00.310Z] "GET / HTTP/2" 204 - 154 0 226 100 "-" "x" "y" "z" "-""#;
    std::fs::write(&envoy, format!("{line}\n{line}")).unwrap();
    let paths = [nginx.to_str().unwrap(), envoy.to_str().unwrap()];
    let converted = sluicegate(&["convert", "--guess", paths[0], paths[1]], "");
    let said = String::from_utf8_lossy(&converted.stderr);
    assert!(said.contains("a.log: nginx (3 of the first 4 lines fit)"), "{said}");
    assert!(said.contains("b.log: envoy (2 of the first 2 lines fit)"), "{said}");
    assert_eq!(converted.stdout.iter().filter(|it| **it == b'\n').count(), 5);
    let bench = ["filter", "bench", "true", "--type", HTTP, "--format", "envoy", paths[1]];
    assert!(output_of(&bench, "").starts_with("2 events, "));
    let wrong = sluicegate(&["convert", "--format", "ngnix"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `nginx`?"));
    assert_eq!(sluicegate(&["convert"], "").status.code(), Some(2));
}

#[test]
fn the_reference_of_settings_is_a_settings_file_of_comments() {
    let reference = output_of(&["config", "reference"], "");
    for part in
        ["#data_dir: ", "#      http:", "#        url: ", "#    # ", "default 200ms", "required"]
    {
        assert!(reference.contains(part), "{part} is not in\n{reference}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, reference + "data_dir: data\n").unwrap();
    output_of(&["check", "-c", file.to_str().unwrap()], "");
}
