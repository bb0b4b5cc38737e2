//! Reloads of the settings file: asked for through the API, and how the last one went, for `/status` and
//! metrics: a rejected one leaves the daemon on its old settings, which nobody sees who does not read the
//! log. Reading the file, and what it may change, is the daemon's matter.

use std::sync::{Mutex, OnceLock};

use tokio::sync::{Notify, mpsc, oneshot};

use super::refusal::{Class, Refusal};
use crate::event::Timestamp;
use crate::lock::lock;

/// Reloads that may wait for their turn. Each reads the file anew, so more would say the same.
const MAX_ASKED: usize = 4;

/// A reload that somebody asks for.
#[derive(Debug)]
pub struct ReloadAsked {
    /// Whether it may take most of what runs away.
    pub confirmed: bool,
    /// Where its outcome goes.
    pub answer: oneshot::Sender<Result<Reloaded, Refusal>>,
}

/// What is in force after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Destinations of the settings file.
    pub destinations: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Sections that changed and take effect only at the next start.
    pub at_next_start: Vec<&'static str>,
}

/// Most bytes of the error that are kept: several mistakes with their places.
const MAX_ERROR: usize = 4_096;

/// A reload that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedReload {
    /// When it was tried.
    pub at: Timestamp,
    /// What was wrong: the mistakes with their places, without the file's text.
    pub error: String,
}

/// Who makes reloads, and the last one, if it was rejected.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    asked: OnceLock<mpsc::Sender<ReloadAsked>>,
    rejected: Mutex<Option<RejectedReload>>,
    /// Whether the daemon is to stop in order.
    stop: Notify,
}

impl Reloads {
    /// The reloads that are asked for from now on; for one caller.
    pub(super) fn receive(&self) -> mpsc::Receiver<ReloadAsked> {
        let (asked, received) = mpsc::channel(MAX_ASKED);
        // A second caller's channel has no sender, so it receives nothing.
        let _second = self.asked.set(asked);
        received
    }

    /// Asks for a reload and waits for its end.
    pub(super) async fn ask(&self, confirmed: bool) -> Result<Reloaded, Refusal> {
        let refused = |message: &str| Refusal {
            class: Class::Unavailable,
            code: Some("ERR_SLUICEGATE_1404"),
            message: message.to_owned(),
        };
        let Some(asked) = self.asked.get() else { return Err(no_settings_file()) };
        let (answer, answered) = oneshot::channel();
        let taken = asked.try_send(ReloadAsked { confirmed, answer });
        taken.map_err(|_| refused("reloads are asked for faster than they can be made"))?;
        answered.await.map_err(|_| refused("the daemon stops"))?
    }

    /// Asks the daemon to stop in order.
    pub(super) fn ask_to_stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until somebody asks for a stop.
    pub(super) async fn stop_asked(&self) {
        self.stop.notified().await;
    }

    pub(super) fn read(&self) -> Option<RejectedReload> {
        lock(&self.rejected).clone()
    }

    pub(super) fn rejected(&self, error: &str) {
        let error = match error.len() > MAX_ERROR {
            true => format!("{}…", &error[..error.floor_char_boundary(MAX_ERROR)]),
            false => error.to_owned(),
        };
        *lock(&self.rejected) = Some(RejectedReload { at: Timestamp::now(), error });
    }

    pub(super) fn succeeded(&self) {
        *lock(&self.rejected) = None;
    }
}

/// There is nothing to read again.
pub fn no_settings_file() -> Refusal {
    let message = "the daemon runs without a settings file: there is nothing to read again";
    Refusal::conflict("ERR_SLUICEGATE_1403", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_reload_is_told_until_one_succeeds_and_never_at_any_length() {
        let reloads = Reloads::default();
        assert_eq!(reloads.read(), None);
        reloads.rejected(&"é".repeat(MAX_ERROR));
        let told = reloads.read().unwrap().error;
        assert!(told.len() <= MAX_ERROR + '…'.len_utf8() && told.ends_with("é…"));
        reloads.succeeded();
        assert_eq!(reloads.read(), None);
    }
}
