//! Amazon Data Firehose: events, each newline-terminated, by PutRecordBatch; several in a record where
//! nobody downstream can tell, since each record is billed in whole 5 KiB.
//!
//! An event is delivered when the answer has status 200, the service's request id, as many entries as
//! records were sent, and a record id in the entry of the event's record.
//!
//! Firehose joins records without a separator, so the newline is what keeps events apart in S3. Whether
//! events share records is decided in `firehose/pack.rs`.

mod pack;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::describe_delivery_stream::builders::DescribeDeliveryStreamFluentBuilder;
use aws_sdk_firehose::types::{
    DeliveryStreamDescription, DeliveryStreamStatus, DeliveryStreamType,
    PutRecordBatchResponseEntry,
};
use hyper::Uri;
use tokio::sync::Mutex;

use self::pack::{Decided, Pack, ROOM, of_fault, of_stream};
use super::Target;
use super::ack::{Ack, Fault};
use super::actions::{DESCRIBE_DELIVERY_STREAM, FIREHOSE, PUT_RECORD_BATCH};
use super::answer::{Call, CallError};
use super::arn::{ArnOf, DeliveryStream};
use super::auth::{Auth, Endpoint};
use super::aws::Connection;
use super::batch::{Count, Limits};
use super::body::{base64, in_place, string};
use super::error::OpenError;
use super::kind::{AtAws, Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::packing::{Packing, Room, requests};
use super::parts::{Outcome, Parts};
use super::refusal::{CONFIGURATION, Class, Refusal, THROTTLED, class_of};
use super::transport::Sending;
use super::trouble::Trouble;
use crate::event::Record;
#[cfg(test)]
use crate::form::Wrong;
use crate::form::{Checked, Door, Form, field};

/// Most records of one PutRecordBatch (Firehose API model, `PutRecordBatchRequestEntryList`).
const MAX_RECORDS: usize = 500;
/// Most events of one request where they share records: as many of 300 bytes as its bytes have room for.
const MAX_PACKED: usize = 10_000;
/// What JSON adds to the records' base64: 12 bytes a record and at most 106 around them.
const JSON_OVERHEAD: usize = 8 * 1024;
/// Most bytes of one PutRecordBatch. The documented 4 MiB ("Firehose quotas") do not say whether
/// base64 counts; a whole body below them is safe either way.
const MAX_BYTES: usize = 4 * 1024 * 1024 - JSON_OVERHEAD;
/// Most bytes of one record in base64: 1,000 KiB before it ("Firehose quotas"), rounded down to
/// whole groups of three.
const MAX_RECORD_BYTES: usize = 1_000 * 1024 / 3 * 4;
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 32;

pub(super) const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    max_record_bytes: MAX_RECORD_BYTES,
    max_span: None,
    in_flight: IN_FLIGHT,
    count: Count::Base64Line,
};

/// Where events share records; what is counted for each is at least its share of its record.
const PACKED: Limits = Limits { max_records: MAX_PACKED, ..LIMITS };

const PUT: &str = PUT_RECORD_BATCH.name;
const DESCRIBE: &str = DESCRIBE_DELIVERY_STREAM.name;

/// A Firehose stream of source type Direct PUT, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirehoseTarget {
    stream: ArnOf<DeliveryStream>,
    pack: Pack,
    auth: Auth,
    endpoint_url: Option<Checked<Endpoint>>,
}

