//! An answer's bytes, which count as held until they are written to their client: whoever asks again and again
//! and takes no answer is to fill no memory.

use axum::body::{Body, Bytes};

use crate::budget::Held;

struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body whose bytes count as held for as long as any of them is there.
pub fn held_answer(bytes: Bytes, held: Held) -> Body {
    Body::from(Bytes::from_owner(HeldBytes { bytes, _held: held }))
}
