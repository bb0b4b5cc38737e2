//! Regular expressions as functions: `matches`, and the extension that replaces and extracts. See
//! `pattern.rs` for the patterns.

use std::sync::Arc;

use super::super::error::EvalError;
use super::super::limits::{MAX_DYNAMIC_REGEX, MAX_DYNAMIC_REGEX_PROGRAM, price};
use super::super::value::{Text, Value};
use super::automaton::Use;
use super::pattern::{Captures, Pattern};
use super::{Budget, Outcome, refuse};

/// What a function compiles its pattern for.
pub(in super::super) fn used_for(name: &str) -> Use {
    match name {
        "matches" => Use::Test,
        _ => Use::Capture,
    }
}

/// A function of a compiled pattern and the arguments beside it.
pub(in super::super) type Implementation =
    for<'a> fn(&Pattern, &[Value<'a>], &mut Budget) -> Outcome<'a>;

/// What runs a function whose second argument is a pattern, once that is compiled.
pub(in super::super) fn implementation(name: &str) -> Option<Implementation> {
    match name {
        "matches" => Some(matches_pattern),
        "regex.replace" => Some(replace_pattern),
        "regex.extract" => Some(extract_pattern),
        "regex.extractAll" => Some(extract_all_pattern),
        _ => None,
    }
}

/// Compiles a pattern that is not a constant.
fn dynamic<'a>(
    name: &'static str,
    arguments: &[Value<'a>],
    budget: &mut Budget,
    run: Implementation,
) -> Outcome<'a> {
    let [text, Value::String(pattern), rest @ ..] = arguments else {
        return refuse(name, arguments);
    };
    if pattern.len() > MAX_DYNAMIC_REGEX {
        let what = "bytes of a regular expression that is not a constant";
        return Err(EvalError::Limit(MAX_DYNAMIC_REGEX, what));
    }
    let length = pattern.len() as u64;
    budget.work(price::DYNAMIC_REGEX + length * price::DYNAMIC_REGEX_BYTE)?;
    let used = match used_for(name) {
        Use::Test => Use::TestOnce,
        other => other,
    };
    let pattern = Pattern::new(pattern, MAX_DYNAMIC_REGEX_PROGRAM, used)?;
    let others: Vec<_> = std::iter::once(text).chain(rest).cloned().collect();
    run(&pattern, &others, budget)
}

pub(in super::super) fn matches<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    dynamic("matches", arguments, budget, matches_pattern)
}

pub(in super::super) fn replace<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    dynamic("regex.replace", arguments, budget, replace_pattern)
}

pub(in super::super) fn extract<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    dynamic("regex.extract", arguments, budget, extract_pattern)
}

pub(in super::super) fn extract_all<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    dynamic("regex.extractAll", arguments, budget, extract_all_pattern)
}

fn matches_pattern<'a>(
    pattern: &Pattern,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::String(text)] = arguments else { return refuse("matches", arguments) };
    Ok(Value::Bool(pattern.is_match(text, budget)?))
}

/// Replaces all matches, or the first few; `\1` in the replacement is the first group.
fn replace_pattern<'a>(
    pattern: &Pattern,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let (text, by, limit) = match arguments {
        [Value::String(text), Value::String(by)] => (text, by, usize::MAX),
        [Value::String(text), Value::String(by), Value::Int(limit)] => {
            (text, by, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        _ => return refuse("regex.replace", arguments),
    };
    let parts = replacement(by, pattern)?;
    let (mut made, mut after, mut left) = (Vec::new(), 0, limit);
    if limit > 0 {
        pattern.captures(text, budget, |captures, budget| {
            let Some(whole) = captures.place(0) else { return Ok(false) };
            made.extend_from_slice(&text.as_bytes()[after..whole.start]);
            for part in &parts {
                let bytes = part.of(captures);
                budget.build(bytes.len())?;
                made.extend_from_slice(bytes);
            }
            after = whole.end;
            left -= 1;
            Ok(left > 0)
        })?;
    }
    made.extend_from_slice(&text.as_bytes()[after..]);
    budget.build(text.len())?;
    let made = String::from_utf8(made).map_err(|_| inside_a_character())?;
    Ok(Value::String(Text::Shared(made.into())))
}

/// A part of a replacement.
enum Part {
    Text(String),
    Group(usize),
}

impl Part {
    fn of<'t>(&'t self, captures: &Captures<'t, '_>) -> &'t [u8] {
        match self {
            Part::Text(text) => text.as_bytes(),
            Part::Group(group) => captures.bytes(*group),
        }
    }
}

/// Reads `\0` to `\9` and `\\` in a replacement.
fn replacement(by: &str, pattern: &Pattern) -> Result<Vec<Part>, EvalError> {
    let wrong = |what: String| EvalError::Invalid(format!("`regex.replace`: {what}").into());
    let mut parts = Vec::new();
    let mut chars = by.chars();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        if char != '\\' {
            plain.push(char);
            continue;
        }
        match chars.next() {
            Some('\\') => plain.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = digit as usize - '0' as usize;
                if group > pattern.groups() {
                    return Err(wrong(format!("the pattern has no group {group}")));
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Group(group));
            }
            _ => return Err(wrong("a `\\` needs a digit or another `\\` after it".to_owned())),
        }
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// The first match, or its group if the pattern has one.
fn extract_pattern<'a>(
    pattern: &Pattern,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::String(text)] = arguments else { return refuse("regex.extract", arguments) };
    let group = only_group(pattern)?;
    let mut found = None;
    pattern.captures(text, budget, |captures, _| {
        found = captures.place(group);
        Ok(false)
    })?;
    match found {
        Some(found) => Ok(Value::some(part_of(text, found, budget)?)),
        None => Ok(Value::Optional(None)),
    }
}

/// All matches, or their groups.
fn extract_all_pattern<'a>(
    pattern: &Pattern,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::String(text)] = arguments else { return refuse("regex.extractAll", arguments) };
    let group = only_group(pattern)?;
    let mut parts = Vec::new();
    pattern.captures(text, budget, |captures, budget| {
        if let Some(found) = captures.place(group) {
            budget.build_list(1)?;
            parts.push(part_of(text, found, budget)?);
        }
        Ok(true)
    })?;
    Ok(Value::List(parts.into()))
}

fn only_group(pattern: &Pattern) -> Result<usize, EvalError> {
    match pattern.groups() {
        groups @ (0 | 1) => Ok(groups),
        groups => {
            let message = format!("a pattern to extract has at most one group, not {groups}");
            Err(EvalError::Invalid(message.into()))
        }
    }
}

fn part_of<'a>(text: &str, range: std::ops::Range<usize>, budget: &mut Budget) -> Outcome<'a> {
    let part = text.get(range).ok_or_else(inside_a_character)?;
    budget.build(part.len())?;
    Ok(Value::String(Text::Shared(Arc::from(part))))
}

/// Only `\C` matches a part of a character.
fn inside_a_character() -> EvalError {
    EvalError::Invalid("the match ends inside a character".into())
}
