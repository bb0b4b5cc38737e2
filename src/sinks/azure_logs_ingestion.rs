//! Azure Monitor's Logs Ingestion API: JSON arrays for a stream of a data collection rule.
//!
//! A request is delivered when it is answered 204; any other success is not the service's. It takes or refuses a
//! request as a whole, so one that it refuses for its content is halved until the record is found. Tokens come
//! from Entra by client credentials (`token.rs`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use hyper::Uri;
use serde_json::Value as Json;

use super::ack::{Ack, Fault};
use super::batch::{Count, Limits};
use super::error::{AUTH, OpenError, SETTING};
use super::exchange::{Answer, array, class_of, exchange, gzipped};
use super::kind::{Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::parts::{Outcome, in_parts};
use super::refusal::{CONFIGURATION, THROTTLED};
use super::token::{Grant, Tokens};
use super::transport::Sending;
use super::trouble::Trouble;
use super::web_url::WebUrl;
use crate::event::Record;
use crate::form::{Checked, Door, Form, Nature, Rule, Secret, Wrong, field};

/// Most bytes of one call: 1 MB, compressed or not (Azure Monitor service limits, "Logs Ingestion API"), with
/// the array's brackets. In decimal, the lesser reading.
const MAX_BYTES: usize = 1_000_000 - 2;
/// Most records of one call. The service names no limit; this bounds what a lost answer sends twice.
const MAX_RECORDS: usize = 10_000;
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 16;
/// The version of the API.
const API_VERSION: &str = "2023-01-01";
/// Longest name of a rule, a stream, a tenant or a client.
const MAX_NAME: usize = 256;

/// Hosts of the clouds: how an endpoint's host ends, where Entra is, what tokens are for.
const CLOUDS: [(&str, &str, &str); 3] = [
    (".azure.us", "login.microsoftonline.us", "https://monitor.azure.us/.default"),
    (".azure.cn", "login.partner.microsoftonline.cn", "https://monitor.azure.cn/.default"),
    ("", "login.microsoftonline.com", "https://monitor.azure.com/.default"),
];

/// A stream of a data collection rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureLogsIngestionTarget {
    tenant_id: Checked<Id>,
    client_id: Checked<Id>,
    client_secret: Secret,
    logs_ingestion_uri: WebUrl,
    rule: Checked<Name>,
    stream: Checked<Name>,
    token_url: Option<WebUrl>,
}

impl Form for AzureLogsIngestionTarget {
    fn form<D: Door>(
        d: &mut D,
        it: Option<&AzureLogsIngestionTarget>,
    ) -> Option<AzureLogsIngestionTarget> {
        let tenant_id = d.required(
            field("tenant_id", "The Entra tenant.", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
            it.map(|it| &it.tenant_id),
        );
        let client_id = d.required(
            field(
                "client_id",
                "The app registration's client id.",
                "4962773b-9cdb-44cf-a8bf-237846a00ab7",
            ),
            it.map(|it| &it.client_id),
        );
        let client_secret = d.required(
            field("client_secret", "Its client secret.", "${env:AZURE_CLIENT_SECRET}"),
            it.map(|it| &it.client_secret),
        );
        let logs_ingestion_uri = d.required(
            field(
                "logs_ingestion_uri",
                "The logs ingestion endpoint of the rule, or of a data collection endpoint.",
                "https://events-a1b2.westeurope-1.ingest.monitor.azure.com",
            ),
            it.map(|it| &it.logs_ingestion_uri),
        );
        let rule = d.required(
            field(
                "data_collection_rule_id",
                "The rule's immutable id, not its resource id.",
                "dcr-00000000000000000000000000000000",
            ),
            it.map(|it| &it.rule),
        );
        let stream = d.required(
            field(
                "data_collection_stream_name",
                "The stream of the rule, which begins with `Custom-`.",
                "Custom-Events_CL",
            ),
            it.map(|it| &it.stream),
        );
        let token_url = d.optional(
            field(
                "token_url",
                "Where tokens are given, in place of the tenant's own place at Entra.",
                "http://127.0.0.1:8283/token",
            )
            .ours(),
            it.and_then(|it| it.token_url.as_ref()),
        );
        Some(AzureLogsIngestionTarget {
            tenant_id: tenant_id?,
            client_id: client_id?,
            client_secret: client_secret?,
            logs_ingestion_uri: logs_ingestion_uri?,
            rule: rule?,
            stream: stream?,
            token_url,
        })
    }
}

impl AzureLogsIngestionTarget {
    fn place(&self) -> Result<Uri, axum::http::Error> {
        self.logs_ingestion_uri.at(&format!(
            "/dataCollectionRules/{}/streams/{}?api-version={API_VERSION}",
            self.rule, self.stream
        ))
    }

