//! Dead letters: records that their destination's service will never take, and events from Kafka and
//! standard input that were rejected (HTTP's senders are told instead), kept for a person.
//!
//! Two files in the journal's folder, both only ever appended to while anybody uses them, so that
//! the command line may work beside the daemon:
//!
//! - `dead-letters.ndjson`: one letter a line, synced before its record is settled;
//! - `dead-letters.gone`: the ids of letters that were sent after all or thrown away, one a line.
//!
//! The daemon puts the two together when it starts. Nothing here delivers anything.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;

use super::Pending;
use crate::event::{JsonCursor, Record, ScanError, Timestamp, ksuid, string_value};
use crate::lock::lock;

/// What stands in a letter in place of a destination when its event came in over Kafka and was
/// rejected. No destination can have this name.
pub const AT_KAFKA: &str = "(ingest.kafka)";
/// The same for an event that came in on standard input.
pub const AT_STDIN: &str = "(ingest.stdin)";

/// Why a record could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The service's words.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
}

/// A letter as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its own id: `dl_` and a KSUID.
    pub id: String,
    /// When the record was given up.
    pub time: Timestamp,
    /// The destination that it was for, or [`AT_KAFKA`] or [`AT_STDIN`].
    pub destination: String,
    /// The service's words.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
    /// The record, byte for byte.
    pub record: Arc<Record>,
}

fn letters_path(directory: &Path) -> PathBuf {
    directory.join("dead-letters.ndjson")
}

fn gone_path(directory: &Path) -> PathBuf {
    directory.join("dead-letters.gone")
}

/// Opens a file to append to. Events may hold personal data, so it is readable by its owner only.
fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The daemon's side: letters go in.
#[derive(Debug)]
pub(super) struct DeadLetters {
    file: Mutex<File>,
}

impl DeadLetters {
    /// Opens the letters of a folder, which is made if need be, without those that are gone.
    pub(super) fn open(directory: &Path) -> io::Result<DeadLetters> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        compact(directory)?;
        Ok(DeadLetters { file: Mutex::new(open_private(&letters_path(directory))?) })
    }

    pub(super) fn append(
        &self,
        destination: &str,
        letters: &[(Pending, DeadLetter)],
    ) -> io::Result<()> {
        let now = Timestamp::now();
        let mut lines = Vec::new();
        for (pending, letter) in letters {
            let head = json!({
                "id": ksuid("dl", now, rand::random()),
                "time": now.to_string(),
                "destination": destination,
                "event_id": &*pending.record.event_id,
                "event_time": pending.record.time.to_string(),
                "reason": letter.reason,
                "attempts": letter.attempts,
            });
            // The record's bytes go in as they are: they are JSON already, and stay byte for byte.
            let head = head.to_string();
            lines.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
            lines.extend_from_slice(b",\"record\":");
            lines.extend_from_slice(&pending.record.body);
            lines.extend_from_slice(b"}\n");
        }
        let mut file = lock(&self.file);
        file.write_all(&lines)?;
        file.sync_data()
    }
}

/// Calls `each` with every letter of a folder that is not gone, the oldest first.
///
/// A line that is no letter (cut by a crash, say) is left out and counted; the count is returned.
///
/// # Errors
/// When a file cannot be read; a folder without letters is no error.
pub fn read_dead_letters(
    directory: &Path,
    mut each: impl FnMut(StoredLetter) -> io::Result<()>,
) -> io::Result<u64> {
    let gone = gone(directory)?;
    let mut damaged = 0;
    for_each_line(&letters_path(directory), |line| {
        match str::from_utf8(line).ok().and_then(parse) {
            Some(letter) if gone.contains(&letter.id) => Ok(()),
            Some(letter) => each(letter),
            None => {
                damaged += 1;
                Ok(())
            }
        }
    })?;
    Ok(damaged)
}

/// Marks letters as gone: they are not shown again, and deleted when the daemon next starts.
///
/// # Errors
/// When the mark cannot be written.
pub fn forget_dead_letters(directory: &Path, ids: &[String]) -> io::Result<()> {
    let mut file = open_private(&gone_path(directory))?;
    file.lock()?;
    let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

fn gone(directory: &Path) -> io::Result<HashSet<String>> {
    let mut ids = HashSet::new();
    for_each_line(&gone_path(directory), |line| {
        ids.insert(String::from_utf8_lossy(line).into_owned());
        Ok(())
    })?;
    Ok(ids)
}

fn for_each_line(path: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if !text.is_empty() {
            each(text)?;
        }
        line.clear();
    }
    Ok(())
}

/// Writes the letters anew without those that are gone. Lines that are no letters stay.
fn compact(directory: &Path) -> io::Result<()> {
    let marks = open_private(&gone_path(directory))?;
    marks.lock()?;
    let gone = gone(directory)?;
    if gone.is_empty() {
        return Ok(());
    }
    let fresh = directory.join("dead-letters.new");
    let mut out = BufWriter::new(
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?,
    );
    for_each_line(&letters_path(directory), |line| {
        let id = str::from_utf8(line).ok().and_then(parse).map(|letter| letter.id);
        if id.is_some_and(|id| gone.contains(&id)) {
            return Ok(());
        }
        out.write_all(line)?;
        out.write_all(b"\n")
    })?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&fresh, letters_path(directory))?;
    File::open(directory)?.sync_all()?;
    marks.set_len(0)
}

