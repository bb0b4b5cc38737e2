//! Apache httpd: `common` and `combined`, also with the virtual host before (`vhost_combined`).
//!
//! | Apache | event |
//! |---|---|
//! | `%v:%p` | `conn.server_name`, `conn.server_port` |
//! | `%h`, `%u` | `conn.client_ip`, or `proxy.client_name` where names are looked up; `basic_auth.username` |
//! | `%t` | `event_timestamp`: when the request came in, as Apache tells no other time here |
//! | `"%r"`, `%>s` | `http.request.*`, `proxy.protocol`; `http.response.status_code` |
//! | `%b`, or `%O` in Debian's formats | `http.response.body_length`; with `%O` the head counts too, and nothing on the line says which it is |
//! | `"%{Referer}i"`, `"%{User-Agent}i"` | the header `Referer`, `http.request.user_agent` |
//! | `request_time_us=%D`, `bytes_sent=%O`, `request_length=%I`, `remote_port=%{remote}p` behind the agent | `proxy.duration_ms`, `.bytes_out`, `.bytes_in`, `.client_port` |
//!
//! Apache writes `\"`, `\\`, `\n` and, for bytes that it does not show, `\xe4`.

use std::borrow::Cow;

use super::common_log;
use super::entry::Entry;
use super::instant::Instant;
use super::line::{Escapes, Line, given};
use super::named::read_named;
use super::{Misfit, Sample};

pub(super) const SAMPLES: [Sample; 7] = [
    (
        r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2000-10-10T20:55:36Z","object":{"basic_auth":{"username":"frank"},"conn":{"client_ip":"127.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/apache_pb.gif","query":"","raw":"/apache_pb.gif"}},"response":{"body_length":2326,"status_code":200}},"proxy":{"name":"apache","protocol":"HTTP/1.0"}}}"#,
    ),
    (
        r#"test.example:80 127.0.0.1 - - [26/Nov/2026:15:56:30 +0000] "GET /a%20b?x=1&y=%22 HTTP/1.1" 200 259 "http://Ref.example/A" "Agent \"q\" \\ back""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:56:30Z","object":{"conn":{"client_ip":"127.0.0.1","server_name":"test.example","server_port":80},"http":{"request":{"headers":{"Referer":["http://ref.example/a"]},"method":"get","url":{"path":"/a%20b","query":"x=1&y=%22","raw":"/a%20b?x=1&y=%22"},"user_agent":"Agent \"q\" \\ back"},"response":{"body_length":259,"status_code":200}},"proxy":{"name":"apache","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"test.example:443 2001:db8::9 - - [26/Nov/2026:15:56:30 +0000] "GET /gr\xc3\xb6\xffx HTTP/1.1" 304 - "-" "\xe4\"|{}#x""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:56:30Z","object":{"conn":{"client_ip":"2001:db8::9","server_name":"test.example","server_port":443},"http":{"request":{"method":"get","url":{"path":"/grö\\xFFx","query":"","raw":"/grö\\xFFx"},"user_agent":"\\xE4\"|{}#x"},"response":{"status_code":304}},"proxy":{"escaped":true,"name":"apache","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"crawler.example.net - - [26/Nov/2026:15:56:30 +0000] "-" 408 -"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:56:30Z","object":{"http":{"response":{"status_code":408}},"proxy":{"client_name":"crawler.example.net","name":"apache"}}}"#,
    ),
    (
        r#"127.0.0.1 - - [26/Nov/2026:15:56:30 +0000] "GET / HTTP/1.1" 200 259 "-" "curl/8.9.1" request_time_us=1234 bytes_sent=512 remote_port=57892"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:56:30Z","object":{"conn":{"client_ip":"127.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/","query":"","raw":"/"},"user_agent":"curl/8.9.1"},"response":{"body_length":259,"status_code":200}},"proxy":{"bytes_out":512,"client_port":57892,"duration_ms":1.234,"extra":"request_time_us=1234 bytes_sent=512 remote_port=57892","name":"apache","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"198.51.100.7, 10.0.0.2 - - [2026-11-26T16:56:30+01:00] "GET / HTTP/1.1" 200 259 "-" "x \"""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:56:30Z","object":{"conn":{"client_ip":"198.51.100.7"},"http":{"request":{"headers":{"X-Forwarded-For":["198.51.100.7, 10.0.0.2"]},"method":"get","url":{"path":"/","query":"","raw":"/"},"user_agent":"x \""},"response":{"body_length":259,"status_code":200}},"proxy":{"name":"apache","protocol":"HTTP/1.1"}}}"#,
    ),
    (
        r#"[16/Oct/2019:11:53:47 +0200] 198.51.100.7 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 "GET /a?b=1 HTTP/1.1" -"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2019-10-16T09:53:47Z","object":{"conn":{"client_ip":"198.51.100.7"},"http":{"request":{"method":"get","url":{"path":"/a","query":"b=1","raw":"/a?b=1"}}},"proxy":{"name":"apache","protocol":"HTTP/1.1"},"tls":{"cipher_suite":"ECDHE-RSA-AES128-GCM-SHA256","version":"1.2"}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if line.rest().starts_with('[') {
        return read_ssl_request(line, entry);
    }
    common_log::read(line, entry)?;
    if let Some(Cow::Borrowed(extra)) = entry.extra {
        read_named(extra, entry);
    }
    Ok(())
}

/// A line of the log of requests over TLS that Apache's own settings have: `%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x "%r" %b`.
fn read_ssl_request<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let before = line.clone();
    entry.time = Instant::of_common_log(line.bracketed("a time in brackets")?);
    if entry.time.is_none() {
        return before.misfit("a time such as `[10/Oct/2000:13:55:36 -0700]`");
    }
    entry.set_client(line.word("a client")?);
    entry.tls_version = given(line.word("a version of TLS")?).map(Into::into);
    entry.tls_cipher = given(line.word("a cipher")?).map(Into::into);
    let request = line.quoted(Escapes::Backslash, "the request in quotes")?;
    entry.set_request(request);
    entry.response_length = line.parsed("a number of bytes, or `-`", common_log::count)?;
    entry.is_escaped |= line.has_escaped_bytes;
    Ok(())
}

/// Whether a line that nginx could have written too is Apache's: it has an escaped quote, which nginx writes
/// otherwise, or no agent.
pub(super) fn is_sure(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"\\\"").is_some() || memchr::memchr_iter(b'"', line).count() == 2
}
