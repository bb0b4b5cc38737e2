//! Kinesis Data Streams: one record an event, by PutRecords.
//!
//! A record is delivered when the answer has status 200, the service's request id, as many entries as
//! records were sent, and a sequence number in the record's entry.
//!
//! The event's id is the partition key unless the settings name another (`partition_key`), so a stream's
//! shards fill evenly and a record that is sent twice goes to the same shard. Events are not packed together:
//! a consumer needs no library.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::describe_stream_summary::builders::DescribeStreamSummaryFluentBuilder;
use aws_sdk_kinesis::operation::put_records::PutRecordsInput;
use aws_sdk_kinesis::types::{PutRecordsResultEntry, StreamStatus};
use hyper::Uri;

use super::ack::{Ack, Fault, FaultKind};
use super::actions::{DESCRIBE_STREAM, KINESIS, PUT_RECORDS};
use super::answer::{Call, CallError};
use super::arn::{ArnOf, Stream};
use super::auth::{Auth, Endpoint};
use super::aws::Connection;
use super::batch::{Count, Limits};
use super::body::{base64, in_place, string};
use super::error::OpenError;
use super::kind::{AtAws, Boxed, Kind, Measured, Opened};
use super::log_output::LogOutput;
use super::partition_key::{PartitionKey, hash_of};
use super::parts::{Outcome, Parts};
use super::refusal::{CONFIGURATION, Class, Refusal, class_of};
use super::transport::Sending;
use crate::event::{EventType, Record};
#[cfg(test)]
use crate::form::Wrong;
use crate::form::{Checked, Door, Form, field};

/// Most records of one PutRecords (Kinesis API model, `PutRecordsRequestEntryList`).
const MAX_RECORDS: usize = 500;
/// Most bytes of one PutRecords, partition keys included. The service takes 10 MiB since 2025; half
/// of it, the older limit and the default of Amazon's own producer, keeps the duplicates of a lost
/// answer few.
const MAX_BYTES: usize = 5 * 1024 * 1024;
/// Most bytes of one record with its partition key: what a stream takes unless its owner raises
/// `MaxRecordSizeInKiB` (Kinesis developer guide, "large records").
const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Longest id of a shard (Kinesis API model, `ShardId`).
const MAX_SHARD_ID: usize = 128;
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 32;

pub(super) const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    max_record_bytes: MAX_RECORD_BYTES,
    max_span: None,
    in_flight: IN_FLIGHT,
    count: Count::BodyAndId,
};

const PUT: &str = PUT_RECORDS.name;
const DESCRIBE: &str = DESCRIBE_STREAM.name;

/// A Kinesis data stream, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisTarget {
    stream: ArnOf<Stream>,
    partition_key: Option<PartitionKey>,
    auth: Auth,
    endpoint_url: Option<Checked<Endpoint>>,
}

impl Form for KinesisTarget {
    fn form<D: Door>(d: &mut D, it: Option<&KinesisTarget>) -> Option<KinesisTarget> {
        let stream = d.required(
            field(
                "stream_arn",
                "The stream; region and account are those of the ARN.",
                "arn:aws:kinesis:us-east-1:123456789012:stream/errors",
            ),
            it.map(|it| &it.stream),
        );
        let partition_key = d.optional(
            field(
                "partition_key",
                "What decides the shard: `event_id`, a field of the record as it is delivered, such as `ev.conn.client_ip` or `event.account_id`, or an expression. Records with equal keys are sent in their order; those without one have their event's id.",
                "ev.conn.server_name",
            )
            .by_default("event_id")
            .ours(),
            it.and_then(|it| it.partition_key.as_ref()),
        );
        let auth = Auth::ask(d, it.map(|it| &it.auth));
        let endpoint_url = Endpoint::ask(d, it.and_then(|it| it.endpoint_url.as_ref()));
        Some(KinesisTarget { stream: stream?, partition_key, auth, endpoint_url })
    }
}

