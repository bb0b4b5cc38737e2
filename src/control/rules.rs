//! What one resource may ask of the others: references that must be there, names that must be free,
//! and what is in use.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::kind::{Kind, Shape};
use super::object::{Managed, Object, owner};
use super::refusal::{Class, Refusal};
use super::world::World;
use crate::report::nearest;
use crate::resources::MAX_SUBSCRIPTIONS;

/// Most resources of one kind but subscriptions; destinations have a limit of their own besides. All
/// are held in memory, at about a kilobyte each.
const MAX_OBJECTS: usize = 20_000;

/// Most destinations of one subscription: each match is journaled once for all, but delivered once
/// for each. ngrok has such a limit (5126) and does not say which.
const MAX_DESTINATIONS: usize = 100;

/// Checks a resource that is to be put into the world, in place of `before`.
pub(super) fn check(
    world: &World,
    object: &Object,
    before: Option<&Object>,
) -> Result<(), Refusal> {
    let max = match object.kind {
        Kind::EventSubscription => MAX_SUBSCRIPTIONS,
        _ => MAX_OBJECTS,
    };
    if before.is_none() && world.all(object.kind).len() >= max {
        let message = format!("there are {max} resources of this kind, which is the most");
        return Err(Refusal::invalid("ERR_NGROK_5000", message));
    }
    references(world, object)?;
    match object.kind {
        Kind::EventSubscription if object.texts("destination_ids").count() > MAX_DESTINATIONS => {
            let message = format!("a subscription has at most {MAX_DESTINATIONS} destinations");
            Err(Refusal::invalid("ERR_NGROK_5126", message))
        }
        Kind::ServiceUser => free_name(world, object),
        Kind::IpPolicyRule => free_network(world, object),
        Kind::IpRestriction => one_a_type(world, object),
        Kind::AgentIngress => domain(world, object, "ERR_NGROK_6706"),
        Kind::ReservedDomain => domain(world, object, "ERR_NGROK_413").and_then(|()| {
            let given = |name: &str| !object.body.get(name).unwrap_or(&Value::Null).is_null();
            if given("certificate_id") && given("certificate_management_policy") {
                let message =
                    "`certificate_id` and `certificate_management_policy` exclude each other";
                return Err(Refusal::invalid("ERR_NGROK_434", message));
            }
            Ok(())
        }),
        _ => Ok(()),
    }
}

