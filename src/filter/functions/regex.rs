//! Regular expressions in RE2's syntax, run by the `regex` crate.
//!
//! The crate's syntax is near RE2's, but not the same: its classes are Unicode where RE2's are
//! ASCII, and its character classes have set operations. A pattern is therefore rewritten, token by
//! token, into one that means in the crate what it means in RE2; what only one of the two has is
//! refused or spelled out. Both run in linear time.

use std::fmt::Write as _;

use regex::bytes::{CaptureMatches, Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};

use super::super::error::EvalError;
use super::super::limits::{MAX_REGEX_NESTING, MAX_REGEX_PROGRAM, MAX_REGEX_REPEAT, MAX_SOURCE};

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
        let invalid =
            |what: &str| EvalError::Invalid(format!("bad regular expression: {what}").into());
        if pattern.len() > MAX_SOURCE {
            return Err(EvalError::Limit(MAX_SOURCE, "bytes of a regular expression"));
        }
        let translated = Translator::new(pattern).translate().map_err(|what| invalid(&what))?;
        check_repetitions(&translated).map_err(|what| invalid(&what))?;
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

const DIGITS: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\x0C\r ";

/// The ASCII ranges of a Perl class.
fn perl_class(letter: char) -> Option<&'static str> {
    match letter.to_ascii_lowercase() {
        'd' => Some(DIGITS),
        'w' => Some(WORD),
        's' => Some(SPACE),
        _ => None,
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The general categories of Unicode by the names that RE2 knows; it knows no longer ones.
const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N",
    "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So",
    "Z", "Zl", "Zp", "Zs", "Any",
];

type Step<T = ()> = Result<T, String>;

