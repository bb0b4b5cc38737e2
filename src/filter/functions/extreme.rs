//! The greatest and the least of some numbers, whatever their types.

use std::cmp::Ordering;

use super::super::error::EvalError;
use super::super::value::{Value, compare};
use super::{Budget, Outcome, refuse};

pub(in super::super) fn greatest<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    extreme("math.greatest", arguments, budget, Ordering::Greater)
}

pub(in super::super) fn least<'a>(arguments: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    extreme("math.least", arguments, budget, Ordering::Less)
}

/// The result keeps the type of the number that wins; the first of equal ones wins.
fn extreme<'a>(
    name: &'static str,
    arguments: &[Value<'a>],
    budget: &mut Budget,
    winning: Ordering,
) -> Outcome<'a> {
    let numbers = match arguments {
        [Value::List(items)] => {
            budget.search_list(items.len())?;
            &**items
        }
        plain => plain,
    };
    let is_number =
        |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    if !numbers.iter().all(is_number) {
        return refuse(name, numbers);
    }
    let mut numbers = numbers.iter();
    let Some(mut winner) = numbers.next() else {
        return Err(EvalError::Invalid(format!("`{name}` of an empty list").into()));
    };
    for number in numbers {
        if compare(name, number, winner)? == Some(winning) {
            winner = number;
        }
    }
    Ok(winner.clone())
}
