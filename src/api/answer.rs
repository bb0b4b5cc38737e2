//! Answers of the control API: the body, and the headers that every answer has.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::control::{Class, Refusal};
use crate::http::ErrorAnswer;

/// The header that names the operation, in every answer.
const OPERATION_ID: HeaderName = HeaderName::from_static("ngrok-operation-id");

/// No such route, or no such method on it: the two are one at ngrok.
pub(super) fn no_route(path: &str) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::NOT_FOUND, "ERR_SLUICEGATE_1352", "Not Found").detail("path", path)
}

/// When to ask again for what cannot be done now, in seconds: disks and databases are tried each second.
const RETRY_AFTER: u64 = 1;

impl From<Refusal> for ErrorAnswer {
    fn from(refusal: Refusal) -> ErrorAnswer {
        let status = match refusal.class {
            Class::Invalid => StatusCode::BAD_REQUEST,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::NotFound => StatusCode::NOT_FOUND,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let answer =
            ErrorAnswer { code: refusal.code, ..ErrorAnswer::uncoded(status, refusal.message) };
        match refusal.class {
            Class::Unavailable => answer.retry_after(RETRY_AFTER),
            _ => answer,
        }
    }
}

/// What a route gives: a status with a body, or without one.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
    /// What was done has less effect than one may think: for the header `warning`.
    pub(super) warning: Option<String>,
}

impl Answer {
    pub(super) fn ok(body: impl Into<Value>) -> Answer {
        Answer { status: StatusCode::OK, body: Some(body.into()), warning: None }
    }

    pub(super) fn created(body: impl Into<Value>) -> Answer {
        Answer { status: StatusCode::CREATED, body: Some(body.into()), warning: None }
    }

    pub(super) fn no_content() -> Answer {
        Answer { status: StatusCode::NO_CONTENT, body: None, warning: None }
    }

    /// The same with the advice that the control plane has on a resource, if any.
    pub(super) fn warned(self, warning: Option<String>) -> Answer {
        Answer { warning, ..self }
    }
}

/// Writes an answer, with the name of its operation among an error's details.
pub(super) fn respond(outcome: Result<Answer, ErrorAnswer>, operation_id: &str) -> Response {
    let warning = outcome.as_ref().ok().and_then(|answer| answer.warning.as_deref()).map(warning);
    let mut response = match outcome {
        Ok(Answer { status, body: Some(body), .. }) => (status, axum::Json(body)).into_response(),
        Ok(Answer { status, body: None, .. }) => status.into_response(),
        // A path without a route is no operation.
        Err(error) if !error.details.is_empty() => error.into_response(),
        Err(error) => error.detail("operation_id", operation_id).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(warning) = warning.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::WARNING, warning);
    }
    named(response, operation_id)
}

/// The header's form (RFC 7234, section 5.5): a code for all other warnings, who warns, the text.
fn warning(text: &str) -> String {
    format!("199 sluicegate \"{text}\"")
}

/// An answer with the name of its operation.
pub(super) fn named(mut response: Response, operation_id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(operation_id) {
        response.headers_mut().insert(OPERATION_ID, id);
    }
    response
}

/// Lets a browser's page read an answer, as ngrok does for every origin.
pub(super) fn allow_origin(request: &HeaderMap, response: &mut Response) {
    let Some(origin) = request.get(header::ORIGIN) else { return };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// The answer to a browser that asks what it may send, if this is such a question.
pub(super) fn preflight(methods: &str, request: &HeaderMap) -> Option<Response> {
    request.get(header::ORIGIN)?;
    request.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    allow_origin(request, &mut response);
    let headers = response.headers_mut();
    let methods = HeaderValue::from_str(methods).ok()?;
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}
