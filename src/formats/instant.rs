//! Times and spans as proxies write them, read to the digit and written with the digits that were there.
//!
//! It knows no time zones but offsets: a time without one is taken to be in UTC.

use std::fmt;

use crate::event::Timestamp;

/// An instant with the number of digits after the second that its line had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    at: Timestamp,
    digits: usize,
}

/// A span of time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) u64);

const NANOS: u64 = 1_000_000_000;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

impl Instant {
    /// Reads `10/Oct/2000:13:55:36 -0700`, the time of the common log format, and HAProxy's
    /// `10/Oct/2000:13:55:36.123` without a zone.
    pub(super) fn of_common_log(text: &str) -> Option<Instant> {
        let (date_time, rest) = text.as_bytes().split_at_checked(20)?;
        let [d, e, b'/', m @ .., b'/', y1, y2, y3, y4, b':', h, i, b':', n, o, b':', s, t] =
            date_time
        else {
            return None;
        };
        let month = 1 + MONTHS.iter().position(|it| *it == m)?;
        let date = [number(&[*y1, *y2, *y3, *y4])?, month as i64, number(&[*d, *e])?];
        let time = [number(&[*h, *i])?, number(&[*n, *o])?, number(&[*s, *t])?];
        let at = Timestamp::of_civil(date, time)?;
        let (nanos, digits, zone) = fraction(rest);
        let offset = match zone {
            [] => 0,
            [b' ', sign @ (b'+' | b'-'), h, i, m, n] => {
                let offset = number(&[*h, *i])? * 3_600 + number(&[*m, *n])? * 60;
                if *sign == b'-' { -offset } else { offset }
            }
            _ => return None,
        };
        let at = Timestamp { seconds: at.seconds - offset, nanos }.in_range()?;
        Some(Instant { at, digits })
    }

    /// Reads RFC 3339, also with an offset without colon (`+0000`), as Caddy's `iso8601` has it.
    pub(super) fn of_rfc_3339(text: &str) -> Option<Instant> {
        let (_, digits, zone) = fraction(text.as_bytes().get(19..)?);
        let at = match zone {
            [b'+' | b'-', _, _, _, _] => {
                let (hours, minutes) = text.split_at_checked(text.len() - 2)?;
                Timestamp::parse(&format!("{hours}:{minutes}"))
            }
            _ => Timestamp::parse(text),
        };
        Some(Instant { at: at?, digits })
    }

    /// The offset in seconds of a time in RFC 3339, behind a priority such as `<134>` too.
    pub(super) fn offset_of_rfc_3339(word: &str) -> Option<i64> {
        let word = word.rsplit_once('>').map_or(word, |(_, time)| time);
        Instant::of_rfc_3339(word)?;
        match word.as_bytes().last_chunk()? {
            [sign @ (b'+' | b'-'), h, i, b':', m, n] => {
                let offset = number(&[*h, *i])? * 3_600 + number(&[*m, *n])? * 60;
                Some(if *sign == b'-' { -offset } else { offset })
            }
            _ => Some(0),
        }
    }

    /// The instant so many seconds earlier.
    pub(super) fn earlier(self, seconds: i64) -> Option<Instant> {
        let at = Timestamp { seconds: self.at.seconds.checked_sub(seconds)?, ..self.at };
        Some(Instant { at: at.in_range()?, ..self })
    }

    /// Reads `2026/11/26 15:54:47.123`, as Go's programs write it for people.
    pub(super) fn of_slashes(text: &str) -> Option<Instant> {
        let (date, time) = text.split_once(' ')?;
        Instant::of_rfc_3339(&format!("{}T{time}Z", date.replace('/', "-")))
    }

    /// Reads seconds since 1970 with a fraction, `1795708487.970`; or milliseconds, microseconds or
    /// nanoseconds, which are told by how many digits they have before the point.
    pub(super) fn of_unix(text: &str) -> Option<Instant> {
        let (whole, after) = text.split_once('.').unwrap_or((text, ""));
        let scale = match whole.len() {
            ..=11 => 0,
            12..=14 => 3,
            15..=17 => 6,
            _ => 9,
        };
        let (seconds, more) = whole.split_at_checked(whole.len().checked_sub(scale)?)?;
        let digits = (more.len() + after.len()).min(9);
        let mut nanos = 0;
        for digit in more.bytes().chain(after.bytes()).chain([b'0'; 9]).take(9) {
            nanos = nanos * 10 + u32::try_from(number(&[digit])?).ok()?;
        }
        let all_digits = after.bytes().all(|it| it.is_ascii_digit());
        let seconds = number(seconds.as_bytes()).filter(|_| all_digits && !whole.is_empty())?;
        let at = Timestamp { seconds, nanos }.in_range()?;
        Some(Instant { at, digits })
    }

