//! Each limit refuses what is past it and lets through what CEL asks every engine to take.

use std::thread;

use proptest::prelude::*;

use super::super::limits::*;
use super::super::*;
use super::{http, run};

fn message(text: &str) -> String {
    check(text, &http()).map_or_else(|error| error.mistakes()[0].message.clone(), |_| "fine".into())
}

/// `count` copies of a text with a separator between them.
fn chain(text: &str, separator: &str, count: usize) -> String {
    vec![text; count].join(separator)
}

fn nested(open: &str, inner: &str, close: &str, count: usize) -> String {
    format!("{}{inner}{}", open.repeat(count), close.repeat(count))
}

#[test]
fn what_is_past_a_limit_is_refused_with_its_name() {
    let long = format!("'{}' == ''", "x".repeat(MAX_SOURCE));
    let folds = "[1].exists(a, [1].exists(b, [1].exists(c, ";
    for (text, said) in [
        (long, "16392 bytes long, over the limit of source size, 16384"),
        (nested("(", "true", ")", 65), "brackets nest deeper than 64, the limit of nesting"),
        (
            format!("{} == 1", chain("1", " + ", 129)),
            "operands 129 levels deep, over the limit of tree depth, 128",
        ),
        (
            format!("{} == 1", chain("1", "+", 8_000)),
            "operands 129 levels deep, over the limit of tree depth, 128",
        ),
        (
            format!("a{}", ".a".repeat(8_000)),
            "operands 129 levels deep, over the limit of tree depth, 128",
        ),
        (
            format!("{} 1", "1?1:".repeat(4_000)),
            "operands 129 levels deep, over the limit of tree depth, 128",
        ),
        (
            format!("1 in [{}]", chain("1", ",", 4_097)),
            "4097 elements, over the limit of list size, 4096",
        ),
        (
            format!("[{}] == []", chain("!!1", ",", 4_090)),
            "more than 10000 nodes, the limit of filter size",
        ),
        (
            format!("{folds}[1].exists(d, d == a))))"),
            "more than 3 comprehensions inside each other, the limit of comprehension nesting",
        ),
        (
            r"ev.tls.version.matches('(\\pL{30}){30}')".into(),
            "over the limit of 1048576 bytes of a compiled regular expression",
        ),
        (
            (0..33)
                .map(|n| format!("ev.tls.version.matches('{n}')"))
                .collect::<Vec<_>>()
                .join("||"),
            "more than 32 different regular expressions, the limit of one filter",
        ),
        (
            "ev.tls.version.matches('a{1001}')".into(),
            "bad regular expression: a repetition is at most 1000",
        ),
    ] {
        assert_eq!(message(&text), said, "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn a_filter_that_may_cost_too_much_is_refused_with_its_estimate() {
    let logs = |body: &str| format!("ev.traffic_policy.logs.exists(l, {body})");
    let twice = logs("ev.traffic_policy.logs.exists(m, l == m)");
    let thrice = logs(&logs(&logs("true")));
    assert_eq!(message(&twice), "fine");
    assert_eq!(message(&thrice), "costs up to 270465 units, over the limit of cost, 100000");
}

#[test]
fn values_that_share_their_parts_are_not_compared_for_ever() {
    let doubled =
        (0..40).fold("c == c".to_owned(), |inner, _| format!("cel.bind(c, [c, c], {inner})"));
    assert_eq!(
        super::says(&format!("cel.bind(c, [ev.tls.version], {doubled})"), "{}"),
        "over the limit of 2500000 units of work in one evaluation"
    );
}

#[test]
fn what_cel_asks_of_every_engine_is_taken() {
    for text in [
        chain("true", " || ", 32),
        chain("true", " && ", 32),
        format!("1 in [{}]", chain("1", ",", 32)),
        format!("{}true", "true ? false : ".repeat(24)),
        format!("{} == 25", chain("1", " + ", 25)),
        format!("1 < 2 {}", "== true ".repeat(24)),
        format!("{} == 1", nested("int(", "1", ")", 12)),
        format!("dyn({{}}){} == 1", ".a".repeat(12)),
        format!("dyn([]){} == 1", "[0]".repeat(12)),
        format!("{} == []", nested("[", "", "]", 12)),
        format!("{} == dyn({{}})", nested("{'a': ", "1", "}", 12)),
        nested("(", "true", ")", 32),
        format!("{}true", "!".repeat(32)),
        format!("{}1 == 1", "-".repeat(32)),
        chain("ev.tls.version.matches('1')", " || ", 100),
        chain("ev.conn.client_ip == '203.0.113.9'", " || ", 400),
        format!("{}true", "!".repeat(10_000)),
        format!("{}1 == 1", "-".repeat(10_000)),
    ] {
        assert_eq!(message(&text), "fine", "{}", &text[..text.len().min(80)]);
    }
}

/// Variables in each other, each a nest of lists around the one before.
fn bound(body: &str, eager: bool) -> String {
    let used = if eager { "c == c && " } else { "" };
    (1..MAX_NESTING - 4)
        .rev()
        .fold(body.to_owned(), |inner, outside| {
            let value = nested("[", "c", "]", MAX_NESTING - 2 - outside);
            format!("cel.bind(c, {value}, {used}{inner})")
        })
        .replacen("[c]", "[0]", 1)
}

#[test]
fn the_deepest_filters_fit_a_stack_of_2_mib() {
    let deepest = [
        nested("(", "true", ")", MAX_NESTING),
        nested("!(", "true", ")", MAX_NESTING - 1),
        nested("true ? (", "true", ") : false", MAX_NESTING - 1),
        format!("{} == []", nested("[", "", "]", MAX_NESTING - 1)),
        format!("dyn({}) == 1", nested("{1: ", "1", "}", MAX_NESTING - 3)),
        format!("{} == ''", nested("string(", "ev.tls.version", ")", MAX_NESTING - 2)),
        format!("dyn([]){} == 1", nested("[", "0", "]", MAX_NESTING - 3)),
        format!("dyn(ev.anything){} == 1", ".a".repeat(MAX_NESTING - 3)),
        format!("{} == ''", nested("ev.tls.version + (", "''", ")", MAX_NESTING - 2)),
        format!("{} == ''", chain("ev.tls.version", " + ", MAX_TREE_DEPTH - 2)),
        format!("dyn(ev.anything){} == 1", ".a".repeat(MAX_TREE_DEPTH - 4)),
        format!("{}[0]{}.size() == 1", "[".repeat(MAX_NESTING - 2), "]".repeat(MAX_NESTING - 2)),
        bound("c == c", false),
        bound("'%s'.format([c]) == ''", false),
        bound("c == c", true),
        bound("'%s'.format([c]) == ''", true),
        "(".repeat(MAX_NESTING),
        "[{(".repeat(MAX_NESTING / 3),
        "f(".repeat(MAX_NESTING),
        "a[".repeat(MAX_NESTING),
        "a{b:".repeat(MAX_NESTING),
    ];
    let walk = move || {
        for text in deepest {
            let filter = check(&text, &http());
            let is_bound = text.starts_with("cel.bind");
            assert!(!is_bound || filter.is_ok(), "{filter:?}");
            if let Ok(filter) = filter {
                let _ = run(&filter, "{}");
            }
        }
    };
    thread::Builder::new().stack_size(2 << 20).spawn(walk).unwrap().join().unwrap();
}

#[test]
fn one_evaluation_has_a_budget() {
    let hundred = chain("1", ",", 101);
    let squared = format!("[{hundred}].all(a, [{hundred}].all(b, a == b))");
    let doubled = format!("({}).size() > 0", chain("(ev.tls.version + 'a')", " + ", 10));
    let big = format!("{{\"tls\":{{\"version\":\"{}\"}}}}", "x".repeat(100_000));
    for (text, object, said) in [
        (squared.as_str(), "{}", "over the limit of 10000 iterations in one evaluation"),
        (
            "[1,2,3,4,5,6,7,8,9,10].all(a, 'x'.matches(ev.ja4_fingerprint))",
            "{}",
            "over the limit of 2500000 units of work in one evaluation",
        ),
        (
            "[1,2,3,4,5].all(a, [1,2,3,4,5].all(b, [1,2,3,4,5].all(c, !ev.tls.version.contains('y'))))",
            big.as_str(),
            "over the limit of 3001708 units of work in one evaluation",
        ),
        (
            doubled.as_str(),
            big.as_str(),
            "over the limit of 1048576 bytes of results in one evaluation",
        ),
    ] {
        assert_eq!(super::says(text, object), said, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_checker_panic(text in any::<String>()) {
        let _ = check(&text, &http());
    }

    #[test]
    fn no_run_of_tokens_makes_the_checker_or_evaluator_panic(
        tokens in proptest::collection::vec(
            prop_oneof![
                "[-+*/%!<>=?:.,(){}\\[\\]|&`'\"]",
                proptest::sample::select(vec![
                    "ev", ".conn", ".server_port", ".anything", "has(", ".exists(x,", ".map(y,",
                    "x", "1", "2u", "1.5", "'a'", "b'\\xff'", "in", "true", "null", "==", "&&",
                    "||", ".matches(", "timestamp(", "duration(", "size(", "\\", "r'", "//", "\n",
                    "9223372036854775808", "[0]", ".?", "\u{e9}", "int(", "string(", "{1: 2}",
                    "cel.bind(x,", ".format([", "optional.of(", ".optMap(x,", ".orValue(",
                    "math.greatest(", ".split('')", "lists.range(", "cidr('::/0')", "[?", "])",
                    ".transformMap(x, y,", ".all(x, y,", ".containsIP(", "'%s %x'", ".sort()",
                    "regex.replace(", "base64.decode(", ".reverse()", ".flatten(", "ip(", "))",
                ]).prop_map(str::to_owned),
            ],
            0..24,
        ),
    ) {
        if let Ok(filter) = check(&tokens.concat(), &http()) {
            let _ = run(&filter, r#"{"conn":{"server_port":443},"anything":[{"a":1}]}"#);
        }
    }
}
