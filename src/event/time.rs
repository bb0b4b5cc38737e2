//! Instants as events carry them: RFC 3339 text, read strictly, and the same instant as numbers.
//!
//! Hand-written because it stands on the path of every event. It knows no time zones but offsets
//! and does no calendar arithmetic beyond dates to days.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// An instant in UTC with nanoseconds, between the years 0001 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest instant that RFC 3339 can name.
    pub const MIN: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };
    /// 9999-12-31T23:59:59.999999999Z, the latest one.
    pub const MAX: Timestamp = Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 };

    /// The present instant by the machine's clock.
    #[must_use]
    pub fn now() -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp {
            seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(Self::MAX.seconds),
            nanos: since_epoch.subsec_nanos(),
        }
    }

    /// Reads RFC 3339: `2025-09-04T10:11:14.5Z` or with an offset `+02:00`.
    ///
    /// Strict: a zone is required, a leap second is refused, digits beyond nanoseconds are cut.
    #[must_use]
    pub fn parse(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        let (date_time, rest) = bytes.split_at_checked(19)?;
        let separators = [date_time[4], date_time[7], date_time[13], date_time[16]];
        if separators != *b"--::" || !matches!(date_time[10], b'T' | b't') {
            return None;
        }
        let year = number(&date_time[0..4])?;
        let month = number(&date_time[5..7])?;
        let day = number(&date_time[8..10])?;
        let (hour, minute, second) =
            (number(&date_time[11..13])?, number(&date_time[14..16])?, number(&date_time[17..19])?);
        let (nanos, zone) = fraction(rest)?;
        let local = Timestamp::of_civil([year, month, day], [hour, minute, second])?;
        Timestamp { seconds: local.seconds - offset_seconds(zone)?, nanos }.in_range()
    }

    /// The instant that a calendar and a clock in UTC show: year, month (from 1), day; hour, minute,
    /// second. None where there is no such date or time; a leap second is none either.
    #[must_use]
    pub fn of_civil(date: [i64; 3], time: [i64; 3]) -> Option<Timestamp> {
        let ([year, month, day], [hour, minute, second]) = (date, time);
        let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        let is_time =
            (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        let days = (is_date && is_time).then(|| days_since_epoch(year, month, day))?;
        let seconds = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
        Some(Timestamp { seconds, nanos: 0 })
    }

    /// What a calendar and a clock in UTC show at this instant: the inverse of [`Timestamp::of_civil`].
    #[must_use]
    pub fn civil(self) -> ([i64; 3], [i64; 3]) {
        let (year, month, day) = date_of(self.seconds.div_euclid(SECONDS_PER_DAY));
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        ([year, month, day], [second / 3_600, second / 60 % 60, second % 60])
    }

    /// This instant if it lies between [`Timestamp::MIN`] and [`Timestamp::MAX`].
    #[must_use]
    pub fn in_range(self) -> Option<Timestamp> {
        (Self::MIN..=Self::MAX).contains(&self).then_some(self)
    }

    /// Milliseconds since the epoch, rounded down.
    #[must_use]
    pub fn unix_millis(self) -> i64 {
        self.seconds * 1_000 + i64::from(self.nanos / 1_000_000)
    }

    /// The instant without its fraction of a second.
    #[must_use]
    pub fn whole_seconds(self) -> Timestamp {
        Timestamp { nanos: 0, ..self }
    }
}

/// RFC 3339 in UTC, the fraction without trailing zeros.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([year, month, day], [hour, minute, second]) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// Reads an optional `.digits`; gives nanoseconds and what follows.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some(after_dot) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = after_dot.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (digits, zone) = after_dot.split_at(length);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = padded.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some((nanos, zone))
}

fn offset_seconds(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let (hours, minutes) = (number(hours)?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600 + minutes * 60;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
///
/// The algorithm is Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap
/// day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_since_epoch`]: year, month, day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc_3339_is_read_in_any_offset_and_written_in_utc() {
        for (text, written) in [
            ("2025-09-04T10:11:14Z", "2025-09-04T10:11:14Z"),
            ("2025-09-04T12:11:14+02:00", "2025-09-04T10:11:14Z"),
            ("2025-09-04t10:11:14.528374173z", "2025-09-04T10:11:14.528374173Z"),
            ("1969-12-31T23:59:59.5-00:30", "1970-01-01T00:29:59.5Z"),
            ("2024-02-29T00:00:00.000Z", "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2025-09-04",
            "2025-09-04T10:11:14",
            "2025-09-04 10:11:14Z",
            "2025-02-29T10:11:14Z",
            "2025-13-01T10:11:14Z",
            "2025-09-04T24:00:00Z",
            "2025-09-04T10:11:60Z",
            "2025-09-04T10:11:14.Z",
            "2025-09-04T10:11:14+0200",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "2025-09-04T10:11:14Zé",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_survives_being_written_and_read(
            seconds in Timestamp::MIN.seconds..=Timestamp::MAX.seconds,
            nanos in 0..1_000_000_000u32,
        ) {
            let instant = Timestamp { seconds, nanos };
            prop_assert_eq!(Timestamp::parse(&instant.to_string()), Some(instant));
        }
    }
}
