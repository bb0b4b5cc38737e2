//! One number for many rows: a sum of hashes, which a change brings up to date without reading the rest.
//!
//! It stands sealed beside the rows, with the number of the last change, so that rows which somebody put back, added or
//! took away show when all are read. Each store has one of the rows that keep addresses out: where they are not what it
//! says, only the machine itself is let in ([`GUARDS`]). A store that is put back whole agrees with itself; that it is
//! older than something else is found elsewhere.

use ring::digest::{SHA256, digest};

use super::RESTRICTIONS;

/// The kinds whose rows keep addresses out: where one was changed outside, more may come in than should.
pub(super) const GUARDS: [&str; 3] = [RESTRICTIONS, "ip_policies", "ip_policy_rules"];

/// Whether rows of a kind keep addresses out.
pub(super) fn keeps_out(kind: &str) -> bool {
    GUARDS.contains(&kind)
}

/// Four words, each a sum of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

/// A row as the store has it.
pub(super) struct Sealed<'r> {
    pub(super) kind: &'r str,
    pub(super) id: &'r str,
    pub(super) created_at: i64,
    /// The number of the change that wrote it, where the engine keeps that with each row.
    pub(super) version: i64,
    pub(super) body: &'r [u8],
}

impl Sealed<'_> {
    fn words(&self) -> [u64; 4] {
        let Sealed { kind, id, created_at, version, body } = self;
        let place = format!("{kind}\0{id}\0{created_at}\0{version}\0");
        let hash = digest(&SHA256, &[place.as_bytes(), body].concat());
        let mut words = [0; 4];
        for (word, octets) in words.iter_mut().zip(hash.as_ref().chunks_exact(8)) {
            *word = octets.iter().fold(0, |word, octet| word << 8 | u64::from(*octet));
        }
        words
    }
}

impl Sum {
    /// That of no rows that anybody will ever see, not even of none: it says that they are not those that were written.
    pub(super) const OTHER: Sum = Sum([u64::MAX; 4]);

    pub(super) fn add(&mut self, row: &Sealed<'_>) {
        *self = self.with(Sum(row.words()));
    }

    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "of a fleet alone"))]
    pub(super) fn take_away(&mut self, row: &Sealed<'_>) {
        *self = self.without(Sum(row.words()));
    }

    /// The sum of these rows and others.
    pub(super) fn with(mut self, others: Sum) -> Sum {
        self.0.iter_mut().zip(others.0).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
        self
    }

    /// The sum of these rows but for some of them.
    pub(super) fn without(mut self, some: Sum) -> Sum {
        self.0.iter_mut().zip(some.0).for_each(|(sum, word)| *sum = sum.wrapping_sub(word));
        self
    }

    pub(super) fn to_text(self) -> String {
        self.0.iter().map(|word| format!("{word:016x}")).collect()
    }

    pub(super) fn parse(text: &str) -> Option<Sum> {
        let mut words = [0; 4];
        for (at, word) in words.iter_mut().enumerate() {
            *word = u64::from_str_radix(text.get(16 * at..16 * (at + 1))?, 16).ok()?;
        }
        Some(Sum(words))
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Sum>>(sums: I) -> Sum {
        sums.fold(Sum::default(), Sum::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> Sealed<'_> {
        Sealed { kind: "k", id, created_at: 7, version: 1, body: b"sealed" }
    }

    #[test]
    fn the_order_of_changes_does_not_matter_and_what_goes_leaves_nothing() {
        let (mut one, mut other) = (Sum::default(), Sum::default());
        one.add(&row("a"));
        one.add(&row("b"));
        other.add(&row("b"));
        other.add(&row("c"));
        other.add(&row("a"));
        assert_ne!(one, other);
        other.take_away(&row("c"));
        assert_eq!(one, other);
        assert_eq!(Sum::parse(&one.to_text()), Some(one));
        assert_eq!(Sum::parse("00"), None);
    }
}
