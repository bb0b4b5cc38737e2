//! `POST /reload`: has the daemon read its settings file again.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::info;

use crate::control::Control;
use crate::http::ErrorAnswer;

/// The header that says that a reload may take most of what runs away, with the value `true`.
pub const CONFIRM_REMOVAL: &str = "sluicegate-confirm-removal";

/// Reloads and tells what is in force then.
pub(super) async fn run(
    control: &Arc<Control>,
    input: &Map<String, Value>,
    confirmed: bool,
) -> Result<Value, ErrorAnswer> {
    if let Some(name) = input.keys().next() {
        let message = format!("unknown parameter `{name}`; none are supported here");
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    info!(confirmed, "a reload is asked for through the API");
    let reloaded = control.ask_for_reload(confirmed).await?;
    Ok(json!({
        "destinations": reloaded.destinations,
        "subscriptions": reloaded.subscriptions,
        "at_next_start": reloaded.at_next_start,
    }))
}
