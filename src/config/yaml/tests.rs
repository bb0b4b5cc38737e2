//! What the YAML reader makes of files, and that each value knows its place.

use proptest::prelude::*;

use super::*;
use crate::config::tree::{MAX_ALIASED, MAX_NAMES, MAX_NESTING, MAX_NODES};

fn parse(source: &str) -> (Result<Node, Mistake>, Mistakes) {
    let mut mistakes = Mistakes::new("s.yaml", source);
    let root = read(source, &mut mistakes);
    (root, mistakes)
}

/// The first line of each mistake.
fn complaints(source: &str) -> Vec<String> {
    let (root, mut mistakes) = parse(source);
    if let Err(mistake) = root {
        mistakes.push(mistake);
    }
    let shown = mistakes.to_string();
    shown.lines().filter(|line| line.starts_with("s.yaml:")).map(str::to_owned).collect()
}

fn entries(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        other => panic!("{other:?} is no section"),
    }
}

/// The text under each span, in the order of the file: keys and values alternate in sections.
fn places<'s>(source: &'s str, node: &Node, out: &mut Vec<&'s str>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                out.push(&source[key.span.start..key.span.end]);
                places(source, value, out);
            }
        }
        Value::List(items) => items.iter().for_each(|item| places(source, item, out)),
        _ => out.push(&source[node.span.start..node.span.end]),
    }
}

#[test]
fn every_name_and_value_knows_its_place() {
    let source = "\
# Größe ✓ 𝄞
ключ: значение # комментарий ü
list:
- eins
- 'zwei ü'  
-   \"drei\"
flow: {a: [ü1, \"é\"], b: 2}
block: |
  ganz
  viel
next: folded
  line
";
    let (root, _) = parse(source);
    let mut found = Vec::new();
    places(source, &root.unwrap(), &mut found);
    let expected = [
        "ключ",
        "значение",
        "list",
        "eins",
        "'zwei ü'",
        "\"drei\"",
        "flow",
        "a",
        "ü1",
        "\"é\"",
        "b",
        "2",
        "block",
        "ganz\n  viel",
        "next",
        "folded\n  line",
    ];
    assert_eq!(found, expected);
}

#[test]
fn collections_reach_from_their_first_to_their_last_part() {
    let source = "a:\n  b: 1\n  c: é\n\n# end\nd: [1, {e: 2} ]\n";
    let root = parse(source).0.unwrap();
    let spans: Vec<&str> =
        entries(&root).iter().map(|(_, node)| &source[node.span.start..node.span.end]).collect();
    assert_eq!(spans, ["b: 1\n  c: é", "[1, {e: 2} ]"]);
}

#[test]
fn a_value_left_out_stands_at_its_name() {
    let source = "a:\nb: {c: , d}\n";
    let root = parse(source).0.unwrap();
    let mut found = Vec::new();
    places(source, &root, &mut found);
    assert_eq!(found, ["a", "a", "b", "c", "c", "d", "d"]);

    let root = parse("- 1\n-\n- 2").0.unwrap();
    let Value::List(items) = root.value else { panic!("a list") };
    assert_eq!(items[1].span.start, 5, "just behind its dash");
}

#[test]
fn quotes_make_text_and_nothing_else_does() {
    let root = parse("a: 1\nb: '1'\nc: \"1\"\nd: 0x10\ne: ~\nf: yes\ng: |\n  1\n").0.unwrap();
    let text = |text: &str| Value::String(text.to_owned());
    let values: Vec<Value> = entries(&root).iter().map(|(_, node)| node.value.clone()).collect();
    let expected = [
        Value::Int(1),
        text("1"),
        text("1"),
        Value::Int(16),
        Value::Null,
        text("yes"),
        text("1\n"),
    ];
    assert_eq!(values, expected);
}

#[test]
fn what_yaml_allows_and_settings_do_not_is_refused_with_its_place() {
    for (source, expected) in [
        ("a: !!str 1\nb: !x [1]", "s.yaml:1:4: the tag `!!str` is not supported"),
        ("a: 1\n---\nb: 2", "s.yaml:2:1: a second document begins here"),
        ("? [a]\n: 1", "s.yaml:1:3: the name of a setting must be text"),
        (": 1", "s.yaml:1:1: the name of a setting must be text"),
        ("a: &a\n  b: *a", "s.yaml:2:6: this alias stands inside what it stands for"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "s.yaml:3:3: merge keys (`<<`) are not supported"),
        ("a: 1\né: 2\na: 3", "s.yaml:3:1: `a` is set twice"),
    ] {
        assert_eq!(complaints(source)[0], expected, "{source}");
    }
}

#[test]
fn an_alias_repeats_what_its_anchor_names() {
    let source = "a: &a {b: [1]}\nc: *a";
    let root = parse(source).0.unwrap();
    let [(_, first), (_, second)] = entries(&root) else { panic!("two entries") };
    assert_eq!(first.value, second.value);
    assert_eq!(&source[second.span.start..second.span.end], "*a");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut source = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        source += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert_eq!(complaints(&source), ["s.yaml:6:5: the aliases of this file repeat too much"]);

    let text = "x".repeat(MAX_ALIASED / 2);
    let source = format!("a: &a {text}\nb: [*a, *a]");
    assert_eq!(complaints(&source), ["s.yaml:2:9: the aliases of this file repeat too much"]);
}

#[test]
fn nesting_and_the_number_of_values_are_limited() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse(&nested(MAX_NESTING)).0.is_ok());
    let deep = complaints(&nested(MAX_NESTING + 2));
    assert_eq!(deep, ["s.yaml:1:66: nested deeper than 64 levels"]);
    let hostile = complaints(&"[".repeat(4 << 20));
    assert_eq!(hostile, ["s.yaml:1:256: not valid YAML: recursion limit exceeded"]);

    let chain: String = (1..80).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    let deep = complaints(&format!("a0: &a0 1\n{chain}"));
    assert_eq!(deep, ["s.yaml:65:12: nested deeper than 64 levels"]);

    let many = "- 1\n".repeat(MAX_NODES);
    assert_eq!(complaints(&many), ["s.yaml:1000000:3: the file has more than 1000000 values"]);

    let names: String = (0..=MAX_NAMES).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(complaints(&names), ["s.yaml:10001:1: a section has more than 10000 names"]);
}

