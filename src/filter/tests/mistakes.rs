//! The reports that a person sees, whole.

use super::super::*;
use super::http;

fn report(text: &str) -> String {
    match check(text, &http()) {
        Err(error) => format!("{}\n{error}", error.code()),
        Ok(_) => "accepted".to_owned(),
    }
}

/// Texts with their reports.
const REPORTS: &str = r#"
ev.conn.client_port == 1
ERR_NGROK_5405
unknown field `ev.conn.client_port` of http_request_complete.v0
  |
1 | ev.conn.client_port == 1
  |    ^^^^^^^^^^^^^^^^
  = help: did you mean `ev.conn.client_ip`?
"#;

#[test]
fn reports_are_exact() {
    let mut cases = REPORTS.trim_start().split("\n---\n").peekable();
    assert!(cases.peek().is_some());
    for case in cases {
        let (text, expected) = case.split_once('\n').unwrap();
        assert_eq!(report(text), expected.trim_end(), "{text}");
    }
}
