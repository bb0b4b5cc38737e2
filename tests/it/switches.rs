//! What is turned off, and what else of a destination is set through the API while it runs.

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::Daemon;
use crate::support::generate;
use crate::support::receiver::Receiver;

const HTTP: &str = "http_request_complete.v0";

/// A destination that calls back, with more fields.
fn to(receiver: &Receiver, more: Value) -> Value {
    let url = format!("http://{}/", receiver.address);
    let mut body = json!({"format": "json", "target": {"debug": {"callback_url": url}}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_destination_that_is_off_keeps_what_comes_until_it_is_on() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let receiver = Receiver::start(200, None);
    let off = client.must("POST /event_destinations", &to(&receiver, json!({"enabled": false})));
    assert_eq!(off["enabled"], false);
    let other = client.must("POST /event_destinations", &to(&receiver, json!({})));
    assert_eq!(other["enabled"], true);
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": [id(&off), id(&other)]});
    client.must("POST /event_subscriptions", &body);
    daemon.send(&generate(HTTP, 20, 1));
    let of = |which: &Value| daemon.destination(&id(which));
    daemon.wait_for("delivered to the other", |_| of(&other)["delivered"] == 20);
    assert_eq!((&of(&off)["state"], &of(&off)["pending_records"]), (&json!("off"), &json!(20)));
    let line = format!("PATCH /event_destinations/{}", id(&off));
    client.must(&line, &json!({"enabled": true}));
    daemon.wait_until_delivered();
    assert_eq!((&of(&off)["state"], &of(&off)["delivered"]), (&json!("healthy"), &json!(20)));
    assert_eq!(receiver.take_lines().len(), 40);
    client.must(&line, &json!({"enabled": false}));
    daemon.send(&generate(HTTP, 5, 2));
    daemon.wait_for("delivered to the other", |_| of(&other)["delivered"] == 25);
    assert_eq!(of(&off)["pending_records"], 5, "turned off again");
}

#[test]
fn a_stop_does_not_wait_for_what_is_off_and_the_next_start_has_it() {
    let data = tempfile::tempdir().unwrap();
    let settings = |enabled: bool| {
        format!(
            "{UNLIMITED}data_dir: {}
stop: {{ drain_limit: 1h }}
destinations: [{{ id: file, enabled: {enabled}, target: {{ file: {{ path: '{}/out.ndjson' }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: {HTTP} }}], destinations: [file] }}]
",
            data.path().display(),
            data.path().display()
        )
    };
    let daemon = Daemon::start(&settings(false));
    daemon.send(&generate(HTTP, 10, 1));
    let client = Client::new(&daemon);
    assert_eq!(client.must("GET /event_destinations/file", &Value::Null)["enabled"], false);
    let ended = daemon.stop();
    assert!(ended.log.contains("\"left\":10"), "it says how many are left: {}", ended.log);
    let daemon = Daemon::start(&settings(true));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("file")["delivered"], 10);
}

#[test]
fn a_subscription_that_is_off_takes_nothing() {
    let settings = |enabled: bool| {
        format!(
            "{UNLIMITED}destinations: [{{ id: log, target: {{ debug: {{ log: false }} }} }}]
subscriptions: [{{ id: all, enabled: {enabled}, sources: [{{ type: {HTTP} }}], destinations: [log] }}]
"
        )
    };
    let daemon = Daemon::start(&settings(false));
    let client = Client::new(&daemon);
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": ["log"], "enabled": false});
    let made = client.must("POST /event_subscriptions", &body);
    daemon.send(&generate(HTTP, 5, 1));
    assert_eq!(daemon.destination("log")["accepted"], 0);
    let line = format!("PATCH /event_subscriptions/{}", id(&made));
    assert_eq!(client.must(&line, &json!({"enabled": null}))["enabled"], true, "the default");
    daemon.send(&generate(HTTP, 5, 2));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("log")["accepted"], 5);
    assert_eq!(client.must("GET /event_subscriptions/all", &Value::Null)["enabled"], false);
    daemon.reload(&settings(true));
    daemon.wait_for_log("\"reloaded\"");
    daemon.send(&generate(HTTP, 5, 3));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("log")["accepted"], 15);
}

