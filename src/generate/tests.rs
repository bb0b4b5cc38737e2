//! What the generator promises, held over thousands of events of every type.

use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::event::{Catalog, Declared, Event, FieldType, JsonCursor, string_value};

/// Fields that the API leaves empty as `null`, whatever their type.
const NULLABLE: [&str; 9] = [
    "token",
    "owner_id",
    "issued_at",
    "cname_target",
    "acme_challenge_cname_target",
    "aws_secret_access_key",
    "api_key",
    "client_secret",
    "credential",
];

fn start() -> Timestamp {
    Timestamp::parse("2025-09-04T10:00:00Z").unwrap()
}

fn built_in(name: &str) -> Arc<EventType> {
    Arc::clone(Catalog::builtin().get(name).unwrap())
}

/// A user's type with every kind of field, and one whose groups are torn apart.
fn custom() -> Arc<EventType> {
    let field = |(name, field_type): (&str, &str)| Field {
        name: name.to_owned(),
        field_type: FieldType::parse(field_type).unwrap(),
        description: String::new(),
    };
    let fields = [
        ("order.id", "string"),
        ("paid", "bool"),
        ("order.total", "double"),
        ("order.buyer.email", "string"),
        ("items", "list(map(string, int))"),
        ("order.count", "int"),
        ("placed", "timestamp"),
        ("order.buyer.client_ip", "string"),
        ("took", "duration"),
        ("shop_url", "string"),
        ("shop_host", "string"),
        ("note", "string"),
        ("extra", "dyn"),
        ("tags", "map(string, list(string))"),
    ];
    Arc::new(EventType {
        name: "order_placed.v0".to_owned(),
        class: Class::Custom,
        description: String::new(),
        fields: fields.map(field).into(),
    })
}

fn text(event_type: &Arc<EventType>, seed: u64, start: Timestamp, count: usize) -> String {
    Generator::new(event_type, seed, start).take(count).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Event<'_> {
    Event::parse(text, Timestamp::MIN, || panic!("{text} has no id")).unwrap()
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// The paths of an object's fields, in the order in which they are written.
fn paths(event_type: &EventType, group: &str, json: &str, found: &mut Vec<String>) {
    let mut cursor = JsonCursor::new(json);
    cursor.next_token();
    let mut more = cursor.enter(b'{', b'}').unwrap();
    while more {
        let path = format!("{group}{}", cursor.key().unwrap());
        let value = cursor.value(0).unwrap();
        match event_type.declared(&path) {
            Declared::Group => paths(event_type, &format!("{path}."), value, found),
            Declared::Field(_) => found.push(path),
            Declared::Nothing => panic!("{path} of {} is not declared", event_type.name),
        }
        more = cursor.more(b'}').unwrap();
    }
}

fn has_type(value: &Value, field_type: &FieldType) -> bool {
    match field_type {
        FieldType::Bool => value.is_boolean(),
        FieldType::Int => value.is_i64(),
        FieldType::Double => value.is_f64(),
        FieldType::String => value.is_string(),
        FieldType::Timestamp => value.as_str().and_then(Timestamp::parse).is_some(),
        FieldType::Duration => value.as_str().is_some_and(|text| text.ends_with('s')),
        FieldType::List(item) => {
            value.as_array().is_some_and(|items| items.iter().all(|value| has_type(value, item)))
        }
        FieldType::Map(item) => {
            value.as_object().is_some_and(|map| map.values().all(|value| has_type(value, item)))
        }
        FieldType::Dyn => true,
    }
}

#[test]
fn the_same_seed_and_start_give_the_same_bytes_and_others_give_others() {
    for event_type in Catalog::builtin().iter().chain([&custom()]) {
        let first = text(event_type, 7, start(), 20);
        assert_eq!(first, text(event_type, 7, start(), 20));
        assert_ne!(first, text(event_type, 8, start(), 20));
        assert_ne!(first, text(event_type, 7, Timestamp { seconds: 0, nanos: 0 }, 20));
    }
}

#[test]
fn the_bytes_never_change_silently() {
    let http = text(&built_in("http_request_complete.v0"), 1, start(), 1);
    assert_eq!(http, include_str!("golden_http.json").trim_end());
    let mut all = String::new();
    for event_type in Catalog::builtin().iter().chain([&custom()]) {
        all += &text(event_type, 1, start(), 100);
    }
    assert_eq!(random::hash(&all), 2_304_734_923_453_265_273);
}

#[test]
fn every_event_of_every_type_is_an_event_with_its_declared_fields_in_their_order() {
    for event_type in Catalog::builtin().iter().chain([&custom()]) {
        let mut seen = HashSet::new();
        let order = grouped(event_type);
        for text in Generator::new(event_type, 3, start()).take(250) {
            let event = parse(&text);
            assert_eq!(event.event_type, event_type.name);
            assert_eq!(event.principal.is_some(), audit::is_resource(&event_type.name));
            let id = string_value(&event.event_id).unwrap();
            let ids = [0, u128::MAX].map(|random| ksuid("ev", event.time, random));
            assert!(*ids[0] <= *id && *id <= *ids[1], "{id} is not of {}", event.time);
            assert_eq!(event.time.nanos, 0);
            let mut found = Vec::new();
            paths(event_type, "", event.object, &mut found);
            let mut expected = order.iter().map(|field| &field.name);
            for path in &found {
                assert!(expected.any(|name| name == path), "{path} is out of order in {text}");
            }
            let object = value(event.object);
            for path in found {
                let value = &object[path.split('.').next().unwrap()];
                let value = path.split('.').skip(1).fold(value, |value, name| &value[name]);
                let Declared::Field(field) = event_type.declared(&path) else { unreachable!() };
                let leaf = path.rsplit('.').next().unwrap();
                let is_null = value.is_null() && NULLABLE.contains(&leaf);
                assert!(is_null || has_type(value, &field.field_type), "{path} in {text}");
                seen.insert(path);
            }
        }
        // A session that has just begun has not ended.
        if event_type.name == "agent_session_start.v0" {
            seen.insert("stopped_at".to_owned());
        }
        // Only other proxies' access logs fill `proxy`.
        let unseen = event_type.fields.iter().filter(|field| !field.name.starts_with("proxy."));
        let unseen = unseen.filter(|field| !seen.contains(&field.name));
        assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&Field>::new(), "{}", event_type.name);
    }
}

