//! The general evaluator: walks a checked tree over the values of one event.
//!
//! It covers the whole language and is the measure of what a filter means; `program.rs` has a
//! faster way for the common shapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{FieldType, Slot, SlotId};

use super::error::EvalError;
use super::fields::Field;
use super::functions::Budget;
use super::functions::lists::sorted_by;
use super::limits::{MAX_EVALUATION_DEPTH, price};
use super::node::{BindNode, Call, FoldNode, Node};
use super::tree::{Binding, Element, Entry, Fold};
use super::value::{Key, Map, Value, no_overload};

/// Where names that are bound at run time get their values.
pub(super) enum Data<'n, 'e> {
    /// Fields, from an event's slots.
    Event { fields: &'n [(Field, SlotId)], slots: &'n [Slot<'e>] },
    /// Variables, by name.
    Bindings(&'n BTreeMap<String, Value<'e>>),
}

pub(super) struct Evaluation<'n, 'e> {
    data: Data<'n, 'e>,
    /// Lists and maps of the event that were read already: a comprehension may read one at each
    /// step.
    containers: Vec<(usize, Value<'e>)>,
    /// The variables of the macros around the present node, the outermost first.
    locals: Vec<Local<'n, 'e>>,
    /// The heights of the bound values that are being evaluated, together.
    depth: usize,
    /// What may still be spent.
    pub budget: Budget,
}

/// A variable of a macro.
enum Local<'n, 'e> {
    Value(Value<'e>),
    /// Of `cel.bind`: evaluated when it is first used.
    Pending(&'n BindNode),
    Failed(EvalError),
}

type Outcome<'e> = Result<Value<'e>, EvalError>;

impl<'n, 'e> Evaluation<'n, 'e> {
    pub fn new(data: Data<'n, 'e>, budget: Budget) -> Evaluation<'n, 'e> {
        let (containers, locals) = (Vec::new(), Vec::new());
        Evaluation { data, containers, locals, depth: 0, budget }
    }

    /// The value of a node.
    pub fn value(&mut self, node: &'n Node) -> Outcome<'e> {
        self.budget.work(price::NODE)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Variable(name) => match self.data {
                Data::Bindings(bindings) => bindings.get(&**name).cloned(),
                Data::Event { .. } => None,
            }
            .ok_or_else(|| EvalError::UnknownName((&**name).into())),
            Node::Local(depth) => self.local(*depth),
            Node::Field(number) => self.field(*number),
            Node::Presence(number) => self.is_present(*number).map(Value::Bool),
            Node::Select(operand, key) => match self.member(operand, key)? {
                Member::Of(found) => found.ok_or_else(|| EvalError::no_such_key(key)),
                Member::OfOptional(found) => Ok(Value::Optional(found.map(Arc::new))),
            },
            Node::OptionalSelect(operand, key) => {
                let found = self.member(operand, key)?.found();
                Ok(Value::Optional(found.map(Arc::new)))
            }
            Node::HasKey(operand, key) => {
                Ok(Value::Bool(self.member(operand, key)?.found().is_some()))
            }
            Node::And(items) => self.connect(items, false).map(Value::Bool),
            Node::Or(items) => self.connect(items, true).map(Value::Bool),
            Node::Ternary(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.truth(condition)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::Call(call) => self.call(call),
            Node::Matches(text, pattern) => match self.value(text)? {
                Value::String(text) => Ok(Value::Bool(pattern.is_match(&text, &mut self.budget)?)),
                other => Err(no_overload("matches", &[&other])),
            },
            Node::Regex(call) => {
                let arguments = self.values(&call.arguments)?;
                (call.run)(&call.pattern, &arguments, &mut self.budget)
            }
            Node::OrElse { optional, other, unwrap } => match self.value(optional)? {
                Value::Optional(None) => self.value(other),
                Value::Optional(Some(value)) if *unwrap => Ok((*value).clone()),
                value @ Value::Optional(_) => Ok(value),
                other => Err(no_overload("or", &[&other])),
            },
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Comprehension(fold) => self.comprehension(fold),
            Node::Bind(bind) => self.bind(bind),
            Node::Fails(error) => Err(error.clone()),
        }
    }

    /// The value of a node that must be true or false.
    pub fn truth(&mut self, node: &'n Node) -> Result<bool, EvalError> {
        match self.value(node)? {
            Value::Bool(bool) => Ok(bool),
            other => Err(no_overload("a condition", &[&other])),
        }
    }

    fn field(&mut self, number: usize) -> Outcome<'e> {
        if let Some((_, value)) = self.containers.iter().find(|(other, _)| *other == number) {
            return Ok(value.clone());
        }
        let (field, slot) = self.slot(number)?;
        let value = field.value(slot, &mut self.budget)?;
        if matches!(value, Value::List(_) | Value::Map(_)) {
            self.containers.push((number, value.clone()));
        }
        Ok(value)
    }

    fn is_present(&self, number: usize) -> Result<bool, EvalError> {
        let (field, slot) = self.slot(number)?;
        field.is_present(slot)
    }

    fn slot(&self, number: usize) -> Result<(&'n Field, Slot<'e>), EvalError> {
        let Data::Event { fields, slots } = self.data else {
            return Err(EvalError::UnknownName("ev".into()));
        };
        let (field, slot) =
            fields.get(number).ok_or_else(|| EvalError::UnknownName("ev".into()))?;
        Ok((field, slots.get(slot.index()).copied().unwrap_or_default()))
    }

    fn local(&mut self, depth: usize) -> Outcome<'e> {
        let pending = match self.locals.get(depth) {
            Some(Local::Value(value)) => return Ok(value.clone()),
            Some(Local::Failed(error)) => return Err(error.clone()),
            Some(Local::Pending(bind)) => *bind,
            None => return Err(EvalError::UnknownName("a local variable".into())),
        };
        // It sees the variables around its macro only.
        let inner = self.locals.split_off(depth);
        self.depth += pending.height;
        let outcome = if self.depth > MAX_EVALUATION_DEPTH {
            Err(EvalError::Limit(MAX_EVALUATION_DEPTH, "operands inside each other"))
        } else {
            self.value(&pending.value)
        };
        self.depth -= pending.height;
        self.locals.extend(inner);
        self.locals[depth] = match &outcome {
            Ok(value) => Local::Value(value.clone()),
            Err(error) => Local::Failed(error.clone()),
        };
        outcome
    }

    fn member(&mut self, operand: &'n Node, key: &str) -> Result<Member<'e>, EvalError> {
        // Outside loops a map is mostly read once: there is no need to read all of it.
        if let (Node::Field(number), true) = (operand, self.locals.is_empty()) {
            let (field, slot) = self.slot(*number)?;
            if matches!(field.declared, Some(FieldType::Map(_))) {
                return field.member(slot, key, &mut self.budget).map(Member::Of);
            }
        }
        let value = self.value(operand)?;
        self.budget.work(price::KEY + key.len() as u64)?;
        match value {
            Value::Map(map) => Ok(Member::Of(map.get_text(key).cloned())),
            Value::Optional(None) => Ok(Member::OfOptional(None)),
            Value::Optional(Some(held)) => match &*held {
                Value::Map(map) => Ok(Member::OfOptional(map.get_text(key).cloned())),
                other => Err(no_overload("field selection", &[other])),
            },
            other => Err(no_overload("field selection", &[&other])),
        }
    }

    /// `&&` and `||`: one operand of the deciding value decides, whatever errors the others had.
    fn connect(&mut self, items: &'n [Node], deciding: bool) -> Result<bool, EvalError> {
        let mut error = None;
        for item in items {
            match self.truth(item) {
                Ok(bool) if bool == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(found) => {
                    self.budget.work(price::ERROR)?;
                    error = error.or(Some(found));
                }
            }
        }
        error.map_or(Ok(!deciding), Err)
    }

    fn call(&mut self, call: &'n Call) -> Outcome<'e> {
        match call.arguments.as_slice() {
            [one] => {
                let arguments = [self.value(one)?];
                (call.run)(&arguments, &mut self.budget)
            }
            [one, two] => {
                let arguments = [self.value(one)?, self.value(two)?];
                (call.run)(&arguments, &mut self.budget)
            }
            more => {
                let arguments = self.values(more)?;
                (call.run)(&arguments, &mut self.budget)
            }
        }
    }

    fn values(&mut self, nodes: &'n [Node]) -> Result<Vec<Value<'e>>, EvalError> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    /// The value of an element or entry; none if it is optional and empty.
    fn given(&mut self, node: &'n Node, optional: bool) -> Result<Option<Value<'e>>, EvalError> {
        match self.value(node)? {
            value if !optional => Ok(Some(value)),
            Value::Optional(held) => Ok(held.map(|value| (*value).clone())),
            other => Err(no_overload("an optional element", &[&other])),
        }
    }

    fn list(&mut self, items: &'n [Element<Node>]) -> Outcome<'e> {
        self.budget.build_list(items.len())?;
        let mut built = Vec::with_capacity(items.len());
        for item in items {
            built.extend(self.given(&item.value, item.optional)?);
        }
        Ok(Value::List(built.into()))
    }

    fn map(&mut self, entries: &'n [Entry<Node>]) -> Outcome<'e> {
        self.budget.build_list(2 * entries.len())?;
        let mut built = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.value(&entry.key)?;
            let key = Key::new(&key).ok_or_else(|| no_overload("a map key", &[&key]))?;
            built.extend(self.given(&entry.value, entry.optional)?.map(|value| (key, value)));
        }
        distinct(built, &mut self.budget)
    }

    fn bind(&mut self, bind: &'n BindNode) -> Outcome<'e> {
        let local = match bind.how {
            Binding::Bind => Local::Pending(bind),
            Binding::OptMap | Binding::OptFlatMap => match self.value(&bind.value)? {
                Value::Optional(Some(held)) => Local::Value((*held).clone()),
                none @ Value::Optional(None) => return Ok(none),
                other => return Err(no_overload(bind.how.name(), &[&other])),
            },
        };
        self.locals.push(local);
        let outcome = self.value(&bind.body);
        self.locals.pop();
        match (bind.how, outcome?) {
            (Binding::OptMap, value) => Ok(Value::some(value)),
            (Binding::OptFlatMap, other) if !matches!(other, Value::Optional(_)) => {
                Err(no_overload(bind.how.name(), &[&other]))
            }
            (_, value) => Ok(value),
        }
    }

    fn comprehension(&mut self, fold: &'n FoldNode) -> Outcome<'e> {
        let int = |at: usize| Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
        match (self.value(&fold.range)?, fold.pairs) {
            (Value::List(items), false) => {
                self.fold(fold, items.iter().map(|item| (item.clone(), None)))
            }
            (Value::List(items), true) => {
                let pairs = items.iter().enumerate();
                self.fold(fold, pairs.map(|(at, item)| (int(at), Some(item.clone()))))
            }
            (Value::Map(map), false) if fold.fold != Fold::SortBy => {
                self.fold(fold, map.iter().map(|(key, _)| (key.value(), None)))
            }
            (Value::Map(map), true) => {
                self.fold(fold, map.iter().map(|(key, value)| (key.value(), Some(value.clone()))))
            }
            (other, _) => Err(no_overload(fold.fold.name(), &[&other])),
        }
    }

    fn fold(
        &mut self,
        fold: &'n FoldNode,
        items: impl Iterator<Item = (Value<'e>, Option<Value<'e>>)>,
    ) -> Outcome<'e> {
        match fold.fold {
            Fold::All => self.decide(fold, items, false),
            Fold::Exists => self.decide(fold, items, true),
            Fold::ExistsOne => {
                let mut count = 0u32;
                for item in items {
                    self.budget.iterate(1)?;
                    count += u32::from(self.with(item, |this| this.truth(&fold.body))?);
                }
                Ok(Value::Bool(count == 1))
            }
            Fold::Filter => {
                let mut built = Vec::new();
                for item in items {
                    self.budget.iterate(1)?;
                    if self.with(item.clone(), |this| this.truth(&fold.body))? {
                        self.budget.build_list(1)?;
                        built.push(item.0);
                    }
                }
                Ok(Value::List(built.into()))
            }
            Fold::Map | Fold::TransformList => {
                let made = self.transform(fold, items)?;
                Ok(Value::List(made.into_iter().map(|(_, value)| value).collect()))
            }
            Fold::SortBy => {
                let keyed = self.transform(fold, items)?;
                sorted_by(keyed, &mut self.budget).map(|items| Value::List(items.into()))
            }
            Fold::TransformMap => {
                let made = self.transform(fold, items)?;
                let entry = |(key, value)| Some((Key::new(&key)?, value));
                distinct(made.into_iter().filter_map(entry).collect(), &mut self.budget)
            }
            Fold::TransformMapEntry => {
                let mut entries = Vec::new();
                for (_, made) in self.transform(fold, items)? {
                    let Value::Map(made) = made else {
                        return Err(no_overload(fold.fold.name(), &[&made]));
                    };
                    self.budget.build_list(2 * made.len())?;
                    entries.extend(made.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
                distinct(entries, &mut self.budget)
            }
        }
    }

    /// `all` and `exists`: errors count only if no item decides.
    fn decide(
        &mut self,
        fold: &'n FoldNode,
        items: impl Iterator<Item = (Value<'e>, Option<Value<'e>>)>,
        deciding: bool,
    ) -> Outcome<'e> {
        let mut error = None;
        for item in items {
            self.budget.iterate(1)?;
            match self.with(item, |this| this.truth(&fold.body)) {
                Ok(bool) if bool == deciding => return Ok(Value::Bool(deciding)),
                Ok(_) => {}
                Err(found) => {
                    self.budget.work(price::ERROR)?;
                    error = error.or(Some(found));
                }
            }
        }
        error.map_or(Ok(Value::Bool(!deciding)), Err)
    }

    /// The body's value for each item that meets the condition, with the first variable's value.
    fn transform(
        &mut self,
        fold: &'n FoldNode,
        items: impl Iterator<Item = (Value<'e>, Option<Value<'e>>)>,
    ) -> Result<Vec<(Value<'e>, Value<'e>)>, EvalError> {
        let mut made = Vec::new();
        for item in items {
            self.budget.iterate(1)?;
            let first = item.0.clone();
            let value = self.with(item, |this| match &fold.condition {
                Some(condition) if !this.truth(condition)? => Ok(None),
                _ => this.value(&fold.body).map(Some),
            })?;
            self.budget.build_list(2)?;
            made.extend(value.map(|value| (first, value)));
        }
        Ok(made)
    }

    fn with<T>(
        &mut self,
        (first, second): (Value<'e>, Option<Value<'e>>),
        run: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outside = self.locals.len();
        self.locals.push(Local::Value(first));
        self.locals.extend(second.map(Local::Value));
        let result = run(self);
        self.locals.truncate(outside);
        result
    }
}

/// What a selection found, in a map or in an optional of a map.
enum Member<'e> {
    Of(Option<Value<'e>>),
    OfOptional(Option<Value<'e>>),
}

impl<'e> Member<'e> {
    fn found(self) -> Option<Value<'e>> {
        match self {
            Member::Of(found) | Member::OfOptional(found) => found,
        }
    }
}

fn distinct<'e>(entries: Vec<(Key<'e>, Value<'e>)>, budget: &mut Budget) -> Outcome<'e> {
    budget.work(entries.iter().map(|(key, _)| key.work()).sum())?;
    Map::new(entries)
        .map(|map| Value::Map(map.into()))
        .map_err(|_| EvalError::Invalid("a map has a key twice".into()))
}
