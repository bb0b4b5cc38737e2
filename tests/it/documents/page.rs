//! A page of Markdown as its sections and their snippets. It knows of fences, of headings, and of the
//! comment that says why a snippet is not run; of nothing else in Markdown.

use std::fs;
use std::path::Path;

/// What stands before a snippet that no test can run: `<!-- not run: REASON -->`.
const NOT_RUN: &str = "<!-- not run: ";

/// A page, split where a heading of the second level begins.
pub(super) struct Page {
    pub sections: Vec<Section>,
}

/// What stands between two headings of the second level.
pub(super) struct Section {
    pub title: String,
    pub snippets: Vec<Snippet>,
}

/// A fenced block.
pub(super) struct Snippet {
    /// Where its text begins, from 1.
    pub line: usize,
    pub language: String,
    pub text: String,
    /// Why it is not run.
    pub not_run: Option<String>,
}

impl Page {
    pub(super) fn read(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Page { sections: sections(&text) }
    }

    pub(super) fn snippets(&self) -> impl Iterator<Item = &Snippet> {
        self.sections.iter().flat_map(|section| &section.snippets)
    }
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section { title: "the beginning".to_owned(), snippets: Vec::new() }];
    let mut lines = text.lines().enumerate();
    let mut not_run = None;
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: title.to_owned(), snippets: Vec::new() });
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let mut text = String::new();
            for (_, line) in lines.by_ref() {
                if line.trim_start().starts_with("```") {
                    break;
                }
                text.push_str(line.get(indent..).unwrap_or_default());
                text.push('\n');
            }
            let snippets = &mut sections.last_mut().unwrap().snippets;
            let language = language.to_owned();
            snippets.push(Snippet { line: number + 2, language, text, not_run: not_run.take() });
        } else if let Some(reason) = line.trim().strip_prefix(NOT_RUN) {
            not_run = Some(reason.trim_end_matches("-->").trim().to_owned());
        } else {
            assert!(
                line.trim().is_empty() || not_run.is_none(),
                "no snippet follows: line {number}"
            );
        }
    }
    sections
}

#[test]
fn a_page_is_read_as_sections_with_their_snippets() {
    let text =
        "# T\n```sh\none\n```\n## A\n<!-- not run: asks a person -->\n```yaml\na:\n  b\n```\n";
    let sections = sections(text);
    let titles: Vec<&str> = sections.iter().map(|section| section.title.as_str()).collect();
    assert_eq!(titles, ["the beginning", "A"]);
    let [first, second] = [&sections[0].snippets[0], &sections[1].snippets[0]];
    assert_eq!((first.line, first.language.as_str(), first.text.as_str()), (3, "sh", "one\n"));
    assert_eq!(
        (second.text.as_str(), second.not_run.as_deref()),
        ("a:\n  b\n", Some("asks a person"))
    );
}
