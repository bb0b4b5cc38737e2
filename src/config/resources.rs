//! Event types, destinations and subscriptions as the settings file writes them.
//!
//! What they may be is decided by the rooms that own them; here each refusal gets its place.

use super::decode::{Section, Setting, TextOr};
use super::mistakes::Mistake;
use super::targets::read_target;
use super::text::Text;
use crate::event::{Catalog, Class, EventType, Field, FieldType};
use crate::filter::{library, library_filter};
use crate::form::Form as _;
use crate::report::nearest;
use crate::resources::{
    Destination, ResourceError, ResourceId, Resources, Source, Subscription, Terms,
};
use crate::sinks::{ApiTargets, Outbound};

/// The types that a field can have, for messages.
const FIELD_TYPES: &str =
    "a field type: bool, int, double, string, timestamp, duration, dyn, list(…) or map(string, …)";

/// Reads the event types: the built-in ones, and those of the settings.
pub(super) fn read_catalog(root: &mut Section<'_>) -> Catalog {
    let mut catalog = Catalog::builtin();
    let types = root.optional("event_types").list(|section| {
        let event_type = read_event_type(section)?;
        if let Err(error) = catalog.add(event_type) {
            section.push(Mistake::at(section.place_of("name"), error.to_string()));
        }
        Some(())
    });
    let _read = types;
    catalog
}

/// Reads everything that decides where events go. Mistakes are pushed; what is mistaken is left out.
pub(super) fn read_resources(
    root: &mut Section<'_>,
    catalog: Catalog,
    api_targets: ApiTargets,
) -> Resources {
    let mut resources = Resources::new(catalog);
    // Ids of mistaken destinations too: a subscription that names one is not mistaken as well.
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    root.optional("destinations").list(|section| {
        let destination = read_destination(section, &mut ids, &api_targets.outbound)?;
        places.push((destination.id.clone(), section.place_of("target")));
        if let Err(error) = resources.add_destination(destination) {
            refuse(section, "id", &error);
        }
        Some(())
    });
    root.optional("subscriptions").list(|section| {
        let subscription = read_subscription(section, &resources.catalog, &ids)?;
        let all_there =
            subscription.destinations.iter().all(|id| resources.destination(id).is_some());
        if let Some(error) =
            all_there.then(|| resources.add_subscription(subscription).err()).flatten()
        {
            refuse(section, "id", &error);
        }
        Some(())
    });
    for (id, place) in places {
        if let Err(error) = resources.check_key(&id) {
            root.push(helped(Mistake::at(place, worded(&error)), &error));
        }
    }
    resources.api_targets = api_targets;
    resources
}

/// A refusal of a room at the place of a setting.
fn refuse(section: &Section<'_>, key: &str, error: &ResourceError) {
    section.push(helped(Mistake::at(section.place_of(key), worded(error)), error));
}

/// A refusal of a room at the place of a text.
fn refused(text: &Text<'_>, error: &ResourceError) -> Mistake {
    helped(text.wrong(worded(error)), error)
}

fn worded(error: &ResourceError) -> String {
    format!("{error} ({})", error.code())
}

fn helped(mistake: Mistake, error: &ResourceError) -> Mistake {
    match error.help() {
        Some(help) => mistake.help(help),
        None => mistake,
    }
}

fn read_id(section: &mut Section<'_>) -> Option<ResourceId> {
    let text = section.required("id").string()?;
    ResourceId::new(text.value).map_err(|error| section.push(refused(&text, &error))).ok()
}

fn description(section: &mut Section<'_>) -> String {
    let text = section.optional("description").string();
    text.map_or_else(String::new, |text| text.value.to_owned())
}

fn read_event_type(section: &mut Section<'_>) -> Option<EventType> {
    let name = section.required("name").string();
    let description = description(section);
    let fields = section.required("fields").string_map();
    let mut typed = Vec::new();
    for (name, field_type) in fields? {
        match FieldType::parse(field_type.value) {
            Some(field_type) => typed.push(Field {
                name: name.value.to_owned(),
                field_type,
                description: String::new(),
            }),
            None => {
                let message = format!("`{}` is not {FIELD_TYPES}", field_type.shown());
                section.push(Mistake::at(field_type.span, message));
            }
        }
    }
    let name = name?.value.to_owned();
    Some(EventType { name, class: Class::Custom, description, fields: typed })
}

