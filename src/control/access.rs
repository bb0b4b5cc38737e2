//! IP restrictions: who may reach the API and ingest, by address.
//!
//! An address is allowed when at least one allow rule and no deny rule of the restriction's policies
//! matches it; a policy without rules matches nothing. It decides and counts; refusing is the
//! listener's matter.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use tracing::warn;

use super::object::Object;

/// What can be restricted here. ngrok's `dashboard` and `agent` are kept and told of as idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The API listener.
    Api,
    /// Ingest.
    Endpoints,
}

impl Scope {
    pub const ALL: [Scope; 2] = [Scope::Api, Scope::Endpoints];

    /// The restriction's `type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::Api => "api",
            Scope::Endpoints => "endpoints",
        }
    }

    /// The entrance that is restricted, in events and in the log.
    #[must_use]
    pub fn entrance(self) -> &'static str {
        match self {
            Scope::Api => "api",
            Scope::Endpoints => "ingest",
        }
    }
}

/// The restrictions in force.
#[derive(Debug, Default)]
pub struct Access {
    api: Option<Restriction>,
    endpoints: Option<Restriction>,
    idle: Vec<IdleRestriction>,
    /// The restrictions are not what they were when this program wrote them last: only this machine is let in.
    only_this_machine: bool,
    counts: Arc<Counts>,
}

/// A restriction of a type that nothing here obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleRestriction {
    pub id: String,
    /// Such as `dashboard`.
    pub of: String,
}

/// Logs the idle restrictions that were not there before.
pub(super) fn tell_of_idle(before: &Access, after: &Access) {
    for IdleRestriction { id, of } in after.idle.iter().filter(|it| !before.idle.contains(it)) {
        warn!(%id, "type" = %of, "this IP restriction is kept and restricts nothing: there is no such place here");
    }
}

/// Requests from addresses that are not allowed, since the process began.
#[derive(Debug, Default)]
struct Counts {
    refused: [AtomicU64; 2],
    warned: [AtomicU64; 2],
}

/// Requests from addresses that a restriction does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessCounts {
    /// Those that were refused.
    pub refused: u64,
    /// Those that were let in, since the restriction was not enforced.
    pub warned: u64,
}

