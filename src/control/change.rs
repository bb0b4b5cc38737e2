//! Making changes: check, prepare, save, put into force, tell.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use tracing::info;

use super::access;
use super::admission;
use super::audit::{self, Caller, Verb};
use super::keys;
use super::kind::{Kind, Shape};
use super::memory;
use super::object::{Managed, Object};
use super::refusal::{Class, Refusal, UNKNOWN};
use super::request;
use super::rules;
use super::targets;
use super::world::{World, row_of};
use super::{Asked, Control, Outbox, with_external_id};
use crate::event::{Timestamp, ksuid_after};
use crate::lock::write;
use crate::pipeline::{CannotOpen, send_test_event};
use crate::resources::{Resources, Source};
use crate::sinks::{Ack, Format, Secret, without_its_words};
use crate::store::{Change, Store, StoreError, Turn};

/// The member in which ngrok's clients say of which subscription a source is, beside the path.
const OF_SOURCE: &str = "subscription_id";

/// A change as it was planned against a world.
struct Plan {
    verb: Verb,
    /// The resource as it is to be, or as it was before it goes.
    object: Object,
    /// What goes with it, each with its events.
    with_it: Vec<Arc<Object>>,
    /// What the answer shows besides the resource, once.
    token: Option<String>,
}

/// A resource that a request asks for, with its token if it has one.
pub(super) fn new_object(
    world: &World,
    kind: Kind,
    input: &Map<String, Value>,
    caller: &Caller,
) -> Result<(Object, Option<Secret>), Refusal> {
    let spec = kind.spec();
    let body = request::create(spec, input, world.bounds().rules())?;
    let now = Timestamp::now().whole_seconds();
    let latest = world.latest(kind).unwrap_or_default();
    let id = ksuid_after(latest, spec.prefix, now, rand::random());
    let mut object = Object { kind, id, created_at: now, body, managed: Managed::ByApi };
    rules::complete(world, &mut object, &caller.owner_id);
    rules::check(world, &object, None)?;
    let token = spec.fields().iter().any(|field| field.shape == Shape::Token).then(|| {
        let token = keys::mint(&object.id);
        object.body.insert(keys::HASH.to_owned(), json!(keys::hash(&token)));
        token
    });
    Ok((object, token))
}

/// A change as it will be: the world with it, and what to save and to tell.
struct Made {
    world: World,
    /// Set if it decides where events go.
    resources: Option<Resources>,
    changes: Vec<Change>,
    events: Vec<String>,
    /// What becomes of which resources, for the log.
    changed: Vec<(Verb, Kind, String)>,
    answer: Map<String, Value>,
    token: Option<String>,
}

impl Made {
    /// Plans a change against a world, of which the parts that stay are shared. It takes milliseconds where
    /// there are thousands of resources.
    fn new(
        world: &World,
        ready: Vec<Source>,
        plan: impl FnOnce(&World) -> Result<Plan, Refusal>,
        (asked, account_id): (&Asked, &str),
    ) -> Result<Made, Refusal> {
        let mut world = world.clone();
        world.ready_with(ready);
        let Plan { verb, object, with_it, token } = plan(&world)?;
        let answer = object.answer(&asked.base);
        let gone = |object: &Object| Change::Delete {
            kind: object.kind.spec().path.to_owned(),
            id: object.id.clone(),
        };
        let audit_event = |verb, object: &Object| {
            let by = (&asked.caller, asked.base.as_str());
            let answer = object.answer(&asked.base);
            audit::event((object.kind, verb), answer, by, account_id)
        };
        let mut changes = Vec::new();
        let mut events = Vec::new();
        let mut changed = Vec::new();
        // What depends on it goes first, so that no event tells of something whose owner has gone.
        for object in with_it {
            changes.push(gone(&object));
            events.push(audit_event(Verb::Deleted, &object));
            changed.push((Verb::Deleted, object.kind, object.id.clone()));
            world.remove(object.kind, &object.id);
        }
        events.push(audit_event(verb, &object));
        let (kind, id) = (object.kind, object.id.clone());
        changed.push((verb, kind, object.id.clone()));
        if verb == Verb::Deleted {
            changes.push(gone(&object));
            world.remove(kind, &object.id);
        } else {
            changes.push(Change::Put(row_of(&object)));
            world.put(object)?;
        }
        world.ready_with(Vec::new());
        let resources = match kind {
            Kind::EventDestination | Kind::EventSubscription => Some(world.resources()?),
            _ => None,
        };
        if let (Some(resources), true) = (&resources, verb != Verb::Deleted) {
            resources.check_keys_of(&id)?;
        }
        Ok(Made { world, resources, changes, events, changed, answer, token })
    }
}

