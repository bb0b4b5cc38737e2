//! Colours for people: on a terminal only, and never where `NO_COLOR` asks for none.

use std::io::IsTerminal;

/// Whether output to a stream may be coloured. `NO_COLOR` counts if it is set and not empty
/// (<https://no-color.org>).
pub(super) fn wanted(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

/// A text in a colour of the terminal's, such as `32` for green.
pub(super) fn painted(text: &str, colour: &str, colours: bool) -> String {
    if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A report of mistakes: what is wrong in bold, carets in red, help in cyan.
pub(super) fn report(text: &str, colours: bool) -> String {
    if !colours {
        return text.to_owned();
    }
    text.lines().map(report_line).collect::<Vec<_>>().join("\n")
}

fn report_line(line: &str) -> String {
    let (margin, after) = line.split_once('|').unwrap_or((line, ""));
    let in_margin = !margin.is_empty() && margin.chars().all(|c| c == ' ' || c.is_ascii_digit());
    let carets = after.trim();
    if let Some(help) = line.strip_prefix("  = help:") {
        format!("  = {}{help}", painted("help:", "36", true))
    } else if in_margin && !carets.is_empty() && carets.chars().all(|c| c == '^') {
        line.replacen(carets, &painted(carets, "1;31", true), 1)
    } else if in_margin || line.is_empty() {
        line.to_owned()
    } else {
        painted(line, "1", true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_its_text_under_its_colours() {
        let plain = "unknown `a`\n  |\n1 | a ^ b\n  | ^\n  = help: did you mean `ev`?";
        let coloured = report(plain, true);
        let expected = "\x1b[1munknown `a`\x1b[0m\n  |\n1 | a ^ b\n  | \x1b[1;31m^\x1b[0m\n  = \x1b[36mhelp:\x1b[0m did you mean `ev`?";
        assert_eq!(coloured, expected);
        assert_eq!(report(plain, false), plain);
    }
}
