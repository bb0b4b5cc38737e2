//! Kinesis as its best clients use it: keys and their order, slow shards, several events in a record; against
//! a service of our own.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{Entry, FakeKinesis, Mood, hash_of};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, http, output_of, venv_program};

/// The settings of one destination, which gets all requests.
fn settings(fake: &FakeKinesis, target: Value) -> String {
    let destination = Destination::kinesis("keyed", fake).with_kinesis(target);
    let subscription = Subscription::new("all", &["keyed"]);
    Settings::new().destination(destination).subscription(subscription).to_string()
}

#[test]
fn a_partition_key_is_read_from_the_record_and_is_the_events_id_where_there_is_none() {
    let fake = FakeKinesis::start(Mood::Well);
    let daemon = Daemon::start(&settings(&fake, json!({"partition_key": "ev.oauth.user.id"})));
    let events = generate("http_request_complete.v0", 500, 31);
    daemon.send(&events);
    let status = daemon.wait_until_delivered();
    let mut without = 0;
    let keys = fake.partition_keys();
    assert_eq!(keys.len(), events.len());
    assert!(fake.entries().iter().all(|it| it.explicit_hash_key.is_none()));
    for (data, key) in keys {
        let record: Value = serde_json::from_str(&data).unwrap();
        let field = record["object"]["oauth"]["user"]["id"].as_str().filter(|it| !it.is_empty());
        without += u64::from(field.is_none());
        assert_eq!(key, field.unwrap_or(record["event_id"].as_str().unwrap()));
    }
    assert!((1..500).contains(&without), "{without} of 500 have no user");
    assert_eq!(status["destinations"][0]["without_key"], without);
    let metric = format!(
        "sluicegate_destination_records_without_key_total{{destination=\"keyed\"}} {without}"
    );
    assert!(http::get(daemon.api, "/metrics").body.contains(&metric));
}

#[test]
fn the_api_refuses_whatever_would_leave_a_destination_without_its_key() {
    const HTTP: &str = "http_request_complete.v0";
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let target = |key: &str| {
        json!({"kinesis": {
            "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s", "partition_key": key,
            "auth": {"creds": {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "s3cret"}},
        }})
    };
    let refused = |line: &str, body: &Value| {
        let refused = client.refused(line, body);
        assert_eq!(refused, (400, "ERR_SLUICEGATE_1381".to_owned()), "{line} {body}");
    };
    let body = json!({"format": "json", "target": target("ev.conn.client_ip")});
    // Nothing is subscribed to yet, so nothing can be said of its records.
    let made = client.must("POST /event_destinations", &body);
    let destination = format!("PATCH /event_destinations/{}", id(&made));
    let fields = |name: &str| json!([{"type": HTTP, "fields": [name]}]);
    let subscription =
        |name: &str| json!({"sources": fields(name), "destination_ids": [id(&made)]});
    refused("POST /event_subscriptions", &subscription("http.request.method"));
    let line = "POST /event_subscriptions";
    let subscribed = id(&client.must(line, &subscription("conn.client_ip")));
    let whole = format!("PATCH /event_subscriptions/{subscribed}");
    let source = format!("{whole}/sources/{HTTP}");
    refused(&whole, &json!({"sources": fields("http.request.method")}));
    refused(&source, &json!({"fields": ["http.request.method"]}));
    refused(&destination, &json!({"target": target("ev.conn.client_port")}));
    client.must(&destination, &json!({"target": target("event_id")}));
    client.must(&source, &json!({"fields": ["http.request.method"]}));
    refused(&destination, &json!({"target": target("ev.conn.client_ip")}));
}

/// That no request carries a key while an earlier event of it was not taken, unless it carries that too.
/// `order` says when each event was sent to the daemon.
fn assert_in_order(entries: &[Entry], order: &HashMap<String, usize>) {
    let position = |entry: &Entry| order[std::str::from_utf8(&entry.data).unwrap()];
    let mut all: HashMap<&str, Vec<usize>> = HashMap::new();
    for entry in entries {
        all.entry(&entry.key).or_default().push(position(entry));
    }
    let mut taken = HashSet::new();
    for request in entries.chunk_by(|one, other| one.request == other.request) {
        let here: HashSet<usize> = request.iter().map(position).collect();
        for entry in request {
            let of_key = all[entry.key.as_str()].iter().filter(|it| **it < position(entry));
            let mut untaken = of_key.filter(|it| !taken.contains(*it) && !here.contains(it));
            assert_eq!(untaken.next(), None, "{} came before it", position(entry));
        }
        taken.extend(request.iter().filter(|it| it.is_taken).map(position));
    }
}

