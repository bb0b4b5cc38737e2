//! All that is known of each kind of target, one file a kind: settings, limits, request, and the
//! verdict on each record.
//!
//! A sink delivers a batch and says what became of each record. It does not batch, wait, retry or
//! remember: the delivery task does.

mod ack;
mod actions;
mod address;
mod answer;
mod arn;
mod auth;
mod aws;
mod azure_logs_ingestion;
mod batch;
mod body;
mod bounds;
mod callback;
mod causes;
mod certificate;
mod cloudwatch_logs;
mod datadog;
mod debug;
mod diagnosis;
mod doctor;
mod error;
mod exchange;
mod file;
mod firehose;
mod format;
mod genuine;
mod http;
mod kafka;
mod kind;
mod kinesis;
mod log_output;
mod meter;
mod outbound;
mod packing;
mod partition_key;
mod parts;
mod proxy;
mod refusal;
mod retry_after;
mod splunk_hec;
mod token;
mod transport;
mod trouble;
mod web_url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use self::kind::{Kind, Opened};
use self::transport::{Sending, barred_fault};
use crate::event::{EventType, Record};
use crate::form::{self, Door, Form, Nature, Noted, section};

pub use crate::form::Secret;

pub use ack::{Ack, Fault, FaultKind, without_its_words};
pub use actions::{Needs, Purpose};
pub use auth::Auth;
pub use azure_logs_ingestion::AzureLogsIngestionTarget;
pub use batch::{Batch, Limits};
pub use bounds::{ApiTargets, Bounds};
pub use cloudwatch_logs::CloudwatchLogsTarget;
pub use datadog::DatadogTarget;
pub use debug::DebugTarget;
pub use doctor::{Finding, Gravity};
pub use error::OpenError;
pub use file::FileTarget;
pub use firehose::FirehoseTarget;
pub use format::Format;
pub use http::HttpTarget;
pub use kafka::KafkaTarget;
pub use kind::{LogStreams, Measured, Unfit};
pub use kinesis::KinesisTarget;
pub use log_output::LogOutput;
pub use meter::{Bill, Meter};
pub use outbound::{Barred, Outbound};
pub use packing::Packing;
pub use splunk_hec::SplunkHecTarget;

/// Time for one request if nothing else is set, from connecting to the whole answer: 5 MiB at
/// 5 Mbit/s, or a service that is slow, but not a request that hangs. A retry after it may deliver
/// twice.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Kind and settings of a destination, valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Kinesis(KinesisTarget),
    Firehose(FirehoseTarget),
    /// A log stream of CloudWatch Logs.
    CloudwatchLogs(CloudwatchLogsTarget),
    /// Standard output, or a URL that batches are posted to.
    Debug(DebugTarget),
    /// A file on this machine.
    File(FileTarget),
    /// A topic of Kafka.
    Kafka(KafkaTarget),
    /// Webhooks.
    Http(HttpTarget),
    /// Datadog Logs.
    Datadog(DatadogTarget),
    /// A stream of a data collection rule of Azure Monitor.
    AzureLogsIngestion(AzureLogsIngestionTarget),
    /// Splunk's HTTP Event Collector.
    SplunkHec(SplunkHecTarget),
}

