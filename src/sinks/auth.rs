//! How a target proves to AWS who it is.
//!
//! Says what was configured and checks its form; `aws.rs` turns it into credentials.

use std::fmt;

use hyper::Uri;

use super::arn::check_role;
use super::error::TargetError;
use super::secret::Secret;
use crate::https::has_possible_port;

/// Shortest and longest external id (STS API model, `externalIdType`).
const EXTERNAL_ID: std::ops::RangeInclusive<usize> = 2..=1_224;
/// Shortest and longest access key id (STS API model, `accessKeyIdType`).
const ACCESS_KEY_ID: std::ops::RangeInclusive<usize> = 16..=128;
/// Longest secret key: AWS gives 40 characters, emulators are less strict.
const MAX_SECRET_KEY: usize = 1_024;

/// Where a target's AWS credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// What the machine offers: environment, profile, web identity, container, instance.
    DefaultChain,
    /// A role that the machine's own credentials may assume.
    Role {
        role_arn: String,
        /// The external id that the role's trust policy asks for.
        external_id: Option<String>,
    },
    /// A fixed pair of keys.
    Keys {
        /// The access key's id, which is not secret.
        aws_access_key_id: String,
        /// The key that signs.
        aws_secret_access_key: Secret,
    },
}

impl Auth {
    /// Checks the form of every part.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        let wrong =
            |name, problem: &str| Err(TargetError::Auth { name, problem: problem.to_owned() });
        match self {
            Auth::DefaultChain => Ok(()),
            Auth::Role { role_arn, external_id } => {
                check_role(role_arn)?;
                let punctuation = "_+=,.@:/-";
                let allowed = |c: char| c.is_ascii_alphanumeric() || punctuation.contains(c);
                match external_id {
                    Some(id) if !EXTERNAL_ID.contains(&id.len()) => {
                        wrong("external_id", "must have 2 to 1,224 characters")
                    }
                    Some(id) if !id.chars().all(allowed) => wrong(
                        "external_id",
                        "must be made of ASCII letters, digits and the characters `_+=,.@:/-`",
                    ),
                    _ => Ok(()),
                }
            }
            Auth::Keys { aws_access_key_id, aws_secret_access_key } => {
                let secret = aws_secret_access_key.expose();
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if !ACCESS_KEY_ID.contains(&aws_access_key_id.len())
                    || !aws_access_key_id.chars().all(word)
                {
                    wrong("aws_access_key_id", "must be 16 to 128 ASCII letters and digits")
                } else if secret.is_empty() || secret.len() > MAX_SECRET_KEY {
                    wrong("aws_secret_access_key", "must have 1 to 1,024 characters")
                } else if !secret.chars().all(|c| c.is_ascii_graphic()) {
                    wrong("aws_secret_access_key", "must not have spaces or control characters")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// For status pages: `as role …`, without secrets.
impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::DefaultChain => f.write_str("with the machine's own credentials"),
            Auth::Role { role_arn, .. } => write!(f, "as role `{role_arn}`"),
            Auth::Keys { aws_access_key_id, .. } => write!(f, "with key `{aws_access_key_id}`"),
        }
    }
}

/// Checks that an endpoint is an `http` or `https` URL of a host, without query.
pub(super) fn check_endpoint(url: Option<&str>) -> Result<(), TargetError> {
    let Some(url) = url else { return Ok(()) };
    let usable = url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && has_possible_port(&uri)
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if usable {
        return Ok(());
    }
    Err(TargetError::Setting {
        name: "endpoint_url",
        problem: "must be the `http` or `https` URL of a host, such as `http://127.0.0.1:5000`"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, secret: &str) -> Auth {
        Auth::Keys { aws_access_key_id: id.to_owned(), aws_secret_access_key: Secret::new(secret) }
    }

    fn role(arn: &str, external_id: Option<&str>) -> Auth {
        Auth::Role { role_arn: arn.to_owned(), external_id: external_id.map(str::to_owned) }
    }

    const ROLE: &str = "arn:aws:iam::123456789012:role/sluicegate";

    #[test]
    fn each_part_of_auth_is_checked_by_name() {
        for (auth, error) in [
            (Auth::DefaultChain, None),
            (role(ROLE, None), None),
            (role(ROLE, Some("tenant-7")), None),
            (keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG"), None),
            (
                role("sluicegate", None),
                Some(
                    "`sluicegate` is not the ARN of an IAM role; the form is \
                     `arn:aws:iam::ACCOUNT:role/NAME`",
                ),
            ),
            (role(ROLE, Some("x")), Some("`external_id` must have 2 to 1,224 characters")),
            (
                role(ROLE, Some("tenant 7")),
                Some(
                    "`external_id` must be made of ASCII letters, digits and the characters \
                     `_+=,.@:/-`",
                ),
            ),
            (keys("", "x"), Some("`aws_access_key_id` must be 16 to 128 ASCII letters and digits")),
            (
                keys("AKIAIOSFODNN7EXAMPLE", ""),
                Some("`aws_secret_access_key` must have 1 to 1,024 characters"),
            ),
            (
                keys("AKIAIOSFODNN7EXAMPLE", "key\n"),
                Some("`aws_secret_access_key` must not have spaces or control characters"),
            ),
        ] {
            let found = auth.check().err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), error, "{auth:?}");
        }
    }

    #[test]
    fn auth_is_shown_without_its_secret() {
        let auth = keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI");
        assert_eq!(auth.to_string(), "with key `AKIAIOSFODNN7EXAMPLE`");
        assert!(!format!("{auth:?}").contains("wJalr"));
        assert_eq!(role(ROLE, Some("tenant-7")).to_string(), format!("as role `{ROLE}`"));
    }

    #[test]
    fn an_endpoint_is_the_url_of_a_host() {
        for url in ["http://127.0.0.1:5000", "https://vpce-1.kinesis.example/", "http://[::1]:80"] {
            assert_eq!(check_endpoint(Some(url)), Ok(()), "{url}");
        }
        for url in
            ["", "localhost", "localhost:5000", "ftp://x", "http://", "http://a/?b", "http://u:p@a"]
        {
            assert!(check_endpoint(Some(url)).is_err(), "{url}");
        }
    }
}
