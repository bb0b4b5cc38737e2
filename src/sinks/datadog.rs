//! Datadog Logs: events as log items with the envelope at the top level and `ddsource: ngrok`, by which
//! Datadog's own integration for ngrok maps their fields.
//!
//! A request is delivered when it is answered 202 with nothing, or with a JSON object. The intake takes or
//! refuses a request as a whole, so one that it refuses for its content is halved until the record is found.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

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
use super::transport::Sending;
use super::trouble::Trouble;
use super::web_url::WebUrl;
use crate::event::Record;
use crate::form::{
    Checked, Door, Form, Nature, Rule, SecretOf, Shape, Value, Written, Wrong, field,
};

/// Most items of one request (Datadog API reference, "Send logs").
const MAX_RECORDS: usize = 1_000;
/// Most bytes of one request before compression: 5 MB (the same place), with the array's brackets.
const MAX_BYTES: usize = 5_000_000 - 2;
/// Most bytes of one item: a longer one is cut (the same place), and would be no JSON any more.
const MAX_RECORD_BYTES: usize = 1_000_000;
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 16;
/// Longest service, longest list of tags: Datadog cuts a tag at 200 characters, and has room for 100.
const MAX_TEXT: usize = 20_000;

/// Sites by the names that Datadog gives them ("Getting started with Datadog sites", 2026).
const SITES: [(&str, &str); 10] = [
    ("US1", "datadoghq.com"),
    ("US3", "us3.datadoghq.com"),
    ("US5", "us5.datadoghq.com"),
    ("EU", "datadoghq.eu"),
    ("EU1", "datadoghq.eu"),
    ("AP1", "ap1.datadoghq.com"),
    ("AP2", "ap2.datadoghq.com"),
    ("UK1", "uk1.datadoghq.com"),
    ("US1-FED", "ddog-gov.com"),
    ("US2-FED", "us2.ddog-gov.com"),
];

/// An organization of Datadog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatadogTarget {
    api_key: SecretOf<ApiKey>,
    ddsite: Site,
    service: Option<Checked<Text>>,
    ddtags: Option<Checked<Text>>,
    endpoint_url: Option<WebUrl>,
}

impl Form for DatadogTarget {
    fn form<D: Door>(d: &mut D, it: Option<&DatadogTarget>) -> Option<DatadogTarget> {
        let api_key = d.required(
            field("api_key", "An API key of the organization.", "${env:DD_API_KEY}"),
            it.map(|it| &it.api_key),
        );
        let ddsite = d.or(
            field("ddsite", "The site by its name (US1, US3, US5, EU1, AP1, AP2, UK1, US1-FED, US2-FED) or host.", "us5.datadoghq.com"),
            Site { text: "datadoghq.com".into() },
            it.map(|it| &it.ddsite),
        );
        let service = d.optional(
            field("service", "The service of each log.", "gateway"),
            it.and_then(|it| it.service.as_ref()),
        );
        let ddtags = d.optional(
            field("ddtags", "Tags of each log, with commas between.", "env:production,team:edge"),
            it.and_then(|it| it.ddtags.as_ref()),
        );
        let endpoint_url = d.optional(
            field(
                "endpoint_url",
                "In place of the site: a proxy of one's own, or an emulator. Paths are Datadog's.",
                "http://127.0.0.1:8282",
            )
            .ours(),
            it.and_then(|it| it.endpoint_url.as_ref()),
        );
        Some(DatadogTarget { api_key: api_key?, ddsite: ddsite?, service, ddtags, endpoint_url })
    }
}

impl DatadogTarget {
    /// A place of the intake, or of the API beside it.
    fn place(&self, host: &str, path: &str) -> Result<Uri, axum::http::Error> {
        match &self.endpoint_url {
            Some(url) => url.at(path),
            None => {
                let authority = format!("{host}.{}", self.ddsite.host());
                Uri::builder().scheme("https").authority(authority).path_and_query(path).build()
            }
        }
    }

    fn intake(&self) -> Result<Uri, axum::http::Error> {
        self.place("http-intake.logs", "/api/v2/logs")
    }

    /// What stands before the members of an event in its item.
    fn beginning(&self) -> Vec<u8> {
        let mut members = Map::new();
        members.insert("ddsource".to_owned(), "ngrok".into());
        for (name, text) in [("service", &self.service), ("ddtags", &self.ddtags)] {
            members.extend(text.as_ref().map(|text| (name.to_owned(), text.as_str().into())));
        }
        let mut text = Json::Object(members).to_string().into_bytes();
        text.pop();
        text
    }
}

