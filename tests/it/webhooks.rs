//! The target `http`: what a receiver gets, checked by the scheme's own library, and what becomes of its answers.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::{Daemon, patiently};
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::receiver::Receiver;
use crate::support::tls::Certificates;
use crate::support::{generate, output_of, venv_program};

const HTTP: &str = "http_request_complete.v0";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn settings(url: &str, more: &str) -> String {
    format!(
        r#"
destinations:
  - id: hook
    target: {{ http: {{ url: "{url}/in?key=s3cret"{more} }} }}
    batch: {{ linger: 20ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: {HTTP} }}], destinations: [hook] }}
"#
    )
}

fn events(service: &FakeService) -> Vec<Request> {
    let mut all = service.requests();
    all.retain(|it| it.line.starts_with("POST /in"));
    all
}

fn taken(status: u16) -> Reply {
    Reply::new(status, "", "")
}

/// Whether Python's `standardwebhooks` believes a request, with a secret; none, with a line that says so, where it
/// is not.
fn is_believed(request: &Request, secret: &str) -> Option<bool> {
    let python = venv_program("python")?;
    let has = Command::new(&python).args(["-c", "import standardwebhooks"]).output().unwrap();
    if !has.status.success() {
        println!(
            "skipped: Python's `standardwebhooks` is not installed; `make clean-venv test` installs it"
        );
        return None;
    }
    let program = "import json, sys, standardwebhooks as s\n\
                   headers = json.loads(sys.argv[2])\n\
                   try: s.Webhook(sys.argv[1]).verify(sys.stdin.buffer.read(), headers)\n\
                   except s.WebhookVerificationError: sys.exit(3)\n\
                   except json.JSONDecodeError: pass # verified, and then read as JSON, which lines are not\n";
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = names.iter().map(|it| (*it, request.header(it).unwrap())).collect();
    let headers = headers.to_string();
    let mut asked = Command::new(python)
        .args(["-c", program, secret, &headers])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    asked.stdin.take().unwrap().write_all(request.body.as_bytes()).unwrap();
    let output = asked.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    Some(output.status.success())
}

#[test]
fn an_event_is_signed_with_every_secret_and_keeps_its_id_when_it_is_sent_again() {
    let tries = Mutex::new(0);
    let receiver = FakeService::start(move |_| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        taken(if *tries <= 2 { 500 } else { 204 })
    });
    let more = format!(
        r#", secrets: ["{NEW}", "{OLD}"], headers: {{ X-Environment: "a b" }}, auth: {{ bearer: {{ token: t0ken }} }}"#
    );
    let daemon = Daemon::start(&settings(&receiver.url(), &more));
    let sent = generate(HTTP, 1, 1);
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let requests = events(&receiver);
    assert!(requests.len() >= 3, "{requests:?}");
    let event: Value = serde_json::from_str(&sent[0]).unwrap();
    for request in &requests {
        assert_eq!(request.line, "POST /in?key=s3cret HTTP/1.1");
        assert_eq!(request.body, sent[0], "one event, as it is");
        assert_eq!(request.header("webhook-id"), event["event_id"].as_str());
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("x-environment"), Some("a b"));
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(request.header("sluicegate-hops"), Some("1"));
    }
    let status = daemon.status().to_string();
    assert!(!status.contains("s3cret") && !status.contains("t0ken"), "{status}");
    for (secret, expected) in
        [(NEW, true), (OLD, true), ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false)]
    {
        let Some(believed) = is_believed(&requests[0], secret) else { return };
        assert_eq!(believed, expected, "{secret}");
    }
    let mut forged = requests[0].clone();
    forged.body.push(' ');
    assert_eq!(is_believed(&forged, OLD), Some(false));
}

