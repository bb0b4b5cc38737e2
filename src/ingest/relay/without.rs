//! The relay in a build without the feature `kafka`: there is none, and the settings say so.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{NotRelayed, RelayReading, RelaySettings};
use crate::event::Framed;
use crate::pipeline::{Pipeline, Sender, Taken};

const NO_CLIENT: &str = "this build has no client of Kafka";

/// Asks nobody.
///
/// # Errors
/// Always.
pub fn ask_relay(_: &RelaySettings, _: &Handle) -> Result<String, String> {
    Err(NO_CLIENT.to_owned())
}

/// A relay that runs.
#[derive(Debug)]
pub enum Relay {}

/// What it says of itself.
#[derive(Debug)]
pub enum RelayBoard {}

impl Relay {
    /// Refuses to.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: RelaySettings) -> std::io::Result<Arc<Relay>> {
        Err(std::io::Error::other(NO_CLIENT))
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<RelayBoard> {
        match *self {}
    }

    pub(in crate::ingest) async fn take(
        &self,
        _: &Pipeline,
        _: &Arc<Framed>,
        _: &Arc<Sender>,
    ) -> Result<Taken, NotRelayed> {
        match *self {}
    }
}

impl RelayBoard {
    /// Why the next body would not be written, if so.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match *self {}
    }

    #[must_use]
    pub fn read(&self) -> RelayReading {
        match *self {}
    }
}
