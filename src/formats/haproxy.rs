//! HAProxy: `option httplog`, also `clf`, and `httpslog`, `option tcplog`, and its lines of failed connections.
//!
//! ```text
//! client:port [time] frontend backend/server Tr/Tw/Tc/Tr/Ta status bytes cc sc tttt a/f/b/s/r q/q {cap} {cap} "request"
//! client:port [time] frontend backend/server Tw/Tc/Tt bytes tt a/f/b/s/r q/q
//! client:port [time] frontend/bind: message
//! ```
//!
//! | HAProxy | event |
//! |---|---|
//! | `client:port` | `conn.client_ip`, `proxy.client_port` |
//! | the time, with `Ta` or `Tt` | `event_timestamp`: when the request or connection was over. It has no zone: that of a time in RFC 3339 which syslog put before (`format rfc5424`) is taken, and else UTC |
//! | the time of a connection | `conn.start_ts` |
//! | frontend; backend; server | `proxy.listener`, `.cluster`, `.upstream`; none for `<NOSRV>` |
//! | `Tc`, `Tr`, `Ta` or `Tt` | `proxy.connect_ms`, `.first_byte_ms`, `.duration_ms`; none for -1 |
//! | status, bytes | `http.response.status_code`; `proxy.bytes_out`, of a connection `conn.bytes_out` |
//! | the termination state, retries | `proxy.response_flags`, `.retries` |
//! | captured headers and cookies | `proxy.extra`, as they stand: the line does not tell their names |
//! | `sni/version/cipher` of `httpslog` | `conn.server_name`, `tls.version`, `tls.cipher_suite` |
//!
//! What syslog wrote before the client is passed over. HAProxy writes `#22` for what cannot stand in quotes,
//! and cuts a long line, which is taken as it is.

use super::common_log::{start_of_time, status};
use super::entry::{Entry, Text, part};
use super::instant::{Instant, Span};
use super::line::{Escapes, Line, given, host_and_port};
use super::{Misfit, Sample};

