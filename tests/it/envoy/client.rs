//! A client of ours that sends what Envoy would not: no token, no message, too much, and nothing more.

use std::future::Future;

use envoy_types::pb::envoy::data::accesslog::v3::{HttpAccessLogEntry, HttpRequestProperties};
use envoy_types::pb::envoy::service::accesslog::v3::StreamAccessLogsMessage;
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_client::AccessLogServiceClient;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::{
    HttpAccessLogEntries, LogEntries,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::*;
#[path = "../../../fuzz/entries.rs"]
mod bodies;

use crate::support::fake_kinesis::{FakeKinesis, Mood};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    // On threads of their own, since tests wait for what the work does.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(work)
}

async fn connect(address: SocketAddr) -> AccessLogServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    AccessLogServiceClient::new(endpoint.connect().await.unwrap())
}

/// A message with requests of a path.
fn message(path: &str, count: usize) -> StreamAccessLogsMessage {
    let request = HttpRequestProperties { path: path.to_owned(), ..Default::default() };
    let entry = HttpAccessLogEntry { request: Some(request), ..Default::default() };
    let entries = HttpAccessLogEntries { log_entry: vec![entry; count] };
    StreamAccessLogsMessage { identifier: None, log_entries: Some(LogEntries::HttpLogs(entries)) }
}

/// A stream of some messages, and how it ends.
async fn stream(address: SocketAddr, messages: Vec<StreamAccessLogsMessage>) -> Status {
    let mut client = connect(address).await;
    let answer = client.stream_access_logs(futures_util::stream::iter(messages)).await;
    answer.err().unwrap_or_else(|| Status::ok("ended"))
}

#[test]
fn a_stream_without_a_token_is_refused_and_counted() {
    let stage = Stage::new(", bearer_tokens: [s3cret]", "");
    let status = block_on(stream(stage.address(), vec![message("/a", 1)]));
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("initial_metadata"), "{status}");
    assert_eq!(stage.refused("ERR_NGROK_200"), 1);
    block_on(async {
        let mut client = connect(stage.address()).await;
        let mut request = Request::new(futures_util::stream::iter([message("/b", 1)]));
        request.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
        client.stream_access_logs(request).await.unwrap();
    });
    stage.of_path("/b");
}

#[test]
fn what_is_no_message_or_too_large_ends_its_stream_and_no_other() {
    let stage = Stage::new("", "");
    let address = stage.address();
    block_on(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut other = connect(address).await;
        let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let going = tokio::spawn(async move { other.stream_access_logs(messages).await });
        sender.send(message("/before", 2)).await.unwrap();
        // Bytes of gRPC frames: a message that is none, and one that says to be too long.
        for (frame, code) in
            [(&b"\0\0\0\0\x02\x12\x7f"[..], "3"), (b"\0\x7f\0\0\0", "11"), (b"\x01\0\0\0\0", "13")]
        {
            assert_eq!(post(address, "StreamAccessLogs", frame), code, "{frame:?}");
        }
        assert_eq!(post(address, "Elsewhere", b""), "12");
        let large = message(&"x".repeat(300 << 10), 1);
        let ended = stream(address, vec![large, message("/behind", 1)]).await;
        assert_eq!(ended.code(), Code::Ok, "{ended}");
        sender.send(message("/after", 1)).await.unwrap();
        drop(sender);
        going.await.unwrap().unwrap();
    });
    for path in ["/before", "/behind", "/after"] {
        stage.of_path(path);
    }
    for (code, count) in [
        ("ERR_SLUICEGATE_1154", 2),
        ("ERR_SLUICEGATE_1155", 1),
        ("ERR_SLUICEGATE_1156", 1),
        ("ERR_SLUICEGATE_1157", 1),
    ] {
        assert_eq!(stage.refused(code), count, "{code}");
    }
}

/// Has curl post bytes as a gRPC request, and tells the status that it is answered with.
fn post(address: SocketAddr, method: &str, body: &[u8]) -> String {
    let url = format!("http://{address}/envoy.service.accesslog.v3.AccessLogService/{method}");
    let mut curl = Command::new("curl")
        .args(["-s", "-D", "-", "--http2-prior-knowledge", "--data-binary", "@-"])
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    curl.stdin.take().unwrap().write_all(body).unwrap();
    let output = curl.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = answer.split("grpc-status: ").nth(1).and_then(|it| it.lines().next());
    status.unwrap_or_else(|| panic!("no status in {answer}")).trim().to_owned()
}

#[test]
fn streams_wait_while_the_journal_is_full_and_lose_nothing_that_was_sent() {
    let fake = FakeKinesis::start(Mood::Failing);
    let daemon = Daemon::start(&format!(
        r#"
ingest: {{ envoy: {{ listen: "127.0.0.1:0" }} }}
journal: {{ max_bytes: 2MiB }}
destinations:
  - id: k
    target:
      kinesis:
        stream_arn: arn:aws:kinesis:us-east-1:123456789012:stream/s
        endpoint_url: http://{}
        auth: {{ creds: {{ aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: testing }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [k] }}
"#,
        fake.address
    ));
    let address = address_of(&daemon);
    let sending = std::thread::spawn(move || {
        block_on(async {
            let streams = (0..8).map(|_| stream(address, vec![message("/x", 50); 100]));
            futures_util::future::join_all(streams).await
        })
    });
    let full = daemon.wait_for("full", |status| {
        status["ingest"]["refused"]["ERR_SLUICEGATE_1106"].as_u64() > Some(1)
    });
    let of_envoy = &full["ingest"]["envoy"];
    assert!(of_envoy["waiting_messages"].as_u64() > Some(0), "{full}");
    assert!(of_envoy["entries"].as_u64() < Some(40_000), "{full}");
    assert!(daemon.memory("VmHWM").is_none_or(|kib| kib < 200 << 10));
    fake.set(Mood::Well);
    for ended in sending.join().unwrap() {
        assert_eq!(ended.code(), Code::Ok, "{ended}");
    }
    daemon.wait_until_delivered();
    assert_eq!(fake.records().len(), 40_000);
    assert_eq!(daemon.status()["ingest"]["accepted"], 40_000);
}

#[test]
fn no_mutated_message_breaks_its_reader() {
    let messages = [message("/a?b", 2), message("", 1)].map(|it| it.encode_to_vec());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        // xorshift64, which is enough to choose bytes.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    for case in 0..20_000 {
        let mut bytes = messages[case % 2].clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.insert(at, below(256) as u8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bodies::entries(&bytes);
    }
}

#[test]
fn a_stop_keeps_what_was_read_and_ends_open_streams_with_a_status() {
    let stage = Stage::new("", "");
    let address = stage.address();
    let ended = block_on(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut client = connect(address).await;
        let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let going = tokio::spawn(async move { client.stream_access_logs(messages).await });
        sender.send(message("/kept", 1)).await.unwrap();
        patiently("it is read", || stage.status()["ingest"]["envoy"]["messages"] == 1);
        let out = stage.folder.path().join("out.ndjson");
        assert_eq!(stage.daemon.stop().status.code(), Some(0));
        assert!(fs::read_to_string(out).unwrap().contains("/kept"));
        going.await.unwrap().unwrap_err()
    });
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
}
