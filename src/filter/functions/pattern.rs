//! Regular expressions in RE2's syntax, run by the automata of the `regex-automata` crate.
//!
//! The crate's syntax is near RE2's, but not the same: `re2.rs` rewrites a pattern into one that
//! means in the crate what it means in RE2. `automaton.rs` runs it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use regex_automata::util::primitives::NonMaxUsize;

use crate::lock::lock;
use crate::report::escaped;

use super::super::error::EvalError;
use super::super::limits::{MAX_REGEX_NESTING, MAX_SOURCE};
use super::Budget;
use super::automaton::{Automaton, Use};
use super::re2;

/// A compiled regular expression.
#[derive(Debug)]
pub(in super::super) struct Pattern {
    automaton: Automaton,
    length: usize,
    groups: usize,
}

/// Bytes of all compiled patterns that there are.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Patterns by their text.
type ByText = HashMap<(String, Use), Weak<Pattern>>;

/// Those that filters share.
static SHARED: LazyLock<Mutex<ByText>> = LazyLock::new(Mutex::default);

/// Bytes of memory that all compiled patterns take together, equal ones counted once.
pub(in super::super) fn compiled_bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

impl Pattern {
    /// Compiles RE2 syntax.
    ///
    /// # Errors
    /// What RE2 refuses, and programs larger than `max_program` bytes.
    pub fn new(pattern: &str, max_program: usize, used: Use) -> Result<Pattern, EvalError> {
        let invalid = |what: &str| {
            EvalError::Invalid(format!("bad regular expression: {}", escaped(what)).into())
        };
        if pattern.len() > MAX_SOURCE {
            return Err(EvalError::Limit(MAX_SOURCE, "bytes of a regular expression"));
        }
        let translated = re2::translate(pattern).map_err(|what| invalid(&what))?;
        let mut parser = regex_syntax::ParserBuilder::new();
        let parser = parser.utf8(false).nest_limit(MAX_REGEX_NESTING);
        let hir = parser.build().parse(&translated).map_err(|error| {
            // The crate shows the rewritten pattern in several lines; the last says what is wrong.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            invalid(last.trim_start_matches("error: "))
        })?;
        let groups = hir.properties().explicit_captures_len();
        let automaton = Automaton::new(&hir, max_program, used)?;
        BYTES.fetch_add(automaton.bytes(), Ordering::Relaxed);
        Ok(Pattern { automaton, length: pattern.len(), groups })
    }

    /// The same, shared with whoever has an equal pattern.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn shared(pattern: &str, max_program: usize, used: Use) -> Result<Arc<Pattern>, EvalError> {
        let key = (pattern.to_owned(), used);
        if let Some(known) = lock(&SHARED).get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // Not while the lock is held: it takes milliseconds.
        let made = Arc::new(Pattern::new(pattern, max_program, used)?);
        let mut shared = lock(&SHARED);
        if shared.len() == shared.capacity() {
            shared.retain(|_, pattern| pattern.strong_count() > 0);
        }
        let known = shared.entry(key).or_default();
        if let Some(first) = known.upgrade() {
            return Ok(first);
        }
        *known = Arc::downgrade(&made);
        Ok(made)
    }

    /// Whether the pattern matches somewhere in the text.
    ///
    /// # Errors
    /// When the budget does not suffice.
    pub fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, EvalError> {
        self.automaton.is_match(text, budget)
    }

    /// How long the pattern's text is.
    pub fn length(&self) -> u64 {
        u64::try_from(self.length).unwrap_or(u64::MAX)
    }

    /// How many groups the pattern has, not counting the whole.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.automaton.bytes()
    }

    /// Gives the matches from left to right to `each`, until that says no.
    ///
    /// # Errors
    /// When the budget does not suffice, those of `each`, and if the pattern was compiled for tests.
    pub(super) fn captures<'t>(
        &self,
        text: &'t str,
        budget: &mut Budget,
        mut each: impl FnMut(&Captures<'t, '_>, &mut Budget) -> Result<bool, EvalError>,
    ) -> Result<(), EvalError> {
        self.automaton.captures(text, MAX_GROUPS + 1, budget, |slots, budget| {
            each(&Captures { text, slots }, budget)
        })
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.automaton.bytes(), Ordering::Relaxed);
    }
}

/// Most groups of a match that are looked at: a replacement has `\\1` to `\\9`.
const MAX_GROUPS: usize = 9;

/// One match and its groups.
pub(super) struct Captures<'t, 's> {
    text: &'t str,
    slots: &'s [Option<NonMaxUsize>],
}

