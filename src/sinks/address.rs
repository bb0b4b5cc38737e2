//! What kind of address an IP address is: public, or of a network that is nobody's business outside.
//!
//! By IANA's registries of special addresses of 2026. Allows and refuses nothing: `outbound.rs` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not public (IANA IPv4 Special-Purpose Address Registry, and multicast).
const NOT_PUBLIC_V4: [Ipv4Net; 18] = [
    net4([0, 0, 0, 0], 8),
    net4([10, 0, 0, 0], 8),
    net4([100, 64, 0, 0], 10),
    net4([127, 0, 0, 0], 8),
    net4([169, 254, 0, 0], 16),
    net4([172, 16, 0, 0], 12),
    net4([192, 0, 0, 0], 24),
    net4([192, 0, 2, 0], 24),
    net4([192, 31, 196, 0], 24),
    net4([192, 52, 193, 0], 24),
    net4([192, 88, 99, 0], 24),
    net4([192, 168, 0, 0], 16),
    net4([192, 175, 48, 0], 24),
    net4([198, 18, 0, 0], 15),
    net4([198, 51, 100, 0], 24),
    net4([203, 0, 113, 0], 24),
    net4([224, 0, 0, 0], 3),
    // Looks public, and is where each machine of Azure has its host's metadata and keys.
    net4([168, 63, 129, 16], 32),
];

/// The one part of IPv6 that is given out to the public (RFC 4291, section 2.4).
const GLOBAL_UNICAST: Ipv6Net = net6([0x2000, 0, 0], 3);

/// What of it is not public: protocol assignments with Teredo, documentation twice, and AS112.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    net6([0x2001, 0, 0], 23),
    net6([0x2001, 0xdb8, 0], 32),
    net6([0x3fff, 0, 0], 20),
    net6([0x2620, 0x4f, 0x8000], 48),
];

/// Where translators reach IPv4 (RFC 6052), the last 32 bits being the address there.
const NAT64: Ipv6Net = net6([0x64, 0xff9b, 0], 96);
/// Where 6to4 reaches IPv4 (RFC 3056), the 32 bits behind being the address there.
const SIX_TO_FOUR: Ipv6Net = net6([0x2002, 0, 0], 16);
/// IPv4 written as IPv6: mapped, translated (RFC 2765) and the old compatible form.
const IN_LAST_BITS: [Ipv6Net; 4] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96),
    NAT64,
];

const fn net4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn net6([a, b, c]: [u16; 3], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The address that packets reach in the end: IPv4 where an IPv6 address only carries one.
pub(super) fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(outer) = address else { return address };
    let of_bytes = |at: usize| {
        let bytes = outer.octets();
        IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    if outer.is_unspecified() || outer.is_loopback() {
        address
    } else if IN_LAST_BITS.iter().any(|network| network.contains(&outer)) {
        of_bytes(12)
    } else if SIX_TO_FOUR.contains(&outer) {
        of_bytes(2)
    } else {
        address
    }
}

/// Whether an address is one of the open internet, whoever asks.
pub(super) fn is_public(address: IpAddr) -> bool {
    match reached(address) {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_UNICAST.contains(&address)
                && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_open_internet_are_public_in_every_form() {
        for text in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(public(text), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_known_in_every_form() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }
}
