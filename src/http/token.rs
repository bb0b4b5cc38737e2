//! Bearer tokens, compared so that the time taken tells nothing of how much of a guess was right.

use std::sync::{Arc, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::{Choice, ConstantTimeEq as _};

use crate::lock::{read, write};
use crate::sinks::Secret;

/// The tokens that open a listener. None at all opens it to everyone. Copies are the same tokens: what replaces
/// them in one holds for all.
#[derive(Clone, Debug, Default)]
pub struct BearerTokens(Arc<RwLock<Arc<[Secret]>>>);

impl PartialEq for BearerTokens {
    fn eq(&self, other: &BearerTokens) -> bool {
        self.all() == other.all()
    }
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// There is no `Authorization` header.
    #[error("a token is required: send the header `Authorization: Bearer TOKEN`")]
    Missing,
    /// The header is not of the bearer kind.
    #[error("the `Authorization` header must be `Bearer TOKEN`")]
    Scheme,
    /// The token is none of ours.
    #[error("the token is wrong")]
    Wrong,
}

impl Unauthorized {
    /// ngrok's code of the condition.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Unauthorized::Missing => "ERR_NGROK_200",
            Unauthorized::Scheme => "ERR_NGROK_201",
            Unauthorized::Wrong => "ERR_NGROK_203",
        }
    }
}

impl BearerTokens {
    /// Tokens that open a listener.
    #[must_use]
    pub fn new(tokens: Vec<Secret>) -> BearerTokens {
        BearerTokens(Arc::new(RwLock::new(tokens.into())))
    }

    fn all(&self) -> Arc<[Secret]> {
        Arc::clone(&read(&self.0))
    }

    /// Has others open the listener from now on.
    pub fn replace(&self, others: &BearerTokens) {
        let others = others.all();
        *write(&self.0) = others;
    }

    /// Whether no token is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// One of the tokens, for asking a daemon of the same settings.
    #[must_use]
    pub fn first(&self) -> Option<Secret> {
        self.all().first().cloned()
    }

    /// Lets a request in or tells why not.
    ///
    /// # Errors
    /// When tokens are set and the request brings none of them.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        let tokens = self.all();
        if tokens.is_empty() {
            return Ok(());
        }
        let token = bearer_token(headers)?;
        // Every token is compared, whichever is right; only a token's length can show.
        let token = token.as_bytes();
        let known = tokens
            .iter()
            .fold(Choice::from(0), |known, secret| known | secret.expose().as_bytes().ct_eq(token));
        if bool::from(known) { Ok(()) } else { Err(Unauthorized::Wrong) }
    }
}

/// The token that a request brings.
///
/// # Errors
/// When it brings none, or one that cannot be ours since it is no text.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, Unauthorized> {
    let header = headers.get(AUTHORIZATION).ok_or(Unauthorized::Missing)?.as_bytes();
    let (scheme, token) = header.split_at_checked(7).ok_or(Unauthorized::Scheme)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Unauthorized::Scheme);
    }
    str::from_utf8(token.trim_ascii()).map_err(|_| Unauthorized::Wrong)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(tokens: &[&str], header: Option<&'static str>) -> Result<(), Unauthorized> {
        let tokens = BearerTokens::new(tokens.iter().map(|&it| Secret::new(it)).collect());
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        }
        tokens.check(&headers)
    }

    #[test]
    fn any_of_the_tokens_opens() {
        assert_eq!(check(&["one", "two"], Some("Bearer two")), Ok(()));
        assert_eq!(check(&["one"], Some("bearer  one")), Ok(()));
        assert_eq!(check(&[], None), Ok(()));
    }

    #[test]
    fn anything_else_does_not() {
        assert_eq!(check(&["one"], None), Err(Unauthorized::Missing));
        assert_eq!(check(&["one"], Some("Basic one")), Err(Unauthorized::Scheme));
        assert_eq!(check(&["one"], Some("Bearer")), Err(Unauthorized::Scheme));
        assert_eq!(check(&["one"], Some("Bearer on")), Err(Unauthorized::Wrong));
        assert_eq!(check(&["one"], Some("Bearer ")), Err(Unauthorized::Wrong));
        let no_text = HeaderValue::from_bytes(b"Bearer \xff").unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, no_text)]);
        assert_eq!(bearer_token(&headers), Err(Unauthorized::Wrong));
    }
}
