//! `sluicegate ledger`: what was accepted for each destination, what became of it, and whether the
//! two add up. A running daemon is asked; without one the journal is read.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::http::StatusCode;
use clap::Args;
use serde_json::Value;

use super::access::ToDaemon;
use super::table::table;
use super::{Failure, Outcome, OutputFormat, block_on, load, load_beside_journal};
use crate::api::{ApiSettings, encode, ledger_to_json};
use crate::journal::{Durability, read_ledger};
use crate::report::escaped;

/// The columns of a table, by their keys in JSON and as they are headed.
type Columns = [(&'static str, &'static str); 8];

const EVENTS: Columns = [
    ("accepted", "accepted"),
    ("filtered_out", "filtered_out"),
    ("delivered", "delivered"),
    ("dead_lettered", "dead_lettered"),
    ("dropped", "dropped"),
    ("lost", "lost"),
    ("pending", "pending"),
    ("imbalance", "imbalance"),
];

/// What became of dead letters.
const LETTERS: Columns = [
    ("buried", "buried"),
    ("listed", "listed"),
    ("purged", "purged"),
    ("redriven", "redriven"),
    ("given_way", "given_way"),
    ("letters_lost", "lost"),
    ("earlier", "earlier"),
    ("letters_imbalance", "imbalance"),
];

/// Tell for each destination how many events were accepted for it and what became of them. An event
/// is accepted for a destination once for each subscription that takes its type and names the
/// destination. Where there ever were dead letters, also what became of these, for each destination and
/// entrance: buried = listed + purged + redriven + given way + lost; `earlier` of them were buried before
/// the destination's other counts began. Exit code 1 if one of the two does not add up.
///
/// Without an address of a daemon the journal of the settings is read, or else the daemon asked that
/// has it open.
#[derive(Debug, Args)]
pub(super) struct Ledger {
    /// The settings file, which says where the data is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    to: ToDaemon,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Ledger {
    pub(super) fn run(self) -> Outcome {
        show(&self.read()?, self.output)
    }

    fn read(&self) -> Result<Value, Failure> {
        let config = load(self.config.as_deref())?;
        // A settings file says more of what is meant than an environment does.
        let address = match &self.config {
            Some(_) => self.to.access.given().map(str::to_owned),
            None => self.to.access.chosen(),
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
        let key = self.to.access.key()?.or_else(|| settings.bearer_tokens.first());
        let has_key = key.is_some();
        let path = match self.to.daemon()? {
            Some(name) => format!("/ledger?daemon={}", encode(name)),
            None => "/ledger".to_owned(),
        };
        let client = self.to.access.client(api)?.with_key(key);
        let (status, body) = block_on(client.get(&path))??;
        if status == StatusCode::UNAUTHORIZED && !has_key {
            self.to.access.required_key()?;
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

/// Prints a ledger, and says what was lost.
///
/// # Errors
/// When it does not add up.
pub(super) fn show(ledger: &Value, output: OutputFormat) -> Outcome {
    let list = |key: &str| ledger[key].as_array().cloned().unwrap_or_default();
    let (destinations, entrances) = (list("destinations"), list("entrances"));
    let letters: Vec<Value> = destinations.iter().chain(&entrances).cloned().collect();
    let mut out = io::stdout().lock();
    match output {
        OutputFormat::Json => writeln!(out, "{ledger}")?,
        OutputFormat::Table => {
            print(&mut out, "destination", &EVENTS, &destinations)?;
            let buried: Vec<Value> = letters.iter().filter(|it| ever_buried(it)).cloned().collect();
            if !buried.is_empty() {
                writeln!(out)?;
                print(&mut out, "dead letters of", &LETTERS, &buried)?;
            }
        }
    }
    for (key, what) in [("lost", "records"), ("letters_lost", "dead letters")] {
        for (id, lost) in counts(&letters, key).filter(|(_, lost)| *lost > 0) {
            // No fault of the sum, and nothing that anybody can put right: said, and no exit code.
            let why = "the journal's disk is damaged, or somebody deleted its files";
            writeln!(io::stderr(), "`{}`: {lost} {what} were lost: {why}", escaped(id))?;
        }
    }
    let wrong: Vec<String> =
        [("imbalance", "accepted events"), ("letters_imbalance", "dead letters")]
            .into_iter()
            .flat_map(|(key, what)| counts(&letters, key).filter_map(move |it| told(it, what)))
            .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::Work(format!("the ledger does not add up: {}", wrong.join("; "))))
}

/// The address to speak to for one that is listened on.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    listen
}

/// A count of each entry that has it, by its id.
fn counts<'e>(entries: &'e [Value], key: &'static str) -> impl Iterator<Item = (&'e str, i64)> {
    entries.iter().filter_map(move |it| Some((it["id"].as_str()?, it[key].as_i64()?)))
}

/// An imbalance in words, if there is one.
fn told((id, imbalance): (&str, i64), what: &str) -> Option<String> {
    let id = escaped(id);
    match imbalance {
        0 => None,
        1.. => Some(format!("`{id}`: {imbalance} {what} are unaccounted for")),
        _ => Some(format!("`{id}`: {} {what} more than there were", imbalance.unsigned_abs())),
    }
}

fn ever_buried(entry: &Value) -> bool {
    LETTERS.iter().any(|(key, _)| entry[*key].as_i64().is_some_and(|count| count != 0))
}

fn print(
    out: &mut impl io::Write,
    title: &str,
    columns: &Columns,
    entries: &[Value],
) -> io::Result<()> {
    let head = [title].into_iter().chain(columns.iter().map(|(_, head)| *head));
    let row = |it: &Value| {
        let id = it["id"].as_str().unwrap_or_default().to_owned();
        let count = |(key, _): &(&str, &str)| it[*key].as_i64().unwrap_or(0).to_string();
        [id].into_iter().chain(columns.iter().map(count)).collect()
    };
    let head = head.map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(entries.iter().map(row)).collect();
    out.write_all(table(&rows, columns.len()).as_bytes())
}
