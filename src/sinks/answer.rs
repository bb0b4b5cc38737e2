//! What the errors of AWS mean: one table for the codes that its services share.
//!
//! Each sink's own file adds what only its service says. Nothing here sends anything. The codes are
//! those of the services' API models of 2026 and of the AWS SDK's own lists of retryable ones; they
//! are compared as text, since services give codes that their models do not name, such as
//! `ThrottlingException`.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};

use super::ack::{Ack, Fault, FaultKind};
use super::parts::Outcome;

/// Longest text of a service that is shown: enough for IAM's longest sentence.
const MAX_TEXT: usize = 1_000;

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
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The service answered with an error.
    Refused(Refusal),
    /// There was no answer, or none that can be read.
    Unanswered(Fault),
}

/// What is being called, for the operator's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// The IAM action, such as `kinesis:PutRecords`.
    pub(super) action: &'static str,
    /// The ARN on which it must be allowed.
    pub(super) resource: &'a str,
}

/// The class of an error by its code, or else by the HTTP status.
///
/// What is not known is never held against the records: an unknown 4xx waits for the operator.
pub(super) fn class_of(refusal: &Refusal) -> Class {
    match refusal.code.as_str() {
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
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidKMSResourceException"
        | "InvalidSignatureException"
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
        | "UnrecognizedClientException" => CONFIGURATION,
        "InvalidArgumentException"
        | "InvalidParameterException"
        | "SerializationException"
        | "ValidationError"
        | "ValidationException" => Class::Poison,
        _ => match refusal.status {
            Some(429) => THROTTLED,
            Some(413) => Class::Poison,
            None | Some(408 | 500..) => TRANSIENT,
            Some(_) => CONFIGURATION,
        },
    }
}

/// What would help against an error, if it is known.
fn advice(code: &str, call: &Call) -> Option<String> {
    let Call { action, resource } = call;
    Some(match code {
        "AccessDenied" | "AccessDeniedException" | "AuthFailure" | "NotAuthorized" => {
            format!("allow the IAM action `{action}` on `{resource}`")
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            "the credentials have expired: renew them".to_owned()
        }
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "AWS does not know this access key, or the temporary credentials are broken: check \
             `aws_access_key_id` and the region in the ARN"
                .to_owned()
        }
        "IncompleteSignature" | "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the signature does not match: check `aws_secret_access_key` and this machine's clock"
                .to_owned()
        }
        "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => {
            "check this machine's clock".to_owned()
        }
        "KMSAccessDeniedException" => {
            format!(
                "allow the IAM action `kms:GenerateDataKey` on the key that encrypts `{resource}`"
            )
        }
        "InvalidKMSResourceException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => {
            format!("look at the KMS key that encrypts `{resource}`")
        }
        "ResourceNotFoundException" => {
            format!("create `{resource}`, or mend the ARN: its region and account count too")
        }
        _ => return None,
    })
}

impl Call<'_> {
    /// A fault of the given kind with the service's words and what would help.
    pub(super) fn fault(&self, kind: FaultKind, refusal: &Refusal) -> Fault {
        let message = match advice(&refusal.code, self) {
            Some(advice) => format!("{}; {advice}", self.words(refusal)),
            None => self.words(refusal),
        };
        Fault::new(kind, message)
    }

    /// The verdict on one record that an otherwise successful answer refuses.
    pub(super) fn ack(&self, class: Class, refusal: &Refusal) -> Ack {
        match class {
            Class::Poison => Ack::Rejected(self.words(refusal)),
            Class::Fault(kind) => Ack::Retry(self.fault(kind, refusal)),
        }
    }

    /// What a refusal of the whole request comes to.
    pub(super) fn outcome(&self, class: Class, refusal: &Refusal) -> Outcome {
        match class {
            Class::Poison => Outcome::Refused(self.words(refusal)),
            Class::Fault(kind) => Outcome::Failed(self.fault(kind, refusal)),
        }
    }

    /// The fault of a question about the resource, where no record is involved.
    pub(super) fn probe_fault(&self, error: CallError) -> Fault {
        match error {
            CallError::Unanswered(fault) => fault,
            CallError::Refused(refusal) => match class_of(&refusal) {
                Class::Fault(kind) => self.fault(kind, &refusal),
                Class::Poison => self.fault(FaultKind::Configuration, &refusal),
            },
        }
    }

    fn words(&self, refusal: &Refusal) -> String {
        let action = self.action;
        let name = match (refusal.code.as_str(), refusal.status) {
            ("", Some(status)) => format!("HTTP status {status}"),
            ("", None) => "an error without a code".to_owned(),
            (code, _) => format!("`{code}`"),
        };
        let text = shown(&refusal.text);
        let separator = if text.is_empty() { "" } else { ": " };
        format!("`{action}` was answered with {name}{separator}{text}")
    }
}