fn read_destination(
    section: &mut Section<'_>,
    ids: &mut Vec<ResourceId>,
    outbound: &Outbound,
) -> Option<Destination> {
    let id = read_id(section);
    ids.extend(id.clone());
    let description = description(section);
    let target = section.required("target").section(|target| read_target(target, outbound));
    let terms = Terms::form(section, None);
    terms?
        .destination(id?, description, target?)
        .map_err(|error| {
            let key = match &error {
                ResourceError::Batch { setting, .. } => format!("batch.{setting}"),
                _ => "batch".to_owned(),
            };
            let mistake = Mistake::at(section.place_at(&key), worded(&error));
            section.push(helped(mistake, &error));
        })
        .ok()
}

fn read_subscription(
    section: &mut Section<'_>,
    catalog: &Catalog,
    known: &[ResourceId],
) -> Option<Subscription> {
    let id = read_id(section);
    let description = description(section);
    let sources = section.required("sources").list(|source| read_source(source, catalog));
    let names = section.required("destinations").strings();
    let enabled = section.optional("enabled").bool().unwrap_or(true);
    let mut destinations = Vec::new();
    for text in names.iter().flatten() {
        match ResourceId::new(text.value) {
            Ok(id) if !known.contains(&id) => {
                let nearest = nearest(text.value, known.iter().map(ResourceId::as_str));
                let mistake = text.wrong(ResourceError::UnknownDestination(id));
                section.push(match nearest {
                    Some(nearest) => mistake.help(format!("did you mean `{nearest}`?")),
                    None => mistake,
                });
            }
            Ok(id) if destinations.contains(&id) => {
                section.push(text.wrong(ResourceError::RepeatedDestination(id)));
            }
            Ok(id) => destinations.push(id),
            Err(error) => section.push(refused(text, &error)),
        }
    }
    if sources.as_ref().is_none_or(Vec::is_empty) || destinations.is_empty() {
        return None; // reported already, by what was asked for or left out
    }
    Subscription::new(id?, description, sources?, destinations)
        .map(|subscription| Subscription { enabled, ..subscription })
        .map_err(|error| refuse(section, "sources", &error))
        .ok()
}

/// A filter as settings write it: its text, or a section that names one of the library.
#[derive(Debug)]
pub struct FilterText<'d> {
    /// Where it stands: the expression itself, or the name.
    pub text: Text<'d>,
    /// The CEL text, be it from the file or from the library.
    pub expression: &'d str,
}

impl<'d> FilterText<'d> {
    /// Reads `filter: "expression"` or `filter: { library: name }`.
    #[must_use]
    pub fn read(setting: Setting<'d>) -> Option<FilterText<'d>> {
        match setting.string_or(read_library)? {
            TextOr::Text(text) => Some(FilterText { expression: text.value, text }),
            TextOr::Section(filter) => Some(filter),
        }
    }
}

fn read_library<'d>(section: &mut Section<'d>) -> Option<FilterText<'d>> {
    let text = section.required("library").string()?;
    match library_filter(text.value) {
        Some(filter) => Some(FilterText { expression: filter.text, text }),
        None => {
            let mistake = text.wrong(format!("no filter `{}` in the library", text.value));
            let names = library().map(|filter| filter.name);
            section.push(match nearest(text.value, names) {
                Some(name) => mistake.help(format!("did you mean `{name}`?")),
                None => mistake.help("`filters/README.md` lists them"),
            });
            None
        }
    }
}

fn read_source(section: &mut Section<'_>, catalog: &Catalog) -> Option<Source> {
    let event_type = section.required("type").string();
    let filter = FilterText::read(section.optional("filter"));
    let fields = section.optional("fields").strings();
    let event_type = event_type?;
    let names = fields.as_ref().map(|fields| fields.iter().map(|it| it.value.to_owned()).collect());
    let errors = match Source::new(
        catalog,
        event_type.value,
        filter.as_ref().map(|it| it.expression),
        names,
    ) {
        Ok(source) => return Some(source),
        Err(errors) => errors,
    };
    for error in errors {
        let field = |name: &str| fields.iter().flatten().rev().find(|text| text.value == name);
        let mistake = match &error {
            ResourceError::Filter(report) => {
                let path = section.path();
                let message = format!("`{path}.filter` does not compile ({})", report.code());
                filter.as_ref().map(|filter| filter.text.mistake(message, report))
            }
            ResourceError::UnknownType { .. } => Some(refused(&event_type, &error)),
            ResourceError::UnknownField { field: name, .. }
            | ResourceError::GroupField(name)
            | ResourceError::RepeatedField(name) => field(name).map(|text| refused(text, &error)),
            _ => None,
        };
        match mistake {
            Some(mistake) => section.push(mistake),
            None => refuse(section, "fields", &error),
        }
    }
    None
}
