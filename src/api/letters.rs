//! `/dead_letters`: what could not be delivered, listed and shown, sent again, thrown away. What `bury` does
//! stands beside it.
//!
//! Work goes on for some seconds a request and says where the next goes on. Of what a service said no more is
//! told than elsewhere in the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::request::{encode, page};
use crate::control::{Asked, Control, Refusal};
use crate::http::ErrorAnswer;
use crate::journal::StoredLetter;
use crate::pipeline::{Fates, LetterChoice, LettersAsked, LettersDone, LettersError, ListedLetter};
use crate::resources::duration;
use crate::sinks::without_its_words;

/// No letters are chosen.
const CHOOSE: &str = "ERR_SLUICEGATE_1436";

/// Dead letters are in use, or their disk fails.
const NOT_NOW: &str = "ERR_SLUICEGATE_1437";

/// How long one request works on letters.
pub(super) const WORK: Duration = Duration::from_secs(15);

/// Most bytes of a record that a list shows: with [`super::request::MAX_LIMIT`] of them, 400 KiB.
const SHOWN: usize = 4 << 10;

/// Most bytes of a record that is shown by itself.
const SHOWN_WHOLE: usize = 8 << 20;

/// Most ids that a request may name, and owners that it may go on from.
const MAX_IDS: usize = 1_000;

/// The query parameters of the list.
pub(super) const PARAMETERS: [&str; 7] =
    ["before_id", "daemon", "destination_id", "limit", "newer_than", "older_than", "reason"];

/// The members of a body that chooses letters.
const MEMBERS: [&str; 7] =
    ["after", "all", "destination_id", "ids", "newer_than", "older_than", "reason"];

/// One page of the list, the newest first.
pub(super) async fn list(
    control: &Control,
    mut parameters: BTreeMap<String, String>,
    daemon: Option<&str>,
    base: &str,
) -> Result<Value, ErrorAnswer> {
    let mut rest = daemon.map_or_else(String::new, |name| format!("&daemon={}", encode(name)));
    let mut given = |name: &str| {
        let value = parameters.remove(name).filter(|it| !it.is_empty())?;
        rest.push_str(&format!("&{name}={}", encode(&value)));
        Some(value)
    };
    let (owner, reason) = (given("destination_id"), given("reason"));
    let older_than = given("older_than").map(|it| span("older_than", &it)).transpose()?;
    let newer_than = given("newer_than").map(|it| span("newer_than", &it)).transpose()?;
    let choice = LetterChoice {
        owner,
        reason,
        as_shown: true,
        older_than,
        newer_than,
        ..LetterChoice::default()
    };
    let asked = page(parameters)?;
    let (limit, before_id) = (asked.limit, asked.before_id);
    let asked = LettersAsked { choice, before_id, limit, shown: SHOWN };
    let (found, is_more) = control.pipeline().list_letters(asked).await.map_err(refusal)?;
    let next = found.last().filter(|_| is_more).map(|last| {
        let id = encode(&last.letter.id);
        format!("{base}/dead_letters?before_id={id}&limit={limit}{rest}")
    });
    let items: Vec<Value> =
        found.iter().map(|ListedLetter { letter, bytes }| shown(letter, *bytes, base)).collect();
    let uri = format!("{base}/dead_letters");
    Ok(json!({"dead_letters": items, "uri": uri, "next_page_uri": next}))
}

/// One letter with its whole record.
pub(super) async fn get(control: &Control, id: &str, base: &str) -> Result<Value, ErrorAnswer> {
    let found = control.pipeline().letter(id).await.map_err(refusal)?;
    let letter = found.ok_or_else(Refusal::not_found)?;
    let bytes = letter.record.body.len();
    if bytes <= SHOWN_WHOLE {
        return Ok(shown(&letter, bytes, base));
    }
    let mut record = (*letter.record).clone();
    record.body.truncate(SHOWN_WHOLE);
    Ok(shown(&StoredLetter { record: Arc::new(record), ..letter }, bytes, base))
}

/// A letter, of whose record so many bytes there are in all.
fn shown(letter: &StoredLetter, bytes: usize, base: &str) -> Value {
    let body = &letter.record.body;
    // What an entrance has refused may be any bytes; a character may be cut in two.
    let record = String::from_utf8_lossy(body);
    json!({
        "id": letter.id,
        "uri": format!("{base}/dead_letters/{}", letter.id),
        "created_at": letter.time.to_string(),
        "destination_id": letter.destination,
        "event_id": &*letter.record.event_id,
        "event_timestamp": letter.record.time.to_string(),
        "reason": without_its_words(&letter.reason),
        "attempts": letter.attempts,
        "record": record,
        "record_bytes": bytes,
        "truncated": body.len() < bytes,
    })
}

