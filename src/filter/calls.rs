//! The checker's part for calls: which function is meant, whether it takes the arguments, and what
//! can be done about constant ones before any event comes.
//!
//! The functions themselves are listed in `overloads.rs` and `extensions.rs`.

use std::sync::Arc;

use crate::report::{Span, nearest};

use super::check::{Checker, Typed, constant};
use super::environment::Declaration;
use super::error::{EvalError, Mistake};
use super::family::Style;
use super::functions::Budget;
use super::functions::automaton::Use;
use super::functions::pattern::Pattern;
use super::functions::regex;
use super::limits::{MAX_COMPILED, MAX_REGEX_PROGRAM, MAX_REGEXES};
use super::macros::MACROS;
use super::network::{Cidr, parse_ip};
use super::node::{Call, Node, RegexCall};
use super::overloads::{Function, Signature, function, function_names};
use super::tree::{Callee, Expr, Kind};
use super::types::Type;
use super::value::{Text, Value};

/// What a name that is called may mean.
struct Meaning<'f> {
    built_in: Option<&'static Function>,
    declared: Vec<&'f Declaration>,
}

/// A variable or selections on one, as a dotted name, and whether it has a leading dot.
fn dotted(expr: &Expr) -> Option<(String, bool)> {
    match &expr.kind {
        Kind::Name { name, absolute } => Some((name.clone(), *absolute)),
        Kind::Select(select) if !(select.quoted || select.test || select.optional) => {
            let (before, absolute) = dotted(&select.operand)?;
            Some((format!("{before}.{}", select.field), absolute))
        }
        _ => None,
    }
}

impl<'x> Checker<'x> {
    /// A call of a function, method or operator.
    pub(super) fn call(
        &mut self,
        span: Span,
        callee: &Callee,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Typed {
        // `math.abs(x)` is no method of a variable `math`.
        if let Some((path, absolute)) = target.and_then(dotted) {
            let name = format!("{path}.{}", callee.name);
            if let Some(meaning) = self.meaning(&name, absolute, false) {
                return self.known_call((span, callee), &meaning, arguments.iter());
            }
        }
        match self.meaning(&callee.name, callee.absolute, target.is_some()) {
            Some(meaning) => {
                let arguments = target.into_iter().chain(arguments);
                self.known_call((span, callee), &meaning, arguments)
            }
            None => self.unknown_function(callee, target, arguments),
        }
    }

    /// The functions of a name that are called with or without a receiver. Names without one are
    /// looked up in the container first.
    fn meaning(&self, name: &str, absolute: bool, receiver: bool) -> Option<Meaning<'x>> {
        let env = self.env;
        let candidates: Vec<String> = if absolute || receiver {
            vec![name.to_owned()]
        } else {
            env.candidates(name).collect()
        };
        candidates.iter().find_map(|name| {
            let built_in = function(name)
                .into_iter()
                .flatten()
                .chain(env.list_helper(name))
                .find(|function| function.style.takes(receiver));
            let declared: Vec<_> =
                env.declared_function(name).filter(|it| it.receiver == receiver).collect();
            let found = built_in.is_some() || !declared.is_empty();
            found.then_some(Meaning { built_in, declared })
        })
    }

