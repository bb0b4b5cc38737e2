//! Made-up texts of unusual shapes, read by the walk and by `serde_json`, which know nothing of each other.
//!
//! Both must accept the same texts, and find the same values where somebody wants them. Each case has a seed,
//! which is printed when it fails; `SLUICEGATE_FUZZ_SEED=<seed>` runs that one alone, and
//! `SLUICEGATE_FUZZ_CASES` sets how many run, and `SLUICEGATE_FUZZ_FIRST` the first of their seeds. `make fuzz-events`
//! runs a hundred million of them: `fuzz/events` compiles this file and those that it tests by themselves, optimised.

use std::thread;

use serde_json::Value;

use super::bitmaps;
use super::envelope::EventError;
use super::extract::{EventReader, Root, SlotPlan};
use super::scan::JsonCursor;
use super::slots::{Slot, Slots};
use super::time::Timestamp;

/// Cases where nothing else is asked for: about a second in a debug build.
const CASES: u64 = 5_000;

/// What is wanted: names that differ in one byte, paths under and beside each other, long and escaped names.
const PATHS: [&str; 12] = [
    "a",
    "a.b",
    "a.b.a",
    "a.longer_name",
    "b.longer_namf.a",
    "longer_name",
    "longer_namf",
    "longer_name_that_goes_on",
    "longer_name_that_goes_oN.b",
    "é",
    "",
    "b.\u{1}",
];

/// Keys as senders may write them; some are the same when decoded.
const KEYS: [&str; 20] = [
    "a",
    "b",
    "\\u0061",
    "\\u0062",
    "longer_name",
    "longer_namf",
    "longer_n\\u0061me",
    "longer_name_that_goes_on",
    "longer_name_that_goes_oN",
    "longer_name_that_goes_on_",
    "é",
    "\\u00e9",
    "",
    "\\u0001",
    "a\\\"",
    "\\\\",
    "a.b",
    "object",
    "event_type",
    "\\ud83d\\ude00",
];

/// Values that stand by themselves, good and bad.
const SCALARS: [&str; 32] = [
    "0",
    "-0",
    "1",
    "12345678901234567890",
    "-1.5e+10",
    "0.1E-7",
    "1e999",
    "1e-999",
    "01",
    "-",
    "1.",
    ".5",
    "1e",
    "1e+",
    "+1",
    "0x1",
    "true",
    "false",
    "null",
    "tru",
    "nulll",
    "True",
    "NaN",
    "\"",
    "'a'",
    "\u{c}",
    "\u{1}",
    "{}",
    "[]",
    "1 2",
    "\"a\"\"b\"",
    "",
];

/// What is put in somewhere to break a text, or not.
const PIECES: [&str; 28] = [
    "{", "}", "[", "]", ":", ",", "\"", "\\", "\\\\", "\\\"", "\\u12", "\\ud800", " ", "\t", "\n",
    "\r", "\u{0}", "\u{1f}", "\u{c}", "\u{7f}", "\u{1a}", "é", "0", "-", "e", "null", "{\"a\":",
    "[1,",
];

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

/// A text that looks like an event.
fn text(random: &mut Random) -> String {
    let mut out = String::new();
    let is_spaced = random.one_in(4);
    out.push('{');
    if random.one_in(2) {
        // So that what follows starts anywhere in a block.
        out.push_str(&format!("\"pad\":\"{}\",", "x".repeat(random.below(130))));
    }
    out.push_str("\"event_type\":\"t\",\"object\":");
    if random.one_in(30) {
        let depth = 120 + random.below(12);
        let (open, close) = if random.one_in(2) { ("{\"a\":", "}") } else { ("[", "]") };
        out.push_str(&open.repeat(depth));
        out.push('1');
        out.push_str(&close.repeat(depth));
    } else {
        object(random, &mut out, 0, is_spaced);
    }
    if random.one_in(4) {
        out.push(',');
        member(random, &mut out, 3, is_spaced);
    }
    out.push('}');
    let mut breaks = if random.one_in(2) { 0 } else { 1 + random.below(3) };
    while breaks > 0 {
        broken(random, &mut out);
        breaks -= 1;
    }
    out
}

/// Texts that have much in common.
fn related(random: &mut Random) -> Vec<String> {
    let (first, second) = (text(random), text(random));
    let mut texts = vec![first.clone(), first.clone(), second.clone()];
    // The start of one and the end of the other, cut where a key or value ends.
    let ends = |text: &str| -> Vec<usize> {
        text.match_indices(['"', ',', ':', '}']).map(|(at, _)| at).collect()
    };
    let (starts, ends) = (ends(&first), ends(&second));
    if !starts.is_empty() && !ends.is_empty() {
        let (start, end) = (starts[random.below(starts.len())], ends[random.below(ends.len())]);
        texts.push([&first[..start], &second[end..]].concat());
    }
    let mut changed = first;
    broken(random, &mut changed);
    texts.push(changed);
    texts.push(second);
    texts
}

fn space(random: &mut Random, out: &mut String, is_spaced: bool) {
    if is_spaced && random.one_in(2) {
        let spaces = if random.one_in(20) { 70 } else { 1 + random.below(3) };
        (0..spaces).for_each(|_| out.push_str(random.of(&[" ", "\n", "\t", "\r"])));
    }
}

fn member(random: &mut Random, out: &mut String, depth: usize, is_spaced: bool) {
    out.push('"');
    out.push_str(random.of(&KEYS));
    out.push('"');
    space(random, out, is_spaced);
    out.push(':');
    space(random, out, is_spaced);
    value(random, out, depth, is_spaced);
}

