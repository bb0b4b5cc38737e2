//! Listening: HTTP/1.1 connections, plain or in TLS, in bounded number, with time limits and an
//! orderly end; who the client is; bearer tokens; the shape of an error answer.
//!
//! Shared by ingest and the API. It knows no route.

mod activity;
mod answer;
mod body;
mod client_address;
mod connection;
mod files;
mod held_answer;
#[cfg(feature = "envoy")]
mod http2;
mod limits;
mod paced;
mod places;
mod reserve;
mod tls;
mod token;
mod unread;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::warn;

use crate::telemetry::{self, Entrance, Refusals};
use connection::Connections;

pub use answer::{ErrorAnswer, Refused};
pub use body::{over_budget, read_body};
pub use client_address::{ClientAddress, TrustedProxies};
pub use files::fit_to_files;
pub use held_answer::held_answer;
pub use limits::ConnectionLimits;
pub use places::{Place, Places};
pub use tls::{ClientCa, Tls, TlsError, TlsSettings, check_tls_file};
pub use token::{BearerTokens, Unauthorized, bearer_token};

/// How long connections may finish their request after the stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct CannotListen {
    pub address: SocketAddr,
    pub cause: io::Error,
}

/// A bound socket. Its clones share it, so that one may serve after another, and on another runtime; no
/// connection is lost in between.
#[derive(Clone)]
pub struct Listener {
    socket: Arc<std::net::TcpListener>,
    address: SocketAddr,
    tls: Option<Tls>,
    told: Option<(Entrance, Arc<Refusals>)>,
    reserve: Option<Router>,
}

impl Listener {
    /// Binds an address; port 0 takes any free one. With `tls` it speaks only TLS.
    ///
    /// # Errors
    /// When the system refuses, for example because the port is taken, or a file of `tls` cannot be
    /// used.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<&TlsSettings>,
    ) -> Result<Listener, CannotListen> {
        let cannot = |cause| CannotListen { address, cause };
        let tls = tls.map(|tls| Tls::open(tls.clone()).map_err(io::Error::other));
        let tls = tls.transpose().map_err(cannot)?;
        let socket = TcpListener::bind(address).await.and_then(TcpListener::into_std);
        let socket = socket.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        Ok(Listener { socket: Arc::new(socket), address, tls, told: None, reserve: None })
    }

    /// The same, whose refusals are counted and logged as those of an entrance.
    #[must_use]
    pub fn telling(self, entrance: Entrance, refusals: &Arc<Refusals>) -> Listener {
        Listener { told: Some((entrance, Arc::clone(refusals))), ..self }
    }

    /// The same, where a connection that finds no place is not left waiting: a few at a time have one request
    /// answered by this router, and end. It is to do nothing long.
    #[must_use]
    pub fn reserving(self, reserve: Router) -> Listener {
        Listener { reserve: Some(reserve), ..self }
    }

    /// The address it is bound to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections within limits until `stop` is done; then lets requests in progress finish,
    /// for a while, and returns. Every request has a [`ClientAddress`] among its extensions.
    ///
    /// # Errors
    /// When the socket cannot be used here.
    pub async fn serve(
        self,
        router: Router,
        limits: ConnectionLimits,
        proxies: TrustedProxies,
        stop: impl Future<Output = ()>,
    ) -> Result<(), CannotListen> {
        let (tls, told, reserve) = (self.tls.clone(), self.told.clone(), self.reserve.clone());
        let proxies_of_all = proxies.clone();
        let shared = Connections { router, reserve, proxies: proxies_of_all, tls, limits, told };
        let shared = Arc::new(shared);
        serve_each(self, limits, &proxies, stop, |stream, peer, place, watcher, stopping| {
            let shared = Arc::clone(&shared);
            async move {
                shared.serve(stream, peer, &place, watcher, stopping).await;
                drop(place);
            }
        })
        .await
    }
}

/// Has each connection served by `serve` until `stop` is done, and then waits for them, for a while.
async fn serve_each<F: Future<Output = ()> + Send + 'static>(
    listener: Listener,
    limits: ConnectionLimits,
    proxies: &TrustedProxies,
    stop: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, IpAddr, Place, Watcher, watch::Receiver<()>) -> F,
) -> Result<(), CannotListen> {
    let Listener { socket, address, reserve, .. } = listener;
    // With the reactor of the runtime that serves.
    let socket = socket.try_clone().and_then(TcpListener::from_std);
    let socket = socket.map_err(|cause| CannotListen { address, cause })?;
    let places = Places::new(limits);
    let places = Arc::new(if reserve.is_some() { places.reserving() } else { places });
    let requests = GracefulShutdown::new();
    let (going, stopping) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&socket, address, &places, proxies) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        tokio::spawn(serve(stream, peer.ip(), place, requests.watcher(), stopping.clone()));
    }
    drop((socket, going));
    if tokio::time::timeout(GRACE, requests.shutdown()).await.is_err() {
        warn!(%address, "connections were still busy and have been cut");
    }
    Ok(())
}

async fn accept(
    socket: &TcpListener,
    address: SocketAddr,
    places: &Arc<Places>,
    proxies: &TrustedProxies,
) -> Option<(TcpStream, SocketAddr, Place)> {
    match socket.accept().await {
        Ok((stream, peer)) => {
            let ip = peer.ip().to_canonical();
            let is_exempt = ip.is_loopback() || proxies.trusts(ip);
            let Some(place) = places.take(ip, is_exempt).await else {
                telemetry::connection_cut("address");
                return None;
            };
            // Answers are small and whole: waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            warn!(%address, %error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests;
