//! Events on standard input, one a line: for pipes.
//!
//! Nobody is answered, so a bad line becomes a dead letter whose id tells its number, and a full
//! journal lets the pipe fill up until whoever writes to it waits. What was read and not yet kept
//! when the process is killed is lost: a pipe gives nothing back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::letter::{Letter, letter};
use super::lines::{Lines, read_lines};
use crate::event::{Framing, Timestamp};
use crate::journal::AT_STDIN;
use crate::pipeline::{NotTaken, Pipeline, Sender};
use crate::telemetry::Entrance;

/// Reads that may wait to be kept; more wait in the pipe.
const WAITING: usize = 2;

/// How long to wait when nothing can be kept: as long as an HTTP sender is asked to.
const RETRY: Duration = Duration::from_secs(1);

/// Standard input as an entrance, running.
pub struct Stdin {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Stdin {
    /// Begins to read. `max_event` is the longest line, in bytes.
    #[must_use]
    pub fn start(max_event: usize, pipeline: Arc<Pipeline>) -> Stdin {
        let (lines, taken) = mpsc::channel(WAITING);
        let (stop, stopped) = watch::channel(false);
        // A read of standard input cannot be called back, so its thread ends with the process.
        std::thread::spawn(move || {
            let hand_on = |read: Lines| lines.blocking_send(read).is_ok();
            if let Err(error) = read_lines(io::stdin(), max_event, hand_on) {
                error!(%error, "standard input cannot be read any more");
            }
        });
        let sender = Arc::new(Sender::new(Entrance::Stdin, max_event, None));
        let task = tokio::spawn(take(sender, pipeline, taken, stopped));
        Stdin { stop, task }
    }

    /// Done when the input has ended and everything that was read is kept.
    pub async fn ended(&self) {
        self.stop.closed().await;
    }

    /// Takes nothing more, and waits until what was taken is kept.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(%error, "standard input's entrance ended early");
        }
    }
}

async fn take(
    sender: Arc<Sender>,
    pipeline: Arc<Pipeline>,
    mut taken: mpsc::Receiver<Lines>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let lines = tokio::select! {
            biased;
            // What was handed on is still kept.
            _ = stopped.wait_for(|stop| *stop), if !taken.is_closed() => {
                taken.close();
                continue;
            }
            lines = taken.recv() => lines,
        };
        let Some(lines) = lines else {
            info!("standard input has ended");
            return;
        };
        let count = memchr::memchr_iter(b'\n', &lines.text).count();
        if !keep(&pipeline, &sender, lines, &mut stopped).await {
            error!(
                count,
                "lines of standard input were read and could not be kept before the stop"
            );
        }
    }
}

/// Keeps the events of some lines, then puts the bad ones among the dead letters; waits for as long
/// as either has no room, or until the stop. Tells whether they are kept.
async fn keep(
    pipeline: &Pipeline,
    sender: &Arc<Sender>,
    lines: Lines,
    stopped: &mut watch::Receiver<bool>,
) -> bool {
    let (first, text) = (lines.first, Bytes::from(lines.text));
    let Ok(framed) = pipeline.frame(text, Framing::Ndjson).await else { return false };
    let framed = Arc::new(framed);
    let mut waits = false;
    let refused = loop {
        let cause = match pipeline.take(&framed, sender).await {
            Ok(taken) => break taken.refused,
            Err(NotTaken::Closed) => return false,
            Err(cause) => cause,
        };
        pipeline.refusals().tell(Entrance::Stdin, cause.code(), 1, &cause);
        if !waits {
            warn!(%cause, "standard input waits");
            waits = true;
        }
        if *stopped.borrow() {
            return false;
        }
        // Either way the next attempt is made.
        let _ = tokio::time::timeout(RETRY, stopped.changed()).await;
    };
    let now = Timestamp::now();
    let letters = refused.iter().map(|refused| {
        let place = format!("line/{}", first + refused.place.line + 1);
        letter(&place, framed.event(refused.place), refused, now)
    });
    let letters: Vec<Letter> = letters.collect();
    if letters.is_empty() {
        return true;
    }
    while let Err(error) = pipeline.reject(AT_STDIN, letters.clone()).await {
        error!(%error, "dead letters cannot be written; standard input waits");
        if *stopped.borrow() {
            return false;
        }
        let _ = tokio::time::timeout(RETRY, stopped.changed()).await;
    }
    true
}
