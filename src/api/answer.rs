//! Answers of the control API: the body, and the headers that every answer has.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::control::{Class, Refusal};

/// The header that names the operation, in every answer.
const OPERATION_ID: HeaderName = HeaderName::from_static("ngrok-operation-id");

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    /// When trying again may help, in whole seconds.
    pub(super) retry_after: Option<u64>,
    /// The path, where it has no route.
    pub(super) path: Option<String>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> ApiError {
        let message = message.into();
        ApiError { status, code: Some(code), message, retry_after: None, path: None }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// No such route, or no such method on it: the two are one at ngrok.
    pub(super) fn no_route(path: &str) -> ApiError {
        ApiError {
            status: StatusCode::NOT_FOUND,
            code: None,
            message: "Not Found".to_owned(),
            retry_after: None,
            path: Some(path.to_owned()),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let status = match refusal.class {
            Class::Invalid => StatusCode::BAD_REQUEST,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::NotFound => StatusCode::NOT_FOUND,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let Refusal { code, message, .. } = refusal;
        ApiError { status, code, message, retry_after: None, path: None }
    }
}

/// What a route gives: a status with a body, or without one.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) fn ok(body: impl Into<Value>) -> Answer {
        Answer { status: StatusCode::OK, body: Some(body.into()) }
    }

    pub(super) fn created(body: impl Into<Value>) -> Answer {
        Answer { status: StatusCode::CREATED, body: Some(body.into()) }
    }

    pub(super) fn no_content() -> Answer {
        Answer { status: StatusCode::NO_CONTENT, body: None }
    }
}

/// Writes an answer. All values of an error's `details` are strings: ngrok's Go client decodes
/// nothing else.
pub(super) fn respond(outcome: Result<Answer, ApiError>, operation_id: &str) -> Response {
    let (status, body, retry_after) = match outcome {
        Ok(Answer { status, body }) => (status, body, None),
        Err(error) => {
            let details = match &error.path {
                Some(path) => json!({"path": path}),
                None => json!({"operation_id": operation_id}),
            };
            let mut body = json!({
                "status_code": error.status.as_u16(),
                "msg": error.message,
                "details": details,
            });
            if let Some(code) = error.code {
                body["error_code"] = json!(code);
            }
            (error.status, Some(body), error.retry_after)
        }
    };
    let mut response = match body {
        Some(body) => (status, axum::Json(body)).into_response(),
        None => status.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    named(response, operation_id)
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
