//! Which way a request goes: straight to its host, or through the proxy that the environment names.
//!
//! Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or their lower-case forms, once a
//! process. Speaks to no proxy: `transport.rs` does.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Variables that may name a place that hands out credentials, which no proxy may see.
const CREDENTIAL_PLACES: [&str; 2] =
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];

/// A proxy of the environment. Its URL may hold a password, so only its address is shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// With user name and password, if there are any.
    pub(super) url: String,
    address: String,
}

impl Proxy {
    /// Reads a proxy as environment variables give it: `http://proxy.example:3128`, with or without
    /// scheme, user name and password.
    fn parse(variable: &str, value: &str) -> Result<Proxy, String> {
        let matcher = Matcher::builder().all(value).build();
        let found = matcher.intercept(&Uri::from_static("http://host.example/"));
        let usable = found.filter(|it| matches!(it.uri().scheme_str(), Some("http" | "https")));
        let authority = value.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
        let (Some(usable), Some(authority)) = (usable, authority) else {
            // The value may hold a password, so it is not shown.
            return Err(format!(
                "the environment variable `{variable}` is not the URL of an HTTP proxy, such as \
                 `http://proxy.example:3128`: correct it, or remove it"
            ));
        };
        let scheme = usable.uri().scheme_str().unwrap_or("http");
        Ok(Proxy {
            url: format!("{scheme}://{authority}"),
            address: usable.uri().to_string().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Straight to it.
    Direct,
    /// Through a proxy.
    Through(Proxy),
    /// Nowhere: what the environment says is no proxy, and going straight is not what was asked for.
    Blocked(String),
}

/// For the operator: `directly`, `through the proxy …`.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Direct => f.write_str("directly"),
            Way::Through(proxy) => write!(f, "through the proxy {proxy}"),
            Way::Blocked(reason) => write!(f, "nowhere: {reason}"),
        }
    }
}

/// What the environment says of proxies.
pub(super) struct Rules {
    /// For `http` and for `https` destinations.
    pub(super) http: Option<Result<Proxy, String>>,
    pub(super) https: Option<Result<Proxy, String>>,
    /// Hosts that are reached directly; with a port, only at that port.
    exceptions: Vec<(Option<u16>, Matcher)>,
}

/// The rules of this process's environment.
pub(super) static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::new(|name| std::env::var(name).ok()));

impl Rules {
    /// Reads the rules from an environment.
    pub(super) fn new(environment: impl Fn(&str) -> Option<String>) -> Rules {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| {
                let value = environment(name)?.trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            })
        };
        let proxy =
            |names: &[&'static str]| first(names).map(|(name, value)| Proxy::parse(name, &value));
        let listed = first(&["NO_PROXY", "no_proxy"]).map_or(String::new(), |(_, value)| value);
        let mut plain = Vec::new();
        let mut exceptions = Vec::new();
        for entry in listed.split(|c: char| c == ',' || c.is_whitespace()) {
            match exception(entry) {
                (host, None) => plain.push(host),
                (host, port) => exceptions.push((port, except(host))),
            }
        }
        exceptions.push((None, except(&plain.join(","))));
        for place in CREDENTIAL_PLACES {
            let uri = environment(place).and_then(|it| it.parse::<Uri>().ok());
            if let Some(host) = uri.as_ref().and_then(Uri::host) {
                exceptions.push((None, except(&canonical(host))));
            }
        }
        Rules {
            http: proxy(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: proxy(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            exceptions,
        }
    }

    /// Whether any proxy is named.
    pub(super) fn any(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// The way to the host of a URL.
    pub(super) fn way(&self, to: &Uri) -> Way {
        let https = to.scheme_str() == Some("https");
        let (proxy, port) = if https { (&self.https, 443) } else { (&self.http, 80) };
        let (Some(proxy), Some(host)) = (proxy, to.host()) else { return Way::Direct };
        let host = canonical(host);
        if is_local(&host) || self.excepts(&host, to.port_u16().unwrap_or(port)) {
            return Way::Direct;
        }
        match proxy {
            Ok(proxy) => Way::Through(proxy.clone()),
            Err(reason) => Way::Blocked(reason.clone()),
        }
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let Ok(uri) = format!("http://{bracketed}/").parse::<Uri>() else { return false };
        self.exceptions.iter().any(|(only, matcher)| {
            only.is_none_or(|only| only == port) && matcher.intercept(&uri).is_none()
        })
    }
}

/// A matcher that lets everything through but what a list of hosts names.
fn except(hosts: &str) -> Matcher {
    Matcher::builder().all("http://proxy.example").no(hosts).build()
}

/// An entry of `NO_PROXY` as matchers know it: an address without brackets, a domain without `*`,
/// and the port apart.
fn exception(entry: &str) -> (&str, Option<u16>) {
    let split = |text| {
        let (host, port): (&str, &str) = str::rsplit_once(text, ':')?;
        let single = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        Some((host, single.then(|| port.parse::<u16>().ok())??))
    };
    let (host, port) = split(entry).map_or((entry, None), |(host, port)| (host, Some(port)));
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let host = host.trim_end_matches('.');
    let domain = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
    (domain.unwrap_or(host), port)
}

/// A host in its plainest form: no brackets, no dot at the end, IPv4 as IPv4.
fn canonical(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => bare.trim_end_matches('.').to_ascii_lowercase(),
    }
}

/// Whether a host is this machine, or a place on its own link that gives its identity: instance
/// metadata (169.254.169.254, fd00:ec2::254) and container credentials (169.254.170.2,
/// 169.254.170.23, fd00:ec2::23).
fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_link_local() || address.is_unspecified()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.segments().starts_with(&[0xfd00, 0xec2])
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests;
