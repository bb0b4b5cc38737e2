//! Dead letters, replays and what waits for nobody, worked on through the API of a running daemon.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::{Daemon, patiently};
use crate::support::receiver::Receiver;
use crate::support::{generate, http};

const HTTP: &str = "http_request_complete.v0";

/// A daemon whose one destination is a receiver, with what it refused in its dead letters.
struct Set {
    receiver: Receiver,
    daemon: Daemon,
    events: Vec<String>,
}

impl Set {
    fn new(letters: usize) -> Set {
        let receiver = Receiver::start(422, None);
        let daemon = Daemon::start(&format!(
            "{UNLIMITED}journal: {{ retention: 1h }}
destinations:
  - id: hook
    target: {{ debug: {{ callback_url: \"http://{}/\" }} }}
    batch: {{ linger: 10ms, max_records: 2 }}
  - {{ id: told, target: {{ file: {{ path: DIR/told.ndjson }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [hook] }}
  - id: own
    sources: [{{ type: dead_letters_purged.v0 }}, {{ type: dead_letters_redriven.v0 }}, {{ type: records_replayed.v0 }}, {{ type: records_forgotten.v0 }}]
    destinations: [told]
",
            receiver.address
        ));
        let events = generate(HTTP, letters, 9);
        daemon.send(&events);
        daemon.wait_until_delivered();
        receiver.take_lines();
        Set { receiver, daemon, events }
    }

    /// The events that the daemon has told of work on letters.
    fn told(&self, count: usize) -> Vec<Value> {
        let read = || std::fs::read_to_string(self.daemon.path("told.ndjson")).unwrap_or_default();
        patiently("told", || read().lines().count() >= count);
        read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A command that asks the daemon, and what it prints.
fn ask(client: &Client<'_>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(arguments)
        .args(["--api", &format!("http://{}", client.daemon.api)])
        .env("SLUICEGATE_API_KEY", client.key())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn said(client: &Client<'_>, arguments: &[&str]) -> String {
    let (code, out, errors) = ask(client, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{errors}");
    out
}

fn listed(client: &Client<'_>, query: &str) -> (Vec<Value>, Value) {
    let page = client.must(&format!("GET /dead_letters?{query}"), &Value::Null);
    (page["dead_letters"].as_array().unwrap().clone(), page["next_page_uri"].clone())
}

fn ledger(daemon: &Daemon) -> Value {
    http::get(daemon.api, "/ledger").json()["destinations"][0].clone()
}

#[test]
fn letters_are_paged_shown_thrown_away_and_sent_again_through_the_api() {
    let set = Set::new(7);
    let client = Client::new(&set.daemon);
    let (first, next) = listed(&client, "destination_id=hook&limit=5");
    let (_, query) = next.as_str().unwrap().split_once('?').unwrap();
    let (rest, end) = listed(&client, query);
    assert_eq!((first.len(), rest.len(), end), (5, 2, Value::Null));
    let all: Vec<&Value> = first.iter().chain(&rest).collect();
    let ids: BTreeSet<String> = all.iter().map(|it| id(it)).collect();
    assert_eq!(ids.len(), 7, "none comes twice: {all:?}");
    assert!(all.windows(2).all(|two| id(two[0]) > id(two[1])), "the newest first");
    let records: BTreeSet<&str> = all.iter().map(|it| it["record"].as_str().unwrap()).collect();
    assert_eq!(records, set.events.iter().map(String::as_str).collect(), "byte for byte");
    assert!(all.iter().all(|it| it["truncated"] == false && it["destination_id"] == "hook"));
    assert!(all.iter().all(|it| it["reason"].as_str().unwrap().contains("422")));
    assert_eq!(listed(&client, "reason=422").0.len(), 7);
    assert_eq!(listed(&client, "reason=423").0.len(), 0);
    assert_eq!(listed(&client, "destination_id=other").0.len(), 0);
    assert_eq!(listed(&client, "older_than=1h").0.len(), 0);
    assert_eq!(client.must(&format!("GET /dead_letters/{}", id(all[0])), &Value::Null), *all[0]);
    assert_eq!(client.refused("GET /dead_letters/dl_x", &Value::Null).0, 404);
    let refused = client.refused("POST /dead_letters/purge", &json!({}));
    assert_eq!(refused, (400, "ERR_SLUICEGATE_1436".to_owned()));
    let body = json!({"ids": [id(all[0]), "dl_nowhere"]});
    let purged = client.must("POST /dead_letters/purge", &body);
    assert_eq!(purged, json!({"purged": 1, "missing": ["dl_nowhere"], "after": null}));
    // While the service refuses, letters are kept.
    let kept = client.must("POST /dead_letters/redrive", &json!({"destination_id": "hook"}));
    assert_eq!((&kept["delivered"], &kept["kept"]), (&json!(0), &json!(6)), "{kept}");
    assert_eq!(kept["results"][0]["outcome"], "rejected", "{kept}");
    set.receiver.set(503);
    set.receiver.take_lines();
    let kept = client.must("POST /dead_letters/redrive", &json!({"all": true}));
    let outcomes = (&kept["results"][0]["outcome"], &kept["results"][1]["outcome"]);
    assert_eq!(outcomes, (&json!("failed"), &json!("not_sent")), "{kept}");
    assert_eq!(set.receiver.take_lines().len(), 2, "after a failure nothing more is sent");
    set.receiver.set(200);
    let sent = client.must("POST /dead_letters/redrive", &json!({"ids": [id(all[1])]}));
    assert_eq!(
        (&sent["delivered"], &sent["kept"], &sent["after"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    let sent = client.must("POST /dead_letters/redrive", &json!({"all": true}));
    assert_eq!(sent["delivered"], 5, "{sent}");
    assert_eq!(set.receiver.take_lines().len(), 6);
    let counts = ledger(&set.daemon);
    let counts = ["listed", "purged", "redriven", "letters_imbalance"].map(|it| counts[it].clone());
    assert_eq!(counts, [0, 1, 6, 0]);
    let told = set.told(5);
    assert_eq!(told[0]["event_type"], "dead_letters_purged.v0");
    assert_eq!(told[0]["object"]["purged"], 1);
    assert!(
        told[0]["principal"]["credential"]["id"].as_str().unwrap().starts_with("ak_"),
        "{}",
        told[0]
    );
    assert_eq!(set.daemon.log().matches("\"redriven\"").count(), 4, "one line each");
}

#[test]
fn the_commands_do_at_a_daemon_what_they_do_in_its_folder() {
    let set = Set::new(5);
    let client = Client::new(&set.daemon);
    let file = set.daemon.path("sluicegate.yaml");
    let here = |arguments: &[&str]| {
        let beside = [&["dead-letters"], arguments, &["-c", file.to_str().unwrap()]].concat();
        crate::support::output_of(&beside, "")
    };
    let there = |arguments: &[&str]| said(&client, &[&["dead-letters"], arguments].concat());
    let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let (list, folder) = (there(&["list"]), here(&["list"]));
    assert_eq!(list.lines().count(), 5, "{list}");
    // The folder's list has the service's words besides, and the time to the second.
    let ids = |text: &str| {
        lines(text.to_owned()).iter().map(|it| it[..30].to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&list), ids(&folder));
    let one = list.split_whitespace().next().unwrap();
    let whole = there(&["show", one, "-o", "json"]);
    let line: Value = serde_json::from_str(&whole).unwrap();
    let kept: Value = serde_json::from_str(&here(&["show", one, "-o", "json"])).unwrap();
    assert_eq!((&line["record"], &line["event_time"]), (&kept["record"], &kept["event_time"]));
    assert!(there(&["show", one]).contains("destination  hook"));
    assert_eq!(there(&["purge", one, "--dry-run"]), "1 letter would be thrown away\n");
    assert_eq!(there(&["purge", one]), "1 letter thrown away\n");
    let (code, _, errors) = ask(&client, &["dead-letters", "purge", one]);
    assert!(code == Some(1) && errors.contains(&format!("no letter `{one}`")), "{errors}");
    let (code, _, errors) = ask(&client, &["dead-letters", "purge"]);
    assert!(code == Some(1) && errors.contains("--all"), "{errors}");
    assert_eq!(there(&["redrive", "--all", "--dry-run"]), "4 letters would be sent to hook\n");
    let (code, out, _) = ask(&client, &["dead-letters", "redrive", "--all"]);
    assert!(code == Some(1) && out.contains("4 letters kept: rejected by hook"), "{out}");
    set.receiver.set(200);
    assert_eq!(there(&["redrive", "--destination", "hook"]), "4 letters delivered to hook\n");
    assert_eq!(here(&["list"]), "");
}

#[test]
fn a_large_record_is_cut_in_lists_and_whole_by_itself() {
    let settings = format!(
        "{UNLIMITED}ingest: {{ http: {{ listen: '127.0.0.1:0', max_event: 4MiB }} }}
destinations:
  - id: stream
    target: {{ kinesis: {{ stream_arn: \"arn:aws:kinesis:us-east-1:123456789012:stream/s\", endpoint_url: \"http://127.0.0.1:9\" }} }}
    batch: {{ linger: 10ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [stream] }}
"
    );
    let daemon = Daemon::start(&settings);
    let event = format!(
        r#"{{"event_id":"large","event_type":"{HTTP}","object":{{"x":"{}"}}}}"#,
        "x".repeat(2 << 20)
    );
    daemon.send(&[event]);
    daemon.wait_until_delivered();
    let client = Client::new(&daemon);
    let (letters, _) = listed(&client, "");
    let letter = &letters[0];
    let bytes = letter["record_bytes"].as_u64().unwrap();
    assert!(letter["truncated"] == true && bytes > 2 << 20, "{bytes}");
    assert_eq!(letter["record"].as_str().unwrap().len(), 4096);
    let whole = client.must(&format!("GET /dead_letters/{}", id(letter)), &Value::Null);
    assert_eq!(whole["record"].as_str().unwrap().len() as u64, bytes);
}

#[test]
fn what_the_journal_still_holds_is_sent_again_through_the_api() {
    let set = Set::new(0);
    let client = Client::new(&set.daemon);
    set.receiver.set(200);
    let events = generate(HTTP, 50, 3);
    set.daemon.send(&events);
    set.daemon.wait_until_delivered();
    assert_eq!(set.receiver.take_lines().len(), 50);
    let body = json!({"destination_id": "hook", "since": "1h", "dry_run": true});
    let dry = client.must("POST /replay", &body);
    assert_eq!(
        (&dry["found"], &dry["chosen"], &dry["delivered"]),
        (&json!(50), &json!(50), &json!(0))
    );
    assert_eq!(dry["first"].as_array().unwrap().len(), 5, "{dry}");
    assert_eq!(set.receiver.take_lines(), [""; 0]);
    let filter = "ev.http.response.status_code >= 400";
    let replay = ["replay", "--destination", "hook", "--since", "1h"];
    let out = said(&client, &[&replay[..], &["--filter", filter]].concat());
    let sent = set.receiver.take_lines();
    assert!(!sent.is_empty() && sent.len() < 50 && sent.iter().all(|it| events.contains(it)));
    assert_eq!(out, format!("{} records delivered to hook\n", sent.len()));
    assert!(
        said(&client, &[&replay[..], &["--dry-run"]].concat())
            .contains("50 of 50 records would be sent")
    );
    // A service that stops taking says where to go on, and nothing is left out.
    set.receiver.set(503);
    let stopped = client.must("POST /replay", &json!({"destination_id": "hook", "since": "1h"}));
    assert!(stopped["stopped"].is_string() && stopped["after"].is_u64(), "{stopped}");
    assert_eq!((&stopped["chosen"], &stopped["delivered"]), (&json!(0), &json!(0)));
    set.receiver.set(200);
    set.receiver.take_lines();
    let body = json!({"destination_id": "hook", "since": "1h", "after": stopped["after"]});
    let rest = client.must("POST /replay", &body);
    assert_eq!((&rest["delivered"], &rest["after"]), (&json!(50), &Value::Null), "{rest}");
    assert_eq!(set.receiver.take_lines(), events);
    let none = json!({"destination_id": "nowhere", "since": "1h"});
    assert_eq!(client.refused("POST /replay", &none).0, 404);
    let wrong = json!({"destination_id": "hook", "since": "1h", "filter": "ev."});
    assert_eq!(client.refused("POST /replay", &wrong), (400, "ERR_NGROK_5404".to_owned()));
    assert!(set.told(3).iter().all(|it| it["event_type"] == "records_replayed.v0"));
}

#[test]
fn what_waits_for_a_destination_that_has_gone_is_let_go_of_while_the_daemon_runs() {
    let set = Set::new(0);
    let client = Client::new(&set.daemon);
    set.receiver.set(503);
    set.daemon.send(&generate(HTTP, 20, 4));
    let forget = json!({"destination_id": "hook"});
    assert_eq!(
        client.refused("POST /journal/forget", &forget),
        (409, "ERR_SLUICEGATE_1439".to_owned())
    );
    // Nobody reads for it after a restart with other settings.
    let data = set.daemon.path("data");
    set.daemon.signal("KILL");
    let kept = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-a"]).arg(&data).arg(kept.path().join("data")).status();
    assert!(copied.unwrap().success());
    let daemon =
        Daemon::start(&format!("{UNLIMITED}data_dir: {}\n", kept.path().join("data").display()));
    let client = Client::new(&daemon);
    assert_eq!(ledger(&daemon)["pending"], 20);
    assert_eq!(client.refused("POST /journal/forget", &json!({"destination_id": "huok"})).0, 404);
    assert_eq!(
        said(&client, &["journal", "forget", "--destination", "hook"]),
        "given up: 20 records for `hook`\n"
    );
    let entry = ledger(&daemon);
    assert_eq!(
        (&entry["pending"], &entry["dropped"], &entry["imbalance"]),
        (&json!(0), &json!(20), &json!(0))
    );
    assert_eq!(
        client.refused("POST /journal/forget", &forget),
        (404, "ERR_SLUICEGATE_1440".to_owned())
    );
}
