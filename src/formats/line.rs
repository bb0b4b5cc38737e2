//! A walk over one line of text: words, quoted and bracketed parts, with the escapes that proxies write.
//!
//! What a part means is each format's matter.

use std::borrow::Cow;

use super::Misfit;

/// What is left of a line.
#[derive(Clone, Debug)]
pub(super) struct Line<'l> {
    whole: &'l str,
    at: usize,
    /// Whether a byte that is no UTF-8 was escaped.
    pub(super) has_escaped_bytes: bool,
}

/// How a proxy writes what cannot stand in a line as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// `\x22`, `\"`, `\\`, `\n` and the like: nginx and Apache.
    Backslash,
    /// `#22`: HAProxy.
    Hash,
}

impl<'l> Line<'l> {
    pub(super) fn new(whole: &'l str) -> Line<'l> {
        Line { whole, at: 0, has_escaped_bytes: false }
    }

    /// All of the line.
    pub(super) fn whole(&self) -> &'l str {
        self.whole
    }

    /// What comes next, to the end.
    pub(super) fn rest(&self) -> &'l str {
        &self.whole[self.at..]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.whole.len()
    }

    /// Goes on at a place of the whole line, which must be one between characters.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = self.whole.floor_char_boundary(at);
    }

    pub(super) fn misfit<T>(&self, expected: &'static str) -> Result<T, Misfit> {
        Err(Misfit { at: self.at, expected: expected.into() })
    }

    /// Steps over a text that must stand here.
    pub(super) fn expect(&mut self, text: &str, expected: &'static str) -> Result<(), Misfit> {
        if !self.rest().starts_with(text) {
            return self.misfit(expected);
        }
        self.at += text.len();
        Ok(())
    }

    /// The next word and the space behind it; a word is what stands up to a space or the end, and not
    /// nothing.
    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'l str, Misfit> {
        let rest = self.rest();
        let length = memchr::memchr(b' ', rest.as_bytes()).unwrap_or(rest.len());
        if length == 0 {
            return self.misfit(expected);
        }
        self.at += length;
        self.space();
        Ok(&rest[..length])
    }

    /// Steps over a space, if one comes next.
    pub(super) fn space(&mut self) {
        self.at += usize::from(self.rest().starts_with(' '));
    }

    /// The next word, read as a time in brackets or in another form.
    pub(super) fn parsed<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&'l str) -> Option<T>,
    ) -> Result<T, Misfit> {
        let before = self.at;
        let word = self.word(expected)?;
        read(word).ok_or_else(|| Misfit { at: before, expected: expected.into() })
    }

    /// What stands between brackets, and the space behind them.
    pub(super) fn bracketed(&mut self, expected: &'static str) -> Result<&'l str, Misfit> {
        self.expect("[", expected)?;
        let rest = self.rest();
        let Some(length) = memchr::memchr(b']', rest.as_bytes()) else {
            return self.misfit("`]`");
        };
        self.at += length + 1;
        self.space();
        Ok(&rest[..length])
    }

    /// What stands in double quotes, its escapes undone, and the space behind it.
    pub(super) fn quoted(
        &mut self,
        escapes: Escapes,
        expected: &'static str,
    ) -> Result<Cow<'l, str>, Misfit> {
        self.expect("\"", expected)?;
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let (mut end, mut first) = (0, None);
        loop {
            match memchr::memchr2(b'"', b'\\', &bytes[end..]) {
                // None closes as it should: the first one that is there.
                None if first.is_some() => {
                    end = first.unwrap_or(end);
                    break;
                }
                // HAProxy, and syslog behind it, cut long lines.
                None if escapes == Escapes::Hash => {
                    self.at = self.whole.len();
                    return Ok(self.undone(rest, escapes));
                }
                None => return self.misfit("a closing `\"`"),
                Some(found) if bytes[end + found] == b'"' => {
                    end += found;
                    // One in the middle of a word was not escaped (nginx: `escape=none`).
                    if bytes.get(end + 1).is_none_or(|it| *it == b' ') {
                        break;
                    }
                    first.get_or_insert(end);
                    end += 1;
                }
                Some(found) => {
                    let step = if escapes == Escapes::Backslash { 2 } else { 1 };
                    end = (end + found + step).min(bytes.len());
                }
            }
        }
        self.at += end + 1;
        self.space();
        Ok(self.undone(&rest[..end], escapes))
    }

    /// A text with its escapes undone. Bytes that are then no UTF-8 become `\xE4`.
    pub(super) fn undone(&mut self, text: &'l str, escapes: Escapes) -> Cow<'l, str> {
        let mark = if escapes == Escapes::Backslash { b'\\' } else { b'#' };
        let bytes = text.as_bytes();
        let Some(first) = memchr::memchr(mark, bytes) else { return Cow::Borrowed(text) };
        let mut out = Vec::with_capacity(bytes.len());
        out.extend_from_slice(&bytes[..first]);
        let mut rest = &bytes[first..];
        while let Some((&byte, after)) = rest.split_first() {
            let undone = if byte == mark { undo(escapes, after) } else { None };
            let (byte, length) = undone.unwrap_or((byte, 0));
            out.push(byte);
            rest = &after[length..];
        }
        match String::from_utf8(out) {
            Ok(text) => Cow::Owned(text),
            Err(error) => {
                self.has_escaped_bytes = true;
                Cow::Owned(with_bytes_escaped(error.as_bytes(), "\\x"))
            }
        }
    }
}

