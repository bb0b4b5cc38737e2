//! `sluicegate demo`: the real daemon on generated traffic, with nothing to set up.
//!
//! Events go in over HTTP like anybody's. Deliveries appear on standard output and in files; what
//! the demo says of itself goes to standard error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client::Client;
use super::{Failure, Outcome, generate, parse_duration};
use crate::config::{Config, Document, Format};
use crate::daemon::{Daemon, Ended, Signals};
use crate::event::Catalog;
use crate::generate::Generator;
use crate::private;
use crate::report::{counted, escaped};
use crate::sinks::LogOutput;
use crate::telemetry;

const SETTINGS: &str = include_str!("demo.yaml");

/// How often events are posted: often enough to look like a stream.
const POST_EVERY: Duration = Duration::from_millis(100);

/// How often the summary is printed.
const SUMMARY_EVERY: Duration = Duration::from_secs(5);

/// One event in this many is a closed TCP connection, the others are HTTP requests.
const TCP_SHARE: u64 = 10;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Events a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// Stop after this time, such as 30s; runs until Ctrl-C if left out
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Where the demo keeps its files
    #[arg(long, value_name = "DIR", default_value = "./sluicegate-demo")]
    data_dir: PathBuf,
    /// Where events come in
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4180")]
    ingest_listen: SocketAddr,
    /// Where /status and /metrics are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4181")]
    api_listen: SocketAddr,
    /// Print the settings that the demo runs with, and exit
    #[arg(long)]
    print_settings: bool,
}

impl Demo {
    pub(super) async fn run(self) -> Outcome {
        if self.print_settings {
            return Ok(io::stdout().lock().write_all(SETTINGS.as_bytes())?);
        }
        let folder = &self.data_dir;
        private::make_folder(folder).map_err(|error| {
            Failure::work(format!("{} cannot be made: {error}", folder.display()))
        })?;
        let config = self.settings()?;
        let metrics = telemetry::install_metrics().map_err(Failure::work)?;
        let quiet = |_, _| {};
        let started = Daemon::start(config, metrics, LogOutput::Stdout, quiet).await;
        let daemon = started.map_err(|error| {
            Failure::work(format!(
                "{error}\nthe demo can listen elsewhere: --ingest-listen 127.0.0.1:0 --api-listen 127.0.0.1:0"
            ))
        })?;
        let api = daemon.api_address();
        // The demo's settings have HTTP ingest.
        let ingest = daemon.ingest_address().unwrap_or(self.ingest_listen);
        say(&introduction(&self, ingest, api))?;
        self.send_traffic(&daemon, ingest).await?;
        say("stopping: what was accepted is delivered first")?;
        let status = daemon.status();
        match daemon.stop().await {
            Ended::Clean | Ended::Cut | Ended::Failed(_) => {
                let events = counted(status.accepted, "event");
                say(&format!("done: {events} accepted, every match delivered"))
            }
            Ended::Kept(left) | Ended::Lost(left) => {
                Err(Failure::work(format!("not delivered: {}", counted(left, "record"))))
            }
        }
    }

    fn settings(&self) -> Result<Config, Failure> {
        let lookup = |name: &str| match name {
            "DEMO_DIR" => Some(self.data_dir.display().to_string()),
            "DEMO_INGEST" => Some(self.ingest_listen.to_string()),
            "DEMO_API" => Some(self.api_listen.to_string()),
            _ => None,
        };
        let document = Document::parse("demo.yaml", SETTINGS.to_owned(), Format::Yaml, &lookup)?;
        Ok(Config::read(&document)?)
    }

