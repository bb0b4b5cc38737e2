//! How much memory what was made through the API takes, by what it is made of, so that all of it together
//! stays within `control.max_memory`.
//!
//! It counts and refuses; what was taken once stays, also where the setting has become less.

use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use crate::resources::{DESTINATION_BYTES, show_size, source_bytes, subscription_bytes};

/// Most bytes that the filters of one subscription may have together: a hundred of a page each.
const MAX_FILTERS: usize = 256 << 10;

/// Most destinations that may be gone and still have records: each takes what a destination takes, and goes on until
/// it has delivered them.
const MAX_LINGERING: usize = 100;

/// A resource in its list, with its id, apart from its fields.
const OBJECT: usize = 512;

/// A value of JSON, apart from its text.
const VALUE: usize = 96;

/// What a resource takes, in bytes.
pub(super) fn bytes_of(kind: Kind, body: &Map<String, Value>) -> usize {
    let made_of_it = match kind {
        Kind::EventDestination => DESTINATION_BYTES,
        Kind::EventSubscription => subscription_bytes(sources(body).map(|source| {
            let fields = source["fields"].as_array().map_or(0, Vec::len);
            source_bytes(filter_of(source), fields)
        })),
        _ => 0,
    };
    OBJECT + fields_bytes(body) + made_of_it
}

/// Refuses a subscription whose filters are too long together.
pub(super) fn check_filters(body: &Map<String, Value>) -> Result<(), Refusal> {
    let filters: usize = sources(body).map(filter_of).sum();
    if filters <= MAX_FILTERS {
        return Ok(());
    }
    let message = format!(
        "the filters of a subscription may have {MAX_FILTERS} bytes together, and these have {filters}: \
         make several subscriptions of it"
    );
    Err(Refusal::invalid("ERR_SLUICEGATE_1361", message))
}

/// The sources up to those whose filters are too long together.
pub(super) fn within_filters(sources: &[Value]) -> impl Iterator<Item = &Value> {
    let mut filters = 0;
    sources.iter().take_while(move |source| {
        filters += filter_of(source);
        filters <= MAX_FILTERS
    })
}

/// Refuses another destination where so many are gone that still have records.
pub(super) fn check_lingering(lingering: usize) -> Result<(), Refusal> {
    if lingering < MAX_LINGERING {
        return Ok(());
    }
    let message = format!(
        "{lingering} destinations were deleted and still have records that wait: have those taken, or turn \
         destinations off in place of deleting them"
    );
    Err(Refusal::invalid("ERR_SLUICEGATE_1372", message))
}

/// Refuses what makes more of all together than may be.
pub(super) fn check_all(before: usize, after: usize, max: usize) -> Result<(), Refusal> {
    if after <= max.max(before) {
        return Ok(());
    }
    let message = format!(
        "what was made through the API would take {} of memory, and may take {} (`control.max_memory`): \
         delete what is not needed, or shorten filters",
        show_size(after as u64),
        show_size(max as u64),
    );
    Err(Refusal::invalid("ERR_SLUICEGATE_1360", message))
}

/// About the bytes of an answer's fields.
pub(super) fn answer_bytes(answer: &Map<String, Value>) -> usize {
    OBJECT + fields_bytes(answer)
}

fn sources(body: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    body.get("sources").and_then(Value::as_array).into_iter().flatten()
}

fn filter_of(source: &Value) -> usize {
    source["filter"].as_str().map_or(0, str::len)
}

fn fields_bytes(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| VALUE + name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| VALUE + value_bytes(item)).sum(),
        Value::Object(fields) => fields_bytes(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
