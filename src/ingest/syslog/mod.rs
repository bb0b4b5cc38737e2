//! Syslog as an entrance, over UDP and TCP on one port, or TCP in TLS alone: messages whose lines are those of an
//! access log.
//!
//! Nobody is answered: syslog has no word for it. Over TCP the sender waits when the journal is full; over UDP
//! what comes meanwhile is dropped by the system when its buffer is full. What was read and not kept when the
//! daemon is killed is lost.

mod board;
mod message;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::conversion::convert;
use super::counted::Counted;
use super::keeping::Keeping;
use crate::budget::Budget;
use crate::formats::Format;
use crate::http::{CannotListen, Tls, TlsSettings};
use crate::journal::AT_SYSLOG;
use crate::pipeline::{Pipeline, Sender};
use crate::supervision;
use crate::telemetry::Entrance;

pub use board::{SyslogBoard, SyslogReading};
use message::line_of;

/// Largest datagram that UDP has.
const MAX_DATAGRAM: usize = 64 << 10;

/// Lines are handed on once so many bytes of them have come, or nothing more is there.
const BATCH: usize = 128 << 10;

/// Turns of lines that are examined at a time: enough for all cores, and little enough that what is made of
/// them has a bound.
const TURNS: usize = 4;

/// An event takes so many times the bytes of its line, with what dispatch makes of it.
const MADE_OF_A_LINE: usize = 16;

/// Datagrams that are received before others have a turn, whoever sent them and whatever is in them: whom
/// nobody lets in, and who sends no line, must not hold up the daemon or its stop.
const MAX_AT_ONCE: usize = 64;

/// The settings of syslog as an entrance.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogSettings {
    pub listen: SocketAddr,
    pub format: Format,
    /// Who may send: addresses of these networks, and those of the machine itself if there are none.
    pub allow: Vec<IpNet>,
    /// TLS, and then no UDP.
    pub tls: Option<TlsSettings>,
    /// Longest message over TCP, and largest event, in bytes.
    pub max_event: usize,
}

/// Syslog as an entrance, running.
pub struct Syslog {
    board: Arc<SyslogBoard>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What all of its sockets share.
#[derive(Clone)]
struct Lines {
    settings: Arc<SyslogSettings>,
    keeping: Keeping,
    board: Arc<SyslogBoard>,
    /// So many turns of lines are converted and examined at a time.
    turns: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl SyslogSettings {
    /// What connections and the lines on their way take at most, in bytes, where few subscriptions take each.
    #[must_use]
    pub const fn memory(&self) -> usize {
        stream::memory(self.max_event) + TURNS * MADE_OF_A_LINE * (BATCH + self.max_event)
    }
}

impl Syslog {
    /// Listens and begins to take messages.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a certificate cannot be used.
    pub async fn start(
        settings: SyslogSettings,
        pipeline: Arc<Pipeline>,
    ) -> Result<Syslog, CannotListen> {
        let listen = settings.listen;
        let cannot = |cause| CannotListen { address: listen, cause };
        let tcp = TcpListener::bind(listen).await.map_err(cannot)?;
        let address = tcp.local_addr().map_err(cannot)?;
        let tls = settings.tls.clone().map(Tls::open).transpose();
        let tls = tls.map_err(|error| cannot(io::Error::other(error)))?;
        let (stop, stopped) = watch::channel(false);
        let sender = Arc::new(Sender::new(Entrance::Syslog, settings.max_event, None));
        let keeping = Keeping { pipeline, sender, entrance: Entrance::Syslog, owner: AT_SYSLOG };
        let board = Arc::new(SyslogBoard::default());
        let settings = Arc::new(settings);
        let turns = Arc::new(Semaphore::new(TURNS));
        let lines = Lines { settings, keeping, board: Arc::clone(&board), turns, stopped };
        let mut tasks = Vec::new();
        if tls.is_none() {
            let udp = UdpSocket::bind(address).await.map_err(cannot)?;
            tasks
                .push(tokio::spawn(supervision::once("syslog", lines.clone().take_datagrams(udp))));
        }
        tasks.push(tokio::spawn(supervision::once(
            "syslog",
            stream::accept(lines, tcp, tls.map(Arc::new)),
        )));
        info!(%address, "syslog is listened for");
        Ok(Syslog { board, stop, tasks })
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<SyslogBoard> {
        Arc::clone(&self.board)
    }

    /// Takes nothing more, and waits until what was taken is kept.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                error!(%error, "syslog's entrance ended early");
            }
        }
    }
}

