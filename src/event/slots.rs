//! Slots and the trie of their paths: what a walk over an event is led by.
//!
//! A slot is a numbered place for one path's value, left as the text the sender wrote. Nothing is
//! decoded here; how an event is walked is `walk`'s matter.

/// The number of a slot in a [`super::SlotPlan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u32);

impl SlotId {
    pub(super) fn new(number: u32) -> SlotId {
        SlotId(number)
    }

    /// The slot's index in [`Slots`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an event holds at a slot's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot<'e> {
    /// Nothing.
    #[default]
    Absent,
    /// Nothing, because something on the way to it is not an object.
    Broken,
    /// A value, as the JSON text the sender wrote (`null` included).
    Json(&'e str),
}

/// The values of one event, by slot.
pub type Slots<'e> = Vec<Slot<'e>>;

/// A place on the way to slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) slot: Option<SlotId>,
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
struct Child {
    /// The first bytes of its name, so that most others are told from it by one comparison.
    head: u64,
    name: Box<str>,
    node: Node,
}

/// Up to eight bytes as a number.
#[inline]
fn head(name: &[u8]) -> u64 {
    if let Some(head) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*head);
    }
    if let (Some(low), Some(high)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*high)) << ((name.len() - 4) * 8);
        return u64::from(u32::from_le_bytes(*low)) | high;
    }
    match *name {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(a) | u64::from(b) << 8,
        [a, b, c, ..] => u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16,
    }
}

impl Node {
    /// The child of this name, made if there is none.
    pub(super) fn make(&mut self, name: &str) -> &mut Node {
        let at = self.children.iter().position(|child| *child.name == *name);
        let at = at.unwrap_or_else(|| {
            let head = head(name.as_bytes());
            self.children.push(Child { head, name: name.into(), node: Node::default() });
            self.children.len() - 1
        });
        &mut self.children[at].node
    }

    /// The child of a name, and its number.
    #[inline]
    pub(super) fn child(&self, key: &[u8]) -> Option<(usize, &Node)> {
        let head = head(key);
        let mut children = self.children.iter().enumerate();
        children
            .find(|(_, child)| child.head == head && child.is_called(key))
            .map(|(number, child)| (number, &child.node))
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.children.iter().map(|child| (&*child.name, &child.node))
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// Sets the slot of this node.
    #[inline]
    pub(super) fn set<'e>(&self, slots: &mut [Slot<'e>], json: &'e str) {
        if let Some(slot) = self.slot {
            slots[slot.index()] = Slot::Json(json);
        }
    }

    /// Sets every slot under this node.
    pub(super) fn fill<'e>(&self, slots: &mut [Slot<'e>], value: Slot<'e>) {
        for Child { node, .. } in &self.children {
            if let Some(slot) = node.slot {
                slots[slot.index()] = value;
            }
            node.fill(slots, value);
        }
    }
}

impl Child {
    /// Whether this is its name, if the heads are equal.
    #[inline]
    fn is_called(&self, key: &[u8]) -> bool {
        self.name.len() == key.len() && self.name.as_bytes().get(8..) == key.get(8..)
    }
}
