//! The kinds of resources and their fields: one table, from which requests are checked, answers are
//! written and the API is described.
//!
//! Names, limits and codes are those of ngrok's API. What a table cannot say stands in `rules`.

use std::sync::LazyLock;

use Presence::{Fixed, Optional, Ours, ReadOnly, Required};
use Shape::{
    Bytes, Certificate, Chars, Choice, Cidr, Flag, Hosts, LastUse, List, Owner, Ref, Refs, Rules,
    Sources, Target, Term, Time, Token,
};

use crate::form;
use crate::resources::Terms;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Sources on one side, destinations on the other.
    EventSubscription,
    /// Where events go.
    EventDestination,
    /// Opens this API.
    ApiKey,
    /// Owns keys in the name of a program. `/bot_users` is its older name.
    ServiceUser,
    /// Opens ingest, for the event types and hosts of its rules.
    Credential,
    /// A list of networks, allowed or denied.
    IpPolicy,
    /// One network of a policy.
    IpPolicyRule,
    /// Where policies are in force.
    IpRestriction,
    /// A fleet's own name for its agents' connections; kept, not acted on.
    AgentIngress,
    /// A fleet's domain; kept, not acted on.
    ReservedDomain,
    /// A fleet's TCP address; kept, not acted on.
    ReservedAddr,
}

/// What there is to know of a kind.
#[derive(Debug)]
pub struct Spec {
    pub kind: Kind,
    /// Its route, and the name of its rows in the store.
    pub path: &'static str,
    /// The key of the list in a list's answer.
    pub list_key: &'static str,
    /// What its ids begin with.
    pub prefix: &'static str,
    /// What a person calls it.
    pub noun: &'static str,
    /// What the types of its audit events begin with: ngrok's where it has any, else our own.
    pub event: &'static str,
    /// The code where an update names no value, if that is an error.
    pub empty_update: Option<&'static str>,
    /// Its fields besides `id`, `uri`, `created_at`, and what a form asks for.
    rows: &'static [Field],
}

/// A field of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    /// When it may be given.
    pub presence: Presence,
    /// What it is, for the API's description.
    pub about: &'static str,
}

