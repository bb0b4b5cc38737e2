//! The pages on filters: what `filters/README.md` shows and lists is so, and `filters/functions.md` is
//! made from the tables of functions.
//!
//! Each block of `cel` is a filter that is accepted, and says true of the event that the page shows
//! unless the line before it says otherwise.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use regex::Regex;

use super::super::family::Style;
use super::super::limits::*;
use super::super::macros::MACROS;
use super::super::overloads::{families, function_names};
use super::super::*;
use super::{http, run};

const PAGE: &str = include_str!("../../../filters/README.md");

/// The page of functions, and what has it made anew when it is set for this test.
const FUNCTIONS_PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/filters/functions.md");
const REMAKE: &str = "SLUICEGATE_REMAKE_PAGES";

const FUNCTIONS_HEAD: &str = "# Functions of the filter language

Every operator and function with the types that it takes and gives. This page is made from the table
that filters are checked and run by; [README.md](README.md) explains the language, and its macros (`has`,
`all`, `map`, …), which are no functions. Nor are `&&`, `||` and `? :`, which take bools and look at no more than they
need.

`A` and `B` stand for any type, the same wherever they stand in a line. `dyn` takes and may give any
type, which is known only when the filter runs.
";

/// The blocks of one language, each with the last line of text before it.
fn blocks(language: &str) -> Vec<(String, String)> {
    let (mut blocks, mut open, mut before): (Vec<(String, String)>, bool, String) =
        Default::default();
    for line in PAGE.lines() {
        if open && line == "```" {
            open = false;
        } else if open {
            if let Some((_, block)) = blocks.last_mut() {
                block.push_str(line);
                block.push('\n');
            }
        } else if line == format!("```{language}") {
            open = true;
            blocks.push((std::mem::take(&mut before), String::new()));
        } else if !line.is_empty() {
            line.clone_into(&mut before);
        }
    }
    blocks
}

#[test]
fn every_example_of_the_page_is_accepted_and_true_of_its_event() {
    let (_, event) = blocks("json").into_iter().next().unwrap();
    let examples = blocks("cel");
    assert!(examples.len() > 20, "the page has its examples");
    for (before, text) in examples {
        let filter = check(&text, &http()).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let expected = !before.contains("false here");
        assert_eq!(run(&filter, &event), Ok(expected), "{text}");
    }
}

#[test]
fn the_report_that_the_page_shows_is_the_real_one() {
    let (_, shown) = blocks("text").into_iter().next().unwrap();
    let error = check("ev.conn.client_port == 1", &http()).unwrap_err();
    assert_eq!(shown.trim_end(), error.to_string());
}

/// The rows of the page's tables, each table with its head.
fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut tables = Vec::new();
    let mut lines = PAGE.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('|') {
            let rule = lines.next().unwrap();
            assert!(rule.starts_with("|---"), "{line}");
            let mut rows = Vec::new();
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            tables.push((line, rows));
        }
    }
    tables
}

fn rows(head: &str) -> Vec<&'static str> {
    tables().into_iter().find(|(found, _)| *found == head).map(|(_, rows)| rows).unwrap()
}

const OF_FUNCTIONS: &str = "| library | functions |";
const OF_LIMITS: &str = "| what | limit |";
const OF_LIBRARY: &str = "| name | what it takes |";

#[test]
fn each_table_of_the_page_has_its_test() {
    let heads: Vec<_> = tables().into_iter().map(|(head, _)| head).collect();
    assert_eq!(heads, [OF_FUNCTIONS, OF_LIMITS, OF_LIBRARY]);
}

#[test]
fn the_page_lists_every_filter_of_the_library() {
    let row = |filter: &LibraryFilter| format!("| `{}` | {} |", filter.name, filter.description);
    assert_eq!(rows(OF_LIBRARY), library().map(row).collect::<Vec<_>>());
}

/// What stands in code between single backticks, outside of blocks.
fn code_spans(text: &'static str) -> Vec<&'static str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// All functions and macros.
fn callable() -> BTreeSet<&'static str> {
    function_names().chain(MACROS).collect()
}

#[test]
fn every_function_that_the_page_names_is_there() {
    let callable = callable();
    let listed: Vec<_> = rows(OF_FUNCTIONS).into_iter().flat_map(code_spans).collect();
    assert!(listed.len() > 40, "the table has its functions");
    let call = Regex::new(r"^(?:\w+\.)?\.?([A-Za-z_]\w*)\(").unwrap();
    for span in code_spans(PAGE) {
        let name = match call.captures(span) {
            Some(found) => found.get(1).unwrap().as_str(),
            None if listed.contains(&span) => span,
            None => continue,
        };
        let whole = span.split('(').next().unwrap();
        assert!(callable.contains(whole) || callable.contains(name), "`{span}`");
    }
}

#[test]
fn the_page_names_every_function() {
    let name = Regex::new(r"[A-Za-z_][\w.]*").unwrap();
    let spans = code_spans(PAGE);
    let named: BTreeSet<&str> =
        spans.iter().flat_map(|span| name.find_iter(span)).map(|found| found.as_str()).collect();
    // `list.unwrapOpt()` names `unwrapOpt`.
    let ends: BTreeSet<&str> = named.iter().filter_map(|name| name.rsplit('.').next()).collect();
    let missing: Vec<&str> = callable()
        .into_iter()
        .filter(|name| !named.contains(name) && !ends.contains(name))
        .collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}

