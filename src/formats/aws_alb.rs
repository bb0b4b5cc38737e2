//! Access logs of AWS's Application Load Balancer, as they lie in S3 (compressed by gzip there).
//!
//! ```text
//! type time elb client:port target:port request target response code target-code received sent "request" "agent"
//!     cipher protocol group "trace" "domain" "certificate" priority created "actions" "redirect" "error" ...
//! ```
//!
//! | load balancer | event |
//! |---|---|
//! | `time` | `event_timestamp`: when the answer was out |
//! | `client:port`, `domain_name` | `conn.client_ip`, `proxy.client_port`, `conn.server_name` |
//! | the three processing times | `proxy.duration_ms` is their sum, `.first_byte_ms` that of the first two; none for -1 |
//! | codes | `http.response.status_code`, `proxy.upstream_status` |
//! | `received_bytes`, `sent_bytes` | `proxy.bytes_in`, `.bytes_out`: heads count too |
//! | `request`, `user_agent` | `http.request.*`, `proxy.protocol` |
//! | `ssl_cipher`, `ssl_protocol` | `tls.cipher_suite`, `tls.version` |
//! | `elb`, `target_group_arn`, `target:port`, rule | `proxy.listener`, `.cluster`, `.upstream`, `.route` |
//! | `trace_id` | `proxy.request_id` |
//! | `error_reason` | `proxy.response_flags` |
//!
//! Later fields, which AWS adds to from time to time, are passed over.

use super::common_log::{count, status};
use super::entry::Entry;
use super::instant::{Instant, Span};
use super::line::{Escapes, Line, given, host_and_port};
use super::{Misfit, Sample};

pub(super) const SAMPLES: [Sample; 3] = [
    (
        r#"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/a?b=1 HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90"#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2018-07-02T22:23:00.186641Z","object":{"conn":{"client_ip":"192.168.131.39","server_name":"www.example.com"},"http":{"request":{"method":"get","url":{"host":"www.example.com","path":"/a","query":"b=1","raw":"https://www.example.com:443/a?b=1","scheme":"https"},"user_agent":"curl/7.46.0"},"response":{"status_code":200}},"proxy":{"bytes_in":0,"bytes_out":57,"client_port":2817,"cluster":"arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067","duration_ms":171,"first_byte_ms":134,"listener":"app/my-loadbalancer/50dc6c495c0c9188","name":"aws_alb","protocol":"HTTP/1.1","request_id":"Root=1-58337281-1d84f3d73c47ec4e58577259","route":"1","upstream":"10.0.0.1:80","upstream_status":200},"tls":{"cipher_suite":"ECDHE-RSA-AES128-GCM-SHA256","version":"1.2"}}}"#,
    ),
    (
        r#"http 2018-11-30T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 - 0.000 0.001 0.000 502 - 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 0 2018-11-30T22:22:48.364000Z "forward" "-" "LambdaInvalidResponse" "-" "-" "-" "-""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2018-11-30T22:23:00.186641Z","object":{"conn":{"client_ip":"192.168.131.39","server_name":"www.example.com"},"http":{"request":{"method":"get","url":{"host":"www.example.com","path":"/","query":"","raw":"http://www.example.com:80/","scheme":"http"},"user_agent":"curl/7.46.0"},"response":{"status_code":502}},"proxy":{"bytes_in":34,"bytes_out":366,"client_port":2817,"cluster":"arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067","duration_ms":1,"first_byte_ms":1,"listener":"app/my-loadbalancer/50dc6c495c0c9188","name":"aws_alb","protocol":"HTTP/1.1","request_id":"Root=1-58337364-23a8c76965a2ef7629b185e3","response_flags":"LambdaInvalidResponse","route":"0"}}}"#,
    ),
    (
        r#"h2 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 [2001:db8::7]:2817 - -1 -1 -1 460 - 0 0 "- http://www.example.com:80- -" "-" - - - "-" "-" "-" - 2018-07-02T22:22:48.364000Z "-" "-" "-""#,
        r#"{"event_type":"http_request_complete.v0","event_timestamp":"2018-07-02T22:23:00.186641Z","object":{"conn":{"client_ip":"2001:db8::7"},"http":{"response":{"status_code":460}},"proxy":{"bytes_in":0,"bytes_out":0,"client_port":2817,"listener":"app/my-loadbalancer/50dc6c495c0c9188","name":"aws_alb","request_line":"- http://www.example.com:80- -"}}}"#,
    ),
];

pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let kinds = ["http", "https", "h2", "grpcs", "ws", "wss"];
    line.parsed("a type such as `https`", |it| kinds.contains(&it).then_some(()))?;
    entry.time = Some(line.parsed("a time in RFC 3339", Instant::of_rfc_3339)?);
    entry.listener = given(line.word("a load balancer's name")?).map(Into::into);
    let (address, port) = host_and_port(line.word("a client's address and port")?);
    entry.set_client(address);
    entry.client_port = port;
    entry.upstream = given(line.word("a target's address and port")?).map(Into::into);
    let mut seconds = || {
        let read = |it: &str| (it == "-1").then_some(None).or(Span::of(it, 9).map(Some));
        line.parsed("a time in seconds, or -1", read)
    };
    let (request, target, response) = (seconds()?, seconds()?, seconds()?);
    entry.first_byte = request.and_then(|it| it.and(target));
    entry.duration = entry.first_byte.and_then(|it| it.and(response));
    entry.status = line.parsed("a status, or `-`", status)?;
    entry.upstream_status = line.parsed("the target's status, or `-`", status)?;
    entry.bytes_in = line.parsed("bytes received", count)?;
    entry.bytes_out = line.parsed("bytes sent", count)?;
    let request = line.quoted(Escapes::Backslash, "the request in quotes")?;
    entry.set_request(request);
    let agent = line.quoted(Escapes::Backslash, "the agent in quotes")?;
    entry.user_agent = Some(agent).filter(|it| given(it).is_some());
    entry.tls_cipher = given(line.word("a cipher, or `-`")?).map(Into::into);
    entry.tls_version = given(line.word("a TLS version, or `-`")?).map(Into::into);
    entry.cluster = given(line.word("a target group, or `-`")?).map(Into::into);
    let mut quoted = || line.quoted(Escapes::Backslash, "a value in quotes");
    let (trace, domain, _certificate) = (quoted()?, quoted()?, quoted()?);
    entry.request_id = Some(trace).filter(|it| given(it).is_some());
    entry.server_name = Some(domain).filter(|it| given(it).is_some());
    entry.route = given(line.word("a rule's priority, or `-`")?).map(Into::into);
    line.word("when the request was made")?;
    let mut quoted = || line.quoted(Escapes::Backslash, "a value in quotes");
    let (_actions, _redirect, error) = (quoted()?, quoted()?, quoted()?);
    entry.response_flags = Some(error).filter(|it| given(it).is_some());
    entry.is_escaped |= line.has_escaped_bytes;
    Ok(())
}
