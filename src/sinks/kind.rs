//! What every kind of target must be able to say and do: the one thing that the others know of it.
//!
//! Each kind says it in its own file; `mod.rs` only lists the kinds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Uri;

use super::Target;
use super::ack::{Ack, Fault};
use super::actions::Action;
use super::arn::Arn;
use super::auth::Auth;
use super::aws;
use super::batch::Limits;
use super::error::OpenError;
use super::log_output::LogOutput;
use super::packing::Packing;
use super::transport::Sending;
use super::trouble::Trouble;
use crate::event::{EventType, Record};

/// A future of one of these calls.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What all targets of AWS have in common.
#[derive(Clone, Copy)]
pub(super) struct AtAws<'t> {
    /// What is written to; it says in which region.
    pub arn: &'t Arn,
    pub auth: &'t Auth,
    /// In place of AWS's own.
    pub endpoint_url: Option<&'t str>,
    /// Everything that is called there.
    pub actions: &'static [Action],
    /// The log stream that is written to, or its template; empty for what has none.
    pub log_stream: &'t str,
}

impl AtAws<'_> {
    /// How to connect to it.
    pub(super) fn settings(self, sending: Sending) -> aws::Settings {
        aws::Settings {
            region: self.arn.region().to_owned(),
            auth: self.auth.clone(),
            endpoint_url: self.endpoint_url.map(str::to_owned),
            sending,
        }
    }
}

/// What is known of a record before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What it adds to a batch's bytes.
    pub bytes: usize,
    /// Where the service places it among its parts (the shards of Kinesis), if it has any: records of equal
    /// places go to one part, and parts are ranges of places.
    pub place: Option<u128>,
    /// Whether records of this place must arrive in their order.
    pub in_order: bool,
    /// Whether it has not got the key that it was to be placed by.
    pub lacks_key: bool,
}

/// A setting that its client, or this build, does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The names that lead to it.
    pub path: String,
    /// What is wrong, as a sentence; it may quote the value.
    pub problem: String,
}

/// The settings of a target. Its `Display` is one line for a status page: what and where, no secrets.
pub(super) trait Kind: fmt::Display {
    /// As settings and the API call it.
    fn name(&self) -> &'static str;

    /// How much one request may carry.
    fn limits(&self) -> Limits;

    /// What is known of a record before it is sent.
    fn measured(&self, record: &Record) -> Measured {
        Measured { bytes: self.limits().record_bytes(record), ..Measured::default() }
    }

    /// Why records of a source never have what the target places them by, if that is so: the source's event
    /// type, and the fields that it chooses.
    fn lacks(&self, _: &Arc<EventType>, _: Option<&[String]>) -> Option<String> {
        None
    }

    /// Most bytes that its client holds beside the batches on their way.
    fn held_bytes(&self) -> u64 {
        0
    }

    /// What of its settings its client, or this build, does not take, with paths that begin at them.
    fn unfit(&self) -> Vec<Unfit> {
        Vec::new()
    }

    /// The same, where several journal records share one of the service's, or where none do; none where they
    /// never share.
    fn with_packing(&self, _: bool) -> Option<Target> {
        None
    }

    /// Where and as whom a target of AWS is called.
    fn at_aws(&self) -> Option<AtAws<'_>> {
        None
    }

    /// The URL that records go to, where no single setting is one and it can be told without asking.
    fn url(&self) -> Option<Uri> {
        None
    }

    /// What to type next about a trouble, where there is more to say than about any target.
    fn next(&self, _: Trouble) -> Option<String> {
        None
    }

    /// Makes it ready without asking its service anything; `log` is where a debug target writes.
    fn open(
        &self,
        log: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>>;
}

/// How many log streams a destination writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStreams {
    /// Those that it wrote to within the last hour, at least.
    pub open: usize,
    /// How many that may be.
    pub max: usize,
    /// Events that went to the one for all others, since there were as many.
    pub other_events: u64,
}

/// A target that is ready. May be used by several tasks at once.
pub(super) trait Opened: Send + Sync {
    /// Sends records, at least one: one verdict each, in their order.
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>>;

    /// Asks whether deliveries would find their target, and writes no event; one line for a person.
    fn probe(&self) -> Boxed<'_, Result<String, Fault>>;

    /// How much one request may carry, where that is learnt from the service; none where the settings say it.
    fn limits(&self) -> Option<Limits> {
        None
    }

    /// Whether journal records share the service's; none where they never do, or before it is known.
    fn packing(&self) -> Option<Packing> {
        None
    }

    /// How many log streams are written to; none where all events go to one place.
    fn log_streams(&self) -> Option<LogStreams> {
        None
    }

    /// Where the credentials in use came from; none before the first request, and where none are needed.
    fn credentials(&self) -> Option<String> {
        None
    }

    /// The URL that records go to, where the settings do not give it.
    fn url(&self) -> Boxed<'_, Option<Uri>> {
        Box::pin(std::future::ready(None))
    }
}
