//! Envoy's access log entries as its gRPC Access Log Service v3 sends them: one message of a stream in, an event an
//! entry out, a line each.
//!
//! | Envoy | event |
//! |---|---|
//! | `start_time` with `duration` | `event_timestamp`: when the request or connection was over |
//! | `start_time` of a connection | `conn.start_ts` |
//! | `downstream_remote_address` | `conn.client_ip`, `proxy.client_port`; of a pipe `proxy.client_name` |
//! | `downstream_local_address` | `conn.server_ip`, `.server_port` |
//! | `request_method` (or `:method` of `request_headers`, for one that the protocol has no number for), `scheme`, `authority`, `original_path` or else `path` | `http.request.method`, `.url.*` |
//! | `protocol_version` | `proxy.protocol` |
//! | `user_agent`, `referer`, `forwarded_for`, `request_headers` | `http.request.user_agent`, `.headers` |
//! | `response_code`, `response_headers` | `http.response.status_code`, `.headers` |
//! | `request_body_bytes`, `response_body_bytes` | `http.request.body_length`, `http.response.body_length` |
//! | `downstream_wire_bytes_received`, `_sent` | `proxy.bytes_in`, `.bytes_out` |
//! | `received_bytes`, `sent_bytes` of a connection | `conn.bytes_in`, `.bytes_out` |
//! | `tls_version`, `tls_cipher_suite`, the CN of the client's certificate | `tls.version`, `.cipher_suite`, `.client_cert.subject.cn` |
//! | `tls_sni_hostname`, or else the authority | `conn.server_name` |
//! | `ja3_fingerprint` | `proxy.ja3`. The protocol has no JA4 |
//! | `upstream_remote_address`, `upstream_cluster`, `route_name` | `proxy.upstream`, `.cluster`, `.route` |
//! | `response_flags`, `upstream_request_attempt_count` less one | `proxy.response_flags`, `.retries` |
//! | `response_code` where the details are `via_upstream` | `proxy.upstream_status` |
//! | `time_to_first_upstream_rx_byte`, `duration` | `proxy.first_byte_ms`, `.duration_ms` |
//! | `request_id`, or else `stream_id` of a request | `proxy.request_id` |
//! | the node's id, which only the first message of a stream has | `proxy.node` |
//! | response code details, termination details, reasons of transport failures | `proxy.extra` |
//!
//! Entries that tell of a beginning, of what goes on, or of one attempt upstream are passed over: no event is
//! about these. An HTTP entry without a request whose handshake failed is a connection. Of metadata, filter
//! state, custom tags and trailers nothing is taken. It knows no streams: what becomes of a message that cannot
//! be read is `ingest`'s matter.

use std::borrow::Cow;

use bytes::{Buf as _, Bytes};
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, RequestMethod, address, socket_address};
use envoy_types::pb::envoy::data::accesslog::v3::http_access_log_entry::HttpVersion;
use envoy_types::pb::envoy::data::accesslog::v3::tls_properties::TlsVersion;
use envoy_types::pb::envoy::data::accesslog::v3::{
    AccessLogCommon, AccessLogType, HttpAccessLogEntry, HttpRequestProperties,
    HttpResponseProperties, ResponseFlags, TcpAccessLogEntry, TlsProperties,
};
use envoy_types::pb::google::protobuf::{Duration, Timestamp as Time};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::Stamp;
use super::cipher::cipher_name;
use super::entry::{Entry, Headers, Text};
use super::instant::{Instant, Span};
use crate::event::Timestamp;

/// Largest entry, in bytes: Envoy takes 60 KiB of headers unless told otherwise. What is decoded of one may take
/// thirty times as much for a moment.
pub const MAX_ENTRY: usize = 256 << 10;

/// Longest id of a node that is taken, in bytes.
const MAX_NODE: usize = 256;

/// Fields of `StreamAccessLogsMessage`, and of what is in it.
const IDENTIFIER: u32 = 1;
const HTTP_LOGS: u32 = 2;
const TCP_LOGS: u32 = 3;
const NODE_OF_IDENTIFIER: u32 = 1;
const ID_OF_NODE: u32 = 1;
const LOG_ENTRY: u32 = 1;

