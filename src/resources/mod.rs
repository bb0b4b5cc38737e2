//! What users own: destinations and subscriptions, valid by construction.
//!
//! Whoever holds a [`Resources`] need not check anything again: every name resolves, every filter is
//! compiled against its type, every limit is inside the service's. It opens no connection and
//! saves nothing.

mod destination;
mod memory;
mod removal;
mod subscription;
mod units;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::event::Catalog;
use crate::filter::FilterError;
use crate::sinks::ApiTargets;

pub use destination::{
    BatchSettings, Destination, MAX_LINGER, MAX_TIMEOUT, MIN_TIMEOUT, Overflow, Terms,
};
pub use memory::{DEFAULT_API_MEMORY, DESTINATION_BYTES, source_bytes, subscription_bytes};
pub use removal::Removal;
pub use subscription::{MAX_FIELDS, Source, Subscription};
pub use units::{duration, show_duration, show_size, size};

/// Most destinations in one daemon. Each has a task and buffers of its own; a thousand keeps their
/// sum far below one machine's memory.
pub const MAX_DESTINATIONS: usize = 1_000;

/// Most subscriptions in one daemon: each takes some kilobytes of memory, and events hardly notice them.
pub const MAX_SUBSCRIPTIONS: usize = 100_000;

/// Most memory for the compiled regular expressions of all subscriptions that were made through the API,
/// in bytes, equal ones counted once: some thousands of ordinary ones.
pub const MAX_COMPILED_BY_API: usize = 24 << 20;

/// Longest id of a resource, in bytes.
const MAX_ID: usize = 64;

