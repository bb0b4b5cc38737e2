//! What syslog's entrance tells of itself: written by its sockets, read by `/status` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the sockets did.
#[derive(Debug, Default)]
pub struct SyslogBoard {
    pub(super) connections: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// What one reading says of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogReading {
    /// Connections over TCP that are open.
    pub connections: u64,
    /// Readings of a socket that are not kept yet; some for long mean that the journal takes none.
    pub waiting: u64,
    /// Messages kept since the process began, bad ones among them.
    pub messages: u64,
    /// Messages whose line fits the format not, which became dead letters.
    pub refused: u64,
}

impl SyslogBoard {
    #[must_use]
    pub fn read(&self) -> SyslogReading {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        SyslogReading {
            connections: of(&self.connections),
            waiting: of(&self.waiting),
            messages: of(&self.messages),
            refused: of(&self.refused),
        }
    }
}
