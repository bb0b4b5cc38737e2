//! Every documented code, and the class that it must have.

use super::*;

fn refusal(code: &str, status: Option<u16>) -> Refusal {
    Refusal { code: code.to_owned(), status, ..Refusal::default() }
}

#[test]
fn every_code_has_its_class_whatever_the_status() {
    let throttled = "ProvisionedThroughputExceededException KMSThrottlingException \
                     ThrottlingException Throttling ThrottledException RequestThrottled \
                     RequestThrottledException TooManyRequestsException RequestLimitExceeded \
                     BandwidthLimitExceeded LimitExceededException SlowDown";
    let transient = "InternalFailure InternalFailureException RequestTimeout \
                     RequestTimeoutException ServiceUnavailable ServiceUnavailableException";
    let configuration = "ExpiredTokenException ExpiredToken UnrecognizedClientException \
                         InvalidSignatureException RequestExpired AccessDeniedException \
                         KMSAccessDeniedException KMSDisabledException KMSInvalidStateException \
                         KMSNotFoundException KMSOptInRequired InvalidKMSResourceException \
                         ResourceNotFoundException AccessDenied SignatureDoesNotMatch";
    let poison = "InvalidArgumentException InvalidParameterException ValidationException \
                  SerializationException";
    for (codes, class) in [
        (throttled, THROTTLED),
        (transient, TRANSIENT),
        (configuration, CONFIGURATION),
        (poison, Class::Poison),
    ] {
        for code in codes.split_whitespace() {
            for status in [None, Some(200), Some(400), Some(403), Some(500)] {
                assert_eq!(class_of(&refusal(code, status)), class, "{code} {status:?}");
            }
        }
    }
}

#[test]
fn an_unknown_code_is_judged_by_the_status_and_never_as_poison_but_for_413() {
    for (status, class) in [
        (None, TRANSIENT),
        (Some(400), CONFIGURATION),
        (Some(401), CONFIGURATION),
        (Some(403), CONFIGURATION),
        (Some(404), CONFIGURATION),
        (Some(408), TRANSIENT),
        (Some(413), Class::Poison),
        (Some(429), THROTTLED),
        (Some(500), TRANSIENT),
        (Some(502), TRANSIENT),
        (Some(503), TRANSIENT),
        (Some(504), TRANSIENT),
    ] {
        assert_eq!(class_of(&refusal("", status)), class, "{status:?}");
        assert_eq!(class_of(&refusal("BrandNewException", status)), class, "{status:?}");
    }
}
