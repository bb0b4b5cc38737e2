//! What a program asks of single slots: the part of a filter that an index can answer for many filters at
//! once.
//!
//! A clause is one way for the filter to be true, and its terms are what must hold for that. Where a term
//! of each clause is false, the program's result is false: neither true nor an error. Whatever does not fit
//! that is left out of the clauses, so they never say more than the program would.

use std::sync::LazyLock;

use crate::event::{FieldType, Slot, SlotId};

use super::functions::Budget;
use super::program::{Comparison, Place, Program, Test};
use super::value::Value;

/// Most bytes of JSON text that a value has here. A longer one is not read, and whoever asks for it has to
/// run the programs that read it: they may come to the end of their budget before they come to a term.
pub(super) const MAX_TEXT: usize = 1_024;

/// Most simple tests that clauses look through. So many values of [`MAX_TEXT`] bytes are read, at the
/// dearest price of a byte, by two thirds of the budget of an evaluation: none of them fails for want of
/// it, and the first that is false ends its clause.
const MAX_LEAVES: usize = 32;

/// So many bytes of a constant text, which may be one that was put together, count as a test.
const LONG_CONSTANT: usize = 64 << 10;

/// Most clauses of a filter.
const MAX_CLAUSES: usize = 8;

/// Most ranges of a term; one with more is no term.
const MAX_RANGES: usize = 256;

/// Values that a term allows, from and to: sorted, with gaps between them.
pub(super) type Ranges = Vec<(i64, i64)>;

/// What a filter needs of one attribute, or its clause is false.
#[derive(Clone, Debug)]
pub(super) struct Term<'p> {
    pub attribute: Attribute<'p>,
    pub ranges: Ranges,
}

/// Something of an event that has one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'p> {
    pub place: &'p Place,
    /// Not the value, but whether there is one.
    pub presence: bool,
}

impl Attribute<'_> {
    /// Equal for equal attributes, and near 0.
    pub fn number(&self) -> usize {
        number(self.place.slot, self.presence)
    }
}

pub(super) fn number(slot: SlotId, presence: bool) -> usize {
    2 * slot.index() + usize::from(presence)
}

/// Terms that must all hold; at most one an attribute.
pub(super) type Clause<'p> = Vec<Term<'p>>;

impl Program {
    /// The clauses of which one must hold; none if that cannot be said. Each has a term.
    pub(super) fn clauses(&self) -> Option<Vec<Clause<'_>>> {
        let mut leaves = MAX_LEAVES;
        let clauses: Vec<Clause<'_>> = match &self.test {
            Test::Any(tests) if tests.len() <= MAX_CLAUSES && term(&self.test).is_none() => {
                tests.iter().map(|test| clause(test, &mut leaves)).collect()
            }
            test => vec![clause(test, &mut leaves)],
        };
        clauses.iter().all(|clause| !clause.is_empty()).then_some(clauses)
    }
}

/// The terms of a conjunction as far as only simple tests stand before them.
fn clause<'p>(test: &'p Test, leaves: &mut usize) -> Clause<'p> {
    let tests = match test {
        Test::All(tests) => tests,
        one => std::slice::from_ref(one),
    };
    let mut clause: Clause<'p> = Vec::new();
    for test in tests {
        let Some(left) = simple_leaves(test).and_then(|count| leaves.checked_sub(count)) else {
            break;
        };
        *leaves = left;
        let Some(term) = term(test) else { continue };
        let number = term.attribute.number();
        match clause.iter_mut().find(|known| known.attribute.number() == number) {
            Some(known) => known.ranges = common(&known.ranges, &term.ranges),
            None => clause.push(term),
        }
    }
    clause
}

/// How many simple tests a test is made of: each reads one value and looks at it once. None if it has
/// other parts, which may take all of an evaluation's budget.
fn simple_leaves(test: &Test) -> Option<usize> {
    let sum = |tests: &[Test]| tests.iter().map(simple_leaves).sum();
    match test {
        Test::Matches(..) | Test::General(_) => None,
        Test::Not(test) => simple_leaves(test),
        Test::All(tests) | Test::Any(tests) => sum(tests),
        Test::Choose(tests) => sum(&**tests),
        Test::Compare(_, _, Value::String(text)) => Some(1 + text.len() / LONG_CONSTANT),
        Test::StartsWith(_, text) | Test::EndsWith(_, text) => Some(1 + text.len() / LONG_CONSTANT),
        _ => Some(1),
    }
}

