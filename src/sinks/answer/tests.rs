//! Faults in words, and what a call without an answer comes to.

use std::time::Duration;

use aws_sdk_kinesis::operation::put_records::PutRecordsError;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::sinks::refusal::{CONFIGURATION, MAX_TEXT};

const CALL: Call<'static> = Call {
    action: "kinesis:PutRecords",
    resource: "arn:aws:kinesis:us-east-1:123456789012:stream/errors",
    strange: false,
};

fn refusal(code: &str, status: Option<u16>) -> Refusal {
    let (code, text) = (code.to_owned(), "Some reason.".to_owned());
    Refusal { code, text, status, ..Refusal::default() }
}

#[test]
fn a_fault_says_what_the_service_said_and_what_would_help() {
    for (code, status, expected) in [
        (
            "AccessDeniedException",
            Some(400),
            "`kinesis:PutRecords` was answered with `AccessDeniedException`: Some reason; allow \
             the IAM action `kinesis:PutRecords` on \
             `arn:aws:kinesis:us-east-1:123456789012:stream/errors`",
        ),
        (
            "ResourceNotFoundException",
            Some(400),
            "`kinesis:PutRecords` was answered with `ResourceNotFoundException`: Some reason; \
             create `arn:aws:kinesis:us-east-1:123456789012:stream/errors`, or correct the ARN: its \
             region and account count too",
        ),
        (
            "KMSAccessDeniedException",
            Some(400),
            "`kinesis:PutRecords` was answered with `KMSAccessDeniedException`: Some reason; \
             allow the IAM action `kms:GenerateDataKey` on the key that encrypts \
             `arn:aws:kinesis:us-east-1:123456789012:stream/errors`",
        ),
        (
            "ExpiredTokenException",
            Some(400),
            "`kinesis:PutRecords` was answered with `ExpiredTokenException`: Some reason; the \
             credentials have expired: renew them",
        ),
        ("", Some(502), "`kinesis:PutRecords` was answered with HTTP status 502: Some reason"),
        ("", None, "`kinesis:PutRecords` was answered with an error without a code: Some reason"),
    ] {
        let fault = CALL.fault(FaultKind::Configuration, &refusal(code, status));
        assert_eq!(fault.message, expected);
    }
}

#[test]
fn a_service_that_talks_without_end_is_cut_short() {
    let long = Refusal { text: "é".repeat(10_000), ..refusal("Throttling", None) };
    assert!(CALL.fault(FaultKind::Throttled, &long).message.len() < MAX_TEXT + 200);
}

fn response(status: u16) -> Response<SdkBody> {
    Response::new(StatusCode::try_from(status).unwrap(), SdkBody::empty())
}

#[test]
fn an_unmodelled_code_is_read_from_the_answer() {
    let metadata = ErrorMetadata::builder().code("ThrottlingException").message("slow").build();
    let error = SdkError::service_error(PutRecordsError::generic(metadata), response(400));
    assert_eq!(
        call_error(&error),
        CallError::Refused(Refusal {
            code: "ThrottlingException".to_owned(),
            text: "slow".to_owned(),
            status: Some(400),
            ..Refusal::default()
        })
    );
}

/// An error as credentials providers make them: a text over what they ran into.
#[derive(Debug)]
struct Wrapped(&'static str, Option<Box<dyn Error + Send + Sync>>);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_ref().map(|source| source.as_ref() as _)
    }
}