/// The entries of one message, taken apart one by one, so that what is decoded at a time is never more than one.
#[derive(Debug)]
pub struct Entries {
    /// What is left of the message.
    rest: Bytes,
    /// What is left of the list of entries in it that was begun, and whether they are requests.
    list: Bytes,
    are_requests: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// Its event was appended, with a line feed.
    Event,
    /// No event is about what it tells.
    PassedOver,
    /// It has so many bytes, which is more than [`MAX_ENTRY`].
    TooLarge(usize),
}

/// Bytes that are no message of the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not one of Envoy's Access Log Service v3: {0}")]
pub struct Malformed(String);

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Malformed {
        Malformed(error.to_string())
    }
}

impl Entries {
    /// Those of a message.
    #[must_use]
    pub fn of(message: Bytes) -> Entries {
        Entries { rest: message, list: Bytes::new(), are_requests: false }
    }

    /// Appends the event of the next entry to `out`. None if there is no other entry. The id of the node is put into
    /// `node` where the message has it.
    ///
    /// # Errors
    /// When what comes next cannot be read; then nothing more of the message can be.
    pub fn next(
        &mut self,
        node: &mut Option<String>,
        account_id: Option<&str>,
        out: &mut String,
    ) -> Result<Option<Converted>, Malformed> {
        while self.list.is_empty() {
            let Some((tag, value)) = next_field(&mut self.rest)? else { return Ok(None) };
            match tag {
                IDENTIFIER => *node = node_of(value)?.or(node.take()),
                HTTP_LOGS | TCP_LOGS => {
                    self.are_requests = tag == HTTP_LOGS;
                    self.list = value;
                }
                _ => {}
            }
        }
        let (tag, value) = next_field(&mut self.list)?.unwrap_or_default();
        if tag != LOG_ENTRY {
            return Ok(Some(Converted::PassedOver));
        }
        if value.len() > MAX_ENTRY {
            return Ok(Some(Converted::TooLarge(value.len())));
        }
        let stamp = Stamp { id: None, account_id };
        let node = node.as_deref();
        let is_event = match self.are_requests {
            true => write_request(&HttpAccessLogEntry::decode(value)?, node, stamp, out),
            false => write_connection(&TcpAccessLogEntry::decode(value)?, node, stamp, out),
        };
        Ok(Some(if is_event { Converted::Event } else { Converted::PassedOver }))
    }
}

/// The next field of a message that is bytes itself, with its number; others are stepped over, as empty ones.
fn next_field(message: &mut Bytes) -> Result<Option<(u32, Bytes)>, Malformed> {
    if message.is_empty() {
        return Ok(None);
    }
    let (tag, kind) = decode_key(message)?;
    let length = match kind {
        WireType::LengthDelimited => usize::try_from(decode_varint(message)?).ok(),
        WireType::Varint => {
            decode_varint(message)?;
            return Ok(Some((tag, Bytes::new())));
        }
        WireType::SixtyFourBit => Some(8),
        WireType::ThirtyTwoBit => Some(4),
        WireType::StartGroup | WireType::EndGroup => None,
    };
    match length.filter(|it| *it <= message.remaining()) {
        Some(length) => {
            let value = message.split_to(length);
            let is_text = kind == WireType::LengthDelimited;
            Ok(Some((tag, if is_text { value } else { Bytes::new() })))
        }
        None => Err(Malformed("a field goes beyond its end".to_owned())),
    }
}

/// `identifier.node.id`.
fn node_of(mut identifier: Bytes) -> Result<Option<String>, Malformed> {
    let mut id = None;
    while let Some((tag, mut node)) = next_field(&mut identifier)? {
        if tag != NODE_OF_IDENTIFIER {
            continue;
        }
        while let Some((tag, text)) = next_field(&mut node)? {
            if tag == ID_OF_NODE {
                id = str::from_utf8(&text)
                    .ok()
                    .map(|it| it[..it.floor_char_boundary(MAX_NODE)].to_owned());
            }
        }
    }
    Ok(id.filter(|it| !it.is_empty()))
}

