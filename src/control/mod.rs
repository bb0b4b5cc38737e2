//! The control plane: the resources that users manage while the daemon runs.
//!
//! A change is checked against everything else there is, prepared, saved, put into force, and published
//! as an audit event, in this order; whoever gets an answer sees the change in force. Changes are
//! made one at a time and are not cut short when their caller goes away. Reading never waits for
//! them. It speaks in JSON objects, as requests and answers have them, and knows nothing of HTTP.
//!
//! `kind` is the table of kinds and fields; `request` reads bodies by it and `object` writes
//! answers by it; `rules` holds what one resource asks of others; `world` is everything at one
//! moment; `admission` decides who may come in and who still may, by `access` and `keys`.

mod access;
mod admission;
mod audit;
mod change;
mod daemons;
mod door;
mod fleet;
mod keys;
mod kind;
mod life;
mod listing;
mod memory;
#[cfg(feature = "postgres")]
mod moving;
mod object;
mod orders;
mod publishing;
mod refusal;
mod refused;
mod reloads;
mod request;
mod rules;
mod sending;
mod targets;
mod told;
mod uses;
mod world;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc};
use tracing::{error, warn};

use crate::event::Catalog;
use crate::journal::Settlement;
use crate::lock::read;
use crate::pipeline::{Pipeline, TestOutcome, send_test_event};
use crate::resources::{Destination, ResourceId, Resources};
use crate::sinks::Finding;
use crate::store::{
    CHANGED_OUTSIDE, Change, Identity, Inspected, MasterKey, Row, Store, StoreError, Waiting,
};

pub use crate::store::{PostgresUrl, Seen, StoreSettings, secret_files};
pub use access::{Access, AccessCounts, Scope};
pub use admission::{Asked, Credential};
pub use audit::Caller;
pub use fleet::Standing;
pub use keys::BadKey;
pub use kind::{Field, KINDS, Kind, Presence, Shape, Spec};
use listing::ListFilter;
#[cfg(feature = "postgres")]
pub use moving::{MoveTo, move_installation};
pub use refusal::{Class, Refusal};
pub use reloads::{RejectedReload, ReloadAsked, Reloaded, no_settings_file};
pub use told::resources_told;
use world::World;

/// The address that the one user is known by in audit events.
const USER: &str = "operator";

/// What is told where more could come in than should.
const GUARDS_CHANGED: &str = "IP restrictions, or what they are made of, were changed outside: only this machine is let in until one is changed through the API";

/// How the control plane is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlSettings {
    pub store: StoreSettings,
    /// For how long events are taken while a fleet's store cannot be reached; for ever if there is none.
    pub max_staleness: Option<Duration>,
}

/// What was saved by an earlier run, checked against the settings file.
pub struct Saved {
    store: Arc<Store>,
    settings: ControlSettings,
    world: World,
    /// The version of a fleet's set.
    version: i64,
    /// What others did to the store.
    changed: Vec<String>,
}

impl Saved {
    /// Reads the store of a data folder.
    ///
    /// # Errors
    /// When the store cannot be opened, or something in it does not fit the settings file.
    pub fn load(
        data_dir: &Path,
        settings: &ControlSettings,
        file: &Resources,
    ) -> Result<Saved, Refusal> {
        let key = MasterKey::of_environment().map_err(StoreError::Key)?;
        let store = Store::open_or_hold(data_dir, key, &settings.store)?;
        if let Some(cause) = store.cannot_write().filter(|_| store.is_held()) {
            let code = "ERR_SLUICEGATE_1330";
            warn!(
                code,
                cause, "the disk has no room for the store: the API changes nothing until it has"
            );
        }
        let file = with_external_id(file, &store.identity()?);
        let Inspected { mut rows, mut changed, guards_changed, version } = store.inspect()?;
        if !changed.is_empty() && !store.is_shared() {
            leave_out_orphans(&mut rows, &file, &mut changed);
        }
        for told in &changed {
            let what = if store.is_shared() { "the store of the fleet" } else { "control.db" };
            error!(code = CHANGED_OUTSIDE, "{what} was changed outside: {told}");
        }
        let world = World::of_file(&file);
        let world = if store.is_shared() { world.shared() } else { world };
        let mut world = world.with_rows(rows)?;
        if guards_changed {
            error!(code = CHANGED_OUTSIDE, "{GUARDS_CHANGED}");
            world.let_only_this_machine_in();
        }
        let settings = settings.clone();
        Ok(Saved { store: Arc::new(store), settings, world, version, changed })
    }

