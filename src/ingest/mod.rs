//! The entrances: events come in, are framed, capped and checked, and are kept before the sender
//! gets its answer.
//!
//! There are HTTP, Kafka, log files, standard input, syslog and Envoy's streams. What becomes of an accepted event is the pipeline's matter.

mod conversion;
mod counted;
mod decompress;
mod envoy;
mod files;
mod http;
mod kafka;
mod keeping;
mod letter;
mod lines;
mod relay;
mod stdin;
mod syslog;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::formats::{Format, Formats};
use crate::http::{BearerTokens, ConnectionLimits, TlsSettings, TrustedProxies};

pub use envoy::{ENVOY_MEMORY, Envoy, EnvoyBoard, EnvoyReading, EnvoySettings};
pub use files::{CannotFollow, FileSettings, Files, FilesBoard, FilesReading};
pub use http::router;
pub use kafka::{
    CannotConsume, Kafka, KafkaBoard, KafkaReading, KafkaSettings, ask_kafka, check_kafka_property,
};
pub use lines::{Lines, read_lines};
pub use relay::{Relay, RelayBoard, RelayReading, RelaySettings, ask_relay, check_relay_property};
pub use stdin::Stdin;
pub use syslog::{Syslog, SyslogBoard, SyslogReading, SyslogSettings};

/// The settings of HTTP ingest. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    /// Who may send; everyone if there is none, which only a loopback address may have.
    pub bearer_tokens: BearerTokens,
    /// Largest body as it is sent.
    pub max_body: usize,
    /// Largest body after decompression.
    pub max_decompressed: usize,
    pub max_event: usize,
    /// Most that all bodies may hold together, with what is made of them until the journal has it.
    pub max_memory: usize,
    /// How many connections there may be, and how long they may take.
    pub connections: ConnectionLimits,
    /// Whether TLS is spoken, and with which certificate.
    pub tls: Option<TlsSettings>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Where bodies are written instead of being matched and kept here.
    pub relay: Option<RelaySettings>,
    /// The formats that `?format=` may name beside those of the proxies.
    pub formats: Formats,
}

/// What those entrances tell of themselves that do, each if it is there.
#[derive(Clone, Debug, Default)]
pub struct Boards {
    pub kafka: Option<Arc<KafkaBoard>>,
    pub files: Option<Arc<FilesBoard>>,
    pub syslog: Option<Arc<SyslogBoard>>,
    pub envoy: Option<Arc<EnvoyBoard>>,
    pub relay: Option<Arc<RelayBoard>>,
}

/// One reading of all boards.
#[derive(Debug)]
pub struct Readings {
    pub kafka: Option<KafkaReading>,
    pub files: Option<FilesReading>,
    pub syslog: Option<SyslogReading>,
    pub envoy: Option<EnvoyReading>,
    pub relay: Option<RelayReading>,
}

impl Boards {
    #[must_use]
    pub fn read(&self) -> Readings {
        Readings {
            kafka: self.kafka.as_ref().map(|it| it.read()),
            files: self.files.as_ref().map(|it| it.read()),
            syslog: self.syslog.as_ref().map(|it| it.read()),
            envoy: self.envoy.as_ref().map(|it| it.read()),
            relay: self.relay.as_ref().map(|it| it.read()),
        }
    }
}

/// The settings of standard input as an entrance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdinSettings {
    /// Largest single event, in bytes.
    pub max_event: usize,
    /// How its lines are written, if they are those of an access log and no events.
    pub format: Option<Format>,
}

impl Default for HttpSettings {
    /// Loopback port 4180, without a token.
    fn default() -> HttpSettings {
        HttpSettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4180),
            bearer_tokens: BearerTokens::default(),
            max_body: 16 * 1024 * 1024,
            max_decompressed: 64 * 1024 * 1024,
            max_event: 1024 * 1024,
            max_memory: 160 * 1024 * 1024,
            connections: ConnectionLimits::default(),
            tls: None,
            trusted_proxies: TrustedProxies::default(),
            relay: None,
            formats: Formats::default(),
        }
    }
}
