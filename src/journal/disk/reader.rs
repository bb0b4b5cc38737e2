//! Reading what waits on disk, a bounded part of a segment at a time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::recent::Item;
use super::scanner::Step;
use super::segment::{self, Hint};
use super::state::{Found, Limits, Part};
use crate::event::Record;
use crate::journal::cost;
use crate::resources::ResourceId;

/// How much of the log one call looks through: enough to be quick past what belongs to others, and
/// little enough that a blocking thread is soon free again.
const MOST_SCANNED: u64 = 8 << 20;

/// Reads a destination's records in a part of a segment.
///
/// A segment that is gone holds nothing; whoever waited for its records finds that out by counting. The
/// file may be another than when the part was chosen: a compacted one has the same positions, and all
/// that is pending.
pub(super) fn read(
    directory: &Path,
    destination: &ResourceId,
    part: Part,
    limits: Limits,
) -> io::Result<Found> {
    let Part { base, start, end, hint, .. } = part;
    let mut found =
        Found { items: Vec::new(), end, damage: Vec::new(), hint: None, vanished: true };
    let Some(opened) = segment::open(directory, base)? else { return Ok(found) };
    found.vanished = false;
    let revision = opened.compacted.map(|it| it.revision);
    let hint_at = |position, offset| revision.map(|revision| Hint { revision, position, offset });
    let mut scanner = opened.scan_part(start..end, hint);
    let (began, mut bytes) = (scanner.offset(), 0);
    while scanner.offset() - began < MOST_SCANNED {
        let offset = scanner.offset();
        match scanner.next()? {
            None => return Ok(found),
            Some(Step::Frame(position, _)) if position >= end => return Ok(found),
            Some(Step::Frame(position, frame))
                if position >= start && frame.is_for(destination) =>
            {
                let record = frame.record();
                let cost = cost(&record);
                if !found.items.is_empty() && !limits.allow(found.items.len(), bytes, cost) {
                    found.end = position;
                    found.hint = hint_at(position, offset);
                    return Ok(found);
                }
                bytes += cost;
                found.items.push(Item {
                    position,
                    bytes: frame.len() as u64,
                    appended: frame.appended(),
                    record,
                    destinations: [].into(),
                });
            }
            Some(Step::Frame(..)) => {}
            Some(Step::Damaged { position, bytes, .. }) => found.damage.push((position, bytes)),
        }
    }
    found.end = scanner.position().max(start);
    found.hint = hint_at(scanner.position(), scanner.offset());
    Ok(found)
}

/// Reads one record, whose frame is the given part; `None` if it is not there.
pub(super) fn read_one(directory: &Path, part: Part) -> io::Result<Option<Arc<Record>>> {
    let Part { base, start, end, hint, .. } = part;
    let Some(opened) = segment::open(directory, base)? else { return Ok(None) };
    let mut scanner = opened.scan_part(start..end, hint);
    while let Some(step) = scanner.next()? {
        match step {
            Step::Frame(position, frame) if position == start => return Ok(Some(frame.record())),
            Step::Frame(position, _) if position > start => break,
            Step::Frame(..) | Step::Damaged { .. } => {}
        }
    }
    Ok(None)
}
