//! Access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4): asked for when they are needed, and anew
//! before they expire.
//!
//! A token is believed only if the answer is recognisably one: status 200, a JSON object, an
//! `access_token` that can stand in a header, the type `Bearer`. What it opens, the target's file knows.

use std::future::Future;
use std::time::Duration;

use axum::http::request::Builder;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ack::{Fault, FaultKind, with_its_words};
use super::exchange::{Answer, exchange};
use super::transport::Sending;
use super::trouble::Trouble;
use super::web_url::WebUrl;
use crate::form::Secret;

/// How long before its end a token is asked for anew: long against a request and a clock that is off.
const BEFORE_END: Duration = Duration::from_secs(300);
/// How long a token is used that says nothing of its end.
const UNSAID: Duration = Duration::from_secs(300);
/// Longest use of a token, whatever it says: a day.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How long a token is used on after asking for the next has failed, before it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Most bytes of an error's description that are shown.
const MAX_WORDS: usize = 200;

/// The errors that a token's answer can name (RFC 6749, 5.2).
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) url: WebUrl,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    /// Whether id and secret go into the header `Authorization` and not into the form.
    pub(super) in_header: bool,
    /// What else the form holds, such as `scope`.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// The tokens of one target, of which one is held at a time.
#[derive(Debug)]
pub(super) struct Tokens {
    grant: Grant,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: Secret,
    renew: Instant,
    end: Instant,
}

impl Tokens {
    pub(super) fn new(grant: Grant) -> Tokens {
        Tokens { grant, held: Mutex::new(None) }
    }

    /// The token that is held, or a new one; whoever comes while one is asked for waits for it.
    ///
    /// # Errors
    /// When there is none, and none is given.
    pub(super) async fn get(&self, sending: &Sending) -> Result<Secret, Fault> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref().filter(|it| now < it.renew) {
            return Ok(held.token.clone());
        }
        match (self.ask(sending).await, held.as_mut()) {
            (Ok(new), _) => Ok(held.insert(new).token.clone()),
            (Err(_), Some(old)) if now < old.end => {
                old.renew = now + AGAIN;
                Ok(old.token.clone())
            }
            (Err(fault), _) => Err(fault),
        }
    }

    /// Sends with the value of `Authorization`; once more with another, where the answer to the first is 401.
    ///
    /// # Errors
    /// When there is no token, and those of `send`.
    pub(super) async fn with<F: Future<Output = Result<Answer, Fault>>>(
        &self,
        sending: &Sending,
        send: impl Fn(Secret) -> F,
    ) -> Result<Answer, Fault> {
        let first = self.get(sending).await?;
        let answer = send(bearer(&first)).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.forget(&first).await;
        match self.get(sending).await? {
            second if second == first => Ok(answer),
            second => send(bearer(&second)).await,
        }
    }

    /// Gives up a token that was refused; the next is asked for anew.
    async fn forget(&self, token: &Secret) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|it| it.token == *token) {
            *held = None;
        }
    }

    async fn ask(&self, sending: &Sending) -> Result<Held, Fault> {
        let (request, form) = self.request();
        let asked = Instant::now();
        let answer = exchange(request, form, sending).await?;
        self.read(&answer, asked)
    }

    fn request(&self) -> (Builder, Bytes) {
        let Grant { url, client_id, client_secret, in_header, fields } = &self.grant;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.uri().clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if *in_header {
            request = request.header(header::AUTHORIZATION, basic(client_id, client_secret));
        } else {
            form.append_pair("client_id", client_id);
            form.append_pair("client_secret", client_secret.expose());
        }
        form.extend_pairs(fields);
        (request, Bytes::from(form.finish()))
    }

    fn read(&self, answer: &Answer, asked: Instant) -> Result<Held, Fault> {
        let url = &self.grant.url;
        let body = serde_json::from_slice::<Json>(&answer.body).unwrap_or_default();
        if answer.status != 200 {
            let code = body["error"].as_str().filter(|it| ERRORS.contains(it));
            let kind = match answer.status.as_u16() {
                429 => FaultKind::Throttled,
                408 | 500..=599 => FaultKind::Transient,
                _ => FaultKind::Configuration,
            };
            let advice = match kind {
                FaultKind::Configuration => "; correct the client's id and secret, or the URL",
                _ => "",
            };
            let code = code.map_or_else(String::new, |code| format!(" `{code}`"));
            let text = format!("{url} gave no token: {}{code}{advice}", answer.status);
            let retry_after = answer.retry_after.filter(|_| kind != FaultKind::Configuration);
            let words = body["error_description"].as_str().unwrap_or_default();
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = with_its_words(text, &words[..words.floor_char_boundary(MAX_WORDS)]);
            let trouble = (kind == FaultKind::Configuration).then_some(Trouble::Refused);
            return Err(Fault { retry_after, ..Fault::new(kind, text).with(trouble) });
        }
        let strange = |what: &str| {
            Fault::unanswered(format!("{url} answered 200 with {what}: is it the URL of tokens?"))
                .with(Trouble::Stranger)
        };
        let token = body["access_token"].as_str().filter(|it| is_token(it));
        let token = token.ok_or_else(|| strange("no `access_token`"))?;
        if !body["token_type"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("bearer")) {
            return Err(strange("a token that is no `Bearer`"));
        }
        let seconds =
            body["expires_in"].as_u64().or_else(|| body["expires_in"].as_str()?.parse().ok());
        let lasts = seconds.map_or(UNSAID, Duration::from_secs).min(LONGEST);
        let before = BEFORE_END.min(lasts / 2);
        let end = asked + lasts;
        Ok(Held { token: Secret::new(token), renew: end - before, end })
    }
}

