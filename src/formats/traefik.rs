//! Traefik: access logs in the common log format, its default, and in JSON (`accessLog.format: json`).
//!
//! ```text
//! client - user [start] "request" status bytes "referer" "agent" count "router" "server-url" Nms
//! ```
//!
//! | Traefik | event |
//! |---|---|
//! | `StartUTC`, or `StartLocal`, with `Duration`; else `time` | `event_timestamp`: when the request was over |
//! | `ClientHost`, `ClientPort`, `ClientUsername` | `conn.client_ip`, `proxy.client_port`, `basic_auth.username` |
//! | `RequestMethod`, `RequestScheme`, `RequestAddr`, `RequestPath`, `RequestProtocol` | `http.request.method`, `.url.*`, `proxy.protocol` |
//! | `RequestPort` | `conn.server_port` |
//! | `RequestContentSize`, `DownstreamContentSize`, `DownstreamStatus` | `http.request.body_length`, `http.response.body_length`, `.status_code` |
//! | `request_NAME`, `downstream_NAME` | `http.request.headers`, `http.response.headers`, `http.request.user_agent` |
//! | `TLSVersion`, `TLSCipher` | `tls.version`, `tls.cipher_suite` |
//! | `entryPointName`, `RouterName`, `ServiceName`, `ServiceAddr` | `proxy.listener`, `.route`, `.cluster`, `.upstream` |
//! | `OriginStatus`, `RetryAttempts`, `Duration` | `proxy.upstream_status`, `.retries`, `.duration_ms` |

use std::borrow::Cow;

use super::common_log;
use super::entry::Entry;
use super::instant::{Instant, Span};
use super::json;
use super::line::{Line, given};
use super::{Misfit, Sample};
use crate::event::{JsonCursor, unescape};

pub(super) const SAMPLES: [Sample; 3] = [
    (
        r#"192.0.2.9 - ada [26/Nov/2026:15:54:47 +0000] "GET /x?a=1 HTTP/1.1" 200 1234 "-" "curl/8.9.1" 12 "web@docker" "http://172.19.0.3:80" 3ms"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47.003Z","object":{"basic_auth":{"username":"ada"},"conn":{"client_ip":"192.0.2.9"},"http":{"request":{"method":"get","url":{"path":"/x","query":"a=1","raw":"/x?a=1"},"user_agent":"curl/8.9.1"},"response":{"body_length":1234,"status_code":200}},"proxy":{"duration_ms":3,"name":"traefik","protocol":"HTTP/1.1","route":"web@docker","upstream":"172.19.0.3:80"}}}"#,
    ),
    (
        r#"{"ClientAddr":"10.0.2.2:51322","ClientHost":"203.0.113.9","ClientPort":"51322","ClientUsername":"-","DownstreamContentSize":1039,"DownstreamStatus":200,"Duration":1533071,"OriginContentSize":1039,"OriginDuration":1418441,"OriginStatus":200,"Overhead":114630,"RequestAddr":"shop.example:8443","RequestContentSize":3,"RequestCount":1,"RequestHost":"shop.example","RequestMethod":"POST","RequestPath":"/orders?page=2","RequestPort":"8443","RequestProtocol":"HTTP/2.0","RequestScheme":"https","RetryAttempts":1,"RouterName":"shop@docker","ServiceAddr":"172.19.0.3:80","ServiceName":"shop@docker","ServiceURL":"http://172.19.0.3:80","StartLocal":"2026-11-26T15:54:48.080971514Z","StartUTC":"2026-11-26T15:54:48.080971514Z","TLSCipher":"TLS_AES_128_GCM_SHA256","TLSVersion":"1.3","entryPointName":"websecure","level":"info","msg":"","request_User-Agent":"curl/8.9.1","downstream_Content-Type":"Text/Plain","time":"2026-11-26T15:54:48Z"}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.082504585Z","object":{"conn":{"client_ip":"203.0.113.9","server_name":"shop.example","server_port":8443},"http":{"request":{"body_length":3,"method":"post","url":{"host":"shop.example","path":"/orders","query":"page=2","raw":"https://shop.example:8443/orders?page=2","scheme":"https"},"user_agent":"curl/8.9.1"},"response":{"body_length":1039,"headers":{"Content-Type":["text/plain"]},"status_code":200}},"proxy":{"client_port":51322,"cluster":"shop@docker","duration_ms":1.533071,"listener":"websecure","name":"traefik","protocol":"HTTP/2.0","retries":1,"route":"shop@docker","upstream":"172.19.0.3:80","upstream_status":200},"tls":{"cipher_suite":"TLS_AES_128_GCM_SHA256","version":"1.3"}}}"#,
    ),
    (
        r#"{"ClientHost":"::1","DownstreamContentSize":19,"DownstreamStatus":404,"Duration":57123,"RequestAddr":"localhost:8000","RequestMethod":"GET","RequestPath":"/","RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":0,"entryPointName":"web","level":"info","msg":"","time":"2026-11-26T16:54:48+01:00"}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48Z","object":{"conn":{"client_ip":"::1","server_name":"localhost"},"http":{"request":{"method":"get","url":{"host":"localhost","path":"/","query":"","raw":"http://localhost:8000/","scheme":"http"}},"response":{"body_length":19,"status_code":404}},"proxy":{"duration_ms":0.057123,"listener":"web","name":"traefik","protocol":"HTTP/1.1","retries":0}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if !line.rest().starts_with('{') {
        return read_common(line, entry);
    }
    let (mut start, mut written) = (None, None);
    json::read(line, |name, cursor| match name {
        "StartUTC" | "StartLocal" => {
            let time = json::text(cursor)?;
            start = time.as_deref().and_then(Instant::of_rfc_3339).or(start);
            Ok(())
        }
        "time" => {
            written = json::text(cursor)?.as_deref().and_then(Instant::of_rfc_3339);
            Ok(())
        }
        _ => read_member(name, cursor, entry),
    })?;
    let over = start.and_then(|it| it.after(entry.duration?, 9));
    entry.time = over.or(start).or(written);
    if entry.time.is_none() || entry.status.is_none() && entry.method.is_none() {
        return line
            .misfit("an access log line of Traefik: a time, `RequestMethod`, `DownstreamStatus`");
    }
    Ok(())
}

