//! Logs that nobody saw under their own names: they were begun, written and renamed between two looks at their
//! folders, or while no daemon ran.
//!
//! Such a file is told from all others that are called like a rotated log by when it came into being: it is not
//! among those that were there at the last look, and none of those is younger. And it is told from a copy
//! (`copytruncate`) by the log itself, which is still the same file after one. It reads none of them.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::pattern::{expand, fits};

/// Most rotated files of a folder that are looked at; of more, some may be missed that were never seen before.
const MAX_ROTATED: usize = 10_000;

/// Ends of names that are no text any more.
const COMPRESSED: [&str; 6] = ["gz", "bz2", "xz", "zst", "lz4", "Z"];

/// Device and inode.
pub(super) type Place = (u64, u64);

/// A file that is called like a rotated log.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) file: PathBuf,
    pub(super) place: Place,
    /// What it was called as a log.
    pub(super) log: PathBuf,
    /// Which of the settings names that.
    pub(super) setting: usize,
}

/// The youngest rotated files that were ever seen. They are stored, so that a start knows what came since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Youngest {
    /// When they came into being, in nanoseconds since 1970; 0 if none was seen yet.
    pub(super) created: u64,
    /// Those of that instant: file systems tell instants apart by some milliseconds only.
    pub(super) files: Vec<Place>,
}

impl Youngest {
    /// Whether a file is younger, or as young and another one.
    fn is_before(&self, place: Place, created: u64) -> bool {
        self.created < created || self.created == created && !self.files.contains(&place)
    }

    fn add(&mut self, place: Place, created: u64) {
        if created > self.created {
            *self = Youngest { created, files: Vec::new() };
        }
        if created == self.created && !self.files.contains(&place) {
            self.files.push(place);
        }
    }
}

/// The rotated files that there were at the last look.
#[derive(Debug, Default)]
pub(super) struct Looked {
    seen: HashSet<Place>,
    /// None before the first look of all.
    pub(super) youngest: Option<Youngest>,
    is_first: bool,
}

impl Looked {
    /// At a start.
    pub(super) fn new(youngest: Option<Youngest>) -> Looked {
        Looked { seen: HashSet::new(), youngest, is_first: true }
    }

    /// The rotated files that came into being since the last look, be it before this start.
    pub(super) fn new_ones(&mut self, patterns: &[PathBuf]) -> Vec<Rotated> {
        let is_first = std::mem::take(&mut self.is_first);
        let before = self.youngest.clone();
        // That there were none is something to know too.
        let youngest = self.youngest.get_or_insert_default();
        let seen = std::mem::take(&mut self.seen);
        let mut found = Vec::new();
        for (setting, pattern) in patterns.iter().enumerate() {
            for (rotated, metadata) in rotated(pattern, setting) {
                let place = rotated.place;
                self.seen.insert(place);
                let created = created(&metadata);
                created.into_iter().for_each(|it| youngest.add(place, it));
                let is_younger =
                    before.as_ref().zip(created).map(|(it, at)| it.is_before(place, at));
                let is_new = match is_first {
                    true => is_younger == Some(true),
                    false => !seen.contains(&place) && is_younger != Some(false),
                };
                // One that was unpacked, or copied with its times, was written before it came into being.
                if is_new && modified(&metadata) >= created {
                    found.push(rotated);
                }
            }
        }
        found
    }
}

/// The files that are called as if they had been renamed from a name that a pattern names.
fn rotated(pattern: &Path, setting: usize) -> Vec<(Rotated, Metadata)> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.as_encoded_bytes();
    let mut found = Vec::new();
    for folder in expand(folder, MAX_ROTATED) {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        for entry in fs::read_dir(here).into_iter().flatten().flatten() {
            let file_name = entry.file_name();
            let Some(now) = file_name.to_str().filter(|it| !fits(name, it.as_bytes())) else {
                continue;
            };
            let Some(before) = names_before(now).into_iter().find(|it| fits(name, it.as_bytes()))
            else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else { continue };
            if !metadata.is_file() || found.len() == MAX_ROTATED {
                continue;
            }
            let place = (metadata.dev(), metadata.ino());
            let log = folder.join(before);
            found.push((Rotated { file: folder.join(&file_name), place, log, setting }, metadata));
        }
    }
    found
}