impl Form for Target {
    fn form<D: Door>(d: &mut D, it: Option<&Target>) -> Option<Target> {
        let kinds = [
            d.variant(
                section("kinesis", "A Kinesis data stream."),
                it.and_then(|it| if let Target::Kinesis(it) = it { Some(it) } else { None }),
            )
            .map(Target::Kinesis),
            d.variant(
                section("firehose", "An Amazon Data Firehose stream."),
                it.and_then(|it| if let Target::Firehose(it) = it { Some(it) } else { None }),
            )
            .map(Target::Firehose),
            d.variant(
                section("cloudwatch_logs", "A log stream of CloudWatch Logs."),
                it.and_then(|it| if let Target::CloudwatchLogs(it) = it { Some(it) } else { None }),
            )
            .map(Target::CloudwatchLogs),
            d.variant(
                section("debug", "Standard output, or a URL that batches are posted to."),
                it.and_then(|it| if let Target::Debug(it) = it { Some(it) } else { None }),
            )
            .map(Target::Debug),
            d.variant(
                section("file", "A file on this machine.").ours(),
                it.and_then(|it| if let Target::File(it) = it { Some(it) } else { None }),
            )
            .map(Target::File),
            d.variant(
                section("kafka", "A topic of Apache Kafka.").ours(),
                it.and_then(|it| if let Target::Kafka(it) = it { Some(it) } else { None }),
            )
            .map(Target::Kafka),
            d.variant(
                section("http", "Webhooks: events posted to a URL, signed.").ours(),
                it.and_then(|it| if let Target::Http(it) = it { Some(it) } else { None }),
            )
            .map(Target::Http),
            d.variant(
                section("datadog", "Datadog Logs."),
                it.and_then(|it| if let Target::Datadog(it) = it { Some(it) } else { None }),
            )
            .map(Target::Datadog),
            d.variant(
                section("azure_logs_ingestion", "Azure Monitor's Logs Ingestion API."),
                it.and_then(
                    |it| {
                        if let Target::AzureLogsIngestion(it) = it { Some(it) } else { None }
                    },
                ),
            )
            .map(Target::AzureLogsIngestion),
            d.variant(
                section("splunk_hec", "Splunk's HTTP Event Collector.").ours(),
                it.and_then(|it| if let Target::SplunkHec(it) = it { Some(it) } else { None }),
            )
            .map(Target::SplunkHec),
        ];
        kinds.into_iter().flatten().next()
    }
}

impl Target {
    fn settings(&self) -> &dyn Kind {
        match self {
            Target::Kinesis(settings) => settings,
            Target::Firehose(settings) => settings,
            Target::CloudwatchLogs(settings) => settings,
            Target::Debug(settings) => settings,
            Target::File(settings) => settings,
            Target::Kafka(settings) => settings,
            Target::Http(settings) => settings,
            Target::Datadog(settings) => settings,
            Target::AzureLogsIngestion(settings) => settings,
            Target::SplunkHec(settings) => settings,
        }
    }

    /// The kind as settings and the API call it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.settings().name()
    }

    /// How much one request may carry at most; what a service's answers say may be less
    /// ([`Sink::limits`]).
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.settings().limits()
    }

    /// Most bytes that its client holds beside the batches on their way.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.settings().held_bytes()
    }

    /// What its settings hold that this build or its client does not take, with paths that begin at the target.
    #[must_use]
    pub fn unfit(&self) -> Vec<Unfit> {
        let (kind, all) = (self.kind(), self.settings().unfit().into_iter());
        all.map(|it| Unfit { path: format!("{kind}.{}", it.path), ..it }).collect()
    }

    /// What is known of a record before it is sent.
    #[must_use]
    pub fn measured(&self, record: &Record) -> Measured {
        self.settings().measured(record)
    }

    /// Why records of a source never have the key that the target places them by, if that is so: the source's
    /// event type, and the fields that it chooses.
    #[must_use]
    pub fn lacks(&self, event_type: &Arc<EventType>, fields: Option<&[String]>) -> Option<String> {
        self.settings().lacks(event_type, fields)
    }

    /// Standard output: what stands for a target of which too little is known.
    #[must_use]
    pub fn standard_output() -> Target {
        Target::Debug(DebugTarget::log())
    }

    /// The same, where several journal records share one of the service's, or where none do; none for targets
    /// that have no such setting.
    #[must_use]
    pub fn with_packing(&self, packs: bool) -> Option<Target> {
        self.settings().with_packing(packs)
    }

    /// How a target of AWS proves who it is; none for the others.
    #[must_use]
    pub fn auth(&self) -> Option<&Auth> {
        self.settings().at_aws().map(|it| it.auth)
    }

    fn auth_mut(&mut self) -> Option<&mut Auth> {
        match self {
            Target::Kinesis(settings) => Some(settings.auth_mut()),
            Target::Firehose(settings) => Some(settings.auth_mut()),
            Target::CloudwatchLogs(settings) => Some(settings.auth_mut()),
            _ => None,
        }
    }

    /// The endpoint of a target of AWS in place of AWS's own.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.settings().at_aws()?.endpoint_url
    }

    /// The URLs that its settings give, wherever they stand in them; none where the service's own is used,
    /// and for what is not reached over the network.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Noted, Uri)> {
        let all = form::noted(self).into_iter().filter(|it| it.nature == Nature::Address);
        all.filter_map(|it| it.text.parse().ok().map(|url| (it, url))).collect()
    }

    /// Makes the target ready without asking its service anything: a wrong key shows with the
    /// first delivery, or by [`Sink::probe`]. `log` is where a debug target writes, `timeout` the
    /// time for one request, from connecting to the whole answer; files have none. One that was made
    /// through the API keeps within `bounds`; where these bar all of it, every delivery fails.
    ///
    /// Fails only if a file's directory is not there.
    pub async fn open(
        &self,
        log: LogOutput,
        timeout: Duration,
        bounds: Option<&Bounds>,
    ) -> Result<Sink, OpenError> {
        self.open_to_write(Format::Json, log, timeout, bounds).await
    }

    /// The same for records that are written in a format.
    pub async fn open_to_write(
        &self,
        format: Format,
        log: LogOutput,
        timeout: Duration,
        bounds: Option<&Bounds>,
    ) -> Result<Sink, OpenError> {
        let lines = bounds.map(|bounds| bounds.lines().clone());
        let sending = Sending { timeout, lines, format };
        let opened = self.settings().open(log, sending).await?;
        let barred = bounds.and_then(|bounds| bounds.rules().check(self).err());
        Ok(Sink { kind: self.kind(), format, limits: self.limits(), opened, barred })
    }

    /// Which way requests go, if the environment names a proxy: `directly`, or through which; `bounds` as
    /// for [`Target::open`]. None where it names none, and for targets on this machine. Asks no service.
    pub async fn way(&self, bounds: Option<&Bounds>) -> Option<String> {
        if !proxy::RULES.any() {
            return None;
        }
        // Nothing is written, and time limits mean nothing here.
        let opened = self.settings().open(LogOutput::Stdout, Sending::default()).await.ok()?;
        let given = self.addresses().into_iter().next().map(|(_, url)| url);
        let url = opened.url().await.or(given)?;
        let way = bounds.map_or_else(|| proxy::RULES.way(&url), |it| it.lines().way(&url));
        Some(format!("`{}` is reached {way}", transport::address(&url)))
    }
}

