//! `sluicegate check`: every mistake of a settings file, and which way requests go where the
//! environment names a proxy; with `--online`, what the services say.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, Outcome, block_on, with_saved};
use crate::config::Config;
use crate::ingest::ask_kafka;
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
        // What was made through the API must go with the file, too.
        let with_saved = with_saved(config.clone())?;
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
        if !self.online {
            for destination in resources.destinations() {
                if let Some(way) = block_on(destination.target.way())? {
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
        for destination in config.resources.destinations() {
            let id = &destination.id;
            if let Some(way) = block_on(destination.target.way())? {
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

async fn probe(destination: &Destination) -> Result<String, String> {
    let sink = destination.open(LogOutput::Stdout).await.map_err(|it| it.to_string())?;
    sink.probe().await.map_err(|fault| fault.message)
}
