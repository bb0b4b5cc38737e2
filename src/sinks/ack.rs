//! The verdict on one record, and what a fault means for the destination.

use std::time::Duration;

use super::trouble::Trouble;

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The service has it.
    Delivered,
    /// The service may take it later; nothing is wrong with the record itself. It may have arrived
    /// all the same, if the answer was lost.
    Retry(Fault),
    /// The service will never take it, for this reason.
    Rejected(String),
}

/// Why a record did not go out, other than the record itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What to do about it.
    pub kind: FaultKind,
    /// For the operator: the service's own code and text, and what would help.
    pub message: String,
    /// How long the service asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the request as a whole had no answer: it took too long, the connection broke, or what
    /// came is not recognisably the service's. A smaller one may get through.
    pub unanswered: bool,
    /// What is wrong, if it is something that somebody can mend.
    pub trouble: Option<Trouble>,
    /// The part of the service that is short of room, by the name that the service gives it: a shard.
    pub part: Option<Box<str>>,
}

/// What to do about a fault; the later in order, the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Send less: the service asks for a slower pace.
    Throttled,
    /// Try again: it is likely to pass by itself.
    Transient,
    /// Pause: somebody has to change something first.
    Configuration,
}

/// What stands before the words of a receiver that somebody chose through the API. The log and dead
/// letters have them; answers of the API end before, so that nobody reads there what a receiver says
/// that only this daemon reaches.
const ITS_WORDS: &str = "; it said: ";

/// A message with such words behind it.
pub(super) fn with_its_words(message: String, words: &str) -> String {
    match words {
        "" => message,
        words => message + ITS_WORDS + words,
    }
}

/// A message of a fault or a rejection as answers of the API show it.
#[must_use]
pub fn without_its_words(message: &str) -> &str {
    message.split_once(ITS_WORDS).map_or(message, |(ours, _)| ours)
}

impl Fault {
    /// A fault of a kind, from an answer that asks for no pause.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        let (message, retry_after, unanswered) = (message.into(), None, false);
        Fault { kind, message, retry_after, unanswered, trouble: None, part: None }
    }

    /// A fault that is likely to pass by itself.
    pub(super) fn transient(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Transient, message)
    }

    /// A fault of a whole request that had no answer, or none that is recognisably the service's.
    pub(super) fn unanswered(message: impl Into<String>) -> Fault {
        Fault { unanswered: true, ..Fault::transient(message) }
    }

    /// The same with what is wrong.
    pub(super) fn with(self, trouble: impl Into<Option<Trouble>>) -> Fault {
        Fault { trouble: trouble.into(), ..self }
    }

    /// A fault that somebody has to change something about.
    pub(super) fn configuration(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Configuration, message)
    }
}
