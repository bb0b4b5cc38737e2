//! Reading a body whole, for every door: within a size, at a pace, and counted as held from the moment
//! that its bytes come.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;

use super::answer::ErrorAnswer;
use super::unread::TooSlow;
use crate::budget::{Held, OverBudget};

/// How long a sender may take over one body, however steadily it comes.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// When it is larger, comes too slowly or not at all, or there is no memory for it now.
pub async fn read_body(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    held: &Held,
) -> Result<Bytes, ErrorAnswer> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(body, max, held)).await {
        Ok(collected) => collected,
        Err(_) => Err(too_slow(format!("the body took longer than {} s", BODY_TIMEOUT.as_secs()))),
    }
}

async fn collect(mut body: Body, max: usize, held: &Held) -> Result<Bytes, ErrorAnswer> {
    // It grows as bytes come: what a client only announces reserves nothing.
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match TooSlow::is_behind(&error) {
            true => too_slow(TooSlow.to_string()),
            false => ErrorAnswer::bad_request(
                "ERR_NGROK_212",
                format!("the body could not be read: {error}"),
            ),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > max {
            return Err(too_large(max));
        }
        held.grow(data.len()).map_err(over_budget)?;
        collected.extend_from_slice(&data);
    }
    Ok(collected.into())
}

fn too_large(max: usize) -> ErrorAnswer {
    let message = format!("the body has more than {max} bytes");
    ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, "ERR_SLUICEGATE_1101", message)
}

fn too_slow(message: String) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "ERR_SLUICEGATE_1104", message)
}

/// What a sender is told for whose body there is no memory.
#[must_use]
pub fn over_budget(cause: OverBudget) -> ErrorAnswer {
    let message = format!("{cause}: nothing of this body was kept");
    match cause {
        OverBudget::Busy => {
            let message = format!("{message}, send it again later");
            ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "ERR_SLUICEGATE_1120", message)
                .retry_after(1)
        }
        OverBudget::Never(_) => {
            let message = format!("{message}, send less in one body");
            ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, "ERR_SLUICEGATE_1121", message)
        }
    }
}
