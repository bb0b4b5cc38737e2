//! AWS credentials that are refused, and others that take their place while the daemon runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::generate;

/// One Kinesis destination with further lines of its target.
fn settings(service: &FakeService, auth: &str) -> String {
    format!(
        r#"
destinations:
  - id: stream
    target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "{}"{auth} }} }}
    batch: {{ linger: 10ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [stream] }}
"#,
        service.url()
    )
}

/// A Kinesis that takes what one access key signed and refuses the others with a code.
fn kinesis(code: &'static str) -> FakeService {
    FakeService::start(move |request| match request.access_key() {
        "AKIDNEW" => request.taken(),
        _ => Reply::error(400, code),
    })
}

/// An environment without credentials of its own.
fn bare<'a>(folder: &'a Path, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut environment = vec![
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("AWS_SHARED_CREDENTIALS_FILE", file("credentials")),
        ("AWS_CONFIG_FILE", file("config")),
    ];
    environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    environment
}

fn start(settings: &str, environment: &[(&str, String)]) -> Daemon {
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Daemon::start_with(settings, &environment)
}

/// Puts keys into the profile file by renaming another one over it.
fn rename_over(folder: &Path, key: &str) {
    let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = s3cret\n");
    fs::write(folder.join("fresh"), text).unwrap();
    fs::rename(folder.join("fresh"), folder.join("credentials")).unwrap();
}

/// The destination once it is paused by an error that says this.
fn wait_for_pause(daemon: &Daemon, text: &'static str) -> Value {
    daemon.wait_for(text, |status| {
        let destination = &status["destinations"][0];
        let error = destination["last_error"].as_str();
        destination["state"] == "paused" && error.is_some_and(|it| it.contains(text))
    })["destinations"][0]
        .clone()
}

fn wait_for_error(daemon: &Daemon, text: &'static str) -> Value {
    let status = daemon.wait_for(text, |status| {
        let error = &status["destinations"][0]["last_error"];
        error.as_str().is_some_and(|it| it.contains(text))
    });
    status["destinations"][0].clone()
}

fn keys_of(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(Request::access_key).collect()
}

#[test]
fn a_profile_file_that_appears_and_is_renamed_over_is_read_without_a_restart() {
    let service = kinesis("UnrecognizedClientException");
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&settings(&service, ""), &bare(folder.path(), &[]));
    daemon.send(&generate("http_request_complete.v0", 10, 1));
    let destination = wait_for_pause(&daemon, "no credentials");
    assert_eq!(destination["credentials"], Value::Null);
    assert_eq!(service.requests().len(), 0);
    rename_over(folder.path(), "AKIDOLD");
    let destination = wait_for_error(&daemon, "UnrecognizedClientException");
    let origin = destination["credentials"].as_str().unwrap();
    let file = folder.path().join("credentials");
    assert!(origin.starts_with(&format!("profile file `{}`", file.display())), "{origin}");
    rename_over(folder.path(), "AKIDNEW");
    daemon.wait_until_delivered();
    assert_eq!(daemon.destination("stream")["delivered"], 10);
    assert!(!daemon.log().contains("s3cret"));
}

#[test]
fn a_session_of_a_container_that_is_refused_early_is_asked_for_anew() {
    for code in ["ExpiredTokenException", "InvalidSignatureException", "AccessDeniedException"] {
        let service = kinesis(code);
        let renewed = Arc::new(AtomicBool::new(false));
        let is_renewed = Arc::clone(&renewed);
        let container = FakeService::start(move |_| {
            let new = is_renewed.load(Ordering::SeqCst);
            let body = json!({
                "AccessKeyId": if new { "AKIDNEW" } else { "AKIDOLD" },
                "SecretAccessKey": "s3cret",
                "Token": "t",
                "Expiration": "2100-01-01T00:00:00Z",
            });
            Reply::new(200, "content-type: application/json\r\n", body.to_string())
        });
        let folder = tempfile::tempdir().unwrap();
        let url = container.url();
        let more = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
            // Nothing of it may go through a proxy that is not there.
            ("HTTP_PROXY", "http://127.0.0.1:9"),
        ];
        let daemon = start(&settings(&service, ""), &bare(folder.path(), &more));
        daemon.send(&generate("http_request_complete.v0", 10, 2));
        let destination = wait_for_error(&daemon, code);
        assert_eq!(destination["credentials"], "container");
        renewed.store(true, Ordering::SeqCst);
        daemon.wait_until_delivered();
        let asked = container.requests().len();
        let refused = service.requests();
        let refused = keys_of(&refused).iter().filter(|key| **key == "AKIDOLD").count();
        assert!(asked <= refused + 1, "asked {asked} times for {refused} refusals");
    }
}

