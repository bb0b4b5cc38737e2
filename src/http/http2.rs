//! HTTP/2 on a listener of its own, whose streams may be open for as long as their clients live: connections in
//! bounded number, streams of each, windows, and who is silent for too long.
//!
//! A connection with an open stream keeps its place; one without is idle, as between two requests of
//! HTTP/1.1. What a stream carries, and how long it may take over that, is its service's matter.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::activity::Activity;
use super::client_address::{ClientAddress, TrustedProxies};
use super::connection::{Greeted, greet};
use super::limits::ConnectionLimits;
use super::tls::Tls;
use super::{CannotListen, Listener, serve_each};
use crate::lock::lock;
use crate::telemetry;

/// Most streams of a connection: Envoy opens one for each log that it writes.
const MAX_STREAMS: u32 = 32;

/// What a client may send ahead on one stream.
const STREAM_WINDOW: u32 = 64 << 10;

/// What it may send ahead on all streams of a connection; with what the connection holds besides, an upper
/// bound of what it takes while nobody reads from it.
const CONNECTION_WINDOW: u32 = 128 << 10;

/// Largest head of a request.
const MAX_HEAD: u32 = 16 << 10;

/// How often a client is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// What all connections of one listener share.
struct Connections<S> {
    service: S,
    tls: Option<Tls>,
    limits: ConnectionLimits,
}

impl Listener {
    /// Serves connections of HTTP/2 within limits until `stop` is done; then lets streams in progress end, for a
    /// while, and returns. Of the limits, those of heads and of writing do not hold here.
    ///
    /// # Errors
    /// When the socket cannot be used here.
    pub async fn serve_http2<S, F, B>(
        self,
        service: S,
        limits: ConnectionLimits,
        stop: impl Future<Output = ()>,
    ) -> Result<(), CannotListen>
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let tls = self.tls.clone();
        let shared = Arc::new(Connections { service, tls, limits });
        serve_each(
            self,
            limits,
            &TrustedProxies::default(),
            stop,
            |stream, peer, place, watcher, stopping| {
                let shared = Arc::clone(&shared);
                async move {
                    shared.serve(stream, peer, &place.activity, watcher, stopping).await;
                    drop(place);
                }
            },
        )
        .await
    }
}

impl<S, F, B> Connections<S>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        activity: &Arc<Activity>,
        watcher: Watcher,
        stopping: watch::Receiver<()>,
    ) {
        let Some(tls) = &self.tls else {
            return self.answer(stream, peer, activity, watcher).await;
        };
        let shake = (tls.acceptor_for_http2(), tls.runtime());
        match greet(stream, shake, activity, stopping, &peer.to_string()).await {
            Some(Greeted::Tls(stream)) => self.answer(*stream, peer, activity, watcher).await,
            Some(Greeted::Plain(_)) => debug!(%peer, "no TLS where it is spoken"),
            None => {}
        }
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: IpAddr,
        activity: &Arc<Activity>,
        watcher: Watcher,
    ) {
        let streams = Arc::new(Streams { open: Mutex::new(0), activity: Arc::clone(activity) });
        let service = service_fn(|request: Request<Incoming>| {
            let open = Streams::begin(&streams);
            let answer = (self.service)(marked(request, peer));
            async move {
                let answer = answer.await;
                drop(open);
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_send_buf_size(MAX_HEAD as usize)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection => ended,
            () = idle(activity, self.limits.idle_timeout) => return telemetry::connection_cut("idle"),
            () = activity.ousted() => return telemetry::connection_cut("place"),
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "connection ended");
        }
    }
}

/// A request with who its client is.
fn marked(mut request: Request<Incoming>, peer: IpAddr) -> Request<Incoming> {
    request.extensions_mut().insert(ClientAddress(peer.to_canonical()));
    request
}

/// Done when a connection has had no stream for so long.
async fn idle(activity: &Activity, most: Duration) {
    loop {
        match activity.waits_since() {
            Some(since) if since.elapsed() >= most => return,
            Some(since) => tokio::time::sleep_until(since + most).await,
            None => tokio::time::sleep(most).await,
        }
    }
}

/// The open streams of one connection.
struct Streams {
    open: Mutex<usize>,
    activity: Arc<Activity>,
}

/// A stream that is open until this is dropped.
struct OpenStream(Arc<Streams>);

impl Streams {
    fn begin(streams: &Arc<Streams>) -> OpenStream {
        let mut open = lock(&streams.open);
        *open += 1;
        streams.activity.begin_answer();
        OpenStream(Arc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = lock(&self.0.open);
        *open -= 1;
        if *open == 0 {
            self.0.activity.end_answer();
            self.0.activity.written();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_while_it_has_no_stream() {
        let activity = Arc::new(Activity::new());
        let streams = Arc::new(Streams { open: Mutex::new(0), activity: Arc::clone(&activity) });
        let most = Duration::from_secs(75);
        let hour = Duration::from_secs(3_600);
        let (one, other) = (Streams::begin(&streams), Streams::begin(&streams));
        assert!(tokio::time::timeout(hour, idle(&activity, most)).await.is_err());
        drop(one);
        assert!(tokio::time::timeout(hour, idle(&activity, most)).await.is_err());
        drop(other);
        let began = tokio::time::Instant::now();
        idle(&activity, most).await;
        assert_eq!(began.elapsed(), most);
    }
}
