//! Kafka ingest against librdkafka's mock cluster, which makes faults, and against brokers of other
//! makes as separate processes. Apache Kafka itself is `apache_kafka.rs`'s.

use std::collections::BTreeSet;
use std::path::Path;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, pause};
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::kafka::{Broker, Make, produce, produce_tombstone};
use crate::support::{changed, generate, http, output_of, sluicegate};

const EVENT_TYPE: &str = "http_request_complete.v0";

fn mock() -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("events", 4, 1).unwrap();
    mock
}

/// Ingest from the topic `events`; a short session, so that a group notices a death soon.
fn ingest(brokers: &str) -> String {
    format!(
        r#"
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  kafka:
    brokers: "{brokers}"
    topics: [events]
    group_id: g
    options: {{ session.timeout.ms: "6000", heartbeat.interval.ms: "500", reconnect.backoff.max.ms: "500", auto.commit.interval.ms: "200" }}
"#
    )
}

/// Delivery of everything to a file.
pub(crate) fn to_file(file: &Path) -> String {
    format!(
        r#"
destinations:
  - {{ id: all, target: {{ file: {{ path: "{}" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: {EVENT_TYPE} }}], destinations: [all] }}
"#,
        file.display()
    )
}

fn to_kinesis(fake: &FakeKinesis) -> String {
    format!(
        r#"
stop: {{ drain_limit: 0s }}
destinations:
  - id: all
    target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "http://{}" }} }}
    batch: {{ linger: 10ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {EVENT_TYPE} }}], destinations: [all] }}
"#,
        fake.address
    )
}

pub(crate) fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn set(events: &[String]) -> BTreeSet<String> {
    events.iter().cloned().collect()
}

/// Whether so many events were taken, and nothing is left. The lag alone may be that of a moment ago.
fn all_taken(events: u64) -> impl Fn(&Value) -> bool {
    move |status| status["ingest"]["accepted"].as_u64() >= Some(events) && lag(status, 4) == Some(0)
}

/// The lag of all partitions together, once every one of a number of them is known.
pub(crate) fn lag(status: &Value, partitions: usize) -> Option<i64> {
    let all = status["ingest"]["kafka"]["partitions"].as_array()?;
    let lags: Option<Vec<i64>> = all.iter().map(|it| it["lag"].as_i64()).collect();
    lags.filter(|lags| lags.len() == partitions).map(|lags| lags.iter().sum())
}

#[test]
fn messages_arrive_offsets_follow_and_a_restart_begins_behind_them() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let events = generate(EVENT_TYPE, 1_000, 61);
    // One event a message, several lines a message, one event over several lines.
    let (single, rest) = events.split_at(600);
    let (joined, spread) = rest.split_at(396);
    let mut messages = single.to_vec();
    messages.extend(joined.chunks(3).map(|lines| lines.join("\n") + "\n"));
    messages.extend(spread.iter().map(|event| event.replacen(':', ":\n", 1)));
    produce(&brokers, "events", 4, &messages);
    produce_tombstone(&brokers, "events");
    let settings = ingest(&brokers) + &to_file(&file);
    let daemon = Daemon::start(&settings);
    let status = daemon.wait_for("caught up", |status| {
        status["ingest"]["accepted"] == 1_000 && lag(status, 4) == Some(0)
    });
    let kafka = &status["ingest"]["kafka"];
    assert_eq!((&kafka["group_id"], &kafka["state"]), (&"g".into(), &"consuming".into()));
    assert_eq!((&kafka["error"], &kafka["messages"]), (&Value::Null, &737.into()));
    assert_eq!(kafka["partitions"][0]["topic"], "events");
    let metrics = http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains("sluicegate_kafka_messages_total 737"), "{metrics}");
    let of_one = "sluicegate_kafka_lag_messages{topic=\"events\",partition=\"3\"} 0";
    assert!(metrics.contains(of_one), "{metrics}");
    daemon.wait_until_delivered();
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("Kafka ingest has left its group"), "{}", ended.log);
    let delivered: BTreeSet<_> = lines(&file).iter().map(|it| it.replace(": ", ":")).collect();
    assert_eq!(delivered, set(&events));
    let more = generate(EVENT_TYPE, 10, 62);
    produce(&brokers, "events", 4, &more);
    let daemon = Daemon::start(&settings);
    daemon.wait_for("the rest", all_taken(10));
    daemon.wait_until_delivered();
    assert_eq!(daemon.status()["ingest"]["accepted"], 10);
    assert_eq!(lines(&file).len(), 1_010, "nothing comes twice after an orderly stop");
}

