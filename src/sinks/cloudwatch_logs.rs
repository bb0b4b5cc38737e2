//! CloudWatch Logs: one log event an event, by PutLogEvents, into one log stream or into those that a
//! template names (`names.rs`, `streams.rs`).
//!
//! A record is delivered when the answer has status 200, the service's request id and a JSON object as
//! its body, and that object does not name the record as too old, too new or expired.
//!
//! A request goes to one log stream, and the service wants it sorted by time: a batch goes out log stream by
//! log stream, one request after the other, and the verdicts come back in the batch's order all the same. A
//! log stream is created when it is missing, the log group never: its retention and its price are its
//! owner's choice.

mod names;
mod streams;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::operation::create_log_stream::CreateLogStreamInput;
use aws_sdk_cloudwatchlogs::operation::describe_log_streams::builders::DescribeLogStreamsFluentBuilder;
use aws_sdk_cloudwatchlogs::types::RejectedLogEventsInfo;
use hyper::Uri;
use tokio::sync::Mutex;

use self::names::{LogStreamName, Template};
use self::streams::Streams;
use super::ack::{Ack, Fault, FaultKind};
use super::actions::{CLOUDWATCH_LOGS, CREATE_LOG_STREAM, DESCRIBE_LOG_STREAMS, PUT_LOG_EVENTS};
use super::answer::{Call, CallError};
use super::arn::{ArnOf, LogGroup};
use super::auth::{Auth, Endpoint};
use super::aws::Connection;
use super::batch::{Count, Limits};
use super::body::{in_place, string};
use super::error::OpenError;
use super::kind::{AtAws, Boxed, Kind, LogStreams, Opened};
use super::log_output::LogOutput;
use super::packing::Room;
use super::parts::{Outcome, Parts};
use super::refusal::{CONFIGURATION, Class, Refusal, TRANSIENT, class_of};
use super::transport::Sending;
use crate::event::Record;
#[cfg(test)]
use crate::form::Wrong;
use crate::form::{Checked, Door, Form, field};

/// Most log events of one PutLogEvents (CloudWatch Logs API model, `InputLogEvents`).
const MAX_RECORDS: usize = 10_000;
/// Most bytes of one PutLogEvents (CloudWatch Logs API model, `PutLogEvents`).
const MAX_BYTES: usize = 1_048_576;
/// What the service adds to each message when it counts a request's bytes (the same place).
const EVENT_BYTES: usize = 26;
/// The times of a request may span 24 hours (the same place).
const MAX_SPAN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most requests at once; how many of them go out is learnt from the service.
const IN_FLIGHT: usize = 32;
/// The log stream's name if the settings give none.
const DEFAULT_LOG_STREAM: &str = "sluicegate";

pub(super) const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    // A message may have 1 MB, but it has to fit a request too.
    max_record_bytes: MAX_BYTES,
    max_span: Some(MAX_SPAN),
    in_flight: IN_FLIGHT,
    count: Count::BodyPlus(EVENT_BYTES),
};

const PUT: &str = PUT_LOG_EVENTS.name;
const CREATE: &str = CREATE_LOG_STREAM.name;
const DESCRIBE: &str = DESCRIBE_LOG_STREAMS.name;

/// A log group, the log stream in it, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudwatchLogsTarget {
    group: ArnOf<LogGroup>,
    log_stream: Checked<LogStreamName>,
    auth: Auth,
    endpoint_url: Option<Checked<Endpoint>>,
}

impl Form for CloudwatchLogsTarget {
    fn form<D: Door>(d: &mut D, it: Option<&CloudwatchLogsTarget>) -> Option<CloudwatchLogsTarget> {
        let group = d.required(
            field(
                "log_group_arn",
                "The log group; region and account are those of the ARN.",
                "arn:aws:logs:us-east-1:123456789012:log-group:/sluicegate/errors",
            ),
            it.map(|it| &it.group),
        );
        let log_stream = d.or(
            field("log_stream", "The log stream in the group; it is made if it is not there. A name may be made of each event: it begins with text, and `{date}`, `{hour}` (both in UTC), `{event_type}` and `{account_id}` are filled in.", "edge-{date}"),
            Checked::new(DEFAULT_LOG_STREAM).ok()?,
            it.map(|it| &it.log_stream),
        );
        let auth = Auth::ask(d, it.map(|it| &it.auth));
        let endpoint_url = Endpoint::ask(d, it.and_then(|it| it.endpoint_url.as_ref()));
        Some(CloudwatchLogsTarget { group: group?, log_stream: log_stream?, auth, endpoint_url })
    }
}

