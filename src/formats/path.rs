//! Where a value stands in a JSON line: the paths that mappings are written with, and the walk that finds the
//! values of many paths in one pass.
//!
//! What the values mean is the mapping's matter.

use crate::event::{JsonCursor, ScanError, unescape};

/// Most names of a path: deeper than people's logs nest, and so shallow that the walk needs little stack.
const MAX_NAMES: usize = 32;

/// A path such as `request.headers.host`; or, where names have dots in them or an item of a list is meant, a JSON
/// Pointer (RFC 6901) such as `/client.ip` or `/upstreams/0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    names: Vec<String>,
}

impl JsonPath {
    /// Reads a path of at most 32 names. None where a name between dots is empty, or a `~` of a pointer is neither
    /// `~0` nor `~1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<JsonPath> {
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescaped).collect::<Option<_>>()?,
            None => text
                .split('.')
                .map(|it| (!it.is_empty()).then(|| it.to_owned()))
                .collect::<Option<_>>()?,
        };
        (names.len() <= MAX_NAMES).then(|| JsonPath { text: text.to_owned(), names })
    }

    /// The path as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A name of a JSON Pointer.
fn unescaped(name: &str) -> Option<String> {
    let bad = name.split('~').skip(1).any(|it| !it.starts_with(['0', '1']));
    (!bad).then(|| name.replace("~1", "/").replace("~0", "~"))
}

/// A value where it stands in its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'l> {
    /// Its first byte in the line, from 0.
    pub(super) at: usize,
    pub(super) json: &'l str,
}

/// The paths that are looked for, by their names from the outside in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    /// The place of the value that stands here among those that are found.
    slot: Option<usize>,
    inner: Vec<(String, Paths)>,
}

impl Paths {
    /// Adds a path; `next` is its place among the values that are found, unless it is there already. Gives its
    /// place.
    pub(super) fn add(&mut self, path: &JsonPath, next: usize) -> usize {
        let mut here = self;
        for name in &path.names {
            let known = here.inner.iter().position(|(it, _)| it == name);
            let at = known.unwrap_or_else(|| {
                here.inner.push((name.clone(), Paths::default()));
                here.inner.len() - 1
            });
            here = &mut here.inner[at].1;
        }
        *here.slot.get_or_insert(next)
    }

    /// Steps over the value that comes next, and notes what is looked for in it. Of members of one name the last
    /// one counts. `depth` is how many objects and lists stand around it.
    pub(super) fn find<'l>(
        &self,
        cursor: &mut JsonCursor<'l>,
        depth: usize,
        found: &mut [Option<Found<'l>>],
    ) -> Result<(), ScanError> {
        let first = cursor.next_token();
        let at = cursor.position();
        match first {
            Some(b'{') if !self.inner.is_empty() => {
                let mut more = cursor.enter(b'{', b'}')?;
                while more {
                    let name = unescape(cursor.key()?);
                    self.step(&name, cursor, depth, found)?;
                    more = cursor.more(b'}')?;
                }
            }
            Some(b'[') if !self.inner.is_empty() => {
                let mut more = cursor.enter(b'[', b']')?;
                let mut number = 0;
                while more {
                    self.step(&number.to_string(), cursor, depth, found)?;
                    number += 1;
                    more = cursor.more(b']')?;
                }
            }
            _ => cursor.skip(depth)?,
        }
        if let Some(slot) = self.slot {
            found[slot] = Some(Found { at, json: cursor.since(at) });
        }
        Ok(())
    }

    fn step<'l>(
        &self,
        name: &str,
        cursor: &mut JsonCursor<'l>,
        depth: usize,
        found: &mut [Option<Found<'l>>],
    ) -> Result<(), ScanError> {
        match self.inner.iter().find(|(it, _)| it == name) {
            Some((_, inner)) => inner.find(cursor, depth + 1, found),
            None => cursor.skip(depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn found(line: &str, paths: &[&str]) -> Result<Vec<Option<String>>, ScanError> {
        let mut all = Paths::default();
        let mut slots = 0;
        let places: Vec<usize> = paths
            .iter()
            .map(|path| {
                let place = all.add(&JsonPath::parse(path).unwrap(), slots);
                slots = slots.max(place + 1);
                place
            })
            .collect();
        let mut found = vec![None; slots];
        let mut cursor = JsonCursor::new(line);
        all.find(&mut cursor, 0, &mut found)?;
        cursor.end()?;
        Ok(places.into_iter().map(|it| found[it].map(|it| it.json.to_owned())).collect())
    }

    #[test]
    fn values_are_found_by_names_and_by_pointers() {
        let line =
            r#" {"a":{"b":1,"c":[{"d":"x"}, 2]},"a.b":true,"e\u0041":null,"g/h~":3,"a2":{},"":7} "#;
        let paths =
            ["a.b", "/a.b", "/a/c/0/d", "a.c", "/a/c/1", "eA", "/g~1h~0", "a2.b", "a", "a.b", "/"];
        let expected = [
            Some("1"),
            Some("true"),
            Some("\"x\""),
            Some(r#"[{"d":"x"}, 2]"#),
            Some("2"),
            Some("null"),
            Some("3"),
            None,
            Some(r#"{"b":1,"c":[{"d":"x"}, 2]}"#),
            Some("1"),
            Some("7"),
        ];
        assert_eq!(found(line, &paths).unwrap(), expected.map(|it| it.map(str::to_owned)));
        assert!(found("{\"a\":{\"b\":1}", &["a.b"]).is_err(), "all of the line is checked");
        assert!(found("{\"x\":01,\"a\":1}", &["a"]).is_err());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["a..b", ".a", "a.", "/a~2", "/~", &"a.".repeat(40)] {
            assert_eq!(JsonPath::parse(text), None, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-c\"]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c~/.]{1,2}", inner), 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_pointer_finds_what_serde_json_finds(
            value in json(),
            pointers in prop::collection::vec(prop::collection::vec("[a-c]|~0|~1|\\.|[0-3]", 1..4), 1..5),
        ) {
            let pointers: Vec<String> =
                pointers.iter().map(|it| it.iter().map(|it| format!("/{it}")).collect()).collect();
            let texts: Vec<&str> = pointers.iter().map(String::as_str).collect();
            let found = found(&value.to_string(), &texts).unwrap();
            for (pointer, found) in texts.iter().zip(found) {
                prop_assert_eq!(value.pointer(pointer).map(Value::to_string), found, "{} {}", pointer, value);
            }
        }
    }
}
