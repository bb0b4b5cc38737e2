//! The walk over an event's JSON: from one structural byte to the next, along the paths that somebody wants.
//!
//! It checks what the bitmaps cannot tell (the order of tokens, numbers, words, nesting) of all that it
//! passes, wanted or not, by RFC 8259. Where something is wrong it gives up and says nothing: `scan`
//! then finds the place and the words. Nothing is decoded but keys with escapes.

use std::borrow::Cow;

use super::bitmaps::{BLOCK, Bitmaps, Structure};
use super::escapes::unescape;
use super::scan::MAX_DEPTH;
use super::slots::{Node, Slot};

/// A walk under way. Each step is `None` where the text is no JSON.
pub(super) struct Walk<'e, 'b> {
    text: &'e str,
    structure: Structure<'b>,
    cursor: Cursor,
}

/// Where a walk is. Loops work on a copy, which the compiler keeps in registers.
#[derive(Clone, Copy)]
struct Cursor {
    /// What is left of the present block's bitmap, and the number of the block.
    bits: u64,
    block: usize,
    /// Behind the last structural byte.
    at: usize,
}

/// A structural byte and its place, and where the token before it starts; at the same place if there is
/// none. The bitmaps see to it that there is no more than one, and that what starts as a string is nothing
/// but a string.
struct Step {
    start: usize,
    place: usize,
    byte: u8,
}

/// A value as it stands in the text.
#[derive(Clone, Copy)]
pub(super) struct Raw<'e> {
    pub(super) json: &'e str,
    may_have_escapes: bool,
}

impl<'e> Raw<'e> {
    #[inline]
    pub(super) fn new(json: &'e str, may_have_escapes: bool) -> Raw<'e> {
        Raw { json, may_have_escapes }
    }

    /// The string that it is, if it is one.
    #[inline]
    pub(super) fn string(self) -> Option<Cow<'e, str>> {
        let inside = self.json.strip_prefix('"')?.strip_suffix('"')?;
        Some(if self.may_have_escapes { unescape(inside) } else { Cow::Borrowed(inside) })
    }
}

/// What stands between the quotes of a key.
struct Key<'e> {
    bytes: &'e [u8],
    may_have_escapes: bool,
}

impl<'e> Key<'e> {
    #[inline(always)]
    fn decoded(self) -> Cow<'e, [u8]> {
        if self.may_have_escapes { unescaped(self.bytes) } else { Cow::Borrowed(self.bytes) }
    }
}

impl<'e, 'b> Walk<'e, 'b> {
    /// At the start of a text.
    pub(super) fn new(text: &'e str, structure: Structure<'b>) -> Option<Walk<'e, 'b>> {
        let cursor = Cursor { bits: structure.blocks.first()?.op, block: 0, at: 0 };
        Some(Walk { text, structure, cursor })
    }

    /// Steps over the next structural byte.
    #[inline(always)]
    fn step(&self, cursor: &mut Cursor) -> Option<Step> {
        while cursor.bits == 0 {
            cursor.block += 1;
            cursor.bits = self.structure.blocks.get(cursor.block)?.op;
        }
        let place = cursor.block * BLOCK + cursor.bits.trailing_zeros() as usize;
        cursor.bits &= cursor.bits - 1;
        let bytes = self.text.as_bytes();
        let byte = *bytes.get(place)?;
        let mut start = cursor.at;
        cursor.at = place + 1;
        if self.structure.has_white {
            start = behind_white(bytes, start);
        }
        Some(Step { start, place, byte })
    }

    /// The last place before a structural byte that is not white.
    #[inline(always)]
    fn last_before(&self, place: usize) -> Option<usize> {
        if self.structure.has_white {
            before_white(self.text.as_bytes(), place)
        } else {
            place.checked_sub(1)
        }
    }

    /// Steps over the `{` of the object that the text is.
    pub(super) fn enter(&mut self) -> Option<()> {
        let mut cursor = self.cursor;
        let step = self.step(&mut cursor)?;
        self.cursor = cursor;
        (step.byte == b'{' && step.start == step.place).then_some(())
    }

