//! A text of the settings file with its place, and what messages may show of it: never what was filled in.

use std::borrow::Cow;
use std::fmt;

use super::mistakes::Mistake;
use crate::report::Span;

/// Most characters of a value that a message repeats; the caret shows the rest.
const SHOWN: usize = 60;

/// A text of the settings and where it stands.
#[derive(Clone, Copy)]
pub struct Text<'d> {
    /// The text, filled in. It may be a secret: messages show [`shown`](Text::shown) instead.
    pub value: &'d str,
    /// Its place in the file.
    pub span: Span,
    pub(super) source: &'d str,
    pub(super) filled: bool,
}

impl Text<'_> {
    /// The text as the file writes it, references not filled in, cut to one short line.
    #[must_use]
    pub fn shown(&self) -> String {
        written(self.source, self.span).into_owned()
    }

    /// A mistake in this text. `problem` may quote the text, and is left out if it was filled in.
    #[must_use]
    pub fn wrong(&self, problem: impl fmt::Display) -> Mistake {
        if self.filled {
            let message = format!("what `{}` gives cannot be used here", self.shown());
            Mistake::at(self.span, message)
        } else {
            Mistake::at(self.span, problem.to_string())
        }
    }

    /// A mistake in this text that has a report of its own, such as a filter's, which quotes the
    /// text. The report is left out if the text was filled in.
    #[must_use]
    pub fn mistake(&self, message: impl Into<String>, report: impl fmt::Display) -> Mistake {
        let mistake = Mistake::at(self.span, message);
        if self.filled {
            mistake.help(format!("no details, since they would show what `{}` gives", self.shown()))
        } else {
            mistake.nested(report.to_string())
        }
    }
}

/// Shows the text as the file writes it.
impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// What stands in the file at a place, cut to one short line.
pub(super) fn written(source: &str, span: Span) -> Cow<'_, str> {
    crop(source.get(span.start..span.end).unwrap_or(""))
}

pub(super) fn crop(text: &str) -> Cow<'_, str> {
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &line[..end])),
        None => Cow::Borrowed(line),
    }
}
