//! The totals: what became of letters whose files are gone, in one small file replaced as a whole.
//!
//! One line that names format, version and CRC-32C of the rest, then JSON. Beside it lies a reserve of
//! a few blocks, which is given up when the disk is full, so that throwing letters away can always
//! be written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::disk::{Faults, whole};
use super::Gone;
use crate::private;

const NAME: &str = "totals";
const TITLE: &str = "sluicegate dead letters";

/// The format that this program writes, and the newest that it reads.
const VERSION: u64 = 1;

const RESERVE: &str = "reserve";
/// Enough for many marks and a large file of totals.
const RESERVE_BYTES: usize = 64 << 10;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The file of earlier versions was moved over, or there was none.
    pub moved: bool,
    /// No file with this number or a later one was ever made.
    pub next_file: u64,
    /// Files that are counted here and are to be deleted.
    pub gone_files: BTreeSet<u64>,
    pub owners: BTreeMap<String, OwnerTotals>,
}

/// What it says of one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnerTotals {
    /// The number of the last letter, when this was written.
    pub last: u64,
    /// What became of letters that are in no file any more.
    pub gone: Gone,
}

/// Whether an error says that the disk has no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Frees the reserve; tells whether there was one.
pub(super) fn give_reserve(folder: &Path) -> bool {
    fs::remove_file(folder.join(RESERVE)).is_ok()
}

/// Sets the reserve aside again if it was given.
pub(super) fn renew_reserve(folder: &Path) {
    let path = folder.join(RESERVE);
    if path.exists() {
        return;
    }
    let file = private::new_file().write(true).open(&path);
    let made = file.and_then(|mut file| {
        // Written, not only claimed: a hole takes no room.
        file.write_all(&vec![b'.'; RESERVE_BYTES])?;
        file.sync_all()
    });
    if made.is_err() {
        // Half a reserve would look like a whole one.
        let _absent = fs::remove_file(&path);
    }
}

/// Replaces the file. On a full disk the reserve is given for it.
pub(super) fn write(folder: &Path, totals: &Totals, faults: &Faults) -> io::Result<()> {
    let mut owners = Map::new();
    for (name, owner) in &totals.owners {
        let Gone { purged, redriven, given_way } = owner.gone;
        let counts = json!({
            "last": owner.last, "purged": purged, "redriven": redriven, "given_way": given_way,
        });
        owners.insert(name.clone(), counts);
    }
    let body = json!({
        "moved": totals.moved,
        "next_file": totals.next_file,
        "gone_files": totals.gone_files,
        "owners": owners,
    });
    let text = whole::text(TITLE, VERSION, &body.to_string());
    match whole::replace(folder, NAME, &text, faults) {
        Err(error) if is_full(&error) && give_reserve(folder) => {
            whole::replace(folder, NAME, &text, faults)
        }
        written => written,
    }
}

/// Reads the file; nothing if there is none. One that is damaged is told as an error and taken for
/// none: what went before then counts as lost.
///
/// # Errors
/// When it cannot be read, or a later version wrote it.
pub(super) fn read(folder: &Path) -> io::Result<Totals> {
    let text = match fs::read(folder.join(NAME)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Totals::default()),
        Err(error) => return Err(error),
    };
    let damaged = || {
        tracing::error!("`dead-letters/{NAME}` is damaged: what became of earlier letters is lost");
        Ok(Totals { moved: true, ..Totals::default() })
    };
    let Some((version, body)) = whole::parse(TITLE, &text) else { return damaged() };
    if version > VERSION {
        let message = format!(
            "`dead-letters/{NAME}` has format version {version}, this program reads up to {VERSION}; start the version that wrote it"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let Ok(body) = serde_json::from_str(body) else { return damaged() };
    Ok(parse(&body))
}

fn parse(body: &Value) -> Totals {
    let owners = body["owners"].as_object().into_iter().flatten();
    let of = |value: &Value| {
        let count = |key: &str| value[key].as_u64().unwrap_or(0);
        let gone = Gone {
            purged: count("purged"),
            redriven: count("redriven"),
            given_way: count("given_way"),
        };
        OwnerTotals { last: count("last"), gone }
    };
    let gone_files = body["gone_files"].as_array().into_iter().flatten();
    Totals {
        moved: body["moved"].as_bool().unwrap_or(false),
        next_file: body["next_file"].as_u64().unwrap_or(0),
        gone_files: gone_files.filter_map(Value::as_u64).collect(),
        owners: owners.map(|(name, value)| (name.clone(), of(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_come_back_and_a_flipped_bit_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), Totals::default());
        let gone = Gone { purged: 1, redriven: 2, given_way: 3 };
        let totals = Totals {
            moved: true,
            next_file: 9,
            gone_files: [4].into(),
            owners: [("logs".to_owned(), OwnerTotals { last: 12, gone })].into(),
        };
        write(folder.path(), &totals, &Faults::default()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), totals);
        let path = folder.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("12", "13")).unwrap();
        assert_eq!(read(folder.path()).unwrap().owners, BTreeMap::new());
        fs::write(&path, text.replacen(" 1 ", " 2 ", 1)).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("version 2"));
    }
}
