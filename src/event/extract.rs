//! Extraction: one pass over an event fills the slots of all filters and projections of its type.
//!
//! Values are left as the text the sender wrote: nothing is decoded here and no tree is built. How a text
//! is walked stands in `walk`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bitmaps::Bitmaps;
use super::envelope::{Event, EventError, RawEnvelope, why_not};
use super::shapes::{Shapes, Wanted};
use super::slots::{Node, Slot, SlotId, Slots};
use super::time::Timestamp;
use super::walk;

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The event's `object`, called `ev` in filters.
    Object,
    /// The envelope, called `event` in filters.
    Envelope,
}

/// The paths of all slots as a trie, made once for an event type and used for each event.
#[derive(Clone, Debug, Default)]
pub struct SlotPlan {
    object: Node,
    envelope: Node,
    count: u32,
    /// Another one whenever a slot is added.
    id: u64,
}

/// The ids of plans that were given.
static PLANS: AtomicU64 = AtomicU64::new(1);

impl SlotPlan {
    /// The slot of a path; the same path always has the same slot. An empty path is the root itself.
    pub fn slot<S: AsRef<str>>(&mut self, root: Root, path: &[S]) -> SlotId {
        let mut node = match root {
            Root::Object => &mut self.object,
            Root::Envelope => &mut self.envelope,
        };
        for name in path {
            node = node.make(name.as_ref());
        }
        *node.slot.get_or_insert_with(|| {
            self.count += 1;
            self.id = PLANS.fetch_add(1, Ordering::Relaxed);
            SlotId::new(self.count - 1)
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

    /// Whether a slot lies in the envelope.
    #[must_use]
    pub fn has_envelope(&self) -> bool {
        !self.envelope.is_leaf()
    }

    /// Fills `slots` from an event. What was in `slots` before is gone.
    pub fn extract<'e>(&self, event: &'e Event<'e>, slots: &mut Slots<'e>) {
        self.clear(slots);
        // Depth 1, as where it was checked: the envelope is around it.
        fill(event.object, &self.object, slots);
        self.extract_envelope(event, slots);
    }

    /// Fills those of `slots` that lie in the envelope.
    pub fn extract_envelope<'e>(&self, event: &'e Event<'e>, slots: &mut [Slot<'e>]) {
        for (name, node) in self.envelope.children() {
            let json = match name {
                "event_id" => Some(&*event.event_id),
                "event_timestamp" => Some(&*event.event_timestamp),
                "account_id" => event.account_id,
                "principal" => event.principal,
                _ => None,
            };
            if let Some(json) = json {
                fill(json, node, slots);
            }
        }
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { object: &self.object, slots: self.len(), id: self.id }
    }

    fn clear(&self, slots: &mut Slots<'_>) {
        slots.clear();
        slots.resize(self.len(), Slot::Absent);
    }
}

/// Reads events one after another; what that takes is used again, so that it allocates nothing.
#[derive(Debug, Default)]
pub struct EventReader {
    bitmaps: Bitmaps,
    shapes: Shapes,
}

impl EventReader {
    /// Reads and checks one event as [`Event::parse`] does, and fills `slots` from its object in the same
    /// pass. `type_of` tells what is known by the name of its type, which is looked up once and given back,
    /// and `plan_of` the plan of such a type; without one there are no slots.
    ///
    /// That takes the event's type to stand before its object, as every emitter writes it; else the
    /// object is walked a second time. Slots of the envelope are left to
    /// [`SlotPlan::extract_envelope`], since ids and times may be the daemon's own.
    ///
    /// # Errors
    /// As [`Event::parse`].
    pub fn read<'e, 'p, T: Copy>(
        &mut self,
        text: &'e str,
        now: Timestamp,
        random: impl FnOnce() -> u128,
        (type_of, plan_of): (impl Fn(&str) -> Option<T>, impl Fn(T) -> Option<&'p SlotPlan>),
        slots: &mut Slots<'e>,
    ) -> Result<(Event<'e>, Option<T>), EventError> {
        let wanted = |name: &str| plan_of(type_of(name)?).map(SlotPlan::wanted);
        if let Some(captured) = self.shapes.read(text, wanted, slots) {
            let event = RawEnvelope::of(captured).check(now, random)?;
            let of = type_of(&event.event_type);
            return Ok((event, of));
        }
        let structure = self.bitmaps.of(text.as_bytes()).ok_or_else(|| why_not(text))?;
        slots.clear();
        // The name before the object, by its place in the text, and what is known of it.
        let mut before = None;
        let raw = RawEnvelope::walk(text, structure, |walk, name| {
            let of = name.and_then(&type_of);
            before = name.map(|name| (std::ptr::from_ref(name), of));
            let Some(plan) = of.and_then(&plan_of) else {
                slots.clear();
                return walk.envelope_value(None, &mut []);
            };
            plan.clear(slots);
            walk.envelope_value(Some(&plan.object), slots)
        })?;
        let event = raw.check(now, random)?;
        self.shapes.learn(text, wanted);
        let name: &str = &event.event_type;
        if let Some((place, of)) = before
            && std::ptr::eq(place, name)
        {
            return Ok((event, of));
        }
        // The type stands behind the object, or twice, and then the last counts, or it has escapes: slots
        // filled by no plan or by another type's are not this event's.
        slots.clear();
        let of = type_of(name);
        if let Some(plan) = of.and_then(plan_of) {
            plan.clear(slots);
            fill(event.object, &plan.object, slots);
        }
        Ok((event, of))
    }
}

/// Reads one event as an [`EventReader`] does.
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
    let by = (plan_of, Some);
    let (event, _) = EventReader::default().read(text, now, random, by, &mut slots)?;
    Ok((event, slots))
}

/// Fills the slots at and under a node.
fn fill<'e>(json: &'e str, node: &Node, slots: &mut [Slot<'e>]) {
    let walked = walk::fill(json, node, slots);
    debug_assert_eq!(walked, Some(()), "an event was checked before its extraction");
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
