//! IP addresses and networks: their text, and what kind of address one is.
//!
//! An IPv4-mapped IPv6 address is the IPv4 address, in hexadecimal (`::ffff:a01:203`) and dotted
//! (`::ffff:10.1.2.3`): sockets of both families report IPv4 clients so, and a network must contain
//! them. cel-go refuses the dotted form; that is the one difference from it here. What filters call
//! stands in `functions/network.rs`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address as written, and how many leading bits are the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Longest text of an address or a network, in bytes: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128` has
/// 49. What is longer is neither, and is not read: whoever asks pays for no length.
const MAX_TEXT: usize = 64;

/// Reads an address without a zone.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    let text = Some(text).filter(|it| it.len() <= MAX_TEXT)?;
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Whether an address is routed between networks, private ones included.
pub(super) fn is_global_unicast(address: IpAddr) -> bool {
    address != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local_unicast(address)
}

pub(super) fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

pub(super) fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

impl Cidr {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`; bits after the network's may be set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Cidr> {
        let (address, prefix) = Some(text).filter(|it| it.len() <= MAX_TEXT)?.split_once('/')?;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || (prefix.len() > 1 && prefix.starts_with('0')) {
            return None;
        }
        let mut prefix = prefix.parse::<u8>().ok()?;
        let is_v6 = address.contains(':');
        let address = parse_ip(address)?;
        if is_v6 && address.is_ipv4() {
            // Mapped: the first 96 bits say so.
            prefix = prefix.checked_sub(96)?;
        }
        (prefix <= width(address)).then_some(Cidr { address, prefix })
    }

    /// The address as it was written.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits are the network's.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u64::from(network.to_bits() ^ address.to_bits());
                differing >> (32 - self.prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether all addresses of another network belong to this one.
    #[must_use]
    pub fn contains_network(&self, other: &Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// The network with the bits after its own cleared.
    #[must_use]
    pub fn masked(&self) -> Cidr {
        let prefix = u32::from(self.prefix);
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Cidr { address, ..*self }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_refused() {
        for (text, written) in [
            ("10.1.2.3/8", Some("10.1.2.3/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("2001:DB8::/32", Some("2001:db8::/32")),
            ("::ffff:a00:0/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::FFFF:10.1.2.3/128", Some("10.1.2.3/32")),
            ("::ffff:10.0.0.0/95", None),
            ("::ffff:10.0.0/104", None),
            ("::ffff:010.0.0.0/104", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/08", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0.0.0", None),
            ("010.0.0.0/8", None),
            ("fe80::1%en0/24", None),
        ] {
            let found = Cidr::parse(text).map(|network| network.to_string());
            assert_eq!(found.as_deref(), written, "{text}");
        }
    }

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        for (network, address, contained) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("::/0", "ff::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::1/128", "::1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:a01:203", true),
            ("10.0.0.0/8", "0:0:0:0:0:ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:11.1.2.3", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::/0", "::ffff:10.1.2.3", false),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("10.0.0.0/8", "64:ff9b::10.1.2.3", false),
        ] {
            let network = Cidr::parse(network).unwrap();
            assert_eq!(network.contains(parse_ip(address).unwrap()), contained, "{network}");
            assert!(network.contains(network.masked().address()));
        }
    }
}
