//! The decoder: asks a section for its settings one by one and collects every mistake.
//!
//! A reader of a section first asks for **all** its settings, each an `Option`, and only then puts
//! them together with `?`: an early return would leave the rest unasked, and what nobody asked for is
//! reported as unknown. `None` stands for absent and for mistaken alike; since a mistake anywhere
//! fails the whole file, a default in place of a mistaken value is never used.
//!
//! No message shows text that was filled in; it shows the `${…}` that stands in the file.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::mistakes::{Mistake, Mistakes};
use super::scalar::resolve;
use super::text::{Text, crop, written};
use super::tree::{Key, Node, Value};
use crate::report::{Span, nearest};
use crate::resources::{duration, show_duration, show_size, size};

/// Most names that a message lists where none is like the unknown one; more would hide the message.
const LISTED: usize = 12;

#[derive(Clone, Copy)]
struct Context<'d> {
    source: &'d str,
    mistakes: &'d RefCell<Mistakes>,
    on_its_machine: bool,
}

impl Context<'_> {
    fn push(self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    fn is_full(self) -> bool {
        self.mistakes.borrow().is_full()
    }
}

/// A setting that is written as text, or as a section.
pub enum TextOr<'d, T> {
    /// The text.
    Text(Text<'d>),
    /// What was read from the section.
    Section(T),
}

/// A section of the file while its settings are read.
pub struct Section<'d> {
    context: Context<'d>,
    entries: &'d [(Key, Node)],
    place: Span,
    path: String,
    asked: Vec<&'static str>,
    /// Those of the names asked for of which exactly one must be there.
    variants: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// Reads the settings of a whole file; gives back the mistakes with its own added.
    pub(super) fn read_root<T>(
        root: &Node,
        source: &str,
        mistakes: Mistakes,
        on_its_machine: bool,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> (Option<T>, Mistakes) {
        let mistakes = RefCell::new(mistakes);
        let entries: &[(Key, Node)] = match &root.value {
            Value::Map(entries) => entries,
            _ => &[],
        };
        let place = Span { start: 0, end: 0 };
        let context = Context { source, mistakes: &mistakes, on_its_machine };
        let section = Section {
            context,
            entries,
            place,
            path: String::new(),
            asked: Vec::new(),
            variants: Vec::new(),
        };
        let value = section.read(read);
        (value, mistakes.into_inner())
    }

    /// A setting that must be there.
    pub fn required(&mut self, key: &'static str) -> Setting<'d> {
        let setting = self.optional(key);
        #[cfg(test)]
        tests::note(&setting.path, true);
        if setting.node.is_none() {
            let message = format!("`{}` is missing", setting.path);
            self.push(if self.path.is_empty() {
                Mistake::of_file(message)
            } else {
                Mistake::at(self.place, message)
            });
        }
        Setting { required: true, ..setting }
    }

    /// A setting that may be left out.
    pub fn optional(&mut self, key: &'static str) -> Setting<'d> {
        self.ask(key);
        let entry = self.entry(key);
        Setting {
            context: self.context,
            node: entry.map(|(_, node)| node),
            place: entry.map_or(self.place, |(key, _)| key.span),
            path: join(&self.path, key),
            required: false,
        }
    }

    /// A section that is there instead of the other variants beside it: exactly one must be, such as the
    /// kind of a target. Ask for the section's other settings before.
    pub fn variant<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'d>) -> Option<T>,
    ) -> Option<T> {
        self.variants.push(key);
        match self.has(key) {
            true => self.required(key).section(read),
            false => {
                self.ask(key);
                None
            }
        }
    }

    fn check_variants(&self) {
        let names = || either(self.variants.iter().copied(), "or");
        let mut found: Vec<&Key> = self.entries.iter().map(|(key, _)| key).collect();
        found.retain(|key| self.variants.contains(&&*key.name));
        match found.as_slice() {
            [_] => {}
            [] if self.unknown().next().is_some() => {} // most likely the one, misspelt
            [] => {
                let message = format!("`{}` must have one of {}", self.path, names());
                self.push(Mistake::at(self.place, message));
            }
            [_, second, ..] => {
                let given = either(found.iter().map(|key| &*key.name), "and");
                let message = format!("`{}` has {given}", self.path);
                let help = format!("it must have exactly one of {}", names());
                self.push(Mistake::at(second.span, message).help(help));
            }
        }
    }

    /// Adds a mistake that the caller found, such as two settings that contradict each other.
    pub fn push(&self, mistake: Mistake) {
        self.context.push(mistake);
    }

    /// The names of sections and lists that lead here, such as `destinations[0].batch`; empty for the
    /// whole file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the settings are read on the machine where they are to hold, so that its folders, files
    /// and addresses may be asked for.
    #[must_use]
    pub fn is_on_its_machine(&self) -> bool {
        self.context.on_its_machine
    }

    /// Whether a setting is written in the file. Asking for it is still needed.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where the section stands: its name, or its beginning where it has none.
    #[must_use]
    pub fn place(&self) -> Span {
        self.place
    }

    /// Where the value of a setting stands; the section's own place if it is left out.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Span {
        self.entry(key).map_or(self.place, |(_, node)| node.span)
    }

    /// The text that stands at a path within the section, such as `kinesis.stream_arn`.
    #[must_use]
    pub fn text_at(&self, path: &str) -> Option<Text<'d>> {
        let Node { value: Value::String(value), span, filled } = self.node_at(path)? else {
            return None;
        };
        Some(Text { value, span: *span, source: self.context.source, filled: *filled })
    }

    /// Where a value stands at a path within the section; the section's own place if nothing does.
    #[must_use]
    pub fn place_at(&self, path: &str) -> Span {
        self.node_at(path).map_or(self.place, |node| node.span)
    }

    fn node_at(&self, path: &str) -> Option<&'d Node> {
        node_in(self.entries, path)
    }

    fn ask(&mut self, key: &'static str) {
        self.asked.push(key);
        #[cfg(test)]
        tests::note(&join(&self.path, key), false);
    }

    fn entry(&self, key: &str) -> Option<&'d (Key, Node)> {
        self.entries.iter().find(|(known, _)| known.name == key)
    }

    fn unknown(&self) -> impl Iterator<Item = &'d Key> {
        self.entries.iter().map(|(key, _)| key).filter(|key| !self.asked.contains(&&*key.name))
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Section<'d>) -> Option<T>) -> Option<T> {
        let value = read(&mut self);
        if !self.variants.is_empty() {
            self.check_variants();
        }
        for key in self.unknown() {
            let mut message = format!("unknown setting `{}`", crop(&key.name));
            if !self.path.is_empty() {
                message += &format!(" in `{}`", self.path);
            }
            let mistake = Mistake::at(key.span, message);
            if self.context.is_full() {
                self.push(mistake);
                break;
            }
            self.push(match nearest(&key.name, self.asked.iter().copied()) {
                Some(name) => mistake.help(format!("did you mean `{name}`?")),
                None if self.asked.is_empty() => mistake.help("this section has no settings"),
                None if self.asked.len() > LISTED => mistake,
                None => {
                    let names = either(self.asked.iter().copied(), "and");
                    mistake.help(format!("the settings here are {names}"))
                }
            });
        }
        value
    }
}