    fn known_call<'t>(
        &mut self,
        (span, callee): (Span, &Callee),
        meaning: &Meaning<'_>,
        arguments: impl Iterator<Item = &'t Expr>,
    ) -> Typed {
        let checked: Vec<Typed> = arguments.map(|argument| self.check(argument)).collect();
        let (nodes, types): (Vec<Node>, Vec<Type>) = checked.into_iter().unzip();
        let built_in = meaning.built_in.and_then(|function| {
            Some((function, self.overload(function.signatures.iter(), &types)?))
        });
        if let Some((function, result)) = built_in {
            let result = self.known(result);
            let types: Vec<Type> = types.iter().map(|found| self.types.resolve(found)).collect();
            let node = match member_of(function.name, &nodes, &types) {
                Some((map, key, test)) => self.member(map, &key, test),
                None => self.prepared(span, function, nodes),
            };
            return (node, result);
        }
        let signatures: Vec<Signature> = meaning.declared.iter().map(|it| it.signature()).collect();
        if let Some(result) = self.overload(signatures.iter(), &types) {
            return (
                Node::Fails(EvalError::UnknownName((*callee.name).into())),
                self.known(result),
            );
        }
        let name = meaning.built_in.map_or(&*callee.name, |function| function.name);
        let message = self.no_overload(name, &types);
        let mistake = Mistake::new(span, &*message);
        let types: Vec<Type> = types.iter().map(|found| self.types.resolve(found)).collect();
        let mistake = match overload_help(name, &types) {
            Some(help) => mistake.help(help),
            None => mistake,
        };
        self.refuse(mistake, EvalError::Invalid(message.into()))
    }

    /// The type that a function gives for arguments of these types; none if it does not take them.
    fn overload<'s>(
        &mut self,
        signatures: impl Iterator<Item = &'s Signature>,
        arguments: &[Type],
    ) -> Option<Type> {
        let mut result: Option<Type> = None;
        for signature in signatures {
            if signature.parameters.len() != arguments.len() {
                continue;
            }
            let before = self.types.mark();
            let first = self.types.fresh(signature.variables);
            let mut pairs = signature.parameters.iter().zip(arguments);
            if !pairs
                .all(|(parameter, argument)| self.types.unify(&parameter.raised(first), argument))
            {
                self.types.undo(before);
                continue;
            }
            let this = self.types.resolve(&signature.result.raised(first));
            // Several signatures fit where an argument is dyn; then so is a result they differ in.
            result = Some(match result {
                None => this,
                Some(known) if known == this => known,
                Some(_) => Type::Dyn,
            });
        }
        result
    }

    fn no_overload(&self, name: &str, arguments: &[Type]) -> String {
        let types: Vec<String> =
            arguments.iter().map(|found| self.types.resolve(found).to_string()).collect();
        match (name, types.as_slice()) {
            ("==" | "!=" | "<" | "<=" | ">" | ">=", [a, b]) => {
                format!("`{name}` cannot compare {a} with {b}")
            }
            ("in", [item, container]) => format!("`in` cannot look for {item} in {container}"),
            ("[]", [container, key]) => format!("{container} has no index of type {key}"),
            ("!_" | "-_", [operand]) => format!("`{}` cannot take {operand}", &name[..1]),
            (_, [a, b]) if !name.starts_with(char::is_alphabetic) => {
                format!("`{name}` cannot take {a} and {b}")
            }
            _ => format!("`{name}` cannot take ({})", types.join(", ")),
        }
    }

    fn unknown_function(
        &mut self,
        callee: &Callee,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Typed {
        let name = &*callee.name;
        if self.is_full() {
            return (Node::Fails(EvalError::UnknownName(name.into())), Type::Dyn);
        }
        let known_otherwise = function(name).and_then(|functions| functions.first());
        let mistake = if let Some(function) = known_otherwise {
            Mistake::new(callee.name_span, format!("`{name}` is not called this way")).help(
                match function.style {
                    Style::Receiver => format!("it is called on a value: `x.{name}(…)`"),
                    _ => format!("it is called as `{name}(…)`"),
                },
            )
        } else {
            self.misspelt(callee, target)
        };
        let refused = self.refuse(mistake, EvalError::UnknownName(name.into()));
        // What may be a misspelt macro has variables for arguments: nothing to check there. Nor is
        // a name space such as `math` a variable.
        if known_otherwise.is_some() || target.is_none() {
            for argument in target.into_iter().chain(arguments) {
                self.check(argument);
            }
        }
        refused
    }

    fn misspelt(&self, callee: &Callee, target: Option<&Expr>) -> Mistake {
        let space = target.and_then(dotted).map(|(path, _)| path).filter(|path| {
            let start = format!("{path}.");
            function_names().any(|name| name.starts_with(&start))
        });
        let name = match &space {
            Some(space) => format!("{space}.{}", callee.name),
            None => callee.name.clone(),
        };
        let mistake = Mistake::new(callee.name_span, format!("unknown function `{name}`"));
        match nearest(&name, function_names().chain(MACROS)) {
            Some(known) if known == name => {
                mistake.help(format!("the macro `{name}` takes other arguments"))
            }
            Some(known) => mistake.help(format!("did you mean `{known}`?")),
            None => mistake,
        }
    }

    /// The call, with what can be done beforehand done: its value if all arguments are constants,
    /// constant patterns and addresses read.
    fn prepared(
        &mut self,
        span: Span,
        function: &'static Function,
        mut arguments: Vec<Node>,
    ) -> Node {
        let refused = |this: &mut Self, error: EvalError| {
            this.refuse(Mistake::new(span, error.to_string()), error).0
        };
        if let (Some(run), [_, Node::Constant(Value::String(pattern)), ..]) =
            (regex::implementation(function.name), arguments.as_slice())
        {
            return match self.pattern(pattern, regex::used_for(function.name)) {
                Err(error) => refused(self, error),
                Ok(pattern) => {
                    arguments.remove(1);
                    match (function.name, arguments.as_slice()) {
                        ("matches", [_]) => {
                            Node::Matches(Box::new(arguments.swap_remove(0)), pattern)
                        }
                        _ => Node::Regex(Box::new(RegexCall { run, arguments, pattern })),
                    }
                }
            };
        }
        if let [_, Node::Constant(Value::String(text))] = arguments.as_slice() {
            let read = match function.name {
                "containsIP" => Some(parse_ip(text).map(Value::Ip)),
                "containsCIDR" => Some(Cidr::parse(text).map(Value::Cidr)),
                _ => None,
            };
            match read {
                None => {}
                Some(Some(read)) => arguments[1] = Node::Constant(read),
                Some(None) => {
                    let what = "address or network that can be contained";
                    let error = EvalError::invalid(what, text);
                    return refused(self, error);
                }
            }
        }
        let constants: Option<Vec<_>> = arguments.iter().map(constant).collect();
        let folded = constants.map(|constants| (function.run)(&constants, &mut Budget::new()));
        match (folded, function.name) {
            (Some(Ok(value)), _) => Node::Constant(value),
            (Some(Err(error)), "timestamp" | "duration" | "ip" | "cidr") => refused(self, error),
            // Other errors stay what they are: `false && 1 / 0 > 0` is false.
            (_, "or" | "orValue") => or_else(function.name, arguments),
            _ => {
                Node::Call(Box::new(Call { function: function.name, run: function.run, arguments }))
            }
        }
    }

    /// A compiled constant pattern; equal ones are shared.
    fn pattern(&mut self, pattern: &str, used: Use) -> Result<Arc<Pattern>, EvalError> {
        let known = self.patterns.iter().find(|known| (&*known.0, known.1) == (pattern, used));
        if let Some((.., known)) = known {
            return Ok(known.clone());
        }
        if self.patterns.len() == MAX_REGEXES {
            let message = format!(
                "more than {MAX_REGEXES} different regular expressions, the limit of one filter"
            );
            return Err(EvalError::Invalid(message.into()));
        }
        let compiled = Pattern::shared(pattern, MAX_REGEX_PROGRAM, used)?;
        let others: usize = self.patterns.iter().map(|(.., known)| known.bytes()).sum();
        if others + compiled.bytes() > MAX_COMPILED {
            let what = "bytes of compiled regular expressions in one filter";
            return Err(EvalError::Limit(MAX_COMPILED, what));
        }
        self.patterns.push((pattern.to_owned(), used, compiled.clone()));
        Ok(compiled)
    }
}

