//! Reading back what the log still holds for one destination, settled or not, by the time it was
//! accepted. Changes nothing, so it works beside the daemon that writes the log: segments are only
//! ever appended to, cut back to where their last whole frame ends, or deleted.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::recovery::start_of_frames;
use super::scanner::{Scanner, Step};
use super::segment;
use crate::event::{Record, Timestamp};
use crate::resources::ResourceId;

/// A record that the log still holds.
#[derive(Clone, Debug)]
pub struct Retained {
    /// When it was accepted, to the millisecond.
    pub accepted: Timestamp,
    /// As it was delivered, or is to be.
    pub record: Arc<Record>,
}

/// Gives a destination's records in the order in which they were accepted.
#[derive(Debug)]
pub struct LogReader {
    directory: PathBuf,
    destination: ResourceId,
    /// In milliseconds since 1970.
    span: Range<i64>,
    bases: VecDeque<u64>,
    scanner: Option<Scanner>,
}

impl LogReader {
    /// Reads the log in a folder: what was accepted for a destination inside a span of time.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(
        directory: &Path,
        destination: &ResourceId,
        span: Range<Timestamp>,
    ) -> io::Result<LogReader> {
        Ok(LogReader {
            directory: directory.to_owned(),
            destination: destination.clone(),
            span: span.start.unix_millis()..span.end.unix_millis(),
            bases: segment::list(directory)?.into(),
            scanner: None,
        })
    }

    /// The next record. Damaged places are passed over.
    ///
    /// # Errors
    /// When a segment cannot be read, or a later version wrote it.
    pub fn next_record(&mut self) -> io::Result<Option<Retained>> {
        loop {
            let Some(scanner) = &mut self.scanner else {
                let Some(base) = self.bases.pop_front() else { return Ok(None) };
                self.scanner = self.open_segment(base)?;
                continue;
            };
            match scanner.next()? {
                None => self.scanner = None,
                Some(Step::Damaged { .. }) => {}
                Some(Step::Frame(_, frame)) => {
                    let accepted = i64::try_from(frame.appended()).unwrap_or(i64::MAX);
                    if self.span.contains(&accepted) && frame.is_for(&self.destination) {
                        let accepted = from_millis(accepted);
                        return Ok(Some(Retained { accepted, record: frame.record() }));
                    }
                }
            }
        }
    }

    /// A scanner for a segment, unless it is gone or its last append was before the span.
    fn open_segment(&self, base: u64) -> io::Result<Option<Scanner>> {
        let file = match File::open(segment::path(&self.directory, base)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        if i64::try_from(modified.as_millis()).is_ok_and(|it| it < self.span.start) {
            return Ok(None);
        }
        let start = start_of_frames(&file, base)?;
        Ok(Some(Scanner::new(file, start, metadata.len())))
    }
}

fn from_millis(millis: i64) -> Timestamp {
    let nanos = u32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    Timestamp { seconds: millis.div_euclid(1_000), nanos }
}
