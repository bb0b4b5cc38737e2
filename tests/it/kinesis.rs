//! Kinesis as its best clients use it: keys and their order, slow shards; against a service of our own.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{Entry, FakeKinesis, Mood, hash_of};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::{generate, http};

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
