//! `POST /v1/events`: a body of events in, or with `?format=` of an access log's lines, one answer out.
//!
//! The answer comes after the journal has taken all of the body's accepted events, or none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde_json::json;

use super::HttpSettings;
use super::conversion::{NotConverted, convert};
use super::decompress::{DecompressError, Encoding};
use super::relay::{NotRelayed, Relay};
use crate::budget::{Budget, Held};
use crate::control::{BadKey, Control, Credential, Scope};
use crate::event::{Framing, HOPS_HEADER, Hops, MAX_EVENTS, TooMany};
use crate::formats::{Format, Formats};
use crate::http::{
    ClientAddress, ErrorAnswer, Refused, Unauthorized, bearer_token, held_answer, over_budget,
    read_body,
};
use crate::pipeline::{NotTaken, Pipeline, Sender, Taken};
use crate::telemetry::Entrance;

/// Rejected events are listed in up to so many bytes of an answer, some thousand of them; of the others
/// it says how many there are of each code.
const MAX_LISTED: usize = 256 << 10;

/// What a listed event takes beside its message.
const REJECTION_BYTES: usize = 64;

/// What the sender of a body without events is told.
const NOTHING: &str = "the body holds no event";

/// Up to this size, before and after, a body is decompressed at once: a fraction of a millisecond's work.
const SHORT_BODY: usize = 64 << 10;

/// How often a body is examined anew because what let its sender in has changed meanwhile.
const MAX_ADMISSIONS: usize = 3;

/// Whether a request is let in, or asked for again once it is about to take effect.
#[derive(Clone, Copy)]
enum Asking {
    First,
    Again,
}

struct Ingest {
    settings: HttpSettings,
    relay: Option<Arc<Relay>>,
    control: Arc<Control>,
    pipeline: Arc<Pipeline>,
    accepting: Arc<AtomicBool>,
    budget: Arc<Budget>,
}

/// The routes of ingest. While `accepting` is false every body is answered with 503.
pub fn router(
    settings: HttpSettings,
    relay: Option<Arc<Relay>>,
    control: Arc<Control>,
    accepting: Arc<AtomicBool>,
) -> Router {
    let budget = Budget::new(settings.max_memory);
    let pipeline = Arc::clone(control.pipeline());
    let ingest = Ingest { settings, relay, control, pipeline, accepting, budget };
    Router::new()
        .route("/v1/events", post(take_body).fallback(wrong_method))
        .fallback(not_found)
        .with_state(Arc::new(ingest))
}

async fn not_found() -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::NOT_FOUND,
        "ERR_SLUICEGATE_1109",
        "nothing here: events are posted to /v1/events",
    )
}

async fn wrong_method() -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "ERR_SLUICEGATE_1110",
        "events are sent with POST",
    )
}

