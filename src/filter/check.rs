//! The checker: resolves names, infers types, and refuses what cannot work.
//!
//! Checking never changes what an expression means; unchecked, the same tree comes out and mistakes
//! become errors of the evaluation. All independent mistakes are reported together: a part with a
//! mistake counts as `dyn` for the parts around it.

use std::sync::Arc;

use crate::report::Span;

use super::environment::Environment;
use super::error::{EvalError, Mistake};
use super::fields::Field;
use super::functions::automaton::Use;
use super::functions::pattern::Pattern;
use super::limits::{MAX_COMPREHENSION_NESTING, MAX_MISTAKES};
use super::node::{BindNode, FoldNode, Node};
use super::tree::{Bind, Binding, Comprehension, Element, Entry, Expr, Fold, Kind, Literal};
use super::types::{Substitution, Type};
use super::value::{Key, Map, Text, Value};

/// A node and its type.
pub(super) type Typed = (Node, Type);

pub(super) struct Checker<'x> {
    pub(super) env: &'x Environment,
    pub(super) types: Substitution,
    /// Variables of the macros around the present node, the outermost first.
    pub(super) locals: Vec<(String, Type)>,
    pub(super) fields: Vec<Field>,
    mistakes: Vec<Mistake>,
    /// How many comprehensions stand around the present node.
    folds: usize,
    /// Constant regular expressions with their text.
    pub(super) patterns: Vec<(String, Use, Arc<Pattern>)>,
}

