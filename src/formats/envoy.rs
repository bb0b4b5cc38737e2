//! Envoy: the text that it writes where no format is set, Istio's longer one in all its versions, and JSON whose
//! members are called as Istio calls them.
//!
//! ```text
//! [start] "method path protocol" code flags received sent duration service-time "xff" "agent" "id" "authority" "upstream"
//! [start] "method path protocol" code flags details termination "failure" received sent duration service-time
//!     "xff" "agent" "id" "authority" "upstream" cluster upstream-local local remote sni route
//! ```
//!
//! | Envoy | event |
//! |---|---|
//! | `%START_TIME%` with `%DURATION%` | `event_timestamp`: when the request or connection was over |
//! | `%START_TIME%` of a connection | `conn.start_ts` |
//! | the last address of `X-Forwarded-For`; Istio's `%DOWNSTREAM_REMOTE_ADDRESS%` | `conn.client_ip` |
//! | method, path, protocol, authority | `http.request.method`, `.url.*`, `proxy.protocol` |
//! | `%BYTES_RECEIVED%`, `%BYTES_SENT%` | body lengths; of a connection `conn.bytes_in`, `.bytes_out` |
//! | `%RESPONSE_FLAGS%`, upstream service time | `proxy.response_flags`, `.first_byte_ms` |
//! | the upstream's address; Istio's cluster and route | `proxy.upstream`, `.cluster`, `.route` |
//! | Istio's details and reasons | `proxy.extra` |
//!
//! A line whose method, path and protocol are `-` is of a connection. Envoy escapes nothing in quotes, so a
//! header with `" "` in it can be told only from the right, where nothing comes from the client unchecked.

use std::borrow::Cow;

use super::common_log::count;
use super::entry::{Entry, Text};
use super::instant::{Instant, Span};
use super::json;
use super::line::{Line, given, host_and_port};
use super::{Misfit, Sample};

