//! The list of error codes: held to the sources, printed by `sluicegate errors`, and made into
//! `docs/errors.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sluicegate::errors::{ErrorCode, all};

use crate::support::{output_of, sluicegate};
use crate::tidy::rust_files;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The codes that a source gives to somebody, as string literals outside its tests.
fn codes_in(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = BTreeSet::new();
    for literal in source.split('"') {
        let number =
            ["ERR_SLUICEGATE_", "ERR_NGROK_"].iter().find_map(|it| literal.strip_prefix(it));
        if number.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit())) {
            found.insert(literal.to_owned());
        }
    }
    found
}

/// Each code that the sources use, with the files that do.
fn used() -> BTreeMap<String, Vec<String>> {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in rust_files(&root().join("src")) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        // The list itself uses none; commands that know a daemon's code do not give it.
        let gives_none = ["src/errors/", "src/cli/"].iter().any(|it| name.starts_with(it));
        if gives_none || name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        for code in codes_in(&fs::read_to_string(&file).unwrap()) {
            used.entry(code).or_default().push(name.clone());
        }
    }
    used
}

#[test]
fn each_code_that_is_used_is_listed_once_and_each_that_is_listed_is_used() {
    let used = used();
    assert!(used.len() > 80, "the search for codes sees the sources");
    let listed: BTreeSet<String> = all().map(|it| it.code.to_owned()).collect();
    assert_eq!(listed.len(), all().count(), "a code is listed twice");
    let unlisted: Vec<_> = used.iter().filter(|(code, _)| !listed.contains(*code)).collect();
    assert!(unlisted.is_empty(), "add them to src/errors/: {unlisted:?}");
    let unused: Vec<_> = listed.iter().filter(|code| !used.contains_key(*code)).collect();
    assert!(unused.is_empty(), "nothing in src gives these codes: {unused:?}");
}

#[test]
fn the_search_for_codes_sees_literals_outside_tests() {
    let source = "a(\"ERR_NGROK_200\");\n// `ERR_NGROK_201`\nb(\"ERR_SLUICEGATE_1101\")\n\
                  #[cfg(test)]\nmod tests {\n\"ERR_NGROK_202\"";
    let codes = ["ERR_NGROK_200", "ERR_SLUICEGATE_1101"];
    assert_eq!(codes_in(source), codes.map(str::to_owned).into());
}

#[test]
fn the_list_is_in_order_and_in_sentences() {
    let number = |it: &ErrorCode| it.code.rsplit_once('_').unwrap().1.parse::<u32>().unwrap();
    let own = |it: &ErrorCode| it.code.starts_with("ERR_SLUICEGATE_");
    let place = |it: &ErrorCode| (!own(it), number(it));
    assert!(all().is_sorted_by_key(place), "by their numbers");
    for it in all() {
        let code = it.code;
        assert!(!it.cause.ends_with('.') && !it.cause.contains('|'), "{code}");
        assert!(it.remedy.ends_with('.') && !it.remedy.contains('|'), "{code}");
    }
}

#[test]
fn the_page_of_errors_is_made_from_the_list() {
    let mut page = "# Errors\n\n\
        Each answer that refuses, each dead letter of a rejected event and many messages of commands carry \
        one of these codes. The message beside it knows the case and says more; `sluicegate errors CODE` \
        prints the same as this page. A code keeps its meaning for ever.\n"
        .to_owned();
    let families =
        [("Our own", "ERR_SLUICEGATE_"), ("ngrok's, with ngrok's meaning", "ERR_NGROK_")];
    for (title, prefix) in families {
        page += &format!("\n## {title}\n\n| code | what happened | what to do |\n|---|---|---|\n");
        for it in all().filter(|it| it.code.starts_with(prefix)) {
            page += &format!("| `{}` | {} | {} |\n", it.code, it.cause, it.remedy);
        }
    }
    let file = root().join("docs/errors.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &page).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "docs/errors.md is not as the list in src/errors/: UPDATE_GOLDEN=1 cargo test --test it errors \
         makes it anew"
    );
}

#[test]
fn a_code_is_explained_and_a_wrong_one_is_told() {
    let text = output_of(&["errors", "ERR_SLUICEGATE_1106"], "");
    assert!(
        text.starts_with("code        ERR_SLUICEGATE_1106\ncause       the journal is full"),
        "{text}"
    );
    assert!(text.contains("\nwhat to do  Send the body again after `Retry-After`."), "{text}");
    assert_eq!(output_of(&["errors", "1106"], ""), text);
    assert_eq!(output_of(&["errors"], "").lines().count(), all().count());
    let json: Value = serde_json::from_str(&output_of(&["errors", "-o", "json"], "")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), all().count());
    let one: Value =
        serde_json::from_str(&output_of(&["errors", "err_ngrok_226", "-o", "json"], "")).unwrap();
    assert_eq!(one[0]["code"], "ERR_NGROK_226");
    assert!(one[0]["cause"].is_string() && one[0]["remedy"].is_string() && one[1].is_null());
    let unknown = sluicegate(&["errors", "ERR_SLUICEGATE_1160"], "");
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        said.starts_with("there is no error code `ERR_SLUICEGATE_1160`, did you mean"),
        "{said}"
    );
}