#[derive(Clone, Debug)]
struct Restriction {
    enforced: bool,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl Restriction {
    fn new(restriction: &Object, rules: &[Arc<Object>]) -> Restriction {
        let policies: HashSet<&str> = restriction.texts("ip_policy_ids").collect();
        let networks = |action: &str| {
            let of_action = rules.iter().filter(|rule| {
                rule.text("action") == action && policies.contains(rule.text("ip_policy_id"))
            });
            of_action.filter_map(|rule| rule.text("cidr").parse().ok()).collect()
        };
        Restriction {
            enforced: restriction.flag("enforced"),
            allow: networks("allow"),
            deny: networks("deny"),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let matches = |networks: &[IpNet]| networks.iter().any(|it| it.contains(&address));
        matches(&self.allow) && !matches(&self.deny)
    }
}

impl Access {
    /// The restrictions over all policies' rules; counters go on from `before`.
    pub(super) fn new<'o>(
        restrictions: impl Iterator<Item = &'o Arc<Object>>,
        rules: &[Arc<Object>],
        before: &Access,
    ) -> Access {
        let mut access = Access { counts: Arc::clone(&before.counts), ..Access::default() };
        for restriction in restrictions {
            match restriction.text("type") {
                "api" => access.api = Some(Restriction::new(restriction, rules)),
                "endpoints" => access.endpoints = Some(Restriction::new(restriction, rules)),
                of => access
                    .idle
                    .push(IdleRestriction { id: restriction.id.clone(), of: of.to_owned() }),
            }
        }
        access
    }

    /// The same, but only this machine is let in, whatever they say.
    pub(super) fn for_this_machine(&self) -> Access {
        Access {
            api: self.api.clone(),
            endpoints: self.endpoints.clone(),
            idle: self.idle.clone(),
            only_this_machine: true,
            counts: Arc::clone(&self.counts),
        }
    }

    pub(super) fn is_for_this_machine(&self) -> bool {
        self.only_this_machine
    }

    fn restriction(&self, scope: Scope) -> Option<&Restriction> {
        match scope {
            Scope::Api => self.api.as_ref(),
            Scope::Endpoints => self.endpoints.as_ref(),
        }
    }

    /// Restrictions that restrict nothing.
    #[must_use]
    pub fn idle(&self) -> &[IdleRestriction] {
        &self.idle
    }

    /// Whether an address may come in. Where a restriction is not enforced everyone may, and who
    /// would not is counted and logged.
    #[must_use]
    pub fn admits(&self, scope: Scope, address: IpAddr) -> bool {
        if self.only_this_machine && !address.to_canonical().is_loopback() {
            self.counts.refused[scope as usize].fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let Some(restriction) = self.restriction(scope) else { return true };
        if restriction.allows(address.to_canonical()) {
            return true;
        }
        let counts = if restriction.enforced { &self.counts.refused } else { &self.counts.warned };
        let count = counts[scope as usize].fetch_add(1, Ordering::Relaxed) + 1;
        // Told ever more seldom, so that nobody can fill the log.
        if count.is_power_of_two() {
            let (scope, enforced) = (scope.name(), restriction.enforced);
            warn!(%address, scope, enforced, count, "an IP restriction does not allow this address");
        }
        !restriction.enforced
    }

    /// The same of an address that was let in once: only a restriction that is enforced counts it again.
    #[must_use]
    pub fn still_admits(&self, scope: Scope, address: IpAddr) -> bool {
        let may_refuse =
            self.only_this_machine || self.restriction(scope).is_some_and(|it| it.enforced);
        !may_refuse || self.admits(scope, address)
    }

    /// Requests that were refused, and those that would have been were the restriction enforced,
    /// since the process began.
    #[must_use]
    pub fn counts(&self, scope: Scope) -> AccessCounts {
        let read = |counts: &[AtomicU64; 2]| counts[scope as usize].load(Ordering::Relaxed);
        AccessCounts { refused: read(&self.counts.refused), warned: read(&self.counts.warned) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::control::kind::Kind;
    use crate::control::object::Managed;
    use crate::event::Timestamp;

    fn object(kind: Kind, body: Value) -> Arc<Object> {
        let Value::Object(body) = body else { panic!("an object") };
        let created_at = Timestamp::MIN;
        Arc::new(Object { kind, id: "x".to_owned(), created_at, body, managed: Managed::ByApi })
    }

    fn rule(policy: &str, cidr: &str, action: &str) -> Arc<Object> {
        let body = json!({"ip_policy_id": policy, "cidr": cidr, "action": action});
        object(Kind::IpPolicyRule, body)
    }

    fn access(enforced: bool, policies: &[&str]) -> Access {
        let rules = [
            rule("office", "203.0.113.0/24", "allow"),
            rule("office", "2001:db8::/32", "allow"),
            rule("office", "203.0.113.7/32", "deny"),
            rule("other", "0.0.0.0/0", "allow"),
        ];
        let body = json!({"type": "api", "enforced": enforced, "ip_policy_ids": policies});
        Access::new([object(Kind::IpRestriction, body)].iter(), &rules, &Access::default())
    }

    #[test]
    fn an_allow_rule_must_match_and_no_deny_rule_may() {
        let office = access(true, &["office"]);
        for (address, allowed) in [
            ("203.0.113.1", true),
            ("::ffff:203.0.113.1", true),
            ("2001:db8::1", true),
            ("203.0.113.7", false),
            ("198.51.100.1", false),
            ("2001:db9::1", false),
        ] {
            assert_eq!(office.admits(Scope::Api, address.parse().unwrap()), allowed, "{address}");
            assert!(office.admits(Scope::Endpoints, address.parse().unwrap()), "not restricted");
        }
        assert_eq!(office.counts(Scope::Api), AccessCounts { refused: 3, warned: 0 });
        let both = access(true, &["office", "other"]);
        assert!(both.admits(Scope::Api, "198.51.100.1".parse().unwrap()));
        assert!(!both.admits(Scope::Api, "203.0.113.7".parse().unwrap()));
    }

    #[test]
    fn a_policy_without_rules_matches_nothing() {
        assert!(!access(true, &["empty"]).admits(Scope::Api, "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_enforced_is_only_counted() {
        let access = access(false, &["office"]);
        assert!(access.admits(Scope::Api, "198.51.100.1".parse().unwrap()));
        assert_eq!(access.counts(Scope::Api), AccessCounts { refused: 0, warned: 1 });
    }
}
