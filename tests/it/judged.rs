//! A service that judges who delivers to it: it holds each request to the documented limits, refuses random records
//! inside answers of 200 and whole calls, throttles one shard of four, lets credentials expire, and drips its
//! answers. What it takes it must be sent once, and never again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::hash_of;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::generate;

const EVENTS: usize = 5_000;
/// One session's credentials sign so many requests.
const REQUESTS_OF_A_SESSION: usize = 15;
/// For so long the second of the four shards takes one record of four.
const SLOW: Duration = Duration::from_secs(4);
const SHARDS: u128 = 4;

/// What the service saw.
#[derive(Default)]
struct Judged {
    /// How often each event was taken, by its id.
    taken: BTreeMap<String, usize>,
    /// Events that were sent although they had been taken before.
    sent_again: Vec<String>,
    /// Requests and records past a documented limit.
    beyond: Vec<String>,
    requests: usize,
    began: Option<Instant>,
    /// Calls that failed as a whole, and records that did inside a 200.
    failed: (usize, usize),
}

struct Judge {
    service: FakeService,
    /// Where the sessions' credentials are.
    container: FakeService,
    judged: Arc<Mutex<Judged>>,
}

/// A number below `of`, always the same for one request and record.
fn chance(request: usize, record: usize, of: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request, record).hash(&mut hasher);
    hasher.finish() % of
}

fn operation(request: &Request) -> &str {
    request.header("x-amz-target").unwrap_or_default().rsplit('.').next().unwrap()
}

