//! Making an index: what is listed, what gets rows, and how many.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::clauses::{Attribute, Clause, Ranges};
use super::super::program::Program;
use super::table::Table;
use super::{Find, Index, Key, Listed, Rows};
use crate::event::SlotId;

/// Fewer filters than these are not worth a search.
const MIN_FILTERS: usize = 4;

/// Most clauses that a value may be listed for; beyond that bits are cheaper than programs.
const MAX_LISTED: usize = 16;

/// Most values of a term that are listed: each takes up to 60 bytes, about as much as in its program.
const MAX_LISTED_VALUES: usize = 64;

/// From so many values of an attribute on, its rare ones are listed.
const MIN_VALUES: usize = 128;

/// Most rows of an index, if each filter has one clause: 192 bytes a filter.
const MAX_ROWS: usize = 1_536;

/// Most rows of an attribute. Values share them beyond that.
const MAX_ROWS_OF_ONE: usize = 1_024;

/// Most values that rows are found by, for each filter, and so many more: 72 to 144 bytes a filter.
const VALUES_PER_FILTER: usize = 3;
const VALUES_AT_LEAST: usize = 256;

/// Most attributes with rows; those that most clauses ask for.
const MAX_ATTRIBUTES: usize = 64;

/// A clause and its filter.
struct Entry<'p> {
    filter: u32,
    clause: Clause<'p>,
}

pub(super) fn index<'p>(filters: impl Iterator<Item = Option<&'p Program>>) -> Index {
    let filters: Vec<_> = filters.collect();
    let mut always = vec![0u64; filters.len().div_ceil(64)];
    let mut entries = Vec::new();
    let mut all = BTreeSet::new();
    let mut read_by = Vec::with_capacity(filters.len());
    let clauses: Vec<_> = filters.iter().map(|it| it.and_then(Program::clauses)).collect();
    let is_worth_it = clauses.iter().flatten().count() >= MIN_FILTERS;
    for (number, clauses) in clauses.into_iter().enumerate() {
        match (clauses, filters[number]) {
            (Some(clauses), Some(program)) if is_worth_it => {
                let filter = u32::try_from(number).unwrap_or(u32::MAX);
                entries.extend(clauses.into_iter().map(|clause| Entry { filter, clause }));
                let slots: BTreeSet<SlotId> = program.fields().map(|(_, slot)| slot).collect();
                all.extend(&slots);
                read_by.push(slots.into_iter().collect());
            }
            _ => {
                always[number / 64] |= 1 << (number % 64);
                read_by.push(Box::default());
            }
        }
    }
    let (listed, with_bits) = list(entries);
    let filters_with_bits = with_bits.iter().map(|entry| entry.filter).collect();
    Index {
        always: always.into(),
        listed,
        rows: rows(&with_bits, filters.len()),
        filters: filters_with_bits,
        read: all.into_iter().collect(),
        read_by: if is_worth_it { read_by.into() } else { Box::default() },
    }
}

/// Lists clauses by their rarest value, and gives back those that are to have bits.
fn list(entries: Vec<Entry<'_>>) -> (Box<[Listed]>, Vec<Entry<'_>>) {
    // By attribute and value, how many clauses it would be listed for.
    let mut uses: HashMap<usize, HashMap<i64, usize>> = HashMap::new();
    for term in entries.iter().flat_map(|entry| &entry.clause) {
        let of_attribute = uses.entry(term.attribute.number()).or_default();
        for (value, _) in points(&term.ranges).into_iter().flatten() {
            *of_attribute.entry(*value).or_default() += 1;
        }
    }
    let mut lists: BTreeMap<usize, (Attribute<'_>, BTreeMap<i64, Vec<u32>>)> = BTreeMap::new();
    let mut with_bits = Vec::new();
    for entry in entries {
        let rarest = entry.clause.iter().filter_map(|term| {
            let uses = &uses[&term.attribute.number()];
            let points = points(&term.ranges).filter(|it| it.len() <= MAX_LISTED_VALUES)?;
            let most = points.iter().map(|(value, _)| uses[value]).max().unwrap_or_default();
            (uses.len() >= MIN_VALUES && most <= MAX_LISTED).then_some((most, term))
        });
        let Some((_, term)) = rarest.min_by_key(|(most, _)| *most) else {
            with_bits.push(entry);
            continue;
        };
        let number = term.attribute.number();
        let (_, of_value) = lists.entry(number).or_insert((term.attribute, BTreeMap::new()));
        for (value, _) in &term.ranges {
            of_value.entry(*value).or_default().push(entry.filter);
        }
    }
    let listed = lists.into_values().map(|(attribute, of_value)| {
        let mut filters = Vec::new();
        let mut starts = Vec::new();
        for (value, mut list) in of_value {
            list.dedup();
            starts.push((value, u32::try_from(filters.len()).unwrap_or(u32::MAX - 1)));
            filters.push(u32::try_from(list.len()).unwrap_or_default());
            filters.extend(list);
        }
        Listed { key: Key::of(attribute), lists: Table::new(&starts), filters: filters.into() }
    });
    (listed.collect(), with_bits)
}

/// The ranges if each is one value.
fn points(ranges: &Ranges) -> Option<&Ranges> {
    ranges.iter().all(|(start, end)| start == end).then_some(ranges)
}

/// An attribute that is to have rows.
struct Draft<'p> {
    attribute: Attribute<'p>,
    /// Bits and the ranges that they are set for.
    terms: Vec<(usize, &'p Ranges)>,
    /// Where rows may begin or, if it is only asked for single values, these.
    cuts: BTreeSet<i64>,
    is_equal: bool,
}

fn rows(entries: &[Entry<'_>], filters: usize) -> Box<[Rows]> {
    let mut drafts: BTreeMap<usize, Draft<'_>> = BTreeMap::new();
    for (bit, entry) in entries.iter().enumerate() {
        for term in &entry.clause {
            let draft = drafts.entry(term.attribute.number()).or_insert_with(|| Draft {
                attribute: term.attribute,
                terms: Vec::new(),
                cuts: BTreeSet::new(),
                is_equal: true,
            });
            draft.terms.push((bit, &term.ranges));
        }
    }
    let mut drafts: Vec<Draft<'_>> = drafts.into_values().collect();
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.terms.len()));
    drafts.truncate(MAX_ATTRIBUTES);
    let mut values = VALUES_PER_FILTER * filters + VALUES_AT_LEAST;
    for draft in &mut drafts {
        draft.cut(&mut values);
    }
    let most = MAX_ROWS * filters / entries.len().max(1);
    let sum = |each: usize| drafts.iter().map(|it| (it.cuts.len() + 1).min(each)).sum::<usize>();
    let mut each = MAX_ROWS_OF_ONE;
    while each > 2 && sum(each) > most {
        each = each * 3 / 4;
    }
    let drafts = in_order(drafts, entries.len());
    drafts.iter().map(|draft| draft.rows(each, entries.len().div_ceil(64))).collect()
}

