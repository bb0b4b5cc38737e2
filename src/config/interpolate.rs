//! References filled in: `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}`, in the text of
//! scalars only, after the file is parsed.
//!
//! So a value from outside can never add a setting. What was filled in is not read again: a `${` in
//! it stays as it is. `$${` stands for a literal `${`.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::mistakes::{Mistake, Mistakes};
use super::tree::{Node, Value};
use crate::report::{Span, nearest};

/// Most bytes that all references of a file may fill in, each use counted: as much as a file of
/// settings may have itself.
pub const MAX_FILLED: usize = 4 << 20;

/// A file that a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// Absolute, as it is written.
    pub path: PathBuf,
    /// Of what was read; none where nothing was.
    pub stamp: Option<Stamp>,
}

/// What tells one content of a file from another: where links lead (secrets are mounted as such), when it was
/// written, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    written: Option<SystemTime>,
    bytes: u64,
}

impl From<&Metadata> for Stamp {
    fn from(of: &Metadata) -> Stamp {
        Stamp { inode: of.ino(), written: of.modified().ok(), bytes: of.len() }
    }
}

/// Looks up a variable of the environment.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Fills in every reference below `root`. A text with a reference that cannot be filled in becomes
/// [`Value::Mistaken`], and each such reference a mistake. Gives the files that were named.
pub(super) fn fill(
    root: &mut Node,
    source: &str,
    env: Env<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Referenced> {
    let mut filler = Filler { source, env, left: MAX_FILLED, files: Vec::new(), mistakes };
    filler.node(root);
    filler.files
}

struct Filler<'e, 'm> {
    source: &'e str,
    env: Env<'e>,
    left: usize,
    files: Vec<Referenced>,
    mistakes: &'m mut Mistakes,
}

impl Filler<'_, '_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.node(value)),
            Value::String(text) if text.contains("${") => {
                let text = std::mem::take(text);
                let (value, filled) = self.text(&text, node.span);
                (node.value, node.filled) = (value, filled);
            }
            _ => {}
        }
    }

    /// The text with its references filled in, and whether there was any.
    fn text(&mut self, text: &str, span: Span) -> (Value, bool) {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut place = Place::new(self.source, span);
        let (mut filled, mut mistaken) = (false, false);
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                out.push_str("${");
                rest = after;
            } else if rest.starts_with("${") {
                let end = rest.find('}').map_or(rest.len(), |at| at + 1);
                let reference = &rest[..end];
                rest = &rest[end..];
                let at = place.of(reference);
                filled = true;
                match self.value(reference, at) {
                    Ok(value) => out.push_str(&value),
                    Err(mistake) => {
                        self.mistakes.push(mistake);
                        mistaken = true;
                    }
                }
            } else {
                out.push('$');
                rest = &rest[1..];
            }
        }
        out.push_str(rest);
        (if mistaken { Value::Mistaken } else { Value::String(out) }, filled)
    }

    fn value(&mut self, reference: &str, at: Span) -> Result<String, Mistake> {
        let inside = reference
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .ok_or_else(|| literal(Mistake::at(at, "`${` without its `}`")))?;
        let value = match inside.split_once(':') {
            Some(("env", rest)) => self.variable(rest, at)?,
            Some(("file", path)) => self.file(path, at)?,
            _ => return Err(unknown(reference, inside, at)),
        };
        self.left = self.left.checked_sub(value.len()).ok_or_else(|| {
            Mistake::at(at, format!("the references of this file fill in over {MAX_FILLED} bytes"))
        })?;
        Ok(value)
    }

    fn variable(&self, rest: &str, at: Span) -> Result<String, Mistake> {
        let (name, default) = match rest.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (rest, None),
        };
        if !is_variable(name) {
            return Err(Mistake::at(at, format!("`{name}` is no name of a variable"))
                .help("write `${env:NAME}` or `${env:NAME:-default}`"));
        }
        match ((self.env)(name), default) {
            // As in a shell, the default also stands in for an empty variable.
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(Mistake::at(at, format!("the variable `{name}` is not set"))
                .help(format!("set it, or give a default: `${{env:{name}:-default}}`"))),
        }
    }

    fn file(&mut self, path: &str, at: Span) -> Result<String, Mistake> {
        if !Path::new(path).is_absolute() {
            return Err(Mistake::at(at, format!("`{path}` is not an absolute path"))
                .help("write `${file:/path}`"));
        }
        let file = File::open(path);
        // Before it is read, so that what is written meanwhile is seen as another content.
        let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok());
        let stamp = metadata.as_ref().map(Stamp::from);
        self.files.push(Referenced { path: PathBuf::from(path), stamp });
        let refused = |why: &dyn std::fmt::Display| {
            Mistake::at(at, format!("`{path}` cannot be read: {why}"))
        };
        let mut bytes = Vec::new();
        file.and_then(|file| file.take(self.left as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| refused(&error))?;
        let mut text = String::from_utf8(bytes).map_err(|_| refused(&"it is not UTF-8"))?;
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }
}

fn is_variable(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()) && name.bytes().all(word)
}

