//! `POST /journal/forget`: lets go of what waits for a destination that will not come back.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::control::{Asked, Control};
use crate::http::ErrorAnswer;
use crate::pipeline::ForgetError;
use crate::resources::ResourceId;

/// The destination is in force, or still delivers.
const IN_FORCE: &str = "ERR_SLUICEGATE_1439";

/// The journal knows nothing of the destination.
const UNKNOWN: &str = "ERR_SLUICEGATE_1440";

/// The journal's disk takes nothing.
const CANNOT_WRITE: &str = "ERR_SLUICEGATE_1441";

/// Counts what waits as dropped, and tells how much that was.
pub(super) async fn run(
    control: Arc<Control>,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Value, ErrorAnswer> {
    if let Some(name) = input.keys().find(|name| *name != "destination_id") {
        let message = format!("unknown parameter `{name}`; supported is `destination_id`");
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    let id = match input.get("destination_id") {
        Some(Value::String(id)) if !id.is_empty() => id,
        None | Some(Value::Null | Value::String(_)) => {
            let message = "`destination_id` is missing";
            return Err(ErrorAnswer::bad_request("ERR_NGROK_236", message));
        }
        Some(_) => {
            let message = "`destination_id` must be a string";
            return Err(ErrorAnswer::bad_request("ERR_NGROK_215", message));
        }
    };
    let forgotten = match ResourceId::new(id) {
        Ok(destination) => control.pipeline().forget(&destination).await,
        Err(_) => Err(ForgetError::Unknown(id.clone())),
    };
    let records = forgotten.map_err(|error| {
        let (status, code) = match error {
            ForgetError::InForce(_) => (StatusCode::CONFLICT, IN_FORCE),
            ForgetError::Unknown(_) => (StatusCode::NOT_FOUND, UNKNOWN),
            ForgetError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, CANNOT_WRITE),
        };
        ErrorAnswer::new(status, code, error.to_string())
    })?;
    asked.log("forgotten", "records of destination", id);
    let told = json!({"destination_id": id, "forgotten": records});
    control.tell("records_forgotten.v0", told.clone(), Some(&asked)).await;
    Ok(told)
}