impl<'x> Checker<'x> {
    pub fn new(env: &'x Environment) -> Checker<'x> {
        Checker {
            env,
            types: Substitution::default(),
            locals: Vec::new(),
            fields: Vec::new(),
            mistakes: Vec::new(),
            folds: 0,
            patterns: Vec::new(),
        }
    }

    /// The fields that were read, the regular expressions, and the mistakes that were found.
    pub fn finish(self) -> (Vec<Field>, Vec<Arc<Pattern>>, Vec<Mistake>) {
        let patterns = self.patterns.into_iter().map(|(.., pattern)| pattern).collect();
        (self.fields, patterns, self.mistakes)
    }

    /// Checks a whole expression, of which a group of fields can be no value.
    pub fn check(&mut self, expr: &Expr) -> Typed {
        let (node, found) = self.any(expr);
        let found = self.types.resolve(&found);
        let Type::Group(root, path) = &found else { return (node, found) };
        let name = self.shown_path(*root, path);
        let mut mistake = Mistake::new(
            expr.span,
            format!("`{name}` is a group of fields and has no value of its own"),
        );
        let start = if path.is_empty() { String::new() } else { format!("{path}.") };
        let field = self.env.schema(*root).and_then(|schema| {
            schema.fields.iter().map(|field| field.name.as_str()).find(|n| n.starts_with(&start))
        });
        if let Some(field) = field {
            mistake = mistake.help(format!(
                "name one of its fields, such as `{}`",
                self.shown_path(*root, field)
            ));
        }
        self.refuse(mistake, EvalError::UnknownName(name.into()))
    }

    /// Whether there are so many mistakes that no more are reported: then none needs to be described.
    pub(super) fn is_full(&self) -> bool {
        self.mistakes.len() >= MAX_MISTAKES
    }

    /// Records a mistake; unchecked, the error comes when the expression runs.
    pub(super) fn refuse(&mut self, mistake: Mistake, error: EvalError) -> Typed {
        if self.env.is_checked() && !self.is_full() {
            self.mistakes.push(mistake);
        }
        (Node::Fails(error), Type::Dyn)
    }

    pub(super) fn refuse_type(&mut self, span: Span, message: String) -> Typed {
        self.refuse(Mistake::new(span, &*message), EvalError::Invalid(message.into()))
    }

    /// Checks an expression that may be a group of fields.
    pub(super) fn any(&mut self, expr: &Expr) -> Typed {
        match &expr.kind {
            Kind::Literal(literal) => self.literal(literal),
            Kind::Name { .. } | Kind::Select(_) => self.path(expr),
            Kind::Call { callee, target, arguments } => {
                self.call(expr.span, callee, target.as_deref(), arguments)
            }
            Kind::And(items) => (Node::And(self.conditions("&&", items)), Type::Bool),
            Kind::Or(items) => (Node::Or(self.conditions("||", items)), Type::Bool),
            Kind::Ternary(parts) => self.ternary(expr, parts),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Comprehension(fold) => self.comprehension(expr, fold),
            Kind::Bind(bind) => self.bind(bind),
        }
    }

    fn literal(&mut self, literal: &Literal) -> Typed {
        let (value, found) = match literal {
            Literal::Null => (Value::Null, Type::Null),
            Literal::Bool(bool) => (Value::Bool(*bool), Type::Bool),
            Literal::Int(int) => (Value::Int(*int), Type::Int),
            Literal::Uint(uint) => (Value::Uint(*uint), Type::Uint),
            Literal::Double(double) => (Value::Double(*double), Type::Double),
            Literal::String(text) => {
                (Value::String(Text::Shared(text.as_str().into())), Type::String)
            }
            Literal::Bytes(bytes) => (Value::Bytes(bytes.as_slice().into()), Type::Bytes),
        };
        (Node::Constant(value), self.known(found))
    }

    /// A type, as far as it counts: unchecked, every type is known at run time only.
    pub(super) fn known(&self, found: Type) -> Type {
        if self.env.is_checked() { found } else { Type::Dyn }
    }

    fn conditions(&mut self, operator: &str, items: &[Expr]) -> Vec<Node> {
        items.iter().map(|item| self.condition(operator, item)).collect()
    }

    /// An operand that must be true or false.
    fn condition(&mut self, of: &str, expr: &Expr) -> Node {
        let (node, found) = self.check(expr);
        if self.types.unify(&Type::Bool, &found) {
            return node;
        }
        let found = self.types.resolve(&found);
        self.refuse_type(expr.span, format!("`{of}` needs bool, found {found}")).0
    }

    fn ternary(&mut self, expr: &Expr, parts: &[Expr; 3]) -> Typed {
        let condition = self.condition("? :", &parts[0]);
        let (then, then_type) = self.check(&parts[1]);
        let (otherwise, otherwise_type) = self.check(&parts[2]);
        if !self.types.unify(&then_type, &otherwise_type) {
            let (a, b) = (self.types.resolve(&then_type), self.types.resolve(&otherwise_type));
            let message = format!("`? :` needs both results of one type, found {a} and {b}");
            return self.refuse_type(expr.span, message);
        }
        let result = self.types.join(&then_type, &otherwise_type);
        (Node::Ternary(Box::new([condition, then, otherwise])), result)
    }

    fn list(&mut self, items: &[Element<Expr>]) -> Typed {
        let mut item_type: Option<Type> = None;
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            let (node, found) = self.check(&item.value);
            let found = self.given(item.optional, &item.value, found);
            item_type = Some(match item_type {
                None => found,
                Some(Type::Dyn) => Type::Dyn,
                Some(known) => self.types.join(&known, &found),
            });
            nodes.push(Element { value: node, optional: item.optional });
        }
        let item_type = item_type.unwrap_or_else(|| Type::Variable(self.types.fresh(1)));
        let constants: Option<Vec<_>> = nodes
            .iter()
            .map(|item| if item.optional { None } else { constant(&item.value) })
            .collect();
        let node = match constants {
            Some(values) => Node::Constant(Value::List(values.into())),
            None => Node::List(nodes),
        };
        (node, self.known(Type::list(item_type)))
    }

