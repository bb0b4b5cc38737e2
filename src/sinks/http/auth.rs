//! How a target of HTTP proves who it is, and the headers that its requests carry besides.
//!
//! A client certificate is in `certificate.rs`; tokens are asked for by `token.rs`.

use super::super::error::{AUTH, SETTING};
use super::super::token::{Grant, basic, bearer};
use super::super::web_url::WebUrl;
use crate::form::{
    Checked, Door, Form, Nature, Rule, Secret, SecretOf, Shape, Value, Written, Wrong, field,
    section,
};

/// Longest name of a header, and longest value: what servers take of all headers together is 8 KiB or more.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 4_096;

/// Headers that the daemon sets by itself, and those that are about one connection; `*` stands for any ending.
const OWN_HEADERS: [&str; 14] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-*",
    "expect",
    "host",
    "keep-alive",
    "proxy-*",
    "sluicegate-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-*",
];

/// How requests say who sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Bearer(SecretOf<HeaderValue>),
    Basic(Basic),
    OAuth2(Box<OAuth2>),
}

/// A fixed token.
struct Bearer(SecretOf<HeaderValue>);

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basic {
    username: Checked<Username>,
    password: Secret,
}

/// Tokens by OAuth 2.0 client credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OAuth2 {
    token_url: WebUrl,
    client_id: Checked<Username>,
    client_secret: Secret,
    scope: Option<String>,
    audience: Option<String>,
    credentials: Place,
}

impl Form for Auth {
    fn form<D: Door>(d: &mut D, it: Option<&Auth>) -> Option<Auth> {
        let (mut bearer, mut basic, mut oauth2) = (None, None, None);
        match it {
            Some(Auth::Bearer(it)) => bearer = Some(Bearer(it.clone())),
            Some(Auth::Basic(it)) => basic = Some(it),
            Some(Auth::OAuth2(it)) => oauth2 = Some(&**it),
            None => {}
        }
        let bearer = d.variant(section("bearer", "A fixed token."), bearer.as_ref());
        let basic = d.variant(section("basic", "A name and a password."), basic);
        let oauth2 = d.variant(
            section(
                "oauth2",
                "Tokens by OAuth 2.0 client credentials, renewed before they expire.",
            ),
            oauth2,
        );
        let bearer = bearer.map(|it: Bearer| Auth::Bearer(it.0));
        bearer.or(basic.map(Auth::Basic)).or(oauth2.map(|it| Auth::OAuth2(Box::new(it))))
    }
}

impl Form for Bearer {
    fn form<D: Door>(d: &mut D, it: Option<&Bearer>) -> Option<Bearer> {
        let token =
            d.required(field("token", "The token.", "${env:HOOK_TOKEN}"), it.map(|it| &it.0));
        Some(Bearer(token?))
    }
}

impl Form for Basic {
    fn form<D: Door>(d: &mut D, it: Option<&Basic>) -> Option<Basic> {
        let username =
            d.required(field("username", "The name.", "sluicegate"), it.map(|it| &it.username));
        let password = d.required(
            field("password", "The password.", "${env:HOOK_PASSWORD}"),
            it.map(|it| &it.password),
        );
        Some(Basic { username: username?, password: password? })
    }
}

impl Form for OAuth2 {
    fn form<D: Door>(d: &mut D, it: Option<&OAuth2>) -> Option<OAuth2> {
        let token_url = d.required(
            field("token_url", "Where tokens are given.", "https://login.example.com/oauth2/token"),
            it.map(|it| &it.token_url),
        );
        let client_id = d.required(
            field("client_id", "The client's id.", "sluicegate"),
            it.map(|it| &it.client_id),
        );
        let client_secret = d.required(
            field("client_secret", "The client's secret.", "${env:CLIENT_SECRET}"),
            it.map(|it| &it.client_secret),
        );
        let scope = d.optional(
            field("scope", "What the token is to open, with spaces between.", "events:write"),
            it.and_then(|it| it.scope.as_ref()),
        );
        let audience = d.optional(
            field("audience", "Whom the token is for, where that is asked.", "https://example.com"),
            it.and_then(|it| it.audience.as_ref()),
        );
        let credentials = d.or(
            field(
                "credentials",
                "Whether id and secret go into the form or the header Authorization.",
                "",
            ),
            Place::Form,
            it.map(|it| &it.credentials),
        );
        Some(OAuth2 {
            token_url: token_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope,
            audience,
            credentials: credentials?,
        })
    }
}

