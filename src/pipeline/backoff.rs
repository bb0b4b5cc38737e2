//! How long to wait before trying again: exponential with full jitter.
//!
//! Pure: randomness comes in as an argument.

use std::time::Duration;

/// The range from which waits are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    /// Upper end of the first wait.
    pub first: Duration,
    /// Upper end of any wait.
    pub most: Duration,
}

/// After throttling, timeouts, 5xx: soon, since most pass in a second; at most half a minute, so
/// that a recovered service is not left idle for longer.
pub(super) const TRANSIENT: Backoff =
    Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };

/// After a refusal that a person must fix: slower, since trying faster helps nobody; at most a
/// minute, so that fixing shows while the person still looks.
pub(super) const CONFIGURATION: Backoff =
    Backoff { first: Duration::from_secs(2), most: Duration::from_secs(60) };

/// Between tries of a record that fails by itself while others get through: rarely, since the answer
/// is known; at most ten minutes, so that a receiver that was put right gets it while somebody watches.
pub(super) const SET_ASIDE: Backoff =
    Backoff { first: Duration::from_secs(10), most: Duration::from_secs(600) };

impl Backoff {
    /// The wait after `failures` failures in a row (1 for the first), `random` being uniform over
    /// all `u64`: uniform between zero and an upper end that doubles with each failure. Full jitter
    /// spreads retries best (AWS Architecture Blog, "Exponential Backoff And Jitter").
    pub(super) fn wait(self, failures: u32, random: u64) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        let ceiling = self.first.saturating_mul(doubled).min(self.most);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(nanos) * u128::from(random)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_doubles_up_to_its_end() {
        let ceiling = |failures| TRANSIENT.wait(failures, u64::MAX).as_millis();
        let ceilings: Vec<_> = [1, 2, 3, 9, 10, 99].map(ceiling).to_vec();
        assert_eq!(ceilings, [99, 199, 399, 25_599, 29_999, 29_999]);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        assert_eq!(TRANSIENT.wait(1, 0), Duration::ZERO);
        assert_eq!(TRANSIENT.wait(1, u64::MAX / 2).as_millis(), 49);
    }
}
