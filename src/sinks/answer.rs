//! What became of a call to AWS, in the words of a fault, with what would help.
//!
//! Each sink's own file adds what only its service says. Nothing here sends anything.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};

use super::ack::{Ack, Fault, FaultKind, with_its_words};
use super::causes::{causes, chain};
use super::genuine::Strange;
use super::parts::Outcome;
use super::refusal::{Class, Refusal, class_of, class_of_code, shown};
use super::transport::NoAnswer;
use super::trouble::Trouble;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The service answered with an error.
    Refused(Refusal),
    /// There was no answer, or none that can be read.
    Unanswered(Fault),
    /// Nothing was sent, for want of credentials.
    NoCredentials(Fault),
}

impl CallError {
    /// Whether other credentials may be the cure.
    pub(super) fn concerns_identity(&self) -> bool {
        match self {
            CallError::NoCredentials(_) => true,
            CallError::Unanswered(_) => false,
            CallError::Refused(refusal) => {
                let by_status =
                    refusal.code.is_empty() && matches!(refusal.status, Some(401 | 403));
                by_status || IDENTITY_CODES.contains(&refusal.code.as_str())
            }
        }
    }
}

/// Codes for credentials that are wrong, unknown, expired or not allowed. Times that are off may be
/// those of a session.
const IDENTITY_CODES: [&str; 22] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignature",
    "InvalidSignatureException",
    "InvalidToken",
    "InvalidTokenException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedOperation",
    "UnrecognizedClient",
    "UnrecognizedClientException",
];

/// What is being called, for the operator's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// The IAM action, such as `kinesis:PutRecords`.
    pub(super) action: &'static str,
    /// The ARN on which it must be allowed.
    pub(super) resource: &'a str,
    /// Whether the service is one that somebody named through the API, and what it says is for the
    /// operator only.
    pub(super) strange: bool,
}

impl Call<'_> {
    /// A fault of the given kind with the service's words and what would help.
    pub(super) fn fault(&self, kind: FaultKind, refusal: &Refusal) -> Fault {
        let advice = refusal.trouble().and_then(|it| it.advice(self.action, self.resource));
        let advice = advice.map(|it| format!("; {it}"));
        refusal.marked(Fault::new(kind, self.words(refusal, &advice.unwrap_or_default())))
    }

    /// The verdict on one record that an otherwise successful answer refuses.
    pub(super) fn ack(&self, class: Class, refusal: &Refusal) -> Ack {
        match class {
            Class::Poison => Ack::Rejected(self.words(refusal, "")),
            Class::Fault(kind) => Ack::Retry(self.fault(kind, refusal)),
        }
    }

    /// What an answer comes to that has another number of verdicts than records were sent: nobody can
    /// tell which belongs to which.
    pub(super) fn miscounted(&self, verdicts: usize, records: usize) -> Outcome {
        Outcome::Failed(Fault::unanswered(format!(
            "`{}` was answered with {verdicts} verdicts for {records} records: a proxy or another \
             service? check `endpoint_url`",
            self.action
        )))
    }

    /// What a refusal of the whole request comes to.
    pub(super) fn outcome(&self, class: Class, refusal: &Refusal) -> Outcome {
        match class {
            Class::Poison => Outcome::Refused(self.words(refusal, "")),
            Class::Fault(kind) => Outcome::Failed(self.fault(kind, refusal)),
        }
    }

    /// The fault of a question about the resource, where no record is involved.
    pub(super) fn probe_fault(&self, error: CallError) -> Fault {
        match error {
            CallError::Unanswered(fault) | CallError::NoCredentials(fault) => fault,
            CallError::Refused(refusal) => match class_of(&refusal) {
                Class::Fault(kind) => self.fault(kind, &refusal),
                Class::Poison => self.fault(FaultKind::Configuration, &refusal),
            },
        }
    }

    fn words(&self, refusal: &Refusal, advice: &str) -> String {
        let action = self.action;
        let text = shown(&refusal.text);
        let code = shown(&refusal.code);
        // A code of AWS tells nobody what else is at a place.
        let hides = self.strange && class_of_code(code).is_none();
        let name = match (code, refusal.status) {
            ("", Some(status)) => format!("HTTP status {status}"),
            (_, Some(status)) if hides => format!("HTTP status {status}"),
            ("", None) => "an error without a code".to_owned(),
            (_, None) if hides => "an error that is none of AWS's".to_owned(),
            (code, _) => format!("`{code}`"),
        };
        let ours = format!("`{action}` was answered with {name}");
        if self.strange {
            let code = if hides { code } else { "" };
            return with_its_words(ours + advice, format!("{code} {text}").trim());
        }
        let separator = if text.is_empty() { "" } else { ": " };
        ours + separator + text + advice
    }
}

