//! The guard before the parser: counts how deep the brackets of a filter nest.
//!
//! The generated parser recurses at brackets and nowhere else, so this bounds its stack. The guard
//! knows just enough of tokens to skip strings and comments as the grammar does; it reports nothing
//! but depth.

use crate::report::Span;

use super::error::Mistake;
use super::limits::MAX_NESTING;

/// Refuses a text whose brackets nest deeper than [`MAX_NESTING`].
pub(super) fn check_nesting(source: &str) -> Result<(), Mistake> {
    let bytes = source.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    let message =
                        format!("brackets nest deeper than {MAX_NESTING}, the limit of nesting");
                    return Err(Mistake::new(Span { start: at, end: at + 1 }, message));
                }
                at += 1;
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = line_end(bytes, at),
            b'`' => at = quoted_end(bytes, at),
            b'\'' | b'"' => at = string_end(bytes, at, is_raw(bytes, at)),
            _ => at += 1,
        }
    }
    Ok(())
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length)
}

fn quoted_end(bytes: &[u8], at: usize) -> usize {
    memchr::memchr(b'`', &bytes[at + 1..]).map_or(bytes.len(), |length| at + length + 2)
}

/// Whether the quote at `at` has an `r` before it that is no part of a longer word.
fn is_raw(bytes: &[u8], at: usize) -> bool {
    let word = bytes[..at]
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    matches!(&bytes[at - word..at], b"r" | b"R" | b"br" | b"bR" | b"Br" | b"BR")
}

/// Just past the string that starts at `at`. A string that is not closed ends with the text: the
/// parser stops at it too.
fn string_end(bytes: &[u8], at: usize, raw: bool) -> usize {
    let quote = bytes[at];
    let triple = [quote; 3];
    let long = bytes[at..].starts_with(&triple);
    let close = if long { &triple[..] } else { &triple[..1] };
    let mut at = at + close.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(close) {
            return at + close.len();
        }
        at += if bytes[at] == b'\\' && !raw { 2 } else { 1 };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_counted_outside_strings_and_comments_only() {
        let many = "(".repeat(MAX_NESTING + 1);
        assert!(check_nesting(&many).is_err());
        assert!(check_nesting(&"(".repeat(MAX_NESTING)).is_ok());
        assert!(check_nesting(&"()".repeat(MAX_NESTING + 1)).is_ok());
        for text in [
            format!("'{many}'"),
            format!("\"{many}\""),
            format!("'''{many}'''"),
            format!("r'\\' + '{many}'"),
            format!("'\\'{many}'"),
            format!("b'{many}'"),
            format!("m.`{many}`"),
            format!("1 // {many}\n + 1"),
        ] {
            assert!(check_nesting(&text).is_ok(), "{text}");
        }
        assert!(check_nesting(&format!("'a' + {many}")).is_err());
        assert!(check_nesting(&format!("r'\\' + {many}")).is_err());
        assert!(check_nesting(&format!("// '\n{many}")).is_err());
    }
}
