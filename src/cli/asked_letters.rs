//! The dead letters of a running daemon, by its API: what `sluicegate dead-letters --api URL` does. What is done
//! with a folder stands beside it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::api::Remote;
use super::table::table;
use super::{Failure, Outcome, OutputFormat, block_on};
use crate::api::encode;
use crate::config::show_duration;
use crate::pipeline::LetterChoice;
use crate::report::{counted, escaped};

/// How long one piece of work may take there, with the wait for others'.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Most letters that are listed, so that a list without an end has one.
const MOST: usize = 1_000_000;

/// A letter as a folder's list has it.
fn as_listed(letter: &Value) -> Value {
    json!({
        "id": letter["id"],
        "time": letter["created_at"],
        "destination": letter["destination_id"],
        "event_id": letter["event_id"],
        "reason": letter["reason"],
        "attempts": letter["attempts"],
    })
}

fn text<'v>(letter: &'v Value, key: &str) -> &'v str {
    letter[key].as_str().unwrap_or_default()
}

fn query(choice: &LetterChoice) -> String {
    let spans = [("older_than", choice.older_than), ("newer_than", choice.newer_than)];
    let spans = spans.into_iter().filter_map(|(name, it)| Some((name, show_duration(it?))));
    let texts = [("destination_id", &choice.owner), ("reason", &choice.reason)];
    let texts = texts.into_iter().filter_map(|(name, it)| Some((name, it.clone()?)));
    let all = texts.chain(spans).map(|(name, it)| format!("{name}={}", encode(&it)));
    all.collect::<Vec<_>>().join("&")
}

async fn all(remote: &Remote, choice: &LetterChoice) -> Result<Vec<Value>, Failure> {
    let mut letters = remote.list("/dead_letters", "dead_letters", query(choice), MOST).await?;
    letters.retain(|it| choice.ids.is_empty() || choice.ids.contains(text(it, "id")));
    Ok(letters)
}

/// Lists letters, the newest first.
pub(super) fn list(remote: &Remote, choice: &LetterChoice, output: OutputFormat) -> Outcome {
    let letters = block_on(all(remote, choice))??;
    let mut out = io::stdout().lock();
    if output == OutputFormat::Json {
        let letters: Vec<Value> = letters.iter().map(as_listed).collect();
        return Ok(writeln!(out, "{}", json!(letters))?);
    }
    for it in &letters {
        let tries = counted(it["attempts"].as_u64().unwrap_or_default(), "try");
        let [id, time, destination] =
            ["id", "created_at", "destination_id"].map(|key| text(it, key));
        let (event, reason) = (text(it, "event_id"), text(it, "reason"));
        let line = format!("{id}  {time}  {destination}  {event}  after {tries}: {reason}");
        writeln!(out, "{}", escaped(&line))?;
    }
    Ok(())
}

/// Prints one letter whole.
pub(super) fn show(remote: &Remote, id: &str, output: OutputFormat) -> Outcome {
    let path = format!("/dead_letters/{}", encode(id));
    let letter = block_on(remote.must(Method::GET, &path, None))??;
    let mut out = io::stdout().lock();
    match output {
        OutputFormat::Json => {
            let mut head = as_listed(&letter);
            head["event_time"] = letter["event_timestamp"].clone();
            let head = head.to_string();
            let head = head.strip_suffix('}').unwrap_or(&head);
            writeln!(out, "{head},\"record\":{}}}", text(&letter, "record"))?;
        }
        OutputFormat::Table => {
            let attempts = letter["attempts"].to_string();
            let rows = [
                ("id", text(&letter, "id")),
                ("time", text(&letter, "created_at")),
                ("destination", text(&letter, "destination_id")),
                ("event", text(&letter, "event_id")),
                ("attempts", &attempts),
                ("reason", text(&letter, "reason")),
                ("record", text(&letter, "record")),
            ]
            .map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
            out.write_all(table(&rows, 0).as_bytes())?;
        }
    }
    match letter["truncated"].as_bool() {
        Some(true) => Err(Failure::Work(format!(
            "the record has {} bytes, of which the API shows the beginning",
            letter["record_bytes"]
        ))),
        _ => Ok(()),
    }
}

