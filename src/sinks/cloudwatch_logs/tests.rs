//! Order, times and errors of PutLogEvents.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::refusal::THROTTLED;
use super::*;
use crate::event::Timestamp;

const GROUP: &str = "arn:aws:logs:us-east-1:123456789012:log-group:/app/events";
const CALL: Call<'static> = Call { action: PUT, resource: GROUP, strange: false };

fn record(seconds: i64, body: &'static str) -> Arc<Record> {
    Arc::new(Record {
        event_id: "ev_1".into(),
        time: Timestamp { seconds, nanos: 0 },
        body: Bytes::from_static(body.as_bytes()),
        hops: 0,
    })
}

#[test]
fn every_documented_error_of_put_log_events_has_its_class() {
    for (code, status, text, class) in [
        ("ThrottlingException", 400, "", THROTTLED),
        ("LimitExceededException", 400, "", THROTTLED),
        ("ServiceUnavailableException", 503, "", TRANSIENT),
        ("OperationAbortedException", 400, "", TRANSIENT),
        ("InternalFailure", 500, "", TRANSIENT),
        ("AccessDeniedException", 400, "", CONFIGURATION),
        ("UnrecognizedClientException", 400, "", CONFIGURATION),
        ("ExpiredTokenException", 400, "", CONFIGURATION),
        ("ResourceNotFoundException", 400, "", CONFIGURATION),
        (
            "InvalidParameterException",
            400,
            "1 validation error detected: Value at 'logGroupName' failed to satisfy constraint",
            CONFIGURATION,
        ),
        ("InvalidParameterException", 400, "Value at 'logStreamName' failed", CONFIGURATION),
        ("InvalidParameterException", 400, "Log event too large", Class::Poison),
        ("SerializationException", 400, "", Class::Poison),
        ("", 413, "", Class::Poison),
    ] {
        let (code, text, status) = (code.to_owned(), text.to_owned(), Some(status));
        let refusal = Refusal { code, text, status, ..Refusal::default() };
        assert_eq!(super::class(&refusal), class, "{refusal:?}");
    }
}

fn to(template: &str) -> Streams {
    Streams::new(Template::parse(template).unwrap())
}

