//! Where a debug target writes. Knows nothing of targets, so that every kind may name it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// Where the debug target writes.
#[derive(Clone)]
pub enum LogOutput {
    /// Standard output, locked for a batch.
    Stdout,
    /// Anything else that can be written to.
    Writer(Arc<Mutex<dyn Write + Send>>),
}

impl LogOutput {
    /// Writes all of it at once, so that lines of others do not come between.
    pub(super) fn write(&self, lines: &[u8]) -> io::Result<()> {
        match self {
            LogOutput::Stdout => write_and_flush(&mut io::stdout().lock(), lines),
            LogOutput::Writer(writer) => {
                let mut writer = lock(writer);
                write_and_flush(&mut *writer, lines)
            }
        }
    }
}

fn write_and_flush(writer: &mut dyn Write, lines: &[u8]) -> io::Result<()> {
    writer.write_all(lines)?;
    writer.flush()
}