struct Translator<'p> {
    rest: &'p str,
    out: String,
    /// Of groups.
    names: Vec<&'p str>,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str) -> Translator<'p> {
        Translator {
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            names: Vec::new(),
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let char = chars.next();
        self.rest = chars.as_str();
        char
    }

    fn skip(&mut self, start: &str) -> bool {
        match self.rest.strip_prefix(start) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn literal(&mut self, char: char) {
        // Writing to a String cannot fail.
        let _ = if regex_syntax::is_meta_character(char) {
            write!(self.out, "\\{char}")
        } else {
            write!(self.out, "{char}")
        };
    }

    fn translate(mut self) -> Step<String> {
        while let Some(char) = self.next() {
            match char {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.out.push(char);
                    self.after_repetition()?;
                }
                '{' => self.brace()?,
                '.' | '^' | '$' | '|' | ')' => self.out.push(char),
                literal => self.literal(literal),
            }
        }
        Ok(self.out)
    }

    /// One `?` makes a repetition lazy; RE2 refuses any other operator there.
    fn after_repetition(&mut self) -> Step {
        if self.skip("?") {
            self.out.push('?');
        }
        match self.rest.chars().next() {
            Some(next @ ('*' | '+' | '?')) => Err(format!("nothing to repeat before `{next}`")),
            Some('{') if repetition(self.rest).is_some() => {
                Err("nothing to repeat before `{`".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// `{2}`, `{2,}` and `{2,5}` repeat; any other brace stands for itself.
    fn brace(&mut self) -> Step {
        let whole = format!("{{{}", self.rest);
        let Some((text, highest)) = repetition(&whole) else {
            self.literal('{');
            return Ok(());
        };
        if highest.is_none_or(|count| count > MAX_REGEX_REPEAT) {
            return Err(format!("a repetition is at most {MAX_REGEX_REPEAT}"));
        }
        self.out.push_str(text);
        self.rest = self.rest.get(text.len() - 1..).unwrap_or("");
        self.after_repetition()
    }

    fn group(&mut self) -> Step {
        self.out.push('(');
        if !self.skip("?") {
            return Ok(());
        }
        let named = self.rest.strip_prefix("P<").or_else(|| self.rest.strip_prefix('<'));
        if let Some(named) = named {
            return self.name(named);
        }
        let length = self.rest.find([':', ')']).ok_or("a group is not closed")?;
        let (flags, rest) = self.rest.split_at(length);
        if let Some(flag) = flags.chars().find(|flag| !"imsU-".contains(*flag)) {
            return Err(format!("unknown flag `{flag}`"));
        }
        self.out.push('?');
        self.out.push_str(flags);
        self.rest = rest;
        if self.skip(":") {
            self.out.push(':');
        }
        Ok(())
    }

    /// The name of a group, which must not repeat; groups are numbered, so that the name goes.
    fn name(&mut self, named: &'p str) -> Step {
        let (name, rest) = named.split_once('>').ok_or("a group's name is not closed")?;
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(format!("bad group name `{name}`"));
        }
        if self.names.contains(&name) {
            return Err(format!("group name `{name}` stands twice"));
        }
        self.names.push(name);
        self.rest = rest;
        Ok(())
    }

    fn escape(&mut self) -> Step {
        if self.skip("Q") {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            for char in quoted.chars() {
                self.literal(char);
            }
            return Ok(());
        }
        let next = self.rest.chars().next().ok_or("a `\\` at the end")?;
        if let Some(ranges) = perl_class(next) {
            self.next();
            let not = if next.is_ascii_uppercase() { "^" } else { "" };
            // With `(?i)` RE2 folds the class too: `(?i)\w` takes the Kelvin sign.
            let _ = write!(self.out, "[{not}{ranges}]");
            return Ok(());
        }
        match next {
            'b' | 'B' => {
                self.next();
                let _ = write!(self.out, "(?-u:\\{next})");
            }
            'A' | 'z' => {
                self.next();
                let _ = write!(self.out, "\\{next}");
            }
            'p' | 'P' => self.unicode_class()?,
            'C' => {
                self.next();
                self.out.push_str("(?s-u:.)");
            }
            _ => {
                let char = self.escaped_char()?;
                self.literal(char);
            }
        }
        Ok(())
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`; the cursor is at the `p`.
    fn unicode_class(&mut self) -> Step {
        let mut negative = self.next() == Some('P');
        let name = if self.skip("{") {
            let (name, rest) = self.rest.split_once('}').ok_or("a `\\p{` is not closed")?;
            self.rest = rest;
            name
        } else {
            let (name, rest) =
                self.rest.split_at(self.rest.chars().next().map_or(0, char::len_utf8));
            self.rest = rest;
            name
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negative = !negative;
                name
            }
            None => name,
        };
        let is_script = name.len() > 2
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        let class = match name {
            "Any" => "any".to_owned(),
            name if CATEGORIES.contains(&name) => name.to_owned(),
            name if is_script => format!("Script={name}"),
            _ => return Err(format!("unknown Unicode class `{name}`")),
        };
        let _ = write!(self.out, "\\{}{{{class}}}", if negative { 'P' } else { 'p' });
        Ok(())
    }

    /// The character that an escape stands for; the backslash is behind the cursor.
    fn escaped_char(&mut self) -> Step<char> {
        let char = self.next().ok_or("a `\\` at the end")?;
        let code = match char {
            'a' => 0x07,
            'f' => 0x0C,
            'n' => 0x0A,
            'r' => 0x0D,
            't' => 0x09,
            'v' => 0x0B,
            'x' => self.hex()?,
            '0' => self.octal(0),
            // RE2 has no back references: one digit alone is refused, more are octal.
            '1'..='7' if self.rest.starts_with(|c: char| c.is_digit(8)) => {
                self.octal(u32::from(char) - u32::from('0'))
            }
            char if char.is_ascii() && !char.is_ascii_alphanumeric() && char != '_' => {
                u32::from(char)
            }
            char => return Err(format!("unknown escape `\\{char}`")),
        };
        char::from_u32(code).ok_or_else(|| format!("U+{code:04X} is no Unicode character"))
    }

    fn octal(&mut self, mut code: u32) -> u32 {
        for _ in 0..2 {
            match self.rest.chars().next().and_then(|digit| digit.to_digit(8)) {
                Some(digit) => code = code * 8 + digit,
                None => break,
            }
            self.next();
        }
        code
    }

    /// `\x41` or `\x{1F600}`.
    fn hex(&mut self) -> Step<u32> {
        let bad = || "bad `\\x` escape".to_owned();
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').ok_or_else(bad)?,
            None => self.rest.split_at_checked(2).ok_or_else(bad)?,
        };
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).map_err(|_| bad())
    }

    /// A bracketed class; its `[` is behind the cursor.
    fn class(&mut self) -> Step {
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            self.class_item()?;
        }
        self.skip("]");
        self.out.push(']');
        Ok(())
    }

    fn class_item(&mut self) -> Step {
        let posix = self.rest.strip_prefix("[:").and_then(|inside| inside.split_once(":]"));
        if let Some((name, rest)) = posix {
            if !POSIX.contains(&name.trim_start_matches('^')) {
                return Err(format!("unknown class `[:{name}:]`"));
            }
            let _ = write!(self.out, "[:{name}:]");
            self.rest = rest;
            return Ok(());
        }
        if let Some(escape) = self.rest.strip_prefix('\\') {
            let letter = escape.chars().next().unwrap_or(' ');
            if let Some(ranges) = perl_class(letter) {
                self.rest = &escape[1..];
                let not = if letter.is_ascii_uppercase() { "^" } else { "" };
                let _ = write!(self.out, "[{not}{ranges}]");
                return Ok(());
            }
            if matches!(letter, 'p' | 'P') {
                self.rest = escape;
                return self.unicode_class();
            }
        }
        let low = self.class_char()?;
        let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
        let high = if is_range && self.skip("-") { self.class_char()? } else { low };
        if low > high {
            return Err(format!("bad range `{low}-{high}`"));
        }
        let _ = write!(self.out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high));
        Ok(())
    }

    fn class_char(&mut self) -> Step<char> {
        match self.next() {
            None => Err("a `[` is not closed".to_owned()),
            Some('\\') => self.escaped_char(),
            Some(char) => Ok(char),
        }
    }
}

/// Refuses repetitions inside repetitions that together repeat too often, as RE2 does.
fn check_repetitions(translated: &str) -> Step {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(MAX_REGEX_NESTING).build();
    // What cannot be parsed is reported when it is compiled.
    let Ok(parsed) = { parsed }.parse(translated) else { return Ok(()) };
    ast::visit(&parsed, Repetitions { allowed: vec![MAX_REGEX_REPEAT] })
}

/// How often what stands at each level around the present place may still be repeated.
struct Repetitions {
    allowed: Vec<u32>,
}

fn repeated(ast: &Ast) -> Option<u32> {
    let Ast::Repetition(repetition) = ast else { return None };
    match &repetition.op.kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(count)
            | RepetitionRange::AtLeast(count)
            | RepetitionRange::Bounded(_, count),
        ) => Some((*count).max(1)),
        _ => None,
    }
}

impl ast::Visitor for Repetitions {
    type Output = ();
    type Err = String;

    fn finish(self) -> Step {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Step {
        if let Some(count) = repeated(ast) {
            let allowed = self.allowed.last().copied().unwrap_or(0) / count;
            if allowed == 0 {
                return Err(format!(
                    "repetitions inside each other repeat at most {MAX_REGEX_REPEAT} times"
                ));
            }
            self.allowed.push(allowed);
        }
        Ok(())
    }

    fn visit_post(&mut self, ast: &Ast) -> Step {
        if repeated(ast).is_some() {
            self.allowed.pop();
        }
        Ok(())
    }
}

/// The repetition that `text` starts with, and its higher count: none if that is no small number.
fn repetition(text: &str) -> Option<(&str, Option<u32>)> {
    let end = text.find('}')?;
    let inside = text.get(1..end)?;
    let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if low.is_empty() || !digits(low) || !digits(high) {
        return None;
    }
    let highest = if high.is_empty() { low } else { high };
    let counts = low.parse::<u32>().ok().zip(highest.parse::<u32>().ok());
    Some((&text[..=end], counts.map(|(low, high)| low.max(high))))
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
        ] {
            let found =
                Pattern::new(pattern, MAX_REGEX_PROGRAM).map(|pattern| pattern.is_match(text));
            assert_eq!(found, Ok(expected), "{pattern} on {text}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for (pattern, said) in [
            ("(", "bad regular expression: unclosed group"),
            ("[a", "bad regular expression: a `[` is not closed"),
            ("a**", "bad regular expression: nothing to repeat before `*`"),
            ("a{1001}", "bad regular expression: a repetition is at most 1000"),
            ("a{99999999999}", "bad regular expression: a repetition is at most 1000"),
            ("(?x)a", "bad regular expression: unknown flag `x`"),
            (r"\p{Letter}", "bad regular expression: Unicode property value not found"),
            (r"\p{greek}", "bad regular expression: unknown Unicode class `greek`"),
            (r"\_", "bad regular expression: unknown escape `\\_`"),
            (r"\8", "bad regular expression: unknown escape `\\8`"),
            (r"\Z", "bad regular expression: unknown escape `\\Z`"),
            ("(?P<a>x)(?P<a>y)", "bad regular expression: group name `a` stands twice"),
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