#[test]
fn a_key_is_in_no_later_request_while_an_earlier_record_of_it_was_not_taken() {
    let fake = FakeKinesis::with_shards(4, Mood::Throttling);
    let daemon =
        Daemon::start(&settings(&fake, json!({"partition_key": "ev.http.request.method"})));
    let events = generate("http_request_complete.v0", 800, 32);
    let order: HashMap<String, usize> = events.iter().cloned().zip(0..).collect();
    for events in events.chunks(100) {
        daemon.send(events);
    }
    daemon.wait_for("retried", |status| status["destinations"][0]["retried"].as_u64() > Some(100));
    fake.set(Mood::SecondShardThrottled);
    daemon.wait_for("delivered", |status| status["destinations"][0]["delivered"] != 0);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert!(fake.records().values().all(|times| *times == 1), "something was taken twice");
    assert_eq!(fake.records().len(), events.len());
    let entries = fake.entries();
    assert!(entries.iter().any(|it| !it.is_taken));
    assert_in_order(&entries, &order);
}

#[test]
fn one_throttled_shard_of_four_holds_up_the_keys_of_no_other() {
    const EVENTS: usize = 12_000;
    let fake = FakeKinesis::with_shards(4, Mood::Well);
    let daemon = Daemon::start(&settings(&fake, json!({})));
    let second = fake.shards()[1];
    let is_of_second = |event: &String| {
        let event: Value = serde_json::from_str(event).unwrap();
        let hash = hash_of(event["event_id"].as_str().unwrap());
        (second.range.0..=second.range.1).contains(&hash)
    };
    let rate = |events: &[String], delivered: u64| {
        let before = daemon.destination("keyed")["delivered"].as_u64().unwrap();
        let began = Instant::now();
        events.chunks(4_000).for_each(|events| daemon.send(events));
        daemon.wait_for("the others' records", |status| {
            status["destinations"][0]["delivered"].as_u64() >= Some(before + delivered)
        });
        delivered as f64 / began.elapsed().as_secs_f64()
    };
    let well = rate(&generate("http_request_complete.v0", EVENTS, 33), EVENTS as u64);
    let requests_when_well = fake.requests();
    fake.set(Mood::SecondShardThrottled);
    let events = generate("http_request_complete.v0", EVENTS, 34);
    let slow = events.iter().filter(|it| is_of_second(it)).count();
    let others = (EVENTS - slow) as u64;
    let throttled = rate(&events, others);
    let requests_when_throttled = fake.requests() - requests_when_well;
    let entries = fake.entries();
    let in_vain = entries.iter().filter(|it| !it.is_taken && it.shard == second.id()).count();
    println!(
        "{well:.0} records a second when all is well, {throttled:.0} of the other three shards beside a \
         throttled one; {requests_when_well} and {requests_when_throttled} requests; {in_vain} of {slow} \
         records of the throttled shard were sent in vain"
    );
    // All of the others' arrived although none of these did, which are more than what is read ahead.
    assert!(slow > 2_500);
    let status = daemon.status();
    let keyed = &status["destinations"][0];
    assert_eq!(keyed["pending_records"], slow, "{keyed}");
    assert_eq!(keyed["slow_parts"][0]["name"], "shardId-000000000001");
    assert_eq!(keyed["state"], "retrying");
    assert!(in_vain < slow / 2, "{in_vain} of {slow} were sent in vain");
    assert!(requests_when_throttled < 3 * requests_when_well);
    fake.set(Mood::Well);
    let status = daemon.wait_until_delivered();
    assert!(fake.records().values().all(|times| *times == 1), "something was taken twice");
    assert_eq!(fake.records().len(), 2 * EVENTS);
    assert_eq!(status["destinations"][0]["held_back"], json!({"records": 0, "bytes": 0}));
    assert_eq!(status["destinations"][0]["slow_parts"], json!([]));
}

