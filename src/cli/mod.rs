//! The command line, one file a command. Data goes to standard output, logs and remarks to standard
//! error.

mod access;
mod api;
mod api_key;
mod asked_letters;
mod aws;
mod bench;
mod bury;
mod catalog;
mod check;
mod client;
#[cfg(feature = "postgres")]
mod control;
mod convert;
mod cost;
mod dead_letters;
mod demo;
mod destination;
mod drain;
mod errors;
mod events;
mod expression;
mod filter;
mod filter_test;
mod fleet;
mod generate;
mod health;
mod heap;
mod journal;
mod ledger;
mod mended;
mod paint;
mod plot;
mod progress;
mod redriving;
mod reload;
mod replay;
mod run;
mod schema;
mod table;
mod test_event;

use std::fmt;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use progress::Progress;

use crate::config::{self, Config, Mistakes};
use crate::control::saved_resources;
use crate::report::escaped;
use crate::telemetry::{self, LogFormat};

/// Takes platform events in, matches each against subscriptions, and delivers the matches in batches
/// to Kinesis, Firehose, CloudWatch Logs and files.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    /// How log lines are written to standard error; their level is SLUICEGATE_LOG (default: info)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Show no progress of long work on the terminal
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole thing: generated traffic, three subscriptions, delivery; no settings needed
    Demo(demo::Demo),
    /// Run the daemon
    Run(run::Run),
    /// Tell every mistake of a settings file
    Check(check::Check),
    /// About what AWS must allow
    #[command(subcommand)]
    Aws(aws::Aws),
    /// About one destination
    #[command(subcommand)]
    Destination(destination::DestinationCommand),
    /// Count what a sample of events would be billed as at each destination, and what a month costs
    Cost(cost::Cost),
    /// Send a test event straight to a destination and print the service's answer
    TestEvent(test_event::TestEvent),
    /// Manage subscriptions, destinations and the rest of a running daemon over its control API
    Api(api::Api),
    /// Make a key for the control API
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Look at what could not be delivered, send it again, or throw it away: in a folder, or at a running daemon
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Deliver or let go of what waits in a journal whose daemon does not run
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Send records that the journal still holds to one destination again
    Replay(replay::Replay),
    /// Tell what became of everything that was accepted, and whether it adds up
    Ledger(ledger::Ledger),
    /// Check and try filters
    #[command(subcommand)]
    Filter(filter::Filter),
    /// Make events of access logs: those of nginx, Apache, HAProxy, Caddy, Traefik, Envoy and AWS
    Convert(convert::Convert),
    /// Print realistic events
    Generate(generate::Generate),
    /// Print the event types, or one type's fields
    Catalog(catalog::Catalog),
    /// Say what an error code means and what to do about it, or list all codes
    Errors(errors::Errors),
    /// About the settings file
    #[command(subcommand)]
    Config(schema::ConfigCommand),
    /// Have a running daemon take nothing more, deliver what is pending, and end
    Drain(drain::Drain),
    /// Move what was made through the API from one engine to the other
    #[cfg(feature = "postgres")]
    #[command(subcommand)]
    Control(control::ControlCommand),
    /// List the daemons that share a control plane: how each stands, what comes, what waits
    Fleet(fleet::Fleet),
    /// Have a running daemon read its settings file again
    Reload(reload::Reload),
    /// Ask a running daemon whether it accepts events; for health checks
    Health(health::Health),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Why a command ended without its work done. What there was to say of it is said where it happens,
/// or in the message.
#[derive(Debug)]
enum Failure {
    /// The work failed: exit code 1.
    Work(String),
    /// The same, said by a report with places in a filter, which is shown in colours on a terminal.
    Report(String),
    /// The arguments are wrong in a way that the parser of arguments cannot see: exit code 2.
    Usage(String),
    /// Something of this program's own failed: exit code 70 (`EX_SOFTWARE` of sysexits.h).
    Internal(String),
    /// The settings are wrong: exit code 78 (`EX_CONFIG` of sysexits.h).
    Configuration(String),
    /// Standard output was closed by its reader, which is no failure.
    OutputClosed,
}

impl Failure {
    fn work(message: impl fmt::Display) -> Failure {
        Failure::Work(message.to_string())
    }

