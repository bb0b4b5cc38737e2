//! Durations and sizes as people write them: a whole number and a unit.
//!
//! No fractions, no sums (`1h30m`) and no spaces: each value has few spellings, and none is
//! ambiguous.

use std::time::Duration;

/// Milliseconds of each unit of time, the largest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes of each unit of size, the largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

/// Reads `200ms`, `30s`, `5m`, `1h` or `7d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    measure(text, &TIMES).map(Duration::from_millis)
}

/// Reads `10MiB`, `16KiB`, `1GiB`, `5TiB` (powers of 1024), `10MB`, `16kB`, `1GB`, `5TB` (powers of
/// 1000), `512B`, or a number of bytes without a unit.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    measure(text, &SIZES).or_else(|| measure(text, &[("", 1)]))
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration in the largest unit that keeps it whole, such as `5m` for 300 seconds. Parts of a
/// millisecond are left out.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 { "0s".to_owned() } else { show(milliseconds, TIMES) }
}

/// A size in the largest unit that keeps it whole, such as `16KiB` for 16384.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { show(bytes, SIZES) }
}

fn show<const N: usize>(amount: u64, units: [(&str, u64); N]) -> String {
    units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor))
        .map_or_else(|| amount.to_string(), |(name, factor)| format!("{}{name}", amount / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("200ms", 200),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "-1s",
            "+1s",
            "1.5s",
            "1h30m",
            "30 s",
            "30S",
            "1w",
            "99999999999999999d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_tell_powers_of_1024_from_powers_of_1000() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("512B", 512),
            ("16kB", 16_000),
            ("16KiB", 16_384),
            ("10MB", 10_000_000),
            ("10MiB", 10_485_760),
            ("1GB", 1_000_000_000),
            ("1GiB", 1_073_741_824),
            ("2TB", 2_000_000_000_000),
            ("2TiB", 2_199_023_255_552),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "10KB", "10mb", "10M", "1.5GiB", "-1", "10 MiB", "99999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn they_are_shown_in_the_largest_whole_unit() {
        assert_eq!(show_size(16 << 20), "16MiB");
        assert_eq!(show_size(5_000_000), "5MB");
        assert_eq!(show_size(1001), "1001B");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_secs(604_800)), "7d");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(amount in any::<u64>()) {
            prop_assert_eq!(size(&show_size(amount)), Some(amount));
            let time = Duration::from_millis(amount);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
        }
    }
}