/// Sends letters again.
pub(super) async fn redrive(
    control: Arc<Control>,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Value, ErrorAnswer> {
    let (choice, owner) = choice(&input)?;
    let done = control.pipeline().redrive_letters(choice, WORK).await.map_err(refusal)?;
    asked.log("redriven", "dead letters", &owner);
    let told = json!({"destination_id": owner, "delivered": done.gone, "kept": done.kept});
    control.tell("dead_letters_redriven.v0", told, Some(&asked)).await;
    let mut answer =
        json!({"delivered": done.gone, "kept": done.kept, "results": fates(&done.fates)});
    ended(&mut answer, done);
    Ok(answer)
}

/// Throws letters away.
pub(super) async fn purge(
    control: Arc<Control>,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Value, ErrorAnswer> {
    let (choice, owner) = choice(&input)?;
    let done = control.pipeline().purge_letters(choice, WORK).await.map_err(refusal)?;
    asked.log("purged", "dead letters", &owner);
    let told = json!({"destination_id": owner, "purged": done.gone});
    control.tell("dead_letters_purged.v0", told, Some(&asked)).await;
    let mut answer = json!({"purged": done.gone});
    ended(&mut answer, done);
    Ok(answer)
}

fn ended(answer: &mut Value, done: LettersDone) {
    answer["missing"] = json!(done.missing);
    answer["after"] = json!(done.after);
}

fn fates(fates: &Fates) -> Vec<Value> {
    let fate = |((owner, what, reason), letters): (&(String, &str, String), &u64)| {
        let reason = (!reason.is_empty()).then(|| without_its_words(reason));
        json!({"destination_id": owner, "outcome": what, "reason": reason, "letters": letters})
    };
    fates.iter().map(fate).collect()
}

/// The letters that a body chooses, and the destination that it names, if any.
fn choice(input: &Map<String, Value>) -> Result<(LetterChoice, String), ErrorAnswer> {
    if let Some(name) = input.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let message =
            format!("unknown parameter `{name}`; supported are `{}`", MEMBERS.join("`, `"));
        return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
    }
    let wrong = |name: &str, expected: &str| {
        ErrorAnswer::bad_request("ERR_NGROK_215", format!("`{name}` must be {expected}"))
    };
    let given = |name: &str| input.get(name).filter(|it| !it.is_null() && it.as_str() != Some(""));
    let text = |name: &str| {
        let text = |it: &Value| it.as_str().map(str::to_owned);
        given(name).map(|it| text(it).ok_or_else(|| wrong(name, "a string"))).transpose()
    };
    let duration_of = |name: &str| text(name)?.map(|it| span(name, &it)).transpose();
    let all = match given("all") {
        None => false,
        Some(all) => all.as_bool().ok_or_else(|| wrong("all", "true or false"))?,
    };
    let ids = given("ids").map(ids).unwrap_or(Some(BTreeSet::new()));
    let ids = ids.ok_or_else(|| wrong("ids", &format!("a list of at most {MAX_IDS} ids")))?;
    let after = given("after").map(numbers).unwrap_or(Some(BTreeMap::new()));
    let after = after.ok_or_else(|| wrong("after", "what an earlier answer has there"))?;
    let owner = text("destination_id")?;
    let choice = LetterChoice {
        ids,
        owner: owner.clone(),
        reason: text("reason")?,
        as_shown: true,
        older_than: duration_of("older_than")?,
        newer_than: duration_of("newer_than")?,
        after,
    };
    if !all && !choice.is_any() {
        let message = "choose letters by `ids`, `destination_id`, `reason`, `older_than` or `newer_than`, or say `all: true`";
        return Err(ErrorAnswer::bad_request(CHOOSE, message));
    }
    Ok((choice, owner.unwrap_or_default()))
}

fn ids(value: &Value) -> Option<BTreeSet<String>> {
    let ids = value.as_array().filter(|ids| ids.len() <= MAX_IDS)?;
    ids.iter().map(|id| id.as_str().map(str::to_owned)).collect()
}

fn numbers(value: &Value) -> Option<BTreeMap<String, u64>> {
    let numbers = value.as_object().filter(|it| it.len() <= MAX_IDS)?;
    numbers.iter().map(|(owner, number)| Some((owner.clone(), number.as_u64()?))).collect()
}

/// A duration as the settings file has it.
pub(super) fn span(name: &str, text: &str) -> Result<Duration, ErrorAnswer> {
    duration(text).ok_or_else(|| {
        let message = format!("`{name}` is no duration such as 30s or 7d: `{text}`");
        ErrorAnswer::bad_request("ERR_NGROK_215", message)
    })
}

fn refusal(error: LettersError) -> ErrorAnswer {
    let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, NOT_NOW, error.to_string());
    answer.retry_after(WORK.as_secs())
}