/// One setting of a section, not yet read.
#[must_use = "a setting that is asked for must be read as something"]
pub struct Setting<'d> {
    context: Context<'d>,
    node: Option<&'d Node>,
    /// The setting's name in the file, or its section if it is left out.
    place: Span,
    path: String,
    required: bool,
}

impl<'d> Setting<'d> {
    /// Text, which must not be empty.
    #[must_use]
    pub fn string(self) -> Option<Text<'d>> {
        let node = self.given()?;
        let value = match &node.value {
            Value::String(text) if text.is_empty() => {
                self.push(Mistake::at(node.span, format!("`{}` is empty", self.path)));
                return None;
            }
            Value::String(text) => text,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let mistake = self.wrong(node, "text").help("put quotes around it");
                self.push(mistake);
                return None;
            }
            _ => return self.refuse(node, "text"),
        };
        let (source, filled) = (self.context.source, node.filled);
        Some(Text { value, span: node.span, source, filled })
    }

    /// Text, or a section read by `read`.
    pub fn string_or<T>(
        self,
        read: impl FnOnce(&mut Section<'d>) -> Option<T>,
    ) -> Option<TextOr<'d, T>> {
        match self.node.map(|node| &node.value) {
            Some(Value::Map(_)) => self.section(read).map(TextOr::Section),
            _ => self.string().map(TextOr::Text),
        }
    }

    /// Any value as the JSON that says the same.
    #[must_use]
    pub fn data(self) -> Option<serde_json::Value> {
        self.given().map(data)
    }

    /// A list of texts; if required, with at least one.
    #[must_use]
    pub fn strings(self) -> Option<Vec<Text<'d>>> {
        Some(self.items("a list of texts")?.into_iter().filter_map(Setting::string).collect())
    }

    /// A section whose names the user chooses: each name with its text.
    #[must_use]
    pub fn string_map(self) -> Option<Vec<(Text<'d>, Text<'d>)>> {
        let named = self.named("a section of names and texts")?;
        Some(named.into_iter().filter_map(|(name, it)| Some((name, it.string()?))).collect())
    }

    /// A section whose names the user chooses: each name with its setting. `expected` says in messages what it is.
    pub fn named(self, expected: &str) -> Option<Vec<(Text<'d>, Setting<'d>)>> {
        let node = self.given()?;
        let Value::Map(entries) = &node.value else { return self.refuse(node, expected) };
        let named = entries.iter().map(|(key, node)| {
            let path = join(&self.path, crop(&key.name).as_ref());
            let setting = Setting { node: Some(node), place: key.span, path, ..self };
            let source = self.context.source;
            let name = Text { value: &key.name, span: key.span, source, filled: false };
            (name, setting)
        });
        Some(named.collect())
    }

    /// The settings of a list, not yet read.
    #[must_use]
    pub fn values(self) -> Option<Vec<Setting<'d>>> {
        self.items("a list")
    }

    /// One of some words, for each of which a value stands.
    #[must_use]
    pub fn word<T: Clone>(self, words: &[(&str, T)]) -> Option<T> {
        let node = self.given()?;
        let text = match &node.value {
            Value::String(text) => text,
            _ => "",
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let names = || words.iter().map(|(word, _)| *word);
        let mistake = self.wrong(node, &either(names(), "or"));
        // A suggestion would tell something about filled-in text.
        let is_looked_for = !node.filled && !self.context.is_full();
        let near = if is_looked_for { nearest(text, names()) } else { None };
        self.push(match near {
            Some(word) => mistake.help(format!("did you mean `{word}`?")),
            None => mistake,
        });
        None
    }

    /// Text that `parse` makes something of. `expected` says in messages what that is, such as "an
    /// address such as `127.0.0.1:4180`".
    #[must_use]
    pub fn parsed<T>(self, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let node = self.given()?;
        let value = match &node.value {
            Value::String(text) => parse(text),
            _ => None,
        };
        value.or_else(|| self.refuse(node, expected))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        const EXPECTED: &str = "`true` or `false`";
        let node = self.given()?;
        match (&*reread(node), &node.value) {
            (Value::Bool(truth), _) => Some(*truth),
            (_, Value::String(text)) if matches!(resolve(text), Value::Bool(_)) => {
                self.refuse_quotes(node, EXPECTED)
            }
            _ => self.refuse(node, EXPECTED),
        }
    }

    /// A whole number within a range. An upper end of `u64::MAX` means none.
    #[must_use]
    pub fn number(self, range: RangeInclusive<u64>) -> Option<u64> {
        const EXPECTED: &str = "a whole number";
        let node = self.given()?;
        let upper = (*range.end() != u64::MAX).then(|| range.end().to_string());
        let limits = limits(range.start().to_string(), upper);
        match (&*reread(node), &node.value) {
            (Value::Int(number), _) => {
                let number = u64::try_from(*number).ok().filter(|number| range.contains(number));
                number.or_else(|| self.refuse(node, &limits))
            }
            (_, Value::String(text)) if matches!(resolve(text), Value::Int(_)) => {
                self.refuse_quotes(node, EXPECTED)
            }
            _ => self.refuse(node, EXPECTED),
        }
    }

    /// A number of bytes within a range, such as `10MiB` or `1024`. An upper end of `u64::MAX` means
    /// none.
    #[must_use]
    pub fn size(self, range: RangeInclusive<u64>) -> Option<u64> {
        let node = self.given()?;
        let size = match &node.value {
            Value::Int(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => size(text),
            _ => None,
        };
        let Some(size) = size else {
            let help = "units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB";
            return self.refuse_with(node, "a size such as `10MiB`", help);
        };
        if !range.contains(&size) {
            let upper = (*range.end() != u64::MAX).then(|| show_size(*range.end()));
            return self.refuse(node, &limits(show_size(*range.start()), upper));
        }
        Some(size)
    }

    /// A duration within a range, such as `30s`. An upper end of `Duration::MAX` means none.
    #[must_use]
    pub fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let node = self.given()?;
        let duration = match &node.value {
            Value::String(text) => duration(text),
            _ => None,
        };
        let Some(duration) = duration else {
            let help = "units are ms, s, m, h and d";
            return self.refuse_with(node, "a duration such as `30s`", help);
        };
        if !range.contains(&duration) {
            let upper = (*range.end() != Duration::MAX).then(|| show_duration(*range.end()));
            return self.refuse(node, &limits(show_duration(*range.start()), upper));
        }
        Some(duration)
    }

    /// A section, read by `read`.
    pub fn section<T>(self, read: impl FnOnce(&mut Section<'d>) -> Option<T>) -> Option<T> {
        let node = self.given()?;
        match &node.value {
            Value::Map(entries) => self.into_section(entries).read(read),
            _ => self.refuse(node, "a section of settings"),
        }
    }

    /// A section, read by `read` as if it were empty where it is left out. So each default stands in
    /// one place only, and a required setting within makes the section required.
    pub fn section_or_empty<T>(
        self,
        read: impl FnOnce(&mut Section<'d>) -> Option<T>,
    ) -> Option<T> {
        match self.node {
            Some(_) => self.section(read),
            None => self.into_section(&[]).read(read),
        }
    }

    /// A list of sections, each read by `read`; if required, with at least one. Those that cannot be
    /// read are left out.
    pub fn list<T>(self, mut read: impl FnMut(&mut Section<'d>) -> Option<T>) -> Option<Vec<T>> {
        let items = self.items("a list of sections")?;
        Some(items.into_iter().filter_map(|item| item.section(&mut read)).collect())
    }

    fn items(&self, expected: &str) -> Option<Vec<Setting<'d>>> {
        let node = self.given()?;
        let Value::List(items) = &node.value else { return self.refuse(node, expected) };
        if items.is_empty() && self.required {
            self.push(Mistake::at(
                node.span,
                format!("`{}` must have at least one item", self.path),
            ));
            return None;
        }
        let items = items.iter().enumerate().map(|(index, item)| Setting {
            node: Some(item),
            place: item.span,
            path: format!("{}[{index}]", self.path),
            ..*self
        });
        Some(items.collect())
    }

    fn into_section(self, entries: &'d [(Key, Node)]) -> Section<'d> {
        let Setting { context, place, path, .. } = self;
        Section { context, entries, place, path, asked: Vec::new(), variants: Vec::new() }
    }

    /// The node, unless there is none, its mistake is reported already, or it says nothing.
    fn given(&self) -> Option<&'d Node> {
        let node = self.node?;
        match &node.value {
            Value::Mistaken => None,
            Value::Null => {
                let mistake = Mistake::at(node.span, format!("`{}` has no value", self.path));
                self.push(if self.required {
                    mistake
                } else {
                    mistake.help("to have the default, leave it out")
                });
                None
            }
            _ => Some(node),
        }
    }

    fn push(&self, mistake: Mistake) {
        self.context.push(mistake);
    }

    fn wrong(&self, node: &Node, expected: &str) -> Mistake {
        let given = match &node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a section".to_owned(),
            _ => format!("`{}`", written(self.context.source, node.span)),
        };
        Mistake::at(node.span, format!("`{}` must be {expected}, not {given}", self.path))
    }

    fn refuse<T>(&self, node: &Node, expected: &str) -> Option<T> {
        self.push(self.wrong(node, expected));
        None
    }

    fn refuse_with<T>(&self, node: &Node, expected: &str, help: &str) -> Option<T> {
        self.push(self.wrong(node, expected).help(help));
        None
    }

    fn refuse_quotes<T>(&self, node: &Node, expected: &str) -> Option<T> {
        self.refuse_with(node, expected, "remove the quotes")
    }
}

fn data(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null | Value::Mistaken => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Float(float) => (*float).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(data).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.name.clone(), data(node))).collect()
        }
    }
}

/// What stands at a path; names may have dots of their own.
fn node_in<'d>(entries: &'d [(Key, Node)], path: &str) -> Option<&'d Node> {
    entries.iter().find_map(|(key, node)| match (path.strip_prefix(&*key.name)?, &node.value) {
        ("", _) => Some(node),
        (rest, Value::Map(entries)) => node_in(entries, rest.strip_prefix('.')?),
        _ => None,
    })
}

/// Filled-in text stands for what it would stand for without quotes: a variable's value is always
/// text, and a number may be wanted.
fn reread(node: &Node) -> Cow<'_, Value> {
    match &node.value {
        Value::String(text) if node.filled => Cow::Owned(resolve(text)),
        value => Cow::Borrowed(value),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn limits(lower: String, upper: Option<String>) -> String {
    match upper {
        Some(upper) => format!("from {lower} to {upper}"),
        None => format!("at least {lower}"),
    }
}

/// `a`, `b` and `c`, with the word given between the last two.
fn either<'n>(names: impl Iterator<Item = &'n str>, word: &str) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests;