/// A number as the page writes it: 10,000.
fn with_commas(number: impl TryInto<u64>) -> String {
    let number = number.try_into().ok().unwrap();
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1_000),
    }
}

#[test]
fn the_limits_on_the_page_are_those_in_force() {
    const MIB: usize = 1024 * 1024;
    assert_eq!((MAX_REGEX_PROGRAM, MAX_COMPILED, MAX_RESULT), (MIB, MIB, MIB));
    assert_eq!((LARGE_VALUE, MAX_LARGE_VALUE), (16 << 10, MIB), "the page writes both");
    let work = MAX_WORK / 1_000;
    assert_eq!((work / 1_000, work % 1_000), (2, 500), "the page writes it");
    assert_eq!(WORK_PER_LARGE_BYTE, 6, "the page writes it");
    assert_eq!(EVENT_ITEM, EVENT_ITEMS, "the page writes both");
    let (nodes, items) = (with_commas(MAX_NODES), with_commas(MAX_LITERAL_ITEMS));
    let (repeat, cost) = (with_commas(MAX_REGEX_REPEAT), with_commas(MAX_COST));
    let (text, iterations) = (with_commas(EVENT_TEXT), with_commas(MAX_ITERATIONS));
    let dynamic = MAX_DYNAMIC_REGEX_PROGRAM / 1024;
    assert_eq!(
        rows(OF_LIMITS),
        [
            format!("| length of a filter | {} KiB |", MAX_SOURCE / 1024),
            format!("| brackets inside each other | {MAX_NESTING} |"),
            format!(
                "| operands inside each other (`a + b + …`; `&&`, `||` and lists do not count) | {MAX_TREE_DEPTH} |"
            ),
            format!("| nodes after macros are expanded | {nodes} |"),
            format!("| elements of a list or map in the text | {items} |"),
            format!("| `all`, `exists`, … inside each other | {MAX_COMPREHENSION_NESTING} |"),
            format!(
                "| regular expressions | {MAX_REGEXES} different ones, 1 MiB compiled together, repetitions up to {repeat} |"
            ),
            format!(
                "| a pattern that is not a constant | {MAX_DYNAMIC_REGEX} bytes, {dynamic} KiB compiled |"
            ),
            format!(
                "| estimated cost | {cost} units of CEL's cost model, taking {text} characters for a text of an event, {EVENT_ITEMS} items for a list and {EVENT_ITEM} characters for an item |"
            ),
            format!("| groups inside each other in a regular expression | {MAX_REGEX_NESTING} |"),
            format!(
                "| one evaluation | {iterations} iterations, 1 MiB of strings and lists made, 2,500,000 units of work |"
            ),
        ]
    );
}

/// How a function is written with these types: `string.charAt(int) → string`.
fn signatures(name: &str, style: Style, parameters: &str, result: &str) -> Vec<String> {
    let types = types::split_types(parameters);
    match (name, types.as_slice()) {
        ("[]", [of, key]) => return vec![format!("{of}[{key}] → {result}")],
        ("[?]", [of, key]) => return vec![format!("{of}[?{key}] → {result}")],
        ("!_" | "-_", [operand]) => return vec![format!("{}{operand} → {result}", &name[..1])],
        (operator, [a, b]) if operator == "in" || !operator.starts_with(char::is_alphabetic) => {
            return vec![format!("{a} {operator} {b} → {result}")];
        }
        _ => {}
    }
    let global = format!("{name}({}) → {result}", types.join(", "));
    let called = types
        .split_first()
        .map(|(receiver, rest)| format!("{receiver}.{name}({}) → {result}", rest.join(", ")));
    match style {
        Style::Global => vec![global],
        Style::Receiver => called.into_iter().collect(),
        Style::Both => [global].into_iter().chain(called).collect(),
    }
}

/// The page of functions as the tables have it.
fn functions_page() -> String {
    let mut sorted: Vec<_> = families().collect();
    let is_operator = |name: &str| name == "in" || !name.starts_with(|c: char| c.is_alphabetic());
    sorted.sort_by_key(|family| (!is_operator(family.name), family.name.to_lowercase()));
    let mut page = FUNCTIONS_HEAD.to_owned();
    for (title, kind) in [("Operators", true), ("Functions", false)] {
        let _ = write!(page, "\n## {title}\n\n| name | takes and gives |\n|---|---|\n");
        for family in sorted.iter().filter(|family| is_operator(family.name) == kind) {
            let lines: Vec<String> = family
                .signatures
                .iter()
                .flat_map(|(parameters, result)| {
                    signatures(family.name, family.style, parameters, result)
                })
                .map(|line| format!("`{}`", line.replace('|', "\\|")))
                .collect();
            let name = family.name.replace('_', "");
            let _ = writeln!(page, "| `{name}` | {} |", lines.join("<br>"));
        }
    }
    page
}

#[test]
fn the_page_of_functions_is_what_the_tables_say() {
    let made = functions_page();
    if std::env::var_os(REMAKE).is_some() {
        std::fs::write(FUNCTIONS_PAGE, &made).unwrap();
    }
    let page = std::fs::read_to_string(FUNCTIONS_PAGE).unwrap_or_default();
    assert!(page == made, "{FUNCTIONS_PAGE} is old: {REMAKE}=1 cargo test --lib page_of_functions");
}
