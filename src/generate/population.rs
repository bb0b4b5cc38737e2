//! Who takes part in generated events: accounts, sites, people and clients.
//!
//! All of them follow from the seed alone, so they stay the same through a run and across event
//! types. Names and addresses come from the ranges that are kept free for documentation (RFC 2606,
//! RFC 5737, RFC 3849), so that no event ever points at somebody.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::random::{Random, hash, scatter};
use crate::event::{Timestamp, ksuid};

const ACCOUNTS: usize = 8;
const SITES: u32 = 4_096;
const PEOPLE: u32 = 400;

/// 2021-01-01, the earliest moment at which a member of the population was made.
const FOUNDED: i64 = 1_609_459_200;
/// Three years, in which all of them were made.
const FOUNDING: u64 = 3 * 365 * 86_400;

/// Regions by their short codes.
pub(super) const REGIONS: [&str; 7] = ["us", "eu", "ap", "au", "sa", "jp", "in"];

const SERVICES: [&str; 24] = [
    "shop",
    "checkout",
    "orders",
    "billing",
    "catalog",
    "search",
    "media",
    "docs",
    "login",
    "status",
    "api",
    "gateway",
    "devices",
    "telemetry",
    "hooks",
    "reports",
    "mail",
    "chat",
    "maps",
    "tickets",
    "staging",
    "preview",
    "internal",
    "demo",
];
const GIVEN_NAMES: [&str; 20] = [
    "Ada", "Grace", "Zoë", "Søren", "Müge", "José", "Anaïs", "Łukasz", "Noor", "Kwame", "Yuki",
    "Priya", "Olga", "Mateo", "Ines", "Tariq", "Linh", "Björn", "Chidi", "美咲",
];

/// The population of a seed.
pub(super) struct Population {
    seed: u64,
    accounts: Vec<String>,
}

/// What an endpoint may have switched on.
#[derive(Clone, Copy)]
pub(super) enum Module {
    BasicAuth,
    CircuitBreaker,
    Compression,
    IpPolicy,
    OAuth,
    MutualTls,
    TrafficPolicy,
    WebhookVerification,
}

/// An endpoint with its host name.
pub(super) struct Site {
    pub(super) index: u32,
    pub(super) host: String,
    bits: u64,
}

/// Somebody or some program that changes things.
pub(super) struct Person {
    pub(super) index: u32,
    pub(super) id: String,
    /// An e-mail address, or a service user's name.
    pub(super) subject: String,
    pub(super) is_service: bool,
}

impl Population {
    pub(super) fn new(seed: u64) -> Population {
        let mut population = Population { seed, accounts: Vec::new() };
        population.accounts =
            (0..ACCOUNTS as u32).map(|index| population.id("ac", index)).collect();
        population
    }

    /// Bits that belong to a member for good.
    pub(super) fn bits(&self, kind: &str, index: u32) -> u64 {
        scatter(scatter(self.seed ^ hash(kind)).wrapping_add(u64::from(index)))
    }

    /// The id of a member: the prefix and a KSUID.
    pub(super) fn id(&self, prefix: &str, index: u32) -> String {
        let high = self.bits(prefix, index);
        let low = scatter(high);
        let founded = FOUNDED + (low % FOUNDING) as i64;
        let random = (u128::from(high) << 64) | u128::from(low);
        ksuid(prefix, Timestamp { seconds: founded, nanos: 0 }, random)
    }

    /// The account that owns a member.
    pub(super) fn account_of(&self, index: u32) -> &str {
        &self.accounts[index as usize % ACCOUNTS]
    }

    /// Some site; a few have most of the traffic.
    pub(super) fn site(&self, random: &mut Random) -> Site {
        let index = random.skewed(SITES);
        let bits = self.bits("site", index);
        let service = SERVICES[(bits >> 32) as usize % SERVICES.len()];
        let region = REGIONS[(bits >> 48) as usize % REGIONS.len()];
        Site { index, host: format!("{service}-{index}.{region}.example.net"), bits }
    }

    pub(super) fn person(&self, random: &mut Random) -> Person {
        let index = random.skewed(PEOPLE);
        let is_service = index % 5 == 2;
        let (prefix, subject) = if is_service {
            ("bot", format!("deploy-bot-{index}"))
        } else {
            ("usr", format!("user{index}@example.net"))
        };
        Person { index, id: self.id(prefix, index), subject, is_service }
    }

    /// A person's name as an identity provider has it.
    pub(super) fn full_name(&self, index: u32) -> String {
        let bits = self.bits("name", index);
        let given = GIVEN_NAMES[(bits >> 40) as usize % GIVEN_NAMES.len()];
        let initial = char::from(b'A' + (bits % 26) as u8);
        format!("{given} {initial}.")
    }

