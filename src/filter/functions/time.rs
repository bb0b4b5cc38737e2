//! Instants and spans of time: their text and the parts of calendar and clock.
//!
//! Calendar parts are in UTC unless a zone is named. The zones are those of the bundled IANA
//! database, so that a filter means the same on every machine.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::event::Timestamp;

use super::super::error::EvalError;
use super::super::value::Value;
use super::{Budget, Outcome, arithmetic, refuse};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// What Unix time counts from, in UTC.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Reads `1h30m`, `-1.5s`, `0`: decimals with the units h, m, s, ms, us and ns.
pub(in super::super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i128;
    while {
        let (nanos, after) = duration_part(rest)?;
        total = total.checked_add(nanos)?;
        rest = after;
        !rest.is_empty()
    } {}
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `time.add("24h")`: later by a span, which is whole days, such as `7d`, or a duration.
pub(in super::super) fn later<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [time @ Value::Timestamp(_), Value::String(span)] = arguments else {
        return refuse("%s", arguments);
    };
    budget.parse(span)?;
    arithmetic::add(&[time.clone(), Value::Duration(parse_span(span)?)], budget)
}

/// `time.subtract("7d")`: earlier by a span.
pub(in super::super) fn earlier<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [time @ Value::Timestamp(_), Value::String(span)] = arguments else {
        return refuse("%s", arguments);
    };
    budget.parse(span)?;
    arithmetic::subtract(&[time.clone(), Value::Duration(parse_span(span)?)], budget)
}

fn parse_span(text: &str) -> Result<i64, EvalError> {
    let span = match text.strip_suffix('d') {
        Some(days) => {
            days.parse::<u32>().ok().and_then(|days| NANOS_PER_DAY.checked_mul(days.into()))
        }
        None => parse_duration(text),
    };
    span.ok_or_else(|| EvalError::invalid("span of time", text))
}

/// One number with its unit, in nanoseconds, and what follows. Digits below a nanosecond are cut.
fn duration_part(text: &str) -> Option<(i128, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let units: [(&str, i128); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (unit, rest) =
        units.iter().find_map(|(name, nanos)| Some((*nanos, rest.strip_prefix(name)?)))?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut scale = unit;
    // An hour has fewer than 13 digits of nanoseconds; further ones are below one.
    for digit in fraction.bytes().take(13) {
        // Exact until the scale falls below one, since the units are multiples of powers of ten.
        nanos += i128::from(digit - b'0') * scale / 10;
        scale /= 10;
    }
    Some((nanos, rest))
}

/// A span as seconds: `90s`, `-0.5s`.
pub(in super::super) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, part) = (
        nanos.unsigned_abs() / NANOS_PER_SECOND.unsigned_abs(),
        nanos.unsigned_abs() % NANOS_PER_SECOND.unsigned_abs(),
    );
    if part == 0 {
        return format!("{sign}{whole}s");
    }
    let digits = format!("{part:09}");
    format!("{sign}{whole}.{}s", digits.trim_end_matches('0'))
}

/// Longest name of a time zone, in bytes; the database's longest has 32. What is longer is not looked up.
const MAX_ZONE: usize = 64;

fn time_zone(name: &str) -> Result<TimeZone, EvalError> {
    if name.len() > MAX_ZONE {
        return Err(EvalError::invalid("time zone", name));
    }
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if let Some(zone) = fixed_zone(name) {
        return Ok(zone);
    }
    // The look-up ignores case, CEL does not.
    match TimeZone::get(name) {
        Ok(zone) if zone.iana_name() == Some(name) => Ok(zone),
        _ => Err(EvalError::invalid("time zone", name)),
    }
}

