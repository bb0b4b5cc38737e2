//! What filters ask of IP addresses and networks; see `filter/network.rs` for what these are.

use std::net::IpAddr;

use super::super::error::EvalError;
use super::super::network::{self, Cidr, parse_ip};
use super::super::value::Value;
use super::{Budget, Outcome, refuse};

/// The address that a text is.
pub(in super::super) fn read_ip(text: &str) -> Result<IpAddr, EvalError> {
    parse_ip(text).ok_or_else(|| EvalError::invalid("IP address", text))
}

fn read_cidr(text: &str) -> Result<Cidr, EvalError> {
    Cidr::parse(text).ok_or_else(|| EvalError::invalid("network such as 10.0.0.0/8", text))
}

pub(in super::super) fn ip<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => read_ip(text).map(Value::Ip),
        _ => refuse("ip", arguments),
    }
}

pub(in super::super) fn cidr<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => read_cidr(text).map(Value::Cidr),
        _ => refuse("cidr", arguments),
    }
}

pub(in super::super) fn is_ip<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => Ok(Value::Bool(parse_ip(text).is_some())),
        _ => refuse("isIP", arguments),
    }
}

pub(in super::super) fn is_cidr<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => Ok(Value::Bool(Cidr::parse(text).is_some())),
        _ => refuse("isCIDR", arguments),
    }
}

/// Whether an address is written as `string(ip)` writes it (RFC 5952).
pub(in super::super) fn is_canonical<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::String(text)] => Ok(Value::Bool(read_ip(text)?.to_string() == **text)),
        _ => refuse("ip.isCanonical", arguments),
    }
}

/// 4 or 6.
pub(in super::super) fn family<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Ip(address)] => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        _ => refuse("family", arguments),
    }
}

fn test<'a>(name: &'static str, arguments: &[Value<'a>], holds: fn(IpAddr) -> bool) -> Outcome<'a> {
    match arguments {
        [Value::Ip(address)] => Ok(Value::Bool(holds(*address))),
        _ => refuse(name, arguments),
    }
}

pub(in super::super) fn is_unspecified<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    test("isUnspecified", arguments, |address| address.is_unspecified())
}

pub(in super::super) fn is_loopback<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    test("isLoopback", arguments, |address| address.is_loopback())
}

pub(in super::super) fn is_global_unicast<'a>(
    arguments: &[Value<'a>],
    _: &mut Budget,
) -> Outcome<'a> {
    test("isGlobalUnicast", arguments, network::is_global_unicast)
}

pub(in super::super) fn is_link_local_multicast<'a>(
    arguments: &[Value<'a>],
    _: &mut Budget,
) -> Outcome<'a> {
    test("isLinkLocalMulticast", arguments, network::is_link_local_multicast)
}

pub(in super::super) fn is_link_local_unicast<'a>(
    arguments: &[Value<'a>],
    _: &mut Budget,
) -> Outcome<'a> {
    test("isLinkLocalUnicast", arguments, network::is_link_local_unicast)
}

pub(in super::super) fn contains_ip<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network), Value::Ip(address)] => Ok(Value::Bool(network.contains(*address))),
        [Value::Cidr(network), Value::String(text)] => {
            Ok(Value::Bool(network.contains(read_ip(text)?)))
        }
        _ => refuse("containsIP", arguments),
    }
}

pub(in super::super) fn contains_cidr<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network), Value::Cidr(other)] => {
            Ok(Value::Bool(network.contains_network(other)))
        }
        [Value::Cidr(network), Value::String(text)] => {
            Ok(Value::Bool(network.contains_network(&read_cidr(text)?)))
        }
        _ => refuse("containsCIDR", arguments),
    }
}

pub(in super::super) fn address<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network)] => Ok(Value::Ip(network.address())),
        _ => refuse("ip", arguments),
    }
}

pub(in super::super) fn masked<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network)] => Ok(Value::Cidr(network.masked())),
        _ => refuse("masked", arguments),
    }
}

/// Whether no bits after the network's are set.
pub(in super::super) fn is_mask<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network)] => Ok(Value::Bool(network.masked() == *network)),
        _ => refuse("isMask", arguments),
    }
}

pub(in super::super) fn prefix_length<'a>(arguments: &[Value<'a>], _: &mut Budget) -> Outcome<'a> {
    match arguments {
        [Value::Cidr(network)] => Ok(Value::Int(i64::from(network.prefix()))),
        _ => refuse("prefixLength", arguments),
    }
}