/// The name of a destination or subscription: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    /// Checks an id.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than those named above.
    pub fn new(id: &str) -> Result<ResourceId, ResourceError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(plain) {
            return Err(ResourceError::Id(id.to_owned()));
        }
        Ok(ResourceId(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that decides where an event goes: one consistent set, replaced only as a whole.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// The event types, the user's own included.
    pub catalog: Catalog,
    /// What targets made through the API may do.
    pub api_targets: ApiTargets,
    /// Most bytes that all resources of the API may take, or [`DEFAULT_API_MEMORY`].
    pub api_memory: Option<usize>,
    destinations: Vec<Arc<Destination>>,
    subscriptions: Vec<Arc<Subscription>>,
    /// Where each destination stands in the list.
    places: HashMap<ResourceId, usize>,
    subscription_ids: HashSet<ResourceId>,
}

impl Resources {
    /// No destinations and no subscriptions, over a catalog.
    #[must_use]
    pub fn new(catalog: Catalog) -> Resources {
        Resources { catalog, ..Resources::default() }
    }

    /// Adds a destination.
    ///
    /// # Errors
    /// When its id is taken or there are too many.
    pub fn add_destination(
        &mut self,
        destination: impl Into<Arc<Destination>>,
    ) -> Result<(), ResourceError> {
        let destination = destination.into();
        let id = destination.id.clone();
        if self.places.contains_key(&id) {
            return Err(ResourceError::Duplicate { kind: "destination", id });
        }
        if self.destinations.len() == MAX_DESTINATIONS {
            return Err(ResourceError::TooMany { kind: "destinations", max: MAX_DESTINATIONS });
        }
        self.places.insert(id, self.destinations.len());
        self.destinations.push(destination);
        Ok(())
    }

    /// Adds a subscription, whose destinations must be there already.
    ///
    /// # Errors
    /// When its id is taken, a destination is unknown or named twice, or there are too many.
    pub fn add_subscription(
        &mut self,
        subscription: impl Into<Arc<Subscription>>,
    ) -> Result<(), ResourceError> {
        let subscription = subscription.into();
        let id = subscription.id.clone();
        if self.subscription_ids.contains(&id) {
            return Err(ResourceError::Duplicate { kind: "subscription", id });
        }
        if self.subscriptions.len() == MAX_SUBSCRIPTIONS {
            return Err(ResourceError::TooMany { kind: "subscriptions", max: MAX_SUBSCRIPTIONS });
        }
        for (at, id) in subscription.destinations.iter().enumerate() {
            if self.destination(id).is_none() {
                return Err(ResourceError::UnknownDestination(id.clone()));
            }
            if subscription.destinations[..at].contains(id) {
                return Err(ResourceError::RepeatedDestination(id.clone()));
            }
        }
        self.subscription_ids.insert(id);
        self.subscriptions.push(subscription);
        Ok(())
    }

    /// Whether a destination whose target places records by what it reads from them gets any that have it.
    ///
    /// # Errors
    /// When no source of any subscription of the destination can have it.
    pub fn check_key(&self, id: &ResourceId) -> Result<(), ResourceError> {
        let Some(destination) = self.destination(id) else { return Ok(()) };
        let named = self.subscriptions.iter().filter(|it| it.destinations.contains(id));
        let mut first = None;
        for source in named.flat_map(|it| &it.sources) {
            let lacks = destination.target.lacks(&source.event_type, source.fields.as_deref());
            let Some(reason) = lacks else { return Ok(()) };
            first.get_or_insert(reason);
        }
        match first {
            Some(reason) => Err(ResourceError::Key { destination: id.clone(), reason }),
            None => Ok(()),
        }
    }

    /// The same for all destinations that a destination or subscription of this id concerns.
    ///
    /// # Errors
    /// As [`Resources::check_key`].
    pub fn check_keys_of(&self, changed: &str) -> Result<(), ResourceError> {
        let subscription = self.subscriptions.iter().find(|it| it.id.as_str() == changed);
        let named = subscription.map(|it| it.destinations.as_slice()).unwrap_or_default();
        let itself = self.destinations.iter().filter(|it| it.id.as_str() == changed);
        let mut all = named.iter().chain(itself.map(|it| &it.id));
        all.try_for_each(|id| self.check_key(id))
    }

    /// The destination of an id.
    #[must_use]
    pub fn destination(&self, id: &ResourceId) -> Option<&Arc<Destination>> {
        self.destinations.get(*self.places.get(id)?)
    }

    /// All destinations in the order they were added.
    #[must_use]
    pub fn destinations(&self) -> &[Arc<Destination>] {
        &self.destinations
    }

    /// All subscriptions in the order they were added.
    #[must_use]
    pub fn subscriptions(&self) -> &[Arc<Subscription>] {
        &self.subscriptions
    }
}

/// Why a resource cannot be. Codes are ngrok's where ngrok has that condition.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// A text that [`ResourceId::new`] does not take.
    #[error("`{0}` is no id: 1 to {MAX_ID} letters, digits, `-`, `_` and `.` make one")]
    Id(String),
    /// Ids are unique among destinations, and among subscriptions.
    #[error("{kind} `{id}` exists already")]
    Duplicate {
        /// What kind of resource.
        kind: &'static str,
        /// The id that two have.
        id: ResourceId,
    },
    /// More than the daemon takes.
    #[error("more than {max} {kind}")]
    TooMany {
        /// In the plural, as messages say it.
        kind: &'static str,
        /// The most that may be.
        max: usize,
    },
    /// A subscription names a destination that is not there.
    #[error("no destination `{0}`")]
    UnknownDestination(ResourceId),
    /// A subscription names a destination twice.
    #[error("destination `{0}` is named twice")]
    RepeatedDestination(ResourceId),
    /// A source's event type is not in the catalog.
    #[error("unknown event type `{name}`")]
    UnknownType {
        /// The name given.
        name: String,
        /// The most similar name of the catalog.
        nearest: Option<String>,
    },
    /// An event type stands twice in one subscription.
    #[error("event type `{0}` stands twice in this subscription")]
    RepeatedType(String),
    /// A selected field is not a field of the type.
    #[error("`{field}` is not a field of {event_type}")]
    UnknownField {
        /// The path given.
        field: String,
        /// The type whose fields may be selected.
        event_type: String,
        /// The most similar field.
        nearest: Option<String>,
    },
    /// A selected path is a group of fields.
    #[error("`{0}` is a group of fields, not a field")]
    GroupField(String),
    /// A field is selected twice.
    #[error("field `{0}` is selected twice")]
    RepeatedField(String),
    /// A field list without a field in it.
    #[error("`fields` selects nothing")]
    NoFields,
    /// A subscription without sources or without destinations.
    #[error("a subscription needs at least one {0}")]
    Empty(&'static str),
    /// The filter does not compile.
    #[error(transparent)]
    Filter(FilterError),
    /// Compiled regular expressions take too much memory.
    #[error("the compiled regular expressions of {of} take more than {max} bytes of memory")]
    Compiled {
        /// What they belong to.
        of: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// No record for a destination can have the key that it places records by.
    #[error("no record for destination `{destination}` can have its `partition_key`: {reason}")]
    Key {
        /// Whose key.
        destination: ResourceId,
        /// Why the first of its sources never has it.
        reason: String,
    },
    /// A batch setting is outside what the target's service takes.
    #[error("`{setting}` must be {allowed}")]
    Batch {
        /// Its name below `batch`.
        setting: &'static str,
        /// What it may be.
        allowed: String,
    },
}

impl ResourceError {
    /// The stable code of the condition.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ResourceError::Id(_) => "ERR_SLUICEGATE_1201",
            ResourceError::Duplicate { .. } => "ERR_SLUICEGATE_1202",
            ResourceError::TooMany { kind: "destinations", .. } => "ERR_NGROK_5102",
            ResourceError::TooMany { .. } => "ERR_NGROK_5131",
            ResourceError::UnknownDestination(_) => "ERR_NGROK_5103",
            ResourceError::RepeatedDestination(_) => "ERR_SLUICEGATE_1203",
            ResourceError::UnknownType { .. } => "ERR_NGROK_238",
            ResourceError::RepeatedType(_) => "ERR_NGROK_5127",
            ResourceError::UnknownField { .. } | ResourceError::GroupField(_) => "ERR_NGROK_5403",
            ResourceError::RepeatedField(_) => "ERR_SLUICEGATE_1204",
            ResourceError::NoFields => "ERR_NGROK_5400",
            ResourceError::Empty(_) => "ERR_SLUICEGATE_1205",
            ResourceError::Filter(error) => error.code(),
            ResourceError::Batch { .. } => "ERR_SLUICEGATE_1206",
            ResourceError::Compiled { .. } => "ERR_SLUICEGATE_1207",
            ResourceError::Key { .. } => "ERR_SLUICEGATE_1381",
        }
    }

    /// What would help, as a short sentence.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            ResourceError::UnknownType { nearest, .. }
            | ResourceError::UnknownField { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            ResourceError::GroupField(_) => Some("name the fields one by one".to_owned()),
            ResourceError::Compiled { .. } => {
                Some("shorten repetitions and Unicode classes, or use equal patterns".to_owned())
            }
            ResourceError::Key { .. } => Some(
                "name a field that the event types of its subscriptions have and their `fields` choose"
                    .to_owned(),
            ),
            ResourceError::NoFields => {
                Some("leave `fields` out to send the whole object".to_owned())
            }
            _ => None,
        }
    }
}
