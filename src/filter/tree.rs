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
        function: String,
        /// Where the name stands; of an operator, where all of it stands.
        name_span: Span,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    /// `a && b && …`
    And(Vec<Expr>),
    /// `a || b || …`
    Or(Vec<Expr>),
    /// `condition ? then : otherwise`
    Ternary(Box<[Expr; 3]>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Comprehension(Box<Comprehension>),
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

/// A macro over the items of a list or the keys of a map.
#[derive(Clone, Debug)]
pub(super) struct Comprehension {
    pub fold: Fold,
    pub range: Expr,
    pub variable: String,
    /// Of `map` with three arguments: which items to take.
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
}

impl Fold {
    pub fn name(self) -> &'static str {
        match self {
            Fold::All => "all",
            Fold::Exists => "exists",
            Fold::ExistsOne => "exists_one",
            Fold::Filter => "filter",
            Fold::Map => "map",
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
            Kind::And(items) | Kind::Or(items) | Kind::List(items) => tallest(items),
            Kind::Ternary(parts) => tallest(&parts[..]),
            Kind::Map(entries) => {
                entries.iter().map(|(key, value)| key.height.max(value.height)).max().unwrap_or(0)
            }
            Kind::Comprehension(fold) => fold
                .range
                .height
                .max(fold.body.height)
                .max(fold.condition.as_ref().map_or(0, |condition| condition.height)),
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
}
