//! How mistakes are shown to the person who must mend them: place, caret and nearest name.
//!
//! Used by the filter language and the settings file alike. It formats; it neither detects mistakes
//! nor prints anything itself.

use std::cmp::Reverse;
use std::fmt::Write as _;

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

/// The source line of a span with carets under it, in the form compilers use:
///
/// ```text
///   |
/// 1 | ev.conn.client_port == 1
///   |         ^^^^^^^^^^^
/// ```
///
/// A span over several lines is marked up to the end of its first line.
#[must_use]
pub fn caret(source: &str, span: Span) -> String {
    let (line, column) = line_column(source, span.start);
    let text = source.lines().nth(line - 1).unwrap_or("");
    let covered = source.get(span.start..span.end).unwrap_or("");
    let width = covered.lines().next().unwrap_or("").chars().count().max(1);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let indent: String =
        text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(out, "{margin} |\n{number} | {text}\n{margin} | {indent}{}", "^".repeat(width));
    out
}

/// The candidate most like `name`, if any is close enough to be what was meant; of two that are
/// equally close, the one that begins like it.
///
/// Close enough is an edit distance (with transpositions) of at most a third of the name's length,
/// so that `foo` is never offered for `bar`.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = name.chars().count();
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    let shared = |candidate: &str| {
        name.chars().zip(candidate.chars()).take_while(|(ours, theirs)| ours == theirs).count()
    };
    candidates
        .into_iter()
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