/// The ids of the events in a record, whatever they are wrapped in.
fn ids(data: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(data);
    let rest = text.split(r#"{"event_id":""#).skip(1);
    rest.map(|it| it.split('"').next().unwrap().to_owned()).collect()
}

/// A record of a request: its bytes as the service counts them, its events, the shard that it belongs to.
struct Record {
    bytes: usize,
    events: Vec<String>,
    shard: u128,
}

impl Record {
    fn of(entry: &Value) -> Record {
        if let Some(message) = entry["message"].as_str() {
            return Record { bytes: message.len() + 26, events: ids(message.as_bytes()), shard: 0 };
        }
        let data = STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
        let key = entry["PartitionKey"].as_str().unwrap_or_default();
        let given = entry["ExplicitHashKey"].as_str().map(|it| it.parse().unwrap());
        let shard = given.unwrap_or_else(|| hash_of(key)) / (u128::MAX / SHARDS + 1);
        Record { bytes: data.len() + key.len(), events: ids(&data), shard }
    }
}

impl Judged {
    /// Holds a request to what AWS documents (Kinesis and Firehose API references, CloudWatch Logs quotas).
    fn hold_to_limits(&mut self, operation: &str, body: &Value, records: &[Record]) {
        let bytes: usize = records.iter().map(|it| it.bytes).sum();
        let longest = records.iter().map(|it| it.bytes).max().unwrap_or_default();
        let (most_records, most_bytes, most_of_one) = match operation {
            "PutRecords" => (500, 10 << 20, 1 << 20),
            "PutRecordBatch" => (500, 4 << 20, 1_000 << 10),
            _ => (10_000, 1_048_576, 1_048_576),
        };
        let mut broken = records.is_empty() || records.len() > most_records;
        broken |= bytes > most_bytes || longest > most_of_one;
        if let Some(events) = body["logEvents"].as_array() {
            let times: Vec<i64> =
                events.iter().map(|it| it["timestamp"].as_i64().unwrap()).collect();
            broken |= !times.is_sorted() || times[times.len() - 1] - times[0] > 86_400_000;
        }
        if broken {
            let count = records.len();
            self.beyond
                .push(format!("{operation}: {count} records, {bytes} bytes, {longest} in one"));
        }
    }

    /// Takes a record, or refuses it.
    fn take(&mut self, record: &Record, takes: bool) {
        for event in &record.events {
            let times = self.taken.entry(event.clone()).or_default();
            if *times > 0 {
                self.sent_again.push(event.clone());
            }
            *times += usize::from(takes);
        }
    }
}

fn well(body: &Value) -> Reply {
    Reply::new(200, "x-amzn-requestid: 1\r\n", body.to_string())
}

/// What fails this whole call, if anything does.
fn failure(request: usize) -> Option<Reply> {
    // Each kind once soon, for targets that need few requests.
    let kind = if request < 5 { request as u64 } else { chance(request, usize::MAX, 16) };
    Some(match kind {
        4 => Reply::error(500, "InternalFailure"),
        1 => Reply::error(400, "ThrottlingException"),
        2 => Reply::new(429, "retry-after: 1\r\n", ""),
        3 => Reply::new(503, "", "<html>busy</html>"),
        _ => return None,
    })
}

impl Judge {
    fn start() -> Judge {
        let judged: Arc<Mutex<Judged>> = Arc::default();
        let seen = Arc::clone(&judged);
        let service = FakeService::start(move |request| match operation(request) {
            "PutRecords" | "PutRecordBatch" | "PutLogEvents" => put(request, &seen),
            other => well(&described(other)),
        });
        let sessions = AtomicUsize::new(0);
        let container = FakeService::start(move |_| {
            let session = sessions.fetch_add(1, Ordering::SeqCst);
            let body = json!({
                "AccessKeyId": format!("AKID{session}"), "SecretAccessKey": "s3cret", "Token": "t",
                "Expiration": "2100-01-01T00:00:00Z",
            });
            Reply::new(200, "content-type: application/json\r\n", body.to_string())
        });
        Judge { service, container, judged }
    }

    /// Has a daemon deliver to a target, whose settings are given without auth, and judges.
    fn judges(&self, target: &str) {
        let url = self.service.url();
        let target = target.replace("URL", &url);
        let settings = format!(
            r#"
destinations:
  - {{ id: d, target: {{ {target} }}, batch: {{ linger: 100ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [d] }}
"#
        );
        let container = self.container.url();
        let environment = [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ];
        let daemon = Daemon::start_with(&settings, &environment);
        let events = generate("http_request_complete.v0", EVENTS, 61);
        events.chunks(1_000).for_each(|events| daemon.send(events));
        let status = daemon.wait_until_delivered();
        let told = &status["destinations"][0];
        assert_eq!(
            (&told["delivered"], &told["dead_lettered"]),
            (&json!(EVENTS), &json!(0)),
            "{told}"
        );
        let judged = self.judged.lock().unwrap();
        let (calls, records) = judged.failed;
        println!(
            "{} requests, {calls} failed, {records} records failed inside a 200",
            judged.requests
        );
        assert_eq!(judged.beyond, Vec::<String>::new(), "past a documented limit");
        let of_each = !target.starts_with("cloudwatch_logs");
        assert!(calls > 0 && (records > 0) == of_each, "the service was kind");
        let lost = events.iter().flat_map(|it| ids(it.as_bytes()));
        let lost: Vec<String> = lost.filter(|it| judged.taken.get(it) != Some(&1)).collect();
        assert_eq!(lost, Vec::<String>::new(), "not taken once");
        assert_eq!(judged.sent_again, Vec::<String>::new(), "sent again although taken");
    }
}

/// Answers a request with records, after its manner.
fn put(request: &Request, judged: &Mutex<Judged>) -> Reply {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let list = body["Records"].as_array().or(body["logEvents"].as_array()).unwrap();
    let records: Vec<Record> = list.iter().map(Record::of).collect();
    let mut judged = judged.lock().unwrap();
    judged.hold_to_limits(operation(request), &body, &records);
    let number = judged.requests;
    judged.requests += 1;
    let began = *judged.began.get_or_insert_with(Instant::now);
    let session: usize = request.access_key().trim_start_matches("AKID").parse().unwrap();
    let is_expired = session < number / REQUESTS_OF_A_SESSION && session < 2;
    let failure =
        if is_expired { Some(Reply::error(400, "ExpiredTokenException")) } else { failure(number) };
    if let Some(failure) = failure {
        judged.failed.0 += 1;
        records.iter().for_each(|it| judged.take(it, false));
        return failure;
    }
    let mut results = Vec::new();
    let of_each = operation(request) != "PutLogEvents";
    for (at, record) in records.iter().enumerate() {
        let is_slow = operation(request) == "PutRecords"
            && record.shard == 1
            && began.elapsed() < SLOW
            && chance(number, at, 4) > 0;
        let takes = !of_each || !(is_slow || chance(number, at, 12) == 0);
        judged.take(record, takes);
        judged.failed.1 += usize::from(!takes);
        let shard = format!("shardId-{:012}", record.shard);
        results.push(match takes {
            true => json!({"SequenceNumber": "1", "ShardId": shard, "RecordId": "1"}),
            false if is_slow => json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": format!("Rate exceeded for shard {shard} in stream s under account 1."),
            }),
            false => json!({"ErrorCode": "InternalFailure", "ErrorMessage": "Internal Service Failure"}),
        });
    }
    let failed = results.iter().filter(|it| it["ErrorCode"].is_string()).count();
    let answer = match operation(request) {
        "PutRecords" => well(&json!({"FailedRecordCount": failed, "Records": results})),
        "PutRecordBatch" => well(&json!({"FailedPutCount": failed, "RequestResponses": results})),
        _ => well(&json!({})),
    };
    match chance(number, 1, 4) {
        0 => answer.dripped(Duration::from_millis(20)),
        _ => answer,
    }
}

/// What the services say of a stream with four shards, and of a group that takes all.
fn described(operation: &str) -> Value {
    let size = u128::MAX / SHARDS + 1;
    let shard = |number: u128| {
        json!({
            "ShardId": format!("shardId-{number:012}"),
            "HashKeyRange": {
                "StartingHashKey": (size * number).to_string(),
                "EndingHashKey": (size * number + (size - 1)).to_string(),
            },
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        })
    };
    match operation {
        "DescribeStreamSummary" => json!({"StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": "s", "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1, "EnhancedMonitoring": [], "OpenShardCount": 4,
            "RecordDistributionStrategy": "USER_PARTITION_KEY",
        }}),
        "ListShards" => json!({"Shards": (0..SHARDS).map(shard).collect::<Vec<_>>()}),
        "DescribeDeliveryStream" => json!({"DeliveryStreamDescription": {
            "DeliveryStreamName": "d", "DeliveryStreamARN": "d", "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut", "VersionId": "1", "HasMoreDestinations": false,
            "Destinations": [{"DestinationId": "1", "ExtendedS3DestinationDescription": {
                "RoleARN": "r", "BucketARN": "b", "BufferingHints": {},
                "CompressionFormat": "UNCOMPRESSED", "EncryptionConfiguration": {},
            }}],
        }}),
        _ => json!({}),
    }
}

