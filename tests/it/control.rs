//! The control API on the started daemon: ngrok's own client, changes in force, keys, crashes.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::http::{self, Answer};
use crate::support::receiver::Receiver;
use crate::support::{generate, output_of, venv_program};

const HTTP: &str = "http_request_complete.v0";

/// What targets of AWS need that name an endpoint.
const ENDPOINTS: &str = "control: { api_targets: { endpoint_url: true } }\n";

/// Settings under which tests may ask as often as they like.
pub(crate) const UNLIMITED: &str =
    "api: { listen: 127.0.0.1:0, rate_limit: { requests: 1000000 } }\n";

/// A client with a key of its own.
pub(crate) struct Client<'d> {
    pub(crate) daemon: &'d Daemon,
    pub(crate) key: String,
}

impl<'d> Client<'d> {
    pub(crate) fn new(daemon: &'d Daemon) -> Client<'d> {
        let settings = daemon.path("sluicegate.yaml");
        let printed = output_of(&["api-key", "create", "-c", settings.to_str().unwrap()], "");
        let key = printed.split_whitespace().last().unwrap().to_owned();
        Client { daemon, key }
    }

    /// A client with a key that was made before.
    pub(crate) fn with_key(daemon: &'d Daemon, key: &str) -> Client<'d> {
        Client { daemon, key: key.to_owned() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn ask(&self, line: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("ngrok-version", "2"),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(self.daemon.api, line, &headers, body.as_bytes())
    }

    /// Asks for what must be done, and gives the answer.
    pub(crate) fn must(&self, line: &str, body: &Value) -> Value {
        let answer = self.ask(line, body);
        assert!((200..300).contains(&answer.status), "{line} {body}: {answer:?}");
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// Asks for what must be refused, and gives status and code.
    pub(crate) fn refused(&self, line: &str, body: &Value) -> (u16, String) {
        let answer = self.ask(line, body);
        assert!(answer.status >= 400, "{line} {body}: {answer:?}");
        (answer.status, answer.json()["error_code"].as_str().unwrap_or_default().to_owned())
    }
}

pub(crate) fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

#[test]
fn ngroks_python_client_works_unchanged() {
    let Some(python) = venv_program("python") else { return };
    let daemon = Daemon::start(&format!("{UNLIMITED}{ENDPOINTS}"));
    let client = Client::new(&daemon);
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ngrok/client.py"))
        .args([format!("http://{}", daemon.api), client.key.clone()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("all well"),
        "{said}{errors}\n{}",
        daemon.log()
    );
    assert!(!daemon.log().contains("wJalrXUtnFEMI"), "a secret is in the log");
}

#[test]
fn a_change_is_in_force_when_its_answer_comes() {
    let daemon = Daemon::start(&format!(
        "{UNLIMITED}destinations: [{{ id: kept, target: {{ file: {{ path: DIR/out.ndjson }} }} }}]\n"
    ));
    let client = Client::new(&daemon);
    let matched = |id: &str| {
        let status = daemon.status();
        let all = status["subscriptions"].as_array().unwrap();
        all.iter().find(|it| it["id"] == id).map(|it| it["matched"].clone())
    };
    let made = client.must(
        "POST /event_subscriptions",
        &json!({"sources": [{"type": HTTP}], "destination_ids": ["kept"]}),
    );
    let subscription = id(&made);
    daemon.send(&generate(HTTP, 100, 1));
    assert_eq!(matched(&subscription), Some(json!(100)));
    let source = format!("/event_subscriptions/{subscription}/sources/{HTTP}");
    client.must(&format!("PATCH {source}"), &json!({"filter": "false"}));
    daemon.send(&generate(HTTP, 100, 2));
    assert_eq!(matched(&subscription), Some(json!(100)));
    client.must(&format!("DELETE {source}"), &Value::Null);
    daemon.send(&generate(HTTP, 100, 3));
    client.must(&format!("DELETE /event_subscriptions/{subscription}"), &Value::Null);
    daemon.send(&generate(HTTP, 100, 4));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("kept")["delivered"], 100);
    assert_eq!(matched(&subscription), None);
}

#[test]
fn what_the_settings_file_manages_is_shown_and_not_changed() {
    let daemon = Daemon::start(&format!(
        "{UNLIMITED}
destinations: [{{ id: kept, target: {{ debug: {{ log: false }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: {HTTP} }}], destinations: [kept] }}]
"
    ));
    let client = Client::new(&daemon);
    let shown = client.must("GET /event_subscriptions/all", &Value::Null);
    assert_eq!(shown["managed_by"], "file");
    assert_eq!(shown["destinations"][0]["id"], "kept");
    let conflict = (409, "ERR_SLUICEGATE_1304".to_owned());
    for line in ["PATCH /event_destinations/kept", "PATCH /event_subscriptions/all"] {
        assert_eq!(client.refused(line, &json!({"description": "x"})), conflict, "{line}");
    }
    for line in [
        "DELETE /event_destinations/kept",
        "DELETE /event_subscriptions/all",
        &format!("DELETE /event_subscriptions/all/sources/{HTTP}"),
    ] {
        assert_eq!(client.refused(line, &Value::Null), conflict, "{line}");
    }
    let made = client
        .must("POST /event_destinations", &json!({"format": "json", "target": {"debug": {}}}));
    let listed = client.must("GET /event_destinations", &Value::Null);
    let ids: Vec<_> = listed["event_destinations"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, [id(&made), "kept".to_owned()], "those of the file come last");
}

#[test]
fn a_reload_keeps_what_the_api_made_and_refuses_what_would_break_it() {
    let with = format!(
        "{UNLIMITED}destinations: [{{ id: kept, target: {{ debug: {{ log: false }} }} }}]\n"
    );
    let daemon = Daemon::start(&with);
    let client = Client::new(&daemon);
    let made = client.must(
        "POST /event_subscriptions",
        &json!({"sources": [{"type": HTTP}], "destination_ids": ["kept"]}),
    );
    daemon.reload(&format!("{with}# no change\n"));
    daemon.wait_for_log("\"reloaded\"");
    client.must(&format!("GET /event_subscriptions/{}", id(&made)), &Value::Null);
    daemon.reload(&format!("{UNLIMITED}allow_removal: true\n"));
    daemon.wait_for_log(&id(&made));
    daemon.send(&generate(HTTP, 10, 1));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("kept")["delivered"], 10);
}

#[test]
fn every_answered_change_survives_being_killed() {
    let data = tempfile::tempdir().unwrap();
    let settings = format!("{UNLIMITED}data_dir: {}\n", data.path().display());
    let mut key = None;
    let mut kept: Vec<String> = Vec::new();
    for round in 0..5 {
        let daemon = Daemon::start(&settings);
        let key = key.get_or_insert_with(|| Client::new(&daemon).key).clone();
        let client = Client { daemon: &daemon, key };
        for n in 0..10 {
            let body = json!({"description": format!("{round}.{n}")});
            kept.push(id(&client.must("POST /ip_policies", &body)));
        }
        let gone = kept.remove(round);
        client.must(&format!("DELETE /ip_policies/{gone}"), &Value::Null);
        daemon.signal("KILL");
        daemon.wait();
    }
    let daemon = Daemon::start(&settings);
    let client = Client { daemon: &daemon, key: key.unwrap() };
    let listed = client.must("GET /ip_policies", &Value::Null);
    let ids: Vec<_> = listed["ip_policies"].as_array().unwrap().iter().rev().map(id).collect();
    assert_eq!(ids, kept);
}

#[test]
fn many_clients_at_once_each_get_what_they_made() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let wrong = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for n in 0..100 {
            let (client, wrong) = (&client, &wrong);
            scope.spawn(move || {
                let description = format!("client {n}");
                let made = client.must("POST /ip_policies", &json!({"description": description}));
                let line = format!("GET /ip_policies/{}", id(&made));
                if client.must(&line, &Value::Null)["description"] != json!(description) {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                if n % 2 == 0 {
                    client.must(&format!("DELETE /ip_policies/{}", id(&made)), &Value::Null);
                }
            });
        }
    });
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
    let listed = client.must("GET /ip_policies", &Value::Null);
    assert_eq!(listed["ip_policies"].as_array().unwrap().len(), 50);
}

#[test]
fn the_rate_limit_refuses_and_tells_when_to_come_again() {
    let settings = "api: { listen: 127.0.0.1:0, rate_limit: { requests: 3, per: 10m } }\n";
    let daemon = Daemon::start(settings);
    let client = Client::new(&daemon);
    for _ in 0..3 {
        client.must("GET /self", &Value::Null);
    }
    let refused = client.ask("GET /self", &Value::Null);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error_code"], "ERR_NGROK_226");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&wait), "{wait}");
    assert_eq!(http::get(daemon.api, "/status").status, 200, "operations are not counted");
}

#[test]
fn secrets_are_in_no_answer_no_log_and_no_file() {
    const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCY";
    let daemon = Daemon::start(&format!("{UNLIMITED}{ENDPOINTS}"));
    let client = Client::new(&daemon);
    let target = json!({"kinesis": {
        "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s",
        "endpoint_url": "http://127.0.0.1:9",
        "auth": {"creds": {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": SECRET}},
    }});
    let made =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let line = format!("/event_destinations/{}", id(&made));
    let credential = client.must("POST /credentials", &json!({}));
    let token = credential["token"].as_str().unwrap().to_owned();
    let wrong = client.ask(&format!("POST {line}/send_test_event"), &Value::Null);
    let answers = [
        made.to_string(),
        client.must(&format!("GET {line}"), &Value::Null).to_string(),
        client.must(&format!("PATCH {line}"), &json!({"description": "x"})).to_string(),
        client.must("GET /event_destinations", &Value::Null).to_string(),
        client.must("GET /credentials", &Value::Null).to_string(),
        client.must("GET /api_keys", &Value::Null).to_string(),
        daemon.status().to_string(),
        wrong.body,
        daemon.log(),
    ];
    for answer in &answers {
        for secret in [SECRET, &token, &client.key] {
            assert!(!answer.contains(secret), "{answer}");
        }
    }
    let files = walk(&daemon.path("data"));
    assert!(files.iter().any(|file| file.ends_with("control.db")), "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [SECRET, &token, &client.key] {
            let found = bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
            assert!(!found, "a secret is in {}", file.display());
        }
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn every_change_is_told_as_an_audit_event() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let receiver = Receiver::start(200, None);
    let target = json!({"debug": {"callback_url": format!("http://{}/", receiver.address)}});
    let subscribed =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let stems = [
        "api_key",
        "domain",
        "event_destination",
        "event_subscription",
        "ip_policy",
        "ip_policy_rule",
        "ip_restriction",
        "tcp_address",
        "tunnel_credential",
    ];
    let verbs = ["created", "updated", "deleted"];
    let types: Vec<String> =
        stems.iter().flat_map(|stem| verbs.map(|verb| format!("{stem}_{verb}.v0"))).collect();
    let sources: Vec<Value> = types.iter().map(|it| json!({"type": it})).collect();
    let body = json!({"sources": sources, "destination_ids": [id(&subscribed)]});
    let subscription = client.must("POST /event_subscriptions", &body);
    let policy = client.must("POST /ip_policies", &json!({"description": "office"}));
    let line = format!("/ip_policies/{}", id(&policy));
    client.must(&format!("PATCH {line}"), &json!({"metadata": "m"}));
    let rule = json!({"ip_policy_id": id(&policy), "cidr": "203.0.113.0/24", "action": "allow"});
    client.must("POST /ip_policy_rules", &rule);
    client.must(&format!("DELETE {line}"), &Value::Null);
    let key = client.must("POST /api_keys", &json!({}));
    let source = format!("/event_subscriptions/{}/sources/domain_created.v0", id(&subscription));
    client.must(&format!("DELETE {source}"), &Value::Null);
    daemon.wait_until_delivered();
    let events: Vec<Value> =
        receiver.take_lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &Value| event["event_type"].as_str().unwrap().to_owned();
    assert_eq!(
        events.iter().map(of).collect::<Vec<_>>(),
        [
            "event_subscription_created.v0",
            "ip_policy_created.v0",
            "ip_policy_updated.v0",
            "ip_policy_rule_created.v0",
            "ip_policy_rule_deleted.v0",
            "ip_policy_deleted.v0",
            "api_key_created.v0",
            "event_subscription_updated.v0",
        ]
    );
    assert_eq!(events[1]["object"], policy);
    assert!(events[1]["account_id"].as_str().unwrap().starts_with("ac_"));
    let principal = &events[1]["principal"];
    assert!(principal["id"].as_str().unwrap().starts_with("usr_"));
    assert!(principal["credential"]["id"].as_str().unwrap().starts_with("ak_"));
    assert_eq!(events[6]["object"]["id"], key["id"]);
    assert_eq!(events[6]["object"]["token"], Value::Null, "an event never has the token");
}

#[test]
fn an_ip_restriction_is_enforced_on_its_listener() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let policy = id(&client.must("POST /ip_policies", &json!({})));
    let restrict = |of: &str| {
        let body = json!({"type": of, "enforced": true, "ip_policy_ids": [policy]});
        client.must("POST /ip_restrictions", &body)
    };
    let send = || daemon.post("application/x-ndjson", generate(HTTP, 1, 1).join("\n")).status;
    assert_eq!(send(), 200);
    let endpoints = id(&restrict("endpoints"));
    assert_eq!(send(), 403, "a policy without rules matches nothing");
    client.must(&format!("PATCH /ip_restrictions/{endpoints}"), &json!({"enforced": false}));
    assert_eq!(send(), 200, "not enforced");
    client.must(&format!("PATCH /ip_restrictions/{endpoints}"), &json!({"enforced": true}));
    let rule = json!({"ip_policy_id": policy, "cidr": "127.0.0.0/8", "action": "allow"});
    let rule = id(&client.must("POST /ip_policy_rules", &rule));
    assert_eq!(send(), 200);
    let counted = &daemon.status()["ip_restrictions"]["endpoints"];
    assert_eq!(*counted, json!({"refused": 1, "warned": 1}));
    restrict("api");
    client.must(&format!("DELETE /ip_policy_rules/{rule}"), &Value::Null);
    assert_eq!(client.refused("GET /ip_policies", &Value::Null), (403, "ERR_NGROK_220".to_owned()));
    assert_eq!(http::get(daemon.api, "/healthz").status, 200);
}

#[test]
fn who_is_shut_out_by_a_restriction_gets_in_by_the_settings() {
    let daemon = Daemon::start(
        "api: { listen: 127.0.0.1:0, enforce_ip_restrictions: false, rate_limit: { requests: 1000 } }\n",
    );
    let client = Client::new(&daemon);
    let policy = id(&client.must("POST /ip_policies", &json!({})));
    let body = json!({"type": "api", "enforced": true, "ip_policy_ids": [policy]});
    let restriction = id(&client.must("POST /ip_restrictions", &body));
    client.must(&format!("PATCH /ip_restrictions/{restriction}"), &json!({"enforced": false}));
}

#[test]
fn a_credential_opens_ingest_for_what_its_rules_name() {
    let daemon = Daemon::start(&format!(
        "{UNLIMITED}ingest: {{ http: {{ listen: 127.0.0.1:0, bearer_tokens: [of-the-file] }} }}\n"
    ));
    let client = Client::new(&daemon);
    let made = client.must("POST /credentials", &json!({"acl": ["bind:tcp_*"]}));
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let send = |bearer: &str, event_type: &str| {
        let headers = [("authorization", bearer), ("content-type", "application/x-ndjson")];
        daemon.post_with(&headers, generate(event_type, 1, 1).join("\n"))
    };
    assert_eq!(send("Bearer of-the-file", HTTP).status, 200);
    assert_eq!(send(&bearer, "tcp_connection_closed.v0").status, 200);
    let refused = send(&bearer, HTTP);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["rejected"][0]["error_code"], "ERR_NGROK_619");
    client.must(&format!("DELETE /credentials/{}", id(&made)), &Value::Null);
    assert_eq!(send(&bearer, "tcp_connection_closed.v0").status, 401);
}

#[test]
fn a_filter_can_be_tried_on_events_given_and_on_those_that_passed() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let filter = r#"ev.http.response.status_code >= 500 || ev.http.request.method == "get""#;
    let events: Vec<Value> =
        generate(HTTP, 50, 1).iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let asked = json!({"type": HTTP, "filter": filter, "events": events});
    let tried = client.must("POST /filters/try", &asked);
    assert_eq!(tried["seen"], 50);
    let matched = tried["matched"].as_u64().unwrap();
    assert!(matched > 0 && matched < 50, "{tried}");
    // A match is decided by the first term that is true, and its absence by both.
    let terms = tried["terms"].as_array().unwrap();
    let count = |term: &Value, name: &str| term[name].as_u64().unwrap();
    assert_eq!(terms.len(), 2, "{tried}");
    assert_eq!(terms.iter().map(|term| count(term, "true")).sum::<u64>(), matched, "{tried}");
    for term in terms {
        assert_eq!(count(term, "false"), 50 - matched, "{tried}");
        let (name, _) = term["term"].as_str().unwrap().split_once(' ').unwrap();
        assert!(term["last_fields"][name].is_string(), "{tried}");
    }
    for event in generate(HTTP, 20, 2) {
        daemon.send(&[event]);
    }
    let tried =
        client.must("POST /filters/try", &json!({"type": HTTP, "filter": "true", "last": 5}));
    assert_eq!((tried["seen"].as_u64(), tried["matched"].as_u64()), (Some(5), Some(5)));
    let wrong = client.refused("POST /filters/try", &json!({"type": HTTP, "filter": "ev."}));
    assert_eq!(wrong, (400, "ERR_NGROK_5404".to_owned()));
}

/// The description against the daemon: no 5xx, no answer that it does not name.
#[test]
fn the_description_is_true() {
    let Some(schemathesis) = venv_program("schemathesis") else { return };
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let url = format!("http://{}", daemon.api);
    let output = Command::new(schemathesis)
        .args(["run", &format!("{url}/openapi.json"), "--url", &url])
        .args(["-H", &format!("Authorization: Bearer {}", client.key), "-H", "ngrok-version: 2"])
        // It does what it says: the daemon would be gone.
        .args(["--exclude-path", "/drain"])
        .args(["--checks", "not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-color"])
        .current_dir(daemon.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
