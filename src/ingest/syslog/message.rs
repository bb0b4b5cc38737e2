//! Messages of syslog: where one ends in a stream, and what of it is the line that a program wrote.
//!
//! RFC 3164 is what programs write rather than a rule, so its header is taken off word by word as far as it is
//! there: priority, time, host, tag. RFC 5424 and RFC 6587 are read as they stand.

/// Digits of the length of a message that is counted in octets; none has more than 99 MB.
const MAX_DIGITS: usize = 8;

/// What came on a stream and is not cut into messages yet.
#[derive(Debug, Default)]
pub(super) struct Uncut {
    bytes: Vec<u8>,
    /// Where the first message begins.
    at: usize,
    /// How many of its bytes are known to have no end in them: one that comes byte by byte is gone through once.
    sought: usize,
}

impl Uncut {
    /// Takes more bytes.
    pub(super) fn add(&mut self, read: &[u8]) {
        self.bytes.extend_from_slice(read);
    }

    /// The next message that is whole.
    pub(super) fn next_message(&mut self) -> Option<&[u8]> {
        let Some((length, message)) = first_of(&self.bytes[self.at..], self.sought) else {
            self.bytes.drain(..self.at);
            (self.at, self.sought) = (0, self.bytes.len());
            return None;
        };
        let start = self.at;
        (self.at, self.sought) = (start + length, 0);
        Some(&self.bytes[start..][message])
    }

    /// What is left behind the last whole message.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

/// The first message of a stream's bytes: how many bytes it takes, and where it stands in them. None if it has
/// no end yet; in the first `sought` bytes there is none of a line.
///
/// A digit begins one that is counted in octets (RFC 6587, section 3.4.1); others end with a line feed.
fn first_of(bytes: &[u8], sought: usize) -> Option<(usize, std::ops::Range<usize>)> {
    let digits = bytes.iter().take(MAX_DIGITS + 1).take_while(|it| it.is_ascii_digit()).count();
    if (1..=MAX_DIGITS).contains(&digits) && bytes.get(digits).is_none_or(|it| *it == b' ') {
        bytes.get(digits)?;
        let length = bytes[..digits].iter().fold(0, |sum, it| sum * 10 + usize::from(it - b'0'));
        let end = digits + 1 + length;
        return (bytes.len() >= end).then_some((end, digits + 1..end));
    }
    let end = sought + memchr::memchr2(b'\n', 0, &bytes[sought..])?;
    Some((end + 1, 0..end))
}

/// How many bytes the first message of a stream will take, if it says so.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take(MAX_DIGITS + 1).take_while(|it| it.is_ascii_digit()).count();
    let is_counted = (1..=MAX_DIGITS).contains(&digits) && bytes.get(digits) == Some(&b' ');
    let length = bytes[..digits].iter().fold(0, |sum, it| sum * 10 + usize::from(it - b'0'));
    is_counted.then_some(digits + 1 + length)
}

/// The line in a message: what stands behind its header, without a line end.
pub(super) fn line_of(message: &[u8]) -> &[u8] {
    let message = message.trim_ascii_end();
    let Some(rest) = priority(message) else { return message };
    if let Some(rest) = rest.strip_prefix(b"1 ") {
        return structured(rest).unwrap_or(rest);
    }
    let rest = time(rest).unwrap_or(rest);
    for words in 1..=2 {
        if let Some(line) = behind_tag(rest, words) {
            return line;
        }
    }
    rest
}

/// What stands behind `<134>`.
fn priority(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|it| *it == b'>')?;
    rest[..end].iter().all(u8::is_ascii_digit).then(|| &rest[end + 1..])
}

