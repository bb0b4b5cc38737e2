//! Slow parts of a service: records that go to one of them wait apart, so that they hold up no others.
//!
//! A stream of Kinesis has shards, each with a throughput of its own. Where an answer throttles records by the
//! name of such a part, these records, and those that are read meanwhile and would go to the same part, wait
//! in its lane. From there they go out a window at a time: twice as many after an answer that took all, as many
//! as were taken after one that did not, behind a pause. A lane ends when it is empty and all was taken.
//!
//! Which records go to a part is learnt: a part is a range of places, so what lies between two places that
//! were throttled by its name is its own. Pure: time and randomness come in as arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::TRANSIENT;
use super::batcher::Attempt;

/// Most parts of a service that may be slow by name at a time; records of others wait as all that fail do.
/// More shards than most streams have.
const MAX_LANES: usize = 1024;

/// Most records of a window, and most of their bytes: about a second of what a shard takes (1,000 records,
/// 1 MB), so that one that is quick again is emptied quickly.
const MOST_RECORDS: usize = 500;
const MOST_BYTES: usize = 1 << 20;

/// Fewest records of a window: what is sent for nothing while a part takes none.
const FEWEST_RECORDS: usize = 4;

/// When a window whose records did not come to an answer is followed by another.
const PATIENCE: Duration = Duration::from_secs(10);

/// A part that is slow, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowPart {
    /// As the service calls it.
    pub name: Box<str>,
    /// Records that wait for it.
    pub records: usize,
    /// When the next of them go out.
    pub retry_at: Instant,
}

#[derive(Debug)]
struct Lane {
    name: Box<str>,
    /// The lowest and the highest place that were throttled by its name.
    range: (u128, u128),
    /// By position.
    waiting: BTreeMap<u64, Attempt>,
    due: Instant,
    window: usize,
    /// Answers in a row that took none.
    failures: u32,
    /// When it was throttled last: what was sent before tells nothing new.
    cut: Instant,
    /// Whether all was taken since.
    through: bool,
}

/// The slow parts of one destination's service.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    slow: Vec<Lane>,
    records: usize,
    bytes: usize,
}

/// What an answer says of the parts of a service.
pub(super) struct OfParts<'a> {
    /// When the request was sent.
    pub sent: Instant,
    /// The places of records that were taken.
    pub taken: &'a [u128],
    /// What was throttled, by the name of its part.
    pub throttled: BTreeMap<Box<str>, Vec<Attempt>>,
}

