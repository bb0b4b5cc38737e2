//! Mapped lines: samples give exactly their events, what is badly typed is named, and whatever a line holds, what
//! is taken of it is an event with declared fields of their types.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Catalog, Class, Declared, Field, FieldType};
use crate::formats::{Case, Format, JsonPath, MappingError, Unit};

const HTTP: &str = "http_request_complete.v0";

fn path(text: &str) -> JsonPath {
    JsonPath::parse(text).unwrap()
}

fn field(event_type: &EventType, name: &str, from: &str) -> MappedField {
    MappedField::new(event_type, name, path(from)).unwrap()
}

/// A mapping of some fields, each with its path; behind a `!` the path of one that is required.
fn mapping(event_type: &Arc<EventType>, fields: &[(&str, &str)]) -> Format {
    let fields = fields.iter().map(|(name, from)| {
        let unit = (*name == "proxy.duration_ms").then_some(Unit::Seconds);
        let bare = from.trim_start_matches('!');
        field(event_type, name, bare).taken_as(event_type, None, unit, bare != *from).unwrap()
    });
    let envelope = Envelope {
        event_timestamp: path("time"),
        event_id: Some(path("id")),
        account_id: Some(path("tenant")),
    };
    Format::mapped(Mapping::new("edge".into(), Arc::clone(event_type), envelope, fields.collect()))
}

fn http() -> Arc<EventType> {
    Arc::clone(Catalog::builtin().get(HTTP).unwrap())
}

fn converted(format: &Format, line: &str) -> Result<String, String> {
    let mut out = "before".to_owned();
    let done =
        format.convert(line.as_bytes(), Stamp { id: Some(7), account_id: Some("ac_1") }, &mut out);
    match done {
        Ok(()) => Ok(out.strip_prefix("before").unwrap().to_owned()),
        Err(misfit) => {
            assert_eq!(out, "before", "nothing is left of a line that is refused");
            Err(misfit.to_string())
        }
    }
}

#[test]
fn a_line_becomes_the_event_that_its_mapping_says() {
    let format = mapping(
        &http(),
        &[
            ("conn.client_ip", "client.address"),
            ("http.request.method", "req.verb"),
            ("http.request.url.raw", "req.uri"),
            ("http.request.headers", "req.headers"),
            ("http.response.status_code", "status"),
            ("proxy.duration_ms", "took"),
            ("proxy.upstream", "/hops/0"),
            ("tls.version", "/tls.version"),
        ],
    );
    let line = r#" {"time":1795708487.97,"id":"a-1","req":{"verb":"GET","uri":"https://Shop.example:8443/a%20b?x=1","headers":{"x-a":"B"}},"client":{"address":"198.51.100.7:4711"},"status":"502","took":0.0015,"hops":["10.0.0.1:80"],"tls.version":"TLSv1.3","other":[1,{}]}"#;
    assert_eq!(
        converted(&format, line).unwrap(),
        r#"{"event_id":"a-1","event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47.97Z","account_id":"ac_1","object":{"conn":{"client_ip":"198.51.100.7"},"http":{"request":{"headers":{"X-A":["b"]},"method":"get","url":{"host":"Shop.example","path":"/a%20b","query":"x=1","raw":"https://Shop.example:8443/a%20b?x=1","scheme":"https"}},"response":{"status_code":502}},"proxy":{"duration_ms":1.5,"name":"edge","upstream":"10.0.0.1:80"},"tls":{"version":"1.3"}}}"#
    );
    let line = r#"{"time":"2026-11-26T15:54:47+01:00","tenant":"ac_2","status":null,"took":-1,"client":"x","req":{"uri":"-"}}"#;
    let event: Value = serde_json::from_str(&converted(&format, line).unwrap()).unwrap();
    assert!(event["event_id"].as_str().unwrap().starts_with("ev_"), "{event}");
    assert_eq!(event["account_id"], "ac_2");
    assert_eq!(event["object"], json!({"proxy": {"name": "edge"}}));
}

