//! The way out over HTTP for every kind of target: shared connections, proxies, the time limit, and
//! what it means when no answer comes. Targets that were made through the API have connections of their
//! own, each to an address that was looked at.
//!
//! Reads no answer: what one means, its sender's file says.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use hyper::Uri;

use super::DEFAULT_TIMEOUT;
use super::ack::Fault;
use super::causes::{causes, chain};
use super::format::Format;
use super::outbound::{Barred, Outbound};
use super::proxy::{Proxy, RULES, Way};
use super::trouble::Trouble;
use crate::https::CONNECT_TIMEOUT;
use crate::lock::lock;
use crate::telemetry;

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

/// A connector for one way; with a gate, straight to addresses that it lets through. It trusts whom
/// this machine trusts.
pub(super) fn connector(
    proxy: Option<&Proxy>,
    gate: Option<Gate>,
    settings: HttpConnectorSettings,
) -> Connector {
    let mut builder = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .connector_settings(settings)
        .pool_max_idle_per_host(MAX_IDLE);
    builder.set_proxy_config(proxy.and_then(|it| ProxyConfig::all(it.url.as_str()).ok()));
    match gate {
        Some(gate) => builder.build_with_resolver(gate),
        None => builder.build(),
    }
}

/// Looks names up for a connection, and gives only addresses that it may be made to. Addresses in
/// place of names do not come here.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    outbound: Arc<Outbound>,
    /// The port of the connection where it is one of our own listeners', and 0 for all others.
    port: u16,
}

impl ResolveDns for Gate {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            let mut barred = None;
            let mut allowed: Vec<IpAddr> = Vec::new();
            for address in found.map(|it| it.ip()) {
                match self.outbound.check_address(name, address, self.port) {
                    Ok(()) => allowed.push(address),
                    Err(why) => barred = Some(why),
                }
            }
            match barred {
                Some(why) if allowed.is_empty() => Err(ResolveDnsError::new(why)),
                _ => Ok(allowed),
            }
        })
    }
}

/// The connections of targets that were made through the API: theirs alone, so that none is used that
/// was made for somebody else.
#[derive(Debug)]
pub(super) struct Gated {
    outbound: Arc<Outbound>,
    /// By the proxy and the gate's port, made when they are first needed: one for most hosts, one for
    /// each port of a listener, and one for each proxy.
    connectors: Mutex<BTreeMap<(Option<String>, u16), SharedHttpConnector>>,
}

impl Gated {
    pub(super) fn new(outbound: Outbound) -> Gated {
        Gated { outbound: Arc::new(outbound), connectors: Mutex::default() }
    }

    /// The way to a URL. A proxy, which would connect to whatever it is asked for, is used only for
    /// hosts that the operator names.
    fn way(&self, url: &Uri) -> Way {
        match url.host() {
            Some(host) if self.outbound.names(host) => RULES.way(url),
            _ => Way::Direct,
        }
    }

    fn connector(&self, way: &Way, url: &Uri) -> SharedHttpConnector {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let mut connectors = lock(&self.connectors);
        if let Way::Through(proxy) = way {
            let made = connectors.entry((Some(proxy.url.clone()), 0));
            return made
                .or_insert_with(|| SharedHttpConnector::new(connector(Some(proxy), None, settings)))
                .clone();
        }
        let gate = self.gate(url);
        let made = connectors.entry((None, gate.port));
        made.or_insert_with(|| SharedHttpConnector::new(connector(None, Some(gate), settings)))
            .clone()
    }

    fn gate(&self, url: &Uri) -> Gate {
        let https = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let port = self.outbound.own_ports().find(|own| *own == port).unwrap_or(0);
        Gate { outbound: Arc::clone(&self.outbound), port }
    }
}

/// How a target's requests are sent.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// Time for one request, from connecting to the whole answer.
    pub(super) timeout: Duration,
    /// The connections of targets that were made through the API; none for those of the settings.
    pub(super) lines: Option<Lines>,
    /// How records are written; they are when they come.
    pub(super) format: Format,
}

impl Default for Sending {
    /// As the targets of the settings do, if they say nothing of time.
    fn default() -> Sending {
        Sending { timeout: DEFAULT_TIMEOUT, lines: None, format: Format::Json }
    }
}

