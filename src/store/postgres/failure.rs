//! What goes wrong with the database, in words of the store.

use std::error::Error as _;
use std::time::Duration;

use crate::store::StoreError;

impl StoreError {
    /// The same once more, for whoever asks before the next attempt.
    pub(super) fn again(&self) -> StoreError {
        match self {
            StoreError::NewerSchema(major) => StoreError::NewerSchema(*major),
            StoreError::Unreachable(cause) => StoreError::Unreachable(cause.clone()),
            other => StoreError::Unreachable(other.to_string()),
        }
    }
}

/// An error of the client's as one of the store.
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError::Unreachable(cause(&error))
}

pub(super) fn no_answer(limit: Duration) -> StoreError {
    StoreError::Unreachable(format!("no answer within {} s", limit.as_secs()))
}

/// What an error says, with what is behind it.
pub(super) fn cause(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    format!("{said}{}", advice(&said))
}

/// What helps where TLS is not agreed on, by the words of the client and of rustls, which hand on nothing else.
fn advice(said: &str) -> &'static str {
    const ADVICE: [(&str, &str); 3] = [
        (
            "not valid for name",
            ": use the name in the URL that the certificate has, or `sslmode=verify-ca` where names do not matter",
        ),
        (
            "UnknownIssuer",
            ": the file of `sslrootcert` must have the CA that signed the server's certificate",
        ),
        ("server does not support TLS", ": turn `ssl` on there, or use another `sslmode`"),
    ];
    ADVICE.iter().find(|(words, _)| said.contains(words)).map_or("", |(_, advice)| advice)
}
