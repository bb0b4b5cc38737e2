//! What a sender may send: rules `bind:NAME`, read as event types and hosts. Whose rules they are is
//! not known here.
//!
//! A name with an underscore is an event type, since no host name has one and every event type
//! does. Rules of either sort limit what they speak of, and leave the other free. Some types may be
//! reserved: those the daemon itself publishes, of which everybody believes that it did.

use std::collections::BTreeSet;

use super::envelope::Event;
use super::extract::{Root, Slot, SlotPlan, Slots};
use super::repeated::repeated;
use super::scan::string_value;

/// Where both traffic types have the name that the client asked for.
const HOST: [&str; 2] = ["conn", "server_name"];

/// What a sender may send.
#[derive(Debug, Default)]
pub struct Acl {
    types: Vec<String>,
    /// Types that rules name as they are, without a wildcard.
    named: Vec<String>,
    hosts: Vec<String>,
    plan: SlotPlan,
    /// Types that only a rule with the very name allows.
    reserved: Option<&'static BTreeSet<String>>,
}

/// Why an event may not be sent. Its `Display` is for the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule fits it.
    #[error("the rules of this credential do not allow the event's type or host")]
    ByRules,
    /// The daemon itself publishes its type.
    #[error(
        "this daemon itself publishes `{0}`: only a credential with the rule `bind:{0}` may send it"
    )]
    Reserved(String),
    /// What the rules decide by is there twice, so that its receiver may read the other one.
    #[error("the event has the key `{0}` twice, and this credential's rules decide by it")]
    Repeated(&'static str),
}

impl Denied {
    /// The stable code that the sender's program may branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Denied::ByRules | Denied::Reserved(_) => "ERR_NGROK_619",
            Denied::Repeated(_) => "ERR_SLUICEGATE_1009",
        }
    }
}

impl Acl {
    /// Rules of the form `bind:NAME`. None at all, or a `*` among them, allow everything.
    #[must_use]
    pub fn new(rules: &[&str]) -> Acl {
        let names = rules.iter().filter_map(|rule| rule.strip_prefix("bind:"));
        let (types, hosts): (Vec<_>, Vec<_>) =
            names.map(str::to_ascii_lowercase).partition(|name| name.contains('_'));
        let named = types.iter().filter(|name| !name.contains('*')).cloned().collect();
        if rules.contains(&"*") {
            return Acl { named, ..Acl::default() };
        }
        let mut plan = SlotPlan::default();
        if !hosts.is_empty() {
            plan.slot(Root::Object, &HOST);
        }
        Acl { types, named, hosts, plan, reserved: None }
    }

    /// The same, where these types are taken only if a rule has the very name.
    #[must_use]
    pub fn reserving(self, types: &'static BTreeSet<String>) -> Acl {
        Acl { reserved: Some(types), ..self }
    }

    /// Lets an event through that was read from this text, or tells why it may not be sent.
    ///
    /// # Errors
    /// When no rule allows it, or it has what decides twice.
    pub fn check(&self, event: &Event<'_>, text: &str) -> Result<(), Denied> {
        let decides_by: &[&[&str]] = match self.hosts[..] {
            [] => &[&["event_type"]],
            _ => &[&["event_type"], &["object", HOST[0], HOST[1]]],
        };
        if let Some(key) = repeated(text, decides_by) {
            return Err(Denied::Repeated(key));
        }
        let event_type = event.event_type.to_ascii_lowercase();
        if !self.types.is_empty() && !any(&self.types, &event_type) {
            return Err(Denied::ByRules);
        }
        if self.reserved.is_some_and(|types| types.contains(&event_type))
            && !self.named.contains(&event_type)
        {
            return Err(Denied::Reserved(event_type));
        }
        if self.hosts.is_empty() || self.host(event).is_some_and(|host| any(&self.hosts, &host)) {
            return Ok(());
        }
        Err(Denied::ByRules)
    }

    /// The host that an event names, in lower case.
    fn host(&self, event: &Event<'_>) -> Option<String> {
        let mut slots = Slots::new();
        self.plan.extract(event, &mut slots);
        match slots.first() {
            Some(Slot::Json(text)) => Some(string_value(text)?.to_ascii_lowercase()),
            _ => None,
        }
    }
}

/// Whether a name in lower case fits any of the patterns.
fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
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
    use std::sync::LazyLock;

    use serde_json::json;

    use super::*;
    use crate::event::Timestamp;

    fn allows(rules: &[&str], event_type: &str, host: &str) -> bool {
        let object = json!({"conn": {"server_name": host}});
        let text = json!({"event_type": event_type, "object": object}).to_string();
        let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
        Acl::new(rules).check(&event, &text).is_ok()
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
    fn a_type_that_is_reserved_needs_a_rule_with_its_very_name() {
        static RESERVED: LazyLock<BTreeSet<String>> =
            LazyLock::new(|| BTreeSet::from(["api_key_created.v0".to_owned()]));
        for (rules, allowed) in [
            (&[][..], false),
            (&["*"][..], false),
            (&["bind:*_*"][..], false),
            (&["bind:api_key_created.*"][..], false),
            (&["bind:a.example.net"][..], false),
            (&["bind:api_key_created.v0"][..], true),
            (&["*", "bind:API_key_created.v0"][..], true),
        ] {
            let text = r#"{"event_type":"api_key_created.v0","object":{}}"#;
            let event = Event::parse(text, Timestamp::MIN, || 0).unwrap();
            let checked = Acl::new(rules).reserving(&RESERVED).check(&event, text);
            assert_eq!(checked.is_ok(), allowed, "{rules:?}");
            assert!(Acl::new(&["*"]).check(&event, text).is_ok(), "unless it is not reserved");
        }
    }

    #[test]
    fn what_decides_stands_once() {
        let (types, hosts) = (["bind:http_*"], ["bind:a.example.net"]);
        for (rules, text, denied) in [
            (
                &types[..],
                r#"{"event_type":"http_x","event_\u0074ype":"http_x","object":{}}"#,
                "event_type",
            ),
            (&types[..], r#"{"event_type":"http_x","object":{"a":1,"a":2},"object":{}}"#, ""),
            (
                &hosts[..],
                r#"{"event_type":"t_x","object":{"conn":{"server_name":"a.example.net","server_name":"a.example.net"}}}"#,
                "server_name",
            ),
            (
                &hosts[..],
                r#"{"event_type":"t_x","object":{"conn":7,"conn":{"server_name":"a.example.net"}}}"#,
                "conn",
            ),
            (
                &hosts[..],
                r#"{"object":{},"event_type":"t_x","object":{"conn":{"server_name":"a.example.net"}}}"#,
                "object",
            ),
            (
                &hosts[..],
                r#"{"conn":1,"event_type":"t_x","object":{"x":1,"x":2,"conn":{"server_name":"a.example.net"}},"conn":2}"#,
                "",
            ),
        ] {
            let event = Event::parse(text, Timestamp::MIN, || 0).unwrap();
            let expected = if denied.is_empty() { Ok(()) } else { Err(Denied::Repeated(denied)) };
            assert_eq!(Acl::new(rules).check(&event, text), expected, "{text}");
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
