//! Shapes: what events have in common but their values. Events of one sender have the same keys in nearly the
//! same order, so that most bytes outside values have been read, checked and understood before.
//!
//! A text is taken as gaps and values by turns: a value is a string, number or word, a gap all that stands between
//! two of them. Where a value stands (its path of keys, arrays and objects, and the event's type) is a state;
//! a gap that was seen in a text which was read with all care leads from one state to the next. A state says all
//! that JSON's grammar has to know about what is open, so that a text that is nothing but gaps which lead from
//! state to state, with a value in between, is JSON, and its values are found at the same paths.
//!
//! What has not been seen before, or has a key twice, is left to the walk, and then learned from. What is
//! kept is bounded, and so is the work that learning takes of senders whose texts are ever new.

use std::collections::HashMap;

use super::scan::{JsonCursor, behind_string, next_special};
use super::slots::{Node, Slot, Slots};
use super::walk::{Raw, behind_scalar, unescaped};

/// Most bytes that states and gaps take, give or take those of one event. Ours take some 10 KiB.
const MAX_BYTES: usize = 1 << 20;
/// Most gaps that lead out of one state.
const MAX_GAPS: usize = 32;

/// What learning from an event costs, what one earns that was known, and the most that is saved up. An
/// unknown one earns 1.
const COST: u32 = 32;
const EARNED: u32 = 8;
const MAX_SAVED: u32 = 64 * COST;

/// The bytes that are compared at once.
const HEAD: usize = size_of::<u128>();

/// Where a text starts, and where it is over.
const START: usize = 0;
const END: usize = usize::MAX;

/// Bytes of a plan's id, with which a path starts; zeros where there is none yet.
const PLAN: usize = size_of::<u64>();
/// The bit of the event's type.
const TYPE_BIT: u32 = u64::BITS - 1;

/// The envelope's keys that are captured; slots have the numbers behind them.
pub(super) const CAPTURED: [&str; 6] =
    ["event_type", "event_id", "event_timestamp", "account_id", "principal", "object"];
const TYPE: usize = 0;
const OBJECT: usize = 5;

/// The envelope's values, by their place in `CAPTURED`.
pub(super) type Captured<'e> = [Option<Raw<'e>>; CAPTURED.len()];

/// What an event of a type is read into.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'p> {
    pub(super) object: &'p Node,
    pub(super) slots: usize,
    /// No other plan has it.
    pub(super) id: u64,
}

/// The shapes that were seen.
#[derive(Debug)]
pub(super) struct Shapes {
    states: Vec<State>,
    numbers: HashMap<Box<[u8]>, usize>,
    /// A bit for the path of each value that must not be there twice.
    bits: HashMap<Box<[u8]>, u32>,
    bytes: usize,
    saved: u32,
    /// Where values start whose end has not come yet.
    begun: Vec<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the value goes.
    capture: Option<usize>,
    gaps: Vec<Gap>,
}

#[derive(Debug)]
struct Gap {
    /// Its first bytes as a number, and which of them it has; its last bytes, where it has as many.
    head: u128,
    mask: u128,
    tail: u128,
    bytes: Box<[u8]>,
    to: usize,
    /// What happens in it, in order; nearly always nothing.
    marks: Box<[Mark]>,
}

/// Something at a place in a gap, counted from its start.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// An array or object starts that goes somewhere as a whole, or ends.
    Begin(usize),
    End {
        at: usize,
        capture: usize,
    },
    /// A key that must not be there twice, by its bit.
    Once(u32),
    /// Something is wanted below the value that starts here, which therefore must be `null`.
    Null(usize),
    /// The event's type with its quotes, and the plan of that type.
    Type {
        start: usize,
        end: usize,
        has_escapes: bool,
        plan: Option<u64>,
    },
}

impl Gap {
    fn new(bytes: &[u8], to: usize, marks: Vec<Mark>) -> Gap {
        let mask =
            u128::MAX.checked_shl(8 * bytes.len() as u32).map_or(u128::MAX, |behind| !behind);
        let tail = bytes.last_chunk().map_or(0, |tail| u128::from_le_bytes(*tail));
        Gap { head: head(bytes), mask, tail, bytes: bytes.into(), to, marks: marks.into() }
    }

    /// Whether it stands at the start of a text, whose first bytes these are.
    #[inline(always)]
    fn stands(&self, head: u128, text: &[u8]) -> bool {
        (head ^ self.head) & self.mask == 0 && (self.bytes.len() <= HEAD || self.goes_on(text))
    }

