//! `sluicegate health`: asks `/readyz`, for health checks of containers without a shell.

use std::path::PathBuf;

use clap::Args;

use super::client::Client;
use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct Health {
    /// The address of the daemon's API listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4181")]
    api: String,
    /// The file (PEM) with the CA of a daemon that speaks TLS; else the CAs that this machine trusts
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Health {
    pub(super) async fn run(self) -> Outcome {
        let mut client = Client::new(self.api);
        if let Some(ca) = &self.ca {
            client = client.trusting(ca)?;
        }
        let (status, body) = client.get("/readyz").await?;
        if status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body);
        Err(Failure::work(format!("not ready: {status}, {}", text.trim())))
    }
}