pub(super) const SAMPLES: [Sample; 6] = [
    (
        r#"[2019-03-06T09:31:27.354Z] "GET /status/418 HTTP/1.1" 418 - "-" 0 135 11 10 "-" "curl/7.60.0" "d209e46f-9ed5-9b61-bbdd-43e22662702a" "httpbin:8000" "127.0.0.1:80" inbound|8000|http|httpbin.default.svc.cluster.local - 172.30.146.73:80 172.30.146.82:38618 outbound_.8000_._.httpbin.default.svc.cluster.local"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2019-03-06T09:31:27.365Z","object":{"conn":{"server_name":"httpbin"},"http":{"request":{"body_length":0,"method":"get","url":{"host":"httpbin","path":"/status/418","query":"","raw":"/status/418"},"user_agent":"curl/7.60.0"},"response":{"body_length":135,"status_code":418}},"proxy":{"duration_ms":11,"extra":"inbound|8000|http|httpbin.default.svc.cluster.local - 172.30.146.73:80 172.30.146.82:38618 outbound_.8000_._.httpbin.default.svc.cluster.local","first_byte_ms":10,"name":"envoy","protocol":"HTTP/1.1","request_id":"d209e46f-9ed5-9b61-bbdd-43e22662702a","upstream":"127.0.0.1:80"}}}"#,
    ),
    (
        r#"{"authority":"shop.example","bytes_received":0,"bytes_sent":135,"connection_termination_details":null,"downstream_local_address":"10.44.1.27:80","downstream_remote_address":"10.44.1.23:37652","duration":4,"method":"GET","path":"/cart?item=7","protocol":"HTTP/2","request_id":"84961386-6d84-929d-98bd-c5aee93b5c88","requested_server_name":null,"response_code":503,"response_code_details":"via_upstream","response_flags":"-","route_name":"default","start_time":"2026-11-26T15:54:48.080Z","upstream_cluster":"inbound|80||","upstream_host":"10.0.2.1:80","upstream_service_time":"3","user_agent":"curl/8.9.1","x_forwarded_for":null}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.084Z","object":{"conn":{"client_ip":"10.44.1.23","server_ip":"10.44.1.27","server_name":"shop.example","server_port":80},"http":{"request":{"body_length":0,"method":"get","url":{"host":"shop.example","path":"/cart","query":"item=7","raw":"/cart?item=7"},"user_agent":"curl/8.9.1"},"response":{"body_length":135,"status_code":503}},"proxy":{"client_port":37652,"cluster":"inbound|80||","duration_ms":4,"extra":"via_upstream","first_byte_ms":3,"name":"envoy","protocol":"HTTP/2","request_id":"84961386-6d84-929d-98bd-c5aee93b5c88","route":"default","upstream":"10.0.2.1:80"}}}"#,
    ),
    (
        r#"[2016-04-15T20:17:00.310Z] "POST /api/v1/locations?x=1 HTTP/2" 204 - 154 0 226 100 "10.0.35.28, 198.51.100.4" "nsq "q" http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations:8080" "10.0.2.1:80""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2016-04-15T20:17:00.536Z","object":{"conn":{"client_ip":"198.51.100.4","server_name":"locations"},"http":{"request":{"body_length":154,"headers":{"X-Forwarded-For":["10.0.35.28, 198.51.100.4"]},"method":"post","url":{"host":"locations","path":"/api/v1/locations","query":"x=1","raw":"/api/v1/locations?x=1"},"user_agent":"nsq \"q\" http"},"response":{"body_length":0,"status_code":204}},"proxy":{"duration_ms":226,"first_byte_ms":100,"name":"envoy","protocol":"HTTP/2","request_id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2","upstream":"10.0.2.1:80"}}}"#,
    ),
    (
        r#"[2026-11-26T15:54:48.080Z] "GET / HTTP/1.1" 503 UF,URX 0 91 12 - "-" "curl/8.9.1" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "shop.example" "10.0.2.1:80""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.092Z","object":{"conn":{"server_name":"shop.example"},"http":{"request":{"body_length":0,"method":"get","url":{"host":"shop.example","path":"/","query":"","raw":"/"},"user_agent":"curl/8.9.1"},"response":{"body_length":91,"status_code":503}},"proxy":{"duration_ms":12,"name":"envoy","protocol":"HTTP/1.1","request_id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2","response_flags":"UF,URX","upstream":"10.0.2.1:80"}}}"#,
    ),
    (
        r#"[2026-11-26T15:54:48.080Z] "- - -" 0 - 6 120 35 - "-" "-" "-" "-" "10.0.2.1:5432""#,
        r#"{"event_type":"tcp_connection_closed.v0","event_timestamp":"2026-11-26T15:54:48.115Z","object":{"conn":{"bytes_in":6,"bytes_out":120,"end_ts":"2026-11-26T15:54:48.115Z","start_ts":"2026-11-26T15:54:48.080Z"},"proxy":{"duration_ms":35,"name":"envoy","upstream":"10.0.2.1:5432"}}}"#,
    ),
    (
        r#"[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 3 "-" "curl/7.73.0" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2020-11-25T21:26:18.413Z","object":{"conn":{"client_ip":"10.44.1.23","server_ip":"10.44.1.27","server_name":"outbound_.8000_._.httpbin.foo.svc.cluster.local","server_port":80},"http":{"request":{"body_length":0,"method":"get","url":{"host":"httpbin","path":"/status/418","query":"","raw":"/status/418"},"user_agent":"curl/7.73.0"},"response":{"body_length":135,"status_code":418}},"proxy":{"client_port":37652,"cluster":"inbound|8000||","duration_ms":4,"extra":"via_upstream","first_byte_ms":3,"name":"envoy","protocol":"HTTP/1.1","request_id":"84961386-6d84-929d-98bd-c5aee93b5c88","route":"default","upstream":"127.0.0.1:80"}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if line.rest().starts_with('{') {
        return read_json(line, entry);
    }
    let before = line.clone();
    let start = Instant::of_rfc_3339(line.bracketed("a time in brackets")?);
    let Some(start) = start else {
        return before.misfit("a time such as `[2016-04-15T20:17:00.310Z]`");
    };
    line.expect("\"", "the request in quotes")?;
    let rest = line.rest();
    let Some(end) = rest.find("\" ") else { return line.misfit("a closing `\"`") };
    let request = &rest[..end];
    line.go_to(line.whole().len() - rest.len() + end + 2);
    let code = line.parsed("a response code", |it| it.parse::<u64>().ok())?;
    entry.is_connection = request == "- - -" && code == 0;
    if !entry.is_connection {
        entry.set_request(request.into());
        entry.status = Some(code).filter(|it| *it > 0);
    }
    entry.response_flags = given(line.word("response flags")?).map(Into::into);
    if !line.rest().starts_with(|it: char| it.is_ascii_digit()) {
        read_details(line, entry)?;
    }
    let received = line.parsed("bytes received", count)?;
    let sent = line.parsed("bytes sent", count)?;
    let milliseconds = |it: &str| (it == "-").then_some(None).or(Span::of(it, 6).map(Some));
    let duration = line.parsed("a duration in milliseconds", milliseconds)?;
    entry.first_byte = line.parsed("the upstream's service time, or `-`", milliseconds)?;
    entry.duration = duration;
    entry.time = duration.and_then(|it| start.after(it, 3)).or(Some(start));
    if entry.is_connection {
        (entry.bytes_in, entry.bytes_out) = (received, sent);
        entry.conn_start = Some(start);
    } else {
        (entry.request_length, entry.response_length) = (received, sent);
    }
    read_rest(line, entry)
}