    /// Whether nothing but white space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        let mut cursor = self.cursor;
        let rest = self.text.as_bytes().get(cursor.at..)?;
        let is_over = self.step(&mut cursor).is_none();
        (is_over && rest.iter().all(|byte| is_white(*byte))).then_some(())
    }

    /// Steps over `"key":`, or over `}` if the object `may_end` here, and gives what stands between the
    /// quotes, decoded.
    #[inline(always)]
    fn key(&self, cursor: &mut Cursor, may_end: bool) -> Option<Option<Key<'e>>> {
        let Step { start, place, byte } = self.step(cursor)?;
        if byte != b':' {
            return (byte == b'}' && may_end && start == place).then_some(None);
        }
        let bytes = self.text.as_bytes();
        let last = self.last_before(place)?;
        let key = bytes.get(start + 1..last)?;
        if bytes[start] != b'"' {
            return None;
        }
        Some(Some(Key {
            bytes: key,
            may_have_escapes: self.structure.may_have_escapes(start, last),
        }))
    }

    /// Steps over the next key of the envelope and its colon, or over its end.
    pub(super) fn envelope_key(&mut self, may_end: bool) -> Option<Option<Cow<'e, [u8]>>> {
        let mut cursor = self.cursor;
        let key = self.key(&mut cursor, may_end)?;
        self.cursor = cursor;
        Some(key.map(Key::decoded))
    }

    /// Steps over a value in the envelope, and gives it with the structural byte behind it. Fills the slots
    /// at and under the value's node.
    pub(super) fn envelope_value(
        &mut self,
        node: Option<&Node>,
        slots: &mut [Slot<'e>],
    ) -> Option<(Raw<'e>, u8)> {
        let mut cursor = self.cursor;
        let before = cursor.at;
        let behind = self.value(&mut cursor, 1, node, slots)?;
        self.cursor = cursor;
        let start = behind_white(self.text.as_bytes(), before);
        let last = self.last_before(cursor.at - 1)?;
        let json = self.text.get(start..=last)?;
        Some((Raw { json, may_have_escapes: self.structure.may_have_escapes(start, last) }, behind))
    }

    /// Steps over a value and the structural byte behind it, which it tells. `depth` arrays and objects
    /// stand around the value.
    #[inline(always)]
    fn value(
        &mut self,
        cursor: &mut Cursor,
        depth: usize,
        node: Option<&Node>,
        slots: &mut [Slot<'e>],
    ) -> Option<u8> {
        let Step { start, place, byte } = self.step(cursor)?;
        if start == place {
            self.cursor = *cursor;
            match node {
                Some(node) if byte == b'{' && !node.is_leaf() => self.object(depth, node, slots)?,
                _ => self.skip(byte, depth)?,
            }
            *cursor = self.cursor;
            if let Some(node) = node {
                self.take(start, cursor.at, node, slots)?;
            }
            let step = self.step(cursor)?;
            return (step.start == step.place).then_some(step.byte);
        }
        let bytes = self.text.as_bytes();
        if let Some(node) = node {
            let last = self.last_before(place)?;
            self.take(start, last + 1, node, slots)?;
        }
        if bytes[start] != b'"' && !is_scalar(bytes.get(start..=self.last_before(place)?)?) {
            return None;
        }
        Some(byte)
    }

    /// Fills slots from the value between two places.
    fn take(&self, start: usize, end: usize, node: &Node, slots: &mut [Slot<'e>]) -> Option<()> {
        let json = self.text.get(start..end)?;
        if !json.starts_with('{') && json != "null" {
            node.fill(slots, Slot::Broken);
        }
        node.set(slots, json);
        Some(())
    }

    /// Steps to the end of an object whose `{` was passed.
    fn object(&mut self, depth: usize, node: &Node, slots: &mut [Slot<'e>]) -> Option<()> {
        // It recurses, so that this bounds the stack too.
        if depth >= MAX_DEPTH {
            return None;
        }
        let mut cursor = self.cursor;
        let mut seen = 0u64;
        let mut may_end = true;
        while let Some(key) = self.key(&mut cursor, may_end)? {
            let child = if key.may_have_escapes {
                node.child(&key.decoded())
            } else {
                node.child(key.bytes)
            };
            if let Some((number, child)) = child {
                // The last of duplicate keys wins as a whole.
                let bit = 1u64.checked_shl(number as u32).unwrap_or(0);
                if seen & bit == bit {
                    child.fill(slots, Slot::Absent);
                }
                seen |= bit;
            }
            match self.value(&mut cursor, depth + 1, child.map(|(_, child)| child), slots)? {
                b',' => may_end = false,
                b'}' => break,
                _ => return None,
            }
        }
        self.cursor = cursor;
        Some(())
    }

    /// Steps to the end of an array or object that nobody wants anything of, whose first byte was passed.
    fn skip(&mut self, opening: u8, depth: usize) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut cursor = self.cursor;
        // One bit for each of those that are open, the innermost lowest: set for an object.
        let (mut objects, mut open) = (0u128, 0);
        let mut byte = opening;
        if byte == b',' {
            return None;
        }
        loop {
            // Before a member, or the end of what `byte` has just opened.
            let may_end = byte != b',';
            if may_end {
                if depth + open >= MAX_DEPTH || !matches!(byte, b'{' | b'[') {
                    return None;
                }
                objects = objects << 1 | u128::from(byte == b'{');
                open += 1;
            }
            let mut step = self.step(&mut cursor)?;
            if !(may_end && step.start == step.place && matches!(step.byte, b'}' | b']')) {
                if objects & 1 == 1 {
                    if step.byte != b':' || bytes[step.start] != b'"' {
                        return None;
                    }
                    step = self.step(&mut cursor)?;
                }
                if step.start == step.place {
                    byte = step.byte;
                    if byte == b',' {
                        return None;
                    }
                    continue;
                }
                if bytes[step.start] != b'"'
                    && !is_scalar(bytes.get(step.start..=self.last_before(step.place)?)?)
                {
                    return None;
                }
            }
            byte = step.byte;
            while byte != b',' {
                if byte != (if objects & 1 == 1 { b'}' } else { b']' }) {
                    return None;
                }
                objects >>= 1;
                open -= 1;
                if open == 0 {
                    self.cursor = cursor;
                    return Some(());
                }
                let step = self.step(&mut cursor)?;
                if step.start != step.place {
                    return None;
                }
                byte = step.byte;
            }
        }
    }
}

/// The first place from `start` on that is not white.
#[inline(never)]
fn behind_white(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().take_while(|byte| is_white(**byte)).count()
}

/// The last place before `end` that is not white.
#[inline(never)]
fn before_white(bytes: &[u8], end: usize) -> Option<usize> {
    bytes.get(..end)?.iter().rposition(|byte| !is_white(*byte))
}

#[inline]
fn is_white(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What a key stands for.
#[inline(never)]
pub(super) fn unescaped(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.contains(&b'\\') {
        return Cow::Borrowed(key);
    }
    match unescape(str::from_utf8(key).unwrap_or_default()) {
        Cow::Borrowed(_) => Cow::Borrowed(key),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Whether a token is a number, `true`, `false` or `null`.
#[inline(always)]
fn is_scalar(token: &[u8]) -> bool {
    match token {
        [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] => true,
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => true,
        _ => behind_any_scalar(token).is_some_and(<[u8]>::is_empty),
    }
}

/// What follows a number, `true`, `false` or `null`.
#[inline(always)]
pub(super) fn behind_scalar(text: &[u8]) -> Option<&[u8]> {
    if let [b'1'..=b'9', rest @ ..] = text {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let behind = &rest[digits..];
        if !matches!(behind, [b'.' | b'e' | b'E', ..]) {
            return Some(behind);
        }
    }
    behind_any_scalar(text)
}

#[inline(never)]
fn behind_any_scalar(text: &[u8]) -> Option<&[u8]> {
    let word = |word: &[u8]| text.strip_prefix(word);
    word(b"true")
        .or_else(|| word(b"false"))
        .or_else(|| word(b"null"))
        .or_else(|| behind_number(text))
}

/// What follows a number.
fn behind_number(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut text = match text {
        [b'0', rest @ ..] => rest,
        _ => behind_digits(text)?,
    };
    if let [b'.', rest @ ..] = text {
        text = behind_digits(rest)?;
    }
    if let [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] = text {
        text = behind_digits(rest)?;
    }
    Some(text)
}

/// What follows one digit or more.
fn behind_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

/// Fills the slots at and under a node from a valid value.
pub(super) fn fill<'e>(json: &'e str, node: &Node, slots: &mut [Slot<'e>]) -> Option<()> {
    if node.is_leaf() || !json.starts_with('{') {
        node.fill(slots, if json == "null" { Slot::Absent } else { Slot::Broken });
    } else {
        let mut bitmaps = Bitmaps::default();
        let mut walk = Walk::new(json, bitmaps.of(json.as_bytes())?)?;
        walk.enter()?;
        // The envelope is around it, as where it was checked.
        walk.object(1, node, slots)?;
    }
    node.set(slots, json);
    Some(())
}