async fn take_body(
    State(ingest): State<Arc<Ingest>>,
    request: Request,
) -> Result<Response, ErrorAnswer> {
    let address = request.extensions().get().map(|&ClientAddress(address)| address);
    let taken = ingest.take(request).await;
    if let Err(refused) = &taken
        && matches!(refused.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let Some(code) = refused.code
    {
        ingest.control.note_refused(Scope::Endpoints, code, address);
    }
    taken
}

impl Ingest {
    async fn take(self: &Arc<Self>, request: Request) -> Result<Response, ErrorAnswer> {
        let (head, body) = request.into_parts();
        if !self.accepting.load(Ordering::Acquire) {
            return Err(stopping());
        }
        self.admit(&head, Asking::First)?;
        let content = content(&head, &self.settings.formats)?;
        let encoding = Encoding::of(&head.headers).map_err(|name| {
            ErrorAnswer::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "ERR_SLUICEGATE_1103",
                format!("content encoding `{name}` is not known; send gzip, zstd or none"),
            )
        })?;
        let held = Arc::new(self.budget.hold());
        let body = read_body(&head.headers, body, self.settings.max_body, &held).await?;
        let body = self.decode(body, encoding, &held).await?;
        self.keep(&Arc::new(head), body, content, held).await
    }

    /// Lets a request in by its address and its token, and gives the credential that says what it may
    /// send: whatever it likes if its token is one of the settings, or none where none is asked for.
    fn admit(&self, head: &Parts, asking: Asking) -> Result<Option<Credential>, ErrorAnswer> {
        let access = self.control.access();
        let admits = |address| match asking {
            Asking::First => access.admits(Scope::Endpoints, address),
            Asking::Again => access.still_admits(Scope::Endpoints, address),
        };
        if let Some(&ClientAddress(address)) = head.extensions.get()
            && !admits(address)
        {
            let message = format!("an IP restriction does not allow the address {address}");
            return Err(ErrorAnswer::new(StatusCode::FORBIDDEN, "ERR_SLUICEGATE_1112", message));
        }
        let of_settings = self.settings.bearer_tokens.check(&head.headers);
        let token = bearer_token(&head.headers).ok();
        let credential = match token {
            Some(token) if of_settings.is_err() || self.settings.bearer_tokens.is_empty() => {
                self.control.credential(token)
            }
            _ => Ok(None),
        };
        match (credential, of_settings) {
            (Ok(Some(credential)), _) => Ok(Some(credential)),
            (Ok(None), Ok(())) => Ok(None),
            (Ok(None), Err(refused)) => Err(unauthorized(refused)),
            (Err(bad @ (BadKey::Off | BadKey::Expired)), _) => {
                Err(ErrorAnswer::new(StatusCode::UNAUTHORIZED, bad.code(), bad.to_string()))
            }
            (Err(_), _) => Err(unauthorized(Unauthorized::Wrong)),
        }
    }

    async fn decode(
        &self,
        body: Bytes,
        encoding: Encoding,
        held: &Arc<Held>,
    ) -> Result<Bytes, ErrorAnswer> {
        if encoding == Encoding::Identity {
            return Ok(body);
        }
        let max = self.settings.max_decompressed;
        let before = held.bytes();
        // Of a body that stays short, so that it does not wait behind long ones.
        if body.len() <= SHORT_BODY
            && let Ok(decoded) = encoding.decode(&body, SHORT_BODY.min(max), held)
        {
            return Ok(Bytes::from(decoded));
        }
        held.shrink_to(before);
        let for_worker = Arc::clone(held);
        let decoding = move || encoding.decode(&body, max, &for_worker);
        let decoded = self.pipeline.workers().run(true, decoding).await;
        decoded.map(Bytes::from).map_err(|error| not_decoded(error, max))
    }

    /// Takes the events of a body in, and makes the answer. Its sender is let in once more, since the
    /// body took its time, and asked for again just before anything is kept.
    async fn keep(
        self: &Arc<Self>,
        head: &Arc<Parts>,
        body: Bytes,
        content: Content,
        held: Arc<Held>,
    ) -> Result<Response, ErrorAnswer> {
        held.shrink_to(body.len());
        let framed = match content {
            Content::Events(framing) => {
                let framed = self.pipeline.frame(body, framing).await;
                framed.map_err(|TooMany| NotConverted::TooMany)
            }
            Content::Lines(format) => {
                let max_event = self.settings.max_event;
                convert(&self.pipeline, body, format, max_event, Arc::clone(&held)).await
            }
        };
        let framed = framed.map_err(|cause| match cause {
            NotConverted::OverBudget(cause) => over_budget(cause),
            NotConverted::TooMany => ErrorAnswer::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "ERR_SLUICEGATE_1105",
                format!("the body has more than {MAX_EVENTS} events"),
            ),
        })?;
        let is_empty = framed.is_empty();
        let framed = Arc::new(framed);
        let hops = hops(&head.headers);
        for _ in 0..MAX_ADMISSIONS {
            let admitted = self.admit(head, Asking::Again)?;
            let acl = admitted.as_ref().map(Credential::acl);
            let (ingest, head) = (Arc::clone(self), Arc::clone(head));
            let still = move || ingest.admit(&head, Asking::Again).is_ok_and(|it| it == admitted);
            let sender = Sender::new(Entrance::Http, self.settings.max_event, acl);
            let sender = sender.within(Arc::clone(&held)).with_hops(vec![hops.clone()]);
            let sender = sender.provided(still);
            let sender = Arc::new(sender);
            let taken = match &self.relay {
                Some(relay) => relay.take(&self.pipeline, &framed, &sender).await,
                None => self.pipeline.take(&framed, &sender).await.map_err(NotRelayed::NotTaken),
            };
            match taken {
                Err(NotRelayed::NotTaken(NotTaken::Withdrawn)) => {}
                taken => {
                    let taken = taken.map_err(not_relayed)?;
                    return Ok(answer(&taken, is_empty, &self.budget));
                }
            }
        }
        Err(not_taken(NotTaken::Withdrawn))
    }
}

