//! Bodies of requests to AWS, written once: what a record becomes goes straight into the bytes that are
//! signed and sent.
//!
//! The SDK's own way would copy each record into an entry, that into base64 and that into JSON. Here it
//! makes the request around the body: where it goes, as whom, signed. What a service counts of a record
//! is `batch`'s matter, and follows from its length; tests hold the two together.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::event::next_special;

/// Writes `pieces` as one base64 text.
pub(super) fn base64<'a>(out: &mut Vec<u8>, pieces: impl IntoIterator<Item = &'a [u8]>) {
    // Bytes that wait for a group of three to be whole.
    let (mut rest, mut waiting) = ([0; 3], 0);
    for piece in pieces {
        let mut piece = piece;
        while waiting > 0 && waiting < 3 && !piece.is_empty() {
            rest[waiting] = piece[0];
            waiting += 1;
            piece = &piece[1..];
        }
        if waiting == 3 {
            encode(out, &rest);
            waiting = 0;
        }
        let (whole, left) = piece.split_at(piece.len() - piece.len() % 3);
        encode(out, whole);
        for byte in left {
            rest[waiting] = *byte;
            waiting += 1;
        }
    }
    encode(out, &rest[..waiting]);
}

fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[at..]);
    debug_assert_eq!(written.ok(), Some(out.len() - at), "the room is as long as its text");
}

/// Writes a string of JSON with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut bytes = text.as_bytes();
    loop {
        let at = next_special(bytes, 0);
        let Some(&special) = bytes.get(at) else { break };
        out.extend_from_slice(&bytes[..at]);
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', special]),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// What puts a body in the place of the one that the SDK wrote, before it is signed.
pub(super) fn in_place(body: Vec<u8>) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    let body = Bytes::from(body);
    move |request| {
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_make_the_base64_of_all_of_them(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 0..8),
        ) {
            let mut out = b"before".to_vec();
            base64(&mut out, pieces.iter().map(Vec::as_slice));
            prop_assert_eq!(out, format!("before{}", STANDARD.encode(pieces.concat())).into_bytes());
        }

        #[test]
        fn a_string_is_read_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
