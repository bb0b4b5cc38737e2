//! Dead letters through everything that a person does with them, beside the daemon and across kills.

use std::io::Write as _;

use serde_json::Value;

use crate::support::daemon::{Daemon, patiently};
use crate::support::{generate, http, output_of, sluicegate};

/// Kinesis takes at most 1 MiB a record, which needs no answer of a service.
const SETTINGS: &str = r#"
ingest: { http: { listen: '127.0.0.1:0', max_event: 4MiB } }
destinations:
  - id: stream
    target: { kinesis: { stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "http://127.0.0.1:9" } }
    batch: { linger: 10ms }
subscriptions:
  - { id: all, sources: [{ type: http_request_complete.v0 }], destinations: [stream] }
"#;

fn bury(daemon: &Daemon, ids: &[&str]) {
    for id in ids {
        daemon.send(&[format!(
            r#"{{"event_id":"{id}","event_type":"http_request_complete.v0","object":{{"x":"{}"}}}}"#,
            "x".repeat(2 << 20)
        )]);
    }
}

struct Commands(String);

impl Commands {
    fn of(daemon: &Daemon) -> Commands {
        Commands(daemon.path("sluicegate.yaml").to_str().unwrap().to_owned())
    }

    fn run(&self, arguments: &[&str]) -> String {
        output_of(&[&["dead-letters"], arguments, &["-c", &self.0]].concat(), "")
    }

    /// Ids by the events'.
    fn id_of(&self, event: &str) -> String {
        let list: Value = serde_json::from_str(&self.run(&["list", "-o", "json"])).unwrap();
        let letters = list.as_array().unwrap();
        let found = letters.iter().find(|it| it["event_id"] == event);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }
}

fn ledger(daemon: &Daemon) -> Value {
    http::request(daemon.api, "GET /ledger", &[], b"").json()
}

fn counts(entry: &Value) -> [u64; 5] {
    ["dead_lettered", "listed", "purged", "redriven", "letters_lost"]
        .map(|name| entry[name].as_u64().unwrap())
}

#[test]
fn each_dead_letter_is_listed_or_accounted_for_whoever_opens_the_folder_and_across_a_kill() {
    let daemon = Daemon::start(SETTINGS);
    let commands = Commands::of(&daemon);
    bury(&daemon, &["one", "two", "three"]);
    daemon.wait_until_delivered();
    assert_eq!(commands.run(&["purge", &commands.id_of("two")]), "1 letter thrown away\n");
    assert_eq!(counts(&ledger(&daemon)["destinations"][0]), [3, 2, 1, 0, 0]);
    // A second daemon on the folder is refused before it touches anything.
    let second = sluicegate(&["run", "-c", &commands.0], "");
    assert!(!second.status.success());
    bury(&daemon, &["four"]);
    daemon.wait_until_delivered();
    assert_eq!(counts(&ledger(&daemon)["destinations"][0]), [4, 3, 1, 0, 0]);
    assert_eq!(ledger(&daemon)["balanced"], true);
    daemon.signal("KILL");
    patiently("the lock is free", || {
        let read = sluicegate(&["ledger", "-c", &commands.0, "-o", "json"], "");
        let ledger: Value = serde_json::from_slice(&read.stdout).unwrap_or_default();
        ledger["destinations"].is_array() && {
            assert_eq!(counts(&ledger["destinations"][0]), [4, 3, 1, 0, 0]);
            true
        }
    });
    let list = commands.run(&["list"]);
    let events: Vec<bool> =
        ["one", "two", "three", "four"].map(|event| list.contains(event)).to_vec();
    assert_eq!(events, [true, false, true, true], "{list}");
}

#[test]
fn rejected_lines_of_standard_input_are_exported_mended_and_sent_in_again() {
    let settings = format!(
        "ingest: {{ stdin: {{}}, http: {{ listen: '127.0.0.1:0' }} }}\n{}",
        "destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [kept] }]
"
    );
    let (daemon, mut input) = Daemon::start_piped(&settings);
    let good = generate("http_request_complete.v0", 1, 5).remove(0);
    // As `v1` there is no such type.
    writeln!(input, "{}", good.replace("http_request_complete.v0", "http_request_complete.v1"))
        .unwrap();
    daemon.wait_for("the line is rejected", |status| status["ingest"]["rejected"] == 1);
    let commands = Commands::of(&daemon);
    patiently("the letter is there", || !commands.run(&["list"]).is_empty());
    let exported = commands.run(&["export"]);
    assert_eq!(exported.lines().count(), 1, "{exported}");
    let mended = daemon.path("mended.ndjson");
    std::fs::write(&mended, exported.replace("complete.v1", "complete.v0")).unwrap();
    let to = format!("http://{}", daemon.ingest);
    let said = commands.run(&["redrive", "--from", mended.to_str().unwrap(), "--ingest", &to]);
    assert_eq!(said, "1 letter delivered to the daemon's ingest\n");
    daemon.wait_until_delivered();
    assert_eq!(std::fs::read_to_string(daemon.path("out.ndjson")).unwrap().lines().count(), 1);
    assert_eq!(commands.run(&["list"]), "");
    let entrance = &ledger(&daemon)["entrances"][0];
    assert_eq!(counts(entrance), [1, 0, 0, 1, 0], "{entrance}");
    drop(input);
}