impl CloudwatchLogsTarget {
    /// One of these settings, for tests.
    #[cfg(test)]
    pub fn new(
        log_group_arn: &str,
        log_stream: Option<String>,
        auth: Auth,
        endpoint_url: Option<String>,
    ) -> Result<CloudwatchLogsTarget, Wrong> {
        let endpoint_url = endpoint_url.map(|url| Checked::new(&url)).transpose()?;
        let log_stream = Checked::new(log_stream.as_deref().unwrap_or(DEFAULT_LOG_STREAM))?;
        Ok(CloudwatchLogsTarget {
            group: ArnOf::new(log_group_arn)?,
            log_stream,
            auth,
            endpoint_url,
        })
    }

    pub(super) fn at(&self) -> AtAws<'_> {
        let endpoint_url = self.endpoint_url.as_ref().map(Checked::as_str);
        AtAws {
            arn: &self.group,
            auth: &self.auth,
            endpoint_url,
            actions: &CLOUDWATCH_LOGS,
            log_stream: self.log_stream.as_str(),
        }
    }

    pub(super) fn auth_mut(&mut self) -> &mut Auth {
        &mut self.auth
    }
}

impl Kind for CloudwatchLogsTarget {
    fn name(&self) -> &'static str {
        "cloudwatch_logs"
    }

    fn limits(&self) -> Limits {
        LIMITS
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
impl fmt::Display for CloudwatchLogsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CloudwatchLogsTarget { group, log_stream, auth, .. } = self;
        let (name, region, account) = (group.name(), group.region(), group.account());
        write!(
            f,
            "log stream `{log_stream}` of log group `{name}` in {region}, account {account}, {auth}"
        )
    }
}

/// An open log group.
pub(super) struct Sink {
    aws: Connection<Client>,
    group: ArnOf<LogGroup>,
    streams: Streams,
    /// Held by who creates a log stream.
    creating: Mutex<()>,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }

    fn log_streams(&self) -> Option<LogStreams> {
        self.streams.read()
    }

    fn credentials(&self) -> Option<String> {
        self.aws.credentials()
    }

    fn url(&self) -> Boxed<'_, Option<Uri>> {
        Box::pin(self.url())
    }
}

/// A record that may go into a request, with its place in the batch.
struct Event<'a> {
    place: usize,
    record: &'a Record,
    /// The log stream that it goes to.
    stream: Arc<str>,
}

impl Sink {
    pub(super) async fn open(settings: &CloudwatchLogsTarget, sending: Sending) -> Sink {
        let connection = settings.at().settings(sending);
        let build = |config: &_, endpoint_url: Option<&str>| {
            let mut builder = aws_sdk_cloudwatchlogs::config::Builder::from(config);
            if let Some(url) = endpoint_url {
                builder = builder.endpoint_url(url);
            }
            Client::from_conf(builder.build())
        };
        // The settings hold a name that can be read; what could not would stand as it is.
        let name = settings.log_stream.as_str();
        let template = Template::parse(name).unwrap_or_else(|_| Template::fixed(name));
        Sink {
            aws: Connection::open(connection, build).await,
            group: settings.group.clone(),
            streams: Streams::new(template),
            creating: Mutex::default(),
        }
    }

    /// The URL that requests go to.
    pub(super) async fn url(&self) -> Option<Uri> {
        self.aws.url(async |client| self.describe(client).send().await).await
    }