/// Whether a text can be a token of a header: visible ASCII without spaces.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The value of `Authorization` for a name and a password.
pub(super) fn basic(name: &str, password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose())))
}

/// The value of `Authorization` for a token.
pub(super) fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use super::*;

    /// Tokens of a place that nobody answers at.
    async fn tokens() -> Tokens {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        Tokens::new(Grant {
            url: WebUrl::new(&url).unwrap(),
            client_id: "me".to_owned(),
            client_secret: Secret::new("s3cret"),
            in_header: false,
            fields: vec![],
        })
    }

    fn answer(expires_in: Json) -> Answer {
        let body = json!({"access_token": "t", "token_type": "bearer", "expires_in": expires_in});
        let body = body.to_string().into_bytes();
        Answer { status: StatusCode::OK, retry_after: None, skew: None, body }
    }

    #[tokio::test]
    async fn a_token_is_renewed_five_minutes_before_its_end_or_at_half_of_its_time() {
        let tokens = tokens().await;
        let asked = Instant::now();
        for (expires_in, renew, end) in [
            (json!(3_600), 3_300, 3_600),
            (json!("3599"), 3_299, 3_599),
            (json!(100), 50, 100),
            (json!(0), 0, 0),
            (json!(u64::MAX), 86_100, 86_400),
            (Json::Null, 150, 300),
        ] {
            let held = tokens.read(&answer(expires_in.clone()), asked).unwrap();
            let seconds = |at: Instant| at.duration_since(asked).as_secs();
            assert_eq!((seconds(held.renew), seconds(held.end)), (renew, end), "{expires_in}");
        }
    }

    #[tokio::test]
    async fn a_token_is_used_to_its_end_where_the_next_is_not_given() {
        let tokens = tokens().await;
        let now = Instant::now();
        let hour = Duration::from_secs(3_600);
        let hold = async |renew, end| {
            *tokens.held.lock().await = Some(Held { token: Secret::new("t"), renew, end });
            tokens.get(&Sending::default()).await
        };
        for (renew, end) in [(now + hour, now + hour), (now, now + hour)] {
            assert_eq!(hold(renew, end).await.unwrap().expose(), "t");
        }
        let fault = hold(now, now).await.unwrap_err();
        assert!(fault.unanswered, "{fault}");
    }
}
