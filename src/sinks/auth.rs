//! How a target proves to AWS who it is.
//!
//! Says what was configured and checks its form; `aws.rs` turns it into credentials.

use std::fmt;

use hyper::Uri;

use super::arn::RoleArn;
use super::error::{AUTH, SETTING};
use crate::form::{Checked, Door, Form, Nature, Rule, SecretOf, Wrong, field, section};
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
    Role(Role),
    /// A fixed pair of keys.
    Keys(Keys),
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub role_arn: Checked<RoleArn>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<Checked<ExternalId>>,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key's id, which is not secret.
    pub aws_access_key_id: Checked<AccessKeyId>,
    /// The key that signs.
    pub aws_secret_access_key: SecretOf<SecretKey>,
}

impl Auth {
    /// Asks for `auth`; the machine's own credentials where it is left out.
    pub(super) fn ask<D: Door>(d: &mut D, it: Option<&Auth>) -> Auth {
        let given = it.filter(|it| **it != Auth::DefaultChain);
        d.group(section("auth", "Who delivers. Left out: the AWS default chain."), given)
            .unwrap_or(Auth::DefaultChain)
    }

    /// A fixed pair of keys, for tests.
    #[cfg(test)]
    pub fn of_keys(id: &str, secret: &str) -> Auth {
        Auth::Keys(Keys {
            aws_access_key_id: Checked::new(id).unwrap(),
            aws_secret_access_key: SecretOf::new(secret).unwrap(),
        })
    }
}

impl Form for Auth {
    fn form<D: Door>(d: &mut D, it: Option<&Auth>) -> Option<Auth> {
        let (role, keys) = match it {
            Some(Auth::Role(role)) => (Some(role), None),
            Some(Auth::Keys(keys)) => (None, Some(keys)),
            _ => (None, None),
        };
        let role = d.variant(section("role", "A role to assume."), role);
        let keys = d.variant(section("creds", "An access key."), keys);
        role.map(Auth::Role).or(keys.map(Auth::Keys))
    }
}

impl Form for Role {
    fn form<D: Door>(d: &mut D, it: Option<&Role>) -> Option<Role> {
        let role_arn = d.required(
            field(
                "role_arn",
                "A role that the machine's own credentials may assume.",
                "arn:aws:iam::123456789012:role/sluicegate",
            ),
            it.map(|it| &it.role_arn),
        );
        let external_id = d.optional(
            field("external_id", "What the role's trust policy asks for.", "my-tenant"),
            it.and_then(|it| it.external_id.as_ref()),
        );
        Some(Role { role_arn: role_arn?, external_id })
    }
}

impl Form for Keys {
    fn form<D: Door>(d: &mut D, it: Option<&Keys>) -> Option<Keys> {
        let id = d.required(
            field("aws_access_key_id", "The access key's id.", "AKIAIOSFODNN7EXAMPLE"),
            it.map(|it| &it.aws_access_key_id),
        );
        let secret = d.required(
            field("aws_secret_access_key", "The key that signs.", "${env:AWS_SECRET_ACCESS_KEY}"),
            it.map(|it| &it.aws_secret_access_key),
        );
        Some(Keys { aws_access_key_id: id?, aws_secret_access_key: secret? })
    }
}

/// What [`EXTERNAL_ID`] allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalId;

impl Rule for ExternalId {
    fn check(text: &str) -> Result<(), Wrong> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        if !EXTERNAL_ID.contains(&text.len()) {
            return Err(Wrong::must(AUTH, "must have 2 to 1,224 characters"));
        }
        if !text.chars().all(allowed) {
            let problem = "must be made of ASCII letters, digits and the characters `_+=,.@:/-`";
            return Err(Wrong::must(AUTH, problem));
        }
        Ok(())
    }
}

/// What [`ACCESS_KEY_ID`] allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyId;

impl Rule for AccessKeyId {
    const NATURE: Nature = Nature::Identity;

    fn check(text: &str) -> Result<(), Wrong> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match ACCESS_KEY_ID.contains(&text.len()) && text.chars().all(word) {
            true => Ok(()),
            false => Err(Wrong::must(AUTH, "must be 16 to 128 ASCII letters and digits")),
        }
    }
}

/// What [`MAX_SECRET_KEY`] allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey;

