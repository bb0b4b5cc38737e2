//! Listening: HTTP/1.1 connections in bounded number, with time limits and an orderly end; bearer
//! tokens; the shape of an error answer.
//!
//! Shared by ingest and the API. It knows no route.

mod answer;
mod token;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

pub use answer::ErrorAnswer;
pub use token::{BearerTokens, Unauthorized, bearer_token};

/// How long a client may take to send a request's head. Ends idle keep-alive connections too, so it
/// is longer than any scraper's or sender's pause.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Largest head of a request; hyper's own minimum is 8 KiB, and real heads are below 4 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// How long connections may finish their request after the stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct CannotListen {
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub cause: io::Error,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.cause)
    }
}

impl std::error::Error for CannotListen {}

/// A bound socket that nobody has been accepted from yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address; port 0 takes any free one.
    ///
    /// # Errors
    /// When the system refuses, for example because the port is taken.
    pub async fn bind(address: SocketAddr) -> Result<Listener, CannotListen> {
        let cannot = |cause| CannotListen { address, cause };
        let socket = TcpListener::bind(address).await.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        Ok(Listener { socket, address })
    }

    /// The address it is bound to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections, at most `max_connections` at a time (more wait in the system's queue),
    /// until `stop` is done; then lets requests in progress finish, for a while, and returns.
    pub async fn serve(
        self,
        router: Router,
        max_connections: usize,
        stop: impl Future<Output = ()>,
    ) {
        let places = Arc::new(Semaphore::new(max_connections));
        let connections = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.accept(&places) => accepted,
            };
            let Some((stream, place)) = accepted else { continue };
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD);
            let service = TowerToHyperService::new(router.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "connection ended");
                }
                drop(place);
            });
        }
        drop(self.socket);
        if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
            warn!(address = %self.address, "connections were still busy and have been cut");
        }
    }

    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.socket.accept().await {
            Ok((stream, _)) => {
                // Answers are small and whole: waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                Some((stream, place))
            }
            Err(error) => {
                warn!(address = %self.address, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// The client's address; to be replaced by the listener's.
#[must_use]
pub fn client_address(extensions: &axum::http::Extensions) -> Option<std::net::IpAddr> {
    extensions.get::<std::net::IpAddr>().copied()
}
