//! Caddy: access logs in JSON, as it writes them by default, in the form for consoles, and in the common log format
//! (of the encoder `transform`).
//!
//! | Caddy | event |
//! |---|---|
//! | `ts`, in any of Caddy's `time_format`s; without a zone it is in UTC | `event_timestamp`: when the answer was out |
//! | `request.client_ip`, or `.remote_ip`; `.remote_port` | `conn.client_ip`; `proxy.client_port` |
//! | `request.method`, `.host`, `.uri`, `.proto` | `http.request.method`, `.url.*`, `proxy.protocol` |
//! | `request.tls` | `tls.version`, `tls.cipher_suite`, `conn.server_name`; without it the scheme is `http` |
//! | `request.headers`, `resp_headers` | `http.request.headers`, `http.response.headers`, `http.request.user_agent` |
//! | `bytes_read`, `size`, `status` | `http.request.body_length`, `http.response.body_length`, `.status_code` |
//! | `duration` in seconds with decimals, or with its unit (`duration_format string`); `user_id` | `proxy.duration_ms`, `basic_auth.username` |
//!
//! Other lines of Caddy's log are no events, and are refused.

use std::borrow::Cow;

use super::cipher::cipher_name;
use super::common_log;
use super::entry::Entry;
use super::instant::{Instant, Span};
use super::json;
use super::line::{Line, host_and_port};
use super::{Misfit, Sample};
use crate::event::JsonCursor;

