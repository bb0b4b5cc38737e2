//! Fields on the command line: `FIELD=VALUE` and `--data`, read by the table of kinds.
//!
//! It looks at names and JSON types, so that a slip of the pen is reported before anything is sent.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};

use clap::Args;
use serde_json::{Map, Value};

use crate::api::MAX_BODY;
use crate::cli::Failure;
use crate::control::{Field, Presence, Shape};
use crate::form;
use crate::report::nearest;
use crate::resources::Terms;
use crate::sinks::Target;

/// The fields of a source besides its event type; sources are no kind of the table.
pub(super) static SOURCE_FIELDS: [Field; 2] = [
    Field {
        name: "filter",
        shape: Shape::Bytes(MAX_BODY),
        presence: Presence::Optional,
        about: "CEL, in which `ev` is the event's object; all events if left out.",
    },
    Field {
        name: "fields",
        shape: Shape::List(0),
        presence: Presence::Optional,
        about: "The fields that are delivered; all if left out.",
    },
];

#[derive(Debug, Args)]
pub(super) struct Given {
    /// Values of fields: text as it is; lists, objects, true and false in JSON
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// Fields as one JSON object: here, or from a file or standard input, which keeps secrets out of
    /// the list of processes. Where FIELD=VALUE names a field too, that counts
    #[arg(long, value_name = "JSON|@FILE|-")]
    data: Option<String>,
}

impl Given {
    /// The body of a request with these fields.
    pub(super) fn read(
        &self,
        known: &'static [Field],
        on_create: bool,
    ) -> Result<Map<String, Value>, Failure> {
        let mut body = self.data.as_deref().map_or_else(|| Ok(Map::new()), data)?;
        for name in body.keys() {
            find(known, name, on_create)?;
        }
        let mut named = BTreeSet::new();
        for pair in &self.fields {
            let Some((name, text)) = pair.split_once('=') else {
                return Err(usage(format!("`{pair}` is not of the form FIELD=VALUE")));
            };
            let field = find(known, &name.replace('-', "_"), on_create)?;
            if !named.insert(field.name) {
                return Err(usage(format!("`{}` is given twice", field.name)));
            }
            body.insert(field.name.to_owned(), value(field, text)?);
        }
        Ok(body)
    }
}

fn usage(message: String) -> Failure {
    Failure::Usage(message)
}

