//! Every snippet of the documents, run as a reader would run it, and every file of `examples/`.
//!
//! The snippets of one section are one session in one folder: `sh` is run, `python` too, `yaml` is a settings
//! file and is checked, `json` behind a command is what it prints (the same members and types; ids and times
//! differ). Ports are free ones. A snippet that cannot be run says so in the page, with the reason, and is
//! counted here. Filters in `cel` are run by the page's own test (`src/filter`).

mod examples;
mod page;
mod session;
mod settings_page;

use std::path::Path;

use serde_json::Value;

use page::{Page, Section, Snippet};
use session::Session;

/// The pages, each with how many of its snippets are not run.
const PAGES: [(&str, usize); 35] = [
    ("README.md", 3),
    ("ARCHITECTURE.md", 0),
    ("CONTRIBUTING.md", 0),
    ("SECURITY.md", 0),
    ("benches/README.md", 11),
    ("benches/fleet.md", 1),
    ("docs/README.md", 0),
    ("docs/cost.md", 0),
    ("docs/destinations/README.md", 1),
    ("docs/entrances/README.md", 0),
    ("docs/entrances/apache.md", 0),
    ("docs/entrances/aws_alb.md", 0),
    ("docs/entrances/caddy.md", 0),
    ("docs/entrances/envoy.md", 0),
    ("docs/entrances/haproxy.md", 0),
    ("docs/entrances/json.md", 0),
    ("docs/entrances/nginx.md", 0),
    ("docs/entrances/traefik.md", 0),
    ("docs/errors.md", 0),
    ("docs/fleet.md", 0),
    ("docs/operating.md", 2),
    ("docs/releasing.md", 3),
    ("docs/scale.md", 1),
    ("docs/security.md", 0),
    ("docs/settings.md", 0),
    ("docs/terms.md", 0),
    ("docs/upgrade.md", 0),
    ("examples/README.md", 0),
    ("filters/README.md", 0),
    ("filters/functions.md", 0),
    ("deploy/README.md", 0),
    ("deploy/aws/README.md", 2),
    ("deploy/container/README.md", 3),
    ("deploy/kubernetes/README.md", 3),
    ("deploy/terraform/README.md", 1),
];

/// The pages of kinds of target, found by being there; all of their snippets are run.
fn targets() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/destinations");
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let mut pages: Vec<String> =
        names.map(|name| format!("docs/destinations/{}", name.display())).collect();
    pages.retain(|page| PAGES.iter().all(|(known, _)| known != page));
    pages.sort();
    pages
}

/// Languages of which nothing is run: drawings and words, and filters.
const TEXT: [&str; 3] = ["", "text", "cel"];

#[test]
fn every_snippet_of_the_readme_works_as_it_stands() {
    run(&PAGES[..1]);
}

#[test]
fn every_snippet_of_the_other_documents_works_as_it_stands() {
    run(&PAGES[1..]);
}

#[test]
fn every_snippet_of_the_pages_of_targets_works_as_it_stands() {
    let targets = targets();
    let pages: Vec<(&str, usize)> = targets.iter().map(|page| (page.as_str(), 0)).collect();
    run(&pages);
}

fn run(pages: &[(&str, usize)]) {
    for (name, not_run) in pages {
        let page = Page::read(name);
        let left_out: Vec<_> =
            page.snippets().filter_map(|it| Some((it.line, it.not_run.as_ref()?))).collect();
        for (line, reason) in &left_out {
            assert!(!reason.is_empty(), "{name}:{line}: no reason");
            println!("{name}:{line}: not run: {reason}");
        }
        assert_eq!(left_out.len(), *not_run, "{name}: snippets that are not run: {left_out:?}");
        for section in &page.sections {
            run_section(name, section);
        }
    }
}

fn run_section(page: &str, section: &Section) {
    let is_run = |it: &&Snippet| it.not_run.is_none() && !TEXT.contains(&&*it.language);
    let mut snippets = section.snippets.iter().filter(is_run).peekable();
    if snippets.peek().is_none() {
        return;
    }
    println!("{page}: {}", section.title);
    let mut session = Session::new(page);
    while let Some(snippet) = snippets.next() {
        let line = snippet.line;
        match snippet.language.as_str() {
            "sh" => session.shell(snippet, snippets.next_if(|it| it.language == "json")),
            "python" => session.python(snippet),
            "yaml" => session.settings(snippet),
            "json" => {
                let parsed: Result<Value, _> = serde_json::from_str(&snippet.text);
                assert!(parsed.is_ok(), "{page}:{line}: {parsed:?}");
            }
            other => panic!("{page}:{line}: say how to run `{other}`, or why not"),
        }
    }
    session.run();
}

#[test]
fn every_page_of_the_documents_is_among_those_that_are_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [
        "benches",
        "docs",
        "docs/entrances",
        "examples",
        "filters",
        "deploy",
        "deploy/aws",
        "deploy/terraform",
    ] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().display());
            let known = PAGES.iter().any(|(page, _)| *page == name);
            assert!(!name.ends_with(".md") || known, "{name} is in no list");
        }
    }
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for page in targets().into_iter().chain(PAGES.map(|(page, _)| page.to_owned())) {
        let file = root.join(&page);
        for rest in std::fs::read_to_string(&file).unwrap().split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let leads_to = file.parent().unwrap().join(target);
            assert!(leads_to.exists(), "{page} links to {target}, which is not there");
        }
    }
    assert!(links > 20);
}
