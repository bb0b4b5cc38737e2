//! Envoy's entrance: with the real Envoy before a small upstream, known traffic and the events that come of it; and
//! with a client of ours that sends what Envoy would not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, patiently};
use crate::support::http;
use crate::support::tls::Certificates;
use crate::support::venv_program;

mod client;
mod traffic;

/// A daemon with Envoy's entrance.
struct Stage {
    folder: TempDir,
    daemon: Daemon,
}

impl Stage {
    /// With these settings of the entrance beside `listen`, and others beside `ingest`.
    fn new(entrance: &str, others: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        let daemon = Daemon::start(&format!(
            r#"
data_dir: {at}/data
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  envoy: {{ listen: "127.0.0.1:0"{entrance} }}
{others}
destinations:
  - {{ id: out, target: {{ file: {{ path: "{at}/out.ndjson" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - id: all
    sources: [{{ type: http_request_complete.v0 }}, {{ type: tcp_connection_closed.v0 }}]
    destinations: [out]
"#
        ));
        Stage { folder, daemon }
    }

    fn address(&self) -> SocketAddr {
        address_of(&self.daemon)
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("out.ndjson")).unwrap_or_default();
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// The object of the event that `is` the one, once it is there.
    fn event(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        patiently(&format!("there is {what}"), || {
            found = self.events().into_iter().find(&is);
            found.is_some()
        });
        found.unwrap()["object"].take()
    }

    /// The event whose request has a path.
    fn of_path(&self, path: &str) -> Value {
        self.event(path, |it| it["object"]["http"]["request"]["url"]["path"] == path)
    }

    fn status(&self) -> Value {
        http::get(self.daemon.api, "/status").json()
    }

    fn refused(&self, code: &str) -> u64 {
        self.status()["ingest"]["refused"][code].as_u64().unwrap_or(0)
    }
}

/// Where a daemon listens for Envoys.
fn address_of(daemon: &Daemon) -> SocketAddr {
    let log = daemon.log();
    let line = log.lines().find(|it| it.contains("access logs are listened for")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    line["address"].as_str().unwrap().parse().unwrap()
}