    /// A task of the daemon's own could not go on.
    fn task_failed(task: &str) -> Failure {
        Failure::Internal(format!(
            "stopped, since a task of the daemon's own could not go on: {task} (ERR_SLUICEGATE_1401)"
        ))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Work(error.to_string()),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Failure {
        Failure::Configuration(mistakes.to_string())
    }
}

type Outcome = Result<(), Failure>;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = telemetry::start_logging(arguments.log_format)
        .map_err(Failure::Configuration)
        .and_then(|()| run_command(arguments.command, Progress::new(arguments.quiet)));
    let (code, message) = match outcome {
        Ok(()) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Err(Failure::Work(message)) => (1, escaped_lines(&message)),
        Err(Failure::Report(report)) => {
            (1, paint::report(&escaped_lines(&report), paint::wanted(&io::stderr())))
        }
        Err(Failure::Usage(message)) => (2, escaped_lines(&message)),
        Err(Failure::Internal(message)) => (70, escaped_lines(&message)),
        Err(Failure::Configuration(message)) => (78, escaped_lines(&message)),
    };
    // Nothing can be done if standard error is closed too.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

/// A message of several lines, of which each is safe to show. What must stay on one line is escaped
/// where it is put into the message.
fn escaped_lines(message: &str) -> String {
    message.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

fn run_command(command: Command, progress: Progress) -> Outcome {
    match command {
        Command::Demo(demo) => block_on(demo.run())?,
        Command::Run(run) => {
            heap::settle();
            block_on(run.run(progress))?
        }
        Command::Check(check) => check.run(),
        Command::Aws(aws) => aws.run(),
        Command::Destination(command) => command.run(),
        Command::Cost(cost) => cost.run(),
        Command::TestEvent(test_event) => test_event.run(),
        Command::Api(api) => api.run(),
        Command::ApiKey(api_key) => api_key.run(),
        Command::DeadLetters(dead_letters) => dead_letters.run(progress),
        Command::Journal(journal) => journal.run(progress),
        Command::Replay(replay) => replay.run(progress),
        Command::Ledger(ledger) => ledger.run(),
        Command::Filter(filter) => filter.run(progress),
        Command::Convert(convert) => convert.run(),
        Command::Generate(generate) => generate.run(progress),
        Command::Catalog(catalog) => catalog.run(),
        Command::Errors(errors) => errors.run(),
        Command::Config(config) => config.run(),
        Command::Drain(drain) => drain.run(),
        #[cfg(feature = "postgres")]
        Command::Control(command) => command.run(),
        Command::Fleet(fleet) => fleet.run(),
        Command::Reload(reload) => reload.run(),
        Command::Health(health) => block_on(health.run())?,
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "sluicegate",
                &mut io::stdout(),
            );
            Ok(())
        }
    }
}

/// How long the end of a command waits for what blocks a thread, such as a write to a pipe that
/// nobody reads.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Runs async work on a runtime of its own, one thread a core.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("the async runtime cannot start: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    Ok(result)
}

/// A duration as an argument, in the words of the settings file.
fn parse_duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "not a duration such as 30s or 7d".to_owned())
}

/// The settings of a file, or all defaults.
fn load(path: Option<&Path>) -> Result<Config, Failure> {
    Ok(match path {
        Some(path) => Config::load(path)?,
        None => Config::defaults()?,
    })
}

/// The same for a daemon that is to run here.
fn load_to_run(path: Option<&Path>) -> Result<Config, Failure> {
    Ok(match path {
        Some(path) => Config::load_to_run(path)?,
        None => Config::defaults()?,
    })
}

/// The same, for commands that read what a daemon has left in its journal's folder.
///
/// # Errors
/// When there is no such folder: most likely another file, or another place, was meant.
fn load_beside_journal(path: Option<&Path>) -> Result<Config, Failure> {
    let config = load(path)?;
    let folder = &config.journal.directory;
    if folder.is_dir() {
        return Ok(config);
    }
    let folder = folder.display();
    Err(Failure::Work(match path {
        Some(path) => format!(
            "no journal in {folder}: no daemon has run with the `data_dir` of {}",
            path.display()
        ),
        None => format!("no journal in {folder}: give the daemon's settings with -c FILE"),
    }))
}

/// The same settings with what was made through the API as well.
fn with_saved(mut config: Config) -> Result<Config, Failure> {
    config.resources = saved_resources(&config.data_dir, &config.control, &config.resources)
        .map_err(Failure::work)?;
    Ok(config)
}
