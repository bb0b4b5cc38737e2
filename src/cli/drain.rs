//! `sluicegate drain`: has a running daemon take nothing more, deliver what is pending, and end; and waits
//! for that.

use std::io::{self, Write as _};
use std::time::Duration;

use axum::http::Method;
use clap::Args;

use super::access::ToDaemon;
use super::api::Remote;
use super::{Failure, Outcome, block_on};
use crate::report::counted;

/// How often the daemon is asked how far it is.
const PAUSE: Duration = Duration::from_millis(200);

/// As SIGTERM does; the daemon keeps what it could not deliver within `stop.drain_limit`, on disk.
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    to: ToDaemon,
}

impl Drain {
    pub(super) fn run(self) -> Outcome {
        let remote = Remote::to(&self.to)?;
        let began = block_on(remote.must(Method::POST, "/drain", None))??;
        let mut left = began["pending_records"].as_u64().unwrap_or_default();
        writeln!(io::stdout().lock(), "draining: {} to deliver", counted(left, "record"))?;
        block_on(async {
            // The API answers until everything is done; then nobody does.
            while let Ok(status) = remote.must(Method::GET, "/status", None).await {
                let all = status["destinations"].as_array().into_iter().flatten();
                left = all.filter_map(|it| it["pending_records"].as_u64()).sum();
                tokio::time::sleep(PAUSE).await;
            }
        })?;
        match left {
            0 => Ok(writeln!(io::stdout().lock(), "drained: the daemon has ended")?),
            left => Err(Failure::Work(format!(
                "the daemon has ended; when it was last asked, {} waited: `sluicegate ledger -c FILE` there tells, and `sluicegate journal adopt` delivers the rest",
                counted(left, "record")
            ))),
        }
    }
}
