//! The control API as a whole: who may ask, how often, and how every answer looks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use super::Api;
use super::answer::{self, Answer};
use super::place::Place;
use super::rate::Asker;
use super::routes;
use super::{openapi, orders, request};
use crate::control::{Asked, Caller, Scope};
use crate::http::{ClientAddress, ErrorAnswer};

pub(super) async fn answer(api: &Arc<Api>, request: Request) -> Response {
    let operation_id = routes::operation_id();
    let (parts, body) = request.into_parts();
    let place = Place::of(parts.uri.path());
    let with_key = place.as_ref().filter(|place| place.needs_key());
    let methods = with_key.map(|place| [place.methods(), &["OPTIONS"]].concat().join(", "));
    if parts.method == Method::OPTIONS
        && let Some(methods) = &methods
        && let Some(response) = answer::preflight(methods, &parts.headers)
    {
        return answer::named(response, &operation_id);
    }
    let outcome = match place.filter(|it| it.methods().contains(&parts.method.as_str())) {
        Some(place) => serve(api, place, (&parts, body), operation_id.clone()).await,
        None => Err(answer::no_route(parts.uri.path())),
    };
    if let Err(refused) = &outcome {
        note(api, &parts, refused);
    }
    let mut response = answer::respond(outcome, &operation_id);
    // A page of another origin reads only what it could not without a key, which it must have been given.
    if methods.is_some() {
        answer::allow_origin(&parts.headers, &mut response);
    }
    response
}

/// Notes a request that was refused for what its sender is, not for what it asks.
pub(super) fn note(api: &Api, parts: &Parts, refused: &ErrorAnswer) {
    if matches!(refused.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
        && let Some(code) = refused.code
    {
        api.control.note_refused(Scope::Api, code, address(parts));
    }
}

async fn serve(
    api: &Arc<Api>,
    place: Place,
    (parts, body): (&Parts, Body),
    operation_id: String,
) -> Result<Answer, ErrorAnswer> {
    let base = base(api, parts);
    if place == Place::OpenApi {
        take_place(api, Asker::Stranger(address(parts)))?;
        return Ok(Answer::ok(openapi::describe(&base)));
    }
    let caller = identify(api, parts).await?;
    take_place(api, Asker::Owner(&caller.owner_id))?;
    if place.needs_version() {
        request::check_version(&parts.headers)?;
    }
    let address = address(parts);
    let is_restricted = api.settings.enforce_ip_restrictions;
    let asked = Asked { caller, base, address, is_restricted, operation_id };
    let held = api.budget.hold();
    let wanted = routes::wanted(api, place, (parts, body, &held), asked).await?;
    match wanted.daemon.clone() {
        None => routes::perform(api, wanted).await,
        Some(name) => orders::ask(api, &name, wanted, &held).await,
    }
}

fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get().map(|&ClientAddress(address)| address)
}

/// Who asks, if the address may and the key opens. Else the request takes a place of its address's.
pub(super) async fn identify(api: &Api, parts: &Parts) -> Result<Caller, ErrorAnswer> {
    let identified = try_identify(api, parts).await;
    if identified.is_err() {
        take_place(api, Asker::Stranger(address(parts)))?;
    }
    identified
}

async fn try_identify(api: &Api, parts: &Parts) -> Result<Caller, ErrorAnswer> {
    check_address(api, parts)?;
    let key = request::key(&parts.headers)?;
    let caller = api.control.authenticate(key).await;
    caller.map_err(|bad| ErrorAnswer::new(StatusCode::FORBIDDEN, bad.code(), bad.to_string()))
}

/// Takes one of the requests that the rate limit allows whoever asks.
fn take_place(api: &Api, asker: Asker<'_>) -> Result<(), ErrorAnswer> {
    api.windows.take(asker, Instant::now()).map_err(|wait| {
        let of = match asker {
            Asker::Owner(_) => "the keys of one owner",
            Asker::Stranger(_) => "one address without a valid key",
        };
        let message = format!("this API takes {} of {of}: try again later", api.windows.words());
        ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, "ERR_NGROK_226", message)
            .retry_after(wait.as_secs() + 1)
    })
}

/// Refuses addresses that the restriction of the type `api` does not allow.
pub(super) fn check_address(api: &Api, parts: &Parts) -> Result<(), ErrorAnswer> {
    match parts.extensions.get() {
        Some(&ClientAddress(address))
            if !api.control.access().admits(Scope::Api, address)
                && api.settings.enforce_ip_restrictions =>
        {
            let message = format!("an IP restriction does not allow the address {address}");
            Err(ErrorAnswer::new(StatusCode::FORBIDDEN, "ERR_NGROK_220", message))
        }
        _ => Ok(()),
    }
}

/// Longest name of a host with a port: DNS allows 253 characters.
const MAX_HOST: usize = 253 + ":65535".len();

/// The address that this API is reached at: the one of the settings, or the one that was asked if it can be one.
/// It stands in each address of an answer and of an event.
fn base(api: &Api, parts: &Parts) -> String {
    if let Some(url) = &api.settings.public_url {
        return url.clone();
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| is_host(host));
    let host = host.map_or_else(|| api.settings.listen.to_string(), str::to_owned);
    let scheme = if api.settings.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Whether a text can be a host with or without a port.
fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (1..=MAX_HOST).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_addresses_is_only_what_can_be_a_host() {
        for host in ["127.0.0.1:4181", "[::1]:4181", "api.example.com", "a_b.internal:80"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a/b", "a\"b", "é", &"h".repeat(300)] {
            assert!(!is_host(host), "{host}");
        }
    }
}
