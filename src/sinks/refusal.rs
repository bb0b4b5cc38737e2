//! What the errors of AWS mean: one table for the codes that its services share.
//!
//! The codes are those of the services' API models of 2026 and of the AWS SDK's own lists of retryable
//! ones; they are compared as text, since services give codes that their models do not name, such as
//! `ThrottlingException`. `body.rs` finds them in answers.

mod body;

use std::time::Duration;

use super::ack::{Fault, FaultKind};
use super::trouble::Trouble;
pub(super) use body::kind_of;

/// Longest text of a service that is shown: enough for IAM's longest sentence.
pub(super) const MAX_TEXT: usize = 1_000;

/// What an error says about the request, or about one of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Not the records' fault.
    Fault(FaultKind),
    /// At least one record is such that the service will never take it.
    Poison,
}

pub(super) const THROTTLED: Class = Class::Fault(FaultKind::Throttled);
pub(super) const TRANSIENT: Class = Class::Fault(FaultKind::Transient);
pub(super) const CONFIGURATION: Class = Class::Fault(FaultKind::Configuration);

/// An error as the service gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The service's code; empty if it gave none.
    pub(super) code: String,
    /// The service's text.
    pub(super) text: String,
    /// The HTTP status of the whole answer, if it was the whole request that failed.
    pub(super) status: Option<u16>,
    /// How long the service asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Whether it is not recognisably the service's.
    pub(super) unanswered: bool,
}

/// The class of an error by its code, or else by the HTTP status.
///
/// What is not known is never held against the records: an unknown 4xx waits for the operator.
pub(super) fn class_of(refusal: &Refusal) -> Class {
    class_of_code(&refusal.code).unwrap_or(match refusal.status {
        Some(429) => THROTTLED,
        Some(413) => Class::Poison,
        None | Some(408 | 500..) => TRANSIENT,
        Some(_) => CONFIGURATION,
    })
}

/// The class of a code of AWS; none for any other.
pub(super) fn class_of_code(code: &str) -> Option<Class> {
    Some(match code {
        "BandwidthLimitExceeded"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "TransactionInProgressException" => THROTTLED,
        "IDPCommunicationError"
        | "InternalError"
        | "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "InternalServiceError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => TRANSIENT,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidKMSResourceException"
        | "InvalidSignature"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "InvalidTokenException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestInTheFuture"
        | "RequestTimeTooSkewed"
        | "ResourceNotFoundException"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired"
        | "UnauthorizedOperation"
        | "UnrecognizedClient"
        | "UnrecognizedClientException" => CONFIGURATION,
        "InvalidArgumentException"
        | "InvalidParameterException"
        | "SerializationException"
        | "ValidationError"
        | "ValidationException" => Class::Poison,
        _ => return None,
    })
}

impl Refusal {
    /// What is wrong, if it is something that somebody can mend.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        Trouble::of_answer(&self.code, &self.text, self.status)
    }

    /// A fault that comes of this refusal, with what else the answer says.
    pub(super) fn marked(&self, fault: Fault) -> Fault {
        // Whoever has to change something is not waited for by the clock.
        let asks = fault.kind != FaultKind::Configuration;
        let retry_after = self.retry_after.filter(|_| asks);
        let trouble = fault.trouble.or_else(|| self.trouble());
        Fault { retry_after, unanswered: self.unanswered, trouble, ..fault }
    }
}

/// A service's text as it is shown: of bearable length and without a full stop.
pub(super) fn shown(text: &str) -> &str {
    let text = text.trim().trim_end_matches('.');
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests;
