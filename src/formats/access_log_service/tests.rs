//! Entries made by Envoy's own messages, and their events field by field; messages cut anywhere.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{Node, Pipe, SocketAddress};
use envoy_types::pb::envoy::data::accesslog::v3::ConnectionProperties;
use envoy_types::pb::envoy::data::accesslog::v3::tls_properties::CertificateProperties;
use envoy_types::pb::envoy::service::accesslog::v3::StreamAccessLogsMessage;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::{
    HttpAccessLogEntries, Identifier, LogEntries, TcpAccessLogEntries,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use serde_json::{Value, json};

use super::*;

fn socket(address: &str, port: u32) -> Option<Address> {
    let port = Some(socket_address::PortSpecifier::PortValue(port));
    let socket =
        SocketAddress { address: address.to_owned(), port_specifier: port, ..Default::default() };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

fn span_of(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

fn common() -> AccessLogCommon {
    AccessLogCommon {
        downstream_remote_address: socket("198.51.100.7", 40_000),
        downstream_local_address: socket("2001:db8::1", 443),
        upstream_remote_address: socket("10.0.2.1", 80),
        upstream_cluster: "shop".to_owned(),
        route_name: "cart".to_owned(),
        start_time: Some(Time { seconds: 1_795_708_488, nanos: 80_000_000 }),
        duration: span_of(1, 36_012_000),
        time_to_first_upstream_rx_byte: span_of(0, 1_500_000),
        upstream_request_attempt_count: 3,
        ..Default::default()
    }
}

fn request() -> HttpAccessLogEntry {
    let headers = [(":method", "BREW"), ("x-b", "Två"), ("x-a", "1")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            response_flags: Some(ResponseFlags {
                upstream_connection_failure: true,
                upstream_retry_limit_exceeded: true,
                ..Default::default()
            }),
            tls_properties: Some(TlsProperties {
                tls_version: TlsVersion::TlSv13 as i32,
                tls_cipher_suite: Some(UInt32Value { value: 0x1301 }),
                tls_sni_hostname: "shop.example".to_owned(),
                peer_certificate_properties: Some(CertificateProperties {
                    subject: "emailAddress=a@b.example, CN=till 7,O=Shop".to_owned(),
                    ..Default::default()
                }),
                ja3_fingerprint: "771,4865".to_owned(),
                ..Default::default()
            }),
            downstream_wire_bytes_received: 300,
            downstream_wire_bytes_sent: 400,
            stream_id: "a stream".to_owned(),
            upstream_transport_failure_reason: "refused".to_owned(),
            ..common()
        }),
        protocol_version: HttpVersion::Http2 as i32,
        request: Some(HttpRequestProperties {
            scheme: "https".to_owned(),
            authority: "shop.example:443".to_owned(),
            path: "/rewritten".to_owned(),
            original_path: "/cart?item=7".to_owned(),
            user_agent: "curl/8.9.1".to_owned(),
            forwarded_for: "198.51.100.7".to_owned(),
            request_id: "an id".to_owned(),
            request_body_bytes: 5,
            request_headers: HashMap::from(headers),
            ..Default::default()
        }),
        response: Some(HttpResponseProperties {
            response_code: Some(UInt32Value { value: 503 }),
            response_code_details: "upstream_reset".to_owned(),
            response_body_bytes: 91,
            ..Default::default()
        }),
    }
}

fn converted(message: &[u8]) -> Result<(Vec<Value>, u64, Option<String>), Malformed> {
    let mut entries = Entries::of(Bytes::copy_from_slice(message));
    let (mut node, mut out, mut others) = (None, String::new(), 0);
    while let Some(converted) = entries.next(&mut node, Some("ac_1"), &mut out)? {
        others += u64::from(converted != Converted::Event);
    }
    Ok((out.lines().map(|it| serde_json::from_str(it).unwrap()).collect(), others, node))
}

fn of_requests(log_entry: Vec<HttpAccessLogEntry>) -> Vec<u8> {
    let node = Some(Node { id: "edge-1".to_owned(), ..Default::default() });
    let identifier = Some(Identifier { node, log_name: "log".to_owned() });
    let log_entries = Some(LogEntries::HttpLogs(HttpAccessLogEntries { log_entry }));
    StreamAccessLogsMessage { identifier, log_entries }.encode_to_vec()
}

fn of_connections(log_entry: Vec<TcpAccessLogEntry>) -> Vec<u8> {
    let log_entries = Some(LogEntries::TcpLogs(TcpAccessLogEntries { log_entry }));
    StreamAccessLogsMessage { identifier: None, log_entries }.encode_to_vec()
}

#[test]
fn a_request_becomes_an_event_field_by_field() {
    let (events, others, node) = converted(&of_requests(vec![request()])).unwrap();
    assert_eq!((others, node.as_deref()), (0, Some("edge-1")));
    let expected = json!({
        "event_type": "http_request_complete.v0",
        "event_timestamp": "2026-11-26T15:54:49.116012Z",
        "account_id": "ac_1",
        "object": {
            "conn": {
                "client_ip": "198.51.100.7", "server_ip": "2001:db8::1",
                "server_name": "shop.example", "server_port": 443,
            },
            "http": {
                "request": {
                    "body_length": 5,
                    "headers": {"X-A": ["1"], "X-B": ["två"], "X-Forwarded-For": ["198.51.100.7"]},
                    "method": "brew",
                    "url": {
                        "host": "shop.example", "path": "/cart", "query": "item=7",
                        "raw": "https://shop.example:443/cart?item=7", "scheme": "https",
                    },
                    "user_agent": "curl/8.9.1",
                },
                "response": {"body_length": 91, "status_code": 503},
            },
            "proxy": {
                "bytes_in": 300, "bytes_out": 400, "client_port": 40_000, "cluster": "shop",
                "duration_ms": 1_036.012, "extra": "upstream_reset refused", "first_byte_ms": 1.5,
                "ja3": "771,4865", "name": "envoy", "node": "edge-1", "protocol": "HTTP/2",
                "request_id": "an id", "response_flags": "UF,URX", "retries": 2, "route": "cart",
                "upstream": "10.0.2.1:80",
            },
            "tls": {
                "cipher_suite": "TLS_AES_128_GCM_SHA256",
                "client_cert": {"subject": {"cn": "till 7"}}, "version": "1.3",
            },
        },
    });
    assert_eq!(events, [expected]);
}

#[test]
fn a_connection_and_a_failed_handshake_become_events_of_connections() {
    let closed = TcpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            access_log_type: AccessLogType::TcpConnectionEnd as i32,
            upstream_remote_address: socket("2001:db8::2", 5432),
            downstream_remote_address: Some(Address {
                address: Some(address::Address::Pipe(Pipe {
                    path: "/run/x".to_owned(),
                    ..Default::default()
                })),
            }),
            ..common()
        }),
        connection_properties: Some(ConnectionProperties { received_bytes: 6, sent_bytes: 120 }),
    };
    let (events, _, _) = converted(&of_connections(vec![closed])).unwrap();
    let object = &events[0]["object"];
    assert_eq!(events[0]["event_type"], "tcp_connection_closed.v0");
    assert_eq!(object["conn"]["bytes_in"], 6);
    assert_eq!(object["conn"]["bytes_out"], 120);
    assert_eq!(object["conn"]["start_ts"], "2026-11-26T15:54:48.080Z");
    assert_eq!(object["conn"]["end_ts"], events[0]["event_timestamp"]);
    assert_eq!(object["proxy"]["upstream"], "[2001:db8::2]:5432");
    assert_eq!(object["proxy"]["client_name"], "/run/x");
    let failed = HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            downstream_transport_failure_reason: "TLS_error".to_owned(),
            ..common()
        }),
        request: Some(HttpRequestProperties::default()),
        ..Default::default()
    };
    let (events, _, _) = converted(&of_requests(vec![failed])).unwrap();
    assert_eq!(events[0]["event_type"], "tcp_connection_closed.v0");
    assert_eq!(events[0]["object"]["proxy"]["extra"], "TLS_error");
}

