//! What a destination has beside its target, as the API writes it: batches, the time for a request, its
//! share, whether it is on.
//!
//! Values are kept as they were sent, so that an answer gives them back. What was not given is shown as it
//! is in force.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::door::{self, From};
use super::refusal::Refusal;
use super::targets;
use crate::form::describe;
use crate::resources::{BatchSettings, Destination, Overflow, ResourceId, Terms, show_duration};
use crate::sinks::{DEFAULT_TIMEOUT, Target};

/// The names that the form of these settings asks for.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let described = describe::<Terms>(true)["properties"].take();
    described.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
});

/// Reads one of these settings by their form. What is kept is what was sent, without what nobody gave.
pub(super) fn read(name: &str, value: &Value) -> Result<Value, Refusal> {
    let given: Map<String, Value> = [(name.to_owned(), value.clone())].into_iter().collect();
    door::read::<Terms>("", &Value::Object(given), None, From::Request)?;
    Ok(match value {
        Value::Object(members) => {
            let is_given = |value: &Value| !value.is_null() && *value != json!("");
            let given = members.iter().filter(|(_, value)| is_given(value));
            given.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Value::String(text) if text.is_empty() => Value::Null,
        given => given.clone(),
    })
}

/// These settings of a destination's body.
fn terms(body: &Map<String, Value>) -> Result<Terms, Refusal> {
    let given = body.iter().filter(|(name, value)| NAMES.contains(name) && !value.is_null());
    let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
    door::read("", &Value::Object(given), None, From::Store)
}

/// A batch as an answer shows it: for a target as it is kept, with what is in force where nothing was given.
pub(super) fn shown_batch(batch: &Value, target: &Value) -> Value {
    let body: Map<String, Value> = [("batch".to_owned(), batch.clone())].into_iter().collect();
    let in_force = targets::read_kept(target)
        .and_then(|target| Ok(terms(&body)?.batch_for(&target)?))
        .map(|it| written_batch(&it));
    let mut shown = in_force.unwrap_or_default();
    shown.extend(batch.as_object().cloned().unwrap_or_default());
    Value::Object(shown)
}

/// The time for a request as an answer shows it.
pub(super) fn shown_timeout(timeout: &Value) -> Value {
    match timeout {
        Value::Null => json!(show_duration(DEFAULT_TIMEOUT)),
        given => given.clone(),
    }
}

fn written_batch(batch: &BatchSettings) -> Map<String, Value> {
    let linger = show_duration(batch.linger);
    let members = [
        ("max_records", json!(batch.max_records)),
        ("max_bytes", json!(batch.max_bytes)),
        ("linger", json!(linger)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The destination of a body, for its target.
///
/// # Errors
/// When the target's service does not take such batches.
pub(super) fn destination(
    id: ResourceId,
    body: &Map<String, Value>,
    target: Target,
) -> Result<Destination, Refusal> {
    let description = body.get("description").and_then(Value::as_str).unwrap_or_default();
    Ok(terms(body)?.destination(id, description.to_owned(), target)?)
}

/// The same of a destination of the settings file, in a request's words.
pub(super) fn written(destination: &Destination) -> Map<String, Value> {
    let overflow = match destination.overflow {
        Overflow::Block => "block",
        Overflow::DropOldest => "drop_oldest",
    };
    let fields = [
        ("batch", Value::Object(written_batch(&destination.batch))),
        ("timeout", json!(show_duration(destination.timeout))),
        ("overflow", json!(overflow)),
        ("max_pending_bytes", json!(destination.max_pending_bytes)),
        ("enabled", json!(destination.enabled)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
