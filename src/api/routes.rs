//! The routes of the control API: what each method does at each place.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::place::{Place, ResourceRoute, resource_routes};
use super::reload::CONFIRM_REMOVAL;
use super::request::{self, encode};
use super::{
    Api, bury, daemons, drain, examine, forget, letters, reload, replay, status, try_filter,
};
use crate::budget::Held;
use crate::control::{Asked, Control, Kind, Page, PageAsked, Scope};
use crate::event::Timestamp;
use crate::http::ErrorAnswer;
use crate::resources::ResourceId;
use crate::sinks::{Ack, without_its_words};

/// What a request wants, read as far as it can be without doing it.
pub(super) struct Wanted {
    pub(super) method: String,
    pub(super) place: Place,
    /// The path that names it.
    pub(super) path: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) input: Map<String, Value>,
    /// Whether a reload may take most of what runs away.
    pub(super) confirmed: bool,
    /// The name of this daemon, where it was named.
    pub(super) daemon: Option<String>,
    pub(super) asked: Asked,
}

/// Reads what a request asks for, if whoever asks is still let in.
pub(super) async fn wanted(
    api: &Api,
    place: Place,
    (parts, body, held): (&Parts, Body, &Held),
    asked: Asked,
) -> Result<Wanted, ErrorAnswer> {
    let mut parameters = request::query(parts, place.parameters(&parts.method))?;
    let method = parts.method.as_str().to_owned();
    let mut input = match method.as_str() {
        "GET" | "HEAD" | "DELETE" => request::no_body(parts, body, held).await.map(|()| Map::new()),
        _ => request::object(parts, body, held).await,
    }?;
    if method == "PATCH" {
        request::leave_out_unset_lists(&parts.headers, &mut input);
    }
    // The body may have taken a minute; a change is asked once more when it has its turn.
    api.control.still_admits(&asked)?;
    let confirmed = parts.headers.get(CONFIRM_REMOVAL).is_some_and(|value| value == "true");
    let path = parts.uri.path().to_owned();
    let daemon = parameters.remove("daemon").filter(|name| !name.is_empty());
    Ok(Wanted { method, place, path, parameters, input, confirmed, daemon, asked })
}

/// Does what is finished though whoever asked goes away.
async fn finish(
    control: &Arc<Control>,
    (place, input, asked): (Place, Map<String, Value>, Asked),
) -> Result<Answer, ErrorAnswer> {
    let control = Arc::clone(control);
    let working = match place {
        Place::Redrive => tokio::spawn(letters::redrive(control, input, asked)),
        Place::Purge => tokio::spawn(letters::purge(control, input, asked)),
        Place::Replay => tokio::spawn(replay::run(control, input, asked)),
        _ => tokio::spawn(forget::run(control, input, asked)),
    };
    match working.await {
        Ok(done) => done.map(Answer::ok),
        Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
        // The runtime is shutting down, and nobody waits for anything any more.
        Err(_cancelled) => std::future::pending().await,
    }
}

/// Does what was read.
pub(super) async fn perform(api: &Api, wanted: Wanted) -> Result<Answer, ErrorAnswer> {
    let control = &api.control;
    let Wanted { method, place, parameters, input, confirmed, daemon, asked, .. } = wanted;
    match method.as_str() {
        "GET" | "HEAD" => match place {
            Place::Daemons => {
                let page = request::page(parameters)?;
                Ok(Answer::ok(daemons::list(api, &page, &asked.base).await?))
            }
            Place::DeadLetters => Ok(Answer::ok(
                letters::list(control, parameters, daemon.as_deref(), &asked.base).await?,
            )),
            Place::DeadLetter(id) => Ok(Answer::ok(letters::get(control, &id, &asked.base).await?)),
            Place::Status => Ok(Answer::ok(super::reading(super::read_status(api).await))),
            Place::Ledger => Ok(Answer::ok(super::reading(super::read_ledger(api).await))),
            place => read(control, place, parameters, &asked).await,
        },
        "DELETE" => delete(control, place, asked).await,
        "POST" if place == Place::Reload => {
            reload::run(control, &input, confirmed).await.map(Answer::ok)
        }
        "POST" if place.is_finished() => finish(control, (place, input, asked)).await,
        "POST" => post(control, place, input, asked).await,
        _ => patch(control, place, input, asked).await,
    }
}

