//! Who may do what: requests that outlive what let them in, and senders that claim what is not theirs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};

const HTTP: &str = "http_request_complete.v0";

const SETTINGS: &str = "
api: { listen: 127.0.0.1:0, rate_limit: { requests: 1000000 } }
destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [kept] }]
";

/// A request of which the last byte has not been sent yet.
struct Slow {
    stream: TcpStream,
    last: u8,
}

impl Slow {
    /// Begins a request with this token, and waits until the daemon has let it in.
    fn begin(address: SocketAddr, line: &str, token: &str, body: &str) -> Slow {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             ngrok-version: 2\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // It asks for the body once it begins to read it, which is behind the first look at the token.
        let mut said = [0; 25];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (last, first) = body.as_bytes().split_last().unwrap();
        stream.write_all(first).unwrap();
        Slow { stream, last: *last }
    }

    /// Ends it, and gives status and code of the answer.
    fn end(mut self) -> (u16, String) {
        self.stream.write_all(&[self.last]).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        let status = answer[9..12].parse().unwrap();
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        (status, body["error_code"].as_str().unwrap_or_default().to_owned())
    }
}

fn text(resource: &Value, name: &str) -> String {
    resource[name].as_str().unwrap().to_owned()
}

/// Makes a service user with a key.
fn service_user(operator: &Client<'_>) -> (String, Value) {
    let bot = operator.must("POST /bot_users", &json!({"name": "deploys"}));
    let key = operator.must("POST /api_keys", &json!({"owner_id": bot["id"]}));
    (text(&bot, "id"), key)
}

/// Restricts listeners of a type to addresses that nobody here has.
fn shut_out(operator: &Client<'_>, restricted: &str) {
    let policy = operator.must("POST /ip_policies", &Value::Null);
    let rule = json!({"ip_policy_id": policy["id"], "cidr": "192.0.2.0/24", "action": "allow"});
    operator.must("POST /ip_policy_rules", &rule);
    let asked = json!({"type": restricted, "enforced": true, "ip_policy_ids": [policy["id"]]});
    operator.must("POST /ip_restrictions", &asked);
}

fn event() -> String {
    json!({"event_type": HTTP, "object": {}}).to_string()
}

#[test]
fn a_key_that_is_deleted_while_its_body_comes_makes_no_other_key() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let key = operator.must("POST /api_keys", &Value::Null);
    let slow = Slow::begin(daemon.api, "POST /api_keys", &text(&key, "token"), "{}");
    operator.must(&format!("DELETE /api_keys/{}", text(&key, "id")), &Value::Null);
    assert_eq!(slow.end(), (403, "ERR_NGROK_203".to_owned()));
    let left = operator.must("GET /api_keys", &Value::Null);
    assert_eq!(left["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn nobody_acts_for_a_service_user_who_is_put_out_of_action_or_deleted_meanwhile() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let (bot, key) = service_user(&operator);
    let token = text(&key, "token");
    let begin = || Slow::begin(daemon.api, "PATCH /bot_users/x", &token, r#"{"active": true}"#);
    let slow = begin();
    operator.must(&format!("PATCH /bot_users/{bot}"), &json!({"active": false}));
    assert_eq!(slow.end(), (403, "ERR_NGROK_203".to_owned()));
    operator.must(&format!("PATCH /bot_users/{bot}"), &json!({"active": true}));
    let slow = begin();
    operator.must(&format!("DELETE /bot_users/{bot}"), &Value::Null);
    assert_eq!(slow.end(), (403, "ERR_NGROK_203".to_owned()));
}

#[test]
fn an_address_that_is_shut_out_while_its_body_comes_changes_nothing() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let slow = Slow::begin(daemon.api, "POST /ip_policies", &operator.key, "{}");
    shut_out(&operator, "api");
    assert_eq!(slow.end(), (403, "ERR_NGROK_220".to_owned()));
}

#[test]
fn a_credential_that_is_deleted_or_narrowed_while_its_body_comes_sends_nothing() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let made = operator.must("POST /credentials", &Value::Null);
    let (id, token) = (text(&made, "id"), text(&made, "token"));
    let begin = || Slow::begin(daemon.ingest, "POST /v1/events", &token, &event());
    assert_eq!(begin().end().0, 200);
    let slow = begin();
    operator.must(&format!("PATCH /credentials/{id}"), &json!({"acl": ["bind:tcp_*"]}));
    assert_eq!(slow.end().0, 400);
    let slow = begin();
    operator.must(&format!("DELETE /credentials/{id}"), &Value::Null);
    assert_eq!(slow.end(), (401, "ERR_NGROK_203".to_owned()));
    assert_eq!(daemon.status()["ingest"]["accepted"], 1);
    assert_eq!(daemon.status()["ingest"]["refused"]["ERR_NGROK_619"], 1);
}

