//! Readings that are made once for all who ask within a short time, and never on the runtime's threads.
//!
//! A reading that is quick is made anew for each; of one that takes long, such as that of thousands of
//! subscriptions, at most a twentieth of the time goes into it, and it is at most a second old. What is
//! read is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// How old a reading may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// What takes less is made anew for everyone.
const QUICK: Duration = Duration::from_millis(100);

/// A reading is kept for so many times as long as it took.
const KEPT_FOR: u32 = 20;

/// The last reading of one kind.
#[derive(Default)]
pub(super) struct Snapshot(Arc<Mutex<Option<Reading>>>);

struct Reading {
    made: Instant,
    took: Duration,
    body: Bytes,
}

impl Reading {
    fn is_fresh(&self) -> bool {
        self.took >= QUICK && self.made.elapsed() < (self.took * KEPT_FOR).min(MAX_AGE)
    }
}

impl Snapshot {
    /// The last reading, or another one. Whoever asks while it is made gets the same.
    pub(super) async fn read(&self, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Bytes {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some(reading) = last.as_ref().filter(|reading| reading.is_fresh()) {
            return reading.body.clone();
        }
        // The lock goes with the work: whoever goes away while it is done does not begin another.
        let read = move || {
            let made = Instant::now();
            let body = Bytes::from(make());
            *last = Some(Reading { made, took: made.elapsed(), body: body.clone() });
            body
        };
        match spawn_blocking(read).await {
            Ok(body) => body,
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            // The runtime is shutting down, and nobody waits for anything any more.
            Err(_cancelled) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reading_that_took_long_is_shared_and_a_quick_one_is_not() {
        let snapshot = Snapshot::default();
        let quick = |text: &'static str| move || text.into();
        assert_eq!(snapshot.read(quick("1")).await, "1");
        assert_eq!(snapshot.read(quick("2")).await, "2");
        let slow = || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(150) {
                std::hint::spin_loop();
            }
            b"3".to_vec()
        };
        assert_eq!(snapshot.read(slow).await, "3");
        assert_eq!(snapshot.read(quick("4")).await, "3");
    }
}
