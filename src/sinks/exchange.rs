//! One request over HTTP and its answer, for the kinds of target that are no AWS service: their
//! connections, the bounds of an answer, how long it asks to be left alone.
//!
//! What an answer means, the target's own file says, by what is said here of the statuses that HTTP itself
//! gives a meaning.

use std::fmt;
use std::future::ready;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use axum::http::request::Builder;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use tokio::task::spawn_blocking;

use super::ack::{Fault, FaultKind, with_its_words};
use super::parts::Outcome;
use super::refusal::{CONFIGURATION, Class, THROTTLED, TRANSIENT};
use super::retry_after::retry_after;
use super::transport::{Lines, Routes, Sending, connector};
use super::trouble::Trouble;
use crate::event::Record;
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
    /// How far the time that it names is from this machine's.
    pub(super) skew: Option<Duration>,
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
    let (asked, date) = (answer.headers().get("retry-after"), answer.headers().get("date"));
    let date = date.and_then(|it| httpdate::parse_http_date(it).ok());
    let now = SystemTime::now();
    Ok(Answer {
        status: StatusCode::from_u16(answer.status().as_u16()).map_err(|error| unusable(&error))?,
        retry_after: asked.and_then(|it| retry_after(it, now)),
        skew: date.map(|it| it.duration_since(now).unwrap_or_else(|past| past.duration())),
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

/// What a status says of the records that were sent; none if they were taken.
///
/// What is not known is never held against the records: an unknown 4xx waits for the operator.
pub(super) fn class_of(status: StatusCode) -> Option<Class> {
    Some(match status.as_u16() {
        200..=299 => return None,
        400 | 413 | 422 => Class::Poison,
        408 | 425 | 500..=599 => TRANSIENT,
        429 => THROTTLED,
        _ => CONFIGURATION,
    })
}

/// Bodies longer than this are compressed beside the runtime's threads: it takes a millisecond or more.
const LONG: usize = 32 * 1024;

/// A body as gzip, at the level that costs least: events repeat themselves.
///
/// # Errors
/// When it was cut.
pub(super) async fn gzipped(body: Bytes) -> Result<Bytes, Fault> {
    let is_long = body.len() > LONG;
    let pack = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish()).map(Bytes::from)
    };
    let packed = if is_long { spawn_blocking(pack).await } else { Ok(pack()) };
    let cut = |error: &dyn fmt::Display| Fault::transient(format!("compression was cut: {error}"));
    packed.map_err(|error| cut(&error))?.map_err(|error| cut(&error))
}

/// The records as one JSON array.
pub(super) fn array(records: &[Arc<Record>]) -> Vec<u8> {
    let length: usize = records.iter().map(|record| record.body.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 1);
    out.push(b'[');
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&record.body);
    }
    out.push(b']');
    out
}

impl Answer {
    /// What a refusal of this class comes to. `advice` is for who can mend it, and begins with `; `.
    pub(super) fn outcome(
        &self,
        class: Class,
        who: &impl fmt::Display,
        advice: &str,
        sending: &Sending,
    ) -> Outcome {
        let kind = match class {
            Class::Poison => return Outcome::Refused(self.said(who, "", sending)),
            Class::Fault(kind) => kind,
        };
        let advice = match (kind, self.status.is_redirection()) {
            (FaultKind::Configuration, true) => {
                "; redirects are not followed: give the URL they lead to"
            }
            (FaultKind::Configuration, false) => advice,
            _ => "",
        };
        let retry_after = self.retry_after.filter(|_| kind != FaultKind::Configuration);
        let trouble = Trouble::of_status(self.status.as_u16());
        let trouble = trouble.filter(|_| kind == FaultKind::Configuration);
        let fault = Fault::new(kind, self.said(who, advice, sending)).with(trouble);
        Outcome::Failed(Fault { retry_after, ..fault })
    }

    /// A success that is not the service's own: no verdict on anything.
    pub(super) fn stranger(&self, who: &impl fmt::Display, expected: &str) -> Outcome {
        let fault = Fault::unanswered(format!(
            "{who} answered {} where {expected} would be: a proxy or another service?",
            self.status
        ));
        Outcome::Failed(fault.with(Trouble::Stranger))
    }

    fn said(&self, who: &impl fmt::Display, advice: &str, sending: &Sending) -> String {
        let (status, text) = (self.status, self.words());
        if sending.lines.is_some() {
            return with_its_words(format!("{who} answered {status}{advice}"), &text);
        }
        let separator = if text.is_empty() { "" } else { ": " };
        format!("{who} answered {status}{separator}{text}{advice}")
    }

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