    /// All that decides where events go, from the settings file and the store.
    ///
    /// # Errors
    /// When a subscription names what is not there, or there is more than the daemon takes.
    pub fn resources(&self) -> Result<Resources, Refusal> {
        self.world.resources()
    }
}

pub struct Control {
    /// Replaced once, if at all: when a full disk has room again.
    store: RwLock<Arc<Store>>,
    pipeline: Arc<Pipeline>,
    identity: Identity,
    world: RwLock<Arc<World>>,
    /// The store's version as this process has seen it; of a fleet's, the version of the set in force.
    version: AtomicI64,
    /// Held by the change that is being made.
    changing: Mutex<Outbox>,
    reloads: reloads::Reloads,
    uses: uses::Uses,
    /// Requests that were not let in.
    refused: refused::Refused,
    /// What others had done to the store when the daemon started.
    changed: Vec<String>,
    following: fleet::Following,
}

/// How far the outbox was emptied.
#[derive(Debug, Default)]
struct Outbox {
    /// Events that this daemon has to publish, the oldest first.
    ready: VecDeque<Waiting>,
    /// Events that were published and that the store has still to forget: a full disk may keep it from
    /// that, and an event that the process's death would lose is not forgotten before it is delivered.
    published: BTreeMap<i64, Settlement>,
    /// The number of the last audit event that was taken from the store.
    last: i64,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The resources as answers show them.
    pub items: Vec<Value>,
    /// The id to go on after, if there is more.
    pub next: Option<String>,
}

/// Makes of an answer what one route shows.
pub type Show<'s> = &'s (dyn Fn(Map<String, Value>) -> Map<String, Value> + Sync);

/// Which page of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAsked {
    /// Most resources.
    pub limit: usize,
    /// Only those made before this one.
    pub before_id: Option<String>,
    /// Only those that this expression on `obj` is true for.
    pub filter: Option<String>,
}

