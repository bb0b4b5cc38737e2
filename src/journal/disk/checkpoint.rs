//! The checkpoint: where every destination's cursor stands, in one small file replaced as a whole.
//!
//! One line that names format, version and CRC-32C of the rest, then JSON for people's eyes. It is
//! always behind the log, and what was settled since stands beside it (see `progress`); to lose it means
//! that records are delivered twice, never that one is lost.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::faults::Faults;
use super::state::State;
use super::whole;
use crate::journal::Account;
use crate::resources::ResourceId;

const NAME: &str = "cursors";

/// The first words of the file, before version and checksum.
const TITLE: &str = "sluicegate cursors";

/// The format that this program writes, and the newest that it reads.
const VERSION: u64 = 1;

/// What a checkpoint says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Checkpoint {
    /// The end of the log when it was made.
    pub head: u64,
    /// Segments in which nothing is pending, although they may lie after a cursor.
    pub settled_segments: BTreeSet<u64>,
    pub cursors: Vec<Saved>,
    /// Its number, which names the files of what was settled after it (see `progress`); 0 in the first
    /// files, which had none.
    pub number: u64,
}

/// One destination's cursor and counts.
#[derive(Debug, PartialEq)]
pub(super) struct Saved {
    pub id: ResourceId,
    pub account: Account,
    /// Everything for this destination before this position was read …
    pub next: u64,
    /// … and all of that is settled but these.
    pub unsettled: BTreeSet<u64>,
}

impl Checkpoint {
    /// The position before which it calls nothing pending.
    pub(super) fn settled_until(&self) -> u64 {
        let firsts = self
            .cursors
            .iter()
            .map(|it| it.unsettled.first().map_or(it.next, |first| it.next.min(*first)));
        firsts.fold(self.head, u64::min)
    }
}

impl Saved {
    /// Whether a record at a position, which names the destination, was not settled then.
    pub(super) fn calls_pending(&self, position: u64) -> bool {
        position >= self.next || self.unsettled.contains(&position)
    }
}

/// The state's cursors as text, as the checkpoint of a number.
pub(super) fn to_text(state: &State, settled_segments: &[u64], number: u64) -> String {
    let cursors: Vec<Value> = state
        .queues
        .iter()
        .map(|queue| {
            let (next, unsettled) = queue.progress(state.head);
            json!({
                "id": queue.id.as_str(),
                "accepted": queue.account.accepted,
                "filtered_out": queue.account.filtered_out,
                "appended": queue.account.appended,
                "delivered": queue.account.delivered,
                "dead_lettered": queue.account.dead_lettered,
                "dropped": queue.account.dropped,
                "lost": queue.account.lost,
                "next": next,
                "unsettled": unsettled,
            })
        })
        .collect();
    let body = json!({
        "head": state.head,
        "number": number,
        "settled_segments": settled_segments,
        "cursors": cursors,
    });
    whole::text(TITLE, VERSION, &body.to_string())
}

pub(super) fn write(directory: &Path, text: &str, faults: &Faults) -> io::Result<()> {
    whole::replace(directory, NAME, text, faults)
}

/// Reads the file; `None` if there is none or it is damaged, which costs duplicates only.
///
/// # Errors
/// When it cannot be read, or was written by a later version of this program.
pub(super) fn read(directory: &Path) -> io::Result<Option<Checkpoint>> {
    let bytes = match fs::read(directory.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match parse(&String::from_utf8_lossy(&bytes)) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(Unreadable::Newer(version)) => {
            let message = format!(
                "`{NAME}` has format version {version}, this program reads up to {VERSION}; start the version that wrote it"
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
        Err(Unreadable::Damaged) => {
            tracing::error!("`{NAME}` is damaged: all that the journal holds is delivered again");
            Ok(None)
        }
    }
}

#[derive(Debug, PartialEq)]
enum Unreadable {
    Newer(u64),
    Damaged,
}

fn parse(text: &str) -> Result<Checkpoint, Unreadable> {
    let (version, body) = whole::parse(TITLE, text).ok_or(Unreadable::Damaged)?;
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    serde_json::from_str(body)
        .ok()
        .and_then(|body: Value| from_json(&body))
        .ok_or(Unreadable::Damaged)
}

fn from_json(body: &Value) -> Option<Checkpoint> {
    let positions = |value: &Value| -> Option<BTreeSet<u64>> {
        value.as_array()?.iter().map(Value::as_u64).collect()
    };
    let cursors = body["cursors"].as_array()?.iter().map(|cursor| {
        let count = |key: &str| cursor[key].as_u64();
        let appended = count("appended")?;
        let account = Account {
            // The first files had no ledger: whatever was appended had been accepted.
            accepted: count("accepted").unwrap_or(appended),
            filtered_out: count("filtered_out").unwrap_or(0),
            appended,
            delivered: count("delivered")?,
            dead_lettered: count("dead_lettered")?,
            dropped: count("dropped")?,
            // Before there was a word for it, what was lost counted as dropped.
            lost: count("lost").unwrap_or(0),
            ..Account::default()
        };
        Some(Saved {
            id: ResourceId::new(cursor["id"].as_str()?).ok()?,
            account,
            next: count("next")?,
            unsettled: positions(&cursor["unsettled"])?,
        })
    });
    Some(Checkpoint {
        head: body["head"].as_u64()?,
        settled_segments: positions(&body["settled_segments"])?,
        cursors: cursors.collect::<Option<_>>()?,
        number: body["number"].as_u64().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Terms;

    fn text() -> String {
        let mut state = State::new(0, 500);
        state.attach(&ResourceId::new("a").unwrap(), Terms::default());
        state.queues[0].account.delivered = 7;
        state.queues[0].account.accepted = 9;
        state.queues[0].account.filtered_out = 2;
        to_text(&state, &[3, 4], 17)
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        write(folder.path(), &text(), &Faults::default()).unwrap();
        let checkpoint = read(folder.path()).unwrap().unwrap();
        assert_eq!(checkpoint.head, 500);
        assert_eq!(checkpoint.settled_segments, BTreeSet::from([3, 4]));
        assert_eq!(checkpoint.number, 17);
        assert_eq!(checkpoint.cursors.len(), 1);
        assert_eq!(checkpoint.cursors[0].account.delivered, 7);
        assert_eq!(checkpoint.cursors[0].account.imbalance(), 0);
        assert_eq!(checkpoint.cursors[0].next, 500);
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_goes_unnoticed() {
        let text = text();
        for at in 0..text.len() - 1 {
            assert_eq!(parse(&text[..at]), Err(Unreadable::Damaged), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let flipped = String::from_utf8(bytes).unwrap();
            assert!(parse(&flipped).is_err() || at < text.find('\n').unwrap(), "{flipped}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &text().replacen("cursors 1", "cursors 2", 1), &Faults::default())
            .unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            "`cursors` has format version 2, this program reads up to 1; start the version that wrote it"
        );
    }
}
