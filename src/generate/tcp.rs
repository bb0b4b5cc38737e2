//! The objects of `tcp_connection_closed.v0`: connections to TCP, TLS and HTTP endpoints.

use super::earlier;
use super::http::write_logs;
use super::object::ObjectWriter;
use super::population::{Module, Population, Site, client_ip, family};
use super::random::Random;
use crate::event::Timestamp;

/// What a connection went to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Http,
    Tls,
    Tcp,
}

/// Writes the fields of one connection that ended at `now`.
pub(super) fn write(
    object: &mut ObjectWriter<'_, '_>,
    random: &mut Random,
    population: &Population,
    site: &Site,
    now: Timestamp,
) {
    let endpoint =
        *random.weighted(&[(50, Endpoint::Http), (20, Endpoint::Tls), (30, Endpoint::Tcp)]);
    let (host, port) = match endpoint {
        Endpoint::Tcp => {
            (format!("{}.tcp.example.net", site.index % 12), 10_000 + site.index % 20_000)
        }
        Endpoint::Http | Endpoint::Tls => (site.host.clone(), 443),
    };
    let lasted = u64::from(random.size(21)) * 1_000_000 + u64::from(random.below(1_000_000));
    object.number("conn.bytes_in", random.size(20));
    object.number("conn.bytes_out", random.size(26));
    object.text("conn.client_ip", &client_ip(random));
    object.time("conn.end_ts", now);
    object.text("conn.server_ip", &site.server_ip());
    object.text("conn.server_name", &host);
    object.number("conn.server_port", port);
    object.time("conn.start_ts", earlier(now, lasted));
    let checked = endpoint != Endpoint::Http && site.uses(Module::IpPolicy);
    let decision = match (checked, random.chance(6)) {
        (false, _) => "invalid",
        (true, true) => "block",
        (true, false) => "allow",
    };
    object.text("ip_policy.decision", decision);
    if endpoint != Endpoint::Tcp {
        let family = family(random);
        object.text("ja4_fingerprint", &population.ja4(random, family));
    }
    if site.uses(Module::TrafficPolicy) {
        write_logs(object.value("traffic_policy.logs"), random, population, site);
    }
}