/// The common log format with what Traefik writes behind it.
fn read_common<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    common_log::read(line, entry)?;
    let Some(Cow::Borrowed(extra)) = entry.extra else { return Ok(()) };
    let Some((route, url, duration)) = extra_of(extra) else { return Ok(()) };
    entry.route = given(route).map(Into::into);
    let server = url.split_once("://").map_or(url, |(_, server)| server);
    entry.upstream = given(server).map(Into::into);
    entry.duration = Some(duration);
    entry.time = entry.time.and_then(|it| it.after(duration, 3)).or(entry.time);
    entry.extra = None;
    Ok(())
}

/// The router, the server's URL and the duration, behind a count of requests.
fn extra_of(extra: &str) -> Option<(&str, &str, Span)> {
    let (count, rest) = extra.split_once(' ')?;
    let (names, milliseconds) = rest.rsplit_once(' ')?;
    let (route, url) = names.strip_prefix('"')?.strip_suffix('"')?.split_once("\" \"")?;
    let duration = Span::of(milliseconds.strip_suffix("ms")?, 6)?;
    count.bytes().all(|it| it.is_ascii_digit()).then_some((route, url, duration))
}

/// Whether a line that nginx could have written too is Traefik's.
pub(super) fn is_sure(line: &[u8]) -> bool {
    let text = str::from_utf8(line).unwrap_or_default();
    let behind = text.match_indices("\" ").map(|(at, _)| &text[at + 2..]);
    behind.filter_map(extra_of).next().is_some()
}

fn read_member<'l>(
    name: &'l str,
    cursor: &mut JsonCursor<'l>,
    entry: &mut Entry<'l>,
) -> Result<(), Misfit> {
    let value = json::text(cursor)?;
    let count =
        || value.as_deref().and_then(|it| it.parse().ok()).filter(|it| *it <= i64::MAX as u64);
    match name {
        "ClientHost" => value.into_iter().for_each(|it| entry.set_client(it)),
        "ClientPort" => entry.client_port = count(),
        "ClientUsername" => entry.username = value,
        "RequestMethod" => entry.method = value,
        "RequestScheme" => entry.scheme = value,
        "RequestAddr" => entry.host = value,
        "RequestHost" if entry.host.is_none() => entry.host = value,
        "RequestPath" => entry.target = value,
        "RequestProtocol" => entry.protocol = value,
        "RequestPort" => entry.server_port = count(),
        "RequestContentSize" => entry.request_length = count(),
        "DownstreamContentSize" => entry.response_length = count(),
        "DownstreamStatus" => entry.status = count().filter(|it| *it > 0),
        "TLSVersion" => entry.tls_version = value,
        "TLSCipher" => entry.tls_cipher = value,
        "entryPointName" => entry.listener = value,
        "RouterName" => entry.route = value,
        "ServiceName" => entry.cluster = value,
        "ServiceAddr" => entry.upstream = value,
        "OriginStatus" => entry.upstream_status = count().filter(|it| *it > 0),
        "RetryAttempts" => entry.retries = count(),
        "Duration" => entry.duration = count().map(Span),
        "request_User-Agent" => entry.user_agent = value,
        _ => {
            let (headers, header) = match name.split_once('_') {
                Some(("request", header)) => (&mut entry.request_headers, header),
                Some(("downstream", header)) => (&mut entry.response_headers, header),
                _ => return Ok(()),
            };
            headers.extend(value.map(|it| (unescape(header), vec![it])));
        }
    }
    Ok(())
}
