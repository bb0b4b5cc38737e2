//! From RE2's syntax of regular expressions to that of the `regex` crate, token by token.
//!
//! The crate's classes are Unicode where RE2's are ASCII, and its character classes have set
//! operations. What only one of the two has is refused or spelled out. The pattern that comes out
//! may still be refused by the crate, for what both refuse.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use icu_properties::props::Script;
use icu_properties::{PropertyNamesLong, PropertyParser};
use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};

use super::super::limits::{MAX_REGEX_NESTING, MAX_REGEX_REPEAT};

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

/// Whether RE2 has a class for a general category, or group of them, by this name. Unicode promises
/// never to add one. Of those it has, RE2 leaves out `Cn`, characters that are not assigned, and `LC`.
fn is_category(name: &str) -> bool {
    let (group, rest) = name.split_at_checked(1).unwrap_or_default();
    let members = match group {
        "C" => ["", "c", "f", "o"].as_slice(),
        "L" => &["", "l", "m", "o", "t", "u"],
        "M" => &["", "c", "e", "n"],
        "N" => &["", "d", "l", "o"],
        "P" => &["", "c", "d", "e", "f", "i", "o", "s"],
        "S" => &["", "c", "k", "m", "o"],
        "Z" => &["", "l", "p", "s"],
        _ => &[],
    };
    members.contains(&rest)
}

/// Whether RE2 knows a script by this name: by Unicode's long one, spelled as there. The crate takes
/// short names and other spellings too.
fn is_script(name: &str) -> bool {
    let script = PropertyParser::<Script>::new().get_strict(name);
    let long = script.and_then(|script| PropertyNamesLong::<Script>::new().get(script));
    // These two are values of the property, but no script that a character has alone.
    long == Some(name) && !matches!(name, "Unknown" | "Katakana_Or_Hiragana")
}

type Step<T = ()> = Result<T, String>;

/// A class that no character is in.
const NOTHING: &str = r"\P{any}";

/// Code points that UTF-8 has no encoding of: RE2 takes them in patterns, and they match nothing.
const SURROGATES: RangeInclusive<u32> = 0xD800..=0xDFFF;

/// Rewrites a pattern. An error says what RE2 refuses in it.
pub(super) fn translate(pattern: &str) -> Step<String> {
    let out = String::with_capacity(pattern.len() + 16);
    let translated = Translator { rest: pattern, out }.translate()?;
    check_repetitions(&translated)?;
    Ok(translated)
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
}

impl Translator<'_> {
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

    /// The character of a code point.
    fn code(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(char) => self.literal(char),
            None => self.out.push_str(NOTHING),
        }
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
        if highest > MAX_REGEX_REPEAT {
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
            let (name, rest) = named.split_once('>').ok_or("a group's name is not closed")?;
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(format!("bad group name `{name}`"));
            }
            // Groups are numbered, so that the name goes.
            self.rest = rest;
            return Ok(());
        }
        let length = self.rest.find([':', ')']).ok_or("a group is not closed")?;
        let (text, rest) = self.rest.split_at(length);
        self.out.push('?');
        self.out.push_str(&flags(text)?);
        self.rest = rest;
        if self.skip(":") {
            self.out.push(':');
        } else if self.out.ends_with('?') {
            // `(?)` sets nothing; the crate has no such group.
            self.out.push(':');
        }
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
                let code = self.escaped_code()?;
                self.code(code);
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
        let (class, negative) = match name {
            "Any" => ("any".to_owned(), negative),
            // Surrogates are no characters: their class has none.
            "Cs" => ("any".to_owned(), !negative),
            // The crate's `C` has the characters that are not assigned too.
            "C" => {
                let not = if negative { "^" } else { "" };
                let _ = write!(self.out, r"[{not}\p{{Cc}}\p{{Cf}}\p{{Co}}]");
                return Ok(());
            }
            name if is_category(name) => (name.to_owned(), negative),
            name if is_script(name) => (format!("Script={name}"), negative),
            _ => return Err(format!("unknown Unicode class `{name}`")),
        };
        let _ = write!(self.out, "\\{}{{{class}}}", if negative { 'P' } else { 'p' });
        Ok(())
    }

    /// The code point that an escape stands for; the backslash is behind the cursor.
    fn escaped_code(&mut self) -> Step<u32> {
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
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => u32::from(char),
            char => return Err(format!("unknown escape `\\{char}`")),
        };
        if code > u32::from(char::MAX) {
            return Err(format!("U+{code:04X} is no Unicode character"));
        }
        Ok(code)
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
            if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
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
        let low = self.class_code()?;
        let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
        let high = if is_range && self.skip("-") { self.class_code()? } else { low };
        if low > high {
            return Err(format!("bad range `{}-{}`", shown(low), shown(high)));
        }
        // The crate's ranges neither start nor end among the surrogates.
        let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
        let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
        if low > high {
            self.out.push_str(NOTHING);
        } else {
            let _ = write!(self.out, "\\x{{{low:x}}}-\\x{{{high:x}}}");
        }
        Ok(())
    }

    fn class_code(&mut self) -> Step<u32> {
        match self.next() {
            None => Err("a `[` is not closed".to_owned()),
            Some('\\') => self.escaped_code(),
            Some(char) => Ok(u32::from(char)),
        }
    }
}

fn shown(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The flags of a group such as `(?i-s:…)`, each once: RE2 takes them one after the other, so that
/// the last word on each counts.
fn flags(text: &str) -> Step<String> {
    let (mut set, mut cleared) = (String::new(), String::new());
    let mut clearing = false;
    for flag in text.chars() {
        match flag {
            '-' if !clearing => clearing = true,
            'i' | 'm' | 's' | 'U' => {
                let (to, from) =
                    if clearing { (&mut cleared, &mut set) } else { (&mut set, &mut cleared) };
                from.retain(|other| other != flag);
                if !to.contains(flag) {
                    to.push(flag);
                }
            }
            flag => return Err(format!("unknown flag `{flag}`")),
        }
    }
    if clearing && cleared.is_empty() {
        return Err("a `-` without a flag after it".to_owned());
    }
    Ok(if clearing { format!("{set}-{cleared}") } else { set })
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

/// The repetition that `text` starts with, and its higher count. Like RE2 it takes no leading zeros
/// and no more than nine digits: what has them stands for itself.
fn repetition(text: &str) -> Option<(&str, u32)> {
    let end = text.find('}')?;
    let inside = text.get(1..end)?;
    let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
    let low = count(low)?;
    let high = if high.is_empty() { low } else { count(high)? };
    Some((&text[..=end], low.max(high)))
}

fn count(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let short = text.len() <= 9 && (text.len() == 1 || !text.starts_with('0'));
    if plain && short { text.parse().ok() } else { None }
}