    /// Reads a time in any of the forms that programs write in JSON: RFC 3339, also with a space for the `T`, a
    /// comma before the fraction, or without a zone, which is UTC then; a number since 1970 as
    /// [`Instant::of_unix`]; the common log format's; Go's.
    pub(super) fn of_any(text: &str) -> Option<Instant> {
        let known = Instant::of_unix(text)
            .or_else(|| Instant::of_rfc_3339(text))
            .or_else(|| Instant::of_common_log(text))
            .or_else(|| Instant::of_slashes(text));
        if known.is_some() || !text.is_ascii() {
            return known;
        }
        let (date, time) = text.split_at_checked(10)?;
        let time = time.strip_prefix(['T', ' '])?.replacen(',', ".", 1).replacen(' ', "", 1);
        let with_zone = format!("{date}T{}", time.replace("UTC", "Z"));
        Instant::of_rfc_3339(&with_zone).or_else(|| Instant::of_rfc_3339(&format!("{with_zone}Z")))
    }

    /// An instant that was a number, with as many digits of three at a time as it needs.
    #[cfg(feature = "envoy")]
    pub(super) fn of(at: Timestamp) -> Option<Instant> {
        Some(Instant { at: at.in_range()?, digits: digits_of(at.nanos) })
    }

    /// The instant some time later, with at least so many digits.
    pub(super) fn after(self, span: Span, digits: usize) -> Option<Instant> {
        let nanos = u64::from(self.at.nanos) + span.0 % NANOS;
        let seconds = i64::try_from(span.0 / NANOS + nanos / NANOS).ok()?;
        let at = Timestamp {
            seconds: self.at.seconds.checked_add(seconds)?,
            nanos: u32::try_from(nanos % NANOS).ok()?,
        };
        Some(Instant { at: at.in_range()?, digits: self.digits.max(digits) })
    }

    /// The instant as a number.
    pub(super) fn timestamp(self) -> Timestamp {
        self.at
    }
}

impl Instant {
    /// Appends the instant in RFC 3339 in UTC, with the digits that were written. By hand, since it stands in
    /// every event twice and more.
    pub(super) fn push(self, out: &mut String) {
        let (date, time) = self.at.civil();
        for (number, width, behind) in [
            (date[0], 4, '-'),
            (date[1], 2, '-'),
            (date[2], 2, 'T'),
            (time[0], 2, ':'),
            (time[1], 2, ':'),
        ] {
            push_digits(out, number, width);
            out.push(behind);
        }
        push_digits(out, time[2], 2);
        if self.digits > 0 {
            let written = self.digits.min(9);
            out.push('.');
            push_digits(out, i64::from(self.at.nanos) / 10_i64.pow(9 - written as u32), written);
        }
        out.push('Z');
    }
}

