//! Events that share Firehose's records: what arrives, what is sent again, what is told of it. The service
//! is a fake that holds every request to the documented limits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::decode_base64;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{generate, sluicegate};

const ARN: &str = "arn:aws:firehose:us-east-1:123456789012:deliverystream/d";

/// A stream's description, with what its S3 destination has besides.
fn stream(more: Value) -> Reply {
    let mut s3 = json!({
        "RoleARN": "r", "BucketARN": "b", "BufferingHints": {},
        "CompressionFormat": "UNCOMPRESSED", "EncryptionConfiguration": {},
    });
    s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer(json!({"DeliveryStreamDescription": {
        "DeliveryStreamName": "d", "DeliveryStreamARN": ARN, "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut", "VersionId": "1", "HasMoreDestinations": false,
        "Destinations": [{"DestinationId": "1", "ExtendedS3DestinationDescription": s3}],
    }}))
}

fn lambda() -> Value {
    json!({"ProcessingConfiguration": {"Enabled": true, "Processors": [{"Type": "Lambda"}]}})
}

fn answer(body: Value) -> Reply {
    Reply::new(200, "x-amzn-requestid: 1\r\n", body.to_string())
}

fn operation(request: &Request) -> &str {
    request.header("x-amz-target").unwrap_or_default().rsplit('.').next().unwrap()
}

/// The records of a request, which must be inside the documented limits.
fn records(request: &Request) -> Vec<String> {
    assert!(request.body.len() <= 4 << 20, "a request of {} bytes", request.body.len());
    let input: Value = serde_json::from_str(&request.body).unwrap();
    let records = input["Records"].as_array().unwrap();
    assert!((1..=500).contains(&records.len()), "{} records", records.len());
    let data = records.iter().map(|it| decode_base64(it["Data"].as_str().unwrap()));
    let data: Vec<String> = data.collect();
    for record in &data {
        assert!(record.len() <= 1_000 * 1024 && record.lines().count() <= 500);
        assert!(record.ends_with('\n'), "{record}");
    }
    data
}

