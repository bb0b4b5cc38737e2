//! `sluicegate api` and the commands that know what was made through the API, on the started daemon.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::receiver::Receiver;
use crate::support::tls::Certificates;
use crate::support::{changed, generate, output_of, sluicegate};

const HTTP: &str = "http_request_complete.v0";

const TCP: &str = "tcp_connection_closed.v0";

const UNLIMITED: &str = "api: { listen: 127.0.0.1:0, rate_limit: { requests: 1000000 } }\n";

/// A daemon and a file with a key for it.
struct Set {
    daemon: Daemon,
    address: String,
    key_file: String,
}

impl Set {
    fn new(settings: &str) -> Set {
        Set::of(&format!("{UNLIMITED}{settings}"))
    }

    fn of(settings: &str) -> Set {
        let daemon = Daemon::start(settings);
        let key_file = daemon.path("key").to_str().unwrap().to_owned();
        let address = format!("http://{}", daemon.api);
        let set = Set { daemon, address, key_file };
        let key = output_of(&["api-key", "create", "-c", &set.settings()], "");
        std::fs::write(&set.key_file, key).unwrap();
        set
    }

    fn settings(&self) -> String {
        self.daemon.path("sluicegate.yaml").to_str().unwrap().to_owned()
    }

    /// The same command with the address and the key.
    fn open<'a>(&'a self, line: &[&'a str]) -> Vec<&'a str> {
        [line, &["--api", &self.address, "--key-file", &self.key_file]].concat()
    }

    fn api(&self, line: &[&str]) -> String {
        output_of(&self.open(&[&["api"], line].concat()), "")
    }

    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.api(&[line, &["-o", "json"]].concat())).unwrap()
    }

    /// What is said of a command that must end with a code.
    fn fail(&self, line: &[&str], code: i32) -> String {
        said(&sluicegate(&self.open(line), ""), code)
    }

    /// Makes a destination for a receiver, and a subscription to it; gives the destination's id.
    fn to(&self, receiver: &Receiver) -> String {
        let url = format!("http://{}/", receiver.address);
        let target = format!("target={}", json!({"debug": {"callback_url": url}}));
        let made = self.json(&["event-destinations", "create", "format=json", &target]);
        let id = made["id"].as_str().unwrap().to_owned();
        let (ids, sources) = (json!([id]), json!([{"type": HTTP}]));
        let fields = [format!("destination_ids={ids}"), format!("sources={sources}")];
        self.api(&["event-subscriptions", "create", &fields[0], &fields[1]]);
        id
    }
}

fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_resource_is_made_shown_changed_and_deleted() {
    let set = Set::new("");
    let made = set.json(&["ip-policies", "create", "description=office, 2nd floor"]);
    let id = made["id"].as_str().unwrap();
    let shown = set.api(&["ip_policies", "get", id]);
    assert!(shown.contains(&format!("id           {id}\n")), "{shown}");
    assert!(shown.contains("description  office, 2nd floor\n"), "{shown}");
    let table = set.api(&["ip-policies", "list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert_eq!(lines[0].find("description"), lines[1].find("office"), "{table}");
    set.api(&["ip-policies", "update", id, "metadata=true"]);
    let listed = set.json(&["ip-policies", "list", "--filter", "obj.metadata == 'true'"]);
    assert_eq!(listed[0]["id"], id);
    let rule = output_of(
        &set.open(&["api", "ip-policy-rules", "create", "action=deny", "--data", "-"]),
        &json!({"ip_policy_id": id, "cidr": "203.0.113.0/24", "action": "allow"}).to_string(),
    );
    assert!(rule.contains("action      deny"), "{rule}");
    assert!(set.api(&["ip-policy-rules", "list"]).contains("203.0.113.0/24"));
    assert_eq!(set.api(&["ip-policies", "delete", id]), format!("{id} is deleted\n"));
    assert_eq!(set.json(&["ip-policies", "list"]), json!([]));
}

#[test]
fn a_list_goes_through_all_pages_also_behind_a_public_address() {
    let settings = changed(UNLIMITED, " } }", " }, public_url: \"http://192.0.2.1:9\" }");
    let set = Set::of(&settings);
    let client = crate::control::Client::new(&set.daemon);
    for n in 0..205 {
        client.must("POST /ip_policies", &json!({"description": format!("p{n}")}));
    }
    let all = set.json(&["ip-policies", "list"]);
    assert_eq!(all.as_array().unwrap().len(), 205);
    assert_eq!(all[0]["description"], "p204");
    assert_eq!(all[204]["description"], "p0");
    let some = set.json(&["ip-policies", "list", "--limit", "150"]);
    assert_eq!(some.as_array().unwrap()[..], all.as_array().unwrap()[..150]);
}

#[test]
fn what_is_wrong_is_told_with_its_code() {
    let set = Set::new("");
    let said_of = |line: &[&str], code| set.fail(&[&["api"], line].concat(), code);
    let said_wrong = said_of(&["ip-policies", "create", "descripton=x"], 2);
    assert!(said_wrong.contains("did you mean `description`?"), "{said_wrong}");
    assert_eq!(set.json(&["ip-policies", "list"]), json!([]), "nothing was sent");
    said_of(&["ip-polices", "list"], 2);
    let missing = said_of(&["ip-policies", "get", "ipp_no"], 1);
    assert!(
        missing.starts_with("Resource not found\n(404 Not Found, ERR_SLUICEGATE_1351, op"),
        "{missing}"
    );
    let refused = said_of(&["ip-policy-rules", "create", "cidr=203.0.113.0/24"], 1);
    assert!(refused.contains("ERR_NGROK_1405, operation op_"), "{refused}");
    std::fs::write(&set.key_file, "2ZBQMqBcUZb0hWyuxBRV0YZbUjv_wrong").unwrap();
    let forbidden = said_of(&["ip-policies", "list"], 1);
    assert!(forbidden.contains("403 Forbidden, ERR_NGROK_"), "{forbidden}");
    std::fs::write(&set.key_file, "\n").unwrap();
    let none = said_of(&["ip-policies", "list"], 1);
    assert!(none.contains("key: holds no API key, which is one word"), "{none}");
    let open = ["api", "ip-policies", "list", "--api", &set.address];
    let none = said(&sluicegate(&open, ""), 1);
    assert!(none.starts_with("no API key: set SLUICEGATE_API_KEY"), "{none}");
}

#[test]
fn address_and_key_may_stand_in_the_environment() {
    let set = Set::new("");
    let key = std::fs::read_to_string(&set.key_file).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["api", "api-keys", "list"])
        .env("SLUICEGATE_API_URL", &set.address)
        .env("SLUICEGATE_API_KEY", key.trim())
        .output()
        .unwrap();
    assert_eq!(said(&output, 0), "");
    assert!(String::from_utf8(output.stdout).unwrap().contains("ak_"));
}

/// Each command that asks a daemon.
const ASKING: [&[&str]; 4] =
    [&["health"], &["ledger"], &["test-event", "--destination", "d"], &["api", "api-keys", "list"]];

#[test]
fn every_command_that_asks_a_daemon_takes_key_and_ca() {
    let Some(certificates) = Certificates::make() else { return };
    let receiver = Receiver::start(401, Some(certificates.server("server")));
    let address = format!("https://localhost:{}", receiver.address.port());
    let (key, ca) = (certificates.path("key"), certificates.path("ca.pem"));
    std::fs::write(&key, "of_the_file\n").unwrap();
    for line in ASKING {
        let file = ["--key-file", key.to_str().unwrap(), "--ca", ca.to_str().unwrap()];
        for (more, sent) in [(&file[..], "of_the_file"), (&file[2..], "of_the_environment")] {
            let before = receiver.requests().len();
            let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
                .args([line, more].concat())
                .env("SLUICEGATE_API_URL", &address)
                .env("SLUICEGATE_API_KEY", "of_the_environment")
                .output()
                .unwrap();
            let errors = said(&output, 1);
            let requests = receiver.requests();
            assert_eq!(requests.len(), before + 1, "{line:?}: {errors}");
            let head = &requests[before].0;
            assert!(head.contains(&format!("authorization: bearer {sent}\r\n")), "{head}");
        }
        let untrusted =
            said(&sluicegate(&[line, &["--api", &address][..], &file[..2]].concat(), ""), 1);
        assert!(untrusted.contains("certificate"), "{line:?}: {untrusted}");
    }
}

#[test]
fn help_names_the_resources_and_their_fields() {
    let help = output_of(&["api", "--help"], "");
    assert!(help.contains("event destination: metadata, description, format, target"), "{help}");
    for name in ["event-subscriptions", "reserved-addrs", "sources", "try-filter", "--key-file"] {
        assert!(help.contains(name), "{help}");
    }
    let help = output_of(&["api", "event-destinations", "create", "--help"], "");
    for part in ["target=", "(required)", "The service and the place in it.", "--data"] {
        assert!(help.contains(part), "{help}");
    }
    let help = output_of(&["api", "ip-restrictions", "update", "--help"], "");
    assert!(!help.contains("\n  type="), "what cannot be changed is not named: {help}");
    assert!(output_of(&["completions", "bash"], "").contains("event-destinations"));
}

#[test]
fn sources_are_managed_and_filters_tried() {
    let set = Set::new("");
    let receiver = Receiver::start(200, None);
    set.to(&receiver);
    let id = set.json(&["event-subscriptions", "list"])[0]["id"].as_str().unwrap().to_owned();
    set.api(&["sources", &id, "create", TCP, "filter=true"]);
    set.api(&["sources", &id, "update", HTTP, "filter=ev.http.response.status_code >= 500"]);
    let table = set.api(&["sources", &id, "list"]);
    assert!(table.contains("ev.http.response.status_code >= 500"), "{table}");
    set.api(&["sources", &id, "delete", TCP]);
    assert_eq!(set.json(&["sources", &id, "list"]).as_array().unwrap().len(), 1);
    set.daemon.send(&generate(HTTP, 50, 1));
    let said = set.api(&["try-filter", "--type", HTTP, "ev.http.request.method == 'get'"]);
    assert!(said.contains(" events match, 0 filter errors\n\nwhat decided:\nterm "), "{said}");
    let wrong = set.fail(&["api", "try-filter", "--type", HTTP, "ev.http.requst"], 1);
    assert!(wrong.contains("ERR_NGROK_"), "{wrong}");
}

#[test]
fn a_test_event_goes_through_the_daemon() {
    let set = Set::new("");
    let receiver = Receiver::start(200, None);
    let id = set.to(&receiver);
    let line = ["test-event", "--destination", &id];
    let printed = output_of(&set.open(&line), "");
    assert!(printed.contains("answer       delivered after "), "{printed}");
    assert_eq!(receiver.take_lines().len(), 1);
    assert!(set.api(&["event-destinations", "test", &id]).contains("delivered"));
    assert_eq!(set.json(&["event-destinations", "status", &id])["id"], *id);
    receiver.set(403);
    let output = sluicegate(&set.open(&[&line[..], &["-o", "json"]].concat()), "");
    let reason = said(&output, 1);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["answer"], "failed");
    assert!(reason.contains("403") && reason.contains("ERR_SLUICEGATE_1306"), "{reason}");
    let unknown = set.fail(&["test-event", "--destination", "ed_no"], 1);
    assert!(unknown.starts_with("no destination `ed_no` at http://"), "{unknown}");
    let neither = said(&sluicegate(&line, ""), 2);
    assert!(neither.contains("--config"), "{neither}");
}

