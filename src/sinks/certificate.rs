//! A client certificate: what a receiver is shown to know who sends, and the connections that show it.
//!
//! They go straight to the receiver, never through a proxy; targets that were made through the API reach the
//! same addresses with one as without.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use aws_smithy_runtime_api::client::dns::ResolveDns as _;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as Connector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{AUTH, OpenError};
use super::transport::{Gate, Lines};
use crate::form::{Checked, Door, Form, Rule, SecretOf, Wrong, field};
use crate::https::{CONNECT_TIMEOUT, system_roots, trusting};

/// Longest PEM text: a certificate with those that lead to its CA is a tenth of it.
const MAX_PEM: usize = 64 * 1024;
/// Idle connections that are kept: one for each request that may be under way, within reason.
const MAX_IDLE: usize = 16;

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    certificate: Checked<Chain>,
    key: SecretOf<Key>,
}

impl Form for ClientCertificate {
    fn form<D: Door>(d: &mut D, it: Option<&ClientCertificate>) -> Option<ClientCertificate> {
        let certificate = d.required(
            field(
                "certificate",
                "The certificate in PEM form, followed by those that lead to its CA.",
                "${file:/etc/sluicegate/client.pem}",
            ),
            it.map(|it| &it.certificate),
        );
        let key = d.required(
            field("key", "Its private key in PEM form.", "${file:/etc/sluicegate/client.key}"),
            it.map(|it| &it.key),
        );
        Some(ClientCertificate { certificate: certificate?, key: key? })
    }
}

/// Certificates in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain;

impl Rule for Chain {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_PEM && chain(text).is_some() {
            true => Ok(()),
            false => Err(Wrong::must(AUTH, "must be certificates in PEM form, of at most 64 KiB")),
        }
    }
}

/// A private key in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key;

impl Rule for Key {
    fn check(text: &str) -> Result<(), Wrong> {
        match text.len() <= MAX_PEM && key(text).is_some() {
            true => Ok(()),
            false => Err(Wrong::must(AUTH, "must be a private key in PEM form, of at most 64 KiB")),
        }
    }
}

fn chain(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    all.ok().filter(|it| !it.is_empty())
}

fn key(text: &str) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()
}

impl ClientCertificate {
    /// Connections to a URL's host that show it, within the bounds of `lines`.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub(super) fn lines(&self, url: &Uri, lines: Option<&Lines>) -> Result<Lines, OpenError> {
        let no = |problem: &dyn fmt::Display| OpenError {
            message: format!("`client_certificate` cannot be used: {problem}"),
        };
        let chain = chain(self.certificate.as_str()).ok_or_else(|| no(&"it holds none"))?;
        let key = key(self.key.expose()).ok_or_else(|| no(&"it has no key"))?;
        let config = trusting(system_roots()).with_client_auth_cert(chain, key);
        let config = config.map_err(|error| no(&error))?;
        let mut tcp = HttpConnector::new_with_resolver(Names(lines.and_then(|it| it.gate(url))));
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE)
            .build(builder.https_or_http().enable_http1().wrap_connector(tcp));
        Ok(Lines::Given(SharedHttpConnector::new(Showing(client))))
    }
}

/// A client whose connections show the certificate.
struct Showing(Client<HttpsConnector<HttpConnector<Names>>, SdkBody>);

impl fmt::Debug for Showing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Showing")
    }
}

impl Connector for Showing {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x();
            let request = request.map_err(|error| ConnectorError::user(error.into()))?;
            let answer = client.request(request).await;
            let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

/// Looks names up, by the gate where there is one.
#[derive(Clone, Debug)]
struct Names(Option<Gate>);

type Lookup =
    Pin<Box<dyn Future<Output = Result<vec::IntoIter<SocketAddr>, std::io::Error>> + Send>>;

impl tower_service::Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Lookup;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Lookup {
        let gate = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = match gate {
                Some(gate) => {
                    let found = gate.resolve_dns(name.as_str()).await;
                    let found = found.map_err(std::io::Error::other)?;
                    found.into_iter().map(|address| (address, 0).into()).collect()
                }
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            Ok(found.into_iter())
        })
    }
}
