//! Framing: bodies become texts, each with its place; nothing is known yet of what a text says.
//!
//! The one reader of lines for all entrances and for the command line. Pure and synchronous. A text
//! that is no UTF-8 does not spoil its neighbours, except in one JSON array, whose elements cannot be
//! distinguished once its syntax is broken.

use std::ops::Range;

use bytes::Bytes;

use super::scan::{JsonCursor, ScanError};

/// Most events in one body. Keeps the answer to a body of nothing but mistakes in bounds.
pub const MAX_EVENTS: usize = 100_000;

/// May stand before a text (RFC 8259, section 8.1) and means nothing.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// How the events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One a line.
    Ndjson,
    /// One, or an array of them.
    Json,
}

/// Where an event stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of its body among those that were framed together, from 0.
    pub body: usize,
    /// Its place among the body's events, from 0; blank lines do not count.
    pub index: usize,
    /// The number of its line in the body, from 0, blank ones included; 0 in a JSON body.
    pub line: usize,
}

/// An event that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its place among the events of the body.
    pub place: Place,
    /// The stable code that the sender's program may branch on.
    pub code: &'static str,
    /// What is wrong with it, for a person.
    pub message: String,
}

/// The body has more than [`MAX_EVENTS`] events.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// The events' texts of one body or of several, clean of line breaks, and what has no text.
#[derive(Debug, Default)]
pub struct Framed {
    bodies: Vec<Body>,
    rejected: Vec<Rejection>,
}

#[derive(Debug, Default)]
struct Body {
    /// All that is UTF-8 of the body.
    text: String,
    /// Where in `text` the events are, in the body's order.
    events: Vec<(Place, Range<usize>)>,
    /// The bytes of those without a text, likewise.
    undecoded: Vec<(Place, Bytes)>,
}

impl Framed {
    /// The texts of one body.
    ///
    /// # Errors
    /// When there are more than [`MAX_EVENTS`].
    pub fn of(bytes: Bytes, framing: Framing) -> Result<Framed, TooMany> {
        let mut framed = Framed::default();
        framed.add(bytes, framing)?;
        Ok(framed)
    }

    /// The events that `convert` makes of one body's lines: it is given a line without its end
    /// and where it begins in the body, and appends
    /// an event's text without line breaks, or says why there is none, with a code. Blank lines are passed
    /// over.
    ///
    /// # Errors
    /// When there are more than [`MAX_EVENTS`].
    pub fn converted(
        bytes: &Bytes,
        mut convert: impl FnMut(usize, &[u8], &mut String) -> Result<(), (&'static str, String)>,
    ) -> Result<Framed, TooMany> {
        let mut framed = Framed::default();
        let mut body = Body::default();
        let (mut start, mut index) = (0, 0);
        let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
        for (line, end) in ends.enumerate() {
            let text = bytes[start..end].strip_suffix(b"\r").unwrap_or(&bytes[start..end]);
            let range = start..start + text.len();
            start = end + 1;
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if index == MAX_EVENTS {
                return Err(TooMany);
            }
            let place = Place { body: 0, index, line };
            index += 1;
            let before = body.text.len();
            match convert(range.start, text, &mut body.text) {
                Ok(()) => body.events.push((place, before..body.text.len())),
                Err((code, message)) => {
                    body.text.truncate(before);
                    framed.rejected.push(Rejection { place, code, message });
                    body.undecoded.push((place, bytes.slice(range)));
                }
            }
        }
        framed.bodies.push(body);
        Ok(framed)
    }

    /// Adds the texts of another body. One that is refused has a number all the same, and no events.
    ///
    /// # Errors
    /// When there are more than [`MAX_EVENTS`] in it.
    pub fn add(&mut self, bytes: Bytes, framing: Framing) -> Result<(), TooMany> {
        let number = self.bodies.len();
        let mut body = Body::default();
        let split = match framing {
            Framing::Ndjson => body.split_lines(number, bytes, &mut self.rejected),
            Framing::Json => body.split_json(number, bytes, &mut self.rejected),
        };
        self.bodies.push(if split.is_ok() { body } else { Body::default() });
        split
    }

    /// Counts the body that was added last as one event, refused for this reason.
    pub fn refuse_last(&mut self, bytes: Bytes, code: &'static str, message: String) {
        let number = self.bodies.len().saturating_sub(1);
        let place = Place { body: number, ..Place::default() };
        if let Some(body) = self.bodies.last_mut() {
            *body = Body { undecoded: vec![(place, bytes)], ..Body::default() };
            self.rejected.push(Rejection { place, code, message });
        }
    }

    /// The texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = (Place, &str)> {
        self.bodies.iter().flat_map(|body| {
            body.events.iter().map(|(place, range)| (*place, &body.text[range.clone()]))
        })
    }

