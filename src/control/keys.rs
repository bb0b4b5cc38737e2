//! API keys and credentials' tokens: made, shown once, kept as hashes, compared in constant time.
//!
//! A token is the KSUID of its resource's id, `_`, and 21 random base-62 characters, as ngrok's are.
//! They hold 125 bits of chance, so a plain hash keeps them as well as a slow one would.

use rand::distr::{Alphanumeric, SampleString as _};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::object::Object;
use crate::sinks::Secret;

/// The field of the body that holds the hash; it is in no table, so no answer has it.
pub(super) const HASH: &str = "token_hash";

/// Random characters of a token.
const RANDOM: usize = 21;
/// Characters of a KSUID.
const KSUID: usize = 27;

/// Why a key does not open the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It does not have the form of a key.
    #[error("this is not an API key; `sluicegate api-key create` makes one")]
    Malformed,
    /// It is the id of a key.
    #[error("this is an API key's id, not the key, which is shown once when it is made")]
    Id,
    /// It is a credential's token, which opens ingest.
    #[error("this is a credential's token, which opens ingest; here an API key is needed")]
    Credential,
    /// It is none of ours, or was deleted, or its owner is not active.
    #[error("the API key is wrong")]
    Wrong,
    /// Somebody turned it off.
    #[error("it is turned off: whoever manages it can set `enabled` to true")]
    Off,
    #[error("it has expired: whoever manages it can change `expires_at`, or make a new one")]
    Expired,
}

impl BadKey {
    /// ngrok's code of the condition.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            BadKey::Malformed => "ERR_NGROK_202",
            BadKey::Id => "ERR_NGROK_208",
            BadKey::Credential => "ERR_NGROK_206",
            BadKey::Wrong => "ERR_NGROK_203",
            BadKey::Off => "ERR_SLUICEGATE_1356",
            BadKey::Expired => "ERR_SLUICEGATE_1357",
        }
    }
}

/// Makes the token of a resource.
pub(super) fn mint(id: &str) -> Secret {
    let ksuid = id.rsplit_once('_').map_or(id, |(_, ksuid)| ksuid);
    Secret::new(format!("{ksuid}_{}", Alphanumeric.sample_string(&mut rand::rng(), RANDOM)))
}

/// The hash that is kept of a token.
pub(super) fn hash(token: &Secret) -> String {
    hex::encode(digest(&SHA256, token.expose().as_bytes()))
}

/// The KSUID of a token's resource, if it has a token's form.
pub(super) fn ksuid_of(token: &str) -> Option<&str> {
    let (ksuid, random) = token.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let formed = ksuid.len() == KSUID && random.len() == RANDOM && digits(ksuid) && digits(random);
    formed.then_some(ksuid)
}

/// Whether a token is that of a resource.
pub(super) fn opens(token: &str, object: &Object) -> bool {
    let kept = object.text(HASH).as_bytes();
    bool::from(kept.ct_eq(hash(&Secret::new(token)).as_bytes())) && !kept.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_resource() {
        let token = mint("ak_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
        assert_eq!(ksuid_of(token.expose()), Some("0ujtsYcgvSTl8PAuAdqWYSMnLOv"));
        assert_eq!(token.expose().len(), 27 + 1 + 21);
        assert_ne!(mint("ak_0ujtsYcgvSTl8PAuAdqWYSMnLOv"), token);
        for text in ["", "x_y", "ak_0ujtsYcgvSTl8PAuAdqWYSMnLOv", &token.expose()[1..]] {
            assert_eq!(ksuid_of(text), None, "{text}");
        }
    }
}
