//! What can be wrong between a destination and its service, how each trouble is told from an answer, and
//! the short advice of a fault's message.
//!
//! `transport.rs` tells those without an answer. Whether a fault is waited out or pauses the destination,
//! its kind says (`refusal.rs`).

/// A trouble that somebody can mend, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host's name is not found.
    Name,
    /// Nobody answers at the address, or not in time.
    Unreachable,
    /// TLS does not come about, or the certificate is not trusted.
    Tls,
    /// The proxy of the environment is wrong, or does not let the request through.
    Proxy,
    /// What answered is not the service.
    Stranger,
    /// This machine's clock is off.
    Clock,
    /// There are no credentials.
    NoCredentials,
    /// AWS does not know the access key.
    UnknownKey,
    /// The signature does not match.
    WrongSecret,
    /// The session's credentials have expired.
    Expired,
    /// A service that is not AWS's does not accept who asks, or what it asks for.
    Refused,
    /// The role does not let the daemon in.
    RoleTrust,
    /// The role lets the daemon in without an external id.
    OpenRole,
    /// An action is not allowed.
    MissingAction,
    /// The key that encrypts the target may not be used by us.
    KeyDenied,
    /// The key that encrypts the target cannot be used.
    Key,
    /// The target is not there.
    MissingTarget,
    /// The target, or the endpoint, is in another region.
    WrongRegion,
    /// The target is not of a kind that takes events.
    WrongKind,
}

impl Trouble {
    /// What an answer's error says by its code, text and status, if it is one that somebody can mend.
    pub(super) fn of_answer(code: &str, text: &str, status: Option<u16>) -> Option<Trouble> {
        let says = |part: &str| text.contains(part);
        Some(match code {
            "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => Trouble::Clock,
            "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "NotAuthorized"
            | "UnauthorizedOperation" => Trouble::MissingAction,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Trouble::Expired,
            "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "InvalidTokenException"
            | "UnrecognizedClient"
            | "UnrecognizedClientException" => Trouble::UnknownKey,
            "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidSignature"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch" => {
                // "Signature expired: T is now earlier than T", "Signature not yet current: …",
                // "Credential should be scoped to a valid region".
                if says("Signature expired") || says("Signature not yet current") {
                    Trouble::Clock
                } else if says("scoped to a valid region") {
                    Trouble::WrongRegion
                } else {
                    Trouble::WrongSecret
                }
            }
            "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => {
                Trouble::NoCredentials
            }
            "KMSAccessDeniedException" => Trouble::KeyDenied,
            "InvalidKMSResourceException"
            | "KMSDisabledException"
            | "KMSInvalidStateException"
            | "KMSNotFoundException"
            | "KMSOptInRequired" => Trouble::Key,
            "ResourceNotFoundException" => Trouble::MissingTarget,
            "InvalidSourceException" => Trouble::WrongKind,
            "" if status == Some(407) => Trouble::Proxy,
            _ => return None,
        })
    }

    /// The same where the status is all that is known of an answer.
    pub(super) fn of_status(status: u16) -> Option<Trouble> {
        Some(match status {
            300..=399 => Trouble::Stranger,
            401 | 403 => Trouble::Refused,
            404 => Trouble::MissingTarget,
            407 => Trouble::Proxy,
            _ => return None,
        })
    }

    /// What would help, for a fault's message; `action` was asked for on `resource`.
    pub(super) fn advice(self, action: &str, resource: &str) -> Option<String> {
        Some(match self {
            Trouble::MissingAction => format!("allow the IAM action `{action}` on `{resource}`"),
            Trouble::RoleTrust => "the role's trust policy must name this machine's identity (and the \
                 external id, if it asks for one), and that identity needs `sts:AssumeRole` on the role"
                .to_owned(),
            Trouble::NoCredentials => {
                "give the target `auth`, or this machine an AWS identity".to_owned()
            }
            Trouble::Expired => "the credentials have expired: renew them".to_owned(),
            Trouble::UnknownKey => "AWS does not know this access key, or the temporary credentials are \
                 broken: check `aws_access_key_id` and the region in the ARN"
                .to_owned(),
            Trouble::WrongSecret => "the signature does not match: check `aws_secret_access_key` and \
                 this machine's clock"
                .to_owned(),
            Trouble::Clock => "check this machine's clock".to_owned(),
            Trouble::KeyDenied => format!(
                "allow the IAM action `kms:GenerateDataKey` on the key that encrypts `{resource}`"
            ),
            Trouble::Key => format!("look at the KMS key that encrypts `{resource}`"),
            Trouble::MissingTarget => format!(
                "create `{resource}`, or correct the ARN: its region and account count too"
            ),
            Trouble::WrongRegion => "correct the region in the ARN, or `endpoint_url`".to_owned(),
            Trouble::Proxy => "look at the proxy that the environment names".to_owned(),
            Trouble::WrongKind => format!("the source of `{resource}` must be Direct PUT"),
            // Their messages say it.
            Trouble::Name
            | Trouble::Unreachable
            | Trouble::Tls
            | Trouble::Stranger
            | Trouble::Refused
            | Trouble::OpenRole => return None,
        })
    }
}
