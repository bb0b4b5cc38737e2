//! Splunk by its HTTP Event Collector (HEC): one object an event, `{"time":…,"event":{…}}`, several in a request.
//!
//! A request is delivered when it is answered 200 with code 0, HEC's own word for success. HEC takes or refuses a
//! request as a whole, so one that it refuses for its content is halved until the record is found. Its indexer
//! acknowledgement, which comes later and by the request, is not asked for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use axum::http::request::Builder;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use hyper::Uri;
use serde_json::{Map, Value as Json};

use super::ack::{Ack, Fault};
use super::batch::{Count, Limits};
use super::error::{OpenError, SETTING};
use super::exchange::{Answer, class_of, exchange, gzipped};
use super::kind::{Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::parts::{Outcome, in_parts};
use super::refusal::{CONFIGURATION, THROTTLED};
use super::transport::Sending;
use super::trouble::Trouble;
use super::web_url::WebUrl;
use crate::event::Record;
use crate::form::{Checked, Door, Form, Rule, SecretOf, Wrong, field};

/// Most bytes of one request before compression: what Splunk Cloud takes ("Splunk Cloud Platform Service
/// Details", HEC maximum content length); one's own takes more.
const MAX_BYTES: usize = 1_000_000;
/// Most events of one request. HEC names no limit; this bounds what a lost answer sends twice.
const MAX_RECORDS: usize = 1_000;
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 16;
/// Longest index, source type, source or host.
const MAX_NAME: usize = 255;
/// What stands around an event but for the fixed members: `{"time":`, a time, `,"event":` and `}`.
const AROUND: usize = 8 + 17 + 9 + 1;

/// Codes of refusals that no event is to blame for: no token, no index, acknowledgement that must be asked for
/// ("Troubleshoot HTTP Event Collector", possible error codes).
const OF_SETTINGS: [u64; 7] = [1, 2, 3, 4, 7, 10, 11];
/// The code of "HEC is healthy" (the same place).
const HEALTHY: u64 = 17;

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplunkHecTarget {
    url: WebUrl,
    token: SecretOf<Token>,
    index: Option<Checked<Name>>,
    sourcetype: Option<Checked<Name>>,
    source: Option<Checked<Name>>,
    host: Option<Checked<Name>>,
}

impl Form for SplunkHecTarget {
    fn form<D: Door>(d: &mut D, it: Option<&SplunkHecTarget>) -> Option<SplunkHecTarget> {
        let url = d.required(
            field(
                "url",
                "The collector's address; its path is HEC's own.",
                "https://http-inputs-acme.splunkcloud.com",
            ),
            it.map(|it| &it.url),
        );
        let token = d.required(
            field("token", "A HEC token.", "${env:SPLUNK_HEC_TOKEN}"),
            it.map(|it| &it.token),
        );
        let index = d.optional(
            field("index", "The index; the token's own where left out.", "edge"),
            it.and_then(|it| it.index.as_ref()),
        );
        let sourcetype = d.optional(
            field("sourcetype", "The source type; the token's own where left out.", "_json"),
            it.and_then(|it| it.sourcetype.as_ref()),
        );
        let source = d.optional(
            field("source", "The source of each event.", "sluicegate"),
            it.and_then(|it| it.source.as_ref()),
        );
        let host = d.optional(
            field("host", "The host of each event.", "gateway-1"),
            it.and_then(|it| it.host.as_ref()),
        );
        Some(SplunkHecTarget { url: url?, token: token?, index, sourcetype, source, host })
    }
}

impl SplunkHecTarget {
    fn intake(&self) -> Result<Uri, axum::http::Error> {
        self.url.at("/services/collector/event")
    }

    /// The members that are the same for all events, each with a comma before it.
    fn fixed(&self) -> Vec<u8> {
        let given = [
            ("index", &self.index),
            ("sourcetype", &self.sourcetype),
            ("source", &self.source),
            ("host", &self.host),
        ];
        let mut out = Vec::new();
        for (name, text) in given {
            let Some(text) = text else { continue };
            out.extend_from_slice(format!(",\"{name}\":{}", Json::from(text.as_str())).as_bytes());
        }
        out
    }
}

impl Kind for SplunkHecTarget {
    fn name(&self) -> &'static str {
        "splunk_hec"
    }

    fn limits(&self) -> Limits {
        Limits {
            max_records: MAX_RECORDS,
            max_bytes: MAX_BYTES,
            max_record_bytes: MAX_BYTES,
            max_span: None,
            in_flight: IN_FLIGHT,
            count: Count::BodyPlus(AROUND + self.fixed().len()),
        }
    }

    fn next(&self, trouble: Trouble) -> Option<String> {
        let health = self.url.at("/services/collector/health").ok()?;
        matches!(trouble, Trouble::Refused | Trouble::MissingTarget).then(|| {
            format!("curl -i -H \"Authorization: Splunk $SPLUNK_HEC_TOKEN\" {health} (HEC and the token must be enabled)")
        })
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        let sink = Sink { target: self.clone(), fixed: self.fixed(), sending };
        Box::pin(std::future::ready(Ok(Box::new(sink) as Box<dyn Opened>)))
    }
}

