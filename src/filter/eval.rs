//! The general evaluator: walks a checked tree over the values of one event.
//!
//! It covers the whole language and is the measure of what a filter means; `program.rs` has a
//! faster way for the common shapes.

use std::collections::BTreeMap;

use crate::event::{FieldType, Slot, SlotId};

use super::error::EvalError;
use super::fields::Field;
use super::functions::Budget;
use super::node::{Call, FoldNode, Node};
use super::tree::Fold;
use super::value::{Key, Map, Value, no_overload};

/// Where names that are bound at run time get their values.
pub(super) enum Data<'n, 'e> {
    /// Fields, from an event's slots.
    Event { fields: &'n [(Field, SlotId)], slots: &'n [Slot<'e>] },
    /// Variables, by name.
    Bindings(&'n BTreeMap<String, Value<'e>>),
}

/// One evaluation.
pub(super) struct Evaluation<'n, 'e> {
    data: Data<'n, 'e>,
    /// Lists and maps of the event that were read already: a comprehension may read one at each
    /// step.
    containers: Vec<(usize, Value<'e>)>,
    /// The items that the comprehensions around the present node are at, the outermost first.
    locals: Vec<Value<'e>>,
    budget: Budget,
}

type Outcome<'e> = Result<Value<'e>, EvalError>;

impl<'n, 'e> Evaluation<'n, 'e> {
    pub fn new(data: Data<'n, 'e>) -> Evaluation<'n, 'e> {
        Evaluation { data, containers: Vec::new(), locals: Vec::new(), budget: Budget::new() }
    }

    /// The value of a node.
    pub fn value(&mut self, node: &Node) -> Outcome<'e> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Variable(name) => match self.data {
                Data::Bindings(bindings) => bindings.get(&**name).cloned(),
                Data::Event { .. } => None,
            }
            .ok_or_else(|| EvalError::UnknownName((&**name).into())),
            Node::Local(depth) => {
                self.locals.get(*depth).cloned().ok_or(EvalError::UnknownName("local".into()))
            }
            Node::Field(number) => self.field(*number),
            Node::Presence(number) => self.is_present(*number).map(Value::Bool),
            Node::Select(operand, key) => {
                let found = self.member(operand, key)?;
                found.ok_or_else(|| EvalError::no_such_key(key))
            }
            Node::HasKey(operand, key) => Ok(Value::Bool(self.member(operand, key)?.is_some())),
            Node::And(items) => self.connect(items, false).map(Value::Bool),
            Node::Or(items) => self.connect(items, true).map(Value::Bool),
            Node::Ternary(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.truth(condition)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::Call(call) => self.call(call),
            Node::Matches(text, pattern) => match self.value(text)? {
                Value::String(text) => {
                    self.budget.search(text.len())?;
                    Ok(Value::Bool(pattern.is_match(&text)))
                }
                other => Err(no_overload("matches", &[&other])),
            },
            Node::List(items) => {
                let items =
                    items.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                self.budget.build_list(items.len())?;
                Ok(Value::List(items.into()))
            }
            Node::Map(entries) => self.map(entries),
            Node::Comprehension(fold) => self.comprehension(fold),
            Node::Fails(error) => Err(error.clone()),
        }
    }

    /// The value of a node that must be true or false.
    pub fn truth(&mut self, node: &Node) -> Result<bool, EvalError> {
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
        let value = field.value(slot)?;
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

    fn member(&mut self, operand: &Node, key: &str) -> Result<Option<Value<'e>>, EvalError> {
        // Outside loops a map is mostly read once: there is no need to read all of it.
        if let (Node::Field(number), true) = (operand, self.locals.is_empty()) {
            let (field, slot) = self.slot(*number)?;
            if matches!(field.declared, Some(FieldType::Map(_))) {
                return field.member(slot, key);
            }
        }
        match self.value(operand)? {
            Value::Map(map) => Ok(map.get_text(key).cloned()),
            other => Err(no_overload("field selection", &[&other])),
        }
    }

    /// `&&` and `||`: one operand of the deciding value decides, whatever errors the others had.
    fn connect(&mut self, items: &[Node], deciding: bool) -> Result<bool, EvalError> {
        let mut error = None;
        for item in items {
            match self.truth(item) {
                Ok(bool) if bool == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(found) => error = error.or(Some(found)),
            }
        }
        error.map_or(Ok(!deciding), Err)
    }

    fn call(&mut self, call: &Call) -> Outcome<'e> {
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
                let arguments =
                    more.iter().map(|node| self.value(node)).collect::<Result<Vec<_>, _>>()?;
                (call.run)(&arguments, &mut self.budget)
            }
        }
    }

    fn map(&mut self, entries: &[(Node, Node)]) -> Outcome<'e> {
        self.budget.build_list(2 * entries.len())?;
        let mut built = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.value(key)?;
            let key = Key::new(&key).ok_or_else(|| no_overload("a map key", &[&key]))?;
            built.push((key, self.value(value)?));
        }
        Map::new(built)
            .map(|map| Value::Map(map.into()))
            .map_err(|_| EvalError::Invalid("a map has a key twice".into()))
    }

    fn comprehension(&mut self, fold: &FoldNode) -> Outcome<'e> {
        match self.value(&fold.range)? {
            Value::List(items) => self.fold(fold, items.iter().cloned()),
            Value::Map(map) => self.fold(fold, map.iter().map(|(key, _)| key.value())),
            other => Err(no_overload(fold.fold.name(), &[&other])),
        }
    }

    fn fold(&mut self, fold: &FoldNode, items: impl Iterator<Item = Value<'e>>) -> Outcome<'e> {
        let mut error = None;
        let mut count = 0u32;
        let mut built = Vec::new();
        for item in items {
            self.budget.iterate(1)?;
            match fold.fold {
                Fold::All | Fold::Exists => {
                    let deciding = fold.fold == Fold::Exists;
                    match self.with(item, |this| this.truth(&fold.body)) {
                        Ok(bool) if bool == deciding => return Ok(Value::Bool(deciding)),
                        Ok(_) => {}
                        Err(found) => error = error.or(Some(found)),
                    }
                }
                Fold::ExistsOne => {
                    count += u32::from(self.with(item, |this| this.truth(&fold.body))?);
                }
                Fold::Filter => {
                    if self.with(item.clone(), |this| this.truth(&fold.body))? {
                        self.budget.build_list(1)?;
                        built.push(item);
                    }
                }
                Fold::Map => {
                    let made = self.with(item, |this| match &fold.condition {
                        Some(condition) if !this.truth(condition)? => Ok(None),
                        _ => this.value(&fold.body).map(Some),
                    })?;
                    self.budget.build_list(1)?;
                    built.extend(made);
                }
            }
        }
        match (fold.fold, error) {
            (Fold::All | Fold::Exists, Some(error)) => Err(error),
            (Fold::All, None) => Ok(Value::Bool(true)),
            (Fold::Exists, None) => Ok(Value::Bool(false)),
            (Fold::ExistsOne, _) => Ok(Value::Bool(count == 1)),
            (Fold::Filter | Fold::Map, _) => Ok(Value::List(built.into())),
        }
    }

    fn with<T>(&mut self, item: Value<'e>, run: impl FnOnce(&mut Self) -> T) -> T {
        self.locals.push(item);
        let result = run(self);
        self.locals.pop();
        result
    }
}
