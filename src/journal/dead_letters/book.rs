//! The book of the letters: which file holds whose, and what became of how many. No files, no waiting.
//!
//! For each owner, letters are numbered without gaps, so that at every moment: the last number =
//! listed + purged + redriven + given way + lost. What is in no file and was counted nowhere is lost,
//! to damage or to somebody who deleted files.

use std::collections::{BTreeMap, BTreeSet};

use super::letter::Opening;
use super::marks::Mark;
use super::totals::{OwnerTotals, Totals};
use super::{Fate, Gone, LetterCounts, is_entrance};

#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub owners: BTreeMap<String, Owner>,
    pub files: BTreeMap<u64, LetterFile>,
    pub next_file: u64,
    /// Files that are counted in the totals and could not be deleted yet.
    pub gone_files: BTreeSet<u64>,
    pub moved: bool,
    /// Damaged places found.
    pub damaged: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    /// The number of the last letter.
    pub last: u64,
    /// What became of letters that are in no file any more, but for those that files speak of.
    pub gone: Gone,
    /// Letters that are in no account of the journal, since it began after them; less than nothing
    /// while those of an earlier version are not moved yet.
    pub earlier: i64,
}

/// One file, of one owner.
#[derive(Clone, Debug, Default)]
pub(super) struct LetterFile {
    pub owner: String,
    pub from: u64,
    /// Bytes on disk.
    pub len: u64,
    /// The numbers that are in it: first and last of each run.
    pub runs: Vec<(u64, u64)>,
    /// The highest number that was ever in it, as far as letters were taken out.
    pub taken_out: u64,
    /// What became of letters that were in it.
    pub gone: Gone,
    /// Letters in it that are to go.
    pub marked: BTreeMap<u64, Fate>,
    pub damaged: u64,
    /// Nothing is to be written behind its end.
    pub sealed: bool,
}

impl LetterFile {
    /// Letters in it, those that are to go included.
    pub(super) fn letters(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn listed(&self) -> u64 {
        self.letters() - self.marked.len() as u64
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        let at = self.runs.partition_point(|(_, last)| *last < number);
        self.runs.get(at).is_some_and(|(first, _)| *first <= number)
    }

    pub(super) fn add(&mut self, number: u64) {
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some((_, last)) if *last >= number => {}
            _ => self.runs.push((number, number)),
        }
    }

    /// Takes numbers from one on out of it.
    pub(super) fn cut(&mut self, from: u64) {
        self.runs.retain(|(first, _)| *first < from);
        if let Some((_, last)) = self.runs.last_mut() {
            *last = (*last).min(from.saturating_sub(1));
        }
    }

    /// What became of letters that were in it or are to go.
    pub(super) fn all_gone(&self) -> Gone {
        let mut gone = self.gone;
        for fate in self.marked.values() {
            gone.count(*fate, 1);
        }
        gone
    }

    /// The highest number that was ever in it; one less than the first if none was.
    pub(super) fn last(&self) -> u64 {
        let last = self.runs.last().map_or(0, |(_, last)| *last);
        last.max(self.taken_out).max(self.from.saturating_sub(1))
    }

    /// Its opening if the marked letters are taken out.
    pub(super) fn opening(&self) -> Opening {
        let (owner, gone) = (self.owner.clone(), self.all_gone());
        Opening { owner, from: self.from, last: self.last(), gone }
    }
}

impl Book {
    pub(super) fn owner(&mut self, name: &str) -> &mut Owner {
        self.owners.entry(name.to_owned()).or_default()
    }

