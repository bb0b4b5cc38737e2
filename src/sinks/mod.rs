//! All that is known of each kind of target, one file a kind: settings, limits, request, and the
//! verdict on each record.
//!
//! A sink delivers a batch and says what became of each record. It does not batch, wait, retry or
//! remember: the delivery task does.

mod ack;
mod answer;
mod arn;
mod auth;
mod aws;
mod batch;
mod callback;
mod cloudwatch_logs;
mod debug;
mod error;
mod file;
mod firehose;
mod kinesis;
mod parts;
mod secret;

use std::fmt;

use crate::event::Record;

pub use ack::{Ack, Fault, FaultKind};
pub use arn::Arn;
pub use auth::Auth;
pub use batch::{Batch, Count, Limits};
pub use callback::PlainHttpHosts;
pub use cloudwatch_logs::CloudwatchLogsTarget;
pub use debug::{DebugTarget, LogOutput};
pub use error::{OpenError, TargetError};
pub use file::FileTarget;
pub use firehose::FirehoseTarget;
pub use kinesis::KinesisTarget;
pub use secret::Secret;

/// Kind and settings of a destination, valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Kinesis data stream.
    Kinesis(KinesisTarget),
    /// A Firehose stream.
    Firehose(FirehoseTarget),
    /// A log stream of CloudWatch Logs.
    CloudwatchLogs(CloudwatchLogsTarget),
    /// Standard output, or a URL that batches are posted to.
    Debug(DebugTarget),
    /// A file on this machine.
    File(FileTarget),
}

impl Target {
    /// The kind as settings and the API call it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Kinesis(_) => "kinesis",
            Target::Firehose(_) => "firehose",
            Target::CloudwatchLogs(_) => "cloudwatch_logs",
            Target::Debug(_) => "debug",
            Target::File(_) => "file",
        }
    }

    /// How much one request may carry.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self {
            Target::Kinesis(_) => kinesis::LIMITS,
            Target::Firehose(_) => firehose::LIMITS,
            Target::CloudwatchLogs(_) => cloudwatch_logs::LIMITS,
            Target::Debug(_) => debug::LIMITS,
            Target::File(_) => file::LIMITS,
        }
    }

    /// What one record adds to a batch's bytes; the same as [`Limits::record_bytes`].
    #[must_use]
    pub fn record_bytes(&self, record: &Record) -> usize {
        self.limits().record_bytes(record)
    }

    /// Makes the target ready without asking its service anything: a wrong key shows with the
    /// first delivery, or by [`Sink::probe`]. `log` is where a debug target writes.
    ///
    /// Fails only if a file's directory is not there.
    pub async fn open(&self, log: LogOutput) -> Result<Sink, OpenError> {
        let kind = match self {
            Target::Kinesis(settings) => Kind::Kinesis(kinesis::Sink::open(settings).await),
            Target::Firehose(settings) => Kind::Firehose(firehose::Sink::open(settings).await),
            Target::CloudwatchLogs(settings) => {
                Kind::CloudwatchLogs(cloudwatch_logs::Sink::open(settings).await)
            }
            Target::Debug(settings) => Kind::Debug(debug::Sink::open(settings, log)),
            Target::File(settings) => Kind::File(file::Sink::open(settings).await?),
        };
        Ok(Sink { kind })
    }
}

/// One line for a status page: what and where, without secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Kinesis(settings) => settings.fmt(f),
            Target::Firehose(settings) => settings.fmt(f),
            Target::CloudwatchLogs(settings) => settings.fmt(f),
            Target::Debug(settings) => settings.fmt(f),
            Target::File(settings) => settings.fmt(f),
        }
    }
}

/// The open connection to one destination. May be used by several tasks at once.
pub struct Sink {
    kind: Kind,
}

/// The kind alone: connections and credentials are no reading matter.
impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Kinesis(_) => "kinesis",
            Kind::Firehose(_) => "firehose",
            Kind::CloudwatchLogs(_) => "cloudwatch_logs",
            Kind::Debug(_) => "debug",
            Kind::File(_) => "file",
        };
        f.debug_tuple("Sink").field(&kind).finish()
    }
}

enum Kind {
    Kinesis(kinesis::Sink),
    Firehose(firehose::Sink),
    CloudwatchLogs(cloudwatch_logs::Sink),
    Debug(debug::Sink),
    File(file::Sink),
}

impl Sink {
    /// Sends a batch: one verdict a record, in the batch's order.
    ///
    /// Makes one attempt, within the time that the target's file names; but a request refused for
    /// the sake of a record is sent again in parts, to find that record.
    pub async fn deliver(&self, batch: &Batch) -> Vec<Ack> {
        let records = batch.records.as_slice();
        if records.is_empty() {
            return Vec::new();
        }
        match &self.kind {
            Kind::Kinesis(sink) => sink.deliver(records).await,
            Kind::Firehose(sink) => sink.deliver(records).await,
            Kind::CloudwatchLogs(sink) => sink.deliver(records).await,
            Kind::Debug(sink) => sink.deliver(records).await,
            Kind::File(sink) => sink.deliver(records).await,
        }
    }

    /// Asks whether deliveries would find their target. Writes no event; the text is one line for
    /// a person.
    pub async fn probe(&self) -> Result<String, Fault> {
        match &self.kind {
            Kind::Kinesis(sink) => sink.probe().await,
            Kind::Firehose(sink) => sink.probe().await,
            Kind::CloudwatchLogs(sink) => sink.probe().await,
            Kind::Debug(sink) => sink.probe().await,
            Kind::File(sink) => sink.probe().await,
        }
    }
}

#[cfg(test)]
mod tests;
