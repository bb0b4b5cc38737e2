//! nginx: the format `combined`, also with what people write behind it, and JSON whose members are called like nginx's variables.
//!
//! | nginx | event |
//! |---|---|
//! | `$remote_addr`, `$remote_port`, `$remote_user` | `conn.client_ip`, `proxy.client_port`, `basic_auth.username` |
//! | `$time_local`, `$time_iso8601`, `$msec` | `event_timestamp`: when the request was over |
//! | `$request`, `$request_method`, `$request_uri`, `$server_protocol` | `http.request.method`, `.url.*`, `proxy.protocol` |
//! | `$scheme`, `$host` | `http.request.url.scheme`, `.host`, `conn.server_name` |
//! | `$server_addr`, `$server_port`, `$ssl_server_name`, else `$server_name` | `conn.server_ip`, `.server_port`, `.server_name` |
//! | `$status`, `$body_bytes_sent` | `http.response.status_code`, `.body_length` |
//! | `$content_length` | `http.request.body_length` |
//! | `$request_length`, `$bytes_sent` | `proxy.bytes_in`, `.bytes_out` |
//! | `$http_NAME`, `$sent_http_NAME` | `http.request.headers`, `http.response.headers`; the agent also `http.request.user_agent` |
//! | `$ssl_protocol`, `$ssl_cipher` | `tls.version`, `tls.cipher_suite` |
//! | `$upstream_addr`, `$upstream_status` | `proxy.upstream`, `.upstream_status` of the last one asked; how many before it: `.retries` |
//! | `$request_time`, `$upstream_connect_time`, `$upstream_header_time` | `proxy.duration_ms`, `.connect_ms`, `.first_byte_ms` |
//! | `$request_id`, `$proxy_host` | `proxy.request_id`, `.cluster` |
//! | `$session_time`, `$bytes_received` (module `stream`) | `tcp_connection_closed.v0`, its duration and `conn.bytes_in` |
//!
//! nginx writes `\x22` for what cannot stand in quotes, and with `escape=json` JSON's own escapes.

use std::borrow::Cow;

use super::common_log;
use super::entry::{Entry, Text};
use super::instant::{Instant, Span};
use super::json;
use super::line::{Line, given};
use super::named::{last, read_named, set_upstream};
use super::{Misfit, Sample};
use crate::event::JsonCursor;

