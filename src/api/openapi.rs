//! The description of the control API, OpenAPI 3.1, made from the same table that requests are
//! checked by, so that the two cannot part. Its test asks the daemon everything it says.

mod daemon;

use serde_json::{Map, Value, json};

use super::place::{EMPTY_LISTS, ResourceRoute, resource_routes};
use super::request::MAX_LIMIT;

use crate::control::{Field, KINDS, Presence, Shape, Spec};
use crate::form;
use crate::resources::Terms;
use crate::sinks::Target;

/// The whole description, for an API that is reached at `base`.
pub(super) fn describe(base: &str) -> Value {
    let mut paths = Map::new();
    for route in resource_routes() {
        paths.insert(format!("/{}", route.path), collection(&route));
        paths.insert(format!("/{}/{{id}}", route.path), item(&route));
    }
    for name in EMPTY_LISTS {
        paths.insert(format!("/{name}"), json!({"get": listing(name, name, &json!({}))}));
    }
    paths.extend(fixed_paths());
    let mut schemas = Map::new();
    for spec in &KINDS {
        schemas.insert(spec.path.to_owned(), answer_schema(spec));
        schemas.insert(format!("{}_create", spec.path), request_schema(spec, true));
        schemas.insert(format!("{}_update", spec.path), request_schema(spec, false));
    }
    schemas.extend(fixed_schemas());
    schemas.extend(source_schemas());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluicegate control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "ngrok's API for event subscriptions and what belongs to them, on your own daemon. Every request needs an API key and the header `ngrok-version: 2`.",
        },
        "servers": [{"url": base}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "parameters": {"version": {
                "name": "ngrok-version", "in": "header", "required": true,
                "schema": {"type": "string", "const": "2"},
            }},
            "responses": {"error": {
                "description": "Not done, and nothing has changed.",
                "content": body(&reference("error")),
            }},
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn body(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

/// One operation: what it is called and does, the answer when it is done, and all refusals.
fn operation(
    id: &str,
    summary: &str,
    (status, schema): (&str, Option<Value>),
) -> Map<String, Value> {
    let mut responses = Map::new();
    let mut done = json!({"description": "Done."});
    if let Some(schema) = schema {
        done["content"] = body(&schema);
    }
    responses.insert(status.to_owned(), done);
    for status in ["400", "403", "404", "409", "413", "415", "429", "503"] {
        responses.insert(status.to_owned(), json!({"$ref": "#/components/responses/error"}));
    }
    let operation = json!({
        "operationId": id,
        "summary": summary,
        "parameters": [{"$ref": "#/components/parameters/version"}],
        "responses": responses,
    });
    match operation {
        Value::Object(operation) => operation,
        _ => Map::new(),
    }
}

fn with_body(mut operation: Map<String, Value>, schema: &Value, required: bool) -> Value {
    operation
        .insert("requestBody".to_owned(), json!({"required": required, "content": body(schema)}));
    Value::Object(operation)
}

/// The list at a path, under a key, of items with this schema.
fn listing(path: &str, key: &str, item: &Value) -> Map<String, Value> {
    let list = json!({
        "type": "object",
        "required": [key, "uri", "next_page_uri"],
        "properties": {
            (key): {"type": "array", "items": item},
            "uri": {"type": "string"},
            "next_page_uri": {"type": ["string", "null"]},
        },
    });
    let mut listing = operation(
        &format!("list_{path}"),
        &format!("All {}, newest first", path.replace('_', " ")),
        ("200", Some(list)),
    );
    let query = |name: &str, about: &str, schema: Value| json!({"name": name, "in": "query", "description": about, "schema": schema});
    if let Some(Value::Array(parameters)) = listing.get_mut("parameters") {
        parameters.extend([
            query(
                "limit",
                "Most resources of a page.",
                json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
            ),
            query("before_id", "Only those made before this one.", json!({"type": "string"})),
            query("filter", "CEL on one resource, the variable `obj`.", json!({"type": "string"})),
        ]);
    }
    listing
}

fn collection(route: &ResourceRoute) -> Value {
    let (path, spec) = (route.path, route.kind.spec());
    let listing = listing(path, route.list_key, &reference(spec.path));
    let creation = operation(
        &format!("create_{path}"),
        &format!("Make a resource of the kind {}", spec.noun),
        ("201", Some(reference(spec.path))),
    );
    let creation = with_body(creation, &reference(&format!("{}_create", spec.path)), true);
    json!({"get": listing, "post": creation})
}

fn item(route: &ResourceRoute) -> Value {
    let (path, spec) = (route.path, route.kind.spec());
    let shown = || Some(reference(spec.path));
    let get = operation(
        &format!("get_{path}"),
        &format!("One resource of the kind {}", spec.noun),
        ("200", shown()),
    );
    let update = operation(
        &format!("update_{path}"),
        "Change it; what is not given stays",
        ("200", shown()),
    );
    let update = with_body(update, &reference(&format!("{}_update", spec.path)), false);
    let delete = operation(&format!("delete_{path}"), "Remove it", ("204", None));
    json!({"parameters": [path_parameter("id")], "get": get, "patch": update, "delete": delete})
}

fn path_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
}

fn fixed_paths() -> Map<String, Value> {
    let any = || Some(json!({"type": "object"}));
    let id = || path_parameter("id");
    let sources = json!({
        "type": "object",
        "required": ["sources", "uri"],
        "properties": {
            "sources": {"type": "array", "items": reference("source")},
            "uri": {"type": "string"},
        },
    });
    let get =
        |id: &str, summary: &str, schema| Value::Object(operation(id, summary, ("200", schema)));
    let source = || Some(reference("source"));
    let paths = json!({
        "/": {"get": get("root", "Where everything is", any())},
        "/self": {"get": get("self", "Who asks", any())},
        "/event_subscriptions/{id}/sources": {
            "parameters": [id()],
            "get": get("list_sources", "The sources of a subscription", Some(sources)),
            "post": with_body(
                operation("create_source", "Add a source", ("201", source())),
                &reference("source_of_create"), true),
        },
        "/event_subscriptions/{id}/sources/{type}": {
            "parameters": [id(), path_parameter("type")],
            "get": get("get_source", "One source", source()),
            "patch": with_body(
                operation("update_source", "Change a source; what is not given stays", ("200", source())),
                &reference("source_update"), false),
            "delete": operation("delete_source", "Remove a source", ("204", None)),
        },
        "/event_destinations/{id}/send_test_event": {
            "parameters": [id()],
            "post": operation("send_test_event", "Send one test event straight to the destination", ("200", any())),
        },
        "/event_destinations/{id}/status": {
            "parameters": [id()],
            "get": get("get_destination_status", "How delivery to a destination stands", any()),
        },
        "/reserved_domains/{id}/certificate": {
            "parameters": [id()],
            "delete": operation("delete_certificate", "Take a domain's certificate away", ("204", None)),
        },
        "/reserved_domains/{id}/certificate_management_policy": {
            "parameters": [id()],
            "delete": operation("delete_certificate_management_policy", "Take a domain's policy away", ("204", None)),
        },
        "/agent_ingresses/{id}/certificate_management_policy": {
            "parameters": [id()],
            "delete": operation("delete_ingress_certificate_management_policy", "Take an agent ingress' policy away", ("204", None)),
        },
        "/filters/try": {
            "post": with_body(
                operation("try_filter", "Try a filter on events given, or on the last that came in", ("200", any())),
                &reference("filter_try"), true),
        },
    });
    match paths {
        Value::Object(mut paths) => {
            paths.extend(daemon::paths());
            paths
        }
        _ => Map::new(),
    }
}

fn fixed_schemas() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let schemas = json!({
        "error": {
            "type": "object",
            "required": ["error_code", "status_code", "msg", "details"],
            "properties": {
                "error_code": text,
                "status_code": {"type": "integer"},
                "msg": text,
                "details": {"type": "object", "additionalProperties": text},
            },
        },
        "reference": {
            "type": "object",
            "required": ["id", "uri"],
            "properties": {"id": text, "uri": text},
        },
        "filter_try": {
            "type": "object",
            "required": ["type", "filter"],
            "additionalProperties": false,
            "properties": {
                "type": text,
                "filter": text,
                "events": {"type": "array", "maxItems": 1000},
                "last": {"type": "integer", "minimum": 1, "maximum": 1000},
            },
        },
        "bury": {
            "type": "object",
            "required": ["destination_id", "event_id"],
            "additionalProperties": false,
            "properties": {
                "destination_id": {"type": "string", "minLength": 1},
                "event_id": {"type": "string", "minLength": 1},
            },
        },
        "buried": {
            "type": "object",
            "required": ["destination_id", "event_id", "buried"],
            "properties": {
                "destination_id": text,
                "event_id": text,
                "buried": {"type": "integer", "minimum": 1},
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

/// A source in answers and in requests; by its own route it may name its subscription, and itself.
fn source_schemas() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let as_in_path = repeated("As in the path, if it is given.");
    let schemas = json!({
        "source": {
            "type": "object",
            "required": ["type", "uri", "filter", "fields"],
            "properties": {"type": text, "uri": text, "filter": text, "fields": texts},
        },
        "source_create": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": false,
            "properties": {"type": text, "filter": text, "fields": texts, "uri": text},
        },
        "source_of_create": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": false,
            "properties": {
                "type": text, "filter": text, "fields": texts, "uri": text, "subscription_id": as_in_path,
            },
        },
        "source_update": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "filter": text, "fields": texts, "subscription_id": as_in_path, "type": as_in_path,
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

fn answer_schema(spec: &Spec) -> Value {
    let text = json!({"type": "string"});
    let mut properties = Map::new();
    for name in ["id", "uri", "created_at"] {
        properties.insert(name.to_owned(), text.clone());
    }
    for field in spec.fields().iter().filter(|field| field.presence != Presence::Request) {
        let mut schema = shown(field);
        schema["description"] = json!(field.about);
        properties.insert(field.shape.answered_as(field.name).to_owned(), schema);
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// What an answer holds for a shape.
fn shown(field: &Field) -> Value {
    match field.shape {
        Shape::Bytes(_) | Shape::Chars(_) | Shape::Choice(..) | Shape::Cidr => {
            json!({"type": "string"})
        }
        Shape::Flag(_) => json!({"type": "boolean"}),
        Shape::Term => term(field.name),
        Shape::Time | Shape::LastUse => json!({"type": ["string", "null"], "format": "date-time"}),
        Shape::List(_) | Shape::Rules => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Refs(..) => json!({"type": "array", "items": reference("reference")}),
        Shape::Ref(..) | Shape::CertificateRef => {
            json!({"anyOf": [reference("reference"), {"type": "null"}]})
        }
        Shape::Sources => json!({"type": "array", "items": reference("source")}),
        Shape::Hosts => json!({"type": ["array", "null"], "items": {"type": "object"}}),
        Shape::Target => json!({"type": "object"}),
        Shape::Certificate(_) => json!({"type": ["object", "null"]}),
        Shape::Owner | Shape::Token => json!({"type": ["string", "null"]}),
        Shape::Nothing => json!({"type": "null"}),
    }
}

/// What a request may only repeat.
fn repeated(about: &str) -> Value {
    json!({"type": ["string", "null"], "description": about})
}

/// What is ours may be null, for its default.
fn or_null(schema: Value, presence: Presence) -> Value {
    match presence {
        Presence::Ours => json!({"anyOf": [schema, {"type": "null"}]}),
        _ => schema,
    }
}

fn request_schema(spec: &Spec, on_create: bool) -> Value {
    let mut properties = Map::new();
    if !on_create {
        properties.insert("id".to_owned(), repeated("As in the path, if it is given."));
    }
    for field in spec.fields().iter().filter(|field| field.presence != Presence::ReadOnly) {
        let mut schema = match field.presence.given(on_create) {
            true => or_null(taken(field), field.presence),
            false => repeated(field.about),
        };
        schema["description"] = json!(field.about);
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = spec
        .fields()
        .iter()
        .filter(|field| {
            let needed =
                matches!(field.presence, Presence::Required(_) | Presence::FixedRequired(_));
            on_create && needed
        })
        .map(|field| field.name)
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// What a destination has beside its target, as its form asks for it.
fn term(name: &str) -> Value {
    form::describe::<Terms>(true)["properties"][name].take()
}

/// What a request may give for a shape.
fn taken(field: &Field) -> Value {
    match field.shape {
        Shape::Bytes(max) | Shape::Chars(max) => json!({"type": "string", "maxLength": max}),
        Shape::Flag(_) => json!({"type": "boolean"}),
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::Term => term(field.name),
        Shape::Choice(choices, _) => json!({"type": "string", "enum": choices}),
        Shape::Refs(..) | Shape::Rules | Shape::List(_) => {
            json!({"type": "array", "items": {"type": "string"}})
        }
        Shape::Sources => json!({"type": "array", "items": reference("source_create")}),
        Shape::Hosts => json!({"type": "array", "items": {
            "type": "object",
            "required": ["value"],
            "additionalProperties": false,
            "properties": {"value": {"type": "string"}},
        }}),
        Shape::Target => form::describe::<Target>(true),
        Shape::Certificate(_) => json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": {
                "authority": {"enum": ["letsencrypt"]},
                "private_key_type": {"enum": ["rsa", "ecdsa"]},
            },
        }),
        Shape::Ref(..) | Shape::Cidr | Shape::CertificateRef | Shape::Owner | Shape::Token => {
            json!({"type": "string"})
        }
        Shape::LastUse | Shape::Nothing => json!({"type": "null"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_description_is_there() {
        fn check(value: &Value, whole: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        assert!(whole.pointer(&to[1..]).is_some(), "{to}");
                    }
                    members.values().for_each(|member| check(member, whole));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, whole)),
                _ => {}
            }
        }
        let whole = describe("http://127.0.0.1:4181");
        assert_eq!(whole["paths"].as_object().unwrap().len(), 2 * 12 + 21 + EMPTY_LISTS.len());
        check(&whole, &whole);
    }
}
