//! An index over filters: which of many may be anything but false for an event.
//!
//! It only leaves out filters whose result is false. Whether the others match is for their programs to
//! say, so it may be coarse wherever that is smaller. It reads each attribute of an event once, however
//! many filters ask for it, and knows nothing of subscriptions.
//!
//! Clauses of which an attribute is equal to something rare are listed by that value. The others have a bit
//! each: an attribute's value picks the row of those that it leaves possible, and the rows are ANDed.

mod build;
mod table;

use crate::event::{Slot, SlotId};

use super::clauses::{is_long, key, number};
use super::program::{Place, Program};
use table::Table;

/// An index over filters, which have the numbers in which they were given.
#[derive(Debug, Default)]
pub struct Index {
    /// Filters that are always possible.
    always: Box<[u64]>,
    /// Filters that one value of an attribute makes possible.
    listed: Box<[Listed]>,
    /// Attributes with rows, those that rule out most first.
    rows: Box<[Rows]>,
    /// The filter of each bit of a row.
    filters: Box<[u32]>,
    /// All slots that the filters read which may be left out, and the slots of each filter.
    read: Box<[SlotId]>,
    read_by: Box<[Box<[SlotId]>]>,
}

/// An attribute that an index reads.
#[derive(Debug)]
struct Key {
    place: Place,
    presence: bool,
}

/// The filters that are possible for a value of an attribute, by its key.
#[derive(Debug)]
struct Listed {
    key: Key,
    /// Where the list of a key begins.
    lists: Table,
    /// All lists, each with its length before it.
    filters: Box<[u32]>,
}

/// The rows of bits of an attribute.
#[derive(Debug)]
struct Rows {
    key: Key,
    /// The bits that depend on it: all others are set in each row.
    asking: Box<[u64]>,
    find: Find,
    bits: Box<[u64]>,
}

/// How a key finds its row.
#[derive(Debug)]
enum Find {
    /// By one of a few keys; all others have the first row.
    Equal(Table),
    /// By the last of these starts that is not above it, or before them all.
    Between { starts: Box<[i64]>, rows: Box<[u16]> },
}

/// What searches need beside the index, used again for each event.
#[derive(Debug, Default)]
pub struct Search {
    /// By attribute, its key in the event that was counted so.
    keys: Vec<(u64, Option<i64>)>,
    event: u64,
    bits: Vec<u64>,
    possible: Vec<u64>,
}

impl Search {
    /// Forgets what was read of the event before, or of one of another plan of slots.
    pub fn begin(&mut self) {
        self.event += 1;
    }

    /// The filters that the last search has left possible, in their order, from a number on.
    pub fn possible(&self, from: usize) -> impl Iterator<Item = usize> {
        let first = from / 64;
        self.possible.iter().enumerate().skip(first).flat_map(move |(at, word)| {
            let below = if at == first { (1u64 << (from % 64)) - 1 } else { 0 };
            ones(word & !below).map(move |bit| at * 64 + bit)
        })
    }

    /// Takes those out that have no bit here.
    pub fn keep_only(&mut self, there: &[u64]) {
        self.possible.iter_mut().zip(there).for_each(|(possible, there)| *possible &= there);
    }

    fn key(&mut self, key: &Key, slots: &[Slot<'_>]) -> Option<i64> {
        let at = number(key.place.slot, key.presence);
        if at >= self.keys.len() {
            self.keys.resize(at + 1, (0, None));
        }
        if self.keys[at].0 != self.event {
            self.keys[at] = (self.event, self::key(&key.place, key.presence, slots));
        }
        self.keys[at].1
    }

    fn allow(&mut self, filter: usize) {
        if let Some(word) = self.possible.get_mut(filter / 64) {
            *word |= 1 << (filter % 64);
        }
    }
}

/// The numbers of a word's bits that are set.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(bit as usize)
    })
}

