//! Which engine keeps the control plane, and the URL of a database as its users write it.
//!
//! The URL is split here into what the database's client understands and what it does not: how TLS is
//! verified, and by whose certificates. Whether the rest can be is for the engine to say.

use std::fmt;
use std::path::PathBuf;

use crate::sinks::Secret;

/// Where what users make through the API is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StoreSettings {
    /// In one file of the data folder, for one daemon.
    #[default]
    Sqlite,
    /// In a database, for a fleet.
    Postgres {
        url: PostgresUrl,
        /// This daemon's name in the fleet; one of its host's is made if there is none.
        name: Option<String>,
    },
}

/// How the server's certificate is looked at, as `sslmode` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    /// No TLS.
    Disable,
    /// TLS where the server speaks it.
    Prefer,
    /// TLS, with any certificate.
    Require,
    /// TLS, with a certificate of a CA that is trusted.
    VerifyCa,
    /// The same, and it names the host.
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Prefer),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// What libpq takes and what changes nothing here.
const WITHOUT_EFFECT: [&str; 5] =
    ["client_encoding", "fallback_application_name", "gssencmode", "sslcompression", "sslsni"];

/// The URL of a PostgreSQL database. It may hold a password, and so is never shown.
#[derive(Clone, PartialEq)]
pub struct PostgresUrl {
    /// What is left for the database's client.
    pub(super) url: Secret,
    pub(super) mode: SslMode,
    /// Whose certificates are trusted; `None` for those that this machine trusts.
    pub(super) roots: Option<PathBuf>,
    /// The client's own certificate and its key, in PEM form.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresUrl").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl PostgresUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, without what stands in it but names of parameters and modes.
    pub(super) fn split(text: &str) -> Result<PostgresUrl, String> {
        let text = text.trim();
        if !["postgres://", "postgresql://"].iter().any(|it| text.starts_with(it)) {
            return Err("begins neither with `postgres://` nor with `postgresql://`".to_owned());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots, mut certificate, mut key) = (None, None, None, None);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value_of(pair);
            match name {
                "sslmode" => {
                    let found = MODES.iter().find(|(name, _)| *name == value);
                    let names = MODES.map(|(name, _)| name).join("`, `");
                    let wrong = || format!("has an `sslmode` that is none of `{names}`");
                    mode = Some(found.ok_or_else(wrong)?.1);
                }
                "sslrootcert" => roots = Some(value),
                "sslcert" => certificate = Some(PathBuf::from(value)),
                "sslkey" => key = Some(PathBuf::from(value)),
                name if WITHOUT_EFFECT.contains(&name) => {}
                _ => rest.push(pair),
            }
        }
        let is_given = certificate.is_some();
        let certificate = certificate.zip(key);
        if is_given && certificate.is_none() {
            return Err("names an `sslcert` without its `sslkey`".to_owned());
        }
        // As libpq has it: the system's CAs are only of use to who looks at the name.
        let is_system = roots.as_deref() == Some("system");
        let mode = match mode {
            Some(SslMode::VerifyFull) | None if is_system => SslMode::VerifyFull,
            Some(_) if is_system => {
                return Err(
                    "has `sslrootcert=system`, which needs `sslmode=verify-full`".to_owned()
                );
            }
            // As libpq has it too, for a file that was named.
            Some(SslMode::Require) if roots.is_some() => SslMode::VerifyCa,
            mode => mode.unwrap_or(SslMode::Prefer),
        };
        let roots = roots.filter(|_| !is_system).map(PathBuf::from);
        let url = match rest.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", rest.join("&")),
        };
        Ok(PostgresUrl { url: Secret::new(url), mode, roots, certificate })
    }
}

/// The value of a pair of a query, without its percent-encoding; a `+` stands for itself, as in libpq.
fn value_of(pair: &str) -> String {
    let pair = pair.replace('+', "%2B");
    let value = form_urlencoded::parse(pair.as_bytes()).next();
    value.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<PostgresUrl, String> {
        PostgresUrl::parse(&format!("postgres://u:p@db.example:5433/gate{query}"))
    }

    #[test]
    fn what_the_client_does_not_know_is_taken_out_of_the_url() {
        let url =
            parse("?sslmode=verify-full&connect_timeout=3&sslrootcert=/etc/ca%2B+.pem").unwrap();
        assert_eq!(url.url.expose(), "postgres://u:p@db.example:5433/gate?connect_timeout=3");
        assert_eq!(url.roots, Some(PathBuf::from("/etc/ca++.pem")));
        assert_eq!(url.mode, SslMode::VerifyFull);
        assert!(!format!("{url:?}").contains("u:p"), "{url:?}");
    }

    #[test]
    fn modes_are_libpqs() {
        for (query, mode) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=allow", SslMode::Prefer),
            ("?sslmode=require", SslMode::Require),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::VerifyCa),
            ("?sslmode=verify-ca", SslMode::VerifyCa),
            ("?sslrootcert=system", SslMode::VerifyFull),
        ] {
            assert_eq!(parse(query).unwrap().mode, mode, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (query, said) in [
            ("?sslmode=verify", "sslmode"),
            ("?sslcert=/c.pem", "sslkey"),
            ("?sslrootcert=system&sslmode=require", "verify-full"),
            ("?no_such=1", "no_such"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(said), "{query}: {error}");
        }
        assert!(PostgresUrl::parse("mysql://h/d").is_err());
    }
}
