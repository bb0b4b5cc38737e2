//! The catalog: which event types exist and which typed fields their objects have.
//!
//! Built-in types come from `catalog.json`; users add their own in the settings. It describes
//! events; it neither reads nor checks any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::report::nearest;

/// How deep lists and maps of a [`FieldType`] may nest. Far beyond any real object, and small enough
/// that neither reading a type nor dropping one can use up the stack.
const MAX_TYPE_DEPTH: usize = 16;

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
    /// (`int32`, `boolean`, `List<string>`, `Map<string, string>`). Lists and maps nest at most 16
    /// deep.
    #[must_use]
    pub fn parse(text: &str) -> Option<FieldType> {
        FieldType::parse_nested(text, 0)
    }

    fn parse_nested(text: &str, depth: usize) -> Option<FieldType> {
        if depth > MAX_TYPE_DEPTH {
            return None;
        }
        let text = text.trim();
        if let Some(item) = inside(text, "list") {
            return Some(FieldType::List(Box::new(FieldType::parse_nested(item, depth + 1)?)));
        }
        if let Some(both) = inside(text, "map") {
            let (key, value) = both.split_once(',')?;
            if FieldType::parse_nested(key, depth + 1)? != FieldType::String {
                return None;
            }
            return Some(FieldType::Map(Box::new(FieldType::parse_nested(value, depth + 1)?)));
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
    /// What its values are declared to be; an event may hold something else all the same.
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
    /// This daemon's own doing, of which ngrok has no event type.
    Own,
    /// Declared in the settings by the user.
    Custom,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Traffic => "traffic",
            Class::Audit => "audit",
            Class::Own => "own",
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
    /// A value.
    Field(&'c Field),
    /// A group of fields, such as `conn`.
    Group,
    /// A path that no field begins with.
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The name is taken by a built-in or earlier type.
    #[error("event type `{0}` exists already")]
    Duplicate(String),
    /// The name is not a type name.
    #[error(
        "`{0}` is no event type name: lower-case letters, digits and `_`, then `.v` and a number, such as `order_placed.v0`"
    )]
    Name(String),
    /// A field's path is not dotted identifiers.
    #[error("`{0}` is no field path: identifiers joined by dots, such as `order.total`")]
    FieldName(String),
    /// A field is declared twice, or stands both as a field and as a group.
    #[error("field `{0}` is declared twice, or both as a field and as a group")]
    FieldClash(String),
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(name: &str, fields: &[&str]) -> EventType {
        let field = |name: &&str| Field {
            name: (*name).to_owned(),
            field_type: FieldType::String,
            description: String::new(),
        };
        EventType {
            name: name.to_owned(),
            class: Class::Custom,
            description: String::new(),
            fields: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn a_type_is_written_as_it_is_read() {
        for text in [
            "bool",
            "int",
            "double",
            "string",
            "timestamp",
            "duration",
            "dyn",
            "list(string)",
            "map(string, list(string))",
            "list(map(string, map(string, dyn)))",
        ] {
            assert_eq!(FieldType::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_spelling_of_the_reference_is_read_too() {
        for (text, written) in [
            ("boolean", "bool"),
            ("int32", "int"),
            (" int64 ", "int"),
            ("List<string>", "list(string)"),
            ("Map<string, List<string>>", "map(string, list(string))"),
            ("map( string ,int)", "map(string, int)"),
        ] {
            assert_eq!(FieldType::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "String",
            "float",
            "list",
            "list()",
            "list(string",
            "list(string>",
            "list(string))",
            "map(string)",
            "map(int, string)",
            "map(string, string, string)",
            "map(list(string), int)",
            "lißt(string)",
            "ma",
        ] {
            assert_eq!(FieldType::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn types_nest_to_a_limit_and_never_use_up_the_stack() {
        let nested = |depth| format!("{}int{}", "list(".repeat(depth), ")".repeat(depth));
        assert_eq!(FieldType::parse(&nested(16)).unwrap().to_string(), nested(16));
        assert_eq!(FieldType::parse(&nested(17)), None);
        assert_eq!(FieldType::parse(&nested(1_000_000)), None);
    }

    #[test]
    fn a_type_that_fits_is_found_by_its_name() {
        let mut catalog = Catalog::default();
        catalog.add(custom("order_placed.v1", &["order.id", "order.total", "shop"])).unwrap();
        catalog.add(custom("order_placed.v0", &["_id", "customer.Name2"])).unwrap();
        let names = catalog.iter().map(|event_type| event_type.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["order_placed.v0", "order_placed.v1"]);
        assert_eq!(catalog.get("order_placed.v1").unwrap().fields.len(), 3);
        assert_eq!(catalog.get("order_placed.v2"), None);
    }

    #[test]
    fn a_path_is_a_field_or_a_group_or_nothing() {
        let order = custom("order_placed.v0", &["order.id", "order.total", "shop"]);
        assert_eq!(order.declared("order.id"), Declared::Field(&order.fields[0]));
        for (path, expected) in [
            ("order", Declared::Group),
            ("", Declared::Group),
            ("ord", Declared::Nothing),
            ("order.", Declared::Nothing),
            ("shop.name", Declared::Nothing),
        ] {
            assert_eq!(order.declared(path), expected, "{path:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near() {
        let order = custom("order_placed.v0", &["order.id", "order.total"]);
        assert_eq!(order.nearest_field("order.totla"), Some("order.total"));
        assert_eq!(order.nearest_field("shipping"), None);
        let mut catalog = Catalog::default();
        catalog.add(order).unwrap();
        assert_eq!(catalog.nearest_type("order_place.v0"), Some("order_placed.v0"));
        assert_eq!(catalog.nearest_type("login.v0"), None);
    }

    #[test]
    fn a_name_that_is_taken_or_malformed_is_refused() {
        let mut catalog = Catalog::default();
        catalog.add(custom("order_placed.v0", &[])).unwrap();
        let taken = catalog.add(custom("order_placed.v0", &[])).unwrap_err();
        assert_eq!(taken.to_string(), "event type `order_placed.v0` exists already");
        let too_long = format!("{}.v0", "a".repeat(126));
        // `test` is the type of the events that `test-event` sends, so no user's type may be it.
        for name in ["test", "", "order", "Order.v0", "order.v", ".v0", "a.b.v0", "o.vx", &too_long]
        {
            let error = catalog.add(custom(name, &[])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "`{name}` is no event type name: lower-case letters, digits and `_`, then `.v` and a number, such as `order_placed.v0`"
                )
            );
        }
        assert_eq!(catalog.iter().count(), 1);
    }

    #[test]
    fn a_malformed_field_path_is_refused() {
        for path in ["", "a.", ".a", "a..b", "1a", "a-b", "a b", "é"] {
            let error = Catalog::default().add(custom("order_placed.v0", &[path])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "`{path}` is no field path: identifiers joined by dots, such as `order.total`"
                )
            );
        }
    }

    #[test]
    fn a_path_is_one_field_or_one_group() {
        for (fields, clash) in [
            (["a", "a"], "a"),
            (["a.b", "a"], "a"),
            (["a", "a.b.c"], "a.b.c"),
            (["a.b", "a.b"], "a.b"),
        ] {
            let error = Catalog::default().add(custom("order_placed.v0", &fields)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("field `{clash}` is declared twice, or both as a field and as a group")
            );
        }
        let alike = custom("order_placed.v0", &["a.b", "ab", "a.bc"]);
        assert_eq!(Catalog::default().add(alike), Ok(()));
    }
}
