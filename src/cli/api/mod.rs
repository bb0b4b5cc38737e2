//! `sluicegate api`: the control API from the command line, for every kind of its table.
//!
//! Commands and the help of their fields come from the table; what a value must be beyond its type is
//! the daemon's matter.

mod fields;
mod remote;
mod show;

use std::io::{self, Write as _};

use axum::http::Method;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde_json::{Value, json};

use super::access::Access;
use super::{Failure, Outcome, OutputFormat, block_on};
use crate::api::encode;
use crate::control::{KINDS, Kind, Spec};
use fields::{Given, SOURCE_FIELDS};
pub(super) use remote::{Remote, test_event};

/// Most resources that the API puts on one page (ngrok's limit).
const PAGE: usize = 100;

#[derive(Debug)]
pub(super) struct Api {
    options: Options,
    call: Call,
}

#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    access: Access,
    /// How the result is printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: OutputFormat,
}

/// What is to be done.
#[derive(Debug)]
enum Call {
    Resource(&'static Spec, Verb),
    TestEvent(Item),
    Status(Item),
    Sources(Sources),
    TryFilter(TryFilter),
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, the newest first
    List(List),
    /// Show one
    Get(Item),
    /// Make one
    Create(Given),
    /// Change the fields that are given; the others stay
    Update(Update),
    /// Delete one
    Delete(Item),
}

// What destinations know besides.
#[derive(Debug, Subcommand)]
enum DestinationVerb {
    #[command(flatten)]
    Any(Verb),
    /// Send it a test event and wait for the service's answer
    Test(Item),
    /// Tell how delivery stands
    Status(Item),
}

#[derive(Debug, Args)]
struct Item {
    /// The id
    id: String,
}

#[derive(Debug, Args)]
struct List {
    /// At most so many; all if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only those for which this is true, in which `obj` is the resource
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    #[command(flatten)]
    item: Item,
    #[command(flatten)]
    given: Given,
}

/// Manage the event types of one subscription
#[derive(Debug, Args)]
struct Sources {
    /// The subscription's id
    subscription: String,
    #[command(subcommand)]
    verb: SourceVerb,
}

#[derive(Debug, Subcommand)]
enum SourceVerb {
    /// List them
    List,
    /// Show one
    Get(Type),
    /// Take another event type
    Create(Source),
    /// Change filter or fields; what is not given stays
    Update(Source),
    /// Take an event type no more
    Delete(Type),
}

#[derive(Debug, Args)]
struct Type {
    /// The event type, such as http_request_complete.v0
    #[arg(value_name = "TYPE")]
    event_type: String,
}

#[derive(Debug, Args)]
struct Source {
    #[command(flatten)]
    key: Type,
    #[command(flatten)]
    given: Given,
}

/// Tell what a filter would have done to the last events that came in
#[derive(Debug, Args)]
struct TryFilter {
    /// The filter in CEL, in which `ev` is the event's object
    #[arg(value_name = "EXPR")]
    expression: String,
    /// The event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// How many of the last events; as many as the daemon remembers if left out
    #[arg(long, value_name = "N")]
    last: Option<u32>,
}

impl Args for Api {
    fn augment_args(command: Command) -> Command {
        let resources = KINDS.iter().map(resource_command);
        Options::augment_args(command)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("RESOURCE")
            .subcommand_help_heading("Resources")
            .subcommands(resources)
            .subcommand(Sources::augment_args(Command::new("sources")))
            .subcommand(TryFilter::augment_args(Command::new("try-filter")))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Api::augment_args(command)
    }
}

impl FromArgMatches for Api {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Api, clap::Error> {
        // The parser demands a subcommand, so there is one.
        let (name, below) = matches.subcommand().unwrap_or(("", matches));
        Ok(Api { options: Options::from_arg_matches(matches)?, call: Call::of(name, below)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Api::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What a resource is called on the command line.
fn command_name(spec: &Spec) -> String {
    spec.path.replace('_', "-")
}

fn resource_command(spec: &'static Spec) -> Command {
    let given = spec.fields().iter().filter(|field| field.presence.given(true));
    let names: Vec<&str> = given.map(|field| field.name).collect();
    let command = Command::new(command_name(spec))
        .aliases(Some(spec.path).filter(|path| path.contains('_')))
        .about(format!("{}: {}", spec.noun, names.join(", ")))
        .subcommand_required(true)
        .arg_required_else_help(true);
    let command = match spec.kind {
        Kind::EventDestination => DestinationVerb::augment_subcommands(command),
        _ => Verb::augment_subcommands(command),
    };
    command
        .mut_subcommand("create", |create| create.after_help(fields::help(spec.fields(), true)))
        .mut_subcommand("update", |update| update.after_help(fields::help(spec.fields(), false)))
}

impl Call {
    fn of(name: &str, matches: &ArgMatches) -> Result<Call, clap::Error> {
        if name == "sources" {
            return Ok(Call::Sources(Sources::from_arg_matches(matches)?));
        }
        let Some(spec) = KINDS.iter().find(|spec| command_name(spec) == name) else {
            return Ok(Call::TryFilter(TryFilter::from_arg_matches(matches)?));
        };
        if spec.kind != Kind::EventDestination {
            return Ok(Call::Resource(spec, Verb::from_arg_matches(matches)?));
        }
        Ok(match DestinationVerb::from_arg_matches(matches)? {
            DestinationVerb::Any(verb) => Call::Resource(spec, verb),
            DestinationVerb::Test(item) => Call::TestEvent(item),
            DestinationVerb::Status(item) => Call::Status(item),
        })
    }
}

/// One request, and how its answer is shown.
#[derive(Debug, PartialEq)]
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
    shown: Shown,
}

#[derive(Debug, PartialEq)]
enum Shown {
    List {
        key: &'static str,
        columns: &'static [&'static str],
        /// The query of the first page.
        query: String,
        most: usize,
    },
    One,
    Deleted(String),
    Trial,
}

impl Request {
    fn get(path: String) -> Request {
        Request { method: Method::GET, path, body: None, shown: Shown::One }
    }

