//! The catalog: which event types exist and which typed fields their objects have.
//!
//! Built-in types come from `catalog.json`; users add their own in the settings. It describes
//! events; it neither reads nor checks any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::report::nearest;

/// The type of a field, in the words of CEL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `true` or `false`.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// A double-precision number.
    Double,
    /// Text.
    String,
    /// RFC 3339 text, an instant in filters.
    Timestamp,
    /// Text such as `1.5s`, a span of time in filters.
    Duration,
    /// A list of one type.
    List(Box<FieldType>),
    /// A map from strings to one type.
    Map(Box<FieldType>),
    /// Any JSON.
    Dyn,
}

impl FieldType {
    /// Reads `string`, `list(string)`, `map(string, list(string))` and so on; also ngrok's spelling
    /// (`int32`, `boolean`, `List<string>`, `Map<string, string>`).
    #[must_use]
    pub fn parse(text: &str) -> Option<FieldType> {
        let text = text.trim();
        if let Some(item) = inside(text, "list") {
            return Some(FieldType::List(Box::new(FieldType::parse(item)?)));
        }
        if let Some(both) = inside(text, "map") {
            let (key, value) = both.split_once(',')?;
            let key = FieldType::parse(key)?;
            return (key == FieldType::String)
                .then(|| FieldType::parse(value))
                .flatten()
                .map(|value| FieldType::Map(Box::new(value)));
        }
        Some(match text {
            "bool" | "boolean" => FieldType::Bool,
            "int" | "int32" | "int64" => FieldType::Int,
            "double" => FieldType::Double,
            "string" => FieldType::String,
            "timestamp" => FieldType::Timestamp,
            "duration" => FieldType::Duration,
            "dyn" => FieldType::Dyn,
            _ => return None,
        })
    }
}

fn inside<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name) {
        return None;
    }
    rest.strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .or_else(|| rest.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')))
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Bool => f.write_str("bool"),
            FieldType::Int => f.write_str("int"),
            FieldType::Double => f.write_str("double"),
            FieldType::String => f.write_str("string"),
            FieldType::Timestamp => f.write_str("timestamp"),
            FieldType::Duration => f.write_str("duration"),
            FieldType::List(item) => write!(f, "list({item})"),
            FieldType::Map(value) => write!(f, "map(string, {value})"),
            FieldType::Dyn => f.write_str("dyn"),
        }
    }
}

/// One field of an event type's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The path from the object, such as `conn.client_ip`.
    pub name: String,
    /// Its type.
    pub field_type: FieldType,
    /// What it means, in a few words; may be empty for a user's own type.
    pub description: String,
}

/// Who makes events of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Traffic through the platform.
    Traffic,
    /// A change of a setting or resource.
    Audit,
    /// Declared in the settings by the user.
    Custom,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Traffic => "traffic",
            Class::Audit => "audit",
            Class::Custom => "custom",
        })
    }
}

/// A kind of event and the fields of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The name with its version, such as `http_request_complete.v0`.
    pub name: String,
    /// Who makes such events.
    pub class: Class,
    /// What happened, in a few words.
    pub description: String,
    /// The fields in the order of the documentation. No field's path is the start of another's.
    pub fields: Vec<Field>,
}

/// What stands at a path of an event type's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared<'c> {
    /// A field.
    Field(&'c Field),
    /// A group of fields, such as `conn`.
    Group,
    /// Nothing.
    Nothing,
}

impl EventType {
    /// What is declared at a path such as `conn.client_ip`.
    #[must_use]
    pub fn declared(&self, path: &str) -> Declared<'_> {
        if let Some(field) = self.fields.iter().find(|field| field.name == path) {
            return Declared::Field(field);
        }
        let group = self
            .fields
            .iter()
            .any(|field| field.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
        if group || path.is_empty() { Declared::Group } else { Declared::Nothing }
    }

    /// The field most like `path`, if one is close.
    #[must_use]
    pub fn nearest_field(&self, path: &str) -> Option<&str> {
        nearest(path, self.fields.iter().map(|field| field.name.as_str()))
    }
}

/// All event types by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    types: BTreeMap<String, Arc<EventType>>,
}

/// Why a type cannot be added to the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogError {
    /// The name is taken by a built-in or earlier type.
    Duplicate(String),
    /// The name is not a type name.
    Name(String),
    /// A field's path is not dotted identifiers.
    FieldName(String),
    /// A field is declared twice, or stands both as a field and as a group.
    FieldClash(String),
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CatalogError::Duplicate(name) => write!(f, "event type `{name}` exists already"),
            CatalogError::Name(name) => write!(
                f,
                "`{name}` is no event type name: lower-case letters, digits and `_`, then `.v` and a number, such as `order_placed.v0`"
            ),
            CatalogError::FieldName(name) => write!(
                f,
                "`{name}` is no field path: identifiers joined by dots, such as `order.total`"
            ),
            CatalogError::FieldClash(name) => {
                write!(f, "field `{name}` is declared twice, or both as a field and as a group")
            }
        }
    }
}

impl std::error::Error for CatalogError {}

impl Catalog {
    /// The type of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<EventType>> {
        self.types.get(name)
    }

    /// All types in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<EventType>> {
        self.types.values()
    }

    /// The type name most like `name`, if one is close.
    #[must_use]
    pub fn nearest_type(&self, name: &str) -> Option<&str> {
        nearest(name, self.types.keys().map(String::as_str))
    }

    /// Adds a type.
    ///
    /// # Errors
    /// When its name is taken or malformed, or its fields contradict each other.
    pub fn add(&mut self, event_type: EventType) -> Result<(), CatalogError> {
        if self.types.contains_key(&event_type.name) {
            return Err(CatalogError::Duplicate(event_type.name));
        }
        if !is_type_name(&event_type.name) {
            return Err(CatalogError::Name(event_type.name));
        }
        for (at, field) in event_type.fields.iter().enumerate() {
            if !field.name.split('.').all(is_identifier) {
                return Err(CatalogError::FieldName(field.name.clone()));
            }
            let clashes = event_type.fields[..at].iter().any(|other| {
                starts_path(&field.name, &other.name) || starts_path(&other.name, &field.name)
            });
            if clashes {
                return Err(CatalogError::FieldClash(field.name.clone()));
            }
        }
        self.types.insert(event_type.name.clone(), Arc::new(event_type));
        Ok(())
    }
}

fn starts_path(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_type_name(name: &str) -> bool {
    let Some((stem, version)) = name.rsplit_once(".v") else { return false };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !stem.is_empty()
        && name.len() <= 128
        && stem.bytes().all(plain)
        && !version.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_identifier(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()) && name.bytes().all(word)
}
