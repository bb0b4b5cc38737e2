//! Webhooks: events posted to a URL, one by one or in batches, signed by the Standard Webhooks scheme.
//!
//! The status alone is the verdict, as for callbacks: any 2xx takes all records of the request. Redirects
//! are not followed, since that would send events where nobody said. Whoever gets the events may answer as
//! slowly and as much as it likes: time and bytes are bounded in `exchange.rs`.

mod auth;
mod signature;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::request::Builder;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use self::auth::{Auth, HeaderName, HeaderValue};
use self::signature::{Signer, SigningSecret, id_of};
use super::ack::{Ack, Fault, FaultKind};
use super::batch::{Count, Limits};
use super::certificate::ClientCertificate;
use super::error::OpenError;
use super::exchange::{Answer, array, class_of, exchange, gzipped};
use super::file::lines;
use super::format::Format;
use super::kind::{Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::parts::{Outcome, in_parts};
use super::refusal::{CONFIGURATION, Class, THROTTLED};
use super::token::{Tokens, bearer};
use super::transport::Sending;
use super::trouble::Trouble;
use super::web_url::WebUrl;
use crate::event::{HOPS_HEADER, Hops, Record};
use crate::form::{Door, Form, Names, Secret, SecretOf, Shape, Value, Written, field, section};
use crate::lock::lock;

/// Most records of one request: what receivers of one's own work through in a request's time.
const MAX_RECORDS: usize = 1_000;
/// Most bytes of one request before compression, and of one record: no event is longer, since no body that
/// brings one is.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most requests at once; how many of them go out is learnt from the receiver.
const IN_FLIGHT: usize = 16;
/// Most secrets that are signed with: the new one and those that it takes the place of.
const MAX_SECRETS: usize = 8;
/// How far a receiver's clock may be from ours before it takes signatures for old ones (Standard Webhooks
/// libraries: five minutes).
const MAX_SKEW: Duration = Duration::from_secs(300);
/// Most headers of one's own.
const MAX_HEADERS: usize = 32;

/// A receiver of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    url: WebUrl,
    body: Body,
    secrets: Vec<SecretOf<SigningSecret>>,
    headers: Names<HeaderName, SecretOf<HeaderValue>>,
    auth: Option<Auth>,
    client_certificate: Option<ClientCertificate>,
    compression: Compression,
    rate_limit: Option<Rate>,
}

impl Form for HttpTarget {
    fn form<D: Door>(d: &mut D, it: Option<&HttpTarget>) -> Option<HttpTarget> {
        let url = d.required(
            field("url", "Where requests are posted; https, or http to this machine and to what outbound.allow lists.", "https://hooks.example.com/events"),
            it.map(|it| &it.url),
        );
        let body = d.or(
            field("body", "One event a request, or a batch: a line for each, or a JSON array.", ""),
            Body::Event,
            it.map(|it| &it.body),
        );
        let secrets = d.list(
            field("secrets", "Keys that requests are signed with by the Standard Webhooks scheme, each `whsec_` and base64; with several, receivers need one of them.", r#"["${env:WEBHOOK_SECRET}"]"#),
            MAX_SECRETS,
            it.map(|it| it.secrets.as_slice()),
        );
        let headers = d.named(
            field(
                "headers",
                "More headers, at most 32. Their values are shown to nobody.",
                r#"{"x-environment": "production"}"#,
            ),
            MAX_HEADERS,
            it.map(|it| &it.headers),
        );
        let auth = d.group(
            section("auth", "How requests say who sends them, besides the signature."),
            it.and_then(|it| it.auth.as_ref()),
        );
        let client_certificate = d.group(
            section(
                "client_certificate",
                "A certificate that the receiver is shown; never through a proxy.",
            ),
            it.and_then(|it| it.client_certificate.as_ref()),
        );
        let compression = d.or(
            field(
                "compression",
                "Whether bodies are compressed. The signature is that of the body before.",
                "",
            ),
            Compression::None,
            it.map(|it| &it.compression),
        );
        let rate_limit = d.group(
            section("rate_limit", "How many requests are sent in which time at most."),
            it.and_then(|it| it.rate_limit.as_ref()),
        );
        Some(HttpTarget {
            url: url?,
            body: body?,
            secrets: secrets?,
            headers: headers?,
            auth,
            client_certificate,
            compression: compression?,
            rate_limit,
        })
    }
}

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Event,
    Ndjson,
    JsonArray,
}

impl Value for Body {
    const SHAPE: Shape<Body> = Shape::Words(&[
        ("event", Body::Event),
        ("ndjson", Body::Ndjson),
        ("json_array", Body::JsonArray),
    ]);

    fn written(&self) -> Written {
        Written::open(match self {
            Body::Event => "event",
            Body::Ndjson => "ndjson",
            Body::JsonArray => "json_array",
        })
    }
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
}

