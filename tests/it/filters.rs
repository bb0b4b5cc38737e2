//! The commands and settings for filters: unit tests from a file, explanations, the library.

use serde_json::Value;

use crate::support::sluicegate;

const HTTP: &str = "http_request_complete.v0";

const EVENT: &str = r#"{"event_id":"ev_1","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{"http":{"response":{"status_code":503}},"tls":{"version":"1.3"}}}"#;

const TESTS: &str = r#"
tests:
  - name: errors are taken
    type: http_request_complete.v0
    filter: { library: server-errors }
    event: { http: { response: { status_code: 503 } } }
    match: true
  - name: only some fields are sent
    type: http_request_complete.v0
    filter: ev.tls.version == "1.3"
    fields: [tls.version]
    event: { object: { tls: { version: "1.3" }, conn: { server_port: 443 } } }
    match: true
    projection: { tls: { version: "1.3" } }
"#;

/// Runs tests from a file: its exit code, standard output and standard error.
#[expect(clippy::unwrap_used, reason = "a helper of tests only")]
fn filter_test(text: &str) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tests.yaml");
    std::fs::write(&file, text).unwrap();
    let output = sluicegate(&["filter", "test", file.to_str().unwrap()], "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn tests_of_filters_pass_or_tell_what_differs() {
    let (code, out, _) = filter_test(TESTS);
    assert_eq!(out, "ok  errors are taken\nok  only some fields are sent\n2 of 2 tests passed\n");
    assert_eq!(code, Some(0));

    let (code, out, _) = filter_test(&TESTS.replace("status_code: 503", "status_code: 404"));
    assert!(
        out.starts_with("FAILED  errors are taken\n    expected a match, got no match\n"),
        "{out}"
    );
    assert_eq!(code, Some(1));

    let (code, out, _) =
        filter_test(&TESTS.replace(
            "projection: { tls: { version: \"1.3\"",
            "projection: { tls: { version: \"1.2\"",
        ));
    assert!(
        out.contains(r#"expected {"tls":{"version":"1.2"}}, got {"tls":{"version":"1.3"}}"#),
        "{out}"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_malformed_file_of_tests_is_told_with_its_place() {
    for (from, to, said) in [
        ("library: server-errors", "library: server-error", "did you mean `server-errors`?"),
        ("ev.tls.version", "ev.tls.versoin", "did you mean `ev.tls.version`?"),
        ("match: true", "matches: true", "did you mean `match`?"),
        (
            "type: http_request_complete.v0",
            "type: http_request_completed.v0",
            "did you mean `http_request_complete.v0`?",
        ),
    ] {
        let (code, _, err) = filter_test(&TESTS.replace(from, to));
        assert!(err.contains(said), "{err}");
        assert_eq!(code, Some(78), "{err}");
    }
}

#[test]
fn an_explanation_names_the_part_that_decided() {
    let filter = r#"ev.http.response.status_code >= 500 && ev.tls.version == "1.2""#;
    let output = sluicegate(&["filter", "eval", filter, "--type", HTTP, "--explain"], EVENT);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = r#"line 1: `ev.tls.version == "1.2"` is false: it is "1.3""#;
    assert_eq!(said.lines().next(), Some(expected), "{said}");
}

#[test]
fn results_come_as_json_for_programs() {
    let filter = "( ev.tls.version==\"1.3\" ) // modern";
    let check = ["filter", "check", filter, "--type", HTTP, "-o", "json"];
    let checked: Value = serde_json::from_slice(&sluicegate(&check, "").stdout).unwrap();
    assert_eq!(checked["normal"], "ev.tls.version == \"1.3\"");

    let events = format!("{EVENT}\n{}", EVENT.replace("1.3", "1.2"));
    let eval = [
        "filter",
        "eval",
        filter,
        "--type",
        HTTP,
        "-o",
        "json",
        "--explain",
        "--fields",
        "tls.version",
    ];
    let output = String::from_utf8(sluicegate(&eval, &events).stdout).unwrap();
    let lines: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second, last] = lines.as_slice() else { panic!("{output}") };
    assert_eq!((&first["line"], &first["match"]), (&1.into(), &true.into()));
    assert_eq!(first["event"]["object"]["tls"]["version"], "1.3");
    assert_eq!((&second["match"], &second["event"]), (&false.into(), &Value::Null));
    let decided_by = &second["decided_by"];
    assert_eq!((&decided_by["value"], &decided_by["error"]), (&false.into(), &Value::Null));
    assert_eq!(decided_by["terms"][0]["part"], "ev.tls.version==\"1.3\"");
    assert_eq!(decided_by["terms"][0]["fields"]["ev.tls.version"], "\"1.2\"");
    assert_eq!((&last["counts"]["matched"], &last["counts"]["seen"]), (&1.into(), &2.into()));
}

#[test]
fn several_mistakes_are_told_together() {
    let filter = "ev.nope == 1 && ev.tls.version == 2 || foo(3)";
    let output = sluicegate(&["filter", "check", filter, "--type", HTTP], "");
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["`ev.nope`", "string with int", "`foo`"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains('\x1b'), "no colours where nobody looks");
}

#[test]
fn a_subscription_may_name_a_filter_of_the_library() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sluicegate.yaml");
    let settings = |name: &str| {
        format!(
            "destinations:\n  - id: out\n    target:\n      file: {{ path: /tmp/out.ndjson }}\nsubscriptions:\n  - id: errors\n    sources:\n      - type: {HTTP}\n        filter: {{ library: {name} }}\n    destinations: [out]\n"
        )
    };
    let check = |name: &str| {
        std::fs::write(&file, settings(name)).unwrap();
        let output = sluicegate(&["check", "--config", file.to_str().unwrap()], "");
        (
            output.status.code(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        )
    };
    let (code, said) = check("server-errors");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("sever-errors");
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("did you mean `server-errors`?"), "{said}");
    let (code, said) = check("remote-shells");
    assert_eq!((code, said.contains("does not compile")), (Some(0), false), "{said}");
    let (code, said) = check("long-connections");
    assert_eq!((code, said.contains("unknown field `ev.conn.end_ts`")), (Some(78), true), "{said}");
}

#[test]
fn what_filters_cost_is_told_for_one_for_the_library_and_for_a_settings_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (events, settings, plot) = (path("e.ndjson"), path("s.yaml"), path("growth.svg"));
    std::fs::write(&events, format!("{EVENT}\n{EVENT}\n")).unwrap();
    let subscription = |id: &str, status: u32| {
        format!(
            "  - id: {id}\n    sources: [{{ type: {HTTP}, filter: ev.http.response.status_code >= {status} }}]\n    destinations: [out]\n"
        )
    };
    let text = format!(
        "destinations:\n  - id: out\n    target: {{ file: {{ path: /tmp/out.ndjson }} }}\nsubscriptions:\n{}{}",
        subscription("all", 100),
        subscription("none", 600)
    );
    std::fs::write(&settings, text).unwrap();
    let bench = |arguments: &[&str]| {
        let output = sluicegate(&[&["filter", "bench"], arguments].concat(), "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = bench(&["server-errors", &events]);
    assert!(said.starts_with("2 events, "), "{said}");
    assert!(said.contains("2 match, 0 filter errors"), "{said}");
    assert!(said.contains("events/s a core") && said.contains("\n10000 copies "), "{said}");

    let said = bench(&["--subscriptions", &settings, &events, "-o", "json", "--plot", &plot]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["events"], &told["matched"]), (&2.into(), &2.into()), "{said}");
    let growth = told["growth"].as_array().unwrap();
    // As many as a daemon takes.
    let subscriptions = growth.iter().map(|it| it["subscriptions"].as_u64()).take(4);
    let subscriptions: Vec<_> = subscriptions.collect();
    assert_eq!(subscriptions, [2, 20, 200, 2_000].map(Some), "{said}");
    assert!(told["stages"].as_array().unwrap().iter().all(|it| it["ns_per_event"].is_number()));
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg "));

    let without_type = sluicegate(&["filter", "bench", "true"], "");
    assert!(String::from_utf8_lossy(&without_type.stderr).contains("--type"));
    assert_eq!(without_type.status.code(), Some(1));
}
