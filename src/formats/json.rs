//! JSON log lines, walked through once: members in, and values in the forms that proxies write.
//!
//! Which member means what is each format's matter.

use super::Misfit;
use super::entry::Text;
use super::line::Line;
use crate::event::{JsonCursor, string_value, unescape};

/// Calls `each` with the name of every member of the line's object; it must step over the value. Names with
/// escapes in them are given as they stand.
pub(super) fn read<'l>(
    line: &Line<'l>,
    mut each: impl FnMut(&'l str, &mut JsonCursor<'l>) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let mut cursor = JsonCursor::new(line.whole());
    if cursor.next_token() != Some(b'{') {
        return line.misfit("a JSON object");
    }
    members(&mut cursor, &mut each)?;
    Ok(cursor.end()?)
}

/// The members of an object that comes next; a value of another kind is stepped over.
pub(super) fn members<'l>(
    cursor: &mut JsonCursor<'l>,
    each: &mut impl FnMut(&'l str, &mut JsonCursor<'l>) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    if cursor.next_token() != Some(b'{') {
        return Ok(cursor.skip(1)?);
    }
    let mut more = cursor.enter(b'{', b'}')?;
    while more {
        let name = cursor.key()?;
        each(name, cursor)?;
        more = cursor.more(b'}')?;
    }
    Ok(())
}

/// The value that comes next as text: a string's meaning, a number as it stands. None for `null`, for other
/// kinds, and for the empty string and `-`, by which proxies say that there is none.
pub(super) fn text<'l>(cursor: &mut JsonCursor<'l>) -> Result<Option<Text<'l>>, Misfit> {
    let json = cursor.value(1)?;
    Ok(plain(json))
}

fn plain(json: &str) -> Option<Text<'_>> {
    let text = match json.as_bytes().first()? {
        b'"' => string_value(json)?,
        b'-' | b'0'..=b'9' => json.into(),
        _ => return None,
    };
    (!matches!(&*text, "" | "-")).then_some(text)
}

/// The value that comes next as a count, also where it is a string of digits.
pub(super) fn count(cursor: &mut JsonCursor<'_>) -> Result<Option<u64>, Misfit> {
    let text = text(cursor)?;
    Ok(text.and_then(|it| it.parse().ok()).filter(|it| *it <= i64::MAX as u64))
}

/// Headers as an object of lists, or of strings.
pub(super) fn headers<'l>(
    cursor: &mut JsonCursor<'l>,
) -> Result<super::entry::Headers<'l>, Misfit> {
    let mut headers = Vec::new();
    members(cursor, &mut |name, cursor| {
        let mut values = Vec::new();
        if cursor.next_token() == Some(b'[') {
            let mut more = cursor.enter(b'[', b']')?;
            while more {
                values.extend(string_value(cursor.value(2)?));
                more = cursor.more(b']')?;
            }
        } else {
            values.extend(text(cursor)?);
        }
        headers.push((unescape(name), values));
        Ok(())
    })?;
    Ok(headers)
}
