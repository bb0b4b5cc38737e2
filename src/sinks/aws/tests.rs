//! Every kind of call against answers that are not AWS's, or that ask for patience.

mod fuzz;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::event::{Record, Timestamp};
use crate::sinks::trouble::Trouble;
use crate::sinks::{
    Ack, Auth, Batch, CloudwatchLogsTarget, Fault, FaultKind, FirehoseTarget, KinesisTarget,
    LogOutput, Sink, Target,
};

const ID: &str = "x-amzn-requestid: 1\r\n";

/// Answers each request with what the script makes of its head, and then closes.
async fn service(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let script = Arc::clone(&script);
            tokio::spawn(async move { serve(connection, &*script).await });
        }
    });
    endpoint
}

async fn serve(mut connection: TcpStream, script: &(impl Fn(&str) -> Vec<u8> + ?Sized)) {
    let mut request = Vec::new();
    loop {
        if connection.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() == length.trim().parse::<usize>().unwrap() {
            let _gone = connection.write_all(&script(head)).await;
            return;
        }
    }
}

/// An answer with a body whose length is declared.
fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n");
    format!("{head}connection: close\r\n\r\n{body}").into_bytes()
}

async fn sinks(endpoint: &str, timeout: Duration) -> [Sink; 3] {
    let auth = || Auth::of_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI");
    let url = || Some(endpoint.to_owned());
    let arn = |end: &str| format!("arn:aws:{end}");
    let targets = [
        Target::Kinesis(
            KinesisTarget::new(&arn("kinesis:us-east-1:1:stream/a"), auth(), url()).unwrap(),
        ),
        Target::Firehose(
            FirehoseTarget::new(&arn("firehose:us-east-1:1:deliverystream/a"), auth(), url())
                .unwrap(),
        ),
        Target::CloudwatchLogs(
            CloudwatchLogsTarget::new(&arn("logs:us-east-1:1:log-group:a"), None, auth(), url())
                .unwrap(),
        ),
    ];
    futures_util::future::join_all(
        targets
            .iter()
            .map(|target| async { target.open(LogOutput::Stdout, timeout, None).await.unwrap() }),
    )
    .await
    .try_into()
    .unwrap()
}

fn batch() -> Batch {
    let record = |id: &str| {
        Arc::new(Record {
            event_id: id.into(),
            time: Timestamp { seconds: 1_700_000_000, nanos: 0 },
            body: Bytes::from_static(b"{}"),
            hops: 0,
        })
    };
    Batch { records: vec![record("a"), record("b")] }
}

