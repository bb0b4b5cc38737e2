//! What is asked of AWS: one table of IAM actions, by which the sinks call and policies are made.
//!
//! Calls nothing. An action that is not here is in no policy either, so `tests/it/policy.rs` holds what
//! is called to it.

use super::arn::Arn;
use super::{Auth, Target};

/// What an action is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Nothing is delivered without it.
    Deliver,
    /// A log stream that does not exist yet cannot be opened without it.
    OpenLogStream,
    /// Nobody can say without it whether the target is there and of the right kind.
    Check,
}

/// The resource that an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The target's own ARN.
    Target,
    /// Everything in the log group.
    LogGroup,
    /// The log streams that are written to.
    LogStream,
}

/// An IAM action that some kind of target needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Service and operation, such as `kinesis:PutRecords`.
    pub name: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    on: On,
}

const fn action(name: &'static str, purpose: Purpose, on: On) -> Action {
    Action { name, purpose, on }
}

pub(super) const PUT_RECORDS: Action = action("kinesis:PutRecords", Purpose::Deliver, On::Target);
pub(super) const DESCRIBE_STREAM: Action =
    action("kinesis:DescribeStreamSummary", Purpose::Check, On::Target);
pub(super) const LIST_SHARDS: Action = action("kinesis:ListShards", Purpose::Check, On::Target);
pub(super) const PUT_RECORD_BATCH: Action =
    action("firehose:PutRecordBatch", Purpose::Deliver, On::Target);
pub(super) const DESCRIBE_DELIVERY_STREAM: Action =
    action("firehose:DescribeDeliveryStream", Purpose::Check, On::Target);
pub(super) const PUT_LOG_EVENTS: Action =
    action("logs:PutLogEvents", Purpose::Deliver, On::LogStream);
pub(super) const CREATE_LOG_STREAM: Action =
    action("logs:CreateLogStream", Purpose::OpenLogStream, On::LogGroup);
pub(super) const DESCRIBE_LOG_STREAMS: Action =
    action("logs:DescribeLogStreams", Purpose::Check, On::LogGroup);

/// Everything that a kind of target calls.
pub(super) const KINESIS: [Action; 2] = [PUT_RECORDS, DESCRIBE_STREAM];
/// The same where events share records.
pub(super) const KINESIS_AGGREGATED: [Action; 3] = [PUT_RECORDS, DESCRIBE_STREAM, LIST_SHARDS];
pub(super) const FIREHOSE: [Action; 2] = [PUT_RECORD_BATCH, DESCRIBE_DELIVERY_STREAM];
pub(super) const CLOUDWATCH_LOGS: [Action; 3] =
    [PUT_LOG_EVENTS, CREATE_LOG_STREAM, DESCRIBE_LOG_STREAMS];

/// An action with the ARN, or pattern of ARNs, that it is needed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The action.
    pub action: Action,
    /// The least that it must be allowed on.
    pub resource: String,
}

/// What a target of AWS needs to be allowed, and as whom it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs<'a> {
    /// Who asks.
    pub auth: &'a Auth,
    /// The actions, those that deliver first.
    pub actions: Vec<Needed>,
    /// The region of the target.
    pub region: &'a str,
}

impl Target {
    /// What it needs to be allowed; none for targets that are not AWS's.
    #[must_use]
    pub fn needs(&self) -> Option<Needs<'_>> {
        let it = self.settings().at_aws()?;
        let needed = |action: &Action| Needed {
            action: *action,
            resource: action.on.resource(it.arn, it.log_stream),
        };
        let actions = it.actions.iter().map(needed).collect();
        Some(Needs { auth: it.auth, actions, region: it.arn.region() })
    }
}

impl On {
    fn resource(self, arn: &Arn, log_stream: &str) -> String {
        // With or without the `:*` that the console writes.
        let own = arn.as_str().trim_end_matches(":*");
        match self {
            On::Target => own.to_owned(),
            On::LogGroup => format!("{own}:*"),
            On::LogStream => {
                // What a template fills in can be anything.
                let literal = log_stream.split('{').next().unwrap_or_default();
                let rest = if literal == log_stream { "" } else { "*" };
                format!("{own}:log-stream:{literal}{rest}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stream_is_allowed_by_its_name_or_by_what_begins_it() {
        let group = "arn:aws:logs:us-east-1:123456789012:log-group:/app:*";
        let arn = Arn::parse(group, super::super::arn::LOG_GROUP).unwrap();
        for (name, end) in [("events", "events"), ("events-{day}", "events-*"), ("{day}", "*")] {
            let resource = On::LogStream.resource(&arn, name);
            let group = group.trim_end_matches(":*");
            assert_eq!(resource, format!("{group}:log-stream:{end}"));
        }
    }
}