    /// Whether what is behind its first bytes stands there too.
    #[inline(always)]
    fn goes_on(&self, text: &[u8]) -> bool {
        let Some(there) = text.get(..self.bytes.len()) else { return false };
        let tail = there.last_chunk().map_or(0, |tail| u128::from_le_bytes(*tail));
        tail == self.tail && (self.bytes.len() <= 2 * HEAD || *there == *self.bytes)
    }
}

/// The first bytes of a text as a number, with zeros behind its end: no gap has any.
#[inline(always)]
fn head(text: &[u8]) -> u128 {
    match text.first_chunk() {
        Some(head) => u128::from_le_bytes(*head),
        None => last_head(text),
    }
}

#[cold]
fn last_head(text: &[u8]) -> u128 {
    text.iter().take(HEAD).rev().fold(0, |head, byte| head << 8 | u128::from(*byte))
}

impl Default for Shapes {
    fn default() -> Shapes {
        let mut shapes = Shapes {
            states: Vec::new(),
            numbers: HashMap::new(),
            bits: HashMap::new(),
            bytes: 0,
            saved: MAX_SAVED,
            begun: Vec::new(),
        };
        shapes.forget();
        shapes
    }
}

impl Shapes {
    fn forget(&mut self) {
        self.states.clear();
        self.states.push(State::default());
        self.numbers.clear();
        self.bits.clear();
        self.bytes = 0;
    }

    /// The envelope of an event whose shape is known, with its slots filled. Without a plan of its type
    /// there are none.
    pub(super) fn read<'e, 'p>(
        &mut self,
        text: &'e str,
        wanted: impl Fn(&str) -> Option<Wanted<'p>>,
        slots: &mut Slots<'e>,
    ) -> Option<Captured<'e>> {
        self.begun.clear();
        slots.clear();
        let mut reading = Reading {
            text,
            captured: Captured::default(),
            slots,
            once: 0,
            begun: &mut self.begun,
            is_stale: false,
        };
        let found = reading.follow(&self.states, wanted).map(|()| reading.captured);
        if reading.is_stale {
            self.forget();
        }
        let earned = if found.is_some() { EARNED } else { 1 };
        self.saved = MAX_SAVED.min(self.saved + earned);
        found
    }

    /// Learns the shape of a text, which is an event, if that is not too much.
    pub(super) fn learn<'p>(&mut self, text: &str, wanted: impl Fn(&str) -> Option<Wanted<'p>>) {
        let Some(saved) = self.saved.checked_sub(COST) else { return };
        self.saved = saved;
        if self.bytes > MAX_BYTES {
            self.forget();
        }
        let mut lesson = Lesson {
            shapes: self,
            text,
            cursor: JsonCursor::new(text),
            path: vec![0; PLAN],
            marks: Vec::new(),
            state: START,
            end: 0,
        };
        // What cannot be learned is left to the walk ever after.
        let _learned = lesson.envelope(wanted);
    }

    fn bit(&mut self, path: &[u8]) -> Option<u32> {
        if let Some(bit) = self.bits.get(path) {
            return Some(*bit);
        }
        // Those of one plan are told apart, and from the type's, which all have.
        let of_plan = self.bits.keys().filter(|it| it[..PLAN] == path[..PLAN]).count();
        let bit = u32::try_from(of_plan).ok().filter(|bit| *bit < TYPE_BIT)?;
        self.bytes += path.len();
        self.bits.insert(path.into(), bit);
        Some(bit)
    }

    fn state(&mut self, path: &[u8], capture: Option<usize>) -> usize {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        self.bytes += path.len() + size_of::<State>();
        self.numbers.insert(path.into(), self.states.len());
        self.states.push(State { capture, gaps: Vec::new() });
        self.states.len() - 1
    }
}

/// The reading of one event along gaps that are known. Each step is `None` where there is none.
struct Reading<'e, 's> {
    text: &'e str,
    captured: Captured<'e>,
    slots: &'s mut Slots<'e>,
    /// The keys that were met which must not be there twice.
    once: u64,
    begun: &'s mut Vec<usize>,
    /// Another plan is that of its type now.
    is_stale: bool,
}