    fn describe(&self, client: Client) -> DescribeLogStreamsFluentBuilder {
        client
            .describe_log_streams()
            .log_group_name(self.group.name())
            .log_stream_name_prefix(self.streams.template().prefix())
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let (events, mut acks) = sort(records, &self.streams);
        let of_one = Room::ANY.groups(&events, |_| 0, |one, other| one.stream == other.stream);
        let mut parts = Parts::of(of_one);
        while let Some(part) = parts.next() {
            let outcome = self.put_or_create(&events[part.clone()]).await;
            parts.settle(part, outcome);
        }
        for (event, ack) in events.iter().zip(parts.into_acks()) {
            acks[event.place] = ack;
        }
        acks
    }

    /// Sends; if the log stream is missing, creates it and sends once more.
    async fn put_or_create(&self, events: &[Event<'_>]) -> Outcome {
        let call =
            Call { action: PUT, resource: self.group.as_str(), strange: self.aws.is_strange() };
        let Some(stream) = events.first().map(|event| &event.stream) else {
            return Outcome::Answered(Vec::new());
        };
        let made = self.streams.made(stream);
        let refusal = match self.put(&call, events).await {
            Err(CallError::Refused(refusal)) if is_missing(&refusal) => refusal,
            result => return outcome(&call, result),
        };
        if let Err(error) = self.create(stream, made).await {
            return Outcome::Failed(self.creation_fault(error));
        }
        match self.put(&call, events).await {
            Err(CallError::Refused(again)) if is_missing(&again) => {
                Outcome::Failed(call.fault(FaultKind::Transient, &refusal))
            }
            result => outcome(&call, result),
        }
    }

    async fn put(&self, call: &Call<'_>, events: &[Event<'_>]) -> Result<Vec<Ack>, CallError> {
        let group = self.group.name();
        let stream = events.first().map_or("", |event| &event.stream);
        let body = in_place(body(group, stream, events));
        // The SDK gets what decides where it goes; the events are in the body.
        let answer = self.aws.call(|client| {
            let request = client.put_log_events().log_group_name(group).log_stream_name(stream);
            request.set_log_events(Some(vec![])).customize().mutate_request(body).send()
        });
        Ok(verdicts(call, events.len(), answer.await?.rejected_log_events_info()))
    }

    /// Creates a log stream, unless another request has done so since `made` was read.
    async fn create(&self, stream: &Arc<str>, made: u64) -> Result<(), CallError> {
        let _creating = self.creating.lock().await;
        if self.streams.made(stream) != made {
            return Ok(());
        }
        let request = CreateLogStreamInput::builder()
            .log_group_name(self.group.name())
            .log_stream_name(&**stream);
        let sent = self.aws.call(|client| async move { request.send_with(&client).await });
        match sent.await {
            Ok(_) => {}
            Err(CallError::Refused(refusal))
                if refusal.code == "ResourceAlreadyExistsException" => {}
            Err(error) => return Err(error),
        }
        self.streams.note_made(stream);
        Ok(())
    }

    fn creation_fault(&self, error: CallError) -> Fault {
        Call { action: CREATE, resource: self.group.as_str(), strange: self.aws.is_strange() }
            .probe_fault(error)
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        let call = Call {
            action: DESCRIBE,
            resource: self.group.as_str(),
            strange: self.aws.is_strange(),
        };
        let (group, template) = (self.group.name(), self.streams.template());
        let answer = self.aws.call(|client| self.describe(client).send()).await;
        let answer = answer.map_err(|error| call.probe_fault(error))?;
        let stream = template.prefix();
        if !template.is_fixed() {
            return Ok(format!(
                "log group `{group}` is there, log streams that begin with `{stream}` will be created \
                 as events need them"
            ));
        }
        // Sorted by name, so the log stream itself comes first of those that begin with its name.
        let there =
            answer.log_streams().iter().any(|found| found.log_stream_name() == Some(stream));
        Ok(if there {
            format!("log group `{group}` has log stream `{stream}`")
        } else {
            format!(
                "log group `{group}` is there, log stream `{stream}` will be created with the \
                 first delivery"
            )
        })
    }
}

