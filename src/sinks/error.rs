//! What can be wrong with a target before anything is sent: its settings, and opening it.
//!
//! Faults that show while delivering are in `ack.rs`.

use crate::form::Wrong;

/// The code of a setting that is wrong in itself, where ngrok has none of its own.
pub(super) const SETTING: &str = "ERR_NGROK_236";
/// The code of a part of `auth` that is wrong in itself.
pub(super) const AUTH: &str = "ERR_NGROK_240";

/// Why a text is no ARN of what it must be. Its `Display` is for the person who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
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
}

impl ArnError {
    /// The stable code that a program may branch on: the one that ngrok's API gives for the same
    /// condition.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ArnError::Arn { .. } => "ERR_NGROK_5120",
            ArnError::ArnPartition { .. } => "ERR_NGROK_5118",
            ArnError::ArnService { .. } => "ERR_NGROK_5119",
            ArnError::ArnOtherService { .. } => "ERR_NGROK_5129",
            ArnError::ArnResource { .. } => "ERR_NGROK_5130",
            ArnError::RoleArn { .. } => "ERR_NGROK_5104",
        }
    }
}

impl From<ArnError> for Wrong {
    fn from(error: ArnError) -> Wrong {
        Wrong::quoting(error.code(), error.to_string())
    }
}

/// Why a target could not be opened. Only what this machine can tell without asking a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    /// What happened and what would help.
    pub message: String,
}