pub(super) const SAMPLES: [Sample; 9] = [
    (
        r#"<134>1 2026-11-26T16:54:48.087123+01:00 lb haproxy 19253 - - 192.0.2.7:5 [26/Nov/2026:16:54:48.086] tcp tapp/s1 1/0/8 278 -- 1/1/0/0/0 0/0"#,
        r#"{"event_type":"tcp_connection_closed.v0","event_timestamp":"2026-11-26T15:54:48.094Z","object":{"conn":{"bytes_out":278,"client_ip":"192.0.2.7","end_ts":"2026-11-26T15:54:48.094Z","start_ts":"2026-11-26T15:54:48.086Z"},"proxy":{"client_port":5,"cluster":"tapp","connect_ms":0,"duration_ms":8,"listener":"tcp","name":"haproxy","response_flags":"--","retries":0,"upstream":"s1"}}}"#,
    ),
    (
        r#"<134>Nov 26 15:54:48 haproxy[19253]: 127.0.0.1:57892 [26/Nov/2026:15:54:48.086] web app/s1 0/0/0/1/1 200 258 - - ---- 1/1/0/0/0 0/0 {127.0.0.1:7803|Agent #22q#22 \ back} "GET /a%20b?x=1&y=%22 HTTP/1.1""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.087Z","object":{"conn":{"client_ip":"127.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/a%20b","query":"x=1&y=%22","raw":"/a%20b?x=1&y=%22"}},"response":{"status_code":200}},"proxy":{"bytes_out":258,"client_port":57892,"cluster":"app","connect_ms":0,"duration_ms":1,"extra":"{127.0.0.1:7803|Agent \"q\" \\ back}","first_byte_ms":1,"listener":"web","name":"haproxy","protocol":"HTTP/1.1","response_flags":"----","retries":0,"upstream":"s1"}}}"#,
    ),
    (
        r#"2001:db8::7:57930 [26/Nov/2026:15:54:48.204] web~ web/<NOSRV> -1/-1/-1/-1/0 400 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T15:54:48.204Z","object":{"conn":{"client_ip":"2001:db8::7"},"http":{"response":{"status_code":400}},"proxy":{"bytes_out":0,"client_port":57930,"cluster":"web","duration_ms":0,"listener":"web","name":"haproxy","response_flags":"CR--","retries":0}}}"#,
    ),
    (
        r#"127.0.0.1:33330 [26/Nov/2026:15:54:48.280] tcp tapp/s1 1/0/8 278 -- 1/1/0/0/+2 0/0"#,
        r#"{"event_type":"tcp_connection_closed.v0","event_timestamp":"2026-11-26T15:54:48.288Z","object":{"conn":{"bytes_out":278,"client_ip":"127.0.0.1","end_ts":"2026-11-26T15:54:48.288Z","start_ts":"2026-11-26T15:54:48.280Z"},"proxy":{"client_port":33330,"cluster":"tapp","connect_ms":0,"duration_ms":8,"listener":"tcp","name":"haproxy","response_flags":"--","retries":2,"upstream":"s1"}}}"#,
    ),
    (
        r#"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] https-in~ static/srv1 10/0/30/69/+109 200 +2750 - - LR-- 1/1/1/1/0 0/0 {1wt.eu} {} "GET https://1wt.eu/gr#C3#B6#FF HTTP/2.0" 0/0000000000000000/0/0/0 1wt.eu/TLSv1.3/TLS_AES_256_GCM_SHA384"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2009-02-06T12:14:14.764Z","object":{"conn":{"client_ip":"10.0.1.2","server_name":"1wt.eu"},"http":{"request":{"method":"get","url":{"host":"1wt.eu","path":"/grö\\xFF","query":"","raw":"https://1wt.eu/grö\\xFF","scheme":"https"}},"response":{"status_code":200}},"proxy":{"bytes_out":2750,"client_port":33317,"cluster":"static","connect_ms":30,"duration_ms":109,"escaped":true,"extra":"{1wt.eu} {}","first_byte_ms":69,"listener":"https-in","name":"haproxy","protocol":"HTTP/2.0","response_flags":"LR--","retries":0,"upstream":"srv1"},"tls":{"cipher_suite":"TLS_AES_256_GCM_SHA384","version":"1.3"}}}"#,
    ),
    (
        r#"127.0.0.1:34548 [15/Oct/2009:15:19:06.103] px1/http: Connection error during SSL handshake"#,
        r#"{"event_type":"tcp_connection_closed.v0","event_timestamp":"2009-10-15T15:19:06.103Z","object":{"conn":{"client_ip":"127.0.0.1","end_ts":"2009-10-15T15:19:06.103Z","start_ts":"2009-10-15T15:19:06.103Z"},"proxy":{"client_port":34548,"extra":"Connection error during SSL handshake","listener":"px1/http","name":"haproxy"}}}"#,
    ),
    (
        r#"Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2009-02-06T12:14:14.764Z","object":{"conn":{"client_ip":"10.0.1.2"},"http":{"request":{"method":"get","url":{"path":"/index.html","query":"","raw":"/index.html"}},"response":{"status_code":200}},"proxy":{"bytes_out":2750,"client_port":33317,"cluster":"static","connect_ms":30,"duration_ms":109,"extra":"{1wt.eu} {}","first_byte_ms":69,"listener":"http-in","name":"haproxy","protocol":"HTTP/1.1","response_flags":"----","retries":0,"upstream":"srv1"}}}"#,
    ),
    (
        r##"127.0.0.1 - - [26/Nov/2026:22:44:48 +0000] "GET /p2?x=#221#22 HTTP/1.1" 200 73 "" "" 46762 715 "web~" "app" "s1" 0 0 1 2 3 LR-- 1 1 0 0 2 0 0 "shop.example" "" "##,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2026-11-26T22:44:48.718Z","object":{"conn":{"client_ip":"127.0.0.1"},"http":{"request":{"method":"get","url":{"path":"/p2","query":"x=\"1\"","raw":"/p2?x=\"1\""}},"response":{"status_code":200}},"proxy":{"bytes_out":73,"client_port":46762,"cluster":"app","connect_ms":1,"duration_ms":3,"extra":"\"shop.example\" \"\"","first_byte_ms":2,"listener":"web","name":"haproxy","protocol":"HTTP/1.1","response_flags":"LR--","retries":2,"upstream":"s1"}}}"#,
    ),
    (
        r#"Jun 22 12:02:53 node2 haproxy[23034]: -:47625 [22/Jun/2021:12:02:53.473] www-https~ app/app-node2 app.example 0/0/1/17/18 302 291 - - ---- 1/1/0/0/0 0/0 {x} "GET / HTTP/1.1""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2021-06-22T12:02:53.491Z","object":{"http":{"request":{"method":"get","url":{"path":"/","query":"","raw":"/"}},"response":{"status_code":302}},"proxy":{"bytes_out":291,"client_port":47625,"cluster":"app","connect_ms":1,"duration_ms":18,"extra":"app.example {x}","first_byte_ms":17,"listener":"www-https","name":"haproxy","protocol":"HTTP/1.1","response_flags":"----","retries":0,"upstream":"app-node2"}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if let Some(at) = start_of_time(line.rest()).filter(|at| line.rest()[..*at].ends_with(" - -")) {
        return read_clf(line, entry, at);
    }
    let start = read_head(line, entry)?;
    let listener = line.word("a frontend")?;
    if let Some(listener) = listener.strip_suffix(':') {
        entry.is_connection = true;
        entry.listener = Some(listener.into());
        entry.time = Some(start);
        entry.conn_start = Some(start);
        entry.extra = Some(line.undone(line.rest(), Escapes::Hash));
        return Ok(());
    }
    entry.listener = Some(listener.strip_suffix('~').unwrap_or(listener).into());
    let (cluster, server) =
        line.parsed("a backend and a server, with `/` between", |it| it.split_once('/'))?;
    let is_named = |it: &&str| !it.starts_with('<');
    entry.cluster = given(cluster).filter(is_named).map(Into::into);
    entry.upstream = given(server).filter(is_named).map(Into::into);
    let mut timers = line.word("timers such as `0/0/1/2/3`")?;
    // A word of one's own before them, most often the host.
    if !timers.contains('/') && line.rest().split(' ').next().is_some_and(|it| it.contains('/')) {
        entry.extra = Some(timers.into());
        timers = line.word("timers such as `0/0/1/2/3`")?;
    }
    read_timers(line, entry, timers, start)?;
    if !entry.is_connection {
        entry.status = line.parsed("a status", |it| status(it).or((it == "-1").then_some(None)))?;
    }
    let bytes = |it: &str| it.strip_prefix('+').unwrap_or(it).parse::<u64>().ok();
    entry.bytes_out = Some(line.parsed("a number of bytes", bytes)?);
    if !entry.is_connection {
        line.word("a captured cookie")?;
        line.word("a captured cookie")?;
    }
    entry.response_flags = given(line.word("a termination state")?).map(Into::into);
    let retries = |it: &str| it.rsplit_once('/')?.1.trim_start_matches('+').parse().ok();
    entry.retries = Some(line.parsed("five counts of connections", retries)?);
    line.parsed("two counts of queues", |it| it.contains('/').then_some(()))?;
    if entry.is_connection {
        entry.extra = given(line.rest()).map(Into::into);
        return Ok(());
    }
    read_request(line, entry)
}