impl Form for FirehoseTarget {
    fn form<D: Door>(d: &mut D, it: Option<&FirehoseTarget>) -> Option<FirehoseTarget> {
        let stream = d.required(
            field(
                "delivery_stream_arn",
                "The delivery stream; region and account are those of the ARN.",
                "arn:aws:firehose:us-east-1:123456789012:deliverystream/errors",
            ),
            it.map(|it| &it.stream),
        );
        let pack = d.or(
            field("pack", "Whether several events, each with its newline, share a record, which is billed in whole 5 KiB: up to 128 KiB and 500 events. `auto` does where the stream's description shows a plain S3 destination, with no processors, dynamic partitioning or conversion.", "")
                .ours(),
            Pack::default(),
            it.map(|it| &it.pack),
        );
        let auth = Auth::ask(d, it.map(|it| &it.auth));
        let endpoint_url = Endpoint::ask(d, it.and_then(|it| it.endpoint_url.as_ref()));
        Some(FirehoseTarget { stream: stream?, pack: pack?, auth, endpoint_url })
    }
}

impl FirehoseTarget {
    /// One of these settings, for tests.
    #[cfg(test)]
    pub fn new(
        delivery_stream_arn: &str,
        auth: Auth,
        endpoint_url: Option<String>,
    ) -> Result<FirehoseTarget, Wrong> {
        let endpoint_url = endpoint_url.map(|url| Checked::new(&url)).transpose()?;
        let (stream, pack) = (ArnOf::new(delivery_stream_arn)?, Pack::default());
        Ok(FirehoseTarget { stream, pack, auth, endpoint_url })
    }

    pub(super) fn at(&self) -> AtAws<'_> {
        let endpoint_url = self.endpoint_url.as_ref().map(Checked::as_str);
        AtAws {
            arn: &self.stream,
            auth: &self.auth,
            endpoint_url,
            actions: &FIREHOSE,
            log_stream: "",
        }
    }

    pub(super) fn auth_mut(&mut self) -> &mut Auth {
        &mut self.auth
    }
}

impl Kind for FirehoseTarget {
    fn name(&self) -> &'static str {
        "firehose"
    }

    fn limits(&self) -> Limits {
        if self.pack == Pack::Off { LIMITS } else { PACKED }
    }

    fn with_packing(&self, packs: bool) -> Option<Target> {
        let pack = if packs { Pack::On } else { Pack::Off };
        Some(Target::Firehose(FirehoseTarget { pack, ..self.clone() }))
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
impl fmt::Display for FirehoseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FirehoseTarget { stream, auth, .. } = self;
        let (name, region, account) = (stream.name(), stream.region(), stream.account());
        write!(f, "Firehose stream `{name}` in {region}, account {account}, {auth}")
    }
}

/// An open stream.
pub(super) struct Sink {
    aws: Connection<Client>,
    stream: ArnOf<DeliveryStream>,
    pack: Pack,
    /// Of `auto`.
    decided: Decided,
    /// Held by who asks for the stream's description.
    asking: Mutex<()>,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }

    fn limits(&self) -> Option<Limits> {
        // Before it is known a batch may be as large as it could be: one is sent in several requests then.
        let packs = self.packing().is_none_or(|it| it.packs);
        Some(if packs { PACKED } else { LIMITS })
    }

    fn packing(&self) -> Option<Packing> {
        self.pack.given().or_else(|| self.decided.last())
    }

    fn credentials(&self) -> Option<String> {
        self.aws.credentials()
    }

    fn url(&self) -> Boxed<'_, Option<Uri>> {
        Box::pin(self.url())
    }
}

impl Sink {
    pub(super) async fn open(settings: &FirehoseTarget, sending: Sending) -> Sink {
        let connection = settings.at().settings(sending);
        let build = |config: &_, endpoint_url: Option<&str>| {
            let mut builder = aws_sdk_firehose::config::Builder::from(config);
            if let Some(url) = endpoint_url {
                builder = builder.endpoint_url(url);
            }
            Client::from_conf(builder.build())
        };
        Sink {
            aws: Connection::open(connection, build).await,
            stream: settings.stream.clone(),
            pack: settings.pack,
            decided: Decided::default(),
            asking: Mutex::default(),
        }
    }

    /// The URL that requests go to.
    pub(super) async fn url(&self) -> Option<Uri> {
        self.aws.url(async |client| self.describe(client).send().await).await
    }

