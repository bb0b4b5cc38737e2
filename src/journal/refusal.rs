//! Why an append is not taken, in words for senders and operators.

use std::time::Duration;

use crate::resources::ResourceId;

/// Why an append was not taken; nothing of it was kept or counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// It was dispatched by subscriptions that are no longer in force.
    Outdated,
    /// The journal does not take it now.
    Full(Full),
}

impl From<Full> for AppendError {
    fn from(full: Full) -> AppendError {
        AppendError::Full(full)
    }
}

/// The journal does not take an append now; nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Full {
    /// What stands in the way; `Display` says it.
    pub cause: Refusal,
    /// When trying again may help.
    pub retry_after: Duration,
}

/// Why an append is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Records that nobody may give up fill `max_bytes`.
    #[error(
        "the journal is full: records that wait for their destinations fill `journal.max_bytes`"
    )]
    NoRoom,
    /// Records that nobody may give up fill the file system, which has less than `max_bytes`.
    #[error(
        "the journal is full: records that wait for their destinations fill its disk, which has less room than `journal.max_bytes`"
    )]
    SmallDisk,
    /// Records that wait for these destinations fill their shares.
    #[error(
        "the share of {} in the journal is full (`max_pending_bytes`): its records wait, and it takes none or too few",
        named(.0)
    )]
    NoRoomFor(Vec<ResourceId>),
    /// The disk does not take it, in the system's words.
    #[error("the journal cannot write: {0}")]
    CannotWrite(String),
    /// The disk takes longer than anybody should wait. What it takes in the end is delivered.
    #[error("the journal's disk has not answered for {} s", .0.as_secs())]
    Slow(Duration),
}

/// Names destinations for people.
fn named(ids: &[ResourceId]) -> String {
    ids.iter().map(|id| format!("destination `{id}`")).collect::<Vec<_>>().join(", of ")
}

impl Full {
    /// What a refused sender is told to wait: a second. A healthy destination frees room in less;
    /// for a dead one or a full disk no figure is right, and a short one costs little.
    pub(super) fn new(cause: Refusal) -> Full {
        Full { cause, retry_after: Duration::from_secs(1) }
    }
}
