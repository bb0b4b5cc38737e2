//! Kafka ingest against Apache Kafka itself: what only a real broker does.
//!
//! Each test has topics and groups of its own. Faults of the client's network are `kafka.rs`'s.

use std::path::Path;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use crate::kafka::{lag, lines, set, to_file};
use crate::support::apache::{Cluster, USER};
use crate::support::daemon::Daemon;
use crate::support::generate;

const EVENT_TYPE: &str = "http_request_complete.v0";

/// How long a producer waits for its brokers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ingest of one topic by a group of the same name, with further properties of the client.
fn ingest(brokers: &str, topic: &str, options: &[(&str, &str)]) -> String {
    let options: String =
        options.iter().map(|(name, value)| format!(", {name}: {value:?}")).collect();
    format!(
        r#"
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  kafka:
    brokers: "{brokers}"
    topics: [{topic}]
    group_id: {topic}
    options: {{ auto.commit.interval.ms: "200", reconnect.backoff.max.ms: "500"{options} }}
"#
    )
}

/// What makes a group notice within seconds that a member has died; the newer protocol has it from the broker.
const CLASSIC: [(&str, &str); 2] =
    [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];

/// Produces messages over all partitions with further properties, and waits until the brokers have them.
fn produce(cluster: &Cluster, topic: &str, options: &[(&str, &str)], all: &[impl AsRef<[u8]>]) {
    let mut config = cluster.client();
    // Without it a client that tries again while a partition moves writes the same message twice.
    config.set("acks", "all").set("enable.idempotence", "true");
    for (name, value) in options {
        config.set(*name, *value);
    }
    let producer: BaseProducer = config.create().unwrap();
    for message in all {
        let record = BaseRecord::<(), [u8]>::to(topic).payload(message.as_ref());
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Waits until so many events were taken and nothing is left in so many partitions, and for their delivery.
fn all_taken(daemon: &Daemon, events: usize, partitions: usize) -> Value {
    daemon.wait_for("all taken", |status| {
        status["ingest"]["accepted"].as_u64() >= Some(events as u64)
            && lag(status, partitions) == Some(0)
    });
    daemon.wait_until_delivered()
}

fn assert_delivered(file: &Path, events: &[String]) {
    assert_eq!(set(&lines(file)), set(events));
}

#[test]
fn events_come_over_tls_and_sasl_in_every_codec_by_both_protocols() {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(certificates) = cluster.certificates() else { return };
    cluster.create_topic("ways", 2, &[]);
    let events = generate(EVENT_TYPE, 400, 91);
    let codecs = ["gzip", "snappy", "lz4", "zstd"];
    for (codec, events) in codecs.iter().zip(events.chunks(100)) {
        produce(cluster, "ways", &[("compression.type", *codec), ("linger.ms", "50")], events);
    }
    let ca = certificates.path("ca.pem");
    let ca = ca.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (at, (mechanism, protocol)) in [
        ("", "consumer"),
        ("PLAIN", "classic"),
        ("SCRAM-SHA-256", "consumer"),
        ("SCRAM-SHA-512", "classic"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut options = vec![
            ("ssl.ca.location", ca),
            ("security.protocol", "SSL"),
            ("group.protocol", protocol),
        ];
        let brokers = match mechanism {
            "" => cluster.tls(),
            _ => {
                options[1].1 = "SASL_SSL";
                let (user, password) = USER;
                let sasl = [("mechanism", mechanism), ("username", user), ("password", password)];
                options.extend(sasl.map(|(name, value)| match name {
                    "mechanism" => ("sasl.mechanism", value),
                    "username" => ("sasl.username", value),
                    _ => ("sasl.password", value),
                }));
                cluster.sasl()
            }
        };
        let file = folder.path().join(at.to_string());
        let settings = ingest(&brokers, "ways", &options) + &to_file(&file);
        let settings = settings.replace("group_id: ways", &format!("group_id: ways-{at}"));
        let daemon = Daemon::start(&settings);
        all_taken(&daemon, events.len(), 2);
        assert_delivered(&file, &events);
    }
}

#[test]
fn a_wrong_password_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(certificates) = cluster.certificates() else { return };
    let ca = certificates.path("ca.pem");
    let options = [
        ("ssl.ca.location", ca.to_str().unwrap()),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", USER.0),
        ("sasl.password", "wrong"),
    ];
    let daemon = Daemon::start(&ingest(&cluster.sasl(), "ways", &options));
    daemon.wait_for("the error", |status| {
        let said = status["ingest"]["kafka"]["error"].as_str();
        said.is_some_and(|said| said.contains("SASL authentication error"))
    });
}

#[test]
fn of_transactions_what_was_committed_comes_and_the_lag_ends_at_0_all_the_same() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("transactions", 1, &[]);
    let events = generate(EVENT_TYPE, 40, 92);
    let mut config = cluster.client();
    let producer: BaseProducer = config.set("transactional.id", "t").create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for (number, part) in events.chunks(10).enumerate() {
        producer.begin_transaction().unwrap();
        for event in part {
            let record = BaseRecord::<(), str>::to("transactions").payload(event);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        match number % 2 {
            0 => producer.commit_transaction(PATIENCE).unwrap(),
            _ => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let settings = ingest(&cluster.brokers(), "transactions", &[]) + &to_file(&file);
    let committed: Vec<_> = events.chunks(20).flat_map(|part| part[..10].to_vec()).collect();
    let daemon = Daemon::start(&settings);
    all_taken(&daemon, committed.len(), 1);
    assert_delivered(&file, &committed);
    assert!(daemon.stop().status.success());
    let daemon = Daemon::start(&settings);
    daemon.wait_for("nothing is left", |status| lag(status, 1) == Some(0));
}

#[test]
fn messages_of_ten_megabytes_come_whole() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("large", 1, &[("max.message.bytes", "12000000")]);
    let events = generate(EVENT_TYPE, 24_000, 93);
    let mut messages = vec![String::new()];
    for event in &events {
        if messages.last().unwrap().len() + event.len() > 10 << 20 {
            messages.push(String::new());
        }
        let message = messages.last_mut().unwrap();
        message.push_str(event);
        message.push('\n');
    }
    assert!(messages[0].len() > 10_000_000 && messages.len() > 1);
    produce(cluster, "large", &[("message.max.bytes", "12000000")], &messages);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let daemon = Daemon::start(&(ingest(&cluster.brokers(), "large", &[]) + &to_file(&file)));
    all_taken(&daemon, events.len(), 1);
    assert_delivered(&file, &events);
}

/// Its successor cannot be let in by the newer protocol before the broker has given up the one that died.
#[test]
fn the_successor_of_a_static_member_that_was_killed_waits_for_its_place() {
    let Some(cluster) = Cluster::shared() else { return };
    for (topic, protocol) in [("static-new", "consumer"), ("static-old", "classic")] {
        cluster.create_topic(topic, 2, &[]);
        let events = generate(EVENT_TYPE, 200, 94);
        produce(cluster, topic, &[], &events[..100]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.ndjson");
        let mut options = vec![("group.protocol", protocol), ("group.instance.id", "one")];
        if protocol == "classic" {
            options.extend(CLASSIC);
        }
        let settings = ingest(&cluster.brokers(), topic, &options) + &to_file(&file);
        let data = format!("data_dir: {}\n", folder.path().join("data").display());
        let daemon = Daemon::start(&(data.clone() + &settings));
        all_taken(&daemon, 100, 2);
        daemon.signal("KILL");
        daemon.wait();
        produce(cluster, topic, &[], &events[100..]);
        let daemon = Daemon::start(&(data + &settings));
        if protocol == "consumer" {
            daemon.wait_for_log("its last holder has not been given up yet");
        }
        let status = all_taken(&daemon, 100, 2);
        assert_eq!(status["ingest"]["kafka"]["error"], Value::Null);
        assert!(!daemon.log().contains("the client failed"), "{}", daemon.log());
        assert_delivered(&file, &events);
    }
}

#[test]
fn messages_that_retention_took_before_they_were_read_are_counted_and_told() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("overtaken", 1, &[]);
    let events = generate(EVENT_TYPE, 210, 95);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let settings = ingest(&cluster.brokers(), "overtaken", &[]) + &to_file(&file);
    produce(cluster, "overtaken", &[], &events[..10]);
    let daemon = Daemon::start(&settings);
    all_taken(&daemon, 10, 1);
    assert!(daemon.stop().status.success());
    produce(cluster, "overtaken", &[], &events[10..200]);
    // A segment ends after a second, and is thrown away when its messages are a second old.
    let short = [("segment.ms", "1000"), ("retention.ms", "1000"), ("file.delete.delay.ms", "0")];
    cluster.change_topic("overtaken", &short);
    // The next message begins another segment, once a second has passed.
    cluster.wait_for_low_watermark("overtaken", 200, || {
        produce(cluster, "overtaken", &[], &events[200..201]);
    });
    let daemon = Daemon::start(&settings);
    produce(cluster, "overtaken", &[], &events[201..]);
    let status = daemon.wait_for("the gap is counted", |status| {
        status["ingest"]["kafka"]["skipped"].as_u64() > Some(0)
    });
    let skipped = status["ingest"]["kafka"]["skipped"].as_u64().unwrap();
    assert!(skipped >= 190, "{skipped}");
    daemon.wait_for_log("thrown away by the topic's retention");
    // What was read and what was not is all that there was.
    daemon.wait_for("nothing is left, and nothing is unaccounted for", |status| {
        let kafka = &status["ingest"]["kafka"];
        let count = |name: &str| kafka[name].as_u64();
        let end = kafka["partitions"][0]["high_watermark"].as_u64();
        lag(status, 1) == Some(0)
            && count("messages").zip(count("skipped")).map(|(read, not)| 10 + read + not) == end
    });
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("again", 1, &[]);
    let events = generate(EVENT_TYPE, 300, 96);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let options = [("topic.metadata.refresh.interval.ms", "1000")];
    let settings = ingest(&cluster.brokers(), "again", &options) + &to_file(&file);
    produce(cluster, "again", &[], &events[..100]);
    let daemon = Daemon::start(&settings);
    all_taken(&daemon, 100, 1);
    cluster.delete_topic("again");
    daemon.wait_for("it is missed", |status| status["ingest"]["kafka"]["error"].is_string());
    cluster.create_topic("again", 1, &[]);
    // More than it had, so that the old place is one in the new topic too.
    produce(cluster, "again", &[], &events[100..]);
    daemon.wait_for("all taken", |status| status["ingest"]["accepted"] == 300);
    daemon.wait_until_delivered();
    assert_delivered(&file, &events);
}

/// All partitions move from one broker to the other while messages come and are read.
#[test]
fn partitions_that_move_to_another_broker_are_read_on_without_loss_or_copies() {
    let Some(cluster) = Cluster::start(2) else { return };
    cluster.create_topic_at("moving", 4, 1);
    let events = generate(EVENT_TYPE, 4_000, 89);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let options = [("topic.metadata.refresh.interval.ms", "1000"), ("group.protocol", "consumer")];
    let daemon = Daemon::start(&(ingest(&cluster.brokers(), "moving", &options) + &to_file(&file)));
    produce(&cluster, "moving", &[], &events[..1_000]);
    all_taken(&daemon, 1_000, 4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in events[1_000..3_000].chunks(100) {
                produce(&cluster, "moving", &[], part);
            }
        });
        cluster.move_to("moving", 4, 2);
    });
    produce(&cluster, "moving", &[], &events[3_000..]);
    all_taken(&daemon, 4_000, 4);
    assert_delivered(&file, &events);
    assert_eq!(lines(&file).len(), events.len(), "nothing comes twice");
    assert_eq!(daemon.status()["ingest"]["kafka"]["error"], Value::Null);
}
