//! Extraction: one pass over an event fills the slots of all filters and projections of its type.
//!
//! A slot is a numbered place for one path's value, left as the text the sender wrote. Nothing is
//! decoded here and no tree is built.

use super::envelope::{Event, EventError};
use super::scan::{JsonCursor, MAX_DEPTH, ScanError};
use super::time::Timestamp;

/// The number of a slot in a [`SlotPlan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u32);

impl SlotId {
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

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The event's `object`, called `ev` in filters.
    Object,
    /// The envelope, called `event` in filters.
    Envelope,
}

/// The values of one event, by slot.
pub type Slots<'e> = Vec<Slot<'e>>;

/// The paths of all slots as a trie, made once for an event type and used for each event.
#[derive(Clone, Debug, Default)]
pub struct SlotPlan {
    object: Node,
    envelope: Node,
    count: u32,
}

#[derive(Clone, Debug, Default)]
struct Node {
    slot: Option<SlotId>,
    children: Vec<(String, Node)>,
}

impl SlotPlan {
    /// The slot of a path; the same path always has the same slot. An empty path is the root itself.
    pub fn slot<S: AsRef<str>>(&mut self, root: Root, path: &[S]) -> SlotId {
        let mut node = match root {
            Root::Object => &mut self.object,
            Root::Envelope => &mut self.envelope,
        };
        for name in path {
            let at = node.children.iter().position(|(child, _)| child == name.as_ref());
            let at = at.unwrap_or_else(|| {
                node.children.push((name.as_ref().to_owned(), Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        *node.slot.get_or_insert_with(|| {
            self.count += 1;
            SlotId(self.count - 1)
        })
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no slot at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Fills `slots` from an event. What was in `slots` before is gone.
    pub fn extract<'e>(&self, event: &'e Event<'e>, slots: &mut Slots<'e>) {
        self.clear(slots);
        // Depth 1, as where it was checked: the envelope is around it.
        let walked = self.object.walk(&mut JsonCursor::new(event.object), 1, slots);
        debug_assert_eq!(walked, Ok(()), "an event was checked before its extraction");
        self.extract_envelope(event, slots);
    }

    /// Fills those of `slots` that lie in the envelope.
    pub fn extract_envelope<'e>(&self, event: &'e Event<'e>, slots: &mut [Slot<'e>]) {
        for (name, node) in &self.envelope.children {
            let json = match name.as_str() {
                "event_id" => Some(&*event.event_id),
                "event_timestamp" => Some(&*event.event_timestamp),
                "account_id" => event.account_id,
                "principal" => event.principal,
                _ => None,
            };
            if let Some(json) = json {
                let walked = node.walk(&mut JsonCursor::new(json), 1, slots);
                debug_assert_eq!(walked, Ok(()), "an event was checked before its extraction");
            }
        }
    }

    fn clear(&self, slots: &mut Slots<'_>) {
        slots.clear();
        slots.resize(self.len(), Slot::Absent);
    }
}

/// Reads and checks one event as [`Event::parse`] does, and fills the slots of its object in the
/// same pass, by the plan that `plan_of` has for its type.
///
/// That takes the event's type to stand before its object, as every emitter writes it; else the
/// object is walked a second time. Slots of the envelope are left to
/// [`SlotPlan::extract_envelope`], since ids and times may be the daemon's own.
///
/// # Errors
/// As [`Event::parse`].
pub fn read_event<'e, 'p>(
    text: &'e str,
    now: Timestamp,
    random: impl FnOnce() -> u128,
    plan_of: impl Fn(&str) -> Option<&'p SlotPlan>,
) -> Result<(Event<'e>, Slots<'e>), EventError> {
    let mut slots = Slots::new();
    let mut walked_by = None;
    let event = Event::parse_with(text, now, random, |cursor, event_type| {
        let Some(plan) = event_type.and_then(&plan_of) else { return cursor.skip(1) };
        plan.clear(&mut slots);
        walked_by = Some(plan);
        plan.object.walk(cursor, 1, &mut slots)
    })?;
    // The type may stand behind the object, or twice, and then the last counts: slots filled by no plan
    // or by another type's are not this event's.
    if let Some(plan) = plan_of(&event.event_type)
        && !walked_by.is_some_and(|by| std::ptr::eq(by, plan))
    {
        plan.clear(&mut slots);
        let walked = plan.object.walk(&mut JsonCursor::new(event.object), 1, &mut slots);
        debug_assert_eq!(walked, Ok(()), "the event has been checked");
    }
    Ok((event, slots))
}

impl Node {
    fn child(&self, key: &[u8]) -> Option<&Node> {
        self.children.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, node)| node)
    }

    /// Sets every slot at or under this node.
    fn fill<'e>(&self, slots: &mut [Slot<'e>], value: Slot<'e>) {
        if let Some(slot) = self.slot {
            slots[slot.index()] = value;
        }
        for (_, node) in &self.children {
            node.fill(slots, value);
        }
    }

    fn walk<'e>(
        &self,
        cursor: &mut JsonCursor<'e>,
        depth: usize,
        slots: &mut [Slot<'e>],
    ) -> Result<(), ScanError> {
        let first = cursor.next_token();
        // At the greatest depth `value` says what is wrong; going on would only say it later.
        if self.children.is_empty() || first != Some(b'{') || depth >= MAX_DEPTH {
            let json = cursor.value(depth)?;
            let beneath = if json == "null" { Slot::Absent } else { Slot::Broken };
            self.fill(slots, beneath);
            self.set(slots, json);
            return Ok(());
        }
        // A second object under the same key replaces the first one: the last wins as a whole.
        self.fill(slots, Slot::Absent);
        let start = cursor.position();
        let mut more = cursor.enter(b'{', b'}')?;
        while more {
            let key = cursor.key_bytes()?;
            match self.child(&key) {
                Some(node) => node.walk(cursor, depth + 1, slots)?,
                None => cursor.skip(depth + 1)?,
            }
            more = cursor.more(b'}')?;
        }
        self.set(slots, cursor.since(start));
        Ok(())
    }

    fn set<'e>(&self, slots: &mut [Slot<'e>], json: &'e str) {
        if let Some(slot) = self.slot {
            slots[slot.index()] = Slot::Json(json);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::event::time::Timestamp;

    fn extract(object: &str, paths: &[&str]) -> Vec<String> {
        let text = format!(r#"{{"event_type":"t","account_id":"ac","object":{object}}}"#);
        let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
        let mut plan = SlotPlan::default();
        let ids: Vec<_> = paths
            .iter()
            .map(|path| plan.slot(Root::Object, &path.split('.').collect::<Vec<_>>()))
            .collect();
        let mut slots = Slots::new();
        plan.extract(&event, &mut slots);
        ids.iter()
            .map(|id| match slots[id.index()] {
                Slot::Absent => "-".to_owned(),
                Slot::Broken => "!".to_owned(),
                Slot::Json(json) => json.to_owned(),
            })
            .collect()
    }

    #[test]
    fn values_are_found_by_path_and_kept_as_written() {
        let object =
            r#"{"x":{"n":[1,{"conn":2}]}, "conn" : {"ip":"a\"b","port": 1.0e1 },"z":null}"#;
        let found = extract(object, &["conn.ip", "conn.port", "conn", "z", "z.y", "none.at.all"]);
        assert_eq!(
            found,
            [r#""a\"b""#, "1.0e1", r#"{"ip":"a\"b","port": 1.0e1 }"#, "null", "-", "-"]
        );
    }

    #[test]
    fn a_value_in_the_way_is_told_from_absence() {
        assert_eq!(extract(r#"{"conn":5}"#, &["conn.ip", "conn"]), ["!", "5"]);
    }

    #[test]
    fn the_last_of_duplicate_keys_wins_as_a_whole() {
        let object = r#"{"conn":{"ip":1,"port":2},"conn":{"port":3}}"#;
        assert_eq!(extract(object, &["conn.ip", "conn.port"]), ["-", "3"]);
    }

    #[test]
    fn escaped_keys_are_the_same_keys() {
        assert_eq!(extract(r#"{"\u0063onn":{"ip":1}}"#, &["conn.ip"]), ["1"]);
    }

    #[test]
    fn envelope_keys_have_slots_too() {
        let text = r#"{"event_type":"t","principal":{"subject":"ada"},"object":{}}"#;
        let event = Event::parse(text, Timestamp::MIN, || 0).unwrap();
        let mut plan = SlotPlan::default();
        let subject = plan.slot(Root::Envelope, &["principal", "subject"]);
        let account = plan.slot(Root::Envelope, &["account_id"]);
        assert_eq!(plan.slot(Root::Envelope, &["principal", "subject"]), subject);
        let mut slots = Slots::new();
        plan.extract(&event, &mut slots);
        assert_eq!(slots[subject.index()], Slot::Json("\"ada\""));
        assert_eq!(slots[account.index()], Slot::Absent);
    }

    /// The slot of `a.b` of an event read in one pass, where types `one` and `two` have plans.
    fn read(text: &str) -> Result<String, String> {
        let (mut one, mut two) = (SlotPlan::default(), SlotPlan::default());
        let slot = one.slot(Root::Object, &["a", "b"]);
        two.slot(Root::Object, &["c"]);
        assert_eq!(two.slot(Root::Object, &["a", "b"]).index(), 1);
        let plan_of = |name: &str| match name {
            "one" => Some(&one),
            "two" => Some(&two),
            _ => None,
        };
        let (event, slots) =
            read_event(text, Timestamp::MIN, || 0, plan_of).map_err(|error| error.to_string())?;
        let at = if event.event_type == "two" { 1 } else { slot.index() };
        Ok(format!("{} {:?}", event.object, slots.get(at)))
    }

    #[test]
    fn one_pass_checks_an_event_and_fills_its_slots() {
        let found = Ok(r#"{"a":{"b": 7}} Some(Json("7"))"#.to_owned());
        for text in [
            r#"{"event_type":"one","object":{"a":{"b": 7}}}"#,
            r#"{"object":{"a":{"b": 7}},"event_type":"one"}"#,
            r#"{"event_type":"two","object":{"a":{"b": 7}}}"#,
            r#"{"event_type":"one","object":{"a":{"b": 7}},"event_type":"two"}"#,
            r#"{"event_type":"one","object":{"a":{"b":1}},"object":{"a":{"b": 7}}}"#,
            r#"{"event_type":"\u006fne","object":{"a":{"b": 7}}}"#,
        ] {
            assert_eq!(read(text), found, "{text}");
        }
        assert_eq!(read(r#"{"event_type":"none","object":{}}"#), Ok("{} None".to_owned()));
    }

    #[test]
    fn one_pass_finds_the_mistakes_that_checking_finds() {
        for object in [r#"{"a":{"b":01}}"#, r#"{"a":{"b":1}"#, r#"{"a" 1}"#, "[1]", "7"] {
            let text = format!(r#"{{"event_type":"one","object":{object}}}"#);
            let checked = Event::parse(&text, Timestamp::MIN, || 0);
            assert_eq!(read(&text), Err(checked.unwrap_err().to_string()));
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        let text = format!(r#"{{"event_type":"one","object":{deep}}}"#);
        assert!(read(&text).unwrap_err().contains("nested deeper than 128 levels"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_full_parse_finds(
            members in proptest::collection::btree_map("[abc]", json(), 0..4),
        ) {
            let object = Value::Object(members.into_iter().collect());
            let paths = ["a", "a.b", "a.b.c", "b.a", "c.c"];
            let found = extract(&object.to_string(), &paths);
            for (path, found) in paths.iter().zip(found) {
                let expected = path.split('.').try_fold(&object, |value, name| value.get(name));
                let found: Option<Value> = serde_json::from_str(&found).ok();
                prop_assert_eq!(found.as_ref(), expected, "{}", path);
            }
        }
    }
}