/// A test on one attribute as a term.
fn term(test: &Test) -> Option<Term<'_>> {
    let value =
        |place, ranges| Some(Term { attribute: Attribute { place, presence: false }, ranges });
    match test {
        Test::Holds(place) if is(place, &FieldType::Bool) => value(place, vec![(1, 1)]),
        Test::Present(place) => {
            Some(Term { attribute: Attribute { place, presence: true }, ranges: vec![(1, 1)] })
        }
        Test::Compare(place, comparison, constant) => {
            value(place, compared(place.field.declared.as_ref()?, *comparison, constant)?)
        }
        Test::AmongTexts(place, texts)
            if is(place, &FieldType::String) && texts.len() <= MAX_RANGES =>
        {
            value(place, points(texts.iter().map(|text| key_of_text(text))))
        }
        Test::AmongInts(place, ints) if ints.len() <= MAX_RANGES => {
            value(place, points(ints.iter().copied()))
        }
        Test::Not(test) => {
            let term = term(test)?;
            // Different texts may have one key, so that no key says that a text is not there.
            let is_exact = term.attribute.presence || !is(term.attribute.place, &FieldType::String);
            is_exact.then(|| Term { ranges: complement(&term.ranges), ..term })
        }
        Test::Any(tests) => {
            let mut terms = tests.iter().map(term);
            let first = terms.next()??;
            terms.try_fold(first, |all, term| {
                let term = term.filter(|it| it.attribute.number() == all.attribute.number())?;
                let ranges = merged([all.ranges, term.ranges].concat());
                (ranges.len() <= MAX_RANGES).then_some(Term { ranges, ..all })
            })
        }
        _ => None,
    }
}

fn is(place: &Place, declared: &FieldType) -> bool {
    place.field.declared.as_ref() == Some(declared)
}

/// The keys of the values that a comparison with a constant holds for.
fn compared(declared: &FieldType, comparison: Comparison, constant: &Value<'_>) -> Option<Ranges> {
    let key = match (declared, constant) {
        (FieldType::String, Value::String(text)) if matches!(comparison, Comparison::Equal) => {
            key_of_text(text)
        }
        (FieldType::Bool, Value::Bool(bool)) => i64::from(*bool),
        (FieldType::Int, Value::Int(int)) => *int,
        (FieldType::Double, Value::Double(double)) if !double.is_nan() => key_of_double(*double),
        (FieldType::Double, Value::Int(int)) => key_of_double(*int as f64),
        _ => return None,
    };
    let below = key.checked_sub(1).map(|end| (i64::MIN, end));
    let above = key.checked_add(1).map(|start| (start, i64::MAX));
    Some(match comparison {
        Comparison::Equal => vec![(key, key)],
        Comparison::Unequal => below.into_iter().chain(above).collect(),
        Comparison::Less => below.into_iter().collect(),
        Comparison::AtMost => vec![(i64::MIN, key)],
        Comparison::Greater => above.into_iter().collect(),
        Comparison::AtLeast => vec![(key, i64::MAX)],
    })
}

fn points(keys: impl Iterator<Item = i64>) -> Ranges {
    merged(keys.map(|key| (key, key)).collect())
}

/// Sorted, and what overlaps or touches as one.
fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut merged: Ranges = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn common(a: &[(i64, i64)], b: &[(i64, i64)]) -> Ranges {
    let with = |a: &(i64, i64)| {
        let a = *a;
        b.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))).filter(|(start, end)| start <= end)
    };
    a.iter().flat_map(with).collect()
}

fn complement(ranges: &[(i64, i64)]) -> Ranges {
    let mut gaps = Vec::with_capacity(ranges.len() + 1);
    let mut next = Some(i64::MIN);
    for (start, end) in ranges {
        if let Some(from) = next.filter(|from| from < start) {
            gaps.push((from, start - 1));
        }
        next = end.checked_add(1);
    }
    gaps.extend(next.map(|from| (from, i64::MAX)));
    gaps
}

/// The key of an attribute in an event. None if it has none: an error, or a value that is too long.
pub(super) fn key(place: &Place, presence: bool, slots: &[Slot<'_>]) -> Option<i64> {
    let slot = place.slot(slots);
    if presence {
        return place.field.is_present(slot).ok().map(i64::from);
    }
    if is_long(slot) {
        return None;
    }
    if let (Some(declared), Slot::Json(json)) = (&place.field.declared, slot)
        && let Some(key) = plain_key(declared, json)
    {
        return Some(key);
    }
    match place.field.value(slot, &mut Budget::new()).ok()? {
        Value::String(text) => Some(key_of_text(&text)),
        Value::Int(int) => Some(int),
        Value::Bool(bool) => Some(i64::from(bool)),
        Value::Double(double) => Some(key_of_double(double)),
        _ => None,
    }
}

/// The key of a value as nearly all are written: a text without escapes, a whole number of a few digits.
fn plain_key(declared: &FieldType, json: &str) -> Option<i64> {
    match declared {
        FieldType::String => {
            let text = json.strip_prefix('"')?.strip_suffix('"')?;
            memchr::memchr(b'\\', text.as_bytes()).is_none().then(|| key_of_text(text))
        }
        FieldType::Int if json.len() <= MAX_DIGITS => json.bytes().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| 10 * number + i64::from(byte - b'0'))
        }),
        _ => None,
    }
}