    fn describe(&self, client: Client) -> DescribeDeliveryStreamFluentBuilder {
        client.describe_delivery_stream().delivery_stream_name(self.stream.name())
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        if records.is_empty() {
            return Vec::new();
        }
        let room = if self.packs().await { ROOM } else { Room::ONE_EACH };
        let mut parts = Parts::of(requests(&groups(room, records), MAX_RECORDS));
        while let Some(part) = parts.next() {
            let records = &records[part.clone()];
            let groups = groups(room, records);
            let outcome = self.put(records, &groups).await;
            parts.settle_groups(part, &groups, outcome);
        }
        parts.into_acks()
    }

    /// Sends records, each group of which shares one of Firehose's.
    async fn put(&self, records: &[Arc<Record>], groups: &[Range<usize>]) -> Outcome {
        let call =
            Call { action: PUT, resource: self.stream.as_str(), strange: self.aws.is_strange() };
        let body = in_place(body(self.stream.name(), records, groups));
        // The SDK gets what decides where it goes; the records are in the body.
        let sent = self.aws.call(|client| {
            let request = client.put_record_batch().delivery_stream_name(self.stream.name());
            request.set_records(Some(vec![])).customize().mutate_request(body).send()
        });
        match sent.await {
            Ok(answer) if answer.request_responses().len() != groups.len() => {
                call.miscounted(answer.request_responses().len(), groups.len())
            }
            Ok(answer) => Outcome::Answered(verdicts(&call, answer.request_responses())),
            Err(CallError::Refused(refusal)) => call.outcome(class(&refusal), &refusal),
            Err(CallError::Unanswered(fault) | CallError::NoCredentials(fault)) => {
                Outcome::Failed(fault)
            }
        }
    }

    /// Whether events share records now. Asks for the stream's description where that is needed: one
    /// delivery does, and others go on with what was known, if anything was.
    async fn packs(&self) -> bool {
        if let Some(known) = self.pack.given().or_else(|| self.decided.fresh()) {
            return known.packs;
        }
        let last = self.decided.last();
        let _asking = match (self.asking.try_lock(), &last) {
            (Ok(asking), _) => asking,
            (Err(_), Some(last)) => return last.packs,
            (Err(_), None) => self.asking.lock().await,
        };
        // Perhaps somebody else has asked by now.
        if let Some(known) = self.decided.fresh() {
            return known.packs;
        }
        let described = self.description().await;
        let packing = match &described {
            Ok(stream) => of_stream(stream),
            Err(fault) => of_fault(fault, last),
        };
        let Packing { packs, reason } = packing.clone();
        if self.decided.decide(packing, described.is_ok()).is_none_or(|it| it.packs != packs) {
            tracing::info!(
                stream = self.stream.name(),
                packs,
                reason,
                "events share records, or not"
            );
        }
        packs
    }

    async fn description(&self) -> Result<DeliveryStreamDescription, Fault> {
        let call = Call {
            action: DESCRIBE,
            resource: self.stream.as_str(),
            strange: self.aws.is_strange(),
        };
        let answer = self.aws.call(|client| self.describe(client).send()).await;
        let answer = answer.map_err(|error| call.probe_fault(error))?;
        let nothing = || Fault::transient("the service answered without describing the stream");
        answer.delivery_stream_description.ok_or_else(nothing)
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        let stream = self.description().await?;
        let name = stream.delivery_stream_name();
        if stream.delivery_stream_type() != &DeliveryStreamType::DirectPut {
            return Err(Fault::configuration(format!(
                "stream `{name}` takes its records from {}, but its source must be Direct PUT",
                stream.delivery_stream_type()
            ))
            .with(Trouble::WrongKind));
        }
        match stream.delivery_stream_status() {
            DeliveryStreamStatus::Active => {
                Ok(format!("stream `{name}` is active, {}", self.said_of_packing(&stream)))
            }
            DeliveryStreamStatus::Creating => {
                Err(Fault::transient(format!("stream `{name}` is still being created")))
            }
            status => Err(Fault::configuration(format!("stream `{name}` is {status}"))),
        }
    }

