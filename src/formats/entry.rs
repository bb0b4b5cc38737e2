//! What a line says, in the catalog's words, and the event that is written of it.
//!
//! Fields that a line does not tell are left out. Methods and header values become lower case here, as the
//! catalog has them, so that no format can forget it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::Stamp;
use super::instant::{Instant, Span};
use super::line::{given, host_and_port};
use crate::event::{Timestamp, ksuid, push_string};

/// A text of the line, or one whose escapes were undone.
pub(super) type Text<'l> = Cow<'l, str>;

/// Header names with their values.
pub(super) type Headers<'l> = Vec<(Text<'l>, Vec<Text<'l>>)>;

/// What a line says of one request or connection.
#[derive(Debug, Default)]
pub(super) struct Entry<'l> {
    /// Whether it is a connection and no request.
    pub(super) is_connection: bool,
    /// When it was over, where the line tells; else when it began.
    pub(super) time: Option<Instant>,
    pub(super) username: Option<Text<'l>>,
    pub(super) client_ip: Option<Text<'l>>,
    pub(super) client_name: Option<Text<'l>>,
    pub(super) client_port: Option<u64>,
    pub(super) server_ip: Option<Text<'l>>,
    pub(super) server_name: Option<Text<'l>>,
    pub(super) server_port: Option<u64>,
    /// When the client's connection began.
    pub(super) conn_start: Option<Instant>,
    /// Bytes from the client and to it, heads included.
    pub(super) bytes_in: Option<u64>,
    pub(super) bytes_out: Option<u64>,
    pub(super) method: Option<Text<'l>>,
    pub(super) scheme: Option<Text<'l>>,
    /// The host with its port, if the line has one.
    pub(super) host: Option<Text<'l>>,
    /// Path and query, or the whole URL, as the request had it.
    pub(super) target: Option<Text<'l>>,
    pub(super) protocol: Option<Text<'l>>,
    /// A request line that is none.
    pub(super) request_line: Option<Text<'l>>,
    pub(super) user_agent: Option<Text<'l>>,
    pub(super) request_headers: Headers<'l>,
    pub(super) request_length: Option<u64>,
    pub(super) response_headers: Headers<'l>,
    pub(super) response_length: Option<u64>,
    pub(super) status: Option<u64>,
    pub(super) tls_cipher: Option<Text<'l>>,
    pub(super) tls_version: Option<Text<'l>>,
    /// The common name in the client's certificate.
    pub(super) client_cn: Option<Text<'l>>,
    pub(super) ja3: Option<Text<'l>>,
    /// Which of several proxies it was, by what it calls itself.
    pub(super) node: Option<Text<'l>>,
    pub(super) listener: Option<Text<'l>>,
    pub(super) route: Option<Text<'l>>,
    pub(super) cluster: Option<Text<'l>>,
    pub(super) upstream: Option<Text<'l>>,
    pub(super) upstream_status: Option<u64>,
    pub(super) response_flags: Option<Text<'l>>,
    pub(super) request_id: Option<Text<'l>>,
    pub(super) retries: Option<u64>,
    pub(super) connect: Option<Span>,
    pub(super) first_byte: Option<Span>,
    pub(super) duration: Option<Span>,
    /// What stands on the line beyond what its format knows.
    pub(super) extra: Option<Text<'l>>,
    pub(super) is_escaped: bool,
}

impl<'l> Entry<'l> {
    /// Takes the client's address, or its name where the proxy wrote that.
    pub(super) fn set_client(&mut self, client: impl Into<Text<'l>>) {
        let client = client.into();
        if given(&client).is_none() {
            return;
        }
        let is_address = client.parse::<IpAddr>().is_ok();
        let field = if is_address { &mut self.client_ip } else { &mut self.client_name };
        *field = Some(client);
    }

    /// Takes a request line apart: method, target and protocol. One that has no such parts is kept whole.
    pub(super) fn set_request(&mut self, line: Text<'l>) {
        if given(&line).is_none() {
            return;
        }
        let parts = |line: &str| {
            let (method, rest) = line.split_once(' ')?;
            let (target, protocol) = match rest.rsplit_once(' ') {
                Some((target, protocol)) if protocol.starts_with("HTTP/") => {
                    (target.len(), Some(protocol.len()))
                }
                _ => (rest.len(), None),
            };
            let is_method = method.bytes().all(|it| it.is_ascii_uppercase() || it == b'-');
            let is_target = protocol.is_some() || rest.starts_with(['/', '*']);
            let is_request = is_method && given(method).is_some() && is_target;
            is_request.then_some((method.len(), target, protocol.unwrap_or(0)))
        };
        let Some((method, target, protocol)) = parts(&line) else {
            self.request_line = Some(line);
            return;
        };
        let end = line.len();
        self.method = Some(part(&line, 0, method));
        self.target = Some(part(&line, method + 1, method + 1 + target));
        self.protocol = (protocol > 0).then(|| part(&line, end - protocol, end));
    }