fn unknown(reference: &str, inside: &str, at: Span) -> Mistake {
    let mistake = Mistake::at(at, format!("`{reference}` is no reference"));
    let (kind, rest) = inside.split_once(':').unwrap_or((inside, ""));
    if is_variable(inside) {
        return mistake.help(format!("did you mean `${{env:{inside}}}`?"));
    }
    match nearest(kind, ["env", "file"]) {
        Some(meant) if !rest.is_empty() => {
            mistake.help(format!("did you mean `${{{meant}:{rest}}}`?"))
        }
        _ => literal(mistake),
    }
}

fn literal(mistake: Mistake) -> Mistake {
    mistake.help("`${env:NAME}` and `${file:/path}` are known; a literal `${` is written `$${`")
}

/// Finds references in the file as it is written, one after the other.
struct Place<'s> {
    source: &'s str,
    whole: Span,
    from: usize,
}

impl<'s> Place<'s> {
    fn new(source: &'s str, whole: Span) -> Place<'s> {
        Place { source, whole, from: whole.start }
    }

    /// The place of the next reference; of the whole scalar if it is written with escapes or stands
    /// elsewhere, behind an alias.
    fn of(&mut self, reference: &str) -> Span {
        let written = self.source.get(self.from..self.whole.end).unwrap_or("");
        let Some(at) = written.find(reference) else { return self.whole };
        let start = self.from + at;
        self.from = start + reference.len();
        Span { start, end: self.from }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn filled(text: &str) -> (Value, String) {
        let mut root =
            Node::new(Value::String(text.to_owned()), Span { start: 0, end: text.len() });
        let mut mistakes = Mistakes::new("s", text);
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "B" => Some("${env:A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        fill(&mut root, text, &env, &mut mistakes);
        (root.value, mistakes.to_string())
    }

    #[test]
    fn references_are_filled_in_once() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${env:A}", "one"),
            ("<${env:A}-${env:A}>", "<one-one>"),
            ("${env:B}", "${env:A}"),
            ("${env:EMPTY}", ""),
            ("${env:EMPTY:-two}", "two"),
            ("${env:NONE:-two}", "two"),
            ("${env:NONE:-}", ""),
            ("${env:NONE:-a:-b}", "a:-b"),
            ("${env:A:-two}", "one"),
            ("$${env:A}", "${env:A}"),
            ("$$${env:A}", "$${env:A}"),
            ("$ $$ a$b $", "$ $$ a$b $"),
            ("é$é${env:A}é", "é$éoneé"),
        ] {
            assert_eq!(filled(text).0, Value::String(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_wrong_reference_is_placed_and_explained() {
        for (text, message, help) in [
            (
                "a ${env:NONE}",
                "s:1:3: the variable `NONE` is not set",
                "set it, or give a default: `${env:NONE:-default}`",
            ),
            (
                "${env:A} ${env:A",
                "s:1:10: `${` without its `}`",
                "`${env:NAME}` and `${file:/path}` are known; a literal `${` is written `$${`",
            ),
            ("${A}", "s:1:1: `${A}` is no reference", "did you mean `${env:A}`?"),
            ("${evn:A}", "s:1:1: `${evn:A}` is no reference", "did you mean `${env:A}`?"),
            (
                "${1 + 2}",
                "s:1:1: `${1 + 2}` is no reference",
                "`${env:NAME}` and `${file:/path}` are known; a literal `${` is written `$${`",
            ),
            (
                "${env:A-B}",
                "s:1:1: `A-B` is no name of a variable",
                "write `${env:NAME}` or `${env:NAME:-default}`",
            ),
            ("${file:a.txt}", "s:1:1: `a.txt` is not an absolute path", "write `${file:/path}`"),
        ] {
            let (value, shown) = filled(text);
            assert_eq!(value, Value::Mistaken, "{text}");
            assert!(shown.starts_with(&format!("{message}\n")), "{shown}");
            assert!(shown.contains(&format!("= help: {help}\n")), "{shown}");
        }
    }

    #[test]
    fn every_reference_of_one_text_is_checked() {
        let (_, shown) = filled("${env:NONE} ${env:A} ${env:NONE}");
        assert!(shown.contains("s:1:1: ") && shown.contains("s:1:22: "), "{shown}");
        assert!(shown.ends_with("2 mistakes in s"), "{shown}");
    }

    #[test]
    fn a_file_loses_one_line_end_and_nothing_else() {
        for (content, expected) in [("key\n", "key"), (" key\n\n", " key\n"), ("", "")] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let text = format!("<${{file:{}}}>", file.path().display());
            assert_eq!(filled(&text).0, Value::String(format!("<{expected}>")));
        }
    }

    #[test]
    fn a_file_must_be_readable_text_within_the_limit() {
        let mut binary = tempfile::NamedTempFile::new().unwrap();
        binary.write_all(b"\xff").unwrap();
        let (_, shown) = filled(&format!("${{file:{}}}", binary.path().display()));
        assert!(shown.contains("cannot be read: it is not UTF-8\n"), "{shown}");

        let mut large = tempfile::NamedTempFile::new().unwrap();
        large.write_all(&vec![b'a'; MAX_FILLED + 1]).unwrap();
        let (_, shown) = filled(&format!("${{file:{}}}", large.path().display()));
        assert!(shown.contains("references of this file fill in over 4194304 bytes"), "{shown}");

        let (_, shown) = filled("${file:/nonexistent/key}");
        assert!(shown.contains("`/nonexistent/key` cannot be read: No such file"), "{shown}");
    }
}
