//! What a destination has beside its target, as the API writes it: its terms, by their form.
//!
//! Values are kept as they were sent, so that an answer gives them back. What was not given is shown as it
//! is in force.

use serde_json::{Map, Value, json};

use super::door::{self, From};
use super::kind::{Kind, Shape};
use super::refusal::Refusal;
use super::targets;
use crate::form;
use crate::resources::{Destination, ResourceId, Terms};
use crate::sinks::Target;

/// Reads one of the terms. What is kept is what was sent, without what nobody gave.
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

/// Whether a field of a destination's body is of its terms.
fn is_term(name: &str) -> bool {
    let field = Kind::EventDestination.spec().field(name);
    name == "format" || field.is_some_and(|it| it.shape == Shape::Term)
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
    let given = body.iter().filter(|(name, value)| is_term(name) && !value.is_null());
    let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
    let terms: Terms = door::read("", &Value::Object(given), None, From::Store)?;
    let description = body.get("description").and_then(Value::as_str).unwrap_or_default();
    Ok(terms.destination(id, description.to_owned(), target)?)
}

/// The terms of a body as answers show them: what is in force where nothing was given.
pub(super) fn shown(id: &str, body: &Map<String, Value>) -> Map<String, Value> {
    let in_force = || {
        let target = targets::read_kept(body.get("target").unwrap_or(&Value::Null))?;
        destination(ResourceId::new(id)?, body, target)
    };
    let mut shown = in_force().map(|it: Destination| written(&it)).unwrap_or_default();
    for (name, given) in body.iter().filter(|(name, _)| is_term(name)) {
        match (shown.get_mut(name), given) {
            (_, Value::Null) => {}
            (Some(Value::Object(shown)), Value::Object(given)) => shown.extend(given.clone()),
            _ => drop(shown.insert(name.clone(), given.clone())),
        }
    }
    shown
}

/// The terms of a destination, in a request's words.
pub(super) fn written(destination: &Destination) -> Map<String, Value> {
    match form::whole(&Terms::from(destination)) {
        Value::Object(terms) => terms,
        _ => Map::new(),
    }
}
