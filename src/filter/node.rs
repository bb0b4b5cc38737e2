//! The checked tree: names resolved to places, functions to implementations, constants folded.
//!
//! It is what the evaluator walks. It keeps no places in the text: what can be said with a place
//! was said by the checker.

use std::sync::Arc;

use super::error::EvalError;
use super::functions::Implementation;
use super::functions::regex::Pattern;
use super::tree::Fold;
use super::value::Value;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    /// A variable of the environment that is bound at run time.
    Variable(Arc<str>),
    /// A variable of a comprehension: how many comprehensions stand around its own.
    Local(usize),
    /// The value of a field, by its number in the filter's list of fields.
    Field(usize),
    /// Whether a field is present.
    Presence(usize),
    /// `operand.key` of a map.
    Select(Box<Node>, Arc<str>),
    /// `has(operand.key)` of a map.
    HasKey(Box<Node>, Arc<str>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Ternary(Box<[Node; 3]>),
    Call(Box<Call>),
    /// `matches` with a constant pattern.
    Matches(Box<Node>, Arc<Pattern>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Comprehension(Box<FoldNode>),
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
pub(super) struct FoldNode {
    pub fold: Fold,
    pub range: Node,
    pub condition: Option<Node>,
    pub body: Node,
}
