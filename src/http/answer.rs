//! The body of every answer that refuses: ngrok's shape, one for ingest and API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code that a program may branch on.
    pub code: &'static str,
    /// What happened and what would help, for a person.
    pub message: String,
    /// When trying again may help, in whole seconds.
    pub retry_after: Option<u64>,
}

impl ErrorAnswer {
    /// An error without advice on when to come again.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ErrorAnswer {
        ErrorAnswer { status, code, message: message.into(), retry_after: None }
    }
}

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        let body = json!({
            "error_code": self.code,
            "status_code": self.status.as_u16(),
            "msg": self.message,
            "details": {},
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
