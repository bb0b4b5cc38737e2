//! What a reading of the relay says.

use crate::kafka::TopicFacts;

/// What one reading says of the relay.
#[derive(Clone, Debug)]
pub struct RelayReading {
    pub topic: String,
    /// What the topic is like; none before the brokers have told.
    pub facts: Option<TopicFacts>,
    /// What keeps it from working as it should, for people.
    pub error: Option<String>,
    /// Events that all in-sync replicas have, since the process began.
    pub written: u64,
    /// Events whose writing was not confirmed.
    pub failed: u64,
    /// Events whose confirmation is waited for.
    pub waiting: usize,
}
