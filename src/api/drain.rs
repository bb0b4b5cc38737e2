//! `POST /drain`: has the daemon take nothing more, deliver what is pending, and end.
//!
//! It answers before that is done; the API listener stays to the end, so `/status` shows how it goes.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::control::{Asked, Control};
use crate::http::ErrorAnswer;

/// Begins the drain and tells how many records are pending.
pub(super) fn run(
    control: &Arc<Control>,
    input: &Map<String, Value>,
    asked: &Asked,
) -> Result<Value, ErrorAnswer> {
    if let Some(name) = input.keys().next() {
        let message = format!("unknown parameter `{name}`; none are supported here");
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    asked.log("drained", "daemon", "");
    Ok(json!({"pending_records": control.ask_to_drain()}))
}
