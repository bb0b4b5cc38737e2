//! Event ids: `ev_` and a KSUID, sortable by the second in which they were made.
//!
//! The layout is that of segmentio/ksuid: 4 bytes of seconds since 2014-05-13T16:53:20Z, then 16
//! random bytes, written as 27 base-62 digits. Randomness comes in as an argument.

use super::time::Timestamp;

/// Seconds between the Unix epoch and the KSUID epoch.
const KSUID_EPOCH: i64 = 1_400_000_000;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 27;

/// A new id with the given prefix (`ev`), time and randomness: `ev_` and 27 characters.
///
/// The clock of a KSUID covers the years 2014 to 2150; other times are clamped to its ends.
#[must_use]
pub fn ksuid(prefix: &str, time: Timestamp, random: u128) -> String {
    let clock = (time.seconds - KSUID_EPOCH).clamp(0, i64::from(u32::MAX));
    // 160 bits, most significant first, as five 32-bit limbs for the long division by 62.
    let mut limbs = [
        u32::try_from(clock).unwrap_or(u32::MAX),
        (random >> 96) as u32,
        (random >> 64) as u32,
        (random >> 32) as u32,
        random as u32,
    ];
    let mut text = [b'0'; LENGTH];
    for digit in text.iter_mut().rev() {
        let mut remainder = 0u64;
        for limb in &mut limbs {
            let value = (remainder << 32) | u64::from(*limb);
            *limb = (value / 62) as u32;
            remainder = value % 62;
        }
        *digit = DIGITS[remainder as usize];
    }
    let mut id = String::with_capacity(prefix.len() + 1 + LENGTH);
    id.push_str(prefix);
    id.push('_');
    id.extend(text.iter().map(|&digit| char::from(digit)));
    id
}

/// A new id that is later in order than `latest`, even within one second: then it is the one that
/// follows. So the order of ids is the order of their making.
#[must_use]
pub fn ksuid_after(latest: &str, prefix: &str, time: Timestamp, random: u128) -> String {
    // A little below the end of the second, so that many may follow within it.
    let id = ksuid(prefix, time, random >> 8);
    if *latest < *id { id } else { following(latest) }
}

/// The id after another: one more in base 62.
fn following(id: &str) -> String {
    let mut text: Vec<char> = id.chars().collect();
    for digit in text.iter_mut().rev() {
        let Some(at) = DIGITS.iter().position(|it| char::from(*it) == *digit) else { break };
        *digit = char::from(DIGITS[(at + 1) % DIGITS.len()]);
        if at + 1 < DIGITS.len() {
            break;
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_prefix_and_27_base_62_digits() {
        // The example of the segmentio/ksuid README: timestamp 107608047, payload as below.
        let time = Timestamp { seconds: KSUID_EPOCH + 107_608_047, nanos: 0 };
        let id = ksuid("ev", time, 0xB5A1_CD34_B5F9_9D11_54FB_6853_345C_9735);
        assert_eq!(id, "ev_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    }

    #[test]
    fn ids_sort_by_the_second_they_were_made_in() {
        let at = |seconds| ksuid("ev", Timestamp { seconds, nanos: 0 }, u128::MAX);
        assert!(at(1_700_000_000) < at(1_700_000_001));
        assert!(at(0) <= at(KSUID_EPOCH));
    }

    #[test]
    fn ids_of_one_second_are_in_the_order_of_their_making() {
        let now = Timestamp { seconds: 1_756_980_674, nanos: 0 };
        let mut latest = String::new();
        for _ in 0..1_000 {
            let id = ksuid_after(&latest, "ipp", now, rand::random());
            assert!(latest < id, "{latest:?} {id}");
            assert_eq!(id.len(), "ipp_".len() + 27);
            latest = id;
        }
        assert_eq!(following("ipp_1z"), "ipp_20");
        assert_eq!(following("ipp_19z"), "ipp_1A0");
    }
}
