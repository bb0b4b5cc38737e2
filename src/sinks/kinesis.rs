//! Kinesis Data Streams: one record an event, by PutRecords.
//!
//! A record is delivered when the answer has status 200, the service's request id, as many entries as
//! records were sent, and a sequence number in the record's entry.
//!
//! The event's id is the partition key unless the settings name another (`partition_key`), so a stream's
//! shards fill evenly and a record that is sent twice goes to the same shard. Events share records
//! where the settings say so (`aggregate`), and what is known of the stream allows it.

mod aggregate;
mod request;
mod stream;
mod untaken;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::describe_stream_summary::builders::DescribeStreamSummaryFluentBuilder;
use aws_sdk_kinesis::operation::put_records::PutRecordsInput;
use aws_sdk_kinesis::types::{
    PutRecordsResultEntry, Shard, ShardFilter, ShardFilterType, StreamDescriptionSummary,
    StreamStatus,
};
use hyper::Uri;
use tokio::sync::Mutex;

use self::aggregate::{Aggregate, ROOM};
use self::request::{Entry, body, entries, groups};
use self::stream::{Described, Known, Memory, Shards};
use self::untaken::Untaken;

use super::Target;
use super::ack::{Ack, Fault, FaultKind};
use super::actions::{DESCRIBE_STREAM, KINESIS, KINESIS_AGGREGATED, LIST_SHARDS, PUT_RECORDS};
use super::answer::{Call, CallError};
use super::arn::{ArnOf, Stream};
use super::auth::{Auth, Endpoint};
use super::aws::Connection;
use super::batch::{Count, Limits};
use super::body::in_place;
use super::error::OpenError;
use super::kind::{AtAws, Boxed, Kind, Measured, Opened};
use super::log_output::LogOutput;
use super::packing::{Packing, Room, requests};
use super::partition_key::{PartitionKey, hash_of};
use super::parts::{Outcome, Parts};
use super::refusal::{CONFIGURATION, Class, Refusal, class_of};
use super::transport::Sending;
use crate::event::{EventType, Record};
#[cfg(test)]
use crate::form::Wrong;
use crate::form::{Checked, Door, Form, Shape, Value, Written, field};

/// Most records of one PutRecords (Kinesis API model, `PutRecordsRequestEntryList`).
const MAX_RECORDS: usize = 500;
/// Most bytes of one PutRecords, partition keys included. The service takes 10 MiB since 2025; half
/// of it, the older limit and the default of Amazon's own producer, keeps the duplicates of a lost
/// answer few.
const MAX_BYTES: usize = 5 * 1024 * 1024;
/// Most bytes of one record with its partition key: what a stream takes unless its owner raises
/// `MaxRecordSizeInKiB` (Kinesis developer guide, "large records").
const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Most that an owner can raise that to, and most bytes of a request (the same place; Kinesis API model,
/// `MaxRecordSizeInKiB`).
const MOST_RECORD_BYTES: u64 = 10 * 1024 * 1024;
/// Most events of one delivery where they share records: as many of some hundred bytes as its bytes have room
/// for; and where only those of one key do, of which there may be many.
const MAX_AGGREGATED: usize = 10_000;
const MAX_AGGREGATED_BY_KEY: usize = 2_000;
/// Most pages of shards that are asked for: a page has 1,000 (Kinesis API model, `ListShards`).
const MAX_PAGES: usize = 50;
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
    aggregate: Aggregate,
    max_record_bytes: Option<RecordSize>,
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
        let aggregate = d.or(
            field(
                "aggregate",
                "Whether several events share a record, which is billed in whole 25 KiB: `kpl` is the format of Amazon's producer library, which its consumer library (KCL) takes apart. Needs `kinesis:DescribeStreamSummary` and `kinesis:ListShards`; while the stream places records by itself, or cannot be looked at, each event has a record of its own.",
                "",
            )
            .ours(),
            Aggregate::default(),
            it.map(|it| &it.aggregate),
        );
        let max_record_bytes = d.optional(
            field(
                "max_record_bytes",
                "Most bytes of a record with its key, up to 10MiB where the stream's owner raised `MaxRecordSizeInKiB`. What the stream says of itself counts, if it is less.",
                "4MiB",
            )
            .by_default("1MiB")
            .ours(),
            it.and_then(|it| it.max_record_bytes.as_ref()),
        );
        let auth = Auth::ask(d, it.map(|it| &it.auth));
        let endpoint_url = Endpoint::ask(d, it.and_then(|it| it.endpoint_url.as_ref()));
        let (stream, aggregate) = (stream?, aggregate?);
        Some(KinesisTarget {
            stream,
            partition_key,
            aggregate,
            max_record_bytes,
            auth,
            endpoint_url,
        })
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
        let (partition_key, aggregate, max_record_bytes) = (None, Aggregate::Off, None);
        Ok(KinesisTarget { stream, partition_key, aggregate, max_record_bytes, auth, endpoint_url })
    }

    /// The same, placed by what an expression reads.
    #[cfg(test)]
    pub fn placed_by(self, partition_key: &str) -> Result<KinesisTarget, Wrong> {
        Ok(KinesisTarget { partition_key: Some(PartitionKey::new(partition_key)?), ..self })
    }

    /// Whether events may share records.
    fn aggregates(&self) -> bool {
        self.aggregate == Aggregate::Kpl
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
            actions: if self.aggregates() { &KINESIS_AGGREGATED } else { &KINESIS },
            log_stream: "",
        }
    }

    pub(super) fn auth_mut(&mut self) -> &mut Auth {
        &mut self.auth
    }
}