#[test]
fn what_a_destination_has_beside_its_target_is_set_shown_and_reset() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let receiver = Receiver::start(200, None);
    let set = json!({
        "batch": {"max_records": 3, "linger": "1000ms"}, "timeout": "30s",
        "overflow": "drop_oldest", "max_pending_bytes": "64MiB",
    });
    let made = client.must("POST /event_destinations", &to(&receiver, set.clone()));
    for name in ["timeout", "overflow", "max_pending_bytes"] {
        assert_eq!(made[name], set[name], "{made}");
    }
    assert_eq!(
        (&made["batch"]["max_records"], &made["batch"]["linger"]),
        (&json!(3), &json!("1000ms"))
    );
    assert!(made["batch"]["max_bytes"].is_u64(), "what is in force is shown: {made}");
    assert_eq!(daemon.destination(&id(&made))["max_pending_bytes"], 64 << 20);
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": [id(&made)]});
    client.must("POST /event_subscriptions", &body);
    daemon.send(&generate(HTTP, 7, 1));
    daemon.wait_until_delivered();
    let sizes: Vec<usize> =
        receiver.requests().iter().map(|(_, body)| body.lines().count()).collect();
    assert!(sizes.iter().all(|size| *size <= 3) && sizes.iter().sum::<usize>() == 7, "{sizes:?}");

    let line = format!("PATCH /event_destinations/{}", id(&made));
    let nulls =
        json!({"batch": null, "timeout": null, "overflow": null, "max_pending_bytes": null});
    let reset = client.must(&line, &nulls);
    let defaults = client.must("POST /event_destinations", &to(&receiver, json!({})));
    for name in ["batch", "timeout", "overflow", "max_pending_bytes"] {
        assert_eq!(reset[name], defaults[name], "{name}");
    }
    for (wrong, code) in [
        (json!({"timeout": "1ms"}), "ERR_NGROK_215"),
        (json!({"timeout": 10}), "ERR_NGROK_215"),
        (json!({"max_pending_bytes": 0}), "ERR_NGROK_215"),
        (json!({"overflow": "burst"}), "ERR_NGROK_215"),
        (json!({"batch": {"records": 5}}), "ERR_NGROK_214"),
        (json!({"batch": {"max_records": 1_000_000}}), "ERR_SLUICEGATE_1206"),
    ] {
        assert_eq!(client.refused(&line, &wrong), (400, code.to_owned()), "{wrong}");
    }
    let again = client.must(&line, &json!({"batch": made["batch"], "timeout": made["timeout"]}));
    assert_eq!(again["batch"], made["batch"], "an answer can be sent back");
}

#[test]
fn a_key_that_is_off_or_has_expired_opens_nothing() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let made = client.must("POST /api_keys", &json!({"description": "ci"}));
    assert_eq!((&made["enabled"], &made["expires_at"]), (&json!(true), &Value::Null));
    assert_eq!(made["last_used_at"], Value::Null);
    let with = Client::with_key(&daemon, made["token"].as_str().unwrap());
    let line = format!("/api_keys/{}", id(&made));
    let set = |change: Value| client.must(&format!("PATCH {line}"), &change);
    let asks = || with.ask("GET /ip_policies", &Value::Null);
    assert_eq!(asks().status, 200);
    assert!(client.must(&format!("GET {line}"), &Value::Null)["last_used_at"].is_string());
    let forbidden = |code: &str| (403, code.to_owned());
    set(json!({"enabled": false}));
    assert_eq!(with.refused("GET /ip_policies", &Value::Null), forbidden("ERR_SLUICEGATE_1356"));
    set(json!({"enabled": true, "expires_at": "2020-01-01T00:00:00Z"}));
    assert_eq!(with.refused("GET /ip_policies", &Value::Null), forbidden("ERR_SLUICEGATE_1357"));
    assert_eq!(
        set(json!({"expires_at": "2100-01-01T00:00:00Z"}))["expires_at"],
        "2100-01-01T00:00:00Z"
    );
    assert_eq!(asks().status, 200);
    assert_eq!(set(json!({"expires_at": null}))["expires_at"], Value::Null);
    let wrong = json!({"expires_at": "tomorrow"});
    let refused = client.refused(&format!("PATCH {line}"), &wrong);
    assert_eq!(refused, (400, "ERR_NGROK_215".to_owned()));
}

#[test]
fn a_credential_that_is_off_opens_no_ingest_and_its_last_use_outlives_a_stop() {
    let data = tempfile::tempdir().unwrap();
    let settings = format!(
        "{UNLIMITED}data_dir: {}
ingest: {{ http: {{ listen: '127.0.0.1:0', bearer_tokens: [of-the-file] }} }}
",
        data.path().display()
    );
    let daemon = Daemon::start(&settings);
    let client = Client::new(&daemon);
    let made = client.must("POST /credentials", &json!({"enabled": false}));
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-ndjson")];
    let send = || daemon.post_with(&headers, generate(HTTP, 1, 1).join("\n"));
    let refused = send();
    assert_eq!(
        (refused.status, &refused.json()["error_code"]),
        (401, &json!("ERR_SLUICEGATE_1356"))
    );
    let line = format!("/credentials/{}", id(&made));
    client.must(&format!("PATCH {line}"), &json!({"enabled": true}));
    assert_eq!(send().status, 200);
    let used = client.must(&format!("GET {line}"), &Value::Null)["last_used_at"].clone();
    assert!(used.is_string());
    let token = client.key().to_owned();
    daemon.stop();
    let daemon = Daemon::start(&settings);
    let client = Client::with_key(&daemon, &token);
    assert_eq!(client.must(&format!("GET {line}"), &Value::Null)["last_used_at"], used);
}
