//! A small HTTP client for talking to a daemon from the command line, plain or in TLS, whole bodies.
//!
//! It knows no route but that of events.

use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use rustls::RootCertStore;
use serde_json::Value;

use super::Failure;
use crate::https::{self, HttpsClient, has_possible_port, read_roots, system_roots};
use crate::sinks::Secret;

/// How long a daemon may take over one answer, if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read; a daemon's own are far smaller.
const MAX_ANSWER: usize = 64 << 20;

/// The API's version that requests ask for.
const API_VERSION: HeaderValue = HeaderValue::from_static("2");

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A client for one daemon's address; keeps its connections.
pub(super) struct Client {
    base: String,
    key: Option<Secret>,
    /// A header that each request has besides.
    header: Option<(&'static str, HeaderValue)>,
    patience: Duration,
    pool: HttpsClient,
}

impl Client {
    /// A client for a base such as `http://127.0.0.1:4181`. With `https` the daemon's certificate
    /// must be of a CA that this machine trusts, or of one given to [`Client::trusting`].
    pub(super) fn new(base: impl Into<String>) -> Client {
        let base = base.into().trim_end_matches('/').to_owned();
        // Reading the machine's roots takes a while, and plain addresses do not need them.
        let roots =
            if base.starts_with("https:") { system_roots() } else { RootCertStore::empty() };
        Client { base, key: None, header: None, patience: TIMEOUT, pool: https::client(roots) }
    }

    /// Trusts the CAs in a file (PEM) and no others.
    pub(super) fn trusting(mut self, ca: &Path) -> Result<Client, Failure> {
        let no = |problem| Failure::work(format!("{}: {problem}", ca.display()));
        self.pool = https::client(read_roots(ca).map_err(no)?);
        Ok(self)
    }

    /// The same with a bearer token or API key for every request.
    pub(super) fn with_key(self, key: Option<Secret>) -> Client {
        Client { key, ..self }
    }

    /// The same with one more header in every request.
    pub(super) fn with_header(self, name: &'static str, value: &'static str) -> Client {
        Client { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// The same with another limit of how long one answer may take.
    pub(super) fn with_patience(self, patience: Duration) -> Client {
        Client { patience, ..self }
    }

    /// Asks for a path; gives status and body.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        self.request(Method::GET, path, None).await
    }

    /// Makes a request of the API, with a JSON body if there is one; gives status and body.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let body = body.map(|body| (JSON, Bytes::from(body.to_string())));
        self.send(method, path, body).await
    }

    /// Posts events, one a line.
    pub(super) async fn post_events(&self, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        self.send(Method::POST, "/v1/events", Some((NDJSON, body))).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(HeaderValue, Bytes)>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let text = format!("{}{path}", self.base);
        let no = |reason: String| Failure::work(format!("{text}: {reason}"));
        let uri = text.parse::<Uri>().ok().filter(has_possible_port);
        let uri =
            uri.ok_or_else(|| no("not an address such as http://127.0.0.1:4181".to_owned()))?;
        let mut request =
            Request::builder().method(method).uri(uri).header("ngrok-version", API_VERSION);
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        if let Some((name, value)) = &self.header {
            request = request.header(*name, value);
        }
        let body = match body {
            None => Bytes::new(),
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                body
            }
        };
        let request = request.body(Full::new(body)).map_err(|error| no(error.to_string()))?;
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| no(cause(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| no(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(self.patience, exchange)
            .await
            .map_err(|_| no(format!("no answer within {} s", self.patience.as_secs())))?
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::http::{ConnectionLimits, Listener, TrustedProxies};

    /// Answers with what came in.
    async fn echo(method: Method, headers: HeaderMap, body: String) -> String {
        let header = |name| headers.get(name).map_or("-", |it| it.to_str().unwrap());
        let [version, key, kind] = ["ngrok-version", "authorization", "content-type"].map(header);
        format!("{method} {version} {key} {kind} {body}")
    }

    #[tokio::test]
    async fn a_request_has_the_version_the_key_and_its_body() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let base = format!("http://{}/", listener.address());
        let router = Router::new().fallback(echo);
        let never = std::future::pending();
        tokio::spawn(listener.serve(
            router,
            ConnectionLimits::default(),
            TrustedProxies::default(),
            never,
        ));
        let client = Client::new(base).with_key(Some(Secret::new("k1")));
        let body = Some(json!({"a": 1}));
        let (status, said) = client.request(Method::PATCH, "/x", body).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(said, "PATCH 2 Bearer k1 application/json {\"a\":1}");
        let (_, said) = client.get("/x").await.unwrap();
        assert_eq!(said, "GET 2 Bearer k1 - ");
        let (_, said) = client.post_events(Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(said, "POST 2 Bearer k1 application/x-ndjson {}");
    }
}
