//! Errors in every form, and what is read of each.

use std::time::Duration;

use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::sinks::refusal::{CONFIGURATION, Class, THROTTLED, TRANSIENT, class_of};

fn refusal(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Refusal {
    let mut answer = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    for (name, value) in headers {
        answer.headers_mut().insert(*name, *value);
    }
    Refusal::of(&answer)
}

#[test]
fn the_code_is_found_in_every_form_that_aws_writes() {
    let sts = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender\
               </Type><Code>InvalidClientTokenId</Code><Message>The security token is invalid &amp; \
               unknown.</Message></Error><RequestId>1</RequestId></ErrorResponse>";
    let s3 = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidAccessKeyId</Code>\
              <Message>no such key</Message><AWSAccessKeyId>A</AWSAccessKeyId></Error>";
    let ec2 = "<Response><Errors><Error><Code>AuthFailure</Code><Message>AWS was not able to \
               validate</Message></Error></Errors><RequestID>1</RequestID></Response>";
    let said = |code: &str, text: &str| (code.to_owned(), text.to_owned());
    for (body, expected) in [
        (sts, said("InvalidClientTokenId", "The security token is invalid & unknown")),
        (s3, said("InvalidAccessKeyId", "no such key")),
        (ec2, said("AuthFailure", "AWS was not able to validate")),
        (
            r#"{"Error":{"Code":"ExpiredToken","Message":"old","Type":"Sender"},"RequestId":"1"}"#,
            said("ExpiredToken", "old"),
        ),
        (
            r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"who?"}"#,
            said("UnrecognizedClientException", "who?"),
        ),
        (r#"{"code":"Throttling:http://x","Message":"slow"}"#, said("Throttling", "slow")),
        (r#"{"message":"Forbidden"}"#, said("", "Forbidden")),
    ] {
        let found = refusal(403, &[], body);
        assert_eq!((found.code, found.text), expected, "{body}");
        assert_eq!((found.status, found.unanswered), (Some(403), false), "{body}");
    }
    let by_header = [("x-amzn-ErrorType", "AccessDeniedException:http://internal/")];
    assert_eq!(refusal(403, &by_header, "").code, "AccessDeniedException");
}

#[test]
fn what_is_in_no_form_is_named_with_what_to_look_at() {
    let html = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    for (status, body, class, text) in [
        (
            403,
            html,
            CONFIGURATION,
            "HTML, not the service's form: a proxy or another service? check",
        ),
        (404, "", CONFIGURATION, "an empty body, not the service's form"),
        (404, "404 page not found", CONFIGURATION, "a text that is no JSON, not the service's"),
        (429, "", THROTTLED, "an empty body; the service, or a proxy or gateway before it, wants"),
        (429, html, THROTTLED, "HTML; the service, or a proxy or gateway before it, wants fewer"),
        (413, html, Class::Poison, "HTML; the request is too long for the service, or for a proxy"),
        (502, html, TRANSIENT, "HTML, not the service's form: does a proxy or gateway stand"),
        (503, "", TRANSIENT, "an empty body, not the service's form: does a proxy or gateway"),
        (400, "{}", CONFIGURATION, "other JSON, not the service's form"),
        (400, "<Error><Code/></Error>", CONFIGURATION, "XML, not the service's form"),
        (400, "<Error><Code>two words</Code></Error>", CONFIGURATION, "XML, not the service's"),
        (400, "{\"__type\":", CONFIGURATION, "JSON that is cut off or broken"),
        (400, "[1]", CONFIGURATION, "JSON that is no object"),
    ] {
        let found = refusal(status, &[], body);
        assert_eq!(found.code, "", "{status} {body}");
        assert!(found.text.starts_with(text), "{status} {body}: {}", found.text);
        assert_eq!(class_of(&found), class, "{status} {body}");
        assert_eq!(found.unanswered, status >= 500, "{status} {body}");
    }
}

#[test]
fn a_redirect_names_where_it_leads_without_path_and_query() {
    for (status, location, text) in [
        (301, Some("https://login.example/a?secret=1"), "a redirect to `https://login.example`,"),
        (
            302,
            Some("https://u:p@login.example:8443/"),
            "a redirect to `https://login.example:8443`,",
        ),
        (307, Some("/elsewhere"), "a redirect, which is not followed: check `endpoint_url`"),
        (308, None, "a redirect, which is not followed: check `endpoint_url`"),
    ] {
        let headers: Vec<_> = location.map(|it| ("location", it)).into_iter().collect();
        let found = refusal(status, &headers, "<html>moved</html>");
        assert!(found.text.starts_with(text), "{status}: {}", found.text);
        assert_eq!(class_of(&found), CONFIGURATION);
    }
}

#[test]
fn a_pause_that_an_answer_asks_for_is_read() {
    let asks = |value| refusal(503, &[("Retry-After", value)], "").retry_after;
    assert_eq!(asks("7"), Some(Duration::from_secs(7)));
    assert_eq!(asks("86400"), Some(Duration::from_secs(3_600)));
    assert_eq!(asks("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(asks("soon"), None);
    assert_eq!(refusal(503, &[], "").retry_after, None);
}
