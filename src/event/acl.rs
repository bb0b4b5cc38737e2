//! What a sender may send: rules `bind:NAME`, read as event types and hosts. Whose rules they are is
//! not known here.
//!
//! A name with an underscore is an event type, since no host name has one and every event type
//! does. Rules of either sort limit what they speak of, and leave the other free.

use super::envelope::Event;
use super::extract::{Root, Slot, SlotPlan, Slots};
use super::scan::string_value;

/// What a sender may send.
#[derive(Debug, Default)]
pub struct Acl {
    types: Vec<String>,
    hosts: Vec<String>,
    plan: SlotPlan,
}

impl Acl {
    /// Rules of the form `bind:NAME`. None at all, or a `*` among them, allow everything.
    #[must_use]
    pub fn new(rules: &[&str]) -> Acl {
        if rules.contains(&"*") {
            return Acl::default();
        }
        let names = rules.iter().filter_map(|rule| rule.strip_prefix("bind:"));
        let (types, hosts): (Vec<_>, Vec<_>) =
            names.map(str::to_ascii_lowercase).partition(|name| name.contains('_'));
        let mut plan = SlotPlan::default();
        if !hosts.is_empty() {
            // Both traffic types have the name that the client asked for there.
            plan.slot(Root::Object, &["conn", "server_name"]);
        }
        Acl { types, hosts, plan }
    }

    /// Whether an event may be sent.
    #[must_use]
    pub fn allows(&self, event: &Event<'_>) -> bool {
        let any = |patterns: &[String], name: &str| {
            patterns.iter().any(|pattern| matches(pattern, &name.to_ascii_lowercase()))
        };
        if !self.types.is_empty() && !any(&self.types, &event.event_type) {
            return false;
        }
        if self.hosts.is_empty() {
            return true;
        }
        let mut slots = Slots::new();
        self.plan.extract(event, &mut slots);
        let host = match slots.first() {
            Some(Slot::Json(text)) => string_value(text),
            _ => None,
        };
        host.is_some_and(|host| any(&self.hosts, &host))
    }
}

/// Whether a name fits a pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Timestamp;

    fn allows(rules: &[&str], event_type: &str, host: &str) -> bool {
        let object = json!({"conn": {"server_name": host}});
        let text = json!({"event_type": event_type, "object": object}).to_string();
        let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
        Acl::new(rules).allows(&event)
    }

    #[test]
    fn rules_name_event_types_and_hosts() {
        const HTTP: &str = "http_request_complete.v0";
        for (rules, event_type, host, allowed) in [
            (&[][..], HTTP, "a.example.net", true),
            (&["*"][..], HTTP, "a.example.net", true),
            (&["*", "bind:b.example.net"][..], HTTP, "a.example.net", true),
            (&["bind:*.example.net"][..], HTTP, "A.example.net", true),
            (&["bind:*.example.net"][..], HTTP, "a.example.org", false),
            (&["bind:*.example.net"][..], HTTP, "", false),
            (&["bind:http_request_complete.v0"][..], HTTP, "x", true),
            (&["bind:http_*"][..], HTTP, "x", true),
            (&["bind:tcp_*"][..], HTTP, "x", false),
            (&["bind:http_*", "bind:b.example.net"][..], HTTP, "a.example.net", false),
            (&["bind:http_*", "bind:b.example.net"][..], HTTP, "b.example.net", true),
        ] {
            assert_eq!(allows(rules, event_type, host), allowed, "{rules:?} {event_type} {host}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*c*e", "aec", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
