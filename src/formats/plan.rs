//! A mapping put together: the paths that are looked for in a line, and the members of the event's object in the
//! catalog's order, each with the value that it is made of.
//!
//! Where a request's line or a target is mapped, its parts fill those fields of the URL that are not mapped
//! themselves. It reads no line; that is the matter of `mapped.rs`.

use super::mapping::{Envelope, MappedField};
use super::path::{JsonPath, Paths};
use super::value::{Case, Making, Manner};
use crate::event::{Declared, EventType, FieldType};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) paths: Paths,
    /// How many values are looked for.
    pub(super) slots: usize,
    pub(super) event_timestamp: usize,
    pub(super) event_id: Option<usize>,
    pub(super) account_id: Option<usize>,
    /// The request's line that is taken apart, and the target.
    pub(super) request_line: Option<usize>,
    pub(super) target: Option<usize>,
    /// The values without which a line is refused, by the fields that they are for.
    pub(super) required: Vec<(usize, MappedField)>,
    pub(super) object: Vec<Member>,
}

/// A member of the event's object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) made: Made,
}

#[derive(Debug)]
pub(super) enum Made {
    Group(Vec<Member>),
    Value(Value),
    Part(Part),
    /// The format's name.
    Name,
    /// Whether bytes of the line were escaped.
    Escaped,
}

/// A field that is a value of the line.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) slot: usize,
    pub(super) field: MappedField,
    pub(super) making: Making,
}

/// A part of a request's line or target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Method,
    Protocol,
    Scheme,
    Host,
    Path,
    Query,
    /// The target as it stands.
    Raw,
    /// The request's line where it is none.
    Line,
}

const RAW: &str = "http.request.url.raw";

/// The fields that hold parts of a target.
const OF_TARGET: [(&str, Part); 4] = [
    ("http.request.url.host", Part::Host),
    ("http.request.url.path", Part::Path),
    ("http.request.url.query", Part::Query),
    ("http.request.url.scheme", Part::Scheme),
];

/// Those that hold parts of a request's line beside.
const OF_LINE: [(&str, Part); 3] =
    [("http.request.method", Part::Method), ("proxy.protocol", Part::Protocol), (RAW, Part::Raw)];

const REQUEST_LINE: &str = "proxy.request_line";

/// Fields that the catalog has in lower case.
const LOWER_CASE: [&str; 2] = ["http.request.method", "http.request.url.scheme"];

impl Plan {
    pub(super) fn new(event_type: &EventType, envelope: &Envelope, fields: &[MappedField]) -> Plan {
        let mut paths = Paths::default();
        let mut slots = 0;
        let mut slot = |path: &JsonPath| {
            let slot = paths.add(path, slots);
            slots = slots.max(slot + 1);
            slot
        };
        let event_timestamp = slot(&envelope.event_timestamp);
        let event_id = envelope.event_id.as_ref().map(&mut slot);
        let account_id = envelope.account_id.as_ref().map(&mut slot);
        let mut of = |name: &str| {
            let field = fields.iter().find(|it| it.name == name)?;
            Some(slot(&field.path))
        };
        let (request_line, target) = (of(REQUEST_LINE), of(RAW));
        let required = fields.iter().filter(|it| it.is_required);
        let required = required.map(|it| (slot(&it.path), it.clone())).collect();
        let mut object = Vec::new();
        for declared in &event_type.fields {
            let name = declared.name.as_str();
            let part = |parts: &[(&str, Part)]| {
                parts.iter().find(|it| it.0 == name).map(|it| Made::Part(it.1))
            };
            let made = match fields.iter().find(|it| it.name == name) {
                Some(_) if name == REQUEST_LINE => Some(Made::Part(Part::Line)),
                Some(field) => {
                    Some(Made::Value(Value::new(event_type, slot(&field.path), field.clone())))
                }
                None if name == "proxy.name" => Some(Made::Name),
                None if name == "proxy.escaped" => Some(Made::Escaped),
                None if request_line.is_some() => part(&OF_TARGET).or_else(|| part(&OF_LINE)),
                None if target.is_some() => part(&OF_TARGET),
                None => None,
            };
            if let Some(made) = made {
                insert(&mut object, name, made);
            }
        }
        Plan {
            paths,
            slots,
            event_timestamp,
            event_id,
            account_id,
            request_line,
            target,
            required,
            object,
        }
    }
}

impl Value {
    fn new(event_type: &EventType, slot: usize, field: MappedField) -> Value {
        let field_type = match event_type.declared(&field.name) {
            Declared::Field(declared) => declared.field_type.clone(),
            // A field is taken only where it is declared.
            Declared::Group | Declared::Nothing => FieldType::Dyn,
        };
        let is_lower = LOWER_CASE.contains(&&*field.name);
        let making = Making {
            manner: Manner::of(&field.name, &field_type),
            field_type,
            case: field.case.or(is_lower.then_some(Case::Lower)),
            unit: field.unit,
        };
        Value { slot, field, making }
    }
}

/// Puts a member at its path, into groups that are made where they are not there yet.
fn insert(members: &mut Vec<Member>, path: &str, made: Made) {
    let Some((group, rest)) = path.split_once('.') else {
        members.push(Member { name: path.to_owned(), made });
        return;
    };
    let known = members.iter().position(|it| it.name == group);
    let at = known.unwrap_or_else(|| {
        members.push(Member { name: group.to_owned(), made: Made::Group(Vec::new()) });
        members.len() - 1
    });
    // No field's path is the start of another's.
    if let Made::Group(inner) = &mut members[at].made {
        insert(inner, rest, made);
    }
}
