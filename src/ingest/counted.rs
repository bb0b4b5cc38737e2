//! One more of what is counted, for as long as it is there.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts until it is dropped.
pub(super) struct Counted<'c>(&'c AtomicU64);

impl<'c> Counted<'c> {
    pub(super) fn new(count: &'c AtomicU64) -> Counted<'c> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
