//! What a sender may send: rules `bind:NAME`, read as event types and hosts, and `bind:account:ID`. Whose
//! rules they are is not known here.
//!
//! A name with an underscore is an event type, since no host name has one and every event type
//! does. Rules of each sort limit what they speak of, and leave the others free. Some types may be
//! reserved: those the daemon itself publishes, of which everybody believes that it did.

use std::collections::BTreeSet;

use super::envelope::Event;
use super::escapes::string_value;
use super::once::{self, Path};

/// Where an event of a type names the host that it is about.
fn host_of(event_type: &str) -> Path {
    match event_type {
        "agent_session_start.v0" | "agent_session_stop.v0" => &["object", "ingress_hostname"],
        "domain_created.v0" | "domain_updated.v0" | "domain_deleted.v0" => &["object", "domain"],
        "tcp_address_created.v0" | "tcp_address_updated.v0" | "tcp_address_deleted.v0" => {
            &["object", "addr"]
        }
        // Both traffic types have the name that the client asked for there.
        _ => &["object", "conn", "server_name"],
    }
}

/// What rules on accounts begin with, behind `bind:`.
const ACCOUNT: &str = "account:";

/// What a sender may send.
#[derive(Debug, Default)]
pub struct Acl {
    types: Vec<String>,
    /// Types that rules name as they are, without a wildcard.
    named: Vec<String>,
    hosts: Vec<String>,
    accounts: Vec<String>,
    /// The one account as a JSON string, if there is one.
    account: Option<String>,
    /// Types that only a rule with the very name allows.
    reserved: Option<&'static BTreeSet<String>>,
}

/// Why an event may not be sent. Its `Display` is for the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule fits it.
    #[error("the rules of this credential do not allow the event's type or host")]
    ByRules,
    /// It is another account's, or nobody's where several might be meant.
    #[error("this credential sends events of the account {0} only: `account_id` must say so")]
    Account(String),
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
            Denied::ByRules | Denied::Account(_) | Denied::Reserved(_) => "ERR_NGROK_619",
            Denied::Repeated(_) => "ERR_SLUICEGATE_1009",
        }
    }
}

impl Acl {
    /// Rules of the form `bind:NAME`. None at all, or a `*` among them, allow every type and host.
    #[must_use]
    pub fn new(rules: &[&str]) -> Acl {
        let names = rules.iter().filter_map(|rule| rule.strip_prefix("bind:"));
        let (accounts, names): (Vec<&str>, Vec<&str>) =
            names.partition(|name| name.starts_with(ACCOUNT));
        let accounts: Vec<String> =
            accounts.iter().map(|name| name[ACCOUNT.len()..].to_owned()).collect();
        let account = match &accounts[..] {
            [account] => serde_json::to_string(account).ok(),
            _ => None,
        };
        let names = names.into_iter();
        let (types, hosts): (Vec<_>, Vec<_>) =
            names.map(str::to_ascii_lowercase).partition(|name| name.contains('_'));
        let named = types.iter().filter(|name| !name.contains('*')).cloned().collect();
        if rules.contains(&"*") {
            return Acl { named, accounts, account, ..Acl::default() };
        }
        Acl { types, named, hosts, accounts, account, reserved: None }
    }

    /// The same, where these types are taken only if a rule has the very name.
    #[must_use]
    pub fn reserving(self, types: &'static BTreeSet<String>) -> Acl {
        Acl { reserved: Some(types), ..self }
    }

    /// Lets an event through that was read from this text, or tells why it may not be sent. Gives the
    /// account, as a JSON string, that it is to have if it names none.
    ///
    /// # Errors
    /// When no rule allows it, or it has what decides twice.
    pub fn check(&self, event: &Event<'_>, text: &str) -> Result<Option<&str>, Denied> {
        let event_type = event.event_type.to_ascii_lowercase();
        let host = if self.hosts.is_empty() { &["event_type"] } else { host_of(&event_type) };
        let account: Path =
            if self.accounts.is_empty() { &["event_type"] } else { &["account_id"] };
        let [_, host, _] =
            once::values(text, [&["event_type"], host, account]).map_err(Denied::Repeated)?;
        if !self.types.is_empty() && !any(&self.types, &event_type) {
            return Err(Denied::ByRules);
        }
        if self.reserved.is_some_and(|types| types.contains(&event_type))
            && !self.named.contains(&event_type)
        {
            return Err(Denied::Reserved(event_type));
        }
        let allows = |json: &str| {
            let host = string_value(json).map(|host| host.to_ascii_lowercase());
            host.is_some_and(|host| any(&self.hosts, without_port(&host)))
        };
        if !self.hosts.is_empty() && !host.is_some_and(allows) {
            return Err(Denied::ByRules);
        }
        self.check_account(event)
    }