    /// Posts generated events until the time is over or somebody interrupts.
    async fn send_traffic(&self, daemon: &Daemon, ingest: SocketAddr) -> Outcome {
        let client = Client::new(format!("http://{ingest}"));
        let mut traffic = Traffic::new()?;
        let mut posts = interval(POST_EVERY);
        posts.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut summaries = interval(SUMMARY_EVERY);
        summaries.tick().await;
        let mut signals = Signals::listen()?;
        let began = Instant::now();
        let end = self.duration.map(|duration| began + duration);
        loop {
            tokio::select! {
                () = signals.stop() => return Ok(()),
                () = sleep_until(end.unwrap_or(began)), if end.is_some() => return Ok(()),
                _ = summaries.tick() => say(&summary(daemon))?,
                _ = posts.tick() => {
                    let wanted = began.elapsed().as_millis() * u128::from(self.rate) / 1_000;
                    let body = traffic.up_to(u64::try_from(wanted).unwrap_or(u64::MAX));
                    if body.is_empty() {
                        continue;
                    }
                    let (status, answer) = client.post_events(body.into()).await?;
                    if !status.is_success() {
                        let answer = String::from_utf8_lossy(&answer).into_owned();
                        say(&format!("the daemon answered {status}: {}", escaped(&answer)))?;
                    }
                }
            }
        }
    }
}

/// Generated requests and connections, mixed.
struct Traffic {
    http: Generator,
    tcp: Generator,
    made: u64,
}

impl Traffic {
    fn new() -> Result<Traffic, Failure> {
        let catalog = Catalog::builtin();
        let generator = |name: &str, seed| {
            let event_type = super::catalog::find(&catalog, name)?;
            Ok::<_, Failure>(Generator::new(event_type, seed, generate::this_hour()))
        };
        let seed = rand::random();
        Ok(Traffic {
            http: generator("http_request_complete.v0", seed)?,
            tcp: generator("tcp_connection_closed.v0", seed)?,
            made: 0,
        })
    }

    /// The next events, one a line, until `total` have been made; at most a body's worth.
    fn up_to(&mut self, total: u64) -> String {
        let mut body = String::new();
        while self.made < total && body.len() < 4 << 20 {
            self.made += 1;
            let generator =
                if self.made.is_multiple_of(TCP_SHARE) { &mut self.tcp } else { &mut self.http };
            generator.next_event(&mut body);
            body.push('\n');
        }
        body
    }
}

fn introduction(demo: &Demo, ingest: SocketAddr, api: SocketAddr) -> String {
    let folder = demo.data_dir.display();
    let connections = path(&demo.data_dir, "connections.ndjson");
    let requests = path(&demo.data_dir, "requests.ndjson");
    format!(
        "\
Sluicegate demo: {rate} generated events a second come in over HTTP and go to three subscriptions.

  server-errors                   status 500 and up, five fields      → standard output, below
  all-connections                 closed TCP connections, whole       → {connections}
  requests-without-health-checks  requests but those to /healthz      → {requests}

While it runs, try in another terminal:

  curl -s http://{api}/status
  curl -s http://{ingest}/v1/events -H 'content-type: application/json' \\
    -d '{{\"event_type\":\"http_request_complete.v0\",\"object\":{{\"http\":{{\"response\":{{\"status_code\":599}}}}}}}}'
  tail -f {requests}

And then:

  sluicegate catalog http_request_complete.v0
  sluicegate generate --count 1000 | sluicegate filter eval --type http_request_complete.v0 \\
    --fields conn.client_ip,http.response.status_code 'ev.http.response.status_code >= 400'
  sluicegate demo --print-settings > sluicegate.yaml && sluicegate run -c sluicegate.yaml

Ctrl-C stops; what the demo wrote stays in {folder}.
",
        rate = demo.rate,
    )
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

fn summary(daemon: &Daemon) -> String {
    let status = daemon.status();
    let mut text = format!("── {} accepted", counted(status.accepted, "event"));
    for (id, counts) in &status.subscriptions {
        // Writing to a String cannot fail.
        let _ = write!(text, " · {id} {} of {}", counts.matched, counts.seen);
    }
    let delivered: u64 = status.destinations.iter().map(|it| it.account.delivered).sum();
    let _ = write!(text, " · {} delivered", counted(delivered, "record"));
    text
}

fn say(text: &str) -> Outcome {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}