impl<'e> Reading<'e, '_> {
    fn follow<'p>(
        &mut self,
        states: &[State],
        wanted: impl Fn(&str) -> Option<Wanted<'p>>,
    ) -> Option<()> {
        let text = self.text;
        let (mut state, mut rest) = (states.first()?, text.as_bytes());
        loop {
            let head = head(rest);
            let gap = state.gaps.iter().find(|it| it.stands(head, rest))?;
            if !gap.marks.is_empty() {
                self.pass(&gap.marks, text.len() - rest.len(), &wanted)?;
            }
            rest = rest.get(gap.bytes.len()..)?;
            let Some(next) = states.get(gap.to) else {
                return rest.is_empty().then_some(());
            };
            state = next;
            let mut has_escapes = false;
            let behind = if *rest.first()? != b'"' {
                behind_scalar(rest)?
            } else if let Some([b'"', behind @ ..]) = rest.get(next_special(rest, 1)..) {
                behind
            } else {
                has_escapes = true;
                behind_string(text, rest)?
            };
            if let Some(to) = state.capture {
                let start = text.len() - rest.len();
                self.capture(to, start, text.len() - behind.len(), has_escapes)?;
            }
            rest = behind;
        }
    }

    #[inline(always)]
    fn capture(&mut self, to: usize, start: usize, end: usize, has_escapes: bool) -> Option<()> {
        let json = self.text.get(start..end)?;
        match to.checked_sub(CAPTURED.len()) {
            None => *self.captured.get_mut(to)? = Some(Raw::new(json, has_escapes)),
            Some(slot) => *self.slots.get_mut(slot)? = Slot::Json(json),
        }
        Some(())
    }

    /// Does what the marks of a gap say, which starts at `from`.
    #[inline(never)]
    fn pass<'p>(
        &mut self,
        marks: &[Mark],
        from: usize,
        wanted: impl Fn(&str) -> Option<Wanted<'p>>,
    ) -> Option<()> {
        for mark in marks {
            match *mark {
                Mark::Begin(at) => self.begun.push(from + at),
                Mark::End { at, capture } => {
                    let start = self.begun.pop()?;
                    self.capture(capture, start, from + at, true)?;
                }
                Mark::Once(bit) => {
                    if self.once & 1 << bit != 0 {
                        return None;
                    }
                    self.once |= 1 << bit;
                }
                Mark::Null(at) => {
                    // No other scalar begins so, and it is read as one.
                    if self.text.as_bytes().get(from + at) != Some(&b'n') {
                        return None;
                    }
                }
                Mark::Type { start, end, has_escapes, plan } => {
                    self.capture(TYPE, from + start, from + end, has_escapes)?;
                    let wanted = wanted(&self.captured[TYPE]?.string()?);
                    if wanted.map(|it| it.id) != plan {
                        self.is_stale = true;
                        return None;
                    }
                    self.slots.clear();
                    self.slots.resize(wanted.map_or(0, |it| it.slots), Slot::Absent);
                }
            }
        }
        Some(())
    }
}

/// A careful reading of one event, from which its shape is learned. Each step is `None` where there is
/// something that shapes cannot tell.
struct Lesson<'e, 's> {
    shapes: &'s mut Shapes,
    text: &'e str,
    cursor: JsonCursor<'e>,
    /// The plan, and what is open around the cursor: `[`, or `{` and a key.
    path: Vec<u8>,
    marks: Vec<Mark>,
    /// The last value, and its end.
    state: usize,
    end: usize,
}