    fn grant(&self) -> Result<Grant, OpenError> {
        let host = self.logs_ingestion_uri.uri().host().unwrap_or_default().to_ascii_lowercase();
        let cloud = CLOUDS.iter().find(|(ending, ..)| host.ends_with(ending));
        let (_, login, scope) = cloud.copied().unwrap_or(CLOUDS[2]);
        let url = match &self.token_url {
            Some(url) => Ok(url.clone()),
            None => WebUrl::new(&format!("https://{login}/{}/oauth2/v2.0/token", self.tenant_id)),
        };
        Ok(Grant {
            url: url.map_err(|wrong| OpenError { message: wrong.of("tenant_id") })?,
            client_id: self.client_id.to_string(),
            client_secret: self.client_secret.clone(),
            in_header: false,
            fields: vec![("scope", scope.to_owned())],
        })
    }
}

impl Kind for AzureLogsIngestionTarget {
    fn name(&self) -> &'static str {
        "azure_logs_ingestion"
    }

    fn limits(&self) -> Limits {
        Limits {
            max_records: MAX_RECORDS,
            max_bytes: MAX_BYTES,
            max_record_bytes: MAX_BYTES,
            max_span: None,
            in_flight: IN_FLIGHT,
            count: Count::Line,
        }
    }

    fn url(&self) -> Option<Uri> {
        self.place().ok()
    }

    fn next(&self, trouble: Trouble) -> Option<String> {
        let AzureLogsIngestionTarget { client_id, tenant_id, .. } = self;
        Some(match trouble {
            Trouble::Refused => format!(
                "az ad app credential list --id {client_id} (of the tenant {tenant_id}; and the role: az role assignment list --all --assignee {client_id}, which must show Monitoring Metrics Publisher)"
            ),
            Trouble::MissingTarget => "az monitor data-collection rule list --query \"[].[name,immutableId]\" (give the immutable id as `data_collection_rule_id`)".to_owned(),
            _ => return None,
        })
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        let sink = self.grant().map(|grant| {
            let tokens = Tokens::new(grant);
            Box::new(Sink { target: self.clone(), tokens, sending }) as Box<dyn Opened>
        });
        Box::pin(std::future::ready(sink))
    }
}

/// For status pages, without secrets.
impl fmt::Display for AzureLogsIngestionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Azure stream `{}` at {}", self.stream, self.logs_ingestion_uri)
    }
}

/// A rule that is ready to be sent to.
struct Sink {
    target: AzureLogsIngestionTarget,
    tokens: Tokens,
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
        Box::pin(std::future::ready(self.target.place().ok()))
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
        let place = self.target.place();
        let place = place.map_err(|error| Fault::configuration(format!("no URL: {error}")))?;
        let body = gzipped(Bytes::from(array(records))).await?;
        self.tokens
            .with(&self.sending, |authorization| {
                let request = Request::builder()
                    .method(Method::POST)
                    .uri(place.clone())
                    .header(header::AUTHORIZATION, authorization.expose())
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::CONTENT_ENCODING, "gzip");
                exchange(request, body.clone(), &self.sending)
            })
            .await
    }

    fn outcome(&self, answer: &Answer, records: usize) -> Outcome {
        if answer.status == StatusCode::NO_CONTENT {
            return Outcome::Answered(vec![Ack::Delivered; records]);
        }
        let Some(class) = class_of(answer.status) else {
            return answer.stranger(&self.target, "204");
        };
        let body = serde_json::from_slice::<Json>(&answer.body).unwrap_or_default();
        // The request is wrong whatever the records.
        let is_stream = body["error"]["code"] == "InvalidStream";
        let class = match answer.status {
            StatusCode::BAD_REQUEST if is_stream => CONFIGURATION,
            StatusCode::SERVICE_UNAVAILABLE if answer.retry_after.is_some() => THROTTLED,
            _ => class,
        };
        let advice = match answer.status {
            StatusCode::BAD_REQUEST => {
                "; correct `data_collection_stream_name`: it begins with `Custom-`, as the rule names it"
            }
            StatusCode::UNAUTHORIZED => "; correct `client_id`, `client_secret` and `tenant_id`",
            StatusCode::FORBIDDEN => {
                "; give the app the role Monitoring Metrics Publisher on the rule (it takes up to 30 minutes)"
            }
            StatusCode::NOT_FOUND => {
                "; correct `data_collection_rule_id`, which is the rule's immutable id, or `logs_ingestion_uri`"
            }
            _ => "; correct `logs_ingestion_uri`",
        };
        answer.outcome(class, &self.target, advice, &self.sending)
    }

    /// Asks for a token, and sends no records: the rule cannot be asked about with the rights that delivering needs.
    async fn probe(&self) -> Result<String, Fault> {
        self.tokens.get(&self.sending).await?;
        let target = &self.target;
        Ok(format!(
            "{target}: Entra gave a token; whether the rule takes events shows with the first"
        ))
    }
}

