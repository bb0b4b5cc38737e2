//! `sluicegate config`: the settings file's JSON Schema, for editors, and its annotated reference, for people.

use std::io::{self, Write as _};

use clap::Subcommand;

use super::Outcome;
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of the settings file
    Schema,
    /// Print every setting with what it is, its form and its default, as a settings file of comments
    Reference,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            ConfigCommand::Schema => {
                Ok(io::stdout().lock().write_all(config::SCHEMA.as_bytes())?)
            }
            ConfigCommand::Reference => {
                Ok(io::stdout().lock().write_all(config::reference().as_bytes())?)
            }
        }
    }
}
