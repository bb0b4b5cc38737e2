//! The description of the routes by which a daemon is worked on: what it delivers, what it set aside, what it
//! reads again.

use serde_json::{Map, Value, json};

use super::{listing, operation, path_parameter, reference, with_body};

pub(super) fn paths() -> Map<String, Value> {
    let any = || Some(json!({"type": "object"}));
    let id = || path_parameter("id");
    let paths = json!({
        "/event_destinations/{id}/check": {
            "parameters": [id()],
            "post": operation("check_destination", "Look at what stands between a destination and its service; sends no event", ("200", any())),
        },
        "/dead_letters": {"get": dead_letters()},
        "/dead_letters/{id}": {
            "parameters": [id()],
            "get": operation("get_dead_letter", "One dead letter with its whole record", ("200", any())),
        },
        "/dead_letters/redrive": {
            "post": with_body(
                operation("redrive", "Send dead letters to their destinations again, for some seconds; `after` says where the next request goes on", ("200", any())),
                &letters(), true),
        },
        "/dead_letters/purge": {
            "post": with_body(
                operation("purge", "Throw dead letters away, for some seconds; `after` says where the next request goes on", ("200", any())),
                &letters(), true),
        },
        "/journal/forget": {
            "post": with_body(
                operation("forget", "Let go of what waits for a destination that has gone", ("200", any())),
                &json!({"type": "object", "required": ["destination_id"], "properties": {"destination_id": text()}}), true),
        },
        "/replay": {
            "post": with_body(
                operation("replay", "Send what the journal still holds for a destination again, for some seconds; `after` says where the next request goes on", ("200", any())),
                &replay(), true),
        },
        "/dead_letters/bury": {
            "post": with_body(
                operation("bury", "Give up the records of an event that a destination has set aside: they become dead letters", ("200", Some(reference("buried")))),
                &reference("bury"), true),
        },
        "/daemons": {"get": daemons()},
        "/drain": {
            "post": operation("drain", "Take nothing more, deliver what is pending, and end, as SIGTERM does; answers at once", ("200", any())),
        },
        "/reload": {
            "post": operation("reload", "Read the settings file again; the header `sluicegate-confirm-removal: true` lets it take most of what runs away", ("200", any())),
        },
    });
    match paths {
        Value::Object(paths) => paths,
        _ => Map::new(),
    }
}

fn text() -> Value {
    json!({"type": "string"})
}

/// Which letters are meant.
fn letters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ids": {"type": "array", "items": text()},
            "destination_id": text(),
            "reason": text(),
            "older_than": text(),
            "newer_than": text(),
            "all": {"type": "boolean"},
            "after": {"type": ["object", "null"], "additionalProperties": {"type": "integer"}},
        },
    })
}

/// Which records are meant.
fn replay() -> Value {
    json!({
        "type": "object",
        "required": ["destination_id", "since"],
        "properties": {
            "destination_id": text(),
            "since": text(),
            "until": text(),
            "filter": text(),
            "types": {"type": "array", "items": text()},
            "rate": {"type": "integer", "minimum": 1},
            "dry_run": {"type": "boolean"},
            "after": {"type": ["integer", "null"]},
        },
    })
}

/// The list of dead letters, the newest first.
fn dead_letters() -> Value {
    let mut letters = listing("dead_letters", "dead_letters", &json!({"type": "object"}));
    if let Some(Value::Array(parameters)) = letters.get_mut("parameters") {
        parameters.retain(|it| it["name"] != "filter");
        let more = ["destination_id", "reason", "older_than", "newer_than"];
        parameters.extend(more.map(|name| json!({"name": name, "in": "query", "schema": text()})));
    }
    Value::Object(letters)
}

/// The list of daemons, by name.
fn daemons() -> Value {
    let mut daemons = listing("daemons", "daemons", &json!({"type": "object"}));
    daemons
        .insert("summary".to_owned(), json!("The daemons that share this control plane, by name"));
    if let Some(Value::Array(parameters)) = daemons.get_mut("parameters") {
        // A daemon is no resource, and no expression chooses it.
        parameters.retain(|it| it["name"] != "filter");
    }
    Value::Object(daemons)
}