/// `optional.or(other)` evaluates the other only if it is needed.
fn or_else(name: &str, arguments: Vec<Node>) -> Node {
    let mut arguments = arguments.into_iter();
    match (arguments.next(), arguments.next()) {
        (Some(optional), Some(other)) => Node::OrElse {
            optional: Box::new(optional),
            other: Box::new(other),
            unwrap: name == "orValue",
        },
        _ => Node::Fails(EvalError::UnknownName(name.into())),
    }
}

/// `map["key"]` is `map.key`, and `"key" in map` is `has(map.key)`: the map, the key, and whether it
/// is only asked for.
fn member_of(name: &str, nodes: &[Node], types: &[Type]) -> Option<(Node, Text<'static>, bool)> {
    let (map, key, test) = match (name, nodes, types) {
        ("[]", [map, key], [Type::Map(..), _]) => (map, key, false),
        ("in", [key, map], [_, Type::Map(..)]) => (map, key, true),
        _ => return None,
    };
    match (map, key) {
        (Node::Constant(_), _) => None,
        (map, Node::Constant(Value::String(key))) => Some((map.clone(), key.clone(), test)),
        _ => None,
    }
}

/// What would fix common mismatches of types.
fn overload_help(name: &str, types: &[Type]) -> Option<&'static str> {
    let number = |found: &Type| matches!(found, Type::Int | Type::Uint | Type::Double);
    match (name, types) {
        ("in", [Type::String, Type::String]) => {
            Some("a part of a text is found by `text.contains(part)`")
        }
        ("==" | "!=", [Type::Null, _] | [_, Type::Null]) => {
            Some("absence is asked for with `has(…)`, not with null")
        }
        ("==" | "!=", [Type::List(_), _] | [_, Type::List(_)]) => {
            Some("an item is looked for with `item in list`")
        }
        (_, [a, b]) if number(a) && number(b) => {
            Some("number types do not mix: convert one with `int(…)`, `uint(…)` or `double(…)`")
        }
        _ => None,
    }
}