    /// What cannot be read as text, in order.
    #[must_use]
    pub fn rejected(&self) -> &[Rejection] {
        &self.rejected
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bodies.iter().map(|body| body.events.len()).sum()
    }

    /// Bytes of all texts and of what stands between them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bodies.iter().map(|body| body.text.len()).sum()
    }

    /// Whether there was no event at all, good or bad.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.bodies.iter().all(|body| body.events.is_empty())
    }

    /// The event at a place, for whoever keeps rejected ones; the whole of an array that is broken.
    #[must_use]
    pub fn event(&self, place: Place) -> &[u8] {
        let Some(body) = self.bodies.get(place.body) else { return &[] };
        if let Ok(at) = body.events.binary_search_by_key(&place, |(place, _)| *place) {
            return &body.text.as_bytes()[body.events[at].1.clone()];
        }
        let at = body.undecoded.binary_search_by_key(&place, |(place, _)| *place);
        at.map_or(&[], |at| &body.undecoded[at].1)
    }
}

impl Body {
    fn split_lines(
        &mut self,
        body: usize,
        bytes: Bytes,
        rejected: &mut Vec<Rejection>,
    ) -> Result<(), TooMany> {
        let mut undecoded = Vec::new();
        self.text = match String::from_utf8(bytes.into()) {
            Ok(text) => text,
            Err(error) => decode_lines(error.into_bytes(), &mut undecoded),
        };
        let mut undecoded = undecoded.into_iter().peekable();
        let (mut start, mut index) = (0, 0);
        let ends = memchr::memchr_iter(b'\n', self.text.as_bytes()).chain([self.text.len()]);
        for (line, end) in ends.enumerate() {
            let place = Place { body, index, line };
            let text = trimmed(&self.text, start..end);
            start = end + 1;
            let bad = undecoded.next_if(|it| it.line == line);
            if text.is_empty() && bad.is_none() {
                continue;
            }
            if index == MAX_EVENTS {
                return Err(TooMany);
            }
            index += 1;
            match bad {
                None => self.events.push((place, text)),
                Some(bad) => {
                    rejected.push(not_utf_8(place, bad.at));
                    self.undecoded.push((place, bad.bytes));
                }
            }
        }
        self.join_lines_of_events(Framing::Ndjson);
        Ok(())
    }

    fn split_json(
        &mut self,
        body: usize,
        bytes: Bytes,
        rejected: &mut Vec<Rejection>,
    ) -> Result<(), TooMany> {
        let place = Place { body, ..Place::default() };
        self.text = match String::from_utf8(bytes.into()) {
            Ok(text) => text,
            Err(error) => {
                rejected.push(not_utf_8(place, error.utf8_error().valid_up_to()));
                self.undecoded.push((place, error.into_bytes().into()));
                return Ok(());
            }
        };
        let whole = trimmed(&self.text, 0..self.text.len());
        match self.text.as_bytes().get(whole.start) {
            None => return Ok(()),
            Some(b'[') => match elements(&self.text, whole)? {
                Ok(elements) => {
                    let placed = |(index, range)| (Place { index, ..place }, range);
                    self.events = elements.into_iter().enumerate().map(placed).collect();
                }
                Err(broken) => {
                    let place = Place { index: broken.index, ..place };
                    rejected.push(broken.rejection(place));
                    self.undecoded.push((place, std::mem::take(&mut self.text).into()));
                    return Ok(());
                }
            },
            Some(_) => self.events.push((place, whole)),
        }
        self.join_lines_of_events(Framing::Json);
        Ok(())
    }

    /// Makes spaces of line breaks between an event's tokens, because destinations separate records by
    /// them; in a text that is not JSON they stay, so that it stays wrong.
    fn join_lines_of_events(&mut self, framing: Framing) {
        let bytes = self.text.as_bytes();
        let has_any = match framing {
            // Between its lines there are others.
            Framing::Ndjson => memchr::memchr(b'\r', bytes),
            Framing::Json => memchr::memchr2(b'\n', b'\r', bytes),
        };
        if has_any.is_none() {
            return;
        }
        let breaks = |range: &Range<usize>| {
            memchr::memchr2(b'\n', b'\r', &self.text.as_bytes()[range.clone()]).is_some()
        };
        let is_json = |range: &Range<usize>| {
            let mut cursor = JsonCursor::new(&self.text[range.clone()]);
            cursor.value(0).and_then(|_| cursor.end()).is_ok()
        };
        let ranges = self.events.iter().map(|(_, range)| range);
        let joined: Vec<Range<usize>> =
            ranges.filter(|it| breaks(it) && is_json(it)).cloned().collect();
        for range in joined {
            let one_line = self.text[range.clone()].replace(['\n', '\r'], " ");
            // As long as before, so that no other event moves.
            self.text.replace_range(range, &one_line);
        }
    }
}

