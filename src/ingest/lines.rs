//! Lines from a pipe or a file, whole and within bounds, with their numbers: for standard input and
//! for commands that read events.
//!
//! It knows line ends only; what a line says is framing's matter.

use std::io::{self, BufRead as _, BufReader, Read};

/// Bytes read at a time. The lines of one read are handed on together; even of the shortest there are
/// fewer than a body may have.
const READ: usize = 128 * 1024;

/// Whole lines, and the number of the first of them, from 0.
#[derive(Debug)]
pub struct Lines {
    /// The number of the first line in the input, from 0; blank lines count.
    pub first: usize,
    /// The lines, each with its end.
    pub text: Vec<u8>,
}

/// Reads whole lines and hands them on as soon as the next read may have to wait, until the input ends
/// or nobody wants more. Of a line longer than `max_event` bytes only the beginning is handed on, two
/// bytes more than that, so that it is seen to be too long.
///
/// # Errors
/// When the input cannot be read.
pub fn read_lines<R: Read>(
    input: R,
    max_event: usize,
    hand_on: impl FnMut(Lines) -> bool,
) -> io::Result<()> {
    read_buffered(&mut BufReader::with_capacity(READ, input), max_event, hand_on)
}

fn read_buffered<R: Read>(
    input: &mut BufReader<R>,
    max_event: usize,
    mut hand_on: impl FnMut(Lines) -> bool,
) -> io::Result<()> {
    let (mut first, mut next) = (0, 0);
    let (mut text, mut line) = (Vec::new(), Vec::new());
    loop {
        let buffer = input.fill_buf()?;
        let at_end = buffer.is_empty();
        let end = memchr::memchr(b'\n', buffer).map_or(buffer.len(), |at| at + 1);
        let room = (max_event + 2).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..end.min(room)]);
        let is_whole = at_end || buffer[..end].ends_with(b"\n");
        input.consume(end);
        if is_whole && !line.is_empty() {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            text.append(&mut line);
            next += 1;
        }
        // Nothing is held back while the next read may have to wait.
        let is_due = at_end || text.len() >= READ || (is_whole && input.buffer().is_empty());
        if is_due && !text.is_empty() {
            if !hand_on(Lines { first, text: std::mem::take(&mut text) }) {
                return Ok(());
            }
            first = next;
        }
        if at_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(input: &[u8], max_event: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let hand_on = |lines: Lines| {
            found.push((lines.first, String::from_utf8(lines.text).unwrap()));
            true
        };
        // A reader that gives a few bytes at a time, as a slow pipe does.
        read_buffered(&mut BufReader::with_capacity(3, input), max_event, hand_on).unwrap();
        found
    }

    #[test]
    fn lines_are_handed_on_whole_with_their_numbers() {
        let found = lines_of(b"{\"a\":1}\n\n{\"b\":2}\n{\"c\":3}", 100);
        let whole: String = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(whole, "{\"a\":1}\n\n{\"b\":2}\n{\"c\":3}\n");
        let mut next = 0;
        for (first, text) in &found {
            assert_eq!(*first, next);
            next += text.lines().count();
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_beginning_is_read() {
        let long = format!("{}\nshort\n", "x".repeat(1_000));
        let whole: String = lines_of(long.as_bytes(), 10).iter().map(|it| it.1.as_str()).collect();
        assert_eq!(whole, "xxxxxxxxxxxx\nshort\n");
        assert_eq!(lines_of(b"", 10), []);
    }
}