#[test]
fn bad_events_become_dead_letters_that_tell_where_they_came_from() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let good = generate(EVENT_TYPE, 2, 63);
    let mixed = format!("{}\nnot json\n{}", good[0], good[1]).into_bytes();
    let unknown = br#"{"event_type":"http_request_complet.v0","object":{}}"#.to_vec();
    produce(&brokers, "events", 1, &[mixed, b"\xff\xfe".to_vec(), unknown]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let settings = ingest(&brokers) + &to_file(&file);
    let daemon = Daemon::start(&settings);
    daemon.wait_for("all taken", |status| {
        status["ingest"]["rejected"] == 3
            && status["ingest"]["kafka"]["partitions"][0]["stored_offset"] == 3
    });
    daemon.wait_until_delivered();
    let refused = json!({"ERR_NGROK_238": 1, "ERR_SLUICEGATE_1001": 1, "ERR_SLUICEGATE_1008": 1});
    assert_eq!(daemon.status()["ingest"]["refused"], refused);
    assert!(daemon.log().contains("\"entrance\":\"kafka\""), "{}", daemon.log());
    assert_eq!(set(&lines(&file)), set(&good));
    let settings = daemon.path("sluicegate.yaml");
    let settings = settings.to_str().unwrap();
    let listed = output_of(&["dead-letters", "list", "-c", settings], "");
    let listed: Vec<_> = listed.lines().collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[0].contains("(ingest.kafka)  events/0/0/1  after 0 tries: not valid JSON"));
    assert!(listed[2].contains("did you mean `http_request_complete.v0`?"), "{listed:?}");
    let id = listed[1].split(' ').next().unwrap();
    let shown = output_of(&["dead-letters", "show", id, "-c", settings], "");
    assert!(shown.contains(r#"{"hex":"fffe"}"#), "{shown}");
    let redriven = sluicegate(&["dead-letters", "redrive", "--all", "-c", settings], "");
    let said = String::from_utf8_lossy(&redriven.stdout);
    assert!(said.contains("3 letters kept: rejected on arrival over Kafka"), "{said}");
    let purged = output_of(&["dead-letters", "purge", "--all", "-c", settings], "");
    assert_eq!(purged, "3 letters thrown away\n");
}

#[test]
fn an_event_without_an_id_has_the_same_one_whenever_it_is_read() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let event = format!(r#"{{"event_type":"{EVENT_TYPE}","object":{{}}}}"#);
    // The same bytes in two places of a message, in two messages, in two partitions.
    produce(&brokers, "events", 2, &vec![format!("{event}\n{event}"); 4]);
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["g", "another"].map(|group| {
        let file = folder.path().join(group);
        let settings = ingest(&brokers) + &to_file(&file);
        let settings = changed(&settings, "group_id: g", &format!("group_id: {group}"));
        let daemon = Daemon::start(&settings);
        daemon.wait_for("all taken", |status| status["ingest"]["accepted"] == 8);
        daemon.wait_until_delivered();
        set(&lines(&file))
    });
    assert_eq!(first.len(), 8, "each has an id of its own");
    assert_eq!(first, second, "ids and times are those of the messages");
}

#[test]
fn a_topic_full_of_garbage_fills_neither_disk_nor_log() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let garbage = "x".repeat(1_000);
    produce(&brokers, "events", 4, &vec![garbage; 20_000]);
    let good = generate(EVENT_TYPE, 10, 69);
    produce(&brokers, "events", 4, &good);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let bounded = "journal: { max_bytes: 16MiB, max_dead_letter_bytes: 4MiB }\n";
    let daemon = Daemon::start(&(ingest(&brokers) + bounded + &to_file(&file)));
    daemon.wait_for("all taken", |status| {
        status["ingest"]["rejected"] == 20_000 && all_taken(10)(status)
    });
    daemon.wait_until_delivered();
    assert_eq!(set(&lines(&file)), set(&good));
    let bytes = |folder: &Path| -> u64 {
        let mut folders = vec![folder.to_owned()];
        let mut bytes = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.metadata().unwrap() {
                    it if it.is_dir() => folders.push(entry.path()),
                    it => bytes += it.len(),
                }
            }
        }
        bytes
    };
    // What came in has 20 MB; the rest is the store, and a part of the journal that is made in advance.
    let used = bytes(&daemon.path("data"));
    assert!(used < 10 << 20, "{used}");
    daemon.wait_for_log("the oldest rejected events gave way to newer ones");
    assert!(daemon.log().len() < 100_000, "{}", daemon.log().len());
    let metrics = http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains("sluicegate_dead_letters_gone_total"), "{metrics}");
}

