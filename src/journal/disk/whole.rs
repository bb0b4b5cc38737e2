//! Small files that are replaced as a whole: one line with a title, the format's version and CRC-32C of
//! the rest, then JSON for people's eyes. What they say, and what a damaged one costs, is their owners'
//! matter.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::faults::Faults;
use super::segment::sync_directory;
use crate::private;

/// The text of a file.
pub(in crate::journal) fn text(title: &str, version: u64, body: &str) -> String {
    format!("{title} {version} {:08x}\n{body}\n", crc32c::crc32c(body.as_bytes()))
}

/// Version and body of a text; `None` if it has another title or is damaged.
pub(in crate::journal) fn parse<'t>(title: &str, text: &'t str) -> Option<(u64, &'t str)> {
    let (first, body) = text.split_once('\n')?;
    let mut words = first.strip_prefix(title)?.split_whitespace();
    let version = words.next()?.parse().ok()?;
    let body = body.trim_end();
    let checksum = format!("{:08x}", crc32c::crc32c(body.as_bytes()));
    (words.next() == Some(&checksum)).then_some((version, body))
}

/// Puts a file in the place of the one that is there, so that a crash leaves one of the two whole.
///
/// # Errors
/// When the system refuses; the old file is there still, unless only the folder could not be synced.
pub(in crate::journal) fn replace(
    directory: &Path,
    name: &str,
    text: &str,
    faults: &Faults,
) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let mut file = private::file().write(true).truncate(true).open(&temporary)?;
    faults.before_replacing()?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    sync_directory(directory)
}