const STREAM: &str =
    r#"stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "URL""#;

#[test]
fn a_stream_with_faults_of_all_kinds_gets_each_record_once() {
    Judge::start().judges(&format!("kinesis: {{ {STREAM} }}"));
}

#[test]
fn so_does_one_in_which_keys_have_their_order() {
    Judge::start().judges(&format!("kinesis: {{ {STREAM}, partition_key: ev.conn.client_ip }}"));
}

#[test]
fn and_one_whose_records_hold_several_events() {
    Judge::start().judges(&format!("kinesis: {{ {STREAM}, aggregate: kpl }}"));
}

#[test]
fn a_delivery_stream_with_faults_of_all_kinds_gets_each_event_once() {
    let arn = "arn:aws:firehose:us-east-1:123456789012:deliverystream/d";
    for pack in ["on", "off"] {
        let target = format!(
            r#"firehose: {{ delivery_stream_arn: "{arn}", endpoint_url: "URL", pack: {pack} }}"#
        );
        Judge::start().judges(&target);
    }
}

#[test]
fn log_streams_with_faults_of_all_kinds_get_each_event_once() {
    let arn = "arn:aws:logs:us-east-1:123456789012:log-group:/app";
    for log_stream in ["events", "events-{date}-{hour}"] {
        let target = format!(
            r#"cloudwatch_logs: {{ log_group_arn: "{arn}", log_stream: "{log_stream}", endpoint_url: "URL" }}"#
        );
        Judge::start().judges(&target);
    }
}
