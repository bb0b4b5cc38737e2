//! Keys that stand twice in one object. Readers of JSON differ in which one they take, so what decides
//! about an event must stand once.
//!
//! It looks only along the paths that it is asked about, and says nothing of the values.

use super::scan::{JsonCursor, ScanError};

/// The first key on any of these paths that its object has more than once. The text is an event's, and has
/// been checked.
pub(super) fn repeated(text: &str, paths: &[&[&'static str]]) -> Option<&'static str> {
    let mut cursor = JsonCursor::new(text);
    let walked = walk(&mut cursor, 0, paths);
    debug_assert!(walked.is_ok(), "an event was checked before");
    walked.ok().flatten()
}

/// Steps over a value, and tells the first repeated key in it.
fn walk(
    cursor: &mut JsonCursor<'_>,
    depth: usize,
    paths: &[&[&'static str]],
) -> Result<Option<&'static str>, ScanError> {
    if cursor.next_token() != Some(b'{') || paths.is_empty() {
        cursor.skip(depth)?;
        return Ok(None);
    }
    let mut seen = Vec::new();
    let mut more = cursor.enter(b'{', b'}')?;
    while more {
        let key = cursor.key_bytes()?;
        let through: Vec<&[&'static str]> = paths
            .iter()
            .copied()
            .filter(|path| path.first().is_some_and(|name| name.as_bytes() == &*key))
            .collect();
        if let Some(name) = through.first().and_then(|path| path.first()) {
            if seen.contains(name) {
                return Ok(Some(name));
            }
            seen.push(name);
        }
        let beneath: Vec<_> =
            through.iter().map(|path| &path[1..]).filter(|path| !path.is_empty()).collect();
        if let Some(name) = walk(cursor, depth + 1, &beneath)? {
            return Ok(Some(name));
        }
        more = cursor.more(b'}')?;
    }
    Ok(None)
}
