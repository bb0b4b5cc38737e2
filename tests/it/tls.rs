//! TLS of both listeners, with certificates made for each test.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, pause};
use crate::support::settings::{Settings, Tls};
use crate::support::tls::Certificates;
use crate::support::{http, sluicegate};

const READY: &str = "GET /readyz";

/// The right certificate and its key.
fn server(certificates: &Certificates) -> Tls {
    Tls::new(&certificates.path("server.pem"), &certificates.path("server.key"))
}

fn settings(tls: Tls) -> Settings {
    Settings::new().api_tls(tls)
}

#[test]
fn https_works_and_a_client_that_trusts_another_ca_refuses() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(server(&certificates)));
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
    let daemon = Daemon::start(&Settings::new().ingest_tls(server(&certificates)));
    let answer = certificates.request(daemon.ingest, "ca", None, "POST /v1/events").unwrap();
    assert_eq!(answer.status, 415, "{answer:?}");
}

#[test]
fn plain_http_is_told_to_use_https_and_nonsense_is_cut() {
    use std::io::{Read as _, Write as _};
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(server(&certificates)));
    let answer = http::get(daemon.api, "/readyz");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["msg"], "this address speaks TLS: use https://");
    daemon.wait_for_log("refused: this address speaks TLS");
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
    let daemon = Daemon::start(&settings(server(&certificates)).api_connections(1));
    let silent = std::net::TcpStream::connect(daemon.api).unwrap();
    let answer = certificates.request(daemon.api, "ca", None, READY).unwrap();
    assert_eq!(answer.status, 200);
    // What is kept for probes may have served that one beside it.
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(silent.peek(&mut [0]).unwrap(), 0, "it is cut");
}

#[test]
fn a_client_certificate_is_required_where_there_is_a_client_ca() {
    let Some(certificates) = Certificates::make() else { return };
    let known = || server(&certificates).client_ca(&certificates.path("ca.pem"));
    for tls in [known(), known().client_certificates("required")] {
        let daemon = Daemon::start(&settings(tls));
        let answer = |client| certificates.request(daemon.api, "ca", client, READY);
        assert_eq!(answer(Some("client")).unwrap().status, 200);
        assert!(answer(None).is_err());
        assert!(answer(Some("impostor")).is_err());
    }
}

#[test]
fn an_optional_client_certificate_may_be_left_out_but_not_be_wrong() {
    let Some(certificates) = Certificates::make() else { return };
    let tls = server(&certificates).client_ca(&certificates.path("ca.pem"));
    let daemon = Daemon::start(&settings(tls.client_certificates("optional")));
    let answer = |client| certificates.request(daemon.api, "ca", client, READY);
    assert_eq!(answer(Some("client")).unwrap().status, 200);
    assert_eq!(answer(None).unwrap().status, 200);
    assert!(answer(Some("impostor")).is_err());
}

#[test]
fn a_certificate_is_replaced_while_running_and_a_broken_one_is_not_taken() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(server(&certificates)));
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
    let file = |name: &str| certificates.path(name);
    let (pem, key, empty) = (file("server.pem"), file("server.key"), file("empty"));
    for (tls, said) in [
        (
            Tls::new(Path::new("/no/such/file"), &key),
            "`api.tls.certificate` cannot be read: No such",
        ),
        (Tls::new(&empty, &key), "`api.tls.certificate` holds no certificate in PEM form"),
        (Tls::new(&pem, &empty), "`api.tls.key` holds no private key in PEM form"),
        (Tls::new(&pem, &file("client.key")), "`api.tls.key` is not the key of the certificate"),
        (
            Tls::new(&pem, &key).client_ca(&empty),
            "`api.tls.client_ca` holds no certificate in PEM form",
        ),
        (Tls::new(&pem, &key).client_certificates("required"), "`api.tls.client_ca` is missing"),
    ] {
        let file = certificates.path("s.yaml");
        fs::write(&file, settings(tls).to_string()).unwrap();
        let output = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{errors}");
        assert!(errors.contains(said), "no `{said}` in\n{errors}");
    }
}

#[test]
fn health_asks_a_daemon_that_speaks_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let daemon = Daemon::start(&settings(server(&certificates)));
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
