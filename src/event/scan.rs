//! A strict walk over JSON text: it checks every byte against RFC 8259 and builds nothing.
//!
//! Both readers of events (envelope and extraction) are written on this one cursor. It works on
//! `&str`, so UTF-8 is checked before it and never again. Duplicate keys are its callers' matter.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::bitmaps::first_special;
use super::escapes::{unescape, unicode_escape};

/// Deepest nesting of arrays and objects in an event. Deeper input is refused: no real event comes
/// near it, and every consumer behind us has a limit of its own (128 is `serde_json`'s).
pub const MAX_DEPTH: usize = 128;

/// What is wrong with a JSON text, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// Byte offset in the text.
    pub at: usize,
    /// What was expected or refused there.
    pub what: &'static str,
}

/// A position in JSON text.
pub struct JsonCursor<'e> {
    text: &'e str,
    at: usize,
}

type Scan<T> = Result<T, ScanError>;

impl<'e> JsonCursor<'e> {
    /// A cursor at the start of `text`.
    #[must_use]
    pub fn new(text: &'e str) -> JsonCursor<'e> {
        JsonCursor { text, at: 0 }
    }

    /// The byte offset of the cursor.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from an earlier position to the cursor.
    #[must_use]
    pub fn since(&self, start: usize) -> &'e str {
        &self.text[start..self.at]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, what: &'static str) -> Scan<T> {
        Err(ScanError { at: self.at, what })
    }

    /// Steps over white space and tells the next byte, which stays unread.
    #[inline]
    pub fn next_token(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over one expected punctuation byte, and over white space before it.
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Scan<()> {
        if self.next_token() != Some(byte) {
            return self.fail(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Fails unless only white space is left.
    pub fn end(&mut self) -> Scan<()> {
        match self.next_token() {
            None => Ok(()),
            Some(_) => self.fail("expected nothing after the value"),
        }
    }

    /// Steps into an array or object: `{` or `[` is behind the cursor afterwards. Tells whether it
    /// has a first member; if not, the closing byte is behind the cursor too.
    pub fn enter(&mut self, open: u8, close: u8) -> Scan<bool> {
        self.expect(open, "expected a value of another kind")?;
        if self.next_token() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After a member: true for `,` (another follows), false for the closing byte.
    pub fn more(&mut self, close: u8) -> Scan<bool> {
        match self.next_token() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ if close == b'}' => self.fail("expected `,` or `}`"),
            _ => self.fail("expected `,` or `]`"),
        }
    }

    /// Reads `"key" :` and gives the key's text without its quotes, escapes as written.
    pub fn key(&mut self) -> Scan<&'e str> {
        if self.next_token() != Some(b'"') {
            return self.fail("expected a key in double quotes");
        }
        let start = self.at + 1;
        self.string()?;
        let key = &self.text[start..self.at - 1];
        self.expect(b':', "expected `:`")?;
        Ok(key)
    }

    /// Reads `"key" :` and gives what the key stands for, as bytes: all that a comparison needs.
    #[inline]
    pub fn key_bytes(&mut self) -> Scan<Cow<'e, [u8]>> {
        if self.next_token() != Some(b'"') {
            return self.fail("expected a key in double quotes");
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let end = self.at - 1;
        self.expect(b':', "expected `:`")?;
        if escaped {
            return Ok(Cow::Owned(unescape(&self.text[start..end]).into_owned().into_bytes()));
        }
        Ok(Cow::Borrowed(&self.text.as_bytes()[start..end]))
    }

    /// Steps over one value of any kind and gives its text. `depth` is how many arrays and objects
    /// stand around it.
    #[inline]
    pub fn value(&mut self, depth: usize) -> Scan<&'e str> {
        self.next_token();
        let start = self.at;
        self.skip(depth)?;
        Ok(&self.text[start..self.at])
    }

    /// Steps over one value of any kind.
    #[inline]
    pub fn skip(&mut self, depth: usize) -> Scan<()> {
        match self.next_token() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') => self.container(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.fail("expected a value"),
        }
    }

    fn container(&mut self, depth: usize) -> Scan<()> {
        // It recurses with `skip`, so that this bounds the stack too.
        if depth >= MAX_DEPTH {
            return self.fail("nested deeper than 128 levels");
        }
        if self.peek() == Some(b'{') {
            let mut more = self.enter(b'{', b'}')?;
            while more {
                self.key_bytes()?;
                self.skip(depth + 1)?;
                more = self.more(b'}')?;
            }
        } else {
            let mut more = self.enter(b'[', b']')?;
            while more {
                self.skip(depth + 1)?;
                more = self.more(b']')?;
            }
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Scan<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("expected a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Scan<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // After a leading zero no digit may follow: `01` ends here, and the caller refuses the rest.
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Steps over a string with the cursor at its opening quote; tells whether it has escapes.
    #[inline]
    fn string(&mut self) -> Scan<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = next_special(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("control characters in a string must be escaped"),
                None => return self.fail("expected `\"` to end the string"),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let (_, length) = unicode_escape(&self.text.as_bytes()[self.at..])
                    .ok_or(ScanError { at: self.at, what: "expected a whole `\\u` escape" })?;
                self.at += length;
                Ok(())
            }
            _ => self.fail("unknown escape in a string"),
        }
    }
}

/// What follows the string that the end `rest` of a text starts with, if it is one.
#[inline(never)]
pub(super) fn behind_string<'e>(text: &'e str, rest: &[u8]) -> Option<&'e [u8]> {
    let mut cursor = JsonCursor { text, at: text.len() - rest.len() };
    cursor.string().ok()?;
    text.as_bytes().get(cursor.at..)
}

