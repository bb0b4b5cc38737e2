//! The reports that a person sees, whole: `mistakes.txt` has filters, each with its code and report.

use super::super::limits::MAX_MISTAKES;
use super::super::*;
use super::http;

const CASES: &str = include_str!("mistakes.txt");

fn report(text: &str) -> String {
    match check(text, &http()) {
        Err(error) => format!("{}\n{error}", error.code()),
        Ok(_) => "accepted".to_owned(),
    }
}

#[test]
fn every_report_is_the_one_in_the_file() {
    let cases: Vec<&str> = CASES.trim_end().split("\n---\n").collect();
    assert!(cases.len() > 40, "the file has its cases");
    for case in cases {
        let (text, _) = case.split_once("\nERR_NGROK_").unwrap();
        assert_eq!(format!("{text}\n{}", report(text)), case);
    }
}

#[test]
fn an_empty_filter_is_refused() {
    assert_eq!(report(" "), "ERR_NGROK_5404\nthe filter is empty\n  |\n1 |  \n  |  ^");
}

#[test]
fn only_so_many_mistakes_are_told() {
    let text = vec!["ev.nope"; 100].join(" || ");
    assert_eq!(check(&text, &http()).unwrap_err().mistakes().len(), MAX_MISTAKES);
}
