//! Errors and what caused them, as one line for the operator.
//!
//! Judges nothing.

use std::error::Error;

use aws_smithy_runtime_api::client::result::ConnectorError;

/// Longest line: enough for what a dozen layers say, not for a page that one of them quotes.
const MAX_LINE: usize = 1_000;

/// An error and its causes, the outermost first.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// An error with all its causes on one line, without the wrappers that say nothing and without
/// what wrapping repeats.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in chain(error) {
        if cause.is::<ConnectorError>() {
            continue;
        }
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&text);
        }
    }
    line.truncate(line.floor_char_boundary(MAX_LINE));
    line
}
