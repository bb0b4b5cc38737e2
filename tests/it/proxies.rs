//! Ways through a proxy: absolute form for http, a tunnel for https, and what is never sent there.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::generate;
use crate::support::receiver::Receiver;
use crate::support::tls::Certificates;

fn settings(target: &str) -> String {
    format!(
        r#"
callbacks: {{ allow_http: [collector.example] }}
outbound: {{ allow: [kinesis.example] }}
destinations:
  - id: far
    target: {target}
    batch: {{ linger: 10ms }}
subscriptions:
  - {{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [far] }}
"#
    )
}

fn kinesis(endpoint: &str) -> String {
    format!(
        "{{ kinesis: {{ stream_arn: \"arn:aws:kinesis:us-east-1:123456789012:stream/s\"{endpoint} }} }}"
    )
}

/// `sluicegate check` with settings and an environment.
fn check(settings: &str, environment: &[(&str, &str)], more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let data = folder.path().join("data");
    fs::write(&file, format!("data_dir: {}\n{settings}", data.display())).unwrap();
    Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["check", "-c"])
        .arg(&file)
        .args(more)
        .env_remove("SLUICEGATE_LOG")
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn plain_http_goes_through_the_proxy_in_absolute_form_with_its_password() {
    // The names are never looked up: the proxy is asked for them.
    for (variable, target, line) in [
        (
            "HTTP_PROXY",
            kinesis(", endpoint_url: \"http://kinesis.example:5000\""),
            "POST http://kinesis.example:5000/ HTTP/1.1",
        ),
        (
            "http_proxy",
            "{ debug: { callback_url: \"http://collector.example/events?x=1\" } }".to_owned(),
            "POST http://collector.example/events?x=1 HTTP/1.1",
        ),
    ] {
        let proxy = FakeService::start(|request| match request.line.contains("kinesis") {
            true => request.taken(),
            false => Reply::new(200, "", ""),
        });
        let url = format!("http://user:s3cret@{}", proxy.address);
        let daemon = Daemon::start_with(&settings(&target), &[(variable, url.as_str())]);
        daemon.send(&generate("http_request_complete.v0", 10, 1));
        daemon.wait_until_delivered();
        let requests = proxy.requests();
        assert_eq!(requests[0].line, line);
        // `user:s3cret` in base64.
        assert_eq!(requests[0].header("proxy-authorization"), Some("Basic dXNlcjpzM2NyZXQ="));
        assert!(!daemon.log().contains("s3cret"));
    }
}

#[test]
fn https_goes_through_a_tunnel_and_the_proxy_sees_no_event() {
    let Some(certificates) = Certificates::make() else { return };
    let receiver = Receiver::start(200, Some(certificates.server("server")));
    let to = receiver.address;
    let proxy = FakeService::start(move |_| Reply::Tunnel(to));
    let target = "{ debug: { callback_url: \"https://collector.example/events\" } }";
    let ca = certificates.path("ca.pem");
    let url = proxy.url();
    let environment = [("https_proxy", url.as_str()), ("SSL_CERT_FILE", ca.to_str().unwrap())];
    let daemon = Daemon::start_with(&settings(target), &environment);
    let events = generate("http_request_complete.v0", 5, 2);
    daemon.send(&events);
    daemon.wait_until_delivered();
    assert_eq!(receiver.take_lines(), events);
    let lines: Vec<_> = proxy.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["CONNECT collector.example:443 HTTP/1.1"]);
}

#[test]
fn an_https_endpoint_of_aws_is_reached_through_a_tunnel_too() {
    let Some(certificates) = Certificates::make() else { return };
    // It answers like no service of AWS, which is enough to see that it was asked.
    let receiver = Receiver::start(200, Some(certificates.server("server")));
    let to = receiver.address;
    let proxy = FakeService::start(move |_| Reply::Tunnel(to));
    let target = kinesis(", endpoint_url: \"https://collector.example:8443\"");
    let ca = certificates.path("ca.pem");
    let url = proxy.url();
    let environment = [("HTTPS_PROXY", url.as_str()), ("SSL_CERT_FILE", ca.to_str().unwrap())];
    let daemon = Daemon::start_with(&settings(&target), &environment);
    daemon.send(&generate("http_request_complete.v0", 1, 3));
    daemon.wait_for("asked", |status| !status["destinations"][0]["last_error"].is_null());
    let error = daemon.destination("far")["last_error"].as_str().unwrap().to_owned();
    let said = "`https://collector.example:8443` answered 200 with a text that is no JSON";
    assert!(error.contains(said), "{error}");
    assert_eq!(proxy.requests()[0].line, "CONNECT collector.example:8443 HTTP/1.1");
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let proxy = FakeService::start(|_| Reply::new(403, "", "no"));
    let target = "{ debug: { callback_url: \"https://collector.example/events\" } }";
    let url = proxy.url();
    let daemon = Daemon::start_with(&settings(target), &[("HTTPS_PROXY", url.as_str())]);
    daemon.send(&generate("http_request_complete.v0", 1, 4));
    daemon.wait_for("refused", |status| !status["destinations"][0]["last_error"].is_null());
    let error = daemon.destination("far")["last_error"].as_str().unwrap().to_owned();
    let start = format!("`https://collector.example` was not reached through the proxy `{url}`");
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn this_machine_is_reached_directly_whatever_the_environment_says() {
    let service = FakeService::start(Request::taken);
    let target = kinesis(&format!(", endpoint_url: \"{}\"", service.url()));
    let nobody = [("ALL_PROXY", "http://127.0.0.1:9"), ("HTTP_PROXY", "http://127.0.0.1:9")];
    let daemon = Daemon::start_with(&settings(&target), &nobody);
    daemon.send(&generate("http_request_complete.v0", 10, 5));
    daemon.wait_until_delivered();
    assert!(service.requests()[0].line.starts_with("POST / "), "{:?}", service.requests()[0].line);
}

#[test]
fn check_says_which_way_each_destination_goes() {
    let of_aws = settings(&kinesis(""));
    let proxies = [("HTTPS_PROXY", "http://user:s3cret@proxy.example:3128")];
    let said = |settings: &str, environment: &[(&str, &str)]| {
        let output = check(settings, environment, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!format!("{output:?}").contains("s3cret"));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = said(&of_aws, &proxies);
    let way = "  far: `https://123456789012.data-kinesis.us-east-1.amazonaws.com` is reached through the proxy \
               `http://proxy.example:3128`\n";
    assert!(text.ends_with(way), "{text}");
    let except = [proxies[0], ("NO_PROXY", "localhost,.amazonaws.com,::1")];
    let text = said(&of_aws, &except);
    assert!(text.ends_with("amazonaws.com` is reached directly\n"), "{text}");
    let elsewhere = [proxies[0], ("AWS_ENDPOINT_URL_KINESIS", "https://vpce.example")];
    let text = said(&of_aws, &elsewhere);
    assert!(text.contains("`https://vpce.example` is reached through"), "{text}");
    assert!(!said(&of_aws, &[]).contains("far:"), "no proxy, nothing to say");
    let socks = [("HTTPS_PROXY", "socks5://user:s3cret@proxy.example")];
    let text = said(&of_aws, &socks);
    assert!(text.contains("is reached nowhere: the environment variable `HTTPS_PROXY`"), "{text}");
}