    /// The type that an element or entry adds: of an optional one, what it may hold.
    fn given(&mut self, optional: bool, expr: &Expr, found: Type) -> Type {
        if !optional {
            return found;
        }
        match self.types.resolve(&found) {
            Type::Dyn | Type::Variable(_) => Type::Dyn,
            found => match found.held() {
                Some(held) => held.clone(),
                None => {
                    let message = format!("`?` takes an optional, found {found}");
                    self.refuse_type(expr.span, message).1
                }
            },
        }
    }

    fn map(&mut self, entries: &[Entry<Expr>]) -> Typed {
        let mut joined: Option<(Type, Type)> = None;
        let mut nodes = Vec::with_capacity(entries.len());
        let mut constants = Some(Vec::with_capacity(entries.len()));
        for entry in entries {
            let (key, key_type) = self.check(&entry.key);
            let (value, value_type) = self.check(&entry.value);
            let key_type = self.key_type(&entry.key, &key_type);
            let value_type = self.given(entry.optional, &entry.value, value_type);
            joined = Some(match joined {
                None => (key_type, value_type),
                Some((keys, values)) => {
                    (self.types.join(&keys, &key_type), self.types.join(&values, &value_type))
                }
            });
            let pair = constant(&key).as_ref().and_then(Key::new).zip(constant(&value));
            constants = match (constants, pair) {
                (Some(mut all), Some(pair)) if !entry.optional => {
                    all.push(pair);
                    Some(all)
                }
                _ => None,
            };
            nodes.push(Entry { key, value, optional: entry.optional });
        }
        let (keys, values) = joined.unwrap_or_else(|| {
            let first = self.types.fresh(2);
            (Type::Variable(first), Type::Variable(first + 1))
        });
        let map_type = self.known(Type::map(keys, values));
        match constants.map(Map::new) {
            Some(Ok(map)) => (Node::Constant(Value::Map(map.into())), map_type),
            Some(Err(repeated)) => {
                let at = entries.iter().zip(&nodes).rev().find(|(_, node)| {
                    constant(&node.key).as_ref().and_then(Key::new).as_ref() == Some(&repeated)
                });
                let span = at.map(|(entry, _)| entry.key.span).unwrap_or_default();
                self.refuse_type(span, "this key stands in the map twice".to_owned())
            }
            None => (Node::Map(nodes), map_type),
        }
    }

    fn key_type(&mut self, key: &Expr, found: &Type) -> Type {
        let found = self.types.resolve(found);
        match found {
            Type::Int | Type::Uint | Type::Bool | Type::String | Type::Dyn | Type::Variable(_) => {
                found
            }
            other => {
                let message = format!("a map's key is int, uint, bool or string, not {other}");
                self.refuse_type(key.span, message).1
            }
        }
    }