impl Control {
    /// The control plane over what was saved, for a pipeline that runs with it.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn new(saved: Saved, pipeline: Arc<Pipeline>) -> Result<Arc<Control>, Refusal> {
        let Saved { store, settings, world, version, changed } = saved;
        let identity = store.identity()?;
        let version = if store.is_shared() { version } else { store.version()? };
        access::tell_of_idle(&Access::default(), world.access());
        let control = Arc::new(Control {
            store: RwLock::new(store),
            pipeline,
            identity,
            world: RwLock::new(Arc::new(world)),
            version: AtomicI64::new(version),
            changing: Mutex::default(),
            reloads: reloads::Reloads::default(),
            uses: uses::Uses::default(),
            refused: refused::Refused::default(),
            changed,
            following: fleet::Following::new(&settings),
        });
        control.judge();
        Ok(control)
    }

    /// The version of the fleet's set that is in force here.
    fn seen(&self) -> i64 {
        self.version.load(Ordering::Acquire)
    }

    fn note_seen(&self, version: i64) {
        if self.store().is_shared() {
            self.version.store(version, Ordering::Release);
        }
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&read(&self.world))
    }

    fn store(&self) -> Arc<Store> {
        Arc::clone(&read(&self.store))
    }

    /// Why the API can change nothing, if so.
    #[must_use]
    pub fn cannot_write(&self) -> Option<String> {
        self.store().cannot_write()
    }

    /// What was not as this program had written it last when the daemon started.
    #[must_use]
    pub fn changed_outside(&self) -> &[String] {
        &self.changed
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The IP restrictions in force.
    #[must_use]
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(self.world().access())
    }

    /// Notes a request that was not let in, so that it is told: by an event and a line of the log for each
    /// code, address and minute.
    pub fn note_refused(&self, scope: Scope, code: &'static str, address: Option<IpAddr>) {
        self.refused.note(scope, code, address);
    }

    /// The last reload of the settings file, if it was rejected.
    #[must_use]
    pub fn rejected_reload(&self) -> Option<RejectedReload> {
        self.reloads.read()
    }

    /// The reloads that are asked for through the API from now on; for the one who makes them.
    #[must_use]
    pub fn reloads_asked(&self) -> mpsc::Receiver<ReloadAsked> {
        self.reloads.receive()
    }

    /// Has the settings file read again, and waits until it is in force.
    ///
    /// # Errors
    /// When there is none, or it is not taken; then nothing has changed.
    pub async fn ask_for_reload(&self, confirmed: bool) -> Result<Reloaded, Refusal> {
        self.reloads.ask(confirmed).await
    }

    /// Has the daemon take nothing more, deliver what is pending, and end, as SIGTERM does. Gives how many
    /// records are pending.
    pub fn ask_to_drain(&self) -> u64 {
        let destinations = self.pipeline.status().destinations;
        self.reloads.ask_to_stop();
        destinations.iter().map(|it| it.account.pending_records).sum()
    }

    /// Waits until a drain is asked for through the API.
    pub async fn drain_asked(&self) {
        self.reloads.stop_asked().await;
    }

    /// Notes that the settings file could not be read again, and why.
    pub fn reload_rejected(&self, error: &str) {
        self.reloads.rejected(error);
    }

    /// Whether there is any API key.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.world().all(Kind::ApiKey).next().is_some()
    }

    /// One resource.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn get(
        &self,
        kind: Kind,
        id: &str,
        base: &str,
    ) -> Result<Map<String, Value>, Refusal> {
        let mut world = match kind {
            Kind::ApiKey => self.refreshed().await?,
            _ => self.world(),
        };
        if self.store().is_shared() && world.get(kind, id).is_none() {
            // It may have been made a moment ago through another daemon.
            world = self.refreshed().await?;
        }
        let object = world.get(kind, id).ok_or_else(Refusal::not_found)?;
        let mut answer = object.answer(base);
        self.uses.show(id, &mut answer);
        Ok(answer)
    }

    /// Checks the filter of a list that nothing is in.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn check_list_filter(&self, asked: &PageAsked) -> Result<(), Refusal> {
        asked.filter.as_deref().map(ListFilter::new).transpose().map(drop)
    }

    /// One page of a kind's resources, the newest first, and fewer than were asked for where they are large. `show` makes of each what the caller sees
    /// and filters.
    ///
    /// # Errors
    /// When the filter does not compile or takes too long, or `before_id` is no id of this kind.
    pub async fn list(
        &self,
        (kind, show): (Kind, Show<'_>),
        asked: &PageAsked,
        base: &str,
    ) -> Result<Page, Refusal> {
        let filter = asked.filter.as_deref().map(ListFilter::new).transpose()?;
        let world = match kind {
            Kind::ApiKey => self.refreshed().await?,
            _ => self.world(),
        };
        let before = asked.before_id.as_deref().map(|id| world.place(kind, id)).transpose()?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut more = false;
        let mut last = None;
        let (mut work, mut slice_ends) = (listing::MAX_WORK, listing::MAX_WORK - listing::SLICE);
        for object in world.newest_first(kind) {
            if work < slice_ends {
                slice_ends = work.saturating_sub(listing::SLICE);
                tokio::task::yield_now().await;
            }
            if before.is_some_and(|before| object.place() >= before) {
                continue;
            }
            let mut answer = object.answer(base);
            self.uses.show(&object.id, &mut answer);
            let answer = show(answer);
            let length = memory::answer_bytes(&answer);
            let answer = Value::Object(answer);
            match &filter {
                Some(filter) if !filter.fits(&answer, length, &mut work)? => continue,
                Some(_) => {}
                None => work = work.saturating_sub(listing::work_of(length)),
            }
            if items.len() == asked.limit || bytes >= listing::MAX_PAGE {
                more = true;
                break;
            }
            bytes += length;
            items.push(answer);
            last = Some(object.id.clone());
        }
        Ok(Page { items, next: last.filter(|_| more) })
    }

    /// The sources of a subscription.
    ///
    /// # Errors
    /// When there is no such subscription.
    pub fn sources(&self, subscription: &str, base: &str) -> Result<Vec<Value>, Refusal> {
        let world = self.world();
        let object =
            world.get(Kind::EventSubscription, subscription).ok_or_else(Refusal::not_found)?;
        match object.answer(base).remove("sources") {
            Some(Value::Array(sources)) => Ok(sources),
            _ => Ok(Vec::new()),
        }
    }

    /// One source of a subscription.
    ///
    /// # Errors
    /// When there is no such subscription, or the type is not a source of it.
    pub fn source(
        &self,
        subscription: &str,
        event_type: &str,
        base: &str,
    ) -> Result<Value, Refusal> {
        let sources = self.sources(subscription, base)?;
        let found = sources.into_iter().find(|source| source["type"] == event_type);
        found.ok_or_else(|| Refusal::no_source(event_type))
    }

    /// Sends a test event straight to a destination and waits for the service's verdict.
    ///
    /// # Errors
    /// When there is no such destination.
    pub async fn send_test_event(&self, id: &str) -> Result<TestOutcome, Refusal> {
        let id = ResourceId::new(id).map_err(|_| Refusal::not_found())?;
        let sink = self.pipeline.sink_of(&id).ok_or_else(Refusal::not_found)?;
        Ok(send_test_event(&sink).await)
    }

    /// Looks at what stands between a destination and its service, with connections of its own.
    ///
    /// # Errors
    /// When there is no such destination, or it cannot be opened.
    pub async fn examine(&self, id: &str) -> Result<(Arc<Destination>, Vec<Finding>), Refusal> {
        let id = ResourceId::new(id).map_err(|_| Refusal::not_found())?;
        let destination = self.pipeline.destination(&id).ok_or_else(Refusal::not_found)?;
        let findings = destination.examine().await.map_err(|error| {
            Refusal::invalid("ERR_SLUICEGATE_1305", format!("the target cannot be opened: {error}"))
        })?;
        Ok((destination, findings))
    }

    /// The event types in force.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        self.world().catalog().clone()
    }

    /// The event types that subscriptions in force send to a destination.
    ///
    /// # Errors
    /// When the set cannot be in force.
    pub fn types_for(&self, destination: &ResourceId) -> Result<BTreeSet<String>, Refusal> {
        let resources = self.world().resources()?;
        let all = resources.subscriptions().iter();
        let its = all.filter(|it| it.destinations.contains(destination));
        Ok(its.flat_map(|it| &it.sources).map(|it| it.event_type.name.clone()).collect())
    }

    /// The pipeline that the resources are in force in.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }
}

