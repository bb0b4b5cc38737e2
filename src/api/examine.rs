//! `POST /event_destinations/{id}/check`: what stands between a destination and its service.
//!
//! The findings are the doctor's (`sinks`); here they become an answer, which the command line prints too.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::control::Control;
use crate::http::ErrorAnswer;
use crate::resources::Destination;
use crate::sinks::{Finding, Gravity};

/// Examines a destination of the API or of the settings.
pub(super) async fn run(
    control: &Arc<Control>,
    input: &Map<String, Value>,
    id: &str,
) -> Result<Value, ErrorAnswer> {
    if let Some(name) = input.keys().next() {
        let message = format!("unknown parameter `{name}`; none is supported");
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    let (destination, findings) = control.examine(id).await?;
    Ok(examination(&destination, &findings))
}

/// The findings of an examination as an answer.
#[must_use]
pub fn examination(destination: &Destination, findings: &[Finding]) -> Value {
    let name = |gravity| match gravity {
        Gravity::Well => "ok",
        Gravity::Warning => "warning",
        Gravity::Failed => "failed",
    };
    let gravest = findings.iter().map(|it| it.gravity).max().unwrap_or(Gravity::Well);
    let found: Vec<Value> = findings
        .iter()
        .map(|it| {
            let mut found =
                json!({"about": it.about, "result": name(it.gravity), "msg": it.message});
            if let Some(words) = &it.words {
                found["trouble"] = json!(words.name);
                found["failed"] = json!(words.failed);
                found["learned"] = json!(words.learned);
                found["next"] = json!(words.next);
            }
            found
        })
        .collect();
    json!({
        "destination_id": destination.id.as_str(),
        "target": destination.target.to_string(),
        "result": name(gravest),
        "findings": found,
    })
}