impl KinesisTarget {
    /// One of these settings, for tests.
    #[cfg(test)]
    pub fn new(
        stream_arn: &str,
        auth: Auth,
        endpoint_url: Option<String>,
    ) -> Result<KinesisTarget, Wrong> {
        let endpoint_url = endpoint_url.map(|url| Checked::new(&url)).transpose()?;
        let stream = ArnOf::new(stream_arn)?;
        Ok(KinesisTarget { stream, partition_key: None, auth, endpoint_url })
    }

    /// The same, placed by what an expression reads.
    #[cfg(test)]
    pub fn placed_by(self, partition_key: &str) -> Result<KinesisTarget, Wrong> {
        Ok(KinesisTarget { partition_key: Some(PartitionKey::new(partition_key)?), ..self })
    }

    fn key(&self) -> PartitionKey {
        self.partition_key.clone().unwrap_or_default()
    }

    pub(super) fn at(&self) -> AtAws<'_> {
        let endpoint_url = self.endpoint_url.as_ref().map(Checked::as_str);
        AtAws {
            arn: &self.stream,
            auth: &self.auth,
            endpoint_url,
            actions: &KINESIS,
            log_stream: "",
        }
    }

    pub(super) fn auth_mut(&mut self) -> &mut Auth {
        &mut self.auth
    }
}

impl Kind for KinesisTarget {
    fn name(&self) -> &'static str {
        "kinesis"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn measured(&self, record: &Record) -> Measured {
        let of = self.key();
        let (key, is_there) = of.of(record);
        Measured {
            bytes: record.body.len() + key.len(),
            place: Some(hash_of(&key)),
            in_order: !of.is_event_id(),
            lacks_key: !is_there,
        }
    }

    fn lacks(&self, event_type: &Arc<EventType>, fields: Option<&[String]>) -> Option<String> {
        self.partition_key.as_ref()?.may_be_in(event_type, fields).err()
    }

    fn at_aws(&self) -> Option<AtAws<'_>> {
        Some(self.at())
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        Box::pin(async move { Ok(Box::new(Sink::open(self, sending).await) as Box<dyn Opened>) })
    }
}

/// For status pages, without secrets.
impl fmt::Display for KinesisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KinesisTarget { stream, auth, .. } = self;
        let (name, region, account) = (stream.name(), stream.region(), stream.account());
        write!(f, "Kinesis stream `{name}` in {region}, account {account}, {auth}")
    }
}

/// An open stream.
pub(super) struct Sink {
    aws: Connection<Client>,
    stream_arn: String,
    key: PartitionKey,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }

    fn credentials(&self) -> Option<String> {
        self.aws.credentials()
    }

    fn url(&self) -> Boxed<'_, Option<Uri>> {
        Box::pin(self.url())
    }
}

impl Sink {
    pub(super) async fn open(settings: &KinesisTarget, sending: Sending) -> Sink {
        let connection = settings.at().settings(sending);
        let build = |config: &_, endpoint_url: Option<&str>| {
            let mut builder = aws_sdk_kinesis::config::Builder::from(config);
            if let Some(url) = endpoint_url {
                builder = builder.endpoint_url(url);
            }
            Client::from_conf(builder.build())
        };
        Sink {
            aws: Connection::open(connection, build).await,
            stream_arn: settings.stream.as_str().to_owned(),
            key: settings.key(),
        }
    }

    /// The URL that records go to; questions about the stream have another host.
    pub(super) async fn url(&self) -> Option<Uri> {
        let request =
            PutRecordsInput::builder().stream_arn(&self.stream_arn).set_records(Some(vec![]));
        self.aws.url(async |client| request.send_with(&client).await).await
    }

