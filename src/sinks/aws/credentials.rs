//! Where the credentials in use came from, for `/status`.
//!
//! Watches the SDK's providers; provides none itself, and keeps no secret.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use crate::lock::lock;

/// The place of the last credentials that were had; none before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin(Arc<Mutex<Option<String>>>);

impl Origin {
    pub(super) fn read(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    fn note(&self, credentials: &Credentials) {
        let place = place(credentials);
        *lock(&self.0) = Some(place);
    }
}

/// A provider whose credentials' origin is noted.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) provider: SharedCredentialsProvider,
    pub(super) origin: Origin,
}

impl Watched {
    async fn provide(&self) -> aws_credential_types::provider::Result {
        let credentials = sound(self.provider.provide_credentials().await?)?;
        self.origin.note(&credentials);
        Ok(credentials)
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}

/// Refuses credentials that cannot stand in a request's head, over which the SDK would panic.
fn sound(credentials: Credentials) -> Result<Credentials, CredentialsError> {
    let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let token = credentials.session_token().unwrap_or_default();
    match is_visible(credentials.access_key_id()) && is_visible(token) {
        true => Ok(credentials),
        false => Err(CredentialsError::provider_error(
            "the key or the token that was given holds other characters than visible ASCII",
        )),
    }
}

/// What the SDK says of where credentials came from, in the words of AWS's documentation.
fn place(credentials: &Credentials) -> String {
    let features = credentials.get_property::<Vec<Feature>>().map_or(&[][..], Vec::as_slice);
    let has = |feature: &Feature| features.contains(feature);
    // A profile may name another source, which is listed beside it.
    let from = if has(&Feature::CredentialsProfile)
        || has(&Feature::CredentialsProfileSourceProfile)
        || has(&Feature::CredentialsProfileNamedProvider)
    {
        return format!("profile file {}", profile_file());
    } else if has(&Feature::CredentialsEnvVars) {
        "environment"
    } else if has(&Feature::CredentialsStsAssumeRoleWebId)
        || has(&Feature::CredentialsProfileStsWebIdToken)
        || has(&Feature::CredentialsEnvVarsStsWebIdToken)
    {
        "web identity token"
    } else if has(&Feature::CredentialsHttp) {
        "container"
    } else if has(&Feature::CredentialsImds) {
        "instance metadata"
    } else if has(&Feature::CredentialsProcess) {
        "process"
    } else {
        "another source of the default chain"
    };
    from.to_owned()
}

/// The profile files by their names in the environment, or where they are by default.
fn profile_file() -> String {
    let file = |variable: &str, default: &str| {
        std::env::var(variable).unwrap_or_else(|_| default.to_owned())
    };
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    let config = file("AWS_CONFIG_FILE", "~/.aws/config");
    format!("`{credentials}` (or `{config}`)")
}
