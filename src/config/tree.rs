//! The tree that all three formats become: values, each with its place in the file.
//!
//! It holds what the file says and how large that may be. What the settings mean is the decoder's.

use std::collections::HashMap;
use std::fmt;

use super::mistakes::{Mistake, Mistakes};
use crate::report::{Span, line_column};

/// Deepest nesting of sections and lists. Our own settings need seven levels; the readers and the
/// decoder recurse, and this many frames fit the smallest stack.
pub const MAX_NESTING: usize = 64;

/// Most values in a file, those that aliases repeat included: room for tens of thousands of
/// subscriptions, which have a dozen each, and the end of files whose aliases multiply each other.
pub const MAX_NODES: usize = 1_000_000;

/// Most names in one section. The longest that anybody writes are the fields of an event type, some hundreds; a file
/// of another kind altogether is told from settings by this long before it is read whole.
pub const MAX_NAMES: usize = 10_000;

/// Most bytes of text that YAML anchors and aliases may repeat; a quarter of what a file may have itself.
pub const MAX_ALIASED: usize = 4 << 20;

/// A value and where it stands.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// What the file says.
    pub value: Value,
    /// Where it says so.
    pub span: Span,
    /// Whether part of the text came from the environment or another file. Such text is never shown.
    pub filled: bool,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, or nothing at all after a key.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number, whole ones that do not fit 64 bits included.
    Float(f64),
    /// Text, quoted or not.
    String(String),
    /// Items in the file's order.
    List(Vec<Node>),
    /// A section: names and values in the order of the file, each name once.
    Map(Vec<(Key, Node)>),
    /// A value whose mistake is reported already. Readers of settings pass over it in silence.
    Mistaken,
}

/// The name of a setting and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Without quotes.
    pub name: String,
    /// Where the name stands; its value has a place of its own.
    pub span: Span,
}

impl Node {
    /// A node of the file itself, with nothing filled in.
    #[must_use]
    pub fn new(value: Value, span: Span) -> Node {
        Node { value, span, filled: false }
    }

    fn weight(&self) -> Weight {
        let mut weight = Weight { nodes: 1, bytes: 0, depth: 0 };
        match &self.value {
            Value::String(text) => weight.bytes = text.len(),
            Value::List(items) => items.iter().for_each(|item| weight.add_child(item)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    weight.bytes += key.name.len();
                    weight.add_child(value);
                }
            }
            _ => {}
        }
        weight
    }
}

/// Shows no text that was filled in, so that a log of a tree gives no secret away.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.filled { f.write_str("(filled in)") } else { self.value.fmt(f) }
    }
}

/// How much a node and everything below it takes.
struct Weight {
    nodes: usize,
    bytes: usize,
    /// Levels below the node itself.
    depth: usize,
}

impl Weight {
    fn add_child(&mut self, child: &Node) {
        let child = child.weight();
        self.nodes += child.nodes;
        self.bytes += child.bytes;
        self.depth = self.depth.max(child.depth + 1);
    }
}

/// What is left of the limits while a tree is read.
pub(super) struct Budget {
    nodes: usize,
    aliased: usize,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget { nodes: MAX_NODES, aliased: MAX_ALIASED }
    }

    /// Pays for one node with `depth` sections and lists around it.
    pub(super) fn node(&mut self, depth: usize, span: Span) -> Result<(), Mistake> {
        if depth > MAX_NESTING {
            return Err(Mistake::at(span, format!("nested deeper than {MAX_NESTING} levels")));
        }
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| {
            Mistake::at(span, format!("the file has more than {MAX_NODES} values"))
        })?;
        Ok(())
    }

    /// Refuses a section that would have more names than these.
    pub(super) fn name(names: usize, span: Span) -> Result<(), Mistake> {
        match names < MAX_NAMES {
            true => Ok(()),
            false => Err(Mistake::at(span, format!("a section has more than {MAX_NAMES} names"))),
        }
    }

    /// Pays for a copy of `node` that will stand below `depth` sections and lists.
    pub(super) fn copy(&mut self, node: &Node, depth: usize, span: Span) -> Result<(), Mistake> {
        let weight = node.weight();
        if depth + weight.depth > MAX_NESTING {
            return Err(Mistake::at(span, format!("nested deeper than {MAX_NESTING} levels")));
        }
        let nodes = self.nodes.checked_sub(weight.nodes);
        let aliased = self.aliased.checked_sub(weight.bytes);
        let (Some(nodes), Some(aliased)) = (nodes, aliased) else {
            return Err(Mistake::at(span, "the aliases of this file repeat too much")
                .help(format!("at most {MAX_NODES} values and {MAX_ALIASED} bytes of text")));
        };
        (self.nodes, self.aliased) = (nodes, aliased);
        Ok(())
    }
}

/// A section of these entries. Of a name given twice the first stays, and each other is a mistake.
pub(super) fn map(
    entries: Vec<(Key, Node)>,
    source: &str,
    mistakes: &mut Mistakes,
) -> Vec<(Key, Node)> {
    let mut first_places = HashMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        if let Some(&first) = first_places.get(&key.name) {
            let mistake = Mistake::at(key.span, format!("`{}` is set twice", key.name));
            // The line is counted from the beginning of the file.
            mistakes.push(match mistakes.is_full() {
                true => mistake,
                false => {
                    let (line, _) = line_column(source, first);
                    mistake.help(format!("first set in line {line}"))
                }
            });
            continue;
        }
        first_places.insert(key.name.clone(), key.span.start);
        kept.push((key, value));
    }
    kept
}
