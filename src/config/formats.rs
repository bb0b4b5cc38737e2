//! Formats of log lines: those that a settings file maps, and the names by which its entrances call formats.
//!
//! What may be mapped is the formats' own room's matter; here each refusal gets its place.

use std::sync::Arc;

use super::decode::{Section, Setting, TextOr};
use super::text::Text;
use crate::event::{Catalog, EventType};
use crate::formats::{
    Case, Envelope, Format, Formats, JsonPath, MappedField, Mapping, MappingError, Unit,
};

/// All formats that a settings file may name. A mapped one that has mistakes is there without its mapping, so that
/// who names it is not mistaken as well.
pub(super) struct Named(Vec<(String, Option<Format>)>);

const CASES: [(&str, Case); 2] = [("lower", Case::Lower), ("upper", Case::Upper)];

const UNITS: [(&str, Unit); 4] = [
    ("s", Unit::Seconds),
    ("ms", Unit::Milliseconds),
    ("us", Unit::Microseconds),
    ("ns", Unit::Nanoseconds),
];

impl Named {
    /// Those that the settings map.
    pub(super) fn formats(&self) -> Formats {
        let is_mapped = |it: &Format| Format::find(it.name()).is_none();
        Formats::new(self.0.iter().filter_map(|it| it.1.clone()).filter(is_mapped).collect())
    }

    /// Reads the name of a format.
    pub(super) fn read(&self, setting: Setting<'_>) -> Option<Format> {
        let words: Vec<_> = self.0.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
        setting.word(&words).flatten()
    }
}

/// Reads the formats that the settings map.
pub(super) fn read_formats(root: &mut Section<'_>, catalog: &Catalog) -> Named {
    let known = Format::all().map(|it| (it.name().to_owned(), Some(it)));
    let mut named = Named(known.collect());
    let read = root.optional("formats").list(|section| {
        let name = read_name(section, &named);
        let json = section.required("json").section(|json| read_json(json, catalog));
        let name = name?;
        let made = |(event_type, envelope, fields)| {
            Format::mapped(Mapping::new(name.clone(), event_type, envelope, fields))
        };
        named.0.push((name.clone(), json.map(made)));
        Some(())
    });
    let _read = read;
    named
}

fn read_name(section: &mut Section<'_>, named: &Named) -> Option<String> {
    let text = section.required("name").string()?;
    let is_name = text.value.len() <= 64
        && text
            .value
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    let problem = if !is_name {
        format!("`{}` is no name of a format: lower-case letters, digits and `_`", text.value)
    } else if Format::find(text.value).is_some() {
        format!("`{}` is a format that is there already", text.value)
    } else if named.0.iter().any(|it| it.0 == text.value) {
        format!("format `{}` is mapped already", text.value)
    } else {
        return Some(text.value.to_owned());
    };
    section.push(text.wrong(problem));
    None
}

/// What a path looks like, for messages.
const PATH: &str = "a path such as `request.host`, or a JSON Pointer such as `/request/host`";

fn read_path(setting: Setting<'_>) -> Option<JsonPath> {
    setting.parsed(PATH, JsonPath::parse)
}

type Read = (Arc<EventType>, Envelope, Vec<MappedField>);

fn read_json(section: &mut Section<'_>, catalog: &Catalog) -> Option<Read> {
    let event_type = section.required("type").string();
    let event_type = event_type.and_then(|name| {
        let found = catalog.get(name.value).cloned();
        if found.is_none() {
            let mistake = name.wrong(format!("no event type `{}`", name.value));
            section.push(match catalog.nearest_type(name.value) {
                Some(near) => mistake.help(format!("did you mean `{near}`?")),
                None => mistake.help("`sluicegate catalog` lists those that there are"),
            });
        }
        found
    });
    let event_timestamp = read_path(section.required("event_timestamp"));
    let event_id = read_path(section.optional("event_id"));
    let account_id = read_path(section.optional("account_id"));
    let fields =
        section.required("fields").named("a section of fields, each with its path in a line");
    let event_type = event_type?;
    let read = |(name, setting)| read_field(section, &event_type, &name, setting);
    let fields = fields?.into_iter().filter_map(read).collect();
    let envelope = Envelope { event_timestamp: event_timestamp?, event_id, account_id };
    Some((event_type, envelope, fields))
}

/// A field that is mapped to a path, or to a section that says more of it.
fn read_field(
    section: &Section<'_>,
    event_type: &EventType,
    name: &Text<'_>,
    setting: Setting<'_>,
) -> Option<MappedField> {
    let refuse = |error: MappingError| {
        let mistake = name.wrong(&error);
        section.push(match error.help() {
            Some(help) => mistake.help(help),
            None => mistake,
        });
    };
    let more = setting.string_or(|section| {
        let path = read_path(section.required("path"));
        let case = section.optional("case").word(&CASES);
        let unit = section.optional("unit").word(&UNITS);
        let is_required = section.optional("required").bool().unwrap_or(false);
        Some((path?, case, unit, is_required))
    });
    let (path, case, unit, is_required) = match more? {
        TextOr::Text(text) => {
            let path = JsonPath::parse(text.value);
            if path.is_none() {
                section.push(text.wrong(format!("`{}` is not {PATH}", text.value)));
            }
            (path?, None, None, false)
        }
        TextOr::Section(more) => more,
    };
    MappedField::new(event_type, name.value, path)
        .and_then(|field| field.taken_as(event_type, case, unit, is_required))
        .map_err(refuse)
        .ok()
}