/// JSON whose members are called as Istio calls them, and Envoy's own examples.
fn read_json<'l>(line: &Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let mut start = None;
    let (mut received, mut sent, mut said) = (None, None, Vec::new());
    json::read(line, |name, cursor| {
        let value = json::text(cursor)?;
        let count = || value.as_deref().and_then(count).flatten();
        let milliseconds = || value.as_deref().and_then(|it| Span::of(it, 6));
        match name {
            "start_time" | "time" => start = value.as_deref().and_then(Instant::of_rfc_3339),
            "duration" => entry.duration = milliseconds(),
            "bytes_received" => received = count(),
            "bytes_sent" => sent = count(),
            "response_code" => entry.status = count(),
            "response_code_details"
            | "connection_termination_details"
            | "upstream_transport_failure_reason" => said.extend(value),
            "upstream_service_time" => entry.first_byte = milliseconds(),
            "upstream_request_attempt_count" => {
                entry.retries = count().and_then(|it| it.checked_sub(1));
            }
            "downstream_remote_address" => {
                if let Some(Cow::Borrowed(address)) = value {
                    let (address, port) = host_and_port(address);
                    entry.client_name = None;
                    entry.set_client(address);
                    entry.client_port = port;
                }
            }
            "downstream_local_address" => {
                if let Some(Cow::Borrowed(address)) = value {
                    let (address, port) = host_and_port(address);
                    entry.server_ip = given(address).map(Into::into);
                    entry.server_port = port;
                }
            }
            "x_forwarded_for" => {
                if let Some(forwarded) = value {
                    if let (None, Some(last)) = (&entry.client_ip, forwarded.rsplit(',').next()) {
                        entry.set_client(last.trim().to_owned());
                    }
                    entry.add_header("X-Forwarded-For", forwarded);
                }
            }
            _ => set_text(name, value, entry),
        }
        Ok(())
    })?;
    let Some(start) = start.filter(|_| entry.status.is_some()) else {
        return line.misfit("members called as Istio calls them, `start_time` and `response_code`");
    };
    entry.time = entry.duration.and_then(|it| start.after(it, 3)).or(Some(start));
    entry.is_connection = entry.status == Some(0) && entry.method.is_none();
    entry.status = entry.status.filter(|it| *it > 0);
    if entry.is_connection {
        (entry.bytes_in, entry.bytes_out) = (received, sent);
        entry.conn_start = Some(start);
    } else {
        (entry.request_length, entry.response_length) = (received, sent);
    }
    entry.extra = given(&said.join(" ")).map(|it| it.to_owned().into());
    Ok(())
}

