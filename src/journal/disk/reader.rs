//! Reading what waits on disk, a bounded part of a segment at a time.

use std::fs::File;
use std::io;
use std::path::Path;

use super::recent::Item;
use super::scanner::{Scanner, Step};
use super::segment;
use super::state::{Found, Limits, Part};
use crate::resources::ResourceId;

/// How much of the log one call looks through: enough to be quick past what belongs to others, and
/// little enough that a blocking thread is soon free again.
const MOST_SCANNED: u64 = 8 << 20;

/// Reads a destination's records in a part of a segment.
///
/// A segment that is gone holds nothing; whoever waited for its records finds that out by counting.
pub(super) fn read(
    directory: &Path,
    destination: &ResourceId,
    part: Part,
    limits: Limits,
) -> io::Result<Found> {
    let mut found = Found { items: Vec::new(), end: part.end, damage: Vec::new() };
    let file = match File::open(segment::path(directory, part.base)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let start = part.start - part.base;
    let mut scanner = Scanner::new(file, start, part.end - part.base);
    let mut bytes = 0;
    while scanner.offset() - start < MOST_SCANNED {
        match scanner.next()? {
            None => return Ok(found),
            Some(Step::Frame(offset, frame)) if frame.is_for(destination) => {
                let record = frame.record();
                if !limits.allow(found.items.len(), bytes, record.body.len()) {
                    found.end = part.base + offset;
                    return Ok(found);
                }
                bytes += record.body.len();
                found.items.push(Item {
                    position: part.base + offset,
                    bytes: frame.len() as u64,
                    appended: frame.appended(),
                    record,
                    destinations: [].into(),
                });
            }
            Some(Step::Frame(..)) => {}
            Some(Step::Damaged { offset, bytes, .. }) => {
                found.damage.push((part.base + offset, bytes));
            }
        }
    }
    found.end = part.base + scanner.offset();
    Ok(found)
}
