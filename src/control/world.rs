//! Everything that is managed, at one moment: what users made and what the settings file says, with
//! what dispatch and the listeners need of it ready to use.
//!
//! A world is never changed: a change makes another, which shares all that stays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use serde_json::{Map, Value, json};
use tracing::error;

use super::access::Access;
use super::kind::{KINDS, Kind};
use super::memory;
use super::object::{Managed, Object};
use super::refusal::Refusal;
use super::{sending, targets};
use crate::event::{Catalog, Timestamp};
use crate::filter::CheckedFilter;
use crate::resources::{
    DEFAULT_API_MEMORY, Destination, MAX_COMPILED_BY_API, ResourceError, ResourceId, Resources,
    Source, Subscription,
};
use crate::sinks::Bounds;
use crate::store::{CHANGED_OUTSIDE, News, Row};

/// Fewest subscriptions that are worth a thread to compile them.
const MIN_PER_THREAD: usize = 64;

/// The resources of one kind, by id.
type Shelf = BTreeMap<String, Arc<Object>>;

/// Everything that is managed.
#[derive(Clone, Debug)]
pub(super) struct World {
    shelves: BTreeMap<Kind, Arc<Shelf>>,
    /// What the settings file says.
    file: Arc<Resources>,
    /// What it lets targets do that were made through the API.
    bounds: Arc<Bounds>,
    destinations: Arc<BTreeMap<String, Arc<Destination>>>,
    /// Those that have both sources and destinations.
    subscriptions: Arc<BTreeMap<String, Arc<Subscription>>>,
    /// Sources of the change that is being made, compiled before it had its turn.
    ready: Vec<Source>,
    /// Subscriptions of other worlds, whose sources are taken where equal ones are wanted here.
    compiled: Vec<Arc<BTreeMap<String, Arc<Subscription>>>>,
    access: Arc<Access>,
    /// What the resources of the API take, in bytes.
    memory: usize,
    /// Whether other daemons share it, whose settings files may say other things.
    is_shared: bool,
    /// What of a shared world cannot be done under this settings file, by its id: why.
    unfit: Arc<BTreeMap<String, String>>,
}

impl World {
    pub(super) fn empty() -> World {
        World::of_file(&Resources::default())
    }

    /// What the settings file says, and nothing else.
    pub(super) fn of_file(file: &Resources) -> World {
        let now = Timestamp::now().whole_seconds();
        let mut world = World {
            shelves: KINDS.iter().map(|spec| (spec.kind, Arc::default())).collect(),
            file: Arc::new(file.clone()),
            bounds: Arc::new(Bounds::new(file.api_targets.clone())),
            destinations: Arc::default(),
            subscriptions: Arc::default(),
            ready: Vec::new(),
            compiled: Vec::new(),
            access: Arc::default(),
            memory: 0,
            is_shared: false,
            unfit: Arc::default(),
        };
        for destination in file.destinations() {
            world.shelve(destination_of_file(destination, now));
        }
        for subscription in file.subscriptions() {
            world.shelve(subscription_of_file(subscription, now));
        }
        world
    }

    /// The same with what the store holds.
    ///
    /// # Errors
    /// When a row cannot be in this world; the message names it.
    pub(super) fn with_rows(mut self, rows: Vec<Row>) -> Result<World, Refusal> {
        let mut objects: Vec<Object> =
            rows.into_iter().map(object_of_row).collect::<Result<_, _>>()?;
        // Destinations before the subscriptions that name them.
        objects.sort_by_key(|object| object.kind == Kind::EventSubscription);
        self.compiled.insert(0, Arc::new(self.compiled_by_all_cores(&objects)));
        for object in objects {
            let (kind, id) = (object.kind, object.id.clone());
            let kept = self.is_shared.then(|| object.clone());
            if let Err(mut refusal) = self.place_in(object) {
                refusal.message = made_through_api(kind, &id, &refusal);
                match kept {
                    // It is managed here as everywhere, and only cannot be done.
                    Some(object) => self.shelve_unfit(object, refusal.message),
                    None => return Err(refusal),
                }
            }
        }
        self.compiled.clear();
        self.changed(Kind::IpRestriction);
        Ok(self)
    }

