//! The examples of `filters/README.md`: each block of `cel` is a filter that is accepted, and says
//! true of the event that the page shows unless the line before it says otherwise.

use super::super::*;
use super::{http, run};

const PAGE: &str = include_str!("../../../filters/README.md");

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

#[test]
fn the_page_lists_every_filter_of_the_library() {
    for filter in library() {
        let row = format!("| `{}` | {} |", filter.name, filter.description);
        assert!(PAGE.contains(&row), "{row}");
    }
}
