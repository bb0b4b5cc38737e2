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
fn the_ledger_command_tells_what_became_of_dead_letters_and_fails_if_it_does_not_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("data_dir: {}\n{SETTINGS}", folder.path().display());
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, &settings).unwrap();
    let daemon = Daemon::start(&settings);
    let commands = Commands(file.to_str().unwrap().to_owned());
    let ledger = || sluicegate(&["ledger", "-c", &commands.0], "");
    let told = || String::from_utf8(ledger().stdout).unwrap();
    let api = format!("http://{}", daemon.api);
    let beside = || output_of(&["ledger", "--api", &api], "");
    assert!(!beside().contains("dead letters of"), "{}", beside());
    bury(&daemon, &["one", "two", "three"]);
    daemon.wait_until_delivered();
    commands.run(&["purge", &commands.id_of("two")]);
    let row = |table: &str| -> Vec<String> {
        let (_, letters) = table.split_once("dead letters of").unwrap();
        letters.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row(&beside()), ["stream", "3", "2", "1", "0", "0", "0", "0", "0"]);
    let metrics = http::get(daemon.api, "/metrics").body;
    for line in [
        "sluicegate_dead_letters_imbalance{destination=\"stream\"} 0",
        "sluicegate_ledger_imbalance{destination=\"stream\"} 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    daemon.stop();
    assert_eq!(row(&told()), ["stream", "3", "2", "1", "0", "0", "0", "0", "0"]);
    // Somebody counts letters as sent again that there never were.
    let body = r#"{"moved":true,"next_file":0,"gone_files":[],"owners":{"stream":{"last":0,"redriven":4}}}"#;
    let text =
        format!("sluicegate dead letters 1 {:08x}\n{body}\n", crc32c::crc32c(body.as_bytes()));
    let totals = folder.path().join("journal/dead-letters/totals");
    std::fs::write(totals, text).unwrap();
    let output = ledger();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`stream`: 4 dead letters more than there were"), "{said}");
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