/// One line for a status page: what and where, without secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings().fmt(f)
    }
}

/// The open connection to one destination. May be used by several tasks at once.
pub struct Sink {
    kind: &'static str,
    format: Format,
    limits: Limits,
    opened: Box<dyn Opened>,
    /// Why it may not be used at all.
    barred: Option<Barred>,
}

/// The kind alone: connections and credentials are no reading matter.
impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sink").field(&self.kind).finish()
    }
}

impl Sink {
    /// Sends a batch: one verdict a record, in the batch's order.
    ///
    /// Makes one attempt, within the time that it was opened with; but a request refused for
    /// the sake of a record is sent again in parts, to find that record.
    pub async fn deliver(&self, batch: &Batch) -> Vec<Ack> {
        let records = batch.records.as_slice();
        if records.is_empty() {
            return Vec::new();
        }
        if let Some(barred) = &self.barred {
            return vec![Ack::Retry(barred_fault(barred)); records.len()];
        }
        match self.format {
            Format::Json => self.opened.deliver(records).await,
            format => {
                let written = records.iter().map(|it| Arc::new(format.written(it).into_owned()));
                self.opened.deliver(&written.collect::<Vec<_>>()).await
            }
        }
    }

    /// How much one request may carry, as far as is known now: a batch of more is sent in several.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.opened.limits().unwrap_or(self.limits)
    }

    /// Whether journal records share records of the service, and why; none where they never do, and before
    /// it is known.
    #[must_use]
    pub fn packing(&self) -> Option<Packing> {
        self.opened.packing()
    }

    /// How many log streams are written to, where a template names them.
    #[must_use]
    pub fn log_streams(&self) -> Option<LogStreams> {
        self.opened.log_streams()
    }

    /// Where the credentials in use came from: `environment`, `profile file …`, `container`, `keys`,
    /// `role … via …`. None before the first request, and where none are needed.
    #[must_use]
    pub fn credentials(&self) -> Option<String> {
        self.opened.credentials()
    }

    /// Asks whether deliveries would find their target. Writes no event; the text is one line for
    /// a person.
    pub async fn probe(&self) -> Result<String, Fault> {
        if let Some(barred) = &self.barred {
            return Err(barred_fault(barred));
        }
        self.opened.probe().await
    }
}

#[cfg(test)]
mod tests;