fn object(random: &mut Random, out: &mut String, depth: usize, is_spaced: bool) {
    out.push('{');
    for at in 0..random.below(6) {
        if at > 0 {
            out.push(',');
        }
        space(random, out, is_spaced);
        member(random, out, depth + 1, is_spaced);
        space(random, out, is_spaced);
    }
    out.push('}');
}

fn value(random: &mut Random, out: &mut String, depth: usize, is_spaced: bool) {
    match random.below(if depth > 4 { 6 } else { 10 }) {
        0..3 => string(random, out),
        // One in three texts has a scalar that may be bad.
        3 if random.one_in(4) => out.push_str(random.of(&SCALARS)),
        3..6 => out.push_str(random.of(&["0", "-1.25", "7e2", "true", "false", "null"])),
        6..8 => object(random, out, depth, is_spaced),
        _ => {
            out.push('[');
            for at in 0..random.below(4) {
                if at > 0 {
                    out.push(',');
                }
                space(random, out, is_spaced);
                value(random, out, depth + 1, is_spaced);
                space(random, out, is_spaced);
            }
            out.push(']');
        }
    }
}

fn string(random: &mut Random, out: &mut String) {
    const PARTS: [&str; 12] =
        ["x", "[", "}", ":", ",", "\\\"", "\\\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "é", "日本"];
    out.push('"');
    let length = if random.one_in(3) { 55 + random.below(20) } else { random.below(8) };
    for _ in 0..length {
        let is_plain = random.below(8) > 0;
        out.push_str(if is_plain { "y" } else { random.of(&PARTS) });
    }
    out.push('"');
}

/// One piece put in, taken out or cut off.
fn broken(random: &mut Random, out: &mut String) {
    let places: Vec<usize> = out.char_indices().map(|(at, _)| at).collect();
    if places.is_empty() {
        return;
    }
    let at = places[random.below(places.len())];
    match random.below(8) {
        0..3 => out.insert_str(at, random.of(&PIECES)),
        3..6 => {
            out.remove(at);
        }
        6 => out.truncate(at),
        _ => out.push_str(random.of(&PIECES)),
    }
}

/// What the two readers make of a text, held against each other.
fn check(text: &str, reader: &mut EventReader, plan: &SlotPlan, slots: &[usize]) {
    assert!(bitmaps::both_agree(text.as_bytes()), "the bitmaps of {text:?}");
    let mut found = Slots::new();
    let ours = reader.read(text, Timestamp::MIN, || 0, (|_: &str| Some(plan), Some), &mut found);
    let is_json = !matches!(ours, Err(EventError::Json(_)));
    let theirs = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        // A number beyond an f64 is no mistake for us, and nor is one level of nesting more.
        Err(error)
            if ["number out of range", "recursion limit"]
                .iter()
                .any(|it| error.to_string().contains(it)) =>
        {
            let mut cursor = JsonCursor::new(text);
            let is_good = cursor.value(0).and_then(|_| cursor.end()).is_ok();
            assert_eq!(is_json, is_good, "{text:?}");
            return;
        }
        Err(error) => {
            assert!(!is_json, "{text:?}: {error}");
            return;
        }
    };
    assert!(is_json, "{text:?}: {ours:?}");
    let Ok((event, _)) = ours else { return };
    let object: Value = serde_json::from_str(event.object).unwrap();
    assert_eq!(object, theirs["object"], "{text:?}");
    for (path, slot) in PATHS.iter().zip(slots) {
        let expected = expected(&object, path);
        let found = match found[*slot] {
            Slot::Json(json) => Ok(Some(serde_json::from_str(json).unwrap())),
            Slot::Absent => Ok(None),
            Slot::Broken => Err(()),
        };
        assert_eq!(found, expected, "{path} of {text:?}");
    }
}

/// The value at a path; an error where something on the way is neither an object nor `null`.
fn expected(object: &Value, path: &str) -> Result<Option<Value>, ()> {
    let mut value = object;
    for name in path.split('.') {
        value = match value {
            Value::Object(members) => match members.get(name) {
                Some(value) => value,
                None => return Ok(None),
            },
            Value::Null => return Ok(None),
            _ => return Err(()),
        };
    }
    Ok(Some(value.clone()))
}

fn run(seeds: impl Iterator<Item = u64>) {
    let mut plan = SlotPlan::default();
    let slot = |path: &&str| plan.slot(Root::Object, &path.split('.').collect::<Vec<_>>()).index();
    let slots: Vec<usize> = PATHS.iter().map(slot).collect();
    for seed in seeds {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // One reader for all of them, so that some are read along what it learned from others.
            let mut reader = EventReader::default();
            for text in related(&mut Random(seed)) {
                check(&text, &mut reader, &plan, &slots);
            }
        }));
        assert!(checked.is_ok(), "SLUICEGATE_FUZZ_SEED={seed} runs this case again");
    }
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("it is a number"))
}

#[test]
fn unusual_texts_are_read_as_an_independent_reader_reads_them() {
    if let Some(seed) = asked("SLUICEGATE_FUZZ_SEED") {
        return run(seed..=seed);
    }
    let first = asked("SLUICEGATE_FUZZ_FIRST").unwrap_or_default();
    let behind = first + asked("SLUICEGATE_FUZZ_CASES").unwrap_or(CASES);
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || run((first + thread..behind).step_by(threads as usize)));
        }
    });
}

#[test]
fn most_made_up_texts_are_good_or_nearly_so() {
    let is_good = |seed: &u64| serde_json::from_str::<Value>(&text(&mut Random(*seed))).is_ok();
    let good = (0..1_000).filter(is_good).count();
    assert!((200..800).contains(&good), "{good} of 1,000");
}
