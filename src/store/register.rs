//! The register: what each row was when this program wrote it last, in a file beside the store.
//!
//! A sealed row that was copied away opens again when it is put back, so only something outside of the
//! store can tell that it is an old one. Each change is numbered and is in the register, on disk, before the
//! store has it, and noted as done behind that; so a crash at any moment leaves no difference that could be
//! taken for somebody's doing. Who puts back both files, as they were at one moment, is not found out.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::seal::MasterKey;
use crate::private;

/// The file's name inside the data folder.
pub(super) const FILE: &str = "control.register";

/// What entries are sealed for.
const PLACE: (&str, &str) = ("register", "entry");

/// Octets of an entry's length before it.
const LENGTH: usize = 4;

/// The register is begun anew when its changes have so many octets, some 20,000 of them, and more than all rows
/// have: each change is read at the next start.
const MAX_CHANGES: u64 = 4 << 20;

/// What of a row is kept, in octets: enough that nobody finds another row with the same.
const HASH: usize = 16;

/// The rows of the store by kind and id, each with its hash.
pub(super) type Rows = BTreeMap<(String, String), String>;

/// The hash of a row as the store has it, sealed.
pub(super) fn hash(kind: &str, id: &str, created_at: i64, sealed: &[u8]) -> String {
    let place = format!("{kind}\0{id}\0{created_at}\0");
    hex::encode(&digest(&SHA256, &[place.as_bytes(), sealed].concat()).as_ref()[..HASH])
}

/// A row that a change wrote, with its hash, or took away.
pub(super) type Written = (String, String, Option<String>);

#[derive(Debug)]
enum Entry {
    /// All rows there are after this change.
    All(i64, Vec<Written>),
    /// The rows of one change.
    Change(i64, Vec<Written>),
    /// The store has this change.
    Done(i64),
}

impl Entry {
    fn to_json(&self) -> Value {
        match self {
            Entry::All(number, rows) => json!({"all": number, "rows": rows}),
            Entry::Change(number, rows) => json!({"change": number, "rows": rows}),
            Entry::Done(number) => json!({"done": number}),
        }
    }

    fn parse(text: &str) -> Option<Entry> {
        let entry: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| entry.get(name)?.as_i64();
        if let Some(number) = number("done") {
            return Some(Entry::Done(number));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let row = |row: &Value| Some((text(&row[0])?, text(&row[1])?, text(&row[2])));
        let rows = entry["rows"].as_array()?.iter().map(row).collect::<Option<Vec<_>>>()?;
        match (number("all"), number("change")) {
            (Some(number), _) => Some(Entry::All(number, rows)),
            (None, number) => Some(Entry::Change(number?, rows)),
        }
    }
}

/// The register of a data folder. Whoever writes holds the store's own lock.
#[derive(Debug)]
pub(super) struct Register {
    path: PathBuf,
}

/// What a register says.
#[derive(Debug, Default)]
pub(super) struct Read {
    entries: Vec<(i64, bool, Vec<Written>)>,
    /// The last change that the store is known to have.
    pub(super) done: i64,
    /// Whether it ends before its file does.
    pub(super) is_damaged: bool,
}

impl Register {
    pub(super) fn of_folder(folder: &Path) -> Register {
        Register { path: folder.join(FILE) }
    }

    /// Writes a change down, on disk when it returns.
    pub(super) fn write(&self, key: &MasterKey, number: i64, rows: Vec<Written>) -> io::Result<()> {
        if self.is_long()? {
            self.shorten(key, number - 1)?;
        }
        let mut file = private::file().append(true).open(&self.path)?;
        let before = file.metadata()?.len();
        let written = file
            .write_all(&framed(key, &Entry::Change(number, rows)))
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // What stays of it would hide what is written behind it.
            file.set_len(before)?;
        }
        written
    }

