//! `sluicegate ledger`: what was accepted for each destination, what became of it, and whether the
//! two add up. A running daemon is asked; without one the journal is read.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::http::StatusCode;
use clap::Args;
use serde_json::Value;

use super::access::Access;
use super::table::table;
use super::{Failure, Outcome, OutputFormat, block_on, load, load_beside_journal};
use crate::api::{ApiSettings, ledger_to_json};
use crate::journal::{Durability, read_ledger};
use crate::report::escaped;

/// The columns of the table, by their keys in JSON.
const COLUMNS: [&str; 8] = [
    "accepted",
    "filtered_out",
    "delivered",
    "dead_lettered",
    "dropped",
    "lost",
    "pending",
    "imbalance",
];

/// Tell for each destination how many events were accepted for it and what became of them. An event
/// is accepted for a destination once for each subscription that takes its type and names the
/// destination. Exit code 1 if `accepted` is not the sum of the others.
///
/// Without an address of a daemon the journal of the settings is read, or else the daemon asked that
/// has it open.
#[derive(Debug, Args)]
pub(super) struct Ledger {
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Ledger {
    pub(super) fn run(self) -> Outcome {
        let ledger = self.read()?;
        let none = Vec::new();
        let destinations = ledger["destinations"].as_array().unwrap_or(&none);
        let mut out = io::stdout().lock();
        match self.output {
            OutputFormat::Json => writeln!(out, "{ledger}")?,
            OutputFormat::Table => print(&mut out, destinations)?,
        }
        for (id, lost) in destinations
            .iter()
            .filter_map(|it| Some((it["id"].as_str()?, it["lost"].as_u64()?)))
            .filter(|(_, lost)| *lost > 0)
        {
            // No fault of the sum, and nothing that anybody can put right: said, and no exit code.
            writeln!(
                io::stderr(),
                "`{}`: {lost} records were lost: the journal's disk is damaged, or somebody deleted its files",
                escaped(id)
            )?;
        }
        let wrong: Vec<String> = destinations
            .iter()
            .filter_map(|it| Some((it["id"].as_str()?, it["imbalance"].as_i64()?)))
            .filter(|(_, imbalance)| *imbalance != 0)
            .map(|(id, imbalance)| match imbalance {
                1.. => {
                    format!("`{}`: {imbalance} accepted events are unaccounted for", escaped(id))
                }
                _ => {
                    let more = imbalance.unsigned_abs();
                    format!("`{}`: {more} more than were accepted", escaped(id))
                }
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::Work(format!("the ledger does not add up: {}", wrong.join("; "))))
    }

    fn read(&self) -> Result<Value, Failure> {
        let config = load(self.config.as_deref())?;
        // A settings file says more of what is meant than an environment does.
        let address = match &self.config {
            Some(_) => self.access.given().map(str::to_owned),
            None => self.access.chosen(),
        };
        if let Some(address) = address {
            return self.ask(&address, &config.api);
        }
        let config = load_beside_journal(self.config.as_deref())?;
        match read_ledger(&config.journal.directory) {
            Ok(ledger) => {
                if config.journal.durability == Durability::Memory {
                    let remark = "no daemon runs, and `durability: memory` keeps no ledger";
                    writeln!(io::stderr(), "{remark}")?;
                }
                Ok(ledger_to_json(&ledger))
            }
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let scheme = if config.api.tls.is_some() { "https" } else { "http" };
                self.ask(&format!("{scheme}://{}", reachable(config.api.listen)), &config.api)
            }
            Err(error) => {
                let folder = config.journal.directory.display();
                Err(Failure::work(format!("no ledger in {folder}: {error}")))
            }
        }
    }

    /// Asks a daemon, with the key that is given or else with a token that its settings know.
    fn ask(&self, api: &str, settings: &ApiSettings) -> Result<Value, Failure> {
        let key = self.access.key()?.or_else(|| settings.bearer_tokens.first().cloned());
        let has_key = key.is_some();
        let client = self.access.client(api)?.with_key(key);
        let (status, body) = block_on(client.get("/ledger"))??;
        if status == StatusCode::UNAUTHORIZED && !has_key {
            self.access.required_key()?;
        }
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            return Err(Failure::work(format!("{api}: {status}, {}", escaped(text.trim()))));
        }
        serde_json::from_slice(&body).map_err(|_| {
            Failure::work(format!("{api} is not the API of a daemon (see `api.listen`)"))
        })
    }
}

/// The address to speak to for one that is listened on.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    listen
}

fn print(out: &mut impl io::Write, destinations: &[Value]) -> io::Result<()> {
    let head = ["destination"].iter().chain(&COLUMNS).map(|&it| it.to_owned()).collect();
    let row = |it: &Value| {
        let id = it["id"].as_str().unwrap_or_default().to_owned();
        let count = |column: &&str| it[*column].as_i64().unwrap_or(0).to_string();
        [id].into_iter().chain(COLUMNS.iter().map(count)).collect()
    };
    let rows: Vec<Vec<String>> = [head].into_iter().chain(destinations.iter().map(row)).collect();
    out.write_all(table(&rows, COLUMNS.len()).as_bytes())
}