/// A line that is no UTF-8.
struct BadLine {
    line: usize,
    /// The first wrong byte of the line.
    at: usize,
    bytes: Bytes,
}

/// Reads line by line what is no UTF-8 as a whole; bad lines are left empty.
fn decode_lines(bytes: Vec<u8>, undecoded: &mut Vec<BadLine>) -> String {
    let mut text = String::with_capacity(bytes.len());
    for (line, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line > 0 {
            text.push('\n');
        }
        match str::from_utf8(bytes) {
            Ok(good) => text.push_str(good),
            Err(error) => undecoded.push(BadLine {
                line,
                at: error.valid_up_to(),
                bytes: Bytes::copy_from_slice(bytes),
            }),
        }
    }
    text
}

fn not_utf_8(place: Place, at: usize) -> Rejection {
    let message = format!("not valid UTF-8 at byte {at}");
    Rejection { place, code: "ERR_SLUICEGATE_1008", message }
}

/// A part of a text without the blanks around it and a byte order mark before it.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];
    // As nearly all stand.
    if let [b'{', .., b'}'] = text.as_bytes()[range.clone()] {
        return range;
    }
    let part = text[range.clone()].trim_end_matches(BLANKS);
    let bare = part.trim_start_matches(BLANKS).trim_start_matches(BYTE_ORDER_MARK);
    let bare = bare.trim_start_matches(BLANKS);
    let end = range.start + part.len();
    end - bare.len()..end
}

/// An array whose syntax is broken behind so many elements.
struct BrokenArray {
    index: usize,
    error: ScanError,
}

impl BrokenArray {
    fn rejection(&self, place: Place) -> Rejection {
        let ScanError { what, at } = &self.error;
        let message = format!("the array is not valid JSON: {what} at byte {at} of the body");
        Rejection { place, code: "ERR_SLUICEGATE_1001", message }
    }
}

