//! Sending dead letters to their destinations again, and saying what became of them. It does not choose
//! them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use super::{Failure, Outcome, block_on};
use crate::config::Config;
use crate::journal::{
    AT_ENVOY, AT_FILES, AT_KAFKA, AT_STDIN, AT_SYSLOG, Fate, StoredLetter, forget_dead_letters,
};
use crate::pipeline::redrive;
use crate::report::{counted, escaped};
use crate::sinks::{Ack, LogOutput};

/// How many letters met which fate, in words; those that begin with `delivered` are gone.
pub(super) type Results = BTreeMap<String, u64>;

/// Says what became of letters.
///
/// # Errors
/// When any were not taken.
pub(super) fn tell(results: &Results, dry_run: bool) -> Outcome {
    let mut out = io::stdout().lock();
    let mut failed = 0;
    for (what, count) in results {
        writeln!(out, "{} {}", counted(*count, "letter"), escaped(what))?;
        failed += if what.starts_with("delivered") || dry_run { 0 } else { *count };
    }
    if results.is_empty() {
        writeln!(out, "0 letters")?;
    }
    if failed > 0 {
        return Err(Failure::Work(match failed {
            1 => "1 letter was not taken and is kept".to_owned(),
            _ => format!("{failed} letters were not taken and are kept"),
        }));
    }
    Ok(())
}

/// Sends letters of one destination and counts what became of them.
pub(super) fn send(
    config: &Config,
    letters: Vec<StoredLetter>,
    dry_run: bool,
    results: &mut Results,
) -> Result<(), String> {
    let Some(id) = letters.first().map(|letter| letter.destination.clone()) else {
        return Ok(());
    };
    let count = letters.len() as u64;
    let from = [
        (AT_KAFKA, "over Kafka"),
        (AT_STDIN, "on standard input"),
        (AT_FILES, "from a log file"),
        (AT_SYSLOG, "over syslog"),
        (AT_ENVOY, "from Envoy"),
    ];
    if let Some((_, how)) = from.iter().find(|(entrance, _)| *entrance == id) {
        let what = format!(
            "kept: rejected on arrival {how}; mend what `export` prints and `redrive --from` it"
        );
        *results.entry(what).or_default() += count;
        return Ok(());
    }
    let all = config.resources.destinations();
    let Some(destination) = all.iter().find(|it| it.id.as_str() == id) else {
        *results.entry(format!("kept: no destination `{id}` any more")).or_default() += count;
        return Ok(());
    };
    if dry_run {
        *results.entry(format!("would be sent to {id}")).or_default() += count;
        return Ok(());
    }
    let records: Vec<_> = letters.iter().map(|letter| Arc::clone(&letter.record)).collect();
    let acks = block_on(async {
        let sink = destination.open(LogOutput::Stdout).await;
        Ok::<_, String>(
            redrive(destination, &sink.map_err(|error| error.to_string())?, &records).await,
        )
    });
    let acks = acks.map_err(|_| "the async runtime cannot start".to_owned())??;
    let mut delivered = Vec::new();
    for (letter, ack) in letters.into_iter().zip(acks) {
        let what = match ack {
            Ack::Delivered => {
                delivered.push(letter);
                format!("delivered to {id}")
            }
            Ack::Retry(fault) => format!("kept: {id} failed: {}", fault.message),
            Ack::Rejected(reason) => format!("kept: rejected by {id}: {reason}"),
        };
        *results.entry(what).or_default() += 1;
    }
    forget_dead_letters(&config.journal.directory, Fate::Redriven, &delivered)
        .map_err(|error| format!("letters were delivered and cannot be marked: {error}"))
}
