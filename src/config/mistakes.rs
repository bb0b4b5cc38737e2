//! Mistakes of a settings file, collected and shown all at once, each at its place.
//!
//! It prints the file as it stands on disk, before anything is filled in, so a secret cannot come
//! out here unless a caller puts it into a message.

use std::fmt;
use std::sync::Arc;

use crate::report::{Span, caret, line_column};

/// Most mistakes that are printed; the rest are only counted. A person fixes a screenful at a time.
pub const MAX_SHOWN: usize = 200;

/// Most mistakes that are looked for: a file of another kind altogether would give one for each of its lines.
pub const MAX_FOUND: usize = 1_000;

/// Most mistakes of a summary, which is one line.
const MAX_IN_SUMMARY: usize = 5;

/// Something in the settings that must be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    place: Option<Span>,
    message: String,
    help: Option<String>,
    nested: Option<String>,
}

impl Mistake {
    /// A mistake at a place of the file. The message is one line without a final full stop; quote
    /// values as [`Text::shown`](super::Text::shown) gives them, never as they were filled in.
    #[must_use]
    pub fn at(place: Span, message: impl Into<String>) -> Mistake {
        Mistake { place: Some(place), message: message.into(), help: None, nested: None }
    }

    /// A mistake of the file as a whole, such as that it cannot be read.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Mistake {
        Mistake { place: None, message: message.into(), help: None, nested: None }
    }

    /// Adds what would help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }

    /// Adds a report with places of its own, such as a filter's; it is shown indented.
    #[must_use]
    pub fn nested(mut self, report: impl Into<String>) -> Mistake {
        self.nested = Some(report.into());
        self
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, source: &str) -> fmt::Result {
        let mut margin = String::new();
        match self.place {
            None => write!(f, "{name}: {}", self.message)?,
            Some(place) => {
                let (line, column) = line_column(source, place.start);
                margin = " ".repeat(line.to_string().len());
                let shown = caret(source, place);
                write!(f, "{name}:{line}:{column}: {}\n{shown}", self.message)?;
            }
        }
        for line in self.nested.iter().flat_map(|report| report.lines()) {
            write!(f, "\n{}", format!("{margin}   {line}").trim_end())?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// All mistakes found so far in one file. Its `Display` shows them in the order of their places and
/// ends with their count.
#[derive(Clone, Debug)]
pub struct Mistakes {
    name: String,
    source: Arc<str>,
    found: Vec<Mistake>,
    /// Whether there are more, which nobody keeps.
    has_more: bool,
}

impl Mistakes {
    /// None yet, for a file of this name and text.
    #[must_use]
    pub fn new(name: impl Into<String>, source: impl Into<Arc<str>>) -> Mistakes {
        Mistakes { name: name.into(), source: source.into(), found: Vec::new(), has_more: false }
    }

    /// Adds one, unless there are so many already that it is only noted that there are more.
    pub fn push(&mut self, mistake: Mistake) {
        match self.is_full() {
            false => self.found.push(mistake),
            true => self.has_more = true,
        }
    }

    /// Whether it is of no use to find out more about a mistake than that it is one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.found.len() >= MAX_FOUND
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The first few in one line, each with its place, without the file's text: for a status page.
    #[must_use]
    pub fn summary(&self) -> String {
        let ordered = self.in_order();
        let mut parts: Vec<String> = ordered
            .iter()
            .take(MAX_IN_SUMMARY)
            .map(|mistake| match mistake.place {
                None => format!("{}: {}", self.name, mistake.message),
                Some(place) => {
                    let (line, column) = line_column(&self.source, place.start);
                    format!("{}:{line}:{column}: {}", self.name, mistake.message)
                }
            })
            .collect();
        if self.has_more {
            parts.push("and many more".to_owned());
        } else if ordered.len() > MAX_IN_SUMMARY {
            parts.push(format!("and {} more", ordered.len() - MAX_IN_SUMMARY));
        }
        parts.join("; ")
    }

    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// All mistakes, if there is any.
    pub fn into_result<T>(self, value: T) -> Result<T, Mistakes> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// In the order of the file. What an alias repeats is shown once.
    fn in_order(&self) -> Vec<&Mistake> {
        let mut ordered: Vec<&Mistake> = self.found.iter().collect();
        ordered.sort_by_key(|mistake| mistake.place.map(|place| place.start));
        ordered.dedup();
        ordered
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ordered = self.in_order();
        for mistake in ordered.iter().take(MAX_SHOWN) {
            mistake.write(f, &self.name, &self.source)?;
            f.write_str("\n\n")?;
        }
        let (count, name) = (ordered.len(), &self.name);
        match count {
            _ if self.has_more => write!(
                f,
                "more than {MAX_FOUND} mistakes in {name}, of which {} are shown",
                count.min(MAX_SHOWN)
            ),
            1 => write!(f, "1 mistake in {name}"),
            _ if count > MAX_SHOWN => {
                write!(f, "{count} mistakes in {name}, of which the first {MAX_SHOWN} are shown")
            }
            _ => write!(f, "{count} mistakes in {name}"),
        }
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    #[test]
    fn mistakes_stand_in_the_order_of_the_file_and_are_counted() {
        let mut mistakes = Mistakes::new("s.yaml", "a: 1\nb: 2");
        mistakes.push(Mistake::at(span(5, 6), "second").help("fix it"));
        mistakes.push(Mistake::at(span(0, 1), "first"));
        mistakes.push(Mistake::at(span(5, 6), "second").help("fix it"));
        let shown = "\
s.yaml:1:1: first
  |
1 | a: 1
  | ^

s.yaml:2:1: second
  |
2 | b: 2
  | ^
  = help: fix it

2 mistakes in s.yaml";
        assert_eq!(mistakes.to_string(), shown);
    }

    #[test]
    fn a_nested_report_is_indented_under_its_place() {
        let mut mistakes = Mistakes::new("s.yaml", "filter: ev.x");
        let report = "unknown field\n  |\n1 | ev.x";
        mistakes.push(Mistake::at(span(8, 12), "no filter").nested(report).help("see the catalog"));
        let shown = "\
s.yaml:1:9: no filter
  |
1 | filter: ev.x
  |         ^^^^
    unknown field
      |
    1 | ev.x
  = help: see the catalog

1 mistake in s.yaml";
        assert_eq!(mistakes.to_string(), shown);
    }

    #[test]
    fn a_mistake_of_the_whole_file_has_no_place() {
        let mut mistakes = Mistakes::new("s.yaml", "");
        mistakes.push(Mistake::of_file("cannot be read").help("look"));
        assert_eq!(
            mistakes.to_string(),
            "s.yaml: cannot be read\n = help: look\n\n1 mistake in s.yaml"
        );
    }

    #[test]
    fn only_so_many_are_shown_and_only_so_many_counted() {
        let mut mistakes = Mistakes::new("s.yaml", "a");
        for number in 0..=MAX_SHOWN {
            mistakes.push(Mistake::of_file(format!("mistake {number}")));
        }
        let shown = mistakes.to_string();
        assert!(shown.ends_with("201 mistakes in s.yaml, of which the first 200 are shown"));
        assert!(shown.contains("mistake 199") && !shown.contains("mistake 200"));
        let summary = mistakes.summary();
        assert!(summary.starts_with("s.yaml: mistake 0; s.yaml: mistake 1; "), "{summary}");
        assert!(summary.ends_with("; s.yaml: mistake 4; and 196 more"), "{summary}");
        for number in 0..2 * MAX_FOUND {
            mistakes.push(Mistake::of_file(format!("mistake {number}")));
        }
        assert_eq!(mistakes.found.len(), MAX_FOUND);
        let shown = mistakes.to_string();
        assert!(shown.ends_with("more than 1000 mistakes in s.yaml, of which 200 are shown"));
        assert!(mistakes.summary().ends_with("; and many more"));
    }
}
