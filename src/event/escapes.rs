//! What the escapes in JSON strings stand for. Whether a string is one is `scan`'s matter.

use std::borrow::Cow;

/// Reads `\uXXXX`, or a surrogate pair of two, at the start of `bytes`: the character and the
/// length read. A lone surrogate is refused: it has no UTF-8.
pub(super) fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits
            .iter()
            .try_fold(0u32, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?))
    };
    let first = unit(0)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(6)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((first - 0xD800) << 10) + second)?, 12))
}

/// Decodes the inside of a valid JSON string (without its quotes); borrows where there is no escape.
#[must_use]
pub fn unescape(inside: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inside.as_bytes()) else {
        return Cow::Borrowed(inside);
    };
    let mut out = String::with_capacity(inside.len());
    out.push_str(&inside[..first]);
    let mut rest = &inside[first..];
    while let Some(escape) = rest.as_bytes().get(1).copied() {
        let (decoded, length) = match escape {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => unicode_escape(rest.as_bytes()).unwrap_or((char::REPLACEMENT_CHARACTER, 6)),
            other => (char::from(other), 2),
        };
        out.push(decoded);
        rest = rest.get(length..).unwrap_or("");
        let plain = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// The string that a JSON text stands for, if it is a string.
#[must_use]
pub fn string_value(json: &str) -> Option<Cow<'_, str>> {
    Some(unescape(json.strip_prefix('"')?.strip_suffix('"')?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_string_is_unescaped_as_serde_json_does(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string_value(&json).unwrap(), text);
        }
    }
}