/// What STS answers to AssumeRole.
fn session(key: &str) -> Reply {
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>\
         </AssumedRoleUser></AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId>\
         </ResponseMetadata></AssumeRoleResponse>"
    );
    Reply::new(200, "content-type: text/xml\r\n", body)
}

const ROLE: &str = ", auth: { role: { role_arn: \"arn:aws:iam::123456789012:role/r\" } }";

#[test]
fn a_role_is_assumed_anew_with_the_keys_that_stand_in_the_file_now() {
    let service = kinesis("ExpiredTokenException");
    // Each machine key gets a session of its own; one of them is known no more.
    let sts = FakeService::start(|request| match request.access_key() {
        "AKIDGONE" => Reply::new(
            403,
            "content-type: text/xml\r\n",
            "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>The \
             security token included in the request is invalid.</Message></Error></ErrorResponse>",
        ),
        "AKIDBASE" => session("AKIDOLD"),
        _ => session("AKIDNEW"),
    });
    let folder = tempfile::tempdir().unwrap();
    rename_over(folder.path(), "AKIDGONE");
    let url = sts.url();
    let environment = bare(folder.path(), &[("AWS_ENDPOINT_URL_STS", url.as_str())]);
    let daemon = start(&settings(&service, ROLE), &environment);
    daemon.send(&generate("http_request_complete.v0", 10, 3));
    wait_for_pause(&daemon, "no credentials: `InvalidClientTokenId`");
    rename_over(folder.path(), "AKIDBASE");
    let destination = wait_for_error(&daemon, "ExpiredTokenException");
    let origin = destination["credentials"].as_str().unwrap();
    let start = "role `arn:aws:iam::123456789012:role/r` via profile file `";
    assert!(origin.starts_with(start), "{origin}");
    rename_over(folder.path(), "AKIDFRESH");
    daemon.wait_until_delivered();
}

#[test]
fn an_sts_that_is_not_sts_is_named_and_asked_again() {
    let service = kinesis("ExpiredTokenException");
    let answers = [
        (200, "<html>sign in</html>", "answered 200 with HTML"),
        (200, "", "answered 200 with an empty body"),
        (502, "<html>bad gateway</html>", "answered 502 with HTML"),
    ];
    for (status, body, said) in answers {
        let well = Arc::new(AtomicBool::new(false));
        let is_well = Arc::clone(&well);
        let sts = FakeService::start(move |_| {
            if is_well.load(Ordering::SeqCst) {
                session("AKIDNEW")
            } else {
                Reply::new(status, "", body)
            }
        });
        let url = sts.url();
        let environment = [("AWS_ENDPOINT_URL_STS", url.clone())];
        let daemon = start(&settings(&service, ROLE), &environment);
        daemon.send(&generate("http_request_complete.v0", 10, 4));
        let destination = wait_for_error(&daemon, said);
        let error = destination["last_error"].as_str().unwrap();
        assert!(error.starts_with(&format!("no credentials: `{url}` answered")), "{error}");
        daemon.wait_for("no fault of the settings", |status| {
            status["destinations"][0]["state"] == "retrying"
        });
        well.store(true, Ordering::SeqCst);
        daemon.wait_until_delivered();
        let origin = daemon.destination("stream")["credentials"].clone();
        assert_eq!(origin, "role `arn:aws:iam::123456789012:role/r` via environment");
    }
}

#[test]
fn the_status_says_where_credentials_came_from() {
    let service = FakeService::start(Request::taken);
    let keys =
        ", auth: { creds: { aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: k } }";
    for (auth, origin) in [("", "environment"), (keys, "keys")] {
        let daemon = Daemon::start(&settings(&service, auth));
        daemon.send(&generate("http_request_complete.v0", 1, 5));
        daemon.wait_until_delivered();
        assert_eq!(daemon.destination("stream")["credentials"], origin);
    }
}
