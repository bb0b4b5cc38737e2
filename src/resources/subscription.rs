//! A subscription: which events, which of their fields, to which destinations.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ResourceError, ResourceId};
use crate::event::{Catalog, Declared, EventType};
use crate::filter::{self, CheckedFilter};

/// Most fields in one selection; more than any event type has.
pub const MAX_FIELDS: usize = 256;

/// Most memory for the compiled regular expressions of one subscription, in bytes, equal ones counted
/// once: some hundreds of ordinary ones.
pub const MAX_COMPILED: usize = 4 << 20;

/// One event type inside a subscription.
#[derive(Clone, Debug)]
pub struct Source {
    /// Events of other types are not looked at.
    pub event_type: Arc<EventType>,
    /// Which events of the type; all if there is none.
    pub filter: Option<CheckedFilter>,
    /// Which fields of the object, by their paths; the whole object if `None`.
    pub fields: Option<Vec<String>>,
}

impl Source {
    /// Checks a source against the catalog. All mistakes are reported, not only the first.
    ///
    /// # Errors
    /// An unknown type, a filter that does not compile, fields that the type does not have.
    pub fn new(
        catalog: &Catalog,
        event_type: &str,
        filter: Option<&str>,
        fields: Option<Vec<String>>,
    ) -> Result<Source, Vec<ResourceError>> {
        let Some(event_type) = catalog.get(event_type) else {
            return Err(vec![ResourceError::UnknownType {
                name: event_type.to_owned(),
                nearest: catalog.nearest_type(event_type).map(str::to_owned),
            }]);
        };
        let mut errors = Vec::new();
        let filter = filter.and_then(|text| {
            filter::check(text, event_type)
                .map_err(|error| errors.push(ResourceError::Filter(error)))
                .ok()
        });
        if let Some(fields) = &fields {
            check_fields(event_type, fields, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Source { event_type: Arc::clone(event_type), filter, fields })
    }

    /// Whether both were made of the same, so that they take the same events and choose the same fields.
    #[must_use]
    pub fn is_same(&self, other: &Source) -> bool {
        Arc::ptr_eq(&self.event_type, &other.event_type)
            && self.filter.as_ref().map(CheckedFilter::text)
                == other.filter.as_ref().map(CheckedFilter::text)
            && self.fields == other.fields
    }
}

fn check_fields(event_type: &EventType, fields: &[String], errors: &mut Vec<ResourceError>) {
    if fields.is_empty() {
        errors.push(ResourceError::NoFields);
    }
    if fields.len() > MAX_FIELDS {
        errors.push(ResourceError::TooMany { kind: "fields", max: MAX_FIELDS });
        return;
    }
    for (at, field) in fields.iter().enumerate() {
        match event_type.declared(field) {
            Declared::Field(_) if fields[..at].contains(field) => {
                errors.push(ResourceError::RepeatedField(field.clone()));
            }
            Declared::Field(_) => {}
            Declared::Group => errors.push(ResourceError::GroupField(field.clone())),
            Declared::Nothing => errors.push(ResourceError::UnknownField {
                field: field.clone(),
                event_type: event_type.name.clone(),
                nearest: event_type.nearest_field(field).map(str::to_owned),
            }),
        }
    }
}

/// Sources on one side, destinations on the other.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Unique among subscriptions.
    pub id: ResourceId,
    /// Free text for people.
    pub description: String,
    /// At least one; each event type at most once.
    pub sources: Vec<Source>,
    /// At least one.
    pub destinations: Vec<ResourceId>,
    /// Whether it takes anything.
    pub enabled: bool,
}

impl Subscription {
    /// Puts a subscription together, which is on.
    ///
    /// # Errors
    /// When it has no sources, no destinations, an event type twice, or regular expressions that are
    /// too large together.
    pub fn new(
        id: ResourceId,
        description: String,
        sources: Vec<Source>,
        destinations: Vec<ResourceId>,
    ) -> Result<Subscription, ResourceError> {
        if sources.is_empty() {
            return Err(ResourceError::Empty("source"));
        }
        if destinations.is_empty() {
            return Err(ResourceError::Empty("destination"));
        }
        for (at, source) in sources.iter().enumerate() {
            let name = &source.event_type.name;
            if sources[..at].iter().any(|other| other.event_type.name == *name) {
                return Err(ResourceError::RepeatedType(name.clone()));
            }
        }
        let subscription = Subscription { id, description, sources, destinations, enabled: true };
        let compiled: HashMap<usize, usize> = subscription.compiled().collect();
        if compiled.values().sum::<usize>() > MAX_COMPILED {
            return Err(ResourceError::Compiled { of: "a subscription", max: MAX_COMPILED });
        }
        Ok(subscription)
    }

    /// The compiled regular expressions of its filters, as [`CheckedFilter::compiled`].
    pub fn compiled(&self) -> impl Iterator<Item = (usize, usize)> {
        let filters = self.sources.iter().filter_map(|source| source.filter.as_ref());
        filters.flat_map(CheckedFilter::compiled)
    }
}
