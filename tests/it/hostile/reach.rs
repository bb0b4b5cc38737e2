//! Where targets lead that were made through the API, and as whom: to this machine, to its neighbours, to
//! the daemon itself, and with what is not theirs.

use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::generate;
use crate::support::receiver::Receiver;

const UNLIMITED: &str = "api: { listen: '127.0.0.1:0', rate_limit: { requests: 1000000 } }\n";
const NOWHERE: &str = "outbound: { allow: [] }\n";
const ENDPOINTS: &str = "control: { api_targets: { endpoint_url: true } }\n";

fn daemon(settings: &[&str]) -> Daemon {
    Daemon::start(&(UNLIMITED.to_owned() + &settings.concat()))
}

fn callback(url: &str) -> Value {
    json!({"format": "json", "target": {"debug": {"callback_url": url}}})
}

/// A stream with keys, at an endpoint if there is one.
fn kinesis(endpoint_url: Option<&str>) -> Value {
    let creds =
        json!({"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "s3cret"});
    kinesis_with(endpoint_url, json!({"creds": creds}))
}

fn kinesis_with(endpoint_url: Option<&str>, auth: Value) -> Value {
    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
    let target = json!({"stream_arn": arn, "auth": auth, "endpoint_url": endpoint_url});
    json!({"format": "json", "target": {"kinesis": target}})
}

fn made(client: &Client<'_>, destination: &Value) -> String {
    client.must("POST /event_destinations", destination)["id"].as_str().unwrap().to_owned()
}

/// What a test event comes to that is not delivered.
fn tested(client: &Client<'_>, id: &str) -> String {
    let answer = client.ask(&format!("POST /event_destinations/{id}/send_test_event"), &json!({}));
    assert_eq!(answer.status, 400, "{answer:?}");
    answer.json()["msg"].as_str().unwrap().to_owned()
}

fn subscribe(client: &Client<'_>, id: &str) {
    let sources = json!([{"type": "http_request_complete.v0"}]);
    client.must("POST /event_subscriptions", &json!({"sources": sources, "destination_ids": [id]}));
}

#[test]
fn private_addresses_are_refused_when_they_are_saved_in_every_form() {
    let daemon = daemon(&[NOWHERE, ENDPOINTS]);
    let client = Client::new(&daemon);
    for host in [
        "127.0.0.1",
        "10.0.0.1:8443",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[2002:7f00:1::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let url = format!("https://{host}/x");
        for target in [callback(&url), kinesis(Some(&url))] {
            let refused = client.refused("POST /event_destinations", &target);
            assert_eq!(refused, (400, "ERR_SLUICEGATE_1320".to_owned()), "{url}");
        }
    }
}

#[test]
fn names_of_private_addresses_are_refused_when_they_are_connected_to() {
    let receiver = Receiver::start(200, None);
    let port = receiver.address.port();
    let daemon = daemon(&[NOWHERE, ENDPOINTS]);
    let client = Client::new(&daemon);
    let url = format!("http://localhost:{port}/");
    for target in [callback(&url), kinesis(Some(&url))] {
        let said = tested(&client, &made(&client, &target));
        assert!(
            said.contains("ERR_SLUICEGATE_1320") && said.contains("`outbound.allow`"),
            "{said}"
        );
        let verified = [("format", json!("json")), ("verify_with_test_event", json!(true))];
        let verified: Value =
            verified.into_iter().chain([("target", target["target"].clone())]).collect();
        let refused = client.refused("POST /event_destinations", &verified);
        assert_eq!(refused.1, "ERR_SLUICEGATE_1306");
    }
    // Names to a parser of URLs, and addresses to the system.
    for host in ["2130706433", "0x7f.1", "127.1"] {
        let url = format!("https://{host}:{port}/");
        for target in [callback(&url), kinesis(Some(&url))] {
            tested(&client, &made(&client, &target));
        }
    }
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn the_daemons_own_listeners_are_not_reached_by_address_name_or_another_form() {
    let daemon = daemon(&[]);
    let client = Client::new(&daemon);
    for port in [daemon.ingest.port(), daemon.api.port()] {
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"] {
            let url = format!("http://{host}:{port}/v1/events");
            let refused = client.refused("POST /event_destinations", &callback(&url));
            assert_eq!(refused, (400, "ERR_SLUICEGATE_1321".to_owned()), "{url}");
        }
        let by_name = made(&client, &callback(&format!("http://localhost:{port}/v1/events")));
        let said = tested(&client, &by_name);
        assert!(said.contains("ERR_SLUICEGATE_1321"), "{said}");
    }
    assert_eq!(daemon.status()["ingest"]["accepted"], 0);
}

#[test]
fn the_listeners_of_syslog_and_of_envoy_are_the_daemons_own_too() {
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (syslog, envoy) = (port(), port());
    let entrances = format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0' }}, syslog: {{ listen: '127.0.0.1:{syslog}', format: apache }}, \
         envoy: {{ listen: '127.0.0.1:{envoy}' }} }}\n"
    );
    let daemon = daemon(&[&entrances]);
    let client = Client::new(&daemon);
    for port in [syslog, envoy] {
        let url = format!("http://127.0.0.1:{port}/");
        let refused = client.refused("POST /event_destinations", &callback(&url));
        assert_eq!(refused, (400, "ERR_SLUICEGATE_1321".to_owned()), "{url}");
    }
}

#[test]
fn a_listener_on_all_addresses_is_reached_by_none_of_them_whatever_is_allowed() {
    let ingest = "ingest: { http: { listen: '0.0.0.0:0', bearer_tokens: [t0ken] } }\n";
    let daemon = daemon(&[ingest, "outbound: { allow: ['0.0.0.0/0', '::/0', localhost] }\n"]);
    let client = Client::new(&daemon);
    let port = daemon.ingest.port();
    for host in ["127.0.0.1", "127.3.3.3", "0.0.0.0"] {
        let url = format!("http://{host}:{port}/v1/events");
        let refused = client.refused("POST /event_destinations", &callback(&url));
        assert_eq!(refused.1, "ERR_SLUICEGATE_1321", "{url}");
    }
    let by_name = made(&client, &callback(&format!("http://localhost:{port}/v1/events")));
    assert!(tested(&client, &by_name).contains("ERR_SLUICEGATE_1321"));
}

#[test]
fn a_redirect_leads_nowhere() {
    let inner = Receiver::start(200, None);
    let location = format!("location: http://{}/\r\n", inner.address);
    let outer = FakeService::start(move |_| Reply::new(307, &location, ""));
    let daemon = daemon(&[]);
    let client = Client::new(&daemon);
    let said = tested(&client, &made(&client, &callback(&outer.url())));
    assert!(said.contains("redirects are not followed"), "{said}");
    assert_eq!((outer.requests().len(), inner.requests().len()), (1, 0));
}

#[test]
fn what_the_operator_names_is_reached_and_what_is_named_no_more_waits() {
    let receiver = Receiver::start(200, None);
    let url = format!("http://localhost:{}/", receiver.address.port());
    let daemon = daemon(&["outbound: { allow: [localhost] }\n"]);
    let client = Client::new(&daemon);
    let id = made(&client, &callback(&url));
    subscribe(&client, &id);
    daemon.send(&generate("http_request_complete.v0", 3, 1));
    daemon.wait_until_delivered();
    assert_eq!(receiver.take_lines().len(), 3);
    daemon.reload(&(UNLIMITED.to_owned() + NOWHERE));
    daemon.wait_for_log("reloaded");
    daemon.send(&generate("http_request_complete.v0", 2, 2));
    let paused = daemon.wait_for("paused", |it| it["destinations"][0]["state"] == "paused");
    let said = paused["destinations"][0]["last_error"].as_str().unwrap();
    assert!(said.contains("ERR_SLUICEGATE_1320"), "{said}");
    assert_eq!(receiver.requests().len(), 0, "not over the connection that was open either");
    daemon.reload(&(UNLIMITED.to_owned() + "outbound: { allow: [127.0.0.0/8] }\n"));
    daemon.wait_until_delivered();
    assert_eq!(receiver.take_lines().len(), 2);
}

#[test]
fn a_proxy_is_asked_only_for_hosts_that_the_operator_names() {
    let proxy = FakeService::start(|_| Reply::new(200, "", ""));
    let settings = UNLIMITED.to_owned() + "outbound: { allow: [collector.example] }\n";
    let url = proxy.url();
    let environment = [("HTTP_PROXY", url.as_str()), ("HTTPS_PROXY", url.as_str())];
    let daemon = Daemon::start_with(&settings, &environment);
    let client = Client::new(&daemon);
    let named = made(&client, &callback("http://collector.example/x"));
    client.must(&format!("POST /event_destinations/{named}/send_test_event"), &json!({}));
    let other = made(&client, &callback("https://collector.invalid/x"));
    tested(&client, &other);
    let lines: Vec<_> = proxy.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["POST http://collector.example/x HTTP/1.1"]);
    let settings = daemon.path("sluicegate.yaml");
    let check = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["check", "--online", "-c", settings.to_str().unwrap()])
        .envs(environment)
        .output()
        .unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    for way in [
        format!("{named}: `http://collector.example` is reached through the proxy"),
        format!("{other}: `https://collector.invalid` is reached directly"),
    ] {
        assert!(said.contains(&way), "{said}");
    }
}

