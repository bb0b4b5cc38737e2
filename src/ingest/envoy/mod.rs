//! Envoy's Access Log Service v3 as an entrance: gRPC streams on which Envoys tell of requests and connections.
//!
//! Nobody is answered: the protocol has no acknowledgement. A stream is read only as fast as the journal takes what
//! it brings; then Envoy's own buffer fills, and what does not fit there Envoy drops and counts itself. What was
//! read is kept as `durability` says; what Envoy holds when it or we die is lost.

mod board;
#[cfg(feature = "envoy")]
mod message;
#[cfg(feature = "envoy")]
mod service;

use std::net::SocketAddr;

use crate::http::{BearerTokens, ConnectionLimits, TlsSettings};

pub use board::{EnvoyBoard, EnvoyReading};
#[cfg(feature = "envoy")]
pub use service::Envoy;

/// The settings of Envoy's entrance.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvoySettings {
    pub listen: SocketAddr,
    /// Who may send, by their `initial_metadata`; everyone if there is none, which only a loopback address may have,
    /// or one where clients are known by certificates.
    pub bearer_tokens: BearerTokens,
    /// Whether TLS is spoken, and with which certificate.
    pub tls: Option<TlsSettings>,
    /// How many connections there may be, and how long one may have no stream.
    pub connections: ConnectionLimits,
    /// The account that the events belong to.
    pub account_id: Option<String>,
}

/// Most bytes that the messages of all streams may hold together, with what is kept for each stream.
pub const ENVOY_MEMORY: usize = 64 << 20;

/// In a build without the feature `envoy` there is none.
#[cfg(not(feature = "envoy"))]
#[derive(Debug)]
pub enum Envoy {}

#[cfg(not(feature = "envoy"))]
impl Envoy {
    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> std::sync::Arc<EnvoyBoard> {
        match *self {}
    }

    /// Takes nothing more.
    pub async fn stop(self) {
        match self {}
    }
}
