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