/// For status pages, without secrets.
impl fmt::Display for SplunkHecTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Splunk's collector at {}", self.url)
    }
}

/// A collector that is ready to be sent to.
struct Sink {
    target: SplunkHecTarget,
    fixed: Vec<u8>,
    sending: Sending,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }
}

impl Sink {
    async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let send = |part: Range<usize>| async move {
            match self.post(&records[part.clone()]).await {
                Ok(answer) => self.outcome(&answer, part.len()),
                Err(fault) => Outcome::Failed(fault),
            }
        };
        in_parts(records.len(), send).await
    }

    async fn post(&self, records: &[Arc<Record>]) -> Result<Answer, Fault> {
        let request = self.request(Method::POST, self.target.intake())?;
        let body = gzipped(Bytes::from(body(&self.fixed, records))).await?;
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip");
        exchange(request, body, &self.sending).await
    }

    fn request(
        &self,
        method: Method,
        place: Result<Uri, axum::http::Error>,
    ) -> Result<Builder, Fault> {
        let place = place.map_err(|error| Fault::configuration(format!("no URL: {error}")))?;
        let authorization = format!("Splunk {}", self.target.token.expose());
        let request = Request::builder().method(method).uri(place);
        Ok(request.header(header::AUTHORIZATION, authorization))
    }

    fn outcome(&self, answer: &Answer, records: usize) -> Outcome {
        let body = serde_json::from_slice::<Map<String, Json>>(&answer.body).unwrap_or_default();
        let code = body.get("code").and_then(Json::as_u64);
        if answer.status == StatusCode::OK && code == Some(0) {
            return Outcome::Answered(vec![Ack::Delivered; records]);
        }
        let Some(class) = class_of(answer.status) else {
            return answer.stranger(&self.target, "200 and code 0");
        };
        let is_of_settings = code.is_some_and(|code| OF_SETTINGS.contains(&code));
        let class = match answer.status {
            StatusCode::BAD_REQUEST if is_of_settings => CONFIGURATION,
            // "Server is busy".
            StatusCode::SERVICE_UNAVAILABLE => THROTTLED,
            _ => class,
        };
        let advice = match code {
            Some(7) => "; correct `index`: the token must allow it",
            Some(10 | 11) => "; turn indexer acknowledgement off for this token",
            Some(1..=4) => "; correct `token`, or enable it",
            _ => "; correct `url`",
        };
        answer.outcome(class, &self.target, advice, &self.sending)
    }

    /// Asks for the collector's health, which writes nothing. Whether the token is good, its answer may leave open.
    async fn probe(&self) -> Result<String, Fault> {
        let place = self.target.url.at("/services/collector/health");
        let request = self.request(Method::GET, place)?;
        let answer = exchange(request, Bytes::new(), &self.sending).await?;
        let target = &self.target;
        let body = serde_json::from_slice::<Json>(&answer.body).unwrap_or_default();
        if answer.status == StatusCode::OK && body["code"] == HEALTHY {
            return Ok(format!(
                "{target} is healthy; whether the token is good shows with the first event"
            ));
        }
        match self.outcome(&answer, 0) {
            Outcome::Failed(fault) => Err(fault),
            Outcome::Refused(message) => Err(Fault::configuration(message)),
            Outcome::Answered(_) => {
                let said = format!("{target} did not say how it is");
                Err(Fault::unanswered(said).with(Trouble::Stranger))
            }
        }
    }
}

