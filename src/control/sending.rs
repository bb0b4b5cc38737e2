//! What a destination has beside its target, as the API writes it: batches, the time for a request, its
//! share, whether it is on.
//!
//! Values are kept as they were sent, so that an answer gives them back. What was not given is shown as it
//! is in force.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::targets;
use crate::resources::{
    BatchSettings, Destination, MAX_LINGER, MAX_TIMEOUT, MIN_TIMEOUT, Overflow, ResourceId,
    duration, show_duration, size,
};
use crate::sinks::{DEFAULT_TIMEOUT, Format, Target};

/// The members of `batch`.
pub(super) const BATCH: [&str; 3] = ["max_records", "max_bytes", "linger"];

/// Reads the time for a request: a number and a unit.
pub(super) fn timeout(name: &str, value: &Value) -> Result<Value, Refusal> {
    within(name, value, MIN_TIMEOUT..=MAX_TIMEOUT)
}

fn within(
    name: &str,
    value: &Value,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Value, Refusal> {
    let read = value.as_str().and_then(duration);
    if read.is_some_and(|it| range.contains(&it)) {
        return Ok(value.clone());
    }
    let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
    let message = format!("a time such as `500ms` or `30s`, from {least} to {most}");
    Err(Refusal::wrong_type(name, &message))
}

/// Reads a size: bytes, or a number and a unit.
pub(super) fn bytes(name: &str, value: &Value) -> Result<Value, Refusal> {
    match size_of(value) {
        Some(1..) => Ok(value.clone()),
        _ => Err(Refusal::wrong_type(name, "a number of bytes, or a size such as `64MiB`")),
    }
}

fn size_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| size(value.as_str()?))
}

/// Reads a batch; what is null is not given. The service's own limits are checked with the target.
pub(super) fn batch(name: &str, value: &Value) -> Result<Value, Refusal> {
    let members = value.as_object().ok_or_else(|| Refusal::wrong_type(name, "an object"))?;
    let mut kept = Map::new();
    for (member, value) in members {
        let place = format!("{name}.{member}");
        let value = match member.as_str() {
            _ if value.is_null() && BATCH.contains(&member.as_str()) => continue,
            "max_records" if value.as_u64().is_some_and(|it| it > 0) => value.clone(),
            "max_records" => return Err(Refusal::wrong_type(&place, "a number of records")),
            "max_bytes" => bytes(&place, value)?,
            "linger" => within(&place, value, Duration::ZERO..=MAX_LINGER)?,
            _ => return Err(Refusal::unknown(&place, &BATCH)),
        };
        kept.insert(member.clone(), value);
    }
    Ok(Value::Object(kept))
}

/// A batch as an answer shows it: for a target as it is kept, with what is in force where nothing was given.
pub(super) fn shown_batch(batch: &Value, target: &Value) -> Value {
    let in_force = targets::read_kept(target)
        .and_then(|target| batch_of(&target, batch))
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

fn batch_of(target: &Target, batch: &Value) -> Result<BatchSettings, Refusal> {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let linger = batch["linger"].as_str().and_then(duration);
    let max_records = batch["max_records"].as_u64().map(number);
    let max_bytes = size_of(&batch["max_bytes"]).map(number);
    Ok(BatchSettings::new(target, max_records, max_bytes, linger)?)
}

fn written_batch(batch: &BatchSettings) -> Map<String, Value> {
    let linger = show_duration(batch.linger);
    let members = [json!(batch.max_records), json!(batch.max_bytes), json!(linger)];
    BATCH.into_iter().map(str::to_owned).zip(members).collect()
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
    let get = |name: &str| body.get(name).unwrap_or(&Value::Null);
    Ok(Destination {
        id,
        description: get("description").as_str().unwrap_or_default().to_owned(),
        batch: batch_of(&target, get("batch"))?,
        target,
        timeout: get("timeout").as_str().and_then(duration).unwrap_or(DEFAULT_TIMEOUT),
        overflow: match get("overflow").as_str() {
            Some("drop_oldest") => Overflow::DropOldest,
            _ => Overflow::Block,
        },
        max_pending_bytes: size_of(get("max_pending_bytes")),
        enabled: get("enabled").as_bool().unwrap_or(true),
        format: Format::of_name(get("format").as_str().unwrap_or_default()),
        bounds: None,
    })
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
