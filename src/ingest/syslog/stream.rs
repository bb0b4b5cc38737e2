//! Syslog over TCP, plain or in TLS: connections in bounded number, each read no faster than its lines are kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::super::counted::Counted;
use super::message::{announced, first_of};
use super::{BATCH, Lines, add};
use crate::http::Tls;

/// Most connections at a time; each holds a buffer of up to `max_event`.
const MAX_CONNECTIONS: usize = 256;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that are read at a time.
const READ: usize = 16 << 10;

/// Takes connections until the stop, then waits for those that there are.
pub(super) async fn accept(lines: Lines, listener: TcpListener, tls: Option<Arc<Tls>>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let message = format!("{peer} came when there were {MAX_CONNECTIONS} connections");
            lines.refuse("ERR_SLUICEGATE_1153", message);
            continue;
        };
        let (lines, tls) = (lines.clone(), tls.clone());
        connections.spawn(async move {
            let board = Arc::clone(&lines.board);
            let _open = Counted::new(&board.connections);
            let from = format!("tcp/{peer}");
            let read = match tls {
                None => read(lines, socket, &from).await,
                Some(tls) => {
                    match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(socket)).await {
                        Ok(Ok(stream)) => read(lines, stream, &from).await,
                        Ok(Err(error)) => Err(error),
                        Err(_) => Err(io::ErrorKind::TimedOut.into()),
                    }
                }
            };
            if let Err(error) = read {
                debug!(%peer, %error, "a connection for syslog ended");
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn read(mut lines: Lines, mut stream: impl AsyncRead + Unpin, from: &str) -> io::Result<()> {
    let max = lines.settings.max_event + 1;
    let mut stopped = lines.stopped.clone();
    let mut bytes = Vec::new();
    let mut is_open = true;
    while is_open {
        let before = bytes.len();
        bytes.resize(before + READ, 0);
        let read = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => Ok(0),
            read = stream.read(&mut bytes[before..]) => read,
        };
        let length = read.as_ref().map_or(0, |it| *it);
        bytes.truncate(before + length);
        is_open = length > 0;
        let (mut text, mut at) = (Vec::new(), 0);
        while let Some((length, message)) = first_of(&bytes[at..]) {
            add(lines.settings.format, &mut text, &bytes[at..][message]);
            at += length;
            if text.len() >= BATCH {
                lines.keep(std::mem::take(&mut text), from).await;
            }
        }
        bytes.drain(..at);
        // The last message of a stream may have no end.
        if !is_open && announced(&bytes).is_none() && !bytes.is_empty() && !*stopped.borrow() {
            add(lines.settings.format, &mut text, &bytes);
        }
        lines.keep(text, from).await;
        read?;
        if bytes.len() > max || announced(&bytes).is_some_and(|it| it > max + 16) {
            let message = format!("a message has more than {} bytes", lines.settings.max_event);
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}
