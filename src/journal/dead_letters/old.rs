//! The letters of earlier versions (text, a letter a line), read to be moved over.
//!
//! - `dead-letters.ndjson`: one letter a line;
//! - `dead-letters.gone`: the ids of letters that were sent after all or thrown away, one a line.
//!
//! A line that is no letter may be one that was cut short, with the next letter behind it: that one is
//! found. What is left is set aside in `dead-letters.damaged`, for a person. Nothing is written here
//! but that and marks that come before the move.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use super::StoredLetter;
use crate::private;

/// What every letter's line begins with: keys were written in the alphabet's order.
const BEGINNING: &[u8] = b"{\"attempts\":";

/// What is there besides letters, by owner.
#[derive(Debug, Default)]
pub(super) struct Leavings {
    /// Letters that were marked as gone.
    pub gone: HashMap<String, u64>,
    /// Pieces of letters that cannot be read; those whose owner cannot either have none.
    pub damaged: HashMap<String, u64>,
}

fn letters_path(directory: &Path) -> PathBuf {
    directory.join("dead-letters.ndjson")
}

fn gone_path(directory: &Path) -> PathBuf {
    directory.join("dead-letters.gone")
}

fn damaged_path(directory: &Path) -> PathBuf {
    directory.join("dead-letters.damaged")
}

/// Whether there are letters of an earlier version.
pub(super) fn is_there(directory: &Path) -> bool {
    letters_path(directory).exists()
}

/// Removes what was moved over.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for path in [letters_path(directory), gone_path(directory)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Calls `each` with every letter that is not gone and has none of these ids; tells how many damaged
/// places there are.
pub(super) fn read(
    directory: &Path,
    known: &HashSet<String>,
    each: &mut dyn FnMut(StoredLetter) -> io::Result<()>,
) -> io::Result<u64> {
    let mut damaged = 0;
    sort(directory, &mut |part| match part {
        Part::Letter(letter) if known.contains(&letter.id) => Ok(()),
        Part::Letter(letter) => each(letter),
        Part::Gone(_) => Ok(()),
        Part::Damaged(_) => {
            damaged += 1;
            Ok(())
        }
    })?;
    Ok(damaged)
}

/// The same for whoever moves them over: damaged pieces are set aside, and the rest is told.
pub(super) fn hand_over(
    directory: &Path,
    known: &HashSet<String>,
    each: &mut dyn FnMut(StoredLetter) -> io::Result<()>,
) -> io::Result<Leavings> {
    let mut leavings = Leavings::default();
    let mut aside: Option<File> = None;
    sort(directory, &mut |part| match part {
        Part::Letter(letter) if known.contains(&letter.id) => Ok(()),
        Part::Letter(letter) => each(letter),
        Part::Gone(owner) => {
            *leavings.gone.entry(owner).or_default() += 1;
            Ok(())
        }
        Part::Damaged(piece) => {
            let file = match &mut aside {
                Some(file) => file,
                None => {
                    let mut options = private::file();
                    let options = options.write(true).truncate(true);
                    aside.insert(options.open(damaged_path(directory))?)
                }
            };
            file.write_all(piece)?;
            file.write_all(b"\n")?;
            *leavings.damaged.entry(owner_of(piece)).or_default() += 1;
            Ok(())
        }
    })?;
    if let Some(file) = aside {
        file.sync_all()?;
    }
    Ok(leavings)
}

enum Part<'a> {
    Letter(StoredLetter),
    /// A letter of this owner that is gone.
    Gone(String),
    Damaged(&'a [u8]),
}

fn sort(directory: &Path, each: &mut dyn FnMut(Part<'_>) -> io::Result<()>) -> io::Result<()> {
    let gone = gone(directory)?;
    for_each_line(&letters_path(directory), |line| {
        let letter_at = |start: usize| {
            let text = str::from_utf8(line.get(start..)?).ok()?;
            Some((start, StoredLetter::from_line(text)?))
        };
        let found = memchr::memmem::find_iter(line, BEGINNING).find_map(letter_at);
        let found = found.or_else(|| letter_at(0));
        let end = found.as_ref().map_or(line.len(), |(start, _)| *start);
        if end > 0 {
            each(Part::Damaged(&line[..end]))?;
        }
        match found {
            Some((_, letter)) if gone.contains(&letter.id) => each(Part::Gone(letter.destination)),
            Some((_, letter)) => each(Part::Letter(letter)),
            None => Ok(()),
        }
    })
}

/// The owner that a piece of a letter names, if it came that far.
fn owner_of(piece: &[u8]) -> String {
    const KEY: &str = "\"destination\":\"";
    let text = String::from_utf8_lossy(piece);
    let rest = text.split_once(KEY).map(|(_, rest)| rest);
    let name = rest.and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
    name.unwrap_or_default().to_owned()
}

/// Marks letters as gone that are not moved over yet.
pub(super) fn forget(directory: &Path, ids: &[&str]) -> io::Result<()> {
    let mut file = private::file().append(true).open(gone_path(directory))?;
    file.lock()?;
    // A line that was cut short must not swallow the first of these.
    let lines: String = ids.iter().map(|id| format!("\n{id}\n")).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, destination: &str) -> String {
        format!(
            r#"{{"attempts":1,"destination":"{destination}","event_id":"ev_{id}","event_time":"2025-09-04T10:11:13Z","id":"dl_{id}","reason":"no","time":"2025-09-04T10:11:14Z","record":{{"n":1.50}}}}"#
        )
    }

    #[test]
    fn a_letter_behind_one_that_was_cut_short_is_found_and_the_rest_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let cut = line("2", "logs");
        let text = [
            format!("{}\n", line("1", "logs")),
            format!("{}{}\n", &cut[..cut.len() - 20], line("3", "logs")),
            format!("{}\n{}", line("4", "other"), &cut[..20]),
        ];
        fs::write(letters_path(directory), text.concat()).unwrap();
        forget(directory, &["dl_4"]).unwrap();
        let mut ids = Vec::new();
        let leavings = hand_over(directory, &HashSet::new(), &mut |letter| {
            ids.push(letter.id);
            Ok(())
        });
        let leavings = leavings.unwrap();
        assert_eq!(ids, ["dl_1", "dl_3"]);
        assert_eq!(leavings.gone, HashMap::from([("other".to_owned(), 1)]));
        let damaged = HashMap::from([("logs".to_owned(), 1), (String::new(), 1)]);
        assert_eq!(leavings.damaged, damaged);
        let aside = fs::read_to_string(damaged_path(directory)).unwrap();
        assert_eq!(aside.lines().count(), 2);
    }
}
