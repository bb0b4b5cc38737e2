//! How mistakes are shown to the person who must fix them: place, caret and nearest name.
//!
//! Used by the filter language and the settings file alike; and the one place that says how text from
//! outside is shown on terminals and in text logs ([`escaped`]). It formats; it neither detects mistakes
//! nor prints anything itself.

mod count;
mod hidden;

use std::borrow::Cow;
use std::cmp::Reverse;

pub use count::counted;
pub use hidden::{escaped, name_of_hidden};

/// A half-open range of byte offsets in a source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset just past the last byte.
    pub end: usize,
}

impl Span {
    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Line and column of a byte offset, both counted from 1, the column in characters.
///
/// An offset past the end, or inside a character, counts as the nearest place before it.
#[must_use]
pub fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(offset)];
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[line_start..].chars().count() + 1)
}

/// Most characters of a line that are shown before a place, and from it on.
const SHOWN_AROUND: usize = 400;

/// The source line of a span with carets under it, in the form compilers use:
///
/// ```text
///   |
/// 1 | ev.conn.client_port == 1
///   |         ^^^^^^^^^^^
/// ```
///
/// A span over several lines is marked up to the end of its first line. What cannot be seen in the
/// line, or is taken for a plain space, is shown as an escape (`\u{a0}`), and a tab as four spaces: so
/// the carets stand right, and nothing in a stranger's text moves the terminal. Each other character
/// counts as one column, which wide ones (Chinese, Japanese, emoji) are not. Of a line that is long, which may be a
/// whole file, the part around the span's beginning is shown.
#[must_use]
pub fn caret(source: &str, span: Span) -> String {
    let start = source.floor_char_boundary(span.start);
    let end = source.floor_char_boundary(span.end).max(start);
    let (number, _) = line_column(source, start);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let text = source[line_start..].lines().next().unwrap_or("");
    // The line break itself is no part of the text, but a span may start or end there.
    let place = |offset: usize| (offset - line_start).min(text.len());
    let (before, after) = text.split_at(place(start));
    let cut =
        before.char_indices().rev().nth(SHOWN_AROUND).map_or(0, |(at, char)| at + char.len_utf8());
    let left_out = after.char_indices().nth(SHOWN_AROUND).map_or(after.len(), |(at, _)| at);
    let marked = |is_cut: bool| if is_cut { "…" } else { "" };
    let (begun, ended) = (marked(cut > 0), marked(left_out < after.len()));
    let (before, after) = (&before[cut..], &after[..left_out]);
    let covered = &after[..(place(end) - place(start)).min(after.len())];
    let indent = " ".repeat(begun.chars().count() + source_line(before).chars().count());
    let carets = "^".repeat(source_line(covered).chars().count().max(1));
    let text = [begun, &source_line(before), &source_line(after), ended].concat();
    let margin = " ".repeat(number.to_string().len());
    format!("{margin} |\n{number} | {text}\n{margin} | {indent}{carets}")
}

/// A part of a source line as [`caret`] shows it.
fn source_line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => out.push_str("    "),
            char if name_of_hidden(char).is_some() => out.extend(hidden::escape(char)),
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

/// Longest name that a similar one is looked for, in bytes.
const MAX_NEAR_NAME: usize = 256;

/// Most candidates that are compared with a name: two microseconds each.
const MAX_NEAR_CANDIDATES: usize = 1_000;

/// The candidate most like `name`, if any is close enough to be what was meant; of two that are
/// equally close, the one that begins like it.
///
/// Close enough is an edit distance (with transpositions) of at most a third of the name's length,
/// so that `foo` is never offered for `bar`. Names over 256 bytes are near to nothing, and at most a
/// thousand candidates of about the name's length are looked at: both come from strangers, and an edit
/// distance takes the product of the lengths.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > MAX_NEAR_NAME {
        return None;
    }
    let length = name.chars().count();
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    let shared = |candidate: &str| {
        name.chars().zip(candidate.chars()).take_while(|(ours, theirs)| ours == theirs).count()
    };
    candidates
        .into_iter()
        .filter(|candidate| {
            candidate.len() <= 4 * MAX_NEAR_NAME
                && candidate.chars().count().abs_diff(length) <= allowed
        })
        .take(MAX_NEAR_CANDIDATES)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, candidate)| (distance, Reverse(shared(candidate))))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        assert_eq!(line_column("ab\ncd", 0), (1, 1));
        assert_eq!(line_column("ab\ncd", 4), (2, 2));
        assert_eq!(line_column("é=1", 2), (1, 2));
        assert_eq!(line_column("ab", 99), (1, 3));
    }

    #[test]
    fn carets_stand_under_the_span() {
        let shown = caret("a\nb + cc", Span { start: 6, end: 8 });
        assert_eq!(shown, "  |\n2 | b + cc\n  |     ^^");
    }

    #[test]
    fn carets_stand_under_the_span_whatever_cannot_be_seen_before_it() {
        let after = |text: &str| caret(&format!("{text}x"), Span { start: text.len(), end: 99 });
        assert_eq!(after("\t"), "  |\n1 |     x\n  |     ^");
        assert_eq!(after("a\u{200b}"), "  |\n1 | a\\u{200b}x\n  |          ^");
        assert_eq!(after("\u{1b}[2J\r"), "  |\n1 | \\u{1b}[2J\\rx\n  |            ^");
        assert_eq!(after("one\r\né\u{a0}"), "  |\n2 | é\\u{a0}x\n  |        ^");
    }

    #[test]
    fn a_span_at_the_end_of_a_line_has_its_caret_there() {
        assert_eq!(caret("ab\r\ncd", Span { start: 2, end: 4 }), "  |\n1 | ab\n  |   ^");
        assert_eq!(caret("ab\ncd", Span { start: 1, end: 5 }), "  |\n1 | ab\n  |  ^");
        assert_eq!(caret("", Span { start: 0, end: 0 }), "  |\n1 | \n  | ^");
        assert_eq!(caret("é", Span { start: 1, end: 2 }), "  |\n1 | é\n  | ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let long = format!("{}é{}", "a".repeat(5_000), "b".repeat(5_000));
        let shown = caret(&long, Span { start: 5_002, end: 9_000 });
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], format!("1 | …{}é{}…", "a".repeat(399), "b".repeat(400)));
        assert_eq!(lines[2], format!("  | {}{}", " ".repeat(401), "^".repeat(400)));
        let hidden = caret(&"\u{7}".repeat(16_000), Span { start: 8_000, end: 8_001 });
        assert!(hidden.len() < 10_000, "{} bytes", hidden.len());
    }

    #[test]
    fn only_a_similar_name_is_offered() {
        assert_eq!(nearest("lisen", ["listen", "max_body"]), Some("listen"));
        assert_eq!(nearest("retention", ["listen", "max_body"]), None);
        assert_eq!(nearest("b", ["a"]), None);
    }

    #[test]
    fn of_two_equally_near_names_the_one_that_begins_alike_is_offered() {
        assert_eq!(
            nearest("response.status", ["response.headers", "response.status_code"]),
            Some("response.status_code")
        );
    }
}
