//! Batches posted to a URL as NDJSON, for receivers of one's own.
//!
//! The status alone is the verdict: a batch is delivered when the receiver answers it with any 2xx.
//! Redirects are not followed, since that would send events where nobody said.

use std::sync::Arc;

use axum::http::{Method, Request, header};
use bytes::Bytes;

use super::ack::{Ack, Fault};
use super::exchange::{Answer, class_of, exchange};
use super::file::lines;
use super::parts::{Outcome, Parts};
use super::transport::Sending;
use super::web_url::WebUrl;
use crate::event::{HOPS_HEADER, Hops, Record};

async fn request(
    url: &WebUrl,
    method: Method,
    (body, hops): (Bytes, &str),
    sending: &Sending,
) -> Result<Answer, Fault> {
    let request = Request::builder()
        .method(method)
        .uri(url.uri().clone())
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .header(HOPS_HEADER, hops);
    exchange(request, body, sending).await
}

pub(super) async fn deliver(url: &WebUrl, records: &[Arc<Record>], sending: &Sending) -> Vec<Ack> {
    let mut parts = Parts::new(records.len());
    while let Some(part) = parts.next() {
        let count = part.len();
        let records = &records[part.clone()];
        let hops = Hops::header_of_next(records.iter().map(|record| record.hops));
        let body = (Bytes::from(lines(records)), hops.as_str());
        let outcome = match request(url, Method::POST, body, sending).await {
            Ok(answer) => match class_of(answer.status) {
                None => Outcome::Answered(vec![Ack::Delivered; count]),
                Some(class) => {
                    let advice = "; correct `callback_url`, or the receiver";
                    answer.outcome(class, url, advice, sending)
                }
            },
            Err(fault) => Outcome::Failed(fault),
        };
        parts.settle(part, outcome);
    }
    parts.into_acks()
}

/// Asks with `OPTIONS`, which carries no event and changes nothing; any answer will do.
pub(super) async fn probe(url: &WebUrl, sending: &Sending) -> Result<String, Fault> {
    let answer = request(url, Method::OPTIONS, (Bytes::new(), "1"), sending).await?;
    Ok(format!(
        "{url} was reached, with {} for OPTIONS; whether it takes events shows with the first",
        answer.status
    ))
}

#[cfg(test)]
mod tests;
