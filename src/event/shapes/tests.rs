//! That known shapes are told from others, and what is kept of them.

use super::super::extract::{EventReader, Root, SlotPlan};
use super::super::time::Timestamp;
use super::*;

const FIRST: &str = r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":true}}"#;

fn plan(paths: &[&[&str]]) -> SlotPlan {
    let mut plan = SlotPlan::default();
    for path in paths {
        plan.slot(Root::Object, path);
    }
    plan
}

/// The slots of an event, read by a reader that has read others before.
fn slots<'e>(reader: &mut EventReader, plan: &SlotPlan, text: &'e str) -> Vec<Option<&'e str>> {
    let mut slots = Slots::new();
    let by = (|_: &str| Some(plan), Some);
    reader.read(text, Timestamp::MIN, || 0, by, &mut slots).unwrap();
    let json = |slot: &Slot<'e>| if let Slot::Json(json) = slot { Some(*json) } else { None };
    slots.iter().map(json).collect()
}

/// Whether the shape of a text is known to one who has read these.
fn is_known(texts: &[&str], plan: &SlotPlan, text: &str) -> bool {
    let mut shapes = Shapes::default();
    texts.iter().for_each(|text| shapes.learn(text, |_: &str| Some(plan.wanted())));
    let wanted = |_: &str| Some(plan.wanted());
    shapes.read(text, wanted, &mut Slots::new()).is_some()
}

#[test]
fn an_event_that_differs_in_its_values_has_a_known_shape() {
    let plan = plan(&[&["a", "b"]]);
    for known in [FIRST, r#"{"event_type":"t","object":{"a":{"b":"\""},"c":["","y"],"d":-1e9}}"#] {
        assert!(is_known(&[FIRST, r#"{"event_type":"t","object":{"c":[1,2]}}"#], &plan, known));
    }
    for other in [
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":01}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":[["x"]],"d":1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["\u00"],"d":1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["\ud83d"],"d":1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["\"],"d":1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"x"],"d":1}}"#,
        "{\"event_type\":\"t\",\"object\":{\"a\":{\"b\":1},\"c\":[\"\t\"],\"d\":1}}",
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":"1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":1e}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":nul}}"#,
        r#"{"event_type":"u","object":{"a":{"b":1},"c":["x"],"d":1}}"#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":1}} "#,
        r#"{"event_type":"t","object":{"a":{"b":1},"c":["x"],"d":1}},"#,
    ] {
        assert!(!is_known(&[FIRST], &plan, other), "{other}");
    }
}

#[test]
fn gaps_of_several_events_lead_to_one_that_none_of_them_is() {
    let text = |keys: &[&str]| {
        let members: Vec<_> = keys.iter().map(|key| format!("\"{key}\":1")).collect();
        format!(r#"{{"event_type":"t","object":{{{}}}}}"#, members.join(","))
    };
    let (one, two) = (text(&["a", "b", "c"]), text(&["b", "d"]));
    let plan = plan(&[&["a"], &["d"]]);
    assert!(is_known(&[&one, &two], &plan, &text(&["a", "b", "d"])));
    assert!(!is_known(&[&one, &two], &plan, &text(&["a", "d"])));
}

#[test]
fn a_plan_that_has_changed_has_no_shapes_of_before() {
    let mut reader = EventReader::default();
    let mut plan = plan(&[&["a", "b"]]);
    assert_eq!(slots(&mut reader, &plan, FIRST), [Some("1")]);
    plan.slot(Root::Object, &["c"]);
    let second = FIRST.replace('1', "2");
    for _ in 0..3 {
        assert_eq!(slots(&mut reader, &plan, &second), [Some("2"), Some(r#"["x"]"#)]);
    }
}

#[test]
fn a_key_that_is_there_twice_counts_as_the_walk_counts_it() {
    let plan = plan(&[&["a", "b"], &["a", "c"]]);
    let text = |object: &str| format!(r#"{{"event_type":"t","object":{{{object}}}}}"#);
    let mut reader = EventReader::default();
    // Gaps from `a` to `d` and from `d` to `a` are known, and so would be those of `twice`.
    for object in [r#""a":{"b":1},"d":2"#, r#""d":2,"a":{"c":3}"#] {
        slots(&mut reader, &plan, &text(object));
    }
    let twice = text(r#""a":{"b":1},"d":2,"a":{"c":3}"#);
    assert_eq!(slots(&mut reader, &plan, &twice), [None, Some("3")]);
}

#[test]
fn null_where_something_below_is_wanted_is_learned_beside_an_object() {
    let plan = plan(&[&["a", "b"], &["a"]]);
    let text = |object: &str| format!(r#"{{"event_type":"t","object":{{{object}}}}}"#);
    let (null, object) = (text(r#""a":null,"d":1"#), text(r#""a":{"b":1},"d":1"#));
    for learned in [[null.as_str(), &object], [&object, &null]] {
        assert!(is_known(&learned, &plan, &null.replace("1}", "2}")));
        assert!(is_known(&learned, &plan, &object.replace("1}", "2}")));
        for other in
            [r#""a":7,"d":1"#, r#""a":"null","d":1"#, r#""a":nul,"d":1"#, r#""a":["n"],"d":1"#]
        {
            assert!(!is_known(&learned, &plan, &text(other)), "{other}");
        }
        let mut reader = EventReader::default();
        for text in learned.iter().cycle().take(6) {
            let of_b = if **text == null { None } else { Some("1") };
            let of_a = if **text == null { "null" } else { r#"{"b":1}"# };
            assert_eq!(slots(&mut reader, &plan, text), [of_b, Some(of_a)]);
        }
        for (twice, of_a) in [
            (r#""a":{"b":1},"d":1,"a":null"#, "null"),
            (r#""a":null,"d":1,"a":{"c":1}"#, r#"{"c":1}"#),
        ] {
            assert_eq!(slots(&mut reader, &plan, &text(twice)), [None, Some(of_a)]);
        }
    }
}

#[test]
fn a_value_may_be_a_scalar_or_not() {
    let plan = plan(&[&["d"]]);
    let text = |value: &str| format!(r#"{{"event_type":"t","object":{{"c":{value},"d":1}}}}"#);
    let values = ["7", r#"["x"]"#, r#"{"e":["x"]}"#, "[[7]]", "[]"].map(text);
    for turned in 0..values.len() {
        let mut learned: Vec<&str> = values.iter().map(String::as_str).collect();
        learned.rotate_left(turned);
        assert!(values.iter().all(|text| is_known(&learned, &plan, text)), "{learned:?}");
    }
}

#[test]
fn what_is_kept_of_ever_new_keys_is_bounded() {
    let plan = plan(&[&["a"]]);
    let mut shapes = Shapes::default();
    let mut forgot = 0;
    for number in 0..20_000 {
        let before = shapes.bytes;
        let key = format!("{number}").repeat(20);
        let text = format!(r#"{{"event_type":"t","object":{{"{key}":{{"{key}":1}}}}}}"#);
        shapes.saved = MAX_SAVED;
        shapes.learn(&text, |_: &str| Some(plan.wanted()));
        assert!(shapes.bytes <= MAX_BYTES + 4 * text.len() + 1_000);
        forgot += u32::from(shapes.bytes < before);
    }
    assert!(forgot > 2, "it forgot {forgot} times");
    shapes.saved = 0;
    shapes.forget();
    shapes.learn(FIRST, |_: &str| Some(plan.wanted()));
    assert_eq!(shapes.states.len(), 1, "it learned what it had nothing saved for");
}