/// Leaves out the subscriptions whose destinations others took away: they would keep the daemon from
/// starting.
fn leave_out_orphans(rows: &mut Vec<Row>, file: &Resources, changed: &mut Vec<String>) {
    let of = |kind: Kind, row: &Row| row.kind == kind.spec().path;
    let made = rows.iter().filter(|row| of(Kind::EventDestination, row)).map(|row| row.id.clone());
    let of_file = file.destinations().iter().map(|it| it.id.to_string());
    let there: HashSet<String> = made.chain(of_file).collect();
    rows.retain(|row| {
        if !of(Kind::EventSubscription, row) {
            return true;
        }
        let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
        let mut ids = body["destination_ids"].as_array().into_iter().flatten();
        let is_whole = ids.all(|id| id.as_str().is_some_and(|id| there.contains(id)));
        if !is_whole {
            changed.push(format!("{} `{}` names what is gone and is left out", row.kind, row.id));
        }
        is_whole
    });
}

/// What the settings file and the store of a data folder say together, also beside a running daemon.
/// Nothing is made or changed, but for the external id of a store of an earlier version; where there is no store, it is what the file says.
///
/// # Errors
/// When the store cannot be read, or something in it does not fit the settings file.
pub fn saved_resources(
    data_dir: &Path,
    settings: &ControlSettings,
    file: &Resources,
) -> Result<Resources, Refusal> {
    let key = MasterKey::of_environment().map_err(StoreError::Key)?;
    match Store::open_existing(data_dir, key, &settings.store)? {
        Some(store) => {
            let file = with_external_id(file, &store.identity()?);
            World::of_file(&file).with_rows(store.load(None)?)?.resources()
        }
        None => Ok(file.clone()),
    }
}

/// What this installation's roles are assumed with. A data folder without a store gets one.
///
/// # Errors
/// When the store cannot be used.
pub fn own_external_id(data_dir: &Path, settings: &ControlSettings) -> Result<String, Refusal> {
    let key = MasterKey::of_environment().map_err(StoreError::Key)?;
    Ok(Store::open(data_dir, key, &settings.store)?.identity()?.external_id)
}

/// What the settings file says, for this installation.
fn with_external_id(file: &Resources, identity: &Identity) -> Resources {
    let mut file = file.clone();
    file.api_targets.external_id = Some(identity.external_id.as_str().into());
    file
}

/// Makes an API key in the store of a data folder, also beside a running daemon; gives the key.
///
/// # Errors
/// When the store cannot be used.
pub fn create_api_key(
    data_dir: &Path,
    settings: &ControlSettings,
    description: &str,
) -> Result<String, Refusal> {
    let key = MasterKey::of_environment().map_err(StoreError::Key)?;
    let store = Store::open(data_dir, key, &settings.store)?;
    let identity = store.identity()?;
    let caller =
        Caller { owner_id: identity.user_id.clone(), subject: USER.to_owned(), key_id: None };
    let input = Map::from_iter([("description".to_owned(), Value::from(description))]);
    let (object, token) = change::new_object(&World::empty(), Kind::ApiKey, &input, &caller)?;
    let event = audit::event(
        (Kind::ApiKey, audit::Verb::Created),
        object.answer(""),
        (&caller, ""),
        &identity.account_id,
    );
    store.write(&[Change::Put(world::row_of(&object))], &[event])?;
    Ok(token.map_or_else(String::new, |token| token.expose().to_owned()))
}