impl OAuth2 {
    pub(super) fn grant(&self) -> Grant {
        let fields = [("scope", &self.scope), ("audience", &self.audience)];
        let given = |(name, text): (_, &Option<String>)| Some((name, text.clone()?));
        Grant {
            url: self.token_url.clone(),
            client_id: self.client_id.to_string(),
            client_secret: self.client_secret.clone(),
            in_header: self.credentials == Place::Header,
            fields: fields.into_iter().filter_map(given).collect(),
        }
    }
}

impl Auth {
    /// The value of `Authorization`, if it never changes.
    pub(super) fn fixed(&self) -> Option<Secret> {
        match self {
            Auth::Bearer(token) => Some(bearer(&Secret::new(token.expose()))),
            Auth::Basic(it) => Some(Secret::new(basic(it.username.as_str(), &it.password))),
            Auth::OAuth2(_) => None,
        }
    }
}

/// Where a client's id and secret stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Form,
    Header,
}

impl Value for Place {
    const SHAPE: Shape<Place> = Shape::Words(&[("form", Place::Form), ("header", Place::Header)]);

    fn written(&self) -> Written {
        Written::open(match self {
            Place::Form => "form",
            Place::Header => "header",
        })
    }
}

/// Whose the secret beside it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Username;

impl Rule for Username {
    const NATURE: Nature = Nature::Identity;

    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_VALUE && !text.chars().any(|c| c.is_control() || c == ':') {
            true => Ok(()),
            false => Err(Wrong::must(
                AUTH,
                "must have at most 4,096 bytes, no colon and no control character",
            )),
        }
    }
}

/// A header's name that is not one of those that the daemon sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderName;

impl Rule for HeaderName {
    fn check(text: &str) -> Result<(), Wrong> {
        let name = text.to_ascii_lowercase();
        if name.len() > MAX_NAME || axum::http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Wrong::must(SETTING, "is no name of a header, of at most 128 bytes"));
        }
        let is_own = OWN_HEADERS.iter().any(|own| match own.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *own,
        });
        match is_own {
            true => Err(Wrong::must(SETTING, "is a header that the daemon sets by itself")),
            false => Ok(()),
        }
    }
}

/// A header's value, which may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderValue;

impl Rule for HeaderValue {
    fn check(text: &str) -> Result<(), Wrong> {
        let is_fit = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        match (1..=MAX_VALUE).contains(&text.len()) && text.bytes().all(is_fit) {
            true => Ok(()),
            false => Err(Wrong::must(SETTING, "must be 1 to 4,096 bytes of visible ASCII")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_ones_own_is_none_that_the_daemon_sets() {
        for (name, is_fit) in [
            ("X-Environment", true),
            ("traceparent", true),
            ("Host", false),
            ("content-length", false),
            ("Content-Type", false),
            ("authorization", false),
            ("Webhook-Id", false),
            ("webhook-anything", false),
            ("proxy-authorization", false),
            ("Transfer-Encoding", false),
            ("sluicegate-hops", false),
            ("a b", false),
            ("", false),
            ("a:b", false),
        ] {
            assert_eq!(HeaderName::check(name).is_ok(), is_fit, "{name}");
        }
        for (value, is_fit) in [("a b", true), ("a\r\nb: c", false), ("ä", false), ("", false)] {
            assert_eq!(HeaderValue::check(value).is_ok(), is_fit, "{value}");
        }
    }
}
