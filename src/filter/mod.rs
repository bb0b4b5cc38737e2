//! Filters: CEL expressions on events, from text to yes or no.
//!
//! The way of a filter: text → `parse` (the grammar in `filters/cel.pest`, macros expanded) → `tree`
//! → `check` (names, types, constants; `overloads` lists all functions) → `node` → `program` (tests
//! on slots; the general evaluator in `eval` for the rest). And back: tree → `unparse` → text. It reads
//! slots and knows nothing of I/O, clocks or subscriptions.
//!
//! ```
//! use std::sync::Arc;
//!
//! use sluicegate::event::{Class, Event, EventType, Field, FieldType, SlotPlan, Slots, Timestamp};
//! use sluicegate::filter::check;
//!
//! let port = Field {
//!     name: "conn.server_port".to_owned(),
//!     field_type: FieldType::Int,
//!     description: String::new(),
//! };
//! let closed = Arc::new(EventType {
//!     name: "tcp_connection_closed.v0".to_owned(),
//!     class: Class::Traffic,
//!     description: String::new(),
//!     fields: vec![port],
//! });
//!
//! // Once, when the filter is saved: check it. Once for each set of filters: compile them.
//! let filter = check("ev.conn.server_port in [22, 2222]", &closed)?;
//! let mut plan = SlotPlan::default();
//! let program = filter.compile(&mut plan);
//!
//! // For each event: fill the slots, ask the programs.
//! let text = r#"{"event_type":"tcp_connection_closed.v0","object":{"conn":{"server_port":22}}}"#;
//! let event = Event::parse(text, Timestamp::MIN, || 0)?;
//! let mut slots = Slots::new();
//! plan.extract(&event, &mut slots);
//! assert!(program.matches(&slots)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calls;
mod check;
mod clauses;
mod cost;
mod environment;
mod error;
mod eval;
mod explain;
mod expression;
mod extensions;
mod family;
mod fields;
mod functions;
mod index;
mod library;
mod limits;
mod literals;
mod macros;
mod names;
mod nesting;
mod network;
mod node;
mod overloads;
mod parse;
mod program;
mod tree;
mod types;
mod unparse;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::event::{EventType, SlotPlan};
use crate::report::Span;

pub use environment::{Declaration, Environment};
pub use error::{EvalError, FilterError, Mistake};
pub use explain::{Decision, Explainer, Term};
pub use expression::Expression;
pub use fields::json_value;
pub use index::{Index, Search};
pub use library::{LibraryFilter, library, library_filter};
pub use limits::{MAX_LAZY_CACHES_BYTES, MAX_SOURCE};
pub use network::Cidr;
pub use program::Program;
pub use types::Type;
pub use value::{Key, Map, Text, Value};

/// A filter that was checked against an event type.
#[derive(Clone, Debug)]
pub struct CheckedFilter {
    text: Arc<str>,
    expression: Arc<Expression>,
    event_type: Arc<EventType>,
}

/// Parses a filter and checks it against the fields of an event type.
///
/// # Errors
/// All mistakes that were found. A filter's result must be bool, or dyn and bool when it runs.
pub fn check(text: &str, event_type: &Arc<EventType>) -> Result<CheckedFilter, FilterError> {
    let environment = Environment::of_events(event_type);
    let expression = environment.check(text)?;
    if !matches!(expression.result, Type::Bool | Type::Dyn | Type::Variable(_)) {
        let span = Span { start: 0, end: text.len() };
        let message = format!("a filter's result is bool, found {}", expression.result);
        return Err(FilterError::new(text, vec![Mistake::new(span, message)]));
    }
    let (expression, event_type) = (Arc::new(expression), Arc::clone(event_type));
    Ok(CheckedFilter { text: text.into(), expression, event_type })
}

/// Bytes of memory that all compiled regular expressions of the process take together, those of equal
/// text once.
#[must_use]
pub fn compiled_bytes() -> usize {
    functions::pattern::compiled_bytes()
}

impl CheckedFilter {
    /// The filter as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The memory of its compiled regular expressions: for each a number, which equal ones of other
    /// filters have too since they are one, and bytes.
    pub fn compiled(&self) -> impl Iterator<Item = (usize, usize)> {
        self.expression.patterns.iter().map(|it| (Arc::as_ptr(it).addr(), it.bytes()))
    }

    /// The same filter in one spelling: without comments and needless brackets, and with the same
    /// spaces and quotes everywhere. It is for comparing and showing.
    #[must_use]
    pub fn normal(&self) -> String {
        parse::parse(&self.text, true)
            .map_or_else(|_| self.text().to_owned(), |tree| unparse::unparse(&tree))
    }

    /// What explains the filter's results; its fields become slots of the plan too.
    #[must_use]
    pub fn explainer(&self, plan: &mut SlotPlan) -> Explainer {
        Explainer::new(&self.text, &Environment::of_events(&self.event_type), plan)
    }

    /// Compiles for a plan of slots; the fields that the filter reads become slots of it.
    pub fn compile(&self, plan: &mut SlotPlan) -> Program {
        Program::new(&self.expression, plan)
    }
}