pub(super) const SAMPLES: [Sample; 4] = [
    (
        "2026/11/26 15:54:47.123\tINFO\thttp.log.access.log0\thandled request\t{\"request\": {\"remote_addr\": \"[::1]:4555\", \"proto\": \"HTTP/1.1\", \"method\": \"GET\", \"host\": \"localhost:8080\", \"uri\": \"/\"}, \"duration\": \"1m2.0005s\", \"size\": 5, \"status\": 200}",
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:47.123Z","object":{"conn":{"client_ip":"::1","server_name":"localhost"},"http":{"request":{"method":"get","url":{"host":"localhost","path":"/","query":"","raw":"http://localhost:8080/","scheme":"http"}},"response":{"body_length":5,"status_code":200}},"proxy":{"client_port":4555,"duration_ms":62000.5,"name":"caddy","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"127.0.0.1 - - [26/Nov/2026:15:54:47 +0100] "GET / HTTP/1.1" 200 5"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T14:54:47Z","object":{"conn":{"client_ip":"127.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/","query":"","raw":"/"}},"response":{"body_length":5,"status_code":200}},"proxy":{"name":"caddy","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"{"level":"info","ts":1795708488.4762428,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"127.0.0.1","remote_port":"40700","proto":"HTTP/1.1","method":"GET","host":"127.0.0.1:7807","uri":"/a%20b?x=1&y=%22","headers":{"Referer":["http://Ref.example/A"],"User-Agent":["Agent \"q\" \\ back"],"Accept":["*/*"],"Authorization":[]}},"user_id":"","duration":0.001301785,"size":120,"status":200,"resp_headers":{"Content-Type":["Text/Plain"]}}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.4762428Z","object":{"conn":{"client_ip":"127.0.0.1","server_name":"127.0.0.1"},"http":{"request":{"headers":{"Referer":["http://ref.example/a"],"User-Agent":["agent \"q\" \\ back"],"Accept":["*/*"],"Authorization":[]},"method":"get","url":{"host":"127.0.0.1","path":"/a%20b","query":"x=1&y=%22","raw":"http://127.0.0.1:7807/a%20b?x=1&y=%22","scheme":"http"},"user_agent":"Agent \"q\" \\ back"},"response":{"body_length":120,"headers":{"Content-Type":["text/plain"]},"status_code":200}},"proxy":{"client_port":40700,"duration_ms":1.301785,"name":"caddy","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"{"level":"error","ts":"2026-11-26T15:54:48.476Z","logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.8","remote_port":"40702","client_ip":"203.0.113.9","proto":"HTTP/2.0","method":"POST","host":"shop.example","uri":"/fail","headers":{"User-Agent":["curl/8.9.1"]},"tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"shop.example"}},"bytes_read":3,"user_id":"ada","duration":0.041427543,"size":120,"status":500,"resp_headers":{}}"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.476Z","object":{"basic_auth":{"username":"ada"},"conn":{"client_ip":"203.0.113.9","server_name":"shop.example"},"http":{"request":{"body_length":3,"headers":{"User-Agent":["curl/8.9.1"]},"method":"post","url":{"host":"shop.example","path":"/fail","query":"","raw":"https://shop.example/fail","scheme":"https"},"user_agent":"curl/8.9.1"},"response":{"body_length":120,"status_code":500}},"proxy":{"client_port":40702,"duration_ms":41.427543,"name":"caddy","protocol":"HTTP/2.0"},"tls":{"cipher_suite":"TLS_AES_128_GCM_SHA256","version":"1.3"}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let whole = line.whole();
    if !whole.starts_with('{') {
        // For consoles: time, level, logger and message, with tabs between, and then the rest as JSON.
        let Some(at) = memchr::memmem::find(whole.as_bytes(), b"\t{") else {
            return common_log::read(line, entry);
        };
        entry.time = whole.split('\t').next().and_then(instant);
        *line = Line::new(&whole[at + 1..]);
    }
    let mut has_request = false;
    let mut has_status = false;
    json::read(line, |name, cursor| {
        match name {
            // What `time_key` is set to most.
            "ts" | "time" | "timestamp" | "@timestamp" => {
                entry.time = json::text(cursor)?.as_deref().and_then(instant).or(entry.time);
            }
            "request" => {
                has_request = cursor.next_token() == Some(b'{');
                json::members(cursor, &mut |name, cursor| read_request(name, cursor, entry))?;
            }
            "user_id" => entry.username = json::text(cursor)?,
            "bytes_read" => entry.request_length = json::count(cursor)?,
            "size" => entry.response_length = json::count(cursor)?,
            "status" => {
                has_status = true;
                entry.status = json::count(cursor)?.filter(|it| *it > 0);
            }
            "duration" => {
                let text = json::text(cursor)?;
                entry.duration = text.as_deref().and_then(duration);
            }
            "resp_headers" => entry.response_headers = json::headers(cursor)?,
            _ => cursor.skip(1)?,
        }
        Ok(())
    })?;
    if !(has_request && has_status) {
        return line.misfit("an access log line of Caddy: `request` and `status`");
    }
    if entry.scheme.is_none() {
        entry.scheme = Some("http".into());
    }
    Ok(())
}

fn read_request<'l>(
    name: &str,
    cursor: &mut JsonCursor<'l>,
    entry: &mut Entry<'l>,
) -> Result<(), Misfit> {
    match name {
        "remote_ip" if entry.client_ip.is_none() => {
            json::text(cursor)?.into_iter().for_each(|it| entry.set_client(it));
        }
        "client_ip" => json::text(cursor)?.into_iter().for_each(|it| entry.set_client(it)),
        // Until Caddy 2.5.
        "remote_addr" => {
            if let Some(Cow::Borrowed(address)) = json::text(cursor)? {
                let (address, port) = host_and_port(address);
                entry.set_client(address);
                entry.client_port = port;
            }
        }
        "remote_port" => entry.client_port = json::count(cursor)?,
        "proto" => entry.protocol = json::text(cursor)?,
        "method" => entry.method = json::text(cursor)?,
        "host" => entry.host = json::text(cursor)?,
        "uri" => entry.target = json::text(cursor)?,
        "headers" => {
            entry.request_headers = json::headers(cursor)?;
            let agent =
                entry.request_headers.iter().find(|it| it.0.eq_ignore_ascii_case("user-agent"));
            entry.user_agent = agent.and_then(|it| it.1.first().cloned());
        }
        "tls" => {
            entry.scheme = Some("https".into());
            json::members(cursor, &mut |name, cursor| {
                match name {
                    "version" => entry.tls_version = json::count(cursor)?.and_then(version),
                    "cipher_suite" => entry.tls_cipher = json::count(cursor)?.map(cipher_name),
                    "server_name" => entry.server_name = json::text(cursor)?,
                    _ => cursor.skip(3)?,
                }
                Ok(())
            })?;
        }
        _ => cursor.skip(2)?,
    }
    Ok(())
}

/// Seconds, or a number with its unit. Which unit a whole number is in, `duration_format` knows alone.
fn duration(text: &str) -> Option<Span> {
    let is_told = text.contains('.') || text == "0";
    Span::of(text, 9).filter(|_| is_told).or_else(|| Span::of_go(text))
}

/// Seconds since 1970, or one of the forms that `time_format` may ask for.
fn instant(text: &str) -> Option<Instant> {
    Instant::of_unix(text)
        .or_else(|| Instant::of_rfc_3339(text))
        .or_else(|| Instant::of_common_log(text))
        .or_else(|| Instant::of_slashes(text))
}

fn version(number: u64) -> Option<super::entry::Text<'static>> {
    let minor = number.checked_sub(0x0301).filter(|it| *it <= 3)?;
    Some(["1.0", "1.1", "1.2", "1.3"].get(usize::try_from(minor).ok()?).copied()?.into())
}
