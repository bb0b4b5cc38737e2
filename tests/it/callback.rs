//! The debug target's `callback_url`, with receivers that take, refuse and come back.

use std::fs;

use crate::support::daemon::Daemon;
use crate::support::receiver::Receiver;
use crate::support::tls::Certificates;
use crate::support::{generate, output_of, sluicegate};

fn settings(url: &str, log: &str) -> String {
    format!(
        r#"
destinations:
  - id: hook
    target: {{ debug: {{ callback_url: "{url}"{log} }} }}
    batch: {{ linger: 10ms, max_records: 100 }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [hook] }}
"#
    )
}

fn url(receiver: &Receiver) -> String {
    format!("http://{}/events?key=s3cret", receiver.address)
}

#[test]
fn batches_are_posted_as_ndjson_in_order_and_written_too_if_asked() {
    let receiver = Receiver::start(200, None);
    let daemon = Daemon::start(&settings(&url(&receiver), ", log: true"));
    let events = generate("http_request_complete.v0", 250, 1);
    daemon.send(&events);
    daemon.wait_until_delivered();
    let (head, _) = receiver.requests().swap_remove(0);
    assert!(head.starts_with("post /events?key=s3cret http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
    assert_eq!(receiver.take_lines(), events);
    assert_eq!(daemon.stop().output.lines().collect::<Vec<_>>(), events);
}

#[test]
fn without_log_nothing_is_written_beside_the_callback() {
    let receiver = Receiver::start(204, None);
    let daemon = Daemon::start(&settings(&url(&receiver), ""));
    daemon.send(&generate("http_request_complete.v0", 3, 1));
    daemon.wait_until_delivered();
    assert_eq!(daemon.stop().output, "");
}

#[test]
fn refusals_pause_and_outages_are_waited_out_without_a_loss() {
    let receiver = Receiver::start(403, None);
    let daemon = Daemon::start(&settings(&url(&receiver), ""));
    let events = generate("http_request_complete.v0", 30, 2);
    daemon.send(&events);
    let is = |state: &'static str| {
        move |status: &serde_json::Value| status["destinations"][0]["state"] == state
    };
    let status = daemon.wait_for("paused", is("paused"));
    let said = status["destinations"][0]["last_error"].as_str().unwrap();
    assert!(said.contains("answered 403 Forbidden: because; correct"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    receiver.set(503);
    daemon.wait_for("retrying", is("retrying"));
    receiver.take_lines();
    receiver.set(200);
    daemon.wait_until_delivered();
    let lines = receiver.take_lines();
    assert!(events.iter().all(|event| lines.contains(event)), "{lines:#?}");
    assert_eq!(daemon.destination("hook")["delivered"], 30);
    assert_eq!(daemon.destination("hook")["dead_lettered"], 0);
}

#[test]
fn what_the_receiver_will_never_take_becomes_a_dead_letter() {
    let receiver = Receiver::start(422, None);
    let daemon = Daemon::start(&settings(&url(&receiver), ""));
    daemon.send(&generate("http_request_complete.v0", 2, 3));
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("hook")["dead_lettered"], 2);
}

#[test]
fn https_needs_a_certificate_that_this_machine_trusts() {
    let Some(certificates) = Certificates::make() else { return };
    let receiver = Receiver::start(200, Some(certificates.server("server")));
    let text = settings(&url(&receiver).replace("http:", "https:"), "");
    let trusting = |ca: &str| {
        let ca = certificates.path(ca);
        Daemon::start_with(&text, &[("SSL_CERT_FILE", ca.to_str().unwrap())])
    };
    let events = generate("http_request_complete.v0", 5, 4);
    let daemon = trusting("ca.pem");
    daemon.send(&events);
    daemon.wait_until_delivered();
    assert_eq!(receiver.take_lines(), events);
    let daemon = trusting("stranger.pem");
    daemon.send(&events);
    let status = daemon.wait_for("paused", |it| it["destinations"][0]["state"] == "paused");
    let said = status["destinations"][0]["last_error"].as_str().unwrap();
    assert!(said.contains("is not trusted: invalid peer certificate: UnknownIssuer"), "{said}");
    assert_eq!(receiver.take_lines(), Vec::<String>::new());
}

#[test]
fn test_event_and_check_work_for_callbacks() {
    let receiver = Receiver::start(202, None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    fs::write(&file, settings(&url(&receiver), "")).unwrap();
    let file = file.to_str().unwrap();
    let said = output_of(&["check", "-c", file, "--online"], "");
    assert!(said.contains("was reached, with 202 Accepted for OPTIONS"), "{said}");
    assert_eq!(receiver.take_lines(), Vec::<String>::new(), "no event");
    let said = output_of(&["test-event", "-c", file, "--destination", "hook"], "");
    let target = format!("target       callback to `http://{}`\n", receiver.address);
    assert!(said.contains(&target) && said.contains("answer       delivered"), "{said}");
    let [line] = receiver.take_lines().try_into().unwrap();
    assert!(line.contains(r#""event_type":"test""#), "{line}");
    receiver.set(401);
    let refused = sluicegate(&["test-event", "-c", file, "--destination", "hook"], "");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("answered 401 Unauthorized: because"), "{said}");
}