#[test]
fn the_envelopes_keys_come_in_the_order_of_the_documentation() {
    let audit = text(&built_in("ip_policy_created.v0"), 1, start(), 1);
    let keys = ["{\"event_id\":\"ev_", ",\"event_type\":", ",\"event_timestamp\":"]
        .into_iter()
        .chain([",\"account_id\":\"ac_", ",\"principal\":{\"id\":", ",\"object\":{\"id\":\"ipp_"]);
    let places = keys.map(|key| audit.find(key)).collect::<Vec<_>>();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{audit}");
}

#[test]
fn http_requests_have_the_promised_size_and_mix_of_statuses() {
    let count = 20_000;
    let (mut bytes, mut classes) = (0, [0; 6]);
    for text in Generator::new(&built_in("http_request_complete.v0"), 5, start()).take(count) {
        bytes += text.len();
        let (_, status) = text.split_once("\"status_code\":").unwrap();
        classes[status[..1].parse::<usize>().unwrap()] += 1;
    }
    let mean = bytes / count;
    assert!((1_178..=1_382).contains(&mean), "{mean} bytes");
    let [_, _, fine, moved, refused, failed] = classes.map(|class| class * 1_000 / count);
    assert!((910..=930).contains(&fine), "{fine} ‰ 2xx");
    assert!((15..=25).contains(&moved), "{moved} ‰ 3xx");
    assert!((35..=45).contains(&refused), "{refused} ‰ 4xx");
    assert!((15..=25).contains(&failed), "{failed} ‰ 5xx");
}

#[test]
fn tcp_connections_take_about_half_a_kibibyte() {
    let count = 20_000;
    let events = Generator::new(&built_in("tcp_connection_closed.v0"), 5, start()).take(count);
    let mean = events.map(|event| event.len()).sum::<usize>() / count;
    assert!((512..=717).contains(&mean), "{mean} bytes");
}

