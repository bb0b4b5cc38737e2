//! How the fields of an event stand in the text log: `message name=value`, and nothing in a value can
//! begin a line, move the terminal or hide, whoever wrote it. The JSON log escapes by itself.

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::report::escaped;

/// The only formatter of fields that the text log has, so that no call can forget to escape.
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Shown { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

/// Standard error, an event at a time. On a terminal the line is wiped first, on which a bar of
/// progress may stand; it is drawn again below.
pub(super) struct Line {
    pub(super) terminal: bool,
}

impl io::Write for Line {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.terminal {
            stderr.write_all(b"\r\x1b[K")?;
        }
        stderr.write_all(event)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Shown<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Shown<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        let space = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        let value = escaped(value);
        match field.name() {
            "message" => write!(self.writer, "{space}{value}"),
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "{space}\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}")
            }
            name => write!(self.writer, "{space}{name}={value}"),
        }
    }
}

impl Visit for Shown<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_ok() {
            self.result = self.write(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{info, warn};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Written {
        type Writer = Written;

        fn make_writer(&'w self) -> Written {
            self.clone()
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(written.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(TextFields)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\n2025-09-04T10:11:14Z ERROR forged\r\u{1b}[2J\u{9b}1m\u{202e}\u{2028}";

    #[test]
    fn nothing_that_a_stranger_writes_begins_a_line_or_moves_the_terminal() {
        let error = io::Error::other(HOSTILE);
        let text = logged(|| {
            info!(id = HOSTILE, "taken");
            info!(id = %HOSTILE, "taken");
            info!(id = ?HOSTILE, "taken");
            info!(list = ?[HOSTILE], "taken");
            warn!(%error, "the service says {HOSTILE}");
            warn!("{HOSTILE}");
            warn!(error = &error as &dyn std::error::Error, "failed");
        });
        assert_eq!(text.lines().count(), 7, "{text}");
        for line in text.lines() {
            assert!(line.starts_with(" INFO ") || line.starts_with(" WARN "), "{line}");
            assert!(
                !line.chars().any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)),
                "{line:?}"
            );
            assert!(line.contains("ERROR forged"), "shown all the same: {line}");
        }
    }

    #[test]
    fn an_ordinary_event_reads_as_before() {
        let text = logged(|| info!(count = 3, name = "a b", path = %"/tmp/x", "ready"));
        assert_eq!(text, " INFO ready count=3 name=\"a b\" path=/tmp/x\n");
    }
}