fn unauthorized(refused: Unauthorized) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::UNAUTHORIZED, refused.code(), refused.to_string())
}

fn not_taken(cause: NotTaken) -> ErrorAnswer {
    let retry_after = match &cause {
        NotTaken::Closed => return stopping(),
        NotTaken::Full(full) => full.retry_after.as_secs().max(1),
        NotTaken::OverBudget(cause) => return over_budget(*cause),
        NotTaken::Held(_) => return held(&cause),
        NotTaken::Changing | NotTaken::Withdrawn => 1,
    };
    let message = format!("{cause}: nothing of this body was kept, send it again later");
    ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, cause.code(), message).retry_after(retry_after)
}

fn not_relayed(cause: NotRelayed) -> ErrorAnswer {
    if let NotRelayed::NotTaken(cause) = cause {
        return not_taken(cause);
    }
    ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, cause.code(), cause.to_string())
        .retry_after(1)
}

/// The daemon is not ready, however much room it has: a load balancer finds another.
fn held(cause: &NotTaken) -> ErrorAnswer {
    let message = format!("{cause}: nothing of this body was kept, send it again later");
    ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, cause.code(), message).retry_after(1)
}

fn not_decoded(error: DecompressError, max: usize) -> ErrorAnswer {
    let (status, code, message) = match error {
        DecompressError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "ERR_SLUICEGATE_1102",
            format!("the decompressed body has more than {max} bytes"),
        ),
        error @ DecompressError::WindowTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "ERR_SLUICEGATE_1114", error.to_string())
        }
        DecompressError::OverBudget(cause) => return over_budget(cause),
        DecompressError::Corrupt(error) => (
            StatusCode::BAD_REQUEST,
            "ERR_NGROK_212",
            format!("the body is not what `Content-Encoding` says: {error}"),
        ),
    };
    ErrorAnswer::new(status, code, message)
}

fn stopping() -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ERR_SLUICEGATE_1107",
        "the daemon is stopping; nothing of this body was kept",
    )
    .retry_after(1)
}

/// Whether a charset is UTF-8, by its name or by the one that many programs write.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// The hops that a body's events have made. Several headers are one list, in their order.
fn hops(headers: &HeaderMap) -> Hops {
    let values: Vec<&[u8]> =
        headers.get_all(HOPS_HEADER).iter().map(HeaderValue::as_bytes).collect();
    match values[..] {
        [] => Hops::default(),
        _ => Hops::parse(&values.join(&b',')),
    }
}

/// What a body holds.
enum Content {
    Events(Framing),
    Lines(Format),
}