fn body(choice: &LetterChoice) -> Map<String, Value> {
    let span = |it: Option<Duration>| json!(it.map(show_duration));
    let ids = (!choice.ids.is_empty()).then_some(&choice.ids);
    let members = [
        ("all", json!(!choice.is_any())),
        ("ids", json!(ids)),
        ("destination_id", json!(choice.owner)),
        ("reason", json!(choice.reason)),
        ("older_than", span(choice.older_than)),
        ("newer_than", span(choice.newer_than)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Has work on letters done, piece by piece; gives all answers.
async fn work(remote: &Remote, path: &str, choice: &LetterChoice) -> Result<Vec<Value>, Failure> {
    let (mut body, mut answers) = (body(choice), Vec::new());
    loop {
        let answer = remote.must(Method::POST, path, Some(Value::Object(body.clone()))).await?;
        body.insert("after".to_owned(), answer["after"].clone());
        let is_done = answer["after"].is_null();
        answers.push(answer);
        if is_done {
            return Ok(answers);
        }
    }
}

/// What there is no letter of; known where one answer says it all.
fn missing(answers: &[Value]) -> Outcome {
    let [answer] = answers else { return Ok(()) };
    match answer["missing"].as_array().and_then(|ids| ids.first()).and_then(Value::as_str) {
        None => Ok(()),
        Some(id) => Err(Failure::Work(format!("no letter `{}`", escaped(id)))),
    }
}

/// Has letters thrown away.
pub(super) fn purge(remote: &Remote, choice: &LetterChoice, dry_run: bool) -> Outcome {
    let mut out = io::stdout().lock();
    if dry_run {
        let letters = block_on(all(remote, choice))??;
        return Ok(writeln!(
            out,
            "{} would be thrown away",
            counted(letters.len() as u64, "letter")
        )?);
    }
    let answers = block_on(work(remote, "/dead_letters/purge", choice))??;
    let purged: u64 = answers.iter().filter_map(|it| it["purged"].as_u64()).sum();
    let gone = missing(&answers);
    if purged > 0 || gone.is_ok() {
        writeln!(out, "{} thrown away", counted(purged, "letter"))?;
    }
    gone
}

/// Has letters sent again; what became of them is counted in words.
pub(super) fn redrive(
    remote: &Remote,
    choice: &LetterChoice,
    dry_run: bool,
) -> Result<(BTreeMap<String, u64>, Outcome), Failure> {
    let mut results = BTreeMap::new();
    if dry_run {
        for letter in block_on(all(remote, choice))?? {
            let what = format!("would be sent to {}", text(&letter, "destination_id"));
            *results.entry(what).or_default() += 1;
        }
        return Ok((results, Ok(())));
    }
    let answers = block_on(work(remote, "/dead_letters/redrive", choice))??;
    for it in answers.iter().filter_map(|it| it["results"].as_array()).flatten() {
        let (id, reason) = (text(it, "destination_id"), text(it, "reason"));
        let what = match text(it, "outcome") {
            "delivered" => format!("delivered to {id}"),
            "rejected" => format!("kept: rejected by {id}: {reason}"),
            "failed" => format!("kept: {id} failed: {reason}"),
            "not_sent" => format!("kept: not sent, since {id} failed: {reason}"),
            "no_destination" => format!("kept: no destination `{id}` any more"),
            "rejected_on_arrival" => {
                format!("kept: rejected on arrival at {id}; mend what `export` prints there")
            }
            _ => "kept, for other reasons".to_owned(),
        };
        *results.entry(what).or_default() += it["letters"].as_u64().unwrap_or_default();
    }
    Ok((results, missing(&answers)))
}