    /// The subscriptions among the resources, compiled on as many threads as there are cores: a filter takes a
    /// tenth of a millisecond. What is wrong with one is told when it is placed.
    fn compiled_by_all_cores(&self, objects: &[Object]) -> BTreeMap<String, Arc<Subscription>> {
        let compile = |object: &Object| {
            let known = self.compiled.iter().filter_map(|all| all.get(&object.id));
            let known: Vec<&Source> = known.flat_map(|it| &it.sources).collect();
            let subscription = subscription_of(object, &self.file.catalog, &known).ok()??;
            Some((object.id.clone(), Arc::new(subscription)))
        };
        let objects: Vec<&Object> =
            objects.iter().filter(|it| it.kind == Kind::EventSubscription).collect();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let each = objects.len().div_ceil(cores).max(MIN_PER_THREAD);
        thread::scope(|scope| {
            let parts = objects.chunks(each).map(|part| {
                scope.spawn(move || part.iter().copied().filter_map(compile).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        })
    }

    /// The same under another settings file. What is compiled in this world and in `like` it is not compiled
    /// anew.
    ///
    /// # Errors
    /// When a resource of the API cannot be beside it, such as a subscription whose destination is
    /// no longer in the file.
    pub(super) fn under_file(
        &self,
        file: &Resources,
        like: Option<&World>,
    ) -> Result<World, Refusal> {
        let rows = self.shelves.values().flat_map(|shelf| shelf.values());
        let rows =
            rows.filter(|object| object.managed == Managed::ByApi).map(|it| row_of(it)).collect();
        let compiled = like.into_iter().chain([self]).map(|it| Arc::clone(&it.subscriptions));
        let is_shared = self.is_shared;
        let mut world = World { compiled: compiled.collect(), is_shared, ..World::of_file(file) };
        if world.bounds == self.bounds {
            // With the connections that there are.
            world.bounds = Arc::clone(&self.bounds);
        }
        let mut world = world.with_rows(rows)?;
        if self.access.is_for_this_machine() {
            world.let_only_this_machine_in();
        }
        Ok(world)
    }

    /// The same for a fleet: what does not go with this settings file is told of, and the rest is done.
    pub(super) fn shared(self) -> World {
        World { is_shared: true, ..self }
    }

    /// The same with what others changed.
    pub(super) fn with_news(&self, news: News) -> World {
        let mut world = match news.whole {
            false => self.clone(),
            true => {
                let compiled = vec![Arc::clone(&self.subscriptions)];
                let bounds = Arc::clone(&self.bounds);
                World { compiled, bounds, is_shared: true, ..World::of_file(&self.file) }
            }
        };
        world.access = Arc::clone(&self.access);
        for (kind, id) in &news.gone {
            if let Some(kind) = Kind::of_path(kind) {
                world.remove(kind, id);
            }
        }
        let unread = world.clone();
        let is_closed = news.guards_changed.unwrap_or(self.access.is_for_this_machine());
        // Only a row that is no resource fails, which somebody else wrote.
        let mut world = world.with_rows(news.rows).unwrap_or_else(|refusal| {
            error!(code = CHANGED_OUTSIDE, %refusal, "what others changed is not taken over");
            unread
        });
        if is_closed {
            world.let_only_this_machine_in();
        }
        world
    }

    /// Keeps a resource that cannot be done here.
    fn shelve_unfit(&mut self, object: Object, why: String) {
        match object.kind {
            Kind::EventDestination => {
                drop(Arc::make_mut(&mut self.destinations).remove(&object.id));
            }
            _ => drop(Arc::make_mut(&mut self.subscriptions).remove(&object.id)),
        }
        Arc::make_mut(&mut self.unfit).insert(object.id.clone(), why);
        self.shelve(object);
    }

    /// The first destination of a subscription that is nowhere.
    fn missing<'s>(&self, subscription: &'s Subscription) -> Option<&'s ResourceId> {
        subscription.destinations.iter().find(|id| {
            !self.destinations.contains_key(id.as_str()) && self.file.destination(id).is_none()
        })
    }

    /// What of a shared world cannot be done under this settings file: a sentence each, without an end mark.
    pub(super) fn misfits(&self) -> Vec<String> {
        if !self.is_shared {
            return Vec::new();
        }
        let missing = self.subscriptions.values().filter_map(|subscription| {
            let missing = self.missing(subscription)?;
            Some(format!("subscription `{}` names the destination `{missing}`, which is not in the settings file", subscription.id))
        });
        self.unfit.values().cloned().chain(missing).collect()
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.file.catalog
    }

    /// What targets made through the API may do.
    pub(super) fn bounds(&self) -> &Arc<Bounds> {
        &self.bounds
    }

    pub(super) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    pub(super) fn get(&self, kind: Kind, id: &str) -> Option<&Arc<Object>> {
        self.shelf(kind).get(id)
    }

    /// All resources of a kind, the newest first; those of the settings file come last.
    pub(super) fn newest_first(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let managed = move |managed| {
            self.shelf(kind).values().rev().filter(move |object| object.managed == managed)
        };
        managed(Managed::ByApi).chain(managed(Managed::ByFile))
    }

    /// Where an id stands in the order of a list, be it there or not: ids of the API have their
    /// time in them, and those of the settings file are older than all.
    ///
    /// # Errors
    /// When it is the id of another kind, or of nothing.
    pub(super) fn place<'i>(&self, kind: Kind, id: &'i str) -> Result<(bool, &'i str), Refusal> {
        if let Some(there) = self.get(kind, id) {
            return Ok((there.managed == Managed::ByApi, id));
        }
        let (prefix, noun) = (kind.spec().prefix, kind.spec().noun);
        if id.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')) {
            return Ok((true, id));
        }
        let message = format!("`{id}` is no id of an {noun}, which begins with `{prefix}_`");
        Err(Refusal::invalid("ERR_NGROK_227", message))
    }

    pub(super) fn all(&self, kind: Kind) -> impl ExactSizeIterator<Item = &Arc<Object>> {
        self.shelf(kind).values()
    }

    /// The latest id of a kind that the API gave.
    pub(super) fn latest(&self, kind: Kind) -> Option<&str> {
        let newest = self.newest_first(kind).next();
        newest.filter(|it| it.managed == Managed::ByApi).map(|it| it.id.as_str())
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        static EMPTY: Shelf = Shelf::new();
        self.shelves.get(&kind).map_or(&EMPTY, |shelf| shelf)
    }

    fn shelve(&mut self, object: Object) {
        let shelf = Arc::make_mut(self.shelves.entry(object.kind).or_default());
        self.memory += bytes_of(&object);
        let before = shelf.insert(object.id.clone(), Arc::new(object));
        self.memory -= before.map_or(0, |it| bytes_of(&it));
    }

    /// Puts a resource in, in place of one with its id.
    ///
    /// # Errors
    /// When it cannot be in this world; then the world must not be used any more.
    pub(super) fn put(&mut self, object: Object) -> Result<(), Refusal> {
        let kind = object.kind;
        if kind == Kind::EventSubscription {
            memory::check_filters(&object.body)?;
        }
        let before = self.memory;
        self.place_in(object)?;
        let most = self.file.api_memory.unwrap_or(DEFAULT_API_MEMORY);
        memory::check_all(before, self.memory, most)?;
        if kind == Kind::EventSubscription {
            self.check_compiled()?;
        }
        self.changed(kind);
        Ok(())
    }

    /// Refuses more compiled regular expressions than all users together may have. Not asked at a
    /// start, so that what was taken once stays.
    fn check_compiled(&self) -> Result<(), Refusal> {
        let all = self.subscriptions.values().flat_map(|subscription| subscription.compiled());
        let compiled: HashMap<usize, usize> = all.collect();
        if compiled.values().sum::<usize>() > MAX_COMPILED_BY_API {
            let of = "all subscriptions of this API";
            return Err(ResourceError::Compiled { of, max: MAX_COMPILED_BY_API }.into());
        }
        Ok(())
    }

    /// Puts a resource in and leaves it to the caller to tell that its kind has changed.
    fn place_in(&mut self, object: Object) -> Result<(), Refusal> {
        self.forget_unfit(&object.id);
        if let Some(there) = self.get(object.kind, &object.id)
            && there.managed == Managed::ByFile
        {
            let message = format!(
                "`{}` is the id of a {} of the settings file",
                object.id,
                object.kind.spec().noun
            );
            return Err(Refusal::conflict("ERR_SLUICEGATE_1202", message));
        }
        match object.kind {
            Kind::EventDestination => {
                let destination = destination(&object, &self.bounds)?;
                Arc::make_mut(&mut self.destinations)
                    .insert(object.id.clone(), Arc::new(destination));
            }
            Kind::EventSubscription => {
                let subscriptions = Arc::make_mut(&mut self.subscriptions);
                let before = subscriptions.get(&object.id).into_iter();
                let elsewhere = self.compiled.iter().filter_map(|all| all.get(&object.id));
                let before = before.chain(elsewhere).flat_map(|it| &it.sources);
                let known: Vec<&Source> = self.ready.iter().chain(before).collect();
                match subscription_of(&object, &self.file.catalog, &known)? {
                    Some(subscription) => {
                        subscriptions.insert(object.id.clone(), Arc::new(subscription));
                    }
                    None => drop(subscriptions.remove(&object.id)),
                }
            }
            _ => {}
        }
        self.shelve(object);
        Ok(())
    }

    fn forget_unfit(&mut self, id: &str) {
        if self.unfit.contains_key(id) {
            Arc::make_mut(&mut self.unfit).remove(id);
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, id: &str) {
        self.forget_unfit(id);
        if let Some(shelf) = self.shelves.get_mut(&kind) {
            let removed = Arc::make_mut(shelf).remove(id);
            self.memory -= removed.map_or(0, |it| bytes_of(&it));
        }
        match kind {
            Kind::EventDestination => drop(Arc::make_mut(&mut self.destinations).remove(id)),
            Kind::EventSubscription => drop(Arc::make_mut(&mut self.subscriptions).remove(id)),
            _ => {}
        }
        self.changed(kind);
    }

    /// Compiles the sources that a request lists, for [`World::ready_with`]; what is wrong with one is
    /// told when it is its turn. To be called without holding up anybody: it takes milliseconds a source.
    pub(super) fn compile(&self, sources: &[Value]) -> Vec<Source> {
        // More than any subscription can have are refused when it is their turn.
        let sources = memory::within_filters(sources).take(self.catalog().iter().count());
        sources.filter_map(|source| source_of(source, self.catalog(), &[]).ok()).collect()
    }

    /// Takes sources that need not be compiled any more.
    pub(super) fn ready_with(&mut self, sources: Vec<Source>) {
        self.ready = sources;
    }

    /// Lets nobody in but this machine until an IP restriction is changed.
    pub(super) fn let_only_this_machine_in(&mut self) {
        self.access = Arc::new(self.access.for_this_machine());
    }

    fn changed(&mut self, kind: Kind) {
        if matches!(kind, Kind::IpPolicy | Kind::IpPolicyRule | Kind::IpRestriction) {
            let rules: Vec<_> = self.all(Kind::IpPolicyRule).cloned().collect();
            let access = Access::new(self.all(Kind::IpRestriction), &rules, &self.access);
            // Whoever changes a restriction has looked at them.
            let stays = self.access.is_for_this_machine() && kind != Kind::IpRestriction;
            self.access = Arc::new(if stays { access.for_this_machine() } else { access });
        }
    }

    /// The destinations that any of these event types go to.
    pub(super) fn destinations_of(&self, types: &[&str]) -> HashSet<ResourceId> {
        let all = self.file.subscriptions().iter().chain(self.subscriptions.values());
        let takes = |it: &&Arc<Subscription>| {
            it.sources.iter().any(|source| types.contains(&source.event_type.name.as_str()))
        };
        all.filter(takes).flat_map(|it| it.destinations.iter().cloned()).collect()
    }

    /// All that decides where events go, from the settings file and the API.
    ///
    /// # Errors
    /// When there is more than the daemon takes, or a subscription names what is not there.
    pub(super) fn resources(&self) -> Result<Resources, Refusal> {
        let mut resources = (*self.file).clone();
        for destination in self.destinations.values() {
            resources.add_destination(Arc::clone(destination))?;
        }
        for subscription in self.subscriptions.values() {
            if self.is_shared && self.missing(subscription).is_some() {
                continue;
            }
            resources.add_subscription(Arc::clone(subscription)).map_err(|error| {
                let mut refusal = Refusal::from(error);
                refusal.message =
                    made_through_api(Kind::EventSubscription, &subscription.id, &refusal);
                refusal
            })?;
        }
        Ok(resources)
    }
}

