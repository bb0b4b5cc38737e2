//! The relay: bodies that come over HTTP end in a topic of Apache Kafka, or their sender is told that they may not.

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use crate::kafka::{lines, to_file};
use crate::support::apache::Cluster;
use crate::support::daemon::Daemon;
use crate::support::{generate, http};

const EVENT_TYPE: &str = "http_request_complete.v0";

const NDJSON: &str = "application/x-ndjson";

/// HTTP ingest that writes to a topic, and Kafka ingest that reads it again.
fn there_and_back(brokers: &str, topic: &str) -> String {
    format!(
        r#"
ingest:
  http:
    listen: "127.0.0.1:0"
    relay: {{ kafka: {{ brokers: "{brokers}", topic: {topic}, key: event_id }} }}
  kafka:
    brokers: "{brokers}"
    topics: [{topic}]
    group_id: {topic}
    options: {{ group.protocol: consumer, auto.commit.interval.ms: "200", reconnect.backoff.max.ms: "500" }}
"#
    )
}

fn is_ready(status: &Value) -> bool {
    status["ingest"]["relay"]["partitions"].is_u64()
}

#[test]
fn good_events_are_written_with_ids_and_bad_ones_are_refused_by_their_places() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create_topic("relayed", 2, &[("max.message.bytes", "20000")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ndjson");
    let settings = there_and_back(&cluster.brokers(), "relayed") + &to_file(&file);
    let daemon = Daemon::start(&settings);
    let status = daemon.wait_for("the topic is known", is_ready);
    assert_eq!(status["ingest"]["relay"]["min_in_sync_replicas"], 1);
    daemon.wait_for_log("`min.insync.replicas` of the relay's topic is 1");
    let good = generate(EVENT_TYPE, 2, 97);
    let without_id = format!(r#"{{"event_type":"{EVENT_TYPE}","object":{{}}}}"#);
    let large = good[0].replacen(
        r#""object":{"#,
        &format!(r#""object":{{"x":"{}","#, "x".repeat(20_000)),
        1,
    );
    let body = [&*good[0], "no json", &large, &without_id, &good[1]].join("\n");
    let answer = daemon.post(NDJSON, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(said["accepted"], 3);
    let refused = |at: usize| (&said["rejected"][at]["index"], &said["rejected"][at]["error_code"]);
    assert_eq!(refused(0), (&json!(1), &json!("ERR_SLUICEGATE_1001")));
    assert_eq!(refused(1), (&json!(2), &json!("ERR_SLUICEGATE_1410")));
    daemon.wait_for("they come back", |status| status["ingest"]["kafka"]["messages"] == 3);
    daemon.wait_until_delivered();
    let delivered = lines(&file);
    assert!(good.iter().all(|event| delivered.contains(event)), "{delivered:?}");
    assert!(
        delivered
            .iter()
            .any(|it| it.contains(r#""event_id":"ev_"#) && it.contains(r#""object":{}"#))
    );
    assert_eq!(daemon.status()["ingest"]["relay"]["written"], 3);
}

#[test]
fn without_a_topic_nothing_is_taken_and_the_sender_is_told() {
    let mock = MockCluster::new(1).unwrap();
    let brokers = mock.bootstrap_servers();
    mock.broker_down(1).unwrap();
    let settings = format!(
        "ingest: {{ http: {{ listen: \"127.0.0.1:0\", relay: {{ kafka: {{ brokers: \"{brokers}\", topic: t }} }} }} }}\n"
    );
    let daemon = Daemon::start(&settings);
    let answer = daemon.post(NDJSON, &generate(EVENT_TYPE, 1, 98)[0]);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("ERR_SLUICEGATE_1411"), "{}", answer.body);
    daemon.wait_for("the error", |status| status["ingest"]["relay"]["error"].is_string());
    let ready = http::get(daemon.api, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("the relay cannot write"), "{}", ready.body);
}

#[test]
fn what_the_brokers_do_not_confirm_is_told_and_the_daemon_ready_again_when_they_answer() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    let brokers = mock.bootstrap_servers();
    let settings = format!(
        "ingest: {{ http: {{ listen: \"127.0.0.1:0\", relay: {{ kafka: {{ brokers: \"{brokers}\", topic: t, options: {{ message.timeout.ms: \"2000\" }} }} }} }} }}\n"
    );
    let daemon = Daemon::start(&settings);
    daemon.wait_for("the topic is known", is_ready);
    assert_eq!(http::get(daemon.api, "/readyz").status, 200);
    let event = &generate(EVENT_TYPE, 1, 90)[0];
    assert_eq!(daemon.post(NDJSON, event).status, 200);
    mock.broker_down(1).unwrap();
    let answer = daemon.post(NDJSON, event);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("ERR_SLUICEGATE_1412"), "{}", answer.body);
    assert_eq!(http::get(daemon.api, "/readyz").status, 503);
    assert_eq!(daemon.status()["ingest"]["relay"]["failed"], 1);
    mock.broker_up(1).unwrap();
    daemon.wait_for("ready again", |_| http::get(daemon.api, "/readyz").status == 200);
    assert_eq!(daemon.post(NDJSON, event).status, 200);
}

/// Bodies go to three daemons in turn, which write to three brokers and read from them as one group; each daemon and a
/// broker are killed meanwhile, the broker in the middle of a body.
#[test]
fn daemons_and_a_broker_are_killed_and_nothing_acknowledged_is_missing() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    cluster.create_topic("river", 6, &[("min.insync.replicas", "2")]);
    let folder = tempfile::tempdir().unwrap();
    let files = [0, 1, 2].map(|at| folder.path().join(format!("{at}.ndjson")));
    let brokers = cluster.brokers();
    let start = |at: usize| {
        let data = format!("data_dir: {}\n", folder.path().join(at.to_string()).display());
        let daemon =
            Daemon::start(&(data + &there_and_back(&brokers, "river") + &to_file(&files[at])));
        daemon.wait_for("the topic is known", is_ready);
        daemon
    };
    let mut daemons: Vec<Daemon> = (0..3).map(start).collect();
    let events = generate(EVENT_TYPE, 20_000, 99);
    let (mut acknowledged, mut again) = (0, 0);
    for (number, part) in events.chunks(500).enumerate() {
        let body = part.join("\n");
        if let Some(at) = [5, 10, 15].iter().position(|it| *it == number) {
            let killed = daemons.remove(at);
            killed.signal("KILL");
            killed.wait();
            daemons.insert(at, start(at));
        }
        if number == 30 {
            cluster.restart(2);
        }
        let daemon = &daemons[number % 3];
        let mut send = || {
            for _ in 0..20 {
                let answer = daemon.post(NDJSON, &body);
                if answer.status == 200 {
                    acknowledged += part.len();
                    return;
                }
                assert_eq!(answer.status, 503, "{}", answer.body);
                again += 1;
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            panic!("a body is never taken");
        };
        match number {
            20 => std::thread::scope(|scope| {
                scope.spawn(|| cluster.kill(2));
                send();
            }),
            _ => send(),
        }
    }
    assert_eq!(acknowledged, events.len());
    let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["event_id"].to_string();
    let wanted: BTreeSet<String> = events.iter().map(id).collect();
    let delivered = || -> Vec<String> {
        files
            .iter()
            .flat_map(|file| lines(file))
            .filter(|it| it.ends_with('}'))
            .map(|it| id(&it))
            .collect()
    };
    daemons[0].wait_for("all of it", |_| {
        delivered().into_iter().collect::<BTreeSet<_>>().is_superset(&wanted)
    });
    let delivered = delivered();
    let copies = delivered.len() - delivered.iter().collect::<BTreeSet<_>>().len();
    println!("{} events, {copies} copies, {again} bodies sent again", events.len());
}