    fn send(method: Method, path: String, body: impl Into<Value>) -> Request {
        Request { method, path, body: Some(body.into()), shown: Shown::One }
    }

    fn delete(path: String, id: String) -> Request {
        Request { method: Method::DELETE, path, body: None, shown: Shown::Deleted(id) }
    }

    fn of_resource(spec: &'static Spec, verb: Verb) -> Result<Request, Failure> {
        let collection = format!("/{}", spec.path);
        let at = |id: &str| format!("{collection}/{}", encode(id));
        Ok(match verb {
            Verb::List(list) => {
                let most = list.limit.map_or(usize::MAX, |limit| limit as usize);
                let mut query = format!("limit={}", most.min(PAGE));
                if let Some(filter) = &list.filter {
                    query.push_str(&format!("&filter={}", encode(filter)));
                }
                let (key, columns) = (spec.list_key, show::columns(spec.kind));
                let shown = Shown::List { key, columns, query, most };
                Request { shown, ..Request::get(collection) }
            }
            Verb::Get(item) => Request::get(at(&item.id)),
            Verb::Create(given) => {
                Request::send(Method::POST, collection, given.read(spec.fields(), true)?)
            }
            Verb::Update(Update { item, given }) => {
                Request::send(Method::PATCH, at(&item.id), given.read(spec.fields(), false)?)
            }
            Verb::Delete(item) => Request::delete(at(&item.id), item.id),
        })
    }

    fn of_source(sources: Sources) -> Result<Request, Failure> {
        let all = format!("/event_subscriptions/{}/sources", encode(&sources.subscription));
        let at = |key: &Type| format!("{all}/{}", encode(&key.event_type));
        Ok(match sources.verb {
            SourceVerb::List => {
                let (columns, query) = (show::SOURCE_COLUMNS, String::new());
                let shown = Shown::List { key: "sources", columns, query, most: usize::MAX };
                Request { shown, ..Request::get(all) }
            }
            SourceVerb::Get(key) => Request::get(at(&key)),
            SourceVerb::Create(Source { key, given }) => {
                let mut body = given.read(&SOURCE_FIELDS, true)?;
                body.insert("type".to_owned(), json!(key.event_type));
                Request::send(Method::POST, all, body)
            }
            SourceVerb::Update(Source { key, given }) => {
                Request::send(Method::PATCH, at(&key), given.read(&SOURCE_FIELDS, false)?)
            }
            SourceVerb::Delete(key) => Request::delete(at(&key), key.event_type),
        })
    }

    fn of_trial(trial: TryFilter) -> Request {
        let mut body = json!({"type": trial.event_type, "filter": trial.expression});
        if let Some(last) = trial.last {
            body["last"] = json!(last);
        }
        let request = Request::send(Method::POST, "/filters/try".to_owned(), body);
        Request { shown: Shown::Trial, ..request }
    }

    async fn run(self, remote: &Remote, output: OutputFormat) -> Outcome {
        let Request { method, path, body, shown } = self;
        if let Shown::List { key, columns, query, most } = shown {
            let items = remote.list(&path, key, query, most).await?;
            let mut out = io::stdout().lock();
            match output {
                OutputFormat::Table => show::list(&mut out, columns, &items)?,
                OutputFormat::Json => writeln!(out, "{:#}", Value::Array(items))?,
            }
            return Ok(());
        }
        let answer = remote.must(method, &path, body).await?;
        let mut out = io::stdout().lock();
        match (output, shown) {
            (OutputFormat::Table, Shown::Deleted(id)) => writeln!(out, "{id} is deleted")?,
            (OutputFormat::Json, Shown::Deleted(_)) => {}
            (OutputFormat::Table, Shown::Trial) => show::trial(&mut out, &answer)?,
            (OutputFormat::Table, _) => show::one(&mut out, &answer)?,
            (OutputFormat::Json, _) => writeln!(out, "{answer:#}")?,
        }
        Ok(())
    }
}

impl Api {
    pub(super) fn run(self) -> Outcome {
        let Options { access, output } = self.options;
        let remote = || Remote::new(&access);
        // Mistakes in the arguments are reported before anything is asked for, be it only a key.
        let request = match self.call {
            Call::TestEvent(item) => return test_event(&remote()?, &item.id, output),
            Call::Status(item) => {
                Request::get(format!("/event_destinations/{}/status", encode(&item.id)))
            }
            Call::Resource(spec, verb) => Request::of_resource(spec, verb)?,
            Call::Sources(sources) => Request::of_source(sources)?,
            Call::TryFilter(trial) => Request::of_trial(trial),
        };
        let remote = remote()?;
        block_on(request.run(&remote, output))?
    }
}

#[cfg(test)]
mod tests;
