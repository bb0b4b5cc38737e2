//! From what lies in the folder to the book of it: what each file holds, whole or damaged.
//!
//! Reads only. What a crash has left half written is told, for the daemon to cut.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use tracing::error;

use super::super::disk::Buried;
use super::super::disk::framed::{self, Piece, Pieces};
use super::book::{Book, LetterFile, Owner};
use super::letter::{self, Content};
use super::{StoredLetter, is_entrance, marks, totals};
use crate::resources::ResourceId;

/// What a folder holds.
#[derive(Default)]
pub(super) struct Scanned {
    pub book: Book,
    /// Records of letters from a position of the log on.
    pub buried: Buried,
    /// Where files end that have something half written behind them.
    pub torn: Vec<(u64, u64)>,
    /// Files that were begun and never used.
    pub unused: Vec<u64>,
    /// How far the marks were read.
    pub marks_read: u64,
}

/// A destination's record that has a letter.
struct Found {
    file: u64,
    number: u64,
    destination: ResourceId,
    position: u64,
    event_id: Box<str>,
}

/// Reads everything; of the letters' records, those from position `since` on are remembered.
///
/// # Errors
/// When something cannot be read, or a later version wrote it.
pub(super) fn scan(folder: &Path, since: u64) -> io::Result<Scanned> {
    let totals = totals::read(folder)?;
    let mut scanned = Scanned::default();
    let mut found = Vec::new();
    let book = &mut scanned.book;
    book.moved = totals.moved;
    book.next_file = totals.next_file;
    for (name, it) in &totals.owners {
        let owner = Owner { last: it.last, gone: it.gone, earlier: 0 };
        book.owners.insert(name.clone(), owner);
    }
    for number in framed::list(folder)? {
        book.next_file = book.next_file.max(number + 1);
        if totals.gone_files.contains(&number) {
            book.gone_files.insert(number);
            continue;
        }
        let Some(pieces) = Pieces::open(folder, number)? else { continue };
        let mut each = |letter: &StoredLetter| found.extend(record_of(letter, number, since));
        let (file, torn) = scan_file(pieces, number, &mut each)?;
        scanned.torn.extend(torn.map(|end| (number, end)));
        book.damaged += file.damaged;
        book.files.insert(number, file);
    }
    cut_what_was_written_again(book);
    let is_there = |it: &Found| book.files.get(&it.file).is_some_and(|file| file.holds(it.number));
    for Found { destination, position, event_id, .. } in found.into_iter().filter(is_there) {
        scanned.buried.insert(destination, position, &event_id);
    }
    let is_unused = |it: &LetterFile| it.runs.is_empty() && it.damaged == 0 && it.gone.is_none();
    scanned.unused = book.files.iter().filter(|(_, it)| is_unused(it)).map(|(at, _)| *at).collect();
    let lasts = book.files.values().filter(|file| !file.owner.is_empty());
    let lasts = lasts.map(|file| (file.owner.clone(), file.last()));
    for (owner, last) in lasts.collect::<Vec<_>>() {
        let owner = book.owner(&owner);
        owner.last = owner.last.max(last);
    }
    let (read, damaged) = marks::read(folder, 0, &mut |mark| book.mark(&mark))?;
    scanned.marks_read = read;
    book.damaged += damaged;
    Ok(scanned)
}

fn record_of(letter: &StoredLetter, file: u64, since: u64) -> Option<Found> {
    let position = letter.position.filter(|position| *position >= since)?;
    let name = Some(&letter.destination).filter(|name| !is_entrance(name))?;
    Some(Found {
        file,
        number: letter.number,
        destination: ResourceId::new(name).ok()?,
        position,
        event_id: letter.record.event_id.as_str().into(),
    })
}

/// Counts a file's letters; tells where it ends if something half written follows.
fn scan_file(
    mut pieces: Pieces,
    number: u64,
    each: &mut dyn FnMut(&StoredLetter),
) -> io::Result<(LetterFile, Option<u64>)> {
    let mut file = LetterFile { len: pieces.len(), from: 1, ..LetterFile::default() };
    let mut is_opened = false;
    let mut torn = None;
    while let Some(piece) = pieces.next()? {
        match piece {
            Piece::Frame(record, _) => match letter::decode(&record) {
                Some(Content::Opening(opening)) => {
                    file.owner = opening.owner;
                    file.from = opening.from.max(1);
                    file.gone = opening.gone;
                    file.taken_out = opening.last;
                    is_opened = true;
                }
                Some(Content::Letter(letter)) => {
                    if !is_opened {
                        file.owner.clone_from(&letter.destination);
                        file.from = letter.number.max(1);
                        is_opened = true;
                    }
                    file.add(letter.number);
                    each(&letter);
                }
                None => {
                    let text = format!(
                        "its file `dead-letters/{number:020}.log` holds what this program does not know; start the version that wrote it"
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            },
            Piece::Damaged { offset, bytes } => {
                error!(
                    file = number,
                    offset, bytes, "the dead letters are damaged: skipped to the next whole one"
                );
                file.damaged += 1;
                // Nothing is written behind an end that nobody can read.
                file.sealed |= offset + bytes >= file.len;
            }
            Piece::Torn { offset } => {
                torn = Some(offset);
                file.sealed = true;
            }
        }
    }
    Ok((file, torn))
}

/// A write that failed may be on disk nevertheless; its numbers were given again in a later file.
fn cut_what_was_written_again(book: &mut Book) {
    let mut later: HashMap<String, u64> = HashMap::new();
    for file in book.files.values_mut().rev() {
        if let Some(from) = later.get(&file.owner) {
            file.cut(*from);
            file.sealed = true;
        }
        later.insert(file.owner.clone(), file.from);
    }
}

/// By file: from which number on its owner's next file has letters.
pub(super) fn ends(openings: &BTreeMap<u64, (String, u64)>) -> HashMap<u64, u64> {
    let mut later: HashMap<&str, u64> = HashMap::new();
    let mut ends = HashMap::new();
    for (number, (owner, from)) in openings.iter().rev() {
        if let Some(end) = later.insert(owner, *from) {
            ends.insert(*number, end);
        }
    }
    ends
}