#[test]
fn brokers_that_are_away_are_told_and_waited_for() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let events = generate(EVENT_TYPE, 300, 64);
    produce(&brokers, "events", 4, &events[..100]);
    mock.broker_down(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let daemon = Daemon::start(&(ingest(&brokers) + &to_file(&file)));
    let error = |status: &Value| status["ingest"]["kafka"]["error"].is_string();
    let status = daemon.wait_for("the error shows", error);
    assert_eq!(status["ingest"]["kafka"]["state"], "joining");
    daemon.wait_for_log("Kafka ingest does not work as it should");
    mock.broker_up(1).unwrap();
    let accepted = |count: i64| move |it: &Value| it["ingest"]["accepted"] == count;
    daemon.wait_for("the first", accepted(100));
    let well = |status: &Value| status["ingest"]["kafka"]["error"].is_null();
    daemon.wait_for("the error is gone", well);
    // Away again in the middle, and then back with errors in its answers.
    mock.broker_down(1).unwrap();
    daemon.wait_for("the second error", error);
    mock.broker_up(1).unwrap();
    let not_coordinator = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
    let unknown_member = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[not_coordinator, not_coordinator]);
    mock.request_errors(RDKafkaApiKey::Heartbeat, &[unknown_member]);
    produce(&brokers, "events", 4, &events[100..]);
    daemon.wait_for("all of it", all_taken(300));
    daemon.wait_until_delivered();
    assert_eq!(set(&lines(&file)), set(&events));
}

#[test]
fn a_full_journal_pauses_the_partitions_and_loses_nothing() {
    for durability in ["disk", "memory"] {
        let mock = mock();
        let brokers = mock.bootstrap_servers();
        let fake = FakeKinesis::start(Mood::Failing);
        let events = generate(EVENT_TYPE, 5_000, 65);
        produce(&brokers, "events", 4, &events);
        let journal = format!("journal: {{ durability: {durability}, max_bytes: 2MiB }}\n");
        let daemon = Daemon::start(&(ingest(&brokers) + &journal + &to_kinesis(&fake)));
        daemon.wait_for("paused", |status| status["ingest"]["kafka"]["state"] == "paused");
        daemon.wait_for_log("Kafka partitions are paused");
        let held = daemon.status();
        assert!(held["ingest"]["accepted"].as_u64() < Some(5_000), "{held}");
        fake.set(Mood::Well);
        daemon.wait_for("all of it", all_taken(5_000));
        daemon.wait_until_delivered();
        let arrived: BTreeSet<_> = fake.records().into_keys().collect();
        assert_eq!(arrived, set(&events), "{durability}");
        assert_eq!(daemon.status()["ingest"]["kafka"]["state"], "consuming");
        assert_eq!(daemon.status()["ingest"]["accepted"], 5_000, "nothing was taken twice");
    }
}

#[test]
fn in_memory_mode_offsets_move_only_when_all_is_delivered() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let fake = FakeKinesis::start(Mood::Failing);
    let events = generate(EVENT_TYPE, 500, 66);
    produce(&brokers, "events", 4, &events);
    let settings = ingest(&brokers) + "journal: { durability: memory }\n" + &to_kinesis(&fake);
    let daemon = Daemon::start(&settings);
    daemon.wait_for("all taken", |status| status["ingest"]["accepted"] == 500);
    // Two rounds of statistics later nothing is stored.
    let began = std::time::Instant::now();
    while began.elapsed().as_secs() < 3 {
        let status = daemon.status();
        for partition in status["ingest"]["kafka"]["partitions"].as_array().unwrap() {
            assert_eq!(partition["stored_offset"], Value::Null, "{status:#}");
        }
        pause();
    }
    daemon.signal("KILL");
    drop(daemon);
    fake.set(Mood::Well);
    let daemon = Daemon::start(&settings);
    daemon.wait_for("all taken again", all_taken(500));
    let arrived: BTreeSet<_> = fake.records().into_keys().collect();
    assert_eq!(arrived, set(&events));
    assert_eq!(daemon.status()["ingest"]["accepted"], 500);
}

