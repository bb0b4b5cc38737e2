//! The routes of the control API: what a path names, and what each method does there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::request::{self, encode};
use super::{bury, drain, examine, reload, status, try_filter};
use crate::budget::Held;
use crate::control::{Asked, Control, KINDS, Kind, Page, PageAsked, Scope};
use crate::event::Timestamp;
use crate::http::ErrorAnswer;
use crate::resources::ResourceId;
use crate::sinks::{Ack, without_its_words};

/// A kind as one route shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceRoute {
    pub(super) kind: Kind,
    pub(super) path: &'static str,
    pub(super) list_key: &'static str,
    pub(super) prefix: &'static str,
}

/// What ngrok's clients list and there is nothing of here, so that they find that out.
pub(super) const EMPTY_LISTS: [&str; 2] = ["endpoints", "tunnel_sessions"];

/// The newer name of `/bot_users`: the same users under other ids.
const SERVICE_USERS: ResourceRoute = ResourceRoute {
    kind: Kind::ServiceUser,
    path: "service_users",
    list_key: "service_users",
    prefix: "service",
};

pub(super) fn resource_routes() -> impl Iterator<Item = ResourceRoute> {
    let of_kinds = KINDS.iter().map(|spec| ResourceRoute {
        kind: spec.kind,
        path: spec.path,
        list_key: spec.list_key,
        prefix: spec.prefix,
    });
    of_kinds.chain([SERVICE_USERS])
}

impl ResourceRoute {
    /// The id that the control plane knows a resource by.
    fn id_within(&self, id: &str) -> String {
        with_prefix(id, self.prefix, self.kind.spec().prefix)
    }

    /// The id that this route shows a resource by.
    fn id_shown(&self, id: &str) -> String {
        with_prefix(id, self.kind.spec().prefix, self.prefix)
    }

    /// An answer with this route's ids and addresses.
    fn show(&self, mut answer: Map<String, Value>, base: &str) -> Map<String, Value> {
        if self.path != self.kind.spec().path
            && let Some(id) = answer.get("id").and_then(Value::as_str)
        {
            let id = self.id_shown(id);
            answer.insert("uri".to_owned(), json!(format!("{base}/{}/{id}", self.path)));
            answer.insert("id".to_owned(), json!(id));
        }
        answer
    }
}

/// An id with another prefix in place of the one that it should have.
fn with_prefix(id: &str, prefix: &str, other: &str) -> String {
    let rest = id.strip_prefix(prefix).filter(|rest| rest.starts_with('_'));
    rest.map_or_else(|| id.to_owned(), |rest| format!("{other}{rest}"))
}

/// The field that says how certificates are managed.
const POLICY: &str = "certificate_management_policy";

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Oneself,
    OpenApi,
    Collection(ResourceRoute),
    Item(ResourceRoute, String),
    /// One of [`EMPTY_LISTS`].
    EmptyList(&'static str),
    Sources(String),
    Source(String, String),
    /// What a resource has, and may be without: the field's name.
    Part(Kind, String, &'static str),
    TestEvent(String),
    Examination(String),
    DestinationStatus(String),
    TryFilter,
    Bury,
    Drain,
    Reload,
}

impl Place {
    /// What a path names, if it names anything.
    pub(super) fn of(path: &str) -> Option<Place> {
        let segments: Vec<String> =
            path.strip_prefix('/')?.split('/').map(request::decode_path).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let route = |path: &str| resource_routes().find(|route| route.path == path);
        Some(match segments[..] {
            [""] => Place::Root,
            ["self"] => Place::Oneself,
            ["openapi.json"] => Place::OpenApi,
            ["filters", "try"] => Place::TryFilter,
            ["dead_letters", "bury"] => Place::Bury,
            ["drain"] => Place::Drain,
            ["reload"] => Place::Reload,
            [path] => match EMPTY_LISTS.into_iter().find(|it| *it == path) {
                Some(name) => Place::EmptyList(name),
                None => Place::Collection(route(path)?),
            },
            [_, ""] => return None,
            [path, id] => Place::Item(route(path)?, id.to_owned()),
            ["event_subscriptions", id, "sources"] => Place::Sources(id.to_owned()),
            ["event_subscriptions", id, "sources", event_type] => {
                Place::Source(id.to_owned(), event_type.to_owned())
            }
            ["event_destinations", id, "send_test_event"] => Place::TestEvent(id.to_owned()),
            ["event_destinations", id, "check"] => Place::Examination(id.to_owned()),
            ["reserved_domains", id, "certificate"] => {
                Place::Part(Kind::ReservedDomain, id.to_owned(), "certificate_id")
            }
            [path @ ("reserved_domains" | "agent_ingresses"), id, POLICY] => {
                Place::Part(Kind::of_path(path)?, id.to_owned(), POLICY)
            }
            ["event_destinations", id, "status"] => Place::DestinationStatus(id.to_owned()),
            _ => return None,
        })
    }

    /// The methods that a place knows.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self {
            Place::Root
            | Place::Oneself
            | Place::OpenApi
            | Place::EmptyList(_)
            | Place::DestinationStatus(_) => &["GET", "HEAD"],
            Place::Collection(_) | Place::Sources(_) => &["GET", "HEAD", "POST"],
            Place::Item(..) | Place::Source(..) => &["GET", "HEAD", "PATCH", "DELETE"],
            Place::Part(..) => &["DELETE"],
            Place::TestEvent(_)
            | Place::Examination(_)
            | Place::TryFilter
            | Place::Bury
            | Place::Drain
            | Place::Reload => &["POST"],
        }
    }

    /// Whether only the owners of keys are answered here.
    pub(super) fn needs_key(&self) -> bool {
        *self != Place::OpenApi
    }

    /// The query parameters that a method knows here.
    fn parameters(&self, method: &Method) -> &'static [&'static str] {
        match (self, method.as_str()) {
            (Place::Collection(_) | Place::EmptyList(_), "GET" | "HEAD") => {
                &["before_id", "filter", "limit"]
            }
            _ => &[],
        }
    }
}