/// The sources that a request lists.
fn sources_of(input: &Map<String, Value>) -> Vec<Value> {
    input.get("sources").and_then(Value::as_array).cloned().unwrap_or_default()
}

impl Control {
    /// Makes a resource; the answer has its token if it has one.
    ///
    /// # Errors
    /// When it cannot be; then nothing has changed.
    pub async fn create(
        self: &Arc<Self>,
        kind: Kind,
        input: Map<String, Value>,
        asked: Asked,
    ) -> Result<Map<String, Value>, Refusal> {
        // Before the change has its turn: a service may take seconds, and other changes need not wait.
        if kind == Kind::EventDestination {
            memory::check_lingering(self.pipeline.lingering())?;
            self.verify(&input, None).await?;
        }
        let caller = asked.caller.clone();
        let ready = self.compile(sources_of(&input)).await;
        self.change(asked, ready, move |world| {
            let (object, token) = new_object(world, kind, &input, &caller)?;
            let token = token.map(|token| token.expose().to_owned());
            Ok(Plan { verb: Verb::Created, object, with_it: Vec::new(), token })
        })
        .await
    }

    /// Changes a resource.
    ///
    /// # Errors
    /// When it cannot be so; then nothing has changed.
    pub async fn update(
        self: &Arc<Self>,
        kind: Kind,
        id: String,
        input: Map<String, Value>,
        asked: Asked,
    ) -> Result<Map<String, Value>, Refusal> {
        if kind == Kind::EventDestination {
            self.verify(&input, Some(&id)).await?;
        }
        let ready = self.compile(sources_of(&input)).await;
        self.change_body((kind, id), asked, ready, move |world, before| {
            request::update(before, &input, world.bounds().rules())
        })
        .await
    }

    /// Takes the value of one field away.
    ///
    /// # Errors
    /// When there is no such resource.
    pub async fn clear(
        self: &Arc<Self>,
        kind: Kind,
        id: String,
        field: &'static str,
        asked: Asked,
    ) -> Result<(), Refusal> {
        self.change_body((kind, id), asked, Vec::new(), move |_, before| {
            let mut body = before.body.clone();
            body.insert(field.to_owned(), Value::Null);
            Ok(body)
        })
        .await?;
        Ok(())
    }