#[test]
fn commands_beside_the_daemon_know_what_was_made_through_the_api() {
    let set = Set::new("journal: { retention: 1h }\n");
    let receiver = Receiver::start(200, None);
    let id = set.to(&receiver);
    let settings = set.settings();
    let here = ["--destination", &id, "-c", &settings];
    let run = |line: &[&str]| output_of(&[line, &here].concat(), "");
    assert!(run(&["test-event"]).contains("delivered"));
    receiver.set(400);
    // Fewer than the refusals in a row that make it a fault of the settings.
    set.daemon.send(&generate(HTTP, 10, 1));
    set.daemon.wait_for("dead", |_| set.daemon.destination(&id)["dead_lettered"] == 10);
    receiver.set(200);
    receiver.take_lines();
    assert!(run(&["dead-letters", "redrive"]).contains("10 letters delivered"));
    assert_eq!(receiver.take_lines().len(), 10);
    assert!(run(&["replay", "--since", "1h"]).contains("10 records delivered"));
    assert_eq!(receiver.take_lines().len(), 10);
    let said_of = output_of(&["check", "-c", &settings, "--online"], "");
    assert!(said_of.contains(&format!("  {id}: ok")), "{said_of}");
    let output = sluicegate(&[&["journal", "forget"][..], &here].concat(), "");
    assert!(said(&output, 1).contains("was made through the API: delete it there first"));
}

#[test]
fn commands_make_no_store_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("sluicegate.yaml");
    let data = folder.path().join("data");
    let target = "target: { debug: { log: true } }";
    let text = format!("data_dir: {}\ndestinations: [{{ id: d, {target} }}]\n", data.display());
    std::fs::write(&settings, text).unwrap();
    let settings = settings.to_str().unwrap();
    output_of(&["test-event", "--destination", "d", "-c", settings], "");
    output_of(&["check", "--online", "-c", settings], "");
    assert!(!data.exists());
}
