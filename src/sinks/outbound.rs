//! Where targets that were made through the API may connect: public addresses, and what the operator
//! names; never this daemon's own listeners.
//!
//! Looks at URLs when they are saved and at addresses when they are connected to; `transport.rs`
//! connects. Who may be asked, and as whom, is in `bounds.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use axum::http::uri::Authority;
use hyper::Uri;
use ipnet::IpNet;

use super::address::{is_public, reached};

/// The hosts and networks that an operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    networks: Vec<IpNet>,
    /// In lower case.
    hosts: Vec<Box<str>>,
    /// Hosts that may be reached without TLS, and are allowed nothing else by that.
    plain_http: Vec<Box<str>>,
    /// The addresses of this daemon's listeners.
    own: Vec<SocketAddr>,
}

impl Outbound {
    /// Most entries of each list: far more than anybody runs such receivers.
    pub const MAX: usize = 256;

    /// Allows this machine, beside what is public.
    #[must_use]
    pub fn loopback() -> Outbound {
        let networks = [
            IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8),
            IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
        ];
        Outbound { networks: networks.to_vec(), ..Outbound::default() }
    }

    /// Allows a network (`10.1.0.0/16`), an address or a host; gives false for anything else.
    pub fn allow(&mut self, text: &str) -> bool {
        let address = bare(text).parse::<IpAddr>().ok().map(IpNet::from);
        match (text.parse().ok().or(address), host_name(text)) {
            (Some(network), _) => self.networks.push(network),
            (None, Some(host)) => self.hosts.push(host),
            (None, None) => return false,
        }
        true
    }

    /// Lets targets, whoever made them, reach a host without TLS; gives false for what is no host.
    pub fn allow_plain_http(&mut self, text: &str) -> bool {
        self.plain_http.extend(host_name(text));
        host_name(text).is_some()
    }

    /// Names this daemon's own listeners, in place of those named before.
    pub fn set_own(&mut self, listeners: Vec<SocketAddr>) {
        // A port that is still to be chosen is none that anybody can be sent to.
        self.own = listeners.into_iter().filter(|it| it.port() != 0).collect();
    }

    /// The ports of this daemon's own listeners.
    pub(super) fn own_ports(&self) -> impl Iterator<Item = u16> {
        self.own.iter().map(SocketAddr::port)
    }

    /// Whether a host is allowed by its name, whatever its address is.
    pub(super) fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|it| it.eq_ignore_ascii_case(host))
    }

    /// Refuses a URL for what it says itself. Names are looked up when they are connected to.
    ///
    /// # Errors
    /// When it is plain http to a host that is not allowed, or names an address that is not.
    pub fn check(&self, url: &Uri) -> Result<(), Barred> {
        self.check_plain_http(url)?;
        let host = url.host().unwrap_or_default();
        let https = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        match bare(host).parse() {
            Ok(address) => self.check_address(host, address, port),
            Err(_) => Ok(()),
        }
    }

    /// Refuses plain http but to this machine and to allowed hosts, whoever made the target.
    ///
    /// # Errors
    /// When it is that.
    pub fn check_plain_http(&self, url: &Uri) -> Result<(), Barred> {
        let host = url.host().unwrap_or_default();
        let allowed = match bare(host).parse::<IpAddr>() {
            Ok(address) => reached(address).is_loopback() || self.has(address),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        };
        let listed = || self.plain_http.iter().any(|it| it.eq_ignore_ascii_case(host));
        if url.scheme_str() == Some("http") && !allowed && !self.names(host) && !listed() {
            return Err(Barred::PlainHttp);
        }
        Ok(())
    }

    /// Refuses an address that a host has.
    ///
    /// # Errors
    /// When it is neither public nor allowed, or is that of a listener of this daemon.
    pub(super) fn check_address(
        &self,
        host: &str,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Barred> {
        if self.own.iter().any(|own| own.port() == port && leads_to(address, own.ip())) {
            return Err(Barred::Own { host: host.into(), port });
        }
        if is_public(address) || self.has(address) || self.names(host) {
            return Ok(());
        }
        Err(Barred::Address { host: host.into(), address })
    }

    fn has(&self, address: IpAddr) -> bool {
        let inner = reached(address);
        self.networks.iter().any(|it| it.contains(&address) || it.contains(&inner))
    }
}

/// Whether who connects to an address may come out at a listener that is bound to another.
fn leads_to(address: IpAddr, listener: IpAddr) -> bool {
    let (address, listener) = (reached(address), reached(listener));
    if address == listener || address.is_unspecified() {
        return true;
    }
    listener.is_unspecified() && is_this_machine(address)
}

/// Whether an address is this machine's: the system lets nobody listen on another's.
fn is_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host)
}

/// The name or address of a host, without scheme or port, in lower case.
fn host_name(text: &str) -> Option<Box<str>> {
    let authority: Authority = text.parse().ok()?;
    (authority.host() == text).then(|| text.to_ascii_lowercase().into())
}

