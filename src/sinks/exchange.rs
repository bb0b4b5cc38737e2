//! One request over HTTP and its answer, for the kinds of target that are no AWS service: their
//! connections, the bounds of an answer, how long it asks to be left alone.
//!
//! What an answer means, the target's own file says.

use std::fmt;
use std::future::ready;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use axum::http::request::Builder;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::ack::Fault;
use super::retry_after::retry_after;
use super::transport::{Lines, Routes, Sending, connector};
use crate::https::CONNECT_TIMEOUT;

/// Time for the answer's body, of which every service gives little.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Most of an answer's body that is read: enough for what receivers say, so that the connection can
/// be used again.
const MAX_ANSWER: usize = 16 * 1024;
/// Most of an answer's body that is shown: a sentence or two, not a page of HTML.
const MAX_TEXT: usize = 200;
const USER_AGENT: &str = concat!("sluicegate/", env!("CARGO_PKG_VERSION"));

/// Shared by all targets of the settings that speak plain HTTP, so that they share connections and the parsed root certificates. Trusts
/// whom this machine trusts.
static SHARED: LazyLock<Lines> = LazyLock::new(|| {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let shared =
        |proxy: Option<&_>| SharedHttpConnector::new(connector(proxy, None, settings.clone()));
    Lines::Shared(Routes::new(shared))
});

/// An answer, of which no more is kept than [`MAX_ANSWER`] bytes.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// How long it asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// Sends a request the way that the target's requests go.
///
/// # Errors
/// When no answer comes, for whatever reason.
pub(super) async fn exchange(
    request: Builder,
    body: Bytes,
    sending: &Sending,
) -> Result<Answer, Fault> {
    let unusable =
        |error: &dyn fmt::Display| Fault::configuration(format!("no request can be made: {error}"));
    let request = request.header(header::USER_AGENT, USER_AGENT).body(SdkBody::from(body));
    let request = request.map_err(|error| unusable(&error))?;
    let request = HttpRequest::try_from(request).map_err(|error| unusable(&error))?;
    let lines = sending.lines.as_ref().unwrap_or(&SHARED);
    let sent = lines.send(request, sending.timeout, |answer| ready(Ok(answer)));
    let answer = sent.await.map_err(|error| error.fault())?;
    let asked = answer.headers().get("retry-after");
    Ok(Answer {
        status: StatusCode::from_u16(answer.status().as_u16()).map_err(|error| unusable(&error))?,
        retry_after: asked.and_then(|it| retry_after(it, SystemTime::now())),
        body: start_of(answer.into_body()).await,
    })
}

/// The beginning of a body.
async fn start_of(mut body: SdkBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < MAX_ANSWER
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    };
    // However far it came.
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    bytes.truncate(MAX_ANSWER);
    bytes
}

impl Answer {
    /// The first words of the body, on one line.
    pub(super) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words: Vec<_> = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|it| !it.is_empty())
            .collect();
        let mut line = words.join(" ");
        line.truncate(line.floor_char_boundary(MAX_TEXT));
        line
    }
}
