//! Audit events: what is published of a change, and to whom it is ascribed.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::event::{Timestamp, ksuid};

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
    fn principal(&self, base: &str) -> Value {
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
    fn name(self) -> &'static str {
        match self {
            Verb::Created => "created",
            Verb::Updated => "updated",
            Verb::Deleted => "deleted",
        }
    }
}

/// The audit event of a change as text, if its kind has any.
pub(super) fn event(
    (kind, verb): (Kind, Verb),
    mut object: Map<String, Value>,
    (caller, base): (&Caller, &str),
    account_id: &str,
) -> Option<String> {
    let stem = kind.spec().event?;
    object.remove("managed_by");
    let now = Timestamp::now().whole_seconds();
    let event = json!({
        "event_id": ksuid("ev", now, rand::random()),
        "event_type": format!("{stem}_{}.v0", verb.name()),
        "event_timestamp": now.to_string(),
        "account_id": account_id,
        "principal": caller.principal(base),
        "object": object,
    });
    Some(event.to_string())
}
