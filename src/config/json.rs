//! JSON into the tree, by the same strict walk that events go through.
//!
//! Not read by the YAML reader, which would let comments, single quotes and trailing commas pass.

use super::mistakes::{Mistake, Mistakes};
use super::tree::{Budget, Key, Node, Value, map};
use crate::event::{JsonCursor, ScanError, string_value, unescape};
use crate::report::Span;

/// Reads a whole file. Duplicate names are added to `mistakes`.
///
/// # Errors
/// The first place that is not JSON, or the limit that the file goes over.
pub(super) fn read(source: &str, mistakes: &mut Mistakes) -> Result<Node, Mistake> {
    let mut reader =
        Reader { source, cursor: JsonCursor::new(source), budget: Budget::new(), mistakes };
    if reader.cursor.next_token().is_none() {
        return Ok(Node::new(Value::Null, Span::default()));
    }
    let root = reader.node(0)?;
    reader.cursor.end()?;
    Ok(root)
}

struct Reader<'s, 'm> {
    source: &'s str,
    cursor: JsonCursor<'s>,
    budget: Budget,
    mistakes: &'m mut Mistakes,
}

impl Reader<'_, '_> {
    fn node(&mut self, depth: usize) -> Result<Node, Mistake> {
        let first = self.cursor.next_token();
        let start = self.cursor.position();
        self.budget.node(depth, Span { start, end: start + 1 })?;
        let value = match first {
            Some(b'{') => self.section(depth)?,
            Some(b'[') => self.list(depth)?,
            // The depth is counted here; the cursor need not count it too.
            _ => scalar(self.cursor.value(0)?),
        };
        Ok(Node::new(value, Span { start, end: self.cursor.position() }))
    }

    fn section(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut entries = Vec::new();
        let mut more = self.cursor.enter(b'{', b'}')?;
        while more {
            self.cursor.next_token();
            let start = self.cursor.position();
            let written = self.cursor.key()?;
            // Both quotes belong to the place.
            let span = Span { start, end: start + written.len() + 2 };
            Budget::name(entries.len(), span)?;
            let key = Key { name: unescape(written).into_owned(), span };
            entries.push((key, self.node(depth + 1)?));
            more = self.cursor.more(b'}')?;
        }
        Ok(Value::Map(map(entries, self.source, self.mistakes)))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut items = Vec::new();
        let mut more = self.cursor.enter(b'[', b']')?;
        while more {
            items.push(self.node(depth + 1)?);
            more = self.cursor.more(b']')?;
        }
        Ok(Value::List(items))
    }
}

/// The value of valid JSON text that is neither an object nor an array.
fn scalar(text: &str) -> Value {
    match text {
        "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Some(inside) = string_value(text) {
        return Value::String(inside.into_owned());
    }
    // A number of JSON is always one that `f64` reads, if need be as infinity.
    text.parse().map_or_else(|_| Value::Float(text.parse().unwrap_or(f64::NAN)), Value::Int)
}

impl From<ScanError> for Mistake {
    fn from(error: ScanError) -> Mistake {
        let place = Span { start: error.at, end: error.at + 1 };
        Mistake::at(place, format!("not valid JSON: {}", error.what))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::config::yaml;

    fn arbitrary() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            (-1e9..1e9f64).prop_map(Json::from),
            "[ -~é𝄞\n]{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map("[a-zé \"\\\\]{0,9}", inner, 0..6)
                    .prop_map(|entries| Json::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// The tree as plain JSON again, its places left behind.
    fn plain(node: &Node) -> Json {
        match &node.value {
            Value::Null => Json::Null,
            Value::Bool(truth) => Json::from(*truth),
            Value::Int(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::String(text) => Json::from(text.as_str()),
            Value::List(items) => items.iter().map(plain).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| (key.name.clone(), plain(value))).collect()
            }
            Value::Mistaken => panic!("nothing is mistaken here"),
        }
    }

    fn check(source: &str) -> Result<Node, String> {
        let mut mistakes = Mistakes::new("s.json", source);
        let node = read(source, &mut mistakes).map_err(|mistake| {
            let mut alone = Mistakes::new("s.json", source);
            alone.push(mistake);
            alone.to_string()
        })?;
        if mistakes.is_empty() { Ok(node) } else { Err(mistakes.to_string()) }
    }

    #[test]
    fn what_only_yaml_takes_is_refused() {
        for (source, message) in [
            ("{\"a\": 1,}", "s.json:1:9: not valid JSON: expected a key in double quotes"),
            ("{'a': 1}", "s.json:1:2: not valid JSON: expected a key in double quotes"),
            ("{\"a\": é}", "s.json:1:7: not valid JSON: expected a value"),
            ("{} # end", "s.json:1:4: not valid JSON: expected nothing after the value"),
            ("{\"a\": 1,\n \"\\u0061\": 2}", "s.json:2:2: `a` is set twice"),
        ] {
            let shown = check(source).unwrap_err();
            assert!(shown.starts_with(message), "{shown}");
        }
    }

    #[test]
    fn nesting_and_the_number_of_values_are_limited() {
        let deep = check(&"[".repeat(1_000_000)).unwrap_err();
        assert!(deep.starts_with("s.json:1:66: nested deeper than 64 levels"), "{deep}");
        let many = check(&format!("[{}1]", "1,\n".repeat(1_000_000))).unwrap_err();
        assert!(many.starts_with("s.json:1000000:1: the file has more than 1000000"), "{many}");
    }

    #[test]
    fn names_and_values_know_their_places() {
        let source = "{\"é\\n\": [\"ü\", 12]}";
        let Value::Map(entries) = check(source).unwrap().value else { panic!("a section") };
        let (key, node) = &entries[0];
        assert_eq!(&source[key.span.start..key.span.end], "\"é\\n\"");
        let Value::List(items) = &node.value else { panic!("a list") };
        assert_eq!(&source[items[1].span.start..items[1].span.end], "12");
    }

    proptest! {
        #[test]
        fn arbitrary_trees_read_back_the_same(json in arbitrary()) {
            for source in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
                prop_assert_eq!(plain(&check(&source).unwrap()), json.clone());
            }
        }

        #[test]
        fn the_yaml_reader_makes_the_same_of_json(json in arbitrary()) {
            let source = serde_json::to_string_pretty(&json).unwrap();
            let mut mistakes = Mistakes::new("s.yaml", &*source);
            let node = yaml::read(&source, &mut mistakes);
            prop_assert_eq!(plain(&node.unwrap()), json);
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(
            text in r#"([\[\]{}:,"\\ \n0-9.eE+-]|true|false|null|"[a-zé\\u0-9]{0,9}"){0,12}"#,
        ) {
            let theirs = serde_json::from_str::<Json>(&text);
            prop_assume!(!theirs.as_ref().is_err_and(|error| error.to_string().contains("range")));
            // An empty file is recognised later, for all formats alike.
            let ours = check(&text).is_ok_and(|node| node.span != Span::default());
            // Names given twice are refused here only.
            prop_assert!(!ours || theirs.is_ok(), "{}", text);
        }
    }
}
