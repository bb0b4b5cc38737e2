//! The marks: which letters were sent after all or thrown away, as the command line says beside the
//! daemon.
//!
//! One file of frames, only ever appended to by whoever holds its lock; what could not be written whole
//! is cut off again, by the next writer if the process was killed, and no reader takes it for a mark. The
//! daemon empties it once no letter is left that it speaks of. The first mark of a letter counts.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::disk::framed::{self, Piece, Pieces};
use super::Fate;
use super::totals::{give_reserve, is_full};
use crate::event::{Record, Timestamp};
use crate::private;

/// Most letters in one frame.
const AT_ONCE: usize = 10_000;

/// One owner's letters that went one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub owner: String,
    pub fate: Fate,
    pub numbers: Vec<u64>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("marks")
}

fn open(folder: &Path) -> io::Result<File> {
    private::file().read(true).append(true).open(path(folder))
}

fn encode(mark: &Mark) -> Vec<u8> {
    let mut bytes = Vec::new();
    for numbers in mark.numbers.chunks(AT_ONCE) {
        let text = json!({"owner": mark.owner, "fate": mark.fate.as_str(), "numbers": numbers});
        let time = Timestamp { seconds: 0, nanos: 0 };
        let body = Bytes::from(text.to_string());
        framed::encode(Record { event_id: "".into(), time, body, hops: 0 }, &mut bytes);
    }
    bytes
}

fn decode(record: &Record) -> Option<Mark> {
    let value: Value = serde_json::from_slice(&record.body).ok()?;
    let numbers = value["numbers"].as_array()?.iter().map(Value::as_u64);
    Some(Mark {
        owner: value["owner"].as_str()?.to_owned(),
        fate: Fate::of(value["fate"].as_str()?)?,
        numbers: numbers.collect::<Option<_>>()?,
    })
}

/// Adds marks, safely on disk. On a full disk the folder's reserve is given for them.
///
/// # Errors
/// When they cannot be written; then none of them counts.
pub(super) fn add(folder: &Path, marks: &[Mark]) -> io::Result<()> {
    let bytes: Vec<u8> = marks.iter().flat_map(encode).collect();
    if bytes.is_empty() {
        return Ok(());
    }
    let mut file = open(folder)?;
    file.lock()?;
    let before = cut_torn(&file)?;
    let mut write = || {
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        written.inspect_err(|_| {
            // If it cannot be cut either, a reader passes over it.
            let _cut = file.set_len(before);
        })
    };
    match write() {
        Err(error) if is_full(&error) && give_reserve(folder) => write(),
        written => written,
    }
}

/// What a process leaves that is killed while it adds marks.
#[cfg(test)]
pub(super) fn leave_torn(folder: &Path, beginning: &[u8]) {
    let Ok(mut file) = std::fs::OpenOptions::new().read(true).append(true).open(path(folder))
    else {
        return;
    };
    cut_torn(&file).unwrap();
    file.write_all(beginning).unwrap();
}

/// Cuts what a killed process left behind the last whole frame, while the lock is held; tells where the
/// file ends.
fn cut_torn(file: &File) -> io::Result<u64> {
    let mut pieces = Pieces::new(file.try_clone()?, 0)?;
    let mut end = pieces.len();
    while let Some(piece) = pieces.next()? {
        if let Piece::Torn { offset } = piece {
            file.set_len(offset)?;
            end = offset;
        }
    }
    Ok(end)
}

/// Reads the marks from an offset on; tells where the next reading begins and how many damaged places
/// there are.
pub(super) fn read(folder: &Path, from: u64, each: &mut dyn FnMut(Mark)) -> io::Result<(u64, u64)> {
    let file = match File::open(path(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    if len == from {
        return Ok((from, 0));
    }
    // Shorter: the daemon has emptied it.
    let mut at = if len < from { 0 } else { from };
    let mut damaged = 0;
    let mut pieces = Pieces::new(file, at)?;
    while let Some(piece) = pieces.next()? {
        match piece {
            Piece::Frame(record, bytes) => {
                at += bytes;
                decode(&record).map_or_else(|| damaged += 1, &mut *each);
            }
            Piece::Damaged { offset, bytes } => {
                at = offset + bytes;
                damaged += 1;
            }
            // Perhaps just being written: looked at again when more follows.
            Piece::Torn { .. } => {}
        }
    }
    Ok((at, damaged))
}

/// Empties the file unless there are marks behind the place that it was read to.
pub(super) fn clear(folder: &Path, read_to: u64) -> io::Result<bool> {
    let file = open(folder)?;
    file.lock()?;
    // While nobody writes, what is no whole frame never will be.
    let mut rest = Pieces::new(file.try_clone()?, read_to)?;
    while let Some(piece) = rest.next()? {
        if matches!(piece, Piece::Frame(..)) {
            return Ok(false);
        }
    }
    file.set_len(0)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(numbers: &[u64]) -> Mark {
        Mark { owner: "logs".to_owned(), fate: Fate::Purged, numbers: numbers.to_vec() }
    }

    fn all(folder: &Path) -> (Vec<Mark>, u64) {
        let mut marks = Vec::new();
        let (_, damaged) = read(folder, 0, &mut |it| marks.push(it)).unwrap();
        (marks, damaged)
    }

    #[test]
    fn a_mark_that_a_killed_process_left_half_written_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        add(folder, &[mark(&[1, 2])]).unwrap();
        let torn = encode(&mark(&[3]));
        open(folder).unwrap().write_all(&torn[..torn.len() - 3]).unwrap();
        assert_eq!(all(folder), (vec![mark(&[1, 2])], 0), "it may still be being written");
        add(folder, &[mark(&[4])]).unwrap();
        assert_eq!(all(folder), (vec![mark(&[1, 2]), mark(&[4])], 0));
    }

    #[test]
    fn marks_are_cleared_only_when_all_were_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        add(folder, &[mark(&[1])]).unwrap();
        let (read_to, _) = read(folder, 0, &mut |_| {}).unwrap();
        add(folder, &[mark(&[2])]).unwrap();
        assert!(!clear(folder, read_to).unwrap());
        let mut later = Vec::new();
        let (read_to, _) = read(folder, read_to, &mut |it| later.push(it)).unwrap();
        assert_eq!(later, [mark(&[2])]);
        assert!(clear(folder, read_to).unwrap());
        add(folder, &[mark(&[3])]).unwrap();
        assert_eq!(all(folder), (vec![mark(&[3])], 0));
    }
}
