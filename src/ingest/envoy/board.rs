//! What Envoy's entrance tells of itself: written by its streams, read by `/status` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the streams did.
#[derive(Debug, Default)]
pub struct EnvoyBoard {
    pub(super) streams: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) passed_over: AtomicU64,
}

/// What one reading says of Envoy's entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvoyReading {
    /// Streams that are open.
    pub streams: u64,
    /// Messages that were read and are not kept yet; many for long mean that the journal takes none.
    pub waiting: u64,
    /// Messages kept since the process began.
    pub messages: u64,
    /// Entries of which the event was kept, or is a dead letter.
    pub entries: u64,
    /// Entries that told of no end.
    pub passed_over: u64,
}

impl EnvoyBoard {
    #[must_use]
    pub fn read(&self) -> EnvoyReading {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        EnvoyReading {
            streams: of(&self.streams),
            waiting: of(&self.waiting),
            messages: of(&self.messages),
            entries: of(&self.entries),
            passed_over: of(&self.passed_over),
        }
    }
}
