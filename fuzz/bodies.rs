//! What the fuzz targets do with their bytes. The tests run the same on mutated filters.
//!
//! A body fails by panicking; that a filter is refused or has no value is no failure.

use std::sync::{Arc, LazyLock};

use sluicegate::config::{self, Config, Document};
use sluicegate::event::{Acl, Catalog, Event, EventType, SlotPlan, Slots, Timestamp};
use sluicegate::filter::{CheckedFilter, check};
use sluicegate::formats::{Format, Stamp};

/// The type that most filters are for.
#[expect(clippy::expect_used, reason = "the catalog that is built in has the type")]
static HTTP: LazyLock<Arc<EventType>> = LazyLock::new(|| {
    let name = "http_request_complete.v0";
    Arc::clone(Catalog::builtin().get(name).expect("the type is built in"))
});

fn checked(bytes: &[u8]) -> Option<CheckedFilter> {
    check(&String::from_utf8_lossy(bytes), &HTTP).ok()
}

/// Any bytes into the parser and the checker; a refusal has a report.
pub fn check_text(bytes: &[u8]) {
    if let Err(error) = check(&String::from_utf8_lossy(bytes), &HTTP) {
        assert!(!error.mistakes().is_empty() && !error.to_string().is_empty());
    }
}

/// A filter, and after a line of `---` an event's object, evaluated and explained. Where no object
/// follows, the event is empty.
pub fn evaluate(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (filter, object) = text.split_once("\n---\n").unwrap_or((&text, "{}"));
    let Some(filter) = checked(filter.as_bytes()) else { return };
    let event = format!(
        r#"{{"event_id":"e","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{object}}}"#
    );
    let Ok(event) = Event::parse(&event, Timestamp::MIN, || 0) else { return };
    let mut plan = SlotPlan::default();
    let program = filter.compile(&mut plan);
    let explainer = filter.explainer(&mut plan);
    let mut slots = Slots::new();
    plan.extract(&event, &mut slots);
    let _ = program.matches(&slots);
    let _ = explainer.decide(&slots);
}

/// A filter in its one spelling is accepted, and is spelled so again.
pub fn roundtrip(bytes: &[u8]) {
    let Some(filter) = checked(bytes) else { return };
    let normal = filter.normal();
    match check(&normal, &HTTP) {
        Ok(again) => assert_eq!(again.normal(), normal, "{}", filter.text()),
        // What is spelled out may be longer than it was.
        Err(error) if error.to_string().contains("limit") => {}
        Err(error) => panic!("{}\n{error}", filter.text()),
    }
}

/// Formats of JSON lines that are mapped, of objects of events: to the same type, and to one with a field of each kind.
const MAPPED: &str = r#"{
    "event_types": [{ "name": "any.v0", "fields": {
        "a": "string", "b": "int", "c": "double", "d": "bool", "e": "timestamp", "f": "duration",
        "g": "list(string)", "h": "map(string, list(double))", "i": "dyn" } }],
    "formats": [
        { "name": "objects", "json": { "type": "http_request_complete.v0", "event_timestamp": "conn.start_ts",
            "event_id": "http.request.url.path", "account_id": "conn.client_ip", "fields": {
            "conn.client_ip": "conn.client_ip", "http.request.url.raw": "http.request.url.raw",
            "http.request.headers": "http.request.headers", "proxy.request_line": "http.request.method",
            "http.response.status_code": "http.response.status_code" } } },
        { "name": "any", "json": { "type": "any.v0", "event_timestamp": "conn.start_ts", "fields": {
            "a": "http.request.method", "b": "http.response.status_code", "c": "/conn/bytes_in", "d": "/http/x",
            "e": { "path": "conn.end_ts", "required": false }, "f": { "path": "conn.server_port", "unit": "ms" },
            "g": { "path": "http.request.url.path", "case": "upper" }, "h": "tls", "i": "http" } } }
    ] }"#;

#[expect(clippy::expect_used, reason = "the settings stand above")]
static FORMATS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let format = config::Format::Json;
    let document = Document::parse("s.json", MAPPED.to_owned(), format, &|_| None);
    let config = document.and_then(|it| Config::read(&it));
    config.expect("they have no mistakes").formats.iter().collect()
});

/// A log line into every format's parser; what one takes is an event.
pub fn convert(bytes: &[u8]) {
    for format in FORMATS.iter() {
        let mut event = String::new();
        if format.convert(bytes, Stamp::default(), &mut event).is_ok() {
            let event = Event::parse(&event, Timestamp::MIN, || 0);
            assert!(event.is_ok(), "{format:?}: {event:?}");
        }
    }
}

/// Any text as a settings file of each format; what is wrong with one is told.
pub fn settings(bytes: &[u8]) {
    for format in [config::Format::Yaml, config::Format::Toml, config::Format::Json] {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let document = Document::parse("settings", text, format, &|_| None);
        if let Err(mistakes) = document.and_then(|it| Config::read(&it)) {
            assert!(!mistakes.to_string().is_empty() && !mistakes.summary().is_empty());
        }
    }
}

/// Rules of a credential, one a line, and after a line of `---` an event: what is denied has words.
pub fn acl(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (rules, text) = text.split_once("\n---\n").unwrap_or(("", &text));
    let Ok(event) = Event::parse(text, Timestamp::MIN, || 0) else { return };
    let rules: Vec<&str> = rules.lines().collect();
    if let Err(denied) = Acl::new(&rules).check(&event, text) {
        assert!(!denied.to_string().is_empty() && !denied.code().is_empty());
    }
}
