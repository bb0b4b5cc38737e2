//! The relay: bodies that came over HTTP are checked and written to a topic of Kafka, and nothing of them is kept
//! here.
//!
//! "Accepted" means that all in-sync replicas have every event of the body. Where that is not confirmed, some events
//! may have been written all the same, and a body that is sent again brings copies of them.

#[cfg(feature = "kafka")]
mod board;
mod reading;
#[cfg(feature = "kafka")]
mod running;
#[cfg(not(feature = "kafka"))]
mod without;

use crate::kafka::{EventKey, PropertyError, TopicSettings, check_property};
use crate::pipeline::NotTaken;

#[cfg(feature = "kafka")]
pub use board::RelayBoard;
pub use reading::RelayReading;
#[cfg(feature = "kafka")]
pub use running::{Relay, ask_relay};
#[cfg(not(feature = "kafka"))]
pub use without::{Relay, RelayBoard, ask_relay};

/// The settings of the relay.
#[derive(Clone, Debug, PartialEq)]
pub struct RelaySettings {
    pub to: TopicSettings,
    /// By what events are spread over partitions.
    pub key: EventKey,
}

/// Properties that have a setting of their own, or that only we may set.
const OWNED: [(&str, &str); 8] = [
    ("bootstrap.servers", "use the setting `brokers`"),
    ("metadata.broker.list", "use the setting `brokers`"),
    ("acks", "a 200 means that all in-sync replicas have every event"),
    ("request.required.acks", "a 200 means that all in-sync replicas have every event"),
    ("enable.idempotence", "what the client repeats by itself comes once"),
    ("message.max.bytes", "it is what the topic takes"),
    ("statistics.interval.ms", "nobody reads the statistics"),
    ("transactional.id", "bodies are no transactions"),
];

/// Checks one property of the relay's by itself, without opening anything.
///
/// # Errors
/// When it is ours, or the client refuses it.
pub fn check_relay_property(name: &str, value: &str) -> Result<(), PropertyError> {
    check_property(&OWNED, name, value)
}

/// Why a body was not relayed.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(feature = "kafka"),
    expect(dead_code, reason = "without a client nothing is relayed")
)]
pub(super) enum NotRelayed {
    /// Its events were not checked.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// No producer, or no room in its queue: nothing was written.
    #[error("the relay cannot write: {0}; nothing of this body was written, send it again later")]
    Nothing(String),
    /// Not all of it was confirmed.
    #[error(
        "the brokers confirmed {written} of the body's events and not the others: {cause}; send it again: copies of \
         an event have its `event_id`, if it brings one"
    )]
    Unconfirmed {
        written: usize,
        /// The client's own words.
        cause: String,
    },
}

impl NotRelayed {
    /// The stable code that programs may branch on.
    pub(super) fn code(&self) -> &'static str {
        match self {
            NotRelayed::NotTaken(cause) => cause.code(),
            NotRelayed::Nothing(_) => "ERR_SLUICEGATE_1411",
            NotRelayed::Unconfirmed { .. } => "ERR_SLUICEGATE_1412",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_200_means_is_not_for_settings() {
        let check = |name, value| check_relay_property(name, value).is_ok();
        assert!(check("linger.ms", "20"));
        assert!(!check("acks", "1"));
        #[cfg(feature = "kafka")]
        assert!(!check("linger.msec", "20"));
    }
}