/// When a field may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// On creation it must, later it may.
    Required(&'static str),
    /// It may, always.
    Optional,
    /// On creation it may, later it may not.
    Fixed,
    /// On creation it must, later it may not.
    FixedRequired(&'static str),
    /// Never: the daemon sets it.
    ReadOnly,
    /// It may, always, but is not kept: it asks for something to be done.
    Request,
    /// It may, always; one that ngrok does not have, for which null means the default.
    Ours,
}

/// What a field holds. The value kept is the one a request would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text of at most so many bytes; empty if not given.
    Bytes(usize),
    /// Text of at most so many characters; empty if not given.
    Chars(usize),
    /// True or false, and what it is if not given.
    Flag(bool),
    /// One of some words, the first if an optional one is not given; with the code of refusal.
    Choice(&'static [&'static str], &'static str),
    /// A list of texts.
    List(usize),
    /// The id of another resource, answered as `{id, uri}` under the second name.
    Ref(Kind, &'static str),
    /// Ids of other resources, answered as a list of `{id, uri}` under the second name.
    Refs(Kind, &'static str),
    Sources,
    Target,
    /// What a destination has beside its target, as its form says; null if not given.
    Term,
    /// An instant by RFC 3339; null if not given.
    Time,
    /// When it was last used; null if never.
    LastUse,
    /// A network.
    Cidr,
    /// A credential's rules.
    Rules,
    /// Names that a domain resolves to: a list of `{value}`.
    Hosts,
    /// The id of a TLS certificate, answered as `certificate`; certificates are no resources here.
    CertificateRef,
    /// How certificates are managed, with the kind of key if it is not given.
    Certificate(&'static str),
    /// The user or service user that owns it; who makes it if not given.
    Owner,
    /// The secret, shown once.
    Token,
    /// What is always null.
    Nothing,
}

impl Shape {
    /// The field's name in answers.
    #[must_use]
    pub fn answered_as<'n>(&self, name: &'n str) -> &'n str
    where
        'static: 'n,
    {
        match self {
            Ref(_, answered) | Refs(_, answered) => answered,
            Shape::CertificateRef => "certificate",
            _ => name,
        }
    }
}

/// Longest description (ngrok: 255 bytes).
const DESCRIPTION: usize = 255;
/// Longest metadata (ngrok: 4,096 bytes).
const METADATA: usize = 4_096;
/// Longest domain name (RFC 1035, section 2.3.4).
const DOMAIN: usize = 253;
/// Longest name of a service user; ngrok has a limit and does not say which (error 4110).
const NAME: usize = 255;
/// Most rules of a credential, most names that a domain resolves to; ngrok names no limit.
const ITEMS: usize = 1_000;

const fn field(name: &'static str, shape: Shape, presence: Presence, about: &'static str) -> Field {
    Field { name, shape, presence, about }
}

const DESCRIBED: Field =
    field("description", Bytes(DESCRIPTION), Optional, "Note for people, at most 255 bytes.");
const MARKED: Field =
    field("metadata", Bytes(METADATA), Optional, "Text for programs, at most 4096 bytes.");
const OWNED: Field = field("owner_id", Owner, Fixed, "The user or service user who owns it.");
const SECRET: Field =
    field("token", Token, ReadOnly, "The secret itself; null but in the answer that creates it.");
const ENABLED: Field = field("enabled", Flag(true), Ours, "Whether it opens anything.");
const EXPIRES: Field =
    field("expires_at", Time, Ours, "When it ceases to open anything, by RFC 3339; null is never.");
const USED: Field = field(
    "last_used_at",
    LastUse,
    ReadOnly,
    "When it last opened something; null if never. A killed daemon forgets the last minute.",
);
const REGIONS: &[&str] = &["us", "eu", "ap", "au", "sa", "jp", "in"];

/// All kinds, in the order in which `GET /` names them.
pub static KINDS: [Spec; 11] = [
    Spec {
        kind: Kind::EventSubscription,
        path: "event_subscriptions",
        list_key: "event_subscriptions",
        prefix: "esb",
        noun: "event subscription",
        event: "event_subscription",
        empty_update: None,
        rows: &[
            field(
                "metadata",
                Chars(METADATA),
                Optional,
                "Text for programs, at most 4096 characters.",
            ),
            field(
                "description",
                Chars(DESCRIPTION),
                Optional,
                "Note for people, at most 255 characters.",
            ),
            field(
                "sources",
                Sources,
                Optional,
                "Event types with filters and fields; without any nothing matches.",
            ),
            field(
                "destination_ids",
                Refs(Kind::EventDestination, "destinations"),
                Optional,
                "Where matching events go.",
            ),
            field("enabled", Flag(true), Ours, "Whether it takes anything."),
        ],
    },
    Spec {
        kind: Kind::EventDestination,
        path: "event_destinations",
        list_key: "event_destinations",
        prefix: "ed",
        noun: "event destination",
        event: "event_destination",
        empty_update: None,
        rows: &[
            MARKED,
            DESCRIBED,
            field(
                "format",
                Choice(&["json", "cloudevents"], "ERR_NGROK_235"),
                Required("ERR_NGROK_235"),
                "How events are written: `json`, or `cloudevents` (CloudEvents 1.0, structured).",
            ),
            field("target", Target, Required("ERR_NGROK_5100"), "The service and the place in it."),
            field(
                "verify_with_test_event",
                Flag(false),
                Presence::Request,
                "Send a test event first, and refuse if it fails.",
            ),
        ],
    },
    Spec {
        kind: Kind::ApiKey,
        path: "api_keys",
        list_key: "keys",
        prefix: "ak",
        noun: "API key",
        event: "api_key",
        empty_update: None,
        rows: &[DESCRIBED, MARKED, OWNED, SECRET, ENABLED, EXPIRES, USED],
    },
    Spec {
        kind: Kind::ServiceUser,
        path: "bot_users",
        list_key: "bot_users",
        prefix: "bot",
        noun: "service user",
        event: "service_user",
        empty_update: None,
        rows: &[
            field(
                "name",
                Bytes(NAME),
                Required("ERR_NGROK_4109"),
                "What it is called; no two have one name.",
            ),
            field("active", Flag(true), Optional, "Whether its keys open anything."),
        ],
    },
    Spec {
        kind: Kind::Credential,
        path: "credentials",
        list_key: "credentials",
        prefix: "cr",
        noun: "credential",
        event: "tunnel_credential",
        empty_update: Some("ERR_NGROK_606"),
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "acl",
                Rules,
                Optional,
                "What it may send: `*`, or `bind:` with an event type, a host (`*` as wildcard) or `account:` and an account's id; no rule is no limit.",
            ),
            OWNED,
            SECRET,
            ENABLED,
            EXPIRES,
            USED,
        ],
    },
    Spec {
        kind: Kind::IpPolicy,
        path: "ip_policies",
        list_key: "ip_policies",
        prefix: "ipp",
        noun: "IP policy",
        event: "ip_policy",
        empty_update: Some("ERR_NGROK_1400"),
        rows: &[DESCRIBED, MARKED],
    },
    Spec {
        kind: Kind::IpPolicyRule,
        path: "ip_policy_rules",
        list_key: "ip_policy_rules",
        prefix: "ipr",
        noun: "IP policy rule",
        event: "ip_policy_rule",
        empty_update: Some("ERR_NGROK_1401"),
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "cidr",
                Cidr,
                Required("ERR_NGROK_1405"),
                "The network, such as 203.0.113.0/24 or 2001:db8::/32.",
            ),
            field(
                "ip_policy_id",
                Ref(Kind::IpPolicy, "ip_policy"),
                Presence::FixedRequired("ERR_NGROK_1405"),
                "The policy that the rule is part of.",
            ),
            field(
                "action",
                Choice(&["allow", "deny"], "ERR_NGROK_1422"),
                Presence::FixedRequired("ERR_NGROK_1405"),
                "What happens to addresses of the network.",
            ),
        ],
    },
    Spec {
        kind: Kind::IpRestriction,
        path: "ip_restrictions",
        list_key: "ip_restrictions",
        prefix: "ipx",
        noun: "IP restriction",
        event: "ip_restriction",
        empty_update: None,
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "enforced",
                Flag(false),
                Optional,
                "Refuse what is not allowed; otherwise it is only counted and logged.",
            ),
            field(
                "type",
                Choice(&["dashboard", "api", "agent", "endpoints"], "ERR_NGROK_1803"),
                Presence::FixedRequired("ERR_NGROK_1803"),
                "What is restricted: `api` is this API, `endpoints` is ingest; the others are kept, with a warning.",
            ),
            field(
                "ip_policy_ids",
                Refs(Kind::IpPolicy, "ip_policies"),
                Required("ERR_NGROK_1804"),
                "The policies in force, at least one.",
            ),
        ],
    },
    Spec {
        kind: Kind::AgentIngress,
        path: "agent_ingresses",
        list_key: "ingresses",
        prefix: "agin",
        noun: "agent ingress",
        event: "agent_ingress",
        empty_update: None,
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "domain",
                Bytes(DOMAIN),
                Presence::FixedRequired("ERR_NGROK_215"),
                "The domain that agents connect to.",
            ),
            field("ns_targets", List(0), ReadOnly, "Name servers to delegate to; none here."),
            field("region_domains", List(0), ReadOnly, "Names by region; none here."),
            field(
                "certificate_management_policy",
                Certificate("rsa"),
                Optional,
                "How certificates would be managed.",
            ),
            field("certificate_management_status", Shape::Nothing, ReadOnly, "Always null."),
        ],
    },
    Spec {
        kind: Kind::ReservedDomain,
        path: "reserved_domains",
        list_key: "reserved_domains",
        prefix: "rd",
        noun: "reserved domain",
        event: "domain",
        empty_update: Some("ERR_NGROK_422"),
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "domain",
                Bytes(DOMAIN),
                Presence::FixedRequired("ERR_NGROK_215"),
                "The host name.",
            ),
            field(
                "region",
                Choice(&["", "us", "eu", "ap", "au", "sa", "jp", "in"], "ERR_NGROK_215"),
                Fixed,
                "A region's short code; often empty.",
            ),
            field("cname_target", Shape::Nothing, ReadOnly, "Always null."),
            field(
                "certificate_id",
                Shape::CertificateRef,
                Optional,
                "The id of a TLS certificate; kept as it is given.",
            ),
            field(
                "certificate_management_policy",
                Certificate("ecdsa"),
                Optional,
                "How certificates would be managed.",
            ),
            field("certificate_management_status", Shape::Nothing, ReadOnly, "Always null."),
            field("acme_challenge_cname_target", Shape::Nothing, ReadOnly, "Always null."),
            field(
                "resolves_to",
                Hosts,
                Optional,
                "What the name resolves to; an empty list takes all away.",
            ),
        ],
    },
    Spec {
        kind: Kind::ReservedAddr,
        path: "reserved_addrs",
        list_key: "reserved_addrs",
        prefix: "ra",
        noun: "reserved address",
        event: "tcp_address",
        empty_update: Some("ERR_NGROK_506"),
        rows: &[
            DESCRIBED,
            MARKED,
            field(
                "addr",
                Bytes(DOMAIN),
                ReadOnly,
                "Host and port, given by the daemon; nothing listens there.",
            ),
            field("region", Choice(REGIONS, "ERR_NGROK_500"), Fixed, "A region's short code."),
        ],
    },
];