impl Kind for DatadogTarget {
    fn name(&self) -> &'static str {
        "datadog"
    }

    fn limits(&self) -> Limits {
        // The item's own brace takes the place of the event's; a comma behind each.
        let addition = self.beginning().len() + 1;
        Limits {
            max_records: MAX_RECORDS,
            max_bytes: MAX_BYTES,
            max_record_bytes: MAX_RECORD_BYTES,
            max_span: None,
            in_flight: IN_FLIGHT,
            count: Count::BodyPlus(addition),
        }
    }

    fn url(&self) -> Option<Uri> {
        self.intake().ok()
    }

    fn next(&self, trouble: Trouble) -> Option<String> {
        let api = self.place("api", "/api/v1/validate").ok()?;
        (trouble == Trouble::Refused).then(|| {
            format!("curl -H \"DD-API-KEY: $DD_API_KEY\" {api} (a key is good on its own site only: `ddsite`)")
        })
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        let beginning = self.beginning();
        let sink = Sink { target: self.clone(), beginning, sending };
        Box::pin(std::future::ready(Ok(Box::new(sink) as Box<dyn Opened>)))
    }
}

/// For status pages, without secrets.
impl fmt::Display for DatadogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint_url {
            Some(url) => write!(f, "Datadog Logs at {url}"),
            None => write!(f, "Datadog Logs, site `{}`", self.ddsite.host()),
        }
    }
}

/// An intake that is ready to be asked.
struct Sink {
    target: DatadogTarget,
    beginning: Vec<u8>,
    sending: Sending,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }

    fn url(&self) -> Boxed<'_, Option<Uri>> {
        Box::pin(std::future::ready(self.target.intake().ok()))
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
        let body = gzipped(Bytes::from(body(&self.beginning, records))).await?;
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip");
        exchange(request, body, &self.sending).await
    }

    fn request(
        &self,
        method: Method,
        place: Result<Uri, axum::http::Error>,
    ) -> Result<axum::http::request::Builder, Fault> {
        let place = place.map_err(|error| Fault::configuration(format!("no URL: {error}")))?;
        let request = Request::builder().method(method).uri(place);
        Ok(request.header("dd-api-key", self.target.api_key.expose()))
    }

    fn outcome(&self, answer: &Answer, records: usize) -> Outcome {
        let is_its_own = || {
            answer.body.is_empty()
                || serde_json::from_slice::<Map<String, Json>>(&answer.body).is_ok()
        };
        if answer.status == StatusCode::ACCEPTED && is_its_own() {
            return Outcome::Answered(vec![Ack::Delivered; records]);
        }
        let Some(class) = class_of(answer.status) else {
            return answer.stranger(&self.target, "202 and a JSON object");
        };
        let advice = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; correct `api_key`, or `ddsite`: a key is good on its own site only"
            }
            _ => "; correct `ddsite` or `endpoint_url`",
        };
        answer.outcome(class, &self.target, advice, &self.sending)
    }

    /// Asks whether the key is good, which writes nothing.
    async fn probe(&self) -> Result<String, Fault> {
        let request = self.request(Method::GET, self.target.place("api", "/api/v1/validate"))?;
        let answer = exchange(request, Bytes::new(), &self.sending).await?;
        let body = serde_json::from_slice::<Json>(&answer.body).unwrap_or_default();
        let target = &self.target;
        match answer.status.as_u16() {
            200 if body["valid"] == true => Ok(format!("{target}: the API key is good")),
            404 if target.endpoint_url.is_some() => Ok(format!(
                "{target} was reached, and cannot be asked about the key; whether it takes events shows with the first"
            )),
            _ => match self.outcome(&answer, 0) {
                Outcome::Failed(fault) => Err(fault),
                Outcome::Refused(message) => Err(Fault::configuration(message)),
                Outcome::Answered(_) => {
                    let said = format!("{target} did not say whether the key is good");
                    Err(Fault::unanswered(said).with(Trouble::Stranger))
                }
            },
        }
    }
}

/// The body of a request: each event's members behind those that are the same for all.
fn body(beginning: &[u8], records: &[Arc<Record>]) -> Vec<u8> {
    let length: usize = records.iter().map(|it| it.body.len() + beginning.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 2);
    out.push(b'[');
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(beginning);
        let members = record.body.get(1..).unwrap_or(b"}");
        if members != b"}" {
            out.push(b',');
        }
        out.extend_from_slice(members);
    }
    out.push(b']');
    out
}

