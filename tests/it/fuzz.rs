//! The bodies of the fuzz targets on mutated filters: those of the library, and those of the page.
//!
//! It needs no fuzzer. Each case has a seed of its own, which is printed when the case fails; with
//! `SLUICEGATE_FUZZ_SEED=<seed>` only that case runs. `SLUICEGATE_FUZZ_CASES` sets how many run.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use sluicegate::event::{Catalog, Timestamp};
use sluicegate::filter::library;
use sluicegate::generate::Generator;

#[path = "../../fuzz/bodies.rs"]
mod bodies;

#[path = "../../fuzz/disk.rs"]
mod disk;

const PAGE: &str = include_str!("../../filters/README.md");
const HTTP: &str = "http_request_complete.v0";

/// Cases where nothing else is asked for: some seconds in a debug build.
const CASES: u64 = 1_000;

/// The stack of a daemon's worker thread: the default of its runtime.
const STACK: usize = 2 << 20;

/// What is put into filters: pieces of the language, and what breaks it.
const PIECES: [&str; 44] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "?",
    ":",
    "!",
    "-",
    "+",
    "*",
    "%",
    "==",
    "<",
    "in",
    "&&",
    "||",
    "'",
    "\"",
    "\\",
    "`",
    "//",
    "\n",
    "null",
    "true",
    "1u",
    "9223372036854775808",
    "1e308",
    ".exists(x,",
    ".map(x,",
    "has(",
    "dyn(",
    ".matches('(a*)*'",
    "cel.bind(x,",
    "\u{0}",
    "\u{1F600}",
    "\u{a0}",
    "\u{feff}",
    "\u{202e}\u{2028}",
    "\r\u{1b}[2J",
    ".?",
];

/// Small and the same everywhere: a linear congruential generator with mixed output.
pub(crate) struct Random(u64);

impl Random {
    /// Of a case's seed.
    pub(crate) fn of(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 33) as usize % end.max(1)
    }

    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(12)).min(length)
    }
}

/// The seeds of a run's cases: so many where nothing else is asked for.
pub(crate) fn seeds(cases: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SLUICEGATE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SLUICEGATE_FUZZ_CASES").unwrap_or(cases),
    }
}

/// The filters of the library and of the page.
fn corpus() -> Vec<String> {
    let blocks = PAGE.split("```cel\n").skip(1).filter_map(|rest| rest.split("```").next());
    library().map(|filter| filter.text.to_owned()).chain(blocks.map(str::to_owned)).collect()
}

fn objects() -> Vec<String> {
    let catalog = Catalog::builtin();
    let start = Timestamp::parse("2025-09-04T10:00:00Z").unwrap();
    let mut generator = Generator::new(catalog.get(HTTP).unwrap(), 1, start);
    let mut object = || {
        let mut line = String::new();
        generator.next_event(&mut line);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event["object"].to_string()
    };
    (0..16).map(|_| object()).collect()
}

/// A text with one to four changes: a part taken out, doubled, or replaced by a piece, by a part of
/// another text, or by any byte.
pub(crate) fn mutated(texts: &[impl AsRef<[u8]>], random: &mut Random) -> Vec<u8> {
    let mut bytes = texts[random.below(texts.len())].as_ref().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.range(bytes.len());
        let new = match random.below(5) {
            0 => Vec::new(),
            1 => bytes[at.clone()].repeat(2),
            2 => PIECES[random.below(PIECES.len())].as_bytes().to_vec(),
            3 => {
                let other = texts[random.below(texts.len())].as_ref();
                other[random.range(other.len())].to_vec()
            }
            _ => vec![random.below(256) as u8],
        };
        bytes.splice(at, new);
    }
    bytes
}

/// Settings and rules to begin with: all examples, and rules of each form before an event.
fn settings_and_rules() -> (Vec<String>, Vec<String>) {
    let examples = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    let files = examples.map(|entry| entry.unwrap().path());
    let yaml = files.filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let settings: Vec<String> = yaml.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let event =
        |object| format!(r#"{{"event_type":"{HTTP}","account_id":"ac_1","object":{object}}}"#);
    let rules = [
        "*",
        "bind:http_*",
        "bind:*.example.com\nbind:http_request_complete.v0",
        "bind:account:ac_1",
    ];
    let objects = objects();
    let with_rules = rules.iter().zip(&objects);
    (
        settings,
        with_rules.map(|(rules, object)| format!("{rules}\n---\n{}", event(object))).collect(),
    )
}

#[test]
fn no_mutated_settings_and_no_mutated_rules_break_their_readers() {
    let seeds = seeds(CASES);
    let run = move || {
        let (settings, rules) = settings_and_rules();
        assert!(settings.len() > 3 && rules.len() > 3);
        for seed in seeds {
            let mut random = Random(seed);
            let (settings, rules) = (mutated(&settings, &mut random), mutated(&rules, &mut random));
            let case = AssertUnwindSafe(|| {
                bodies::settings(&settings);
                bodies::acl(&rules);
            });
            assert!(catch_unwind(case).is_ok(), "SLUICEGATE_FUZZ_SEED={seed} breaks it");
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

fn run_case(texts: &[String], objects: &[String], seed: u64) {
    let mut random = Random(seed);
    let filter = mutated(texts, &mut random);
    let object = mutated(objects, &mut random);
    bodies::check_text(&filter);
    bodies::roundtrip(&filter);
    bodies::convert(&object);
    bodies::evaluate(&[filter.as_slice(), b"\n---\n", object.as_slice()].concat());
}

#[test]
fn no_mutated_filter_or_event_breaks_the_filter_language() {
    let seeds = seeds(CASES);
    let run = move || {
        let (texts, objects) = (corpus(), objects());
        assert!(texts.len() > 50, "the corpus has its filters");
        for seed in seeds {
            let case = AssertUnwindSafe(|| run_case(&texts, &objects, seed));
            assert!(catch_unwind(case).is_ok(), "SLUICEGATE_FUZZ_SEED={seed} breaks it");
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

#[test]
fn no_mutated_file_on_disk_breaks_the_journal() {
    let files = disk::corpus();
    // Each opens a folder: some milliseconds.
    for seed in seeds(CASES / 10) {
        let file = mutated(&files, &mut Random(seed));
        let case = AssertUnwindSafe(|| disk::disk(&file));
        assert!(catch_unwind(case).is_ok(), "SLUICEGATE_FUZZ_SEED={seed} breaks it");
    }
}
