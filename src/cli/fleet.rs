//! `sluicegate fleet`: the daemons that share a control plane, as any of them tells.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::access::Access;
use super::api::Remote;
use super::table::table;
use super::{Outcome, OutputFormat, block_on};
use crate::report::escaped;

/// Most daemons that are asked for.
const MOST: usize = 10_000;

/// Each daemon says once a second how it stands. Without a fleet there is one.
#[derive(Debug, Args)]
pub(super) struct Fleet {
    #[command(flatten)]
    access: Access,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Fleet {
    pub(super) fn run(self) -> Outcome {
        let remote = Remote::new(&self.access)?;
        let daemons = block_on(remote.list("/daemons", "daemons", String::new(), MOST))??;
        let mut out = io::stdout().lock();
        if self.output == OutputFormat::Json {
            return Ok(writeln!(out, "{}", json!(daemons))?);
        }
        let head = [
            "daemon",
            "state",
            "version",
            "address",
            "settings",
            "set",
            "behind",
            "events/s",
            "delivered/s",
            "pending",
            "bytes",
            "oldest",
        ];
        let head = head.map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = [head].into_iter().chain(daemons.iter().map(row)).collect();
        out.write_all(table(&rows, NUMBERS).as_bytes())?;
        for daemon in &daemons {
            let (name, state) = (text(&daemon["name"]), text(&daemon["state"]));
            match daemon["not_ready"].as_str() {
                _ if state == "silent" => {
                    let seen = text(&daemon["last_seen_at"]);
                    writeln!(out, "{name} was last heard of at {seen}")?;
                }
                Some(reason) => writeln!(out, "{name} takes no events: {}", escaped(reason))?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Columns of numbers.
const NUMBERS: usize = 7;

fn row(daemon: &Value) -> Vec<String> {
    let number =
        |key: &str| daemon[key].as_u64().map_or_else(|| "-".to_owned(), |it| it.to_string());
    let rate =
        |key: &str| daemon[key].as_f64().map_or_else(|| "-".to_owned(), |it| format!("{it:.1}"));
    let oldest = daemon["oldest_pending_seconds"].as_f64().unwrap_or_default();
    let texts = ["name", "state", "version", "address", "settings_hash"];
    let mut row: Vec<String> = texts.iter().map(|key| text(&daemon[*key])).collect();
    row.extend([
        number("set_version"),
        number("behind_by"),
        rate("events_per_second"),
        rate("delivered_per_second"),
        number("pending_records"),
        number("pending_bytes"),
        format!("{oldest:.0} s"),
    ]);
    row
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or("-")).into_owned()
}
