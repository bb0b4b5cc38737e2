//! `POST /replay`: sends what the journal still holds for a destination again.
//!
//! Work goes on for some seconds a request and says where the next goes on. Which records are meant is said
//! as on the command line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::letters::WORK;
use crate::control::{Asked, Control, Refusal};
use crate::event::Timestamp;
use crate::http::ErrorAnswer;
use crate::pipeline::{ReplayAsked, ReplayError, Replayed, Trial};
use crate::resources::{ResourceId, Source, duration};
use crate::sinks::without_its_words;

/// The journal is read for somebody else, or cannot be read.
const NOT_NOW: &str = "ERR_SLUICEGATE_1438";

/// Most event types that are named.
const MAX_TYPES: usize = 100;

const MEMBERS: [&str; 8] =
    ["after", "destination_id", "dry_run", "filter", "rate", "since", "types", "until"];

/// Sends records again.
pub(super) async fn run(
    control: Arc<Control>,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Value, ErrorAnswer> {
    let wanted = Wanted::read(&input)?;
    let destination = ResourceId::new(&wanted.destination).map_err(|_| Refusal::not_found())?;
    if control.pipeline().destination(&destination).is_none() {
        return Err(Refusal::not_found().into());
    }
    let trial = match wanted.filter.is_none() && wanted.types.is_empty() {
        true => None,
        false => {
            let (of_trial, destination) = (Arc::clone(&control), destination.clone());
            let (types, filter) = (wanted.types, wanted.filter);
            let compile = move || trial(&of_trial, &destination, types, filter.as_deref());
            Some(control.pipeline().workers().run(true, compile).await?)
        }
    };
    let span = wanted.since..wanted.until;
    let (rate, dry_run, from) = (wanted.rate, wanted.dry_run, wanted.after);
    let replay = ReplayAsked { destination, span, trial, rate, dry_run, from };
    let done = control.pipeline().replay(replay, WORK).await.map_err(refusal)?;
    let id = &wanted.destination;
    if !dry_run {
        asked.log("replayed", "records of destination", id);
        let told = json!({
            "destination_id": id,
            "since": wanted.since.to_string(),
            "until": wanted.until.to_string(),
            "delivered": done.delivered,
        });
        control.tell("records_replayed.v0", told, Some(&asked)).await;
    }
    Ok(answer(&done, wanted.until))
}

/// What chooses by type and filter: of the types that are named, or else that the destination's
/// subscriptions take.
fn trial(
    control: &Control,
    destination: &ResourceId,
    mut types: BTreeSet<String>,
    filter: Option<&str>,
) -> Result<Trial, ErrorAnswer> {
    if types.is_empty() {
        types = control.types_for(destination)?;
    }
    if types.is_empty() {
        return Err(wrong("types", "given, since no subscription names the destination"));
    }
    let catalog = control.catalog();
    let source = |name: &String| {
        Source::new(&catalog, name, filter, None).map_err(|errors| {
            let first = errors.into_iter().next().map(Refusal::from);
            first.map_or_else(|| wrong("filter", "one that compiles"), ErrorAnswer::from)
        })
    };
    let sources = types.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    Trial::of(sources).map_err(|error| Refusal::from(error).into())
}

fn answer(done: &Replayed, until: Timestamp) -> Value {
    let rejected = done.rejected.iter();
    let rejected: Vec<Value> = rejected
        .map(|(reason, records)| json!({"reason": without_its_words(reason), "records": records}))
        .collect();
    let first = done.first.iter();
    let first: Vec<Value> =
        first.map(|(at, id)| json!({"accepted_at": at.to_string(), "event_id": id})).collect();
    json!({
        "found": done.found,
        "chosen": done.chosen,
        "delivered": done.delivered,
        "rejected": rejected,
        "stopped": done.stopped.as_deref().map(without_its_words),
        "first": first,
        "filter_error": done.filter_error,
        "until": until.to_string(),
        "after": done.next,
    })
}

fn refusal(error: ReplayError) -> ErrorAnswer {
    match error {
        ReplayError::NotThere => Refusal::not_found().into(),
        _ => ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, NOT_NOW, error.to_string())
            .retry_after(WORK.as_secs()),
    }
}

/// What a request wants.
struct Wanted {
    destination: String,
    since: Timestamp,
    until: Timestamp,
    filter: Option<String>,
    types: BTreeSet<String>,
    rate: Option<u32>,
    dry_run: bool,
    after: u64,
}

fn wrong(name: &str, expected: &str) -> ErrorAnswer {
    ErrorAnswer::bad_request("ERR_NGROK_215", format!("`{name}` must be {expected}"))
}

impl Wanted {
    fn read(input: &Map<String, Value>) -> Result<Wanted, ErrorAnswer> {
        if let Some(name) = input.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let message =
                format!("unknown parameter `{name}`; supported are `{}`", MEMBERS.join("`, `"));
            return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
        }
        let given =
            |name: &str| input.get(name).filter(|it| !it.is_null() && it.as_str() != Some(""));
        let text = |name: &str| {
            let text = |it: &Value| it.as_str().map(str::to_owned);
            given(name).map(|it| text(it).ok_or_else(|| wrong(name, "a string"))).transpose()
        };
        let missing =
            |name: &str| ErrorAnswer::bad_request("ERR_NGROK_236", format!("`{name}` is missing"));
        let moment_of = |name: &str| text(name)?.map(|it| moment(name, &it)).transpose();
        let number = |name: &str, expected: &str| {
            given(name).map(|it| it.as_u64().ok_or_else(|| wrong(name, expected))).transpose()
        };
        let rate = number("rate", "a whole number of records a second, from 1")?;
        let is_rate = |rate: u64| u32::try_from(rate).ok().filter(|it| *it > 0);
        let rate = rate.map(|it| is_rate(it).ok_or_else(|| wrong("rate", "from 1 to 4294967295")));
        let dry_run = given("dry_run").map_or(Some(false), Value::as_bool);
        let wanted = Wanted {
            destination: text("destination_id")?.ok_or_else(|| missing("destination_id"))?,
            since: moment_of("since")?.ok_or_else(|| missing("since"))?,
            until: moment_of("until")?.unwrap_or_else(Timestamp::now),
            filter: text("filter")?,
            types: given("types").map_or_else(|| Ok(BTreeSet::new()), types)?,
            rate: rate.transpose()?,
            dry_run: dry_run.ok_or_else(|| wrong("dry_run", "true or false"))?,
            after: number("after", "what an earlier answer has there")?.unwrap_or(0),
        };
        match wanted.until <= wanted.since {
            true => Err(wrong("until", "later than `since`")),
            false => Ok(wanted),
        }
    }
}

fn types(value: &Value) -> Result<BTreeSet<String>, ErrorAnswer> {
    let types = value.as_array().filter(|types| types.len() <= MAX_TYPES);
    let types = types.map(|all| all.iter().map(|it| it.as_str().map(str::to_owned)).collect());
    types
        .flatten()
        .ok_or_else(|| wrong("types", &format!("a list of at most {MAX_TYPES} event types")))
}

/// A time, or a duration back from now.
fn moment(name: &str, text: &str) -> Result<Timestamp, ErrorAnswer> {
    let back = |span: Duration| {
        let now = Timestamp::now();
        let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp { seconds: now.seconds.saturating_sub(seconds).max(0), ..now }
    };
    let moment = duration(text).map(back).or_else(|| Timestamp::parse(text));
    moment
        .ok_or_else(|| wrong(name, "a duration such as 2h, or a time such as 2025-09-04T10:11:14Z"))
}
