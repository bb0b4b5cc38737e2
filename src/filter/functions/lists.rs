//! The extensions of lists and sets. Work on all pairs of items is paid for pair by pair.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::error::EvalError;
use super::super::value::{Text, Value, compare};
use super::{Budget, Outcome, refuse};

/// Of a text its characters, of a list its items, in the opposite order.
pub(in super::super) fn reverse<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => {
            budget.search(4 * text.len())?;
            budget.build(text.len())?;
            let reversed: String = text.chars().rev().collect();
            Ok(Value::String(Text::Shared(reversed.into())))
        }
        [Value::List(items)] => {
            budget.build_list(items.len())?;
            Ok(Value::List(items.iter().rev().cloned().collect()))
        }
        _ => refuse("reverse", arguments),
    }
}

pub(in super::super) fn slice<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::List(items), Value::Int(from), Value::Int(to)] = arguments else {
        return refuse("slice", arguments);
    };
    let place = |place: i64| usize::try_from(place).map_err(|_| EvalError::NoSuchIndex(place));
    let part = items.get(place(*from)?..place(*to)?).ok_or(EvalError::NoSuchIndex(*to))?;
    budget.build_list(part.len())?;
    Ok(Value::List(part.into()))
}

/// Lists inside the list give way to their items, to a depth of one or of the one given.
pub(in super::super) fn flatten<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let (items, depth) = match arguments {
        [Value::List(items)] => (items, 1),
        [Value::List(items), Value::Int(depth)] => (items, *depth),
        _ => return refuse("flatten", arguments),
    };
    if depth < 0 {
        return Err(EvalError::Invalid("`flatten` needs a depth of 0 or more".into()));
    }
    // No recursion: what is still to do is kept in a list of its own.
    let mut open = vec![(items.clone(), 0usize)];
    let mut flat = Vec::new();
    while let Some((items, at)) = open.pop() {
        let Some(item) = items.get(at).cloned() else { continue };
        open.push((items, at + 1));
        budget.build_list(1)?;
        match item {
            Value::List(inner) if i64::try_from(open.len()).is_ok_and(|level| level <= depth) => {
                open.push((inner, 0));
            }
            item => flat.push(item),
        }
    }
    Ok(Value::List(flat.into()))
}

/// The items without those that equal an earlier one.
pub(in super::super) fn distinct<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::List(items)] = arguments else { return refuse("distinct", arguments) };
    budget.build_list(items.len())?;
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items.iter() {
        if !contains(&kept, item, budget)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::List(kept.into()))
}

/// Items of one type that has an order, in that order.
pub(in super::super) fn sort<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let [Value::List(items)] = arguments else { return refuse("sort", arguments) };
    let keyed = items.iter().map(|item| (item.clone(), item.clone())).collect();
    sorted_by(keyed, budget).map(|items| Value::List(items.into()))
}

/// The first of each pair, in the order of the second.
pub(in super::super) fn sorted_by<'a>(
    mut keyed: Vec<(Value<'a>, Value<'a>)>,
    budget: &mut Budget,
) -> Result<Vec<Value<'a>>, EvalError> {
    budget.build_list(keyed.len())?;
    // Each is compared with about as many others as their number has digits in binary.
    let rounds = 1 + keyed.len().checked_ilog2().unwrap_or(0) as usize;
    budget.search_list(keyed.len().saturating_mul(2 * rounds))?;
    let bytes = keyed.iter().map(|(_, key)| match key {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    budget.compare(bytes.sum::<usize>().saturating_mul(rounds))?;
    let mut error = None;
    if let [(_, only)] = keyed.as_slice() {
        compare("sort", only, only)?;
    }
    keyed.sort_by(|(_, a), (_, b)| match compare("sort", a, b) {
        Ok(order) if a.type_name() == b.type_name() => order.unwrap_or(Ordering::Equal),
        Ok(_) => {
            error.get_or_insert(super::no_overload("sort", &[a, b]));
            Ordering::Equal
        }
        Err(found) => {
            error.get_or_insert(found);
            Ordering::Equal
        }
    });
    match error {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(item, _)| item).collect()),
    }
}

/// The ints from 0 up to the number, without it.
pub(in super::super) fn range<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Int(end)] => {
            let length = usize::try_from((*end).max(0)).unwrap_or(usize::MAX);
            budget.build_list(length)?;
            Ok(Value::List((0..*end).map(Value::Int).collect()))
        }
        _ => refuse("lists.range", arguments),
    }
}

pub(in super::super) fn first<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::List(items)] => Ok(Value::Optional(items.first().cloned().map(Arc::new))),
        _ => refuse("first", arguments),
    }
}

pub(in super::super) fn last<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::List(items)] => Ok(Value::Optional(items.last().cloned().map(Arc::new))),
        _ => refuse("last", arguments),
    }
}

fn contains(
    items: &[Value<'_>],
    wanted: &Value<'_>,
    budget: &mut Budget,
) -> Result<bool, EvalError> {
    for item in items {
        budget.search_list(1)?;
        if budget.equal(item, wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the first list has every item of the second.
fn covers(all: &[Value<'_>], some: &[Value<'_>], budget: &mut Budget) -> Result<bool, EvalError> {
    for item in some {
        if !contains(all, item, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(in super::super) fn set_contains<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match arguments {
        [Value::List(all), Value::List(some)] => Ok(Value::Bool(covers(all, some, budget)?)),
        _ => refuse("sets.contains", arguments),
    }
}

pub(in super::super) fn set_equivalent<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match arguments {
        [Value::List(a), Value::List(b)] => {
            Ok(Value::Bool(covers(a, b, budget)? && covers(b, a, budget)?))
        }
        _ => refuse("sets.equivalent", arguments),
    }
}

pub(in super::super) fn set_intersects<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::List(a), Value::List(b)] = arguments else {
        return refuse("sets.intersects", arguments);
    };
    for item in b.iter() {
        if contains(a, item, budget)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