/// What a delivery and a probe of each kind come to: all of them must be faults.
async fn faults(endpoint: &str, timeout: Duration) -> Vec<Fault> {
    let mut faults = Vec::new();
    for sink in sinks(endpoint, timeout).await {
        let acks = sink.deliver(&batch()).await;
        for ack in &acks {
            let Ack::Retry(fault) = ack else { panic!("{sink:?}: {ack:?}") };
            faults.push(fault.clone());
        }
        assert_eq!(acks.len(), 2, "{sink:?}");
        faults.push(sink.probe().await.expect_err("the probe believed it"));
    }
    faults
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_success_that_is_not_the_services_is_no_verdict_for_any_call() {
    let html = "<!doctype html><title>Sign in</title>";
    let cases: [(u16, &str, &str, &str); 14] = [
        (200, "", "", "200 with an empty body"),
        (200, ID, "", "200 with an empty body"),
        (200, "", html, "200 with HTML"),
        (200, ID, html, "200 with HTML"),
        (200, ID, "<ok/>", "200 with XML"),
        (200, ID, "ok", "200 with a text that is no JSON"),
        (200, ID, "[]", "200 with JSON that is no object"),
        (200, ID, "null", "200 with JSON that is no object"),
        (200, ID, "{\"Records\":[", "200 with JSON that is cut off or broken"),
        (200, ID, "{\"__type\":\"InternalFailure\"}", "200 with an error in its body"),
        (202, ID, html, "202 with HTML"),
        (204, ID, "", "204 with an empty body"),
        (200, "content-type: text/html\r\n", html, "200 with HTML"),
        (200, "x-amzn-requestid: \r\n", html, "200 with HTML"),
    ];
    for (status, headers, body, what) in cases {
        let bytes = answer(status, headers, body);
        let endpoint = service(move |_| bytes.clone()).await;
        for fault in faults(&endpoint, LONG).await {
            let message = format!(
                "`{endpoint}` answered {what}: a proxy or another service? check `endpoint_url`"
            );
            assert_eq!(
                fault,
                Fault::unanswered(message).with(Trouble::Stranger),
                "{status} {headers} {body}"
            );
        }
    }
}

/// A right answer to each operation, for two records.
fn right(head: &str) -> &'static str {
    let target = head.split("x-amz-target: ").nth(1).unwrap().lines().next().unwrap();
    match target.trim().rsplit('.').next().unwrap() {
        "putrecords" => {
            r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"},
               {"SequenceNumber":"2","ShardId":"s"}]}"#
        }
        "putrecordbatch" => {
            r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#
        }
        "putlogevents" => "{}",
        "describestreamsummary" => {
            r#"{"StreamDescriptionSummary":{"StreamName":"a","StreamARN":"arn","StreamStatus":"ACTIVE",
               "RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],
               "OpenShardCount":1}}"#
        }
        "describedeliverystream" => {
            r#"{"DeliveryStreamDescription":{"DeliveryStreamName":"a","DeliveryStreamARN":"arn",
               "DeliveryStreamStatus":"ACTIVE","DeliveryStreamType":"DirectPut","VersionId":"1",
               "Destinations":[],"HasMoreDestinations":false}}"#
        }
        "describelogstreams" => r#"{"logStreams":[]}"#,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_right_answer_is_believed_with_a_request_id_and_not_without() {
    for id in ["x-amzn-RequestId: 1\r\n", "X-AMZN-REQUESTID: 1\r\n", "x-amz-request-id: 1\r\n"] {
        let endpoint = service(move |head| answer(200, id, right(head))).await;
        for sink in sinks(&endpoint, LONG).await {
            assert_eq!(sink.deliver(&batch()).await, vec![Ack::Delivered; 2], "{sink:?} {id}");
            assert!(sink.probe().await.is_ok(), "{sink:?} {id}");
        }
    }
    let endpoint = service(|head| answer(200, "x-request-id: 1\r\n", right(head))).await;
    for fault in faults(&endpoint, LONG).await {
        assert!(fault.unanswered && fault.kind == FaultKind::Transient);
        assert!(fault.message.contains("200 with no request id (`x-amzn-requestid`)"), "{fault}");
    }
    let endpoint = service(|head| answer(201, ID, right(head))).await;
    for fault in faults(&endpoint, LONG).await {
        assert!(fault.unanswered, "{fault}");
        assert!(
            fault.message.contains("201 with a status that the service never gives"),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn as_many_verdicts_as_records_or_none() {
    for records in [0, 1, 3] {
        let endpoint = service(move |head| {
            let (list, entry) = match head.contains("putrecords") {
                true => ("Records", r#"{"SequenceNumber":"1","ShardId":"s"}"#),
                false => ("RequestResponses", r#"{"RecordId":"1"}"#),
            };
            answer(200, ID, &format!("{{\"{list}\":[{}]}}", vec![entry; records].join(",")))
        })
        .await;
        for sink in &sinks(&endpoint, LONG).await[..2] {
            for ack in sink.deliver(&batch()).await {
                let Ack::Retry(fault) = ack else { panic!("{sink:?}: {ack:?}") };
                let said = format!("was answered with {records} verdicts for 2 records");
                assert!(fault.unanswered && fault.message.contains(&said), "{fault}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_before_it_fills_memory() {
    let endpoint = service(|_| {
        let mut bytes = format!("HTTP/1.1 200 X\r\n{ID}\r\n{{\"a\":\"").into_bytes();
        bytes.resize((4 << 20) + 1_000, b'x');
        bytes
    })
    .await;
    for fault in faults(&endpoint, LONG).await {
        assert!(fault.unanswered && fault.message.contains("200 with more than 4 MiB"), "{fault}");
    }
}

#[tokio::test]
async fn no_answer_and_half_an_answer_name_the_address() {
    let started = "HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"Records\":[";
    for (said, bytes) in [("nothing", ""), ("half", started)] {
        let endpoint = service(move |_| bytes.as_bytes().to_vec()).await;
        for fault in faults(&endpoint, LONG).await {
            let start = format!("`{endpoint}` was not reached, or the connection broke: ");
            assert!(fault.message.starts_with(&start), "{said}: {fault}");
            assert!(fault.unanswered && fault.kind == FaultKind::Transient, "{said}: {fault}");
        }
    }
}

#[tokio::test]
async fn a_slow_drip_is_ended_by_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                connection.read_u8().await.unwrap();
                let head = format!("HTTP/1.1 200 X\r\n{ID}content-length: 1000000\r\n\r\n");
                let mut next = head.into_bytes();
                while connection.write_all(&next).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    next = b" ".to_vec();
                }
            });
        }
    });
    for fault in faults(&endpoint, Duration::from_millis(300)).await {
        let message = format!(
            "no answer from `{endpoint}` within 300ms; what was sent may have arrived all the same"
        );
        assert_eq!(fault, Fault::unanswered(message).with(Trouble::Unreachable));
    }
}

#[tokio::test]
async fn a_pause_that_a_service_asks_for_is_passed_on_by_every_call() {
    let date = "Fri, 31 Dec 2100 23:59:59 GMT";
    for (status, value, body, seconds) in [
        (503, "7", "", Some(7)),
        (429, "8", "", Some(8)),
        (429, "86400", "<html>", Some(3_600)),
        (503, date, r#"{"__type":"ServiceUnavailable"}"#, Some(3_600)),
        (400, "9", r#"{"__type":"ThrottlingException"}"#, Some(9)),
        (503, "later", "", None),
        (403, "9", r#"{"__type":"AccessDeniedException"}"#, None),
    ] {
        let bytes = answer(status, &format!("{ID}Retry-After: {value}\r\n"), body);
        let endpoint = service(move |_| bytes.clone()).await;
        for fault in faults(&endpoint, LONG).await {
            assert_eq!(fault.retry_after, seconds.map(Duration::from_secs), "{status}: {fault}");
        }
    }
}

#[tokio::test]
async fn a_403_in_xml_gives_its_code_and_a_301_where_it_leads() {
    let xml = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>unknown</Message>\
               </Error></ErrorResponse>";
    let endpoint = service(move |_| answer(403, "content-type: text/xml\r\n", xml)).await;
    for fault in faults(&endpoint, LONG).await {
        assert_eq!(fault.kind, FaultKind::Configuration);
        let said = "was answered with `InvalidClientTokenId`: unknown; AWS does not know this";
        assert!(fault.message.contains(said), "{fault}");
        assert!(!fault.message.contains("endpoint_url"), "{fault}");
    }
    let endpoint = service(|_| answer(301, "location: https://a.example/x\r\n", "")).await;
    for fault in faults(&endpoint, LONG).await {
        assert_eq!(fault.kind, FaultKind::Configuration);
        let said = "was answered with HTTP status 301: a redirect to `https://a.example`, which";
        assert!(fault.message.contains(said), "{fault}");
    }
}
