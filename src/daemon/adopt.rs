//! Another daemon's folder, emptied: what waits in its journal is delivered where it would have gone. No
//! entrance, no API, and nothing of this daemon's own; the folder's journal, ledger and dead letters
//! stay one folder's.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{Signals, StartError, open_journal};
use crate::config::Config;
use crate::journal::Ledger;
use crate::pipeline::Pipeline;
use crate::resources::ResourceId;
use crate::sinks::LogOutput;
use crate::supervision;

/// How often the log tells what is still pending.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What became of a folder.
#[derive(Debug)]
pub struct Adopted {
    /// Everything that ever was accepted there.
    pub ledger: Ledger,
    /// Records that wait for destinations that nothing names.
    pub unclaimed: Vec<(ResourceId, u64)>,
    /// This task could not go on.
    pub failed: Option<&'static str>,
}

/// Delivers all that waits in the journal of these settings, until none does, or until a signal; a
/// second one cuts the drain short. What waits for destinations that are off, or that nothing names,
/// stays.
///
/// # Errors
/// When the folder is in use or cannot be read, or a destination cannot be opened.
pub async fn adopt(
    config: &Config,
    mut signals: Signals,
    log_output: LogOutput,
    recovery: impl Fn(u64, u64) + Send + 'static,
) -> Result<Adopted, StartError> {
    let journal = open_journal(config.journal.clone(), recovery).await?;
    let unread = journal.clone();
    let pipeline = Pipeline::start(&config.resources, journal, log_output).await?;
    let mut failed = None;
    tokio::select! {
        () = pipeline.emptied() => {}
        () = telling(&pipeline) => {}
        () = signals.stop() => {
            warn!("told to stop: what is not delivered stays in the folder");
            tokio::select! {
                _ = pipeline.drain(config.drain_limit) => {}
                () = signals.stop() => {}
            }
        }
        task = supervision::given_up() => failed = Some(task),
    }
    unread.checkpoint().await;
    Ok(Adopted { ledger: pipeline.ledger(), unclaimed: unread.unread(), failed })
}

/// Tells for ever what is pending.
async fn telling(pipeline: &Pipeline) {
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for it in pipeline.status().destinations {
            let pending = it.account.pending_records;
            if pending > 0 {
                let last_error = it.condition.last_error.map(|it| it.message);
                info!(destination = %it.id, pending, last_error, "still to deliver");
            }
        }
    }
}
