//! Batches posted to a URL as NDJSON, for receivers of one's own.
//!
//! The status alone is the verdict: a batch is delivered when the receiver answers it with any 2xx.
//! Redirects are not followed, since that would send events where nobody said.

use std::fmt;
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;

use super::ack::{Ack, Fault, FaultKind, with_its_words};
use super::error::SETTING;
use super::exchange::{Answer, exchange};
use super::file::lines;
use super::parts::{Outcome, Parts};
use super::refusal::{CONFIGURATION, Class, THROTTLED, TRANSIENT};
use super::transport::Sending;
use crate::event::{HOPS_HEADER, Hops, Record};
use crate::form::{HIDDEN, Nature, Shape, Value, Written, Wrong};
use crate::https::has_possible_port;

/// Longest URL: what proxies on the way are sure to take.
const MAX_URL: usize = 2_048;

/// The URL that batches are posted to, checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Callback {
    text: Box<str>,
    uri: Uri,
}

impl Callback {
    pub(super) fn new(url: &str) -> Result<Callback, Wrong> {
        let no = |problem: &str| Err(Wrong::must(SETTING, problem));
        if url.len() > MAX_URL {
            return no("must have at most 2,048 bytes");
        }
        let Some((uri, authority)) =
            url.parse::<Uri>().ok().and_then(|uri| Some((uri.clone(), uri.authority()?.clone())))
        else {
            return no("must be a URL such as `https://example.com/events`");
        };
        if !has_possible_port(&uri) {
            return no("must name a port from 1 to 65535, or none");
        }
        if authority.as_str().contains('@') {
            return no("must not hold a user name or a password");
        }
        match uri.scheme_str() {
            _ if authority.host().is_empty() => no("must name a host"),
            Some("https" | "http") => Ok(Callback { text: url.into(), uri }),
            _ => no("must begin with `https://` or `http://`"),
        }
    }

    async fn request(
        &self,
        method: Method,
        (body, hops): (Bytes, &str),
        sending: &Sending,
    ) -> Result<Answer, Fault> {
        let request = Request::builder()
            .method(method)
            .uri(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .header(HOPS_HEADER, hops);
        exchange(request, body, sending).await
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>], sending: &Sending) -> Vec<Ack> {
        let mut parts = Parts::new(records.len());
        while let Some(part) = parts.next() {
            let count = part.len();
            let records = &records[part.clone()];
            let hops = Hops::header_of_next(records.iter().map(|record| record.hops));
            let body = (Bytes::from(lines(records)), hops.as_str());
            let outcome = match self.request(Method::POST, body, sending).await {
                Ok(answer) => self.outcome(&answer, count, sending),
                Err(fault) => Outcome::Failed(fault),
            };
            parts.settle(part, outcome);
        }
        parts.into_acks()
    }

    fn outcome(&self, answer: &Answer, records: usize, sending: &Sending) -> Outcome {
        match class_of(answer.status) {
            None => Outcome::Answered(vec![Ack::Delivered; records]),
            Some(Class::Poison) => Outcome::Refused(self.words(answer, "", sending)),
            Some(Class::Fault(kind)) => {
                let advice = match (kind, answer.status.is_redirection()) {
                    (FaultKind::Configuration, true) => {
                        "; redirects are not followed: give the URL they lead to"
                    }
                    (FaultKind::Configuration, false) => {
                        "; correct `callback_url`, or the receiver"
                    }
                    _ => "",
                };
                let asks = kind != FaultKind::Configuration;
                let retry_after = answer.retry_after.filter(|_| asks);
                let fault = Fault::new(kind, self.words(answer, advice, sending));
                Outcome::Failed(Fault { retry_after, ..fault })
            }
        }
    }

    fn words(&self, answer: &Answer, advice: &str, sending: &Sending) -> String {
        let (status, text) = (answer.status, answer.words());
        if sending.lines.is_some() {
            return with_its_words(format!("{self} answered {status}{advice}"), &text);
        }
        let separator = if text.is_empty() { "" } else { ": " };
        format!("{self} answered {status}{separator}{text}{advice}")
    }

    /// Asks with `OPTIONS`, which carries no event and changes nothing; any answer will do.
    pub(super) async fn probe(&self, sending: &Sending) -> Result<String, Fault> {
        let answer = self.request(Method::OPTIONS, (Bytes::new(), "1"), sending).await?;
        Ok(format!(
            "{self} was reached, with {} for OPTIONS; whether it takes events shows with the first",
            answer.status
        ))
    }
}

impl Value for Callback {
    const SHAPE: Shape<Callback> = Shape::Text(Callback::new);
    const NATURE: Nature = Nature::Address;

    /// Its query may be a token, and is not shown.
    fn written(&self) -> Written {
        match self.text.split_once('?') {
            Some((place, _)) => Written::showing(&self.text, format!("{place}?{HIDDEN}")),
            None => Written::open(&*self.text),
        }
    }
}

/// The receiver without path and query, which may hold a secret.
impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", Authority::as_str);
        write!(f, "`{}://{authority}`", self.uri.scheme_str().unwrap_or_default())
    }
}

/// As above: settings are shown where they should not be.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a status says of the batch; none if it was taken.
///
/// What is not known is never held against the records: an unknown 4xx waits for the operator.
fn class_of(status: StatusCode) -> Option<Class> {
    Some(match status.as_u16() {
        200..=299 => return None,
        400 | 413 | 422 => Class::Poison,
        408 | 425 | 500..=599 => TRANSIENT,
        429 => THROTTLED,
        _ => CONFIGURATION,
    })
}

#[cfg(test)]
mod tests;
