//! What every format promises: samples give exactly their events, events are the catalog's, and no line
//! breaks a parser.

use serde_json::Value;

use super::*;
use crate::event::{Catalog, Declared, Event, EventType, FieldType, Timestamp};

fn converted(format: &Format, line: &[u8]) -> Result<String, Misfit> {
    let mut out = String::new();
    format.convert(line, Stamp::default(), &mut out).map(|()| out)
}

#[test]
fn each_sample_gives_exactly_its_event() {
    for Row { name, samples, .. } in &FORMATS {
        for (line, event) in *samples {
            let format = Format::find(name).unwrap();
            assert_eq!(converted(&format, line.as_bytes()).unwrap(), *event, "{line}");
        }
    }
}

fn is_of(value: &Value, field_type: &FieldType) -> bool {
    match field_type {
        FieldType::Bool => value.is_boolean(),
        FieldType::Int => value.is_i64(),
        FieldType::Double => value.is_number(),
        FieldType::String => value.is_string(),
        FieldType::Timestamp => value.as_str().is_some_and(|it| Timestamp::parse(it).is_some()),
        FieldType::List(item) => {
            value.as_array().is_some_and(|it| it.iter().all(|it| is_of(it, item)))
        }
        FieldType::Map(item) => {
            value.as_object().is_some_and(|it| it.values().all(|it| is_of(it, item)))
        }
        _ => false,
    }
}

/// Every value stands at a declared field and has its type.
fn check_object(event_type: &EventType, path: &str, value: &Value) {
    match event_type.declared(path) {
        Declared::Field(field) => assert!(is_of(value, &field.field_type), "{path}: {value}"),
        Declared::Group => {
            for (name, value) in value.as_object().unwrap() {
                let dot = if path.is_empty() { "" } else { "." };
                check_object(event_type, &format!("{path}{dot}{name}"), value);
            }
        }
        Declared::Nothing => panic!("{path} is not declared"),
    }
}

fn check_event(text: &str) {
    let event = Event::parse(text, Timestamp::MIN, || 0).unwrap();
    let catalog = Catalog::builtin();
    let event_type = catalog.get(&event.event_type).unwrap();
    check_object(event_type, "", &serde_json::from_str(event.object).unwrap());
    let object: Value = serde_json::from_str(event.object).unwrap();
    let method = object.pointer("/http/request/method").and_then(Value::as_str).unwrap_or_default();
    assert_eq!(method, method.to_ascii_lowercase(), "{text}");
    assert!(!text.contains('\n') && !text.contains('\r'), "{text}");
}

#[test]
fn events_of_every_format_have_declared_fields_of_their_types() {
    for format in Format::all() {
        for line in format.samples() {
            check_event(&converted(&format, line.as_bytes()).unwrap());
        }
    }
}

#[test]
fn a_guess_finds_each_format_among_all() {
    for format in Format::all() {
        let lines = format.samples().map(str::as_bytes).chain([b"".as_slice(), b"no log line"]);
        let (guessed, fits, of) = Format::guess(lines).unwrap();
        // Most of nginx's lines are Apache's too.
        assert_eq!(guessed, format);
        assert_eq!((fits, of), (format.samples().count(), format.samples().count() + 1));
    }
    assert_eq!(Format::guess([b"no log line".as_slice()].into_iter()), None);
}

#[test]
fn a_line_that_fits_not_is_refused_with_the_place() {
    for (format, line, said) in [
        ("nginx", "hello", "expected a time such as `[10/Oct/2000:13:55:36 -0700]` at byte 0"),
        (
            "nginx",
            r#"1.2.3.4 - - [99/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#,
            "expected a time such as `[10/Oct/2000:13:55:36 -0700]` at byte 12",
        ),
        (
            "nginx",
            r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" two 1"#,
            "expected a status of three digits at byte 58",
        ),
        (
            "apache",
            r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1"#,
            "expected a closing `\"` at byte 42",
        ),
        (
            "caddy",
            r#"{"level":"info","ts":1.5,"msg":"serving"}"#,
            "expected an access log line of Caddy: `request` and `status` at byte 0",
        ),
        ("caddy", r#"{"level":"info""#, "expected `,` or `}` at byte 15"),
        (
            "traefik",
            "{}",
            "expected an access log line of Traefik: a time, `RequestMethod`, `DownstreamStatus` at byte 0",
        ),
        (
            "envoy",
            "[2016-04-15T20:17:00.310Z] \"GET / HTTP/2\" x",
            "expected a response code at byte 42",
        ),
        (
            "haproxy",
            "1.2.3.4:5 [06/Feb/2009:12:14:14.655] web app/s1 0/0 200",
            "expected three or five timers before this at byte 52",
        ),
        (
            "haproxy",
            "<134>Nov 26 15:54:48 haproxy[7]: Connect from 1.2.3.4:5 to 10.0.0.1:80 (web/HTTP)",
            "expected a line of `option httplog` or `option tcplog`, which is not set, at byte 0",
        ),
        ("aws_alb", "tcp 2018-07-02T22:23:00Z", "expected a type such as `https` at byte 0"),
    ] {
        let refused = converted(&Format::find(format).unwrap(), line.as_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), said, "{format}: {line}");
    }
}