/// A refusal where the resource at fault is not the one that is being changed.
fn made_through_api(kind: Kind, id: impl fmt::Display, refusal: &Refusal) -> String {
    format!("{} `{id}`, made through the API: {}", kind.spec().noun, refusal.message)
}

/// What a resource of the API takes, in bytes; one of the settings file is counted elsewhere.
fn bytes_of(object: &Object) -> usize {
    match object.managed {
        Managed::ByApi => memory::bytes_of(object.kind, &object.body),
        Managed::ByFile => 0,
    }
}

/// A resource as the store keeps it.
pub(super) fn row_of(object: &Object) -> Row {
    Row {
        kind: object.kind.spec().path.to_owned(),
        id: object.id.clone(),
        created_at: object.created_at.seconds,
        body: Value::Object(object.body.clone()).to_string(),
    }
}

fn object_of_row(row: Row) -> Result<Object, Refusal> {
    let wrong = || {
        let message = format!("the store has a row that is no resource: {} `{}`", row.kind, row.id);
        Refusal::conflict("ERR_SLUICEGATE_1303", message)
    };
    let kind = Kind::of_path(&row.kind).ok_or_else(wrong)?;
    let body: Map<String, Value> = serde_json::from_str(&row.body).map_err(|_| wrong())?;
    let created_at = Timestamp { seconds: row.created_at, nanos: 0 };
    Ok(Object { kind, id: row.id, created_at, body, managed: Managed::ByApi })
}

