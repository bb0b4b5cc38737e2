//! `sluicegate dead-letters redrive --from`: letters whose records somebody has mended.
//!
//! A record for a destination goes there; an event that was rejected at an entrance goes to the
//! daemon's ingest over HTTP, as if it came in now. A letter that is not there any more is not sent.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use super::client::Client;
use super::redriving::{Results, send, tell};
use super::{Failure, Outcome, block_on};
use crate::config::Config;
use crate::journal::{ENTRANCES, Fate, StoredLetter, forget_dead_letters, read_dead_letters};

/// Events of one request: far less than any body may have.
const EVENTS_AT_ONCE: usize = 100;

/// Sends the letters of a file and counts what became of them.
pub(super) fn redrive(
    config: &Config,
    file: &Path,
    ingest: Option<&str>,
    dry_run: bool,
) -> Outcome {
    let mut results = Results::default();
    for (owner, letters) in read(config, file, &mut results)? {
        if !ENTRANCES.contains(&owner.as_str()) {
            send(config, letters, dry_run, &mut results).map_err(Failure::Work)?;
        } else if dry_run {
            let what = "would be sent to the daemon's ingest".to_owned();
            *results.entry(what).or_default() += letters.len() as u64;
        } else {
            send_in(config, &letters, ingest, &mut results)?;
        }
    }
    tell(&results, dry_run)
}

/// The letters of a file that are still there, by owner, with the file's records.
fn read(
    config: &Config,
    file: &Path,
    results: &mut Results,
) -> Result<BTreeMap<String, Vec<StoredLetter>>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::work(format!("{} cannot be read: {error}", file.display())))?;
    let mut mended: HashMap<String, StoredLetter> = HashMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let letter = StoredLetter::from_line(line).ok_or_else(|| {
            let place = format!("{}:{}", file.display(), at + 1);
            Failure::work(format!("{place}: no line of `dead-letters export`; nothing was sent"))
        })?;
        mended.insert(letter.id.clone(), letter);
    }
    let mut owners: BTreeMap<String, Vec<StoredLetter>> = BTreeMap::new();
    read_dead_letters(&config.journal.directory, |letter| {
        if let Some(StoredLetter { record, .. }) = mended.remove(&letter.id) {
            let letters = owners.entry(letter.destination.clone()).or_default();
            letters.push(StoredLetter { record, ..letter });
        }
        Ok(())
    })?;
    if !mended.is_empty() {
        let what = "not sent: no longer among the dead letters".to_owned();
        *results.entry(what).or_default() += mended.len() as u64;
    }
    Ok(owners)
}

/// Sends events to the daemon's ingest.
fn send_in(
    config: &Config,
    letters: &[StoredLetter],
    ingest: Option<&str>,
    results: &mut Results,
) -> Outcome {
    let address = match (ingest, &config.ingest) {
        (Some(address), _) => address.to_owned(),
        (None, Some(settings)) => {
            let mut listen = settings.listen;
            if listen.ip().is_unspecified() {
                listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{listen}")
        }
        (None, None) => {
            let message = "the settings have no HTTP ingest: give a daemon's with --ingest URL";
            return Err(Failure::Work(message.to_owned()));
        }
    };
    let token = config.ingest.as_ref().and_then(|it| it.bearer_tokens.first());
    let client = Client::new(address.clone()).with_key(token);
    for letters in letters.chunks(EVENTS_AT_ONCE) {
        let body: Vec<u8> = letters.iter().flat_map(event).collect();
        let (status, answer) = block_on(client.post_events(Bytes::from(body)))??;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let Some(rejected) = answer["rejected"].as_array() else {
            let said = answer["msg"].as_str().unwrap_or_default();
            let what = format!("kept: {address} answered {status} {said}");
            *results.entry(what.trim_end().to_owned()).or_default() += letters.len() as u64;
            continue;
        };
        let mut taken = Vec::new();
        for (index, letter) in letters.iter().enumerate() {
            let no = rejected.iter().find(|it| it["index"].as_u64() == Some(index as u64));
            let what = match no {
                Some(no) => format!("kept: rejected: {}", no["msg"].as_str().unwrap_or_default()),
                None => {
                    taken.push(letter.clone());
                    "delivered to the daemon's ingest".to_owned()
                }
            };
            *results.entry(what).or_default() += 1;
        }
        forget_dead_letters(&config.journal.directory, Fate::Redriven, &taken)?;
    }
    Ok(())
}

/// A letter's event as a line. A rejected event is exported as a text, since it may be no JSON; a
/// mended one may be either.
fn event(letter: &StoredLetter) -> Vec<u8> {
    let body = &letter.record.body;
    let mut line = match serde_json::from_slice::<Value>(body) {
        // Between the tokens of an event a line break means nothing.
        Ok(Value::String(text)) => text.replace(['\n', '\r'], " ").into_bytes(),
        _ => body.to_vec(),
    };
    // A blank line would be no event, and shift the numbers of those behind it.
    if line.trim_ascii().is_empty() {
        line = b"null".to_vec();
    }
    line.push(b'\n');
    line
}
