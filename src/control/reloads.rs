//! How the last reload of the settings file went, for `/status` and metrics: a rejected one leaves the
//! daemon on its old settings, which nobody sees who does not read the log.

use std::sync::Mutex;

use crate::event::Timestamp;
use crate::lock::lock;

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

/// The last reload, if it was rejected.
#[derive(Debug, Default)]
pub(super) struct Reloads(Mutex<Option<RejectedReload>>);

impl Reloads {
    pub(super) fn read(&self) -> Option<RejectedReload> {
        lock(&self.0).clone()
    }

    pub(super) fn rejected(&self, error: &str) {
        let error = match error.len() > MAX_ERROR {
            true => format!("{}…", &error[..error.floor_char_boundary(MAX_ERROR)]),
            false => error.to_owned(),
        };
        *lock(&self.0) = Some(RejectedReload { at: Timestamp::now(), error });
    }

    pub(super) fn succeeded(&self) {
        *lock(&self.0) = None;
    }
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