    /// Adds a request header, if it has a value.
    pub(super) fn add_header(&mut self, name: &'static str, value: impl Into<Text<'l>>) {
        let value = value.into();
        if given(&value).is_some() {
            self.request_headers.push((name.into(), vec![value]));
        }
    }

    /// Appends the event, of the proxy of a name.
    pub(super) fn write(&self, proxy: &str, stamp: Stamp<'_>, out: &mut String) {
        out.push('{');
        if let Some(id) = stamp.id {
            // Without a time it is the same again all the same, and sorts before all others.
            let time = self.time.map_or(Timestamp::MIN, Instant::timestamp);
            text(out, "event_id", &ksuid("ev", time, id));
        }
        let event_type = match self.is_connection {
            true => "tcp_connection_closed.v0",
            false => "http_request_complete.v0",
        };
        text(out, "event_type", event_type);
        instant(out, "event_timestamp", self.time);
        if let Some(account) = stamp.account_id {
            text(out, "account_id", account);
        }
        group(out, "object", |out| {
            if let Some(username) = &self.username {
                group(out, "basic_auth", |out| text(out, "username", username));
            }
            group(out, "conn", |out| self.write_connection(out));
            if !self.is_connection {
                group(out, "http", |out| self.write_exchange(out));
            }
            group(out, "proxy", |out| self.write_proxy(proxy, out));
            group(out, "tls", |out| {
                optional(out, "cipher_suite", self.tls_cipher.as_deref());
                if let Some(name) = &self.client_cn {
                    group(out, "client_cert", |out| {
                        group(out, "subject", |out| text(out, "cn", name));
                    });
                }
                optional(out, "version", self.tls_version.as_deref().map(tls_version));
            });
        });
        out.push('}');
    }

    fn write_connection(&self, out: &mut String) {
        if self.is_connection {
            number(out, "bytes_in", self.bytes_in);
            number(out, "bytes_out", self.bytes_out);
        }
        optional(out, "client_ip", self.client_ip.as_deref());
        if self.is_connection {
            instant(out, "end_ts", self.time);
        }
        optional(out, "server_ip", self.server_ip.as_deref());
        let host = self.url_parts().1.map(|it| host_and_port(it).0).and_then(given);
        optional(out, "server_name", self.server_name.as_deref().or(host));
        number(out, "server_port", self.server_port);
        instant(out, "start_ts", self.conn_start);
    }

    fn write_exchange(&self, out: &mut String) {
        group(out, "request", |out| {
            number(out, "body_length", self.request_length);
            headers(out, &self.request_headers);
            if let Some(method) = &self.method {
                lower_case(out, "method", method);
            }
            group(out, "url", |out| self.write_url(out));
            optional(out, "user_agent", self.user_agent.as_deref());
        });
        group(out, "response", |out| {
            number(out, "body_length", self.response_length);
            headers(out, &self.response_headers);
            number(out, "status_code", self.status);
        });
    }

