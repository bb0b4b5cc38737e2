//! The one HTTPS client of our own, for the command line: whom it trusts, how it connects, what it
//! keeps open. Targets are reached by the AWS SDK's client, which knows proxies.
//!
//! It makes no request, and sets no limit on the time of an answer: that is for whoever asks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// Time to open a connection: one lost SYN (sent again after 1 s, then 2 s) is forgiven. The AWS
/// SDKs' own number.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);

/// Idle connections that are kept for one host: one for each destination that shares it, within
/// reason.
const MAX_IDLE: usize = 8;

/// A client with its connections, over http and https.
pub type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Whether an address names no port, or one that can be: parsers of addresses take any number.
#[must_use]
pub fn has_possible_port(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return true };
    authority.as_str().ends_with(authority.host()) || authority.port_u16().is_some_and(|it| it > 0)
}

/// A client that trusts certificates of these CAs.
#[must_use]
pub fn client(roots: RootCertStore) -> HttpsClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls(roots));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(MAX_IDLE)
        .build(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

fn tls(roots: RootCertStore) -> ClientConfig {
    trusting(roots).with_no_client_auth()
}

/// TLS that trusts these CAs, for who has yet to say what it shows.
#[must_use]
#[expect(clippy::expect_used, reason = "ring has cipher suites for both versions of TLS")]
pub fn trusting(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS")
        .with_root_certificates(roots)
}

/// The CAs that this machine trusts; none where it has no list of them, which then shows as a
/// certificate that is not trusted, while plain http works. Takes some milliseconds.
#[must_use]
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The CAs in a file (PEM), and no others.
///
/// # Errors
/// What is wrong with the file, without its name.
pub fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("holds no certificate in PEM form".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        let possible = |text: &str| has_possible_port(&text.parse().unwrap());
        for text in
            ["http://h", "http://h/a:0", "http://h:1", "https://[::1]", "https://[::1]:65535/"]
        {
            assert!(possible(text), "{text}");
        }
        for text in ["http://h:0", "http://h:65536/x", "https://[::1]:99999", "http://h:"] {
            assert!(!possible(text), "{text}");
        }
    }
}
