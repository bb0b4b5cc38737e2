//! The errors in answers: every form in which AWS's services write one.
//!
//! JSON with `__type` or `code`, JSON with `Error.Code` (query services asked for JSON), XML of the
//! query services (`ErrorResponse`), of EC2 (`Response/Errors`) and of S3 (`Error`), and the header
//! `x-amzn-errortype`. Judges nothing.

use std::time::SystemTime;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_xml::decode::{Document, try_data};
use hyper::Uri;
use serde_json::{Map, Value};

use super::{Refusal, shown};
use crate::sinks::retry_after::retry_after;
use crate::sinks::transport::address;

/// Longest code that is believed; AWS's longest has 60 characters.
const MAX_CODE: usize = 128;

impl Refusal {
    /// Reads an answer that is no success.
    pub(in crate::sinks) fn of(answer: &HttpResponse) -> Refusal {
        let body = answer.body().bytes().unwrap_or_default();
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name);
        let (in_body, text) = from_json(body).or_else(|| from_xml(body)).unwrap_or_default();
        let code = header("x-amzn-errortype").and_then(plain).or(in_body).unwrap_or_default();
        let text = match (code.as_str(), text.as_str()) {
            ("", "") => no_form(status, body, header("location")),
            _ => shown(&text).to_owned(),
        };
        Refusal {
            // Without a code it may be anybody's, such as a gateway that had no answer itself.
            unanswered: code.is_empty() && matches!(status, 408 | 500..),
            retry_after: header("retry-after").and_then(|it| retry_after(it, SystemTime::now())),
            code,
            text,
            status: Some(status),
        }
    }
}

/// What to say of an answer that is in no form of AWS's.
fn no_form(status: u16, body: &[u8], location: Option<&str>) -> String {
    let kind = kind_of(body);
    match status {
        300..400 => {
            let to =
                location.and_then(|it| it.parse::<Uri>().ok()).filter(|it| it.host().is_some());
            let to = to.map_or(String::new(), |uri| format!(" to `{}`", address(&uri)));
            format!(
                "a redirect{to}, which is not followed: check `endpoint_url`, and the region in the ARN"
            )
        }
        429 => {
            format!("{kind}; the service, or a proxy or gateway before it, wants fewer requests")
        }
        413 => format!("{kind}; the request is too long for the service, or for a proxy before it"),
        407 => format!("{kind}; the proxy wants a user name and a password: check its URL"),
        500.. | 408 => {
            format!("{kind}, not the service's form: does a proxy or gateway stand before it?")
        }
        _ => format!(
            "{kind}, not the service's form: a proxy or another service? check `endpoint_url`"
        ),
    }
}

/// A code without what some services put around it: `prefix#Code:http://…`.
fn plain(code: &str) -> Option<String> {
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default().trim();
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let usable = !code.is_empty() && code.len() <= MAX_CODE && code.chars().all(sound);
    usable.then(|| code.to_owned())
}

/// Code and text of an error in JSON; none if there is neither.
fn from_json(body: &[u8]) -> Option<(Option<String>, String)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let inner = value.get("Error").filter(|it| it.is_object()).unwrap_or(&value);
    let string = |names: &[&str]| names.iter().find_map(|name| inner.get(*name)?.as_str());
    let code = string(&["__type", "code", "Code"]).and_then(plain);
    let text = string(&["message", "Message", "errorMessage"]).unwrap_or_default();
    (code.is_some() || !text.is_empty()).then(|| (code, text.to_owned()))
}

/// Code and text of an error in XML; none if there is no code.
fn from_xml(body: &[u8]) -> Option<(Option<String>, String)> {
    let mut document = Document::new(std::str::from_utf8(body).ok()?);
    let (mut code, mut text) = (None, None);
    while let Some(element) = document.next_start_element() {
        let field = match element.local() {
            "Code" if code.is_none() => &mut code,
            "Message" if text.is_none() => &mut text,
            _ => continue,
        };
        let mut inside = document.scoped_to(element);
        *field = Some(try_data(&mut inside).ok()?.into_owned());
    }
    let code = plain(&code?)?;
    Some((Some(code), text.unwrap_or_default()))
}

/// What a body is at first sight.
pub(in crate::sinks) fn kind_of(body: &[u8]) -> &'static str {
    let start = body[..body.len().min(256)].trim_ascii_start().to_ascii_lowercase();
    if body.trim_ascii().is_empty() {
        "an empty body"
    } else if serde_json::from_slice::<Map<String, Value>>(body).is_ok() {
        "other JSON"
    } else if serde_json::from_slice::<Value>(body).is_ok() {
        "JSON that is no object"
    } else if start.starts_with(b"<") && HTML.iter().any(|it| contains(&start, it)) {
        "HTML"
    } else if start.starts_with(b"<") {
        "XML"
    } else if start.starts_with(b"{") || start.starts_with(b"[") {
        "JSON that is cut off or broken"
    } else {
        "a text that is no JSON"
    }
}

/// What only HTML has near its beginning.
const HTML: [&[u8]; 5] = [b"<!doctype html", b"<html", b"<head", b"<title", b"<body"];

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