fn set_text<'l>(name: &str, value: Option<Text<'l>>, entry: &mut Entry<'l>) {
    let field = match name {
        "method" => &mut entry.method,
        "path" => &mut entry.target,
        "protocol" => &mut entry.protocol,
        "authority" => &mut entry.host,
        "user_agent" => &mut entry.user_agent,
        "request_id" => &mut entry.request_id,
        "response_flags" => &mut entry.response_flags,
        "requested_server_name" => &mut entry.server_name,
        "route_name" => &mut entry.route,
        "upstream_cluster" => &mut entry.cluster,
        "upstream_host" => &mut entry.upstream,
        _ => return,
    };
    *field = value;
}

/// Most details between the flags and the bytes.
const MAX_DETAILS: usize = 4;

/// Istio's details, termination and upstream failure.
fn read_details<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let mut said = Vec::new();
    // Between one and four of them, as the version has it.
    while said.len() < MAX_DETAILS && !line.rest().starts_with(|it: char| it.is_ascii_digit()) {
        let rest = line.rest();
        let Some(text) = rest.strip_prefix('"') else {
            said.push(line.word("details, or bytes received")?);
            continue;
        };
        let Some(end) = text.find("\" ") else { return line.misfit("a closing `\"`") };
        line.go_to(line.whole().len() - text.len() + end + 2);
        said.push(&text[..end]);
    }
    let said: Vec<&str> = said.into_iter().filter_map(given).collect();
    entry.extra = given(&said.join(" ")).map(|it| it.to_owned().into());
    Ok(())
}

/// Five values in quotes, and Istio's six words behind them. From the right, since what the client sent may
/// have quotes in it.
fn read_rest<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let rest = line.rest();
    let Some((quoted, words)) = rest.strip_prefix('"').and_then(|it| it.rsplit_once('"')) else {
        return line.misfit("five values in quotes");
    };
    let mut from_right = quoted.rsplitn(4, "\" \"");
    let (upstream, authority, id) = (from_right.next(), from_right.next(), from_right.next());
    let clients = from_right.next().and_then(|it| it.split_once("\" \""));
    let (Some(upstream), Some(authority), Some(id), Some((forwarded, agent))) =
        (upstream, authority, id, clients)
    else {
        return line.misfit("five values in quotes");
    };
    let upstream = upstream.strip_prefix("tcp://").unwrap_or(upstream);
    entry.upstream = given(upstream).map(Into::into);
    entry.host = given(authority).map(Into::into);
    entry.request_id = given(id).map(Into::into);
    entry.user_agent = given(agent).map(Into::into);
    entry.add_header("X-Forwarded-For", forwarded);
    if let Some(last) = forwarded.rsplit(',').next() {
        entry.set_client(last.trim());
    }
    let words: Vec<&str> = words.split(' ').filter(|it| !it.is_empty()).collect();
    if let [cluster, _, local, remote, sni, route] = words[..] {
        entry.cluster = given(cluster).map(Into::into);
        let (address, port) = host_and_port(local);
        entry.server_ip = given(address).map(Into::into);
        entry.server_port = port;
        let (address, port) = host_and_port(remote);
        entry.client_name = None;
        entry.set_client(address);
        entry.client_port = port;
        entry.server_name = given(sni).map(Into::into);
        entry.route = given(route).map(Into::into);
    } else if !words.is_empty() {
        let details = entry.extra.take().unwrap_or_default();
        let words = words.join(" ");
        entry.extra = Some(Text::from(format!("{details} {words}").trim().to_owned()));
    }
    Ok(())
}
