//! The event types that are known without any setting, read from `catalog.json`.
//!
//! The file names each type's class and object, and lists each object's fields once, however many
//! types share it: `[path, type, description]`, in the order in which events carry them. It is part
//! of the program; nothing here reads files that a user could change.

use std::sync::LazyLock;

use serde_json::Value;

use super::catalog::{Catalog, Class, EventType, Field, FieldType};

#[expect(
    clippy::expect_used,
    reason = "the file is part of the program and read by this file's tests"
)]
static BUILTIN: LazyLock<Catalog> = LazyLock::new(|| {
    read(include_str!("catalog.json")).expect("the embedded catalog is read in this file's tests")
});

impl Catalog {
    /// The built-in types: ngrok's two of traffic and 53 of audit, as its reference has them, and this
    /// daemon's own. The group `proxy` of the two is ours: what access logs of other proxies tell beyond it.
    ///
    /// Cheap after the first call: the types themselves are shared.
    #[must_use]
    pub fn builtin() -> Catalog {
        BUILTIN.clone()
    }
}

fn read(text: &str) -> Result<Catalog, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut catalog = Catalog::default();
    for row in rows(&file["types"])? {
        let [name, class, object, description] = columns(row)?;
        let class = match class {
            "traffic" => Class::Traffic,
            "audit" => Class::Audit,
            "own" => Class::Own,
            other => return Err(format!("`{name}` has the unknown class `{other}`")),
        };
        let fields = rows(&file["objects"][object])?.iter().map(field).collect::<Result<_, _>>()?;
        let event_type =
            EventType { name: name.to_owned(), class, description: description.to_owned(), fields };
        catalog.add(event_type).map_err(|error| error.to_string())?;
    }
    Ok(catalog)
}

fn field(row: &Value) -> Result<Field, String> {
    let [name, field_type, description] = columns(row)?;
    let field_type = FieldType::parse(field_type)
        .ok_or_else(|| format!("`{name}` has the unknown type `{field_type}`"))?;
    Ok(Field { name: name.to_owned(), field_type, description: description.to_owned() })
}

fn rows(list: &Value) -> Result<&[Value], String> {
    list.as_array().map(Vec::as_slice).ok_or_else(|| format!("expected a list, got {list}"))
}