/// A service with a stream, and how often it took each event, by its id.
struct Service {
    fake: FakeService,
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// `takes` says of each record, by its number, whether it is taken.
fn service(
    describe: impl Fn() -> Reply + Send + Sync + 'static,
    takes: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> Service {
    let seen = AtomicUsize::new(0);
    let taken: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let count = Arc::clone(&taken);
    let fake = FakeService::start(move |request| match operation(request) {
        "DescribeDeliveryStream" => describe(),
        "PutRecordBatch" => {
            let verdict = |record: &String| {
                if !takes(seen.fetch_add(1, Ordering::Relaxed)) {
                    let code = "ServiceUnavailableException";
                    return json!({"ErrorCode": code, "ErrorMessage": "no"});
                }
                for line in record.lines() {
                    *count.lock().unwrap().entry(id(line)).or_default() += 1;
                }
                json!({"RecordId": "1"})
            };
            let entries: Vec<Value> = records(request).iter().map(verdict).collect();
            let failed = entries.iter().filter(|it| it["RecordId"].is_null()).count();
            answer(json!({"FailedPutCount": failed, "RequestResponses": entries}))
        }
        other => panic!("{other}"),
    });
    Service { fake, taken }
}

impl Service {
    fn requests(&self, name: &str) -> Vec<Request> {
        self.fake.requests().into_iter().filter(|it| operation(it) == name).collect()
    }

    /// How many records came.
    fn records(&self) -> usize {
        self.requests("PutRecordBatch").iter().map(|it| records(it).len()).sum()
    }

    /// Demands that each of these events was taken once, and no other.
    fn has_once(&self, events: &[String]) {
        let taken = self.taken.lock().unwrap();
        let expected: BTreeMap<String, usize> = events.iter().map(|it| (id(it), 1)).collect();
        assert_eq!(*taken, expected);
    }
}

fn id(event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

fn settings(service: &Service, more: &str) -> String {
    let url = service.fake.url();
    format!(
        r#"
destinations:
  - id: d
    target:
      firehose: {{ delivery_stream_arn: "{ARN}", endpoint_url: "{url}", auth: {{ creds: {{ aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: s3cret }} }}{more} }}
    batch: {{ linger: 1s }}
subscriptions:
  - id: all
    sources: [{{ type: http_request_complete.v0 }}]
    destinations: [d]
"#
    )
}

/// What it took to deliver 1,200 events.
struct Delivered {
    records: usize,
    questions: usize,
    /// What `/status` tells of packing.
    told: Value,
}

fn delivered(describe: fn() -> Reply, more: &str) -> Delivered {
    let service = service(describe, |_| true);
    let daemon = Daemon::start(&settings(&service, more));
    let events = generate("http_request_complete.v0", 1_200, 5);
    daemon.send(&events);
    daemon.wait_until_delivered();
    service.has_once(&events);
    Delivered {
        records: service.records(),
        questions: service.requests("DescribeDeliveryStream").len(),
        told: daemon.destination("d")["packing"].clone(),
    }
}

#[test]
fn events_share_records_where_the_stream_delivers_to_s3_as_they_are() {
    let it = delivered(|| stream(json!({})), "");
    assert!(it.records <= 60, "{} records for 1,200 events", it.records);
    assert_eq!(it.questions, 1);
    let reason = "the stream delivers to S3 and looks into no record";
    assert_eq!(it.told, json!({"packs": true, "reason": reason}));
}

#[test]
fn events_share_no_record_where_something_looks_at_each_or_nobody_may_say() {
    let it = delivered(|| stream(lambda()), "");
    assert_eq!(it.records, 1_200);
    assert_eq!(it.told, json!({"packs": false, "reason": "the stream has processors"}));
    let it = delivered(|| Reply::error(400, "AccessDeniedException"), "");
    assert_eq!((it.records, &it.told["packs"]), (1_200, &json!(false)));
    let reason = it.told["reason"].as_str().unwrap();
    let advice = format!("allow the IAM action `firehose:DescribeDeliveryStream` on `{ARN}`");
    assert!(reason.contains("is not to be had") && reason.contains(&advice), "{reason}");
}

#[test]
fn the_setting_has_the_last_word_and_then_nothing_is_asked() {
    let it = delivered(|| stream(lambda()), ", pack: on");
    assert!(it.records <= 60, "{} records", it.records);
    assert_eq!(it.questions, 0);
    assert_eq!(it.told, json!({"packs": true, "reason": "`pack` is `on`"}));
    let it = delivered(|| stream(json!({})), ", pack: off");
    assert_eq!((it.records, it.questions), (1_200, 0));
    assert_eq!(it.told, json!({"packs": false, "reason": "`pack` is `off`"}));
}

#[test]
fn of_a_request_with_refused_records_only_their_events_are_sent_again() {
    // Every third record is refused, whatever is in it.
    let service = service(|| stream(json!({})), |number| number % 3 != 2);
    let daemon = Daemon::start(&settings(&service, ""));
    let events = generate("http_request_complete.v0", 3_000, 6);
    daemon.send(&events);
    let status = daemon.wait_until_delivered();
    let destination = &status["destinations"][0];
    assert_eq!(destination["delivered"], 3_000);
    assert_eq!(destination["dead_lettered"], 0);
    assert!(destination["retried"].as_u64() > Some(0), "{destination}");
    service.has_once(&events);
}

#[test]
fn check_says_what_is_decided_and_why() {
    let check = |describe: fn() -> Reply, more: &str| {
        let service = service(describe, |_| true);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sluicegate.yaml");
        std::fs::write(&file, settings(&service, more)).unwrap();
        let output = sluicegate(&["check", "--online", "-c", file.to_str().unwrap()], "");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain: fn() -> Reply = || stream(json!({}));
    for (describe, more, expected) in [
        (plain, "", "events share records: the stream delivers to S3 and looks into no record"),
        (|| stream(lambda()), "", "each event has a record of its own: the stream has processors"),
        (
            || stream(json!({"DynamicPartitioningConfiguration": {"Enabled": true}})),
            "",
            "each event has a record of its own: the stream partitions dynamically",
        ),
        (
            || stream(lambda()),
            ", pack: on",
            "events share records: `pack` is `on`, although the stream has processors",
        ),
        (plain, ", pack: off", "each event has a record of its own: `pack` is `off`"),
    ] {
        let said = check(describe, more);
        assert!(said.contains(&format!("d: ok, stream `d` is active, {expected}\n")), "{said}");
    }
}