/// The first byte from `at` on that a JSON string cannot hold as it is: a quote, a backslash or a
/// control character; the length of `bytes` if there is none. A block a step, for readers and
/// writers of strings alike.
#[inline]
#[must_use]
pub fn next_special(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((block, behind)) = rest.split_first_chunk() {
        if let Some(found) = first_special(block) {
            return bytes.len() - rest.len() + found;
        }
        rest = behind;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    let found = rest.iter().position(is_special).unwrap_or(rest.len());
    bytes.len() - rest.len() + found
}

/// Appends a text as a JSON string, quotes included, with no escape that is not needed.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    loop {
        let at = next_special(text.as_bytes(), from);
        out.push_str(&text[from..at]);
        match text.as_bytes().get(at) {
            None => break,
            Some(b'\n') => out.push_str("\\n"),
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            // Writing to a String cannot fail.
            Some(control) => drop(write!(out, "\\u{control:04x}")),
        }
        from = at + 1;
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<(), ScanError> {
        let mut cursor = JsonCursor::new(text);
        cursor.value(0)?;
        cursor.end()
    }

    #[test]
    fn valid_json_is_walked_to_its_end() {
        for text in [
            "null",
            " [ ] ",
            r#"{"a":[1,-0.5e+3,true,false,null,"\u00e9\n\/ ü"],"b":{}}"#,
            r#""\ud83d\ude00""#,
            "0",
            "-0",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn each_mistake_is_placed() {
        for (text, at, what) in [
            ("", 0, "expected a value"),
            ("{\"a\"}", 4, "expected `:`"),
            ("{a:1}", 1, "expected a key in double quotes"),
            ("[1 2]", 3, "expected `,` or `]`"),
            ("{\"a\":1,}", 7, "expected a key in double quotes"),
            ("01", 1, "expected nothing after the value"),
            ("1.", 2, "expected a digit"),
            ("nul", 0, "expected a value"),
            ("\"abc", 4, "expected `\"` to end the string"),
            ("\"a\tb\"", 2, "control characters in a string must be escaped"),
            (r#""\x""#, 1, "unknown escape in a string"),
            (r#""\ud800""#, 1, "expected a whole `\\u` escape"),
            (r#""\ud800\u0041""#, 1, "expected a whole `\\u` escape"),
            ("NaN", 0, "expected a value"),
        ] {
            assert_eq!(check(text), Err(ScanError { at, what }), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit_and_no_stack_overflow() {
        assert_eq!(check(&("[".repeat(128) + &"]".repeat(128))), Ok(()));
        let deep = check(&"[".repeat(1_000_000)).unwrap_err();
        assert_eq!(deep.what, "nested deeper than 128 levels");
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json_on_arbitrary_text(
            text in r#"([\[\]{}:,"\\ \n0-9.eE+-]|true|false|null|"[a-zé\\u0-9]{0,9}"){0,12}"#,
        ) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // serde_json refuses valid numbers that no f64 can hold.
            prop_assume!(!theirs.as_ref().is_err_and(|error| error.to_string().contains("range")));
            prop_assert_eq!(check(&text).is_ok(), theirs.is_ok(), "{}", text);
        }

        #[test]
        fn next_special_is_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
                .unwrap_or(bytes.len());
            prop_assert_eq!(next_special(&bytes, 0), expected);
        }
    }
}
