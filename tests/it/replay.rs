//! `sluicegate replay`: records that the log still holds, sent again on somebody's order.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::{FakeKinesis, Mood};
use crate::support::{generate, http, output_of, sluicegate};

/// A daemon with a destination that has taken `events`, and a settings file for commands.
struct Set {
    fake: FakeKinesis,
    daemon: Daemon,
    file: PathBuf,
    events: Vec<String>,
}

impl Set {
    fn new(retention: &str) -> Set {
        let fake = FakeKinesis::start(Mood::Well);
        let settings = format!(
            r#"
journal: {{ retention: {retention}, max_bytes: 1MiB }}
destinations:
  - id: stream
    target:
      kinesis:
        stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s"
        auth: {{ creds: {{ aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: s3cret-key }} }}
        endpoint_url: "http://{}"
    batch: {{ linger: 10ms }}
    max_pending_bytes: 1MiB
  - {{ id: copy, max_pending_bytes: 1MiB, target: {{ file: {{ path: "DIR/copy.ndjson" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [stream, copy] }}
"#,
            fake.address
        );
        let daemon = Daemon::start(&settings);
        let events = generate("http_request_complete.v0", 600, 61);
        // In small bodies, so that the log has many segments of 64 KiB.
        for body in events.chunks(30) {
            daemon.send(body);
        }
        daemon.wait_until_delivered();
        let file = daemon.path("sluicegate.yaml");
        Set { fake, daemon, file, events }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let head = ["replay", "--destination", "stream", "-c", self.file.to_str().unwrap()];
        head.iter().chain(more).copied().collect()
    }

    fn replay(&self, more: &[&str]) -> String {
        output_of(&self.arguments(more), "")
    }

    /// The exit code and what was said of a run that must fail.
    fn fail(&self, more: &[&str]) -> String {
        let output = sluicegate(&self.arguments(more), "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The events that came twice.
    fn repeated(&self) -> HashSet<String> {
        let records = self.fake.records();
        assert_eq!(records.len(), self.events.len());
        assert!(records.values().all(|times| *times <= 2), "something came more than twice");
        records.into_iter().filter(|(_, times)| *times == 2).map(|(event, _)| event).collect()
    }
}

#[test]
fn a_replay_sends_everything_again_to_one_destination_beside_the_daemon_and_changes_no_account() {
    let set = Set::new("1h");
    let ledger = http::get(set.daemon.api, "/ledger").body;
    let said = set.replay(&["--since", "1h", "--rate", "2000"]);
    assert_eq!(said, "600 records delivered to stream\n");
    assert_eq!(set.repeated(), set.events.iter().cloned().collect());
    assert_eq!(http::get(set.daemon.api, "/ledger").body, ledger);
    let copy = std::fs::read_to_string(set.daemon.path("copy.ndjson")).unwrap();
    assert_eq!(copy.lines().count(), 600, "the other destination got nothing more");
}

#[test]
fn a_filter_chooses_what_is_replayed_and_a_dry_run_only_tells() {
    let set = Set::new("1h");
    let is_chosen = |event: &&String| event.contains("\"method\":\"post\"");
    let chosen: HashSet<String> = set.events.iter().filter(is_chosen).cloned().collect();
    assert!((10..590).contains(&chosen.len()));
    let filter = ["--since", "1h", "--filter", "ev.http.request.method == 'post'"];
    let said = set.replay(&[&filter[..], &["--dry-run"]].concat());
    let last = format!("{} of 600 records would be sent to stream", chosen.len());
    assert_eq!(said.lines().last(), Some(&*last));
    assert_eq!(said.lines().count(), 7, "five ids, an ellipsis and the count:\n{said}");
    assert!(set.repeated().is_empty());
    set.replay(&filter);
    assert_eq!(set.repeated(), chosen);
    let said = set.fail(&["--since", "1h", "--filter", "ev.http.request.methd == 'post'"]);
    assert!(said.contains("for http_request_complete.v0: ") && said.contains("method"), "{said}");
    let types = ["--since", "1h", "--type", "tcp_connection_closed.v0"];
    assert_eq!(set.replay(&types), "0 of 600 records were chosen\n");
}

#[test]
fn what_cannot_be_replayed_is_told_with_the_reason() {
    let set = Set::new("0s");
    let long_ago = ["--since", "2020-01-01T00:00:00Z", "--until", "2021-01-01T00:00:00Z"];
    let said = set.fail(&long_ago);
    assert!(said.contains("accepted from 2020-01-01T00:00:00Z to 2021-01-01"), "{said}");
    assert!(said.contains("`journal.retention` is 0s"), "{said}");
    let said = set.fail(&["--since", "1h", "--until", "2h"]);
    assert!(said.contains("not later"), "{said}");
    set.fake.set(Mood::Denying);
    let output = sluicegate(&set.arguments(&["--since", "1h"]), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("go on with --since 20"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("records not delivered: ") && text.contains("PutRecords"), "{text}");
    assert!(set.repeated().is_empty());
}

#[test]
fn a_replay_goes_on_through_faults_that_pass() {
    let set = Set::new("1h");
    set.fake.set(Mood::Throttling);
    // Of a single record the fake would refuse every try.
    let said = sluicegate(&set.arguments(&["--since", "1h"]), "");
    let text = String::from_utf8(said.stdout).unwrap();
    let delivered = text.lines().find(|line| line.contains("delivered to stream"));
    let count: u32 = delivered.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap();
    assert!(count > 400, "more than one try each: {text}");
    assert_eq!(set.repeated().len() as u32, count);
}