/// A line of `option httplog clf`: the common log format, and behind it what the other form has too.
fn read_clf<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>, at: usize) -> Result<(), Misfit> {
    let head = line.rest()[..at].trim_end_matches(" - -");
    entry.set_client(head.rsplit(' ').next().unwrap_or_default());
    line.go_to(at + 1);
    let before = line.clone();
    let start = Instant::of_common_log(line.bracketed("a time in brackets")?);
    let request = line.quoted(Escapes::Hash, "the request in quotes")?;
    if request != "<BADREQ>" {
        entry.set_request(request);
    }
    entry.status = line.parsed("a status", |it| status(it).or((it == "-1").then_some(None)))?;
    entry.bytes_out = Some(line.parsed("a number of bytes", |it| it.parse().ok())?);
    line.expect("\"\" \"\" ", "two empty texts in quotes")?;
    entry.client_port = Some(line.parsed("a port", |it| it.parse().ok())?);
    let millis = line.parsed("milliseconds", |it| Span::of(it, 6))?;
    let Some(start) = start.and_then(|it| it.after(millis, 3)) else {
        return before.misfit("a time such as `[06/Feb/2009:12:14:14 +0000]`");
    };
    let mut name = || -> Result<Option<Text<'l>>, Misfit> {
        let name = line.quoted(Escapes::Hash, "a name in quotes")?;
        Ok((!name.starts_with('<')).then_some(name))
    };
    let listener = name()?;
    entry.listener = listener.map(|it| part(&it, 0, it.trim_end_matches('~').len()));
    entry.cluster = name()?;
    entry.upstream = name()?;
    let timers = line.rest();
    for _ in 0..5 {
        line.word("five timers")?;
    }
    let timers = &timers[..timers.len() - line.rest().len()];
    read_timers(line, entry, &timers.trim_end().replace(' ', "/"), start)?;
    entry.response_flags = given(line.word("a termination state")?).map(Into::into);
    for _ in 0..4 {
        line.word("five counts of connections")?;
    }
    let retries = |it: &str| it.trim_start_matches('+').parse().ok();
    entry.retries = Some(line.parsed("five counts of connections", retries)?);
    line.word("two counts of queues")?;
    line.word("two counts of queues")?;
    let captured = line.rest().trim_end();
    if captured.chars().any(|it| !matches!(it, '"' | ' ')) {
        entry.extra = Some(line.undone(captured, Escapes::Hash));
    }
    entry.is_escaped |= line.has_escaped_bytes;
    Ok(())
}

