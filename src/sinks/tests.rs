//! What holds for every kind of target, and the AWS kinds against a service that follows a script.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::trouble::Trouble;
use super::*;
use crate::event::{Record, Timestamp};

#[test]
fn a_sink_may_be_shared_by_tasks_and_delivers_from_any_of_them() {
    fn shared<T: Send + Sync>() {}
    fn movable<T: Send>(_: impl FnOnce(&'static Sink, &'static Batch) -> T) {}
    shared::<Sink>();
    movable(Sink::deliver);
    movable(|sink, _| sink.probe());
}

/// What a scripted service answers: the HTTP status and the JSON body.
type Answer = (u16, String);

/// Serves the JSON protocol of AWS on a free port: `script` gets the operation and the request's
/// body. Gives the endpoint and the operations as they come in.
async fn service(
    script: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let operations = Arc::new(Mutex::new(Vec::new()));
    let (script, log) = (Arc::new(script), operations.clone());
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(connection, script.clone(), log.clone()));
        }
    });
    (endpoint, operations)
}

async fn answer(
    mut connection: TcpStream,
    script: Arc<impl Fn(&str, &str) -> Answer>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if connection.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        if body.len() == header("content-length:").parse::<usize>().unwrap() {
            break (header("x-amz-target:"), body.to_owned());
        }
    };
    let operation = head.rsplit('.').next().unwrap();
    log.lock().unwrap().push(operation.to_owned());
    let (status, body) = script(operation, &body);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-requestid: 1\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    connection.write_all(answer.as_bytes()).await.unwrap();
}

fn error(status: u16, code: &str) -> Answer {
    (status, format!(r#"{{"__type":"{code}","message":"because"}}"#))
}

fn keys() -> Auth {
    Auth::of_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI")
}

fn batch(ids: &[&str]) -> Batch {
    let record = |id: &&str| {
        Arc::new(Record {
            event_id: (*id).into(),
            time: Timestamp { seconds: 1_700_000_000, nanos: 0 },
            body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
            hops: 0,
        })
    };
    Batch { records: ids.iter().map(record).collect() }
}

async fn kinesis(endpoint: String) -> Sink {
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/errors";
    let target = Target::Kinesis(KinesisTarget::new(arn, keys(), Some(endpoint)).unwrap());
    target.open(LogOutput::Stdout, DEFAULT_TIMEOUT, None).await.unwrap()
}

async fn logs(endpoint: String) -> Sink {
    let arn = "arn:aws:logs:us-east-1:123456789012:log-group:events";
    let settings = CloudwatchLogsTarget::new(arn, None, keys(), Some(endpoint)).unwrap();
    Target::CloudwatchLogs(settings).open(LogOutput::Stdout, DEFAULT_TIMEOUT, None).await.unwrap()
}

#[tokio::test]
async fn only_the_record_for_which_a_request_is_refused_is_rejected() {
    let (endpoint, operations) = service(|_, body| {
        if body.contains("\"bad\"") {
            return error(400, "ValidationException");
        }
        let sent = body.matches("PartitionKey").count();
        let results = vec![r#"{"SequenceNumber":"49","ShardId":"s-0"}"#; sent].join(",");
        (200, format!(r#"{{"FailedRecordCount":0,"Records":[{results}]}}"#))
    })
    .await;
    let acks = kinesis(endpoint).await.deliver(&batch(&["a", "b", "bad", "c", "d"])).await;
    let rejected = Ack::Rejected(
        "`kinesis:PutRecords` was answered with `ValidationException`: because".to_owned(),
    );
    let ok = Ack::Delivered;
    assert_eq!(acks, [ok.clone(), ok.clone(), rejected, ok.clone(), ok]);
    // All five, then two, three, one and two.
    assert_eq!(operations.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_throttled_request_is_sent_once_and_left_to_the_caller() {
    let (endpoint, operations) = service(|_, _| error(400, "ThrottlingException")).await;
    let acks = kinesis(endpoint).await.deliver(&batch(&["a", "b"])).await;
    let fault = Fault::new(
        FaultKind::Throttled,
        "`kinesis:PutRecords` was answered with `ThrottlingException`: because".to_owned(),
    );
    assert_eq!(acks, vec![Ack::Retry(fault); 2]);
    assert_eq!(*operations.lock().unwrap(), ["PutRecords"]);
}

#[tokio::test]
async fn a_missing_log_stream_is_created_once_for_all_requests_that_miss_it() {
    let there = Mutex::new(false);
    let (endpoint, operations) = service(move |operation, _| {
        let mut there = there.lock().unwrap();
        match operation {
            "CreateLogStream" => {
                *there = true;
                (200, String::new())
            }
            _ if *there => (200, "{}".to_owned()),
            _ => error(400, "ResourceNotFoundException"),
        }
    })
    .await;
    let sink = logs(endpoint).await;
    let batch = batch(&["a"]);
    let delivered = futures_util::future::join_all((0..4).map(|_| sink.deliver(&batch))).await;
    assert_eq!(delivered, vec![vec![Ack::Delivered]; 4]);
    let operations = operations.lock().unwrap();
    let created = operations.iter().filter(|operation| *operation == "CreateLogStream").count();
    assert_eq!(created, 1, "{operations:?}");
}

#[tokio::test]
async fn a_missing_log_group_waits_for_its_owner() {
    let (endpoint, operations) = service(|_, _| error(400, "ResourceNotFoundException")).await;
    let acks = logs(endpoint).await.deliver(&batch(&["a"])).await;
    let fault = Fault::new(
        FaultKind::Configuration,
        "`logs:CreateLogStream` was answered with `ResourceNotFoundException`: because; \
                  create `arn:aws:logs:us-east-1:123456789012:log-group:events`, or correct the ARN: \
                  its region and account count too"
            .to_owned(),
    );
    assert_eq!(acks, [Ack::Retry(fault.with(Trouble::MissingTarget))]);
    assert_eq!(*operations.lock().unwrap(), ["PutLogEvents", "CreateLogStream"]);
}

#[tokio::test]
async fn verdicts_of_sorted_log_events_come_back_in_the_batchs_order() {
    let (endpoint, _) = service(|_, _| {
        (200, r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}"#.to_owned())
    })
    .await;
    let mut batch = batch(&["new", "old"]);
    Arc::make_mut(&mut batch.records[1]).time.seconds -= 60;
    let acks = logs(endpoint).await.deliver(&batch).await;
    let reason =
        "`logs:PutLogEvents` refused the event for its time, which is more than 14 days old";
    assert_eq!(acks, [Ack::Delivered, Ack::Rejected(reason.to_owned())]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_fault_that_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let acks = kinesis(endpoint.clone()).await.deliver(&batch(&["a"])).await;
    let [Ack::Retry(fault)] = acks.as_slice() else { panic!("{acks:?}") };
    assert_eq!((fault.kind, fault.unanswered), (FaultKind::Transient, true));
    let start = format!("`{endpoint}` was not reached, or the connection broke: ");
    assert!(fault.message.starts_with(&start), "{fault}");
}
