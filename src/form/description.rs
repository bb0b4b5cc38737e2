//! The door that only listens: a form as JSON Schema, for the settings file and for requests of the API.

use serde_json::{Map, Value as Json, json};

use super::{Door, Field, Form, Names, Nature, Rule, Shape, Value};

/// Whom a description is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Who writes a settings file, whose schema names some shapes in its `$defs`.
    Settings,
    /// Who writes a request, in which null stands for what is not given.
    Requests,
}

/// The JSON Schema of a form: as settings write it, or as requests do.
#[must_use]
pub fn describe<F: Form>(for_requests: bool) -> Json {
    let reader = if for_requests { Reader::Requests } else { Reader::Settings };
    described::<F>(reader)
}

/// The fields that a form asks for, in its order.
#[must_use]
pub fn fields<F: Form>() -> Vec<Field> {
    Description::of::<F>(Reader::Requests).fields
}

fn described<F: Form>(reader: Reader) -> Json {
    let Description { properties, required, variants, .. } = Description::of::<F>(reader);
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if variants > 0 {
        schema["minProperties"] = json!(1);
        // A request may name the others with null.
        if reader == Reader::Settings {
            schema["maxProperties"] = json!(1);
        }
    }
    schema
}

struct Description {
    reader: Reader,
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    variants: usize,
    fields: Vec<Field>,
}

impl Description {
    fn of<F: Form>(reader: Reader) -> Description {
        let mut listening = Description {
            reader,
            properties: Map::new(),
            required: Vec::new(),
            variants: 0,
            fields: Vec::new(),
        };
        let _nothing = F::form(&mut listening, None);
        listening
    }

    fn value<V: Value>(&mut self, field: Field, default: Option<V>) {
        let mut schema = schema::<V>(self.reader);
        if self.reader == Reader::Requests
            && let Some(one) = schema.get_mut("type")
        {
            *one = match one.take() {
                Json::Array(mut types) => {
                    types.push(json!("null"));
                    Json::Array(types)
                }
                one => json!([one, "null"]),
            };
        }
        if let Some(default) = default {
            schema["default"] = default.written().into_shown();
        } else if !field.default.is_empty() {
            schema["default"] = parsed(field.default);
        }
        if !field.example.is_empty() {
            schema["examples"] = json!([parsed(field.example)]);
        }
        self.put(field, schema);
    }

    /// A list, or a section whose names the writer chooses: `items` says how many there may be, and what.
    fn several(&mut self, field: Field, kind: &str, items: Json) {
        let mut schema = items;
        schema["type"] = match self.reader {
            Reader::Settings => json!(kind),
            Reader::Requests => json!([kind, "null"]),
        };
        if !field.example.is_empty() {
            schema["examples"] = json!([parsed(field.example)]);
        }
        self.put(field, schema);
    }

    /// One of several values; in a request, null stands for a secret that stays.
    fn one_of_them<V: Value>(&self) -> Json {
        let mut schema = schema::<V>(self.reader);
        if self.reader == Reader::Requests && V::NATURE == Nature::Secret {
            schema["type"] = json!([schema["type"], "null"]);
        }
        schema
    }

    fn put(&mut self, field: Field, mut schema: Json) {
        if !field.about.is_empty() {
            schema["description"] = json!(field.about);
        }
        self.properties.insert(field.name.to_owned(), schema);
        self.fields.push(field);
    }

    fn inner<F: Form>(&mut self, field: Field) {
        let mut schema = described::<F>(self.reader);
        if self.reader == Reader::Requests {
            schema["type"] = json!(["object", "null"]);
        }
        self.put(field, schema);
    }
}

/// A value as a person writes it: JSON, or text.
fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// How a value is written.
fn schema<V: Value>(reader: Reader) -> Json {
    let named = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    match (V::SHAPE, reader) {
        (Shape::Text(_), _) => json!({"type": "string"}),
        (Shape::Flag(_), _) => json!({"type": "boolean"}),
        (Shape::Words(words), _) => {
            json!({"enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>()})
        }
        (Shape::Number(..), Reader::Settings) => named("count"),
        (Shape::Number(range, _), Reader::Requests) => {
            json!({"type": "integer", "minimum": range.start()})
        }
        (Shape::Size(..), Reader::Settings) => named("size"),
        (Shape::Size(range, _), Reader::Requests) => {
            json!({"type": ["integer", "string"], "minimum": range.start()})
        }
        (Shape::Time(..), Reader::Settings) => named("duration"),
        (Shape::Time(..), Reader::Requests) => json!({"type": "string"}),
    }
}

impl Door for Description {
    fn required<V: Value>(&mut self, field: Field, _: Option<&V>) -> Option<V> {
        self.value::<V>(field, None);
        // A secret that a request leaves out stays, and so do others' fields in an update.
        if self.reader == Reader::Settings {
            self.required.push(field.name);
        }
        None
    }

    fn optional<V: Value>(&mut self, field: Field, _: Option<&V>) -> Option<V> {
        self.value::<V>(field, None);
        None
    }

    fn or<V: Value>(&mut self, field: Field, default: V, _: Option<&V>) -> Option<V> {
        self.value(field, Some(default));
        None
    }

    fn list<V: Value>(&mut self, field: Field, most: usize, _: Option<&[V]>) -> Option<Vec<V>> {
        let items = json!({"items": self.one_of_them::<V>(), "maxItems": most});
        self.several(field, "array", items);
        None
    }

    fn named<R: Rule, V: Value>(
        &mut self,
        field: Field,
        most: usize,
        _: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>> {
        let items = json!({"additionalProperties": self.one_of_them::<V>(), "maxProperties": most});
        self.several(field, "object", items);
        None
    }

    fn always<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        self.inner::<F>(field);
        None
    }

    fn group<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        self.inner::<F>(field);
        None
    }

    fn variant<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        self.variants += 1;
        self.inner::<F>(field);
        None
    }
}
