//! What the control API asks of a request, before anybody looks at what it wants: version, key,
//! query, body.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::budget::Held;
use crate::control::PageAsked;
use crate::http::{ErrorAnswer, Unauthorized, bearer_token, over_budget, read_body};

/// Largest body. The largest resource there is, a subscription of all event types with the longest
/// filters, has less.
pub const MAX_BODY: usize = 1 << 20;

/// What is made of a body takes at most so many times its bytes: two bytes of a list of digits become one
/// [`Value`] of 32, and filters become trees.
const PARSED: usize = 24;

/// Most resources of a page, and how many if nothing is said (ngrok's).
pub(super) const MAX_LIMIT: usize = 100;

/// The API key that a request brings. ngrok answers 403 where HTTP has 401.
pub(super) fn key(headers: &HeaderMap) -> Result<&str, ErrorAnswer> {
    bearer_token(headers).map_err(|refused| {
        let message = match refused {
            Unauthorized::Missing => {
                "an API key is required: send the header `Authorization: Bearer KEY`"
            }
            Unauthorized::Scheme => "the `Authorization` header must be `Bearer KEY`",
            Unauthorized::Wrong => "the API key is wrong",
        };
        ErrorAnswer::new(StatusCode::FORBIDDEN, refused.code(), message)
    })
}

/// Refuses another version of the API than the one there is.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ErrorAnswer> {
    match headers.get("ngrok-version").map(HeaderValue::as_bytes) {
        Some(b"2") => Ok(()),
        Some(_) => Err(ErrorAnswer::bad_request(
            "ERR_NGROK_217",
            "this version of the API is not known: send the header `ngrok-version: 2`",
        )),
        None => Err(ErrorAnswer::bad_request(
            "ERR_NGROK_218",
            "the header `ngrok-version` is missing: send `ngrok-version: 2`",
        )),
    }
}

/// The parameters of a query, of which only these may be there, each once.
pub(super) fn query(
    parts: &Parts,
    known: &[&str],
) -> Result<BTreeMap<String, String>, ErrorAnswer> {
    let mut parameters = BTreeMap::new();
    let text = parts.uri.query().unwrap_or_default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = decode(name).zip(decode(value));
        let (name, value) = decoded.ok_or_else(|| {
            ErrorAnswer::bad_request(
                "ERR_NGROK_230",
                format!("`{pair}` of the query cannot be read"),
            )
        })?;
        if !known.contains(&name.as_str()) {
            let supported = match known {
                [] => "none are supported here".to_owned(),
                _ => format!("supported are `{}`", known.join("`, `")),
            };
            let message = format!("unknown query parameter `{name}`; {supported}");
            return Err(ErrorAnswer::bad_request("ERR_NGROK_231", message));
        }
        if parameters.contains_key(&name) {
            let message = format!("query parameter `{name}` is given twice");
            return Err(ErrorAnswer::bad_request("ERR_NGROK_232", message));
        }
        parameters.insert(name, value);
    }
    Ok(parameters)
}

/// Which page of a list a query asks for.
pub(super) fn page(mut parameters: BTreeMap<String, String>) -> Result<PageAsked, ErrorAnswer> {
    let limit = match parameters.remove("limit").filter(|text| !text.is_empty()) {
        None => MAX_LIMIT,
        Some(text) => {
            let number: i64 = text.parse().map_err(|_| {
                ErrorAnswer::bad_request("ERR_NGROK_244", format!("`limit` is no number: `{text}`"))
            })?;
            match usize::try_from(number) {
                Ok(limit @ 1..=MAX_LIMIT) => limit,
                _ => {
                    let message = format!("`limit` must be 1 to {MAX_LIMIT}, not {number}");
                    return Err(ErrorAnswer::bad_request("ERR_NGROK_233", message));
                }
            }
        }
    };
    let mut given = |name| parameters.remove(name).filter(|text: &String| !text.is_empty());
    Ok(PageAsked { limit, before_id: given("before_id"), filter: given("filter") })
}

