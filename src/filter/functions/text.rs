//! Text: what it contains, its parts, places and case. Places count characters, not bytes.

use super::super::error::EvalError;
use super::super::value::{Text, Value};
use super::{Budget, Outcome, refuse};

pub(in super::super) fn contains<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(part)] => {
            budget.search(text.len() + part.len())?;
            Ok(Value::Bool(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()))
        }
        _ => refuse("contains", arguments),
    }
}

pub(in super::super) fn starts_with<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(start)] => {
            budget.compare(start.len())?;
            Ok(Value::Bool(text.starts_with(&**start)))
        }
        _ => refuse("startsWith", arguments),
    }
}

pub(in super::super) fn ends_with<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text), Value::String(end)] => {
            budget.compare(end.len())?;
            Ok(Value::Bool(text.ends_with(&**end)))
        }
        _ => refuse("endsWith", arguments),
    }
}

fn text<'a>(made: String, budget: &mut Budget) -> Outcome<'a> {
    budget.build(made.len())?;
    Ok(Value::String(Text::Shared(made.into())))
}

fn out_of_range(place: i64) -> EvalError {
    EvalError::NoSuchIndex(place)
}

/// The byte at which the character of a number starts; the end of the text counts too.
fn byte_of(text: &str, place: i64) -> Result<usize, EvalError> {
    let wanted = usize::try_from(place).map_err(|_| out_of_range(place))?;
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.nth(wanted).ok_or_else(|| out_of_range(place))
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

pub(in super::super) fn char_at<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::String(of), Value::Int(place)] = arguments else {
        return refuse("charAt", arguments);
    };
    budget.search(of.len())?;
    let rest = &of[byte_of(of, *place)?..];
    text(rest.chars().take(1).collect(), budget)
}

pub(in super::super) fn index_of<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (of, part, from) = match arguments {
        [Value::String(of), Value::String(part)] => (of, part, 0),
        [Value::String(of), Value::String(part), Value::Int(from)] => (of, part, *from),
        _ => return refuse("indexOf", arguments),
    };
    budget.search(2 * of.len() + part.len())?;
    let start = byte_of(of, from)?;
    let found = of[start..].find(&**part).map(|at| from + count(&of[start..start + at]));
    Ok(Value::Int(found.unwrap_or(-1)))
}

/// The last place at or before the one that is given.
pub(in super::super) fn last_index_of<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let (of, part, from) = match arguments {
        [Value::String(of), Value::String(part)] => (of, part, None),
        [Value::String(of), Value::String(part), Value::Int(from)] => (of, part, Some(*from)),
        _ => return refuse("lastIndexOf", arguments),
    };
    budget.search(5 * of.len() + part.len())?;
    let end = match from {
        None => of.len(),
        Some(from) => {
            let end = byte_of(of, from)?.saturating_add(part.len()).min(of.len());
            // A match may end inside a character only if it does not start at the place.
            of.floor_char_boundary(end)
        }
    };
    let found = of[..end].rfind(&**part).map(|at| count(&of[..at]));
    Ok(Value::Int(found.unwrap_or(-1)))
}

pub(in super::super) fn lower_ascii<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match arguments {
        [Value::String(of)] => {
            budget.search(of.len())?;
            text(of.to_ascii_lowercase(), budget)
        }
        _ => refuse("lowerAscii", arguments),
    }
}

pub(in super::super) fn upper_ascii<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match arguments {
        [Value::String(of)] => {
            budget.search(of.len())?;
            text(of.to_ascii_uppercase(), budget)
        }
        _ => refuse("upperAscii", arguments),
    }
}

/// At most so many replacements or parts; a negative number means all.
fn at_most(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(in super::super) fn replace<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (of, part, by, limit) = match arguments {
        [Value::String(of), Value::String(part), Value::String(by)] => (of, part, by, usize::MAX),
        [Value::String(of), Value::String(part), Value::String(by), Value::Int(limit)] => {
            (of, part, by, at_most(*limit))
        }
        _ => return refuse("replace", arguments),
    };
    budget.search(10 * of.len() + part.len())?;
    // What it makes is counted before it is made: the text may grow without end.
    let times = of.matches(&**part).count().min(limit);
    budget.build(of.len().saturating_add(times.saturating_mul(by.len())))?;
    Ok(Value::String(Text::Shared(of.replacen(&**part, by, times).into())))
}

pub(in super::super) fn split<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (of, by, limit) = match arguments {
        [Value::String(of), Value::String(by)] => (of, by, usize::MAX),
        [Value::String(of), Value::String(by), Value::Int(limit)] => (of, by, at_most(*limit)),
        _ => return refuse("split", arguments),
    };
    budget.search(of.len() + by.len())?;
    budget.build(of.len())?;
    let mut parts = Vec::new();
    let mut rest: &str = of;
    // Without a separator every character is a part, and an empty text has none.
    let mut more = limit > 0 && !(by.is_empty() && of.is_empty());
    while more {
        let cut = if parts.len() + 1 == limit {
            None
        } else if by.is_empty() {
            let first = rest.chars().next().map_or(0, char::len_utf8);
            rest.split_at_checked(first).filter(|(_, after)| !after.is_empty())
        } else {
            // The search for a separator prepares by its length.
            budget.search(by.len())?;
            rest.split_once(&**by)
        };
        budget.build_list(1)?;
        let (part, after) = cut.unwrap_or((rest, ""));
        parts.push(Value::string(part));
        (rest, more) = (after, cut.is_some());
    }
    Ok(Value::List(parts.into()))
}

pub(in super::super) fn join<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (items, between) = match arguments {
        [Value::List(items)] => (items, ""),
        [Value::List(items), Value::String(between)] => (items, &**between),
        _ => return refuse("join", arguments),
    };
    let mut made = String::new();
    for (at, item) in items.iter().enumerate() {
        let Value::String(item) = item else { return refuse("join", arguments) };
        budget.search_list(1)?;
        let between = if at == 0 { "" } else { between };
        budget.build(between.len() + item.len())?;
        made.push_str(between);
        made.push_str(item);
    }
    Ok(Value::String(Text::Shared(made.into())))
}

pub(in super::super) fn substring<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (of, from, to) = match arguments {
        [Value::String(of), Value::Int(from)] => (of, *from, None),
        [Value::String(of), Value::Int(from), Value::Int(to)] => (of, *from, Some(*to)),
        _ => return refuse("substring", arguments),
    };
    budget.search(of.len())?;
    let start = byte_of(of, from)?;
    let end = to.map_or(Ok(of.len()), |to| byte_of(of, to))?;
    let part = of.get(start..end).ok_or_else(|| out_of_range(from))?;
    text(part.to_owned(), budget)
}

/// Unicode's white space, which does not include the zero-width characters.
pub(in super::super) fn trim<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(of)] => {
            budget.search(4 * of.len())?;
            text(of.trim().to_owned(), budget)
        }
        _ => refuse("trim", arguments),
    }
}

/// The text as a literal that reads back as itself.
pub(in super::super) fn quote<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(of)] => {
            budget.search(4 * of.len())?;
            text(quoted(of), budget)
        }
        _ => refuse("strings.quote", arguments),
    }
}

fn quoted(of: &str) -> String {
    let mut made = String::with_capacity(of.len() + 2);
    made.push('"');
    for char in of.chars() {
        let escaped = match char {
            '\x07' => 'a',
            '\x08' => 'b',
            '\x0C' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\x0B' => 'v',
            '\\' | '"' => char,
            plain => {
                made.push(plain);
                continue;
            }
        };
        made.push('\\');
        made.push(escaped);
    }
    made.push('"');
    made
}
