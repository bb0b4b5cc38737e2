//! `POST /filters/try`: what a filter would have done, on events given or on the last that came in.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::control::{Control, Refusal};
use crate::http::ErrorAnswer;
use crate::pipeline::Trial;
use crate::resources::{ResourceError, Source};

/// Most events that one request may try a filter on.
const MAX_EVENTS: usize = 1_000;

/// Most examples of matching events that are shown.
const MAX_SHOWN: usize = 3;

/// One part of the filter and how often it decided.
#[derive(Default)]
struct Term {
    text: String,
    yes: u64,
    no: u64,
    errors: u64,
}

/// Tries a filter.
pub(super) fn run(
    control: &Arc<Control>,
    input: &Map<String, Value>,
) -> Result<Value, ErrorAnswer> {
    const KNOWN: [&str; 4] = ["type", "filter", "events", "last"];
    if let Some(name) = input.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let message = format!("unknown parameter `{name}`; supported are `{}`", KNOWN.join("`, `"));
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    let text = |name: &str| match input.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(wrong(format!("`{name}` must be a string"))),
    };
    let (event_type, filter) = (text("type")?, text("filter")?);
    let catalog = control.catalog();
    let source = Source::new(&catalog, event_type, Some(filter), None).map_err(first)?;
    let events = match (input.get("events"), input.get("last")) {
        (Some(Value::Array(events)), None) if events.len() <= MAX_EVENTS => {
            events.iter().map(|event| Arc::from(event.to_string())).collect()
        }
        (None | Some(Value::Null), last) => {
            let last = last.map_or(Some(MAX_EVENTS as u64), Value::as_u64);
            let last = last.and_then(|last| usize::try_from(last).ok());
            match last {
                Some(last @ 1..=MAX_EVENTS) => control.pipeline().recent_events(event_type, last),
                _ => return Err(wrong(format!("`last` must be 1 to {MAX_EVENTS}"))),
            }
        }
        _ => {
            let message =
                format!("`events` must be a list of at most {MAX_EVENTS} events, without `last`");
            return Err(wrong(message));
        }
    };
    let trial = Trial::explaining(source).map_err(Refusal::from)?;
    Ok(count(&trial, &events))
}

fn wrong(message: String) -> ErrorAnswer {
    ErrorAnswer::bad_request("ERR_NGROK_215", message)
}

fn first(errors: Vec<ResourceError>) -> ErrorAnswer {
    match errors.into_iter().next() {
        Some(error) => Refusal::from(error).into(),
        None => wrong("the filter cannot be tried".to_owned()),
    }
}

fn count(trial: &Trial, events: &[Arc<str>]) -> Value {
    let mut rejected = Vec::new();
    let mut examples = Vec::new();
    let mut terms: Vec<Term> = Vec::new();
    for (index, text) in events.iter().enumerate() {
        let read = match trial.read(text) {
            Ok(read) => read,
            Err(error) => {
                rejected.push(
                    json!({"index": index, "error_code": error.code(), "msg": error.to_string()}),
                );
                continue;
            }
        };
        if !trial.takes(&read.0) {
            continue;
        }
        if trial.matches(&read).is_some() && examples.len() < MAX_SHOWN {
            examples.push(serde_json::from_str::<Value>(text).unwrap_or(Value::Null));
        }
        if let Some(decision) = trial.explain(&read.0) {
            let known = terms.iter().position(|term| term.text == decision.text);
            let at = known.unwrap_or_else(|| {
                terms.push(Term { text: decision.text.to_owned(), ..Term::default() });
                terms.len() - 1
            });
            match decision.value {
                Ok(true) => terms[at].yes += 1,
                Ok(false) => terms[at].no += 1,
                Err(_) => terms[at].errors += 1,
            }
        }
    }
    let terms: Vec<Value> = terms
        .iter()
        .map(|it| json!({"term": it.text, "true": it.yes, "false": it.no, "errors": it.errors}))
        .collect();
    let counts = trial.counts();
    json!({
        "seen": counts.seen,
        "matched": counts.matched,
        "errors": counts.filter_errors,
        "last_error": counts.last_filter_error,
        "terms": terms,
        "rejected": rejected,
        "examples": examples,
    })
}