/// Appends the event of an HTTP entry; tells whether there is one.
fn write_request(
    logged: &HttpAccessLogEntry,
    node: Option<&str>,
    stamp: Stamp<'_>,
    out: &mut String,
) -> bool {
    let none = AccessLogCommon::default();
    let common = logged.common_properties.as_ref().unwrap_or(&none);
    if !is_end(common, AccessLogType::DownstreamEnd) {
        return false;
    }
    let mut entry = Entry { node: node.map(Into::into), ..Entry::default() };
    set_common(&mut entry, common);
    let request = logged.request.as_ref().filter(|it| **it != HttpRequestProperties::default());
    let response = logged.response.as_ref();
    let has_answer = response.is_some_and(|it| it.response_code.is_some());
    if request.is_none() && !has_answer && !common.downstream_transport_failure_reason.is_empty() {
        entry.is_connection = true;
        entry.conn_start = common.start_time.and_then(instant);
    } else {
        // Envoys that do not count so say 0.
        entry.bytes_in = count(common.downstream_wire_bytes_received).filter(|it| *it > 0);
        entry.bytes_out = count(common.downstream_wire_bytes_sent).filter(|it| *it > 0);
        entry.protocol = protocol(logged.protocol_version).map(Into::into);
        entry.request_id = text(&common.stream_id);
        common.tls_properties.as_ref().into_iter().for_each(|it| set_tls(&mut entry, it));
        request.into_iter().for_each(|it| set_request(&mut entry, it));
        response.into_iter().for_each(|it| set_response(&mut entry, it));
    }
    let details = response.map_or("", |it| it.response_code_details.as_str());
    entry.extra = said(details, common);
    entry.write("envoy", stamp, out);
    out.push('\n');
    true
}

/// The same of a TCP entry.
fn write_connection(
    logged: &TcpAccessLogEntry,
    node: Option<&str>,
    stamp: Stamp<'_>,
    out: &mut String,
) -> bool {
    let none = AccessLogCommon::default();
    let common = logged.common_properties.as_ref().unwrap_or(&none);
    if !is_end(common, AccessLogType::TcpConnectionEnd) {
        return false;
    }
    let mut entry = Entry { is_connection: true, node: node.map(Into::into), ..Entry::default() };
    set_common(&mut entry, common);
    entry.conn_start = common.start_time.and_then(instant);
    let bytes = logged.connection_properties.unwrap_or_default();
    entry.bytes_in = count(bytes.received_bytes);
    entry.bytes_out = count(bytes.sent_bytes);
    entry.extra = said("", common);
    entry.write("envoy", stamp, out);
    out.push('\n');
    true
}

/// Whether an entry tells of an end. Of what else it may tell Envoys before 1.25 said only that it goes on.
fn is_end(common: &AccessLogCommon, end: AccessLogType) -> bool {
    #[expect(deprecated, reason = "old Envoys send nothing else")]
    let goes_on = common.intermediate_log_entry;
    let kind = common.access_log_type;
    !goes_on && (kind == end as i32 || kind == AccessLogType::NotSet as i32)
}

/// What requests and connections have in common.
fn set_common<'l>(entry: &mut Entry<'l>, common: &'l AccessLogCommon) {
    let start = common.start_time.and_then(instant);
    entry.duration = common.duration.or(common.time_to_last_downstream_tx_byte).and_then(span);
    let end = start.zip(entry.duration).and_then(|(start, it)| start.after(it, it.digits()));
    entry.time = end.or(start);
    if let Some((address, port)) = common.downstream_remote_address.as_ref().and_then(host) {
        entry.set_client(address);
        entry.client_port = port;
    }
    if let Some((address, port)) = common.downstream_local_address.as_ref().and_then(host) {
        entry.server_ip = Some(address.into());
        entry.server_port = port;
    }
    if let Some((address, port)) = common.upstream_remote_address.as_ref().and_then(host) {
        entry.upstream = Some(match port {
            Some(port) if address.contains(':') => format!("[{address}]:{port}").into(),
            Some(port) => format!("{address}:{port}").into(),
            None => address.into(),
        });
    }
    if let Some(tls) = &common.tls_properties {
        entry.server_name = text(&tls.tls_sni_hostname);
        entry.ja3 = text(&tls.ja3_fingerprint);
    }
    entry.cluster = text(&common.upstream_cluster);
    entry.route = text(&common.route_name);
    entry.response_flags = common.response_flags.as_ref().and_then(flags);
    entry.retries = common.upstream_request_attempt_count.checked_sub(1).map(u64::from);
    entry.first_byte = common.time_to_first_upstream_rx_byte.and_then(span);
}

