//! The destinations and subscriptions that a running daemon tells over its API, put together to reckon with.
//!
//! Nothing is sent to them from here, so that secrets, which no answer has, are not needed.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::targets;
use super::world::World;
use crate::event::Catalog;
use crate::resources::Resources;
use crate::sinks::Target;
use crate::store::Row;

/// The resources of these answers, with the event types of `catalog`. A target that cannot be read without
/// its secrets stands as standard output.
///
/// # Errors
/// When an answer is not one of a daemon's, or names an event type that is not in the catalog.
pub fn resources_told(
    destinations: &[Value],
    subscriptions: &[Value],
    catalog: Catalog,
) -> Result<Resources, Refusal> {
    let row = |kind: Kind, told: &Value, body: Map<String, Value>| Row {
        kind: kind.spec().path.to_owned(),
        id: told["id"].as_str().unwrap_or_default().to_owned(),
        created_at: 0,
        body: Value::Object(body).to_string(),
    };
    let of = |told: &Value| without_nulls(told).as_object().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for told in destinations {
        let mut body = of(told);
        let target = without_identity(body.get("target").unwrap_or(&Value::Null));
        let readable = targets::read_kept(&target).is_ok();
        let target = if readable { target } else { targets::write(&Target::standard_output()) };
        body.insert("target".to_owned(), target);
        rows.push(row(Kind::EventDestination, told, body));
    }
    for told in subscriptions {
        let mut body = of(told);
        let ids = told["destinations"].as_array().into_iter().flatten();
        let ids: Vec<Value> = ids.map(|it| it["id"].clone()).collect();
        body.insert("destination_ids".to_owned(), json!(ids));
        rows.push(row(Kind::EventSubscription, told, body));
    }
    World::of_file(&Resources::new(catalog)).with_rows(rows)?.resources()
}

/// A target without who delivers: keys without their secret are no keys.
fn without_identity(target: &Value) -> Value {
    let mut target = target.clone();
    for settings in target.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Value::Object(settings) = settings {
            settings.remove("auth");
        }
    }
    target
}

/// Answers show with null what is not set.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
