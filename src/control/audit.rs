//! Audit events: what is published of a change, and to whom it is ascribed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::kind::{KINDS, Kind};
use crate::event::{Catalog, Class, Timestamp, ksuid};

/// Who makes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user or service user.
    pub owner_id: String,
    /// Its name, or the user's address.
    pub subject: String,
    /// The id of the API key; none on the command line.
    pub key_id: Option<String>,
}

impl Caller {
    pub(super) fn principal(&self, base: &str) -> Value {
        let credential = self
            .key_id
            .as_ref()
            .map(|id| json!({"id": id, "uri": super::object::uri(base, Kind::ApiKey, id)}));
        let source = if credential.is_some() { "API" } else { "CLI" };
        json!({"id": self.owner_id, "subject": self.subject, "source": source, "credential": credential})
    }
}

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Created,
    Updated,
    Deleted,
}

impl Verb {
    const ALL: [Verb; 3] = [Verb::Created, Verb::Updated, Verb::Deleted];

    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Created => "created",
            Verb::Updated => "updated",
            Verb::Deleted => "deleted",
        }
    }
}

/// The types of all events that this daemon publishes: what somebody else sends under these names is not to
/// be taken for its word.
pub(super) static PUBLISHED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let of_kinds = KINDS.iter().flat_map(|spec| Verb::ALL.map(|verb| event_type(spec.event, verb)));
    let catalog = Catalog::builtin();
    let own = catalog.iter().filter(|it| it.class == Class::Own).map(|it| it.name.clone());
    of_kinds.chain(own).collect()
});

fn event_type(stem: &str, verb: Verb) -> String {
    format!("{stem}_{}.v0", verb.name())
}

/// The audit event of a change as text.
pub(super) fn event(
    (kind, verb): (Kind, Verb),
    mut object: Map<String, Value>,
    (caller, base): (&Caller, &str),
    account_id: &str,
) -> String {
    object.remove("managed_by");
    object.remove(super::uses::FIELD);
    let event_type = event_type(kind.spec().event, verb);
    envelope(&event_type, Value::Object(object), Some(caller.principal(base)), account_id)
}

/// An event of this daemon's own as text.
pub(super) fn envelope(
    event_type: &str,
    object: Value,
    principal: Option<Value>,
    account_id: &str,
) -> String {
    let now = Timestamp::now().whole_seconds();
    let event = json!({
        "event_id": ksuid("ev", now, rand::random()),
        "event_type": event_type,
        "event_timestamp": now.to_string(),
        "account_id": account_id,
        "principal": principal,
        "object": object,
    });
    event.to_string()
}