/// The body of a request: events one after the other, as HEC wants them.
fn body(fixed: &[u8], records: &[Arc<Record>]) -> Vec<u8> {
    let length: usize = records.iter().map(|it| it.body.len() + fixed.len() + AROUND).sum();
    let mut out = Vec::with_capacity(length);
    for record in records {
        // A time before 1970, or beyond the year 9999, is left to HEC.
        let millis = record.time.unix_millis();
        let time = match (0..=253_402_300_799_999).contains(&millis) {
            true => format!("{{\"time\":{}.{:03},\"event\":", millis / 1_000, millis % 1_000),
            false => "{\"event\":".to_owned(),
        };
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(&record.body);
        out.extend_from_slice(fixed);
        out.push(b'}');
    }
    out
}

/// A token, as a header takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token;

impl Rule for Token {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_NAME && text.bytes().all(|it| it.is_ascii_graphic()) {
            true => Ok(()),
            false => Err(Wrong::must(SETTING, "must be at most 255 characters of visible ASCII")),
        }
    }
}

/// A name that each event carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name;

impl Rule for Name {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_NAME && !text.chars().any(char::is_control) {
            true => Ok(()),
            false => {
                Err(Wrong::must(SETTING, "must have at most 255 bytes and no control character"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Timestamp;

    fn target(index: &str) -> SplunkHecTarget {
        SplunkHecTarget {
            url: WebUrl::new("https://splunk.example:8088").unwrap(),
            token: SecretOf::new("t").unwrap(),
            index: Some(Checked::new(index).unwrap()),
            sourcetype: None,
            source: Some(Checked::new("a \"b\"").unwrap()),
            host: None,
        }
    }

    proptest! {
        #[test]
        fn a_batch_within_our_limits_is_a_body_within_hecs_of_events_with_their_times(
            lengths in proptest::collection::vec(1usize..3_000, 1..400),
            seconds in -100_000i64..300_000_000_000,
            index in "[a-z]{1,50}",
        ) {
            let target = target(&index);
            let limits = target.limits();
            let mut bytes = 0;
            let time = Timestamp { seconds, nanos: 7_000_000 };
            let record = |length: usize| {
                let body = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(length)));
                Arc::new(Record { event_id: "ev_1".into(), time, body, hops: 0 })
            };
            let records: Vec<_> = lengths.into_iter().map(record).take_while(|it| {
                bytes += limits.record_bytes(it);
                bytes <= limits.max_bytes
            }).collect();
            let text = body(&target.fixed(), &records);
            prop_assert!(text.len() <= MAX_BYTES, "{}", text.len());
            let events = serde_json::Deserializer::from_slice(&text).into_iter::<Json>();
            let events: Vec<Json> = events.map(Result::unwrap).collect();
            prop_assert_eq!(events.len(), records.len());
            let is_known = (0..=253_402_300_799).contains(&seconds);
            for (event, record) in events.iter().zip(&records) {
                prop_assert_eq!(&event["event"], &serde_json::from_slice::<Json>(&record.body).unwrap());
                prop_assert_eq!(&event["index"], &Json::from(index.as_str()));
                prop_assert_eq!(&event["source"], "a \"b\"");
                let millis = event["time"].as_f64().map(|it| (it * 1e3).round() as i64);
                prop_assert_eq!(millis, is_known.then_some(seconds * 1_000 + 7));
            }
        }
    }
}