    /// Scheme, host with port, and what stands behind them: of the target where that is a whole URL, else of
    /// the line.
    pub(super) fn url_parts(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        let target = self.target.as_deref();
        let whole = target.and_then(|it| it.split_once("://")).filter(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|it| it.is_ascii_alphanumeric())
        });
        let Some((scheme, rest)) = whole else {
            return (self.scheme.as_deref(), self.host.as_deref().and_then(given), target);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        (Some(scheme), given(&rest[..end]), Some(&rest[end..]))
    }

    /// The URL's parts. `raw` has scheme and host only where both are known.
    fn write_url(&self, out: &mut String) {
        let (scheme, host, local) = self.url_parts();
        optional(out, "host", host.map(|it| host_and_port(it).0));
        if let Some(local) = local {
            let (path, query) = local.split_once('?').unwrap_or((local, ""));
            text(out, "path", path);
            text(out, "query", query);
        }
        match (scheme, host, local) {
            (Some(scheme), Some(host), Some(local)) => {
                text(out, "raw", &[scheme, "://", host, local].concat());
            }
            _ => optional(out, "raw", self.target.as_deref()),
        }
        if let Some(scheme) = scheme {
            lower_case(out, "scheme", scheme);
        }
    }

    fn write_proxy(&self, proxy: &str, out: &mut String) {
        if !self.is_connection {
            number(out, "bytes_in", self.bytes_in);
            number(out, "bytes_out", self.bytes_out);
        }
        optional(out, "client_name", self.client_name.as_deref());
        number(out, "client_port", self.client_port);
        optional(out, "cluster", self.cluster.as_deref());
        milliseconds(out, "connect_ms", self.connect);
        milliseconds(out, "duration_ms", self.duration);
        if self.is_escaped {
            key(out, "escaped");
            out.push_str("true");
        }
        optional(out, "extra", self.extra.as_deref());
        milliseconds(out, "first_byte_ms", self.first_byte);
        optional(out, "ja3", self.ja3.as_deref());
        optional(out, "listener", self.listener.as_deref());
        text(out, "name", proxy);
        optional(out, "node", self.node.as_deref());
        if !self.is_connection {
            optional(out, "protocol", self.protocol.as_deref());
            optional(out, "request_id", self.request_id.as_deref());
            optional(out, "request_line", self.request_line.as_deref());
        }
        optional(out, "response_flags", self.response_flags.as_deref());
        number(out, "retries", self.retries);
        optional(out, "route", self.route.as_deref());
        optional(out, "upstream", self.upstream.as_deref());
        if !self.is_connection {
            number(out, "upstream_status", self.upstream_status);
        }
    }
}

/// A part of a text: of the line itself, or of a copy with the escapes undone.
pub(super) fn part<'l>(text: &Text<'l>, start: usize, end: usize) -> Text<'l> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..end]),
        Cow::Owned(text) => Cow::Owned(text[start..end].to_owned()),
    }
}

/// `1.3`, from `TLSv1.3` and the like.
pub(super) fn tls_version(text: &str) -> &str {
    let bare = text.strip_prefix("TLSv").or_else(|| text.strip_prefix("TLS"));
    match bare {
        Some("1") => "1.0",
        Some("v1_2" | "1_2") => "1.2",
        Some("v1_3" | "1_3") => "1.3",
        Some(bare) => bare,
        None => text,
    }
}

pub(super) fn key(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// An object as a member, unless nothing is written into it.
pub(super) fn group(out: &mut String, name: &str, write: impl FnOnce(&mut String)) {
    let before = out.len();
    key(out, name);
    out.push('{');
    write(out);
    if out.ends_with('{') {
        out.truncate(before);
    } else {
        out.push('}');
    }
}

pub(super) fn text(out: &mut String, name: &str, value: &str) {
    key(out, name);
    push_string(out, value);
}

/// A text of ASCII letters in lower case. Escapes of JSON are in lower case already.
fn lower_case(out: &mut String, name: &str, value: &str) {
    key(out, name);
    let start = out.len();
    push_string(out, value);
    out[start..].make_ascii_lowercase();
}

fn optional(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn number(out: &mut String, name: &str, value: Option<u64>) {
    let Some(mut value) = value else { return };
    key(out, name);
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend(digits[start..].iter().map(|&it| char::from(it)));
}

fn milliseconds(out: &mut String, name: &str, value: Option<Span>) {
    if let Some(value) = value {
        key(out, name);
        // Writing to a String cannot fail.
        let _ = write!(out, "{value}");
    }
}

pub(super) fn instant(out: &mut String, name: &str, value: Option<Instant>) {
    if let Some(value) = value {
        key(out, name);
        out.push('"');
        value.push(out);
        out.push('"');
    }
}

fn headers(out: &mut String, headers: &Headers<'_>) {
    group(out, "headers", |out| each_header(out, headers));
}

/// The members of an object of headers, names capitalised and values in lower case.
pub(super) fn each_header(out: &mut String, headers: &Headers<'_>) {
    for (name, values) in headers {
        if !out.ends_with('{') {
            out.push(',');
        }
        push_string(out, &capitalised(name));
        out.push_str(":[");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            let start = out.len();
            match value.is_ascii() {
                true => push_string(out, value),
                false => push_string(out, &value.to_lowercase()),
            }
            out[start..].make_ascii_lowercase();
        }
        out.push(']');
    }
}

/// `Content-Type`, however it was written: also with `_` for `-`, as variables have it.
fn capitalised(name: &str) -> String {
    let mut is_first = true;
    let letter = |it: char| {
        let it = if it == '_' { '-' } else { it };
        let new = if is_first { it.to_ascii_uppercase() } else { it.to_ascii_lowercase() };
        is_first = it == '-';
        new
    };
    name.chars().map(letter).collect()
}
