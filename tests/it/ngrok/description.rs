//! ngrok's own description of its API, where it is at hand: every body in it is one that is taken here.
//!
//! The file is named by `NGROK_OPENAPI`, by default `../shared/reference/ngrok-openapi.yaml`. Without it
//! the tests say so and pass.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::Daemon;

/// ngrok's description, if it is at hand.
fn description() -> Option<Value> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference/ngrok-openapi.yaml");
    let path = std::env::var("NGROK_OPENAPI").unwrap_or_else(|_| default.to_owned());
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: ngrok's OpenAPI file is not at {path}");
        return None;
    };
    let mut parser = Parser::new_from_str(&text);
    let mut next = || parser.next_event().unwrap().unwrap().0;
    while !matches!(next(), Event::DocumentStart(_)) {}
    let first = parser.next_event().unwrap().unwrap().0;
    Some(node(&mut parser, first))
}

fn node<'t>(parser: &mut Parser<'t, StrInput<'t>>, event: Event<'t>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => {
            serde_json::from_str(&text).unwrap_or_else(|_| json!(text))
        }
        Event::Scalar(text, ..) => json!(text),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match parser.next_event().unwrap().unwrap().0 {
                    Event::SequenceEnd => return Value::Array(items),
                    item => items.push(node(parser, item)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut members = Map::new();
            loop {
                let key = match parser.next_event().unwrap().unwrap().0 {
                    Event::MappingEnd => return Value::Object(members),
                    Event::Scalar(key, ..) => key.into_owned(),
                    other => panic!("{other:?} is no key"),
                };
                let value = parser.next_event().unwrap().unwrap().0;
                members.insert(key, node(parser, value));
            }
        }
        other => panic!("{other:?} is no value"),
    }
}

/// A schema with what it refers to in its place.
fn resolved<'d>(schema: &'d Value, whole: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(to) => resolved(whole.pointer(&to[1..]).unwrap(), whole),
        None => schema,
    }
}

/// A path with one name for each thing in it.
fn path_here(path: &str) -> String {
    path.replace("{subscription_id}", "{id}")
}

/// The bodies of the requests to what is there here too: the method, the path, the schema.
fn bodies<'d>(theirs: &'d Value, here: &Value) -> Vec<(String, String, &'d Value)> {
    let mut found = Vec::new();
    for (path, methods) in theirs["paths"].as_object().unwrap() {
        let path = path_here(path);
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !here["paths"][&path][method].is_null() && !schema.is_null() {
                found.push((method.to_uppercase(), path.clone(), resolved(schema, theirs)));
            }
        }
    }
    assert_eq!(found.len(), 26, "twelve kinds and the sources are made and changed: {found:?}");
    found
}

/// Fails on a member of their schema that ours does not have.
fn hold(place: &str, (theirs, their_whole): (&Value, &Value), (ours, our_whole): (&Value, &Value)) {
    let (theirs, ours) = (resolved(theirs, their_whole), resolved(ours, our_whole));
    if let (Value::Object(_), Value::Object(_)) = (&theirs["items"], &ours["items"]) {
        hold(place, (&theirs["items"], their_whole), (&ours["items"], our_whole));
    }
    // An object of which our description names no member takes what its own rules take.
    let Some(known) = ours["properties"].as_object() else { return };
    for (name, member) in theirs["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        let ours = known.get(name).unwrap_or_else(|| panic!("{place} is not taken here"));
        hold(&place, (member, their_whole), (ours, our_whole));
    }
}

#[test]
fn every_member_of_ngroks_request_bodies_is_one_of_ours() {
    let Some(theirs) = description() else { return };
    let daemon = Daemon::start(UNLIMITED);
    let ours = Client::new(&daemon).must("GET /openapi.json", &Value::Null);
    for (method, path, schema) in bodies(&theirs, &ours) {
        let operation = &ours["paths"][&path][method.to_lowercase()];
        let of_ours = &operation["requestBody"]["content"]["application/json"]["schema"];
        hold(&format!("{method} {path}"), (schema, &theirs), (of_ours, &ours));
    }
}

/// A body with every member that the schema names, null where nothing is given: what .NET sends.
fn whole(schema: &Value, given: &Value) -> Value {
    let mut body = Map::new();
    for name in schema["properties"].as_object().unwrap().keys() {
        body.insert(name.clone(), given[name].clone());
    }
    Value::Object(body)
}

/// The least that each kind is made with.
fn least(path: &str, client: &Client<'_>) -> Value {
    let policy = || id(&client.must("POST /ip_policies", &json!({})));
    match path {
        "/agent_ingresses" | "/reserved_domains" => json!({"domain": "a.example.net"}),
        "/bot_users" | "/service_users" => json!({"name": path}),
        "/event_destinations" => json!({"format": "json", "target": {"debug": {"log": false}}}),
        "/event_subscriptions" => json!({"sources": [{"type": "ip_policy_updated.v0"}]}),
        "/event_subscriptions/{id}/sources" => json!({"type": "ip_policy_created.v0"}),
        "/ip_policy_rules" => {
            json!({"cidr": "203.0.113.0/24", "ip_policy_id": policy(), "action": "allow"})
        }
        "/ip_restrictions" => json!({"type": "endpoints", "ip_policy_ids": [policy()]}),
        _ => json!({}),
    }
}

#[test]
fn bodies_with_null_for_all_that_was_not_given_make_and_change() {
    let Some(theirs) = description() else { return };
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let ours = client.must("GET /openapi.json", &Value::Null);
    let bodies = bodies(&theirs, &ours);
    let subscription = id(&client.must("POST /event_subscriptions", &json!({})));
    for (_, path, schema) in bodies.iter().filter(|(method, ..)| method == "POST") {
        let line = path.replace("{id}", &subscription);
        let made = client.must(&format!("POST {line}"), &whole(schema, &least(path, &client)));
        let is_source = path.ends_with("/sources");
        let key = if is_source { made["type"].as_str().unwrap().to_owned() } else { id(&made) };
        let item = format!("{path}/{}", if is_source { "{type}" } else { "{id}" });
        let change = bodies.iter().find(|(method, it, _)| method == "PATCH" && *it == item);
        let (.., schema) = change.unwrap_or_else(|| panic!("no update of {path}"));
        let kept = client.must(&format!("GET {line}/{key}"), &Value::Null);
        let same = json!({"id": key, "description": "", "name": made["name"]});
        let changed = client.must(&format!("PATCH {line}/{key}"), &whole(schema, &same));
        assert_eq!(changed, kept, "PATCH {path}");
    }
}