pub(super) const SAMPLES: [Sample; 7] = [
    (
        r#"198.51.100.7 - ada lovelace [26/Nov/2026:15:54:47 +0100] "GET /a%20b?x=1&y=%22 HTTP/1.1" 200 120 "http://Ref.example/A" "Agent \x22q\x22 \x5C back""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T14:54:47Z","object":{"basic_auth":{"username":"ada lovelace"},"conn":{"client_ip":"198.51.100.7"},"http":{"request":{"headers":{"Referer":["http://ref.example/a"]},"method":"get","url":{"path":"/a%20b","query":"x=1&y=%22","raw":"/a%20b?x=1&y=%22"},"user_agent":"Agent \"q\" \\ back"},"response":{"body_length":120,"status_code":200}},"proxy":{"name":"nginx","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"203.0.113.9 - - [26/Nov/2026:15:54:48 +0000] "\x16\x03\x01garbage" 400 157 "-" "-""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48Z","object":{"conn":{"client_ip":"203.0.113.9"},"http":{"response":{"body_length":157,"status_code":400}},"proxy":{"name":"nginx","request_line":"\u0016\u0003\u0001garbage"}}}"#,
    ),
    (
        r#"10.0.0.1 - - [26/Nov/2026:15:54:47 +0000] "GET /a HTTP/1.1" 200 612 "-" "Agent "q" x" rt=0.003 uct="0.001" uht="0.002" urt="0.002" us="200" note=1"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47Z","object":{"conn":{"client_ip":"10.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/a","query":"","raw":"/a"},"user_agent":"Agent \"q"},"response":{"body_length":612,"status_code":200}},"proxy":{"connect_ms":1,"duration_ms":3,"extra":"x\" rt=0.003 uct=\"0.001\" uht=\"0.002\" urt=\"0.002\" us=\"200\" note=1","first_byte_ms":2,"name":"nginx","protocol":"HTTP/1.1","upstream_status":200}}}"#,
    ),
    (
        r#"10.244.0.1 - - [26/Nov/2026:15:54:47 +0000] "GET /a HTTP/1.1" 200 612 "-" "curl/8.9.1" 84 0.003 [shop-web-80] [] 10.244.0.9:8080, 10.244.0.8:8080 0, 612 0.001, 0.002 502, 200 0cf2e8c5d8a"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47Z","object":{"conn":{"client_ip":"10.244.0.1"},"http":{"request":{"method":"get","url":{"path":"/a","query":"","raw":"/a"},"user_agent":"curl/8.9.1"},"response":{"body_length":612,"status_code":200}},"proxy":{"bytes_in":84,"cluster":"shop-web-80","duration_ms":3,"extra":"84 0.003 [shop-web-80] [] 10.244.0.9:8080, 10.244.0.8:8080 0, 612 0.001, 0.002 502, 200 0cf2e8c5d8a","name":"nginx","protocol":"HTTP/1.1","request_id":"0cf2e8c5d8a","retries":1,"upstream":"10.244.0.8:8080","upstream_status":200}}}"#,
    ),
    (
        r#"{"@timestamp":"2026-11-26T15:54:47+00:00","remote_addr":"198.51.100.7","request":"GET /gr\xC3\xB6\x22\xFF HTTP/1.1","status":200,"http_user_agent":"a\x5Cb \\xyz"}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47Z","object":{"conn":{"client_ip":"198.51.100.7"},"http":{"request":{"method":"get","url":{"path":"/grö\"\\xFF","query":"","raw":"/grö\"\\xFF"},"user_agent":"a\\b \\xyz"},"response":{"status_code":200}},"proxy":{"escaped":true,"name":"nginx","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"2001:db8::7 - - [26/Nov/2026:15:54:48 +0000] "GET /gr\xC3\xB6\xFFx HTTP/2.0" 404 120 "-" "curl/8.9.1" "192.0.2.1, 10.0.0.8""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48Z","object":{"conn":{"client_ip":"2001:db8::7"},"http":{"request":{"headers":{"X-Forwarded-For":["192.0.2.1, 10.0.0.8"]},"method":"get","url":{"path":"/grö\\xFFx","query":"","raw":"/grö\\xFFx"},"user_agent":"curl/8.9.1"},"response":{"body_length":120,"status_code":404}},"proxy":{"escaped":true,"name":"nginx","protocol":"HTTP/2.0"}}}"#,
    ),
    (
        r#"{"msec":"1795708487.970","remote_addr":"127.0.0.1","remote_port":"58062","remote_user":"","server_addr":"127.0.0.1","server_port":"7802","scheme":"http","host":"shop.example:7802","request":"GET /a%20b?x=1 HTTP/1.1","status":"200","request_length":"129","body_bytes_sent":"120","bytes_sent":"269","request_time":"0.002","http_referer":"http://Ref.example/A","http_user_agent":"Agent \"q\" \\ back","ssl_protocol":"","ssl_cipher":"","upstream_addr":"127.0.0.1:1, 127.0.0.1:7801","upstream_status":"502, 200","upstream_connect_time":"-, 0.000","upstream_header_time":"-, 0.001","request_id":"ef9e696b99aae01c5f4b3b818ffd0fb8"}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47.970Z","object":{"conn":{"client_ip":"127.0.0.1","server_ip":"127.0.0.1","server_name":"shop.example","server_port":7802},"http":{"request":{"headers":{"Referer":["http://ref.example/a"]},"method":"get","url":{"host":"shop.example","path":"/a%20b","query":"x=1","raw":"http://shop.example:7802/a%20b?x=1","scheme":"http"},"user_agent":"Agent \"q\" \\ back"},"response":{"body_length":120,"status_code":200}},"proxy":{"bytes_in":129,"bytes_out":269,"client_port":58062,"connect_ms":0,"duration_ms":2,"first_byte_ms":1,"name":"nginx","protocol":"HTTP/1.1","request_id":"ef9e696b99aae01c5f4b3b818ffd0fb8","retries":1,"upstream":"127.0.0.1:7801","upstream_status":200}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if !line.rest().starts_with('{') {
        common_log::read(line, entry)?;
        if let Some(Cow::Borrowed(extra)) = entry.extra {
            read_extra(extra, entry);
        }
        return Ok(());
    }
    let mut known = 0;
    json::read(line, |name, cursor| {
        known += usize::from(read_member(name, cursor, entry)?);
        Ok(())
    })?;
    if known < 3 || entry.time.is_none() {
        return line
            .misfit("members called like nginx's variables, `msec` or `time_iso8601` among them");
    }
    Ok(())
}