/// Reads `+02:00`, `-09:30` and `02:00`.
fn fixed_zone(name: &str) -> Option<TimeZone> {
    let (sign, digits) = match name.as_bytes().first()? {
        b'-' => (-1, &name[1..]),
        b'+' => (1, &name[1..]),
        _ => (1, name),
    };
    let [h1 @ b'0'..=b'9', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9'] =
        *digits.as_bytes()
    else {
        return None;
    };
    let two = |tens: u8, ones: u8| i32::from(tens - b'0') * 10 + i32::from(ones - b'0');
    let (hours, minutes) = (two(h1, h2), two(m1, m2));
    if hours > 23 {
        return None;
    }
    let offset = Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()?;
    Some(TimeZone::fixed(offset))
}

/// What calendar and clock show in a zone. The library's own instants end a day before CEL's do, so
/// it is asked for the zone's offset only; no zone changes its offset in that day.
fn in_zone(time: Timestamp, zone: &TimeZone) -> Result<DateTime, EvalError> {
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    let nearest = if time.seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let instant = jiff::Timestamp::new(time.seconds, nanos).unwrap_or(nearest);
    let offset = i64::from(zone.to_offset(instant).seconds());
    EPOCH
        .checked_add(SignedDuration::new(time.seconds + offset, nanos))
        .map_err(|_| EvalError::Overflow("timestamp"))
}

/// A part of an instant in UTC or in the zone given, or else a part of a span.
fn part<'a>(
    name: &'static str,
    arguments: &[Value<'a>],
    of_time: fn(&DateTime) -> i64,
    of_span: Option<fn(i64) -> i64>,
) -> Outcome<'a> {
    match (arguments, of_span) {
        ([Value::Timestamp(time)], _) => Ok(Value::Int(of_time(&in_zone(*time, &TimeZone::UTC)?))),
        ([Value::Timestamp(time), Value::String(zone)], _) => {
            Ok(Value::Int(of_time(&in_zone(*time, &time_zone(zone)?)?)))
        }
        ([Value::Duration(span)], Some(of_span)) => Ok(Value::Int(of_span(*span))),
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn full_year<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    part("getFullYear", arguments, |time| i64::from(time.year()), None)
}

/// From 0 for January.
pub(in super::super) fn month<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    part("getMonth", arguments, |time| i64::from(time.month()) - 1, None)
}

/// The day of the month from 1.
pub(in super::super) fn date<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    part("getDate", arguments, |time| i64::from(time.day()), None)
}

/// The day of the month from 0.
pub(in super::super) fn day_of_month<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    part("getDayOfMonth", arguments, |time| i64::from(time.day()) - 1, None)
}

/// From 0 for Sunday.
pub(in super::super) fn day_of_week<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let of_time = |time: &DateTime| i64::from(time.weekday().to_sunday_zero_offset());
    part("getDayOfWeek", arguments, of_time, None)
}

/// From 0.
pub(in super::super) fn day_of_year<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    part("getDayOfYear", arguments, |time| i64::from(time.day_of_year()) - 1, None)
}

/// Of a span: all of it in hours. Minutes and seconds likewise.
pub(in super::super) fn hours<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let of_span = |span| span / (3_600 * NANOS_PER_SECOND);
    part("getHours", arguments, |time| i64::from(time.hour()), Some(of_span))
}

pub(in super::super) fn minutes<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let of_span = |span| span / (60 * NANOS_PER_SECOND);
    part("getMinutes", arguments, |time| i64::from(time.minute()), Some(of_span))
}

pub(in super::super) fn seconds<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let of_span = |span| span / NANOS_PER_SECOND;
    part("getSeconds", arguments, |time| i64::from(time.second()), Some(of_span))
}

/// The part below a second, of a span too: CEL's suite pins this.
pub(in super::super) fn milliseconds<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    let of_span = |span| span % NANOS_PER_SECOND / 1_000_000;
    part("getMilliseconds", arguments, |time| i64::from(time.millisecond()), Some(of_span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, written) in [
            ("1h30m", "5400s"),
            ("-1.5h", "-5400s"),
            ("0", "0s"),
            ("-0", "0s"),
            ("1.5s", "1.5s"),
            (".5ms", "0.0005s"),
            ("1m1s1ms1us1ns", "61.001001001s"),
            ("-0.5s", "-0.5s"),
            ("0.0000000015h", "0.0000054s"),
            ("1.0000000019s", "1.000000001s"),
        ] {
            assert_eq!(parse_duration(text).map(duration_text).as_deref(), Some(written), "{text}");
        }
        for text in ["", "-", "1", "1d", "1 s", " 1s", "s", ".s", "1h-1m", "320000000000s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn zones_are_iana_names_in_their_spelling_or_offsets() {
        for name in ["UTC", "US/Central", "Asia/Kathmandu", "EST", "-00:30", "02:00", "+23:59"] {
            assert!(time_zone(name).is_ok(), "{name}");
        }
        for name in ["", "utc", "asia/kathmandu", "Mars/Olympus", "24:00", "2:00", "+0200"] {
            assert!(time_zone(name).is_err(), "{name}");
        }
        let half = Timestamp { seconds: 0, nanos: 0 };
        let minutes =
            minutes(&[Value::Timestamp(half), Value::string("-00:30")], &mut Budget::new());
        assert!(matches!(minutes, Ok(Value::Int(30))));
    }
}