/// Does what a request asks for.
pub(super) async fn serve(
    control: &Arc<Control>,
    place: Place,
    (parts, body, held): (&Parts, Body, &Held),
    asked: Asked,
) -> Result<Answer, ErrorAnswer> {
    let parameters = request::query(parts, place.parameters(&parts.method))?;
    let method = parts.method.as_str();
    let mut input = match method {
        "GET" | "HEAD" | "DELETE" => request::no_body(parts, body, held).await.map(|()| Map::new()),
        _ => request::object(parts, body, held).await,
    }?;
    // The body may have taken a minute; a change is asked once more when it has its turn.
    control.still_admits(&asked)?;
    match method {
        "GET" | "HEAD" => read(control, place, parameters, &asked).await,
        "DELETE" => delete(control, place, asked).await,
        "POST" if place == Place::Reload => {
            reload::run(control, parts, &input).await.map(Answer::ok)
        }
        "POST" => post(control, place, input, asked).await,
        _ => {
            request::leave_out_unset_lists(&parts.headers, &mut input);
            patch(control, place, input, asked).await
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_place_or_none() {
        let policies = resource_routes().find(|route| route.path == "ip_policies").unwrap();
        for (path, place) in [
            ("/", Some(Place::Root)),
            ("/ip_policies", Some(Place::Collection(policies))),
            ("/ip_policies/ipp_1", Some(Place::Item(policies, "ipp_1".to_owned()))),
            ("/ip_policies/", None),
            ("/ip_policies/ipp_1/x", None),
            ("/nothing", None),
            ("/endpoints", Some(Place::EmptyList("endpoints"))),
            ("/event_subscriptions/a%2Fb/sources", Some(Place::Sources("a/b".to_owned()))),
            (
                "/event_subscriptions/esb_1/sources/x.v0",
                Some(Place::Source("esb_1".to_owned(), "x.v0".to_owned())),
            ),
            (
                "/reserved_domains/rd_1/certificate",
                Some(Place::Part(Kind::ReservedDomain, "rd_1".to_owned(), "certificate_id")),
            ),
            (
                "/agent_ingresses/agin_1/certificate_management_policy",
                Some(Place::Part(Kind::AgentIngress, "agin_1".to_owned(), POLICY)),
            ),
            ("/agent_ingresses/agin_1/certificate", None),
            ("/dead_letters/bury", Some(Place::Bury)),
            ("/reload", Some(Place::Reload)),
            ("/ip_policies/a+b", Some(Place::Item(policies, "a+b".to_owned()))),
            ("/event_destinations/ed_1/send_test_event", Some(Place::TestEvent("ed_1".to_owned()))),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }

    #[test]
    fn service_users_and_bot_users_are_one() {
        let id = SERVICE_USERS.id_within("service_x");
        assert_eq!(id, "bot_x");
        let shown = SERVICE_USERS.show(Map::from_iter([("id".to_owned(), json!(id))]), "http://h");
        assert_eq!(
            Value::Object(shown),
            json!({"id": "service_x", "uri": "http://h/service_users/service_x"})
        );
    }
}