/// A destination of the API. What its target may not do it finds out when it is used, so that nothing that
/// was taken once keeps the daemon from starting.
fn destination(object: &Object, bounds: &Arc<Bounds>) -> Result<Destination, Refusal> {
    let target = object.body.get("target").unwrap_or(&Value::Null);
    let target = bounds.rules().with_own_external_id(targets::read_kept(target)?);
    let destination = sending::destination(ResourceId::new(&object.id)?, &object.body, target)?;
    Ok(Destination { bounds: Some(Arc::clone(bounds)), ..destination })
}

/// Compiles a source of a subscription, or takes a known one that is equal.
fn source_of(
    source: &Value,
    catalog: &Catalog,
    known: &[&Source],
) -> Result<Source, Vec<ResourceError>> {
    let texts = |list: &Vec<Value>| {
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let fields = source["fields"].as_array().map(texts);
    let event_type = source["type"].as_str().unwrap_or_default();
    let filter = source["filter"].as_str();
    let equal = |known: &&&Source| {
        catalog.get(event_type).is_some_and(|it| Arc::ptr_eq(it, &known.event_type))
            && known.filter.as_ref().map(CheckedFilter::text) == filter
            && known.fields == fields
    };
    match known.iter().find(equal) {
        Some(known) => Ok(Source::clone(known)),
        None => Source::new(catalog, event_type, filter, fields),
    }
}

/// The subscription as dispatch takes it; none while it lacks sources or destinations. Sources that are
/// known are not compiled anew.
fn subscription_of(
    object: &Object,
    catalog: &Catalog,
    known: &[&Source],
) -> Result<Option<Subscription>, Refusal> {
    let mut sources = Vec::new();
    for source in object.body.get("sources").and_then(Value::as_array).into_iter().flatten() {
        sources.push(source_of(source, catalog, known).map_err(|errors| {
            let all: Vec<Refusal> = errors.into_iter().map(Refusal::from).collect();
            let message = all.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("\n");
            let code = all.first().and_then(|it| it.code).unwrap_or("ERR_NGROK_5140");
            Refusal::invalid(code, message)
        })?);
    }
    let ids = object.texts("destination_ids").map(ResourceId::new);
    let destinations: Vec<ResourceId> = ids.collect::<Result<_, _>>()?;
    let id = ResourceId::new(&object.id)?;
    let description = object.text("description").to_owned();
    if let Some(repeated) = repeated_type(&sources) {
        return Err(Refusal::invalid(
            "ERR_NGROK_5127",
            format!("event type `{repeated}` stands twice in this subscription"),
        ));
    }
    if sources.is_empty() || destinations.is_empty() {
        return Ok(None);
    }
    let subscription = Subscription::new(id, description, sources, destinations)?;
    Ok(Some(Subscription { enabled: object.is_enabled(), ..subscription }))
}

fn repeated_type(sources: &[Source]) -> Option<&str> {
    let names: Vec<&str> = sources.iter().map(|it| it.event_type.name.as_str()).collect();
    let repeated = (1..names.len()).find(|&at| names[..at].contains(&names[at]))?;
    names.get(repeated).copied()
}

fn destination_of_file(destination: &Destination, now: Timestamp) -> Object {
    let body = json!({
        "description": destination.description,
        "metadata": "",
        "target": targets::write(&destination.target),
    });
    let mut object = of_file(Kind::EventDestination, &destination.id, now, body);
    object.body.extend(sending::written(destination));
    object
}

fn subscription_of_file(subscription: &Subscription, now: Timestamp) -> Object {
    let source = |source: &Source| {
        json!({
            "type": source.event_type.name,
            "filter": source.filter.as_ref().map(CheckedFilter::text),
            "fields": source.fields,
        })
    };
    let ids: Vec<&str> = subscription.destinations.iter().map(ResourceId::as_str).collect();
    let body = json!({
        "description": subscription.description,
        "metadata": "",
        "sources": subscription.sources.iter().map(source).collect::<Vec<_>>(),
        "destination_ids": ids,
        "enabled": subscription.enabled,
    });
    of_file(Kind::EventSubscription, &subscription.id, now, body)
}

fn of_file(kind: Kind, id: &ResourceId, created_at: Timestamp, body: Value) -> Object {
    let body = match body {
        Value::Object(body) => body,
        _ => Map::new(),
    };
    Object { kind, id: id.to_string(), created_at, body, managed: Managed::ByFile }
}