#[test]
fn a_reference_in_brackets_gets_the_advice_to_quote_it() {
    for source in ["a: [${env:X}]", "a: {b: ${env:X}}"] {
        let (root, mut mistakes) = parse(source);
        mistakes.push(root.unwrap_err());
        let shown = mistakes.to_string();
        assert!(shown.contains("put quotes around a value with `${…}`"), "{shown}");
    }
}

/// Something close to YAML more often than chance would have it.
fn yamlish() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-zé𝄞1~]{1,5}",
        prop::sample::select(vec![
            ": ", ":", "- ", "-", "? ", "\n", "\n  ", "\n    ", "\r\n", "\t", " ", "[", "]", "{",
            "}", ", ", "'", "\"", "\\", "|\n", ">-\n", "#", " # ü", "&a ", "*a", "!", "!!str ",
            "%", "---", "...", "<<", "${env:A}", "\u{feff}", "\u{85}", "\0", "|2+\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// Calls `check` with every plain scalar on one line that holds its place in the tree.
fn words(node: &Node, check: &mut dyn FnMut(&str, Span)) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                check(&key.name, key.span);
                words(value, check);
            }
        }
        Value::List(items) => items.iter().for_each(|item| words(item, check)),
        Value::String(text) => check(text, node.span),
        _ => {}
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text in any::<String>()) {
        drop(parse(&text));
    }

    #[test]
    fn text_like_yaml_is_read_or_refused_and_shown(text in yamlish()) {
        complaints(&text);
    }

    #[test]
    fn the_place_of_a_plain_word_is_the_word(text in yamlish()) {
        if let (Ok(root), _) = parse(&text) {
            words(&root, &mut |word, span| {
                let written = &text[span.start..span.end];
                // Quoted, escaped, folded and aliased text is written otherwise.
                let plain = !written.contains(['\'', '"', '\n', '\r', '|', '>', '&', '*', '!', '\u{85}']);
                assert!(!plain || written.trim() == word.trim(), "{written:?} for {word:?}");
            });
        }
    }
}
