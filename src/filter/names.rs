//! The checker's part for names and selections: variables, fields of the event, keys of maps.
//!
//! A dotted name may mean many things; the first that fits counts: a local variable with
//! selections, the longest declared name with selections, a type's name.

use crate::event::{Declared, FieldType, Root};
use crate::report::{Span, nearest};

use super::check::{Checker, Typed};
use super::error::{EvalError, Mistake};
use super::fields::Field;
use super::node::{Call, Node};
use super::overloads::function;
use super::tree::{Expr, Kind};
use super::types::Type;
use super::value::Value;

/// The types that have a name in expressions, and their names as values.
const TYPE_NAMES: [&str; 15] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "optional_type",
    "net.IP",
    "net.CIDR",
];

/// One `.field` after a variable or other operand.
struct Step<'t> {
    field: &'t str,
    span: Span,
    quoted: bool,
    test: bool,
    optional: bool,
}

/// An operand with the selections after it, in their order.
fn unfold(expr: &Expr) -> (&Expr, Vec<Step<'_>>) {
    let (mut operand, mut steps) = (expr, Vec::new());
    while let Kind::Select(select) = &operand.kind {
        steps.push(Step {
            field: &select.field,
            span: select.field_span,
            quoted: select.quoted,
            test: select.test,
            optional: select.optional,
        });
        // `has(a.b).c` selects from the result of `has`, not from `b`.
        operand = &select.operand;
        if matches!(&operand.kind, Kind::Select(inner) if inner.test) {
            break;
        }
    }
    steps.reverse();
    (operand, steps)
}