#[test]
fn endpoints_and_the_daemons_own_identity_need_the_operators_leave() {
    let service = FakeService::start(Request::taken);
    let url = service.url();
    let strict = daemon(&[]);
    let client = Client::new(&strict);
    let refused = client.refused("POST /event_destinations", &kinesis(Some(&url)));
    assert_eq!(refused, (400, "ERR_SLUICEGATE_1322".to_owned()));
    let refused = client.refused("POST /event_destinations", &kinesis_with(None, Value::Null));
    assert_eq!(refused, (400, "ERR_SLUICEGATE_1323".to_owned()));
    let leave = "control: { api_targets: { endpoint_url: true, default_credentials: true } }\n";
    let free = daemon(&[leave]);
    let client = Client::new(&free);
    let id = made(&client, &kinesis_with(Some(&url), Value::Null));
    subscribe(&client, &id);
    client.must(&format!("POST /event_destinations/{id}/send_test_event"), &json!({}));
    assert_eq!(service.requests().len(), 1);
    // What was made under a leave that is taken back is not used any more.
    free.reload(UNLIMITED);
    free.wait_for_log("reloaded");
    free.send(&generate("http_request_complete.v0", 1, 1));
    let paused = free.wait_for("paused", |it| it["destinations"][0]["state"] == "paused");
    let said = paused["destinations"][0]["last_error"].as_str().unwrap();
    assert!(said.contains("ERR_SLUICEGATE_1322"), "{said}");
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn roles_are_assumed_with_the_installations_own_external_id() {
    let sts = FakeService::start(|_| Reply::new(403, "", "<ErrorResponse/>"));
    let url = sts.url();
    let daemon = Daemon::start_with(UNLIMITED, &[("AWS_ENDPOINT_URL_STS", url.as_str())]);
    let client = Client::new(&daemon);
    let oneself = client.must("GET /self", &Value::Null);
    let own = oneself["account"]["external_id"].as_str().unwrap();
    let role = |external_id: Value| {
        let role_arn = "arn:aws:iam::123456789012:role/r";
        kinesis_with(None, json!({"role": {"role_arn": role_arn, "external_id": external_id}}))
    };
    let refused = client.refused("POST /event_destinations", &role(json!("theirs")));
    assert_eq!(refused, (400, "ERR_SLUICEGATE_1324".to_owned()));
    let id = made(&client, &role(Value::Null));
    let shown = client.must(&format!("GET /event_destinations/{id}"), &Value::Null);
    assert_eq!(shown["target"]["kinesis"]["auth"]["role"]["external_id"], own);
    client.must(&format!("PATCH /event_destinations/{id}"), &json!({"target": shown["target"]}));
    let script = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/aws/setup.sh"))
        .args(["--target", "arn:aws:kinesis:us-east-1:123456789012:stream/s", "--dry-run"])
        .args(["--principal", "arn:aws:iam::210987654321:role/sluicegate", "--api"])
        .arg(format!("http://{}", daemon.api))
        .env("SLUICEGATE_API_KEY", client.key())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&script.stdout).contains(own), "{script:?}");
    tested(&client, &id);
    let asked = sts.requests();
    assert!(!asked.is_empty());
    for request in asked {
        assert!(request.body.contains(&format!("ExternalId={own}")), "{}", request.body);
    }
}