#[test]
fn a_batch_is_lines_or_an_array_and_may_be_compressed() {
    for (body, media_type) in
        [("ndjson", "application/x-ndjson"), ("json_array", "application/json")]
    {
        let receiver = FakeService::start(|_| taken(200));
        let more = format!(r#", body: {body}, compression: gzip, secrets: ["{OLD}"]"#);
        let daemon = Daemon::start(&settings(&receiver.url(), &more));
        let sent = generate(HTTP, 300, 2);
        daemon.send(&sent);
        daemon.wait_until_delivered();
        let requests = events(&receiver);
        let mut got = Vec::new();
        for request in &requests {
            assert_eq!(request.header("content-type"), Some(media_type));
            assert_eq!(request.header("content-encoding"), Some("gzip"));
            assert!(request.header("webhook-id").unwrap().starts_with("msg_"));
            match body {
                "ndjson" => got.extend(request.body.lines().map(str::to_owned)),
                _ => {
                    let all: Vec<&serde_json::value::RawValue> =
                        serde_json::from_str(&request.body).unwrap();
                    got.extend(all.iter().map(|it| it.get().to_owned()));
                }
            }
        }
        assert!(requests.len() < 20, "{body}: {} requests", requests.len());
        got.sort();
        let mut sent = sent;
        sent.sort();
        assert_eq!(got, sent, "{body}");
        let Some(believed) = is_believed(&requests[0], OLD) else { continue };
        assert!(believed, "the signature is that of the body before compression");
    }
}

#[test]
fn each_answer_has_its_consequence() {
    let (state, field, said) = ("state", "dead_lettered", "last_error");
    for (status, headers, expected, words) in [
        (410, "", (state, json!("paused")), "wants no more events"),
        (401, "", (state, json!("paused")), "correct `auth`"),
        (302, "location: http://127.0.0.1:1/\r\n", (state, json!("paused")), "not followed"),
        (503, "retry-after: 7\r\n", (state, json!("retrying")), "503"),
        (422, "", (field, json!(1)), ""),
    ] {
        let receiver = FakeService::start(move |_| Reply::new(status, headers, "no"));
        let daemon = Daemon::start(&settings(&receiver.url(), ""));
        daemon.send(&generate(HTTP, 1, 3));
        daemon.wait_for(&format!("{status}"), |_| {
            daemon.destination("hook")[expected.0] == expected.1
        });
        let shown = daemon.destination("hook")[said].to_string();
        assert!(shown.contains(words) && !shown.contains("s3cret"), "{status}: {shown}");
        if status == 503 {
            assert_eq!(events(&receiver).len(), 1, "not again before the time that it asks for");
        }
    }
}

#[test]
fn only_the_record_that_a_batch_is_refused_for_becomes_a_dead_letter() {
    let bad = |it: &Request| it.body.contains("bad.example");
    let receiver = FakeService::start(move |it| taken(if bad(it) { 422 } else { 200 }));
    let daemon = Daemon::start(&settings(&receiver.url(), ", body: ndjson"));
    let mut sent = generate(HTTP, 60, 4);
    let mut event: Value = serde_json::from_str(&sent[30]).unwrap();
    event["object"]["http"]["request"]["url"]["host"] = json!("bad.example");
    sent[30] = event.to_string();
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let of_it = daemon.destination("hook");
    assert_eq!((&of_it["delivered"], &of_it["dead_lettered"]), (&json!(59), &json!(1)));
}

fn token(number: usize, seconds: u64) -> Reply {
    let body = json!({"access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": seconds});
    Reply::new(200, "", body.to_string())
}

#[test]
fn a_token_is_asked_for_once_and_anew_when_it_is_refused_or_about_to_expire() {
    // The first is good for a while, the second is refused after three uses, the third lasts.
    let given = Mutex::new(0);
    let uses = Mutex::new(0);
    let service = FakeService::start(move |it| {
        if it.line.starts_with("POST /token") {
            let mut given = given.lock().unwrap();
            *given += 1;
            return token(*given, 3_600);
        }
        let mut uses = uses.lock().unwrap();
        *uses += 1;
        let is_revoked = it.header("authorization") == Some("Bearer t1") && *uses > 3;
        taken(if is_revoked { 401 } else { 200 })
    });
    let url = service.url();
    let more = format!(
        r#", auth: {{ oauth2: {{ token_url: "{url}/token", client_id: "me", client_secret: "s3&cret", scope: "a b" }} }}"#
    );
    let daemon = Daemon::start(&settings(&url, &more));
    for seed in 0..6 {
        daemon.send(&generate(HTTP, 1, seed));
        daemon.wait_until_delivered();
    }
    assert_eq!(daemon.destination("hook")["retried"], 0, "the second token came at once");
    let mut asked = service.requests();
    asked.retain(|it| it.line.starts_with("POST /token"));
    let form = "grant_type=client_credentials&client_id=me&client_secret=s3%26cret&scope=a+b";
    assert_eq!(asked.iter().map(|it| &*it.body).collect::<Vec<_>>(), [form, form]);
    let used: Vec<_> =
        events(&service).iter().map(|it| it.header("authorization").unwrap().to_owned()).collect();
    let t = |number: usize| format!("Bearer t{number}");
    assert_eq!(used, [t(1), t(1), t(1), t(1), t(2), t(2), t(2)]);
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let given = Mutex::new(0);
    let service = FakeService::start(move |it| {
        if !it.line.starts_with("POST /token") {
            return taken(200);
        }
        let mut given = given.lock().unwrap();
        *given += 1;
        // Half of its time is the time to ask for the next.
        token(*given, if *given == 1 { 2 } else { 3_600 })
    });
    let url = service.url();
    let more = format!(
        r#", auth: {{ oauth2: {{ token_url: "{url}/token", client_id: me, client_secret: s3cret }} }}"#
    );
    let daemon = Daemon::start(&settings(&url, &more));
    let mut seed = 0;
    patiently("the second token is used", || {
        seed += 1;
        daemon.send(&generate(HTTP, 1, seed));
        daemon.wait_until_delivered();
        let last = events(&service).pop().unwrap();
        last.header("authorization") == Some("Bearer t2")
    });
    assert_eq!(
        service.requests().iter().filter(|it| it.line.starts_with("POST /token")).count(),
        2
    );
}

#[test]
fn a_token_is_believed_only_from_an_answer_that_is_one() {
    for (status, body, words) in [
        (200, "<html>log in".to_owned(), "no `access_token`"),
        (
            200,
            json!({"access_token": "a b", "token_type": "Bearer"}).to_string(),
            "no `access_token`",
        ),
        (200, json!({"access_token": "a", "token_type": "mac"}).to_string(), "no `Bearer`"),
        (
            401,
            json!({"error": "invalid_client"}).to_string(),
            "`invalid_client`; correct the client's id",
        ),
        (503, String::new(), "503"),
    ] {
        let service = FakeService::start(move |_| Reply::new(status, "", &*body));
        let url = service.url();
        let more = format!(
            r#", auth: {{ oauth2: {{ token_url: "{url}/token", client_id: me, client_secret: s3cret, credentials: header }} }}"#
        );
        let daemon = Daemon::start(&settings(&url, &more));
        daemon.send(&generate(HTTP, 1, 1));
        daemon.wait_for("a failure", |_| !daemon.destination("hook")["last_error"].is_null());
        let said = daemon.destination("hook")["last_error"].to_string();
        assert!(said.contains(words), "{status}: {said}");
        assert_eq!(events(&service).len(), 0, "{status}: nothing is sent without a token");
        let first = &service.requests()[0];
        assert_eq!(first.header("authorization"), Some("Basic bWU6czNjcmV0"));
        assert!(!first.body.contains("s3cret"), "{}", first.body);
    }
}

#[test]
fn requests_are_no_more_than_there_may_be() {
    let receiver = FakeService::start(|_| taken(200));
    let more = ", rate_limit: { requests: 10, per: 1s }";
    let daemon = Daemon::start(&settings(&receiver.url(), more));
    let begin = Instant::now();
    daemon.send(&generate(HTTP, 21, 1));
    daemon.wait_until_delivered();
    assert_eq!(events(&receiver).len(), 21);
    assert!(begin.elapsed().as_secs_f64() >= 2.0, "{:?}", begin.elapsed());
}

#[test]
fn a_receiver_that_asks_for_a_certificate_is_shown_it() {
    let Some(certificates) = Certificates::make() else { return };
    let receiver = Receiver::start(200, Some(certificates.server_for_clients("server", "ca")));
    let url = format!("https://localhost:{}", receiver.address.port());
    let file = |name: &str| certificates.path(name).display().to_string();
    let with = |name: &str| {
        format!(
            r#", client_certificate: {{ certificate: "${{file:{}}}", key: "${{file:{}}}" }}"#,
            file(&format!("{name}.pem")),
            file(&format!("{name}.key"))
        )
    };
    let start = |more: &str| {
        Daemon::start_with(&settings(&url, more), &[("SSL_CERT_FILE", &file("ca.pem"))])
    };
    let sent = generate(HTTP, 3, 1);
    let daemon = start(&with("client"));
    daemon.send(&sent);
    daemon.wait_until_delivered();
    let mut got = receiver.requests().into_iter().map(|it| it.1).collect::<Vec<_>>();
    got.sort();
    let mut expected = sent.clone();
    expected.sort();
    assert_eq!(got, expected);
    drop(daemon);
    for more in ["", &with("impostor")] {
        let daemon = start(more);
        daemon.send(&sent);
        daemon.wait_for("a failure", |_| !daemon.destination("hook")["last_error"].is_null());
        assert_eq!(daemon.destination("hook")["delivered"], 0, "{more}");
    }
    assert_eq!(receiver.requests().len(), 3);
}

#[test]
fn mistakes_of_the_settings_are_told_where_they_stand() {
    for (more, words) in [
        (r#", secrets: ["whsec_short"]"#, "must be `whsec_` followed by"),
        (r#", headers: { Host: a }"#, "`Host` is a header that the daemon sets by itself"),
        (r#", headers: { x: "a\nb" }"#, "visible ASCII"),
        (", body: xml", "must be `event`, `ndjson` or `json_array`"),
        (", auth: { bearer: { token: a }, basic: { username: a, password: b } }", "exactly one of"),
    ] {
        let said = Daemon::fail_to_start(&settings("http://127.0.0.1:1", more));
        assert!(said.contains(words) && !said.contains("whsec_short ("), "{more}: {said}");
    }
}

#[test]
fn the_api_shows_no_secret_keeps_them_and_lets_them_be_changed_one_by_one() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let receiver = FakeService::start(|_| taken(200));
    let url = format!("{}/in?key=s3cret", receiver.url());
    let target = json!({"http": {"url": url, "secrets": [OLD], "headers": {"x-key": "t0ken"}}});
    let made =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let line = format!("/event_destinations/{}", id(&made));
    let shown = made["target"].clone();
    assert_eq!(
        (&shown["http"]["secrets"], &shown["http"]["headers"]),
        (&json!([null]), &json!({"x-key": null}))
    );
    assert_eq!(shown["kinesis"], Value::Null);
    let mut change = shown.clone();
    change["http"]["secrets"] = json!([NEW, null]);
    // The one in the second place is none that there was.
    assert_eq!(client.refused(&format!("PATCH {line}"), &json!({"target": change})).0, 400);
    change["http"]["secrets"] = json!([null, NEW]);
    client.must(&format!("PATCH {line}"), &json!({"target": change}));
    client.must(&format!("POST {line}/send_test_event"), &json!({}));
    let request = events(&receiver).pop().unwrap();
    assert_eq!(request.header("webhook-signature").unwrap().split(' ').count(), 2);
    assert_eq!(request.header("x-key"), Some("t0ken"));
    for secret in [OLD, NEW] {
        let Some(believed) = is_believed(&request, secret) else { break };
        assert!(believed, "{secret}");
    }
    let mut moved = change.clone();
    moved["http"]["url"] = json!("https://elsewhere.example/in");
    let refused = client.refused(&format!("PATCH {line}"), &json!({"target": moved}));
    assert_eq!(refused, (400, "ERR_SLUICEGATE_1325".to_owned()), "secrets do not follow a URL");
    let inner = json!({"format": "json", "target": {"http": {"url": "https://10.0.0.1/"}}});
    assert_eq!(client.refused("POST /event_destinations", &inner).1, "ERR_SLUICEGATE_1320");
    let all =
        json!([client.must(&format!("GET {line}"), &Value::Null), daemon.status()]).to_string();
    for secret in ["s3cret", "t0ken", &OLD[6..], &NEW[6..]] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn test_event_and_check_work_for_webhooks() {
    let receiver = FakeService::start(|_| taken(202));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, settings(&receiver.url(), &format!(", secrets: [\"{OLD}\"]"))).unwrap();
    let file = file.to_str().unwrap();
    let said = output_of(&["check", "-c", file, "--online"], "");
    assert!(said.contains("was reached, with 202 Accepted for OPTIONS"), "{said}");
    let said = output_of(&["test-event", "-c", file, "--destination", "hook"], "");
    assert!(said.contains("signed webhooks to `http://127.0.0.1"), "{said}");
    assert!(events(&receiver)[0].body.contains(r#""event_type":"test""#));
}

#[test]
fn a_client_certificate_leads_no_target_of_the_api_where_it_may_not_go() {
    let Some(certificates) = Certificates::make() else { return };
    let receiver = Receiver::start(200, Some(certificates.server_for_clients("server", "ca")));
    let read = |name: &str| std::fs::read_to_string(certificates.path(name)).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    let shown = json!({"certificate": read("client.pem"), "key": read("client.key")});
    let target = json!({"http": {"url": url, "client_certificate": shown}});
    let ca = certificates.path("ca.pem").display().to_string();
    for (allowed, requests) in [("192.0.2.1", 0), ("127.0.0.0/8, '::1'", 1)] {
        let settings = format!("{UNLIMITED}outbound: {{ allow: [{allowed}] }}\n");
        let daemon = Daemon::start_with(&settings, &[("SSL_CERT_FILE", &ca)]);
        let client = Client::new(&daemon);
        let made =
            client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
        let key = &made["target"]["http"]["client_certificate"]["key"];
        assert_eq!(*key, Value::Null, "a key is shown to nobody");
        let sent = client
            .ask(&format!("POST /event_destinations/{}/send_test_event", id(&made)), &json!({}));
        let said = sent.body;
        assert_eq!(said.contains("ERR_SLUICEGATE_1320"), requests == 0, "{said}");
        assert_eq!(receiver.requests().len(), requests, "{said}");
    }
}
