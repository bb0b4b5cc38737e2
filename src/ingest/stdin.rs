//! Events on standard input, or lines of an access log, one a line: for pipes.
//!
//! Nobody is answered, so a bad line becomes a dead letter whose id tells its number, and a full
//! journal lets the pipe fill up until whoever writes to it waits. What was read and not yet kept
//! when the process is killed is lost: a pipe gives nothing back.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::StdinSettings;
use super::conversion::convert;
use super::keeping::Keeping;
use super::lines::{Lines, read_lines};
use crate::budget::Budget;
use crate::event::{Framed, Framing, Place};
use crate::journal::AT_STDIN;
use crate::pipeline::{Pipeline, Sender};
use crate::supervision;
use crate::telemetry::Entrance;

/// Reads that may wait to be kept; more wait in the pipe.
const WAITING: usize = 2;

/// Standard input as an entrance, running.
pub struct Stdin {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Stdin {
    /// Begins to read.
    #[must_use]
    pub fn start(settings: StdinSettings, pipeline: Arc<Pipeline>) -> Stdin {
        let max_event = settings.max_event;
        let (lines, taken) = mpsc::channel(WAITING);
        let (stop, stopped) = watch::channel(false);
        // A read of standard input cannot be called back, so its thread ends with the process.
        let read = move || {
            let hand_on = |read: Lines| lines.blocking_send(read).is_ok();
            if let Err(error) = read_lines(io::stdin(), max_event, hand_on) {
                error!(%error, "standard input cannot be read any more");
            }
        };
        if let Err(error) = supervision::thread_once("stdin", read) {
            error!(%error, "standard input cannot be read");
        }
        let sender = Arc::new(Sender::new(Entrance::Stdin, max_event, None));
        let keeping = Keeping { pipeline, sender, entrance: Entrance::Stdin, owner: AT_STDIN };
        let input = Input { settings, keeping };
        let task = tokio::spawn(supervision::once("stdin", input.take(taken, stopped)));
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

/// What becomes of the lines.
struct Input {
    settings: StdinSettings,
    keeping: Keeping,
}

impl Input {
    async fn take(self, mut taken: mpsc::Receiver<Lines>, mut stopped: watch::Receiver<bool>) {
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
            if !self.keep(lines, &mut stopped).await {
                error!(
                    count,
                    "lines of standard input were read and could not be kept before the stop"
                );
            }
        }
    }

    /// The events of some lines. They are few enough for one body, and what is made of them is bounded by
    /// how many are read at a time.
    async fn frame(&self, text: Bytes) -> Option<Framed> {
        let StdinSettings { max_event, format } = &self.settings;
        match format {
            None => self.keeping.pipeline.frame(text, Framing::Ndjson).await.ok(),
            Some(format) => {
                let held = Arc::new(Budget::unbounded().hold());
                convert(&self.keeping.pipeline, text, format.clone(), *max_event, held).await.ok()
            }
        }
    }

    /// Keeps the events of some lines; tells whether they are kept.
    async fn keep(&self, lines: Lines, stopped: &mut watch::Receiver<bool>) -> bool {
        let first = lines.first;
        let Some(framed) = self.frame(Bytes::from(lines.text)).await else { return false };
        let id = |place: Place| format!("line/{}", first + place.line + 1);
        self.keeping.keep(framed, id, stopped).await
    }
}