impl Rule for SecretKey {
    fn check(text: &str) -> Result<(), Wrong> {
        if text.is_empty() || text.len() > MAX_SECRET_KEY {
            return Err(Wrong::must(AUTH, "must have 1 to 1,024 characters"));
        }
        match text.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(()),
            false => Err(Wrong::must(AUTH, "must not have spaces or control characters")),
        }
    }
}

/// For status pages: `as role …`, without secrets.
impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::DefaultChain => f.write_str("with the machine's own credentials"),
            Auth::Role(role) => write!(f, "as role `{}`", role.role_arn),
            Auth::Keys(keys) => write!(f, "with key `{}`", keys.aws_access_key_id),
        }
    }
}

/// The `http` or `https` URL of a host, without query, in place of a service's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint;

impl Endpoint {
    /// Asks for `endpoint_url`.
    pub(super) fn ask<D: Door>(
        d: &mut D,
        it: Option<&Checked<Endpoint>>,
    ) -> Option<Checked<Endpoint>> {
        let about = "Another address for the service: an emulator, a private endpoint. https, or http to this machine and to what outbound.allow lists.";
        d.optional(field("endpoint_url", about, "http://127.0.0.1:5000"), it)
    }
}

impl Rule for Endpoint {
    const NATURE: Nature = Nature::Address;

    fn check(text: &str) -> Result<(), Wrong> {
        let usable = text.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.query().is_none()
                && has_possible_port(&uri)
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        match usable {
            true => Ok(()),
            false => Err(Wrong::must(
                SETTING,
                "must be the `http` or `https` URL of a host, such as `http://127.0.0.1:5000`",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<R: Rule>(name: &str, text: &str) -> Option<String> {
        Checked::<R>::new(text).err().map(|wrong| wrong.of(name))
    }

    const ROLE: &str = "arn:aws:iam::123456789012:role/sluicegate";

    #[test]
    fn each_part_of_auth_is_checked_by_name() {
        for (found, expected) in [
            (problem::<RoleArn>("role_arn", ROLE), None),
            (
                problem::<RoleArn>("role_arn", "sluicegate"),
                Some(
                    "`sluicegate` is not the ARN of an IAM role; the form is \
                     `arn:aws:iam::ACCOUNT:role/NAME`",
                ),
            ),
            (problem::<ExternalId>("external_id", "tenant-7"), None),
            (
                problem::<ExternalId>("external_id", "x"),
                Some("`external_id` must have 2 to 1,224 characters"),
            ),
            (
                problem::<ExternalId>("external_id", "tenant 7"),
                Some(
                    "`external_id` must be made of ASCII letters, digits and the characters \
                     `_+=,.@:/-`",
                ),
            ),
            (problem::<AccessKeyId>("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE"), None),
            (
                problem::<AccessKeyId>("aws_access_key_id", ""),
                Some("`aws_access_key_id` must be 16 to 128 ASCII letters and digits"),
            ),
            (problem::<SecretKey>("aws_secret_access_key", "wJalrXUtnFEMI/K7MDENG"), None),
            (
                problem::<SecretKey>("aws_secret_access_key", ""),
                Some("`aws_secret_access_key` must have 1 to 1,024 characters"),
            ),
            (
                problem::<SecretKey>("aws_secret_access_key", "key\n"),
                Some("`aws_secret_access_key` must not have spaces or control characters"),
            ),
        ] {
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn auth_is_shown_without_its_secret() {
        let auth = Auth::of_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI");
        assert_eq!(auth.to_string(), "with key `AKIAIOSFODNN7EXAMPLE`");
        assert!(!format!("{auth:?}").contains("wJalr"));
        let role = Role { role_arn: Checked::new(ROLE).unwrap(), external_id: None };
        assert_eq!(Auth::Role(role).to_string(), format!("as role `{ROLE}`"));
    }

    #[test]
    fn an_endpoint_is_the_url_of_a_host() {
        for url in ["http://127.0.0.1:5000", "https://vpce-1.kinesis.example/", "http://[::1]:80"] {
            assert_eq!(Endpoint::check(url), Ok(()), "{url}");
        }
        for url in
            ["", "localhost", "localhost:5000", "ftp://x", "http://", "http://a/?b", "http://u:p@a"]
        {
            assert!(Endpoint::check(url).is_err(), "{url}");
        }
    }
}
