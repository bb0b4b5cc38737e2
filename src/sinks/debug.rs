//! For trying things out: one line an event on standard output, or posted to a URL, or both.
//!
//! Promises no durability: a line counts as delivered when it is written.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::ack::{Ack, Fault};
use super::batch::{Count, Limits};
use super::callback;
use super::error::OpenError;
use super::file::lines;
use super::kind::{Boxed, Kind, Opened};
use super::log_output::LogOutput;
use super::transport::Sending;
use super::web_url::WebUrl;
use crate::event::Record;
#[cfg(test)]
use crate::form::Wrong;
use crate::form::{Door, Form, field};

/// Most records of one write: a screenful or ten, so that lines keep coming.
const MAX_RECORDS: usize = 1_000;
/// Most bytes of one write, and of one record: no event is longer, since no body that brings one
/// is. The write is put together in memory.
const MAX_BYTES: usize = 16 * 1024 * 1024;

pub(super) const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    max_record_bytes: MAX_BYTES,
    max_span: None,
    in_flight: 1,
    count: Count::Line,
};

/// Where events are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugTarget {
    log: bool,
    callback: Option<WebUrl>,
}

/// Where nothing is said of `log`, it holds unless there is a callback; where it is refused without one,
/// events are taken and thrown away.
impl Form for DebugTarget {
    fn form<D: Door>(d: &mut D, it: Option<&DebugTarget>) -> Option<DebugTarget> {
        let log = d.optional(
            field(
                "log",
                "Write records to standard output. True unless there is a callback_url.",
                "true",
            ),
            it.map(|it| &it.log),
        );
        let callback = d.optional(
            field(
                "callback_url",
                "Post batches there as application/x-ndjson; https, or http to this machine and to what outbound.allow lists.",
                "https://example.com/events",
            ),
            it.and_then(|it| it.callback.as_ref()),
        );
        Some(DebugTarget { log: log.unwrap_or(callback.is_none()), callback })
    }
}

impl DebugTarget {
    /// Standard output and nothing else.
    pub(super) fn log() -> DebugTarget {
        DebugTarget { log: true, callback: None }
    }

    /// One of these settings, for tests.
    #[cfg(test)]
    pub fn new(log: Option<bool>, callback_url: Option<&str>) -> Result<DebugTarget, Wrong> {
        let callback = callback_url.map(WebUrl::new).transpose()?;
        Ok(DebugTarget { log: log.unwrap_or(callback.is_none()), callback })
    }
}

impl Kind for DebugTarget {
    fn name(&self) -> &'static str {
        "debug"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn open(
        &self,
        log: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        Box::pin(async move { Ok(Box::new(Sink::open(self, log, sending)) as Box<dyn Opened>) })
    }
}

/// For status pages, without secrets.
impl fmt::Display for DebugTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.log, &self.callback) {
            (true, None) => f.write_str("standard output"),
            (true, Some(callback)) => write!(f, "callback to {callback} and standard output"),
            (false, Some(callback)) => write!(f, "callback to {callback}"),
            (false, None) => f.write_str("nowhere"),
        }
    }
}

/// Outputs that are ready.
pub(super) struct Sink {
    /// None if nothing is written.
    output: Option<LogOutput>,
    callback: Option<WebUrl>,
    /// How the callback's requests are sent.
    sending: Sending,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }
}

impl Sink {
    pub(super) fn open(settings: &DebugTarget, output: LogOutput, sending: Sending) -> Sink {
        Sink {
            output: settings.log.then_some(output),
            callback: settings.callback.clone(),
            sending,
        }
    }

    pub(super) async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let acks = match &self.callback {
            Some(url) => callback::deliver(url, records, &self.sending).await,
            None => vec![Ack::Delivered; records.len()],
        };
        let Some(output) = &self.output else { return acks };
        let taken: Vec<_> = records
            .iter()
            .zip(&acks)
            .filter(|(_, ack)| **ack == Ack::Delivered)
            .map(|(record, _)| Arc::clone(record))
            .collect();
        let written = write_lines(output.clone(), &taken).await;
        let of_output = |ack| if ack == Ack::Delivered { written.clone() } else { ack };
        acks.into_iter().map(of_output).collect()
    }

    pub(super) async fn probe(&self) -> Result<String, Fault> {
        Ok(match (&self.callback, &self.output) {
            (Some(url), _) => callback::probe(url, &self.sending).await?,
            (None, Some(_)) => "events are written to standard output".to_owned(),
            (None, None) => "events are thrown away, since `log` is false".to_owned(),
        })
    }
}

/// Writes records, and gives the verdict on all of them.
async fn write_lines(output: LogOutput, records: &[Arc<Record>]) -> Ack {
    let lines = lines(records);
    // A terminal that is held, or a slow pipe, blocks for as long as it likes.
    match spawn_blocking(move || output.write(&lines)).await {
        Ok(Ok(())) => Ack::Delivered,
        Ok(Err(error)) => Ack::Retry(fault(&error)),
        Err(stopped) => Ack::Retry(Fault::transient(format!("the write was cut: {stopped}"))),
    }
}

fn fault(error: &io::Error) -> Fault {
    let text = format!("cannot write to standard output: {error}");
    match error.kind() {
        ErrorKind::BrokenPipe => {
            Fault::configuration(format!("{text}; the program that read it has ended"))
        }
        _ => Fault::transient(text),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::FaultKind;

    fn settings(log: bool) -> DebugTarget {
        DebugTarget::new(Some(log), None).unwrap()
    }

    fn records(count: usize) -> Vec<Arc<Record>> {
        let record = Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(b"{}"),
            hops: 0,
        };
        (0..count).map(|_| Arc::new(record.clone())).collect()
    }

    #[tokio::test]
    async fn records_are_written_one_a_line_if_they_are_to_be_shown() {
        for (log, text) in [(true, "{}\n{}\n"), (false, "")] {
            let written = Arc::new(Mutex::new(Vec::new()));
            let output = LogOutput::Writer(written.clone());
            let sink = Sink::open(&settings(log), output, Sending::default());
            assert_eq!(sink.deliver(&records(2)).await, vec![Ack::Delivered; 2]);
            assert_eq!(*written.lock().unwrap(), text.as_bytes(), "{log}");
        }
    }

    /// Fails every write in the given way.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_has_ended_pauses_the_destination() {
        for (kind, expected, message) in [
            (
                ErrorKind::BrokenPipe,
                FaultKind::Configuration,
                "cannot write to standard output: broken pipe; the program that read it has ended",
            ),
            (
                ErrorKind::StorageFull,
                FaultKind::Transient,
                "cannot write to standard output: no storage space",
            ),
        ] {
            let output = LogOutput::Writer(Arc::new(Mutex::new(Broken(kind))));
            let sink = Sink::open(&settings(true), output, Sending::default());
            let fault = Fault::new(expected, message.to_owned());
            assert_eq!(sink.deliver(&records(1)).await, [Ack::Retry(fault)]);
        }
    }
}