impl Lines {
    /// Whether an address may send.
    fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let admits = match self.settings.allow.as_slice() {
            [] => peer.is_loopback(),
            networks => networks.iter().any(|it| it.contains(&peer)),
        };
        if !admits {
            self.refuse("ERR_SLUICEGATE_1152", format!("{peer} is not in `ingest.syslog.allow`"));
        }
        admits
    }

    fn refuse(&self, code: &'static str, message: impl std::fmt::Display) {
        self.keeping.pipeline.refusals().tell(Entrance::Syslog, code, 1, message);
    }

    async fn take_datagrams(mut self, socket: UdpSocket) {
        let mut datagram = vec![0; MAX_DATAGRAM];
        let mut stopped = self.stopped.clone();
        loop {
            let ready = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                ready = socket.readable() => ready,
            };
            if let Err(error) = ready {
                warn!(%error, "syslog messages cannot be waited for");
            }
            let text = take_waiting(&socket, &mut datagram, &self.settings.format, |peer| {
                self.admits(peer)
            });
            self.keep(text, "udp").await;
            // What is refused is never waited for, and a socket that is never empty is always ready.
            tokio::task::yield_now().await;
        }
    }

    /// Keeps the events of some lines; tells whether they are kept.
    async fn keep(&mut self, text: Vec<u8>, from: &str) -> bool {
        let count = memchr::memchr_iter(b'\n', &text).count();
        if count == 0 {
            return true;
        }
        let SyslogSettings { format, max_event, .. } = &*self.settings;
        let (format, max_event) = (format.clone(), *max_event);
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let held = Arc::new(Budget::unbounded().hold());
        // What is handed on at a time has fewer lines than a body may have.
        let converted = convert(&self.keeping.pipeline, Bytes::from(text), format, max_event, held);
        let Ok(framed) = converted.await else { return false };
        let board = Arc::clone(&self.board);
        let _waiting = Counted::new(&board.waiting);
        let bad = framed.rejected().len();
        let id = |place: crate::event::Place| format!("{from}/{}", place.line + 1);
        let is_kept = self.keeping.keep(framed, id, &mut self.stopped).await;
        if is_kept {
            board.messages.fetch_add(count as u64, Ordering::Relaxed);
            board.refused.fetch_add(bad as u64, Ordering::Relaxed);
        } else {
            error!(count, "messages of syslog were read and could not be kept before the stop");
        }
        is_kept
    }
}

/// The lines of the datagrams that are there, as far as they may be sent, of so many as have a turn.
fn take_waiting(
    socket: &UdpSocket,
    datagram: &mut [u8],
    format: &Format,
    admits: impl Fn(IpAddr) -> bool,
) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..MAX_AT_ONCE {
        match socket.try_recv_from(datagram) {
            Ok((length, peer)) if admits(peer.ip()) => add(format, &mut text, &datagram[..length]),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                warn!(%error, "a syslog message cannot be received");
                break;
            }
        }
        if text.len() >= BATCH {
            break;
        }
    }
    text
}

/// Adds a message's line to a text, on a line of its own.
fn add(format: &Format, text: &mut Vec<u8>, message: &[u8]) {
    let line = match format.takes_syslog_headers() {
        true => message.trim_ascii_end(),
        false => line_of(message),
    };
    let start = text.len();
    text.extend_from_slice(line);
    text[start..].iter_mut().filter(|it| **it == b'\n').for_each(|it| *it = b' ');
    if text.len() > start {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_have_their_turn_whether_or_not_their_sender_may_send() {
        let here = (std::net::Ipv4Addr::LOCALHOST, 0);
        let format = Format::find("nginx").unwrap();
        for (admitted, message, lines) in [(false, "a", 0), (true, "<13>", 0), (true, "a", 64)] {
            let socket = UdpSocket::bind(here).await.unwrap();
            let sender = std::net::UdpSocket::bind(here).unwrap();
            for _ in 0..MAX_AT_ONCE + 1 {
                sender.send_to(message.as_bytes(), socket.local_addr().unwrap()).unwrap();
            }
            socket.readable().await.unwrap();
            let mut datagram = [0; 100];
            let text = take_waiting(&socket, &mut datagram, &format, |_| admitted);
            assert_eq!(text, "a\n".repeat(lines).into_bytes(), "{message}");
            let mut left = 0;
            while socket.try_recv_from(&mut datagram).is_ok() {
                left += 1;
            }
            assert_eq!(left, 1, "{message}: it waits for the next turn");
        }
    }
}