/// The texts of a row that must have exactly `N`.
fn columns<const N: usize>(row: &Value) -> Result<[&str; N], String> {
    let texts = rows(row)?.iter().filter_map(Value::as_str).collect::<Vec<_>>();
    <[&str; N]>::try_from(texts).map_err(|_| format!("expected {N} texts, got {row}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::Declared;

    /// The type of a field of a built-in type, as text.
    fn declared(event_type: &str, path: &str) -> String {
        match Catalog::builtin().get(event_type).unwrap().declared(path) {
            Declared::Field(field) => field.field_type.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_embedded_file_has_two_traffic_and_53_audit_types() {
        let catalog = Catalog::builtin();
        let of = |class| catalog.iter().filter(|event_type| event_type.class == class).count();
        assert_eq!((of(Class::Traffic), of(Class::Audit), of(Class::Custom)), (2, 53, 0));
        let fields = |name| catalog.get(name).unwrap().fields.len();
        assert_eq!(fields("http_request_complete.v0"), 35 + 22);
        assert_eq!(fields("tcp_connection_closed.v0"), 11 + 16);
    }

    #[test]
    fn fields_have_their_documented_types() {
        for (event_type, path, expected) in [
            ("http_request_complete.v0", "conn.client_ip", "string"),
            ("http_request_complete.v0", "conn.server_port", "int"),
            ("http_request_complete.v0", "conn.start_ts", "timestamp"),
            ("http_request_complete.v0", "backend.connection_reused", "bool"),
            ("http_request_complete.v0", "http.request.headers", "map(string, list(string))"),
            ("http_request_complete.v0", "traffic_policy.logs", "list(map(string, dyn))"),
            ("http_request_complete.v0", "http.request", "Group"),
            ("http_request_complete.v0", "conn.bytes_in", "Nothing"),
            ("tcp_connection_closed.v0", "conn.bytes_in", "int"),
            ("api_key_created.v0", "created_at", "string"),
            ("api_key_created.v0", "token", "string"),
            ("ip_restriction_updated.v0", "enforced", "bool"),
            ("ip_restriction_updated.v0", "ip_policies", "list(map(string, string))"),
            ("ssh_user_certificate_deleted.v0", "extensions", "map(string, string)"),
            ("tls_certificate_created.v0", "subject_alternative_names.ips", "list(string)"),
        ] {
            assert_eq!(declared(event_type, path), expected, "{event_type} {path}");
        }
    }

    #[test]
    fn the_types_of_one_resource_have_the_same_fields() {
        let catalog = Catalog::builtin();
        let fields = |name| &catalog.get(name).unwrap().fields;
        assert_eq!(fields("vault_created.v0"), fields("vault_updated.v0"));
        assert_eq!(fields("vault_created.v0"), fields("vault_deleted.v0"));
        assert_eq!(fields("agent_session_start.v0"), fields("agent_session_stop.v0"));
    }

    #[test]
    fn everything_is_described_in_a_sentence() {
        for event_type in Catalog::builtin().iter() {
            let fields = event_type.fields.iter().map(|field| &field.description);
            for description in fields.chain([&event_type.description]) {
                assert!(description.ends_with('.'), "{}: {description:?}", event_type.name);
            }
        }
    }

    #[test]
    fn a_broken_file_is_refused_with_the_place() {
        for (text, said) in [
            ("[", "EOF while parsing a list at line 1 column 1"),
            ("{}", "expected a list, got null"),
            (r#"{"types":[["a.v0"]]}"#, r#"expected 4 texts, got ["a.v0"]"#),
            (r#"{"types":[["a.v0","x","o","d"]]}"#, "`a.v0` has the unknown class `x`"),
            (
                r#"{"types":[["a.v0","audit","o","d"]],"objects":{"o":[["f","float","d"]]}}"#,
                "`f` has the unknown type `float`",
            ),
            (
                r#"{"types":[["a.v0","audit","o","d"],["a.v0","audit","o","d"]],"objects":{"o":[]}}"#,
                "event type `a.v0` exists already",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), said, "{text}");
        }
    }

    /// The reference lists the keys of an array's items one by one; the catalog has one field for
    /// the array. Policy logs are typed more widely than there, because real entries nest.
    fn field_of_reference(field: &Value) -> (String, String) {
        if let Some(array) = field["in_array"].as_str() {
            return (array.to_owned(), "list(map(string, string))".to_owned());
        }
        let name = field["name"].as_str().unwrap();
        let field_type = match (name, field["type"].as_str().unwrap()) {
            ("traffic_policy.logs", _) => "list(map(string, dyn))",
            (_, "string|null") => "string",
            (_, other) => other,
        };
        (name.to_owned(), FieldType::parse(field_type).unwrap().to_string())
    }

    #[test]
    fn names_types_and_allowed_values_are_those_of_the_reference() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
        let Ok(text) = std::fs::read_to_string(path.join("event-sources.json")) else {
            println!("skipped: the reference is not beside the repository");
            return;
        };
        let reference: Value = serde_json::from_str(&text).unwrap();
        let theirs = reference["event_types"].as_array().unwrap();
        let catalog = Catalog::builtin();
        let ours = catalog.iter().filter(|it| it.class != Class::Own);
        assert_eq!(ours.count(), theirs.len());
        for documented in theirs {
            let event_type = catalog.get(documented["name"].as_str().unwrap()).unwrap();
            assert_eq!(event_type.class.to_string(), documented["class"].as_str().unwrap());
            let documented = documented["fields"].as_array().unwrap();
            let mut expected = documented.iter().map(field_of_reference).collect::<Vec<_>>();
            expected.dedup();
            // What proxies say and ngrok's reference has no word for is ours.
            let ours = event_type.fields.iter().filter(|it| !it.name.starts_with("proxy."));
            let ours = ours.map(|field| (field.name.clone(), field.field_type.to_string()));
            assert_eq!(ours.collect::<Vec<_>>(), expected, "{}", event_type.name);
            for field in documented {
                for value in field["enum"].as_array().into_iter().flatten() {
                    let Declared::Field(ours) =
                        event_type.declared(field["name"].as_str().unwrap())
                    else {
                        panic!("{field} is no field");
                    };
                    let value = format!("`{}`", value.as_str().unwrap());
                    assert!(ours.description.contains(&value), "{} lacks {value}", ours.name);
                }
            }
        }
    }
}