/// In the order in which few attributes soon rule out nearly all: each has most terms of clauses of which
/// none before it had one, those of single values twice.
fn in_order(mut drafts: Vec<Draft<'_>>, entries: usize) -> Vec<Draft<'_>> {
    let mut ordered = Vec::with_capacity(drafts.len());
    let mut is_met = vec![false; entries];
    while !drafts.is_empty() {
        let new = |draft: &Draft<'_>| draft.terms.iter().filter(|(bit, _)| !is_met[*bit]).count();
        let weighed = |draft: &Draft<'_>| new(draft) * if draft.is_equal { 2 } else { 1 };
        let most = drafts.iter().enumerate().max_by_key(|(_, draft)| weighed(draft));
        let next = drafts.swap_remove(most.map_or(0, |(at, _)| at));
        next.terms.iter().for_each(|(bit, _)| is_met[*bit] = true);
        ordered.push(next);
    }
    ordered
}

impl Draft<'_> {
    /// Decides what rows are found by. Terms of most values are left out if there are too many: their bits
    /// are always set.
    fn cut(&mut self, values: &mut usize) {
        self.is_equal = self.terms.iter().all(|(_, ranges)| points(ranges).is_some());
        self.terms.sort_by_key(|(_, ranges)| ranges.len());
        let mut kept = 0;
        for (_, ranges) in &self.terms {
            if self.cuts.len() + 2 * ranges.len() > *values {
                break;
            }
            for (start, end) in *ranges {
                self.cuts.insert(*start);
                self.cuts.extend(end.checked_add(1).filter(|_| !self.is_equal));
            }
            kept += 1;
        }
        self.terms.truncate(kept);
        *values -= self.cuts.len();
    }

    /// At most so many rows of so many words.
    fn rows(&self, most: usize, words: usize) -> Rows {
        let cuts: Vec<i64> = self.cuts.iter().copied().collect();
        // One row more than cuts: that of all other values, or of those before the first.
        let count = (cuts.len() + 1).min(most);
        let row_of = |at: usize| match at {
            at if cuts.len() < count => at,
            0 => 0,
            at if self.is_equal => 1 + at % (count - 1),
            at => at * count / (cuts.len() + 1),
        };
        let mut asking = vec![0; words];
        for (bit, _) in &self.terms {
            asking[bit / 64] |= 1 << (bit % 64);
        }
        let first: Vec<u64> = asking.iter().map(|asking| !asking).collect();
        let mut bits = first.repeat(count);
        for (bit, ranges) in &self.terms {
            for (start, end) in *ranges {
                let from = cuts.partition_point(|cut| cut <= start);
                let to = if self.is_equal { from } else { cuts.partition_point(|cut| cut <= end) };
                for row in row_of(from)..=row_of(to) {
                    bits[row * words + bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        let small = |row: usize| u16::try_from(row).unwrap_or_default();
        let find = if self.is_equal {
            let numbered = cuts.iter().enumerate();
            let rows: Vec<(i64, u32)> =
                numbered.map(|(at, key)| (*key, u32::from(small(row_of(at + 1))))).collect();
            Find::Equal(Table::new(&rows))
        } else {
            let rows = (0..=cuts.len()).map(|at| small(row_of(at))).collect();
            Find::Between { starts: cuts.into(), rows }
        };
        let asking = asking.into();
        Rows { key: Key::of(self.attribute), asking, find, bits: bits.into() }
    }
}

impl Key {
    fn of(attribute: Attribute<'_>) -> Key {
        Key { place: attribute.place.clone(), presence: attribute.presence }
    }
}
