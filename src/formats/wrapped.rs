//! What container runtimes put around a line, passed over: Docker's `json-file`, and CRI's form, which containerd and
//! CRI-O write under Kubernetes.
//!
//! ```text
//! {"log":"the line\n","stream":"stdout","time":"2026-11-26T15:54:47.5Z"}
//! 2026-11-26T15:54:47.5Z stdout F the line
//! ```
//!
//! A line that either has cut into pieces (`P` for `F`) stays in pieces.

use std::borrow::Cow;

use crate::event::{next_special, unescape};

/// The line that stands in a container's log; the line itself where it stands in none.
pub(super) fn unwrapped(line: &[u8]) -> Cow<'_, [u8]> {
    match line.first() {
        Some(b'{') => of_docker(line).map_or(Cow::Borrowed(line), Cow::Owned),
        Some(b'0'..=b'9') => Cow::Borrowed(of_cri(line).unwrap_or(line)),
        _ => Cow::Borrowed(line),
    }
}

fn of_docker(line: &[u8]) -> Option<Vec<u8>> {
    let inside = line.strip_prefix(b"{\"log\":\"")?;
    let mut end = next_special(inside, 0);
    while inside.get(end) == Some(&b'\\') {
        end = next_special(inside, end + 2);
    }
    let behind = inside.get(end..)?.strip_prefix(b"\",")?;
    let is_dockers = behind.starts_with(b"\"stream\":\"") || behind.starts_with(b"\"attrs\":{");
    let text = str::from_utf8(&inside[..end]).ok().filter(|_| is_dockers)?;
    let text = unescape(text);
    Some(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').as_bytes().to_vec())
}

fn of_cri(line: &[u8]) -> Option<&[u8]> {
    // Times of the two are as long as RFC 3339 with nine digits and an offset at most.
    let end = memchr::memchr(b' ', &line[..line.len().min(40)])?;
    let (time, behind) = line.split_at(end);
    let is_time = time.len() >= 20 && time[4] == b'-' && time[10] == b'T';
    let behind = behind.strip_prefix(b" stdout ").or_else(|| behind.strip_prefix(b" stderr "))?;
    behind.strip_prefix(b"F ").filter(|_| is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_out_of_what_containers_put_around_them() {
        for (line, expected) in [
            (
                r#"{"log":"GET \"/\" \\x22 \u00e9\n","stream":"stdout","time":"x"}"#,
                "GET \"/\" \\x22 é",
            ),
            (r#"{"log":"{\"a\":1}\r\n","stream":"stderr","time":"x"}"#, "{\"a\":1}"),
            (r#"{"log":"a","attrs":{"tag":"web"},"stream":"stderr","time":"x"}"#, "a"),
            ("2026-11-26T15:54:47.123456789+01:00 stdout F 1.2.3.4 - -", "1.2.3.4 - -"),
            ("2026-11-26T15:54:47Z stderr F ", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&unwrapped(line.as_bytes())), expected, "{line}");
        }
        for line in [
            r#"{"log":"a","time":"x"}"#,
            r#"{"log":"a\"#,
            r#"{"log":"a\","stream":"x"#,
            r#"{"log":7,"stream":"stdout"}"#,
            "2026-11-26T15:54:47Z stdout P half",
            "2026-11-26T15:54:47Z other F a",
            "127.0.0.1 stdout F a",
            "1",
            "",
        ] {
            assert_eq!(unwrapped(line.as_bytes()), line.as_bytes());
        }
    }
}
