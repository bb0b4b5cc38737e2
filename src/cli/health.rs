//! `sluicegate health`: asks `/readyz`, for health checks of containers without a shell.

use clap::Args;

use super::client::Client;
use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct Health {
    /// The address of the daemon's API listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4181")]
    api: String,
}

impl Health {
    pub(super) async fn run(self) -> Outcome {
        let (status, body) = Client::new(self.api).get("/readyz").await?;
        if status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body);
        Err(Failure::work(format!("not ready: {status}, {}", text.trim())))
    }
}
