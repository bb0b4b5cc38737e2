//! A resource as it is held, and as answers show it.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::kind::{Kind, Presence, Shape};
use super::{sending, targets};
use crate::event::Timestamp;

/// Who manages a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// The API; it is kept in the store.
    ByApi,
    /// The settings file; the API only shows it.
    ByFile,
}

#[derive(Clone)]
pub struct Object {
    pub kind: Kind,
    pub id: String,
    /// When it was made; for one of the settings file, when the file was read.
    pub created_at: Timestamp,
    /// Its fields as a request would give them; secrets included.
    pub body: Map<String, Value>,
    pub managed: Managed,
}

/// The fields may hold secrets.
impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Object").field(&self.id).finish()
    }
}

impl Object {
    /// A field that holds text; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is true or false.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.body.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether it is on, as all are that nobody turned off.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.body.get("enabled").and_then(Value::as_bool).unwrap_or(true)
    }

    /// A field that is a list of texts.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.body
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Where it stands in the order of a list.
    #[must_use]
    pub fn place(&self) -> (bool, &str) {
        (self.managed == Managed::ByApi, &self.id)
    }

    /// Where the API serves it, below `base`.
    #[must_use]
    pub fn uri(&self, base: &str) -> String {
        uri(base, self.kind, &self.id)
    }

    /// The resource as an answer shows it, with addresses below `base`; no secret is in it.
    #[must_use]
    pub fn answer(&self, base: &str) -> Map<String, Value> {
        let mut answer = Map::new();
        answer.insert("id".to_owned(), json!(self.id));
        answer.insert("uri".to_owned(), json!(self.uri(base)));
        answer.insert("created_at".to_owned(), json!(self.created_at.to_string()));
        let terms = match self.kind {
            Kind::EventDestination => sending::shown(&self.id, &self.body),
            _ => Map::new(),
        };
        for field in self.kind.spec().fields().iter().filter(|it| it.presence != Presence::Request)
        {
            let kept = if field.shape == Shape::Term { &terms } else { &self.body };
            let value = kept.get(field.name).unwrap_or(&Value::Null);
            let value = self.shown(field.shape, value, base);
            answer.insert(field.shape.answered_as(field.name).to_owned(), value);
        }
        if matches!(self.kind, Kind::EventDestination | Kind::EventSubscription) {
            let managed_by = match self.managed {
                Managed::ByApi => "api",
                Managed::ByFile => "file",
            };
            answer.insert("managed_by".to_owned(), json!(managed_by));
        }
        answer
    }

    /// A field's value as answers show it.
    fn shown(&self, shape: Shape, value: &Value, base: &str) -> Value {
        let reference = |kind, id: &Value| match id.as_str() {
            Some(id) if !id.is_empty() => json!({"id": id, "uri": uri(base, kind, id)}),
            _ => Value::Null,
        };
        let is_empty = value.as_array().is_none_or(Vec::is_empty);
        match shape {
            // Null where nothing is pinned: ngrok's Terraform provider compares.
            Shape::Hosts if is_empty => Value::Null,
            Shape::Ref(kind, _) => reference(kind, value),
            Shape::Refs(kind, _) => {
                let ids = value.as_array().into_iter().flatten();
                ids.map(|id| reference(kind, id)).collect()
            }
            Shape::CertificateRef => match value.as_str() {
                Some(id) if !id.is_empty() => {
                    json!({"id": id, "uri": format!("{base}/tls_certificates/{id}")})
                }
                _ => Value::Null,
            },
            Shape::Sources => {
                let sources = value.as_array().into_iter().flatten();
                sources.map(|source| source_answer(source, &self.uri(base))).collect()
            }
            Shape::Target => targets::shown(value),
            Shape::Bytes(_) | Shape::Chars(_) => json!(value.as_str().unwrap_or("")),
            Shape::Flag(default) => json!(value.as_bool().unwrap_or(default)),
            Shape::Choice(choices, _) => match value.as_str() {
                // One that an older version did not keep yet.
                None => json!(choices.first()),
                Some(choice) => json!(choice),
            },
            Shape::List(_) | Shape::Rules | Shape::Hosts => match value {
                Value::Null => json!([]),
                list => list.clone(),
            },
            Shape::Token | Shape::Nothing => Value::Null,
            Shape::Cidr
            | Shape::Certificate(_)
            | Shape::Owner
            | Shape::Term
            | Shape::Time
            | Shape::LastUse => value.clone(),
        }
    }
}

/// The id by which an owner is found: service users go by two, and either may name one.
#[must_use]
pub fn owner(id: &str) -> Cow<'_, str> {
    match id.strip_prefix("service_") {
        Some(ksuid) => format!("{}_{ksuid}", Kind::ServiceUser.spec().prefix).into(),
        None => id.into(),
    }
}

/// Where the API serves a resource, below `base`.
#[must_use]
pub fn uri(base: &str, kind: Kind, id: &str) -> String {
    format!("{base}/{}/{id}", kind.spec().path)
}

/// A source of a subscription as an answer shows it; it has no id, its key is the type.
#[must_use]
pub fn source_answer(source: &Value, subscription_uri: &str) -> Value {
    let event_type = source["type"].as_str().unwrap_or_default();
    json!({
        "type": event_type,
        "uri": format!("{subscription_uri}/sources/{event_type}"),
        "filter": source["filter"].as_str().unwrap_or_default(),
        "fields": source["fields"].as_array().cloned().unwrap_or_default(),
    })
}