    fn check_account(&self, event: &Event<'_>) -> Result<Option<&str>, Denied> {
        let allows = |json: &str| {
            string_value(json).is_some_and(|id| self.accounts.iter().any(|account| *account == id))
        };
        match event.account_id {
            _ if self.accounts.is_empty() => Ok(None),
            None if self.account.is_some() => Ok(self.account.as_deref()),
            Some(json) if allows(json) => Ok(None),
            _ => Err(Denied::Account(format!("`{}`", self.accounts.join("` or `")))),
        }
    }
}

/// A host without the port behind it.
fn without_port(host: &str) -> &str {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name)
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

    use serde_json::{Value, json};

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
            let acl = Acl::new(rules).reserving(&RESERVED);
            assert_eq!(acl.check(&event, text).is_ok(), allowed, "{rules:?}");
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
            let expected = if denied.is_empty() { Ok(None) } else { Err(Denied::Repeated(denied)) };
            assert_eq!(Acl::new(rules).check(&event, text), expected, "{text}");
        }
    }

    #[test]
    fn each_type_names_its_host_where_it_does() {
        let rules = ["bind:*.example.net"];
        for (event_type, object, allowed) in [
            ("agent_session_start.v0", json!({"ingress_hostname": "Connect.example.net"}), true),
            ("agent_session_stop.v0", json!({"ingress_hostname": "connect.example.org"}), false),
            (
                "agent_session_start.v0",
                json!({"conn": {"server_name": "a.example.net"}, "ingress_hostname": "b.org"}),
                false,
            ),
            ("domain_created.v0", json!({"domain": "a.example.net"}), true),
            ("tcp_address_created.v0", json!({"addr": "a.example.net:20000"}), true),
            ("tcp_address_created.v0", json!({"addr": "a.example.org:20000"}), false),
            ("order_placed.v0", json!({"domain": "a.example.net"}), false),
            ("order_placed.v0", json!({"conn": {"server_name": "a.example.net"}}), true),
        ] {
            let text = json!({"event_type": event_type, "object": object}).to_string();
            let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
            assert_eq!(Acl::new(&rules).check(&event, &text).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn an_account_is_stamped_where_none_stands_and_no_other_is_taken() {
        let (one, two) = (["bind:account:ac_1"], ["*", "bind:account:ac_1", "bind:account:ac_2"]);
        for (rules, account, stamped) in [
            (&one[..], json!("ac_1"), Ok(None)),
            (&one[..], Value::Null, Ok(Some("\"ac_1\""))),
            (&one[..], json!("ac_2"), Err(Denied::Account("`ac_1`".to_owned()))),
            (&one[..], json!("AC_1"), Err(Denied::Account("`ac_1`".to_owned()))),
            (&two[..], json!("ac_2"), Ok(None)),
            (&two[..], Value::Null, Err(Denied::Account("`ac_1` or `ac_2`".to_owned()))),
            (&["bind:*.example.net"][..], json!("ac_2"), Err(Denied::ByRules)),
        ] {
            let text =
                json!({"event_type": "t_x", "account_id": account, "object": {}}).to_string();
            let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
            assert_eq!(Acl::new(rules).check(&event, &text), stamped, "{rules:?} {text}");
        }
        let twice = r#"{"account_id":"ac_2","event_type":"t_x","account_id":"ac_1","object":{}}"#;
        let event = Event::parse(twice, Timestamp::MIN, || 0).unwrap();
        assert_eq!(Acl::new(&one).check(&event, twice), Err(Denied::Repeated("account_id")));
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
