//! Writes one JSON object from dotted paths, as compactly as emitters do.
//!
//! The caller brings the fields of one group one after the other; groups of which no field is
//! written do not appear.

use std::fmt::Write as _;

use crate::event::{Timestamp, push_string};

/// An object under way.
pub(super) struct ObjectWriter<'o, 'p> {
    out: &'o mut String,
    /// The path of the innermost open group; empty at the top.
    group: &'p str,
}

impl<'o, 'p> ObjectWriter<'o, 'p> {
    pub(super) fn new(out: &'o mut String) -> ObjectWriter<'o, 'p> {
        out.push('{');
        ObjectWriter { out, group: "" }
    }

    pub(super) fn finish(mut self) {
        self.enter("");
        self.out.push('}');
    }

    /// Writes a field's key; the caller must write its value to what this returns.
    pub(super) fn value(&mut self, path: &'p str) -> &mut String {
        let (group, leaf) = split(path);
        if group != self.group {
            self.enter(group);
        }
        self.key(leaf);
        self.out
    }

    pub(super) fn text(&mut self, path: &'p str, text: &str) {
        push_string(self.value(path), text);
    }

    pub(super) fn number(&mut self, path: &'p str, number: impl Into<i64>) {
        push_number(self.value(path), number);
    }

    pub(super) fn boolean(&mut self, path: &'p str, boolean: bool) {
        self.value(path).push_str(if boolean { "true" } else { "false" });
    }

    pub(super) fn time(&mut self, path: &'p str, time: Timestamp) {
        push_time(self.value(path), time);
    }

    fn enter(&mut self, group: &'p str) {
        let mut open = names(self.group).peekable();
        let mut wanted = names(group).peekable();
        while open.peek().is_some() && open.peek() == wanted.peek() {
            open.next();
            wanted.next();
        }
        for _ in open {
            self.out.push('}');
        }
        for name in wanted {
            self.key(name);
            self.out.push('{');
        }
        self.group = group;
    }

    /// Names are identifiers, as the catalog demands, or written here in the code: nothing needs escaping.
    fn key(&mut self, name: &str) {
        push_comma(self.out);
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}

/// The group that a path leads to, and the name in it. Paths are too short for `rsplit_once`, which
/// is made for long texts.
fn split(path: &str) -> (&str, &str) {
    match path.bytes().rposition(|byte| byte == b'.') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("", path),
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|name| !name.is_empty())
}

/// Writes a comma unless a list or an object has just begun.
pub(super) fn push_comma(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

pub(super) fn push_number(out: &mut String, number: impl Into<i64>) {
    let _ = write!(out, "{}", number.into());
}

pub(super) fn push_time(out: &mut String, time: Timestamp) {
    let _ = write!(out, "\"{time}\"");
}

/// Writes a list of strings.
pub(super) fn push_strings<S: AsRef<str>>(out: &mut String, texts: &[S]) {
    out.push('[');
    for text in texts {
        push_comma(out);
        push_string(out, text.as_ref());
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_become_nested_objects() {
        let mut out = String::new();
        let mut object = ObjectWriter::new(&mut out);
        object.number("a.b.c", 1);
        object.boolean("a.b.d", true);
        object.text("a.e.f", "x{");
        object.text("a.g", "[");
        push_strings(object.value("h"), &["y", "z"]);
        object.time("i.j", Timestamp { seconds: 0, nanos: 5 });
        object.finish();
        assert_eq!(
            out,
            r#"{"a":{"b":{"c":1,"d":true},"e":{"f":"x{"},"g":"["},"h":["y","z"],"i":{"j":"1970-01-01T00:00:00.000000005Z"}}"#
        );
    }

    #[test]
    fn an_object_without_fields_is_empty() {
        let mut out = String::new();
        ObjectWriter::new(&mut out).finish();
        assert_eq!(out, "{}");
    }

    proptest! {
        #[test]
        fn every_string_is_read_back_as_it_was(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
