//! TLS of both listeners, with certificates made for each test.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, pause};
use crate::support::tls::Certificates;
use crate::support::{http, sluicegate};

const READY: &str = "GET /readyz";

/// The API listener with TLS; `extra` are further settings of `tls`.
fn settings(certificates: &Certificates, extra: &str) -> String {
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    format!(
        "api: {{ listen: \"127.0.0.1:0\", tls: {{ certificate: {}, key: {}{extra} }} }}\n",
        certificate.display(),
        key.display(),
    )
}

fn client_ca(certificates: &Certificates, more: &str) -> String {
    format!(", client_ca: {}{more}", certificates.path("ca.pem").display())
}

#[test]
fn https_works_and_a_client_that_trusts_another_ca_refuses() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(&certificates, ""));
    let answer = certificates.request(daemon.api, "ca", None, READY).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"), "{answer:?}");
    let refused = certificates.request(daemon.api, "stranger", None, READY).unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    // The other listener is as it was.
    assert_eq!(http::get(daemon.ingest, "/").status, 404);
}

#[test]
fn ingest_takes_events_over_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let text = settings(&certificates, "").replace("api: {", "ingest: { http: {");
    let daemon = Daemon::start(&text.replace(" }\n", " } }\n"));
    let answer = certificates.request(daemon.ingest, "ca", None, "POST /v1/events").unwrap();
    assert_eq!(answer.status, 415, "{answer:?}");
}

#[test]
fn plain_http_is_told_to_use_https_and_nonsense_is_cut() {
    use std::io::{Read as _, Write as _};
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(&certificates, ""));
    let answer = http::get(daemon.api, "/readyz");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["msg"], "this address speaks TLS: use https://");
    let mut stream = std::net::TcpStream::connect(daemon.api).unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x05hello, is anybody there?").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(ended.is_ok_and(|bytes| bytes < 100), "the connection ends, with an alert or without");
    // A client that says nothing does not hold up the others, nor the stop.
    let _silent = std::net::TcpStream::connect(daemon.api).unwrap();
    assert_eq!(certificates.request(daemon.api, "ca", None, READY).unwrap().status, 200);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_client_that_never_shakes_hands_takes_a_place_but_not_for_ever() {
    let Some(certificates) = Certificates::make() else { return };
    let text = settings(&certificates, "").replace("tls:", "max_connections: 1, tls:");
    let daemon = Daemon::start(&text);
    let silent = std::net::TcpStream::connect(daemon.api).unwrap();
    let answer = certificates.request(daemon.api, "ca", None, READY).unwrap();
    assert_eq!(answer.status, 200);
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.peek(&mut [0]).unwrap(), 0, "it was cut before the other was served");
}

#[test]
fn a_client_certificate_is_required_where_there_is_a_client_ca() {
    let Some(certificates) = Certificates::make() else { return };
    for more in ["", ", client_certificates: required"] {
        let extra = client_ca(&certificates, more);
        let daemon = Daemon::start(&settings(&certificates, &extra));
        let answer = |client| certificates.request(daemon.api, "ca", client, READY);
        assert_eq!(answer(Some("client")).unwrap().status, 200);
        assert!(answer(None).is_err());
        assert!(answer(Some("impostor")).is_err());
    }
}

#[test]
fn an_optional_client_certificate_may_be_left_out_but_not_be_wrong() {
    let Some(certificates) = Certificates::make() else { return };
    let extra = client_ca(&certificates, ", client_certificates: optional");
    let daemon = Daemon::start(&settings(&certificates, &extra));
    let answer = |client| certificates.request(daemon.api, "ca", client, READY);
    assert_eq!(answer(Some("client")).unwrap().status, 200);
    assert_eq!(answer(None).unwrap().status, 200);
    assert!(answer(Some("impostor")).is_err());
}

#[test]
fn a_certificate_is_replaced_while_running_and_a_broken_one_is_not_taken() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(&certificates, ""));
    let old = certificates.der("server");
    assert_eq!(certificates.shown_by(daemon.api), old);
    fs::copy(certificates.path("renewed.key"), certificates.path("server.key")).unwrap();
    daemon.wait_for_log("is not the key of the certificate");
    assert_eq!(certificates.shown_by(daemon.api), old, "the old one stays in force");
    certificates.replace("server", "renewed");
    let began = Instant::now();
    while certificates.shown_by(daemon.api) != certificates.der("renewed") {
        assert!(began.elapsed() < Duration::from_secs(60), "never replaced:\n{}", daemon.log());
        pause();
    }
    assert_eq!(daemon.log().matches("not replaced").count(), 1, "logged once");
}

#[test]
fn check_says_which_file_is_wrong_and_how() {
    let Some(certificates) = Certificates::make() else { return };
    fs::write(certificates.path("empty"), "").unwrap();
    let (empty, client_key) = (certificates.path("empty"), certificates.path("client.key"));
    let (empty, client_key) = (empty.to_str().unwrap(), client_key.to_str().unwrap());
    let right = settings(&certificates, "");
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let with_ca = format!(", client_ca: {empty}");
    for (text, said) in [
        (
            right.replace(certificate, "/no/such/file"),
            "`api.tls.certificate` cannot be read: No such",
        ),
        (
            right.replace(certificate, empty),
            "`api.tls.certificate` holds no certificate in PEM form",
        ),
        (right.replace(key, empty), "`api.tls.key` holds no private key in PEM form"),
        (right.replace(key, client_key), "`api.tls.key` is not the key of the certificate"),
        (settings(&certificates, &with_ca), "`api.tls.client_ca` holds no certificate in PEM form"),
        (
            settings(&certificates, ", client_certificates: required"),
            "`api.tls.client_ca` is missing",
        ),
    ] {
        let file = certificates.path("s.yaml");
        fs::write(&file, text).unwrap();
        let output = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{errors}");
        assert!(errors.contains(said), "no `{said}` in\n{errors}");
    }
}

#[test]
fn health_asks_a_daemon_that_speaks_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(&certificates, ""));
    let health = |scheme: &str, ca: &str| {
        let url = format!("{scheme}://localhost:{}", daemon.api.port());
        let ca = certificates.path(ca);
        let output = sluicegate(&["health", "--api", &url, "--ca", ca.to_str().unwrap()], "");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(health("https", "ca.pem"), (Some(0), String::new()));
    for (scheme, ca, said) in [
        ("https", "stranger.pem", "invalid peer certificate: UnknownIssuer"),
        ("https", "no-such.pem", "no-such.pem: "),
        ("https", "ca.key", "holds no certificate in PEM form"),
        ("http", "ca.pem", "this address speaks TLS: use https://"),
    ] {
        let (code, errors) = health(scheme, ca);
        assert!(code == Some(1) && errors.contains(said), "{code:?} {errors}");
    }
}