#[test]
fn a_sender_that_is_shut_out_while_its_body_comes_sends_nothing() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let made = operator.must("POST /credentials", &Value::Null);
    let slow = Slow::begin(daemon.ingest, "POST /v1/events", &text(&made, "token"), &event());
    shut_out(&operator, "endpoints");
    assert_eq!(slow.end(), (403, "ERR_SLUICEGATE_1112".to_owned()));
    patiently("the refusal is counted", || {
        daemon.status()["ip_restrictions"]["endpoints"]["refused"] == 1
    });
    assert_eq!(daemon.status()["ingest"]["accepted"], 0);
}

/// Asks until the rate limit refuses, and tells how often something else was answered.
fn until_limited(client: &Client<'_>) -> usize {
    let is_answered = |_: &usize| client.ask("GET /self", &Value::Null).status != 429;
    (0..1_000).take_while(is_answered).count()
}

#[test]
fn whoever_uses_up_their_requests_locks_out_nobody_else() {
    let daemon =
        Daemon::start("api: { listen: 127.0.0.1:0, rate_limit: { requests: 5, per: 10m } }\n");
    let operator = Client::new(&daemon);
    let (_, key) = service_user(&operator);
    let bot = Client { daemon: &daemon, key: text(&key, "token") };
    assert_eq!(until_limited(&bot), 5);
    let wrong = Client { daemon: &daemon, key: "wrong".to_owned() };
    assert_eq!(until_limited(&wrong), 5);
    let nobody = crate::support::http::get(daemon.api, "/openapi.json");
    assert_eq!(nobody.status, 429, "without a key it is the same address");
    assert_eq!(until_limited(&operator), 3, "all that making the key has left");
}