/// Where in a text an array's elements are.
fn elements(
    text: &str,
    array: Range<usize>,
) -> Result<Result<Vec<Range<usize>>, BrokenArray>, TooMany> {
    let mut cursor = JsonCursor::new(&text[array.clone()]);
    let mut elements = Vec::new();
    let mut walk = || -> Result<bool, ScanError> {
        let mut more = cursor.enter(b'[', b']')?;
        while more {
            if elements.len() == MAX_EVENTS {
                return Ok(false);
            }
            cursor.next_token();
            let start = array.start + cursor.position();
            let element = cursor.value(1)?;
            elements.push(start..start + element.len());
            more = cursor.more(b']')?;
        }
        cursor.end()?;
        Ok(true)
    };
    match walk() {
        Ok(true) => Ok(Ok(elements)),
        Ok(false) => Err(TooMany),
        Err(mut error) => {
            error.at += array.start;
            Ok(Err(BrokenArray { index: elements.len(), error }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts, and the rejections as `index: message`.
    fn split(body: &[u8], framing: Framing) -> (Vec<String>, Vec<String>) {
        let framed = Framed::of(Bytes::copy_from_slice(body), framing).unwrap();
        let texts = framed.texts().map(|(_, text)| text.to_owned()).collect();
        let rejected = framed.rejected().iter();
        (texts, rejected.map(|it| format!("{}: {}", it.place.index, it.message)).collect())
    }

    fn places(body: &[u8]) -> Vec<(usize, usize)> {
        let framed = Framed::of(Bytes::copy_from_slice(body), Framing::Ndjson).unwrap();
        framed.texts().map(|(place, _)| (place.index, place.line)).collect()
    }

    #[test]
    fn lines_are_events_and_blank_ones_count_as_lines_only() {
        let (texts, rejected) = split(b" {\"a\":1}\t\r\n\n \nnot json\n{\"a\":2}", Framing::Ndjson);
        assert_eq!(texts, [r#"{"a":1}"#, "not json", r#"{"a":2}"#]);
        assert!(rejected.is_empty());
        assert_eq!(places(b"1\n\n \n2\n3\n"), [(0, 0), (1, 3), (2, 4)]);
    }

    #[test]
    fn only_the_blanks_of_json_are_trimmed() {
        let body = "\u{a0}1\u{2003}\n2\u{b}\n";
        assert_eq!(split(body.as_bytes(), Framing::Ndjson).0, ["\u{a0}1\u{2003}", "2\u{b}"]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_spoils_no_other() {
        let body = b"1\n\n{\"x\":\"\xff\"}\n2\n\xc3\x28";
        let (texts, rejected) = split(body, Framing::Ndjson);
        assert_eq!(texts, ["1", "2"]);
        assert_eq!(rejected, ["1: not valid UTF-8 at byte 6", "3: not valid UTF-8 at byte 0"]);
        let framed = Framed::of(Bytes::from_static(body), Framing::Ndjson).unwrap();
        let event = |index, line| framed.event(Place { body: 0, index, line });
        assert_eq!(event(1, 2), b"{\"x\":\"\xff\"}");
        assert_eq!(event(2, 3), b"2");
        assert_eq!(event(3, 4), b"\xc3\x28");
        assert_eq!(event(9, 9), b"");
    }

    #[test]
    fn json_is_one_event_or_an_array() {
        assert_eq!(split(b" {\"a\":1} ", Framing::Json).0, [r#"{"a":1}"#]);
        assert_eq!(split(b" [1, 5,\n{\"b\":[2]} ] ", Framing::Json).0, ["1", "5", r#"{"b":[2]}"#]);
        assert_eq!(split(b" [ ] ", Framing::Json).0.len(), 0);
    }

    #[test]
    fn a_broken_array_is_rejected_whole() {
        let (texts, rejected) = split(b" [1,{]", Framing::Json);
        assert_eq!(texts.len(), 0);
        assert_eq!(rejected.len(), 1);
        assert!(rejected[0].starts_with("1: the array is not valid JSON"), "{rejected:?}");
        assert!(rejected[0].ends_with("at byte 5 of the body"), "{rejected:?}");
        let (_, rejected) = split(b"[1] x", Framing::Json);
        assert_eq!(rejected.len(), 1, "{rejected:?}");
    }

    #[test]
    fn a_byte_order_mark_before_an_event_is_passed_over() {
        for framing in [Framing::Ndjson, Framing::Json] {
            assert_eq!(split("\u{feff}{}".as_bytes(), framing).0, ["{}"]);
        }
        assert_eq!(split("\u{feff}[1]".as_bytes(), Framing::Json).0, ["1"]);
        assert!(Framed::of(Bytes::from("\u{feff} \n"), Framing::Ndjson).unwrap().is_empty());
        assert_eq!(split("{}\u{feff}".as_bytes(), Framing::Ndjson).0, ["{}\u{feff}"]);
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let array = b"[{\n\"a\":\r\n1}, {\"b\":2}]";
        assert_eq!(split(array, Framing::Json).0, ["{ \"a\":  1}", r#"{"b":2}"#]);
        assert_eq!(split(b"{\"a\":\r1}\n", Framing::Ndjson).0, ["{\"a\": 1}"]);
        assert_eq!(split(b"{\"a\":\"x\ny\"}", Framing::Json).0, ["{\"a\":\"x\ny\"}"]);
    }

    #[test]
    fn bodies_that_are_framed_together_keep_their_numbers() {
        let mut framed = Framed::default();
        framed.add(Bytes::from_static(b"1\n\xff"), Framing::Ndjson).unwrap();
        let many = Bytes::from("1\n".repeat(MAX_EVENTS + 1));
        assert_eq!(framed.add(many.clone(), Framing::Ndjson), Err(TooMany));
        framed.refuse_last(many.clone(), "E", "too many".to_owned());
        framed.add(Bytes::from_static(b"[2,3]"), Framing::Json).unwrap();
        let texts: Vec<_> = framed.texts().map(|(it, text)| (it.body, it.index, text)).collect();
        assert_eq!(texts, [(0, 0, "1"), (2, 0, "2"), (2, 1, "3")]);
        assert_eq!(framed.event(framed.rejected()[0].place), b"\xff");
        assert_eq!((framed.rejected()[1].place.body, framed.rejected()[1].code), (1, "E"));
        assert_eq!(framed.event(framed.rejected()[1].place), many);
        assert_eq!(framed.event(Place { body: 2, index: 1, line: 0 }), b"3");
    }

    #[test]
    fn the_number_of_events_in_a_body_is_limited() {
        let lines = Bytes::from("1\n".repeat(MAX_EVENTS + 1));
        assert_eq!(Framed::of(lines, Framing::Ndjson).err(), Some(TooMany));
        let array = Bytes::from(format!("[{}1]", "1,".repeat(MAX_EVENTS)));
        assert_eq!(Framed::of(array, Framing::Json).err(), Some(TooMany));
        let is_empty =
            |body, framing| Framed::of(Bytes::from_static(body), framing).unwrap().is_empty();
        assert!(is_empty(b" \n \r\n", Framing::Ndjson));
        assert!(is_empty(b"", Framing::Json));
    }
}
