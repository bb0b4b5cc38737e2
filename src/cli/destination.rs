//! `sluicegate destination check`: what stands between a destination and its service, and what to type
//! next.
//!
//! Sends no event: `sluicegate test-event` does, and explains a failure in the same words.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::access::Access;
use super::api::Remote;
use super::test_event::find;
use super::{Failure, Outcome, OutputFormat, block_on, with_saved};
use crate::api::{encode, examination};
use crate::config::Config;
use crate::report::escaped;

#[derive(Debug, Subcommand)]
pub(super) enum DestinationCommand {
    /// Ask a destination's service whether it is reached, knows us, and has the target, and whether a
    /// role keeps strangers out; say what is wrong, where that was learned, and what to type next
    Check(Check),
}

/// With `--config` the service is asked from here, with `--api` from a running daemon.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The destination's id
    #[arg(value_name = "ID")]
    destination: String,
    /// The settings file (.yaml, .toml or .json), to ask from here
    #[arg(short, long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl DestinationCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            DestinationCommand::Check(check) => check.run(),
        }
    }
}

impl Check {
    fn run(self) -> Outcome {
        let answer = match (&self.config, self.access.chosen()) {
            (Some(file), _) => self.ask_from_here(file)?,
            (None, Some(_)) => {
                let path = format!("/event_destinations/{}/check", encode(&self.destination));
                let remote = Remote::new(&self.access)?;
                block_on(remote.must(Method::POST, &path, None))??
            }
            (None, None) => {
                return Err(Failure::Usage("give --config FILE or --api URL".to_owned()));
            }
        };
        let mut out = io::stdout().lock();
        match self.output {
            OutputFormat::Json => writeln!(out, "{answer}")?,
            OutputFormat::Table => out.write_all(table(&answer).as_bytes())?,
        }
        match answer["result"].as_str() {
            Some("failed") => {
                Err(Failure::Work(format!("`{}` cannot deliver", escaped(&self.destination))))
            }
            _ => Ok(()),
        }
    }

    fn ask_from_here(&self, file: &Path) -> Result<Value, Failure> {
        let config = with_saved(Config::load(file)?)?;
        let destination = find(&config, &self.destination, Some(file), [])?;
        let findings = block_on(destination.examine())?.map_err(Failure::work)?;
        Ok(examination(destination, &findings))
    }
}

fn table(answer: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &Value| {
        if let Some(value) = value.as_str() {
            text.push_str(&format!("{name:<13}{}\n", escaped(value)));
        }
    };
    line("destination", &answer["destination_id"]);
    line("is", &answer["target"]);
    for finding in answer["findings"].as_array().into_iter().flatten() {
        let result = finding["result"].as_str().unwrap_or_default();
        let message = finding["msg"].as_str().unwrap_or_default();
        let shown =
            if result == "ok" { message.to_owned() } else { format!("{result}: {message}") };
        line(finding["about"].as_str().unwrap_or_default(), &json!(shown));
        line("  failed", &finding["failed"]);
        line("  learned", &finding["learned"]);
        line("  next", &finding["next"]);
    }
    text
}