/// What stands behind the header of RFC 5424: time, host, program, process, kind, structured data.
fn structured(mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..5 {
        let end = memchr::memchr(b' ', rest)?;
        rest = &rest[end + 1..];
    }
    if let Some(line) = rest.strip_prefix(b"-") {
        return Some(without_mark(line.strip_prefix(b" ").unwrap_or(line)));
    }
    // Elements in brackets, in which `\"`, `\\` and `\]` stand for themselves.
    let (mut at, mut is_open, mut is_quoted) = (0, false, false);
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' if is_open => at += 1,
            b'"' if is_open => is_quoted = !is_quoted,
            b'[' if !is_open => is_open = true,
            b']' if is_open && !is_quoted => is_open = false,
            b' ' if !is_open => return Some(without_mark(&rest[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    Some(&[])
}

/// What stands behind `Nov 26 15:54:48 `, or behind a time in RFC 3339, which newer programs write.
fn time(rest: &[u8]) -> Option<&[u8]> {
    if let Some((time, rest)) = rest.split_at_checked(16)
        && let [_, _, _, b' ', .., b':', _, _, b':', _, _, b' '] = time
    {
        return Some(rest);
    }
    let end = memchr::memchr(b' ', rest)?;
    let is_time = matches!(rest[..end], [y, _, _, _, b'-', _, _, b'-', ..] if y.is_ascii_digit());
    is_time.then(|| &rest[end + 1..])
}

/// What stands behind a tag such as `nginx:` or `haproxy[19253]:`, if it is the word of that number.
fn behind_tag(mut rest: &[u8], words: usize) -> Option<&[u8]> {
    for word in 1..=words {
        let end = memchr::memchr(b' ', rest)?;
        let (found, behind) = (&rest[..end], &rest[end + 1..]);
        if word == words {
            let name = found.strip_suffix(b":")?;
            let is_tag = |it: &u8| it.is_ascii_alphanumeric() || b"[]-_./".contains(it);
            return (!name.is_empty() && name.iter().all(is_tag)).then_some(behind);
        }
        rest = behind;
    }
    None
}

/// A text without the byte order mark before it, which means nothing.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stands_behind_every_header_that_programs_write() {
        let line = "198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] \"GET /: HTTP/1.1\" 200 1";
        for header in [
            "",
            "<190>Nov 26 15:54:48 web nginx: ",
            "<134>Nov  6 15:54:48 haproxy[19253]: ",
            "<134>Nov 26 15:54:48 lb.example haproxy[19253]: ",
            "<134>2026-11-26T15:54:48.123+01:00 lb haproxy[19253]: ",
            "<134>haproxy[19253]: ",
            "<134>1 2026-11-26T15:54:48Z lb haproxy 19253 - - ",
            "<134>1 2026-11-26T15:54:48Z lb haproxy 19253 - [a b=\"x\\\"] y\"][c d=\"e\"] \u{feff}",
            "<13>",
        ] {
            let message = format!("{header}{line}\n");
            let found = line_of(message.as_bytes());
            assert_eq!(str::from_utf8(found).unwrap(), line, "{header}");
        }
        assert_eq!(line_of(b"<134>1 a b"), b"a b");
        assert_eq!(line_of(b"<134>1 2026-11-26T15:54:48Z lb haproxy 1 - [a"), b"");
        assert_eq!(line_of(b"<134"), b"<134");
    }

    #[test]
    fn a_stream_is_cut_at_line_feeds_and_by_octets() {
        for (bytes, expected) in [
            ("<1>a\n<1>b", Some((5, "<1>a"))),
            ("5 <1>ab<1>", Some((7, "<1>ab"))),
            ("5 <1>a", None),
            ("5", None),
            ("123456789 x\n", Some((12, "123456789 x"))),
            ("<1>a", None),
            ("", None),
        ] {
            let found = first_of(bytes.as_bytes(), 0);
            let found = found.map(|(length, range)| (length, &bytes[range]));
            assert_eq!(found, expected, "{bytes}");
        }
        assert_eq!(announced(b"5 <1>a"), Some(7));
        assert_eq!(announced(b"<1>a"), None);
    }

    #[test]
    fn a_message_that_comes_byte_by_byte_is_gone_through_once() {
        let mut uncut = Uncut::default();
        let mut found = Vec::new();
        for byte in b"<1>a\n5 <1>ab12\n3x\n<1>c" {
            // All that is there was looked at before.
            assert_eq!(uncut.sought, uncut.rest().len());
            uncut.add(&[*byte]);
            while let Some(message) = uncut.next_message() {
                found.push(String::from_utf8(message.to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["<1>a", "<1>ab", "12", "3x"]);
        assert_eq!(uncut.rest(), b"<1>c");
    }
}
