//! `sluicegate config schema`: the settings file's JSON Schema, for editors.

use std::io::{self, Write as _};

use clap::Subcommand;

use super::Outcome;
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of the settings file
    Schema,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            ConfigCommand::Schema => {
                Ok(io::stdout().lock().write_all(config::SCHEMA.as_bytes())?)
            }
        }
    }
}