#[test]
fn a_stored_secret_goes_nowhere_without_being_given_again() {
    let (first, other) = (FakeService::start(Request::taken), FakeService::start(Request::taken));
    let daemon = daemon(&[ENDPOINTS]);
    let client = Client::new(&daemon);
    let id = made(&client, &kinesis(Some(&first.url())));
    let line = format!("/event_destinations/{id}");
    let mut shown = client.must(&format!("GET {line}"), &Value::Null)["target"].clone();
    client.must(&format!("PATCH {line}"), &json!({"target": shown}));
    for place in [json!(other.url()), json!(first.url() + "/x"), Value::Null] {
        shown["kinesis"]["endpoint_url"] = place;
        for more in [json!(false), json!(true)] {
            let change = json!({"target": shown, "verify_with_test_event": more});
            let refused = client.refused(&format!("PATCH {line}"), &change);
            assert_eq!(refused, (400, "ERR_SLUICEGATE_1325".to_owned()), "{shown}");
        }
    }
    let moved = kinesis(Some(&other.url()));
    client.must(&format!("PATCH {line}"), &json!({"target": moved["target"]}));
    client.must(&format!("POST {line}/send_test_event"), &json!({}));
    assert_eq!((first.requests().len(), other.requests().len()), (0, 1));
    let id = made(&client, &callback("https://hooks.example/in?token=s3cret"));
    let elsewhere = callback("https://elsewhere.example/in?***");
    let change = json!({"target": elsewhere["target"]});
    let refused = client.refused(&format!("PATCH /event_destinations/{id}"), &change);
    assert_eq!(refused.1, "ERR_SLUICEGATE_1325");
}