/// Reads a line; the record's bytes are taken as they stand.
fn parse(line: &str) -> Option<StoredLetter> {
    scan(line).ok().flatten()
}

fn scan(line: &str) -> Result<Option<StoredLetter>, ScanError> {
    let mut fields: [Option<&str>; 8] = [None; 8];
    const KEYS: [&str; 8] =
        ["id", "time", "destination", "event_id", "event_time", "reason", "attempts", "record"];
    let mut cursor = JsonCursor::new(line);
    let mut more = cursor.enter(b'{', b'}')?;
    while more {
        let key = cursor.key()?;
        let value = cursor.value(1)?;
        if let Some(at) = KEYS.iter().position(|known| *known == key) {
            fields[at] = Some(value);
        }
        more = cursor.more(b'}')?;
    }
    cursor.end()?;
    let [id, time, destination, event_id, event_time, reason, attempts, record] = fields;
    let text = |json: Option<&str>| Some(string_value(json?)?.into_owned());
    let instant = |json| Timestamp::parse(&text(json)?);
    let letter = || {
        Some(StoredLetter {
            id: text(id)?,
            time: instant(time)?,
            destination: text(destination)?,
            reason: text(reason)?,
            attempts: attempts?.parse().ok()?,
            record: Arc::new(Record {
                event_id: text(event_id)?.into(),
                time: instant(event_time)?,
                body: Bytes::copy_from_slice(record?.as_bytes()),
            }),
        })
    };
    Ok(letter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(event_id: &str, reason: &str) -> (Pending, DeadLetter) {
        let record = Record {
            event_id: event_id.into(),
            time: Timestamp { seconds: 1_756_980_674, nanos: 0 },
            body: Bytes::from_static(b"{\"n\":1.50}"),
        };
        let pending = Pending { position: 0, record: Arc::new(record) };
        (pending, DeadLetter { reason: reason.to_owned(), attempts: 2 })
    }

    fn read(directory: &Path) -> Vec<StoredLetter> {
        let mut letters = Vec::new();
        let damaged = read_dead_letters(directory, |letter| {
            letters.push(letter);
            Ok(())
        });
        assert_eq!(damaged.unwrap(), 0);
        letters
    }

    #[test]
    fn a_letter_comes_back_as_it_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/when/missing");
        let letters = DeadLetters::open(&directory).unwrap();
        let sent = letter("ev_\"1\"", "too \"old\" {}");
        letters.append("logs", std::slice::from_ref(&sent)).unwrap();
        letters.append("logs", &[letter("ev_2", "no")]).unwrap();
        let found = read(&directory);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].record, sent.0.record);
        assert_eq!((&*found[0].reason, found[0].attempts), ("too \"old\" {}", 2));
        assert_eq!(found[0].destination, "logs");
        assert!(found[0].id.starts_with("dl_") && found[0].id != found[1].id);
    }

    #[test]
    fn no_destination_can_have_the_name_that_stands_for_an_entrance() {
        assert!(crate::resources::ResourceId::new(AT_KAFKA).is_err());
        assert!(crate::resources::ResourceId::new(AT_STDIN).is_err());
    }

    #[test]
    fn what_is_forgotten_is_gone_at_once_and_from_the_file_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert_eq!(read(directory), []);
        let daemon = DeadLetters::open(directory).unwrap();
        daemon.append("logs", &[letter("a", "no"), letter("b", "no")]).unwrap();
        forget_dead_letters(directory, &[read(directory).remove(0).id]).unwrap();
        daemon.append("logs", &[letter("c", "no")]).unwrap();
        let ids = |directory| -> Vec<String> {
            read(directory).iter().map(|it| it.record.event_id.to_string()).collect()
        };
        assert_eq!(ids(directory), ["b", "c"]);
        drop(daemon);
        DeadLetters::open(directory).unwrap();
        assert_eq!(ids(directory), ["b", "c"]);
        let lines = fs::read_to_string(letters_path(directory)).unwrap().lines().count();
        assert_eq!((lines, fs::read(gone_path(directory)).unwrap().len()), (2, 0));
    }

    #[test]
    fn a_line_cut_by_a_crash_is_counted_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let daemon = DeadLetters::open(directory).unwrap();
        daemon.append("logs", &[letter("a", "no")]).unwrap();
        let mut file = open_private(&letters_path(directory)).unwrap();
        file.write_all(b"{\"id\":\"dl_\n").unwrap();
        let mut found = 0;
        let damaged = read_dead_letters(directory, |_| {
            found += 1;
            Ok(())
        });
        assert_eq!((found, damaged.unwrap()), (1, 1));
    }
}