async fn read(
    control: &Arc<Control>,
    place: Place,
    parameters: BTreeMap<String, String>,
    asked: &Asked,
) -> Result<Answer, ErrorAnswer> {
    let base = asked.base.as_str();
    Ok(Answer::ok(match place {
        Place::Root => root(base),
        Place::Oneself => oneself(control, asked).await?,
        Place::Collection(route) => {
            let mut page_asked = request::page(parameters)?;
            let before_id = page_asked.before_id.take();
            page_asked.before_id = before_id.map(|id| route.id_within(&id));
            let show = |answer| route.show(answer, base);
            let page = control.list((route.kind, &show), &page_asked, base).await?;
            list(route, page, &page_asked, base)
        }
        Place::EmptyList(name) => {
            control.check_list_filter(&request::page(parameters)?)?;
            json!({(name): [], "uri": format!("{base}/{name}"), "next_page_uri": null})
        }
        Place::Item(route, id) => {
            let found = control.get(route.kind, &route.id_within(&id), base).await?;
            Value::Object(route.show(found, base))
        }
        Place::Sources(id) => {
            let uri = format!("{base}/event_subscriptions/{id}/sources");
            json!({"sources": control.sources(&id, base)?, "uri": uri})
        }
        Place::Source(id, event_type) => control.source(&id, &event_type, base)?,
        Place::DestinationStatus(id) => {
            let _there = control.get(Kind::EventDestination, &id, base).await?;
            let all = control.pipeline().status().destinations;
            let found = all.iter().find(|it| it.id.as_str() == id);
            found.map(status::destination).ok_or_else(crate::control::Refusal::not_found)?
        }
        // Served to everyone, or without this method: neither comes here.
        Place::OpenApi
        | Place::Status
        | Place::Ledger
        | Place::DeadLetters
        | Place::DeadLetter(_)
        | Place::Redrive
        | Place::Purge
        | Place::Replay
        | Place::Forget
        | Place::Daemons
        | Place::Part(..)
        | Place::TestEvent(_)
        | Place::Examination(_)
        | Place::TryFilter
        | Place::Bury
        | Place::Drain
        | Place::Reload => json!({}),
    }))
}

