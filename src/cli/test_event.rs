//! `sluicegate test-event`: one test event straight to a destination.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::access::Access;
use super::api::{Remote, test_event};
use super::{Failure, Outcome, OutputFormat, block_on, with_saved};
use crate::config::Config;
use crate::pipeline::send_test_event;
use crate::report::{escaped, nearest};
use crate::resources::Destination;
use crate::sinks::{Ack, LogOutput};

/// With `--config` the event is sent from here, with `--api` from a running daemon.
#[derive(Debug, Args)]
pub(super) struct TestEvent {
    /// The destination's id
    #[arg(long, value_name = "ID")]
    destination: String,
    /// The settings file (.yaml, .toml or .json), to send the event from here
    #[arg(short, long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl TestEvent {
    pub(super) fn run(self) -> Outcome {
        match (&self.config, self.access.chosen()) {
            (Some(file), _) => self.send_from_here(file),
            (None, Some(_)) => {
                test_event(&Remote::new(&self.access)?, &self.destination, self.output)
            }
            (None, None) => Err(Failure::Usage("give --config FILE or --api URL".to_owned())),
        }
    }

    fn send_from_here(&self, file: &Path) -> Outcome {
        let config = with_saved(Config::load(file)?)?;
        let destination = find(&config, &self.destination, Some(file), [])?;
        let sink = block_on(destination.open(LogOutput::Stdout))?.map_err(Failure::work)?;
        let outcome = block_on(send_test_event(&sink))?;
        let (answer, message, trouble) = match &outcome.ack {
            Ack::Delivered => ("delivered", None, None),
            Ack::Retry(fault) => ("failed", Some(fault.message.as_str()), fault.trouble),
            Ack::Rejected(reason) => ("rejected", Some(reason.as_str()), None),
        };
        let words = trouble.map(|it| it.words(&destination.target));
        let millis = outcome.latency.as_millis();
        let mut out = io::stdout().lock();
        match self.output {
            OutputFormat::Table => {
                let target = destination.target.to_string();
                writeln!(out, "destination  {}", destination.id)?;
                writeln!(out, "target       {}", escaped(&target))?;
                writeln!(out, "event        {}", outcome.event_id)?;
                writeln!(out, "answer       {answer} after {millis} ms")?;
                if let Some(words) = &words {
                    writeln!(out, "failed       {}", words.failed)?;
                    writeln!(out, "learned      {}", words.learned)?;
                    writeln!(out, "next         {}", escaped(&words.next))?;
                }
            }
            OutputFormat::Json => {
                let result = json!({
                    "destination": destination.id.as_str(),
                    "target": destination.target.to_string(),
                    "event_id": outcome.event_id,
                    "answer": answer,
                    "latency_ms": millis,
                    "msg": message,
                    "trouble": words.as_ref().map(|it| it.name),
                    "next": words.as_ref().map(|it| &it.next),
                });
                writeln!(out, "{result}")?;
            }
        }
        match message {
            None => Ok(()),
            Some(message) => Err(Failure::work(escaped(message))),
        }
    }
}

/// The destination of an id in a settings file (the defaults, if there is none), or made through the
/// API beside it. `others` are ids that are known from elsewhere, for the message.
pub(super) fn find<'c>(
    config: &'c Config,
    id: &str,
    file: Option<&Path>,
    others: impl IntoIterator<Item = &'c str>,
) -> Result<&'c Destination, Failure> {
    let all = config.resources.destinations();
    if let Some(found) = all.iter().find(|it| it.id.as_str() == id) {
        return Ok(found);
    }
    let place = file.map_or(String::new(), |file| format!(" in {}", file.display()));
    let mut message = format!("no destination `{}`{place}", escaped(id));
    let known = all.iter().map(|it| it.id.as_str()).chain(others);
    match nearest(id, known) {
        Some(name) => message.push_str(&format!(", did you mean `{name}`?")),
        None => message.push_str(" or made through the API"),
    }
    Err(Failure::Work(message))
}
