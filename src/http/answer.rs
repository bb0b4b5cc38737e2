//! The answer that refuses: one type and one body, ngrok's, for ingest and for the control API.
//!
//! What it says is for whoever refuses; refused events inside a body that was taken are listed by
//! ingest in an answer of its own.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    pub status: StatusCode,
    /// The stable code that a program may branch on; none where ngrok gives none.
    pub code: Option<&'static str>,
    /// What happened and what would help, for a person.
    pub message: String,
    /// When trying again may help, in whole seconds.
    pub retry_after: Option<u64>,
    /// What more is known, by name. All values are strings: ngrok's Go client decodes nothing else.
    pub details: Vec<(&'static str, String)>,
}

impl ErrorAnswer {
    /// An error without advice on when to come again.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ErrorAnswer {
        ErrorAnswer { code: Some(code), ..ErrorAnswer::uncoded(status, message) }
    }

    #[must_use]
    pub fn uncoded(status: StatusCode, message: impl Into<String>) -> ErrorAnswer {
        let message = message.into();
        ErrorAnswer { status, code: None, message, retry_after: None, details: Vec::new() }
    }

    /// A request that is wrong in itself: 400.
    #[must_use]
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> ErrorAnswer {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The same with the advice to try again after some seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> ErrorAnswer {
        ErrorAnswer { retry_after: Some(seconds), ..self }
    }

    /// What the client reads.
    #[must_use]
    pub fn body(&self) -> Value {
        let details = self.details.iter();
        let details = details.map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
        let mut body = json!({
            "status_code": self.status.as_u16(),
            "msg": self.message,
            "details": details.collect::<Map<String, Value>>(),
        });
        if let Some(code) = self.code {
            body["error_code"] = code.into();
        }
        body
    }

    /// The same with one more thing that is known.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> ErrorAnswer {
        self.details.push((name, value.into()));
        self
    }
}

/// That an answer refuses, and why: among its extensions, so that the listener counts and logs it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The code of the condition.
    pub code: &'static str,
    /// What the client is told.
    pub message: String,
}

/// What is counted where ngrok gives no code.
const UNCODED: &str = "none";

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        let message = self.message.clone();
        let refused = Refused { code: self.code.unwrap_or(UNCODED), message };
        let mut response = (self.status, axum::Json(self.body())).into_response();
        response.extensions_mut().insert(refused);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Asked for by RFC 9110 of a 401; ngrok's API answers 403, which has no such header.
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
