//! Chance that is the same on every machine: whole numbers drawn from ChaCha8, a cipher whose output
//! is fixed for ever.
//!
//! The picks are our own rather than `rand`'s, whose algorithms may change with its versions, and
//! there are no floating-point numbers. Nothing here is fit for secrets.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers and what is picked with them.
pub(super) struct Random {
    rng: ChaCha8Rng,
}

impl Random {
    /// The stream of that name and seed. Other names have other numbers, so that events of two types
    /// made with one seed do not share their ids.
    pub(super) fn new(seed: u64, stream: &str) -> Random {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&hash(stream).to_le_bytes());
        Random { rng: ChaCha8Rng::from_seed(key) }
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(super) fn wide_bits(&mut self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// A number below `bound`, or 0 if that is 0. Even but for a bias of at most `bound` in 2³².
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.rng.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number from `low` up to and including `high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// A number below `bound` of which the small ones are the most likely, as hosts are busy or idle.
    pub(super) fn skewed(&mut self, bound: u32) -> u32 {
        let widest = self.below(bound) + 1;
        self.below(widest)
    }

    /// A count of bytes of at most `bits` bits; each length in bits is as likely as the next.
    pub(super) fn size(&mut self, bits: u32) -> u32 {
        let top = 1u32 << self.below(bits);
        top + self.below(top)
    }

    /// True in so many cases of a hundred.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of a table that has at least one entry.
    pub(super) fn pick<T: Copy>(&mut self, table: &[T]) -> T {
        table[self.below(table.len() as u32) as usize]
    }

    /// One of a table that has at least one entry, each as likely as its weight says.
    pub(super) fn weighted<'t, T>(&mut self, table: &'t [(u32, T)]) -> &'t T {
        let mut left = self.below(table.iter().map(|(weight, _)| weight).sum());
        for (weight, entry) in table {
            if left < *weight {
                return entry;
            }
            left -= weight;
        }
        &table[0].1
    }

    /// The template with each `#` made a digit and each `@` a hexadecimal digit.
    pub(super) fn fill(&mut self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'#' | b'@')) {
            text.push_str(&rest[..at]);
            let base = if rest.as_bytes()[at] == b'#' { 10 } else { 16 };
            text.push(char::from(b"0123456789abcdef"[self.below(base) as usize]));
            rest = &rest[at + 1..];
        }
        text.push_str(rest);
        text
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Scatters the bits of a number: the finalizer of Sebastiano Vigna's SplitMix64
/// (<https://prng.di.unimi.it/splitmix64.c>).
pub(super) fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_stay_within_their_bounds() {
        let mut random = Random::new(1, "test");
        for _ in 0..10_000 {
            assert!(random.below(7) < 7);
            assert!(random.skewed(7) < 7);
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((1..1 << 10).contains(&random.size(10)));
        }
        assert_eq!((random.below(0), random.below(1)), (0, 0));
        assert!(random.chance(100) && !random.chance(0));
    }

    #[test]
    fn weights_are_kept() {
        let mut random = Random::new(1, "test");
        let table = [(1, 'a'), (0, 'b'), (3, 'c')];
        let mut drawn = [0; 3];
        for _ in 0..40_000 {
            drawn[*random.weighted(&table) as usize - 'a' as usize] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((9_700..10_300).contains(&drawn[0]), "{drawn:?}");
    }

    #[test]
    fn a_template_keeps_all_but_its_marks() {
        let filled = Random::new(1, "test").fill("ü/#@-z");
        assert_eq!(filled.len(), "ü/#@-z".len());
        assert!(filled.starts_with("ü/") && filled.ends_with("-z"));
    }

    #[test]
    fn the_hashes_are_those_of_their_inventors() {
        assert_eq!(hash("foobar"), 0x8594_4171_F739_67E8);
        assert_eq!(scatter(1_234_567), 6_457_827_717_110_365_317);
    }
}