impl Checker<'_> {
    /// A variable or a selection.
    pub(super) fn path(&mut self, expr: &Expr) -> Typed {
        let (operand, steps) = unfold(expr);
        let (mut typed, rest) = match &operand.kind {
            Kind::Name { name, absolute } => {
                match self.variable(operand, (name, *absolute), &steps) {
                    Ok(resolved) => resolved,
                    Err(refused) => return refused,
                }
            }
            _ => (self.any(operand), steps.as_slice()),
        };
        if let (_, Type::Group(root, path)) = &typed {
            return self.event_path(*root, path.clone(), rest, operand.span);
        }
        typed = match self.steps(typed, rest, operand.span) {
            Ok(typed) | Err(typed) => typed,
        };
        typed
    }

    /// What a dotted name starts with, and the steps that are left. A refusal is the error.
    fn variable<'s, 't>(
        &mut self,
        operand: &Expr,
        (name, absolute): (&str, bool),
        steps: &'s [Step<'t>],
    ) -> Result<(Typed, &'s [Step<'t>]), Typed> {
        if let (false, Some((depth, found))) = (absolute, self.local(name)) {
            return Ok(((Node::Local(depth), found.clone()), steps));
        }
        // A step in backticks, or one that `has` or `.?` asks about, is no part of a name.
        let plain = |step: &&Step<'_>| !(step.quoted || step.test || step.optional);
        let dotted = steps.iter().take_while(plain).count();
        for taken in (0..=dotted).rev() {
            let parts = steps[..taken].iter().map(|step| step.field);
            let whole: Vec<&str> = std::iter::once(name).chain(parts).collect();
            if let Some(typed) = self.declared_name(&whole.join("."), absolute) {
                return Ok((typed, &steps[taken..]));
            }
        }
        if self.is_full() {
            return Err((Node::Fails(EvalError::UnknownName(name.into())), Type::Dyn));
        }
        let mut mistake = Mistake::new(operand.span, format!("unknown variable `{name}`"));
        let path: Vec<&str> =
            std::iter::once(name).chain(steps.iter().map(|step| step.field)).collect();
        let known = (1..=path.len())
            .rev()
            .map(|length| path[..length].join("."))
            .find(|path| self.env.declared(Root::Object, path) != Declared::Nothing);
        if let Some(path) = known {
            mistake = mistake.help(format!("fields of the event are under `ev`: `ev.{path}`"));
        } else {
            let locals = self.locals.iter().map(|(local, _)| local.as_str());
            let near = nearest(&name.to_lowercase(), self.env.variable_names().chain(locals));
            // Any one-letter name is near every other.
            if let Some(near) = near.filter(|near| near.len() > 1) {
                mistake = mistake.help(format!("did you mean `{near}`?"));
            }
        }
        Err(self.refuse(mistake, EvalError::UnknownName(name.into())))
    }

    fn declared_name(&self, name: &str, absolute: bool) -> Option<Typed> {
        let candidates: Vec<String> =
            if absolute { vec![name.to_owned()] } else { self.env.candidates(name).collect() };
        candidates.into_iter().find_map(|name| {
            if let Some(declared) = self.env.declared_variable(&name) {
                let found = match declared {
                    Type::Group(..) => declared.clone(),
                    other => self.known(other.clone()),
                };
                return Some((Node::Variable(name.into()), found));
            }
            let type_name = TYPE_NAMES.into_iter().find(|known| *known == name)?;
            Some((Node::Constant(Value::Type(type_name)), self.known(Type::Type)))
        })
    }

    /// Selections on an ordinary value. A refusal is the error.
    fn steps(&mut self, from: Typed, steps: &[Step<'_>], from_span: Span) -> Result<Typed, Typed> {
        let (mut node, mut found) = from;
        for step in steps {
            let from = self.types.resolve(&found);
            let optional = step.optional || from.held().is_some();
            let result = match from.held().cloned().unwrap_or(from) {
                Type::Map(_, value) => *value,
                Type::Dyn | Type::Variable(_) => Type::Dyn,
                other => {
                    let message = format!("{other} has no field `{}`", step.field);
                    let mut mistake = Mistake::new(from_span.to(step.span), &*message);
                    if function(step.field).is_some() {
                        mistake =
                            mistake.help(format!("a function is called: `{}(…)`", step.field));
                    }
                    return Err(self.refuse(mistake, EvalError::Invalid(message.into())));
                }
            };
            found = match (step.test, optional) {
                (true, _) => self.known(Type::Bool),
                (false, true) => self.known(Type::optional(result)),
                (false, false) => result,
            };
            node = if step.optional {
                Node::OptionalSelect(Box::new(node), step.field.into())
            } else {
                self.member(node, step.field, step.test)
            };
        }
        Ok((node, found))
    }

    /// A path from `ev` or `event`: to a group, a field, or beyond a field into its map.
    fn event_path(
        &mut self,
        root: Root,
        mut path: String,
        steps: &[Step<'_>],
        root_span: Span,
    ) -> Typed {
        let mut optional = false;
        for (at, step) in steps.iter().enumerate() {
            optional |= step.optional;
            let parent = path.clone();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(step.field);
            match self.env.declared(root, &path) {
                Declared::Field(declared) => {
                    let declared = declared.field_type.clone();
                    let typed = if optional && !step.test {
                        self.optional_field(root, &path, declared)
                    } else {
                        self.field_node(root, &path, Some(declared), step.test)
                    };
                    let span = root_span.to(step.span);
                    return match self.steps(typed, &steps[at + 1..], span) {
                        Ok(typed) | Err(typed) => typed,
                    };
                }
                Declared::Group if step.test => {
                    let typed = self.field_node(root, &path, None, true);
                    return match self.steps(typed, &steps[at + 1..], root_span.to(step.span)) {
                        Ok(typed) | Err(typed) => typed,
                    };
                }
                Declared::Group => {}
                Declared::Nothing => return self.unknown_field(root, &parent, (steps, at)),
            }
        }
        (Node::Fails(EvalError::UnknownName(path.as_str().into())), Type::Group(root, path))
    }

    fn field_node(
        &mut self,
        root: Root,
        path: &str,
        declared: Option<FieldType>,
        test: bool,
    ) -> Typed {
        let found = declared.as_ref().map_or(Type::Dyn, Type::of_field);
        if (root, path) == (Root::Envelope, "event_type") {
            let name = Value::string(self.env.event_type_name());
            let value = if test { Value::Bool(true) } else { name };
            return (Node::Constant(value), if test { Type::Bool } else { Type::String });
        }
        let type_name = declared.as_ref().map_or("object".to_owned(), ToString::to_string);
        let number = self.field(Field {
            root,
            path: path.split('.').map(str::to_owned).collect(),
            shown: self.shown_path(root, path).into(),
            declared,
            type_name: type_name.into(),
        });
        if test { (Node::Presence(number), Type::Bool) } else { (Node::Field(number), found) }
    }

    /// The field as an optional: empty if the event has not got it.
    fn optional_field(&mut self, root: Root, path: &str, declared: FieldType) -> Typed {
        let (present, _) = self.field_node(root, path, Some(declared.clone()), true);
        let (value, found) = self.field_node(root, path, Some(declared), false);
        let found = if let Type::Nullable(inner) = found { *inner } else { found };
        let none = Node::Constant(Value::Optional(None));
        let node = match some(value) {
            Some(held) => Node::Ternary(Box::new([present, held, none])),
            None => none,
        };
        (node, Type::optional(found))
    }

    fn unknown_field(
        &mut self,
        root: Root,
        parent: &str,
        (steps, at): (&[Step<'_>], usize),
    ) -> Typed {
        if self.is_full() {
            return (Node::Fails(EvalError::UnknownName("ev".into())), Type::Dyn);
        }
        let whole: Vec<&str> = steps.iter().map(|step| step.field).collect();
        let whole = whole.join(".");
        let shown = self.shown_path(root, &whole);
        let span = steps[0].span.to(steps[steps.len() - 1].span);
        let schema = self.env.schema(root);
        let of = schema.map_or("this event", |schema| &schema.name);
        let mut mistake = Mistake::new(span, format!("unknown field `{shown}` of {of}"));
        mistake.unknown_field = true;
        // The whole path may go on into a map: the part up to the unknown name is looked for too.
        let start: Vec<&str> = steps[..=at].iter().map(|step| step.field).collect();
        let near = schema.and_then(|schema| {
            schema.nearest_field(&whole).or_else(|| schema.nearest_field(&start.join(".")))
        });
        if let Some(near) = near {
            mistake = mistake.help(format!("did you mean `{}`?", self.shown_path(root, near)));
        } else if let Some(names) = self.members(root, parent) {
            mistake = mistake.help(format!("`{}` has {names}", self.shown_path(root, parent)));
        }
        self.refuse(mistake, EvalError::UnknownName(shown.into()))
    }

    /// The names right under a group, if they are few enough to be read.
    fn members(&self, root: Root, group: &str) -> Option<String> {
        const FEW: usize = 12;
        let start = if group.is_empty() { String::new() } else { format!("{group}.") };
        let mut names: Vec<&str> = Vec::new();
        for field in &self.env.schema(root)?.fields {
            let Some(rest) = field.name.strip_prefix(&start) else { continue };
            let name = rest.split('.').next().unwrap_or(rest);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (1..=FEW).contains(&names.len()).then(|| names.join(", "))
    }

    /// A path as filters write it.
    pub(super) fn shown_path(&self, root: Root, path: &str) -> String {
        let name = match root {
            Root::Object => "ev",
            Root::Envelope => "event",
        };
        if path.is_empty() { name.to_owned() } else { format!("{name}.{path}") }
    }
}

/// `optional.of(value)`
fn some(value: Node) -> Option<Node> {
    let of = function("optional.of")?.first()?;
    Some(Node::Call(Box::new(Call { function: of.name, run: of.run, arguments: vec![value] })))
}