/// Reads what went wrong with a call.
pub(super) fn call_error<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let why = error.source().map(causes).unwrap_or_default();
    match error {
        SdkError::ServiceError(answer) => {
            let read = Refusal::of(answer.raw());
            let said = |it: Option<&str>| it.filter(|it| !it.is_empty()).map(str::to_owned);
            let code = said(answer.err().code()).unwrap_or(read.code);
            let text = said(answer.err().message()).unwrap_or(read.text);
            CallError::Refused(Refusal { code, text, unanswered: false, ..read })
        }
        SdkError::ResponseError(answer) if answer.raw().status().as_u16() >= 300 => {
            CallError::Refused(Refusal::of(answer.raw()))
        }
        SdkError::ResponseError(_) => CallError::Unanswered(
            Fault::unanswered(format!(
                "the answer is unreadable: {why}: a proxy or another service? check `endpoint_url`"
            ))
            .with(Trouble::Stranger),
        ),
        SdkError::TimeoutError(_) => CallError::Unanswered(
            Fault::unanswered("no answer in time; what was sent may have arrived all the same")
                .with(Trouble::Unreachable),
        ),
        error => unsent(error),
    }
}

/// What kept a request from an answer: the way to the service, or what had to be had before.
fn unsent(error: &(dyn Error + 'static)) -> CallError {
    let why = error.source().map(causes).unwrap_or_default();
    // The SDK's cache has errors of its own, which have no type.
    if chain(error).any(<dyn Error>::is::<CredentialsError>)
        || why.contains("credential")
        || why.contains("identity resolver")
    {
        return CallError::NoCredentials(preparation_fault(error));
    }
    if let Some(strange) = chain(error).find_map(<dyn Error>::downcast_ref::<Strange>) {
        return CallError::Unanswered(strange.fault());
    }
    if let Some(no_answer) = chain(error).find_map(<dyn Error>::downcast_ref::<NoAnswer>) {
        return CallError::Unanswered(no_answer.fault());
    }
    CallError::Unanswered(preparation_fault(error))
}

/// A fault from before the request was sent: most often the credentials could not be had.
fn preparation_fault(error: &(dyn Error + 'static)) -> Fault {
    let why = error.source().map(causes).unwrap_or_default();
    let answered = chain(error).find_map(|cause| cause.downcast_ref::<ErrorMetadata>());
    if let Some(code) = answered.and_then(ErrorMetadata::code) {
        let refusal = Refusal { code: code.to_owned(), ..Refusal::default() };
        let kind = match class_of(&refusal) {
            Class::Fault(kind) => kind,
            Class::Poison => FaultKind::Configuration,
        };
        let text = shown(answered.and_then(ErrorMetadata::message).unwrap_or_default());
        let trouble = match Trouble::of_answer(code, text, None) {
            // What is refused is the role itself.
            Some(Trouble::MissingAction) => Some(Trouble::RoleTrust),
            other => other,
        };
        let advice = trouble.filter(|it| *it == Trouble::RoleTrust);
        let advice = advice.and_then(|it| it.advice("sts:AssumeRole", "the role"));
        let advice = advice.map(|it| format!("; {it}")).unwrap_or_default();
        let code = shown(code);
        let message = format!("no credentials: `{code}`: {text}{advice}");
        return Fault::new(kind, message).with(trouble);
    }
    // Of the place of credentials: a role's STS, instance metadata, a container's.
    if let Some(strange) = chain(error).find_map(<dyn Error>::downcast_ref::<Strange>) {
        let fault = strange.fault();
        let message = format!("no credentials: {fault}");
        return Fault { message, unanswered: false, ..fault };
    }
    if let Some(no_answer) = chain(error).find_map(<dyn Error>::downcast_ref::<NoAnswer>) {
        let fault = no_answer.fault();
        let message = format!("no credentials yet: {fault}");
        return Fault { message, unanswered: false, ..fault };
    }
    let unreachable = chain(error)
        .filter_map(|cause| cause.downcast_ref::<ConnectorError>())
        .any(|cause| cause.is_io() || cause.is_timeout());
    if unreachable || why.contains("timed out") {
        let fault = Fault::transient(format!("no credentials yet: {why}"));
        return fault.with(Trouble::NoCredentials);
    }
    let trouble = why.contains("credential").then_some(Trouble::NoCredentials);
    let fault = Fault::configuration(if trouble.is_some() {
        format!("no credentials: {why}; give the target `auth`, or this machine an AWS identity")
    } else {
        format!("the request could not be prepared: {why}")
    });
    fault.with(trouble)
}

#[cfg(test)]
mod tests;
