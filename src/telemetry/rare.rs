//! Counters of what happens seldom, and the labels of what others name: kept here, and shown anew at each scrape.
//!
//! The recorder forgets what no scrape has set for a minute, so that the series of resources that are gone go
//! too, however many were made and deleted. What is counted where it happens would be forgotten as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use metrics::counter;

use crate::lock::lock;

/// Counts by metric, label and its value; all of them are the program's own words.
static COUNTS: Mutex<BTreeMap<[&str; 3], u64>> = Mutex::new(BTreeMap::new());

/// Destinations that have a histogram of their own. One is never forgotten, since a quiet destination would lose
/// it.
const MAX_TIMED: usize = 2_000;

/// What stands for all destinations beyond them.
const OTHERS: &str = "others";

static TIMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Counts something.
pub(super) fn count(metric: &'static str, label: &'static str, value: &'static str, by: u64) {
    *lock(&COUNTS).entry([metric, label, value]).or_default() += by;
}

/// Puts all counts into the recorder.
pub(super) fn show() {
    for ([metric, label, value], count) in &*lock(&COUNTS) {
        match *label {
            "" => counter!(*metric).absolute(*count),
            label => counter!(*metric, label => *value).absolute(*count),
        }
    }
}

/// The label under which a destination's requests are timed.
pub(super) fn timed(destination: &str) -> String {
    let mut timed = lock(&TIMED);
    if !timed.contains(destination) {
        if timed.len() >= MAX_TIMED {
            return OTHERS.to_owned();
        }
        timed.insert(destination.to_owned());
    }
    destination.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_destinations_are_timed_for_themselves_and_the_rest_together() {
        let mut labels: BTreeSet<String> = (0..5_000).map(|n| timed(&format!("ed_{n}"))).collect();
        assert!(labels.remove(OTHERS));
        // Other tests have theirs in this process.
        assert!((MAX_TIMED / 2..=MAX_TIMED).contains(&labels.len()), "{}", labels.len());
        assert_eq!(timed("ed_0"), "ed_0");
    }
}
