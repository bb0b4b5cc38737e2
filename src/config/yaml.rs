//! YAML into the tree, event by event, so that every limit holds before the memory is taken.
//!
//! The syntax is `saphyr-parser`'s. Left out on purpose, each with a clear refusal: tags, merge keys,
//! several documents in one file, and keys that are not text. Aliases are followed, within bounds.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::mistakes::{Mistake, Mistakes};
use super::scalar::resolve;
use super::tree::{Budget, Key, Node, Value, map};
use crate::report::Span;

/// Reads a whole file. What can be passed over is added to `mistakes`.
///
/// # Errors
/// The first place that is not YAML, or the limit that the file goes over.
pub(super) fn read(source: &str, mistakes: &mut Mistakes) -> Result<Node, Mistake> {
    let mut reader = Reader {
        source,
        parser: Parser::new_from_str(source),
        offsets: Offsets::new(source),
        anchors: HashMap::new(),
        budget: Budget::new(),
        mistakes,
    };
    reader.document()
}

struct Reader<'s, 'm> {
    source: &'s str,
    parser: Parser<'s, StrInput<'s>>,
    offsets: Offsets,
    /// What each anchor stands for, from its end on.
    anchors: HashMap<usize, Node>,
    budget: Budget,
    mistakes: &'m mut Mistakes,
}

impl<'s> Reader<'s, '_> {
    fn next(&mut self) -> Result<(Event<'s>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.offsets.span(span))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let start = self.offsets.byte(error.marker().index());
        let place = Span { start, end: start };
        let mistake = Mistake::at(place, format!("not valid YAML: {}", error.info()));
        let line_start = self.source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.source[line_start..].lines().next().unwrap_or("");
        if line.contains("${") {
            return mistake.help("inside `[…]` and `{…}`, put quotes around a value with `${…}`");
        }
        mistake
    }

    fn document(&mut self) -> Result<Node, Mistake> {
        self.next()?; // the start of the stream
        if self.next()?.0 == Event::StreamEnd {
            return Ok(Node::new(Value::Null, Span::default()));
        }
        let (event, span) = self.next()?;
        let root = self.node(event, span, 0)?;
        self.next()?; // the end of the document
        match self.next()? {
            (Event::StreamEnd, _) => Ok(root),
            (_, span) => Err(Mistake::at(span, "a second document begins here")
                .help("settings are one document; remove the `---`")),
        }
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<Node, Mistake> {
        self.budget.node(depth, span)?;
        let (anchor, tag, mut node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = match style {
                    ScalarStyle::Plain => resolve(&text),
                    _ => Value::String(text.into_owned()),
                };
                (anchor, tag, Node::new(value, self.without_line_end(span)))
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, self.list(span, depth)?),
            Event::MappingStart(anchor, tag) => (anchor, tag, self.section(span, depth)?),
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            _ => return Err(Mistake::at(span, "not valid YAML: expected a value")),
        };
        if let Some(tag) = tag {
            self.refuse_tag(&tag, span);
            node.value = Value::Mistaken;
        }
        if anchor != 0 {
            self.budget.copy(&node, 0, span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Mistake> {
        let mut whole = start;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Node::new(Value::List(items), self.close(whole, span, "]")));
            }
            let item = self.node(event, span, depth + 1)?;
            whole = whole.to(item.span);
            items.push(item);
        }
    }

    fn section(&mut self, start: Span, depth: usize) -> Result<Node, Mistake> {
        let mut whole = start;
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                let entries = map(entries, self.source, self.mistakes);
                return Ok(Node::new(Value::Map(entries), self.close(whole, span, "}")));
            }
            let (key, merge) = self.key(event, span)?;
            Budget::name(entries.len(), key.span)?;
            let (event, span) = self.next()?;
            let absent = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.is_empty());
            let mut node = self.node(event, span, depth + 1)?;
            if absent {
                // The parser's place for nothing is wherever it noticed.
                node.span = key.span;
            }
            whole = whole.to(key.span).to(node.span);
            if !merge {
                entries.push((key, node));
            }
        }
    }

    /// The key of an entry, and whether it is a merge key, which is a mistake.
    fn key(&mut self, event: Event<'s>, span: Span) -> Result<(Key, bool), Mistake> {
        let refused = || Mistake::at(span, "the name of a setting must be text");
        let Event::Scalar(text, style, _, tag) = event else { return Err(refused()) };
        let plain = style == ScalarStyle::Plain;
        if let Some(tag) = tag {
            self.refuse_tag(&tag, span);
        } else if plain && text.is_empty() {
            return Err(refused());
        }
        let merge = plain && text == "<<";
        if merge {
            self.mistakes.push(
                Mistake::at(span, "merge keys (`<<`) are not supported")
                    .help("write the settings out, or use an alias for a whole section"),
            );
        }
        Ok((Key { name: text.into_owned(), span }, merge))
    }

    /// What an alias stands for. Its parts keep the places where they are written, and where they
    /// would be fixed; the whole stands where the alias does.
    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node, Mistake> {
        let node = self
            .anchors
            .get(&anchor)
            .ok_or_else(|| Mistake::at(span, "this alias stands inside what it stands for"))?;
        self.budget.copy(node, depth, span)?;
        Ok(Node { span, ..node.clone() })
    }

    fn refuse_tag(&mut self, tag: &Tag, span: Span) {
        let shown =
            if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let mistake = Mistake::at(span, format!("the tag `{shown}` is not supported"));
        self.mistakes.push(mistake.help("remove it; quotes make a value text"));
    }

    /// A collection's place, up to its closing bracket if it has one.
    fn close(&self, whole: Span, end: Span, bracket: &str) -> Span {
        let closed = self.source.get(end.start..end.end) == Some(bracket);
        if closed { whole.to(end) } else { whole }
    }

    /// The parser counts the line end after a block scalar to it.
    fn without_line_end(&self, span: Span) -> Span {
        let text = self.source.get(span.start..span.end).unwrap_or("");
        Span {
            start: span.start,
            end: span.start + text.trim_end_matches([' ', '\t', '\r', '\n']).len(),
        }
    }
}

/// Turns the parser's offsets, which count characters, into bytes.
struct Offsets {
    /// The byte offset of each character; empty for ASCII, where both counts agree. Four bytes each,
    /// so at most 16 MiB for the largest file.
    starts: Vec<u32>,
    length: usize,
}

impl Offsets {
    fn new(source: &str) -> Offsets {
        let starts = if source.is_ascii() {
            Vec::new()
        } else {
            source.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect()
        };
        Offsets { starts, length: source.len() }
    }

    fn byte(&self, character: usize) -> usize {
        if self.starts.is_empty() {
            return character.min(self.length);
        }
        self.starts.get(character).map_or(self.length, |&at| at as usize)
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start.index());
        Span { start, end: self.byte(span.end.index()).max(start) }
    }
}

#[cfg(test)]
mod tests;
