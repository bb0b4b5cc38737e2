//! One connection: its handshake, if the listener speaks TLS, and then its requests, each marked with who
//! the client is.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::activity::Activity;
use super::answer::{ErrorAnswer, Refused};
use super::client_address::TrustedProxies;
use super::limits::ConnectionLimits;
use super::paced::Paced;
use super::places::Place;
use super::reserve::RESERVE_TIME;
use super::tls::Tls;
use super::unread::read_on;
use crate::telemetry::{self, Entrance, Refusals};

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
    /// What is answered in the reserve.
    pub(super) reserve: Option<Router>,
    pub(super) proxies: TrustedProxies,
    pub(super) tls: Option<Tls>,
    pub(super) limits: ConnectionLimits,
    /// Where refusals are told, and as whose.
    pub(super) told: Option<(Entrance, Arc<Refusals>)>,
}

impl Connections {
    /// Serves one connection to its end. A handshake is cut as soon as `stopping` has no sender
    /// any more; requests are finished first.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        place: &Place,
        watcher: Watcher,
        stopping: watch::Receiver<()>,
    ) {
        let router = match &self.reserve {
            Some(reserve) if place.is_reserve() => reserve,
            _ => {
                return self
                    .serve_by(&self.router, stream, (peer, &place.activity), watcher, stopping)
                    .await;
            }
        };
        let reason = tokio::select! {
            () = self.serve_by(router, stream, (peer, &place.activity), watcher, stopping) => return,
            () = place.ousted() => "place",
            () = tokio::time::sleep(RESERVE_TIME) => "reserve",
        };
        telemetry::connection_cut(reason);
    }

    /// The same by one of its routers.
    async fn serve_by(
        &self,
        router: &Router,
        stream: TcpStream,
        (peer, activity): (IpAddr, &Arc<Activity>),
        watcher: Watcher,
        stopping: watch::Receiver<()>,
    ) {
        let paced = |stream| Paced::new(stream, self.limits, Arc::clone(activity));
        let Some(tls) = &self.tls else {
            return self.answer(paced(stream), peer, activity, router, watcher).await;
        };
        let shake = (tls.acceptor(), tls.runtime());
        match greet(stream, shake, activity, stopping, &peer.to_string()).await {
            Some(Greeted::Tls(stream)) => {
                let stream = Paced::new(*stream, self.limits, Arc::clone(activity));
                self.answer(stream, peer, activity, router, watcher).await;
            }
            Some(Greeted::Plain(stream)) => {
                let refusing = Router::new().fallback(not_tls);
                self.answer(paced(stream), peer, activity, &refusing, watcher).await;
            }
            None => {}
        }
    }

    fn tell(&self, refused: Option<&Refused>) {
        if let (Some((entrance, refusals)), Some(refused)) = (&self.told, refused) {
            refusals.tell(*entrance, refused.code, 1, &refused.message);
        }
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: IpAddr,
        activity: &Arc<Activity>,
        router: &Router,
        watcher: Watcher,
    ) {
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            let client = self.proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            activity.begin_answer();
            let refused = foreign_coding(request.headers());
            let request = read_on(request);
            let answer = match refused {
                None => Ok(router.call(request)),
                Some(refused) => Err(refused),
            };
            async {
                let answer = match answer {
                    Ok(answer) => answer.await?,
                    Err(refused) => refused.into_response(),
                };
                self.tell(answer.extensions().get());
                Ok::<_, Infallible>(answer.map(|body| Tracked::new(body, activity)))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The stream keeps the time.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            self.tell(unread_head(&error).as_ref());
            debug!(%peer, %error, "connection ended");
        }
    }
}

/// What hyper has answered itself, with 431 or 400 and no words, since no request could be read.
fn unread_head(error: &hyper::Error) -> Option<Refused> {
    let (code, message) = match error {
        error if error.is_parse_too_large() => (
            "ERR_SLUICEGATE_1117",
            format!("a request's head has more than {MAX_HEAD} bytes or {MAX_HEADERS} lines"),
        ),
        error if error.is_parse() => {
            ("ERR_SLUICEGATE_1118", format!("what came is no request of HTTP/1.1: {error}"))
        }
        _ => return None,
    };
    Some(Refused { code, message })
}

/// An answer's body, whose end is the end of the answer.
struct Tracked {
    body: Body,
    activity: Arc<Activity>,
}

impl Tracked {
    fn new(body: Body, activity: &Arc<Activity>) -> Tracked {
        Tracked { body, activity: Arc::clone(activity) }
    }
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.activity.end_answer();
    }
}

/// Does the handshake of a stream on which TLS is to be spoken. None if nothing came of it.
pub(super) async fn greet(
    stream: TcpStream,
    (acceptor, runtime): (TlsAcceptor, &Handle),
    activity: &Activity,
    mut stopping: watch::Receiver<()>,
    peer: &str,
) -> Option<Greeted> {
    let handshake = async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first[0] == HANDSHAKE_RECORD {
            // It ends with this future.
            let mut shaking = JoinSet::new();
            shaking.spawn_on(acceptor.accept(stream), runtime);
            let shaken = shaking.join_next().await.transpose()?;
            let stopped = || io::Error::other("the runtime has ended");
            return Ok(Greeted::Tls(Box::new(shaken.ok_or_else(stopped)??)));
        }
        Ok::<_, io::Error>(Greeted::Plain(stream))
    };
    let greeted = tokio::select! {
        _ = stopping.changed() => return None,
        () = activity.ousted() => {
            telemetry::connection_cut("place");
            return None;
        }
        greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => greeted,
    };
    match greeted {
        Ok(Ok(greeted)) => return Some(greeted),
        Ok(Err(error)) => debug!(%peer, %error, "no TLS handshake"),
        Err(_) => {
            telemetry::connection_cut("handshake");
            debug!(%peer, "the TLS handshake took too long");
        }
    }
    None
}

/// A stream after the first bytes.
pub(super) enum Greeted {
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Refuses a transfer coding that is not undone here. `gzip, chunked` that were taken for `chunked` would be read
/// in another way than by whoever stands before this daemon.
fn foreign_coding(headers: &HeaderMap) -> Option<ErrorAnswer> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    if codings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return None;
    }
    Some(ErrorAnswer::new(
        StatusCode::NOT_IMPLEMENTED,
        "ERR_SLUICEGATE_1116",
        "the only `Transfer-Encoding` that is undone here is `chunked`, alone; compression is `Content-Encoding`",
    ))
}

async fn not_tls() -> impl axum::response::IntoResponse {
    let answer = ErrorAnswer::new(
        StatusCode::BAD_REQUEST,
        "ERR_SLUICEGATE_1111",
        "this address speaks TLS: use https://",
    );
    ([("connection", "close")], answer)
}
