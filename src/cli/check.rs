//! `sluicegate check`: every mistake of a settings file, whether the disk has the room that it gives the
//! journal, which files are open to others, and which way requests go where the environment names a proxy; with `--online`, what the services say.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, Outcome, block_on, with_saved};
use crate::config::{Config, show_size};
use crate::control::StoreSettings;
use crate::ingest::{ask_kafka, ask_relay};
use crate::journal::{Durability, available_bytes};
use crate::report::{counted, escaped};
use crate::resources::Destination;
use crate::sinks::LogOutput;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The settings file (.yaml, .toml or .json)
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Also ask each destination's service whether its stream or log group is there, and Kafka's
    /// brokers for the topics; destinations that were made through the API are asked for too
    #[arg(long)]
    online: bool,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let config = Config::load_to_run(&self.config)?;
        // What was made through the API must go with the file, too. A fleet's database is asked only if
        // services are: the file may be looked at elsewhere.
        let with_saved = match config.control.store {
            StoreSettings::Postgres { .. } if !self.online => config.clone(),
            _ => with_saved(config.clone())?,
        };
        let resources = &config.resources;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{}: ok, {} and {}",
            self.config.display(),
            counted(resources.destinations().len() as u64, "destination"),
            counted(resources.subscriptions().len() as u64, "subscription"),
        )?;
        let parts = config.memory();
        let listed: Vec<String> =
            parts.iter().map(|part| format!("{} {}", part.name, mebibytes(part.bytes))).collect();
        let all = parts.iter().map(|part| part.bytes).sum();
        writeln!(out, "  memory: at most {} ({})", mebibytes(all), listed.join(", "))?;
        drop(out);
        warn_of_room(&config)?;
        for remark in config.loose() {
            writeln!(io::stderr(), "warning: {remark}")?;
        }
        let mut out = io::stdout().lock();
        if !self.online {
            for destination in resources.destinations() {
                if let Some(way) = block_on(destination.way())? {
                    writeln!(out, "  {}: {way}", destination.id)?;
                }
            }
            return Ok(());
        }
        let config = with_saved;
        let mut failed = 0;
        if let Some(answer) = config.kafka.as_ref().map(ask_kafka) {
            failed += usize::from(answer.is_err());
            let said = answer.map_or_else(|reason| reason, |found| format!("ok, {found}"));
            writeln!(out, "  kafka: {}", escaped(&said))?;
        }
        if let Some(relay) = config.ingest.as_ref().and_then(|http| http.relay.as_ref()) {
            let runtime = tokio::runtime::Runtime::new()?;
            let answer = ask_relay(relay, runtime.handle());
            failed += usize::from(answer.is_err());
            let said = answer.map_or_else(|reason| reason, |found| format!("ok, {found}"));
            writeln!(out, "  relay: {}", escaped(&said))?;
        }
        for destination in config.resources.destinations() {
            let id = &destination.id;
            if let Some(way) = block_on(destination.way())? {
                writeln!(out, "  {id}: {way}")?;
            }
            match block_on(probe(destination))? {
                Ok(answer) => writeln!(out, "  {id}: ok, {}", escaped(&answer))?,
                Err(reason) => {
                    failed += 1;
                    writeln!(out, "  {id}: {}", escaped(&reason))?;
                }
            }
        }
        if failed > 0 {
            return Err(Failure::work(format!("{} failed", counted(failed as u64, "check"))));
        }
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Says what of the journal's room cannot be had: on standard error, since all of it may still work.
fn warn_of_room(config: &Config) -> io::Result<()> {
    let journal = &config.journal;
    let max_bytes = journal.max_bytes as u64;
    let mut remarks = Vec::new();
    for destination in config.resources.destinations() {
        if destination.max_pending_bytes.is_some_and(|it| it > max_bytes) {
            remarks.push(format!(
                "the share of `{}` (`max_pending_bytes`) is more than there is: `journal.max_bytes` is {}",
                destination.id,
                show_size(max_bytes),
            ));
        }
    }
    if journal.durability == Durability::Disk {
        let destinations = config.resources.destinations();
        let default = if destinations.len() > 1 { max_bytes / 2 } else { max_bytes };
        let shares = destinations.iter().map(|it| it.max_pending_bytes.unwrap_or(default));
        let shares = shares.fold(0, u64::saturating_add);
        // What was delivered takes room too while it is kept.
        let kept = journal.retention > Duration::ZERO || destinations.is_empty();
        let most = if kept { max_bytes } else { shares.min(max_bytes) };
        if let Some(available) = available_bytes(&journal.directory).filter(|it| *it < most) {
            remarks.push(format!(
                "the journal may take {}, and the disk of {} has {} for it: the shares are taken of that; give it a larger disk, or lower `journal.max_bytes` or `max_pending_bytes`",
                show_size(most),
                journal.directory.display(),
                show_size(if available < 1 << 20 { available } else { available >> 20 << 20 }),
            ));
        }
    }
    for remark in remarks {
        writeln!(io::stderr(), "warning: {remark}")?;
    }
    Ok(())
}

async fn probe(destination: &Destination) -> Result<String, String> {
    let sink = destination.open(LogOutput::Stdout).await.map_err(|it| it.to_string())?;
    sink.probe().await.map_err(|fault| fault.message)
}
