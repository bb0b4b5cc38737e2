//! `POST /dead_letters/bury`: gives up a record that keeps failing.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::control::{Asked, Control};
use crate::http::ErrorAnswer;
use crate::pipeline::BuryError;
use crate::resources::ResourceId;

/// No record of the event is set aside, or refused, at the destination.
const NOT_THERE: &str = "ERR_SLUICEGATE_1311";

/// The dead letter cannot be written now.
const CANNOT_WRITE: &str = "ERR_SLUICEGATE_1312";

/// There is no room for the dead letter.
const NO_ROOM: &str = "ERR_SLUICEGATE_1313";

/// Makes dead letters of an event's records at a destination.
pub(super) async fn run(
    control: &Arc<Control>,
    input: &Map<String, Value>,
    asked: &Asked,
) -> Result<Value, ErrorAnswer> {
    const KNOWN: [&str; 2] = ["destination_id", "event_id"];
    if let Some(name) = input.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let message = format!("unknown parameter `{name}`; supported are `{}`", KNOWN.join("`, `"));
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    let text = |name: &str| match input.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        None | Some(Value::Null | Value::String(_)) => {
            Err(ErrorAnswer::bad_request("ERR_NGROK_236", format!("`{name}` is missing")))
        }
        Some(_) => {
            Err(ErrorAnswer::bad_request("ERR_NGROK_215", format!("`{name}` must be a string")))
        }
    };
    let (destination_id, event_id) = (text("destination_id")?, text("event_id")?);
    let buried = match ResourceId::new(destination_id) {
        Ok(destination) => control.pipeline().bury(&destination, event_id).await,
        Err(_) => Err(BuryError::NotThere),
    };
    match buried {
        Ok(records) => {
            let told = json!({
                "destination_id": destination_id,
                "event_id": event_id,
                "buried": records,
            });
            asked.log("buried", "records of event", event_id);
            control.tell("records_buried.v0", told.clone(), Some(asked)).await;
            Ok(told)
        }
        Err(error) => Err(refusal(&error)),
    }
}

fn refusal(error: &BuryError) -> ErrorAnswer {
    let (status, code) = match error {
        BuryError::NotThere => (StatusCode::NOT_FOUND, NOT_THERE),
        BuryError::NoRoom(_) => (StatusCode::SERVICE_UNAVAILABLE, NO_ROOM),
        BuryError::CannotWrite(_) | BuryError::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, CANNOT_WRITE)
        }
    };
    ErrorAnswer::new(status, code, error.to_string())
}
