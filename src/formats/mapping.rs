//! What settings say of a format of JSON lines: which of our fields stands where in theirs.
//!
//! How a line is read by it is the matter of `mapped.rs`.

use super::path::JsonPath;
use super::value::{Case, Unit};
use crate::event::{Declared, EventType, FieldType};

/// Where a field's value stands in a line, and how it is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedField {
    pub(super) name: String,
    pub(super) path: JsonPath,
    pub(super) case: Option<Case>,
    pub(super) unit: Option<Unit>,
    pub(super) is_required: bool,
}

/// What is not mapped to a field, but to the event's envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where the event's time stands; a line without it is refused.
    pub event_timestamp: JsonPath,
    /// Where an id stands that is the same whenever the line comes, if there is one.
    pub event_id: Option<JsonPath>,
    /// Where the account stands that the event belongs to; that of the entrance where a line has none.
    pub account_id: Option<JsonPath>,
}

/// Why a field cannot be mapped so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The event type has no such field.
    #[error("`{event_type}` has no field `{field}`")]
    NoField {
        /// The type.
        event_type: String,
        /// The field that was named.
        field: String,
        /// The one most like it, if one is close.
        near: Option<String>,
    },
    /// The name is that of a group.
    #[error("`{0}` is a group of fields")]
    Group(String),
    /// Something is said of letters where there are none.
    #[error("`case` is for texts, and `{field}` is of the type {field_type}")]
    Case {
        /// The field.
        field: String,
        /// Its type.
        field_type: String,
    },
    /// Something is said of a unit where none is counted in.
    #[error("`unit` is for spans of time, and `{field}` is of the type {field_type}")]
    Unit {
        /// The field.
        field: String,
        /// Its type.
        field_type: String,
    },
}

impl MappingError {
    /// What would help, if there is more to say.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            MappingError::NoField { near: Some(near), .. } => {
                Some(format!("did you mean `{near}`?"))
            }
            MappingError::NoField { event_type, .. } => {
                Some(format!("`sluicegate catalog {event_type}` lists its fields"))
            }
            MappingError::Group(_) => Some("map the fields in it one by one".to_owned()),
            MappingError::Case { .. } | MappingError::Unit { .. } => None,
        }
    }
}

impl MappedField {
    /// The value at a path as a field of an event type.
    ///
    /// # Errors
    /// When the type has no such field.
    pub fn new(
        event_type: &EventType,
        name: &str,
        path: JsonPath,
    ) -> Result<MappedField, MappingError> {
        match event_type.declared(name) {
            Declared::Field(_) => {
                let name = name.to_owned();
                Ok(MappedField { name, path, case: None, unit: None, is_required: false })
            }
            Declared::Group => Err(MappingError::Group(name.to_owned())),
            Declared::Nothing => Err(MappingError::NoField {
                event_type: event_type.name.clone(),
                field: name.to_owned(),
                near: event_type.nearest_field(name).map(str::to_owned),
            }),
        }
    }

    /// The same, in letters of one case; with a unit in which theirs is counted, where ours is milliseconds or a
    /// duration; and whether a line without it is refused.
    ///
    /// # Errors
    /// When the field is no text, or no span of time.
    pub fn taken_as(
        self,
        event_type: &EventType,
        case: Option<Case>,
        unit: Option<Unit>,
        is_required: bool,
    ) -> Result<MappedField, MappingError> {
        let Declared::Field(declared) = event_type.declared(&self.name) else { return Ok(self) };
        let (field, field_type) = (self.name.clone(), declared.field_type.to_string());
        if case.is_some() && !is_text(&declared.field_type) {
            return Err(MappingError::Case { field, field_type });
        }
        let is_span = matches!(declared.field_type, FieldType::Double | FieldType::Duration);
        if unit.is_some() && !is_span {
            return Err(MappingError::Unit { field, field_type });
        }
        Ok(MappedField { case, unit, is_required, ..self })
    }
}

fn is_text(field_type: &FieldType) -> bool {
    match field_type {
        FieldType::String => true,
        FieldType::List(inner) | FieldType::Map(inner) => is_text(inner),
        _ => false,
    }
}