    /// The fingerprint of a TLS hello: one of the few that clients of a family have.
    pub(super) fn ja4(&self, random: &mut Random, family: &Family) -> String {
        let index = random.below(8);
        let bits = self.bits(family.hello, index);
        let ciphers = bits >> 16;
        let extensions = scatter(bits) >> 16;
        format!("{}_{ciphers:012x}_{extensions:012x}", family.hello)
    }
}

impl Site {
    /// Whether the site has a module switched on.
    pub(super) fn uses(&self, module: Module) -> bool {
        let share = match module {
            Module::BasicAuth => 24,
            Module::CircuitBreaker => 64,
            Module::Compression => 150,
            Module::IpPolicy => 110,
            Module::OAuth => 40,
            Module::MutualTls => 14,
            Module::TrafficPolicy => 70,
            Module::WebhookVerification => 20,
        };
        !self.is_bare() && scatter(self.bits ^ module as u64) % 256 < share
    }

    /// Whether the site is one of the few that have no module at all, not even one switched off.
    pub(super) fn is_bare(&self) -> bool {
        self.index % 16 == 7
    }

    /// The address that the site's connections arrive at.
    pub(super) fn server_ip(&self) -> String {
        Ipv4Addr::new(198, 51, 100, (self.bits % 250) as u8 + 1).to_string()
    }
}

/// Programs of one kind that make connections.
pub(super) struct Family {
    /// A template of what they call themselves.
    pub(super) agent: &'static str,
    /// The readable first part of their JA4 fingerprint.
    hello: &'static str,
    /// What they accept.
    pub(super) accept: &'static str,
}

/// A family at random; browsers are the most common.
pub(super) fn family(random: &mut Random) -> &'static Family {
    random.weighted(&FAMILIES)
}

const FAMILIES: [(u32, Family); 11] = [
    (
        24,
        Family {
            agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/13#.0.0.0 Safari/537.36",
            hello: "t13d1516h2",
            accept: "text/html,*/*;q=0.8",
        },
    ),
    (
        12,
        Family {
            agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.# Safari/605.1.15",
            hello: "t13d2014h2",
            accept: "text/html,*/*;q=0.8",
        },
    ),
    (
        12,
        Family {
            agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_# like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.# Mobile/15E148 Safari/604.1",
            hello: "t13d2014h2",
            accept: "text/html,*/*;q=0.8",
        },
    ),
    (
        8,
        Family {
            agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/14#.0",
            hello: "t13d1717h2",
            accept: "text/html,*/*;q=0.8",
        },
    ),
    (10, Family { agent: "okhttp/4.1#.#", hello: "t13d1613h2", accept: "application/json" }),
    (8, Family { agent: "python-requests/2.3#.#", hello: "t13d1812h1", accept: "*/*" }),
    (8, Family { agent: "Go-http-client/2.0", hello: "t13d1910h2", accept: "application/json" }),
    (8, Family { agent: "curl/8.1#.#", hello: "t13d3112h2", accept: "*/*" }),
    (6, Family { agent: "order-sync/2.#.## (node-####)", hello: "t12d1209h1", accept: "*/*" }),
    (
        2,
        Family {
            agent: "field-probe/1.# \"unit ##\" (C:\\probes\\bin)",
            hello: "t12d0908h1",
            accept: "text/plain",
        },
    ),
    (
        2,
        Family {
            agent: "Café-Kiosk/3.# (Zürich; 東京; 🚲 ##)",
            hello: "t13d1411h2",
            accept: "application/json",
        },
    ),
];

/// A client's address: of the last two documentation networks of IPv4, or somewhere in that of IPv6.
pub(super) fn client_ip(random: &mut Random) -> String {
    if random.chance(60) {
        let (a, b, c) = random.pick(&[(203, 0, 113), (192, 0, 2)]);
        return Ipv4Addr::new(a, b, c, random.between(1, 254) as u8).to_string();
    }
    let network = (0x2001_0DB8 << 32) | u64::from(random.bits() as u32);
    let address = (u128::from(network) << 64) | u128::from(random.bits());
    Ipv6Addr::from_bits(address).to_string()
}

/// Bytes of a serial number in hexadecimal, joined by colons.
pub(super) fn serial_number(random: &mut Random, length: usize) -> String {
    let mut serial = String::with_capacity(length * 3);
    for at in 0..length {
        let separator = if at == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(serial, "{separator}{:02x}", random.below(256));
    }
    serial
}