#[test]
fn the_client_is_found_behind_virtual_hosts_and_lists_of_whom_a_request_was_forwarded_for() {
    for (head, client, host, forwarded) in [
        ("192.0.2.1 - ada", "192.0.2.1", "", ""),
        ("10.0.0.2, 10.0.0.1, 127.0.0.1 - -", "10.0.0.2", "", "10.0.0.2, 10.0.0.1, 127.0.0.1"),
        ("\"10.5.1.2, 192.0.2.1\" 10.2.1.185 - -", "10.2.1.185", "", "10.5.1.2, 192.0.2.1"),
        ("2001:db8::8, 10.2.1.7 10.2.2.1 - -", "10.2.2.1", "", "2001:db8::8, 10.2.1.7"),
        (
            "shop.example 10.0.0.2, 10.0.0.1 - ada b",
            "10.0.0.2",
            "shop.example",
            "10.0.0.2, 10.0.0.1",
        ),
        (
            "192.0.2.9 10.0.0.2, 10.0.0.1 10.2.2.1 - -",
            "10.2.2.1",
            "192.0.2.9",
            "10.0.0.2, 10.0.0.1",
        ),
        ("shop.example:80 \"10.5.1.2\" 10.2.1.185 - -", "10.2.1.185", "shop.example", "10.5.1.2"),
        ("192.0.2.1 ident ada lovelace", "192.0.2.1", "", ""),
    ] {
        let line = format!("{head} [22/Jan/2016:13:18:29 +0000] \"GET / HTTP/1.1\" 200 5");
        let event = converted(&Format::find("nginx").unwrap(), line.as_bytes()).unwrap();
        check_event(&event);
        let event: Value = serde_json::from_str(&event).unwrap();
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("/object/conn/client_ip"), client, "{head}");
        assert_eq!(text("/object/conn/server_name"), host, "{head}");
        let header = text("/object/http/request/headers/X-Forwarded-For/0");
        assert_eq!(header, forwarded, "{head}");
    }
}

#[test]
fn a_line_of_a_container_is_the_same_event() {
    let line = r#"1.2.3.4 - - [10/Oct/2020:13:55:36 -0700] "GET /a\x22 HTTP/1.1" 200 1 "-" "x""#;
    let nginx = Format::find("nginx").unwrap();
    let plain = converted(&nginx, line.as_bytes()).unwrap();
    let docker = format!(
        "{{\"log\":{},\"stream\":\"stdout\",\"time\":\"2020-10-10T20:55:36Z\"}}",
        Value::from(format!("{line}\n"))
    );
    let cri = format!("2020-10-10T20:55:36.5+00:00 stdout F {line}");
    assert_eq!(converted(&nginx, docker.as_bytes()).unwrap(), plain);
    assert_eq!(converted(&nginx, cri.as_bytes()).unwrap(), plain);
}

#[test]
fn bytes_that_are_no_utf_8_are_escaped_and_told() {
    for (format, line) in [
        ("nginx", b"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET /\xe4\xff HTTP/1.1\" 200 1".as_slice()),
        ("caddy", b"{\"ts\":1.5,\"request\":{\"method\":\"GET\",\"uri\":\"/\xe4\xff\"},\"status\":200}"),
        ("envoy", b"[2016-04-15T20:17:00.310Z] \"GET /\xe4\xff HTTP/2\" 204 - 0 0 1 - \"-\" \"-\" \"-\" \"-\" \"-\""),
    ] {
        let event = converted(&Format::find(format).unwrap(), line).unwrap();
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["object"]["http"]["request"]["url"]["path"], r"/\xE4\xFF", "{format}");
        assert_eq!(event["object"]["proxy"]["escaped"], true, "{format}");
    }
}

#[test]
fn a_stamp_gives_an_id_that_is_the_same_again_and_the_account() {
    let line = b"1.2.3.4 - - [10/Oct/2020:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1";
    let stamp = Stamp { id: Some(7), account_id: Some("ac_\"1") };
    let mut events = [String::new(), String::new()];
    for out in &mut events {
        Format::find("nginx").unwrap().convert(line, stamp, out).unwrap();
    }
    assert_eq!(events[0], events[1]);
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert!(event["event_id"].as_str().unwrap().starts_with("ev_"));
    assert_eq!(event["account_id"], "ac_\"1");
}

/// A text with parts taken out, doubled, or put in from elsewhere: small steps from a seed.
fn mutated(lines: &[&str], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut below = |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state ^ (state >> 29)) >> 33) as usize % end.max(1)
    };
    let mut bytes = lines[below(lines.len())].as_bytes().to_vec();
    for _ in 0..=below(4) {
        let start = below(bytes.len() + 1);
        let end = (start + below(9)).min(bytes.len());
        let pieces: [&[u8]; 12] = [
            b"\"",
            b"\\",
            b" ",
            b"-",
            b"\xff",
            b"[",
            b"\\x",
            b"{",
            b"18446744073709551616",
            b"#",
            b":",
            b"/",
        ];
        let new = match below(4) {
            0 => Vec::new(),
            1 => bytes[start..end].repeat(2),
            2 => pieces[below(pieces.len())].to_vec(),
            _ => vec![below(256) as u8],
        };
        bytes.splice(start..end, new);
    }
    bytes
}

#[test]
fn no_mutated_line_breaks_a_parser_and_what_it_takes_is_an_event() {
    let lines: Vec<&str> = Format::all().flat_map(|it| it.samples()).collect();
    let mut taken = 0;
    for seed in 0..20_000 {
        let line = mutated(&lines, seed);
        for format in Format::all() {
            if let Ok(event) = converted(&format, &line) {
                // A line break inside a line is none of a log's, and JSON has it as an escape.
                check_event(&event);
                taken += 1;
            }
        }
    }
    assert!(taken > 1_000, "{taken}");
}
