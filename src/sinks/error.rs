//! What can be wrong with a target before anything is sent: its settings, and opening it.
//!
//! Faults that show while delivering are in `ack.rs`.

use std::fmt;

/// Why settings do not make a target. Its `Display` is for the person who wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The text is no ARN, or one of its parts cannot be.
    Arn {
        /// The text as given.
        arn: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The partition, the ARN's second part, cannot be the name of one.
    ArnPartition {
        /// The text as given.
        arn: String,
    },
    /// The ARN's service is none of those that a target can be of.
    ArnService {
        /// The text as given.
        arn: String,
        /// The service that this target needs.
        expected: &'static str,
    },
    /// The ARN belongs to another kind of target.
    ArnOtherService {
        /// The text as given.
        arn: String,
        /// The service that this target needs.
        expected: &'static str,
    },
    /// The ARN names something else of the right service.
    ArnResource {
        /// The text as given.
        arn: String,
        /// The form that the resource must have, such as `stream/NAME`.
        expected: &'static str,
    },
    /// The role's ARN is not the ARN of an IAM role.
    RoleArn {
        /// The text as given.
        arn: String,
    },
    /// A part of `auth` other than the role's ARN is wrong.
    Auth {
        /// The setting's name.
        name: &'static str,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// Another setting is wrong.
    Setting {
        /// The setting's name.
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

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Arn { arn, problem } => {
                write!(
                    f,
                    "`{arn}` is not a usable ARN: {problem}; the form is \
                     `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`"
                )
            }
            TargetError::ArnPartition { arn } => {
                write!(
                    f,
                    "the partition of `{arn}` must be lower-case letters, digits and hyphens, \
                     such as `aws`, `aws-cn` or `aws-us-gov`"
                )
            }
            TargetError::ArnService { arn, expected } => {
                write!(
                    f,
                    "the service of `{arn}` is none that events can go to, here it must be \
                     `{expected}`"
                )
            }
            TargetError::ArnOtherService { arn, expected } => {
                write!(
                    f,
                    "`{arn}` belongs to another kind of target, here its service must be \
                     `{expected}`"
                )
            }
            TargetError::ArnResource { arn, expected } => {
                write!(f, "`{arn}` names another type of resource, it must end with `{expected}`")
            }
            TargetError::RoleArn { arn } => {
                write!(
                    f,
                    "`{arn}` is not the ARN of an IAM role; the form is \
                     `arn:aws:iam::ACCOUNT:role/NAME`"
                )
            }
            TargetError::Auth { name, problem } | TargetError::Setting { name, problem } => {
                write!(f, "`{name}` {problem}")
            }
        }
    }
}

impl std::error::Error for TargetError {}

/// Why a target could not be opened. Only what this machine can tell without asking a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// What happened and what would help.
    pub message: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}
