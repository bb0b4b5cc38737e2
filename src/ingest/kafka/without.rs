//! Kafka ingest in a build without the feature `kafka`: there is none, and the settings say so.

use std::sync::Arc;

use super::{CannotConsume, KafkaReading, KafkaSettings};
use crate::pipeline::Pipeline;

/// Kafka ingest that runs.
#[derive(Debug)]
pub enum Kafka {}

/// What it says of itself.
#[derive(Debug)]
pub enum KafkaBoard {}

const NO_CLIENT: &str = "this build has no client of Kafka";

/// Asks nobody.
///
/// # Errors
/// Always.
pub fn ask_kafka(_: &KafkaSettings) -> Result<String, String> {
    Err(NO_CLIENT.to_owned())
}

impl Kafka {
    /// Refuses to.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: KafkaSettings, _: Arc<Pipeline>) -> Result<Kafka, CannotConsume> {
        Err(CannotConsume(NO_CLIENT.to_owned()))
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<KafkaBoard> {
        match *self {}
    }

    /// Takes nothing more in.
    pub fn stop(&self) {
        match *self {}
    }

    /// Leaves the group.
    pub async fn leave(self) {
        match self {}
    }
}

impl KafkaBoard {
    #[must_use]
    pub fn read(&self) -> KafkaReading {
        match *self {}
    }
}
