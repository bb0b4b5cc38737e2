//! What a path of the control API names, and what may be asked of it. What is done there stands elsewhere.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{letters, request};
use crate::control::{KINDS, Kind};

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
    pub(super) fn id_within(&self, id: &str) -> String {
        with_prefix(id, self.prefix, self.kind.spec().prefix)
    }

    /// The id that this route shows a resource by.
    pub(super) fn id_shown(&self, id: &str) -> String {
        with_prefix(id, self.kind.spec().prefix, self.prefix)
    }

    /// An answer with this route's ids and addresses.
    pub(super) fn show(&self, mut answer: Map<String, Value>, base: &str) -> Map<String, Value> {
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
    DeadLetters,
    DeadLetter(String),
    Redrive,
    Purge,
    Bury,
    Replay,
    Forget,
    Daemons,
    Drain,
    Reload,
    /// The readings, where they are asked of a daemon by its name.
    Status,
    Ledger,
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
            ["dead_letters"] => Place::DeadLetters,
            ["dead_letters", "redrive"] => Place::Redrive,
            ["dead_letters", "purge"] => Place::Purge,
            ["dead_letters", "bury"] => Place::Bury,
            ["replay"] => Place::Replay,
            ["journal", "forget"] => Place::Forget,
            ["daemons"] => Place::Daemons,
            ["drain"] => Place::Drain,
            ["reload"] => Place::Reload,
            ["status"] => Place::Status,
            ["ledger"] => Place::Ledger,
            [path] => match EMPTY_LISTS.into_iter().find(|it| *it == path) {
                Some(name) => Place::EmptyList(name),
                None => Place::Collection(route(path)?),
            },
            [_, ""] => return None,
            ["dead_letters", id] => Place::DeadLetter(id.to_owned()),
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
            | Place::DeadLetters
            | Place::DeadLetter(_)
            | Place::Daemons
            | Place::Status
            | Place::Ledger
            | Place::DestinationStatus(_) => &["GET", "HEAD"],
            Place::Collection(_) | Place::Sources(_) => &["GET", "HEAD", "POST"],
            Place::Item(..) | Place::Source(..) => &["GET", "HEAD", "PATCH", "DELETE"],
            Place::Part(..) => &["DELETE"],
            Place::TestEvent(_)
            | Place::Examination(_)
            | Place::TryFilter
            | Place::Redrive
            | Place::Purge
            | Place::Bury
            | Place::Replay
            | Place::Forget
            | Place::Drain
            | Place::Reload => &["POST"],
        }
    }

    /// Whether only the owners of keys are answered here.
    pub(super) fn needs_key(&self) -> bool {
        ![Place::OpenApi, Place::Status, Place::Ledger].contains(self)
    }

    /// Whether requests name the version of the API, as ngrok's do.
    pub(super) fn needs_version(&self) -> bool {
        ![Place::Status, Place::Ledger].contains(self)
    }

    /// Whether what is here is one daemon's own, so that another of the fleet may be asked for it.
    pub(super) fn is_of_a_daemon(&self) -> bool {
        self.is_finished()
            || matches!(
                self,
                Place::DeadLetters
                    | Place::DeadLetter(_)
                    | Place::Bury
                    | Place::Drain
                    | Place::Reload
                    | Place::Status
                    | Place::Ledger
            )
    }

    /// Whether what is begun here is finished though whoever asked goes away: it would be half done.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self, Place::Redrive | Place::Purge | Place::Replay | Place::Forget)
    }

    /// The query parameters that a method knows here.
    pub(super) fn parameters(&self, method: &Method) -> &'static [&'static str] {
        match (self, method.as_str()) {
            (Place::Collection(_) | Place::EmptyList(_), "GET" | "HEAD") => {
                &["before_id", "filter", "limit"]
            }
            (Place::Daemons, _) => &["before_id", "limit"],
            (Place::DeadLetters, _) => &letters::PARAMETERS,
            _ if self.is_of_a_daemon() => &["daemon"],
            _ => &[],
        }
    }
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
            ("/status", Some(Place::Status)),
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
            ("/dead_letters/dl_1", Some(Place::DeadLetter("dl_1".to_owned()))),
            ("/reload", Some(Place::Reload)),
            ("/daemons", Some(Place::Daemons)),
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