/// Reads `Content-Type` and `?format=`.
fn content(head: &Parts, formats: &Formats) -> Result<Content, ErrorAnswer> {
    let query = head.uri.query().unwrap_or_default();
    let format = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "format");
    let format = format.map(|(_, name)| formats.find(&name)).transpose().map_err(|message| {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, "ERR_SLUICEGATE_1151", message)
    })?;
    let text = head.headers.get(header::CONTENT_TYPE);
    let text = text.map_or("", |value| value.to_str().unwrap_or("?"));
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
    let other_charset =
        parameters.split(';').filter_map(|it| it.trim().split_once('=')).any(|(name, value)| {
            name.eq_ignore_ascii_case("charset") && !is_utf8(value.trim_matches('"'))
        });
    let media_type = media_type.trim().to_ascii_lowercase();
    let has_format = format.is_some();
    match (media_type.as_str(), format) {
        _ if other_charset => {}
        ("text/plain", Some(format)) => return Ok(Content::Lines(format)),
        ("application/x-ndjson" | "application/ndjson" | "application/jsonl", None) => {
            return Ok(Content::Events(Framing::Ndjson));
        }
        ("application/json", None) => return Ok(Content::Events(Framing::Json)),
        _ => {}
    }
    let send = match has_format {
        true => "lines of a `format` as `text/plain`",
        false => {
            "`application/x-ndjson` (one event a line) or `application/json`, or lines of an access log \
             as `text/plain` with `?format=`"
        }
    };
    Err(ErrorAnswer::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "ERR_NGROK_210",
        format!("content type `{text}` is not known: send {send}, in UTF-8"),
    ))
}

fn answer(taken: &Taken, is_empty: bool, budget: &Arc<Budget>) -> Response {
    let mut listed = Vec::new();
    let mut bytes = 0;
    let mut unlisted: BTreeMap<&str, usize> = BTreeMap::new();
    for it in &taken.refused {
        let one = json!({"index": it.place.index, "error_code": it.code, "msg": it.message});
        bytes += REJECTION_BYTES + it.message.len();
        if bytes <= MAX_LISTED {
            listed.push(one);
        } else {
            *unlisted.entry(it.code).or_default() += 1;
        }
    }
    let mut body = json!({"accepted": taken.accepted, "rejected": listed});
    if !unlisted.is_empty() {
        body["rejected_unlisted"] = json!(unlisted);
    }
    let nothing = Refused { code: "ERR_SLUICEGATE_1108", message: NOTHING.to_owned() };
    if is_empty {
        body["error_code"] = nothing.code.into();
        body["msg"] = NOTHING.into();
    }
    let status = if taken.accepted > 0 { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let bytes = Bytes::from(body.to_string());
    let held = budget.hold();
    // The journal has the events: an answer that does not fit is given all the same.
    let body = match held.grow(bytes.len()) {
        Ok(()) => held_answer(bytes, held),
        Err(_) => bytes.into(),
    };
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    match is_empty {
        true => (status, content_type, Extension(nothing), body).into_response(),
        false => (status, content_type, body).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use std::time::Duration;

    use super::*;
    use crate::control::{ControlSettings, Saved};
    use crate::event::Catalog;
    use crate::http::{ConnectionLimits, Listener, TrustedProxies};
    use crate::journal::{Durability, Journal, JournalSettings};
    use crate::resources::Resources;
    use crate::sinks::LogOutput;

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up_with_408() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&JournalSettings {
            durability: Durability::Memory,
            max_bytes: 1 << 20,
            retention: Duration::ZERO,
            max_dead_letter_bytes: 1 << 30,
            directory: folder.path().to_owned(),
        });
        let resources = Resources::new(Catalog::builtin());
        let pipeline =
            Pipeline::start(&resources, journal.unwrap(), LogOutput::Stdout).await.unwrap();
        let accepting = Arc::new(AtomicBool::new(true));
        let saved =
            Saved::load(folder.path(), &ControlSettings::default(), &Resources::default()).unwrap();
        let control = Control::new(saved, Arc::new(pipeline)).unwrap();
        let router = router(HttpSettings::default(), None, control, accepting);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let mut stream = TcpStream::connect(listener.address()).await.unwrap();
        let never = std::future::pending();
        let limits = ConnectionLimits::default();
        tokio::spawn(listener.serve(router, limits, TrustedProxies::default(), never));
        let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/x-ndjson\r\ncontent-length: 10\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::pause();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("the body comes too slowly"), "{answer}");
    }
}