fn set_request<'l>(entry: &mut Entry<'l>, request: &'l HttpRequestProperties) {
    entry.method = match RequestMethod::try_from(request.request_method) {
        Ok(RequestMethod::MethodUnspecified) | Err(_) => {
            request.request_headers.get(":method").and_then(|it| text(it))
        }
        Ok(method) => Some(method.as_str_name().into()),
    };
    entry.scheme = text(&request.scheme);
    entry.host = text(&request.authority);
    entry.target = text(&request.original_path).or_else(|| text(&request.path));
    entry.user_agent = text(&request.user_agent);
    if let Some(id) = text(&request.request_id) {
        entry.request_id = Some(id);
    }
    entry.request_length = count(request.request_body_bytes);
    entry.request_headers = headers(request.request_headers.iter());
    for (name, value) in
        [("Referer", &request.referer), ("X-Forwarded-For", &request.forwarded_for)]
    {
        let is_logged = |it: &(Text<'_>, _)| it.0.eq_ignore_ascii_case(name);
        if !entry.request_headers.iter().any(is_logged) {
            entry.add_header(name, value.as_str());
        }
    }
}

fn set_response<'l>(entry: &mut Entry<'l>, response: &'l HttpResponseProperties) {
    entry.status = response.response_code.map(|it| u64::from(it.value)).filter(|it| *it > 0);
    if response.response_code_details == "via_upstream" {
        entry.upstream_status = entry.status;
    }
    entry.response_length = count(response.response_body_bytes);
    entry.response_headers = headers(response.response_headers.iter());
}

fn set_tls<'l>(entry: &mut Entry<'l>, tls: &'l TlsProperties) {
    entry.tls_version = match TlsVersion::try_from(tls.tls_version) {
        Ok(TlsVersion::TlSv1) => Some("1.0".into()),
        Ok(TlsVersion::TlSv11) => Some("1.1".into()),
        Ok(TlsVersion::TlSv12) => Some("1.2".into()),
        Ok(TlsVersion::TlSv13) => Some("1.3".into()),
        Ok(TlsVersion::VersionUnspecified) | Err(_) => None,
    };
    // 0xffff stands for a suite that could not be told.
    let suite = tls.tls_cipher_suite.map(|it| it.value).filter(|it| *it < 0xffff);
    entry.tls_cipher = suite.map(|it| cipher_name(u64::from(it)));
    let subject = tls.peer_certificate_properties.as_ref().map(|it| it.subject.as_str());
    entry.client_cn = subject.and_then(common_name).map(Into::into);
}

/// The value of `CN` in a subject such as `emailAddress=a@b.example,CN=Shop,O=Example`.
fn common_name(subject: &str) -> Option<&str> {
    let parts = subject.split(',').map(str::trim_start);
    parts.filter_map(|it| it.strip_prefix("CN=")).next().filter(|it| !it.is_empty())
}

/// Headers in the order of their names, without the parts of a request line that HTTP/2 has among them.
fn headers<'l>(logged: impl Iterator<Item = (&'l String, &'l String)>) -> Headers<'l> {
    let named = logged.filter(|(name, _)| !name.starts_with(':'));
    let mut headers: Headers<'l> =
        named.map(|(name, value)| (name.into(), vec![value.into()])).collect();
    headers.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    headers
}

/// What Envoy says of the end in words of its own.
fn said<'l>(details: &'l str, common: &'l AccessLogCommon) -> Option<Text<'l>> {
    let said = [
        details,
        &common.connection_termination_details,
        &common.upstream_transport_failure_reason,
        &common.downstream_transport_failure_reason,
    ];
    let mut said = said.into_iter().filter(|it| !it.is_empty());
    let first = said.next()?;
    let rest: String = said.flat_map(|it| [" ", it]).collect();
    Some(if rest.is_empty() { first.into() } else { [first, &rest].concat().into() })
}