async fn post(
    control: &Arc<Control>,
    place: Place,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Answer, ErrorAnswer> {
    let base = asked.base.clone();
    Ok(match place {
        Place::Collection(route) => {
            let made = control.create(route.kind, input, asked).await?;
            let warning = warning(route.kind, &made);
            Answer::created(route.show(made, &base)).warned(warning)
        }
        Place::Sources(id) => Answer::created(control.create_source(&id, input, asked).await?),
        Place::TestEvent(id) => {
            if let Some(name) = input.keys().next() {
                let message = format!("unknown parameter `{name}`; none are supported here");
                return Err(ErrorAnswer::bad_request("ERR_NGROK_214", message));
            }
            test_event(control, &id).await?
        }
        Place::TryFilter => {
            let of_try = Arc::clone(control);
            let workers = control.pipeline().workers();
            Answer::ok(workers.run(true, move || try_filter::run(&of_try, &input)).await?)
        }
        Place::Examination(id) => Answer::ok(examine::run(control, &input, &id).await?),
        Place::Drain => Answer::ok(drain::run(control, &input, &asked)?),
        Place::Bury => Answer::ok(bury::run(control, &input, &asked).await?),
        other => unreached(&other),
    })
}

async fn patch(
    control: &Arc<Control>,
    place: Place,
    input: Map<String, Value>,
    asked: Asked,
) -> Result<Answer, ErrorAnswer> {
    let base = asked.base.clone();
    Ok(match place {
        Place::Item(route, id) => {
            let id = route.id_within(&id);
            let changed = control.update(route.kind, id, input, asked).await?;
            let warning = warning(route.kind, &changed);
            Answer::ok(route.show(changed, &base)).warned(warning)
        }
        Place::Source(id, event_type) => {
            Answer::ok(control.update_source(&id, event_type, input, asked).await?)
        }
        other => unreached(&other),
    })
}

/// What whoever made or changed a resource should know.
fn warning(kind: Kind, answer: &Map<String, Value>) -> Option<String> {
    let of = answer.get("type").filter(|_| kind == Kind::IpRestriction)?.as_str()?;
    let is_obeyed = Scope::ALL.iter().any(|scope| scope.name() == of);
    let text = format!("a restriction of the type `{of}` is kept and restricts nothing here");
    (!is_obeyed).then_some(text)
}

async fn delete(control: &Arc<Control>, place: Place, asked: Asked) -> Result<Answer, ErrorAnswer> {
    match place {
        Place::Item(route, id) => control.delete(route.kind, route.id_within(&id), asked).await?,
        Place::Source(id, event_type) => control.delete_source(&id, event_type, asked).await?,
        Place::Part(kind, id, field) => control.clear(kind, id, field, asked).await?,
        other => return Ok(unreached(&other)),
    }
    Ok(Answer::no_content())
}

/// For methods that [`Place::methods`] does not name, and that were refused by it.
fn unreached(place: &Place) -> Answer {
    tracing::error!(?place, "a method without a route came through");
    Answer::no_content()
}

async fn test_event(control: &Arc<Control>, id: &str) -> Result<Answer, ErrorAnswer> {
    let outcome = control.send_test_event(id).await?;
    let (reason, trouble) = match outcome.ack {
        Ack::Delivered => return Ok(Answer::ok(json!({"event_id": outcome.event_id}))),
        Ack::Retry(fault) => (fault.message, fault.trouble),
        Ack::Rejected(reason) => (reason, None),
    };
    let reason = without_its_words(&reason);
    let mut message = format!("the test event was not delivered: {reason}");
    let destination = ResourceId::new(id).ok().and_then(|id| control.pipeline().destination(&id));
    if let (Some(trouble), Some(destination)) = (trouble, destination) {
        message.push_str(&format!("; next: {}", trouble.words(&destination.target).next));
    }
    Err(ErrorAnswer::bad_request("ERR_SLUICEGATE_1306", message))
}

fn root(base: &str) -> Value {
    let uris: Map<String, Value> = resource_routes()
        .map(|route| (route.path.to_owned(), json!(format!("{base}/{}", route.path))))
        .collect();
    json!({"uri": format!("{base}/"), "subresource_uris": uris})
}

/// Who asks, in ngrok's form; what it says of plans and agents has no meaning here.
async fn oneself(control: &Arc<Control>, asked: &Asked) -> Result<Value, ErrorAnswer> {
    let identity = control.identity();
    let key = match &asked.caller.key_id {
        Some(id) => Value::Object(control.get(Kind::ApiKey, id, &asked.base).await?),
        None => Value::Null,
    };
    let created_at = identity.created_at.to_string();
    Ok(json!({
        "api_key": key,
        "account": {
            "id": identity.account_id,
            "name": "sluicegate",
            "external_id": identity.external_id,
            "created_at": created_at,
            "suspended": false,
            "enforce_sso": false,
            "min_api_version": 2,
            "min_agent_version": "",
            "user_mfa_required": false,
            "traffic_full_capture": false,
        },
        "user": {
            "id": asked.caller.owner_id,
            "name": asked.caller.subject,
            "email": "",
            "created_at": created_at,
        },
    }))
}

fn list(route: ResourceRoute, page: Page, asked: &PageAsked, base: &str) -> Value {
    let next_page_uri = page.next.map(|id| {
        let mut uri = format!(
            "{base}/{}?before_id={}&limit={}",
            route.path,
            encode(&route.id_shown(&id)),
            asked.limit
        );
        if let Some(filter) = &asked.filter {
            uri.push_str(&format!("&filter={}", encode(filter)));
        }
        uri
    });
    json!({
        (route.list_key): page.items,
        "uri": format!("{base}/{}", route.path),
        "next_page_uri": next_page_uri,
    })
}

/// The id of one request, for logs and for people who ask about it.
pub(super) fn operation_id() -> String {
    crate::event::ksuid("op", Timestamp::now(), rand::random())
}