#[test]
fn what_tells_of_no_end_is_passed_over_and_what_is_too_large_is_told() {
    let kinds = [AccessLogType::DownstreamStart, AccessLogType::UpstreamEnd];
    let mut entries: Vec<_> = kinds
        .map(|kind| HttpAccessLogEntry {
            common_properties: Some(AccessLogCommon { access_log_type: kind as i32, ..common() }),
            ..Default::default()
        })
        .into();
    entries.push(request());
    let mut large = request();
    large.request.as_mut().unwrap().path = "x".repeat(MAX_ENTRY);
    entries.push(large);
    let (events, others, _) = converted(&of_requests(entries)).unwrap();
    assert_eq!((events.len(), others), (1, 3));
    let (events, _, _) = converted(&of_requests(vec![HttpAccessLogEntry::default()])).unwrap();
    let empty = json!({"event_type": "http_request_complete.v0",
        "object": {"proxy": {"name": "envoy", "node": "edge-1"}}});
    assert_eq!(events[0]["object"], empty["object"], "an entry that tells nothing");
}

#[test]
fn bytes_that_are_no_message_are_refused_wherever_they_are_cut() {
    let message = of_requests(vec![request(), request()]);
    let whole = converted(&message).unwrap();
    for end in 0..message.len() {
        // What ends between two fields is a message, of less.
        if let Ok((events, ..)) = converted(&message[..end]) {
            assert!(events.len() < whole.0.len(), "{end}");
        }
    }
    for bytes in
        [&b"\x12\xff\xff\xff\xff\x0f"[..], b"\x0b", b"\xff", b"\x12\x02\x0a\x01", b"\x0a\x05"]
    {
        assert!(converted(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(converted(b"").unwrap().0.len(), 0);
    assert_eq!(converted(b"\x08\x01\x25abcd\x21abcdefgh\x7a\x01x").unwrap().1, 0, "other fields");
}