    fn describe(&self, client: Client) -> DescribeStreamSummaryFluentBuilder {
        client.describe_stream_summary().stream_arn(&self.stream_arn)
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let mut parts = Parts::new(records.len());
        let mut untaken = Untaken::new(&self.key);
        while let Some(part) = parts.next() {
            let records = &records[part.clone()];
            let may_go: Vec<bool> = records.iter().map(|it| untaken.may_go(it)).collect();
            let outcome = if may_go.iter().all(|may| *may) {
                self.put(records).await
            } else {
                let sent = records.iter().zip(&may_go).filter(|(_, may)| **may);
                let sent: Vec<_> = sent.map(|(it, _)| Arc::clone(it)).collect();
                match sent.is_empty() {
                    true => Outcome::Answered(Vec::new()),
                    false => self.put(&sent).await,
                }
            };
            parts.settle(part, untaken.noted(records, &may_go, outcome));
        }
        parts.into_acks()
    }

    async fn put(&self, records: &[Arc<Record>]) -> Outcome {
        let call = Call { action: PUT, resource: &self.stream_arn, strange: self.aws.is_strange() };
        let body = in_place(body(&self.stream_arn, &self.key, records));
        // The SDK gets what decides where it goes; the records are in the body.
        let sent = self.aws.call(|client| {
            let request = client.put_records().stream_arn(&self.stream_arn);
            request.set_records(Some(vec![])).customize().mutate_request(body).send()
        });
        match sent.await {
            Ok(answer) if answer.records().len() != records.len() => {
                call.miscounted(answer.records().len(), records.len())
            }
            Ok(answer) => Outcome::Answered(verdicts(&call, answer.records())),
            Err(CallError::Refused(refusal)) => call.outcome(class(&refusal), &refusal),
            Err(CallError::Unanswered(fault) | CallError::NoCredentials(fault)) => {
                Outcome::Failed(fault)
            }
        }
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        let call =
            Call { action: DESCRIBE, resource: &self.stream_arn, strange: self.aws.is_strange() };
        let answer = self.aws.call(|client| self.describe(client).send()).await;
        let answer = answer.map_err(|error| call.probe_fault(error))?;
        let Some(summary) = answer.stream_description_summary() else {
            return Err(Fault::transient("the service answered without describing the stream"));
        };
        let (name, shards) = (summary.stream_name(), summary.open_shard_count());
        match summary.stream_status() {
            StreamStatus::Active | StreamStatus::Updating => {
                Ok(format!("stream `{name}` is active, open shards: {shards}"))
            }
            StreamStatus::Creating => {
                Err(Fault::transient(format!("stream `{name}` is still being created")))
            }
            status => Err(Fault::configuration(format!("stream `{name}` is {status}"))),
        }
    }
}

/// Keys of records of a batch that were not taken: later parts of it must not carry their later records.
struct Untaken<'k> {
    key: &'k PartitionKey,
    places: HashSet<u128>,
}

impl Untaken<'_> {
    fn new(key: &PartitionKey) -> Untaken<'_> {
        Untaken { key, places: HashSet::new() }
    }

    fn may_go(&self, record: &Record) -> bool {
        self.places.is_empty() || !self.places.contains(&hash_of(&self.key.of(record).0))
    }

    /// What became of a part, those records included that were not sent.
    fn noted(&mut self, records: &[Arc<Record>], may_go: &[bool], outcome: Outcome) -> Outcome {
        if self.key.is_event_id() {
            return outcome;
        }
        let mut acks = match outcome {
            Outcome::Answered(acks) => acks.into_iter(),
            Outcome::Refused(_) if records.len() == 1 => {
                self.note(&records[0]);
                return outcome;
            }
            _ => return outcome,
        };
        let held_back =
            || Ack::Retry(Fault::transient("an earlier record of its key was not taken"));
        let mut all = Vec::with_capacity(records.len());
        for (record, may) in records.iter().zip(may_go) {
            let Some(ack) = (if *may { acks.next() } else { Some(held_back()) }) else { break };
            if ack != Ack::Delivered {
                self.note(record);
            }
            all.push(ack);
        }
        Outcome::Answered(all)
    }

    fn note(&mut self, record: &Record) {
        self.places.insert(hash_of(&self.key.of(record).0));
    }
}