/// Why a target may not be, or may not connect. Its `Display` is for who made the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// An address that is neither public nor allowed.
    #[error(
        "`{host}`{} is no public address, and targets made through the API may reach others only if `outbound.allow` in the settings file lists the host or its network", resolved(.host, *.address)
    )]
    Address {
        host: Box<str>,
        /// What the host is.
        address: IpAddr,
    },
    /// A listener of this daemon, to which events would come back.
    #[error("`{host}`, port {port}, is a listener of this daemon: events would come back to it")]
    Own { host: Box<str>, port: u16 },
    /// No TLS.
    #[error(
        "must be https: plain http is only for this machine, and for what `outbound.allow` in the settings file lists"
    )]
    PlainHttp,
    /// An endpoint in place of AWS's own.
    #[error(
        "`endpoint_url` may be given through the API only if the settings file says `control: {{ api_targets: {{ endpoint_url: true }} }}`"
    )]
    EndpointUrl,
    /// The daemon's own identity at AWS.
    #[error(
        "the target names neither a role nor keys, and may use the AWS identity of this daemon only if the settings file says `control: {{ api_targets: {{ default_credentials: true }} }}`"
    )]
    DefaultCredentials,
    /// Another external id than this installation's.
    #[error(
        "`external_id` must be left out or be `{own}`: roles named through the API are always assumed with the external id of this installation"
    )]
    ExternalId { own: Box<str> },
}

/// What a name was found to be; nothing for what is an address itself.
fn resolved(host: &str, address: IpAddr) -> String {
    match bare(host).parse::<IpAddr>() {
        Ok(_) => String::new(),
        Err(_) => format!(", which is {address},"),
    }
}

impl Barred {
    /// The stable code of the condition.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Barred::Address { .. } => "ERR_SLUICEGATE_1320",
            Barred::Own { .. } => "ERR_SLUICEGATE_1321",
            Barred::EndpointUrl => "ERR_SLUICEGATE_1322",
            Barred::DefaultCredentials => "ERR_SLUICEGATE_1323",
            Barred::ExternalId { .. } => "ERR_SLUICEGATE_1324",
            Barred::PlainHttp => "ERR_NGROK_236",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(entries: &[&str]) -> Outbound {
        let mut outbound = Outbound::default();
        for entry in entries {
            assert!(outbound.allow(entry), "{entry}");
        }
        outbound
    }

    fn code(outbound: &Outbound, url: &str) -> Option<&'static str> {
        outbound.check(&url.parse().unwrap()).err().map(|it| it.code())
    }

    #[test]
    fn what_is_allowed_is_a_network_an_address_or_a_host_and_nothing_else() {
        let _all = allowing(&["10.0.0.0/8", "fd00::/8", "10.1.2.3", "fd00::1", "[fd00::2]"]);
        let _hosts = allowing(&["hooks", "hooks.internal.example"]);
        for text in ["10.0.0.0/33", "hooks:80", "http://hooks", "a@hooks", "hooks/x", "", "a b"] {
            assert!(!Outbound::default().allow(text), "{text}");
            assert!(!Outbound::default().allow_plain_http(text), "{text}");
        }
    }

    #[test]
    fn urls_of_private_addresses_are_refused_in_every_form_unless_allowed() {
        let strict = Outbound::default();
        for url in [
            "https://127.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:10.0.0.1]:8443/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[fd00:ec2::254]/",
        ] {
            assert_eq!(code(&strict, url), Some("ERR_SLUICEGATE_1320"), "{url}");
        }
        assert_eq!(code(&strict, "https://8.8.8.8/"), None);
        assert_eq!(code(&strict, "https://hooks.example/"), None, "names are looked up later");
        let some = allowing(&["10.0.0.0/8", "169.254.169.254"]);
        assert_eq!(code(&some, "https://[::ffff:10.0.0.1]:8443/"), None);
        assert_eq!(code(&some, "https://169.254.169.254/"), None);
        assert_eq!(code(&some, "https://127.0.0.1/"), Some("ERR_SLUICEGATE_1320"));
        assert_eq!(code(&Outbound::loopback(), "http://[::ffff:127.0.0.2]/"), None);
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_what_is_listed() {
        let mut outbound = allowing(&["10.0.0.0/8", "Hooks.internal"]);
        assert!(outbound.allow_plain_http("Old.internal"));
        let plain = |url: &str| outbound.check_plain_http(&url.parse().unwrap()).is_ok();
        for url in [
            "http://localhost:9000/events",
            "http://LOCALHOST/",
            "http://127.8.8.8/",
            "http://[::1]:9000/",
            "http://[::ffff:127.0.0.1]/",
            "http://10.0.0.1/",
            "http://hooks.internal:9000/x",
            "http://OLD.internal",
            "https://anything.example/",
        ] {
            assert!(plain(url), "{url}");
        }
        for url in [
            "http://example.com/",
            "http://localhost.example.com/",
            "http://hooks.internal.example.com/",
            "http://127.1/",
            "http://192.168.0.1/",
            "http://[2001:db8::1]/",
        ] {
            assert!(!plain(url), "{url}");
        }
    }

    #[test]
    fn the_daemons_own_listeners_are_never_reached_whatever_is_allowed() {
        let mut outbound = allowing(&["0.0.0.0/0", "::/0", "me.internal"]);
        outbound.set_own(vec!["127.0.0.1:4180".parse().unwrap(), "[::]:4181".parse().unwrap()]);
        let check = |address: &str, port| {
            let checked = outbound.check_address("me.internal", address.parse().unwrap(), port);
            checked.err().map(|it| it.code())
        };
        let own = Some("ERR_SLUICEGATE_1321");
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::", "64:ff9b::7f00:1"] {
            assert_eq!(check(address, 4180), own, "{address}");
        }
        // A listener on all addresses is reached by each of this machine's.
        for address in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"] {
            assert_eq!(check(address, 4181), own, "{address}");
        }
        assert_eq!(check("127.0.0.2", 4180), None);
        assert_eq!(check("127.0.0.1", 4182), None);
        assert_eq!(check("192.0.2.1", 4181), None, "not this machine's");
    }
}