#[test]
fn what_a_receiver_says_is_for_the_operator_and_not_for_who_made_the_target() {
    const SAID: &str = "the pass word inside";
    let bodies = [
        (403, SAID.to_owned()),
        (400, json!({"__type": "Inner", "message": SAID}).to_string()),
        (422, format!("<html><title>{SAID}</title>")),
        (503, json!({"__type": "AccessDeniedException", "message": SAID}).to_string()),
    ];
    for (status, body) in bodies {
        let receiver =
            FakeService::start(move |_| Reply::new(status, "x-amzn-requestid: 1\r\n", &*body));
        let daemon = daemon(&[ENDPOINTS]);
        let client = Client::new(&daemon);
        for target in [callback(&receiver.url()), kinesis(Some(&receiver.url()))] {
            let id = made(&client, &target);
            let said = tested(&client, &id);
            assert!(said.contains(&status.to_string()) || said.contains("AccessDenied"), "{said}");
            let mut verified = target.clone();
            verified["verify_with_test_event"] = json!(true);
            let refused = client.ask("POST /event_destinations", &verified);
            subscribe(&client, &id);
            daemon.send(&generate("http_request_complete.v0", 1, 1));
            // A verdict on records is held for a while, to see whether the service takes others.
            daemon.wait_for("tried", |_| {
                let of_it = daemon.destination(&id);
                !of_it["last_error"].is_null() || of_it["dead_lettered"] == 1
            });
            let shown = client.must(&format!("GET /event_destinations/{id}/status"), &Value::Null);
            for answer in [said, refused.body, shown.to_string(), daemon.status().to_string()] {
                assert!(!answer.contains("pass word") && !answer.contains("Inner"), "{answer}");
            }
            patiently("the operator sees it", || daemon.log().contains(SAID));
        }
    }
}

#[test]
fn an_event_that_goes_round_through_two_daemons_ends_with_the_ninth_hop() {
    let (one, other) = (daemon(&[]), daemon(&[]));
    let lead = |from: &Daemon, to: &Daemon| {
        let client = Client::new(from);
        let id = made(&client, &callback(&format!("http://{}/v1/events", to.ingest)));
        subscribe(&client, &id);
    };
    lead(&one, &other);
    lead(&other, &one);
    one.send(&generate("http_request_complete.v0", 1, 1));
    let refused = |daemon: &Daemon| {
        daemon.status()["ingest"]["refused"]["ERR_SLUICEGATE_1326"].as_u64().unwrap_or(0)
    };
    patiently("the circle is cut", || refused(&one) + refused(&other) > 0);
    for daemon in [&one, &other] {
        daemon.wait_until_delivered();
    }
    let accepted = |daemon: &Daemon| daemon.status()["ingest"]["accepted"].as_u64().unwrap();
    assert_eq!((accepted(&one), accepted(&other)), (5, 4));
    let dead = |daemon: &Daemon| daemon.status()["destinations"][0]["dead_lettered"].clone();
    assert_eq!((dead(&one), dead(&other)), (json!(1), json!(0)));
}

#[test]
fn hops_are_counted_for_each_event_and_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(503, None);
    let settings = format!(
        "data_dir: {}
destinations: [{{ id: hook, target: {{ debug: {{ callback_url: 'http://{}/' }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [hook] }}]
",
        folder.path().join("data").display(),
        receiver.address
    );
    let events = generate("http_request_complete.v0", 4, 1);
    let first = Daemon::start(&settings);
    let headers = [("content-type", "application/x-ndjson"), ("Sluicegate-Hops", "3,8,9,0")];
    let answer = first.post_with(&headers, events.join("\n"));
    let refused = &answer.json()["rejected"][0];
    assert_eq!((answer.status, &refused["index"]), (200, &json!(2)));
    assert_eq!(refused["error_code"], "ERR_SLUICEGATE_1326");
    patiently("it was tried", || !receiver.requests().is_empty());
    drop(first);
    receiver.take_lines();
    receiver.set(200);
    let second = Daemon::start(&settings);
    second.wait_until_delivered();
    let told: Vec<String> = receiver
        .requests()
        .iter()
        .filter_map(|(head, _)| head.split("sluicegate-hops: ").nth(1)?.lines().next())
        .map(str::to_owned)
        .collect();
    assert!(told.iter().flat_map(|it| it.split(',')).eq(["4", "9", "1"]), "{told:?}");
}
