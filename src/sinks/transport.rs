//! The way out over HTTP for every kind of target: shared connections, proxies, the time limit, and
//! what it means when no answer comes.
//!
//! Reads no answer: what one means, its sender's file says.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use hyper::Uri;

use super::ack::Fault;
use super::causes::causes;
use super::proxy::{Proxy, RULES, Way};

/// One of something for each way that the environment's proxies allow.
#[derive(Clone, Debug)]
pub(super) struct Routes<T> {
    direct: T,
    http: Option<T>,
    https: Option<T>,
}

impl<T> Routes<T> {
    /// Makes one for going straight and one for each proxy.
    pub(super) fn new(make: impl Fn(Option<&Proxy>) -> T) -> Routes<T> {
        let through = |proxy: &Option<Result<Proxy, String>>| {
            proxy.as_ref().and_then(|it| it.as_ref().ok()).map(|proxy| make(Some(proxy)))
        };
        let (http, https) = (through(&RULES.http), through(&RULES.https));
        Routes { direct: make(None), http, https }
    }

    /// The same ways with something else on each.
    pub(super) fn map<U>(&self, turn: impl Fn(&T) -> U) -> Routes<U> {
        Routes {
            direct: turn(&self.direct),
            http: self.http.as_ref().map(&turn),
            https: self.https.as_ref().map(&turn),
        }
    }
}

/// Idle connections that are kept for one host: one for each destination that shares it and each of
/// its requests, within reason.
const MAX_IDLE: usize = 32;

/// A connector for one way. It trusts whom this machine trusts.
pub(super) fn connector(proxy: Option<&Proxy>, settings: HttpConnectorSettings) -> Connector {
    let mut builder = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .connector_settings(settings)
        .pool_max_idle_per_host(MAX_IDLE);
    builder.set_proxy_config(proxy.and_then(|it| ProxyConfig::all(it.url.as_str()).ok()));
    builder.build()
}

impl Routes<SharedHttpConnector> {
    /// Sends a request the way that its URL goes; `read` takes what it wants of the answer. The limit
    /// holds for all of it, from connecting to the end of reading.
    pub(super) fn send<T, R, F>(
        &self,
        request: HttpRequest,
        limit: Duration,
        read: F,
    ) -> impl Future<Output = Result<T, NoAnswer>> + use<T, R, F>
    where
        F: FnOnce(HttpResponse) -> R,
        R: Future<Output = Result<T, ConnectorError>>,
    {
        let uri: Uri = request.uri().parse().unwrap_or_default();
        let way = RULES.way(&uri);
        let connector = match &way {
            Way::Through(_) if uri.scheme_str() == Some("https") => self.https.as_ref(),
            Way::Through(_) => self.http.as_ref(),
            Way::Direct | Way::Blocked(_) => None,
        };
        let call = match &way {
            Way::Blocked(_) => None,
            _ => Some(connector.unwrap_or(&self.direct).call(request)),
        };
        async move {
            let no = |why| NoAnswer { address: address(&uri), way, why };
            let Some(call) = call else { return Err(no(Why::Blocked)) };
            let exchange = async { read(call.await?).await };
            match tokio::time::timeout(limit, exchange).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(no(Why::Broken(error))),
                Err(_) => Err(no(Why::TooSlow(limit))),
            }
        }
    }
}

/// The scheme, host and port of a URL; path and query may hold a secret.
pub(super) fn address(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |it| it.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", uri.scheme_str().unwrap_or_default())
}

/// A request that no answer came to.
#[derive(Debug)]
pub(super) struct NoAnswer {
    address: String,
    way: Way,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// The way is blocked, so nothing was sent.
    Blocked,
    /// The time limit passed.
    TooSlow(Duration),
    /// No connection came about, or it broke.
    Broken(ConnectorError),
}

impl NoAnswer {
    /// What the delivery task is to make of it.
    pub(super) fn fault(&self) -> Fault {
        match (&self.why, tls_error(self)) {
            (Why::Blocked, _) => Fault::configuration(self.to_string()),
            (_, Some(error @ rustls::Error::InvalidCertificate(_))) => {
                Fault::configuration(format!(
                    "the certificate of `{}` is not trusted: {error}; its CA must be among this \
                     machine's root certificates",
                    self.address
                ))
            }
            _ => Fault::unanswered(causes(self)),
        }
    }

    /// The error as the AWS SDK wants it; it keeps this one as its source.
    pub(super) fn into_connector_error(self) -> ConnectorError {
        match &self.why {
            Why::TooSlow(_) => ConnectorError::timeout(self.into()),
            Why::Blocked => ConnectorError::user(self.into()),
            Why::Broken(_) => ConnectorError::io(self.into()),
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoAnswer { address, way, why } = self;
        let through = match way {
            Way::Through(proxy) => format!(" through the proxy {proxy}"),
            Way::Direct | Way::Blocked(_) => String::new(),
        };
        match why {
            Why::Blocked => write!(
                f,
                "no way leads to `{address}`: {}",
                match way {
                    Way::Blocked(reason) => reason,
                    Way::Direct | Way::Through(_) => "",
                }
            ),
            Why::TooSlow(limit) => write!(
                f,
                "no answer from `{address}`{through} within {limit:?}; what was sent may have \
                 arrived all the same"
            ),
            Why::Broken(_) => {
                write!(f, "`{address}` was not reached{through}, or the connection broke")
            }
        }
    }
}

impl Error for NoAnswer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Broken(error) => Some(error),
            Why::Blocked | Why::TooSlow(_) => None,
        }
    }
}

/// What rustls found wrong, however deep it lies. `source` of an [`io::Error`] passes over what it
/// was made of.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner: Option<&'a (dyn Error + 'static)> = match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|it| it as _),
        None => error.source(),
    };
    error.downcast_ref().or_else(|| tls_error(inner?))
}
