//! Regular expressions in RE2's syntax, run by the `regex` crate.
//!
//! The crate's syntax is near RE2's, but not the same: `re2.rs` rewrites a pattern into one that
//! means in the crate what it means in RE2. Both run in linear time.

use regex::bytes::{CaptureMatches, Regex, RegexBuilder};

use crate::report::escaped;

use super::super::error::EvalError;
use super::super::limits::{MAX_REGEX_NESTING, MAX_REGEX_PROGRAM, MAX_SOURCE};
use super::re2;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(in super::super) struct Pattern {
    regex: Regex,
    length: usize,
}

impl Pattern {
    /// Compiles RE2 syntax.
    ///
    /// # Errors
    /// What RE2 refuses, and programs larger than `max_program` bytes.
    pub fn new(pattern: &str, max_program: usize) -> Result<Pattern, EvalError> {
        let invalid = |what: &str| {
            EvalError::Invalid(format!("bad regular expression: {}", escaped(what)).into())
        };
        if pattern.len() > MAX_SOURCE {
            return Err(EvalError::Limit(MAX_SOURCE, "bytes of a regular expression"));
        }
        let translated = re2::translate(pattern).map_err(|what| invalid(&what))?;
        RegexBuilder::new(&translated)
            .nest_limit(MAX_REGEX_NESTING)
            .size_limit(max_program)
            .dfa_size_limit(MAX_REGEX_PROGRAM)
            .build()
            .map(|regex| Pattern { regex, length: pattern.len() })
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    EvalError::Limit(max_program, "bytes of a compiled regular expression")
                }
                // The crate shows the rewritten pattern in several lines; the last says what is wrong.
                error => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    invalid(last.trim_start_matches("error: "))
                }
            })
    }

    /// Whether the pattern matches somewhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// How long the pattern's text is.
    pub fn length(&self) -> u64 {
        u64::try_from(self.length).unwrap_or(u64::MAX)
    }

    /// How many groups the pattern has, not counting the whole.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// The matches from left to right.
    pub fn captures<'p, 't>(&'p self, text: &'t str) -> CaptureMatches<'p, 't> {
        self.regex.captures_iter(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("b+", "abbc", true),
            (r"^\d$", "5", true),
            (r"\d", "٣", false),
            (r"\w", "é", false),
            (r"\W", "é", true),
            (r"\s", "\u{b}", false),
            (r"[\s]", "\u{a0}", false),
            (r"[^\d]", "٣", true),
            (r"[\D]", "٣", true),
            (r"\bx\b", "éx", true),
            (r"\Bé", "é", true),
            (r"(?i)É", "é", true),
            (r"(?i)k", "\u{212a}", true),
            (r"(?i)^\w$", "\u{212a}", true),
            (r"(?i)^\W$", "\u{212a}", false),
            (r"^\C\C$", "é", true),
            (r"(a{100}){10}|b", "b", true),
            (r"\p{Greek}", "α", true),
            (r"\ ", " ", true),
            (r"(?<x>a)(?P<y>b)", "ab", true),
            (r"\pL", "é", true),
            (r"\p{^L}", "é", false),
            (r"^.$", "é", true),
            (r"[a&&b]", "&", true),
            (r"[+--]", ",", true),
            (r"[[a]", "[", true),
            (r"[]a]", "]", true),
            (r"[^]a]", "]", false),
            (r"[a-]", "-", true),
            (r"[[:alpha:]-]", "-", true),
            (r"[\]]", "]", true),
            (r"\Qa.b\E.", "a.bc", true),
            (r"\Qa.b", "axb", false),
            (r"\101", "A", true),
            (r"[\101]", "A", true),
            (r"\x{41}\x42", "AB", true),
            (r"a{2}", "aa", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{x", "a{x", true),
            (r"\b{start}", "x{start}", true),
            (r"(?P<n>a)(?:b)(?s:.)", "ab\n", true),
            (r"#", "#", true),
            (r"\<", "<", true),
            ("a }", "a }", true),
            ("^a{01}$", "a{01}", true),
            ("^a{0,01}$", "a{0,01}", true),
            ("^a{1000000000}$", "a{1000000000}", true),
            (r"\_", "_", true),
            ("(?ii)A", "a", true),
            ("(?i-i)A", "a", false),
            ("(?-ii)A", "a", false),
            ("(?)a", "a", true),
            ("(?P<n>a)(?P<n>b)", "ab", true),
            (r"\p{Cs}", "a", false),
            (r"[^\p{Cs}]", "a", true),
            (r"\x{D800}", "\u{fffd}", false),
            (r"[\x{D700}-\x{E001}]", "\u{e000}", true),
            (r"[\x{D800}-\x{DFFF}]", "\u{e000}", false),
            (r"[^\x{D800}]", "a", true),
        ] {
            let found =
                Pattern::new(pattern, MAX_REGEX_PROGRAM).map(|pattern| pattern.is_match(text));
            assert_eq!(found, Ok(expected), "{pattern} on {text}");
        }
    }

    #[test]
    fn unicode_classes_have_the_characters_that_re2_gives_them() {
        for (pattern, text, expected) in [
            (r"\p{Nko}\p{SignWriting}", "\u{7c1}\u{1d800}", true),
            (r"[\p{Old_Italic}\P{Phags_Pa}]", "a", true),
            (r"\pC", "\u{378}", false),
            (r"^[\PC]$", "\u{378}", true),
            (r"^\p{^C}$", "\u{ad}", false),
            (r"^[^\pC]$", "\u{e000}", false),
            (r"^\p{Any}[\p{Any}]$", "aé", true),
            (r"\P{Any}", "a", false),
        ] {
            let pattern = Pattern::new(pattern, MAX_REGEX_PROGRAM).unwrap();
            assert_eq!(pattern.is_match(text), expected, "{pattern:?} on {text}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for (pattern, said) in [
            ("(", "bad regular expression: unclosed group"),
            ("[a", "bad regular expression: a `[` is not closed"),
            ("a**", "bad regular expression: nothing to repeat before `*`"),
            ("a{1001}", "bad regular expression: a repetition is at most 1000"),
            ("(?x)a", "bad regular expression: unknown flag `x`"),
            (r"\p{Letter}", "bad regular expression: unknown Unicode class `Letter`"),
            (r"\p{greek}", "bad regular expression: unknown Unicode class `greek`"),
            (r"\p{GREEK}", "bad regular expression: unknown Unicode class `GREEK`"),
            (r"\p{Grek}", "bad regular expression: unknown Unicode class `Grek`"),
            (r"\p{Unknown}", "bad regular expression: unknown Unicode class `Unknown`"),
            (r"\p{Cn}", "bad regular expression: unknown Unicode class `Cn`"),
            (r"\p{LC}", "bad regular expression: unknown Unicode class `LC`"),
            (r"\p{Alphabetic}", "bad regular expression: unknown Unicode class `Alphabetic`"),
            ("[[:^^alpha:]]", "bad regular expression: unknown class `[:^^alpha:]`"),
            ("(?i-)a", "bad regular expression: a `-` without a flag after it"),
            ("(?-i-s)a", "bad regular expression: unknown flag `-`"),
            ("a{999999999}", "bad regular expression: a repetition is at most 1000"),
            (r"\x{110000}", "bad regular expression: U+110000 is no Unicode character"),
            (r"\8", "bad regular expression: unknown escape `\\8`"),
            (r"\Z", "bad regular expression: unknown escape `\\Z`"),
            ("(?P<a-b>x)", "bad regular expression: bad group name `a-b`"),
            (
                "(a{100}){11}",
                "bad regular expression: repetitions inside each other repeat at most 1000 times",
            ),
            ("a{2}{3}", "bad regular expression: nothing to repeat before `{`"),
            (r"\1", "bad regular expression: unknown escape `\\1`"),
            (r"[[:foo:]]", "bad regular expression: unknown class `[:foo:]`"),
            (r"[a--b]", "bad regular expression: bad range `a--`"),
            (r"[b-a]", "bad regular expression: bad range `b-a`"),
            (r"(?=a)", "bad regular expression: unknown flag `=`"),
            (
                r"((a{100}){100}){100}",
                "bad regular expression: repetitions inside each other repeat at most 1000 times",
            ),
            (r"(\pL{30}){30}", "over the limit of 1048576 bytes of a compiled regular expression"),
        ] {
            let error = match Pattern::new(pattern, MAX_REGEX_PROGRAM) {
                Err(error) => error.to_string(),
                Ok(_) => "accepted".to_owned(),
            };
            assert_eq!(error, said, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in r"([\\\[\](){}^$|*+?.,:&~<>-]|[a-zA-Z0-9]|\pL){0,12}") {
            if let Ok(pattern) = Pattern::new(&pattern, MAX_REGEX_PROGRAM) {
                pattern.is_match("aé-0");
            }
        }

        #[test]
        fn a_quoted_text_matches_itself(text in any::<String>()) {
            prop_assume!(!text.contains("\\E"));
            let pattern = format!("^\\Q{text}\\E$");
            prop_assert!(Pattern::new(&pattern, MAX_REGEX_PROGRAM).unwrap().is_match(&text));
        }
    }
}
