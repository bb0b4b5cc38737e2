//! The bytes that requests under way may hold, for all destinations of the daemon together.
//!
//! One may have as many as are free beside its own: alone it takes half, and the more have much to
//! send, the more evenly they share, without one waiting for another. A destination with nothing
//! under way may always send one request.
//!
//! It counts what it is told of; how many requests a destination may have is `concurrency`'s matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes of all requests under way, as their services count them, but for one of each
/// destination: six full requests of the largest kind for one, or two each for eight.
pub const MAX_IN_FLIGHT: usize = 64 << 20;

/// What all requests hold.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    held: AtomicUsize,
}

/// What one request holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    of: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    /// Bytes for a request of a destination whose others hold `own`; none if it has to wait for one
    /// of these.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, own: usize) -> Option<Held> {
        let enlarged = |held: usize| {
            let free = MAX_IN_FLIGHT.saturating_sub(held);
            (own == 0 || own + bytes <= free).then(|| held.saturating_add(bytes))
        };
        let relaxed = Ordering::Relaxed;
        self.held.fetch_update(relaxed, relaxed, enlarged).ok()?;
        Some(Held { of: Arc::clone(self), bytes })
    }
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: usize = 1 << 20;

    fn fill(all: &Arc<InFlight>, mine: &mut Vec<Held>) {
        while let Some(held) = all.take(REQUEST, mine.iter().map(Held::bytes).sum()) {
            mine.push(held);
        }
    }

    #[test]
    fn one_takes_half_and_two_a_third_each_however_late_the_second_comes() {
        let all = Arc::new(InFlight::default());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        fill(&all, &mut one);
        assert_eq!(one.len(), 32);
        fill(&all, &mut other);
        assert_eq!(other.len(), 16);
        for _ in 0..50 {
            one.pop();
            fill(&all, &mut one);
            other.pop();
            fill(&all, &mut other);
        }
        assert!((20..=22).contains(&one.len()), "{}", one.len());
        assert!((20..=22).contains(&other.len()), "{}", other.len());
        drop((one, other));
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whoever_has_nothing_under_way_may_send_a_request_of_any_size() {
        let all = Arc::new(InFlight::default());
        let _everything = all.take(MAX_IN_FLIGHT, 0).unwrap();
        let one = all.take(2 * MAX_IN_FLIGHT, 0).unwrap();
        assert!(all.take(1, one.bytes()).is_none());
    }
}
