//! Signatures of the Standard Webhooks scheme, version 1: HMAC-SHA256 over id, time and body.
//!
//! Sends nothing. The headers' names are the scheme's: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::request::Builder;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::super::error::SETTING;
use crate::event::Record;
use crate::form::{Rule, SecretOf, Wrong};

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret's key (Standard Webhooks, "signature scheme").
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret as receivers have it: `whsec_` and base64 of 24 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SigningSecret;

impl Rule for SigningSecret {
    fn check(text: &str) -> Result<(), Wrong> {
        match key_of(text) {
            Some(_) => Ok(()),
            None => Err(Wrong::must(
                SETTING,
                "must be `whsec_` followed by 24 to 64 random bytes in base64",
            )),
        }
    }
}

fn key_of(text: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    KEY.contains(&key.len()).then_some(key)
}

/// The keys that requests are signed with; a receiver needs one of them.
#[derive(Debug)]
pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    pub(super) fn new(secrets: &[SecretOf<SigningSecret>]) -> Signer {
        let keys = secrets.iter().filter_map(|it| key_of(it.expose()));
        Signer(keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)).collect())
    }

    /// A request with the scheme's headers, if there is anything to sign with; `body` is what the receiver has once
    /// it has undone the content's encoding.
    pub(super) fn sign(&self, request: Builder, id: &str, body: &[u8]) -> Builder {
        if self.0.is_empty() {
            return request;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = since.as_secs();
        let signatures: Vec<String> =
            self.0.iter().map(|key| signature(key, id, time, body)).collect();
        request
            .header("webhook-id", id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", signatures.join(" "))
    }
}

fn signature(key: &hmac::Key, id: &str, time: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{time}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// The id of a message, the same whenever the same records go out together: the event's own id where it is one
/// event and its id can stand there, else a hash of the ids.
pub(super) fn id_of<'r>(records: impl ExactSizeIterator<Item = &'r Record> + Clone) -> String {
    let alone = records.clone().next().filter(|_| records.len() == 1);
    let fits = |id: &str| id.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
    if let Some(record) = alone.filter(|it| !it.event_id.is_empty() && fits(&it.event_id)) {
        return record.event_id.to_string();
    }
    let mut ids = Vec::new();
    for record in records {
        ids.extend_from_slice(&(record.event_id.len() as u64).to_le_bytes());
        ids.extend_from_slice(record.event_id.as_bytes());
    }
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest(&SHA256, &ids).as_ref()[..20]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn the_signature_is_that_of_the_schemes_own_example() {
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_in_base64_behind_its_prefix() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_one) in [
            (of(24), true),
            (of(64), true),
            (of(23), false),
            (of(65), false),
            (STANDARD.encode(vec![7; 32]), false),
            ("whsec_?".to_owned(), false),
            ("whsec_".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(SigningSecret::check(&text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn a_message_keeps_its_id_and_another_has_another() {
        let record = |id: &str| Record {
            event_id: id.into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(b"{}"),
            hops: 0,
        };
        let of = |ids: &[&str]| {
            let records: Vec<Record> = ids.iter().map(|id| record(id)).collect();
            id_of(records.iter())
        };
        assert_eq!(of(&["ev_1"]), "ev_1");
        let strange = ["a b", "a.b", "ä\n", ""];
        for id in strange {
            assert!(of(&[id]).starts_with("msg_"), "{id}");
        }
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        let all = [of(&["a", "b"]), of(&["b", "a"]), of(&["ab", ""]), of(&["a"]), of(&["a b"])];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