#[test]
fn in_memory_mode_a_stop_commits_what_its_drain_delivers() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let fake = FakeKinesis::start(Mood::Well);
    let events = generate(EVENT_TYPE, 100, 68);
    produce(&brokers, "events", 4, &events);
    let settings = ingest(&brokers) + "journal: { durability: memory }\n" + &to_kinesis(&fake);
    let slow = changed(&settings, "linger: 10ms", "linger: 60s");
    let slow = changed(&slow, "limit: 0s", "limit: 30s");
    let daemon = Daemon::start(&slow);
    daemon.wait_for("all taken", |status| status["ingest"]["accepted"] == 100);
    assert_eq!(fake.records().len(), 0, "lingering");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(fake.records().len(), 100);
    let daemon = Daemon::start(&settings);
    daemon.wait_for("nothing is left", |status| lag(status, 4) == Some(0));
    assert_eq!(daemon.status()["ingest"]["accepted"], 0);
}

/// Two daemons share a group; one gets a signal in the middle, and comes back later.
fn one_of_two_goes(make: Make, signal: &str) {
    let Some(broker) = Broker::start(make) else { return };
    broker.create_topic("events", 6);
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.ndjson", "b.ndjson"].map(|name| folder.path().join(name));
    let settings = |at: usize| {
        let data = folder.path().join(format!("data-{at}"));
        let data = format!("data_dir: {}\n", data.display());
        data + &ingest(&broker.address) + &to_file(&files[at])
    };
    let events = generate(EVENT_TYPE, 12_000, 67);
    let (stays, goes) = (Daemon::start(&settings(0)), Daemon::start(&settings(1)));
    for daemon in [&stays, &goes] {
        daemon.wait_for("partitions are shared", |status| {
            let partitions = &status["ingest"]["kafka"]["partitions"];
            partitions.as_array().is_some_and(|it| it.len() == 3)
        });
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in events.chunks(100) {
                produce(&broker.address, "events", 6, part);
                pause();
            }
        });
        goes.wait_for("the middle", |it| it["ingest"]["accepted"].as_u64() > Some(2_000));
        goes.signal(signal);
    });
    goes.wait();
    // It comes back while the other one catches up, and delivers what it had in its journal.
    let again = Daemon::start(&settings(1));
    for daemon in [&stays, &again] {
        daemon.wait_for("shared anew", |status| lag(status, 3) == Some(0));
        daemon.wait_until_delivered();
    }
    let delivered = || {
        let mut delivered = set(&lines(&files[0]));
        delivered.extend(lines(&files[1]));
        delivered
    };
    stays.wait_for("all delivered", |_| delivered().len() >= events.len());
    assert_eq!(delivered(), set(&events));
    stays.wait_for_log("partitions were taken away");
}

#[test]
fn two_daemons_share_a_group_and_a_kill_loses_nothing() {
    one_of_two_goes(Make::Calfkit, "KILL");
}

/// Noida does not notice a member's death, so here it leaves.
#[test]
fn two_daemons_share_a_group_and_a_stop_loses_nothing() {
    one_of_two_goes(Make::Noida, "TERM");
}

#[test]
fn a_check_online_asks_the_brokers_for_the_topics() {
    let mock = mock();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, ingest(&mock.bootstrap_servers())).unwrap();
    let said = output_of(&["check", "--online", "-c", file.to_str().unwrap()], "");
    assert!(said.ends_with("  kafka: ok, `events` has 4 partitions\n"), "{said}");
    mock.broker_down(1).unwrap();
    let output = sluicegate(&["check", "--online", "-c", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("kafka: no answer from the brokers"), "{said}");
}

#[test]
fn a_client_that_cannot_be_made_is_told_at_the_start() {
    let settings = changed(
        &ingest("127.0.0.1:9"),
        "reconnect.backoff.max.ms: \"500\"",
        "security.protocol: ssl, ssl.ca.location: /dev/null",
    );
    let said = Daemon::fail_to_start(&settings);
    assert!(said.contains("`ingest.kafka`: the Kafka client cannot be made"), "{said}");
    assert!(said.contains("ssl.ca.location"), "{said}");
}