#[test]
fn the_parts_of_a_request_agree() {
    for text in Generator::new(&built_in("http_request_complete.v0"), 6, start()).take(2_000) {
        let object = &value(&text)["object"];
        let (conn, request) = (&object["conn"], &object["http"]["request"]);
        let part = |name: &str| request["url"][name].as_str().unwrap();
        let mark = if part("query").is_empty() { "" } else { "?" };
        let whole =
            format!("{}://{}{}{mark}{}", part("scheme"), part("host"), part("path"), part("query"));
        assert_eq!(part("raw"), whole);
        assert_eq!(conn["server_name"], request["url"]["host"]);
        assert_eq!(conn["server_port"] == 443, object["tls"].is_object());
        assert_eq!(conn["server_port"] == 443, object["ja4_fingerprint"].is_string());
        let method = request["method"].as_str().unwrap();
        assert_eq!(method, method.to_lowercase());
        for headers in [&request["headers"], &object["http"]["response"]["headers"]] {
            for (name, values) in headers.as_object().unwrap() {
                assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
                let values = values.to_string();
                assert_eq!(values, values.to_lowercase());
            }
        }
        for module in ["basic_auth", "circuit_breaker", "ip_policy", "oauth"] {
            let decision = &object[module]["decision"];
            let known = ["allow", "block", "allow_while_open", "invalid"];
            assert!(decision.is_null() || known.iter().any(|known| decision == known), "{text}");
            let status = object["http"]["response"]["status_code"].as_u64().unwrap();
            assert!(decision != "block" || [401, 403, 503].contains(&status), "{text}");
        }
    }
}

#[test]
fn requests_are_as_varied_as_real_ones() {
    let (mut clients, mut hosts, mut urls) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut rare = [0; 6];
    let count = 5_000;
    for text in Generator::new(&built_in("http_request_complete.v0"), 9, start()).take(count) {
        let object = &value(&text)["object"];
        let request = &object["http"]["request"];
        let features = [
            !text.is_ascii(),
            text.contains("\\\\"),
            object["conn"]["client_ip"].as_str().unwrap().contains(':'),
            request["url"]["query"] == "",
            object["tls"]["client_cert"].is_object(),
            object.get("ip_policy").is_none(),
        ];
        for (times, is_there) in rare.iter_mut().zip(features) {
            *times += usize::from(is_there);
        }
        clients.insert(object["conn"]["client_ip"].to_string());
        hosts.insert(request["url"]["host"].to_string());
        urls.insert(request["url"]["raw"].to_string());
    }
    for times in rare {
        assert!((count / 100..count * 3 / 4).contains(&times), "{rare:?}");
    }
    assert!(clients.len() > 1_800, "{} clients", clients.len());
    assert!(hosts.len() > 1_500, "{} hosts", hosts.len());
    assert!(urls.len() > 4_500, "{} URLs", urls.len());
}

#[test]
fn time_begins_at_the_start_and_advances_by_up_to_two_milliseconds() {
    let mut before = start();
    let events = Generator::new(&built_in("tcp_connection_closed.v0"), 2, start());
    for (at, text) in events.take(5_000).enumerate() {
        let event = value(&text);
        let end = event["object"]["conn"]["end_ts"].as_str().unwrap();
        let end = Timestamp::parse(end).unwrap();
        assert_eq!(event["event_timestamp"], end.whole_seconds().to_string());
        let (earliest, latest) =
            if at == 0 { (start(), start()) } else { (before, later(before, 2_000_000)) };
        assert!(earliest <= end && end <= latest, "{end} is not within {earliest} and {latest}");
        before = end;
    }
    assert!(before >= later(start(), 4_500_000_000), "{before}");
}

#[test]
fn instants_stay_within_what_rfc_3339_can_say() {
    for start in [Timestamp::MIN, Timestamp::MAX, Timestamp { seconds: i64::MIN, nanos: 0 }] {
        for event_type in Catalog::builtin().iter().chain([&custom()]) {
            for text in Generator::new(event_type, 1, start).take(3) {
                parse(&text);
            }
        }
    }
    let time = Timestamp { seconds: 10, nanos: 1 };
    assert_eq!(earlier(time, 2), Timestamp { seconds: 9, nanos: 999_999_999 });
    assert_eq!(earlier(time, 1), Timestamp { seconds: 10, nanos: 0 });
    assert_eq!(later(time, 999_999_998), Timestamp { seconds: 10, nanos: 999_999_999 });
    assert_eq!(later(time, 1_999_999_999), Timestamp { seconds: 12, nanos: 0 });
    assert_eq!(earlier(Timestamp::MIN, 1), Timestamp::MIN);
    assert_eq!(later(Timestamp::MAX, 1), Timestamp::MAX);
}

#[test]
fn fields_of_one_group_are_brought_together() {
    let names = grouped(&custom()).into_iter().map(|field| field.name).collect::<Vec<_>>();
    assert_eq!(
        names[..6],
        [
            "order.id",
            "order.total",
            "order.buyer.email",
            "order.buyer.client_ip",
            "order.count",
            "paid"
        ]
    );
}