/// The records that can be sent, by log stream, and there sorted by time as the service demands; and a
/// verdict for each of the batch's: final for those that cannot, a placeholder for the others.
fn sort<'r>(records: &'r [Arc<Record>], streams: &Streams) -> (Vec<Event<'r>>, Vec<Ack>) {
    let mut events = Vec::with_capacity(records.len());
    let mut acks = Vec::with_capacity(records.len());
    for (place, record) in records.iter().enumerate() {
        let reason = if record.body.is_empty() {
            Some("CloudWatch Logs takes no empty message")
        } else if record.time.unix_millis() < 0 {
            Some("CloudWatch Logs takes no time before 1970")
        } else {
            None
        };
        if let Some(reason) = reason {
            acks.push(Ack::Rejected(reason.to_owned()));
        } else {
            events.push(Event { place, record, stream: streams.of(record) });
            acks.push(Ack::Delivered);
        }
    }
    let time = |event: &Event<'_>| event.record.time.unix_millis();
    events.sort_by(|one, other| {
        one.stream.cmp(&other.stream).then_with(|| time(one).cmp(&time(other)))
    });
    (events, acks)
}

/// The body of a PutLogEvents.
fn body(group: &str, stream: &str, events: &[Event<'_>]) -> Vec<u8> {
    // Most of what a record's JSON has to escape are its quotes.
    let each = |event: &Event<'_>| event.record.body.len() / 4 * 5 + 48;
    let mut out = Vec::with_capacity(events.iter().map(each).sum::<usize>() + 1_100);
    out.extend_from_slice(b"{\"logGroupName\":");
    string(&mut out, group);
    out.extend_from_slice(b",\"logStreamName\":");
    string(&mut out, stream);
    out.extend_from_slice(b",\"logEvents\":[");
    for (at, Event { record, .. }) in events.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"timestamp\":" } else { b",{\"timestamp\":" });
        out.extend_from_slice(record.time.unix_millis().to_string().as_bytes());
        out.extend_from_slice(b",\"message\":");
        string(&mut out, &String::from_utf8_lossy(&record.body));
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

fn outcome(call: &Call, result: Result<Vec<Ack>, CallError>) -> Outcome {
    match result {
        Ok(acks) => Outcome::Answered(acks),
        Err(CallError::Unanswered(fault) | CallError::NoCredentials(fault)) => {
            Outcome::Failed(fault)
        }
        Err(CallError::Refused(refusal)) => call.outcome(class(&refusal), &refusal),
    }
}

fn is_missing(refusal: &Refusal) -> bool {
    refusal.code == "ResourceNotFoundException"
}

/// The class of a whole request's error.
fn class(refusal: &Refusal) -> Class {
    match refusal.code.as_str() {
        // Another change to the group or the stream is under way.
        "OperationAbortedException" => TRANSIENT,
        _ => match class_of(refusal) {
            // The request itself is wrong, whatever the events: holding it against them would
            // throw away every one of them.
            Class::Poison if names_the_target(&refusal.text) => CONFIGURATION,
            class => class,
        },
    }
}

fn names_the_target(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("loggroupname") || text.contains("logstreamname")
}

/// One verdict an event, in the order of the request: those too old stand at its beginning, those
/// too new at its end, and the service keeps what is between.
fn verdicts(call: &Call, sent: usize, rejected: Option<&RejectedLogEventsInfo>) -> Vec<Ack> {
    let Some(rejected) = rejected else { return vec![Ack::Delivered; sent] };
    let index = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    let too_old_end = index(rejected.too_old_log_event_end_index()).unwrap_or(0);
    let expired_end = index(rejected.expired_log_event_end_index()).unwrap_or(0);
    let too_new_start = index(rejected.too_new_log_event_start_index()).unwrap_or(sent);
    let action = call.action;
    let verdict = |place| {
        let reason = if place < too_old_end {
            "is more than 14 days old"
        } else if place < expired_end {
            "is older than the log group's retention"
        } else if place >= too_new_start {
            "lies more than 2 hours ahead"
        } else {
            return Ack::Delivered;
        };
        Ack::Rejected(format!("`{action}` refused the event for its time, which {reason}"))
    };
    (0..sent).map(verdict).collect()
}

#[cfg(test)]
mod tests;