impl<'t> Captures<'t, '_> {
    /// Where a group matched; the whole match is group 0.
    pub fn place(&self, group: usize) -> Option<std::ops::Range<usize>> {
        let slot = |at: usize| self.slots.get(at).copied().flatten().map(NonMaxUsize::get);
        Some(slot(2 * group)?..slot(2 * group + 1)?)
    }

    /// What a group matched; nothing if it took no part.
    pub fn bytes(&self, group: usize) -> &'t [u8] {
        self.place(group).map_or(&[], |place| &self.text.as_bytes()[place])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::limits::MAX_REGEX_PROGRAM;
    use super::*;

    fn compile(pattern: &str) -> Result<Pattern, EvalError> {
        Pattern::new(pattern, MAX_REGEX_PROGRAM, Use::Test)
    }

    fn is_match(pattern: &Pattern, text: &str) -> bool {
        pattern.is_match(text, &mut Budget::new()).unwrap()
    }

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
            let found = compile(pattern).map(|pattern| is_match(&pattern, text));
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
            let pattern = compile(pattern).unwrap();
            assert_eq!(is_match(&pattern, text), expected, "{pattern:?} on {text}");
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
            let error = match compile(pattern) {
                Err(error) => error.to_string(),
                Ok(_) => "accepted".to_owned(),
            };
            assert_eq!(error, said, "{pattern}");
        }
    }

    #[test]
    fn a_search_is_paid_for_and_stops_where_the_work_does_not_suffice() {
        let text = "ab".repeat(8 << 10);
        let spent = |pattern: &str| {
            let mut budget = Budget::new();
            let found = compile(pattern).unwrap().is_match(&text, &mut budget);
            (found, budget.spent())
        };
        assert_eq!(spent("c"), (Ok(false), 16_434));
        let (found, _) = spent("(.?){80}[ab]{900}c");
        assert_eq!(found, Err(EvalError::Limit(2_500_000, "units of work in one evaluation")));
    }

    #[test]
    fn equal_patterns_are_one() {
        let shared = |text: &str, used| Pattern::shared(text, MAX_REGEX_PROGRAM, used).unwrap();
        let first = shared("shared[0-9]+once", Use::Test);
        assert!(Arc::ptr_eq(&first, &shared("shared[0-9]+once", Use::Test)));
        assert!(!Arc::ptr_eq(&first, &shared("shared[0-9]+once", Use::Capture)));
        assert!(first.bytes() > 0 && compiled_bytes() >= first.bytes());
    }

    /// What the `regex` crate finds, as places of the matches and of their groups.
    fn expected(pattern: &str, text: &str) -> Vec<Vec<Option<(usize, usize)>>> {
        let translated = re2::translate(pattern).unwrap();
        let regex = regex::bytes::Regex::new(&translated).unwrap();
        let place = |found: Option<regex::bytes::Match<'_>>| found.map(|it| (it.start(), it.end()));
        let found = regex.captures_iter(text.as_bytes());
        found.map(|captures| captures.iter().map(place).collect()).collect()
    }

    fn found(pattern: &str, text: &str) -> Vec<Vec<Option<(usize, usize)>>> {
        let pattern = Pattern::new(pattern, MAX_REGEX_PROGRAM, Use::Capture).unwrap();
        let mut all = Vec::new();
        let each = |captures: &Captures<'_, '_>, _: &mut Budget| {
            let place = |group| captures.place(group).map(|it| (it.start, it.end));
            all.push((0..=pattern.groups()).map(place).collect());
            Ok(true)
        };
        pattern.captures(text, &mut Budget::new(), each).unwrap();
        all
    }

    proptest! {
        #[test]
        fn the_automata_find_what_the_regex_crate_finds(
            pattern in r"(([ab.^$é]|\[bBdwW]|\(a?\)|\(b\|ab?\)|\(\)|[ab]\*|\[\^a\]|\|)[*?]?){1,6}",
            text in "[abé 0]{0,12}",
        ) {
            if compile(&pattern).is_ok() {
                let expected = expected(&pattern, &text);
                for used in [Use::Test, Use::TestOnce, Use::Capture] {
                    let compiled = Pattern::new(&pattern, MAX_REGEX_PROGRAM, used).unwrap();
                    prop_assert_eq!(is_match(&compiled, &text), !expected.is_empty());
                }
                prop_assert_eq!(found(&pattern, &text), expected);
            }
        }

        #[test]
        fn no_pattern_panics(pattern in r"([\\\[\](){}^$|*+?.,:&~<>-]|[a-zA-Z0-9]|\pL){0,12}") {
            if let Ok(pattern) = compile(&pattern) {
                is_match(&pattern, "aé-0");
            }
        }

        #[test]
        fn a_quoted_text_matches_itself(text in any::<String>()) {
            prop_assume!(!text.contains("\\E"));
            let pattern = format!("^\\Q{text}\\E$");
            prop_assert!(is_match(&compile(&pattern).unwrap(), &text));
        }
    }
}
