//! Requests within the service's limits, and what its answers come to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::Timestamp;
use crate::sinks::FaultKind;
use crate::sinks::refusal::{THROTTLED, TRANSIENT};

const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/errors";

fn refusal(code: &str, text: &str, status: u16) -> Refusal {
    let status = Some(status);
    Refusal { code: code.to_owned(), text: text.to_owned(), status, ..Refusal::default() }
}

#[test]
fn every_documented_error_of_put_records_has_its_class() {
    for (code, status, class) in [
        ("ProvisionedThroughputExceededException", 400, THROTTLED),
        ("KMSThrottlingException", 400, THROTTLED),
        ("ThrottlingException", 400, THROTTLED),
        ("LimitExceededException", 400, THROTTLED),
        ("InternalFailureException", 500, TRANSIENT),
        ("InternalFailure", 500, TRANSIENT),
        ("ServiceUnavailable", 503, TRANSIENT),
        ("AccessDeniedException", 400, CONFIGURATION),
        ("ExpiredTokenException", 400, CONFIGURATION),
        ("InvalidSignatureException", 400, CONFIGURATION),
        ("UnrecognizedClientException", 400, CONFIGURATION),
        ("ResourceNotFoundException", 400, CONFIGURATION),
        ("KMSAccessDeniedException", 400, CONFIGURATION),
        ("KMSDisabledException", 400, CONFIGURATION),
        ("KMSInvalidStateException", 400, CONFIGURATION),
        ("KMSNotFoundException", 400, CONFIGURATION),
        ("KMSOptInRequired", 400, CONFIGURATION),
        ("InvalidArgumentException", 400, Class::Poison),
        ("ValidationException", 400, Class::Poison),
        ("", 413, Class::Poison),
    ] {
        assert_eq!(super::class(&refusal(code, "", status)), class, "{code}");
    }
}

#[test]
fn a_request_that_is_wrong_about_the_stream_is_not_held_against_the_records() {
    let at = |member: &str| format!("1 validation error detected: Value at '{member}' failed");
    for (text, class) in [
        (at("streamARN"), CONFIGURATION),
        (at("streamName"), CONFIGURATION),
        (at("records.7.member.data"), Class::Poison),
    ] {
        assert_eq!(super::class(&refusal("ValidationException", &text, 400)), class, "{text}");
    }
}