/// How large a record may be, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RecordSize(usize, serde_json::Value);

impl Value for RecordSize {
    const SHAPE: Shape<RecordSize> = Shape::Size(1024..=MOST_RECORD_BYTES, |bytes, written| {
        RecordSize(usize::try_from(bytes).unwrap_or(MAX_RECORD_BYTES), written)
    });

    fn written(&self) -> Written {
        Written::open(self.1.clone())
    }
}

impl Kind for KinesisTarget {
    fn name(&self) -> &'static str {
        "kinesis"
    }

    fn limits(&self) -> Limits {
        let max_record_bytes = self.max_record_bytes.as_ref().map_or(MAX_RECORD_BYTES, |it| it.0);
        let max_records = match (self.aggregates(), self.key().is_event_id()) {
            (false, _) => MAX_RECORDS,
            (true, true) => MAX_AGGREGATED,
            (true, false) => MAX_AGGREGATED_BY_KEY,
        };
        let max_bytes = MAX_BYTES.max(max_record_bytes);
        Limits { max_records, max_bytes, max_record_bytes, ..LIMITS }
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

    fn with_packing(&self, packs: bool) -> Option<Target> {
        let aggregate = if packs { Aggregate::Kpl } else { Aggregate::Off };
        Some(Target::Kinesis(KinesisTarget { aggregate, ..self.clone() }))
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
    aggregates: bool,
    /// What the settings say.
    limits: Limits,
    known: Memory,
    /// Held by who asks about the stream.
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
        let known = self.known.last()?;
        let settings = self.limits;
        let most = known.max_record_bytes.unwrap_or(settings.max_record_bytes);
        let is_off = self.aggregates && !known.packing.packs;
        Some(Limits {
            max_record_bytes: settings.max_record_bytes.min(most),
            max_records: if is_off { MAX_RECORDS } else { settings.max_records },
            ..settings
        })
    }

    fn packing(&self) -> Option<Packing> {
        self.known.last().filter(|_| self.aggregates).map(|it| it.packing)
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
            aggregates: settings.aggregates(),
            limits: settings.limits(),
            known: Memory::default(),
            asking: Mutex::default(),
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
        let shards = self.looked_at().await.and_then(|it| it.shards);
        let shards = shards.as_deref();
        let room = if shards.is_some() { ROOM } else { Room::ONE_EACH };
        let entries = entries(&self.key, records, shards);
        let mut parts = Parts::of(requests(&groups(room, &entries), MAX_RECORDS));
        let mut untaken = Untaken::new(!self.key.is_event_id());
        while let Some(part) = parts.next() {
            let all = &entries[part.clone()];
            if all.iter().all(|it| untaken.may_go(it)) {
                let groups = groups(room, all);
                let outcome = self.put(all, &groups, shards).await;
                untaken.note(all, &groups, &outcome);
                parts.settle_groups(part, &groups, outcome);
                continue;
            }
            let sent: Vec<Entry<'_>> =
                all.iter().filter(|it| untaken.may_go(it)).cloned().collect();
            let groups = groups(room, &sent);
            let outcome = match sent.is_empty() {
                true => Outcome::Answered(Vec::new()),
                false => self.put(&sent, &groups, shards).await,
            };
            untaken.note(&sent, &groups, &outcome);
            parts.settle(part, Untaken::of_some(all, &sent, &groups, outcome));
        }
        let mut acks: Vec<_> = entries.iter().map(|it| it.at).zip(parts.into_acks()).collect();
        acks.sort_by_key(|(at, _)| *at);
        acks.into_iter().map(|(_, ack)| ack).collect()
    }

    /// Sends events, each group of which shares a record.
    async fn put(
        &self,
        entries: &[Entry<'_>],
        groups: &[Range<usize>],
        shards: Option<&Shards>,
    ) -> Outcome {
        let call = self.call(PUT);
        let body = in_place(body(&self.stream_arn, entries, groups));
        // The SDK gets what decides where it goes; the records are in the body.
        let sent = self.aws.call(|client| {
            let request = client.put_records().stream_arn(&self.stream_arn);
            request.set_records(Some(vec![])).customize().mutate_request(body).send()
        });
        match sent.await {
            Ok(answer) if answer.records().len() != groups.len() => {
                call.miscounted(answer.records().len(), groups.len())
            }
            Ok(answer) => {
                let went_elsewhere = |(group, result): (&Range<usize>, &PutRecordsResultEntry)| {
                    let id = result.shard_id().filter(|id| !id.is_empty());
                    let place = entries[group.start].place;
                    id.zip(shards).is_some_and(|(id, shards)| !shards.is_of(place, id))
                };
                if groups.iter().zip(answer.records()).any(went_elsewhere) {
                    self.known.is_stale();
                }
                Outcome::Answered(verdicts(&call, answer.records()))
            }
            Err(CallError::Refused(refusal)) => call.outcome(class(&refusal), &refusal),
            Err(CallError::Unanswered(fault) | CallError::NoCredentials(fault)) => {
                Outcome::Failed(fault)
            }
        }
    }

    fn call(&self, action: &'static str) -> Call<'_> {
        Call { action, resource: &self.stream_arn, strange: self.aws.is_strange() }
    }

    /// What is known of the stream, if the settings need it. Asks where that is too old: one delivery does, and
    /// others go on with what was known, if anything was.
    async fn looked_at(&self) -> Option<Known> {
        if !self.aggregates && self.limits.max_record_bytes <= MAX_RECORD_BYTES {
            return None;
        }
        if let Some(known) = self.known.fresh() {
            return Some(known);
        }
        let last = self.known.last();
        let _asking = match (self.asking.try_lock(), &last) {
            (Ok(asking), _) => asking,
            (Err(_), Some(_)) => return last,
            (Err(_), None) => self.asking.lock().await,
        };
        // Perhaps somebody else has asked by now.
        if let Some(known) = self.known.fresh() {
            return Some(known);
        }
        let (known, answered) = match self.look().await {
            Ok(known) => (known, true),
            Err(fault) => (Known::without_answer(&fault, last), false),
        };
        let Packing { packs, reason } = &known.packing;
        let before = self.known.learn(known.clone(), answered);
        if self.aggregates && before.is_none_or(|it| it.packing.packs != *packs) {
            tracing::info!(stream = self.stream_arn, packs, reason, "events share records, or not");
        }
        Some(known)
    }

    /// Asks what is to be known of the stream.
    async fn look(&self) -> Result<Known, Fault> {
        let described = Described::of(&self.summary().await?);
        let shards = match self.aggregates && described.placed_otherwise.is_none() {
            true => Some(Shards::of(&self.open_shards().await?)),
            false => None,
        };
        Ok(Known::of(described, shards))
    }

    async fn open_shards(&self) -> Result<Vec<Shard>, Fault> {
        let call = self.call(LIST_SHARDS.name);
        let open = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
        let open = open.map_err(|error| Fault::transient(error.to_string()))?;
        let (mut shards, mut more) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let (page, filter) = (more.take(), open.clone());
            let answer = self.aws.call(|client| {
                let question = client.list_shards();
                // A page that follows is named by its token alone.
                match page {
                    Some(token) => question.next_token(token),
                    None => question.stream_arn(&self.stream_arn).shard_filter(filter),
                }
                .send()
            });
            let answer = answer.await.map_err(|error| call.probe_fault(error))?;
            shards.extend_from_slice(answer.shards());
            more = answer.next_token;
            if more.is_none() {
                break;
            }
        }
        Ok(shards)
    }

    async fn summary(&self) -> Result<StreamDescriptionSummary, Fault> {
        let call = self.call(DESCRIBE);
        let answer = self.aws.call(|client| self.describe(client).send()).await;
        let answer = answer.map_err(|error| call.probe_fault(error))?;
        let nothing = || Fault::transient("the service answered without describing the stream");
        answer.stream_description_summary.ok_or_else(nothing)
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        let summary = self.summary().await?;
        let (name, shards) = (summary.stream_name(), summary.open_shard_count());
        match summary.stream_status() {
            StreamStatus::Active | StreamStatus::Updating => {
                let more = self.said_of(&summary).await;
                Ok(format!("stream `{name}` is active, open shards: {shards}{more}"))
            }
            StreamStatus::Creating => {
                Err(Fault::transient(format!("stream `{name}` is still being created")))
            }
            status => Err(Fault::configuration(format!("stream `{name}` is {status}"))),
        }
    }

    /// What a check says besides, where the settings ask for more than any stream gives.
    async fn said_of(&self, summary: &StreamDescriptionSummary) -> String {
        let mut said = String::new();
        let most = Described::of(summary).max_record_bytes.unwrap_or(MAX_RECORD_BYTES);
        let asked = self.limits.max_record_bytes;
        if asked > most {
            said = format!(
                "; it takes records of {most} bytes, less than `max_record_bytes`: aws kinesis \
                 update-max-record-size --stream-arn {} --max-record-size-in-ki-b {}",
                self.stream_arn,
                asked.div_ceil(1024)
            );
        }
        if self.aggregates {
            let known = match self.look().await {
                Ok(known) => known,
                Err(fault) => Known::without_answer(&fault, None),
            };
            let Packing { packs, reason } = known.packing;
            let how =
                if packs { "events share records" } else { "each event has a record of its own" };
            said.push_str(&format!("; {how}: {reason}"));
        }
        said
    }
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
mod tests;