#[test]
fn a_requests_line_fills_what_is_not_mapped_itself() {
    let format =
        mapping(&http(), &[("proxy.request_line", "!request"), ("http.request.url.host", "host")]);
    let of = |request: &str| {
        let line = json!({"time": 1, "host": "shop.example", "request": request}).to_string();
        let event: Value = serde_json::from_str(&converted(&format, &line).unwrap()).unwrap();
        event["object"].clone()
    };
    assert_eq!(
        of("POST /a?b HTTP/2.0"),
        json!({
            "http": {"request": {"method": "post", "url": {"host": "shop.example", "path": "/a", "query": "b", "raw": "/a?b"}}},
            "proxy": {"name": "edge", "protocol": "HTTP/2.0"},
        })
    );
    assert_eq!(
        of("\u{16}garbage"),
        json!({
            "http": {"request": {"url": {"host": "shop.example"}}},
            "proxy": {"name": "edge", "request_line": "\u{16}garbage"},
        })
    );
    assert_eq!(
        converted(&format, r#"{"time":1}"#).unwrap_err(),
        "expected a value at `request`, for `proxy.request_line`, at byte 0"
    );
}

#[test]
fn what_is_missing_or_badly_typed_is_named() {
    let format = mapping(
        &http(),
        &[
            ("http.response.status_code", "!res.status"),
            ("conn.client_ip", "ip"),
            ("conn.start_ts", "begun"),
        ],
    );
    for (line, said) in [
        (r#"{"res":{"status":1}}"#, "expected a value at `time`, for `event_timestamp`, at byte 0"),
        (
            r#"{"time":"soon","res":{"status":1}}"#,
            "expected a time at `time`, for `event_timestamp`, not \"soon\", at byte 8",
        ),
        (
            r#"{"time":1}"#,
            "expected a value at `res.status`, for `http.response.status_code`, at byte 0",
        ),
        (
            r#"{"time":1,"res":{"status": "OK"}}"#,
            "expected a whole number at `res.status`, for `http.response.status_code`, not \"OK\", at byte 27",
        ),
        (
            r#"{"time":1,"res":{"status":2},"ip":{"v4":["198.51.100.7"],"v6":"2001:db8::1"}}"#,
            "expected a text at `ip`, for `conn.client_ip`, not {\"v4\":[\"198.51.100.7\"],\"v6\":\"2001:db8::1…, at byte 34",
        ),
        (
            r#"{"time":1,"res":{"status":2},"begun":true}"#,
            "expected a time at `begun`, for `conn.start_ts`, not true, at byte 37",
        ),
        (
            r#"{"time":1,"res":{"status":2},"id":{}}"#,
            "expected a text of at most 256 bytes at `id`, for `event_id`, not {}, at byte 34",
        ),
        (r#"{"time":1,"res":{"status":2}"#, "expected `,` or `}` at byte 28"),
        ("time=1", "expected a JSON object at byte 0"),
    ] {
        assert_eq!(converted(&format, line).unwrap_err(), said, "{line}");
    }
}

#[test]
fn what_the_catalog_does_not_have_is_refused() {
    let event_type = http();
    let refused = |name: &str, case, unit| {
        let made = MappedField::new(&event_type, name, path("x"))
            .and_then(|it| it.taken_as(&event_type, case, unit, false));
        let error: MappingError = made.unwrap_err();
        (error.to_string(), error.help())
    };
    assert_eq!(
        refused("http.response.status", None, None),
        (
            format!("`{HTTP}` has no field `http.response.status`"),
            Some("did you mean `http.response.status_code`?".to_owned())
        )
    );
    assert_eq!(refused("http.response", None, None).0, "`http.response` is a group of fields");
    assert_eq!(
        refused("http.response.status_code", Some(Case::Lower), None).0,
        "`case` is for texts, and `http.response.status_code` is of the type int"
    );
    assert_eq!(
        refused("conn.client_ip", None, Some(Unit::Seconds)).0,
        "`unit` is for spans of time, and `conn.client_ip` is of the type string"
    );
}

#[test]
fn bytes_that_are_no_utf_8_are_escaped_and_told() {
    let format = mapping(&http(), &[("http.request.url.raw", "uri")]);
    let mut out = String::new();
    format.convert(b"{\"time\":1,\"uri\":\"/\xff\"}", Stamp::default(), &mut out).unwrap();
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["object"]["http"]["request"]["url"]["path"], r"/\xFF");
    assert_eq!(event["object"]["proxy"], json!({"escaped": true, "name": "edge"}));
}

/// A type with a field of every type of the catalog.
fn every_type() -> Arc<EventType> {
    let types = [
        "bool",
        "int",
        "double",
        "string",
        "timestamp",
        "duration",
        "list(string)",
        "map(string, int)",
        "list(map(string, list(timestamp)))",
    ];
    let field = |(at, text): (usize, &&str)| Field {
        name: format!("g{}.f{at}", at % 2),
        field_type: FieldType::parse(text).unwrap(),
        description: String::new(),
    };
    Arc::new(EventType {
        name: "anything.v0".to_owned(),
        class: Class::Custom,
        description: String::new(),
        fields: types.iter().enumerate().map(field).collect(),
    })
}

fn is_of(value: &Value, field_type: &FieldType) -> bool {
    let is_text = |parse: fn(&str) -> bool| value.as_str().is_some_and(parse);
    match field_type {
        FieldType::Bool => value.is_boolean(),
        FieldType::Int => value.is_i64(),
        FieldType::Double => value.is_number(),
        FieldType::String => value.is_string(),
        FieldType::Timestamp => is_text(|it| crate::event::Timestamp::parse(it).is_some()),
        FieldType::Duration => is_text(|it| it.ends_with("ms")),
        FieldType::List(item) => {
            value.as_array().is_some_and(|it| it.iter().all(|it| is_of(it, item)))
        }
        FieldType::Map(item) => {
            value.as_object().is_some_and(|it| it.values().all(|it| is_of(it, item)))
        }
        FieldType::Dyn => true,
    }
}

fn theirs() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("2026-11-26 15:54:47,5 +0100"),
            Just("-"),
            Just("1.5ms"),
            Just("12"),
            Just("1e3"),
            Just("true"),
            Just("é\"\\\n"),
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-b\"]{1,2}", inner), 0..3)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_line_holds_what_is_taken_of_it_has_the_types_of_the_catalog(
        values in prop::collection::vec(theirs(), 9),
    ) {
        let event_type = every_type();
        for (at, value) in values.iter().enumerate() {
            let name = event_type.fields[at].name.clone();
            let format = mapping(&event_type, &[(&name, "x")]);
            let line = json!({"time": 1, "x": value}).to_string();
            let Ok(event) = converted(&format, &line) else { continue };
            prop_assert!(!event.contains('\n'));
            let event: Value = serde_json::from_str(&event).unwrap();
            let Declared::Field(declared) = event_type.declared(&name) else { panic!("{name}") };
            let pointer = format!("/object/{}", name.replace('.', "/"));
            if let Some(made) = event.pointer(&pointer) {
                prop_assert!(is_of(made, &declared.field_type), "{} is no {}", made, declared.field_type);
            }
        }
    }

    #[test]
    fn no_mutated_line_breaks_the_reader(line in "[{}\\[\\]\":,a-c0-9\\\\ eE.-]{0,60}") {
        let format = mapping(&http(), &[("http.response.status_code", "a.b"), ("conn.client_ip", "c")]);
        if let Ok(event) = converted(&format, &line) {
            let event: Value = serde_json::from_str(&event).unwrap();
            prop_assert!(event["object"].is_object());
        }
    }
}
