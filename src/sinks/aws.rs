//! Connections to AWS: configuration, credentials that are asked for anew when they are refused, and
//! one place that every call goes through.
//!
//! Knows no service. Loading a configuration reads the environment and the profile files; credentials
//! are fetched with the first request.

mod credentials;
mod http;
mod trust;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use hyper::Uri;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::credentials::{Origin, Watched};
pub(super) use self::trust::{Trust, trust_of};
use super::answer::{CallError, call_error};
use super::auth::Auth;
use super::transport::Sending;
use crate::https::CONNECT_TIMEOUT;
use crate::lock::lock;

/// The name under which an assumed role shows in CloudTrail, and the client in AWS's own logs.
const NAME: &str = "sluicegate";
/// The least time between two loadings of one configuration: a storm of refusals asks the chain once,
/// and what asks the chain (files, metadata, STS) is asked less often than the service itself.
const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// Where and as whom a target's service is called.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) region: String,
    pub(super) auth: Auth,
    /// In place of the service's own, and of what the environment says for it.
    pub(super) endpoint_url: Option<String>,
    pub(super) sending: Sending,
}

/// A target's client. When its credentials are refused, or there are none, the next call asks for
/// them anew, from the environment and the profile files on.
pub(super) struct Connection<C> {
    settings: Settings,
    build: fn(&SdkConfig, Option<&str>) -> C,
    current: Mutex<Current<C>>,
    /// That of the current client, readable while another one is being made.
    origin: StdMutex<Origin>,
}

struct Current<C> {
    client: C,
    /// The number of the base configuration that it was made from.
    base: u64,
    made: Instant,
    /// Whether the service has refused its credentials.
    refused: bool,
}

impl<C: Clone> Connection<C> {
    /// Makes a client; `build` gets the configuration and the endpoint in place of its own.
    pub(super) async fn open(
        settings: Settings,
        build: fn(&SdkConfig, Option<&str>) -> C,
    ) -> Connection<C> {
        let base = base(&settings.region, None).await;
        let (current, origin) = connect(&settings, build, &base).await;
        Connection { settings, build, current: Mutex::new(current), origin: StdMutex::new(origin) }
    }

    /// Calls the service once.
    pub(super) async fn call<O, E, F>(&self, send: impl FnOnce(C) -> F) -> Result<O, CallError>
    where
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (client, made) = self.client().await;
        let answer = send(client).await.map_err(|error| call_error(&error));
        if answer.as_ref().is_err_and(CallError::concerns_identity) {
            let mut current = self.current.lock().await;
            // Of several calls that were refused at once, the first has it replaced.
            current.refused |= current.made == made;
        }
        answer
    }

    async fn client(&self) -> (C, Instant) {
        let mut current = self.current.lock().await;
        let keys = matches!(self.settings.auth, Auth::Keys(_));
        if current.refused && !keys && current.made.elapsed() >= RELOAD_PAUSE {
            tracing::info!(region = self.settings.region, "AWS credentials are asked for anew");
            let base = base(&self.settings.region, Some(current.base)).await;
            let (fresh, origin) = connect(&self.settings, self.build, &base).await;
            *current = fresh;
            *lock(&self.origin) = origin;
        }
        (current.client.clone(), current.made)
    }

    /// Whether the service is one that somebody named through the API.
    pub(super) fn is_strange(&self) -> bool {
        self.settings.endpoint_url.is_some() && self.settings.sending.lines.is_some()
    }

    /// Where the credentials in use came from; none before the first request.
    pub(super) fn credentials(&self) -> Option<String> {
        let origin = lock(&self.origin).read();
        match &self.settings.auth {
            Auth::DefaultChain => origin,
            Auth::Role(role) => Some(format!("role `{}` via {}", role.role_arn, origin?)),
            Auth::Keys(_) => Some("keys".to_owned()),
        }
    }

    /// The URL that a call would go to. Asks nobody: the call ends before it is sent.
    pub(super) async fn url<T>(&self, send: impl AsyncFnOnce(C) -> T) -> Option<Uri> {
        let seen = Seen::default();
        let connector = SharedHttpConnector::new(seen.clone());
        let nobody = Credentials::new("AKIAIOSFODNN7EXAMPLE", "none", None, None, NAME);
        let config = base(&self.settings.region, None)
            .await
            .config
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(nobody))
            .identity_cache(IdentityCache::no_cache())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let _ended = send((self.build)(&config, self.settings.endpoint_url.as_deref())).await;
        let url = lock(&seen.0).take();
        url?.parse().ok()
    }
}