impl Value for Compression {
    const SHAPE: Shape<Compression> =
        Shape::Words(&[("none", Compression::None), ("gzip", Compression::Gzip)]);

    fn written(&self) -> Written {
        Written::open(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
        })
    }
}

/// Requests in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rate {
    requests: Requests,
    per: Per,
}

impl Form for Rate {
    fn form<D: Door>(d: &mut D, it: Option<&Rate>) -> Option<Rate> {
        let requests = d.required(
            field("requests", "So many requests, 1 to 100000.", "10"),
            it.map(|it| &it.requests),
        );
        let per = d.or(
            field("per", "In this time, 1s to 1h; they are spread evenly.", ""),
            Per(Duration::from_secs(1), "1s".into()),
            it.map(|it| &it.per),
        );
        Some(Rate { requests: requests?, per: per? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Requests(u64);

impl Value for Requests {
    const SHAPE: Shape<Requests> = Shape::Number(1..=100_000, Requests);

    fn written(&self) -> Written {
        Written::open(self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Per(Duration, Box<str>);

impl Value for Per {
    const SHAPE: Shape<Per> =
        Shape::Time(Duration::from_secs(1)..=Duration::from_secs(3_600), |time, text| {
            Per(time, text.into())
        });

    fn written(&self) -> Written {
        Written::open(&*self.1)
    }
}

impl Kind for HttpTarget {
    fn name(&self) -> &'static str {
        "http"
    }

    fn limits(&self) -> Limits {
        Limits {
            max_records: if self.body == Body::Event { 1 } else { MAX_RECORDS },
            max_bytes: MAX_BYTES,
            max_record_bytes: MAX_BYTES,
            max_span: None,
            in_flight: IN_FLIGHT,
            count: Count::Line,
        }
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        Box::pin(async move { Ok(Box::new(Sink::open(self, sending)?) as Box<dyn Opened>) })
    }
}

/// For status pages, without secrets.
impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = if self.secrets.is_empty() { "" } else { "signed " };
        write!(f, "{signed}webhooks to {}", self.url)
    }
}

/// A receiver that is ready to be asked.
struct Sink {
    target: HttpTarget,
    signer: Signer,
    /// The value of `Authorization` where it never changes.
    fixed: Option<Secret>,
    tokens: Option<Tokens>,
    pace: Option<Pace>,
    /// How tokens are asked for, and how events are sent, with the certificate if there is one.
    sending: Sending,
    showing: Sending,
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
    fn open(target: &HttpTarget, sending: Sending) -> Result<Sink, OpenError> {
        let showing = match &target.client_certificate {
            Some(certificate) => Sending {
                lines: Some(certificate.lines(target.url.uri(), sending.lines.as_ref())?),
                ..sending.clone()
            },
            None => sending.clone(),
        };
        let tokens = match &target.auth {
            Some(Auth::OAuth2(it)) => Some(Tokens::new(it.grant())),
            _ => None,
        };
        Ok(Sink {
            signer: Signer::new(&target.secrets),
            fixed: target.auth.as_ref().and_then(Auth::fixed),
            tokens,
            pace: target.rate_limit.as_ref().map(Pace::new),
            target: target.clone(),
            sending,
            showing,
        })
    }

    async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let at_once = if self.target.body == Body::Event { 1 } else { records.len() };
        let mut acks = Vec::with_capacity(records.len());
        for records in records.chunks(at_once.max(1)) {
            acks.append(&mut self.deliver_together(records).await);
        }
        acks
    }

    async fn deliver_together(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let send = |part: Range<usize>| async move {
            match self.post(&records[part.clone()]).await {
                Ok(answer) => self.outcome(&answer, part.len()),
                Err(fault) => Outcome::Failed(fault),
            }
        };
        in_parts(records.len(), send).await
    }

    async fn post(&self, records: &[Arc<Record>]) -> Result<Answer, Fault> {
        let body = match (self.target.body, records) {
            (Body::Event, [record]) => record.body.clone(),
            (Body::Event | Body::Ndjson, _) => Bytes::from(lines(records)),
            (Body::JsonArray, _) => Bytes::from(array(records)),
        };
        let packed = match self.target.compression {
            Compression::None => body.clone(),
            Compression::Gzip => gzipped(body.clone()).await?,
        };
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
        let send = |authorization: Option<Secret>| {
            let request = self.post_request(records, authorization.as_ref());
            let id = id_of(records.iter().map(|it| &**it));
            let request = self.signer.sign(request, &id, &body);
            exchange(request, packed.clone(), &self.showing)
        };
        match &self.tokens {
            Some(tokens) => tokens.with(&self.sending, |token| send(Some(token))).await,
            None => send(self.fixed.clone()).await,
        }
    }

    fn post_request(&self, records: &[Arc<Record>], authorization: Option<&Secret>) -> Builder {
        let media_type = match (self.target.body, self.sending.format) {
            (Body::Ndjson, _) => "application/x-ndjson",
            (_, Format::Json) => "application/json",
            // CloudEvents, HTTP binding, 3.2 and 3.3.
            (Body::Event, Format::CloudEvents) => "application/cloudevents+json",
            (Body::JsonArray, Format::CloudEvents) => "application/cloudevents-batch+json",
        };
        let request = self
            .request(Method::POST, authorization)
            .header(header::CONTENT_TYPE, media_type)
            .header(HOPS_HEADER, Hops::header_of_next(records.iter().map(|it| it.hops)));
        match self.target.compression {
            Compression::None => request,
            Compression::Gzip => request.header(header::CONTENT_ENCODING, "gzip"),
        }
    }

    fn request(&self, method: Method, authorization: Option<&Secret>) -> Builder {
        let mut request = Request::builder().method(method).uri(self.target.url.uri().clone());
        for (name, value) in &self.target.headers {
            request = request.header(name.as_str(), value.expose());
        }
        match authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.expose()),
            None => request,
        }
    }

    fn outcome(&self, answer: &Answer, records: usize) -> Outcome {
        let class = match (answer.status, answer.retry_after) {
            (StatusCode::SERVICE_UNAVAILABLE, Some(_)) => Some(THROTTLED),
            (status, _) => class_of(status),
        };
        let Some(class) = class else { return Outcome::Answered(vec![Ack::Delivered; records]) };
        let is_off = self.clock_is_off(answer);
        // Receivers that keep to the scheme refuse every signature then, whatever the events.
        let class = if is_off && class == Class::Poison { CONFIGURATION } else { class };
        let advice = match answer.status {
            _ if is_off => {
                "; correct this machine's clock: signatures are good for five minutes only"
            }
            StatusCode::GONE => {
                "; the receiver wants no more events: take the destination away, or correct `url`"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; correct `auth` or `secrets`, or the receiver"
            }
            _ => "; correct `url`, or the receiver",
        };
        match answer.outcome(class, &self.target.url, advice, &self.sending) {
            Outcome::Failed(fault) if is_off && fault.kind == FaultKind::Configuration => {
                Outcome::Failed(fault.with(Trouble::Clock))
            }
            outcome => outcome,
        }
    }

    /// Whether what is signed is refused for its time, by the time that an answer names.
    fn clock_is_off(&self, answer: &Answer) -> bool {
        !self.target.secrets.is_empty() && answer.skew.is_some_and(|it| it > MAX_SKEW)
    }

    /// Asks with `OPTIONS`, which carries no event and changes nothing; any answer will do. Where tokens
    /// are used, one must be given first.
    async fn probe(&self) -> Result<String, Fault> {
        let (authorization, with) = match &self.tokens {
            Some(tokens) => {
                (Some(bearer(&tokens.get(&self.sending).await?)), ", and a token was given")
            }
            None => (self.fixed.clone(), ""),
        };
        let request = self.request(Method::OPTIONS, authorization.as_ref());
        let answer = exchange(request, Bytes::new(), &self.showing).await?;
        if let Some(skew) = answer.skew.filter(|_| self.clock_is_off(&answer)) {
            let minutes = skew.as_secs() / 60;
            return Err(Fault::configuration(format!(
                "the clock of {} is {minutes} minutes from this machine's: signatures are good for five only",
                self.target.url
            ))
            .with(Trouble::Clock));
        }
        Ok(format!(
            "{} was reached, with {} for OPTIONS{with}; whether it takes events shows with the first",
            self.target.url, answer.status
        ))
    }
}

/// Spreads requests evenly, so that there are never more in a time than there may be.
struct Pace {
    apart: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(rate: &Rate) -> Pace {
        let apart = rate.per.0.div_f64(rate.requests.0 as f64);
        Pace { apart, next: Mutex::new(Instant::now()) }
    }

    async fn wait(&self) {
        let turn = {
            let mut next = lock(&self.next);
            let turn = (*next).max(Instant::now());
            *next = turn + self.apart;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spread_over_the_time_that_they_are_limited_in() {
        let pace = Pace::new(&Rate {
            requests: Requests(4),
            per: Per(Duration::from_secs(2), "2s".into()),
        });
        let begin = Instant::now();
        let waits = futures_util::future::join_all((0..9).map(|_| async {
            pace.wait().await;
            begin.elapsed().as_millis()
        }));
        assert_eq!(waits.await, [0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let quiet = Instant::now();
        pace.wait().await;
        pace.wait().await;
        assert_eq!(quiet.elapsed(), Duration::from_millis(500), "a quiet minute saves nothing up");
    }
}
