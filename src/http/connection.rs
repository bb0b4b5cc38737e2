//! One connection: its handshake, if the listener speaks TLS, and then its requests, each marked with who
//! the client is.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::answer::ErrorAnswer;
use super::client_address::TrustedProxies;
use super::tls::Tls;
use super::unread::read_on;

/// How long a client may take to send a request's head. Ends idle keep-alive connections too, so it
/// is longer than any scraper's or sender's pause.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Largest head of a request, but for what the last read brings beyond it; hyper's own minimum is
/// 8 KiB, and real heads are below 4 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Most header lines of a request: hyper's own number, named here since it is promised.
const MAX_HEADERS: usize = 100;

/// How long a client may take over the TLS handshake: two or three round trips on the worst network.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first byte of every TLS connection: a record of type handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// What all connections of one listener share.
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) proxies: TrustedProxies,
    pub(super) tls: Option<Tls>,
}

impl Connections {
    /// Serves one connection to its end. A handshake is cut as soon as `stopping` has no sender
    /// any more; requests are finished first.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        watcher: Watcher,
        mut stopping: watch::Receiver<()>,
    ) {
        let Some(tls) = &self.tls else {
            return self.answer(stream, peer, self.router.clone(), watcher).await;
        };
        let handshake = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first[0] == HANDSHAKE_RECORD {
                return Ok(Greeted::Tls(Box::new(tls.acceptor().accept(stream).await?)));
            }
            Ok::<_, std::io::Error>(Greeted::Plain(stream))
        };
        let greeted = tokio::select! {
            _ = stopping.changed() => return,
            greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => greeted,
        };
        match greeted {
            Ok(Ok(Greeted::Tls(stream))) => {
                self.answer(*stream, peer, self.router.clone(), watcher).await;
            }
            Ok(Ok(Greeted::Plain(stream))) => {
                let refusing = Router::new().fallback(not_tls);
                self.answer(stream, peer, refusing, watcher).await;
            }
            Ok(Err(error)) => debug!(%peer, %error, "no TLS handshake"),
            Err(_) => debug!(%peer, "the TLS handshake took too long"),
        }
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: IpAddr,
        router: Router,
        watcher: Watcher,
    ) {
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            let client = self.proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            router.call(read_on(request))
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            debug!(%peer, %error, "connection ended");
        }
    }
}

/// A stream after the first bytes.
enum Greeted {
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Plain(TcpStream),
}

async fn not_tls() -> impl axum::response::IntoResponse {
    let answer = ErrorAnswer::new(
        StatusCode::BAD_REQUEST,
        "ERR_SLUICEGATE_1111",
        "this address speaks TLS: use https://",
    );
    ([("connection", "close")], answer)
}