/// Reads what went wrong with a call.
pub(super) fn call_error<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let why = error.source().map(causes).unwrap_or_default();
    CallError::Unanswered(match error {
        SdkError::ServiceError(answer) => {
            return CallError::Refused(Refusal {
                code: answer.err().code().unwrap_or_default().to_owned(),
                text: answer.err().message().unwrap_or_default().to_owned(),
                status: Some(answer.raw().status().as_u16()),
            });
        }
        SdkError::ResponseError(answer) if answer.raw().status().as_u16() >= 400 => {
            let status = answer.raw().status().as_u16();
            let text = match status {
                400..500 => "the answer is not in the service's form, check `endpoint_url`",
                _ => "the answer is not in the service's form",
            };
            return CallError::Refused(Refusal {
                code: String::new(),
                text: text.to_owned(),
                status: Some(status),
            });
        }
        SdkError::ResponseError(_) => Fault::transient(format!("the answer is unreadable: {why}")),
        SdkError::TimeoutError(_) => {
            Fault::transient("no answer in time; what was sent may have arrived all the same")
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() || failure.is_io() => {
            Fault::transient(format!("the service was not reached, or the connection broke: {why}"))
        }
        // Before sending: no credentials, or no endpoint for this region and these settings.
        error => preparation_fault(error),
    })
}

/// A fault from before the request was sent: most often the credentials could not be had.
fn preparation_fault(error: &(dyn Error + 'static)) -> Fault {
    let chain = || std::iter::successors(Some(error), |&cause| cause.source());
    let why = error.source().map(causes).unwrap_or_default();
    let answered = chain().find_map(|cause| cause.downcast_ref::<ErrorMetadata>());
    if let Some(code) = answered.and_then(ErrorMetadata::code) {
        let refusal = Refusal { code: code.to_owned(), ..Refusal::default() };
        let kind = match class_of(&refusal) {
            Class::Fault(kind) => kind,
            Class::Poison => FaultKind::Configuration,
        };
        let advice = match code {
            "AccessDenied" | "AccessDeniedException" => {
                "; the role's trust policy must name this machine's identity (and the external id, \
                 if it asks for one), and that identity needs `sts:AssumeRole` on the role"
            }
            _ => "",
        };
        let text = shown(answered.and_then(ErrorMetadata::message).unwrap_or_default());
        return Fault::new(kind, format!("no credentials: `{code}`: {text}{advice}"));
    }
    let unreachable = chain()
        .filter_map(|cause| cause.downcast_ref::<ConnectorError>())
        .any(|cause| cause.is_io() || cause.is_timeout());
    if unreachable || why.contains("timed out") {
        return Fault::transient(format!("no credentials yet: {why}"));
    }
    Fault::configuration(if why.contains("credential") {
        format!("no credentials: {why}; give the target `auth`, or this machine an AWS identity")
    } else {
        format!("the request could not be prepared: {why}")
    })
}

/// A service's text as it is shown: of bearable length and without a full stop.
fn shown(text: &str) -> &str {
    let text = text.trim().trim_end_matches('.');
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// An error with all its causes on one line, without the wrappers that say nothing and without
/// what wrapping repeats.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in std::iter::successors(Some(error), |&cause| cause.source()) {
        if cause.is::<ConnectorError>() {
            continue;
        }
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&text);
        }
    }
    line.truncate(line.floor_char_boundary(MAX_TEXT));
    line
}

#[cfg(test)]
mod tests;