    /// Whether more changes are in it than are worth to be kept.
    fn is_long(&self) -> io::Result<bool> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(false) };
        let mut first = [0; LENGTH];
        let is_begun = file.read_exact(&mut first).is_ok();
        let rows = u64::from(u32::from_le_bytes(first));
        Ok(is_begun && file.metadata()?.len() > 2 * rows + MAX_CHANGES)
    }

    /// Begins anew with what it says itself of the rows after a change, the last that the store has.
    fn shorten(&self, key: &MasterKey, number: i64) -> io::Result<()> {
        match self.read(key)? {
            Some(read) if !read.is_damaged => self.replace(key, number, read.rows_after(number)),
            // The next start is to find what it is.
            _ => Ok(()),
        }
    }

    /// Notes that the store has a change. Without a sync: only a power cut forgets it, and then what the
    /// store has says enough.
    pub(super) fn done(&self, key: &MasterKey, number: i64) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(&framed(key, &Entry::Done(number)))
    }

    /// Begins anew with the rows as they are.
    pub(super) fn replace(&self, key: &MasterKey, number: i64, rows: Rows) -> io::Result<()> {
        let draft = self.path.with_extension("register.new");
        let rows = rows.into_iter().map(|((kind, id), hash)| (kind, id, Some(hash))).collect();
        let entries = [Entry::All(number, rows), Entry::Done(number)];
        let text = entries.map(|entry| framed(key, &entry)).concat();
        let mut file = private::file().truncate(true).write(true).open(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }

    /// What it says; none where there is none.
    pub(super) fn read(&self, key: &MasterKey) -> io::Result<Option<Read>> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let mut read = Read::default();
        let mut left = &text[..];
        while let Some((length, rest)) = left.split_first_chunk::<LENGTH>() {
            let Some((sealed, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
            else {
                // The end of what a crash cut short.
                break;
            };
            left = rest;
            let text = key.open(PLACE.0, PLACE.1, sealed);
            match text.and_then(|text| Entry::parse(&text)) {
                Some(Entry::All(number, rows)) => read.entries.push((number, true, rows)),
                Some(Entry::Change(number, rows)) => read.entries.push((number, false, rows)),
                Some(Entry::Done(number)) => read.done = read.done.max(number),
                None => {
                    read.is_damaged = true;
                    break;
                }
            }
        }
        Ok(Some(read))
    }
}

impl Read {
    /// Whether it holds one entry with all rows, so that beginning it anew gains nothing.
    pub(super) fn is_one(&self) -> bool {
        matches!(&self.entries[..], [(_, true, _)])
    }

    /// The number of the last change that it knows.
    pub(super) fn last(&self) -> i64 {
        self.entries.iter().map(|(number, ..)| *number).max().unwrap_or(0)
    }

    /// The rows as they were after a change.
    pub(super) fn rows_after(&self, number: i64) -> Rows {
        let mut rows = Rows::new();
        // The lowest number behind each entry.
        let mut lowest = i64::MAX;
        let mut behind: Vec<i64> = Vec::with_capacity(self.entries.len());
        for (of, ..) in self.entries.iter().rev() {
            behind.push(lowest);
            lowest = lowest.min(*of);
        }
        for ((of, is_all, written), lowest) in self.entries.iter().zip(behind.into_iter().rev()) {
            // A change that the store did not take is followed by another with its number.
            if *of > number || lowest <= *of {
                continue;
            }
            if *is_all {
                rows.clear();
            }
            for (kind, id, hash) in written {
                let place = (kind.clone(), id.clone());
                match hash {
                    Some(hash) => drop(rows.insert(place, hash.clone())),
                    None => drop(rows.remove(&place)),
                }
            }
        }
        rows
    }
}

fn framed(key: &MasterKey, entry: &Entry) -> Vec<u8> {
    let sealed = key.seal(PLACE.0, PLACE.1, &entry.to_json().to_string());
    // At most 20,000 rows of each kind, of about a hundred bytes.
    let length = u32::try_from(sealed.len()).unwrap_or(0);
    [&length.to_le_bytes()[..], &sealed].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn row(id: usize, hash: &str) -> Written {
        ("api_keys".to_owned(), format!("ak_{id:030}"), Some(format!("{hash:0>32}")))
    }

    #[test]
    fn the_register_is_begun_anew_before_it_is_long_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (register, key) =
            (Register::of_folder(folder.path()), MasterKey::of_folder(folder.path()).unwrap());
        register.replace(&key, 0, Rows::new()).unwrap();
        let mut longest = 0;
        for number in 1..=150 {
            let rows = (0..500).map(|id| row(id, &number.to_string())).collect();
            register.write(&key, number, rows).unwrap();
            // A change that the store did not take: the next one has its number.
            if number % 10 == 3 {
                register.write(&key, number, vec![row(7, "x")]).unwrap();
            }
            register.done(&key, number).unwrap();
            longest = longest.max(fs::metadata(&register.path).unwrap().len());
        }
        assert!(longest < MAX_CHANGES + (1 << 20), "{longest} octets");
        let read = register.read(&key).unwrap().unwrap();
        assert!(!read.is_damaged && read.last() == 150);
        let rows = read.rows_after(150);
        assert_eq!(rows.len(), 500);
        assert!(rows.values().all(|hash| hash.ends_with("0150")), "{rows:?}");
    }

    #[test]
    fn many_changes_are_gone_through_once() {
        let took = |changes: i64| {
            let entries = (0..changes).map(|number| (number, false, vec![row(1, "x")])).collect();
            let read = Read { entries, done: changes, is_damaged: false };
            let start = Instant::now();
            assert_eq!(read.rows_after(changes).len(), 1);
            start.elapsed()
        };
        let few = (0..5).map(|_| took(2_000)).min().unwrap();
        let many = (0..3).map(|_| took(60_000)).min().unwrap();
        // Where each were compared with all others it would be 900 times.
        assert!(many < few * 300, "{few:?} {many:?}");
    }
}