/// The field of a name, if it may be given.
fn find(known: &'static [Field], name: &str, on_create: bool) -> Result<&'static Field, Failure> {
    let given = |field: &&Field| field.presence.given(on_create);
    match known.iter().find(|field| field.name == name) {
        Some(field) if given(&field) => return Ok(field),
        Some(Field { presence: Presence::ReadOnly, .. }) => {
            return Err(usage(format!("`{name}` is set by the daemon")));
        }
        Some(_) => {
            return Err(usage(format!("`{name}` is set when it is made and cannot be changed")));
        }
        None => {}
    }
    let names: Vec<&str> = known.iter().filter(given).map(|field| field.name).collect();
    let mut message = format!("no field `{name}`");
    if let Some(nearest) = nearest(name, names.iter().copied()) {
        message.push_str(&format!(", did you mean `{nearest}`?"));
    }
    message.push_str(&format!("; fields are `{}`", names.join("`, `")));
    Err(usage(message))
}

/// The object of `--data`.
fn data(given: &str) -> Result<Map<String, Value>, Failure> {
    let cannot = |error: io::Error| Failure::Work(format!("`--data {given}`: {error}"));
    let text = match given.strip_prefix('@') {
        Some(file) => File::open(file).and_then(bounded).map_err(cannot)?,
        None if given == "-" => bounded(io::stdin().lock()).map_err(cannot)?,
        None => given.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(usage("`--data` must be a JSON object".to_owned())),
        Err(error) => {
            Err(usage(format!("`--data` is no JSON ({error}); a file's name has a `@` before it")))
        }
    }
}

/// Reads no more than the API takes.
fn bounded(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_BODY as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX_BODY {
        return Err(io::Error::other(format!("more than {MAX_BODY} bytes")));
    }
    Ok(text)
}

/// A value by its field's shape.
fn value(field: &Field, text: &str) -> Result<Value, Failure> {
    let Some(example) = example(field) else { return Ok(Value::from(text)) };
    let value: Option<Value> = serde_json::from_str(text).ok();
    let fits = |value: &Value| match field.shape {
        Shape::Flag(_) => value.is_boolean(),
        Shape::Target => value.is_object(),
        Shape::Term => value.is_object() == example.starts_with('{'),
        Shape::Certificate(_) => value.is_object() || value.is_null(),
        _ => value.is_array(),
    };
    value.filter(fits).ok_or_else(|| {
        usage(format!("`{}` must be JSON such as {example}, not `{text}`", field.name))
    })
}

/// A term of a destination as its form describes it.
fn term(name: &str) -> Value {
    form::describe::<Terms>(true)["properties"][name].take()
}

/// What may be written by a description: the example, or what holds by default; of a section, for each field.
fn written(schema: &Value) -> Value {
    if let Some(fields) = schema["properties"].as_object() {
        return fields.iter().map(|(name, schema)| (name.clone(), written(schema))).collect();
    }
    [&schema["examples"][0], &schema["default"]]
        .into_iter()
        .find(|it| !it.is_null())
        .cloned()
        .unwrap_or_default()
}

/// What a value in JSON looks like; none for text.
fn example(field: &Field) -> Option<String> {
    let example = match field.shape {
        Shape::Term => {
            let value = written(&term(field.name));
            return (value.is_object() || value.is_boolean()).then(|| value.to_string());
        }
        Shape::Bytes(_)
        | Shape::Chars(_)
        | Shape::Choice(..)
        | Shape::Ref(..)
        | Shape::Cidr
        | Shape::CertificateRef
        | Shape::Owner
        | Shape::Token
        | Shape::Time
        | Shape::LastUse
        | Shape::Nothing => None,
        Shape::Flag(_) => Some("true"),
        Shape::List(_) => Some(r#"["conn.client_ip"]"#),
        Shape::Refs(..) => Some(r#"["ID"]"#),
        Shape::Sources => Some(r#"[{"type": "http_request_complete.v0", "filter": "true"}]"#),
        Shape::Target => Some(r#"{"kinesis": {"stream_arn": "arn:aws:kinesis:..."}}"#),
        Shape::Rules => Some(r#"["bind:tcp_*"]"#),
        Shape::Hosts => Some(r#"[{"value": "203.0.113.9"}]"#),
        Shape::Certificate(_) => {
            Some(r#"{"authority": "letsencrypt", "private_key_type": "ecdsa"}"#)
        }
    };
    example.map(str::to_owned)
}

/// The fields that a request may give, for `--help`.
pub(super) fn help(fields: &[Field], on_create: bool) -> String {
    let mut text = "Fields:\n".to_owned();
    for field in fields.iter().filter(|field| field.presence.given(on_create)) {
        let required = match field.presence {
            Presence::Required(_) | Presence::FixedRequired(_) if on_create => " (required)",
            _ => "",
        };
        let described = if field.shape == Shape::Term { term(field.name) } else { Value::Null };
        let words: Vec<&str> = match field.shape {
            Shape::Choice(choices, _) => choices.to_vec(),
            _ => described["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
        };
        let named: Vec<&str> = words.into_iter().filter(|it| !it.is_empty()).collect();
        let value = match named.is_empty() {
            true => example(field).unwrap_or_else(|| "TEXT".to_owned()),
            false => named.join("|"),
        };
        text.push_str(&format!("  {}={value}{required}\n          {}\n", field.name, field.about));
        if field.shape == Shape::Target {
            let kinds = form::describe::<Target>(true)["properties"].take();
            let kinds: Vec<&String> =
                kinds.as_object().into_iter().flatten().map(|it| it.0).collect();
            let kinds = kinds.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("          Kinds: {kinds}\n"));
        }
    }
    text
}
