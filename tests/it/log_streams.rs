//! Log streams that a template names: which event goes to which, and what becomes of those that one
//! refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::moto::Moto;
use crate::support::{generate, sluicegate};

fn settings(url: &str, log_stream: &str) -> String {
    format!(
        r#"
destinations:
  - id: d
    target:
      cloudwatch_logs:
        log_group_arn: "arn:aws:logs:us-east-1:123456789012:log-group:/app/events"
        log_stream: "{log_stream}"
        endpoint_url: "{url}"
        auth: {{ creds: {{ aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: s3cret }} }}
    batch: {{ linger: 200ms }}
subscriptions:
  - id: all
    sources: [{{ type: http_request_complete.v0 }}, {{ type: tcp_connection_closed.v0 }}]
    destinations: [d]
"#
    )
}

/// Events of two types, in turn.
fn traffic(count: usize) -> Vec<String> {
    let of = |name| generate(name, count / 2, 9);
    let pairs = of("http_request_complete.v0").into_iter().zip(of("tcp_connection_closed.v0"));
    pairs.flat_map(|(one, other)| [one, other]).collect()
}

fn text<'v>(event: &'v Value, name: &str) -> &'v str {
    event[name].as_str().unwrap()
}

/// The ids of the events that belong to each log stream `edge-{event_type}/{date}`.
fn expected(events: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in events {
        let event: Value = serde_json::from_str(event).unwrap();
        let date = &text(&event, "event_timestamp")[..10];
        let name = format!("edge-{}/{date}", text(&event, "event_type"));
        all.entry(name).or_default().insert(text(&event, "event_id").to_owned());
    }
    all
}

#[test]
fn each_event_is_in_the_log_stream_of_its_type_and_day() {
    let Some(moto) = Moto::start() else { return };
    moto.call("logs", "CreateLogGroup", json!({"logGroupName": "/app/events"}));
    let daemon = Daemon::start(&settings(&moto.url(), "edge-{event_type}/{date}"));
    let events = traffic(400);
    daemon.send(&events);
    daemon.wait_until_delivered();
    let mut arrived: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut count = 0;
    let mut token = Value::Null;
    loop {
        let mut query = json!({"logGroupName": "/app/events", "limit": 1000});
        if !token.is_null() {
            query["nextToken"] = token;
        }
        let page = moto.call("logs", "FilterLogEvents", query);
        for event in page["events"].as_array().unwrap() {
            count += 1;
            let record: Value = serde_json::from_str(text(event, "message")).unwrap();
            let ids = arrived.entry(text(event, "logStreamName").to_owned()).or_default();
            ids.insert(text(&record, "event_id").to_owned());
        }
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    let expected = expected(&events);
    assert!(expected.len() >= 2, "{:?}", expected.keys());
    assert_eq!((arrived, count), (expected.clone(), 400));
    let told = &daemon.destination("d")["log_streams"];
    assert_eq!(*told, json!({"open": expected.len(), "max": 1_000, "other_events": 0}));
}

fn operation(request: &Request) -> &str {
    request.header("x-amz-target").unwrap_or_default().rsplit('.').next().unwrap()
}

/// A log group without log streams, which holds requests to the documented limits. Somebody else makes
/// the log stream `edge-tcp…` at the moment at which it is asked for, and takes no event of it that is its
/// request's first.
fn strict_group(taken: &Arc<Mutex<BTreeMap<String, Vec<String>>>>) -> FakeService {
    let taken = Arc::clone(taken);
    let there: Mutex<BTreeSet<String>> = Mutex::default();
    FakeService::start(move |request| {
        let well = |body: &str| Reply::new(200, "x-amzn-requestid: 1\r\n", body);
        let input: Value = serde_json::from_str(&request.body).unwrap();
        let name = input["logStreamName"].as_str().unwrap_or_default().to_owned();
        match operation(request) {
            "CreateLogStream" if !there.lock().unwrap().insert(name.clone()) => {
                Reply::error(400, "ResourceAlreadyExistsException")
            }
            "CreateLogStream" if name.starts_with("edge-tcp") => {
                Reply::error(400, "ResourceAlreadyExistsException")
            }
            "CreateLogStream" => well(""),
            "PutLogEvents" if !there.lock().unwrap().contains(&name) => {
                Reply::error(400, "ResourceNotFoundException")
            }
            "PutLogEvents" => {
                let events = input["logEvents"].as_array().unwrap();
                assert!((1..=10_000).contains(&events.len()));
                assert!(events.is_sorted_by_key(|it| it["timestamp"].as_i64()), "not in order");
                let refused = usize::from(name.starts_with("edge-tcp"));
                let messages = events.iter().skip(refused);
                let ids = messages.map(|it| {
                    let record: Value = serde_json::from_str(text(it, "message")).unwrap();
                    assert!(name.ends_with(text(&record, "event_type")), "{name}: {record}");
                    text(&record, "event_id").to_owned()
                });
                taken.lock().unwrap().entry(name.clone()).or_default().extend(ids);
                match refused {
                    0 => well("{}"),
                    _ => well(r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}"#),
                }
            }
            other => panic!("{other}"),
        }
    })
}

#[test]
fn what_one_log_stream_refuses_is_a_dead_letter_and_all_else_arrives_once() {
    let taken = Arc::default();
    let service = strict_group(&taken);
    let daemon = Daemon::start(&settings(&service.url(), "edge-{event_type}"));
    let events = traffic(400);
    daemon.send(&events);
    let status = daemon.wait_until_delivered();
    let puts = |request: &&Request| operation(request) == "PutLogEvents";
    let to_tcp = |request: &&Request| request.body.contains(r#""logStreamName":"edge-tcp"#);
    let requests = service.requests();
    // The first of each log stream found it missing.
    let refused = requests.iter().filter(puts).filter(to_tcp).count() - 1;
    assert_eq!(status["destinations"][0]["dead_lettered"], refused);
    assert_eq!(status["destinations"][0]["delivered"], 400 - refused);
    let taken = taken.lock().unwrap();
    let http: BTreeSet<&String> = taken["edge-http_request_complete.v0"].iter().collect();
    assert_eq!((taken["edge-http_request_complete.v0"].len(), http.len()), (200, 200));
    assert_eq!(taken["edge-tcp_connection_closed.v0"].len(), 200 - refused);
    let made = requests.iter().filter(|it| operation(it) == "CreateLogStream").count();
    assert_eq!(made, 2, "each log stream is made once");
    let letters = ["dead-letters", "list", "-c"];
    let file = daemon.path("sluicegate.yaml");
    let output = sluicegate(&[&letters[..], &[file.to_str().unwrap()]].concat(), "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("for its time, which is more than 14 days old"), "{said}");
}