    fn comprehension(&mut self, expr: &Expr, fold: &Comprehension) -> Typed {
        let (range, range_type) = self.check(&fold.range);
        let pairs = fold.second.is_some();
        let (first, second) = match self.types.resolve(&range_type) {
            Type::List(item) if pairs => (Type::Int, *item),
            Type::List(item) => (*item, Type::Dyn),
            Type::Map(key, value) if fold.fold != Fold::SortBy => (*key, *value),
            Type::Dyn | Type::Variable(_) => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!("`{}` needs a list or map, found {other}", fold.fold.name());
                return self.refuse_type(fold.range.span, message);
            }
        };
        let outside = self.locals.len();
        self.locals.push((fold.variable.clone(), self.known(first.clone())));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), self.known(second)));
        }
        self.folds += 1;
        let typed = if self.folds > MAX_COMPREHENSION_NESTING {
            let message = format!(
                "more than {MAX_COMPREHENSION_NESTING} comprehensions inside each other, the limit of comprehension nesting"
            );
            self.refuse(
                Mistake::new(expr.span, message),
                EvalError::Limit(MAX_COMPREHENSION_NESTING, "comprehensions inside each other"),
            )
        } else {
            self.fold(fold, range, first)
        };
        self.folds -= 1;
        self.locals.truncate(outside);
        typed
    }

    /// A comprehension whose variables are there; `first` is the type of the first.
    fn fold(&mut self, fold: &Comprehension, range: Node, first: Type) -> Typed {
        let name = fold.fold.name();
        let condition = fold.condition.as_ref().map(|expr| self.condition(name, expr));
        let (body, result) = match fold.fold {
            Fold::Filter => (self.condition(name, &fold.body), Type::list(first)),
            Fold::All | Fold::Exists | Fold::ExistsOne => {
                (self.condition(name, &fold.body), Type::Bool)
            }
            Fold::Map | Fold::TransformList => {
                let (body, found) = self.check(&fold.body);
                (body, Type::list(found))
            }
            Fold::SortBy => (self.check(&fold.body).0, Type::list(first)),
            Fold::TransformMap => {
                let (body, found) = self.check(&fold.body);
                (body, Type::map(first, found))
            }
            Fold::TransformMapEntry => {
                let (body, found) = self.check(&fold.body);
                match self.types.resolve(&found) {
                    map @ (Type::Map(..) | Type::Dyn | Type::Variable(_)) => (body, map),
                    other => {
                        let message =
                            format!("`{name}` makes entries `{{key: value}}`, not {other}");
                        return self.refuse_type(fold.body.span, message);
                    }
                }
            }
        };
        let pairs = fold.second.is_some();
        let node = FoldNode { fold: fold.fold, pairs, range, condition, body };
        (Node::Comprehension(Box::new(node)), self.known(result))
    }

    fn bind(&mut self, bind: &Bind) -> Typed {
        let (value, found) = self.check(&bind.value);
        let name = bind.how.name();
        let local = match (bind.how, self.types.resolve(&found)) {
            (Binding::Bind, found) => found,
            (_, Type::Dyn | Type::Variable(_)) => Type::Dyn,
            (_, found) => match found.held() {
                Some(held) => held.clone(),
                None => {
                    let message = format!("`{name}` needs an optional, found {found}");
                    return self.refuse_type(bind.value.span, message);
                }
            },
        };
        self.locals.push((bind.variable.clone(), local));
        let (body, found) = self.check(&bind.body);
        self.locals.pop();
        let found = self.types.resolve(&found);
        let result = match (bind.how, found) {
            (Binding::Bind, found) => found,
            (Binding::OptMap, found) => Type::optional(found),
            (Binding::OptFlatMap, Type::Dyn | Type::Variable(_)) => Type::Dyn,
            (Binding::OptFlatMap, found) if found.held().is_some() => found,
            (Binding::OptFlatMap, found) => {
                let message = format!("`{name}` gives an optional, found {found}");
                return self.refuse_type(bind.body.span, message);
            }
        };
        let node = BindNode { how: bind.how, value, height: bind.value.height(), body };
        (Node::Bind(Box::new(node)), self.known(result))
    }

    pub(super) fn local(&self, name: &str) -> Option<(usize, &Type)> {
        let found = self.locals.iter().enumerate().rev().find(|(_, (local, _))| local == name);
        found.map(|(depth, (_, found))| (depth, found))
    }

    /// The number of a field in the filter's list.
    pub(super) fn field(&mut self, field: Field) -> usize {
        if let Some(number) = self.fields.iter().position(|known| *known == field) {
            return number;
        }
        self.fields.push(field);
        self.fields.len() - 1
    }

    /// `node.key`, or whether it is there.
    pub(super) fn member(&self, node: Node, key: &str, test: bool) -> Node {
        let (node, key) = (Box::new(node), Arc::from(key));
        if test { Node::HasKey(node, key) } else { Node::Select(node, key) }
    }
}

pub(super) fn constant(node: &Node) -> Option<Value<'static>> {
    match node {
        Node::Constant(value) => Some(value.clone()),
        _ => None,
    }
}
