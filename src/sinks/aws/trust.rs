//! Whether a role can be assumed without an external id, which a stranger could then do through us.
//!
//! The credentials that are had so are thrown away.

use aws_config::Region;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_types::error::metadata::ErrorMetadata;

use super::{NAME, base};
use crate::sinks::causes::chain;

/// What a role's trust policy does with who brings no external id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sinks) enum Trust {
    /// Lets them in.
    Open,
    /// Lets nobody in without more than that.
    AsksForMore,
    /// STS gave no answer that tells.
    Unknown,
}

/// Asks STS for the role's credentials, without an external id.
pub(in crate::sinks) async fn trust_of(region: &str, role_arn: &str) -> Trust {
    let base = base(region, None).await;
    let role = AssumeRoleProvider::builder(role_arn)
        .session_name(NAME)
        .region(Region::new(region.to_owned()))
        .configure(&base.config)
        .build();
    match Box::pin(role).await.provide_credentials().await {
        Ok(_) => Trust::Open,
        Err(error) => {
            let code = chain(&error)
                .find_map(|cause| cause.downcast_ref::<ErrorMetadata>())
                .and_then(ErrorMetadata::code);
            match code {
                Some("AccessDenied" | "AccessDeniedException") => Trust::AsksForMore,
                _ => Trust::Unknown,
            }
        }
    }
}