    fn said_of_packing(&self, stream: &DeliveryStreamDescription) -> String {
        let found = of_stream(stream);
        let Packing { packs, reason } = self.pack.given().unwrap_or_else(|| found.clone());
        let although = if packs && !found.packs { ", although " } else { "" };
        let found = if although.is_empty() { "" } else { &found.reason };
        let how = if packs { "events share records" } else { "each event has a record of its own" };
        format!("{how}: {reason}{although}{found}")
    }
}

fn groups(room: Room, records: &[Arc<Record>]) -> Vec<Range<usize>> {
    room.groups(records, |record| record.body.len() + 1, |_, _| true)
}

/// The body of a PutRecordBatch: each group of the records shares one of Firehose's.
fn body(stream: &str, records: &[Arc<Record>], groups: &[Range<usize>]) -> Vec<u8> {
    let each = |record: &Arc<Record>| LIMITS.record_bytes(record);
    let bytes = records.iter().map(each).sum::<usize>() + 12 * groups.len();
    let mut out = Vec::with_capacity(bytes + stream.len() + 48);
    out.extend_from_slice(b"{\"DeliveryStreamName\":");
    string(&mut out, stream);
    out.extend_from_slice(b",\"Records\":[");
    for (at, group) in groups.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        let records = &records[group.clone()];
        base64(&mut out, records.iter().flat_map(|record| [&*record.body, b"\n"]));
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    out
}

/// The class of an error, of the whole request or of one record.
fn class(refusal: &Refusal) -> Class {
    match refusal.code.as_str() {
        // Firehose's word for too much: its documentation asks to back off and try again.
        "ServiceUnavailableException" => THROTTLED,
        // The stream takes only the records of CloudWatch Logs, whatever they hold.
        "InvalidSourceException" => CONFIGURATION,
        _ => match class_of(refusal) {
            // The request itself is wrong, whatever the records: holding it against them would
            // throw away every one of them.
            Class::Poison if names_the_stream(&refusal.text) => CONFIGURATION,
            class => class,
        },
    }
}

/// Whether an error is about the stream: its name, or its source, which must be Direct PUT ("this
/// operation is not permitted on KinesisStreamAsSource delivery stream type").
fn names_the_stream(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("deliverystreamname") || text.contains("not permitted on")
}