/// Whether a name is what a log is called after it was rotated, and not compressed.
pub(super) fn is_rotated(now: &str, log: &str) -> bool {
    names_before(now).iter().any(|it| it == log)
}

/// What a rotated file may have been called as a log: `access.log` for `access.log.1`, `access.log-20261126`,
/// `access.log.old`, and, where a time is put before the ending, `access-2026-11-26T15-54-47.log`.
fn names_before(name: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (stem, ending) = match name.rsplit_once('.') {
        Some((_, ending)) if COMPRESSED.contains(&ending) => return names,
        Some((stem, "old")) => {
            names.push(stem.to_owned());
            return names;
        }
        Some((stem, ending)) if ending.bytes().all(|it| it.is_ascii_alphabetic()) => (stem, ending),
        _ => (name, ""),
    };
    for (at, mark) in stem.char_indices().skip(1) {
        let number = &stem[at + mark.len_utf8()..];
        let is_number = number.bytes().any(|it| it.is_ascii_digit())
            && number.bytes().all(|it| it.is_ascii_digit() || b"-_.:TZ+".contains(&it));
        if matches!(mark, '.' | '-' | '_') && is_number {
            let dot = if ending.is_empty() { "" } else { "." };
            names.push(format!("{}{dot}{ending}", &stem[..at]));
        }
    }
    names
}

/// When a file came into being, in nanoseconds since 1970, where its file system tells.
fn created(metadata: &Metadata) -> Option<u64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

fn modified(metadata: &Metadata) -> Option<u64> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_known_by_its_name() {
        for (now, log, expected) in [
            ("access.log.1", "access.log", true),
            ("access.log-20261126", "access.log", true),
            ("access.log-20261126-1732644000", "access.log", true),
            ("access.log.2026-11-26T15:54:47Z", "access.log", true),
            ("access.log.old", "access.log", true),
            ("access-2026-11-26T15-54-47.123.log", "access.log", true),
            ("access_20261126.log", "access.log", true),
            ("app-1.2", "app-1", true),
            ("app-1.2", "app", true),
            ("access.log.1.gz", "access.log", false),
            ("access.log.offset", "access.log", false),
            ("access.log", "access.log", false),
            ("access.log.", "access.log", false),
            ("access.log.1x", "access.log", false),
            ("access-x.log", "access.log", false),
            (".1", "", false),
            ("é.1", "é", true),
        ] {
            assert_eq!(is_rotated(now, log), expected, "{now}");
        }
    }

    #[test]
    fn only_what_came_since_the_last_look_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = |found: Vec<Rotated>| {
            let mut names: Vec<_> = found
                .iter()
                .map(|it| {
                    let log = it.log.file_name().unwrap().to_str().unwrap();
                    format!("{} {log}", it.file.file_name().unwrap().to_str().unwrap())
                })
                .collect();
            names.sort();
            names
        };
        let patterns = [at("*.log")];
        fs::write(at("a.log.1"), "x").unwrap();
        let mut looked = Looked::new(None);
        assert!(
            names(looked.new_ones(&patterns)).is_empty(),
            "what is there at the first look is old"
        );
        fs::write(at("b.log.1"), "x").unwrap();
        fs::write(at("b.log"), "x").unwrap();
        fs::write(at("b.txt.1"), "x").unwrap();
        fs::rename(at("a.log.1"), at("a.log.2")).unwrap();
        assert_eq!(names(looked.new_ones(&patterns)), ["b.log.1 b.log"]);
        assert!(names(looked.new_ones(&patterns)).is_empty());
        let youngest = looked.youngest.unwrap();
        if youngest.created == 0 {
            println!("skipped: the file system does not tell when files came into being");
            return;
        }
        fs::write(at("c.log.1"), "x").unwrap();
        let old = fs::File::create(at("d.log.3")).unwrap();
        old.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
        let mut looked = Looked::new(Some(youngest));
        assert_eq!(names(looked.new_ones(&patterns)), ["c.log.1 c.log"], "d was unpacked");
    }
}
