//! `sluicegate reload`: has a running daemon read its settings file again, and tells what came of it.

use std::io::{self, Write as _};

use axum::http::Method;
use clap::Args;

use super::access::ToDaemon;
use super::api::Remote;
use super::{Outcome, OutputFormat, block_on};
use crate::api::CONFIRM_REMOVAL;
use crate::report::counted;

#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Take the file also if it takes away all destinations or subscriptions, or most of them
    #[arg(long)]
    confirm_removal: bool,
    #[command(flatten)]
    to: ToDaemon,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Reload {
    pub(super) fn run(self) -> Outcome {
        let mut remote = Remote::to(&self.to)?;
        if self.confirm_removal {
            remote = remote.with_header(CONFIRM_REMOVAL, "true");
        }
        let answer = block_on(remote.must(Method::POST, "/reload", None))??;
        let mut out = io::stdout().lock();
        if self.output == OutputFormat::Json {
            return Ok(writeln!(out, "{answer}")?);
        }
        let count = |key: &str, thing| counted(answer[key].as_u64().unwrap_or_default(), thing);
        let (destinations, subscriptions) =
            (count("destinations", "destination"), count("subscriptions", "subscription"));
        writeln!(out, "reloaded: {destinations} and {subscriptions} of the settings file")?;
        for section in answer["at_next_start"].as_array().into_iter().flatten() {
            let section = section.as_str().unwrap_or_default();
            writeln!(out, "  `{section}` changed and takes effect at the next start")?;
        }
        Ok(())
    }
}