/// The client and when it came: what stands around the first time of the line.
fn read_head<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<Instant, Misfit> {
    let rest = line.rest();
    let Some(at) = start_of_time(rest) else {
        if rest.contains("Connect from ") {
            return line.misfit("a line of `option httplog` or `option tcplog`, which is not set,");
        }
        return line.misfit("a time such as `[06/Feb/2009:12:14:14.655]`");
    };
    let client = rest[..at].rsplit(' ').next().unwrap_or_default();
    let (address, port) = match client.rsplit_once(':') {
        Some((address, port)) => (address, port.parse().ok()),
        None => host_and_port(client),
    };
    if address.is_empty() {
        return line.misfit("a client's address and port before the time");
    }
    entry.set_client(address);
    entry.client_port = port;
    line.go_to(at + 1);
    let before = line.clone();
    let text = line.bracketed("a time in brackets")?;
    let time = Instant::of_common_log(text);
    // The time has no zone, but what syslog put before it may have that of the same machine.
    let offset = rest[..at].split(' ').find_map(Instant::offset_of_rfc_3339);
    let time = match offset.filter(|_| !text.contains(' ')) {
        Some(offset) => time.and_then(|it| it.earlier(offset)),
        None => time,
    };
    time.ok_or(()).or_else(|()| before.misfit("a time such as `[06/Feb/2009:12:14:14.655]`"))
}

/// Five timers of a request, or three of a connection.
fn read_timers<'l>(
    line: &Line<'l>,
    entry: &mut Entry<'l>,
    timers: &str,
    start: Instant,
) -> Result<(), Misfit> {
    let mut spans = [None; 5];
    let mut count = 0;
    for timer in timers.split('/') {
        let timer = timer.strip_prefix('+').unwrap_or(timer);
        let is_timer = timer == "-1" || Span::of(timer, 6).is_some();
        let Some(span) = spans.get_mut(count).filter(|_| is_timer) else {
            return line.misfit("timers such as `0/0/1/2/3` before this");
        };
        *span = Span::of(timer, 6);
        count += 1;
    }
    let duration = match count {
        3 => {
            entry.is_connection = true;
            entry.conn_start = Some(start);
            entry.connect = spans[1];
            spans[2]
        }
        5 => {
            entry.connect = spans[2];
            entry.first_byte = spans[3];
            spans[4]
        }
        _ => return line.misfit("three or five timers before this"),
    };
    entry.duration = duration;
    entry.time = duration.and_then(|it| start.after(it, 3)).or(Some(start));
    Ok(())
}

/// What was captured, the request, and what `httpslog` adds.
fn read_request<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let rest = line.rest();
    // A captured value has its braces and bars escaped.
    let captured = rest.starts_with('{').then(|| rest.find(" \"")).flatten().unwrap_or(0);
    if captured > 0 {
        let captured_text = line.undone(&rest[..captured], Escapes::Hash);
        entry.extra = Some(match entry.extra.take() {
            Some(word) => format!("{word} {captured_text}").into(),
            None => captured_text,
        });
        line.go_to(line.whole().len() - rest.len() + captured + 1);
    }
    let request = line.quoted(Escapes::Hash, "the request in quotes")?;
    if request != "<BADREQ>" {
        entry.set_request(request);
    }
    if !line.is_at_end() {
        let more = line.rest();
        let tls = more.rsplit_once(' ').map_or("", |(_, tls)| tls);
        let mut parts = tls.splitn(3, '/').map(|it| given(it).map(Into::into));
        entry.server_name = parts.next().flatten();
        entry.tls_version = parts.next().flatten();
        entry.tls_cipher = parts.next().flatten();
        if tls.is_empty() || entry.tls_version.is_none() {
            entry.server_name = None;
            entry.tls_cipher = None;
            entry.tls_version = None;
            let captured = entry.extra.take().unwrap_or_default();
            entry.extra = Some(format!("{captured} {more}").trim().to_owned().into());
        }
    }
    entry.is_escaped |= line.has_escaped_bytes;
    Ok(())
}