/// One verdict a record, in the order of the request, which is that of the answer.
fn verdicts(call: &Call, results: &[PutRecordBatchResponseEntry]) -> Vec<Ack> {
    let verdict = |result: &PutRecordBatchResponseEntry| match result.error_code() {
        None if result.record_id().is_some() => Ack::Delivered,
        code => {
            let refusal = Refusal {
                code: code.unwrap_or_default().to_owned(),
                text: result.error_message().unwrap_or_default().to_owned(),
                ..Refusal::default()
            };
            call.ack(class(&refusal), &refusal)
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

    use super::super::refusal::TRANSIENT;
    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::FaultKind;

    fn record(length: usize) -> Record {
        Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from(vec![b'x'; length]),
            hops: 0,
        }
    }

    #[test]
    fn every_documented_error_of_put_record_batch_has_its_class() {
        for (code, status, text, class) in [
            ("ServiceUnavailableException", 503, "", THROTTLED),
            ("LimitExceededException", 400, "", THROTTLED),
            ("ThrottlingException", 400, "", THROTTLED),
            ("InternalFailure", 500, "", TRANSIENT),
            ("", 503, "", TRANSIENT),
            ("AccessDeniedException", 400, "", CONFIGURATION),
            ("ExpiredTokenException", 400, "", CONFIGURATION),
            ("ResourceNotFoundException", 400, "", CONFIGURATION),
            ("InvalidKMSResourceException", 400, "", CONFIGURATION),
            ("InvalidSourceException", 400, "", CONFIGURATION),
            (
                "InvalidArgumentException",
                400,
                "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
                CONFIGURATION,
            ),
            ("ValidationException", 400, "Value at 'deliveryStreamName' failed", CONFIGURATION),
            ("InvalidArgumentException", 400, "Records size exceeds 4 MB limit", Class::Poison),
            ("ValidationException", 400, "Value at 'records.1.member.data'", Class::Poison),
        ] {
            let (code, text, status) = (code.to_owned(), text.to_owned(), Some(status));
            let refusal = Refusal { code, text, status, ..Refusal::default() };
            assert_eq!(super::class(&refusal), class, "{refusal:?}");
        }
    }

    #[test]
    fn each_record_gets_the_verdict_of_its_own_entry() {
        let entry = PutRecordBatchResponseEntry::builder;
        let results = [
            entry().record_id("r").build(),
            entry().error_code("ServiceUnavailableException").error_message("Slow down.").build(),
            entry().error_code("InternalFailure").build(),
            entry().build(),
        ];
        let call = Call { action: PUT, resource: "arn", strange: false };
        let retry = |kind, end: &str| {
            let message = format!("`firehose:PutRecordBatch` was answered with {end}");
            Ack::Retry(Fault::new(kind, message))
        };
        assert_eq!(
            verdicts(&call, &results),
            [
                Ack::Delivered,
                retry(FaultKind::Throttled, "`ServiceUnavailableException`: Slow down"),
                retry(FaultKind::Transient, "`InternalFailure`"),
                retry(FaultKind::Transient, "an error without a code"),
            ]
        );
    }

    #[test]
    fn the_longest_record_that_passes_has_at_most_1000_kib_before_base64() {
        let longest = (1_000 * 1024 - 10..1_000 * 1024 + 10)
            .filter(|&length| LIMITS.record_bytes(&record(length)) <= LIMITS.max_record_bytes)
            .max()
            .unwrap();
        assert_eq!(longest + 1, 1_023_999);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_batch_within_our_limits_is_a_request_within_the_services(
            (lengths, packs) in (proptest::collection::vec(length(), 1..=2_000), any::<bool>()),
        ) {
            let (limits, room) = if packs { (PACKED, ROOM) } else { (LIMITS, Room::ONE_EACH) };
            let mut bytes = 0;
            let fits = |record: &Arc<Record>| {
                let counted = limits.record_bytes(record);
                bytes += counted;
                counted <= limits.max_record_bytes && bytes <= limits.max_bytes
            };
            let lengths = lengths.into_iter().take(limits.max_records);
            let records: Vec<_> =
                lengths.map(|length| Arc::new(record(length))).take_while(fits).collect();
            let groups = groups(room, &records);
            prop_assert!(requests(&groups, MAX_RECORDS).len() <= 1, "one request carries it");
            let body = body(&"s".repeat(64), &records, &groups);
            prop_assert!(body.len() <= 4 * 1024 * 1024, "{} bytes", body.len());
            let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&request["DeliveryStreamName"], &"s".repeat(64));
            let entries = request["Records"].as_array().unwrap();
            prop_assert!(entries.len() == groups.len() && entries.len() <= 500);
            for (entry, group) in entries.iter().zip(groups) {
                let data = STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
                prop_assert!(data.len() <= 1_000 * 1024);
                prop_assert!(group.len() == 1 || (packs && group.len() <= 500 && data.len() <= 128 * 1024));
                let lines = records[group].iter().map(|record| [&*record.body, b"\n"].concat());
                prop_assert_eq!(data, lines.collect::<Vec<_>>().concat());
            }
        }
    }

    /// Lengths of records, the longest ones among them.
    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![
            60 => 1usize..3_000,
            1 => 1usize..1_100_000,
            1 => Just(MAX_RECORD_BYTES / 4 * 3 - 1),
        ]
    }
}
