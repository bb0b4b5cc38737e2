//! The tree of a filter: what its text says, with macros expanded and a place for each node.
//!
//! It has no types and resolves no names; the checker does.

use crate::report::Span;

use super::error::Mistake;
use super::limits::MAX_TREE_DEPTH;

/// One node and where it stands in the text.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub span: Span,
    pub kind: Kind,
    /// Levels of nodes beneath; bounded by [`MAX_TREE_DEPTH`], so walking a tree is safe.
    height: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Literal(Literal),
    /// A variable; `absolute` if it was written with a leading dot.
    Name {
        name: String,
        absolute: bool,
    },
    /// `operand.field`, or `has(operand.field)`.
    Select(Select),
    /// A function, method or operator; the receiver of a method is the target.
    Call {
        callee: Callee,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    /// `a && b && …`
    And(Vec<Expr>),
    /// `a || b || …`
    Or(Vec<Expr>),
    /// `condition ? then : otherwise`
    Ternary(Box<[Expr; 3]>),
    List(Vec<Element<Expr>>),
    Map(Vec<Entry<Expr>>),
    Comprehension(Box<Comprehension>),
    Bind(Box<Bind>),
}

/// An element of a list; one written `?element` is left out if it is an empty optional.
#[derive(Clone, Debug)]
pub(super) struct Element<T> {
    pub value: T,
    pub optional: bool,
}

/// An entry of a map; one written `?key: value` is left out if its value is an empty optional.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub key: T,
    pub value: T,
    pub optional: bool,
}

/// A function, method or operator where it is called.
#[derive(Clone, Debug)]
pub(super) struct Callee {
    pub name: String,
    /// Where the name stands; of an operator, where all of it stands.
    pub name_span: Span,
    /// Written with a leading dot.
    pub absolute: bool,
}

/// `operand.field`.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub operand: Box<Expr>,
    pub field: String,
    pub field_span: Span,
    /// Written in backticks: only ever a key, never part of a dotted name.
    pub quoted: bool,
    /// `has(operand.field)` asks whether the field is there.
    pub test: bool,
    /// `operand.?field` gives an optional, empty if the field is not there.
    pub optional: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// A macro over the items of a list or the entries of a map.
#[derive(Clone, Debug)]
pub(super) struct Comprehension {
    pub fold: Fold,
    pub range: Expr,
    /// The item of a list or key of a map; with a second variable, the index or key.
    pub variable: String,
    /// The item of a list or value of a map.
    pub second: Option<String>,
    /// Of macros that make a list or map: which items to take.
    pub condition: Option<Expr>,
    pub body: Expr,
}

/// What a comprehension makes of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    SortBy,
    TransformList,
    TransformMap,
    TransformMapEntry,
}

impl Fold {
    pub fn name(self) -> &'static str {
        match self {
            Fold::All => "all",
            Fold::Exists => "exists",
            Fold::ExistsOne => "exists_one",
            Fold::Filter => "filter",
            Fold::Map => "map",
            Fold::SortBy => "sortBy",
            Fold::TransformList => "transformList",
            Fold::TransformMap => "transformMap",
            Fold::TransformMapEntry => "transformMapEntry",
        }
    }
}

/// A macro that gives a value a name inside another expression.
#[derive(Clone, Debug)]
pub(super) struct Bind {
    pub how: Binding,
    pub variable: String,
    pub value: Expr,
    pub body: Expr,
}

/// What is bound, and what the body's value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// `cel.bind(x, value, body)`
    Bind,
    /// `optional.optMap(x, body)`: an optional of the body if there is a value.
    OptMap,
    /// `optional.optFlatMap(x, body)`: the body, itself an optional, if there is a value.
    OptFlatMap,
}

impl Binding {
    pub fn name(self) -> &'static str {
        match self {
            Binding::Bind => "cel.bind",
            Binding::OptMap => "optMap",
            Binding::OptFlatMap => "optFlatMap",
        }
    }
}

impl Expr {
    /// A node over the nodes in `kind`.
    ///
    /// # Errors
    /// When the tree becomes too deep; chains such as `a + b + …` nest too.
    pub fn new(span: Span, kind: Kind) -> Result<Expr, Mistake> {
        let tallest = |exprs: &[Expr]| exprs.iter().map(|expr| expr.height).max().unwrap_or(0);
        let height = 1 + match &kind {
            Kind::Literal(_) | Kind::Name { .. } => 0,
            Kind::Select(select) => select.operand.height,
            Kind::Call { target, arguments, .. } => {
                tallest(arguments).max(target.as_ref().map_or(0, |target| target.height))
            }
            Kind::And(items) | Kind::Or(items) => tallest(items),
            Kind::List(items) => items.iter().map(|item| item.value.height).max().unwrap_or(0),
            Kind::Ternary(parts) => tallest(&parts[..]),
            Kind::Map(entries) => {
                let heights = entries.iter().map(|it| it.key.height.max(it.value.height));
                heights.max().unwrap_or(0)
            }
            Kind::Comprehension(fold) => fold
                .range
                .height
                .max(fold.body.height)
                .max(fold.condition.as_ref().map_or(0, |condition| condition.height)),
            Kind::Bind(bind) => bind.value.height.max(bind.body.height),
        };
        if height > MAX_TREE_DEPTH {
            let message = format!(
                "operands {height} levels deep, over the limit of tree depth, {MAX_TREE_DEPTH}"
            );
            return Err(Mistake::new(span, message)
                .help("chains of `||` and `&&` and elements of a list count as one level"));
        }
        Ok(Expr { span, kind, height })
    }

    /// Levels of nodes beneath.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The same node, said to stand at another place.
    pub fn spanning(self, span: Span) -> Expr {
        Expr { span, ..self }
    }
}
