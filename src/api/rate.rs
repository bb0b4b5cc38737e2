//! How many requests the control API takes: so many in any window of time, not in any calendar one.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Most requests.
    pub requests: usize,
    /// In this time.
    pub per: Duration,
}

impl Default for RateLimit {
    /// 120 requests in 60 seconds, as ngrok (`api/index.mdx` of its documentation).
    fn default() -> RateLimit {
        RateLimit { requests: 120, per: Duration::from_secs(60) }
    }
}

/// The requests of the last window.
#[derive(Debug)]
pub(super) struct Window {
    limit: RateLimit,
    taken: Mutex<VecDeque<Instant>>,
}

impl Window {
    pub(super) fn new(limit: RateLimit) -> Window {
        Window { limit, taken: Mutex::default() }
    }

    /// Takes a place, or tells how long until one is free. A refused request takes none.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut taken = lock(&self.taken);
        while taken.front().is_some_and(|first| now.duration_since(*first) >= self.limit.per) {
            taken.pop_front();
        }
        match taken.front() {
            Some(first) if taken.len() >= self.limit.requests => {
                Err(self.limit.per.saturating_sub(now.duration_since(*first)))
            }
            _ => {
                taken.push_back(now);
                Ok(())
            }
        }
    }

    pub(super) fn words(&self) -> String {
        let RateLimit { requests, per } = self.limit;
        match per.as_secs() {
            60 => format!("{requests} API requests per minute"),
            _ => format!("{requests} API requests per {per:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_window_is_over() {
        let window = Window::new(RateLimit { requests: 2, per: Duration::from_secs(60) });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(window.take(at(0)), Ok(()));
        assert_eq!(window.take(at(30)), Ok(()));
        assert_eq!(window.take(at(45)), Err(Duration::from_secs(15)));
        assert_eq!(window.take(at(60)), Ok(()));
        assert_eq!(window.take(at(61)), Err(Duration::from_secs(29)));
        assert_eq!(window.words(), "2 API requests per minute");
    }
}
