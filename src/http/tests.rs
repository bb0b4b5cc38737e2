//! A listener with a router of its own, over real sockets.

use std::net::Ipv4Addr;

use axum::Extension;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Serves the client's address on a free port, behind proxies on loopback.
async fn listening() -> SocketAddr {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), None).await.unwrap();
    let address = listener.address();
    let show = async |Extension(client): Extension<ClientAddress>| client.0.to_string();
    let refuse = async || (StatusCode::PAYLOAD_TOO_LARGE, "refused");
    let router = Router::new().route("/", get(show).post(refuse));
    let proxies = TrustedProxies::new(vec![TrustedProxies::network("127.0.0.0/8").unwrap()]);
    let limits = ConnectionLimits { max_connections: 4, ..ConnectionLimits::default() };
    tokio::spawn(listener.serve(router, limits, proxies, std::future::pending()));
    address
}

async fn answer(head: &str) -> String {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // What a server does not want to read it may cut off.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn head(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn each_request_is_told_who_the_client_is() {
    assert!(answer(&head("")).await.ends_with("\r\n\r\n127.0.0.1"));
    let said =
        answer(&head("x-forwarded-for: 198.51.100.7\r\nX-Forwarded-For: 127.0.0.2\r\n")).await;
    assert!(said.ends_with("\r\n\r\n198.51.100.7"), "{said}");
}

#[tokio::test]
async fn heads_are_limited_in_bytes_and_in_lines() {
    let wide = |bytes: usize| head(&format!("x: {}\r\n", "x".repeat(bytes)));
    let long = |lines: usize| head(&"x: y\r\n".repeat(lines));
    for (head, status) in
        [(wide(30_000), "200"), (wide(80_000), "431"), (long(98), "200"), (long(99), "431")]
    {
        let said = answer(&head).await;
        assert_eq!(said.split(' ').nth(1), Some(status), "{} bytes: {said}", head.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_given_up() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
}

#[tokio::test]
async fn who_begins_with_http_2_is_told_that_this_is_http_1_1() {
    let said = answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let frames = said.as_bytes();
    let length = usize::from(frames[9 + 2]);
    assert_eq!((frames[9 + 3], frames.len()), (7, 9 + 9 + length), "one frame GOAWAY is the last");
    assert_eq!(frames[9 + 9 + 4..][..4], [0, 0, 0, 13]);
    assert!(said.ends_with("(ERR_SLUICEGATE_1353)"), "{said}");
}

fn post(length: usize, more: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{more}\r\n")
}

/// Reads up to the end of one refusal.
async fn refusal(stream: &mut TcpStream) -> io::Result<String> {
    let mut said = Vec::new();
    while !said.ends_with(b"refused") {
        if stream.read_buf(&mut said).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_client_that_still_writes_sees_why_its_body_is_refused_and_may_go_on() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    for _ in 0..3 {
        stream.write_all(post(900_000, "").as_bytes()).await.unwrap();
        for _ in 0..9 {
            stream.write_all(&[b'x'; 100_000]).await.unwrap();
        }
        let said = refusal(&mut stream).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 413 ") && said.ends_with("refused"), "{said}");
    }
}

#[tokio::test]
async fn a_client_that_writes_for_ever_is_cut_off() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(post(usize::MAX >> 2, "").as_bytes()).await.unwrap();
    let mut written = 0usize;
    while stream.write_all(&[b'x'; 100_000]).await.is_ok() {
        written += 100_000;
        assert!(written < 1 << 30, "a gigabyte of it was read");
    }
}

#[tokio::test]
async fn a_client_that_writes_nothing_more_is_not_waited_for() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(post(10, "").as_bytes()).await.unwrap();
    let said = refusal(&mut stream).await.unwrap();
    assert!(said.ends_with("refused"), "{said}");
    tokio::time::pause();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "closed");
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_invited_to_send_what_is_refused() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(post(10, "expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let said = refusal(&mut stream).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
}