/// The connections that a target's requests go over.
#[derive(Clone, Debug)]
pub(super) enum Lines {
    /// Those that all targets of the settings share.
    Shared(Routes<SharedHttpConnector>),
    /// Those of targets that were made through the API.
    Gated(Arc<Gated>),
    /// One that somebody else made, in place of all ways.
    Given(SharedHttpConnector),
}

impl Lines {
    /// The way to a URL.
    pub(super) fn way(&self, url: &Uri) -> Way {
        match self {
            Lines::Shared(_) => RULES.way(url),
            Lines::Gated(gated) => gated.way(url),
            Lines::Given(_) => Way::Direct,
        }
    }

    /// What lets a connection to a URL's host through; none for targets of the settings.
    pub(super) fn gate(&self, url: &Uri) -> Option<Gate> {
        match self {
            Lines::Gated(gated) => Some(gated.gate(url)),
            _ => None,
        }
    }

    fn connector(&self, way: &Way, url: &Uri) -> Result<SharedHttpConnector, Why> {
        match (self, way) {
            (Lines::Given(connector), _) => Ok(connector.clone()),
            (_, Way::Blocked(_)) => Err(Why::Blocked),
            (Lines::Shared(routes), way) => {
                let https = url.scheme_str() == Some("https");
                let through = if https { &routes.https } else { &routes.http };
                let through = through.as_ref().filter(|_| matches!(way, Way::Through(_)));
                Ok(through.unwrap_or(&routes.direct).clone())
            }
            (Lines::Gated(gated), way) => match gated.outbound.check(url) {
                Ok(()) => Ok(gated.connector(way, url)),
                Err(barred) => Err(Why::Barred(barred)),
            },
        }
    }

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
        let way = self.way(&uri);
        let call = self.connector(&way, &uri).map(|connector| connector.call(request));
        async move {
            let no = |why| NoAnswer { address: address(&uri), way, why };
            let call = match call {
                Ok(call) => call,
                Err(why) => return Err(no(why)),
            };
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
    /// The target may not go there, so nothing was sent.
    Barred(Barred),
    /// The time limit passed.
    TooSlow(Duration),
    /// No connection came about, or it broke.
    Broken(ConnectorError),
}

impl NoAnswer {
    /// What the delivery task is to make of it.
    pub(super) fn fault(&self) -> Fault {
        if let Some(barred) = chain(self).find_map(<dyn Error>::downcast_ref::<Barred>) {
            return barred_fault(barred);
        }
        let fault = match (&self.why, tls_error(self)) {
            (Why::Blocked, _) => Fault::configuration(self.to_string()),
            (_, Some(error @ rustls::Error::InvalidCertificate(_))) => {
                Fault::configuration(format!(
                    "the certificate of `{}` is not trusted: {error}; its CA must be among this \
                     machine's root certificates",
                    self.address
                ))
            }
            _ => Fault::unanswered(causes(self)),
        };
        fault.with(self.trouble())
    }

    fn trouble(&self) -> Trouble {
        match (&self.way, &self.why) {
            (_, Why::Blocked) => Trouble::Proxy,
            // A connection that is closed in the middle of the handshake gives no error of rustls.
            _ if tls_error(self).is_some() || said(self, "tls handshake") => Trouble::Tls,
            (Way::Through(_), Why::Broken(_)) => Trouble::Proxy,
            // The errors of looking up names have no type that can be seen here.
            _ if chain(self)
                .any(|it| it.is::<ResolveDnsError>() || it.to_string().contains("dns error")) =>
            {
                Trouble::Name
            }
            _ => Trouble::Unreachable,
        }
    }

    /// The error as the AWS SDK wants it; it keeps this one as its source.
    pub(super) fn into_connector_error(self) -> ConnectorError {
        match &self.why {
            Why::TooSlow(_) => ConnectorError::timeout(self.into()),
            Why::Blocked | Why::Barred(_) => ConnectorError::user(self.into()),
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
            Why::Barred(_) => write!(f, "`{address}` was not asked"),
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
            Why::Barred(barred) => Some(barred),
            Why::Blocked | Why::TooSlow(_) => None,
        }
    }
}

/// Whether an error or one of its causes says something.
fn said(error: &(dyn Error + 'static), words: &str) -> bool {
    chain(error).any(|it| it.to_string().contains(words))
}

/// A fault for what a target may not do. Counted by its code.
pub(super) fn barred_fault(barred: &Barred) -> Fault {
    telemetry::outbound_barred(barred.code());
    Fault::configuration(format!("{barred} ({})", barred.code()))
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
