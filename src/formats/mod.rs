//! Formats: the access logs of proxies that people already run, a line in and an event out.
//!
//! One file a format, with its grammar, what becomes what, and samples. It knows no files, sockets or
//! positions, and keeps nothing from line to line; who reads lines, and what becomes of those that fit no
//! format, is `ingest`'s matter and the command line's.
//!
//! Each parser goes over its line once and allocates only where an escape is undone. A line that is not
//! UTF-8 is taken all the same: each byte that is none becomes `\xE4`, and `proxy.escaped` says so.

#[cfg(feature = "envoy")]
mod access_log_service;
mod apache;
mod aws_alb;
mod caddy;
mod cipher;
mod common_log;
mod entry;
mod envoy;
mod haproxy;
mod instant;
mod json;
mod line;
mod mapped;
mod mapping;
mod named;
mod nginx;
mod path;
mod plan;
mod traefik;
mod value;
mod wrapped;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::event::ScanError;
use crate::report::nearest;
use entry::Entry;
use line::Line;

#[cfg(feature = "envoy")]
pub use access_log_service::{Converted, Entries, MAX_ENTRY, Malformed};
pub use mapped::Mapping;
pub use mapping::{Envelope, MappedField, MappingError};
pub use path::JsonPath;
pub use value::{Case, Unit};

/// Lines that [`Format::guess`] looks at; more of a log say no more.
const GUESSED_LINES: usize = 100;

/// All formats, in the order in which a guess prefers them where lines fit several.
const FORMATS: [Row; 7] = [
    row("nginx", nginx::read, &nginx::SAMPLES, "combined, or the JSON of docs/entrances/nginx.md"),
    row(
        "apache",
        apache::read,
        &apache::SAMPLES,
        "common and combined, also behind the virtual host",
    ),
    row("haproxy", haproxy::read, &haproxy::SAMPLES, "`option httplog`, `httpslog`, `tcplog`"),
    row(
        "caddy",
        caddy::read,
        &caddy::SAMPLES,
        "JSON, the form for consoles, and the common log format",
    ),
    row("traefik", traefik::read, &traefik::SAMPLES, "the common log format, and JSON"),
    row(
        "envoy",
        envoy::read,
        &envoy::SAMPLES,
        "Envoy's default text, and Istio's as text and JSON",
    ),
    row("aws_alb", aws_alb::read, &aws_alb::SAMPLES, "files of an Application Load Balancer"),
];

/// Reads one line into an entry.
type Read = for<'l> fn(&mut Line<'l>, &mut Entry<'l>) -> Result<(), Misfit>;

/// A line as a proxy writes it, and its event.
type Sample = (&'static str, &'static str);

struct Row {
    name: &'static str,
    read: Read,
    samples: &'static [Sample],
    about: &'static str,
}

const fn row(
    name: &'static str,
    read: Read,
    samples: &'static [Sample],
    about: &'static str,
) -> Row {
    Row { name, read, samples, about }
}

/// A format of log lines.
#[derive(Clone)]
pub struct Format(Kind);

#[derive(Clone)]
enum Kind {
    /// A proxy's.
    Known(&'static Row),
    /// JSON, mapped in the settings.
    Mapped(Arc<Mapping>),
}

/// The formats that settings map, beside those of the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats(Arc<[Format]>);

/// Why a line is none of a format: what was expected, and at which byte of the line, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The place in the line, in bytes.
    pub at: usize,
    /// What was expected there: words that follow "expected".
    pub expected: Cow<'static, str>,
}

/// What a line's event is given that does not stand in the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp<'s> {
    /// What its id is made of beside its time; without it the event gets no id, and whoever takes it in
    /// gives one.
    pub id: Option<u128>,
    /// The account that it belongs to.
    pub account_id: Option<&'s str>,
}

impl Format {
    /// The formats of the proxies.
    pub fn all() -> impl Iterator<Item = Format> {
        FORMATS.iter().map(|row| Format(Kind::Known(row)))
    }