    fn files_of<'a>(
        &'a self,
        owner: &'a str,
    ) -> impl DoubleEndedIterator<Item = (u64, &'a LetterFile)> {
        self.files.iter().filter(move |(_, it)| it.owner == owner).map(|(at, it)| (*at, it))
    }

    pub(super) fn bytes(&self, owner: &str) -> u64 {
        self.files_of(owner).map(|(_, file)| file.len).sum()
    }

    /// Bytes of all destinations' letters together.
    pub(super) fn bytes_of_destinations(&self) -> u64 {
        self.files.values().filter(|it| !is_entrance(&it.owner)).map(|it| it.len).sum()
    }

    /// The file that an owner's next letter goes to and its length, unless one is to be begun.
    pub(super) fn active(&self, owner: &str, most_bytes: u64) -> Option<(u64, u64)> {
        let (number, file) = self.files_of(owner).next_back()?;
        (!file.sealed && file.len < most_bytes).then_some((number, file.len))
    }

    pub(super) fn oldest(&self, owner: &str) -> Option<u64> {
        self.files_of(owner).next().map(|(number, _)| number)
    }

    pub(super) fn counts(&self, name: &str) -> LetterCounts {
        let owner = self.owners.get(name).copied().unwrap_or_default();
        let mut counts = LetterCounts {
            buried: owner.last,
            earlier: owner.earlier,
            purged: owner.gone.purged,
            redriven: owner.gone.redriven,
            given_way: owner.gone.given_way,
            ..LetterCounts::default()
        };
        for (_, file) in self.files_of(name) {
            let gone = file.all_gone();
            counts.listed += file.listed();
            counts.purged += gone.purged;
            counts.redriven += gone.redriven;
            counts.bytes += file.len;
        }
        let known = counts.listed + counts.purged + counts.redriven + counts.given_way;
        counts.lost = counts.buried.saturating_sub(known);
        counts
    }

    /// Counts marks, each letter's first one.
    pub(super) fn mark(&mut self, mark: &Mark) {
        for file in self.files.values_mut().filter(|file| file.owner == mark.owner) {
            for &number in &mark.numbers {
                if file.holds(number) {
                    file.marked.entry(number).or_insert(mark.fate);
                }
            }
        }
    }

    /// Counts letters that are safely in a file, which has this length now.
    pub(super) fn bury(&mut self, owner: &str, number: u64, len: u64, letters: u64) {
        let book = self.owner(owner);
        let from = book.last + 1;
        book.last += letters;
        let fresh = || LetterFile { owner: owner.to_owned(), from, ..LetterFile::default() };
        let file = self.files.entry(number).or_insert_with(fresh);
        (from..from + letters).for_each(|it| file.add(it));
        file.len = len;
        self.next_file = self.next_file.max(number + 1);
    }

    /// The totals when files are gone, with what is still in them counted as given way.
    pub(super) fn totals_without(&self, gone: &[u64]) -> Totals {
        let mut owners: BTreeMap<String, OwnerTotals> = self
            .owners
            .iter()
            .map(|(name, it)| (name.clone(), OwnerTotals { last: it.last, gone: it.gone }))
            .collect();
        for file in gone.iter().filter_map(|number| self.files.get(number)) {
            let totals = owners.entry(file.owner.clone()).or_default();
            totals.gone.add(file.all_gone());
            totals.gone.given_way += file.listed();
        }
        let gone_files = self.gone_files.iter().chain(gone).copied().collect();
        Totals { moved: self.moved, next_file: self.next_file, gone_files, owners }
    }

    /// Takes over totals that were written, and their files out.
    pub(super) fn apply(&mut self, totals: &Totals) {
        for (name, it) in &totals.owners {
            let owner = self.owner(name);
            owner.gone = it.gone;
            owner.last = owner.last.max(it.last);
        }
        self.files.retain(|number, _| !totals.gone_files.contains(number));
        self.gone_files.clone_from(&totals.gone_files);
    }

    /// The files all of whose letters are marked. One that nothing could be read of is not among
    /// them: what is damaged may still be of use to a person.
    pub(super) fn emptied(&self) -> Vec<u64> {
        let is_emptied = |file: &LetterFile| file.listed() == 0 && !file.marked.is_empty();
        self.files.iter().filter(|(_, it)| is_emptied(it)).map(|(number, _)| *number).collect()
    }

    /// The files of which at least half is to go; with `all`, those of which anything is.
    pub(super) fn half_empty(&self, all: bool) -> Vec<u64> {
        let is_half_empty = |file: &LetterFile| {
            let marked = file.marked.len() as u64;
            let enough = all || marked * 2 >= file.letters();
            marked > 0 && enough && file.listed() > 0 && file.damaged == 0
        };
        self.files.iter().filter(|(_, it)| is_half_empty(it)).map(|(number, _)| *number).collect()
    }

    pub(super) fn is_any_marked(&self) -> bool {
        self.files.values().any(|file| !file.marked.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_file_has_and_nobody_counted_are_lost() {
        let mut book = Book::default();
        book.bury("logs", 1, 100, 5);
        book.bury("logs", 2, 100, 5);
        let mark = |fate, numbers: &[u64]| Mark {
            owner: "logs".to_owned(),
            fate,
            numbers: numbers.to_vec(),
        };
        book.mark(&mark(Fate::Purged, &[1, 7, 99]));
        book.mark(&mark(Fate::Redriven, &[7, 8]));
        let counts = book.counts("logs");
        assert_eq!((counts.listed, counts.purged, counts.redriven, counts.lost), (7, 2, 1, 0));
        let totals = book.totals_without(&[1]);
        book.apply(&totals);
        let counts = book.counts("logs");
        assert_eq!((counts.buried, counts.listed, counts.given_way), (10, 3, 4));
        book.files.clear();
        assert_eq!(book.counts("logs").lost, 5);
    }

    #[test]
    fn a_cut_leaves_what_lies_before_it() {
        let mut file = LetterFile::default();
        [3, 4, 5, 9, 10].into_iter().for_each(|it| file.add(it));
        file.cut(10);
        assert_eq!((file.letters(), file.holds(9)), (4, true));
        assert!(!file.holds(10) && !file.holds(6));
        file.cut(4);
        assert_eq!(file.runs, [(3, 3)]);
    }
}