fn references(world: &World, object: &Object) -> Result<(), Refusal> {
    for field in object.kind.spec().fields() {
        match field.shape {
            Shape::Ref(kind, _) => reference(world, kind, object.text(field.name))?,
            Shape::Refs(kind, _) => {
                for id in object.texts(field.name) {
                    reference(world, kind, id)?;
                }
            }
            Shape::Owner => {
                let id = object.text(field.name);
                let user = id.is_empty() || id.starts_with("usr_");
                if !user && world.get(Kind::ServiceUser, &owner(id)).is_none() {
                    let message = format!("there is no user and no service user `{id}`");
                    return Err(Refusal::invalid("ERR_NGROK_634", message));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn reference(world: &World, kind: Kind, id: &str) -> Result<(), Refusal> {
    if world.get(kind, id).is_some() {
        return Ok(());
    }
    let mut message = format!("there is no {} `{id}`", kind.spec().noun);
    if let Some(nearest) = nearest(id, world.all(kind).map(|object| object.id.as_str())) {
        message.push_str(&format!(", did you mean `{nearest}`?"));
    }
    match kind {
        Kind::EventDestination => {
            Err(Refusal { class: Class::NotFound, code: Some("ERR_NGROK_5103"), message })
        }
        _ => Err(Refusal::invalid("ERR_NGROK_1414", message)),
    }
}

/// The resources of the same kind besides this one.
fn others<'w>(world: &'w World, object: &'w Object) -> impl Iterator<Item = &'w Object> {
    world.all(object.kind).map(|other| &**other).filter(|other| other.id != object.id)
}

fn free_name(world: &World, object: &Object) -> Result<(), Refusal> {
    let name = object.text("name");
    if others(world, object).all(|other| other.text("name") != name) {
        return Ok(());
    }
    let message = format!("the name `{name}` is taken by another service user");
    Err(Refusal::invalid("ERR_NGROK_4112", message))
}

fn free_network(world: &World, object: &Object) -> Result<(), Refusal> {
    let same = |name: &str, other: &Object| other.text(name) == object.text(name);
    if others(world, object).all(|it| !(same("cidr", it) && same("ip_policy_id", it))) {
        return Ok(());
    }
    let message = format!("the policy has a rule on `{}` already", object.text("cidr"));
    Err(Refusal::invalid("ERR_NGROK_1408", message))
}

fn one_a_type(world: &World, object: &Object) -> Result<(), Refusal> {
    let restricted = object.text("type");
    if others(world, object).all(|other| other.text("type") != restricted) {
        return Ok(());
    }
    let message =
        format!("there is a restriction of the type `{restricted}` already: update that one");
    Err(Refusal::invalid("ERR_NGROK_1802", message))
}

fn domain(world: &World, object: &Object, taken: &'static str) -> Result<(), Refusal> {
    let name = object.text("domain");
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !name.strip_prefix("*.").unwrap_or(name).split('.').all(label) {
        let message = format!("`domain` must be a host name, not `{name}`");
        return Err(Refusal::invalid("ERR_NGROK_215", message));
    }
    if others(world, object).all(|other| !other.text("domain").eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Refusal::invalid(taken, format!("the domain `{name}` is there already")))
}

/// Checks that a resource may go, and tells which others go with it: the rules of a policy, the keys
/// of a service user.
pub(super) fn removed_with(world: &World, object: &Object) -> Result<Vec<(Kind, String)>, Refusal> {
    let using = |kind: Kind, name: &str| {
        let mut users = world.all(kind).filter(|it| it.texts(name).any(|id| id == object.id));
        users.next().map(|user| format!("{} `{}`", kind.spec().noun, user.id))
    };
    let of = |kind: Kind, name: &'static str| {
        let all = world.all(kind).filter(move |it| owner(it.text(name)) == object.id);
        all.map(move |it| (kind, it.id.clone())).collect::<Vec<_>>()
    };
    match object.kind {
        Kind::EventDestination => match using(Kind::EventSubscription, "destination_ids") {
            Some(user) => Err(Refusal::conflict(
                "ERR_NGROK_5112",
                format!("the destination is in use by {user}: take it out of there first"),
            )),
            None => Ok(Vec::new()),
        },
        Kind::IpPolicy => match using(Kind::IpRestriction, "ip_policy_ids") {
            Some(user) => Err(Refusal::conflict(
                "ERR_NGROK_1420",
                format!("the policy is in use by {user}: take it out of there first"),
            )),
            None => Ok(of(Kind::IpPolicyRule, "ip_policy_id")),
        },
        Kind::ServiceUser => {
            let mut keys = of(Kind::ApiKey, "owner_id");
            keys.extend(of(Kind::Credential, "owner_id"));
            Ok(keys)
        }
        _ => Ok(Vec::new()),
    }
}

/// Refuses to change what the settings file manages.
pub(super) fn by_api(object: &Object) -> Result<(), Refusal> {
    match object.managed {
        Managed::ByApi => Ok(()),
        Managed::ByFile => Err(Refusal::conflict(
            "ERR_SLUICEGATE_1304",
            format!(
                "the {} `{}` is managed by the settings file: change it there and reload",
                object.kind.spec().noun,
                object.id
            ),
        )),
    }
}

/// Fills in what the daemon sets on creation.
pub(super) fn complete(world: &World, object: &mut Object, owner: &str) {
    for field in object.kind.spec().fields() {
        if field.shape == Shape::Owner && object.text(field.name).is_empty() {
            object.body.insert(field.name.to_owned(), json!(owner));
        }
    }
    if object.kind == Kind::ReservedAddr {
        let used: HashSet<&str> = world.all(Kind::ReservedAddr).map(|it| it.text("addr")).collect();
        let free = (FIRST_PORT..).map(|port| format!("tcp.sluicegate.invalid:{port}"));
        let address = free.into_iter().find(|address| !used.contains(address.as_str()));
        object.body.insert("addr".to_owned(), json!(address));
    }
}

/// The first port of reserved addresses; [`MAX_OBJECTS`] are below the last port there is.
const FIRST_PORT: u16 = 20_000;
