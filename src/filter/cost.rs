//! What a filter costs at most, estimated before it runs, in the units of CEL's cost model.
//!
//! A unit is a comparison or a selection; work on text costs by its length, work on lists by their
//! items. What an event may hold is not known, so that each field counts with the size in
//! `EVENT_TEXT` and `EVENT_ITEMS`: events may be larger, and the budget of the evaluation then
//! stops what costs too much. The estimate refuses filters that are costly by their text.

use super::limits::{EVENT_ITEM, EVENT_ITEMS, EVENT_TEXT};
use super::node::{Call, FoldNode, Node};
use super::tree::Fold;
use super::value::Value;

/// The cost of a part, and the size of what it gives.
#[derive(Clone, Copy, Default)]
struct Estimate {
    cost: u64,
    /// Characters of a text or items of a list or map.
    size: u64,
}

/// The most that an expression costs on an event of the stated size.
pub(super) fn estimate(node: &Node) -> u64 {
    Estimator { locals: Vec::new() }.of(node).cost
}

struct Estimator {
    /// The sizes of the variables of macros around the present node.
    locals: Vec<u64>,
}

fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

fn sized(cost: u64, size: u64) -> Estimate {
    Estimate { cost, size }
}

/// The size of a constant.
fn size_of(value: &Value<'_>) -> u64 {
    let size = match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Optional(Some(held)) => return size_of(held),
        _ => 1,
    };
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Estimator {
    fn of(&mut self, node: &Node) -> Estimate {
        match node {
            Node::Constant(value) => sized(0, size_of(value)),
            Node::Fails(_) => sized(0, 1),
            Node::Local(depth) => sized(1, self.locals.get(*depth).copied().unwrap_or(EVENT_TEXT)),
            Node::Variable(_) | Node::Field(_) => sized(1, EVENT_TEXT),
            Node::Presence(_) => sized(1, 1),
            Node::Select(operand, _) | Node::OptionalSelect(operand, _) => {
                let operand = self.of(operand);
                sized(operand.cost.saturating_add(1), operand.size)
            }
            Node::HasKey(operand, _) => sized(self.of(operand).cost.saturating_add(1), 1),
            Node::And(items) | Node::Or(items) => sized(self.all(items).cost, 1),
            Node::Ternary(parts) => {
                let [condition, then, otherwise] = &**parts;
                let (then, otherwise) = (self.of(then), self.of(otherwise));
                let cost = self.of(condition).cost.saturating_add(then.cost.max(otherwise.cost));
                sized(cost, then.size.max(otherwise.size))
            }
            Node::Call(call) => self.call(call),
            Node::Matches(text, pattern) => {
                let text = self.of(text);
                sized(text.cost.saturating_add(search(text.size, pattern.length())), 1)
            }
            Node::Regex(call) => {
                let arguments = self.all(&call.arguments);
                let work = search(arguments.size, call.pattern.length());
                sized(arguments.cost.saturating_add(work), arguments.size)
            }
            Node::OrElse { optional, other, .. } => {
                let (optional, other) = (self.of(optional), self.of(other));
                let cost = optional.cost.saturating_add(other.cost).saturating_add(1);
                sized(cost, optional.size.max(other.size))
            }
            Node::List(items) => {
                let cost = items.iter().map(|item| self.of(&item.value).cost);
                sized(cost.fold(10, u64::saturating_add), items.len() as u64)
            }
            Node::Map(entries) => {
                let costs: Vec<u64> = entries
                    .iter()
                    .flat_map(|entry| [&entry.key, &entry.value])
                    .map(|node| self.of(node).cost)
                    .collect();
                sized(costs.into_iter().fold(30, u64::saturating_add), entries.len() as u64)
            }
            Node::Comprehension(fold) => self.comprehension(fold),
            Node::Bind(bind) => {
                let value = self.of(&bind.value);
                self.locals.push(value.size);
                let body = self.of(&bind.body);
                self.locals.pop();
                sized(value.cost.saturating_add(body.cost).saturating_add(1), body.size)
            }
        }
    }

    /// The costs together, and the sizes together.
    fn all(&mut self, nodes: &[Node]) -> Estimate {
        nodes.iter().fold(Estimate::default(), |sum, node| {
            let one = self.of(node);
            sized(sum.cost.saturating_add(one.cost), sum.size.saturating_add(one.size))
        })
    }

    fn call(&mut self, call: &Call) -> Estimate {
        let arguments: Vec<Estimate> = call.arguments.iter().map(|node| self.of(node)).collect();
        let cost = arguments.iter().fold(0, |sum: u64, it| sum.saturating_add(it.cost));
        let size = |at: usize| arguments.get(at).map_or(1, |it| it.size);
        let both = size(0).saturating_add(size(1));
        let (work, result) = match call.function {
            "==" | "!=" | "<" | "<=" | ">" | ">=" => (tenth(size(0).min(size(1))), 1),
            "in" => (size(1).min(call_items(&call.arguments)), 1),
            "startsWith" | "endsWith" => (tenth(size(1)), 1),
            "contains" => (tenth(size(0)).saturating_mul(tenth(size(1))), 1),
            "matches" => (search(size(0), size(1)), 1),
            "+" => (tenth(both), both),
            "[]" | "[?]" => (1, EVENT_TEXT),
            "lists.range" => (EVENT_ITEMS, EVENT_ITEMS),
            "sort" | "distinct" | "flatten" | "sets.contains" | "sets.equivalent"
            | "sets.intersects" => {
                let items = size(0).min(EVENT_ITEMS);
                (items.saturating_mul(size(1).clamp(items, EVENT_ITEMS)), size(0))
            }
            "replace" | "split" | "join" | "format" | "strings.quote" | "regex.replace"
            | "regex.extract" | "regex.extractAll" => (tenth(both), both),
            _ => (1, size(0)),
        };
        sized(cost.saturating_add(work.max(1)), result)
    }

    fn comprehension(&mut self, fold: &FoldNode) -> Estimate {
        let range = self.of(&fold.range);
        let items = match &fold.range {
            Node::Constant(_) | Node::List(_) | Node::Map(_) => range.size,
            _ => range.size.min(EVENT_ITEMS),
        };
        let outside = self.locals.len();
        let item = match &fold.range {
            Node::Constant(Value::List(items)) => items.iter().map(size_of).max().unwrap_or(0),
            _ => EVENT_ITEM,
        };
        self.locals.push(item);
        if fold.pairs {
            self.locals.push(item);
        }
        let condition = fold.condition.as_ref().map_or(0, |node| self.of(node).cost);
        let body = self.of(&fold.body).cost;
        self.locals.truncate(outside);
        let step = condition.saturating_add(body).saturating_add(1);
        let cost = range.cost.saturating_add(items.saturating_mul(step));
        let result = match fold.fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => 1,
            _ => items,
        };
        sized(cost, result)
    }
}

/// The items of the list that `in` searches: what is written out counts as it is.
fn call_items(arguments: &[Node]) -> u64 {
    match arguments.get(1) {
        Some(Node::Constant(_) | Node::List(_)) => u64::MAX,
        _ => EVENT_ITEMS,
    }
}

/// Searching a text of this size for a pattern of this length.
fn search(text: u64, pattern: u64) -> u64 {
    tenth(text.saturating_add(1)).saturating_mul(pattern.div_ceil(4).max(1))
}
