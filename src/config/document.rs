//! A settings file opened: read, parsed, filled in, and ready to be decoded.
//!
//! Whatever it finds wrong on the way, it goes on as far as the file makes sense, so that one run
//! tells everything. It knows no setting by name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::decode::Section;
use super::interpolate::{Env, Referenced, fill};
use super::mistakes::{Mistake, Mistakes};
use super::tree::{Node, Value};
use super::{json, toml, yaml};
use crate::report::Span;

/// Largest settings file, in bytes: tens of thousands of subscriptions, and no data file given by mistake.
pub const MAX_FILE: usize = 16 << 20;

/// So much of a hash tells two files apart, in octets.
const HASH: usize = 8;

/// The syntax of a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2 with the core schema.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON by RFC 8259, without comments.
    Json,
}

impl Format {
    /// The format that a file's extension names: `yaml`, `yml`, `toml` or `json`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Format::Yaml),
            "toml" => Some(Format::Toml),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// A settings file in memory.
#[derive(Clone, Debug)]
pub struct Document {
    root: Node,
    source: Arc<str>,
    /// Found so far; decoding adds its own.
    mistakes: Mistakes,
    /// The files that references name.
    files: Vec<Referenced>,
    /// Whether decoding also looks at the machine.
    on_its_machine: bool,
}

/// Opens a settings file, its format known by the extension. `env` looks up the variables that the
/// file refers to.
///
/// # Errors
/// When the file cannot be read, is over [`MAX_FILE`], or for the reasons of [`Document::parse`].
pub fn load(path: &Path, env: Env<'_>) -> Result<Document, Mistakes> {
    let name = path.display().to_string();
    let refuse = |mistake: Mistake| alone(Mistakes::new(&*name, ""), mistake);
    let format = Format::of(path).ok_or_else(|| {
        let help = "call it `.yaml`, `.yml`, `.toml` or `.json`";
        refuse(Mistake::of_file("the file's extension tells no format").help(help))
    })?;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| refuse(Mistake::of_file(format!("cannot be read: {error}"))))?;
    match String::from_utf8(bytes) {
        Ok(text) => Document::parse(&name, text, format, env),
        // A character may be cut in two where the limit is.
        Err(error) if error.as_bytes().len() > MAX_FILE => Err(refuse(too_large())),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let shown = String::from_utf8_lossy(error.as_bytes());
            let place = Span { start, end: start + 1 };
            let mistakes = Mistakes::new(&*name, shown.as_ref());
            Err(alone(mistakes, Mistake::at(place, "the file is not UTF-8")))
        }
    }
}

impl Document {
    /// Reads settings from text. `name` is what messages call it.
    ///
    /// References that cannot be filled in and names given twice do not stop here: they come out of
    /// [`decode`](Document::decode) together with its own mistakes.
    ///
    /// # Errors
    /// When the text has another syntax, is over a limit, or says nothing: settings that are meant
    /// to be all defaults are no file at all.
    pub fn parse(
        name: &str,
        text: String,
        format: Format,
        env: Env<'_>,
    ) -> Result<Document, Mistakes> {
        if text.len() > MAX_FILE {
            return Err(alone(Mistakes::new(name, ""), too_large()));
        }
        // A byte order mark belongs to the encoding, not to the first line's columns.
        let source: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&text).into();
        let mut mistakes = Mistakes::new(name, source.clone());
        let read = match format {
            Format::Yaml => yaml::read(&source, &mut mistakes),
            Format::Toml => toml::read(&source, &mut mistakes),
            Format::Json => json::read(&source, &mut mistakes),
        };
        match read.and_then(refuse_nothing) {
            Ok(mut root) => {
                let files = fill(&mut root, &source, env, &mut mistakes);
                Ok(Document { root, source, mistakes, files, on_its_machine: false })
            }
            Err(mistake) => Err(alone(mistakes, mistake)),
        }
    }

    /// The files whose texts its references filled in, or would have.
    pub(super) fn files(&self) -> &[Referenced] {
        &self.files
    }

    /// The first digits of the SHA-256 of its text; none where there is none.
    pub(super) fn hash(&self) -> Option<String> {
        let of = |text: &str| hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..HASH]);
        (!self.source.is_empty()).then(|| of(&self.source))
    }

    /// A document without any setting: where no file is given, its decoding gives all defaults.
    #[must_use]
    pub fn empty() -> Document {
        let root = Node::new(Value::Map(Vec::new()), Span::default());
        let mistakes = Mistakes::new("(no settings file)", "");
        Document { root, source: "".into(), mistakes, files: Vec::new(), on_its_machine: false }
    }

    /// The same settings to be checked on the machine where they are to hold: its folders, files and
    /// addresses are asked for too.
    #[must_use]
    pub fn on_its_machine(self) -> Document {
        Document { on_its_machine: true, ..self }
    }

    /// Reads the settings with `read`, which asks the root section for all it knows.
    ///
    /// # Errors
    /// All mistakes of the file, those of parsing and filling in among them.
    pub fn decode<T>(
        &self,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Result<T, Mistakes> {
        let (value, mut mistakes) = Section::read_root(
            &self.root,
            &self.source,
            self.mistakes.clone(),
            self.on_its_machine,
            read,
        );
        if value.is_none() && mistakes.is_empty() {
            mistakes.push(Mistake::of_file("the settings are incomplete"));
        }
        match value {
            Some(value) => mistakes.into_result(value),
            None => Err(mistakes),
        }
    }
}

fn alone(mut mistakes: Mistakes, mistake: Mistake) -> Mistakes {
    mistakes.push(mistake);
    mistakes
}

fn too_large() -> Mistake {
    Mistake::of_file(format!("larger than {MAX_FILE} bytes, the most that settings may have"))
}

fn refuse_nothing(root: Node) -> Result<Node, Mistake> {
    match &root.value {
        Value::Map(entries) if !entries.is_empty() => Ok(root),
        Value::Map(_) | Value::Null => Err(Mistake::of_file("the file sets nothing")
            .help("to run with all defaults, start without a settings file")),
        // A tag on the whole file; reported already, and no reason to decode.
        Value::Mistaken => Err(Mistake::at(root.span, "the file is no section of settings")),
        _ => Err(Mistake::at(root.span, "the file must be a section: names and their values")),
    }
}