#[test]
fn a_call_without_an_answer_is_a_fault_that_passes_unless_credentials_are_missing() {
    let metadata = |code: &str| ErrorMetadata::builder().code(code).message("says STS").build();
    let credentials = |source: Option<Box<dyn Error + Send + Sync>>| {
        let wrapped = Wrapped("an error occurred while loading credentials", source);
        SdkError::dispatch_failure(ConnectorError::other(wrapped.into(), None))
    };
    type PutError = SdkError<PutRecordsError, HttpResponse>;
    let cases: [(PutError, CallError); 8] = [
        (
            SdkError::timeout_error("10 s"),
            CallError::Unanswered(
                Fault::unanswered("no answer in time; what was sent may have arrived all the same")
                    .with(Trouble::Unreachable),
            ),
        ),
        (
            SdkError::response_error("not JSON", response(200)),
            CallError::Unanswered(Fault::unanswered(
                "the answer is unreadable: not JSON: a proxy or another service? check \
                 `endpoint_url`",
            ).with(Trouble::Stranger)),
        ),
        (
            credentials(None),
            CallError::NoCredentials(Fault::configuration(
                "no credentials: an error occurred while loading credentials; give the target \
                 `auth`, or this machine an AWS identity",
            ).with(Trouble::NoCredentials)),
        ),
        (
            credentials(Some(Box::new(metadata("AccessDenied")))),
            CallError::NoCredentials(Fault::configuration(
                "no credentials: `AccessDenied`: says STS; the role's trust policy must name this \
                 machine's identity (and the external id, if it asks for one), and that identity \
                 needs `sts:AssumeRole` on the role",
            ).with(Trouble::RoleTrust)),
        ),
        (
            credentials(Some(Box::new(metadata("Throttling")))),
            CallError::NoCredentials(Fault::new(
                FaultKind::Throttled,
                "no credentials: `Throttling`: says STS",
            )),
        ),
        (
            credentials(Some(Box::new(ConnectorError::io("refused".into())))),
            CallError::NoCredentials(Fault::transient(
                "no credentials yet: an error occurred while loading credentials: refused",
            ).with(Trouble::NoCredentials)),
        ),
        (
            SdkError::dispatch_failure(ConnectorError::other(
                "identity resolver timed out".into(),
                None,
            )),
            CallError::NoCredentials(Fault::transient(
                "no credentials yet: identity resolver timed out",
            ).with(Trouble::NoCredentials)),
        ),
        (
            SdkError::construction_failure("no endpoint"),
            CallError::Unanswered(Fault::configuration(
                "the request could not be prepared: no endpoint",
            )),
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(call_error(&error), expected);
    }
}

#[test]
fn what_other_credentials_may_cure_is_told_from_the_rest() {
    let cured = "ExpiredToken ExpiredTokenException UnrecognizedClientException UnrecognizedClient \
                 InvalidClientTokenId InvalidSignatureException InvalidSignature AccessDenied \
                 SignatureDoesNotMatch InvalidAccessKeyId AuthFailure InvalidToken RequestExpired \
                 MissingAuthenticationTokenException IncompleteSignatureException AccessDeniedException";
    for code in cured.split_whitespace() {
        assert!(CallError::Refused(refusal(code, Some(400))).concerns_identity(), "{code}");
        assert_eq!(class_of(&refusal(code, Some(400))), CONFIGURATION, "{code}");
    }
    for code in ["ResourceNotFoundException", "ThrottlingException", "KMSAccessDeniedException"] {
        assert!(!CallError::Refused(refusal(code, Some(403))).concerns_identity(), "{code}");
    }
    for (status, cured) in [(401, true), (403, true), (400, false), (404, false), (503, false)] {
        assert_eq!(CallError::Refused(refusal("", Some(status))).concerns_identity(), cured);
    }
    assert!(CallError::NoCredentials(Fault::transient("x")).concerns_identity());
    assert!(!CallError::Unanswered(Fault::unanswered("x")).concerns_identity());
}

#[test]
fn only_what_passes_by_itself_is_waited_for_by_the_clock() {
    let asked = Some(Duration::from_secs(7));
    let refusal = Refusal { retry_after: asked, unanswered: true, ..refusal("", Some(503)) };
    for (kind, waits) in [
        (FaultKind::Throttled, asked),
        (FaultKind::Transient, asked),
        (FaultKind::Configuration, None),
    ] {
        let fault = CALL.fault(kind, &refusal);
        assert_eq!((fault.retry_after, fault.unanswered), (waits, true));
    }
}

#[test]
fn an_error_that_is_not_in_the_services_form_points_at_the_endpoint() {
    let error: SdkError<PutRecordsError, _> = SdkError::response_error("html", response(404));
    let CallError::Refused(refusal) = call_error(&error) else { panic!("no answer?") };
    assert_eq!(class_of(&refusal), CONFIGURATION);
    assert_eq!(
        CALL.fault(FaultKind::Configuration, &refusal).message,
        "`kinesis:PutRecords` was answered with HTTP status 404: an empty body, not the service's \
         form: a proxy or another service? check `endpoint_url`"
    );
}
