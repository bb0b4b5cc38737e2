//! How whoever sends messages together learns what became of each.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::failure::Failure;
use crate::lock::lock;

/// What became of messages that were sent together, so far.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<Watched>,
    changed: Notify,
}

/// A reading of that.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub sent: usize,
    pub written: usize,
    /// The numbers of those that were not written, or of which that is not known.
    pub failed: Vec<(usize, Failure)>,
}

impl Watched {
    fn is_answered(&self) -> bool {
        self.written + self.failed.len() == self.sent
    }
}

impl Watch {
    /// What became of them so far.
    #[must_use]
    pub fn read(&self) -> Watched {
        lock(&self.state).clone()
    }

    /// Waits until all that was sent has its answer. The client gives each one in time.
    pub async fn answered(&self) -> Watched {
        loop {
            let state = self.read();
            if state.is_answered() {
                return state;
            }
            self.changed.notified().await;
        }
    }

    /// One more answer will come.
    pub(super) fn expect(&self) {
        lock(&self.state).sent += 1;
    }

    /// One that was to come will not.
    pub(super) fn expect_one_less(&self) {
        lock(&self.state).sent -= 1;
    }

    pub(super) fn answer(&self, number: usize, failure: Option<Failure>) {
        let mut state = lock(&self.state);
        match failure {
            None => state.written += 1,
            Some(failure) => state.failed.push((number, failure)),
        }
        let is_all = state.is_answered();
        drop(state);
        if is_all {
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::failure::Cause;
    use super::*;

    #[tokio::test]
    async fn messages_are_answered_when_all_of_them_are() {
        let watch = Watch::default();
        watch.expect();
        watch.expect();
        watch.answer(0, None);
        assert!(tokio::time::timeout(Duration::ZERO, watch.answered()).await.is_err());
        let failure = Failure { cause: Cause::Silence, words: "no answer".to_owned() };
        watch.answer(1, Some(failure.clone()));
        let state = watch.answered().await;
        assert_eq!((state.written, state.failed), (1, vec![(1, failure)]));
    }
}