    /// The proxy's format of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<Format> {
        Format::all().find(|it| it.name() == name)
    }

    /// A format of JSON lines that settings map.
    #[must_use]
    pub fn mapped(mapping: Mapping) -> Format {
        Format(Kind::Mapped(Arc::new(mapping)))
    }

    /// The name that settings, the command line and `?format=` call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Known(row) => row.name,
            Kind::Mapped(mapping) => mapping.name(),
        }
    }

    /// What it covers, in a few words.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match &self.0 {
            Kind::Known(row) => row.about,
            Kind::Mapped(_) => "JSON, mapped in the settings",
        }
    }

    /// Whether it passes over what syslog puts before a line by itself, and makes use of it.
    #[must_use]
    pub fn takes_syslog_headers(&self) -> bool {
        self.name() == "haproxy"
    }

    /// Lines as the proxy writes them, for measurements and tests.
    pub fn samples(&self) -> impl Iterator<Item = &'static str> + use<> {
        let samples = match &self.0 {
            Kind::Known(row) => row.samples,
            Kind::Mapped(_) => &[],
        };
        samples.iter().map(|(line, _)| *line)
    }

    /// Appends the event of a line, which has no line end, to `out`: one JSON object without line
    /// breaks. Nothing is appended for a line that is refused.
    ///
    /// # Errors
    /// When the line is none of this format.
    pub fn convert(&self, line: &[u8], stamp: Stamp<'_>, out: &mut String) -> Result<(), Misfit> {
        let unwrapped = wrapped::unwrapped(line);
        let line = match &self.0 {
            // A mapping may be that of the wrapping itself.
            Kind::Mapped(_) if !unwrapped.starts_with(b"{") => line,
            _ => &*unwrapped,
        };
        let (text, is_escaped) = match str::from_utf8(line) {
            Ok(text) => (Cow::Borrowed(text), false),
            // In JSON the escape's own mark is escaped.
            Err(_) if line.trim_ascii_start().starts_with(b"{") => {
                (Cow::Owned(line::with_bytes_escaped(line, "\\\\x")), true)
            }
            Err(_) => (Cow::Owned(line::with_bytes_escaped(line, "\\x")), true),
        };
        let (text, is_escaped) =
            match line::with_json_escapes(&text).filter(|_| text.starts_with('{')) {
                Some((undone, has_bytes)) => (Cow::Owned(undone), is_escaped || has_bytes),
                None => (text, is_escaped),
            };
        let row = match &self.0 {
            Kind::Known(row) => row,
            Kind::Mapped(mapping) => return mapping.convert(&text, is_escaped, stamp, out),
        };
        let mut entry = Entry { is_escaped, ..Entry::default() };
        let mut rest = Line::new(&text);
        (row.read)(&mut rest, &mut entry)?;
        entry.write(row.name, stamp, out);
        Ok(())
    }

    /// The format that most of some lines fit, and how many of them do, of those that were looked at: the
    /// first hundred that are not blank. None if no line fits any.
    pub fn guess<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Option<(Format, usize, usize)> {
        let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        let lines: Vec<&[u8]> = lines.filter(|it| !is_blank(it)).take(GUESSED_LINES).collect();
        let mut best: Option<(Format, usize)> = None;
        let mut out = String::new();
        for format in Format::all() {
            out.clear();
            let fits =
                lines.iter().filter(|it| format.convert(it, Stamp::default(), &mut out).is_ok());
            let fits = fits.count();
            let is_better = match best {
                Some((_, most)) if fits == most => {
                    let is_sure = match format.name() {
                        "apache" => apache::is_sure,
                        "traefik" => traefik::is_sure,
                        _ => |_: &[u8]| false,
                    };
                    lines.iter().any(|it| is_sure(it))
                }
                Some((_, most)) => fits > most,
                None => fits > 0,
            };
            if is_better {
                best = Some((format, fits));
            }
        }
        best.map(|(format, fits)| (format, fits, lines.len()))
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        match (&self.0, &other.0) {
            (Kind::Mapped(one), Kind::Mapped(other)) => one == other,
            (Kind::Known(one), Kind::Known(other)) => one.name == other.name,
            _ => false,
        }
    }
}

impl Eq for Format {}

impl Formats {
    /// The formats that settings map, by names that are no proxy's and differ.
    #[must_use]
    pub fn new(mapped: Vec<Format>) -> Formats {
        Formats(mapped.into())
    }

    /// All formats: those of the proxies, and those that settings map.
    pub fn iter(&self) -> impl Iterator<Item = Format> {
        Format::all().chain(self.0.iter().cloned())
    }

    /// The format of a name.
    ///
    /// # Errors
    /// When there is none: says so, with the one most like it or all names.
    pub fn find(&self, name: &str) -> Result<Format, String> {
        self.iter().find(|it| it.name() == name).ok_or_else(|| {
            let formats: Vec<_> = self.iter().collect();
            let names: Vec<_> = formats.iter().map(Format::name).collect();
            match nearest(name, names.iter().copied()) {
                Some(near) => format!("`{name}` is no format; did you mean `{near}`?"),
                None => format!("`{name}` is no format: there are {}", names.join(", ")),
            }
        })
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl From<ScanError> for Misfit {
    fn from(error: ScanError) -> Misfit {
        Misfit {
            at: error.at,
            expected: error.what.strip_prefix("expected ").unwrap_or("JSON").into(),
        }
    }
}

/// The code of a line that fits no format.
pub const MISFIT: &str = "ERR_SLUICEGATE_1150";

#[cfg(test)]
mod tests;