/// What is well known of what stands behind the agent, which is told as it stands too: values with the names of
/// variables or nginx's own short ones (`rt=0.003 uct="0.000"`), and what the ingress controller of Kubernetes adds.
fn read_extra<'l>(extra: &'l str, entry: &mut Entry<'l>) {
    let joined = extra.replace(", ", ",");
    let words: Vec<&str> = joined.split(' ').collect();
    if let [length, time, name, _, upstream, _, _, status, id @ ..] = &words[..]
        && let Some(name) = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'))
        && let (Ok(length), Some(time)) = (length.parse(), Span::of(time, 9))
    {
        entry.bytes_in = Some(length);
        entry.duration = Some(time);
        entry.cluster = given(name).map(|it| it.to_owned().into());
        let spaced = |it: &str| Text::from(it.replace(',', ", "));
        given(upstream)
            .into_iter()
            .for_each(|it| _ = read_other("upstream_addr", Some(spaced(it)), entry));
        given(status)
            .into_iter()
            .for_each(|it| _ = read_other("upstream_status", Some(spaced(it)), entry));
        entry.request_id = id.first().and_then(|it| given(it)).map(|it| it.to_owned().into());
        return;
    }
    read_named(extra, entry);
}

/// Takes a variable's value; tells whether it is one that is known.
fn read_member<'l>(
    name: &'l str,
    cursor: &mut JsonCursor<'l>,
    entry: &mut Entry<'l>,
) -> Result<bool, Misfit> {
    let value = json::text(cursor)?;
    if let Some(header) = name.strip_prefix("sent_http_") {
        entry.response_headers.extend(value.map(|it| (header.into(), vec![it])));
        return Ok(true);
    }
    if let Some(header) = name.strip_prefix("http_").filter(|it| *it != "user_agent") {
        entry.request_headers.extend(value.map(|it| (header.into(), vec![it])));
        return Ok(true);
    }
    let field = match name {
        "remote_user" => &mut entry.username,
        "server_addr" => &mut entry.server_ip,
        "server_name" if entry.server_name.is_none() => &mut entry.server_name,
        // The path without its query; the whole target where the line has that.
        "uri" | "document_uri" if entry.target.is_none() => &mut entry.target,
        "ssl_server_name" => &mut entry.server_name,
        "request_method" => &mut entry.method,
        "request_uri" => &mut entry.target,
        "server_protocol" => &mut entry.protocol,
        "scheme" => &mut entry.scheme,
        "host" => &mut entry.host,
        "http_user_agent" => &mut entry.user_agent,
        "ssl_protocol" => &mut entry.tls_version,
        "ssl_cipher" => &mut entry.tls_cipher,
        "request_id" => &mut entry.request_id,
        "proxy_host" => &mut entry.cluster,
        _ => return Ok(read_other(name, value, entry)),
    };
    if value.is_some() {
        *field = value;
    }
    Ok(true)
}

/// The same for what is no text.
fn read_other<'l>(name: &str, value: Option<Text<'l>>, entry: &mut Entry<'l>) -> bool {
    let Some(value) = value else { return NUMBERS.contains(&name) };
    let count = || value.parse::<u64>().ok().filter(|it| *it <= i64::MAX as u64);
    let seconds = || Span::of(last(&value), 9);
    match name {
        "remote_addr" => entry.set_client(value),
        "remote_port" => entry.client_port = count(),
        "server_port" => entry.server_port = count(),
        "msec" => entry.time = Instant::of_unix(&value),
        "time_iso8601" if entry.time.is_none() => entry.time = Instant::of_rfc_3339(&value),
        "time_local" if entry.time.is_none() => entry.time = Instant::of_common_log(&value),
        // What people call it beside.
        "time" | "timestamp" | "@timestamp" if entry.time.is_none() => {
            let found = Instant::of_rfc_3339(&value).or_else(|| Instant::of_unix(&value));
            entry.time = found.or_else(|| Instant::of_common_log(&value));
        }
        "time_iso8601" | "time_local" | "time" | "timestamp" | "@timestamp" => {}
        // What is no request has neither method nor target, and its line is told.
        "request" => entry.set_request(value),
        "status" => entry.status = count().filter(|it| *it > 0),
        "content_length" => entry.request_length = count(),
        "body_bytes_sent" => entry.response_length = count(),
        "request_length" | "bytes_received" => entry.bytes_in = count(),
        "bytes_sent" => entry.bytes_out = count(),
        "request_time" => entry.duration = seconds(),
        "session_time" => {
            entry.is_connection = true;
            entry.duration = seconds();
        }
        "upstream_addr" => set_upstream(&value, entry),
        "upstream_status" => entry.upstream_status = last(&value).parse().ok(),
        "upstream_connect_time" => entry.connect = seconds(),
        "upstream_header_time" | "upstream_first_byte_time" => entry.first_byte = seconds(),
        _ => return false,
    }
    true
}

/// Variables that are known also where they have no value.
const NUMBERS: [&str; 6] = [
    "upstream_addr",
    "upstream_status",
    "upstream_connect_time",
    "upstream_header_time",
    "status",
    "request",
];