impl Index {
    /// Indexes filters of one plan of slots; `None` stands for one that lets everything through.
    pub fn new<'p>(filters: impl Iterator<Item = Option<&'p Program>>) -> Index {
        build::index(filters)
    }

    /// Looks up which filters are possible for an event, for [`Search::possible`]. All others are false.
    pub fn search(&self, slots: &[Slot<'_>], search: &mut Search) {
        search.possible.clear();
        search.possible.extend_from_slice(&self.always);
        for listed in &self.listed {
            match search.key(&listed.key, slots) {
                Some(key) => {
                    let list = listed.lists.get(key).map_or(&[][..], |at| listed.list(at));
                    list.iter().for_each(|filter| search.allow(*filter as usize));
                }
                None => listed.all().for_each(|filter| search.allow(filter as usize)),
            }
        }
        self.search_rows(slots, search);
        let is_long = |slot: &SlotId| slots.get(slot.index()).copied().is_some_and(is_long);
        if self.read.iter().any(is_long) {
            for (filter, read) in self.read_by.iter().enumerate() {
                if read.iter().any(is_long) {
                    search.allow(filter);
                }
            }
        }
    }

    fn search_rows(&self, slots: &[Slot<'_>], search: &mut Search) {
        let mut bits = std::mem::take(&mut search.bits);
        bits.clear();
        bits.resize(self.filters.len().div_ceil(64), u64::MAX);
        for rows in &self.rows {
            // An attribute is read only if somebody still possible asks for it.
            if bits.iter().zip(&rows.asking).all(|(bits, asking)| bits & asking == 0) {
                continue;
            }
            let Some(key) = search.key(&rows.key, slots) else { continue };
            let row = rows.row(key, bits.len());
            let mut any = 0;
            for (word, of_row) in bits.iter_mut().zip(row) {
                *word &= of_row;
                any |= *word;
            }
            if any == 0 {
                break;
            }
        }
        for (at, word) in bits.iter().enumerate() {
            for bit in ones(*word) {
                if let Some(filter) = self.filters.get(at * 64 + bit) {
                    search.allow(*filter as usize);
                }
            }
        }
        search.bits = bits;
    }

    /// The work of a search, in units of about a nanosecond.
    #[must_use]
    pub fn work(&self) -> u64 {
        let words = (self.filters.len().div_ceil(64) * self.rows.len() + self.always.len()) / 2;
        (words + 20 * (self.rows.len() + self.listed.len()) + 2 * self.read.len()) as u64
    }

    /// How many filters are always possible.
    #[must_use]
    pub fn always(&self) -> usize {
        self.always.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Bytes of memory, about, without the programs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let listed = self.listed.iter().map(|it| it.lists.bytes() + size_of_val(&*it.filters));
        let rows = self
            .rows
            .iter()
            .map(|it| size_of_val(&*it.bits) + size_of_val(&*it.asking) + it.find.bytes());
        let read_by = self.read_by.iter().map(|it| size_of_val(&**it));
        size_of_val(&*self.always)
            + size_of_val(&*self.filters)
            + size_of_val(&*self.read)
            + size_of_val(&*self.read_by)
            + listed.chain(rows).chain(read_by).sum::<usize>()
    }
}

impl Listed {
    /// The list that begins there.
    fn list(&self, at: u32) -> &[u32] {
        let Some((length, rest)) = self.filters[at as usize..].split_first() else { return &[] };
        rest.get(..*length as usize).unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        self.lists.values().flat_map(|at| self.list(at)).copied()
    }
}

impl Rows {
    fn row(&self, key: i64, words: usize) -> &[u64] {
        let row = match &self.find {
            Find::Equal(rows) => rows.get(key).unwrap_or_default() as usize,
            Find::Between { starts, rows } => {
                let at = starts.partition_point(|start| *start <= key);
                usize::from(rows.get(at).copied().unwrap_or_default())
            }
        };
        self.bits.get(row * words..(row + 1) * words).unwrap_or_default()
    }
}

impl Find {
    fn bytes(&self) -> usize {
        match self {
            Find::Equal(rows) => rows.bytes(),
            Find::Between { starts, rows } => size_of_val(&**starts) + size_of_val(&**rows),
        }
    }
}