impl Lesson<'_, '_> {
    fn envelope<'p>(&mut self, wanted: impl Fn(&str) -> Option<Wanted<'p>>) -> Option<()> {
        let mut plan = None;
        let mut more = self.cursor.enter(b'{', b'}').ok()?;
        let before = self.path.len();
        let mut seen = Vec::new();
        while more {
            let key = self.cursor.key().ok()?;
            let name = unescaped(key.as_bytes());
            self.open(b'{', key);
            let capture = CAPTURED.iter().position(|it| it.as_bytes() == &*name);
            if capture.is_some() && seen.contains(&capture) {
                return None;
            }
            seen.push(capture);
            if capture == Some(TYPE) {
                let known = self.event_type(&wanted)?;
                // From here on the states are those of this plan.
                let id = known.map_or(0, |it| it.id);
                self.path.splice(..PLAN, id.to_le_bytes());
                plan = Some(known);
            } else if capture == Some(OBJECT) {
                // Where its type comes later nobody knows yet what is wanted of it.
                let nothing = Node::default();
                let object = plan?.map_or(&nothing, |it| it.object);
                if object.is_leaf() {
                    self.once()?;
                }
                self.value(object, capture)?;
            } else {
                self.value(&Node::default(), capture)?;
            }
            self.path.truncate(before);
            more = self.cursor.more(b'}').ok()?;
        }
        self.cursor.end().ok()?;
        self.gap(self.text.len(), END)
    }

    fn event_type<'p>(
        &mut self,
        wanted: impl Fn(&str) -> Option<Wanted<'p>>,
    ) -> Option<Option<Wanted<'p>>> {
        self.marks.push(Mark::Once(TYPE_BIT));
        self.cursor.next_token();
        let start = self.cursor.position();
        let json = self.cursor.value(1).ok()?;
        let wanted = wanted(&Raw::new(json, true).string()?);
        let plan = wanted.map(|it| it.id);
        let end = self.cursor.position() - self.end;
        let has_escapes = json.contains('\\');
        self.marks.push(Mark::Type { start: start - self.end, end, has_escapes, plan });
        Some(wanted)
    }

    /// Marks that what stands at the present path must not be there twice.
    fn once(&mut self) -> Option<()> {
        let bit = self.shapes.bit(&self.path)?;
        self.marks.push(Mark::Once(bit));
        Some(())
    }

    fn open(&mut self, bracket: u8, key: &str) {
        self.path.push(bracket);
        self.path.extend_from_slice(key.as_bytes());
        // No key has it as it is written.
        self.path.push(0);
    }

    fn value(&mut self, node: &Node, capture: Option<usize>) -> Option<()> {
        let bracket = self.cursor.next_token()?;
        let start = self.cursor.position();
        if !matches!(bracket, b'{' | b'[') {
            if !node.is_leaf() {
                self.once()?;
                self.marks.push(Mark::Null(start - self.end));
            }
            let json = self.cursor.value(1).ok()?;
            if !node.is_leaf() && json != "null" {
                return None;
            }
            let state = self.shapes.state(&self.path, capture);
            self.gap(start, state)?;
            self.end = self.cursor.position();
            return Some(());
        }
        if capture.is_some() {
            self.marks.push(Mark::Begin(start - self.end));
        }
        if bracket == b'{' {
            self.object(node)?
        } else {
            self.array(node)?
        }
        if let Some(capture) = capture {
            self.marks.push(Mark::End { at: self.cursor.position() - self.end, capture });
        }
        Some(())
    }

    fn object(&mut self, node: &Node) -> Option<()> {
        if !node.is_leaf() {
            self.once()?;
        }
        let before = self.path.len();
        let mut seen = Vec::new();
        let mut more = self.cursor.enter(b'{', b'}').ok()?;
        while more {
            let key = self.cursor.key().ok()?;
            self.open(b'{', key);
            let child = node.child(&unescaped(key.as_bytes()));
            if let Some((number, _)) = child {
                if seen.contains(&number) {
                    return None;
                }
                seen.push(number);
            }
            let nothing = Node::default();
            let child = child.map_or(&nothing, |(_, child)| child);
            self.value(child, child.slot.map(|slot| CAPTURED.len() + slot.index()))?;
            self.path.truncate(before);
            more = self.cursor.more(b'}').ok()?;
        }
        Some(())
    }

    fn array(&mut self, node: &Node) -> Option<()> {
        if !node.is_leaf() {
            return None;
        }
        let before = self.path.len();
        self.open(b'[', "");
        let mut more = self.cursor.enter(b'[', b']').ok()?;
        while more {
            self.value(&Node::default(), None)?;
            more = self.cursor.more(b']').ok()?;
        }
        self.path.truncate(before);
        Some(())
    }

    /// Adds what stands between the last value and this place, and where it leads.
    fn gap(&mut self, start: usize, to: usize) -> Option<()> {
        let bytes = self.text.as_bytes().get(self.end..start)?;
        let marks = std::mem::take(&mut self.marks);
        let gaps = &mut self.shapes.states.get_mut(self.state)?.gaps;
        if !gaps.iter().any(|it| *it.bytes == *bytes) {
            if gaps.len() == MAX_GAPS {
                return None;
            }
            self.shapes.bytes += bytes.len() + size_of::<Gap>() + marks.len() * size_of::<Mark>();
            // Before those that it begins with: where it stands no scalar comes behind them.
            let at = gaps.iter().position(|it| bytes.starts_with(&it.bytes));
            gaps.insert(at.unwrap_or(gaps.len()), Gap::new(bytes, to, marks));
        }
        self.state = to;
        Some(())
    }
}

#[cfg(test)]
mod tests;
