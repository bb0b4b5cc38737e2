//! Who is the client: the peer of the connection, or whom trusted proxies say they speak for.
//!
//! Nothing is believed unless the settings name the proxy. `Forwarded` (RFC 7239) is not read: a
//! proxy that sets only one of the two headers passes the other on as the client wrote it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Where trusted proxies write the addresses they were spoken to from, each at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address, as an extension of every request. IPv4 written as IPv6 is IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// The networks of the proxies whose `X-Forwarded-For` is believed; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Most networks: a cloud's load balancers have a few dozen, and each request looks at all.
    pub const MAX: usize = 256;

    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// A network such as `10.0.0.0/8`, or a single address. None for anything else, and for IPv4
    /// written as IPv6, which no address here is compared as.
    #[must_use]
    pub fn network(text: &str) -> Option<IpNet> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        let mapped = match network {
            IpNet::V4(_) => false,
            IpNet::V6(network) => network.addr().to_ipv4_mapped().is_some(),
        };
        (!mapped).then_some(network)
    }

    /// The client of a request that came from `peer`: the right-most address of
    /// `X-Forwarded-For` that is no trusted proxy's, as far as every hop from the peer on is one.
    /// What cannot be read ends the walk at the last address before it.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return ClientAddress(client);
        }
        // Several lines are one list, in their order (RFC 9110, section 5.3).
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
                let Some(address) = address(hop) else { return ClientAddress(client) };
                client = address;
                if !self.trusts(client) {
                    return ClientAddress(client);
                }
            }
        }
        ClientAddress(client)
    }

    /// Whether an address is a trusted proxy's.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The client where 10.0.0.0/8, 192.0.2.1 and fd00::/8 are trusted.
    fn client(peer: &str, lines: &[&[u8]]) -> String {
        let networks = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"];
        let proxies =
            TrustedProxies::new(networks.map(|it| TrustedProxies::network(it).unwrap()).to_vec());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_hop_by_hop() {
        let cases: [(&str, &[&[u8]], &str); 19] = [
            // From elsewhere the header is nobody's word.
            ("203.0.113.9", &[b"198.51.100.1"], "203.0.113.9"),
            ("192.0.2.2", &[b"198.51.100.1"], "192.0.2.2"),
            ("::1", &[b"198.51.100.1"], "::1"),
            // One proxy, several, and what the client itself wrote before them.
            ("10.1.2.3", &[b"198.51.100.1"], "198.51.100.1"),
            ("192.0.2.1", &[b"198.51.100.1, 10.9.9.9,10.8.8.8"], "198.51.100.1"),
            ("10.1.2.3", &[b"6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &[b"10.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            // Several lines are one list.
            ("10.1.2.3", &[b"6.6.6.6", b"198.51.100.1", b"10.9.9.9"], "198.51.100.1"),
            // Nothing but proxies: the farthest of them.
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &[b"10.4.4.4, 10.5.5.5"], "10.4.4.4"),
            // What cannot be read ends the walk.
            ("10.1.2.3", &[b""], "10.1.2.3"),
            ("10.1.2.3", &[b"unknown"], "10.1.2.3"),
            ("10.1.2.3", &[b"198.51.100.1, _hidden, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &[b"198.51.100.1,, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &[b"198.51.100.1, \xff"], "10.1.2.3"),
            // Ports, brackets, IPv6, and IPv4 written as IPv6.
            ("10.1.2.3", &[b"198.51.100.1:4711"], "198.51.100.1"),
            ("fd00::1", &[b"[2001:db8::1]:4711, [fd00::2]"], "2001:db8::1"),
            ("::ffff:10.1.2.3", &[b"::ffff:198.51.100.1"], "198.51.100.1"),
            ("::ffff:203.0.113.9", &[b"198.51.100.1"], "203.0.113.9"),
        ];
        for (peer, lines, expected) in cases {
            let shown: Vec<_> = lines.iter().map(|it| String::from_utf8_lossy(it)).collect();
            assert_eq!(client(peer, lines), expected, "{peer} {shown:?}");
        }
    }

    #[test]
    fn without_settings_nobody_is_trusted() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(TrustedProxies::default().client(peer, &headers), ClientAddress(peer));
    }

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix_length() {
        for (text, network) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("::1", Some("::1/128")),
            ("::ffff:10.0.0.0/104", None),
            ("10.0.0.0/33", None),
            ("10.0.0", None),
            ("proxy.internal", None),
            ("", None),
        ] {
            let read = TrustedProxies::network(text).map(|it| it.to_string());
            assert_eq!(read.as_deref(), network, "{text}");
        }
    }
}