    /// Changes the sources of a subscription; the answer is the subscription.
    ///
    /// # Errors
    /// When they cannot be so; then nothing has changed.
    async fn change_sources(
        self: &Arc<Self>,
        id: String,
        asked: Asked,
        ready: Vec<Source>,
        change: impl FnOnce(&mut Vec<Value>) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Map<String, Value>, Refusal> {
        self.change_body((Kind::EventSubscription, id), asked, ready, |_, before| {
            let mut body = before.body.clone();
            let sources = body.entry("sources").or_insert_with(|| json!([]));
            if let Value::Array(sources) = sources {
                change(sources)?;
            }
            Ok(body)
        })
        .await
    }

    /// Adds a source to a subscription.
    ///
    /// # Errors
    /// When the subscription has the type already, or the source does not hold.
    pub async fn create_source(
        self: &Arc<Self>,
        subscription: &str,
        mut input: Map<String, Value>,
        asked: Asked,
    ) -> Result<Value, Refusal> {
        request::agrees(OF_SOURCE, input.remove(OF_SOURCE).as_ref(), subscription)?;
        let source = request::source(&Value::Object(input))?;
        let event_type = source["type"].as_str().unwrap_or_default().to_owned();
        let base = asked.base.clone();
        let ready = self.compile(vec![source.clone()]).await;
        self.change_sources(subscription.to_owned(), asked, ready, move |sources| {
            sources.push(source);
            Ok(())
        })
        .await?;
        self.source(subscription, &event_type, &base)
    }

    /// Changes the filter and the fields of a source; what is not given stays.
    ///
    /// # Errors
    /// When there is no such source, or it does not hold.
    pub async fn update_source(
        self: &Arc<Self>,
        subscription: &str,
        event_type: String,
        mut input: Map<String, Value>,
        asked: Asked,
    ) -> Result<Value, Refusal> {
        request::agrees(OF_SOURCE, input.remove(OF_SOURCE).as_ref(), subscription)?;
        request::agrees("type", input.remove("type").as_ref(), &event_type)?;
        if let Some(name) = input.keys().find(|it| *it != "filter" && *it != "fields") {
            return Err(Refusal::unknown(name, &["filter", "fields"]));
        }
        input.retain(|_, value| !value.is_null());
        let (base, wanted) = (asked.base.clone(), event_type.clone());
        let ready = self.compile(self.sources_after(subscription, &event_type, &input)).await;
        self.change_sources(subscription.to_owned(), asked, ready, move |sources| {
            let source = sources.iter_mut().find(|source| source["type"] == *wanted);
            let source = source.ok_or_else(|| Refusal::no_source(&wanted))?;
            let mut merged = source.as_object().cloned().unwrap_or_default();
            merged.extend(input);
            *source = request::source(&Value::Object(merged))?;
            Ok(())
        })
        .await?;
        self.source(subscription, &event_type, &base)
    }

    /// Takes a source out of a subscription.
    ///
    /// # Errors
    /// When there is no such source.
    pub async fn delete_source(
        self: &Arc<Self>,
        subscription: &str,
        event_type: String,
        asked: Asked,
    ) -> Result<(), Refusal> {
        self.change_sources(subscription.to_owned(), asked, Vec::new(), move |sources| {
            let at = sources.iter().position(|source| source["type"] == *event_type);
            sources.remove(at.ok_or_else(|| Refusal::no_source(&event_type))?);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Removes a resource, and what is nothing without it.
    ///
    /// # Errors
    /// When there is none of this id, or it is in use.
    pub async fn delete(
        self: &Arc<Self>,
        kind: Kind,
        id: String,
        asked: Asked,
    ) -> Result<(), Refusal> {
        self.change(asked, Vec::new(), move |world| {
            let object = world.get(kind, &id).ok_or_else(Refusal::not_found)?;
            rules::by_api(object)?;
            let with_it = rules::removed_with(world, object)?;
            let with_it =
                with_it.iter().filter_map(|(kind, id)| world.get(*kind, id).cloned()).collect();
            Ok(Plan { verb: Verb::Deleted, object: (**object).clone(), with_it, token: None })
        })
        .await?;
        Ok(())
    }

    async fn change_body(
        self: &Arc<Self>,
        (kind, id): (Kind, String),
        asked: Asked,
        ready: Vec<Source>,
        change: impl FnOnce(&World, &Object) -> Result<Map<String, Value>, Refusal> + Send + 'static,
    ) -> Result<Map<String, Value>, Refusal> {
        self.change(asked, ready, move |world| {
            let before = world.get(kind, &id).ok_or_else(Refusal::not_found)?;
            rules::by_api(before)?;
            let object = Object { body: change(world, before)?, ..(**before).clone() };
            rules::check(world, &object, Some(before))?;
            Ok(Plan { verb: Verb::Updated, object, with_it: Vec::new(), token: None })
        })
        .await
    }

    /// Compiles sources before a change has its turn, on a thread for long work.
    async fn compile(&self, sources: Vec<Value>) -> Vec<Source> {
        if sources.is_empty() {
            return Vec::new();
        }
        let world = self.world();
        self.pipeline.workers().run(true, move || world.compile(&sources)).await
    }

    /// The source of a subscription as a request would have it, for [`Control::compile`]; none if there is
    /// no such source.
    fn sources_after(
        &self,
        subscription: &str,
        event_type: &str,
        input: &Map<String, Value>,
    ) -> Vec<Value> {
        let world = self.world();
        let object = world.get(Kind::EventSubscription, subscription);
        let sources = object.and_then(|object| object.body.get("sources")?.as_array());
        let source = sources.into_iter().flatten().find(|source| source["type"] == *event_type);
        let Some(Value::Object(source)) = source else { return Vec::new() };
        let mut merged = source.clone();
        merged.extend(input.iter().map(|(name, value)| (name.clone(), value.clone())));
        vec![Value::Object(merged)]
    }

    /// Makes one change in a task of its own, so that it is made whole whatever becomes of the
    /// request that asked for it.
    async fn change(
        self: &Arc<Self>,
        asked: Asked,
        ready: Vec<Source>,
        plan: impl FnOnce(&World) -> Result<Plan, Refusal> + Send + 'static,
    ) -> Result<Map<String, Value>, Refusal> {
        let control = Arc::clone(self);
        let made = tokio::spawn(async move { control.make(asked, ready, plan).await });
        made.await.map_err(|failure| unavailable(format!("the change failed: {failure}")))?
    }

    async fn make(
        &self,
        asked: Asked,
        ready: Vec<Source>,
        plan: impl FnOnce(&World) -> Result<Plan, Refusal> + Send + 'static,
    ) -> Result<Map<String, Value>, Refusal> {
        // Of the fleet first: whoever waits for that does not keep this daemon from following.
        let mut of_store = self.begin().await?;
        let mut turn = self.changing.lock().await;
        if let Some(news) = of_store.take_news() {
            self.take_over(news).await;
        }
        // Others had their turn meanwhile.
        admission::still_admitted(&self.world(), &asked)?;
        let (world, account_id) = (self.world(), self.identity.account_id.clone());
        let of_change = asked.clone();
        let made = move || Made::new(&world, ready, plan, (&of_change, &account_id));
        let mut made = self.pipeline.workers().run_at_once(made).await?;
        let (mut answer, token) = (std::mem::take(&mut made.answer), made.token.take());
        let changed = std::mem::take(&mut made.changed);
        self.save_and_apply(made, of_store, &mut turn).await?;
        for (verb, kind, id) in changed {
            asked.log(verb.name(), kind.spec().noun, &id);
        }
        // Before the answer, so that whoever has the answer finds the event on its way. If it has to wait,
        // the change holds all the same.
        self.publish(&mut turn).await;
        if let Some(token) = token {
            answer.insert("token".to_owned(), json!(token));
        }
        Ok(answer)
    }

    async fn save_and_apply(
        &self,
        made: Made,
        of_store: Turn,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        let Made { world, resources, changes, events, .. } = made;
        let prepared = match resources {
            Some(resources) => Some(self.pipeline.prepare(resources).await.map_err(cannot_open)?),
            None => None,
        };
        // All that can fail but the disk has been tried by now. Once this is written, the next start has
        // the change in force, so nothing behind it may refuse.
        let written = self.in_store(move |store| store.commit(of_store, &changes, &events)).await;
        let committed = written.map_err(|refusal| {
            let is_known = refusal.code != Some(UNKNOWN);
            let nothing = if is_known { "nothing was changed: " } else { "" };
            Refusal { message: format!("{nothing}{}", refusal.message), ..refusal }
        })?;
        outbox.ready.extend(committed.events);
        self.note_seen(committed.version);
        if let Some(prepared) = prepared {
            self.pipeline.put_in_force(prepared).await;
        }
        self.set_world(world);
        Ok(())
    }

    pub(super) fn set_world(&self, world: World) {
        access::tell_of_idle(self.world().access(), world.access());
        let before = std::mem::replace(&mut *write(&self.world), Arc::new(world));
        // Lists of thousands of resources take a while to drop, and nobody needs to wait for that.
        tokio::task::spawn_blocking(move || drop(before));
    }

    /// Puts another settings file into force beside what the API made.
    ///
    /// # Errors
    /// When the two do not go together, or a destination cannot be opened; then nothing has changed.
    pub async fn reload(&self, file: &Resources) -> Result<(), Refusal> {
        let reloaded = self.put_file_in_force(file).await;
        match &reloaded {
            Ok(()) => {
                self.reloads.succeeded();
                let object = json!({
                    "destinations": file.destinations().len(),
                    "subscriptions": file.subscriptions().len(),
                });
                self.tell("daemon_reloaded.v0", object, None).await;
            }
            Err(refusal) => self.reloads.rejected(&refusal.to_string()),
        }
        reloaded
    }

    async fn put_file_in_force(&self, file: &Resources) -> Result<(), Refusal> {
        let (workers, file) =
            (self.pipeline.workers(), Arc::new(with_external_id(file, &self.identity)));
        // What has to be compiled anew is compiled before the reload has its turn, since it may take
        // seconds; what has changed meanwhile, when it has it.
        let before = self.world();
        let (world, first) = (Arc::clone(&before), Arc::clone(&file));
        let compiled = workers.run(true, move || world.under_file(&first, None)).await;
        let _turn = self.changing.lock().await;
        let world = self.world();
        if let Err(refusal) = &compiled
            && Arc::ptr_eq(&world, &before)
        {
            return Err(refusal.clone());
        }
        let made = move || {
            let world = world.under_file(&file, compiled.ok().as_ref())?;
            let resources = world.resources()?;
            Ok::<_, Refusal>((world, resources))
        };
        let (world, resources) = workers.run_at_once(made).await?;
        let prepared = self.pipeline.prepare(resources).await.map_err(cannot_open)?;
        self.pipeline.put_in_force(prepared).await;
        self.set_world(world);
        self.judge();
        Ok(())
    }

    /// The world with API keys that another process has made meanwhile; of a fleet, as all see it by now.
    pub(super) async fn refreshed(&self) -> Result<Arc<World>, Refusal> {
        if self.store().is_shared() {
            self.follow_at_once().await;
            return Ok(self.world());
        }
        let version = self.in_store(Store::version).await?;
        // Without waiting for changes, so that wrong keys hold up nobody.
        if version == self.version.load(Ordering::Acquire) {
            return Ok(self.world());
        }
        let mut outbox = self.changing.lock().await;
        // Asked again: another request may have loaded the rows while this one waited for its turn.
        if version != self.version.load(Ordering::Acquire) {
            let path = Kind::ApiKey.spec().path;
            let rows = self.in_store(move |store| store.load(Some(path))).await?;
            let world = self.world();
            for id in
                rows.iter().map(|row| &row.id).filter(|id| world.get(Kind::ApiKey, id).is_none())
            {
                info!(change = "created", resource = "API key", %id, by = "the command line", "changed");
            }
            self.set_world((*world).clone().with_rows(rows)?);
            self.version.store(version, Ordering::Release);
            self.publish(&mut outbox).await;
        }
        Ok(self.world())
    }

    /// Sends a test event to the target that a request asks for, if it asks for that too.
    async fn verify(&self, input: &Map<String, Value>, id: Option<&str>) -> Result<(), Refusal> {
        if input.get("verify_with_test_event") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        let world = self.world();
        let rules = world.bounds().rules();
        let mut format = format_of(input);
        let before = match id {
            Some(id) => {
                let object =
                    world.get(Kind::EventDestination, id).ok_or_else(Refusal::not_found)?;
                rules::by_api(object)?;
                format = format.or(format_of(&object.body));
                let kept = object.body.get("target").unwrap_or(&Value::Null);
                Some(targets::read_kept(kept)?)
            }
            None => None,
        };
        let target = match (input.get("target").filter(|it| !it.is_null()), before) {
            (Some(asked), before) => targets::read(asked, before.as_ref(), rules)?,
            (None, Some(before)) => rules.with_own_external_id(before),
            (None, None) => return Ok(()), // reported as missing by the creation
        };
        let opened = self.pipeline.open(&target, format.unwrap_or_default(), world.bounds()).await;
        let sink = opened.map_err(|error| {
            Refusal::invalid("ERR_SLUICEGATE_1305", format!("the target cannot be opened: {error}"))
        })?;
        let reason = match send_test_event(&sink).await.ack {
            Ack::Delivered => return Ok(()),
            Ack::Retry(fault) => fault.message,
            Ack::Rejected(reason) => reason,
        };
        let reason = without_its_words(&reason);
        let message = format!("the test event was not delivered: {reason}");
        Err(Refusal::invalid("ERR_SLUICEGATE_1306", message))
    }

    /// Opens the store for writing again if the disk had no room when the daemon started and has some now.
    pub(super) async fn resume(&self) {
        if !self.store().is_held() {
            return;
        }
        // That it still cannot be was said at the start, and `/status` says it.
        if let Ok(Some(store)) = self.in_store(Store::reopened).await {
            *write(&self.store) = Arc::new(store);
            info!("the store can be written again: the API takes changes");
        }
    }

    pub(super) async fn in_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        let done = done.map_err(|failure| unavailable(format!("the store failed: {failure}")))?;
        Ok(done?)
    }
}

pub(super) fn unavailable(message: String) -> Refusal {
    Refusal { class: Class::Unavailable, code: Some("ERR_SLUICEGATE_1301"), message }
}

fn cannot_open(error: CannotOpen) -> Refusal {
    Refusal::invalid("ERR_SLUICEGATE_1305", error.to_string())
}

/// How a destination's records are written, if that is said.
fn format_of(body: &Map<String, Value>) -> Option<Format> {
    body.get("format").and_then(Value::as_str).map(Format::of_name)
}
