//! Why a request to the control plane is not done, with ngrok's code where ngrok has the condition.

use std::fmt;

use crate::report::nearest;
use crate::resources::ResourceError;
use crate::store::StoreError;

/// What became of a change cannot be said.
pub(super) const UNKNOWN: &str = "ERR_SLUICEGATE_1431";

/// What kind of refusal it is; the API makes a status of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request cannot be done as it stands.
    Invalid,
    /// Whoever asks may not.
    Forbidden,
    /// There is no such resource.
    NotFound,
    /// Another resource or the settings file stands against it.
    Conflict,
    /// Nothing is wrong with the request: trying again may help.
    Unavailable,
}

/// A request that was not done; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub class: Class,
    /// The stable code; ngrok's, but for a plain "not found", to which ngrok gives none.
    pub code: Option<&'static str>,
    /// What happened and what would help.
    pub message: String,
}

impl Refusal {
    /// That a subscription has no source of this type.
    pub(super) fn no_source(event_type: &str) -> Refusal {
        Refusal {
            class: Class::NotFound,
            code: Some("ERR_NGROK_5125"),
            message: format!("`{event_type}` is not a source of this subscription"),
        }
    }

    /// A request that cannot be done as it stands.
    #[must_use]
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { class: Class::Invalid, code: Some(code), message: message.into() }
    }

    /// A request that something else stands against.
    #[must_use]
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { class: Class::Conflict, code: Some(code), message: message.into() }
    }

    /// The resource is not there.
    #[must_use]
    pub fn not_found() -> Refusal {
        let message = "Resource not found".to_owned();
        Refusal { class: Class::NotFound, code: Some("ERR_SLUICEGATE_1351"), message }
    }

    /// A value of the wrong JSON type.
    pub(super) fn wrong_type(name: &str, expected: &str) -> Refusal {
        Refusal::invalid("ERR_NGROK_215", format!("`{name}` must be {expected}"))
    }

    /// A parameter that there is not.
    pub(super) fn unknown(name: &str, supported: &[&str]) -> Refusal {
        let mut message = format!("unknown parameter `{name}`");
        if let Some(nearest) = nearest(name, supported.iter().copied()) {
            message.push_str(&format!(", did you mean `{nearest}`?"));
        }
        message.push_str(&match supported {
            [] => "; none are supported here".to_owned(),
            _ => format!("; supported are `{}`", supported.join("`, `")),
        });
        Refusal::invalid("ERR_NGROK_214", message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<ResourceError> for Refusal {
    fn from(error: ResourceError) -> Refusal {
        let message = match error.help() {
            Some(help) => format!("{error}; {help}"),
            None => error.to_string(),
        };
        match error {
            ResourceError::UnknownDestination(_) => {
                Refusal { class: Class::NotFound, code: Some("ERR_NGROK_5103"), message }
            }
            _ => Refusal::invalid(error.code(), message),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        let code = match error {
            StoreError::Held(_) => "ERR_SLUICEGATE_1330",
            StoreError::Unreachable(_) | StoreError::NoCopy(..) => "ERR_SLUICEGATE_1430",
            StoreError::Unknown => UNKNOWN,
            StoreError::NoFleetKey => "ERR_SLUICEGATE_1434",
            StoreError::NewerSchema(_) => "ERR_SLUICEGATE_1435",
            _ => "ERR_SLUICEGATE_1301",
        };
        Refusal { class: Class::Unavailable, code: Some(code), message: error.to_string() }
    }
}
