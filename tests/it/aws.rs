//! The three AWS services against moto: exactly what was to arrive, no more, no less.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::{Value, json};

use crate::delivery::{SUBSCRIPTIONS, arrived, expected, traffic};
use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::decode_base64;
use crate::support::moto::Moto;
use crate::support::{changed, sluicegate};

fn destinations(moto: &Moto) -> String {
    let url = moto.url();
    format!(
        r#"
destinations:
  - id: first
    target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/errors", endpoint_url: "{url}" }} }}
    batch: {{ linger: 50ms }}
  - id: second
    target: {{ firehose: {{ delivery_stream_arn: "arn:aws:firehose:us-east-1:123456789012:deliverystream/to-s3", endpoint_url: "{url}" }} }}
    batch: {{ linger: 50ms }}
  - id: third
    target: {{ cloudwatch_logs: {{ log_group_arn: "arn:aws:logs:us-east-1:123456789012:log-group:/app/events", endpoint_url: "{url}" }} }}
    batch: {{ linger: 50ms }}
"#
    )
}

fn make_resources(moto: &Moto) {
    moto.call("kinesis", "CreateStream", json!({"StreamName": "errors", "ShardCount": 4}));
    moto.make_bucket("out");
    let s3 = json!({
        "RoleARN": "arn:aws:iam::123456789012:role/firehose",
        "BucketARN": "arn:aws:s3:::out",
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
    });
    let stream = json!({
        "DeliveryStreamName": "to-s3",
        "DeliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": s3,
    });
    moto.call("firehose", "CreateDeliveryStream", stream);
    moto.call("logs", "CreateLogGroup", json!({"logGroupName": "/app/events"}));
}

/// Every record of the stream with its partition key.
fn read_stream(moto: &Moto) -> Vec<(String, String)> {
    let mut records = Vec::new();
    let shards = moto.call("kinesis", "ListShards", json!({"StreamName": "errors"}));
    for shard in shards["Shards"].as_array().unwrap() {
        let start = json!({
            "StreamName": "errors",
            "ShardId": shard["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let mut next = moto.call("kinesis", "GetShardIterator", start)["ShardIterator"].clone();
        loop {
            let page = moto.call("kinesis", "GetRecords", json!({"ShardIterator": next}));
            let found = page["Records"].as_array().unwrap();
            if found.is_empty() {
                break;
            }
            for record in found {
                let data = decode_base64(record["Data"].as_str().unwrap());
                records.push((data, record["PartitionKey"].as_str().unwrap().to_owned()));
            }
            next = page["NextShardIterator"].clone();
        }
    }
    records
}

/// Every log event of the group: its time in milliseconds and its message.
fn read_logs(moto: &Moto) -> Vec<(i64, String)> {
    let mut events = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut query = json!({"logGroupName": "/app/events", "limit": 1000});
        if !token.is_null() {
            query["nextToken"] = token;
        }
        let page = moto.call("logs", "FilterLogEvents", query);
        for event in page["events"].as_array().unwrap() {
            let message = event["message"].as_str().unwrap().to_owned();
            events.push((event["timestamp"].as_i64().unwrap(), message));
        }
        token = page["nextToken"].clone();
        if token.is_null() {
            return events;
        }
    }
}

#[test]
fn what_arrives_at_kinesis_firehose_and_cloudwatch_is_what_was_to_arrive() {
    let Some(moto) = Moto::start() else { return };
    make_resources(&moto);
    let daemon = Daemon::start(&format!("{}{SUBSCRIPTIONS}", destinations(&moto)));
    let events = traffic(5_000);
    daemon.send(&events);
    daemon.wait_until_delivered();
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let expected = expected(&events);

    let stream = read_stream(&moto);
    assert_eq!(arrived(stream.iter().map(|(data, _)| data.as_str())), expected.first);
    for (data, partition_key) in &stream {
        let record: Value = serde_json::from_str(data).unwrap();
        assert_eq!(record["event_id"], partition_key.as_str());
    }

    let bucket = moto.read_bucket("out");
    assert!(bucket.ends_with('\n'));
    assert_eq!(arrived(bucket.lines()), expected.second);

    let logs = read_logs(&moto);
    assert_eq!(arrived(logs.iter().map(|(_, message)| message.as_str())), expected.third);
    let times: BTreeMap<String, i64> = logs
        .iter()
        .map(|(time, message)| {
            let record: Value = serde_json::from_str(message).unwrap();
            (record["event_timestamp"].as_str().unwrap().to_owned(), *time)
        })
        .collect();
    for (written, millis) in times {
        let time = sluicegate::event::Timestamp::parse(&written).unwrap();
        assert_eq!(time.unix_millis(), millis, "a log event's time is the event's");
    }
}

fn with_keys(settings: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.yaml");
    let auth = "auth: { creds: { aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: s3cret-key } }, endpoint_url";
    std::fs::write(&path, changed(settings, "endpoint_url", auth)).unwrap();
    let mut arguments = arguments.to_vec();
    arguments.extend(["-c", path.to_str().unwrap()]);
    sluicegate(&arguments, "")
}

#[test]
fn a_test_event_reaches_each_service_and_a_missing_stream_is_told() {
    let Some(moto) = Moto::start() else { return };
    let settings = destinations(&moto);
    let output = with_keys(&settings, &["test-event", "--destination", "first"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("ResourceNotFoundException"), "{errors}");
    make_resources(&moto);
    for id in ["first", "second", "third"] {
        let output = with_keys(&settings, &["test-event", "--destination", id, "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["answer"], "delivered");
    }
    let (data, _) = read_stream(&moto).remove(0);
    let record: Value = serde_json::from_str(&data).unwrap();
    assert_eq!((&record["event_type"], &record["object"]), (&json!("test"), &json!({})));
    let keys: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["event_id", "event_timestamp", "event_type", "object"]);
    assert_eq!(moto.read_bucket("out").lines().count(), 1);
    assert_eq!(read_logs(&moto).len(), 1);
}

#[test]
fn check_online_asks_each_service_and_shows_no_secret() {
    let Some(moto) = Moto::start() else { return };
    let settings = destinations(&moto);
    let before = with_keys(&settings, &["check", "--online"]);
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    make_resources(&moto);
    let after = with_keys(&settings, &["check", "--online"]);
    let text = String::from_utf8_lossy(&after.stdout);
    assert_eq!(after.status.code(), Some(0), "{after:?}");
    assert_eq!(text.lines().filter(|line| line.contains(": ok, ")).count(), 4, "{text}");
    for output in [before, after] {
        assert!(!format!("{output:?}").contains("s3cret-key"));
    }
}