/// The body of a PutRecords.
fn body(stream_arn: &str, key: &PartitionKey, records: &[Arc<Record>]) -> Vec<u8> {
    let each = |record: &Arc<Record>| record.body.len() / 3 * 4 + record.event_id.len() + 48;
    let mut out =
        Vec::with_capacity(records.iter().map(each).sum::<usize>() + stream_arn.len() + 48);
    out.extend_from_slice(b"{\"StreamARN\":");
    string(&mut out, stream_arn);
    out.extend_from_slice(b",\"Records\":[");
    for (at, record) in records.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        base64(&mut out, [&*record.body]);
        out.extend_from_slice(b"\",\"PartitionKey\":");
        string(&mut out, &key.of(record).0);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// The class of an error, of the whole request or of one record.
fn class(refusal: &Refusal) -> Class {
    match class_of(refusal) {
        // The request itself is wrong, whatever the records: holding it against them would throw
        // away every one of them.
        Class::Poison if names_the_stream(&refusal.text) => CONFIGURATION,
        class => class,
    }
}

fn names_the_stream(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("streamarn") || text.contains("streamname")
}

/// The shard that a message names: ``Rate exceeded for shard shardId-000000000001 in stream ...``.
fn shard_in(text: &str) -> Option<Box<str>> {
    let id = &text[text.find("shardId-")?..];
    let is_of_id = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-');
    let end = id.find(|it| !is_of_id(it)).unwrap_or(id.len());
    let id = id[..end].trim_end_matches('.');
    (id.len() <= MAX_SHARD_ID).then(|| id.into())
}

/// One verdict a record, in the order of the request, which is that of the answer.
fn verdicts(call: &Call, results: &[PutRecordsResultEntry]) -> Vec<Ack> {
    let verdict = |result: &PutRecordsResultEntry| match result.error_code() {
        None if result.sequence_number().is_some() => Ack::Delivered,
        code => {
            let refusal = Refusal {
                code: code.unwrap_or_default().to_owned(),
                text: result.error_message().unwrap_or_default().to_owned(),
                ..Refusal::default()
            };
            match call.ack(class(&refusal), &refusal) {
                Ack::Retry(fault) if fault.kind == FaultKind::Throttled => {
                    Ack::Retry(Fault { part: shard_in(&refusal.text), ..fault })
                }
                ack => ack,
            }
        }
    };
    results.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::refusal::{THROTTLED, TRANSIENT};
    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::FaultKind;

    const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/errors";

    fn refusal(code: &str, text: &str, status: u16) -> Refusal {
        let status = Some(status);
        Refusal { code: code.to_owned(), text: text.to_owned(), status, ..Refusal::default() }
    }

    #[test]
    fn every_documented_error_of_put_records_has_its_class() {
        for (code, status, class) in [
            ("ProvisionedThroughputExceededException", 400, THROTTLED),
            ("KMSThrottlingException", 400, THROTTLED),
            ("ThrottlingException", 400, THROTTLED),
            ("LimitExceededException", 400, THROTTLED),
            ("InternalFailureException", 500, TRANSIENT),
            ("InternalFailure", 500, TRANSIENT),
            ("ServiceUnavailable", 503, TRANSIENT),
            ("AccessDeniedException", 400, CONFIGURATION),
            ("ExpiredTokenException", 400, CONFIGURATION),
            ("InvalidSignatureException", 400, CONFIGURATION),
            ("UnrecognizedClientException", 400, CONFIGURATION),
            ("ResourceNotFoundException", 400, CONFIGURATION),
            ("KMSAccessDeniedException", 400, CONFIGURATION),
            ("KMSDisabledException", 400, CONFIGURATION),
            ("KMSInvalidStateException", 400, CONFIGURATION),
            ("KMSNotFoundException", 400, CONFIGURATION),
            ("KMSOptInRequired", 400, CONFIGURATION),
            ("InvalidArgumentException", 400, Class::Poison),
            ("ValidationException", 400, Class::Poison),
            ("", 413, Class::Poison),
        ] {
            assert_eq!(super::class(&refusal(code, "", status)), class, "{code}");
        }
    }

    #[test]
    fn a_request_that_is_wrong_about_the_stream_is_not_held_against_the_records() {
        let at = |member: &str| format!("1 validation error detected: Value at '{member}' failed");
        for (text, class) in [
            (at("streamARN"), CONFIGURATION),
            (at("streamName"), CONFIGURATION),
            (at("records.7.member.data"), Class::Poison),
        ] {
            assert_eq!(super::class(&refusal("ValidationException", &text, 400)), class, "{text}");
        }
    }

    #[test]
    fn each_record_gets_the_verdict_of_its_own_entry() {
        let failed = |code: &str, text: &str| {
            PutRecordsResultEntry::builder().error_code(code).error_message(text).build()
        };
        let results = [
            PutRecordsResultEntry::builder().sequence_number("49").shard_id("s-0").build(),
            failed(
                "ProvisionedThroughputExceededException",
                "Rate exceeded for shard shardId-000000000001.",
            ),
            failed("InternalFailure", "Internal Service Failure"),
            failed("KMSThrottlingException", ""),
            failed("SomethingNew", "?"),
            PutRecordsResultEntry::builder().build(),
        ];
        let call = Call { action: PUT, resource: ARN, strange: false };
        let retry = |kind, end: &str| {
            let message = format!("`kinesis:PutRecords` was answered with {end}");
            let part = end.contains("shard").then(|| "shardId-000000000001".into());
            Ack::Retry(Fault { part, ..Fault::new(kind, message) })
        };
        assert_eq!(
            verdicts(&call, &results),
            [
                Ack::Delivered,
                retry(
                    FaultKind::Throttled,
                    "`ProvisionedThroughputExceededException`: Rate exceeded for shard shardId-000000000001"
                ),
                retry(FaultKind::Transient, "`InternalFailure`: Internal Service Failure"),
                retry(FaultKind::Throttled, "`KMSThrottlingException`"),
                retry(FaultKind::Transient, "`SomethingNew`: ?"),
                retry(FaultKind::Transient, "an error without a code"),
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_batch_within_our_limits_is_a_request_within_the_services(
            records in proptest::collection::vec(
                (prop_oneof![9 => 1usize..3_000, 1 => 1usize..1_050_000], "\\PC{1,64}"),
                1..=MAX_RECORDS,
            ),
        ) {
            let mut bytes = 0;
            let fits = |record: &Arc<Record>| {
                let counted = LIMITS.record_bytes(record);
                bytes += counted;
                counted <= LIMITS.max_record_bytes && bytes <= LIMITS.max_bytes
            };
            let record = |(length, event_id): (usize, String)| Arc::new(Record {
                event_id: event_id.into(),
                time: Timestamp { seconds: 0, nanos: 0 },
                body: Bytes::from(vec![b'x'; length]),
                hops: 0,
            });
            let records: Vec<_> = records.into_iter().map(record).take_while(fits).collect();
            let request: serde_json::Value = serde_json::from_slice(&body(ARN, &PartitionKey::default(), &records)).unwrap();
            prop_assert_eq!(&request["StreamARN"], ARN);
            let entries = request["Records"].as_array().unwrap();
            prop_assert_eq!(entries.len(), records.len());
            let mut all = 0;
            for (entry, record) in entries.iter().zip(&records) {
                let key = entry["PartitionKey"].as_str().unwrap();
                let data = STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
                prop_assert_eq!((key, &*data), (&*record.event_id, &*record.body));
                prop_assert!(data.len() + key.len() <= 1024 * 1024 && key.chars().count() <= 256);
                all += data.len() + key.len();
            }
            prop_assert!(all <= 10 * 1024 * 1024, "{} bytes", all);
        }
    }

    #[test]
    fn a_stream_is_shown_without_secrets() {
        let auth = Auth::of_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI");
        let settings = KinesisTarget::new(ARN, auth, None).unwrap();
        assert_eq!(
            settings.to_string(),
            "Kinesis stream `errors` in us-east-1, account 123456789012, with key \
             `AKIAIOSFODNN7EXAMPLE`"
        );
        assert!(!format!("{settings:?}").contains("wJalr"));
    }
}
