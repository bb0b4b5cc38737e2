//! The house rule against circles: the files of a folder do not import each other in a circle.
//!
//! A `mod.rs` and the files that it opens are not counted against each other: the front of a folder may
//! use its files, and they may use the words that it holds for all of them. A name that a front only
//! passes on counts as the file's that has it. Methods are no imports: a type may have them in several
//! files, each of which imports the type. Unit tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::tidy::{root, rust_files};

/// A module's place below `src`: `["filter", "functions", "text"]`.
type Place = Vec<String>;

/// The source text of each module.
type Sources = BTreeMap<Place, String>;

/// How deep a name may be passed on from front to front.
const MAX_PASSES: usize = 8;

fn place_of(file: &Path) -> Place {
    let inside = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut place: Place = inside.iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    if place.last().is_some_and(|last| last == "mod") {
        place.pop();
    }
    place
}

/// A source without comments and unit tests.
fn code(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    Regex::new("//.*").unwrap().replace_all(&source[..end], "").into_owned()
}

/// The paths that a tree of imports names: `a::{b, c::D}` names `a::b` and `a::c::D`.
fn leaves(before: &[String], tree: &str) -> Vec<Place> {
    let segments = |text: &str| -> Vec<String> {
        let path = text.split(" as ").next().unwrap();
        path.split("::").map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![[before, &segments(tree)].concat()];
    };
    let before = [before, &segments(head)].concat();
    let inside = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
    for (at, char) in inside.char_indices().chain([(inside.len(), ',')]) {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = inside[start..at].trim();
                if !item.is_empty() {
                    paths.extend(leaves(&before, item));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// The paths of a module's `use` declarations, and those that stand elsewhere in its code.
fn paths(source: &str) -> (Vec<Place>, Vec<Place>) {
    let code = code(source);
    let import = Regex::new(r"(?m)^[ ]*(?:pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").unwrap();
    let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
    let uses = import.captures_iter(&code).flat_map(|found| leaves(&[], &found[1])).collect();
    let others = import.replace_all(&code, "");
    let others = inline.find_iter(&others).flat_map(|found| leaves(&[], found.as_str())).collect();
    (uses, others)
}

/// The module that a path means from inside another, if it is one of ours.
fn module_of(
    sources: &Sources,
    uses: &BTreeMap<&Place, Vec<Place>>,
    (from, path): (&Place, &[String]),
    passes: usize,
) -> Option<Place> {
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Place::new(), &path[1..]),
        "super" | "self" => (from.clone(), path),
        child if sources.contains_key(&[from.as_slice(), &[child.to_owned()]].concat()) => {
            (from.clone(), path)
        }
        _ => return None,
    };
    while let [first, others @ ..] = rest {
        let child = [at.as_slice(), std::slice::from_ref(first)].concat();
        match first.as_str() {
            "super" => drop(at.pop()),
            "self" => {}
            _ if sources.contains_key(&child) => at = child,
            _ => break,
        }
        rest = others;
    }
    // The front of a folder may only pass the name on.
    let passed = uses
        .get(&at)
        .into_iter()
        .flatten()
        .find(|path| path.len() > 1 && path.last() == rest.first() && passes < MAX_PASSES);
    let further = passed.and_then(|path| module_of(sources, uses, (&at, path), passes + 1));
    further.or_else(|| sources.contains_key(&at).then_some(at))
}

/// The circles in each folder, as the files that take part.
fn circles(sources: &Sources) -> Vec<String> {
    let read: BTreeMap<&Place, _> =
        sources.iter().map(|(place, source)| (place, paths(source))).collect();
    let uses: BTreeMap<&Place, Vec<Place>> =
        read.iter().map(|(place, (uses, _))| (*place, uses.clone())).collect();
    // For each file or folder, what it imports in the same folder.
    let mut imports: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    for (from, (used, others)) in &read {
        if from.iter().any(|name| name == "tests") {
            continue;
        }
        for path in used.iter().chain(others) {
            let Some(to) = module_of(sources, &uses, (from, path), 0) else { continue };
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if shared > 0 && shared < from.len().min(to.len()) {
                let sides = (from[..=shared].to_vec(), to[..=shared].to_vec());
                imports.entry(sides.0).or_default().insert(sides.1);
            }
        }
    }
    let reached = |from: &Place| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(place) = next.pop() {
            let new = imports.get(&place).into_iter().flatten();
            next.extend(new.filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen
    };
    let circle = |place: &Place| -> Option<BTreeSet<String>> {
        let all = reached(place);
        let back = all.iter().filter(|other| reached(other).contains(place));
        all.contains(place).then(|| back.map(|other| other.join("/")).collect())
    };
    let found: BTreeSet<BTreeSet<String>> = imports.keys().filter_map(circle).collect();
    found.into_iter().map(|it| it.into_iter().collect::<Vec<_>>().join(" ↔ ")).collect()
}

#[test]
fn the_files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let files = rust_files(&root().join("src"));
    let sources: Sources =
        files.iter().map(|file| (place_of(file), fs::read_to_string(file).unwrap())).collect();
    assert!(sources.len() > 100, "the sources were not found");
    let found = circles(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_circle_test_sees_every_way_round() {
    let found = |files: &[(&str, &str)]| {
        let place = |path: &str| path.split('/').map(str::to_owned).collect::<Place>();
        let sources = files.iter().map(|(path, text)| (place(path), (*text).to_owned())).collect();
        circles(&sources)
    };
    let circle = ["room/a ↔ room/b"];
    for (a, b) in [
        ("use super::b::B;", "use crate::room::a::{self, A};"),
        ("pub(super) use super::{b, other::C};", "fn f() { super::a::g() }"),
        ("use super::b::{\n    B,\n    C,\n};", "use super::{Front, A as Passed};"),
    ] {
        let front = "mod a;\nmod b;\npub use a::A;\npub struct Front;";
        assert_eq!(found(&[("room", front), ("room/a", a), ("room/b", b)]), circle, "{a} {b}");
    }
    let deep = [
        ("room", ""),
        ("room/a", ""),
        ("room/a/x", "use super::super::b::B;"),
        ("room/b", "use super::c::C;"),
        ("room/c", "use super::a::x::X;"),
    ];
    assert_eq!(found(&deep), ["room/a ↔ room/b ↔ room/c"]);

    let none: [&str; 0] = [];
    for (a, b) in [
        ("use super::b::B;", "// use super::a::A;"),
        ("use super::b::B;", "use super::Front;"),
        ("use super::b::B;", "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"),
    ] {
        let front = "use a::A;\npub struct Front;";
        assert_eq!(found(&[("room", front), ("room/a", a), ("room/b", b)]), none, "{a} {b}");
    }
}
