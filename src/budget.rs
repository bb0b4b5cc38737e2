//! The bytes that bodies may hold: counted as they come, and refused at once to whoever would be one
//! too many, so that nobody waits while holding.
//!
//! It counts what it is told of. Who holds what, and what of it must be told, is its users' matter. What
//! delivery holds is counted in another way, since there waiting is right: see `pool`.

mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use pool::{Charge, POOL_BYTES, Pool, Portion, RESERVE};

/// A body that holds no more than this may use the last part of the budget, so that small ones are
/// taken while large ones fill the rest.
const SMALL: usize = 256 << 10;

/// This part of the budget is for small ones: with the default, fifty of them at a time.
const PART_FOR_SMALL: usize = 16;

/// Bytes that all bodies of one entrance may hold together.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    held: AtomicUsize,
}

/// Why no more may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// Others hold too much now; later there will be room.
    #[error("the bodies that are being taken in hold all the memory that they may")]
    Busy,
    /// It would not fit even if it were alone.
    #[error(
        "the body and what is made of it need more than the {0} bytes that all bodies may hold"
    )]
    Never(usize),
}

/// What one body holds; given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget { bytes, held: AtomicUsize::new(0) })
    }

    /// One that is never used up, for entrances that take one bounded body after the other.
    #[must_use]
    pub fn unbounded() -> Arc<Budget> {
        Budget::new(usize::MAX)
    }

    /// For a body that holds nothing yet.
    #[must_use]
    pub fn hold(self: &Arc<Budget>) -> Held {
        Held { budget: Arc::clone(self), bytes: AtomicUsize::new(0) }
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Counts more bytes as held.
    ///
    /// # Errors
    /// When they do not fit; then nothing is counted.
    pub fn grow(&self, bytes: usize) -> Result<(), OverBudget> {
        let own = self.bytes.load(Ordering::Relaxed).saturating_add(bytes);
        let whole = self.budget.bytes;
        let most = if own <= SMALL { whole } else { whole - whole / PART_FOR_SMALL };
        if own > most {
            return Err(OverBudget::Never(most));
        }
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= most);
        self.budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| OverBudget::Busy)?;
        self.bytes.store(own, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts that it holds no more than so many bytes now.
    pub fn shrink_to(&self, bytes: usize) {
        let before = self.bytes.fetch_min(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(before.saturating_sub(bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(100 << 20);
        let one = budget.hold();
        one.grow(60 << 20).unwrap();
        let other = budget.hold();
        assert_eq!(other.grow(60 << 20), Err(OverBudget::Busy));
        assert_eq!((other.bytes(), budget.held()), (0, 60 << 20));
        one.shrink_to(10 << 20);
        other.grow(60 << 20).unwrap();
        drop(one);
        assert_eq!(budget.held(), 60 << 20);
    }

    #[test]
    fn a_small_body_fits_beside_large_ones_that_fill_their_part() {
        let budget = Budget::new(16 << 20);
        let large = budget.hold();
        large.grow(15 << 20).unwrap();
        assert_eq!(large.grow(1), Err(OverBudget::Never(15 << 20)));
        assert_eq!(budget.hold().grow(SMALL + 1), Err(OverBudget::Busy));
        assert_eq!(budget.hold().grow(SMALL), Ok(()));
    }

    #[test]
    fn what_fits_never_is_told_from_what_fits_later() {
        let budget = Budget::new(16 << 20);
        assert_eq!(budget.hold().grow(20 << 20), Err(OverBudget::Never(15 << 20)));
    }
}
