//! A URL of somebody's own that requests go to: checked, and shown without what may be a secret in it.
//!
//! Whether a target may go there is in `outbound`.

use std::fmt;

use axum::http::Uri;
use axum::http::uri::Authority;

use super::error::SETTING;
use crate::form::{HIDDEN, Nature, Shape, Value, Written, Wrong};
use crate::https::has_possible_port;

/// Longest URL: what proxies on the way are sure to take.
const MAX_URL: usize = 2_048;

/// A URL of http or https with a host.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WebUrl {
    text: Box<str>,
    uri: Uri,
}

impl WebUrl {
    pub(super) fn new(url: &str) -> Result<WebUrl, Wrong> {
        let no = |problem: &str| Err(Wrong::must(SETTING, problem));
        if url.len() > MAX_URL {
            return no("must have at most 2,048 bytes");
        }
        let Some((uri, authority)) =
            url.parse::<Uri>().ok().and_then(|uri| Some((uri.clone(), uri.authority()?.clone())))
        else {
            return no("must be a URL such as `https://example.com/events`");
        };
        if !has_possible_port(&uri) {
            return no("must name a port from 1 to 65535, or none");
        }
        if authority.as_str().contains('@') {
            return no("must not hold a user name or a password");
        }
        match uri.scheme_str() {
            _ if authority.host().is_empty() => no("must name a host"),
            Some("https" | "http") => Ok(WebUrl { text: url.into(), uri }),
            _ => no("must begin with `https://` or `http://`"),
        }
    }

    /// The URL itself.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Another place of the same host: a path, with its query, in place of both.
    pub(super) fn at(&self, path_and_query: &str) -> Result<Uri, axum::http::Error> {
        let authority = self.uri.authority().map_or("", Authority::as_str);
        let scheme = self.uri.scheme_str().unwrap_or_default();
        Uri::builder().scheme(scheme).authority(authority).path_and_query(path_and_query).build()
    }
}

impl Value for WebUrl {
    const SHAPE: Shape<WebUrl> = Shape::Text(WebUrl::new);
    const NATURE: Nature = Nature::Address;

    /// Its query may be a token, and is not shown.
    fn written(&self) -> Written {
        match self.text.split_once('?') {
            Some((place, _)) => Written::showing(&self.text, format!("{place}?{HIDDEN}")),
            None => Written::open(&*self.text),
        }
    }
}

/// The receiver without path and query, which may hold a secret.
impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", Authority::as_str);
        write!(f, "`{}://{authority}`", self.uri.scheme_str().unwrap_or_default())
    }
}

/// As above: settings are shown where they should not be.
impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_url_of_a_host() {
        for url in [
            "https://example.com",
            "https://example.com:8443/events?token=x",
            "https://[2001:db8::1]/",
            "http://localhost:9000/events",
        ] {
            assert_eq!(&*WebUrl::new(url).unwrap().text, url);
        }
        for (url, problem) in [
            ("https://user:pass@example.com/", "must not hold a user name"),
            ("http://localhost@example.com/", "must not hold a user name"),
            ("ftp://example.com/", "must begin with"),
            ("example.com", "must begin with"),
            ("/events", "must be a URL"),
            ("", "must be a URL"),
            ("https://", "must be a URL"),
            ("https://exa mple.com", "must be a URL"),
        ] {
            let error = WebUrl::new(url).unwrap_err().of("url");
            assert!(error.starts_with(&format!("`url` {problem}")), "{url}: {error}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        assert!(WebUrl::new(&long).is_err());
    }

    #[test]
    fn path_and_query_are_never_shown() {
        let url = WebUrl::new("https://example.com:8443/s3cret?k=s3cret").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "`https://example.com:8443` `https://example.com:8443`"
        );
        let elsewhere = url.at("/a/b?c=d").unwrap().to_string();
        assert_eq!(elsewhere, "https://example.com:8443/a/b?c=d");
    }
}
