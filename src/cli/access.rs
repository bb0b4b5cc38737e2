//! How a command reaches a running daemon: its address, the key that opens it, the CA to trust. One
//! set of arguments, the same for every command that asks a daemon.
//!
//! It sends nothing itself.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::client::Client;
use crate::sinks::Secret;

/// The address of an API that runs with default settings.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:4181";

/// The environment variable that holds another one.
const ADDRESS_VARIABLE: &str = "SLUICEGATE_API_URL";

/// The environment variable that holds the API key.
const KEY_VARIABLE: &str = "SLUICEGATE_API_KEY";

/// Largest key file: a key has some fifty bytes, and a file given by mistake is reported as one.
const MAX_KEY_FILE: u64 = 4_096;

// The key itself is never an argument: every process of the machine could read it.
#[derive(Debug, Default, Args)]
pub(super) struct Access {
    /// The address of the API listener; else that of SLUICEGATE_API_URL, else http://127.0.0.1:4181
    #[arg(long, global = true, value_name = "URL")]
    api: Option<String>,
    /// The file with the API key; else the key is that of SLUICEGATE_API_KEY
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The file (PEM) with the CA of a daemon that speaks TLS; else the CAs that this machine trusts
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Access {
    /// The address that the arguments give.
    pub(super) fn given(&self) -> Option<&str> {
        self.api.as_deref()
    }

    /// The address of the arguments or of the environment.
    pub(super) fn chosen(&self) -> Option<String> {
        let of_environment =
            || std::env::var(ADDRESS_VARIABLE).ok().filter(|text| !text.is_empty());
        self.api.clone().or_else(of_environment)
    }

    /// The same, or else the address that a daemon with default settings has.
    pub(super) fn address(&self) -> String {
        self.chosen().unwrap_or_else(|| DEFAULT_ADDRESS.to_owned())
    }

    /// The key, if there is one.
    pub(super) fn key(&self) -> Result<Option<Secret>, Failure> {
        let Some(file) = &self.key_file else {
            let text = std::env::var(KEY_VARIABLE).unwrap_or_default();
            let key = Some(text.trim()).filter(|key| !key.is_empty());
            return Ok(key.map(Secret::new));
        };
        let no = |problem: String| Failure::work(format!("{}: {problem}", file.display()));
        let text = read(file).map_err(|error| no(format!("cannot be read: {error}")))?;
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(no("holds no API key, which is one word".to_owned()));
        }
        Ok(Some(Secret::new(key)))
    }

    /// The key, where nothing is answered without one.
    pub(super) fn required_key(&self) -> Result<Secret, Failure> {
        self.key()?.ok_or_else(|| {
            Failure::Work(format!(
                "no API key: set {KEY_VARIABLE} or give --key-file; `sluicegate api-key create` makes one"
            ))
        })
    }

    /// A client for an address that trusts what the arguments say, without a key.
    pub(super) fn client(&self, address: &str) -> Result<Client, Failure> {
        let client = Client::new(address);
        match &self.ca {
            Some(ca) => client.trusting(ca),
            None => Ok(client),
        }
    }
}

/// How a command reaches a running daemon that may be another than the one that answers.
#[derive(Debug, Default, Args)]
pub(super) struct ToDaemon {
    #[command(flatten)]
    pub(super) access: Access,
    /// The daemon of the fleet that is meant, by its name, which the one at --api asks through their database
    #[arg(long, global = true, value_name = "NAME", requires = "api")]
    daemon: Option<String>,
}

impl ToDaemon {
    /// The daemon that is meant, if it is another than the one that answers.
    pub(super) fn daemon(&self) -> Result<Option<&str>, Failure> {
        match self.daemon.as_deref() {
            Some("all") => {
                let message =
                    "`--daemon` takes one name; `?daemon=all` in the API asks all of them";
                Err(Failure::Usage(message.to_owned()))
            }
            daemon => Ok(daemon),
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_KEY_FILE).read_to_string(&mut text)?;
    Ok(text)
}
