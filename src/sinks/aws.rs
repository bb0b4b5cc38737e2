//! Clients for AWS: one HTTP client for all, one base configuration a region.
//!
//! Sends nothing and reads no answers. Loading a configuration reads the environment and the
//! profile files; credentials are fetched with the first request.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex;

use super::auth::Auth;
use crate::https::CONNECT_TIMEOUT;

/// Time for one request, from connecting to the whole answer: 5 MiB at 5 Mbit/s, or a service that
/// is slow, but not a batch that hangs. A retry after it may deliver twice.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which an assumed role shows in CloudTrail, and the client in AWS's own logs.
const NAME: &str = "sluicegate";

/// Shared by all targets, so that they share connections and the parsed root certificates.
static HTTP_CLIENT: LazyLock<SharedHttpClient> =
    LazyLock::new(|| Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https());

/// The configuration of each region, with the machine's own credentials.
static BASES: Mutex<BTreeMap<String, SdkConfig>> = Mutex::const_new(BTreeMap::new());

/// The configuration for clients in a region, with the credentials that `auth` names.
///
/// The endpoint is the service's own, or what the environment says for it.
pub(super) async fn config(region: &str, auth: &Auth) -> SdkConfig {
    let base = base(region).await;
    let credentials = match auth {
        Auth::DefaultChain => return base,
        Auth::Keys { aws_access_key_id, aws_secret_access_key } => SharedCredentialsProvider::new(
            Credentials::new(aws_access_key_id, aws_secret_access_key.expose(), None, None, NAME),
        ),
        Auth::Role { role_arn, external_id } => {
            let mut role = AssumeRoleProvider::builder(role_arn).session_name(NAME);
            if let Some(external_id) = external_id {
                role = role.external_id(external_id);
            }
            SharedCredentialsProvider::new(role.configure(&base).build().await)
        }
    };
    // A cache of its own: the shared one would keep the entry of every target ever opened.
    base.into_builder()
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::lazy().build())
        .build()
}

async fn base(region: &str) -> SdkConfig {
    let mut bases = BASES.lock().await;
    if let Some(base) = bases.get(region) {
        return base.clone();
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(HTTP_CLIENT.clone())
        .timeout_config(timeouts)
        // The delivery task paces and retries; retries in here would hide the service's throttling.
        .retry_config(RetryConfig::disabled());
    if let Ok(name) = AppName::new(NAME) {
        loader = loader.app_name(name);
    }
    let base = loader.load().await;
    bases.insert(region.to_owned(), base.clone());
    base
}
