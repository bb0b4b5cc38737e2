//! `sluicegate dead-letters bury`: gives up a record that keeps failing at a running daemon.

use std::io::{self, Write as _};

use axum::http::Method;
use clap::Args;
use serde_json::json;

use super::access::ToDaemon;
use super::api::Remote;
use super::{Outcome, OutputFormat, block_on};

#[derive(Debug, Args)]
pub(super) struct Bury {
    /// The destination's id
    #[arg(long, value_name = "ID")]
    destination: String,
    /// The event's id, as `set_aside` in the daemon's `/status` has it
    #[arg(long, value_name = "ID")]
    event_id: String,
    #[command(flatten)]
    to: ToDaemon,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Bury {
    pub(super) fn run(self) -> Outcome {
        let remote = Remote::to(&self.to)?;
        let body = json!({"destination_id": self.destination, "event_id": self.event_id});
        let asking = remote.must(Method::POST, "/dead_letters/bury", Some(body));
        let answer = block_on(asking)??;
        let mut out = io::stdout().lock();
        match self.output {
            OutputFormat::Table => match answer["buried"].as_u64() {
                Some(1) => writeln!(out, "1 record became a dead letter")?,
                records => {
                    let records = records.unwrap_or_default();
                    writeln!(out, "{records} records became dead letters")?;
                }
            },
            OutputFormat::Json => writeln!(out, "{answer}")?,
        }
        Ok(())
    }
}