/// A tenant or a client, whose the secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Id;

impl Rule for Id {
    const NATURE: Nature = Nature::Identity;

    fn check(text: &str) -> Result<(), Wrong> {
        match is_name(text, "-.") {
            true => Ok(()),
            false => Err(Wrong::must(
                AUTH,
                "must be an id such as `72f988bf-86f1-41af-91ab-2d7cd011db47`",
            )),
        }
    }
}

/// A rule or a stream, as they stand in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name;

impl Rule for Name {
    fn check(text: &str) -> Result<(), Wrong> {
        match is_name(text, "-_") {
            true => Ok(()),
            false => Err(Wrong::must(SETTING, "must be at most 256 letters, digits, `-` and `_`")),
        }
    }
}

fn is_name(text: &str, besides: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_fit) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(endpoint: &str) -> AzureLogsIngestionTarget {
        AzureLogsIngestionTarget {
            tenant_id: Checked::new("contoso.example").unwrap(),
            client_id: Checked::new("4962773b-9cdb-44cf-a8bf-237846a00ab7").unwrap(),
            client_secret: Secret::new("s"),
            logs_ingestion_uri: WebUrl::new(endpoint).unwrap(),
            rule: Checked::new("dcr-1").unwrap(),
            stream: Checked::new("Custom-Events_CL").unwrap(),
            token_url: None,
        }
    }

    #[test]
    fn the_place_is_the_rules_stream_whatever_stands_behind_the_endpoint() {
        for end in ["", "/", "/x?y=z"] {
            let target = target(&format!("https://e.ingest.monitor.azure.com{end}"));
            assert_eq!(
                target.place().unwrap().to_string(),
                "https://e.ingest.monitor.azure.com/dataCollectionRules/dcr-1/streams/Custom-Events_CL?api-version=2023-01-01"
            );
        }
    }

    #[test]
    fn tokens_are_asked_for_in_the_cloud_of_the_endpoint() {
        for (host, login, scope) in [
            (
                "e.ingest.monitor.azure.com",
                "login.microsoftonline.com",
                "https://monitor.azure.com/.default",
            ),
            (
                "e.ingest.monitor.azure.us",
                "login.microsoftonline.us",
                "https://monitor.azure.us/.default",
            ),
            (
                "E.ingest.monitor.AZURE.CN",
                "login.partner.microsoftonline.cn",
                "https://monitor.azure.cn/.default",
            ),
        ] {
            let grant = target(&format!("https://{host}")).grant().unwrap();
            let url = grant.url.uri().to_string();
            assert_eq!(url, format!("https://{login}/contoso.example/oauth2/v2.0/token"));
            assert_eq!(grant.fields, [("scope", scope.to_owned())]);
        }
    }

    #[test]
    fn what_stands_in_a_path_cannot_leave_it() {
        for text in ["a/b", "a?b", "..", "a b", "", "ä", "%2f"] {
            assert!(Name::check(text).is_err() && Id::check(text).is_err(), "{text}");
        }
    }
}
