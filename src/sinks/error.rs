//! What can be wrong with a target before anything is sent: its settings, and opening it.
//!
//! Faults that show while delivering are in `ack.rs`.

/// Why settings do not make a target. Its `Display` is for the person who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is no ARN, or one of its parts cannot be.
    #[error(
        "`{arn}` is not a usable ARN: {problem}; the form is `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`"
    )]
    Arn {
        arn: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The partition, the ARN's second part, cannot be the name of one.
    #[error(
        "the partition of `{arn}` must be lower-case letters, digits and hyphens, such as `aws`, `aws-cn` or `aws-us-gov`"
    )]
    ArnPartition { arn: String },
    /// The ARN's service is none of those that a target can be of.
    #[error("the service of `{arn}` is none that events can go to, here it must be `{expected}`")]
    ArnService {
        arn: String,
        /// The service that this target needs.
        expected: &'static str,
    },
    /// The ARN belongs to another kind of target.
    #[error("`{arn}` belongs to another kind of target, here its service must be `{expected}`")]
    ArnOtherService {
        arn: String,
        /// The service that this target needs.
        expected: &'static str,
    },
    /// The ARN names something else of the right service.
    #[error("`{arn}` names another type of resource, it must end with `{expected}`")]
    ArnResource {
        arn: String,
        /// The form that the resource must have, such as `stream/NAME`.
        expected: &'static str,
    },
    /// The role's ARN is not the ARN of an IAM role.
    #[error("`{arn}` is not the ARN of an IAM role; the form is `arn:aws:iam::ACCOUNT:role/NAME`")]
    RoleArn { arn: String },
    /// A part of `auth` other than the role's ARN is wrong.
    #[error("`{name}` {problem}")]
    Auth {
        name: &'static str,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// Another setting is wrong.
    #[error("`{name}` {problem}")]
    Setting {
        name: &'static str,
        /// What is wrong with it, and what would do.
        problem: String,
    },
}

impl TargetError {
    /// The stable code that a program may branch on: the one that ngrok's API gives for the same
    /// condition.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            TargetError::Arn { .. } => "ERR_NGROK_5120",
            TargetError::ArnPartition { .. } => "ERR_NGROK_5118",
            TargetError::ArnService { .. } => "ERR_NGROK_5119",
            TargetError::ArnOtherService { .. } => "ERR_NGROK_5129",
            TargetError::ArnResource { .. } => "ERR_NGROK_5130",
            TargetError::RoleArn { .. } => "ERR_NGROK_5104",
            TargetError::Auth { .. } => "ERR_NGROK_240",
            TargetError::Setting { .. } => "ERR_NGROK_236",
        }
    }
}

/// Why a target could not be opened. Only what this machine can tell without asking a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    /// What happened and what would help.
    pub message: String,
}
