//! A daemon that goes for good: it is asked to, delivers what it has, and ends.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::control::Client;
use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::generate;
use crate::support::settings::{Destination, Settings, Subscription};

#[test]
fn a_daemon_that_is_drained_delivers_everything_and_ends() {
    let kinesis = FakeKinesis::start(Mood::Failing);
    let settings = Settings::new()
        .drain_limit("60s")
        .destination(Destination::kinesis("stream", &kinesis))
        .subscription(Subscription::new("all", &["stream"]));
    let daemon = Daemon::start(&settings);
    let client = Client::new(&daemon);
    daemon.send(&generate("http_request_complete.v0", 100, 5));
    assert_eq!(client.refused("POST /drain", &json!({"x": 1})), (400, "ERR_NGROK_214".to_owned()));
    let draining = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["drain", "--api", &format!("http://{}", daemon.api)])
        .env("SLUICEGATE_API_KEY", client.key())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.wait_for_log("a drain is asked for through the API");
    kinesis.set(Mood::Well);
    let output = draining.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(told.starts_with("draining: "), "{output:?}");
    let ended = daemon.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(kinesis.records().len(), 100);
}
