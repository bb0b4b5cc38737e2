//! Reading back what the log still holds for one destination, settled or not, by the time it was
//! accepted. Changes nothing, so it works beside the daemon that writes the log: segments are only
//! ever appended to, cut back to where their last whole frame ends, deleted, or replaced by compacted
//! ones, in which everything keeps its position.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scanner::{Scanner, Step};
use super::segment;
use crate::event::{Record, Timestamp};
use crate::resources::ResourceId;

/// A record that the log still holds.
#[derive(Clone, Debug)]
pub struct Retained {
    /// Its place in the log.
    pub position: u64,
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
    /// Everything before this position was given or passed over.
    from: u64,
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
            from: 0,
        })
    }

    /// Gives nothing from before a place of the log, and reads no file that ends before it.
    pub fn skip_to(&mut self, position: u64) {
        while self.bases.get(1).is_some_and(|next| *next <= position) {
            self.bases.pop_front();
        }
        self.from = position;
    }

    /// Where it goes on: everything before was given or passed over.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.from
    }

    /// The next record. Damaged places are passed over.
    ///
    /// # Errors
    /// When a segment cannot be read, or a later version wrote it.
    pub fn next_record(&mut self) -> io::Result<Option<Retained>> {
        loop {
            let Some(scanner) = &mut self.scanner else {
                let Some(base) = self.bases.pop_front() else { return Ok(None) };
                self.open_segment(base)?;
                continue;
            };
            match scanner.next()? {
                None => self.scanner = None,
                Some(Step::Damaged { .. }) => {}
                // Given before the segment was replaced by the one that is read now.
                Some(Step::Frame(position, _)) if position < self.from => {}
                Some(Step::Frame(position, frame)) => {
                    self.from = position + frame.len() as u64;
                    let accepted = i64::try_from(frame.appended()).unwrap_or(i64::MAX);
                    if self.span.contains(&accepted) && frame.is_for(&self.destination) {
                        let accepted = from_millis(accepted);
                        return Ok(Some(Retained { position, accepted, record: frame.record() }));
                    }
                }
            }
        }
    }

    /// Goes on with a segment, unless its last append was before the span. If it is gone, what was
    /// pending in it may stand in a compacted one that begins before it.
    fn open_segment(&mut self, base: u64) -> io::Result<()> {
        let opened = match segment::open(&self.directory, base)? {
            Some(opened) => Some(opened),
            None => {
                let before =
                    segment::list(&self.directory)?.into_iter().rev().find(|it| *it < base);
                let opened = before.map(|it| segment::open(&self.directory, it)).transpose()?;
                let stands_for_it = |end| end > base;
                opened
                    .flatten()
                    .filter(|it| it.compacted.is_some_and(|it| it.end.is_some_and(stands_for_it)))
            }
        };
        let in_span = |millis: u64| i64::try_from(millis).is_ok_and(|it| it >= self.span.start);
        self.scanner = opened.filter(|it| in_span(it.last_append)).map(segment::Opened::scan);
        Ok(())
    }
}

fn from_millis(millis: i64) -> Timestamp {
    let nanos = u32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    Timestamp { seconds: millis.div_euclid(1_000), nanos }
}