#[test]
fn each_record_gets_the_verdict_of_its_own_entry() {
    let failed = |code: &str, text: &str| {
        PutRecordsResultEntry::builder().error_code(code).error_message(text).build()
    };
    let results = [
        PutRecordsResultEntry::builder().sequence_number("49").shard_id("s-0").build(),
        failed(
            "ProvisionedThroughputExceededException",
            "Rate exceeded for shard shardId-000000000001.",
        ),
        failed("InternalFailure", "Internal Service Failure"),
        failed("KMSThrottlingException", ""),
        failed("SomethingNew", "?"),
        PutRecordsResultEntry::builder().build(),
    ];
    let call = Call { action: PUT, resource: ARN, strange: false };
    let retry = |kind, end: &str| {
        let message = format!("`kinesis:PutRecords` was answered with {end}");
        let part = end.contains("shard").then(|| "shardId-000000000001".into());
        Ack::Retry(Fault { part, ..Fault::new(kind, message) })
    };
    assert_eq!(
        verdicts(&call, &results),
        [
            Ack::Delivered,
            retry(
                FaultKind::Throttled,
                "`ProvisionedThroughputExceededException`: Rate exceeded for shard shardId-000000000001"
            ),
            retry(FaultKind::Transient, "`InternalFailure`: Internal Service Failure"),
            retry(FaultKind::Throttled, "`KMSThrottlingException`"),
            retry(FaultKind::Transient, "`SomethingNew`: ?"),
            retry(FaultKind::Transient, "an error without a code"),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_batch_within_our_limits_is_a_request_within_the_services(
        records in proptest::collection::vec(
            (prop_oneof![90 => 1usize..3_000, 1 => 1usize..1_050_000], "\\PC{1,64}", 0u8..4),
            1..=2_000,
        ),
        (aggregates, by_key) in any::<(bool, bool)>(),
    ) {
        let mut target = KinesisTarget::new(ARN, Auth::DefaultChain, None).unwrap();
        target.aggregate = if aggregates { Aggregate::Kpl } else { Aggregate::Off };
        if by_key {
            target = target.placed_by("ev.k").unwrap();
        }
        let limits = target.limits();
        let mut bytes = 0;
        let fits = |record: &Arc<Record>| {
            let counted = target.measured(record).bytes;
            bytes += counted;
            counted <= limits.max_record_bytes && bytes <= limits.max_bytes
        };
        let record = |(length, event_id, k): (usize, String, u8)| {
            let body = serde_json::json!({
                "event_id": event_id, "event_type": "t.v0",
                "event_timestamp": "2025-09-04T10:11:14Z",
                "object": {"k": k, "x": "x".repeat(length)},
            });
            Arc::new(Record {
                event_id: event_id.into(),
                time: Timestamp { seconds: 0, nanos: 0 },
                body: Bytes::from(body.to_string()),
                hops: 0,
            })
        };
        let records = records.into_iter().map(record).take(limits.max_records);
        let records: Vec<_> = records.take_while(fits).collect();
        let half = u128::MAX / 2;
        let shards = [("a", 0, half), ("b", half + 1, u128::MAX)].map(|(id, from, to)| {
            let range = aws_sdk_kinesis::types::HashKeyRange::builder();
            let range = range.starting_hash_key(from.to_string()).ending_hash_key(to.to_string());
            let numbers = aws_sdk_kinesis::types::SequenceNumberRange::builder();
            let numbers = numbers.starting_sequence_number("1").build().unwrap();
            let shard = Shard::builder().shard_id(id).hash_key_range(range.build().unwrap());
            shard.sequence_number_range(numbers).build().unwrap()
        });
        let shards = Shards::of(&shards).unwrap();
        let (room, shards) = if aggregates { (ROOM, Some(&shards)) } else { (Room::ONE_EACH, None) };
        let key = target.key();
        let entries = entries(&key, &records, shards);
        let mut found = 0;
        for part in requests(&groups(room, &entries), MAX_RECORDS) {
            let part = &entries[part];
            let groups = groups(room, part);
            let body = body(ARN, part, &groups);
            let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&request["StreamARN"], ARN);
            let sent = request["Records"].as_array().unwrap();
            prop_assert!(sent.len() == groups.len() && sent.len() <= 500);
            let mut all = 0;
            for (sent, group) in sent.iter().zip(&groups) {
                let outer = sent["PartitionKey"].as_str().unwrap();
                let data = STANDARD.decode(sent["Data"].as_str().unwrap()).unwrap();
                prop_assert!(data.len() + outer.len() <= 1024 * 1024 && outer.chars().count() <= 256);
                all += data.len() + outer.len();
                found += group.len();
                let several = &part[group.clone()];
                if let [only] = several {
                    prop_assert_eq!((outer, &*data), (&*only.key, &*only.record.body));
                    continue;
                }
                prop_assert!(aggregates && data.len() + outer.len() <= 51_200);
                // One hash key, to whose shard all of them belong; of their own where they have one.
                let hash_key: u128 = sent["ExplicitHashKey"].as_str().unwrap().parse().unwrap();
                let shards = shards.unwrap();
                for it in several {
                    prop_assert_eq!(shards.number(it.place), shards.number(hash_key));
                    prop_assert!(!by_key || it.place == hash_key);
                }
                let events = several.iter().map(|it| (&*it.key, &*it.record.body));
                prop_assert_eq!(data, aggregate::record(hash_key, events));
            }
            prop_assert!(all <= 10 * 1024 * 1024, "{} bytes", all);
        }
        prop_assert_eq!(found, records.len());
    }
}

#[test]
fn a_stream_is_shown_without_secrets() {
    let auth = Auth::of_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI");
    let settings = KinesisTarget::new(ARN, auth, None).unwrap();
    assert_eq!(
        settings.to_string(),
        "Kinesis stream `errors` in us-east-1, account 123456789012, with key \
         `AKIAIOSFODNN7EXAMPLE`"
    );
    assert!(!format!("{settings:?}").contains("wJalr"));
}
