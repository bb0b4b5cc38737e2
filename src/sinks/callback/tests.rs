//! What each status comes to, from a receiver that follows a script.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::event::Timestamp;
use crate::sinks::FaultKind;

/// What a receiver does with a body, and the bodies it got.
struct Script {
    answer: fn(&str) -> (u16, &'static str),
    bodies: Mutex<Vec<String>>,
}

async fn answer(State(script): State<Arc<Script>>, body: String) -> axum::response::Response {
    let (status, text) = (script.answer)(&body);
    script.bodies.lock().unwrap().push(body);
    let headers = [("location", "http://127.0.0.1:1/elsewhere"), ("retry-after", "7")];
    (StatusCode::from_u16(status).unwrap(), headers, text).into_response()
}

async fn receiver(answers: fn(&str) -> (u16, &'static str)) -> (WebUrl, Arc<Script>) {
    let script = Arc::new(Script { answer: answers, bodies: Mutex::default() });
    let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { builder.serve_connection(stream, service).await });
        }
    });
    let url = format!("http://{address}/events?key=s3cret");
    (WebUrl::new(&url).unwrap(), script)
}

fn records(bodies: &[&'static str]) -> Vec<Arc<Record>> {
    let record = |body: &&'static str| {
        Arc::new(Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(body.as_bytes()),
            hops: 0,
        })
    };
    bodies.iter().map(record).collect()
}

/// Answers with the status that the body names.
fn as_asked(body: &str) -> (u16, &'static str) {
    (body.trim().parse().unwrap_or(200), "because\n of\u{1b}[31m this")
}

#[tokio::test]
async fn every_status_has_its_class() {
    let (callback, script) = receiver(as_asked).await;
    let mut seen = Vec::new();
    for status in [
        "200", "201", "202", "204", "299", "301", "302", "307", "308", "400", "401", "403", "404",
        "405", "408", "409", "410", "413", "415", "418", "422", "425", "429", "500", "501", "502",
        "503", "504", "599",
    ] {
        let acks = deliver(&callback, &records(&[status]), &Sending::default()).await;
        let class = match &acks[0] {
            Ack::Delivered => "delivered",
            Ack::Rejected(_) => "poison",
            Ack::Retry(fault) => match fault.kind {
                FaultKind::Throttled => "throttled",
                FaultKind::Transient => "transient",
                FaultKind::Configuration => "configuration",
            },
        };
        match seen.last_mut() {
            Some((last, statuses)) if *last == class => *statuses = format!("{statuses} {status}"),
            _ => seen.push((class, status.to_owned())),
        }
    }
    let expected = [
        ("delivered", "200 201 202 204 299"),
        ("configuration", "301 302 307 308"),
        ("poison", "400"),
        ("configuration", "401 403 404 405"),
        ("transient", "408"),
        ("configuration", "409 410"),
        ("poison", "413"),
        ("configuration", "415 418"),
        ("poison", "422"),
        ("transient", "425"),
        ("throttled", "429"),
        ("transient", "500 501 502 503 504 599"),
    ];
    assert_eq!(seen, expected.map(|(class, statuses)| (class, statuses.to_owned())));
    assert_eq!(script.bodies.lock().unwrap().len(), 29, "one request each, redirects not followed");
}

#[tokio::test]
async fn a_pause_that_a_receiver_asks_for_is_passed_on_unless_somebody_has_to_change_something() {
    let (callback, _) = receiver(as_asked).await;
    for (status, seconds) in [("429", Some(7)), ("503", Some(7)), ("500", Some(7)), ("403", None)] {
        let acks = deliver(&callback, &records(&[status]), &Sending::default()).await;
        let [Ack::Retry(fault)] = acks.as_slice() else { panic!("{acks:?}") };
        assert_eq!(fault.retry_after, seconds.map(Duration::from_secs), "{status}");
        assert!(!fault.unanswered, "{status}: it answered");
    }
}

#[tokio::test]
async fn a_fault_says_who_answered_what_without_the_secret() {
    let (callback, _) = receiver(as_asked).await;
    let acks = deliver(&callback, &records(&["403"]), &Sending::default()).await;
    let [Ack::Retry(fault)] = acks.as_slice() else { panic!("{acks:?}") };
    let expected = format!(
        "{callback} answered 403 Forbidden: because of [31m this; correct `callback_url`, or the receiver"
    );
    assert_eq!(fault.message, expected);
    assert!(!fault.message.contains("s3cret"));
}

#[tokio::test]
async fn only_the_record_for_which_a_batch_is_refused_is_rejected() {
    let refusing = |body: &str| if body.contains("bad") { (422, "no") } else { (200, "") };
    let (callback, script) = receiver(refusing).await;
    let acks = deliver(&callback, &records(&["a", "b", "bad", "c"]), &Sending::default()).await;
    let rejected = Ack::Rejected(format!("{callback} answered 422 Unprocessable Entity: no"));
    assert_eq!(acks, [Ack::Delivered, Ack::Delivered, rejected, Ack::Delivered]);
    let bodies = script.bodies.lock().unwrap();
    assert_eq!(*bodies, ["a\nb\nbad\nc\n", "a\nb\n", "bad\nc\n", "bad\n", "c\n"]);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_hangs_is_a_fault_that_passes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let callback = WebUrl::new(&url).unwrap();
    tokio::time::pause();
    let patient = Sending { timeout: Duration::from_secs(25), ..Sending::default() };
    let acks = deliver(&callback, &records(&["a"]), &patient).await;
    let [Ack::Retry(fault)] = acks.as_slice() else { panic!("{acks:?}") };
    assert_eq!((fault.kind, fault.unanswered), (FaultKind::Transient, true));
    assert!(fault.message.starts_with(&format!("no answer from {callback} within 25s")), "{fault}");
    tokio::time::resume();
    drop(listener);
    let acks = deliver(&callback, &records(&["a"]), &Sending::default()).await;
    let [Ack::Retry(fault)] = acks.as_slice() else { panic!("{acks:?}") };
    assert_eq!(fault.kind, FaultKind::Transient);
    assert!(fault.message.contains("was not reached"), "{fault}");
}

#[tokio::test]
async fn a_probe_sends_no_event() {
    let (callback, script) = receiver(|_| (405, "")).await;
    let said = probe(&callback, &Sending::default()).await.unwrap();
    assert!(said.contains("405 Method Not Allowed for OPTIONS"), "{said}");
    assert_eq!(*script.bodies.lock().unwrap(), [""]);
}
