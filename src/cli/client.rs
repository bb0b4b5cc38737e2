//! A small HTTP client for talking to a daemon from the command line. Plain HTTP, whole bodies.

use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Failure;

/// How long a daemon may take over one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read; a daemon's own are far smaller.
const MAX_ANSWER: usize = 64 << 20;

/// A client for one daemon's address; keeps its connections.
pub(super) struct Client {
    base: String,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client for a base such as `http://127.0.0.1:4181`.
    pub(super) fn new(base: impl Into<String>) -> Client {
        let base = base.into().trim_end_matches('/').to_owned();
        Client { base, pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks for a path; gives status and body.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        self.send(Method::GET, path, None).await
    }

    /// Posts events, one a line.
    pub(super) async fn post_events(&self, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        self.send(Method::POST, "/v1/events", Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        events: Option<Bytes>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let text = format!("{}{path}", self.base);
        let no = |reason: String| Failure::work(format!("{text}: {reason}"));
        let uri: Uri = text
            .parse()
            .map_err(|_| no("not an address such as http://127.0.0.1:4181".to_owned()))?;
        let mut request = Request::builder().method(method).uri(uri);
        if events.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-ndjson");
        }
        let request = request
            .body(Full::new(events.unwrap_or_default()))
            .map_err(|error| no(error.to_string()))?;
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| no(cause(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| no(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| no(format!("no answer within {} s", TIMEOUT.as_secs())))?
    }
}

/// The innermost cause, which is the one that says what happened.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