/// Address and port, or the name of what has none.
fn host(address: &Address) -> Option<(&str, Option<u64>)> {
    let found = match address.address.as_ref()? {
        address::Address::SocketAddress(it) => {
            let port = match it.port_specifier {
                Some(socket_address::PortSpecifier::PortValue(port)) => Some(u64::from(port)),
                _ => None,
            };
            (it.address.as_str(), port)
        }
        address::Address::Pipe(it) => (it.path.as_str(), None),
        address::Address::EnvoyInternalAddress(it) => match it.address_name_specifier.as_ref()? {
            AddressNameSpecifier::ServerListenerName(name) => (name.as_str(), None),
        },
    };
    (!found.0.is_empty()).then_some(found)
}

fn protocol(version: i32) -> Option<&'static str> {
    match HttpVersion::try_from(version).ok()? {
        HttpVersion::ProtocolUnspecified => None,
        HttpVersion::Http10 => Some("HTTP/1.0"),
        HttpVersion::Http11 => Some("HTTP/1.1"),
        HttpVersion::Http2 => Some("HTTP/2"),
        HttpVersion::Http3 => Some("HTTP/3"),
    }
}

fn text(text: &str) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}

/// A count that is an integer of the catalog.
fn count(count: u64) -> Option<u64> {
    Some(count).filter(|it| *it <= i64::MAX as u64)
}

fn instant(time: Time) -> Option<Instant> {
    Instant::of(Timestamp { seconds: time.seconds, nanos: u32::try_from(time.nanos).ok()? })
}

/// None for a span that is none, or of more than centuries.
fn span(span: Duration) -> Option<Span> {
    let nanos = u64::try_from(span.nanos).ok()?;
    let seconds = u64::try_from(span.seconds).ok()?.checked_mul(1_000_000_000)?;
    seconds.checked_add(nanos).map(Span)
}

/// The letters that Envoy's text logs have for the flags, in their order there.
fn flags(flags: &ResponseFlags) -> Option<Text<'static>> {
    let is_unauthorized = flags.unauthorized_details.is_some();
    let all = [
        (flags.failed_local_healthcheck, "LH"),
        (flags.no_healthy_upstream, "UH"),
        (flags.upstream_request_timeout, "UT"),
        (flags.local_reset, "LR"),
        (flags.upstream_remote_reset, "UR"),
        (flags.upstream_connection_failure, "UF"),
        (flags.upstream_connection_termination, "UC"),
        (flags.upstream_overflow, "UO"),
        (flags.no_route_found, "NR"),
        (flags.delay_injected, "DI"),
        (flags.fault_injected, "FI"),
        (flags.rate_limited, "RL"),
        (is_unauthorized, "UAEX"),
        (flags.rate_limit_service_error, "RLSE"),
        (flags.downstream_connection_termination, "DC"),
        (flags.upstream_retry_limit_exceeded, "URX"),
        (flags.stream_idle_timeout, "SI"),
        (flags.invalid_envoy_request_headers, "IH"),
        (flags.downstream_protocol_error, "DPE"),
        (flags.upstream_max_stream_duration_reached, "UMSDR"),
        (flags.response_from_cache_filter, "RFCF"),
        (flags.no_filter_config_found, "NFCF"),
        (flags.duration_timeout, "DT"),
        (flags.upstream_protocol_error, "UPE"),
        (flags.no_cluster_found, "NC"),
        (flags.overload_manager, "OM"),
        (flags.dns_resolution_failure, "DF"),
        (flags.downstream_remote_reset, "DR"),
    ];
    let mut set = all.iter().filter(|it| it.0).map(|it| it.1);
    let first = set.next()?;
    let rest: String = set.flat_map(|it| [",", it]).collect();
    Some(if rest.is_empty() { first.into() } else { [first, &rest].concat().into() })
}

#[cfg(test)]
mod tests;