/// A site, as it was written: one of Datadog's names, or a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    text: Box<str>,
}

impl Site {
    fn new(text: &str) -> Result<Site, Wrong> {
        let site = Site { text: text.into() };
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
        };
        let host = site.host();
        let is_name = host.len() <= 200
            && host.contains('.')
            && host.split('.').all(label)
            && host
                .rsplit('.')
                .next()
                .is_some_and(|it| it.bytes().any(|it| it.is_ascii_alphabetic()));
        match is_name {
            true => Ok(site),
            false => Err(Wrong::must(
                "ERR_NGROK_5134",
                "must be a site of Datadog, such as `US5` or `us5.datadoghq.com`",
            )),
        }
    }

    fn host(&self) -> &str {
        let known = SITES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.text));
        known.map_or(&self.text, |(_, host)| host)
    }
}

impl Value for Site {
    const SHAPE: Shape<Site> = Shape::Text(Site::new);
    /// The key goes there.
    const NATURE: Nature = Nature::Address;

    fn written(&self) -> Written {
        Written::open(&*self.text)
    }
}

/// A key, as a header takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ApiKey;

impl Rule for ApiKey {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= 256 && text.bytes().all(|it| it.is_ascii_graphic()) {
            true => Ok(()),
            false => Err(Wrong::must(SETTING, "must be at most 256 characters of visible ASCII")),
        }
    }
}

/// A text that each item carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text;

impl Rule for Text {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_TEXT && !text.chars().any(char::is_control) {
            true => Ok(()),
            false => {
                Err(Wrong::must(SETTING, "must have at most 20,000 bytes and no control character"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Timestamp;

    fn target(service: Option<&str>) -> DatadogTarget {
        DatadogTarget {
            api_key: SecretOf::new("k").unwrap(),
            ddsite: Site::new("EU").unwrap(),
            service: service.map(|it| Checked::new(it).unwrap()),
            ddtags: Some(Checked::new("env:\"x\",b").unwrap()),
            endpoint_url: None,
        }
    }

    fn record(body: &str) -> Arc<Record> {
        Arc::new(Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from(body.to_owned()),
            hops: 0,
        })
    }

    #[test]
    fn a_site_is_known_by_its_name_in_any_case_and_by_its_host() {
        for (text, host) in [
            ("US1", "datadoghq.com"),
            ("us5", "us5.datadoghq.com"),
            ("eu1", "datadoghq.eu"),
            ("US1-FED", "ddog-gov.com"),
            ("ap2.datadoghq.com", "ap2.datadoghq.com"),
            ("logs.example.org", "logs.example.org"),
        ] {
            assert_eq!(Site::new(text).unwrap().host(), host);
        }
        for text in ["US9", "", "a b.com", "evil.com/x", "evil.com:80", "10.0.0.1", "a..b", "@.com"]
        {
            let wrong = Site::new(text).unwrap_err();
            assert_eq!(wrong.code(), "ERR_NGROK_5134", "{text}");
        }
        let url = target(None).intake().unwrap().to_string();
        assert_eq!(url, "https://http-intake.logs.datadoghq.eu/api/v2/logs");
    }

    #[test]
    fn an_item_is_the_event_with_its_source_service_and_tags() {
        let target = target(Some("gate"));
        let text = body(&target.beginning(), &[record(r#"{"event_id":"ev_1"}"#), record("{}")]);
        let items: Json = serde_json::from_slice(&text).unwrap();
        let same = r#""ddsource":"ngrok","service":"gate","ddtags":"env:\"x\",b""#;
        let expected = format!(r#"[{{"event_id":"ev_1",{same}}},{{{same}}}]"#);
        assert_eq!(items, serde_json::from_str::<Json>(&expected).unwrap());
    }

    proptest! {
        #[test]
        fn a_batch_within_our_limits_is_a_request_within_datadogs(
            lengths in proptest::collection::vec(1usize..2_000, 1..50),
            service in "[a-z]{1,20}",
        ) {
            let target = target(Some(&service));
            let limits = target.limits();
            let records: Vec<_> =
                lengths.iter().map(|it| record(&format!("{{\"a\":\"{}\"}}", "x".repeat(*it)))).collect();
            let counted: usize = records.iter().map(|it| limits.record_bytes(it)).sum();
            let written = body(&target.beginning(), &records).len();
            prop_assert!(written <= counted + 2, "{} {}", written, counted);
        }
    }
}
