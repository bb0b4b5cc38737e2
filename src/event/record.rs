//! One event made ready for one subscription's destinations.

use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;

use super::time::Timestamp;

/// The bytes that a destination is to receive, and what the sinks need to know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's id, decoded; at most 256 bytes. Kinesis takes it as the partition key.
    pub event_id: EventId,
    /// When the event happened.
    pub time: Timestamp,
    /// One JSON object in UTF-8 without line breaks or a trailing newline.
    pub body: Bytes,
    /// How many daemons the event had come through when it came in; at most [`super::MAX_HOPS`].
    pub hops: u8,
}

impl Record {
    /// The same with memory of its own: that of others is not kept because of it.
    #[must_use]
    pub fn alone(&self) -> Record {
        let body = Bytes::copy_from_slice(&self.body);
        Record { event_id: self.event_id.as_str().into(), body, ..*self }
    }
}

/// The id of an event, decoded: text that may lie in its record's body, so that it takes no memory of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct EventId(Bytes);

impl EventId {
    /// What stands there in a body; nothing if that is no text.
    ///
    /// # Panics
    /// When the body has no such bytes.
    #[must_use]
    pub fn within(body: &Bytes, at: Range<usize>) -> EventId {
        EventId(body.slice(at))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same without a look at what it is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "that of a text is good enough")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Deref for EventId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for EventId {
    fn from(text: &str) -> EventId {
        EventId(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for EventId {
    fn from(text: String) -> EventId {
        EventId(text.into())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
