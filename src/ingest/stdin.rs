//! Events on standard input, one a line: for pipes.
//!
//! Nobody is answered, so a bad line becomes a dead letter whose id tells its number, and a full
//! journal lets the pipe fill up until whoever writes to it waits. What was read and not yet kept
//! when the process is killed is lost: a pipe gives nothing back.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::frame::{Framed, Framing, Rules};
use super::letter::letter;
use crate::event::Timestamp;
use crate::journal::AT_STDIN;
use crate::pipeline::Pipeline;

/// Bytes read at a time. The lines of one read are kept together; even of the shortest there are
/// fewer than a body may have.
const READ: usize = 128 * 1024;

/// Reads that may wait to be kept; more wait in the pipe.
const WAITING: usize = 2;

/// How long to wait when dead letters cannot be written.
const LETTERS_RETRY: Duration = Duration::from_secs(1);

/// Standard input as an entrance, running.
pub struct Stdin {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Whole lines, and the number of the first of them, from 0.
struct Lines {
    first: usize,
    text: Vec<u8>,
}

impl Stdin {
    /// Begins to read. `max_event` is the longest line, in bytes.
    #[must_use]
    pub fn start(max_event: usize, pipeline: Arc<Pipeline>) -> Stdin {
        let (lines, taken) = mpsc::channel(WAITING);
        let (stop, stopped) = watch::channel(false);
        // A read of standard input cannot be called back, so its thread ends with the process.
        std::thread::spawn(move || {
            let mut input = BufReader::with_capacity(READ, io::stdin());
            if let Err(error) = read(&mut input, max_event, &lines) {
                error!(%error, "standard input cannot be read any more");
            }
        });
        let task = tokio::spawn(take(max_event, pipeline, taken, stopped));
        Stdin { stop, task }
    }

    /// Takes nothing more, and waits until what was taken is kept.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(%error, "standard input's entrance ended early");
        }
    }
}

/// Reads whole lines and hands them on. Of a line that is too long only the beginning is handed on,
/// one byte more than is allowed.
fn read<R: Read>(
    input: &mut BufReader<R>,
    max_event: usize,
    lines: &mpsc::Sender<Lines>,
) -> io::Result<()> {
    let (mut first, mut next) = (0, 0);
    let (mut text, mut line) = (Vec::new(), Vec::new());
    loop {
        let buffer = input.fill_buf()?;
        let at_end = buffer.is_empty();
        let end = memchr::memchr(b'\n', buffer).map_or(buffer.len(), |at| at + 1);
        let room = (max_event + 2).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..end.min(room)]);
        let is_whole = at_end || buffer[..end].ends_with(b"\n");
        input.consume(end);
        if is_whole && !line.is_empty() {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            text.append(&mut line);
            next += 1;
        }
        // Nothing is held back while the next read may have to wait.
        let hand_on = at_end || text.len() >= READ || (is_whole && input.buffer().is_empty());
        if hand_on && !text.is_empty() {
            let lines_read = Lines { first, text: std::mem::take(&mut text) };
            first = next;
            if lines.blocking_send(lines_read).is_err() {
                return Ok(()); // stopping
            }
        }
        if at_end {
            return Ok(());
        }
    }
}

async fn take(
    max_event: usize,
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
        let kept = keep(max_event, &pipeline, &lines, &mut stopped).await;
        if !kept {
            let count = memchr::memchr_iter(b'\n', &lines.text).count();
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
    max_event: usize,
    pipeline: &Pipeline,
    lines: &Lines,
    stopped: &mut watch::Receiver<bool>,
) -> bool {
    let Ok(framed) = Framed::split(&lines.text, Framing::Ndjson) else { return false };
    let mut is_told = false;
    let letters = loop {
        let now = Timestamp::now();
        let guard = pipeline.dispatcher().await;
        let Some(dispatcher) = guard.as_ref() else { return false };
        let rules = Rules { dispatcher, max_event, now, acl: None };
        let (events, rejected) = framed.events(&rules);
        let dispatched = dispatcher.dispatch(&events);
        match pipeline.keep(dispatched, events.len(), rejected.len()).await {
            Ok(_) => {
                pipeline.note(&events);
                let place = |index: usize| format!("line/{}", lines.first + index + 1);
                let letters = rejected.iter().map(|rejection| {
                    let event = framed.bytes(rejection.index);
                    letter(&place(rejection.index), event, rejection, now)
                });
                break letters.collect::<Vec<_>>();
            }
            Err(full) => {
                if !is_told {
                    warn!(%full, "standard input waits");
                    is_told = true;
                }
                drop(guard);
                if *stopped.borrow() {
                    return false;
                }
                // Either way the next attempt is made.
                let _ = tokio::time::timeout(full.retry_after, stopped.changed()).await;
            }
        }
    };
    let Some((_, first)) = letters.first() else { return true };
    warn!(rejected = letters.len(), first, "lines of standard input became dead letters");
    while let Err(error) = pipeline.reject(AT_STDIN, letters.clone()).await {
        error!(%error, "dead letters cannot be written; standard input waits");
        if *stopped.borrow() {
            return false;
        }
        let _ = tokio::time::timeout(LETTERS_RETRY, stopped.changed()).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(input: &[u8], max_event: usize) -> Vec<(usize, String)> {
        let (lines, mut taken) = mpsc::channel(1_000);
        // A reader that gives a few bytes at a time, as a slow pipe does.
        read(&mut BufReader::with_capacity(3, input), max_event, &lines).unwrap();
        drop(lines);
        let mut found = Vec::new();
        while let Some(lines) = taken.blocking_recv() {
            found.push((lines.first, String::from_utf8(lines.text).unwrap()));
        }
        found
    }

    #[test]
    fn lines_are_handed_on_whole_with_their_numbers() {
        let found = lines_of(b"{\"a\":1}\n\n{\"b\":2}\n{\"c\":3}", 100);
        let whole: String = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(whole, "{\"a\":1}\n\n{\"b\":2}\n{\"c\":3}\n");
        let mut next = 0;
        for (first, text) in &found {
            assert_eq!(*first, next);
            next += text.lines().count();
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_beginning_is_read() {
        let long = format!("{}\nshort\n", "x".repeat(1_000));
        let whole: String = lines_of(long.as_bytes(), 10).iter().map(|it| it.1.as_str()).collect();
        assert_eq!(whole, "xxxxxxxxxxxx\nshort\n");
        assert_eq!(lines_of(b"", 10), []);
    }
}