/// Digits of a number that fits an int whatever they are.
const MAX_DIGITS: usize = 18;

/// Whether a value is longer than [`MAX_TEXT`].
pub(super) fn is_long(slot: Slot<'_>) -> bool {
    matches!(slot, Slot::Json(json) if json.len() > MAX_TEXT)
}

/// Keys in the order of the doubles, those of the two zeros equal.
fn key_of_double(double: f64) -> i64 {
    let bits = (double + 0.0).to_bits().cast_signed();
    bits ^ (bits >> 63).cast_unsigned().unbounded_shr(1).cast_signed()
}

/// A hash of at most [`HASHED`] bytes: equal texts have equal keys. Different ones may too, which costs
/// running a program, so that senders must not be able to make many such for many filters; hence the seed.
fn key_of_text(text: &str) -> i64 {
    static SEED: LazyLock<u64> = LazyLock::new(rand::random);
    let bytes = text.as_bytes();
    let mut hash = *SEED ^ bytes.len() as u64;
    let (start, end) = match bytes.len() {
        length if length > HASHED => (&bytes[..HASHED / 2], &bytes[length - HASHED / 2..]),
        _ => (bytes, &[][..]),
    };
    for part in [start, end] {
        let (blocks, rest) = part.as_chunks::<16>();
        for block in blocks {
            hash = mixed(hash, *block);
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            hash = mixed(hash, block);
        }
    }
    folded(hash).cast_signed()
}

/// Bytes of a text that its key is made of, half of them from its end if it is longer.
const HASHED: usize = 64;

fn mixed(hash: u64, block: [u8; 16]) -> u64 {
    let block = u128::from_le_bytes(block);
    let (low, high) = (block as u64 ^ hash, (block >> 64) as u64 ^ FACTOR);
    let product = u128::from(low) * u128::from(high);
    (product as u64) ^ (product >> 64) as u64 ^ hash.rotate_left(29)
}

/// An odd number of random bits (one of wyhash's).
const FACTOR: u64 = 0xa076_1d64_78bd_642f;

/// Both halves of a product, as one.
pub(super) fn folded(value: u64) -> u64 {
    let product = u128::from(value) * u128::from(FACTOR);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(ranges: &[(i64, i64)], key: i64) -> bool {
        ranges.iter().any(|(start, end)| (*start..=*end).contains(&key))
    }

    fn ranges() -> impl Strategy<Value = Ranges> {
        let end = prop_oneof![Just(i64::MIN), -4..4i64, Just(i64::MAX)];
        let range = (end.clone(), end).prop_map(|(a, b)| (a.min(b), a.max(b)));
        proptest::collection::vec(range, 0..4).prop_map(merged)
    }

    #[test]
    fn doubles_keep_their_order_as_keys() {
        let doubles = [f64::MIN, -1.5, -1.0, -1e-300, 0.0, 1e-300, 1.0, 1.5, f64::MAX];
        assert!(doubles.windows(2).all(|two| key_of_double(two[0]) < key_of_double(two[1])));
        assert_eq!(key_of_double(-0.0), key_of_double(0.0));
    }

    #[test]
    fn texts_that_differ_in_a_byte_or_in_length_differ_in_their_key() {
        let long =
            ["a".repeat(100), format!("b{}", "a".repeat(99)), format!("{}b", "a".repeat(99))];
        let short = ["", "\0", "\0\0", "a", "b", "aaaaaaaa", "aaaaaaab", "aaaaaaaaaaaaaaaa\0"];
        let texts: Vec<&str> = short.into_iter().chain(long.iter().map(String::as_str)).collect();
        let keys: std::collections::HashSet<i64> =
            texts.iter().map(|text| key_of_text(text)).collect();
        assert_eq!(keys.len(), texts.len());
    }

    proptest! {
        #[test]
        fn ranges_are_sets_of_keys(a in ranges(), b in ranges(), key in -6..6i64) {
            for key in [i64::MIN, key, i64::MAX] {
                let (in_a, in_b) = (holds(&a, key), holds(&b, key));
                prop_assert_eq!(holds(&complement(&a), key), !in_a);
                prop_assert_eq!(holds(&common(&a, &b), key), in_a && in_b);
                prop_assert_eq!(holds(&merged([a.clone(), b.clone()].concat()), key), in_a || in_b);
            }
        }
    }
}
