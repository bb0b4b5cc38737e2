//! TOML into the tree. The syntax is `toml_edit`'s; this file only carries values and places over.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike};

use super::mistakes::{Mistake, Mistakes};
use super::tree::{Budget, Key, Node, Value};
use crate::report::Span;

/// Reads a whole file. Dates, which no setting takes, are added to `mistakes`.
///
/// # Errors
/// The first place that is not TOML, or the limit that the file goes over.
pub(super) fn read(source: &str, mistakes: &mut Mistakes) -> Result<Node, Mistake> {
    check_names(source)?;
    let document = Document::parse(source).map_err(|error| {
        let place = error.span().map_or(Span::default(), to_span);
        Mistake::at(place, format!("not valid TOML: {}", error.message()))
    })?;
    let whole = Span { start: 0, end: source.len() };
    let mut reader = Reader { budget: Budget::new(), mistakes };
    let value = reader.section(document.as_table(), whole, 0)?;
    Ok(Node::new(value, whole))
}

/// Looks at the lines whether a table has too many names: the parser reads the file whole, and takes most of a
/// kilobyte for each.
fn check_names(source: &str) -> Result<(), Mistake> {
    let (mut names, mut at) = (0, 0);
    for line in source.split_inclusive('\n') {
        let is_name = |first: &u8| first.is_ascii_alphanumeric() || b"_-\"'".contains(first);
        match line.trim_ascii_start().as_bytes().first() {
            Some(b'[') => names = 0,
            Some(first) if is_name(first) && line.contains('=') => {
                Budget::name(names, Span { start: at, end: at + line.trim_ascii_end().len() })?;
                names += 1;
            }
            _ => {}
        }
        at += line.len();
    }
    Ok(())
}

struct Reader<'m> {
    budget: Budget,
    mistakes: &'m mut Mistakes,
}

impl Reader<'_> {
    /// `outer` is the place of what has none of its own, such as `a` in `[a.b]`.
    fn section(
        &mut self,
        table: &dyn TableLike,
        outer: Span,
        depth: usize,
    ) -> Result<Value, Mistake> {
        self.budget.node(depth, outer)?;
        Budget::name(table.len().saturating_sub(1), outer)?;
        let mut entries = Vec::with_capacity(table.len());
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span).map_or(outer, to_span);
            let node = self.node(item, span, depth + 1)?;
            entries.push((Key { name: name.to_owned(), span }, node));
        }
        Ok(Value::Map(entries))
    }

    fn node(&mut self, item: &Item, outer: Span, depth: usize) -> Result<Node, Mistake> {
        let span = item.span().map_or(outer, to_span);
        let value = match item {
            Item::None => Value::Null,
            Item::Value(value) => return self.value(value, span, depth),
            Item::Table(table) => self.section(table, span, depth)?,
            Item::ArrayOfTables(tables) => {
                self.budget.node(depth, span)?;
                let mut items = Vec::with_capacity(tables.len());
                for table in tables {
                    let place = table.span().map_or(span, to_span);
                    items.push(Node::new(self.section(table, place, depth + 1)?, place));
                }
                Value::List(items)
            }
        };
        Ok(Node::new(value, span))
    }

    fn value(
        &mut self,
        value: &toml_edit::Value,
        outer: Span,
        depth: usize,
    ) -> Result<Node, Mistake> {
        let span = value.span().map_or(outer, to_span);
        if let toml_edit::Value::InlineTable(table) = value {
            return Ok(Node::new(self.section(table, span, depth)?, span));
        }
        self.budget.node(depth, span)?;
        let value = match value {
            toml_edit::Value::String(text) => Value::String(text.value().clone()),
            toml_edit::Value::Integer(number) => Value::Int(*number.value()),
            toml_edit::Value::Float(number) => Value::Float(*number.value()),
            toml_edit::Value::Boolean(truth) => Value::Bool(*truth.value()),
            toml_edit::Value::Array(array) => {
                let items = array.iter().map(|item| self.value(item, span, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            toml_edit::Value::Datetime(_) => {
                let mistake = Mistake::at(span, "no setting takes a date or time");
                self.mistakes.push(mistake.help("quote it to make it text"));
                Value::Mistaken
            }
            // Returned above.
            toml_edit::Value::InlineTable(_) => Value::Mistaken,
        };
        Ok(Node::new(value, span))
    }
}

fn to_span(range: Range<usize>) -> Span {
    Span { start: range.start, end: range.end }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complaints(source: &str) -> String {
        let mut mistakes = Mistakes::new("s.toml", source);
        if let Err(mistake) = read(source, &mut mistakes) {
            mistakes.push(mistake);
        }
        mistakes.to_string()
    }

    fn collect<'s>(source: &'s str, node: &Node, out: &mut Vec<&'s str>) {
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    out.push(&source[key.span.start..key.span.end]);
                    collect(source, value, out);
                }
            }
            Value::List(items) => items.iter().for_each(|item| collect(source, item, out)),
            _ => out.push(&source[node.span.start..node.span.end]),
        }
    }

    #[test]
    fn every_name_and_value_knows_its_place() {
        let source = "\
\"ü\" = 'ä'
a.b = [1, {c = true}]
[d.e]
f = 1.5 # é
[[g]]
h = \"\"\"x\"\"\"
[[g]]
";
        let mut mistakes = Mistakes::new("s.toml", source);
        let root = read(source, &mut mistakes).unwrap();
        let mut found = Vec::new();
        collect(source, &root, &mut found);
        let expected = [
            "\"ü\"",
            "'ä'",
            "a",
            "b",
            "1",
            "c",
            "true",
            "d",
            "e",
            "f",
            "1.5",
            "g",
            "h",
            "\"\"\"x\"\"\"",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn each_mistake_is_placed() {
        for (source, message) in [
            ("é = 1", "s.toml:1:1: not valid TOML: "),
            ("a = 1\nb = ", "s.toml:2:5: not valid TOML: "),
            ("a = 1\na = 2", "s.toml:2:1: not valid TOML: duplicate key"),
            ("a = 1979-05-27", "s.toml:1:5: no setting takes a date or time"),
        ] {
            let shown = complaints(source);
            assert!(shown.starts_with(message), "{shown}");
        }
    }

    #[test]
    fn nesting_and_the_number_of_values_are_limited() {
        let list = |levels: usize| format!("a = {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(complaints(&list(64)).starts_with("0 mistakes"));
        assert!(complaints(&list(65)).starts_with("s.toml:1:69: nested deeper than 64 levels"));
        assert!(complaints(&list(1_000_000)).contains("recursion"), "the parser's own limit is 80");
        let dotted = format!("[{0}a]\n{0}a = 1", "a.".repeat(60));
        assert!(complaints(&dotted).contains("nested deeper than 64 levels"));
        let many = format!("a = [{}]", "1,\n".repeat(1_000_000));
        assert!(complaints(&many).contains("the file has more than 1000000 values"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in any::<String>()) {
            complaints(&text);
        }

        #[test]
        fn text_like_toml_is_read_or_refused(
            text in r#"([a-cé]{1,2}|[\[\]{}=.,'"\\ \n#0-9:T-]|""""|'''| = |\[\[a\]\]\n){0,20}"#,
        ) {
            complaints(&text);
        }
    }
}