impl Kind {
    /// The kind's row of the table.
    #[must_use]
    pub fn spec(self) -> &'static Spec {
        // The table has the order of the kinds; a test holds it to that.
        &KINDS[self as usize]
    }

    /// The kind that the store or a route calls so.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Kind> {
        KINDS.iter().find(|spec| spec.path == path).map(|spec| spec.kind)
    }
}

/// Those of a destination: what the form of its terms asks for stands behind its own.
static OF_DESTINATIONS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let rows = Kind::EventDestination.spec().rows;
    let terms = form::fields::<Terms>().into_iter();
    let terms = terms.filter(|it| rows.iter().all(|row| row.name != it.name));
    let terms = terms.map(|it| field(it.name, Term, Ours, it.about));
    rows.iter().copied().chain(terms).collect()
});

impl Spec {
    /// Its fields besides `id`, `uri` and `created_at`.
    #[must_use]
    pub fn fields(&self) -> &'static [Field] {
        match self.kind {
            Kind::EventDestination => &OF_DESTINATIONS,
            _ => self.rows,
        }
    }

    /// The field of a name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }
}

impl Presence {
    /// Whether a request may give it.
    #[must_use]
    pub fn given(self, on_create: bool) -> bool {
        match self {
            Required(_) | Optional | Ours | Presence::Request => true,
            Fixed | Presence::FixedRequired(_) => on_create,
            ReadOnly => false,
        }
    }
}

/// Most rules and names of a list.
pub(super) const MAX_ITEMS: usize = ITEMS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_kinds() {
        for spec in &KINDS {
            assert_eq!(spec.kind.spec().path, spec.path);
            assert_eq!(Kind::of_path(spec.path), Some(spec.kind));
        }
    }
}
