//! `POST /filters/try`: what a filter would have done, on events given or on the last that came in.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::control::{Control, Refusal};
use crate::filter;
use crate::http::ErrorAnswer;
use crate::pipeline::Trial;
use crate::resources::{ResourceError, Source};

/// Most events that one request may try a filter on.
const MAX_EVENTS: usize = 1_000;

/// Most work of one request, in units of about a nanosecond: half a second, which is a hundred of the
/// longest evaluations. It keeps a thread from all others as long.
const MAX_WORK: u64 = 500_000_000;

/// Work of reading an event besides its filter's, for each of its bytes.
const WORK_PER_BYTE: u64 = 5;

/// Most examples of matching events that are shown.
const MAX_SHOWN: usize = 3;

/// One term of the filter, how often it was among those that decided, and what it found last.
#[derive(Default)]
struct Term<'t> {
    text: &'t str,
    yes: u64,
    no: u64,
    errors: u64,
    /// The term's fields with their JSON text in the last event that it decided.
    last_fields: Map<String, Value>,
}

impl<'t> Term<'t> {
    fn add(&mut self, found: filter::Term<'t>) {
        self.text = found.text;
        match found.value {
            Ok(true) => self.yes += 1,
            Ok(false) => self.no += 1,
            Err(_) => self.errors += 1,
        }
        let named = |(name, json): (&str, Option<String>)| (name.to_owned(), json.into());
        self.last_fields = found.fields.into_iter().map(named).collect();
    }
}

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
    let mut terms: Vec<Term<'_>> = Vec::new();
    // A filter may have a thousand terms, too many to look through for each term of each event.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let (mut work, mut tried) = (0u64, 0);
    for (index, text) in events.iter().enumerate() {
        if work + trial.counts().filter_work > MAX_WORK {
            break;
        }
        tried = index + 1;
        work += text.len() as u64 * WORK_PER_BYTE;
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
        if let Some((decision, took)) = trial.explain(&read.0) {
            work += took;
            for found in decision.terms {
                let at = *places.entry(found.text).or_insert(terms.len());
                if at == terms.len() {
                    terms.push(Term::default());
                }
                terms[at].add(found);
            }
        }
    }
    let terms: Vec<Value> = terms
        .iter()
        .map(|it| {
            json!({
                "term": it.text,
                "true": it.yes,
                "false": it.no,
                "errors": it.errors,
                "last_fields": it.last_fields,
            })
        })
        .collect();
    let counts = trial.counts();
    json!({
        "seen": counts.seen,
        "untried": events.len() - tried,
        "matched": counts.matched,
        "errors": counts.filter_errors,
        "last_error": counts.last_filter_error,
        "terms": terms,
        "rejected": rejected,
        "examples": examples,
    })
}
