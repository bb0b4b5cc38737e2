//! Reading the letters, oldest first, beside a daemon that may write, delete and replace files
//! meanwhile. Changes nothing and takes no lock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use super::super::disk::framed::{self, Piece, Pieces};
use super::letter::{self, Content};
use super::{StoredLetter, folder_in, marks, old, scan, totals};

/// Calls `each` with every letter of a journal's folder that is not gone, the oldest first.
///
/// What is damaged is left out; how many such places there are is returned. What the daemon is just
/// writing counts as not there yet.
///
/// # Errors
/// When a file cannot be read; a folder without letters is no error.
pub fn read_dead_letters(
    directory: &Path,
    mut each: impl FnMut(StoredLetter) -> io::Result<()>,
) -> io::Result<u64> {
    let folder = folder_in(directory);
    let mut damaged = 0;
    if old::is_there(directory) {
        damaged += old::read(directory, &ids(&folder)?, &mut each)?;
    }
    let mut letters = Letters::open(&folder)?;
    while let Some(letter) = letters.next()? {
        each(letter)?;
    }
    damaged += letters.damaged;
    Ok(damaged)
}

/// The letters of a journal's folder, one after the other, beside the daemon's own writing. Letters of an
/// earlier version are among them only once the daemon has moved them.
pub struct LetterReader(Letters);

impl LetterReader {
    /// Reads the letters of a folder, or those of one owner.
    ///
    /// # Errors
    /// When a file cannot be read; a folder without letters is no error.
    pub fn open(directory: &Path, owner: Option<&str>) -> io::Result<LetterReader> {
        Letters::of(&folder_in(directory), owner).map(LetterReader)
    }

    /// The next letter that is not gone, the oldest first. What is damaged is left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_letter(&mut self) -> io::Result<Option<StoredLetter>> {
        self.0.next()
    }
}

/// The ids of a folder's letters that are not gone.
pub(super) fn ids(folder: &Path) -> io::Result<HashSet<String>> {
    let mut ids = HashSet::new();
    let mut letters = Letters::open(folder)?;
    while let Some(letter) = letters.next()? {
        ids.insert(letter.id);
    }
    Ok(ids)
}

/// The letters of a folder that are not gone, by time.
pub(super) struct Letters {
    owners: Vec<OwnerLetters>,
    gone: HashMap<String, HashSet<u64>>,
    pub damaged: u64,
}

/// One owner's letters, in their order.
struct OwnerLetters {
    folder: PathBuf,
    /// Files to come, each with the number before which it ends.
    files: VecDeque<(u64, u64)>,
    reading: Option<(Pieces, u64)>,
    next: Option<StoredLetter>,
}

impl Letters {
    pub(super) fn open(folder: &Path) -> io::Result<Letters> {
        Letters::of(folder, None)
    }

    fn of(folder: &Path, wanted: Option<&str>) -> io::Result<Letters> {
        // The marks first: a letter that goes later is still in its file or in none.
        let mut gone: HashMap<String, HashSet<u64>> = HashMap::new();
        let (_, mut damaged) = marks::read(folder, 0, &mut |mark| {
            gone.entry(mark.owner).or_default().extend(mark.numbers);
        })?;
        let counted = totals::read(folder)?.gone_files;
        let mut openings = BTreeMap::new();
        for number in framed::list(folder)?.into_iter().filter(|it| !counted.contains(it)) {
            openings.extend(opening(folder, number)?.map(|it| (number, it)));
        }
        let ends = scan::ends(&openings);
        let mut files: BTreeMap<String, VecDeque<(u64, u64)>> = BTreeMap::new();
        for (number, (owner, _)) in openings {
            let end = ends.get(&number).copied().unwrap_or(u64::MAX);
            if wanted.is_none_or(|wanted| wanted == owner) {
                files.entry(owner).or_default().push_back((number, end));
            }
        }
        let mut owners = Vec::new();
        for files in files.into_values() {
            let folder = folder.to_owned();
            let mut owner = OwnerLetters { folder, files, reading: None, next: None };
            owner.advance(&gone, &mut damaged)?;
            owners.push(owner);
        }
        Ok(Letters { owners, gone, damaged })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<StoredLetter>> {
        let waiting = self.owners.iter_mut().filter(|owner| owner.next.is_some());
        let oldest = waiting.min_by_key(|owner| owner.next.as_ref().map(|letter| letter.time));
        let Some(owner) = oldest else { return Ok(None) };
        let letter = owner.next.take();
        owner.advance(&self.gone, &mut self.damaged)?;
        Ok(letter)
    }
}

impl OwnerLetters {
    /// Finds the next letter that is not gone.
    fn advance(
        &mut self,
        gone: &HashMap<String, HashSet<u64>>,
        damaged: &mut u64,
    ) -> io::Result<()> {
        loop {
            let Some((pieces, end)) = &mut self.reading else {
                let Some((number, end)) = self.files.pop_front() else { return Ok(()) };
                self.reading = Pieces::open(&self.folder, number)?.map(|it| (it, end));
                continue;
            };
            match pieces.next()? {
                None => self.reading = None,
                Some(Piece::Torn { .. }) => {}
                Some(Piece::Damaged { .. }) => *damaged += 1,
                Some(Piece::Frame(record, _)) => {
                    let Some(Content::Letter(letter)) = letter::decode(&record) else { continue };
                    let is_gone = |it: &HashSet<u64>| it.contains(&letter.number);
                    if letter.number < *end && !gone.get(&letter.destination).is_some_and(is_gone) {
                        self.next = Some(letter);
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Whose a file is and from which number on, nobody's if nothing in it can be read; `None` if it has
/// gone.
fn opening(folder: &Path, number: u64) -> io::Result<Option<(String, u64)>> {
    let Some(mut pieces) = Pieces::open(folder, number)? else { return Ok(None) };
    while let Some(piece) = pieces.next()? {
        let Piece::Frame(record, _) = piece else { continue };
        return Ok(letter::decode(&record).map(|content| match content {
            Content::Opening(opening) => (opening.owner, opening.from),
            Content::Letter(letter) => (letter.destination, letter.number),
        }));
    }
    Ok(Some((String::new(), u64::MAX)))
}