/// The body of a request that has one: a JSON object; nothing at all is an empty one.
pub(super) async fn object(
    parts: &Parts,
    body: Body,
    held: &Held,
) -> Result<Map<String, Value>, ErrorAnswer> {
    let body = read_body(&parts.headers, body, MAX_BODY, held).await?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    held.grow(PARSED * body.len()).map_err(over_budget)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).ok_or_else(|| {
        let message = "the header `Content-Type` is missing: send `application/json`";
        ErrorAnswer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR_NGROK_216", message)
    })?;
    let media_type = content_type.to_str().unwrap_or("?").split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        let message =
            format!("content type `{media_type}` is not supported: send `application/json`");
        return Err(ErrorAnswer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR_NGROK_210", message));
    }
    let wrong = |message: String| ErrorAnswer::bad_request("ERR_NGROK_213", message);
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(wrong("the body must be a JSON object".to_owned())),
        Err(error) => Err(wrong(format!("the body is not valid JSON: {error}"))),
    }
}

/// Leaves out of an update the lists that ngrok's Python client sends empty when nobody gave them. That
/// client alone does so; from all others an empty list empties.
pub(super) fn leave_out_unset_lists(headers: &HeaderMap, input: &mut Map<String, Value>) {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    if agent.starts_with(b"ngrok-api-python/") {
        let is_unset = |name: &str, value: &Value| {
            ["sources", "ip_policy_ids", "resolves_to"].contains(&name)
                && *value == Value::Array(vec![])
        };
        input.retain(|name, value| !is_unset(name, value));
    }
}

/// Refuses a body where the method has none.
pub(super) async fn no_body(parts: &Parts, body: Body, held: &Held) -> Result<(), ErrorAnswer> {
    match read_body(&parts.headers, body, MAX_BODY, held).await {
        Ok(bytes) if bytes.is_empty() => Ok(()),
        _ => {
            Err(ErrorAnswer::bad_request("ERR_NGROK_211", "a request with this method has no body"))
        }
    }
}

/// Undoes the encoding of a query: percent-encoding, and `+` for a blank.
fn decode(text: &str) -> Option<String> {
    decode_path(&text.replace('+', " "))
}

/// Undoes the percent-encoding of a path. Written here since ngrok refuses what is badly encoded, and
/// `form_urlencoded` reads something else into it.
pub(super) fn decode_path(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes all that is not plain in a query, or in a segment of a path.
#[must_use]
pub fn encode(text: &str) -> String {
    // A blank becomes `+`, which is one in a query only; a plus sign itself is `%2B` by then.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(uri: &str) -> Parts {
        Request::builder().uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_query_is_read_strictly() {
        let known = ["limit", "filter"];
        let read = |uri| query(&parts(uri), &known).map_err(|error| error.code.unwrap());
        let found = read("/x?limit=5&filter=obj.a+%3D%3D%20%22%C3%A9%22").unwrap();
        assert_eq!(found["filter"], "obj.a == \"é\"");
        assert_eq!(read("/x?unknown=1"), Err("ERR_NGROK_231"));
        assert_eq!(read("/x?limit=1&limit=1"), Err("ERR_NGROK_232"));
        assert_eq!(read("/x?limit=%zz"), Err("ERR_NGROK_230"));
        assert_eq!(read("/x?limit=%ff"), Err("ERR_NGROK_230"));
        let text = "obj.a == \"é\" && 1 + 1 ~ *";
        assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        assert_eq!(decode_path(&encode(text)).as_deref(), Some(text));
    }

    #[test]
    fn only_ngroks_python_client_sends_empty_lists_for_what_was_not_given() {
        let left = |agent: &'static str| {
            let body = serde_json::json!({"sources": [], "acl": [], "ip_policy_ids": ["ipp_1"]});
            let Value::Object(mut input) = body else { panic!("an object") };
            let agent = (header::USER_AGENT, HeaderValue::from_static(agent));
            leave_out_unset_lists(&HeaderMap::from_iter([agent]), &mut input);
            input.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(left("ngrok-api-python/0.0.0/3.11.7"), ["acl", "ip_policy_ids"]);
        assert_eq!(left("ngrok-api-go/8.0.0/go1.26"), ["acl", "ip_policy_ids", "sources"]);
    }

    #[test]
    fn a_page_has_1_to_100_resources() {
        let limit = |text: &str| {
            let parameters = BTreeMap::from([("limit".to_owned(), text.to_owned())]);
            page(parameters).map(|page| page.limit).map_err(|error| error.code.unwrap())
        };
        assert_eq!(limit(""), Ok(100));
        assert_eq!(limit("1"), Ok(1));
        assert_eq!(limit("0"), Err("ERR_NGROK_233"));
        assert_eq!(limit("101"), Err("ERR_NGROK_233"));
        assert_eq!(limit("-1"), Err("ERR_NGROK_233"));
        assert_eq!(limit("x"), Err("ERR_NGROK_244"));
    }
}