#[test]
fn events_are_sorted_by_log_stream_and_there_by_time() {
    let records = [
        record(30, r#"{"event_type":"b"}"#),
        record(20, r#"{"event_type":"a"}"#),
        record(10, r#"{"event_type":"b"}"#),
        record(10, r#"{"event_type":"a"}"#),
    ];
    let (events, _) = sort(&records, &to("e-{event_type}"));
    let places: Vec<_> = events.iter().map(|event| (&*event.stream, event.place)).collect();
    assert_eq!(places, [("e-a", 3), ("e-a", 1), ("e-b", 2), ("e-b", 0)]);
}

#[test]
fn events_are_sorted_by_time_and_keep_their_order_within_an_instant() {
    let records =
        [record(30, "a"), record(10, "b"), record(30, "c"), record(20, "d"), record(10, "e")];
    let (events, acks) = sort(&records, &to("s"));
    let places: Vec<usize> = events.iter().map(|event| event.place).collect();
    assert_eq!(places, [1, 4, 3, 0, 2]);
    assert_eq!(acks, vec![Ack::Delivered; 5]);
}

#[test]
fn what_the_service_cannot_take_is_rejected_before_sending() {
    let records = [record(-1, "early"), record(5, "fine"), record(5, "")];
    let (events, acks) = sort(&records, &to("s"));
    let places: Vec<usize> = events.iter().map(|event| event.place).collect();
    assert_eq!(places, [1]);
    assert_eq!(
        acks,
        [
            Ack::Rejected("CloudWatch Logs takes no time before 1970".to_owned()),
            Ack::Delivered,
            Ack::Rejected("CloudWatch Logs takes no empty message".to_owned()),
        ]
    );
}

#[test]
fn an_event_has_its_time_in_milliseconds_and_its_body_as_it_is() {
    let record = Record {
        event_id: "ev_1".into(),
        time: Timestamp { seconds: 1_700_000_000, nanos: 123_999_999 },
        body: Bytes::from_static("{\"é\":1.0}".as_bytes()),
        hops: 0,
    };
    let body = body("g", "s", &[Event { place: 0, record: &record, stream: "s".into() }]);
    let expected = r#"{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1700000000123,"message":"{\"é\":1.0}"}]}"#;
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_batch_within_our_limits_is_a_request_within_the_services(
        lengths in proptest::collection::vec(
            prop_oneof![9 => 1usize..300, 1 => 1usize..1_050_000],
            1..12_000,
        ),
    ) {
        let mut bytes = 0;
        let fits = |record: &Arc<Record>| {
            bytes += LIMITS.record_bytes(record);
            bytes <= LIMITS.max_bytes
        };
        let long = |length| Record { body: Bytes::from(vec![b'x'; length]), ..(*record(5, "")).clone() };
        let records = lengths.into_iter().take(LIMITS.max_records).map(|it| Arc::new(long(it)));
        let records: Vec<_> = records.take_while(fits).collect();
        let (events, _) = sort(&records, &to("s"));
        let request: serde_json::Value = serde_json::from_slice(&body("g", "s", &events)).unwrap();
        let events = request["logEvents"].as_array().unwrap();
        prop_assert!(events.len() == records.len() && events.len() <= 10_000);
        // As the service counts: the bytes of all messages and 26 for each.
        let counted: usize = events.iter().map(|it| it["message"].as_str().unwrap().len() + 26).sum();
        prop_assert!(counted <= 1_048_576, "{} bytes", counted);
    }
}

#[test]
fn the_indices_of_the_answer_cut_the_request_at_both_ends() {
    let info = |too_old: Option<i32>, expired: Option<i32>, too_new: Option<i32>| {
        RejectedLogEventsInfo::builder()
            .set_too_old_log_event_end_index(too_old)
            .set_expired_log_event_end_index(expired)
            .set_too_new_log_event_start_index(too_new)
            .build()
    };
    // One letter an event: delivered, old, expired, new.
    for (info, expected) in [
        (None, "dddd"),
        (Some(info(None, None, None)), "dddd"),
        (Some(info(Some(2), None, None)), "oodd"),
        (Some(info(Some(1), Some(3), None)), "oeed"),
        (Some(info(None, None, Some(1))), "dnnn"),
        (Some(info(Some(1), Some(1), Some(3))), "oddn"),
        (Some(info(Some(9), None, None)), "oooo"),
        (Some(info(Some(-1), None, Some(-1))), "dddd"),
    ] {
        let letters: String = verdicts(&CALL, 4, info.as_ref())
            .iter()
            .map(|ack| match ack {
                Ack::Rejected(reason) if reason.ends_with("is more than 14 days old") => 'o',
                Ack::Rejected(reason) if reason.ends_with("the log group's retention") => 'e',
                Ack::Rejected(reason) if reason.ends_with("lies more than 2 hours ahead") => 'n',
                Ack::Rejected(reason) => panic!("{reason}"),
                Ack::Retry(fault) => panic!("{fault}"),
                Ack::Delivered => 'd',
            })
            .collect();
        assert_eq!(letters, expected, "{info:?}");
    }
}

#[test]
fn a_log_stream_has_a_default_and_a_form() {
    let settings = |log_stream: Option<&str>| {
        CloudwatchLogsTarget::new(GROUP, log_stream.map(str::to_owned), Auth::DefaultChain, None)
    };
    assert_eq!(settings(None).unwrap().log_stream.as_str(), "sluicegate");
    assert_eq!(settings(Some("host/1")).unwrap().log_stream.as_str(), "host/1");
    for wrong in ["", "a:b", "a*", "a\n", &"x".repeat(513)] {
        let error = settings(Some(wrong)).unwrap_err();
        assert_eq!(
            (error.code(), error.of("log_stream").as_str()),
            (
                "ERR_NGROK_236",
                "`log_stream` must have 1 to 512 characters, none of them `:` or `*`"
            )
        );
    }
}

#[test]
fn a_log_stream_is_shown_with_its_group() {
    let settings = CloudwatchLogsTarget::new(GROUP, None, Auth::DefaultChain, None).unwrap();
    assert_eq!(
        settings.to_string(),
        "log stream `sluicegate` of log group `/app/events` in us-east-1, account 123456789012, \
         with the machine's own credentials"
    );
}
