//! The checked tree: names resolved to places, functions to implementations, constants folded.
//!
//! It is what the evaluator walks. It keeps no places in the text: what can be said with a place
//! was said by the checker.

use std::sync::Arc;

use super::error::EvalError;
use super::functions::Implementation;
use super::functions::pattern::Pattern;
use super::functions::regex::Implementation as RegexImplementation;
use super::tree::{Binding, Element, Entry, Fold};
use super::value::Value;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    /// A variable of the environment that is bound at run time.
    Variable(Arc<str>),
    /// A variable of a macro: how many such variables stand around it.
    Local(usize),
    /// The value of a field, by its number in the filter's list of fields.
    Field(usize),
    /// Whether a field is present.
    Presence(usize),
    /// `operand.key` of a map.
    Select(Box<Node>, Arc<str>),
    /// `operand.?key` of a map.
    OptionalSelect(Box<Node>, Arc<str>),
    /// `has(operand.key)` of a map.
    HasKey(Box<Node>, Arc<str>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Ternary(Box<[Node; 3]>),
    Call(Box<Call>),
    /// `matches` with a constant pattern.
    Matches(Box<Node>, Arc<Pattern>),
    /// `regex.replace` and its like with a constant pattern.
    Regex(Box<RegexCall>),
    /// `optional.or(other)`, and `optional.orValue(other)`, which gives what the optional holds.
    OrElse {
        optional: Box<Node>,
        other: Box<Node>,
        unwrap: bool,
    },
    List(Vec<Element<Node>>),
    Map(Vec<Entry<Node>>),
    Comprehension(Box<FoldNode>),
    Bind(Box<BindNode>),
    /// What always fails: an unknown name in an unchecked expression.
    Fails(EvalError),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub function: &'static str,
    pub run: Implementation,
    pub arguments: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(super) struct RegexCall {
    pub run: RegexImplementation,
    /// The arguments without the pattern.
    pub arguments: Vec<Node>,
    pub pattern: Arc<Pattern>,
}

#[derive(Clone, Debug)]
pub(super) struct BindNode {
    pub how: Binding,
    pub value: Node,
    /// Levels of nodes in the value.
    pub height: usize,
    pub body: Node,
}

#[derive(Clone, Debug)]
pub(super) struct FoldNode {
    pub fold: Fold,
    /// It has two variables: index and item, or key and value.
    pub pairs: bool,
    pub range: Node,
    pub condition: Option<Node>,
    pub body: Node,
}
