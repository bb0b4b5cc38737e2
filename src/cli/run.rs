//! `sluicegate run`: the daemon in the foreground.

use std::path::PathBuf;

use clap::Args;
use tracing::info;

use super::progress::Progress;
use super::{Failure, Outcome, load_to_run};
use crate::config::{Config, Mistakes};
use crate::daemon::{Daemon, Ended, Signals, run_until_signalled};
use crate::report::counted;
use crate::sinks::LogOutput;
use crate::telemetry;

/// SIGTERM and SIGINT stop accepting, deliver what is pending and exit; a second one exits at once.
/// SIGHUP reads the settings file again and puts its event types, destinations,
/// subscriptions and tokens into force; so does a change of a file that it names as `${file:…}`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The settings file (.yaml, .toml or .json); without one: default ports, no subscriptions
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Run {
    pub(super) async fn run(self, progress: Progress) -> Outcome {
        let config = load_to_run(self.config.as_deref())?;
        let mut signals = Signals::listen()?;
        let metrics = telemetry::install_metrics().map_err(Failure::work)?;
        // Gone with the end of recovery, before anything else is said.
        let bar = progress.of_bytes(0, "recovering the journal");
        let recovery = move |done, total| bar.set(done, total);
        let daemon = tokio::select! {
            started = Daemon::start(config, metrics, LogOutput::Stdout, recovery) => started,
            () = signals.stop() => {
                info!("stopped before it was ready");
                return Ok(());
            }
        };
        let daemon = daemon.map_err(Failure::work)?;
        match Box::pin(run_until_signalled(daemon, signals, || self.reload())).await {
            Ended::Clean | Ended::Kept(_) => Ok(()),
            Ended::Lost(records) => {
                let records = counted(records, "record");
                Err(Failure::work(format!("lost, as not delivered before the end: {records}")))
            }
            Ended::Failed(task) => Err(Failure::task_failed(task)),
            Ended::Cut => {
                Err(Failure::work("ended by a second signal before everything was delivered"))
            }
        }
    }

    fn reload(&self) -> Result<Option<Config>, Mistakes> {
        self.config.as_deref().map(Config::load_to_run).transpose()
    }
}