/// Takes entries apart as consumers do, by `aws_kinesis_agg`: the key and text of each event. None, with a line
/// that says so, where it is not installed.
fn taken_apart(entries: &[Entry]) -> Option<Vec<(String, String)>> {
    let python = venv_program("python")?;
    let probe = Command::new(&python).args(["-c", "import aws_kinesis_agg.deaggregator"]).output();
    if !probe.unwrap().status.success() {
        println!(
            "skipped: Python's `aws_kinesis_agg` is not installed; `make clean-venv test` installs it"
        );
        return None;
    }
    let program = r#"
import base64, json, sys
from aws_kinesis_agg.deaggregator import deaggregate_records
records = [{"kinesis": {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "partitionKey": it["key"],
    "approximateArrivalTimestamp": 1, "data": it["data"]}} for it in json.load(sys.stdin)]
events = [it["kinesis"] for it in deaggregate_records(records)]
print(json.dumps([[it["partitionKey"], base64.b64decode(it["data"]).decode()] for it in events]))
"#;
    let input: Vec<Value> = entries
        .iter()
        .map(|it| json!({"key": it.key, "data": STANDARD.encode(&it.data)}))
        .collect();
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json!(input).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// That entries of several events went where the one hash key of all of them belongs, as KCL demands.
fn assert_one_hash_key_each(entries: &[Entry], fake: &FakeKinesis) {
    let shards = fake.shards();
    for entry in entries.iter().filter(|it| it.data.starts_with(&[0xf3, 0x89, 0x9a, 0xc2])) {
        let hash_key = entry.explicit_hash_key.expect("an aggregate has a hash key");
        let shard = shards.iter().find(|it| it.id() == entry.shard).unwrap();
        assert!((shard.range.0..=shard.range.1).contains(&hash_key));
        let text = format!("\x12{}{hash_key}", char::from(hash_key.to_string().len() as u8));
        let at = entry.data.windows(text.len()).filter(|it| *it == text.as_bytes()).count();
        assert_eq!(at, 1, "it is the only one in it");
        assert!(entry.data.len() + entry.key.len() <= 51_200);
    }
}

#[test]
fn events_share_records_that_consumers_take_apart_also_when_a_shard_is_split() {
    let fake = FakeKinesis::with_shards(2, Mood::Well);
    fake.describe(json!({"RecordDistributionStrategy": "USER_PARTITION_KEY"}));
    let daemon = Daemon::start(&settings(&fake, json!({"aggregate": "kpl"})));
    let first = generate("http_request_complete.v0", 2_000, 35);
    daemon.send(&first);
    let status = daemon.wait_until_delivered();
    let packing = &status["destinations"][0]["packing"];
    assert_eq!(
        (&packing["packs"], &packing["reason"]),
        (&json!(true), &json!("its 2 open shards are known"))
    );
    fake.split(0);
    let second = generate("http_request_complete.v0", 2_000, 36);
    for events in second.chunks(500) {
        daemon.send(events);
        daemon.wait_until_delivered();
    }
    let entries = fake.entries();
    println!("{} events in {} records", first.len() + second.len(), entries.len());
    assert!(entries.len() * 10 < first.len() + second.len(), "{} records", entries.len());
    assert_one_hash_key_each(&entries, &fake);
    let shards: BTreeSet<&str> = entries.iter().map(|it| it.shard.as_str()).collect();
    assert_eq!(shards.len(), 4, "both halves are used: {shards:?}");
    let Some(events) = taken_apart(&entries) else { return };
    assert_eq!(events.len(), first.len() + second.len(), "each came once");
    for (key, text) in &events {
        assert!(text.contains(&format!("\"event_id\":\"{key}\"")), "the key is the event's id");
    }
    let arrived: BTreeSet<String> = events.into_iter().map(|(_, text)| text).collect();
    assert_eq!(arrived, first.into_iter().chain(second).collect());
}

#[test]
fn events_that_share_a_record_have_one_key_where_that_is_theirs() {
    let fake = FakeKinesis::with_shards(4, Mood::SecondShardThrottled);
    fake.describe(json!({"StreamModeDetails": {"StreamMode": "PROVISIONED"}}));
    let target = json!({"aggregate": "kpl", "partition_key": "ev.http.request.method"});
    let daemon = Daemon::start(&settings(&fake, target));
    let events = generate("http_request_complete.v0", 1_000, 37);
    for events in events.chunks(200) {
        daemon.send(events);
    }
    let second = fake.shards()[1].range;
    let is_of_second = |event: &String| {
        let event: Value = serde_json::from_str(event).unwrap();
        let hash = hash_of(event["object"]["http"]["request"]["method"].as_str().unwrap());
        (second.0..=second.1).contains(&hash)
    };
    let others = events.iter().filter(|it| !is_of_second(it)).count();
    daemon
        .wait_for("the others' records", |status| status["destinations"][0]["delivered"] == others);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    let taken: Vec<Entry> = fake.entries().into_iter().filter(|it| it.is_taken).collect();
    assert_one_hash_key_each(&taken, &fake);
    let Some(arrived) = taken_apart(&taken) else { return };
    let mut of_key: HashMap<String, Vec<String>> = HashMap::new();
    for (key, text) in arrived {
        of_key.entry(key).or_default().push(text);
    }
    let mut sent: HashMap<String, Vec<String>> = HashMap::new();
    for text in events {
        let event: Value = serde_json::from_str(&text).unwrap();
        let key = event["object"]["http"]["request"]["method"].as_str().unwrap().to_owned();
        sent.entry(key).or_default().push(text);
    }
    assert_eq!(of_key, sent, "each key's arrived once, in their order");
}

#[test]
fn each_event_has_a_record_of_its_own_where_aggregates_would_be_lost_or_nobody_can_tell() {
    for (description, reason) in [
        (json!({"RecordDistributionStrategy": "AUTO"}), "strategy is AUTO"),
        (json!({"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}), "does not say"),
        (Value::Null, "cannot be looked at: `kinesis:DescribeStreamSummary`"),
    ] {
        let fake = FakeKinesis::start(Mood::Well);
        fake.describe(description);
        let text = settings(&fake, json!({"aggregate": "kpl"}));
        let daemon = Daemon::start(&text);
        daemon.send(&generate("http_request_complete.v0", 600, 38));
        let status = daemon.wait_until_delivered();
        assert_eq!(fake.entries().len(), 600);
        assert!(fake.entries().iter().all(|it| it.explicit_hash_key.is_none()));
        let packing = &status["destinations"][0]["packing"];
        assert_eq!(packing["packs"], false);
        assert!(packing["reason"].as_str().unwrap().contains(reason), "{packing}");
    }
}

#[test]
fn a_record_is_as_large_as_the_settings_and_the_stream_allow() {
    let fake = FakeKinesis::start(Mood::Well);
    fake.describe(json!({"MaxRecordSizeInKiB": 2048}));
    let destination = Destination::kinesis("keyed", &fake)
        .with_kinesis(json!({"max_record_bytes": "4MiB"}))
        .linger("0ms");
    let subscription = Subscription::new("all", &["keyed"]);
    let settings = Settings::new().destination(destination).subscription(subscription);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.json");
    std::fs::write(&file, settings.to_string().replace("DIR", folder.path().to_str().unwrap()))
        .unwrap();
    let said = output_of(&["check", "-c", file.to_str().unwrap(), "--online"], "");
    assert!(
        said.contains("it takes records of 2097152 bytes, less than `max_record_bytes`"),
        "{said}"
    );
    let daemon = Daemon::start(&settings.max_event("5MiB").to_string());
    let event = |id: &str, bytes: usize| {
        let path = "x".repeat(bytes);
        json!({
            "event_id": id, "event_type": "http_request_complete.v0",
            "event_timestamp": "2025-09-04T10:11:14Z",
            "object": {"http": {"request": {"url": {"path": path}}}},
        })
        .to_string()
    };
    daemon.send(&[event("small", 10)]);
    daemon.wait_until_delivered();
    daemon.send(&[event("large", 1_500_000)]);
    daemon.send(&[event("too-large", 3_000_000)]);
    let status = daemon.wait_until_delivered();
    let keyed = &status["destinations"][0];
    assert_eq!((&keyed["delivered"], &keyed["dead_lettered"]), (&json!(2), &json!(1)), "{keyed}");
    assert!(fake.entries().iter().any(|it| it.key == "large" && it.data.len() > 1_500_000));
    assert!(fake.entries().iter().all(|it| it.key != "too-large"));
}
