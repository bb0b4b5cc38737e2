//! What one listener gives to connections: how many places, and how long a client may take over each
//! part of its side. Numbers only; `paced` and `places` obey them.

use std::time::Duration;

/// The least that a client must send of a body, or take of an answer, in bytes a second, once the first
/// seconds are over. A modem of 1990 is faster; one who is slower holds a place for nothing.
pub(super) const MIN_RATE: u64 = 1_024;

/// How long a client may take over a body before [`MIN_RATE`] counts: a few lost packets, each sent
/// again after seconds.
pub(super) const BODY_START: Duration = Duration::from_secs(10);

/// The limits of one listener. Each is a setting of `ingest.http` and of `api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at a time. One that comes when all places are taken gets the place of the one
    /// that has waited longest for a request; if none waits, it waits in the system's queue.
    pub max_connections: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Between two requests, and before the first.
    pub idle_timeout: Duration,
    /// How long a client that takes nothing of its answer is waited for; afterwards it must take at
    /// least 1 KiB a second.
    pub write_timeout: Duration,
}

/// What a connection takes at most, in bytes: its task, a head of the largest size, and an answer's buffer.
/// Measured with 2,000 half heads, rounded up. TLS has its own buffers beside.
const CONNECTION_BYTES: usize = 48 << 10;

/// What TLS adds: a record of each direction, and what waits to be encrypted.
const TLS_BYTES: usize = 48 << 10;

impl Default for ConnectionLimits {
    /// 1,024 connections, as senders need them; 10 s for a head, which even a lossy mobile network sends in two; 75 s of
    /// idleness, longer than any scraper's or sender's pause; 30 s for a client that takes nothing.
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            max_connections: 1_024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl ConnectionLimits {
    /// What all connections take at most, in bytes, apart from the bodies of their requests.
    #[must_use]
    pub fn memory(&self, is_tls: bool) -> usize {
        self.max_connections * (CONNECTION_BYTES + if is_tls { TLS_BYTES } else { 0 })
    }

    /// Most connections from one address, but for loopback and trusted proxies: half of all places, so
    /// that no single client takes them all.
    pub(super) fn for_one_address(&self) -> usize {
        (self.max_connections / 2).max(1)
    }
}
