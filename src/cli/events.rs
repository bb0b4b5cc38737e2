//! Events from a file or from standard input, one a line, read and refused as the daemon would; or made of the
//! lines of an access log.
//!
//! What an event's text says is not looked at here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Failure;
use crate::event::{Framed, Framing};
use crate::formats::{Format, Formats, MISFIT, Stamp};
use crate::ingest::{HttpSettings, Lines, read_lines};

/// Bytes that a guess reads: a hundred long lines.
const GUESSED_BYTES: u64 = 64 << 10;

/// Opens a file, or standard input if none is named.
pub(super) fn open(file: Option<&Path>) -> Result<Box<dyn Read>, Failure> {
    let Some(path) = file else { return Ok(Box::new(io::stdin())) };
    let opened = File::open(path);
    let file = opened
        .map_err(|error| Failure::work(format!("{} cannot be read: {error}", path.display())))?;
    Ok(Box::new(file))
}

/// The format that an argument names, of the proxies' and those that settings map.
pub(super) fn format(name: Option<&str>, formats: &Formats) -> Result<Option<Format>, Failure> {
    let found = name.map(|name| formats.find(name)).transpose();
    found.map_err(|message| Failure::Usage(format!("--format: {message}")))
}

/// Hands on each line that is not blank with its number, from 1: its text, or with a format the event that is
/// made of it; or why it cannot be one. A line is at most as long as the daemon takes events by default.
pub(super) fn for_each_line(
    input: impl Read,
    format: Option<&Format>,
    mut each: impl FnMut(usize, Result<&str, &str>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let max_event = HttpSettings::default().max_event;
    let too_long =
        format!("the line has more than {max_event} bytes, the most that an event may have");
    let mut hand_on = |lines: Lines| {
        let framed = match format {
            None => Framed::of(lines.text.into(), Framing::Ndjson),
            Some(format) => Framed::converted(&lines.text.into(), |_, line, out| {
                if line.len() > max_event {
                    return Err((MISFIT, too_long.clone()));
                }
                let made = format.convert(line, Stamp::default(), out);
                made.map_err(|misfit| (MISFIT, misfit.to_string()))
            }),
        };
        let framed = framed.unwrap_or_default();
        let texts = framed.texts().map(|(place, text)| match text.len() > max_event {
            true => (place.line, Err(too_long.as_str())),
            false => (place.line, Ok(text)),
        });
        let refused = framed.rejected().iter();
        let refused = refused.map(|it| (it.place.line, Err(it.message.as_str())));
        let mut all: Vec<_> = texts.chain(refused).collect();
        all.sort_by_key(|(line, _)| *line);
        all.into_iter().try_for_each(|(line, text)| each(lines.first + line + 1, text))
    };
    let mut outcome = Ok(());
    read_lines(input, max_event, |lines| {
        outcome = hand_on(lines);
        outcome.is_ok()
    })?;
    outcome
}

/// A guess of a format: how many of how many lines fit.
pub(super) type Guess = Option<(Format, usize, usize)>;

/// Looks at the beginning of the input, up to [`GUESSED_BYTES`], for a format; gives the input back whole.
pub(super) fn guess(mut input: Box<dyn Read>) -> Result<(Guess, Box<dyn Read>), Failure> {
    let mut beginning = Vec::new();
    input.by_ref().take(GUESSED_BYTES).read_to_end(&mut beginning)?;
    // The last line may be cut; a file of one line without an end has no other.
    let end = match memchr::memrchr(b'\n', &beginning) {
        Some(end) if beginning.len() as u64 == GUESSED_BYTES => end,
        _ => beginning.len(),
    };
    let lines = beginning[..end].split(|it| *it == b'\n');
    let guess = Format::guess(lines.map(|it| it.strip_suffix(b"\r").unwrap_or(it)));
    Ok((guess, Box::new(io::Cursor::new(beginning).chain(input))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_as_they_stand_and_refused_as_the_daemon_refuses_them() {
        let long = "x".repeat(HttpSettings::default().max_event + 1);
        let input = format!("\u{feff}{{}}\n\n \u{a0}\n{long}\n");
        let input = [input.as_bytes(), b"a\xff\n{}"].concat();
        let mut seen = Vec::new();
        for_each_line(&*input, None, |line, text| {
            seen.push((line, text.map(str::to_owned).map_err(str::to_owned)));
            Ok(())
        })
        .unwrap();
        let too_long = "the line has more than 1048576 bytes, the most that an event may have";
        assert_eq!(
            seen,
            [
                (1, Ok("{}".to_owned())),
                (3, Ok("\u{a0}".to_owned())),
                (4, Err(too_long.to_owned())),
                (5, Err("not valid UTF-8 at byte 1".to_owned())),
                (6, Ok("{}".to_owned())),
            ]
        );
    }
}