/// Appends a number with leading zeros; its last `width` digits, of at most nine.
fn push_digits(out: &mut String, mut number: i64, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits[9 - width..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend(digits[9 - width..].iter().map(|&it| char::from(it)));
}

impl Span {
    /// Reads a decimal number of units of `10^exponent` nanoseconds: 9 for seconds, 6 for milliseconds.
    /// Digits below a nanosecond are cut. None for what is negative, which proxies write where there is
    /// no time to tell.
    pub(super) fn of(text: &str, exponent: usize) -> Option<Span> {
        let (whole, after) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || !after.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let mut nanos = whole.parse::<u64>().ok()?;
        for digit in after.bytes().chain([b'0'; 9]).take(exponent) {
            nanos = nanos.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        Some(Span(nanos))
    }

    /// How many digits of three at a time its fraction of a second needs.
    #[cfg(feature = "envoy")]
    pub(super) fn digits(self) -> usize {
        digits_of((self.0 % NANOS) as u32)
    }

    /// Reads a span as Go's programs write it: `1.5ms`, `1m2.5s`.
    pub(super) fn of_go(text: &str) -> Option<Span> {
        const UNITS: [(&str, usize, u64); 7] = [
            ("ms", 6, 1),
            ("µs", 3, 1),
            ("us", 3, 1),
            ("ns", 0, 1),
            ("h", 9, 3_600),
            ("m", 9, 60),
            ("s", 9, 1),
        ];
        let (mut rest, mut sum) = (text, Span(0));
        while !rest.is_empty() {
            let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
            let (number, behind) = rest.split_at(end);
            let (unit, exponent, times) = UNITS.iter().find(|it| behind.starts_with(it.0))?;
            let span = Span::of(number, *exponent)?.0.checked_mul(*times)?;
            sum = Span(sum.0.checked_add(span)?);
            rest = &behind[unit.len()..];
        }
        (!text.is_empty()).then_some(sum)
    }

    /// The sum, where both are there.
    pub(super) fn and(self, other: Option<Span>) -> Option<Span> {
        self.0.checked_add(other?.0).map(Span)
    }
}

#[cfg(feature = "envoy")]
fn digits_of(nanos: u32) -> usize {
    match nanos {
        0 => 0,
        it if it % 1_000_000 == 0 => 3,
        it if it % 1_000 == 0 => 6,
        _ => 9,
    }
}

/// Milliseconds, with the decimals that are needed.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads an optional `.digits` of at most nine: the nanoseconds, how many digits, and what follows.
fn fraction(rest: &[u8]) -> (u32, usize, &[u8]) {
    let Some(after) = rest.strip_prefix(b".") else { return (0, 0, rest) };
    let length = after.iter().take_while(|it| it.is_ascii_digit()).count();
    let digits = after[..length].iter().chain(&[b'0'; 9]).take(9);
    let nanos = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (nanos, length.min(9), &after[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(instant: Option<Instant>) -> String {
        let Some(instant) = instant else { return "none".to_owned() };
        let mut out = String::new();
        instant.push(&mut out);
        out
    }

    #[test]
    fn times_are_in_utc_with_the_digits_that_were_written() {
        for (text, expected) in [
            ("10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("01/Jan/2027:00:30:00 +0130", "2026-12-31T23:00:00Z"),
            ("26/Nov/2026:15:54:48.080", "2026-11-26T15:54:48.080Z"),
            ("31/Feb/2026:15:54:48 +0000", "none"),
            ("26/nov/2026:15:54:48 +0000", "none"),
            ("26/Nov/2026:15:54:48 +00", "none"),
            ("26/Nov/2026:15:54:48x", "none"),
            ("26/Nov/2026", "none"),
        ] {
            assert_eq!(shown(Instant::of_common_log(text)), expected, "{text}");
        }
        for (text, expected) in [
            ("1795708487.970", "2026-11-26T15:54:47.970Z"),
            ("1795708487", "2026-11-26T15:54:47Z"),
            ("1795708487.9700001234", "2026-11-26T15:54:47.970000123Z"),
            ("1795708487970.5", "2026-11-26T15:54:47.9705Z"),
            ("1795708487970000001", "2026-11-26T15:54:47.970000001Z"),
            ("-1", "none"),
            ("", "none"),
            ("1.x", "none"),
            ("999999999999999999999", "none"),
        ] {
            assert_eq!(shown(Instant::of_unix(text)), expected, "{text}");
        }
        for (text, expected) in [
            ("2016-04-15T20:17:00.310Z", "2016-04-15T20:17:00.310Z"),
            ("2016-04-15T20:17:00.310+0200", "2016-04-15T18:17:00.310Z"),
            ("2016-04-15T20:17:00+02:00", "2016-04-15T18:17:00Z"),
            ("2016-04-15T20:17:00é", "none"),
        ] {
            assert_eq!(shown(Instant::of_rfc_3339(text)), expected, "{text}");
        }
    }

    #[test]
    fn spans_are_exact() {
        let shown = |text, exponent| Span::of(text, exponent).map(|it| it.to_string());
        assert_eq!(shown("0.002", 9).as_deref(), Some("2"));
        assert_eq!(shown("0.000929675", 9).as_deref(), Some("0.929675"));
        assert_eq!(shown("12", 6).as_deref(), Some("12"));
        assert_eq!(shown("1234567", 0).as_deref(), Some("1.234567"));
        assert_eq!(shown("-1", 6), None);
        assert_eq!(shown("99999999999999999999", 9), None);
        let start = Instant::of_common_log("31/Dec/2026:23:59:59.900").unwrap();
        assert_eq!(shown_after(start, 200), "2027-01-01T00:00:00.100Z");
    }

    fn shown_after(start: Instant, milliseconds: u64) -> String {
        shown(start.after(Span(milliseconds * 1_000_000), 3))
    }
}
