//! Giving room back: marks are read, and what they speak of leaves the disk.

use std::fs;
use std::io;

use super::super::disk::framed::{self, Framed, Piece, Pieces};
use super::book::LetterFile;
use super::daemon::{DeadLetters, make_folder};
use super::letter::{self, Content};
use super::{marks, totals};
use crate::lock::lock;

/// Bytes of marks that each start looks through; more are worth writing files anew.
const MANY_MARKS: u64 = 1 << 20;

impl DeadLetters {
    /// Reads the marks that came since.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(in crate::journal) fn read_marks(&self) -> io::Result<()> {
        let mut read = lock(&self.marks_read);
        let mut marks = Vec::new();
        let (to, damaged) = marks::read(&self.folder, *read, &mut |mark| marks.push(mark))?;
        let mut book = lock(&self.book);
        marks.iter().for_each(|mark| book.mark(mark));
        book.damaged += damaged;
        *read = to;
        Ok(())
    }

    /// Gives back the room of letters that were marked. `checkpoint` saves which records are settled:
    /// a letter must not go before a crash can no longer bring its record back.
    pub(in crate::journal) fn keep(&self, checkpoint: impl FnOnce()) {
        let kept = self.try_keep(checkpoint);
        self.set_problem(kept.err());
    }

    fn try_keep(&self, checkpoint: impl FnOnce()) -> io::Result<()> {
        self.read_marks()?;
        if !lock(&self.book).moved {
            return Ok(());
        }
        let many = *lock(&self.marks_read) > MANY_MARKS;
        let (emptied, half_empty) = {
            let book = lock(&self.book);
            (book.emptied(), book.half_empty(many))
        };
        if !emptied.is_empty() || !half_empty.is_empty() {
            // If that fails on a full disk letters go nevertheless, since that is what makes room: a
            // crash then buries a record twice, and loses none.
            checkpoint();
        }
        let writing = lock(&self.writing);
        // A file may have got a letter meanwhile.
        let still_emptied = lock(&self.book).emptied();
        let emptied: Vec<u64> =
            emptied.into_iter().filter(|number| still_emptied.contains(number)).collect();
        if !emptied.is_empty() {
            self.delete(&emptied)?;
        }
        for number in half_empty {
            self.write_anew(number)?;
        }
        drop(writing);
        totals::renew_reserve(&self.folder);
        let mut read = lock(&self.marks_read);
        if *read > 0 && !lock(&self.book).is_any_marked() && marks::clear(&self.folder, *read)? {
            *read = 0;
        }
        Ok(())
    }

    /// Deletes files, while `writing` is held; letters that are still in them give way.
    pub(super) fn delete(&self, numbers: &[u64]) -> io::Result<()> {
        let mut totals = lock(&self.book).totals_without(numbers);
        let is_there = |number: &u64| framed::path(&self.folder, *number).exists();
        totals.gone_files.retain(is_there);
        totals::write(&self.folder, &totals, &self.faults)?;
        let mut gone = std::mem::take(&mut totals.gone_files);
        gone.extend(numbers);
        totals.gone_files.clone_from(&gone);
        lock(&self.book).apply(&totals);
        for number in gone {
            let deleted = fs::remove_file(framed::path(&self.folder, number));
            if deleted.is_ok() {
                lock(&self.book).gone_files.remove(&number);
            }
        }
        Ok(())
    }

    /// Writes a file anew without the letters that are marked, while `writing` is held. Renaming is
    /// the moment in which they are gone and counted in its opening.
    fn write_anew(&self, number: u64) -> io::Result<()> {
        let Some(before) = lock(&self.book).files.get(&number).cloned() else { return Ok(()) };
        let aside = self.folder.join("anew");
        make_folder(&aside)?;
        let mut out = Framed::begin(&aside, number, &self.faults)?;
        let written = self.copy(number, &before, &mut out);
        let renamed = written.and_then(|runs| {
            fs::rename(framed::path(&aside, number), framed::path(&self.folder, number))?;
            Ok(runs)
        });
        let runs = renamed.inspect_err(|_| {
            let _absent = fs::remove_file(framed::path(&aside, number));
        })?;
        let mut book = lock(&self.book);
        if let Some(file) = book.files.get_mut(&number) {
            file.gone = before.all_gone();
            file.taken_out = before.last();
            file.runs = runs;
            file.len = out.len();
            // Marks that came meanwhile stay.
            file.marked.retain(|number, _| !before.marked.contains_key(number));
        }
        drop(book);
        framed::sync_directory(&self.folder)
    }

    /// Copies the letters of a file that are not marked; tells their numbers.
    fn copy(
        &self,
        number: u64,
        before: &LetterFile,
        out: &mut Framed,
    ) -> io::Result<Vec<(u64, u64)>> {
        let mut kept = LetterFile::default();
        let mut frames = Vec::new();
        letter::encode_opening(&before.opening(), &mut frames);
        let gone = || io::Error::other("a file of dead letters has gone");
        let mut pieces = Pieces::open(&self.folder, number)?.ok_or_else(gone)?;
        while let Some(piece) = pieces.next()? {
            let Piece::Frame(record, _) = piece else { continue };
            let Some(Content::Letter(letter)) = letter::decode(&record) else { continue };
            let is_kept =
                before.holds(letter.number) && !before.marked.contains_key(&letter.number);
            if is_kept && !kept.holds(letter.number) {
                kept.add(letter.number);
                letter::encode_letter(&letter, &mut frames);
            }
        }
        if kept.letters() != before.listed() {
            return Err(io::Error::other("a file of dead letters has changed"));
        }
        out.append(&frames).map_err(|error| error.cause)?;
        Ok(kept.runs)
    }
}