/// Sends an event with a credential of these rules, and tells the code that it was refused with.
fn refused_with(daemon: &Daemon, rules: &Value, event: &str) -> String {
    let made = Client::new(daemon).must("POST /credentials", &json!({"acl": rules}));
    let bearer = format!("Bearer {}", text(&made, "token"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = daemon.post_with(&headers, event).json();
    answer["rejected"][0]["error_code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn nobody_forges_an_audit_event_whose_type_no_rule_of_theirs_names() {
    let daemon = Daemon::start(SETTINGS);
    for forged in ["api_key_created.v0", "ip_restriction_deleted.v0", "domain_updated.v0"] {
        let event = json!({"event_type": forged, "object": {}}).to_string();
        for rules in [json!([]), json!(["*"]), json!(["bind:*_*"])] {
            assert_eq!(refused_with(&daemon, &rules, &event), "ERR_NGROK_619", "{rules} {forged}");
        }
        assert_eq!(refused_with(&daemon, &json!([format!("bind:{forged}")]), &event), "");
        assert_eq!(daemon.post("application/json", &event).status, 200, "without a credential");
    }
    let others = json!({"event_type": "vault_created.v0", "object": {}}).to_string();
    assert_eq!(refused_with(&daemon, &json!([]), &others), "", "the daemon has no vaults");
}

#[test]
fn an_event_that_says_twice_what_its_rules_decide_by_is_not_delivered() {
    let daemon = Daemon::start(SETTINGS);
    let rules = json!(["bind:http_*", "bind:a.example.net"]);
    let own = r#"{"server_name": "a.example.net"}"#;
    let theirs = r#"{"server_name": "b.example.net"}"#;
    let event = |object: &str| format!(r#"{{"event_type": "{HTTP}", "object": {object}}}"#);
    let good = event(&format!(r#"{{"conn": {own}}}"#));
    let twice = [
        event(&format!(r#"{{"conn": {theirs}, "conn": {own}}}"#)),
        event(&format!(r#"{{"conn": {theirs}}}, "object": {{"conn": {own}}}"#)),
        event(r#"{"conn": {"server_name": "b.example.net", "server_n\u0061me": "a.example.net"}}"#),
        format!(r#"{{"event_type": "api_key_created.v0", {}"#, &good[1..]),
    ];
    assert_eq!(refused_with(&daemon, &rules, &good), "");
    for event in &twice {
        assert_eq!(refused_with(&daemon, &rules, event), "ERR_SLUICEGATE_1009", "{event}");
    }
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("kept")["delivered"], 1);
    assert_eq!(daemon.status()["ingest"]["refused"]["ERR_SLUICEGATE_1009"], twice.len());
}

#[test]
fn an_account_that_is_not_the_senders_is_refused_and_none_is_filled_in() {
    let daemon = Daemon::start(SETTINGS);
    let rules = json!(["*", "bind:account:ac_ours"]);
    let event = |more: &str| format!(r#"{{"event_type": "{HTTP}", {more} "object": {{}}}}"#);
    for theirs in [r#""account_id": "ac_theirs","#, r#""account_id": "AC_OURS","#] {
        assert_eq!(refused_with(&daemon, &rules, &event(theirs)), "ERR_NGROK_619", "{theirs}");
    }
    let both = r#""account_id": "ac_theirs", "account_id": "ac_ours","#;
    assert_eq!(refused_with(&daemon, &rules, &event(both)), "ERR_SLUICEGATE_1009");
    for ours in ["", r#""account_id": null,"#, r#""account_id": "ac_ours","#] {
        assert_eq!(refused_with(&daemon, &rules, &event(ours)), "", "{ours}");
    }
    daemon.wait_until_delivered();
    let delivered = std::fs::read_to_string(daemon.path("out.ndjson")).unwrap();
    assert_eq!(delivered.matches(r#""account_id":"ac_ours""#).count(), 3, "{delivered}");
}

/// Settings whose events of these types go to `own.ndjson`.
fn telling(types: &[&str]) -> String {
    let sources: Vec<Value> = types.iter().map(|it| json!({"type": it})).collect();
    format!(
        "api: {{ listen: 127.0.0.1:0, rate_limit: {{ requests: 1000000 }} }}
destinations: [{{ id: own, target: {{ file: {{ path: DIR/own.ndjson }} }} }}]
subscriptions: [{{ id: own, sources: {}, destinations: [own] }}]
",
        Value::from(sources)
    )
}

/// Waits until so many events were delivered, and gives them.
fn told(daemon: &Daemon, count: usize) -> Vec<Value> {
    let read = || std::fs::read_to_string(daemon.path("own.ndjson")).unwrap_or_default();
    patiently("all is told", || read().lines().count() >= count);
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nobody_changes_a_service_user_or_an_agent_ingress_unseen() {
    let types = ["service_user", "agent_ingress"];
    let verbs = ["created", "updated", "deleted"];
    let all = types.map(|of| verbs.map(|verb| format!("{of}_{verb}.v0"))).concat();
    let daemon = Daemon::start(&telling(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    let operator = Client::new(&daemon);
    let asked = [json!({"name": "deploys"}), json!({"domain": "connect.example.net"})];
    let changed = [json!({"active": false}), json!({"description": "eu"})];
    let mut operations = Vec::new();
    let mut ask = |line: &str, body: &Value| {
        let answer = operator.ask(line, body);
        assert!(answer.status < 300, "{answer:?}");
        operations.push(answer.header("ngrok-operation-id").unwrap().to_owned());
        answer
    };
    for (path, asked, changed) in
        [("bot_users", &asked[0], &changed[0]), ("agent_ingresses", &asked[1], &changed[1])]
    {
        let made = ask(&format!("POST /{path}"), asked).json();
        let line = format!("/{path}/{}", text(&made, "id"));
        ask(&format!("PATCH {line}"), changed);
        ask(&format!("DELETE {line}"), &Value::Null);
    }
    let events = told(&daemon, 6);
    let told: Vec<&str> = events.iter().map(|it| it["event_type"].as_str().unwrap()).collect();
    assert_eq!(told, all);
    assert!(events.iter().all(|it| it["principal"]["credential"]["id"].is_string()), "{events:?}");
    for operation in operations {
        let log = daemon.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&operation)).collect();
        assert_eq!(lines.len(), 1, "{operation}: {log}");
        let line: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&line["level"], &line["from"]), (&json!("INFO"), &json!("127.0.0.1")));
        assert!(line["key"].as_str().unwrap().starts_with("ak_"), "{line}");
    }
}

#[test]
fn wrong_keys_are_told_once_however_often_they_are_tried() {
    let daemon = Daemon::start(&telling(&["access_refused.v0"]));
    let operator = Client::new(&daemon);
    let wrong = Client { daemon: &daemon, key: "wrong".to_owned() };
    for _ in 0..20 {
        assert_eq!(wrong.ask("GET /self", &Value::Null).status, 403);
    }
    let sender = [("authorization", "Bearer wrong_one"), ("content-type", "application/json")];
    let made = operator.must("POST /credentials", &Value::Null);
    let stale = format!("Bearer {}x", &text(&made, "token")[..48]);
    assert_eq!(daemon.post_with(&[("authorization", &stale), sender[1]], event()).status, 401);
    let events = told(&daemon, 2);
    let of = |entrance: &str| {
        let found: Vec<&Value> =
            events.iter().filter(|it| it["object"]["entrance"] == entrance).collect();
        assert_eq!(found.len(), 1, "{events:?}");
        found[0]["object"].clone()
    };
    assert_eq!(of("api")["error_code"], "ERR_NGROK_202");
    assert_eq!(of("api")["address"], "127.0.0.1");
    assert_eq!(of("ingest")["error_code"], "ERR_NGROK_203");
    assert_eq!(daemon.log().matches("requests were not let in").count(), 2);
}

#[test]
fn a_page_of_another_origin_reads_nothing_that_needs_no_key() {
    let daemon = Daemon::start(SETTINGS);
    let operator = Client::new(&daemon);
    let bearer = format!("Bearer {}", operator.key);
    let ask = |line: &str| {
        let headers = [
            ("origin", "https://elsewhere.example"),
            ("authorization", bearer.as_str()),
            ("ngrok-version", "2"),
            ("access-control-request-method", "GET"),
        ];
        crate::support::http::request(daemon.api, line, &headers, b"")
    };
    let paths = ["/status", "/metrics", "/ledger", "/healthz", "/readyz", "/openapi.json", "/none"];
    for path in paths {
        for method in ["GET", "OPTIONS"] {
            let answer = ask(&format!("{method} {path}"));
            assert!(!answer.head.contains("access-control"), "{method} {path}: {answer:?}");
        }
    }
    for line in ["GET /ip_policies", "OPTIONS /ip_policies"] {
        let answer = ask(line);
        assert!(answer.status < 300, "{answer:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://elsewhere.example"), "{line}");
    }
}

#[test]
fn a_key_that_was_deleted_and_is_put_back_into_the_store_is_told_at_the_start() {
    let kept = tempfile::tempdir().unwrap();
    let settings = format!("data_dir: {}\n{SETTINGS}", kept.path().display());
    let daemon = Daemon::start(&settings);
    let operator = Client::new(&daemon);
    let key = operator.must("POST /api_keys", &Value::Null);
    let execute = |sql: &str| {
        let store = rusqlite::Connection::open(kept.path().join("control.db")).unwrap();
        store.execute_batch(sql).unwrap();
    };
    execute("CREATE TABLE old AS SELECT * FROM objects");
    operator.must(&format!("DELETE /api_keys/{}", text(&key, "id")), &Value::Null);
    assert!(daemon.stop().status.success());
    execute("INSERT INTO objects SELECT * FROM old WHERE true ON CONFLICT DO NOTHING");
    let daemon = Daemon::start(&settings);
    let told = format!("api_keys `{}` was put back or added", text(&key, "id"));
    assert_eq!(daemon.status()["store"]["changed_outside"], json!([told]));
    let metrics = crate::support::http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains("\nsluicegate_store_changed_outside 1\n"), "{metrics}");
    assert!(daemon.log().contains("ERR_SLUICEGATE_1340"), "{}", daemon.log());
    assert!(daemon.stop().status.success());
    let daemon = Daemon::start(&settings);
    assert_eq!(daemon.status()["store"]["changed_outside"], json!([]), "it is known now");
}

#[test]
fn a_restriction_that_is_taken_out_of_the_store_lets_in_this_machine_only() {
    let kept = tempfile::tempdir().unwrap();
    let settings = format!(
        "data_dir: {}\ningest: {{ http: {{ listen: '127.0.0.1:0', trusted_proxies: ['127.0.0.1'] }} }}\n{SETTINGS}",
        kept.path().display()
    );
    let from = |daemon: &Daemon, client: &str| {
        let headers = [("content-type", "application/json"), ("x-forwarded-for", client)];
        let event = r#"{"event_type":"http_request_complete.v0","object":{}}"#;
        crate::support::http::request(daemon.ingest, "POST /v1/events", &headers, event.as_bytes())
            .status
    };
    let restricted = |client: &Client<'_>, networks: &str| {
        let policy = client.must("POST /ip_policies", &json!({}));
        let rule = json!({"ip_policy_id": policy["id"], "cidr": networks, "action": "allow"});
        client.must("POST /ip_policy_rules", &rule);
        let asked = json!({"type": "endpoints", "enforced": true, "ip_policy_ids": [policy["id"]]});
        client.must("POST /ip_restrictions", &asked)
    };
    let daemon = Daemon::start(&settings);
    restricted(&Client::new(&daemon), "198.51.100.0/24");
    assert_eq!((from(&daemon, "198.51.100.7"), from(&daemon, "203.0.113.9")), (200, 403));
    assert!(daemon.stop().status.success());
    let store = rusqlite::Connection::open(kept.path().join("control.db")).unwrap();
    store.execute_batch("DELETE FROM objects WHERE kind = 'ip_restrictions'").unwrap();
    drop(store);
    for _ in 0..2 {
        let daemon = Daemon::start(&settings);
        assert_eq!((from(&daemon, "203.0.113.9"), from(&daemon, "127.0.0.1")), (403, 200));
        assert!(daemon.stop().status.success(), "and the next start finds the same");
    }
    let daemon = Daemon::start(&settings);
    restricted(&Client::new(&daemon), "203.0.113.0/24");
    assert_eq!((from(&daemon, "203.0.113.9"), from(&daemon, "198.51.100.7")), (200, 403));
    assert!(daemon.stop().status.success());
    let daemon = Daemon::start(&settings);
    assert_eq!(daemon.status()["store"]["changed_outside"], json!([]), "somebody has looked");
    assert_eq!((from(&daemon, "203.0.113.9"), from(&daemon, "198.51.100.7")), (200, 403));
}

#[test]
fn a_destination_that_is_taken_out_of_the_store_keeps_the_daemon_from_nothing_else() {
    let kept = tempfile::tempdir().unwrap();
    let settings = format!("data_dir: {}\n{SETTINGS}", kept.path().display());
    let daemon = Daemon::start(&settings);
    let operator = Client::new(&daemon);
    let target = json!({"format": "json", "target": {"debug": {"log": false}}});
    let made = operator.must("POST /event_destinations", &target);
    let asked = json!({"sources": [{"type": HTTP}], "destination_ids": [made["id"]]});
    operator.must("POST /event_subscriptions", &asked);
    assert!(daemon.stop().status.success());
    let store = rusqlite::Connection::open(kept.path().join("control.db")).unwrap();
    store.execute_batch("DELETE FROM objects WHERE kind = 'event_destinations'").unwrap();
    drop(store);
    let daemon = Daemon::start(&settings);
    let told = daemon.status()["store"]["changed_outside"].clone();
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
    daemon.send(&[event()]);
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("kept")["delivered"], 1);
}
