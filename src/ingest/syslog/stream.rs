//! Syslog over TCP, plain or in TLS: connections in bounded number, each read no faster than its lines are kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::super::counted::Counted;
use super::message::{Uncut, announced};
use super::{BATCH, Lines, add};
use crate::http::{ConnectionLimits, Place, Places, Tls};
use crate::telemetry;

/// Most connections at a time; each holds a message of up to `max_event`, and the lines that are made of what
/// it holds. One more takes the place of the one that has been silent longest.
const MAX_CONNECTIONS: usize = 256;

/// How long a message may take from its first byte to its last. Between messages a sender may be silent for as
/// long as nobody else wants its place: programs that log little keep their connection for days.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that are read at a time.
const READ: usize = 16 << 10;

/// Takes connections until the stop, then waits for those that there are.
pub(super) async fn accept(lines: Lines, listener: TcpListener, tls: Option<Arc<Tls>>) {
    let limits =
        ConnectionLimits { max_connections: MAX_CONNECTIONS, ..ConnectionLimits::default() };
    let places = Arc::new(Places::new(limits));
    let mut connections = JoinSet::new();
    let mut stopped = lines.stopped.clone();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection for syslog cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !lines.admits(peer.ip()) {
            continue;
        }
        let ip = peer.ip().to_canonical();
        let Some(place) = places.take_now(ip, ip.is_loopback()) else {
            let message = format!(
                "{peer} came when there were {MAX_CONNECTIONS} busy connections, or half as many of its address"
            );
            lines.refuse("ERR_SLUICEGATE_1153", message);
            continue;
        };
        let (lines, tls) = (lines.clone(), tls.clone());
        connections.spawn(async move {
            let board = Arc::clone(&lines.board);
            let _open = Counted::new(&board.connections);
            let from = format!("tcp/{peer}");
            let read = serve(lines, socket, tls.as_deref(), (&from, &place)).await;
            if let Err(error) = read {
                debug!(%peer, %error, "a connection for syslog ended");
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Does the handshake, if there is one, and reads.
async fn serve(
    lines: Lines,
    socket: TcpStream,
    tls: Option<&Tls>,
    (from, place): (&str, &Place),
) -> io::Result<()> {
    let Some(tls) = tls else { return read(lines, socket, from, place).await };
    let shaken = tokio::select! {
        () = place.ousted() => return Err(ousted()),
        shaken = timeout(HANDSHAKE, tls.acceptor().accept(socket)) => shaken,
    };
    match shaken {
        Ok(stream) => read(lines, stream?, from, place).await,
        Err(_) => {
            telemetry::connection_cut("handshake");
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// That a connection ends for another.
fn ousted() -> io::Error {
    telemetry::connection_cut("place");
    io::Error::other("its place was given to another")
}

/// What a connection may take, in bytes: what it has read, and the lines that are made of it.
pub(super) const fn memory(max_event: usize) -> usize {
    MAX_CONNECTIONS * 2 * (max_event + READ)
}

async fn read(
    mut lines: Lines,
    mut stream: impl AsyncRead + Unpin,
    from: &str,
    place: &Place,
) -> io::Result<()> {
    let max = lines.settings.max_event + 1;
    let mut stopped = lines.stopped.clone();
    let (mut uncut, mut buffer) = (Uncut::default(), vec![0; READ]);
    let mut is_open = true;
    let mut message_began: Option<Instant> = None;
    while is_open {
        let read = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => Ok(0),
            () = place.ousted() => return Err(ousted()),
            () = overdue(message_began) => {
                telemetry::connection_cut("head");
                return Err(io::Error::other("a message took too long"));
            }
            read = stream.read(&mut buffer) => read,
        };
        place.works();
        let length = read.as_ref().map_or(0, |it| *it);
        uncut.add(&buffer[..length]);
        is_open = length > 0;
        let (mut text, mut is_cut) = (Vec::new(), false);
        while let Some(message) = uncut.next_message() {
            is_cut = true;
            add(&lines.settings.format, &mut text, message);
            if text.len() >= BATCH {
                lines.keep(std::mem::take(&mut text), from).await;
            }
        }
        let rest = uncut.rest();
        // The last message of a stream may have no end.
        if !is_open && announced(rest).is_none() && !rest.is_empty() && !*stopped.borrow() {
            add(&lines.settings.format, &mut text, rest);
        }
        lines.keep(text, from).await;
        place.rests();
        let began = message_began.filter(|_| !is_cut).unwrap_or_else(Instant::now);
        message_began = (!rest.is_empty()).then_some(began);
        read?;
        if rest.len() > max || announced(rest).is_some_and(|it| it > max + 16) {
            let message = format!("a message has more than {} bytes", lines.settings.max_event);
            lines.refuse("ERR_SLUICEGATE_1007", &message);
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}

/// Done when a message that began then should have come.
async fn overdue(began: Option<Instant>) {
    match began {
        Some(began) => sleep_until(began + MESSAGE_TIMEOUT).await,
        None => std::future::pending().await,
    }
}
