//! Targets `kafka` against Apache Kafka: what arrives is what was sent, and what becomes of each kind of failure.

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use serde_json::Value;

use crate::support::apache::{Cluster, USER};
use crate::support::daemon::Daemon;
use crate::support::{changed, generate, output_of};

const EVENT_TYPE: &str = "http_request_complete.v0";

const NDJSON: &str = "application/x-ndjson";

/// Delivery of everything to a topic.
fn to_topic(brokers: &str, topic: &str, key: &str, options: &str) -> String {
    format!(
        r#"
ingest: {{ http: {{ listen: "127.0.0.1:0" }} }}
destinations:
  - id: all
    target: {{ kafka: {{ brokers: "{brokers}", topic: {topic}, key: {key}, options: {{ {options} }} }} }}
    batch: {{ linger: 10ms }}
    timeout: 5s
subscriptions:
  - {{ id: all, sources: [{{ type: {EVENT_TYPE} }}], destinations: [all] }}
"#
    )
}

fn of_destination<'s>(status: &'s Value, name: &str) -> &'s Value {
    &status["destinations"][0][name]
}

fn id(event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

#[test]
fn every_event_arrives_as_it_was_sent_once_by_its_key() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("written", 3, &[]);
    let events = generate(EVENT_TYPE, 5_000, 80);
    let daemon = Daemon::start(&to_topic(&cluster.brokers(), "written", "event_id", ""));
    let answer = daemon.post(NDJSON, events.join("\n"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    daemon.wait_until_delivered();
    let arrived = cluster.read("written", 3);
    assert_eq!(arrived.len(), events.len(), "nothing twice");
    let wanted: BTreeSet<(String, String)> =
        events.iter().map(|event| (id(event), event.clone())).collect();
    let found: BTreeSet<(String, String)> =
        arrived.iter().map(|it| (it.key.clone().unwrap(), it.value.clone())).collect();
    assert_eq!(found, wanted);
    assert!(arrived.iter().all(|it| it.hops.as_deref() == Some("1")));
    let settings = daemon.path("sluicegate.yaml");
    let settings = settings.to_str().unwrap();
    let said = output_of(&["check", "--online", "-c", settings], "");
    assert!(said.contains("all: ok, `written` has 3 partitions, 1 replicas"), "{said}");
    assert!(said.contains("may be one copy"), "{said}");
    output_of(&["test-event", "--destination", "all", "-c", settings], "");
    let tested = cluster.read("written", 3).into_iter().find(|it| it.value.contains("\"test\""));
    assert!(tested.is_some());
}

#[test]
fn an_event_that_the_topic_does_not_take_is_a_dead_letter_and_keeps_no_other() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("small", 1, &[("max.message.bytes", "20000")]);
    let events = generate(EVENT_TYPE, 20, 81);
    let daemon = Daemon::start(&to_topic(&cluster.brokers(), "small", "none", ""));
    let filled = format!(r#""object":{{"x":"{}","#, "x".repeat(20_000));
    let large = events[0].replacen(r#""object":{"#, &filled, 1);
    let body = events[1..].join("\n") + "\n" + &large;
    assert_eq!(daemon.post(NDJSON, body).status, 200);
    daemon.wait_for("all settled", |status| {
        of_destination(status, "dead_lettered") == 1 && of_destination(status, "delivered") == 19
    });
    let arrived = cluster.read("small", 1);
    assert!(arrived.iter().all(|it| it.key.is_none()));
    let found: BTreeSet<String> = arrived.into_iter().map(|it| it.value).collect();
    assert_eq!(found, events[1..].iter().cloned().collect());
    let settings = daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    assert!(listed.contains("the topic `small` takes 18976"), "{listed}");
}

#[test]
fn a_topic_that_is_not_there_pauses_the_destination_until_it_is() {
    let Some(cluster) = Cluster::shared() else { return };
    let events = generate(EVENT_TYPE, 10, 82);
    let daemon = Daemon::start(&to_topic(&cluster.brokers(), "later", "account_id", ""));
    assert_eq!(daemon.post(NDJSON, events.join("\n")).status, 200);
    let status = daemon.wait_for("paused", |it| of_destination(it, "state") == "paused");
    let said = of_destination(&status, "last_error").to_string();
    assert!(said.contains("make the topic `later`"), "{said}");
    cluster.create_topic("later", 2, &[]);
    daemon.wait_until_delivered();
    let account = |event: &String| {
        let event: Value = serde_json::from_str(event).unwrap();
        event["account_id"].as_str().map(str::to_owned)
    };
    for message in cluster.read("later", 2) {
        assert_eq!(message.key, account(&message.value));
    }
}

#[test]
fn a_wrong_password_pauses_the_destination_and_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(certificates) = cluster.certificates() else { return };
    cluster.create_topic("locked", 1, &[]);
    let options = |password: &str| {
        format!(
            "security.protocol: sasl_ssl, sasl.mechanism: SCRAM-SHA-256, sasl.username: {}, \
             sasl.password: {password}, ssl.ca.location: \"{}\"",
            USER.0,
            certificates.path("ca.pem").display()
        )
    };
    let settings = to_topic(&cluster.sasl(), "locked", "none", &options("wrong"));
    let daemon = Daemon::start(&settings);
    let event = &generate(EVENT_TYPE, 1, 83)[0];
    assert_eq!(daemon.post(NDJSON, event).status, 200);
    let status = daemon.wait_for("paused", |it| of_destination(it, "state") == "paused");
    let said = of_destination(&status, "last_error").to_string();
    assert!(said.contains("uthentication"), "{said}");
    assert!(!said.contains("wrong"), "{said}");
    let mended = changed(&settings, "wrong", &format!("\"{}\"", USER.1));
    daemon.reload(&mended);
    daemon.wait_until_delivered();
    assert_eq!(cluster.read("locked", 1).len(), 1);
}

#[test]
fn brokers_that_are_away_are_waited_for() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    mock.broker_down(1).unwrap();
    let settings = to_topic(&mock.bootstrap_servers(), "t", "event_id", "");
    let daemon = Daemon::start(&settings);
    assert_eq!(daemon.post(NDJSON, &generate(EVENT_TYPE, 1, 84)[0]).status, 200);
    daemon.wait_for("retrying", |it| of_destination(it, "state") == "retrying");
    mock.broker_up(1).unwrap();
    daemon.wait_until_delivered();
}
