//! `sluicegate health`: asks `/readyz`, for health checks of containers without a shell.

use clap::Args;

use super::access::Access;
use super::{Failure, Outcome};
use crate::report::escaped;

/// Exit code 0 if the daemon accepts events. No key is needed; one that is there is sent, for proxies
/// that ask for it.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    access: Access,
}

impl Health {
    pub(super) async fn run(self) -> Outcome {
        let client = self.access.client(&self.access.address())?.with_key(self.access.key()?);
        let (status, body) = client.get("/readyz").await?;
        if status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body);
        Err(Failure::work(format!("not ready: {status}, {}", escaped(text.trim()))))
    }
}