/// Notes the URL of a request in place of sending it.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<StdMutex<Option<String>>>);

impl HttpConnector for Seen {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *lock(&self.0) = Some(request.uri().to_owned());
        HttpConnectorFuture::ready(Err(ConnectorError::user("not to be sent".into())))
    }
}

async fn connect<C>(
    settings: &Settings,
    build: fn(&SdkConfig, Option<&str>) -> C,
    base: &Base,
) -> (Current<C>, Origin) {
    let mut config =
        base.config.clone().into_builder().http_client(http::client(settings.sending.clone()));
    let provider = match &settings.auth {
        Auth::DefaultChain => None,
        Auth::Keys(keys) => Some(SharedCredentialsProvider::new(Credentials::new(
            keys.aws_access_key_id.as_str(),
            keys.aws_secret_access_key.expose(),
            None,
            None,
            NAME,
        ))),
        Auth::Role(given) => {
            let mut role = AssumeRoleProvider::builder(given.role_arn.as_str()).session_name(NAME);
            if let Some(external_id) = &given.external_id {
                role = role.external_id(external_id.as_str());
            }
            let role = Box::pin(role.configure(&base.config).build()).await;
            let provider = SharedCredentialsProvider::new(role);
            let watched = Watched { provider, origin: Origin::default() };
            Some(SharedCredentialsProvider::new(watched))
        }
    };
    if let Some(provider) = provider {
        // A cache of its own: the shared one would keep the entry of every target ever opened.
        config =
            config.credentials_provider(provider).identity_cache(IdentityCache::lazy().build());
    }
    let client = build(&config.build(), settings.endpoint_url.as_deref());
    let current = Current { client, base: base.number, made: Instant::now(), refused: false };
    (current, base.origin.clone())
}

/// The configuration of a region with the machine's own credentials, as it was loaded at some time.
#[derive(Clone)]
struct Base {
    config: SdkConfig,
    origin: Origin,
    /// How many were loaded before it.
    number: u64,
    loaded: Instant,
}

/// The latest base of each region, shared by its targets: the chain is asked once for all of them.
static BASES: Mutex<BTreeMap<String, Base>> = Mutex::const_new(BTreeMap::new());

/// The base of a region. If the one with the number `refused` is still the latest, it is loaded anew,
/// but for one that is younger than [`RELOAD_PAUSE`].
async fn base(region: &str, refused: Option<u64>) -> Base {
    let mut bases = BASES.lock().await;
    let latest = bases.get(region);
    let good = |base: &&Base| refused != Some(base.number) || base.loaded.elapsed() < RELOAD_PAUSE;
    if let Some(base) = latest.filter(good) {
        return base.clone();
    }
    let number = latest.map_or(0, |base| base.number + 1);
    let origin = Origin::default();
    // In a box: the future is large, and is in that of everything that opens a target.
    let config = Box::pin(load(region, &origin)).await;
    let base = Base { config, origin, number, loaded: Instant::now() };
    bases.insert(region.to_owned(), base.clone());
    base
}

/// Reads the environment and the profile files.
async fn load(region: &str, origin: &Origin) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(http::client(Sending::default()))
        .timeout_config(timeouts)
        // The delivery task paces and retries; retries in here would hide the service's throttling.
        .retry_config(RetryConfig::disabled());
    if let Ok(name) = AppName::new(NAME) {
        loader = loader.app_name(name);
    }
    let config = loader.load().await;
    let Some(provider) = config.credentials_provider() else { return config };
    let watched = Watched { provider, origin: origin.clone() };
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(watched)).build()
}

#[cfg(test)]
mod tests;
