//! Expressions: from text to a checked tree, by an environment, and from there to a value.
//!
//! It joins parser, checker, estimate of cost and evaluator, and decides nothing that they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::report::Span;

use super::check::Checker;
use super::cost::estimate;
use super::environment::Environment;
use super::error::{EvalError, FilterError, Mistake};
use super::eval::{Data, Evaluation};
use super::fields::Field;
use super::functions::Budget;
use super::functions::pattern::Pattern;
use super::limits::MAX_COST;
use super::node::Node;
use super::parse::parse;
use super::types::Type;
use super::value::Value;

/// An expression that was checked against an environment.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(super) node: Node,
    pub(super) fields: Vec<Field>,
    /// Its constant regular expressions.
    pub(super) patterns: Vec<Arc<Pattern>>,
    /// The type of its value.
    pub result: Type,
}

impl Environment {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// The mistakes found in it.
    pub fn check(&self, text: &str) -> Result<Expression, FilterError> {
        let tree = parse(text, self.has_macros())
            .map_err(|mistake| FilterError::new(text, vec![mistake]))?;
        let mut checker = Checker::new(self);
        let (node, result) = checker.check(&tree);
        let (fields, patterns, mut mistakes) = checker.finish();
        let cost = estimate(&node);
        if mistakes.is_empty() && self.has_event_type() && cost > MAX_COST {
            let span = Span { start: 0, end: text.len() };
            let message = format!("costs up to {cost} units, over the limit of cost, {MAX_COST}");
            mistakes.push(
                Mistake::new(span, message).help(
                    "loops inside loops, long patterns and large lists inside loops cost most",
                ),
            );
        }
        if mistakes.is_empty() {
            Ok(Expression { node, fields, patterns, result })
        } else {
            Err(FilterError::new(text, mistakes))
        }
    }
}

impl Expression {
    /// The expression's value with variables bound.
    ///
    /// # Errors
    /// Whatever makes the evaluation fail.
    pub fn evaluate<'e>(
        &self,
        bindings: &BTreeMap<String, Value<'e>>,
    ) -> Result<Value<'e>, EvalError> {
        self.counted(bindings).0
    }

    /// The same, and the units of work that it took, each about a nanosecond.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn counted<'e>(
        &self,
        bindings: &BTreeMap<String, Value<'e>>,
    ) -> (Result<Value<'e>, EvalError>, u64) {
        let mut evaluation = Evaluation::new(Data::Bindings(bindings), Budget::new());
        let value = evaluation.value(&self.node);
        (value, evaluation.budget.spent())
    }
}
