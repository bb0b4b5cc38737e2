//! `sluicegate api-key`: the control API's first key, made without the API.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, load};
use crate::control::create_api_key;

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key; it is the last word printed, and shown only now
    ///
    /// Works while no daemon runs, and beside one that does.
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The settings file (.yaml, .toml or .json), for its `data_dir`; without one: ./sluicegate-data
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the key is for, at most 255 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

impl ApiKey {
    pub(super) fn run(self) -> Outcome {
        let ApiKey::Create(create) = self;
        let config = load(create.config.as_deref())?;
        let key = create_api_key(&config.data_dir, &config.control, &create.description)
            .map_err(Failure::work)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{key}")?;
        Ok(())
    }
}
