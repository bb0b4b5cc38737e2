//! `format: cloudevents`: what each target gets, through the settings file and through the API.

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply};
use crate::support::generate;

const HTTP: &str = "http_request_complete.v0";

fn expected(sent: &str) -> Value {
    let event: Value = serde_json::from_str(sent).unwrap();
    json!({
        "specversion": "1.0",
        "source": "/sluicegate",
        "id": event["event_id"],
        "type": event["event_type"],
        "time": event["event_timestamp"],
        "datacontenttype": "application/json",
        "data": event,
    })
}

#[test]
fn every_target_gets_cloud_events_and_arrays_are_batches_of_them() {
    let receiver = FakeService::start(|_| Reply::new(200, "", ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let url = receiver.url();
    let daemon = Daemon::start(&format!(
        r#"
destinations:
  - {{ id: file, format: cloudevents, target: {{ file: {{ path: "{}" }} }} }}
  - {{ id: one, format: cloudevents, target: {{ http: {{ url: "{url}/one" }} }} }}
  - {{ id: all, format: cloudevents, target: {{ http: {{ url: "{url}/all", body: json_array }} }} }}
  - {{ id: plain, target: {{ http: {{ url: "{url}/plain" }} }} }}
subscriptions:
  - {{ id: s, sources: [{{ type: {HTTP} }}], destinations: [file, one, all, plain] }}
"#,
        file.display()
    ));
    let sent = generate(HTTP, 1, 1);
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let event = expected(&sent[0]);
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&std::fs::read_to_string(&file).unwrap()), event);
    for (path, media_type, body) in [
        ("one", "application/cloudevents+json", event.clone()),
        ("all", "application/cloudevents-batch+json", json!([event])),
        ("plain", "application/json", read(&sent[0])),
    ] {
        let requests = receiver.requests();
        let line = format!("POST /{path} ");
        let request = requests.iter().find(|it| it.line.starts_with(&line)).unwrap();
        assert_eq!(request.header("content-type"), Some(media_type), "{path}");
        assert_eq!(read(&request.body), body, "{path}");
    }
}

#[test]
fn the_api_takes_it_and_changes_it_and_answers_it_as_it_was_sent() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let receiver = FakeService::start(|_| Reply::new(200, "", ""));
    let target = json!({"http": {"url": receiver.url()}});
    let body = json!({"format": "CloudEvents", "target": target, "verify_with_test_event": true});
    let made = client.must("POST /event_destinations", &body);
    assert_eq!(made["format"], "CloudEvents");
    let last = || receiver.requests().pop().unwrap().body;
    let data =
        |text: &str| serde_json::from_str::<Value>(text).unwrap()["data"]["event_type"].clone();
    assert_eq!(data(&last()), "test", "the event that verifies is one too");
    let line = format!("/event_destinations/{}", id(&made));
    client.must(&format!("POST {line}/send_test_event"), &json!({}));
    assert_eq!(data(&last()), "test");
    client.must(&format!("PATCH {line}"), &json!({"format": "json"}));
    client.must(&format!("POST {line}/send_test_event"), &json!({}));
    assert_eq!(data(&last()), Value::Null);
    let other = json!({"format": "avro", "target": target});
    assert_eq!(client.refused("POST /event_destinations", &other).1, "ERR_NGROK_235");
}
