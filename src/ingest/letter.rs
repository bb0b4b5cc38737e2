//! The letter for an event that was rejected and whose sender gets no answer.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::event::{Record, Rejection, Timestamp};

/// A rejected event as the journal takes it: a record whose id tells its place, and why.
pub(super) type Letter = (Arc<Record>, String);

/// The letter for a rejected event. The event is kept as a JSON string, since it may be no JSON; if
/// it is not even text, its bytes are in hexadecimal.
pub(super) fn letter(place: &str, event: &[u8], rejection: &Rejection, now: Timestamp) -> Letter {
    let body = match str::from_utf8(event) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex::encode(event) }),
    };
    let record =
        Record { event_id: place.into(), time: now, body: Bytes::from(body.to_string()), hops: 0 };
    (Arc::new(record), format!("{} ({})", rejection.message, rejection.code))
}
