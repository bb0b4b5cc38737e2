//! Values of an event that must stand once: where a key is there twice, readers of JSON differ in which
//! one they take, so nothing can be decided by it.
//!
//! It looks only along the paths that it is asked about, and does not know what they decide.

use super::scan::{JsonCursor, ScanError};

/// A path of keys from the envelope on.
pub(super) type Path = &'static [&'static str];

/// The values at these paths as JSON, or the first key on one of them that its object has more than
/// once. The text is an event's, and has been checked.
pub(super) fn values<const N: usize>(
    text: &str,
    paths: [Path; N],
) -> Result<[Option<&str>; N], &'static str> {
    let mut found = [None; N];
    let wanted: Vec<(usize, Path)> = paths.into_iter().enumerate().collect();
    let walked = walk(&mut JsonCursor::new(text), 0, &wanted, &mut found);
    debug_assert!(walked.is_ok(), "an event was checked before");
    match walked.ok().flatten() {
        Some(repeated) => Err(repeated),
        None => Ok(found),
    }
}

/// Steps over a value, notes those that are wanted, and tells the first repeated key.
fn walk<'e>(
    cursor: &mut JsonCursor<'e>,
    depth: usize,
    wanted: &[(usize, Path)],
    found: &mut [Option<&'e str>],
) -> Result<Option<&'static str>, ScanError> {
    let first = cursor.next_token();
    let start = cursor.position();
    let mut seen = Vec::new();
    let goes_on = wanted.iter().any(|(_, path)| !path.is_empty());
    if first == Some(b'{') && goes_on {
        let mut more = cursor.enter(b'{', b'}')?;
        while more {
            let key = cursor.key_bytes()?;
            let beneath: Vec<_> = wanted
                .iter()
                .filter_map(|(at, path)| Some((*at, path.split_first()?)))
                .filter(|(_, (name, _))| name.as_bytes() == &*key)
                .collect();
            if let Some((_, (name, _))) = beneath.first() {
                if seen.contains(name) {
                    return Ok(Some(name));
                }
                seen.push(name);
            }
            let beneath: Vec<_> = beneath.into_iter().map(|(at, (_, rest))| (at, rest)).collect();
            if let Some(name) = walk(cursor, depth + 1, &beneath, found)? {
                return Ok(Some(name));
            }
            more = cursor.more(b'}')?;
        }
    } else {
        cursor.skip(depth)?;
    }
    for (at, _) in wanted.iter().filter(|(_, path)| path.is_empty()) {
        found[*at] = Some(cursor.since(start));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_along_their_paths_and_each_key_on_the_way_stands_once() {
        let read = |text| values(text, [&["a", "b"], &["a", "c"], &["t"]]);
        assert_eq!(
            read(r#" {"x":1,"x":2,"a": {"c" : [ 1 ],"\u0062":"v"}} "#),
            Ok([Some("\"v\""), Some("[ 1 ]"), None])
        );
        assert_eq!(
            read(r#"{"a":5,"t":{"t":1,"t":2}}"#),
            Ok([None, None, Some(r#"{"t":1,"t":2}"#)])
        );
        assert_eq!(read(r#"{"a":{"b":1,"d":{"b":2}},"b":3}"#), Ok([Some("1"), None, None]));
        for (text, repeated) in [
            (r#"{"t":1,"\u0074":1}"#, "t"),
            (r#"{"a":5,"a":{"b":1}}"#, "a"),
            (r#"{"a":{"b":1,"c":2,"b":1}}"#, "b"),
        ] {
            assert_eq!(read(text), Err(repeated), "{text}");
        }
    }
}