/// The byte that an escape stands for, and its length behind the mark.
fn undo(escapes: Escapes, after: &[u8]) -> Option<(u8, usize)> {
    let (digits, length) = match (escapes, after) {
        (Escapes::Hash, [a, b, ..]) => ([*a, *b], 2),
        (Escapes::Backslash, [b'x', a, b, ..]) => ([*a, *b], 3),
        (Escapes::Backslash, [byte, ..]) => {
            let meant = match byte {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 8,
                b'f' => 12,
                b'v' => 11,
                b'"' | b'\\' => *byte,
                _ => return None,
            };
            return Some((meant, 1));
        }
        _ => return None,
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(digits[0])? * 16 + digit(digits[1])?;
    Some((u8::try_from(value).ok()?, length))
}

/// A JSON text in which nginx's own escapes (`\x22`, where `escape=json` was not set) are JSON's, and whether bytes in
/// them were no UTF-8. None if there is none.
pub(super) fn with_json_escapes(text: &str) -> Option<(String, bool)> {
    memchr::memmem::find(text.as_bytes(), b"\\x")?;
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match undo(Escapes::Backslash, after).filter(|_| after.starts_with(b"x")) {
            Some((byte @ (b'"' | b'\\' | 0..0x20), length)) => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                rest = &after[length..];
            }
            Some((byte, length)) => {
                out.push(byte);
                rest = &after[length..];
            }
            None => {
                out.push(byte);
                out.extend(after.first());
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    Some(match String::from_utf8(out) {
        Ok(text) => (text, false),
        Err(error) => (with_bytes_escaped(error.as_bytes(), "\\\\x"), true),
    })
}

/// Text of bytes of which each that is no UTF-8 becomes `mark` and two digits, such as `\xE4`.
pub(super) fn with_bytes_escaped(bytes: &[u8], mark: &str) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(mark);
            for digit in [byte >> 4, byte & 15] {
                out.extend(
                    char::from_digit(u32::from(digit), 16).map(|it| it.to_ascii_uppercase()),
                );
            }
        }
    }
    out
}

/// `host:port`, the host without brackets; the port is none where there is none.
pub(super) fn host_and_port(text: &str) -> (&str, Option<u64>) {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    (bare.unwrap_or(host), port)
}

/// The value, if it is not the `-` by which proxies say that there is none, nor empty.
pub(super) fn given(text: &str) -> Option<&str> {
    (!matches!(text, "-" | "")).then_some(text)
}