impl Lane {
    fn has(&self, place: u128) -> bool {
        (self.range.0..=self.range.1).contains(&place)
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.through
    }
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.slow.is_empty()
    }

    /// Holds back a record that would go to a slow part; gives any other back. One that goes out by its
    /// lane, or by itself, is let through.
    pub(super) fn hold(&mut self, attempt: Attempt) -> Option<Attempt> {
        if self.slow.is_empty() || attempt.released || attempt.lone {
            return Some(attempt);
        }
        let Some(place) = attempt.place else { return Some(attempt) };
        match self.slow.iter().position(|lane| lane.has(place)) {
            Some(at) => self.put(at, attempt),
            None => return Some(attempt),
        }
        None
    }

    fn put(&mut self, at: usize, attempt: Attempt) {
        self.records += 1;
        self.bytes += attempt.bytes;
        let attempt = Attempt { released: false, ..attempt };
        self.slow[at].waiting.insert(attempt.pending.position, attempt);
    }

    /// Takes in an answer. Gives back what there is no lane for.
    pub(super) fn answered(
        &mut self,
        answer: OfParts<'_>,
        (now, random): (Instant, u64),
    ) -> Vec<Attempt> {
        let OfParts { sent, taken, throttled } = answer;
        let mut left = Vec::new();
        let mut is_throttled = vec![false; self.slow.len()];
        for (name, attempts) in throttled {
            let Some(at) = self.lane(&name, &attempts, sent) else {
                left.extend(attempts);
                continue;
            };
            is_throttled.resize(self.slow.len(), false);
            is_throttled[at] = true;
            let lane = &mut self.slow[at];
            for place in attempts.iter().filter_map(|it| it.place) {
                lane.range = (lane.range.0.min(place), lane.range.1.max(place));
            }
            let got_through = taken.iter().filter(|place| lane.has(**place)).count();
            if sent >= lane.cut {
                lane.cut = now;
                lane.through = false;
                lane.failures = if got_through > 0 { 1 } else { lane.failures.saturating_add(1) };
                let window = if got_through > 0 { got_through } else { lane.window / 2 };
                lane.window = window.clamp(FEWEST_RECORDS, MOST_RECORDS);
                lane.due = now + TRANSIENT.wait(lane.failures, random);
            }
            for attempt in attempts {
                self.put(at, attempt);
            }
        }
        for (lane, _) in self.slow.iter_mut().zip(is_throttled).filter(|(_, throttled)| !throttled)
        {
            if sent >= lane.cut && taken.iter().any(|place| lane.has(*place)) {
                lane.through = true;
                lane.failures = 0;
                lane.window = (lane.window * 2).min(MOST_RECORDS);
                lane.due = now;
            }
        }
        self.slow.retain(|lane| !lane.is_over());
        left
    }

    /// The lane of a part, a new one if there is none and there may be one.
    fn lane(&mut self, name: &str, attempts: &[Attempt], sent: Instant) -> Option<usize> {
        if let Some(at) = self.slow.iter().position(|lane| *lane.name == *name) {
            return Some(at);
        }
        let place = attempts.iter().find_map(|it| it.place)?;
        (self.slow.len() < MAX_LANES).then_some(())?;
        self.slow.push(Lane {
            name: name.into(),
            range: (place, place),
            waiting: BTreeMap::new(),
            due: sent,
            window: FEWEST_RECORDS,
            failures: 0,
            cut: sent,
            through: false,
        });
        Some(self.slow.len() - 1)
    }

    /// Takes out what is to be sent now.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Attempt> {
        let mut released = Vec::new();
        // One from which nothing came to an answer, and nothing waits, has nothing to say.
        self.slow.retain(|lane| lane.due > now || !lane.waiting.is_empty());
        for lane in self.slow.iter_mut().filter(|it| it.due <= now) {
            lane.due = now + PATIENCE;
            let mut bytes = 0;
            for _ in 0..lane.window {
                let Some(entry) = lane.waiting.first_entry() else { break };
                bytes += entry.get().bytes;
                if bytes > MOST_BYTES && bytes > entry.get().bytes {
                    break;
                }
                let attempt = entry.remove();
                self.records -= 1;
                self.bytes -= attempt.bytes;
                released.push(Attempt { released: true, ..attempt });
            }
        }
        released.sort_by_key(|attempt| attempt.pending.position);
        released
    }

    /// Lets go of the bodies of all that wait.
    pub(super) fn park(&mut self) {
        self.slow.iter_mut().flat_map(|it| it.waiting.values_mut()).for_each(Attempt::park);
    }

    /// When something is to be sent from here.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.slow.iter().map(|it| it.due).min()
    }

    /// Lets all that wait go out now.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        for lane in &mut self.slow {
            lane.due = lane.due.min(now);
        }
    }

    /// Takes out all that waits, in its order, and forgets what was learnt.
    pub(super) fn take_all(&mut self) -> Vec<Attempt> {
        let lanes = std::mem::take(self).slow;
        let mut all: Vec<Attempt> =
            lanes.into_iter().flat_map(|it| it.waiting.into_values()).collect();
        all.sort_by_key(|attempt| attempt.pending.position);
        all
    }

    /// Records that are held back, and their bytes.
    pub(super) fn held_back(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    /// The slow parts.
    pub(super) fn list(&self) -> Vec<SlowPart> {
        let of = |lane: &Lane| SlowPart {
            name: lane.name.clone(),
            records: lane.waiting.len(),
            retry_at: lane.due,
        };
        self.slow.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::Measured;

    fn attempt(position: u64, place: u128) -> Attempt {
        let measured = Measured { bytes: 10, place: Some(place), ..Measured::default() };
        Attempt::empty(position, measured)
    }

    fn answer(lanes: &mut Lanes, taken: &[u128], throttled: Vec<Attempt>) {
        let throttled =
            throttled.into_iter().fold(BTreeMap::<_, Vec<_>>::new(), |mut all, attempt| {
                all.entry("slow".into()).or_default().push(attempt);
                all
            });
        let answer = OfParts { sent: Instant::now(), taken, throttled };
        let left = lanes.answered(answer, (Instant::now(), u64::MAX));
        assert!(left.is_empty());
    }

    fn positions(attempts: &[Attempt]) -> Vec<u64> {
        attempts.iter().map(|it| it.pending.position).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_go_to_a_slow_part_waits_and_nothing_else_does() {
        let mut lanes = Lanes::default();
        assert!(lanes.hold(attempt(1, 50)).is_some());
        answer(&mut lanes, &[10, 90], vec![attempt(2, 40), attempt(3, 60)]);
        let passes =
            |lanes: &mut Lanes, position, place| lanes.hold(attempt(position, place)).is_some();
        assert!(!passes(&mut lanes, 4, 50), "it lies between two that were throttled");
        assert!(passes(&mut lanes, 5, 39) && passes(&mut lanes, 6, 61));
        assert_eq!(lanes.held_back(), (3, 30));
        assert!(lanes.release(Instant::now()).is_empty(), "not yet");
        tokio::time::advance(Duration::from_secs(1)).await;
        let released = lanes.release(Instant::now());
        assert_eq!(positions(&released), [2, 3, 4]);
        let released: Vec<_> = released.into_iter().filter_map(|it| lanes.hold(it)).collect();
        assert_eq!(released.len(), 3, "what is released goes out");
        answer(&mut lanes, &[40, 50, 60], Vec::new());
        assert!(lanes.is_empty() && passes(&mut lanes, 7, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_doubles_while_all_is_taken_and_shrinks_to_what_was() {
        let mut lanes = Lanes::default();
        answer(&mut lanes, &[], (0..2_000).map(|at| attempt(at, 5)).collect());
        let mut sizes = Vec::new();
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let released = lanes.release(Instant::now());
            sizes.push(released.len());
            answer(&mut lanes, &vec![5; released.len()], Vec::new());
        }
        assert_eq!(sizes, [4, 8, 16, 32, 64, 128, 256, 500, 500]);
        let mut released = lanes.release(Instant::now());
        let throttled = released.split_off(90);
        answer(&mut lanes, &[5; 90], throttled);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert!(lanes.release(Instant::now()).is_empty(), "a pause comes first");
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(lanes.release(Instant::now()).len(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_part_was_throttled_says_nothing_of_it_now() {
        let mut lanes = Lanes::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(5)).await;
        answer(&mut lanes, &[], vec![attempt(1, 5), attempt(2, 9)]);
        let late = OfParts { sent: before, taken: &[7], throttled: BTreeMap::new() };
        lanes.answered(late, (Instant::now(), 0));
        assert!(lanes.release(Instant::now()).is_empty(), "the pause holds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_has_no_more_bytes_than_a_part_takes_in_a_second() {
        let mut lanes = Lanes::default();
        let large = |at| Attempt { bytes: MOST_BYTES / 2, ..attempt(at, 5) };
        answer(&mut lanes, &[5; 100], (0..9).map(large).collect());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(lanes.release(Instant::now()).len(), 2);
        let (records, bytes) = lanes.held_back();
        assert_eq!((records, bytes), (7, 7 * (MOST_BYTES / 2)));
        assert_eq!(lanes.take_all().len(), 7);
        assert_eq!(lanes.held_back(), (0, 0));
    }
}
