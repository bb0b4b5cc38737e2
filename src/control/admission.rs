//! Who is let in, at either door, and whether they still are: a request may take a minute to arrive, and
//! what let it in may be gone by then.
//!
//! So each is asked twice, by the same rules: when it begins, and when it takes effect. Refusing in words
//! of HTTP is the doors' matter.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::info;

use super::access::Scope;
use super::audit::{self, Caller};
use super::keys::{self, BadKey};
use super::kind::Kind;
use super::object::{Object, owner};
use super::refusal::{Class, Refusal};
use super::uses;
use super::world::World;
use super::{Control, USER};
use crate::event::{Acl, Timestamp};

/// A request's circumstances: who asks, from where, and the address that the API is reached at.
#[derive(Clone, Debug)]
pub struct Asked {
    pub caller: Caller,
    /// The base of all addresses in the answer, such as `http://127.0.0.1:4181`.
    pub base: String,
    /// The client's address; none where there is no connection.
    pub address: Option<IpAddr>,
    /// Whether restrictions of the type `api` refuse anybody.
    pub is_restricted: bool,
    /// The id of the request, which its answer has too.
    pub operation_id: String,
}

impl Asked {
    /// Logs a change that was made: who did what, from where.
    pub fn log(&self, change: &str, resource: &str, id: &str) {
        let Asked { caller, address, operation_id, .. } = self;
        let (key, from) = (caller.key_id.as_deref(), address.map(tracing::field::display));
        let (by, subject) = (&caller.owner_id, &caller.subject);
        info!(change, resource, id, by, subject, key, from, operation_id, "changed");
    }
}

/// A credential that opens ingest. Two are the same while nothing of it has changed.
#[derive(Clone, Debug)]
pub struct Credential(Arc<Object>);

impl Credential {
    /// What its sender may send.
    #[must_use]
    pub fn acl(&self) -> Acl {
        Acl::new(&self.0.texts("acl").collect::<Vec<_>>()).reserving(&audit::PUBLISHED)
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Credential) -> bool {
        // When it was last used is written down in between.
        let decides = |it: &Object| {
            let members = it.body.iter().filter(|(name, _)| *name != uses::FIELD);
            members.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.id == other.0.id && decides(&self.0) == decides(&other.0)
    }
}

/// Why a key or a credential opens nothing, if so: it is off, it has expired, or its owner is a service user
/// who is not active, or whom somebody took out of the store.
fn closed(world: &World, object: &Object) -> Option<BadKey> {
    let owner = owner(object.text("owner_id"));
    let is_owner_active = match world.get(Kind::ServiceUser, &owner) {
        Some(bot) => bot.flag("active"),
        None => !owner.starts_with(&format!("{}_", Kind::ServiceUser.spec().prefix)),
    };
    let expires = Timestamp::parse(object.text("expires_at"));
    if !is_owner_active {
        Some(BadKey::Wrong)
    } else if !object.is_enabled() {
        Some(BadKey::Off)
    } else if expires.is_some_and(|at| at <= Timestamp::now()) {
        Some(BadKey::Expired)
    } else {
        None
    }
}

/// Refuses a request whose key or address is not let in any more.
pub(super) fn still_admitted(world: &World, asked: &Asked) -> Result<(), Refusal> {
    let forbidden = |code, message| Refusal { class: Class::Forbidden, code: Some(code), message };
    let gone =
        |id: &String| world.get(Kind::ApiKey, id).is_none_or(|key| closed(world, key).is_some());
    if asked.caller.key_id.as_ref().is_some_and(gone) {
        let message =
            "the API key was deleted, or its owner is not active any more: nothing was done";
        return Err(forbidden(BadKey::Wrong.code(), message.to_owned()));
    }
    if let Some(address) = asked.address.filter(|_| asked.is_restricted)
        && !world.access().still_admits(Scope::Api, address)
    {
        let message = format!(
            "an IP restriction does not allow the address {address} any more: nothing was done"
        );
        return Err(forbidden("ERR_NGROK_220", message));
    }
    Ok(())
}

impl Control {
    /// Who owns an API key.
    ///
    /// # Errors
    /// When it opens nothing.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, BadKey> {
        if token.starts_with("ak_") {
            return Err(BadKey::Id);
        }
        let ksuid = keys::ksuid_of(token).ok_or(BadKey::Malformed)?;
        let mut world = self.world();
        let mut key = world.get(Kind::ApiKey, &format!("ak_{ksuid}")).cloned();
        if key.is_none() {
            // It may have been made on the command line, beside the running daemon.
            world = self.refreshed().await.map_err(|_| BadKey::Wrong)?;
            key = world.get(Kind::ApiKey, &format!("ak_{ksuid}")).cloned();
        }
        match key {
            Some(key) if keys::opens(token, &key) => {
                if let Some(bad) = closed(&world, &key) {
                    return Err(bad);
                }
                self.uses.note(&key.id);
                let owner_id = owner(key.text("owner_id")).into_owned();
                let bot = world.get(Kind::ServiceUser, &owner_id);
                let subject =
                    bot.map_or_else(|| USER.to_owned(), |bot| bot.text("name").to_owned());
                Ok(Caller { owner_id, subject, key_id: Some(key.id.clone()) })
            }
            None if world.get(Kind::Credential, &format!("cr_{ksuid}")).is_some() => {
                Err(BadKey::Credential)
            }
            _ => Err(BadKey::Wrong),
        }
    }

    /// Refuses a request whose key was deleted, or whose address is not allowed any more, since it was
    /// let in: to be asked once its body is there.
    ///
    /// # Errors
    /// When it is not let in any more.
    pub fn still_admits(&self, asked: &Asked) -> Result<(), Refusal> {
        still_admitted(&self.world(), asked)
    }

    /// The credential with this token. `Ok(None)` if the text has not the form of a credential's token.
    ///
    /// # Errors
    /// When it has, and opens nothing.
    pub fn credential(&self, token: &str) -> Result<Option<Credential>, BadKey> {
        let Some(ksuid) = keys::ksuid_of(token) else { return Ok(None) };
        let world = self.world();
        let credential =
            world.get(Kind::Credential, &format!("cr_{ksuid}")).ok_or(BadKey::Wrong)?;
        let bad = match keys::opens(token, credential) {
            true => closed(&world, credential),
            false => Some(BadKey::Wrong),
        };
        if let Some(bad) = bad {
            return Err(bad);
        }
        self.uses.note(&credential.id);
        Ok(Some(Credential(Arc::clone(credential))))
    }
}
