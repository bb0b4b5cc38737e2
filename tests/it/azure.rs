//! The target `azure_logs_ingestion`, with an endpoint and an Entra of our own making.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED};
use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{generate, output_of};

const HTTP: &str = "http_request_complete.v0";

fn settings(url: &str) -> String {
    format!(
        r#"
destinations:
  - id: azure
    target:
      azure_logs_ingestion:
        tenant_id: contoso.example
        client_id: 4962773b-9cdb-44cf-a8bf-237846a00ab7
        client_secret: s3cret
        logs_ingestion_uri: "{url}/"
        data_collection_rule_id: dcr-1
        data_collection_stream_name: Custom-Events_CL
        token_url: "{url}/token"
    batch: {{ linger: 20ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [azure] }}
"#
    )
}

/// Entra and the endpoint in one: `answer` is for calls with events.
fn azure(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> FakeService {
    let given = Mutex::new(0);
    FakeService::start(move |it| {
        if !it.line.starts_with("POST /token ") {
            return answer(it);
        }
        let mut given = given.lock().unwrap();
        *given += 1;
        let body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": format!("t{given}")});
        Reply::new(200, "", body.to_string())
    })
}

fn taken() -> Reply {
    Reply::new(204, "", "")
}

fn calls(service: &FakeService) -> Vec<Request> {
    let mut all = service.requests();
    all.retain(|it| it.line.starts_with("POST /dataCollectionRules"));
    all
}

#[test]
fn events_arrive_as_arrays_of_at_most_a_megabyte_with_a_token_of_entra() {
    let service = azure(|_| taken());
    let daemon = Daemon::start(&settings(&service.url()));
    let sent = generate(HTTP, 3_000, 1);
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let line =
        "POST /dataCollectionRules/dcr-1/streams/Custom-Events_CL?api-version=2023-01-01 HTTP/1.1";
    let mut got = Vec::new();
    for call in calls(&service) {
        assert_eq!(call.line, line);
        assert_eq!(call.header("authorization"), Some("Bearer t1"));
        assert_eq!(call.header("content-encoding"), Some("gzip"));
        assert!(call.body.len() <= 1_000_000, "{}", call.body.len());
        let events: Vec<&serde_json::value::RawValue> = serde_json::from_str(&call.body).unwrap();
        got.extend(events.iter().map(|it| it.get().to_owned()));
    }
    got.sort();
    let mut sent = sent;
    sent.sort();
    assert!(got == sent, "every event as it is");
    let asked = service.requests().swap_remove(0);
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&client_id=4962773b-9cdb-44cf-a8bf-237846a00ab7&client_secret=s3cret&scope=https%3A%2F%2Fmonitor.azure.com%2F.default"
    );
}

#[test]
fn a_token_that_is_no_longer_good_is_replaced_within_the_delivery() {
    let service = azure(|it| match it.header("authorization") {
        Some("Bearer t1") => Reply::new(401, "", ""),
        _ => taken(),
    });
    let daemon = Daemon::start(&settings(&service.url()));
    daemon.send(&generate(HTTP, 1, 1));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("azure")["retried"], 0);
    assert_eq!(calls(&service).len(), 2);
}

#[test]
fn each_answer_has_its_consequence() {
    let error = |code: &str| json!({"error": {"code": code, "message": "no"}}).to_string();
    for (status, headers, body, state, words) in [
        (400, "", error("InvalidStream"), "paused", "correct `data_collection_stream_name`"),
        (403, "", error("OperationFailed"), "paused", "Monitoring Metrics Publisher"),
        (404, "", error("NotFound"), "paused", "immutable id"),
        (429, "retry-after: 60\r\n", error("TooManyRequests"), "retrying", "429"),
        (503, "", error("ServiceUnavailable"), "retrying", "503"),
        (200, "", "{}".to_owned(), "retrying", "a proxy or another service?"),
    ] {
        let service = azure(move |_| Reply::new(status, headers, &*body));
        let daemon = Daemon::start(&settings(&service.url()));
        daemon.send(&generate(HTTP, 1, 1));
        daemon.wait_for("a failure", |_| daemon.destination("azure")["state"] == state);
        let of_it = daemon.destination("azure");
        let said = of_it["last_error"].to_string();
        assert!(said.contains(words) && !said.contains("s3cret"), "{status}: {said}");
        assert_eq!(of_it["delivered"], 0, "{status}");
    }
}

#[test]
fn only_the_record_that_a_call_is_refused_for_becomes_a_dead_letter() {
    let service = azure(|it| match it.body.contains("bad.example") {
        true => Reply::new(400, "", json!({"error": {"code": "InvalidPayload"}}).to_string()),
        false => taken(),
    });
    let daemon = Daemon::start(&settings(&service.url()));
    let mut sent = generate(HTTP, 40, 4);
    let mut event: Value = serde_json::from_str(&sent[7]).unwrap();
    event["object"]["http"]["request"]["url"]["host"] = json!("bad.example");
    sent[7] = event.to_string();
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let of_it = daemon.destination("azure");
    assert_eq!((&of_it["delivered"], &of_it["dead_lettered"]), (&json!(39), &json!(1)));
}

#[test]
fn a_check_asks_for_a_token_and_a_test_event_is_sent() {
    let service = azure(|_| taken());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, settings(&service.url())).unwrap();
    let file = file.to_str().unwrap();
    let said = output_of(&["check", "-c", file, "--online"], "");
    assert!(said.contains("Entra gave a token") && calls(&service).is_empty(), "{said}");
    let said = output_of(&["test-event", "-c", file, "--destination", "azure"], "");
    assert!(said.contains("answer       delivered"), "{said}");
}

#[test]
fn the_api_takes_it_as_ngrok_does_and_the_secret_stays_with_its_client() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let target = json!({"azure_logs_ingestion": {
        "tenant_id": "contoso.example", "client_id": "c", "client_secret": "s3cret",
        "logs_ingestion_uri": "https://e.ingest.monitor.azure.com",
        "data_collection_rule_id": "dcr-1", "data_collection_stream_name": "Custom-A",
    }});
    let made =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let mut shown = target["azure_logs_ingestion"].clone();
    shown["client_secret"] = Value::Null;
    assert_eq!(made["target"]["azure_logs_ingestion"], shown);
    let line = format!("PATCH /event_destinations/{}", made["id"].as_str().unwrap());
    client.must(&line, &json!({"target": made["target"]}));
    for (name, value, code) in [
        ("client_id", json!("d"), "ERR_NGROK_240"),
        ("logs_ingestion_uri", json!("https://elsewhere.example"), "ERR_SLUICEGATE_1325"),
        ("token_url", json!("https://elsewhere.example"), "ERR_SLUICEGATE_1325"),
        ("logs_ingestion_uri", json!("https://10.0.0.1"), "ERR_SLUICEGATE_1325"),
        ("data_collection_rule_id", json!("../x"), "ERR_NGROK_236"),
    ] {
        let mut change = made["target"].clone();
        change["azure_logs_ingestion"][name] = value;
        assert_eq!(client.refused(&line, &json!({"target": change})).1, code, "{name}");
    }
}
